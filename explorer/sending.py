"""Files as responses send them."""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING, Final

from django.http import StreamingHttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHUNK: Final = 1 << 16


def attachment(file: IO[bytes], name: str, content_type: str) -> StreamingHttpResponse:
    """Return a response that is saved under a name, and that closes the file, sent or not."""
    response = StreamingHttpResponse(_Parts(file), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


class _Parts:
    """A file as a response sends it, which closes it at the end, or where nobody waits for it any more."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while part := await asyncio.to_thread(self._file.read, CHUNK):
            yield part

    def close(self) -> None:
        self._file.close()
