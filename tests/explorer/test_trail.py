"""The page of the audit, its filters, and its rows as files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pages import following, load

from explorer import tilde, trail
from explorer.audit import recorded
from explorer.command import main
from explorer.database.threads import in_database
from explorer.models import AuditEntry, Outcome
from explorer.people.roles import Person

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import AsyncClient
    from pytest_django.fixtures import SettingsWrapper

ODD = "a~b/c\n=1"
pytestmark = pytest.mark.usefixtures("app_database")


def act(person: str, action: str, thread: str = "", store: str = "demo", **details: Any) -> None:
    with recorded(Person(person, ("admin",)), action, store=store, thread=thread, details=details):
        pass


async def acted(*given: Any, **details: Any) -> None:
    await in_database(act, *given, **details)


async def told(reader: AsyncClient, **query: str) -> list[str]:
    """Return who did what, as the page lists it."""
    page = await load(reader, "/audit/?" + "&".join(f"{name}={value}" for name, value in query.items()))
    rows = page.find("table.audit tr")[1:]
    return [f"{row.one('td.when p').words} {row.one('td.what').words}" for row in rows]


async def test_the_page_lists_actions_and_how_they_ended(reader: AsyncClient) -> None:
    await acted("ana", "fork", ODD, reason="<b>why</b>")
    [row] = (await load(reader, "/audit/")).find("table.audit tr")[1:]
    assert row.one("td.state").words == "done"
    assert row.one("td.when p").words == "ana admin"
    assert row.one("td.why").words == "reason <b>why</b>"
    assert row.one("td.id a")["href"].endswith(f"/threads/{tilde.encode(ODD)}/")


async def test_what_has_no_end_says_so(reader: AsyncClient) -> None:
    await acted("ana", "delete")
    open_ended = {"at": datetime.now(UTC), "action": "fork", "outcome": "begun", "details": {}}
    await in_database(
        lambda: AuditEntry.objects.create(action_id="0" * 32, person="bob", roles="", **open_ended)
    )
    assert await told(reader, outcome="begun") == ["bob fork"]
    assert await told(reader, outcome="done") == ["ana admin delete"]


async def test_the_filters_narrow_it(reader: AsyncClient) -> None:
    await acted("ana", "fork", ODD)
    await acted("bob", "delete", "other")
    today, tomorrow = datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1)
    for query in (
        {"who": "ana"},
        {"action": "fork"},
        {"thread": tilde.encode(ODD)},
        {"who": "ana", "store": "demo", "since": str(today), "until": str(tomorrow)},
    ):
        assert await told(reader, **query) == ["ana admin fork"]
    assert await told(reader, since=str(tomorrow)) == []
    assert await told(reader, until=str(today - timedelta(days=1))) == []
    assert len(await told(reader, until="9999-12-31", before="0", who="")) == 2
    assert await told(reader, who="%00") == []


async def test_pages_go_by_key(reader: AsyncClient) -> None:
    for number in range(trail.SHOWN + 3):
        await acted("ana", "fork", f"t{number}", store="elsewhere")
    seen = []
    async for page in following(reader, "/audit/?who=ana"):
        seen += [cell.one("span.mono").words for cell in page.find("table.audit td.id")]
    assert seen == [f"t{number}" for number in reversed(range(trail.SHOWN + 3))]


async def exported(reader: AsyncClient, **fields: str) -> str:
    answer = await reader.post("/audit/export/", fields)
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith('attachment; filename="audit-')
    return "".join([part.decode() async for part in answer.streaming_content])


async def test_json_lines_have_every_row_of_what_matches(reader: AsyncClient) -> None:
    await acted("ana", "fork", ODD, reason="é")
    await acted("bob", "fork")
    lines = [json.loads(line) for line in (await exported(reader, who="ana")).splitlines()]
    assert [(line["person"], line["outcome"]) for line in lines] == [("ana", "begun"), ("ana", "done")]
    assert lines[0]["thread_id"] == ODD
    assert lines[0]["details"] == {"reason": "é"}


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1"])
async def test_no_cell_of_the_csv_is_a_formula(formula: str, reader: AsyncClient) -> None:
    await acted(formula, "fork", formula)
    text = await exported(reader, format="csv")
    [header, first, *_] = csv.reader(io.StringIO(text, newline=""))
    row = dict(zip(header, first, strict=True))
    assert row["person"] == row["thread_id"] == f"'{formula}"
    assert row["action"] == "fork"


async def test_an_export_is_noted_before_it_is_given(reader: AsyncClient) -> None:
    await acted("ana", "fork")
    rows = (await exported(reader, who="ana", format="csv")).count("\n") - 1
    last = await in_database(AuditEntry.objects.first)
    assert last
    assert (last.action, last.outcome, last.details) == ("export", Outcome.DONE, {"rows": rows})
    assert (await reader.get("/audit/export/")).status_code == 405


async def test_many_rows_are_exported_in_order(reader: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        await acted("ana", "fork", f"t{number}")
    monkeypatch.setattr(trail, "CHUNK", 3)
    ids = [json.loads(line)["id"] for line in (await exported(reader, action="fork")).splitlines()]
    assert ids == sorted(ids)
    assert len(ids) == 10


def test_the_command_prints_it(
    capsys: pytest.CaptureFixture[str], app_database: Path, settings: SettingsWrapper
) -> None:
    act("ana", "fork", "t")
    act("bob", "delete", "t")
    assert main(["audit", "--json", "--who", "ana"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["person"] for line in lines] == ["ana", "ana"]
    assert main(["audit", "--csv", "--action", "export"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("id,action_id,at,person")
