"""What goes to the terminal: where our own code failed, never what a store holds.

Addresses hold thread ids, and the text of an exception may hold anything.
"""

from __future__ import annotations

import logging
import sys
import traceback
from asyncio import CancelledError
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

FRAMES = 80
ExceptionInfo: TypeAlias = (
    "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]"
)


class OwnErrors(logging.Filter):
    """Let through only errors with a traceback, without the address of their request."""

    def filter(self, record: logging.LogRecord) -> bool:
        what = "A page" if record.name.startswith("django.") else "The explorer"
        record.msg, record.args = f"{what} failed:", ()
        # Whoever watches a replay when the server stops is cut off: nothing has failed.
        return bool(record.exc_info) and not isinstance(_raised(record), CancelledError)


def _raised(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if isinstance(record.exc_info, tuple) else None


class Frames(logging.Formatter):
    """Format an exception as its kind and its frames, without its text."""

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802
        kind, _, trace = ei
        named = f"{kind.__module__}.{kind.__qualname__}" if kind else ""
        frames = traceback.format_tb(trace)
        if len(frames) > FRAMES:  # of a recursion
            half = FRAMES // 2
            frames = [*frames[:half], f"  … {len(frames) - FRAMES} frames more\n", *frames[-half:]]
        return "".join(frames) + named


def print_frames(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report an exception that nobody caught (`sys.excepthook`)."""
    print(Frames().formatException((kind, error, trace)), file=sys.stderr)
