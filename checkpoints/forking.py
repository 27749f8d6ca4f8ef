"""Forks a checkpoint: in place, with other values, or into a new thread.

LangGraph reads what these write as its own. `thread_id` and `checkpoint_id` name a checkpoint of a store (the
path of a SQLite file, a postgresql:// URL); without an id it is the head of the namespace. Each function
writes all of a fork or nothing of it, and raises a StoreError: ThreadNotFound, CheckpointNotFound,
NotWritable, StoreBusy, NoRoomForCopy, KeyUnusable for what is encrypted, ForkRefused for what cannot be
forked, CheckpointChanged for what changed under its hands.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from checkpoints.errors import CheckpointChanged, ForkRefused, ThreadNotFound
from checkpoints.splicing.seals import Seal
from checkpoints.stores.forks import Forked, measured, put_in_new_thread, put_in_place
from checkpoints.stores.location import Location
from checkpoints.stores.siblings import note_of
from checkpoints.stores.writing import Writer, writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.stores.forks import Forks

__all__ = ["Forked", "afork", "afork_thread", "fork", "fork_thread"]


def fork(
    store: Location | str,
    thread_id: str,
    checkpoint_id: str | None = None,
    checkpoint_ns: str = "",
    *,
    values: Mapping[str, Any] | None = None,
    reason: str | None = None,
    author: str | None = None,
    key: bytes | None = None,
    seen: bytes | None = None,
) -> Forked:
    """Copy a checkpoint to where it is the head of its namespace: the next invoke continues from the copy.

    It is what `graph.update_state(config, None, as_node="__copy__")` stores: the same parent, state and
    versions, no pending writes. Beyond that it keeps the application's metadata, and says `reason` and
    `author` there. `values` are put into their channels in place of what is there, each as plain data or as
    `checkpoints.typedjson.parse` returns it; every other value keeps its bytes.

    `key` decrypts and encrypts rows; by default it is LANGGRAPH_AES_KEY. A value that cannot be stored raises
    ValueRefused. `seen` is what `values` were made of, the content of the row (in PostgreSQL its document as
    text): where the row holds something else CheckpointChanged is raised.
    """
    _require_text(thread_id, checkpoint_ns, checkpoint_id or "", *(values or {}))
    with writing(_location(store)) as writer:
        forks = _forks(writer, store)
        id = _named(writer, forks, thread_id, checkpoint_ns, checkpoint_id)
        source = writer.run(forks.source(thread_id, checkpoint_ns, id, values or ()))
        if seen is not None and source.content != seen:
            raise CheckpointChanged("The checkpoint has changed since it was looked at.")
        draft = forks.draft(source, values or {}, note_of(reason, author), Seal(key))
        return writer.transact(partial(put_in_place, forks, thread_id, checkpoint_ns, draft))


async def afork(
    store: Location | str,
    thread_id: str,
    checkpoint_id: str | None = None,
    checkpoint_ns: str = "",
    *,
    values: Mapping[str, Any] | None = None,
    reason: str | None = None,
    author: str | None = None,
    key: bytes | None = None,
    seen: bytes | None = None,
) -> Forked:
    """Do what `fork` does, on another thread than the event loop's."""
    return await asyncio.to_thread(
        fork,
        store,
        thread_id,
        checkpoint_id,
        checkpoint_ns,
        values=values,
        reason=reason,
        author=author,
        key=key,
        seen=seen,
    )


def fork_thread(
    store: Location | str,
    thread_id: str,
    target_thread_id: str,
    checkpoint_id: str | None = None,
    checkpoint_ns: str = "",
) -> Forked:
    """Copy a checkpoint into a new thread with all that it is made of, byte for byte.

    That is its ancestors by parent link, all their pending writes, and the checkpoints of subgraphs that were
    called from any of them. Ids stay, so tasks keep theirs: what has finished does not run again, and an
    interrupt waits for the same answer. Raises ThreadExists when the target has any row.

    A checkpoint of a subgraph takes the graphs around it along, as far as they had come.
    """
    _require_text(thread_id, checkpoint_ns, checkpoint_id or "", target_thread_id)
    with writing(_location(store)) as writer:
        forks = _forks(writer, store)
        id = _named(writer, forks, thread_id, checkpoint_ns, checkpoint_id)
        found, sizes = writer.run(measured(forks, thread_id, checkpoint_ns, id))
        writer.run(forks.stage(found))
        copy = partial(put_in_new_thread, forks, thread_id, found, sizes, target_thread_id)
        tables = writer.transact(copy)
        return Forked(target_thread_id, checkpoint_ns, id, tables, tuple(found.ids))


async def afork_thread(
    store: Location | str,
    thread_id: str,
    target_thread_id: str,
    checkpoint_id: str | None = None,
    checkpoint_ns: str = "",
) -> Forked:
    """Do what `fork_thread` does, on another thread than the event loop's."""
    return await asyncio.to_thread(
        fork_thread, store, thread_id, target_thread_id, checkpoint_id, checkpoint_ns
    )


def _location(store: Location | str) -> Location:
    return Location.parse(store) if isinstance(store, str) else store


def _forks(writer: Writer, store: Location | str) -> Forks:
    if _location(store).kind == "sqlite":
        from checkpoints.stores.sqlite.forks import SqliteForks

        return SqliteForks(writer.schema)
    from checkpoints.stores.postgres.forks import PostgresForks  # it needs psycopg

    return PostgresForks(writer.schema)


def _named(writer: Writer, forks: Forks, thread_id: str, checkpoint_ns: str, id: str | None) -> str:
    head = id or writer.run(forks.head(thread_id, checkpoint_ns))
    if head is None:
        raise ThreadNotFound(f"There is no checkpoint to fork in the thread {thread_id!r}.")
    return head


def _require_text(*names: str) -> None:
    """Raise for names that no store can hold."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:  # an argument that is no UTF-8
            raise ForkRefused(f"No store can hold the name {name!r}.") from None
        if "\0" in name:
            raise ForkRefused("A name with a NUL character cannot be forked.")
