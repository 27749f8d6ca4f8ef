"""The start and the end of a server, which Django's own application leaves out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError

from checkpoints import stores
from checkpoints.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.core.handlers.asgi import ASGIHandler

    Message = dict[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


class Lifespan:
    """An ASGI application that starts before it serves `pages`, and closes what they have opened."""

    def __init__(self, pages: ASGIHandler, start: Callable[[], None] = lambda: None) -> None:
        self._pages = pages
        self._start = start

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._pages(scope, receive, send)  # type: ignore[arg-type]

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # lifespan.startup
        # Servers take any error that leaves here for "no lifespan", and serve.
        failed = "The explorer could not start."
        started = False
        try:
            await asyncio.to_thread(self._start)
            started = True
        except (CommandError, ImproperlyConfigured, StoreError) as error:
            failed = str(error)
            return
        finally:
            if not started:
                await send({"type": "lifespan.startup.failed", "message": failed})
        from explorer.deletions.runner import runner  # it needs the settings

        runner.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await asyncio.to_thread(runner.stop)
        await stores.close()
        await send({"type": "lifespan.shutdown.complete"})
