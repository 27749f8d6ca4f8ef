"""A diagnosis as the terminal shows it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from explorer.wording import count, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.diagnosis import Diagnosis, Table


def as_json(diagnosis: Diagnosis) -> str:
    return json.dumps({"ok": diagnosis.ok, **asdict(diagnosis)}, indent=2)


def as_text(diagnosis: Diagnosis) -> str:
    return "\n".join(_lines(diagnosis))


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{diagnosis.name}: {diagnosis.era}"
    if diagnosis.server:
        role = "standby" if diagnosis.standby else "primary"
        yield _line("server", f"PostgreSQL {diagnosis.server}, {role}")
        yield _line("size", size(diagnosis.bytes))
    else:
        yield _line("journal", diagnosis.journal_mode)
        yield _line("size", f"{size(diagnosis.bytes)}, -wal {size(diagnosis.wal_bytes)}")
    yield _line("threads", _number(diagnosis.threads))
    yield _line("namespaces", _number(diagnosis.namespaces))
    for table in diagnosis.tables:
        yield _line(table.name, _table(table))
        for reason, rows in table.closed.items():
            yield _line("", f"{count(rows, 'row')} not looked into: {reason}")
    yield from diagnosis.notes
    closed = any(table.closed for table in diagnosis.tables)
    yield from diagnosis.problems or (f"Every {'other ' if closed else ''}row can be read.",)


def _table(table: Table) -> str:
    types = ", ".join(f"{kind} {rows:,}" for kind, rows in table.types.items())
    rows = count(table.rows, "row")
    return f"{rows}, {size(table.bytes)}, the largest {size(table.largest)}; {types}" if types else rows


def _line(label: str, text: str) -> str:
    return f"  {label:<17} {text}"


def _number(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"
