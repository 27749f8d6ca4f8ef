"""The rows of a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.branches import Link, Tree
from checkpoints.outline import brief
from checkpoints.snapshot import id_time
from checkpoints.stores.siblings import REPLAY
from explorer import addresses
from explorer.bounds import METADATA, TASKS, first, listed
from explorer.forks import note
from explorer.lanes import drawing, width
from explorer.pages import is_copy, most_alike
from explorer.rows import joined
from explorer.summary import summary, title
from explorer.tasks import next_text, task_line
from explorer.wording import ago, duration, exact, number, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django.utils.safestring import SafeString

    from checkpoints.branches import Lane
    from checkpoints.snapshot import Snapshot
    from checkpoints.steps import Step
    from checkpoints.stores.records import TimelinePage
    from checkpoints.tasks import Task
    from explorer.tasks import TaskLine


@dataclass(frozen=True, slots=True)
class StepLine:
    """One checkpoint of the timeline: its id, when it was written, and the other fields of its row."""

    id: str
    href: str
    metadata: tuple[tuple[str, str], ...]
    written_at: datetime | None
    fields: Mapping[str, str]


def step_lines(
    store: str,
    density: str,
    page: TimelinePage,
    related: Sequence[Step],
    selected: str,
    shown: int,
    *,
    branch: str = "",
) -> tuple[tuple[StepLine, ...], int]:
    """Return the lines of a page, and the columns of the tree beside them.

    The row after the last one shown only tells whether it is its parent. Along a branch there is nothing
    beside it to draw.
    """
    below = [*(step.at.id for step in related[1:]), None]
    sealed = any(row.sealed for row in page.checkpoints)
    lanes = _lanes(page, [step.at.id for step in related[:shown]], branch)
    columns = width(lanes)
    copies = _originals(related)
    lines: list[StepLine] = []
    for index, step in enumerate(related[:shown]):
        marks = _marks(step, below[index], page, copies, sealed=sealed)
        above = lines[-1].metadata if lines else None
        drawn = drawing(lanes.get(step.at.id), columns, density)
        lines.append(
            _line(store, density, step, joined("timeline/_mark.html", marks), drawn, selected, above, branch)
        )
    return tuple(lines), columns


def _lanes(page: TimelinePage, shown: Sequence[str], branch: str) -> Mapping[str, Lane]:
    """Draw the tree, or what is on the page of it where more is not known."""
    links = [Link(row.checkpoint_id, row.parent_checkpoint_id) for row in page.checkpoints]
    if branch or not page.tree.links:
        return Tree(links, whole=False).lanes(set(shown))
    return page.tree.lanes(set(shown))


def _originals(related: Sequence[Step]) -> Mapping[str, Snapshot]:
    """Return what each fork on a page copies, of what is there."""
    found: dict[str, Snapshot] = {}
    for step in related:
        at = step.at
        if at.source != "fork":
            continue
        if step.parent is not None and is_copy(at, step.parent):
            found[at.id] = step.parent
            continue
        older = [
            other.at
            for other in reversed(related)
            if other.at.parent_id == at.parent_id and other.at.id < at.id
        ]
        if original := most_alike(at, older):
            found[at.id] = original
    return found


def rows(lines: Iterable[StepLine], now: datetime) -> SafeString:
    """Render the lines of a timeline."""
    return joined(
        "timeline/_step.html", ({**line.fields, "ago": ago(line.written_at, now)} for line in lines)
    )


def _line(
    store: str,
    density: str,
    step: Step,
    marks: SafeString,
    drawn: SafeString,
    selected: str,
    above: tuple[tuple[str, str], ...] | None,
    branch: str,
) -> StepLine:
    at, row = step.at, step.at.row
    href = addresses.checkpoint(
        store, row.thread_id, at.id, ns=row.checkpoint_ns, density=density, branch=branch
    )
    metadata = user_metadata(step)
    fields = {
        "id": at.id,
        "href": href,
        "current": "true" if at.id == selected else "false",
        "step": number(at.step),
        "title": title(step),
        "source": at.source or "no source",
        "marks": marks,
        "lane": drawn,
        "note": note(at.metadata) if at.source == "fork" or _begins_a_replay(step) else "",
        "problem": at.problem or (f"Metadata: {at.metadata_problem}" if at.metadata_problem else ""),
        "summary": summary(step),
        "loud": "" if density == "compact" else _loud(step.ran),
        "next": "" if density == "compact" else next_text(step),
        "tasks": _tasks(step.ran) if density == "everything" else "",
        "metadata": _metadata(density, metadata, above),
        "full_id": at.id if density == "everything" else "",
        "since": _since(step),
        "iso": at.written_at.isoformat() if at.written_at else "",
        "exact": exact(at.written_at),
        "size": size(row.size),
    }
    return StepLine(at.id, href, metadata, at.written_at, fields)


def _metadata(
    density: str, metadata: tuple[tuple[str, str], ...], above: tuple[tuple[str, str], ...] | None
) -> SafeString:
    """Render a step's own metadata: always when everything is shown, else where it is not that above."""
    differs = density == "steps" and above is not None and metadata != above
    shown = metadata if density == "everything" or differs else ()
    return joined("components/chip.html", ({"key": key, "value": value} for key, value in shown))


def _tasks(ran: Sequence[Task]) -> SafeString:
    """Render each task with all that it wrote."""
    shown, beyond = first(ran, TASKS)
    tasks = [{"node": task_line(task).node, "id": task.id, "writes": _writes(task)} for task in shown]
    more = [{"node": f"{beyond:,} more tasks", "id": "", "writes": ""}] if beyond else []
    return joined("timeline/_task.html", (*tasks, *more))


def _writes(task: Task) -> str:
    shown, beyond = first(task.writes, TASKS)
    texts = [f"{number(write.row.idx)} {write.channel}" for write in shown]
    return ", ".join((*texts, *([f"{beyond:,} more"] if beyond else [])))


def _loud(ran: Iterable[Task]) -> SafeString:
    """Render what failed and what was asked."""
    loud, beyond = first([task for task in ran if task.failed or task.interrupts], TASKS)
    lines = [{"state": line.state, "text": _loud_text(line)} for line in map(task_line, loud)]
    more = [{"state": "waiting", "text": f"{beyond:,} more asked or failed"}] if beyond else []
    return joined("timeline/_loud.html", (*lines, *more))


def _loud_text(line: TaskLine) -> str:
    return f"{line.node}: {line.error}" if line.error else f"{line.node} asked: {', '.join(line.questions)}"


def _since(step: Step) -> str:
    written_at, parent_id = step.at.written_at, step.at.parent_id
    if not parent_id or written_at is None:
        return ""
    before = step.parent.written_at if step.parent else id_time(parent_id)
    return duration(written_at - before) if before else ""


def _marks(
    step: Step, below: str | None, page: TimelinePage, copies: Mapping[str, Snapshot], *, sealed: bool
) -> Iterable[Mapping[str, str]]:
    at = step.at
    if _begins_a_replay(step):
        yield _mark("replay", "side-mark", "A replay that was asked for begins here")
    if page.tree.links:
        yield from _place_marks(at.id, page)
    if original := copies.get(at.id):
        yield _copy_mark(step, original)
    if at.parent_id and at.parent_id != below:
        yield _parent_mark(step)
    if (children := page.tree.children[at.id]) > 1:
        yield _mark(f"{children} branches", "fork", "More than one checkpoint continues from here")
    if sealed and at.row.plain:
        yield _mark("not encrypted", "bad", "Others of this thread are encrypted; some of this one is not")
    if any(task.failed for task in step.ran):
        yield _mark("error", "bad", "A task that ran from here failed")
    if any(task.interrupts for task in step.ran):
        yield _mark("interrupt", "wait", "A task that ran from here asked a question")


def _begins_a_replay(step: Step) -> bool:
    """Tell whether a replay has made this checkpoint, and not the one before it."""
    made = step.at.metadata.get(REPLAY)
    return made is not None and (step.parent is None or step.parent.metadata.get(REPLAY) != made)


def _place_marks(id: str, page: TimelinePage) -> Iterable[Mapping[str, str]]:
    if id == page.tree.links[0].id:
        yield _mark("head", "head-mark", "The next invoke continues here")
    elif not page.tree.children[id]:
        yield _mark("tip", "side-mark", "The end of a branch: no checkpoint continues from here")


def _copy_mark(step: Step, original: Snapshot) -> Mapping[str, str]:
    before, after = original.versions, step.at.versions
    if original.id == step.at.parent_id:
        return _mark(
            "runs again", "fork", f"A copy of its parent {original.id}: a run in the past began here"
        )
    edited = [name for name, version in after.items() if before.get(name) != version]
    if not edited:
        return _mark(f"copy of step {number(original.step)}", "fork", f"A copy of {original.id}")
    names = listed(edited, TASKS)
    return _mark(
        f"edits step {number(original.step)}", "fork", f"A copy of {original.id} with another {names}"
    )


def _parent_mark(step: Step) -> Mapping[str, str]:
    parent_id = step.at.parent_id or ""
    if parent_id >= step.at.id:
        return _mark("parent is not older", "bad", f"Its parent {parent_id} has no lesser id: a loop")
    if step.parent is None:
        return _mark("parent missing", "bad", f"Its parent {parent_id} is not in the store")
    return _mark(
        f"from step {number(step.parent.step)}",
        "fork",
        f"Its parent is {parent_id}, not the checkpoint before it",
    )


def _mark(text: str, tone: str, title: str) -> Mapping[str, str]:
    return {"text": text, "tone": tone, "title": title}


def user_metadata(step: Step) -> tuple[tuple[str, str], ...]:
    """Return the application's own metadata in words."""
    own, beyond = first(step.own_metadata.items(), METADATA)
    words = tuple(
        (key, _clipped(value) if isinstance(value, str) else brief(value, 80)) for key, value in own
    )
    return (*words, (f"{beyond:,} more", "")) if beyond else words


def _clipped(text: str) -> str:
    return text if len(text) <= 400 else f"{text[:400]}…"
