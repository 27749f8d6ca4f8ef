"""Threads kept in a file, exactly as they are, and put back into a store of either kind."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from checkpoints.bundling import sqlite
from checkpoints.bundling.bundle import opened
from checkpoints.bundling.format import Header
from checkpoints.bundling.importing import Import
from checkpoints.bundling.making import make
from checkpoints.bundling.progress import Bundled, Description, Imported, Progress, Tally
from checkpoints.bundling.reading import fill
from checkpoints.copying.cancelling import beside_the_loop
from checkpoints.copying.progress import Stop
from checkpoints.errors import ThreadNotFound
from checkpoints.splicing.seals import Seal
from checkpoints.stores.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from checkpoints.bundling.importing import Target
    from checkpoints.bundling.reading import Source

__all__ = [
    "Bundled",
    "Description",
    "Header",
    "Imported",
    "Progress",
    "aimport_bundle",
    "awrite_bundle",
    "describe",
    "import_bundle",
    "write_bundle",
]


def write_bundle(
    store: Location | str,
    thread_ids: Iterable[str] | None,
    path: str,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Bundled:
    """Write all that a store has of these threads (None: of all) into a new file, for its owner alone.

    Each thread is of one moment, not all of them of the same. The file is in its place when it is whole.

    Raises a StoreError, and leaves no file then: ThreadNotFound, FileInTheWay, NoRoomForCopy, CopyRefused for
    rows that no saver writes, and those of stores that cannot be read.
    """
    return _write(_location(store), _texts(thread_ids), path, Tally(progress, Stop()))


async def awrite_bundle(
    store: Location | str,
    thread_ids: Iterable[str] | None,
    path: str,
    *,
    progress: Callable[[Progress], None] | None = None,
) -> Bundled:
    """Do what `write_bundle` does, on another thread than the event loop's; `progress` is called on the loop.

    Cancelled, it leaves nothing.
    """
    location, named = _location(store), _texts(thread_ids)
    return await beside_the_loop(
        lambda tell, stop: _write(location, named, path, Tally(tell, stop)), progress
    )


def import_bundle(
    path: str,
    store: Location | str,
    *,
    thread_ids: Iterable[str] | None = None,
    key: bytes | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Imported:
    """Put these threads of a bundle, or all, into a store, ids and all, each of them whole or not at all.

    All of them are read and held against their digests before anything is written. A thread that the store
    has any row of, or cannot hold, is refused, and the others go on; `refused` says why. So an import that
    was stopped can be done again. Between two stores of a kind rows come back exactly as they were.

    `key` decrypts and encrypts rows where the kind of database changes; by default it is LANGGRAPH_AES_KEY.

    Raises a StoreError: BundleRefused, ThreadNotFound for one that the bundle has not, both before anything
    is written, and those of stores that cannot be written.
    """
    named = _texts(thread_ids)
    return _import(_location(path), _location(store), named, Seal(key), Tally(progress, Stop()))


async def aimport_bundle(
    path: str,
    store: Location | str,
    *,
    thread_ids: Iterable[str] | None = None,
    key: bytes | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Imported:
    """Do what `import_bundle` does, on another thread than the event loop's; `progress` is called on it.

    Cancelled, it leaves the threads that were imported by then.
    """
    places = _location(path), _location(store)
    named = _texts(thread_ids)
    seal = Seal(key)
    return await beside_the_loop(
        lambda tell, stop: _import(*places, named, seal, Tally(tell, stop)), progress
    )


def describe(path: str) -> Description:
    """Read what a bundle says of itself. Raises BundleRefused for a file that is none, or was changed.

    Its threads are added up when they are imported, not here.
    """
    with opened(_location(path), Stop()) as bundle:
        return bundle.description


def _write(location: Location, thread_ids: list[str] | None, path: str, tally: Tally) -> Bundled:
    source = source_of(location)
    if location.kind == "postgres" and any("\0" in thread_id for thread_id in thread_ids or ()):
        raise ThreadNotFound("PostgreSQL has no thread ids with a NUL character.")
    return make(
        path, source.kind, location.name, lambda bundle: fill(source, thread_ids, bundle, tally), tally.stop
    )


def _import(
    path: Location, store: Location, thread_ids: list[str] | None, seal: Seal, tally: Tally
) -> Imported:
    with opened(path, tally.stop) as bundle:
        sizes = bundle.check(thread_ids, tally)
        with _target(store, tally.stop) as target:
            return Import(bundle, target, seal, tally).run(sizes)


def source_of(location: Location) -> Source:
    """Return a store as one that is looked at, a moment at a time."""
    if location.kind == "sqlite":
        return sqlite.SqliteSource(location)
    from checkpoints.bundling.postgres import PostgresSource  # it needs psycopg

    return PostgresSource(location)


@contextmanager
def _target(location: Location, stop: Stop) -> Iterator[Target]:
    if location.kind == "sqlite":
        with sqlite.receiving(location, stop) as target:
            yield target
        return
    from checkpoints.bundling.postgres import receiving  # it needs psycopg

    with receiving(location, stop) as found:
        yield found


def _texts(thread_ids: Iterable[str] | None) -> list[str] | None:
    """Return the ids, each once. Raises ThreadNotFound for what is no text."""
    if thread_ids is None:
        return None
    named = list(dict.fromkeys(thread_ids))
    for thread_id in named:
        try:
            thread_id.encode()
        except UnicodeEncodeError:  # an argument that is no UTF-8
            raise ThreadNotFound(f"There is no thread {thread_id!r}.") from None
    return named


def _location(place: Location | str) -> Location:
    return Location.parse(place) if isinstance(place, str) else place
