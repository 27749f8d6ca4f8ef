"""Long work beside the event loop, which ends wholly when it is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from checkpoints.copying.progress import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
P = TypeVar("P")


async def beside_the_loop(
    work: Callable[[Callable[[P], None], Stop], T], progress: Callable[[P], None] | None
) -> T:
    """Do the work on another thread, and call `progress` on the loop with what it tells.

    Cancelled, it asks the work to stop and waits for its end. Work that was complete by then is returned.
    """
    loop, stop = asyncio.get_running_loop(), Stop()

    def tell(now: P) -> None:
        if progress:
            loop.call_soon_threadsafe(partial(progress, now))

    done = asyncio.ensure_future(asyncio.to_thread(work, tell, stop))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        asking = asyncio.ensure_future(asyncio.to_thread(stop.ask))
        while not (done.done() and asking.done()):
            with suppress(asyncio.CancelledError):  # once is enough: what ends here, ends wholly
                await asyncio.wait((done, asking))
        if done.exception():
            raise
        return done.result()
