"""What goes to the terminal: where our own code failed, never what a store holds.

Addresses hold thread ids, and the text of an exception may hold anything.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType

ExceptionInfo: TypeAlias = (
    "tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]"
)


class OwnErrors(logging.Filter):
    """Let through only errors with a traceback, without the address of their request."""

    def filter(self, record: logging.LogRecord) -> bool:
        what = "A page" if record.name.startswith("django.") else "The explorer"
        record.msg, record.args = f"{what} failed:", ()
        return bool(record.exc_info)


class Frames(logging.Formatter):
    """Format an exception as its kind and its frames, without its text."""

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802
        kind, _, trace = ei
        named = f"{kind.__module__}.{kind.__qualname__}" if kind else ""
        return "".join(traceback.format_tb(trace)) + named


def print_frames(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Report an exception that nobody caught (`sys.excepthook`)."""
    print(Frames().formatException((kind, error, trace)), file=sys.stderr)
