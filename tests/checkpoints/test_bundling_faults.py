"""Bundles that are refused, stores that have the thread, exports and imports that are stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from copies import TABLES, execute, kind, official, rows
from stores_data import config, counter

from checkpoints.bundling import aimport_bundle, describe, import_bundle, write_bundle
from checkpoints.bundling.importing import ROWS
from checkpoints.errors import (
    BundleRefused,
    FileInTheWay,
    NoCheckpointTables,
    NotWritable,
    StoreMissing,
    ThreadExists,
    ThreadNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Databases

    from checkpoints.bundling import Progress

THREADS = ["t", "u", "", "é'\"\\%s\n", "x" * 2000, "\U0001f600"]
# Imports, and waits to be killed when some threads are in.
IMPORT = """
import sys, time
from checkpoints.bundling import import_bundle
def wait(progress):
    if progress.step == "import" and progress.threads > 2:
        print("there", flush=True)
        time.sleep(60)
import_bundle(*sys.argv[1:], progress=wait)
"""


def filled(place: str, *thread_ids: str) -> str:
    with official(place) as saver:
        for thread_id in thread_ids:
            counter(saver).invoke({"log": ["a", "b"]}, config(thread_id))
    return place


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path, postgres: Databases) -> Iterator[str]:
    """A store of either kind with a few threads."""
    if request.param == "sqlite":
        yield filled(str(tmp_path / "store"), *THREADS)
    else:
        with postgres.database() as url:
            yield filled(url, *THREADS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.fixture
def bundle(store: str, folder: Path) -> str:
    """A bundle of all threads of the store."""
    write_bundle(store, None, str(folder / "kept"))
    return str(folder / "kept")


def everything(place: str) -> dict[str, list[Any]]:
    return {
        table: sorted(execute(place, f"SELECT * FROM {table}"), key=repr) for table in TABLES[kind(place)]
    }


def empty(place: str) -> None:
    for table in TABLES[kind(place)]:
        execute(place, f"DELETE FROM {table}")


def test_any_text_is_a_thread_id(store: str, bundle: str) -> None:
    before = everything(store)
    empty(store)
    assert import_bundle(bundle, store).threads == len(THREADS)
    assert everything(store) == before


def test_a_thread_that_is_there_is_left_alone_and_the_others_go_on(store: str, bundle: str) -> None:
    before = rows(store, "u")
    execute(store, "DELETE FROM checkpoints WHERE thread_id IN ('t', 'u')")
    for table in TABLES[kind(store)][1:]:
        execute(store, f"DELETE FROM {table} WHERE thread_id = 'u'")
    rest = rows(store, "t")
    imported = import_bundle(bundle, store)
    assert (imported.threads, set(imported.refused)) == (1, {*THREADS} - {"u"})
    assert all(isinstance(error, ThreadExists) for error in imported.refused.values())
    assert (rows(store, "u"), rows(store, "t")) == (before, rest)


def test_a_thread_that_is_not_there_is_not_exported(store: str, folder: Path) -> None:
    for missing in ("missing", "T", "a\0b", "\udcff"):
        with pytest.raises(ThreadNotFound):
            write_bundle(store, ["t", missing], str(folder / "kept"))
    assert list(folder.iterdir()) == []


def test_a_thread_that_the_bundle_has_not_is_not_imported_nor_are_others(store: str, bundle: str) -> None:
    empty(store)
    with pytest.raises(ThreadNotFound, match="no thread 'x' in kept"):
        import_bundle(bundle, store, thread_ids=["t", "x"])
    assert not any(everything(store).values())


def test_a_file_in_the_way_stays_as_it_is(store: str, folder: Path) -> None:
    (folder / "kept").write_text("mine")
    with pytest.raises(FileInTheWay, match="There is a file kept already"):
        write_bundle(store, None, str(folder / "kept"))
    (folder / "link").symlink_to(folder / "nowhere")
    with pytest.raises(FileInTheWay):
        write_bundle(store, None, str(folder / "link"))
    assert (folder / "kept").read_text() == "mine"
    assert {path.name for path in folder.iterdir()} == {"kept", "link"}


def test_a_bundle_that_was_cut_off_is_refused(store: str, bundle: str) -> None:
    empty(store)
    whole = Path(bundle).read_bytes()
    for length in range(0, len(whole), max(4096, len(whole) // 40 // 512 * 512)):
        Path(bundle).write_bytes(whole[:length])
        with pytest.raises(BundleRefused):
            import_bundle(bundle, store)
    assert not any(everything(store).values())


def test_a_changed_byte_of_content_is_noticed(store: str, bundle: str) -> None:
    empty(store)
    whole = Path(bundle).read_bytes()
    at = whole.index(b"counted")
    Path(bundle).write_bytes(whole[:at] + b"C" + whole[at + 1 :])
    with pytest.raises(BundleRefused, match="not as it was written"):
        import_bundle(bundle, store)
    assert not any(everything(store).values())


CHANGES = (
    "DELETE FROM {checkpoints} WHERE thread_id = 'u'",
    "UPDATE {checkpoints} SET thread_id = 'other' WHERE thread_id = 'u'",
    "UPDATE {checkpoints} SET metadata = CAST(metadata AS TEXT) || ' '",
    "DELETE FROM bundle_threads WHERE thread_id = 'u'",
    "UPDATE bundle_threads SET digest = 'x' WHERE thread_id = 'u'",
    "UPDATE bundle SET store = 'other'",
    "UPDATE bundle SET kind = 'other'",
    "UPDATE bundle SET tables = '[[[['",
    "DELETE FROM bundle",
    "INSERT INTO bundle SELECT * FROM bundle",
    "CREATE VIEW more AS SELECT 1",
    "CREATE TABLE more (x)",
    "CREATE INDEX more ON {checkpoints} (type)",
    "CREATE TRIGGER more AFTER INSERT ON {checkpoints} BEGIN SELECT 1; END",
    "ALTER TABLE {checkpoints} ADD COLUMN more AS (zeroblob(1000000000))",
    "ALTER TABLE {checkpoints} ADD COLUMN more DEFAULT 'x'",
    "ALTER TABLE bundle RENAME TO other",
    "UPDATE bundle SET format = 2",
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_bundle_that_was_changed_is_refused(change: str, store: str, bundle: str) -> None:
    empty(store)
    name = "postgres_checkpoints" if kind(store) == "postgres" else "checkpoints"
    execute(bundle, change.format(checkpoints=name))
    with pytest.raises(BundleRefused):
        import_bundle(bundle, store)
    assert not any(everything(store).values())
    if not change.startswith(("UPDATE {", "DELETE FROM {checkpoints}")):
        with pytest.raises(BundleRefused):
            describe(bundle)


@pytest.mark.parametrize("made", ["view", "table"])
def test_what_stands_in_place_of_a_bundles_tables_is_not_run(made: str, store: str, folder: Path) -> None:
    path = str(folder / "trap")
    bomb = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS format FROM n"
    execute(path, f"CREATE VIEW bundle AS {bomb}" if made == "view" else "CREATE TABLE bundle (format)")
    execute(path, "CREATE TABLE bundle_threads (thread_id)")
    with pytest.raises(BundleRefused, match="is no bundle"):
        import_bundle(path, store)


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_of_another_kind_is_no_bundle(content: bytes, store: str, folder: Path) -> None:
    (folder / "other").write_bytes(content)
    with pytest.raises(BundleRefused):
        import_bundle(str(folder / "other"), store)


def test_a_store_is_no_bundle_and_a_missing_file_is_missing(store: str, folder: Path) -> None:
    filled(str(folder / "plain"), "t")
    with pytest.raises(BundleRefused, match="plain is no bundle"):
        import_bundle(str(folder / "plain"), store)
    with pytest.raises(StoreMissing):
        import_bundle(str(folder / "nothing"), store)


def test_values_that_no_database_of_its_kind_has_are_refused(folder: Path, database: str) -> None:
    write_bundle(filled(database, "t"), None, str(folder / "kept"))
    empty(database)
    for change in ("checkpoint = x'00'", "metadata = 5.5", "parent_checkpoint_id = x'ff'"):
        execute(str(folder / "kept"), f"UPDATE postgres_checkpoints SET {change}")
        with pytest.raises(BundleRefused):
            import_bundle(str(folder / "kept"), database)


def test_a_new_file_is_made_and_another_applications_is_refused(
    bundle: str, store: str, tmp_path: Path
) -> None:
    assert import_bundle(bundle, str(tmp_path / "new")).threads == len(THREADS)
    execute(str(tmp_path / "theirs"), "CREATE TABLE songs (title)")
    with pytest.raises(NoCheckpointTables):
        import_bundle(bundle, str(tmp_path / "theirs"))
    with pytest.raises(StoreMissing):
        import_bundle(bundle, str(tmp_path / "no folder" / "new"))
    with pytest.raises(NotWritable):
        write_bundle(store, None, str(tmp_path / "no folder" / "kept"))


def test_many_threads_go_in_several_transactions(tmp_path: Path, folder: Path) -> None:
    path = filled(str(tmp_path / "store"), "t")
    many = ROWS + 7
    with closing(sqlite3.connect(path)) as conn, conn:
        for table in TABLES["sqlite"]:
            conn.execute(f"CREATE TEMP TABLE one AS SELECT * FROM {table}")
            for number in range(many):
                conn.execute("UPDATE one SET thread_id = ?", (f"t-{number:05}",))
                conn.execute(f"INSERT INTO {table} SELECT * FROM one")
            conn.execute("DROP TABLE one")
    before = everything(path)
    assert write_bundle(path, None, str(folder / "kept")).threads == many + 1
    empty(path)
    assert import_bundle(str(folder / "kept"), path).threads == many + 1
    assert everything(path) == before


def test_a_large_thread_goes_page_by_page(folder: Path, store: str) -> None:
    with official(store) as saver:
        counter(saver).invoke({"log": ["x" * 3_000_000, "y" * 3_000_000]}, config("large"))
    before = everything(store)
    write_bundle(store, None, str(folder / "kept"))
    empty(store)
    import_bundle(str(folder / "kept"), store)
    assert everything(store) == before


def test_between_two_transactions_of_an_import_an_agent_can_write(tmp_path: Path, folder: Path) -> None:
    path = filled(str(tmp_path / "store"), *(f"t-{number}" for number in range(150)))
    write_bundle(path, None, str(folder / "kept"))
    empty(path)
    begun = []
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as agent:

        def work(progress: Progress) -> None:
            if progress.step == "import":
                agent.execute("BEGIN IMMEDIATE")
                agent.execute("ROLLBACK")
                begun.append(progress.threads)

        import_bundle(str(folder / "kept"), path, progress=work)
    assert len(begun) > 3


def killed(bundle: str, store: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", IMPORT, bundle, store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)


def test_an_import_that_was_killed_goes_on_where_it_was(store: str, bundle: str) -> None:
    before = everything(store)
    empty(store)
    killed(bundle, store)
    imported = import_bundle(bundle, store)
    assert imported.refused
    assert imported.threads + len(imported.refused) == len(THREADS)
    assert everything(store) == before


def test_an_export_that_is_stopped_leaves_nothing(store: str, folder: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.threads:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(store, None, str(folder / "kept"), progress=stop)
    assert list(folder.iterdir()) == []


async def test_an_import_waits_for_a_lock_only_until_it_is_cancelled(tmp_path: Path, folder: Path) -> None:
    path = filled(str(tmp_path / "store"), "t")
    write_bundle(path, None, str(folder / "kept"))
    empty(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as agent:
        agent.execute("BEGIN IMMEDIATE")
        work = asyncio.ensure_future(aimport_bundle(str(folder / "kept"), path))
        await asyncio.sleep(0.3)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    assert not any(everything(path).values())
