"""Setting up a PostgreSQL database: the official tables, by their official numbers, from any of them on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from backends import OPTIONS, POSTGRES
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver as OfficialSaver
from psycopg_pool import ConnectionPool
from saver_graphs import thread, trip

from checkpoints.postgres import PostgresSaver
from checkpoints.postgres.aio import AsyncPostgresSaver

if TYPE_CHECKING:
    from postgres import Databases

LAST = len(OfficialSaver.MIGRATIONS) - 1
COLUMNS = """\
SELECT table_schema, table_name, column_name, ordinal_position, data_type, column_default, is_nullable
FROM information_schema.columns WHERE table_name LIKE 'checkpoint%' ORDER BY 1, 2, 4"""
INDEXES = (
    "SELECT schemaname, tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 3"
)
VALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
NUMBERS = "SELECT v FROM checkpoint_migrations ORDER BY v"
LAYOUT = (COLUMNS, INDEXES, NUMBERS)


def layout(url: str) -> list[Any]:
    return [POSTGRES.execute(url, statement) for statement in LAYOUT]


@pytest.fixture(scope="module")
def official(postgres: Databases) -> list[Any]:
    """What the official saver sets up."""
    with postgres.database() as url, OfficialSaver.from_conn_string(url) as saver:
        saver.setup()
        return layout(url)


def set_up(url: str) -> None:
    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()


async def aset_up(url: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()


def set_up_in_a_pipeline(url: str) -> None:
    with PostgresSaver.from_conn_string(url, pipeline=True) as saver:
        saver.setup()


async def aset_up_in_a_pipeline(url: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(url, pipeline=True) as saver:
        await saver.setup()


def set_up_on_a_pool(url: str) -> None:
    with ConnectionPool(url, min_size=1) as pool:  # whose connections do not commit by themselves
        PostgresSaver(pool).setup()


def set_up_without_autocommit(url: str) -> None:
    with psycopg.connect(url) as conn:
        PostgresSaver(conn).setup()
        assert not conn.autocommit


WAYS: dict[str, Any] = {
    "connection": set_up,
    "pipeline": set_up_in_a_pipeline,
    "pool": set_up_on_a_pool,
    "no autocommit": set_up_without_autocommit,
    "async": lambda url: asyncio.run(aset_up(url)),
    "async pipeline": lambda url: asyncio.run(aset_up_in_a_pipeline(url)),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_database_becomes_what_the_official_saver_makes_of_it(
    way: str, database: str, official: Any
) -> None:
    WAYS[way](database)
    assert layout(database) == official
    assert official[2] == [(number,) for number in range(LAST + 1)]
    assert POSTGRES.execute(database, VALID) == [(0,)]


@pytest.mark.parametrize("way", WAYS)
def test_a_second_setup_changes_nothing(way: str, database: str, official: Any) -> None:
    set_up(database)
    with PostgresSaver.from_conn_string(database) as saver:
        trip(saver).invoke({"log": ["began"]}, thread("1"))
    before = POSTGRES.raw(database)
    WAYS[way](database)
    with OfficialSaver.from_conn_string(database) as theirs:
        theirs.setup()
    assert (layout(database), POSTGRES.raw(database)) == (official, before)


@pytest.mark.parametrize("number", range(-1, LAST + 1))
@pytest.mark.parametrize("way", ["connection", "async"])
def test_a_database_of_an_earlier_release_is_migrated_from_where_it_is(
    way: str, number: int, database: str, official: Any
) -> None:
    for done, statement in enumerate(OfficialSaver.MIGRATIONS[: number + 1]):
        POSTGRES.execute(database, statement)
        POSTGRES.execute(database, f"INSERT INTO checkpoint_migrations VALUES ({done})")
    WAYS[way](database)
    assert layout(database) == official


@pytest.mark.parametrize("number", range(LAST))
def test_rows_of_an_earlier_release_are_read_before_and_after_the_migration(
    number: int, database: str
) -> None:
    with PostgresSaver.from_conn_string(database) as saver:
        saver.setup()
        trip(saver).invoke({"log": ["began"]}, thread("1"))
        for statement in UNDONE[number:]:
            POSTGRES.execute(database, statement)
        POSTGRES.execute(database, f"DELETE FROM checkpoint_migrations WHERE v > {number}")
        before = list(saver.list(None))
        log = trip(saver).get_state(thread("1")).values["log"]
        saver.setup()
        assert repr(list(saver.list(None))) == repr(before)
    assert (log[:2], sorted(log[2:])) == (["began", "planned"], ["Lima", "Oslo", "Rome"])
    with OfficialSaver.from_conn_string(database) as theirs:
        assert POSTGRES.text(list(theirs.list(None))) == POSTGRES.text(before)


# What takes back the migrations from 1 on. Without the tables there is nothing to read.
UNDONE = [
    "SELECT 1",
    "SELECT 1",
    "SELECT 1",
    "ALTER TABLE checkpoint_blobs ALTER COLUMN blob SET NOT NULL",
    "SELECT 1",
    "DROP INDEX checkpoints_thread_id_idx",
    "DROP INDEX checkpoint_blobs_thread_id_idx",
    "DROP INDEX checkpoint_writes_thread_id_idx",
    "ALTER TABLE checkpoint_writes DROP COLUMN task_path",
]


SETUP = """
import sys
from checkpoints.postgres import PostgresSaver

with PostgresSaver.from_conn_string(sys.argv[1]) as saver:
    print("ready", flush=True)
    sys.stdin.readline()
    saver.setup()
print("done")
"""


def test_several_processes_may_set_up_at_once(database: str, official: Any) -> None:
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", SETUP, database], **pipes) for _ in range(6)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 6
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] for process in processes] == ["done\n"] * 6
    assert layout(database) == official
    assert POSTGRES.execute(database, VALID) == [(0,)]


def make_index_in_vain(url: str) -> subprocess.Popen[str]:
    """Begin to create an index and return when it waits for the transactions before it."""
    maker = subprocess.Popen([sys.executable, "-c", MAKER, url], text=True)
    for _ in range(200):
        if POSTGRES.execute(url, "SELECT 1 FROM pg_index WHERE NOT indisvalid"):
            return maker
        time.sleep(0.05)
    raise AssertionError("no index was begun")


MAKER = f"""
import sys, psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as conn:
    conn.execute({OfficialSaver.MIGRATIONS[7]!r})
"""
PART = range(7)  # the migrations before that index


@pytest.fixture
def half(database: str) -> str:
    """A database that the next migration gives an index."""
    for number in PART:
        POSTGRES.execute(database, OfficialSaver.MIGRATIONS[number])
        POSTGRES.execute(database, f"INSERT INTO checkpoint_migrations VALUES ({number})")
    return database


@pytest.mark.parametrize("way", WAYS)
def test_an_index_whose_making_was_cut_off_is_made_again(way: str, half: str, official: Any) -> None:
    with psycopg.connect(half) as other:
        other.execute("LOCK checkpoint_blobs IN ROW EXCLUSIVE MODE")
        maker = make_index_in_vain(half)
        POSTGRES.execute(half, "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_create_index")
        assert maker.wait(30) != 0
    assert POSTGRES.execute(half, VALID) == [(1,)]
    WAYS[way](half)
    assert (layout(half), POSTGRES.execute(half, VALID)) == (official, [(0,)])


def test_an_index_that_somebody_is_making_is_waited_for(half: str, official: Any) -> None:
    with ThreadPoolExecutor() as pool:
        with psycopg.connect(half) as other:
            other.execute("LOCK checkpoint_blobs IN ROW EXCLUSIVE MODE")
            maker = make_index_in_vain(half)
            waiting = pool.submit(set_up, half)
            with pytest.raises(TimeoutError):
                waiting.result(0.5)
        waiting.result(30)
    assert maker.wait(30) == 0
    assert (layout(half), POSTGRES.execute(half, VALID)) == (official, [(0,)])


async def test_several_tasks_and_the_official_saver_may_too(database: str, official: Any) -> None:
    async def setup_officially() -> None:
        def run() -> None:
            with OfficialSaver.from_conn_string(database) as theirs:
                theirs.setup()

        await asyncio.to_thread(run)

    set_up(database)  # the official one fails beside another on an empty database
    await asyncio.gather(*(aset_up(database) for _ in range(5)), setup_officially())
    assert (layout(database), POSTGRES.execute(database, VALID)) == (official, [(0,)])


def test_tables_of_another_schema_are_set_up_and_used_there(database: str, official: Any) -> None:
    POSTGRES.execute(database, "CREATE SCHEMA agents")
    place = f"{database}&options=-csearch_path%3Dagents"
    with PostgresSaver.from_conn_string(place) as saver:
        saver.setup()
        trip(saver).invoke({"log": ["began"]}, thread("1"))
        saver.setup()
        listed = list(saver.list(None))
    assert [row[1:] for row in POSTGRES.execute(database, COLUMNS)] == [row[1:] for row in official[0]]
    assert {row[0] for row in POSTGRES.execute(database, COLUMNS)} == {"agents"}
    with OfficialSaver.from_conn_string(place) as theirs:
        assert POSTGRES.text(list(theirs.list(None))) == POSTGRES.text(listed)


def test_two_schemas_of_a_database_are_two_stores(database: str) -> None:
    places = []
    for schema in ("one", "two"):
        POSTGRES.execute(database, f"CREATE SCHEMA {schema}")
        places.append(f"{database}&options=-csearch_path%3D{schema}")
        set_up(places[-1])
    new: Any = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    with PostgresSaver.from_conn_string(places[0]) as one, PostgresSaver.from_conn_string(places[1]) as two:
        one.put(new, empty_checkpoint(), {}, {})
        assert len(list(one.list(None))) == 1
        assert list(two.list(None)) == []


def test_an_error_on_the_way_is_raised_and_setup_can_go_on(database: str, official: Any) -> None:
    POSTGRES.execute(database, "CREATE VIEW checkpoint_blobs AS SELECT 1 AS nothing")
    with PostgresSaver.from_conn_string(database) as saver:
        with pytest.raises(psycopg.errors.WrongObjectType):
            saver.setup()
        POSTGRES.execute(database, "DROP VIEW checkpoint_blobs")
        POSTGRES.execute(database, OfficialSaver.MIGRATIONS[2])
        saver.setup()
    assert layout(database) == official


def test_a_database_of_a_later_release_is_left_as_it_is(database: str, official: Any) -> None:
    set_up(database)
    POSTGRES.execute(database, "INSERT INTO checkpoint_migrations VALUES (10), (11)")
    set_up(database)
    assert layout(database) == [*official[:2], [*official[2], (10,), (11,)]]


def test_the_connection_options_of_the_official_saver_are_ours(database: str) -> None:
    with PostgresSaver.from_conn_string(database) as saver:
        assert isinstance(saver.conn, psycopg.Connection)
        assert (saver.conn.autocommit, saver.conn.prepare_threshold) == (True, 0)
        assert saver.conn.row_factory is OPTIONS["row_factory"]
