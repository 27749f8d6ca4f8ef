"""The databases that have savers, with all in which their tests differ. A place is a file's path or a URL."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import aiosqlite
import psycopg
import pytest
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.postgres import PostgresSaver as OfficialPostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver as OfficialAsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as OfficialAsyncSqliteSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.aio import AsyncPostgresSaver
from checkpoints.sqlite import SqliteSaver
from checkpoints.sqlite.aio import AsyncSqliteSaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from langgraph.checkpoint.serde.base import SerializerProtocol

POOL = {"min_size": 1, "max_size": 8, "timeout": 30}
OPTIONS: dict[str, Any] = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}


class Pair(NamedTuple):
    """A synchronous saver and its asynchronous twin: classes, or what takes their arguments."""

    sync: Callable[..., Any]
    aio: Callable[..., Any]


class Backend(ABC):
    """A database: its savers, ours and the official ones, and what they leave in it."""

    name: str
    ours: Pair
    official: Pair
    kinds: tuple[str, ...]  # what a saver works on
    tables: tuple[str, ...]
    encrypted: tuple[str, ...]  # the tables in which all values come from the serializer

    @abstractmethod
    def open(self, place: str, build: Any, kind: str = "connection", **kwargs: Any) -> Any:
        """Open a saver, with its tables set up, as a context manager."""

    @abstractmethod
    def aopen(self, place: str, build: Any, kind: str = "connection", **kwargs: Any) -> Any:
        """Open an asynchronous saver, as an asynchronous context manager."""

    @abstractmethod
    def stored(self, place: str, serde: SerializerProtocol) -> list[tuple[Any, ...]]:
        """Return the rows of all tables, decoded: first thread and namespace, then what is comparable."""

    @abstractmethod
    def raw(self, place: str) -> dict[str, list[tuple[Any, ...]]]:
        """Return the rows of each table as they are, in an order that is the same for equal rows."""

    @abstractmethod
    def execute(self, place: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run SQL, with `?` for its parameters, on a connection of its own and return the rows."""

    @abstractmethod
    def rows_of(self, place: str, thread_id: str) -> list[list[Any]]:
        """Return the rows of a thread as they are, without its id: checkpoints, writes, blobs.

        A checkpoint: namespace, id, parent, …, state, metadata. A write: namespace, id, task, path, …
        """

    @abstractmethod
    def fill(self, place: str, stored: Any) -> None:
        """Store what `kept` returned of another place."""

    @abstractmethod
    def kept(self, place: str) -> Any:
        """Return all that is stored."""

    @abstractmethod
    def fail(self, place: str, event: str, table: str, condition: str, text: str) -> None:
        """Let every `event` (BEFORE DELETE, …) on rows of a table fail that meet a condition."""

    def text(self, told: Any) -> str:
        """Return the repr of what a saver tells, in which only what is the same may be equal."""
        return repr(told)


class Sqlite(Backend):
    """SQLite, on a file or in memory."""

    name = "sqlite"
    ours = Pair(SqliteSaver, AsyncSqliteSaver)
    official = Pair(OfficialSqliteSaver, OfficialAsyncSqliteSaver)
    kinds = ("connection",)
    OF_THREAD = (
        """\
        SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
        FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_ns, checkpoint_id""",
        """\
        SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
        FROM writes WHERE thread_id = ? ORDER BY checkpoint_ns, checkpoint_id, task_id, idx""",
    )
    tables = encrypted = ("checkpoints", "writes")

    CHECKPOINTS = """\
    SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, metadata, type, checkpoint
    FROM checkpoints ORDER BY checkpoint_id"""
    WRITES = """\
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_path, idx, task_id, channel, type, value
    FROM writes ORDER BY checkpoint_id, task_path, idx, rowid"""

    @contextmanager
    def open(self, place: str, build: Any, kind: str = "connection", **kwargs: Any) -> Iterator[Any]:
        with closing(sqlite3.connect(place, check_same_thread=False)) as conn:
            saver = build(conn, **kwargs)
            saver.setup()
            yield saver

    @asynccontextmanager
    async def aopen(
        self, place: str, build: Any, kind: str = "connection", **kwargs: Any
    ) -> AsyncIterator[Any]:
        async with aiosqlite.connect(place) as conn:
            saver = build(conn, **kwargs)
            await saver.setup()  # the official `adelete_thread` does not
            yield saver

    def stored(self, place: str, serde: SerializerProtocol) -> list[tuple[Any, ...]]:
        rows = self.execute(place, self.CHECKPOINTS) + self.execute(place, self.WRITES)
        return [(*row[:-1], serde.loads_typed(row[-2:])) for row in rows]

    def raw(self, place: str) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table: self.execute(place, f"SELECT rowid, * FROM {table} ORDER BY rowid")
            for table in self.tables
        }

    def execute(self, place: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(place)) as conn, conn:
            return conn.execute(statement, parameters).fetchall()

    def rows_of(self, place: str, thread_id: str) -> list[list[Any]]:
        return [*(self.execute(place, sql, thread_id) for sql in self.OF_THREAD), []]

    def fill(self, place: str, stored: Any) -> None:
        Path(place).write_bytes(stored)

    def kept(self, place: str) -> Any:
        with closing(sqlite3.connect(place)) as conn:
            return conn.serialize()

    def fail(self, place: str, event: str, table: str, condition: str, text: str) -> None:
        raised = f"BEGIN SELECT RAISE(ABORT, '{text}'); END"
        self.execute(place, f"CREATE TRIGGER failing {event} ON {table} WHEN {condition} {raised}")


class Postgres(Backend):
    """PostgreSQL, on a connection, in a pipeline of one, or on a pool."""

    name = "postgres"
    ours = Pair(PostgresSaver, AsyncPostgresSaver)
    official = Pair(OfficialPostgresSaver, OfficialAsyncPostgresSaver)
    kinds = ("connection", "pool", "pipeline")
    OF_THREAD = (
        """\
        SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint::text, metadata::text
        FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_ns, checkpoint_id""",
        """\
        SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
        FROM checkpoint_writes WHERE thread_id = ? ORDER BY checkpoint_ns, checkpoint_id, task_id, idx""",
        """\
        SELECT checkpoint_ns, channel, version, type, blob
        FROM checkpoint_blobs WHERE thread_id = ? ORDER BY checkpoint_ns, channel, version""",
    )
    tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
    encrypted = tables[1:]

    # Versions end in a random number: blobs come in the order of the checkpoints that refer to them.
    BLOBS = """\
    SELECT thread_id, checkpoint_ns, channel, version, type, blob FROM checkpoint_blobs AS held
    ORDER BY (SELECT min(checkpoint_id) FROM checkpoints WHERE thread_id = held.thread_id
        AND checkpoint_ns = held.checkpoint_ns
        AND checkpoint -> 'channel_versions' ->> held.channel = held.version), channel, version"""
    CHECKPOINTS = """\
    SELECT thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type,
        checkpoint::text, metadata::text FROM checkpoints ORDER BY checkpoint_id"""
    WRITES = """\
    SELECT thread_id, checkpoint_ns, checkpoint_id, task_path, idx, task_id, channel, type, blob
    FROM checkpoint_writes ORDER BY checkpoint_id, task_path, idx, task_id"""

    @contextmanager
    def open(self, place: str, build: Any, kind: str = "connection", **kwargs: Any) -> Iterator[Any]:
        self.prepare(place)
        if kind == "pool":
            with ConnectionPool(place, kwargs=OPTIONS, **POOL) as pool:
                yield build(pool, **kwargs)
            return
        with psycopg.Connection.connect(place, **OPTIONS) as conn:
            if kind == "pipeline":
                with conn.pipeline() as pipe:
                    yield build(conn, pipe, **kwargs)
            else:
                yield build(conn, **kwargs)

    @asynccontextmanager
    async def aopen(
        self, place: str, build: Any, kind: str = "connection", **kwargs: Any
    ) -> AsyncIterator[Any]:
        self.prepare(place)
        if kind == "pool":
            async with AsyncConnectionPool(place, kwargs=OPTIONS, **POOL) as pool:
                yield build(pool, **kwargs)
            return
        async with await psycopg.AsyncConnection.connect(place, **OPTIONS) as conn:
            if kind == "pipeline":
                async with conn.pipeline() as pipe:
                    yield build(conn, pipe, **kwargs)
            else:
                yield build(conn, **kwargs)

    def prepare(self, place: str) -> None:
        """Set up the tables; the official saver cannot do it in a pipeline."""
        with OfficialPostgresSaver.from_conn_string(place) as saver:
            saver.setup()

    def stored(self, place: str, serde: SerializerProtocol) -> list[tuple[Any, ...]]:
        rows = self.execute(place, self.BLOBS) + self.execute(place, self.WRITES)
        decoded = [(*row[:-1], serde.loads_typed(row[-2:])) for row in rows]
        return self.execute(place, self.CHECKPOINTS) + decoded

    def raw(self, place: str) -> dict[str, list[tuple[Any, ...]]]:
        return {table: sorted(self.execute(place, f"TABLE {table}"), key=repr) for table in self.tables}

    def execute(self, place: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(place, autocommit=True) as conn:
            if parameters:
                statement = statement.replace("%", "%%").replace("?", "%s")
            cursor = conn.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def rows_of(self, place: str, thread_id: str) -> list[list[Any]]:
        return [self.execute(place, sql, thread_id) for sql in self.OF_THREAD]

    def fill(self, place: str, stored: Any) -> None:
        self.prepare(place)
        with psycopg.connect(place, autocommit=True) as conn, conn.cursor() as cursor:
            for table, data in stored.items():
                with cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)".encode()) as copy:
                    copy.write(data)

    def kept(self, place: str) -> Any:
        with psycopg.connect(place) as conn, conn.cursor() as cursor:
            found = {}
            for table in self.tables:
                with cursor.copy(f"COPY {table} TO STDOUT (FORMAT BINARY)".encode()) as copy:
                    found[table] = b"".join(copy)
            return found

    def fail(self, place: str, event: str, table: str, condition: str, text: str) -> None:
        body = f"$$ BEGIN RAISE EXCEPTION '{text}'; END $$"
        self.execute(place, f"CREATE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS {body}")
        trigger = f"CREATE TRIGGER failing {event} ON {table} FOR EACH ROW"
        self.execute(place, f"{trigger} WHEN ({condition}) EXECUTE FUNCTION failing()")

    def text(self, told: Any) -> str:
        return repr(_in_order(told))


def _in_order(told: Any) -> Any:
    """Sort channels by name: the official saver has those that are blobs in any order."""
    if isinstance(told, CheckpointTuple):
        return told._replace(checkpoint=_in_order(told.checkpoint))
    if isinstance(told, dict) and "channel_values" in told:
        return {**told, "channel_values": dict(sorted(told["channel_values"].items()))}
    return [_in_order(each) for each in told] if isinstance(told, list) else told


SQLITE, POSTGRES = BACKENDS = (Sqlite(), Postgres())
# Each backend with each kind of what its savers work on: `parametrize(("backend", "kind"), …)`, indirectly.
EACH_KIND = [pytest.param(each, kind, id=f"{each.name}-{kind}") for each in BACKENDS for kind in each.kinds]
IN_SQLITE = pytest.mark.parametrize("backend", [pytest.param(SQLITE, id="sqlite")], indirect=True)
IN_POSTGRES = pytest.mark.parametrize("backend", [pytest.param(POSTGRES, id="postgres")], indirect=True)


@contextmanager
def stores(backend: Backend, request: Any) -> Iterator[Callable[[], str]]:
    """Give what creates empty places in a database, for as long as the block lasts."""
    with ExitStack() as stack:
        if backend.name == "sqlite":
            folder, numbers = request.getfixturevalue("tmp_path_factory").mktemp("stores"), count()
            yield lambda: str(folder / f"{next(numbers)}.sqlite")
        else:
            postgres = request.getfixturevalue("postgres")
            yield lambda: stack.enter_context(postgres.database())
