"""Times, sizes and ids in the words that the pages show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

UNITS = ((86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h"), (60, "min"))
SIZES = ("B", "KB", "MB", "GB", "TB")


def ago(time: datetime | None, now: datetime) -> str:
    """Return how long ago, in the largest unit that fits: `12 min ago`."""
    if time is None:
        return ""
    seconds = (now - time).total_seconds()
    if seconds < 0:
        return "in the future" if seconds < -60 else "just now"
    for length, unit in UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago" if seconds >= 1 else "just now"


def duration(span: timedelta | None) -> str:
    """Return a span in two digits and a unit: `+340 ms`, `+3.4 s`, `+12 min`."""
    if span is None:
        return ""
    seconds = span.total_seconds()
    sign, seconds = ("+", seconds) if seconds >= 0 else ("−", -seconds)
    if seconds < 0.9995:
        return f"{sign}{seconds * 1000:.0f} ms" if seconds >= 0.0095 else f"{sign}{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{sign}{seconds:.1f} s"
    for length, unit in UNITS:
        if seconds >= length:
            return f"{sign}{int(seconds // length)} {unit}"
    return ""


def exact(time: datetime | None) -> str:
    """Return a time as `2026-11-20 10:41:07.482 UTC`."""
    if time is None:
        return ""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{time.microsecond // 1000:03} UTC"


def size(count: int) -> str:
    """Return a number of bytes as `4.1 KB`."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(SIZES) - 1:
        amount, unit = amount / 1000, unit + 1
    return (
        f"{count} B"
        if unit == 0
        else f"{amount:.1f} {SIZES[unit]}"
        if amount < 100
        else f"{amount:.0f} {SIZES[unit]}"
    )


def short(id: str) -> str:
    """Return the two ends of a long id: `1f0c…9a41`.

    Checkpoint ids of one run share their middle; their beginnings and ends differ.
    """
    return id if len(id) <= 14 else f"{id[:8]}…{id[-4:]}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 thread`, `2,000 threads`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def number(step: int | None) -> str:
    """Return a step's number with a real minus: the first is −1."""
    return "?" if step is None else str(step).replace("-", "−")


def at_least(number: int, more: bool) -> str:
    """Return a count, with a plus when it was not counted to the end: `10,000+`."""
    return f"{number:,}+" if more else f"{number:,}"
