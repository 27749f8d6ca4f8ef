"""The tree beside a timeline, drawn row by row: each row has the lines that cross it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.rows import filled, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.utils.safestring import SafeString

    from checkpoints.branches import Lane

# Pixels, as in the style sheet, which makes room for so many columns (`.w-2` and so on).
FIRST, WIDE, NARROW = 18, 14, 8
MOST_WIDE, MOST = 6, 14
DOT, COMPACT_DOT, BEND = 17, 12, 10
BOTTOM = "101%"  # rows may end between two pixels


def width(lanes: Mapping[str, Lane]) -> int:
    """Return how many columns a page's rows take; what goes beyond them shares the last one."""
    return min(max((lane.width for lane in lanes.values()), default=1), MOST)


def drawing(lane: Lane | None, columns: int, density: str) -> SafeString:
    """Draw the lines and the dot of one row."""
    dot = COMPACT_DOT if density == "compact" else DOT
    at = Row(columns, dot)
    if lane is None:
        return filled(
            "timeline/_lane.html", {"width": str(at.width), "lines": "", "x": str(at.x(0)), "y": str(dot)}
        )
    lines = joined("timeline/_line.html", at.lines(lane))
    joins = joined("timeline/_join.html", at.joins(lane))
    return filled(
        "timeline/_lane.html",
        {"width": str(at.width), "lines": lines + joins, "x": str(at.x(lane.column)), "y": str(dot)},
    )


class Row:
    """The places of a row's lines."""

    def __init__(self, columns: int, dot: int) -> None:
        self._columns, self._dot = columns, dot
        self._step = WIDE if columns <= MOST_WIDE else NARROW

    @property
    def width(self) -> int:
        return self.x(self._columns - 1) + WIDE

    def x(self, column: int) -> int:
        return FIRST + self._step * min(column, MOST - 1)

    def lines(self, lane: Lane) -> Iterator[Mapping[str, str]]:
        """Yield the straight lines: past the row, into its dot from above, and out of it."""
        for column in _apart(lane, lane.passes):
            yield self._line(lane, column, "0", BOTTOM)
        if lane.continues:
            yield self._line(lane, lane.column, "0", str(self._dot))
        if lane.descends:
            yield self._line(lane, lane.column, str(self._dot), BOTTOM)
        if lane.severed:
            yield {**self._line(lane, lane.column, str(self._dot), BOTTOM), "tone": "severed"}

    def joins(self, lane: Lane) -> Iterator[Mapping[str, str]]:
        """Yield the lines of other children, which bend into the dot."""
        for column in _apart(lane, lane.joins):
            yield {
                "tone": _tone(lane, column),
                "x": str(self.x(column)),
                "to": str(self.x(lane.column)),
                "bend": str(self._dot - BEND),
                "y": str(self._dot),
            }

    def _line(self, lane: Lane, column: int, top: str, bottom: str) -> dict[str, str]:
        return {"tone": _tone(lane, column), "x": str(self.x(column)), "top": top, "bottom": bottom}


def _apart(lane: Lane, columns: Sequence[int]) -> Iterator[int]:
    """Yield the columns that have a place of their own, and one for all beyond, the trunk if it is there."""
    yield from (column for column in columns if column < MOST)
    if beyond := [column for column in columns if column >= MOST]:
        yield lane.trunk if lane.trunk in beyond else beyond[0]


def _tone(lane: Lane, column: int) -> str:
    return "trunk" if column == lane.trunk else "side"
