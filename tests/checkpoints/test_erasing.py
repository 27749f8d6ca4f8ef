"""Erasing: deleted text leaves the files, or what is in the way is told."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from graphs import chat, config, official_saver
from langchain_core.messages import HumanMessage
from postgres_threads import ask

from checkpoints.deleting import Erasure, deleting, erase
from checkpoints.stores import Location
from checkpoints.stores.sqlite import erasing

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = [f"secret of ana number {n}".encode() for n in range(20)]
KINDS = ("OFF", "FAST", "ON")


def fill(place: Path | str, secure_delete: str = "OFF") -> None:
    """Write what will be deleted between what stays, so that it lies in pages of both."""
    with official_saver(place) as saver:
        if isinstance(place, Path):
            saver.conn.execute(f"PRAGMA secure_delete={secure_delete}")
        graph = chat(saver)
        for secret in SECRETS:
            for thread_id, text in (("ana", secret.decode()), ("ben", "hello")):
                graph.invoke({"messages": [HumanMessage(text)]}, config(thread_id))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a file holds that was written with each kind of `secure_delete`."""
    folder = tmp_path_factory.mktemp("filled")
    for kind in KINDS:
        fill(folder / kind, kind)
    return {kind: (folder / kind).read_bytes() for kind in KINDS}


@pytest.fixture
def path(tmp_path: Path, filled: dict[str, bytes]) -> Path:
    path = tmp_path / "store.sqlite"
    path.write_bytes(filled["OFF"])
    return path


def files_of(path: Path) -> bytes:
    return b"".join(
        file.read_bytes() for file in path.parent.glob(f"{path.name}*") if "-shm" not in file.name
    )


def found_in(path: Path) -> list[bytes]:
    return [secret for secret in SECRETS if secret in files_of(path)]


def delete(path: Path | str) -> list[bytes]:
    with deleting(Location.parse(str(path))) as deleter:
        markers = deleter.markers("ana")
        deleter.delete(["ana"])
    return markers


def erased(path: Path, markers: list[bytes], **how: Any) -> Erasure:
    return erase(Location.parse(str(path)), markers, **how)


@pytest.mark.parametrize("secure_delete", KINDS)
@pytest.mark.parametrize("mode", ["wal", "delete", "persist", "truncate"])
def test_no_byte_of_a_deleted_thread_is_left(
    path: Path, filled: dict[str, bytes], secure_delete: str, mode: str
) -> None:
    path.write_bytes(filled[secure_delete])
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(f"PRAGMA journal_mode={mode}")
    assert found_in(path) == SECRETS
    found = erased(path, delete(path))
    assert found.done
    assert found.markers >= 4
    assert found.bytes >= path.stat().st_size
    assert found_in(path) == []
    with official_saver(path) as saver:
        assert saver.get(config("ben"))
        assert saver.get(config("ana")) is None


def test_what_others_deleted_before_goes_with_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("PRAGMA secure_delete=OFF")
        conn.execute("DELETE FROM checkpoints WHERE thread_id = 'ana'")
    assert found_in(path)
    delete(path)
    assert erased(path, []).done
    assert found_in(path) == []


def test_markers_are_found_in_the_file_until_it_is_erased_and_are_no_text_of_a_state(path: Path) -> None:
    markers = erasing.markers_of(sqlite3.connect(path), "ana")
    assert erasing.search(str(path), markers)[0] == set(markers)
    delete(path)
    assert erased(path, markers).markers == len(markers)
    assert erasing.search(str(path), markers)[0] == set()
    assert not any(secret in marker for secret in SECRETS for marker in markers)


@pytest.fixture
def old_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who began to read before anything was deleted."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM checkpoints").fetchall()
        yield reader


def test_with_an_old_reader_it_is_not_erased_and_it_is_once_they_are_gone(
    path: Path, old_reader: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "PATIENCE", 0.3)
    markers = delete(path)
    refused = erased(path, markers)
    assert (refused.done, refused.obstacle) == (False, "reader")
    assert found_in(path)
    old_reader.execute("COMMIT")
    assert erased(path, markers).done
    assert found_in(path) == []


def test_a_locked_file_is_not_erased(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "PATIENCE", 0.3)
    markers = delete(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        refused = erased(path, markers)
    assert refused.obstacle in {"reader", "locked"}
    assert "Somebody" in refused.reason


FULL_DISK = """
import resource, signal, sys
from checkpoints.deleting import erase
from checkpoints.stores import Location
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
print(erase(Location.parse(sys.argv[1])).obstacle)
"""


def test_a_disk_without_room_leaves_the_file_as_it_was(path: Path) -> None:
    delete(path)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    told = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path, str(40_000)], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "room"
    assert path.read_bytes() == before
    assert erased(path, []).done


def test_an_agent_is_not_kept_from_writing_for_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "LOCKOUT", 0.0)
    markers = delete(path)
    with official_saver(path) as saver:
        refused = erased(path, markers)
        assert refused.obstacle == "agent"
        assert saver.get(config("ben"))
        assert erased(path, markers, insist=True).done
        chat(saver).invoke({"messages": [HumanMessage("still here")]}, config("ben"))


def test_a_table_of_the_application_that_holds_the_same_is_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE audit_of_the_app (what TEXT)")
        conn.execute(
            "INSERT INTO audit_of_the_app SELECT thread_id || checkpoint_ns || checkpoint_id FROM checkpoints"
        )
    found = erased(path, delete(path))
    assert (found.obstacle, found.elsewhere) == ("elsewhere", ("audit_of_the_app",))


def test_ids_that_another_thread_holds_by_right_are_no_obstacle(path: Path) -> None:
    with closing(sqlite3.connect(path)) as conn, conn:
        copied = "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
        conn.execute(
            f"INSERT INTO checkpoints SELECT 'copy', {copied} FROM checkpoints WHERE thread_id = 'ana'"
        )
    found = erased(path, delete(path))
    assert found.done
    assert found.markers > 0


def test_a_marker_across_two_chunks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "CHUNK", 10)
    (tmp_path / "file").write_bytes(b"0123456" + b"marker" + b"0123456")
    assert erasing.search(str(tmp_path / "file"), [b"marker", b"none"]) == ({b"marker"}, 20)


def test_a_server_is_never_called_erased(database: str) -> None:
    fill(database)
    found = erased(database, delete(database))  # type: ignore[arg-type]
    assert (found.done, found.obstacle) == (False, "server")
    assert "replicas and backups" in found.reason
    assert "VACUUM FULL" in found.advice


def test_tables_of_a_server_are_rewritten_when_one_insists(database: str) -> None:
    fill(database)
    delete(database)
    filenode = "SELECT pg_relation_filenode('checkpoint_blobs')"
    before = ask(database, filenode)
    found = erased(database, [], insist=True)  # type: ignore[arg-type]
    assert "were rewritten" in found.reason
    assert ask(database, filenode) != before


def test_a_role_that_owns_no_table_cannot_rewrite_one_and_is_told(database: str) -> None:
    fill(database)
    role = f"deleter_{database.rpartition('/')[2].partition('?')[0]}"
    ask(database, f"CREATE ROLE {role} LOGIN")
    ask(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        found = erased(database.replace("postgres@", f"{role}@"), [], insist=True)  # type: ignore[arg-type]
    finally:
        ask(database, f"DROP OWNED BY {role}")
        ask(database, f"DROP ROLE {role}")
    assert "Only the owner of" in found.reason


def test_a_large_file_is_not_begun_with_beside_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "BESIDE", 10_000)
    markers = delete(path)
    with official_saver(path):
        assert erased(path, markers).obstacle == "agent"
    assert erased(path, markers).done, "nobody else has it open"
