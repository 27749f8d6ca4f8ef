"""The receipt of a deletion: what was done, counted before and after, and what it does not cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from explorer.deletions import watch

if TYPE_CHECKING:
    from explorer.models import Deletion

FORMAT: Final = "checkpoint-explorer deletion receipt, version 1"
TABLES: Final = {
    "checkpoints": "checkpoints",
    "writes": "pending writes",
    "blobs": "channel values",
}
NOT_COVERED: Final = (
    "the agent's long-term store and any other table of its own",
    "traces and logs, such as LangSmith's",
    "backups, snapshots, copies and replicas of the database",
    "what the disk itself keeps of files that were rewritten",
)
NOT_COVERED_SERVER: Final = "the server's write-ahead log and its archive"


def not_covered(deletion: Deletion) -> tuple[str, ...]:
    """Return what a deletion in this kind of store cannot reach."""
    server = (NOT_COVERED_SERVER,) if deletion.store.startswith("postgresql") else ()
    backup = ("the backup that was made on purpose, until it is dropped",) if deletion.backup else ()
    return (*NOT_COVERED, *server, *backup)


def receipt(deletion: Deletion) -> dict[str, Any]:
    """Return all that is known of a deletion, as JSON. It holds ids and numbers, and the reason given."""
    left = deletion.left or {}
    erasure = deletion.erasure
    return {
        "format": FORMAT,
        "deletion": str(deletion.id),
        "store": deletion.store,
        "found_by": deletion.found_by,
        "planned": _by(deletion.planned_at, deletion.planned_by),
        "confirmed": _by(deletion.confirmed_at, deletion.confirmed_by),
        "reason": deletion.reason,
        "stage": deletion.stage,
        "ended_at": _iso(deletion.ended_at),
        "stopped": _by(deletion.stop_at, deletion.stopped_by),
        "tables": {
            TABLES[table]: {
                "rows_before": held["rows"],
                "bytes_before": held["bytes"],
                "rows_after": left.get(table) if deletion.left is not None else None,
            }
            for table, held in deletion.tables.items()
        },
        "threads": [
            {"thread": thread.thread_id, "rows": thread.checkpoints + thread.writes + thread.blobs}
            | {"fate": thread.fate, "at": _iso(thread.fate_at), "returned_rows": thread.returned_rows}
            for thread in deletion.of.all()
        ],
        "replays_deleted": deletion.replays,
        "erased": {
            "erased": deletion.erased_at is not None,
            "at": _iso(deletion.erased_at),
            "obstacle": erasure.get("reason", "") if not deletion.erased_at else "",
            "markers_searched": erasure.get("markers", 0),
            "bytes_searched": erasure.get("bytes", 0),
        },
        "looked_at_again": _iso(deletion.watched_at),
        "came_back": list(watch.returned(deletion).values_list("thread_id", flat=True)),
        "backup": {
            "bytes": deletion.backup_bytes,
            "sha256": deletion.backup_digest,
            "until": _iso(deletion.backup_until),
        }
        if deletion.backup
        else None,
        "not_covered": not_covered(deletion),
    }


def _by(at: Any, by: str) -> dict[str, Any] | None:
    return {"at": _iso(at), "by": by} if at else None


def _iso(at: Any) -> str | None:
    return at.isoformat() if at else None
