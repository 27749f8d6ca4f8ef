"""Watching replays: one look at the database for all who watch the same one on this event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary

from checkpoints.errors import StoreUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable

F = TypeVar("F")

EVERY = 0.2  # seconds between two looks
ALIVE = 5  # seconds after which a watcher is told the same again


class Watch(Generic[F]):
    """Looks at one thing again and again while somebody watches, and shows each watcher what is newest.

    `look` returns what is to be shown, given what was shown last. `is_last` tells that nothing comes after.
    """

    def __init__(self, look: Callable[[F | None], Awaitable[F]], is_last: Callable[[F], bool]) -> None:
        self._look = look
        self._is_last = is_last
        self._shown: F | None = None
        self._changed = asyncio.Condition()
        self._number = 0
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None

    async def frames(self) -> AsyncGenerator[F]:
        """Yield what there is now and whenever it changes, the last included. A slow watcher skips some."""
        self._watchers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._failed)
        try:
            seen = 0 if self._shown is None else self._number - 1
            while True:
                async with self._changed:
                    while self._number == seen:
                        await self._changed.wait()
                    seen, frame = self._number, self._shown
                if frame is None:  # the database is away: whoever watches asks again
                    return
                yield frame
                if self._is_last(frame):
                    return
        finally:
            self._watchers -= 1
            if not self._watchers and self._task:
                self._task.cancel()

    async def _run(self) -> None:
        told = 0.0
        while self._watchers:
            frame: F | None = None
            with suppress(StoreUnreachable):
                frame = await self._look(self._shown)
            now = time.monotonic()
            if frame is None or frame != self._shown or now - told > ALIVE:
                told = now
                await self._show(frame)
            if frame is None or self._is_last(frame):
                return
            await asyncio.sleep(EVERY)

    def _failed(self, task: asyncio.Task[None]) -> None:
        """Let nobody wait for what will not come, and tell of our own mistake."""
        if not task.cancelled() and (error := task.exception()):
            logging.getLogger(__name__).error("A replay cannot be watched.", exc_info=error)
            self._last = asyncio.create_task(self._show(None))

    async def _show(self, frame: F | None) -> None:
        async with self._changed:
            self._shown = frame
            self._number += 1
            self._changed.notify_all()

    @property
    def watched(self) -> bool:
        return self._watchers > 0


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Watch[str]]] = WeakKeyDictionary()


async def watched(
    key: Hashable, look: Callable[[str | None], Awaitable[str]], is_last: Callable[[str], bool]
) -> AsyncGenerator[str]:
    """Yield the frames of what `key` names, looked at once for all who watch it."""
    watches = _watches.setdefault(asyncio.get_running_loop(), {})
    watch = watches.get(key)
    if watch is None:
        watch = watches[key] = Watch(look, is_last)
    try:
        async with aclosing(watch.frames()) as frames:
            async for frame in frames:
                yield frame
    finally:
        if not watch.watched and watches.get(key) is watch:
            del watches[key]
