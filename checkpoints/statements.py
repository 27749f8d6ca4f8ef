"""Operations: what is done to a database, written once for every driver.

An operation is a generator. It yields statements, receives their rows and returns its result, so the same one
runs on sqlite3, aiosqlite and both kinds of psycopg connection. A statement's error is raised where it was
yielded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]


class Statement(NamedTuple):
    """One SQL statement with its parameters; `many` holds a parameter set per execution instead.

    One that is run `once` is not worth a plan that the server keeps.
    """

    sql: str
    parameters: Sequence[Any] | Mapping[str, Any] = ()
    many: Sequence[Sequence[Any]] | None = None
    once: bool = False


Operation: TypeAlias = Generator[Statement, list[Row], T]


def drive(operation: Operation[T], execute: Callable[[Statement], list[Row]], failures: type[Exception]) -> T:
    """Run the operation with what executes its statements, and return its result."""
    try:
        statement = next(operation)
        while True:
            try:
                rows = execute(statement)
            except failures as error:
                statement = operation.throw(error)
            else:
                statement = operation.send(rows)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        operation.close()
