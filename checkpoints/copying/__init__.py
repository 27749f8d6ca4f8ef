"""Copies a thread from one store to another, of the same kind or the other, exactly as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from checkpoints.copying.cancelling import beside_the_loop
from checkpoints.copying.progress import Copied, Meter, Progress, Stop
from checkpoints.copying.spool import Spool
from checkpoints.errors import CopyRefused, ThreadNotFound
from checkpoints.splicing.seals import Seal
from checkpoints.stores.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoints.copying.tables import Kind

__all__ = ["Copied", "Progress", "acopy_thread", "copy_thread"]


class End(Protocol):
    """A store at one end of a copy."""

    @property
    def kind(self) -> Kind: ...

    def require_none(self, thread_id: str) -> None:
        """Look whether the thread may be written. Raises StoreError, as ThreadExists."""

    def read(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Read all rows of the thread, as they are in one moment. Raises StoreError, as ThreadNotFound."""

    def write(self, thread_id: str, spool: Spool, meter: Meter) -> None:
        """Write the thread in one transaction. Raises StoreError, as ThreadExists."""


def copy_thread(
    source: Location | str,
    target: Location | str,
    thread_id: str,
    as_thread_id: str | None = None,
    *,
    key: bytes | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Copied:
    """Copy all that a store has of a thread into another store, or under another id into the same.

    Stores are paths of SQLite files and postgresql:// URLs. The target gets the whole thread in one
    transaction, or nothing; a SQLite file is made where there is none. Ids, parents and versions stay, so an
    interrupted thread goes on in the copy as it would in the source.

    `key` decrypts and encrypts rows where the kind of database changes; by default it is LANGGRAPH_AES_KEY.
    `progress` is called after every few rows.

    Raises a StoreError: ThreadNotFound, ThreadExists, CopyRefused for what the target cannot hold exactly,
    and those of stores that cannot be read or written.
    """
    return _copy(_end(source), _end(target), thread_id, as_thread_id, Seal(key), Meter(progress, Stop()))


async def acopy_thread(
    source: Location | str,
    target: Location | str,
    thread_id: str,
    as_thread_id: str | None = None,
    *,
    key: bytes | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Copied:
    """Do what `copy_thread` does, on another thread than the event loop's; `progress` is called on the loop.

    Cancelled, it waits until nothing of the copy is left. A copy that was complete by then is returned.
    """
    ends = _end(source), _end(target)
    seal = Seal(key)
    return await beside_the_loop(
        lambda tell, stop: _copy(*ends, thread_id, as_thread_id, seal, Meter(tell, stop)), progress
    )


def _copy(
    source: End, target: End, thread_id: str, as_thread_id: str | None, seal: Seal, meter: Meter
) -> Copied:
    named = thread_id if as_thread_id is None else as_thread_id
    if not _is_text(thread_id):
        raise ThreadNotFound(f"There is no thread {thread_id!r} to copy.")
    if not _is_text(named):
        raise CopyRefused(f"No store can name a thread {named!r}.")
    target.require_none(named)
    with Spool(source.kind) as read:
        source.read(thread_id, read, meter)
        if source.kind == target.kind:
            return _write(read, target, named, meter, left=0)
        with Spool(target.kind) as converted:
            left = convert(read, converted, seal, meter)
            return _write(converted, target, named, meter, left=left)


def convert(source: Spool, target: Spool, seal: Seal, meter: Meter) -> int:
    """Fill a spool with the rows of its kind. Returns the number of blobs that it has no place for."""
    from checkpoints.copying.joining import join  # they need psycopg
    from checkpoints.copying.splitting import split

    if target.kind == "sqlite":
        return join(source, target, seal, meter)
    split(source, target, seal, meter)
    return 0


def _write(spool: Spool, target: End, thread_id: str, meter: Meter, *, left: int) -> Copied:
    meter.begin("write", spool.total)
    target.write(thread_id, spool, meter)
    return Copied({table.name: spool.size(table) for table in spool.tables}, left)


def _end(place: Location | str) -> End:
    location = Location.parse(place) if isinstance(place, str) else place
    if location.kind == "sqlite":
        from checkpoints.copying.sqlite import SqliteEnd

        return SqliteEnd(location)
    from checkpoints.copying.postgres import PostgresEnd

    return PostgresEnd(location)


def _is_text(id: str) -> bool:
    try:
        id.encode()
    except UnicodeEncodeError:  # an argument that is no UTF-8
        return False
    return True
