"""A PostgreSQL store is only read, in one moment, for a limited time, and what goes wrong has a name."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from stores_data import all_pages, ask, browse, config, execute, ids, write, write_asking

from checkpoints import errors
from checkpoints.doctor import diagnose
from checkpoints.stores import Location, Store, budget, check, close, read, read_since
from checkpoints.stores.budget import Budget
from checkpoints.stores.postgres import pool, threads, timeline
from checkpoints.stores.postgres import store as postgres_store
from checkpoints.stores.postgres.places import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from postgres import Databases

    from checkpoints.stores.postgres.store import PostgresStore

ENDLESS = "SELECT pg_sleep(30)"
OURS = "FROM pg_stat_activity WHERE application_name = 'checkpoint-explorer' AND datname = current_database()"
TERMINATE = f"SELECT pg_terminate_backend(pid, 5000) {OURS}"


@pytest.fixture
async def store(database: str) -> AsyncIterator[Location]:
    """A store of two threads."""
    yield Location.parse(write(database, ["a", "b"]))
    await close()


@pytest.fixture
def reader(database: str) -> Iterator[Callable[[str], str]]:
    """Make a role that may only read, and return the URL by which it comes to a database."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE ROLE only_reader LOGIN PASSWORD 'reads'")
    yield lambda url: f"postgresql://only_reader:reads@{url.rpartition('@')[2]}"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DROP OWNED BY only_reader")
        conn.execute("DROP ROLE only_reader")


async def first(store: Store) -> str:
    return (await store.threads()).threads[0].thread_id


def stuck(sql: str) -> Callable[[PostgresStore], Awaitable[Any]]:
    """Return a question that waits for this statement."""

    async def wait(asked: PostgresStore) -> None:
        await asked.conn.execute(sql.encode())

    return wait


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM checkpoints",
        "CREATE TABLE mine (x int)",
        "SET TRANSACTION READ WRITE",
        "SELECT nextval('pg_class_oid_seq')",
    ],
)
async def test_nothing_can_be_written(store: Location, sql: str) -> None:
    with pytest.raises(errors.StoreError):
        await read(store, stuck(sql))
    assert await read(store, first) == "b"


async def test_the_saver_reads_and_may_not_write(store: Location) -> None:
    async def use(asked: PostgresStore) -> int:
        found = await asked.saver.aget_tuple(config("a"))
        assert found is not None
        count = len([row async for row in asked.saver.alist(config("a"))])
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await asked.saver.aput_writes(found.config, [("log", "x")], "task")
        return count

    assert await read(store, use) == 3


async def test_all_answers_are_of_one_moment(store: Location) -> None:
    async def look_twice(asked: Store) -> None:
        before = await asked.threads()
        execute(store.conninfo, "DELETE FROM checkpoints")
        assert await asked.threads() == before

    await read(store, look_twice)
    assert [row.head for row in (await read(store, lambda asked: asked.threads())).threads] == [None, None]


async def test_an_empty_database_is_refused_and_left_empty(database: str) -> None:
    with pytest.raises(errors.NoCheckpointTables):
        await ask(database, first)
    with pytest.raises(errors.NoCheckpointTables):
        check(Location.parse(database))
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


async def test_a_role_that_may_only_select_sees_everything(
    store: Location, reader: Callable[[str], str]
) -> None:
    execute(store.conninfo, "GRANT SELECT ON checkpoints, checkpoint_blobs, writes TO only_reader")
    check(Location.parse(reader(store.conninfo)))
    assert await ask(reader(store.conninfo), browse) == 2


async def test_a_role_that_may_not_read_a_table_is_told_which(
    store: Location, reader: Callable[[str], str]
) -> None:
    execute(store.conninfo, "GRANT SELECT ON checkpoints, writes TO only_reader")
    with pytest.raises(errors.AccessRefused, match="may not read checkpoint_blobs"):
        await ask(reader(store.conninfo), first)


@pytest.mark.parametrize("path", ["-csearch_path%3Dagents", "-c%20search_path%3Dagents,public"])
async def test_tables_of_another_schema_are_read(database: str, path: str) -> None:
    execute(database, "CREATE SCHEMA agents")
    place = f"{database}{'&' if '?' in database else '?'}options={path}"
    write(place, ["there"])
    assert await ids(place) == ["there"]
    with pytest.raises(errors.NoCheckpointTables) as refused:
        await ids(database)
    assert "search_path" in refused.value.advice


@pytest.mark.parametrize("table", ["checkpoints", "checkpoint_blobs", "checkpoint_writes"])
async def test_a_view_is_refused(store: Location, table: str) -> None:
    execute(store.conninfo, f"ALTER TABLE {table} RENAME TO kept")
    execute(store.conninfo, f"CREATE VIEW {table} AS SELECT * FROM kept")
    with pytest.raises(errors.NoCheckpointTables, match=f"{table} that is not an ordinary table"):
        await read(store, first)


async def test_a_missing_table_and_a_missing_column_are_named(store: Location) -> None:
    execute(store.conninfo, "ALTER TABLE checkpoints RENAME COLUMN metadata TO secret")
    with pytest.raises(errors.NoCheckpointTables, match="checkpoints table without metadata"):
        await read(store, first)
    execute(store.conninfo, "DROP TABLE checkpoints")
    with pytest.raises(errors.NoCheckpointTables, match="no table checkpoints"):
        await read(store, first)


async def test_partitions_are_read(store: Location) -> None:
    whole = await read(store, all_pages)
    execute(store.conninfo, "ALTER TABLE checkpoints RENAME TO plain")
    execute(store.conninfo, "CREATE TABLE checkpoints (LIKE plain) PARTITION BY HASH (thread_id)")
    for part in range(2):
        values = f"WITH (MODULUS 2, REMAINDER {part})"
        execute(store.conninfo, f"CREATE TABLE part{part} PARTITION OF checkpoints FOR VALUES {values}")
    execute(store.conninfo, "INSERT INTO checkpoints SELECT * FROM plain")
    execute(store.conninfo, "DROP TABLE plain")
    assert await read(store, all_pages) == whole
    assert (await read(store, lambda asked: asked.overview())).bytes > 40_000


async def test_tables_before_the_ninth_migration_are_read(database: str) -> None:
    write_asking(database, "asking")
    execute(database, "ALTER TABLE writes DROP COLUMN task_path")
    assert await ask(database, browse) == 1


async def test_a_heavy_read_is_stopped(store: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    hurried = pool.BEGIN.replace("statement_timeout = 10000", "statement_timeout = 50")
    monkeypatch.setattr(pool, "BEGIN", hurried)
    with pytest.raises(errors.ReadTimeout):
        await read(store, stuck(ENDLESS))
    assert await read(store, first) == "b"


async def test_a_server_that_has_gone_silent_is_given_up(
    store: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "READ_SECONDS", -4.9)
    slow = threads._EXTENTS.replace("ORDER BY k.place", "WHERE pg_sleep(9) IS NULL")
    monkeypatch.setattr(threads, "_EXTENTS", slow)
    with pytest.raises(errors.ReadTimeout):
        await read(store, first)


async def test_a_locked_table_is_busy(store: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "BEGIN", pool.BEGIN.replace("lock_timeout = 2000", "lock_timeout = 50"))
    with psycopg.connect(store.conninfo) as owner:
        owner.execute("LOCK TABLE checkpoints IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(errors.StoreBusy, match="locked"):
            await read(store, first)


async def test_settings_end_with_the_question(store: Location) -> None:
    async def settings(conn: psycopg.AsyncConnection[Any]) -> list[Any]:
        names = ("statement_timeout", "lock_timeout", "transaction_read_only", "jit")
        asked = ", ".join(f"current_setting('{name}')" for name in names)
        return list(await (await conn.execute(f"SELECT {asked}".encode())).fetchone() or ())

    inside: list[Any] = []

    async def note(asked: PostgresStore) -> psycopg.AsyncConnection[Any]:
        inside.extend(await settings(asked.conn))
        return asked.conn

    conn = await read(store, note)
    assert inside == ["10s", "2s", "on", "off"]
    assert await settings(conn) == ["0", "0", "off", "on"], "PgBouncer gives the session to others"


async def test_a_connection_is_used_again(store: Location) -> None:
    async def who(asked: PostgresStore) -> int:
        return asked.conn.info.backend_pid

    assert await read(store, who) == await read(store, who)
    await close()
    with psycopg.connect(store.conninfo, autocommit=True) as conn:
        for _ in range(100):
            if conn.execute(f"SELECT count(*) {OURS}".encode()).fetchone() == (0,):
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("a connection was left open")
    assert await read(store, first) == "b", "and it may read again"


async def test_a_connection_that_ended_while_it_was_idle_is_not_noticed(store: Location) -> None:
    await read(store, first)
    execute(store.conninfo, TERMINATE)
    assert await read(store, first) == "b"


async def test_a_connection_that_ends_in_the_middle_of_a_read_has_a_name(store: Location) -> None:
    async def end_it(asked: PostgresStore) -> None:
        execute(store.conninfo, TERMINATE)
        await asked.threads()

    with pytest.raises(errors.ConnectionLost) as lost:
        await read(store, end_it)
    assert "Try again" in lost.value.advice
    assert lost.value.__cause__ is None
    assert await read(store, first) == "b"


async def test_many_questions_share_a_few_connections(
    store: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST", 2)
    assert await asyncio.gather(*(read(store, first) for _ in range(20))) == ["b"] * 20


async def test_who_waits_too_long_for_a_connection_is_told_so(
    store: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST", 1)
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.05)
    async with busy(store):
        with pytest.raises(errors.ServerFull, match="All 1 connections"):
            await read(store, first)
    assert await read(store, first) == "b"


async def test_a_question_that_is_given_up_leaves_its_place_to_others(
    store: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MOST", 1)
    for _ in range(3):
        async with busy(store):
            pass
        assert await read(store, first) == "b"


@asynccontextmanager
async def busy(store: Location) -> AsyncIterator[None]:
    """Keep a question waiting for its answer, and give it up at the end."""
    waiting = asyncio.create_task(read(store, stuck(ENDLESS)))
    with psycopg.connect(store.conninfo, autocommit=True) as conn:
        for _ in range(250):
            asked = "SELECT count(*) FROM pg_stat_activity WHERE query = %s"
            if conn.execute(asked.encode(), [ENDLESS]).fetchone() == (1,):
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("the question was never asked")
    yield
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting


async def test_a_mark_stands_for_what_was_seen(store: Location) -> None:
    found = await read_since(store, None, first)
    assert found is not None
    assert found[1] == "b"
    assert await read_since(store, found[0], first) is None
    write(store.conninfo, ["c"])
    again = await read_since(store, found[0], first)
    assert again is not None
    assert again[1] == "c"


async def test_no_more_statements_for_a_longer_thread(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    execute_one = psycopg.AsyncCursor.execute

    async def count(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal counted
        counted += 1
        return await execute_one(self, *args, **kwargs)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", count)

    async def pages(asked: Store) -> int:
        nonlocal counted
        counted = 0
        await asked.threads()
        await asked.namespaces("long")
        await asked.timeline("long", "", limit=2)
        return counted

    write(database, ["long", "a"])
    short = await ask(database, pages)
    write(database, ["long", "b", "c", "d"] * 5)
    assert await ask(database, pages) == short <= 20


ODD = ["a/b?c#d", "line\nbreak\ttab", "é☃" * 150, "%s %(x)s {y}", "'; DROP TABLE checkpoints", ""]


@pytest.mark.parametrize("id", ODD)
async def test_any_id_is_an_id(database: str, id: str) -> None:
    write(database, ["x"])
    for table in ("checkpoints", "writes", "checkpoint_blobs"):
        execute(database, f"UPDATE {table} SET thread_id = ?, checkpoint_ns = ?", id, id)
    assert await ids(database) == [id]
    assert await ask(database, browse) == 1
    assert len((await ask(database, lambda store: store.timeline(id, id))).checkpoints) == 3


@pytest.mark.parametrize("id", ["a\0b", "a\udcffb"])
async def test_an_id_that_no_text_can_hold_is_not_found(store: Location, id: str) -> None:
    with pytest.raises(errors.ThreadNotFound):
        await read(store, lambda asked: asked.namespaces(id))
    with pytest.raises(errors.CheckpointNotFound):
        await read(store, lambda asked: asked.checkpoint_row("a", "", id))
    assert (await read(store, lambda asked: asked.timeline("a", id))).checkpoints == ()
    assert await read(store, lambda asked: asked.writes("a", id, "x")) == ()


async def test_text_that_the_database_never_checked_is_damage(postgres: Databases) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE unchecked TEMPLATE template0 ENCODING SQL_ASCII")
    url = postgres.url_of("unchecked")
    try:
        write(url, ["a"])
        assert await ids(url) == ["a"]
        execute(url, r"UPDATE checkpoints SET thread_id = E'\xff'")
        with pytest.raises(errors.StoreDamaged, match="UTF-8"):
            await ids(url)
    finally:
        with psycopg.connect(postgres.url, autocommit=True) as conn:
            conn.execute("DROP DATABASE unchecked WITH (FORCE)")


@pytest.mark.parametrize("key", ['["\\ud800","x"]', '["1","\\u0000"]', "[1]", "x", "[" * 100_000])
def test_a_key_that_no_page_has_given_leads_to_the_first_page(key: str) -> None:
    assert Place.of_key(key) is None


def test_loops_that_end_leave_no_connections_behind(database: str) -> None:
    location = Location.parse(write(database, ["a"]))

    async def crowd() -> None:  # more than there are connections: some wait
        await asyncio.gather(*(read(location, first) for _ in range(2 * pool.MOST)))

    for _ in range(3):
        asyncio.run(crowd())
    asyncio.run(read(location, first))
    asyncio.run(close())
    with psycopg.connect(database, autocommit=True) as conn:
        for _ in range(100):  # a server process ends a moment after its connection
            [(left,)] = conn.execute(f"SELECT count(*) {OURS}").fetchall()
            if left <= 1:  # that of the last loop
                break
            time.sleep(0.05)
    assert left <= 1


# Each would fit better than PostgreSQL's own, or is looked for first: who may CREATE in the agent's schema
# can make them. Called, they would have the reader's rights.
TRAPS = """
CREATE FUNCTION trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sprung'; END $$;
CREATE FUNCTION quote_ident(name) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION concat_ws(text, pg_snapshot, timestamptz, pg_lsn) RETURNS text
    LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION to_regclass(text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION jsonb_each_text(jsonb) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION lower(text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION octet_length(bytea) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
CREATE FUNCTION pick(state text, value bigint) RETURNS text LANGUAGE sql AS 'SELECT public.trap()';
CREATE AGGREGATE array_agg(bigint) (SFUNC = pick, STYPE = text);
CREATE FUNCTION same(oid, regclass) RETURNS bool LANGUAGE sql AS 'SELECT public.trap() IS NULL';
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = same);
"""


async def test_nothing_that_lies_in_the_agents_schema_is_called(store: Location) -> None:
    execute(store.conninfo, TRAPS)
    with psycopg.connect(store.conninfo, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')
    await close()

    async def everything(asked: PostgresStore) -> None:
        await browse(asked)
        assert (await asked.overview()).threads == 2
        assert await asked.change_probe()
        assert [found async for found in asked.saver.alist(config("a"))]
        await asked.saver.aget_delta_channel_history(config=config("a"), channels=["log"])

    await read(store, everything)
    assert await read_since(store, None, lambda asked: asked.threads())
    assert diagnose(store).ok
    check(store)


@pytest.mark.parametrize("column", ["checkpoint", "metadata"])
async def test_a_column_of_somebodys_own_type_is_refused(store: Location, column: str) -> None:
    execute(
        store.conninfo,
        f"""
        CREATE TYPE own AS (document jsonb);
        CREATE FUNCTION own(own) RETURNS text LANGUAGE sql AS 'SELECT ''sprung''';
        CREATE CAST (own AS text) WITH FUNCTION own(own);
        ALTER TABLE checkpoints ALTER {column} DROP DEFAULT, ALTER {column} TYPE own USING ROW({column})::own;
        """,
    )
    with pytest.raises(errors.NoCheckpointTables, match=f"whose {column} is not of LangGraph's type"):
        await read(store, first)


async def test_a_table_with_policies_is_refused_to_whom_they_concern(
    store: Location, reader: Callable[[str], str]
) -> None:
    grants = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO only_reader"
    policy = "CREATE POLICY p ON checkpoints USING (pg_sleep(0) IS NULL)"
    execute(store.conninfo, f"{grants}; {policy}; ALTER TABLE checkpoints ENABLE ROW LEVEL SECURITY")
    assert await read(store, first)  # whose tables they are
    with pytest.raises(errors.AccessRefused, match="BYPASSRLS"):
        await read(Location.parse(reader(store.conninfo)), first)
    await close()


async def test_a_page_that_holds_all_leads_no_further(store: Location) -> None:
    page = await read(store, lambda asked: asked.timeline("a", "", limit=3))
    assert (len(page.checkpoints), page.older) == (3, None)
    assert (await read(store, lambda asked: asked.timeline("a", "", limit=2))).older


async def test_an_empty_blob_is_no_value(store: Location) -> None:
    execute(store.conninfo, "UPDATE checkpoint_blobs SET type = 'empty', blob = NULL")
    page = await read(store, lambda asked: asked.timeline("a", ""))
    assert [row.channels for row in page.checkpoints] == [(), (), ()]


async def test_documents_of_a_page_share_its_budget(store: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await read(store, lambda asked: asked.timeline("a", ""))
    sizes = [row.size + len(row.metadata or b"") for row in whole.checkpoints]
    monkeypatch.setattr(timeline, "PAGE", Budget(budget.MIB, sum(sizes[:2])))
    page = await read(store, lambda asked: asked.timeline("a", ""))
    assert [row.skipped for row in page.checkpoints] == [False, False, True]
