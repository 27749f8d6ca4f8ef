"""The rows of a timeline: each checkpoint as the step that made it and the tasks that ran from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from checkpoints.messages import Message, message
from checkpoints.outline import brief
from checkpoints.preview import preview
from checkpoints.snapshot import PendingWrite, Snapshot, id_time
from checkpoints.tasks import (
    INTERRUPT,
    SENDS,
    START,
    Task,
    next_nodes,
    pending_sends,
    tasks,
    triggers,
    wrote,
)
from explorer import addresses
from explorer.rows import filled, joined
from explorer.wording import ago, duration, exact, short, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django.utils.safestring import SafeString

    from checkpoints.inert import InertSerializer
    from checkpoints.stores.records import TimelinePage

DELTA_COUNTERS = "counters_since_delta_snapshot"
KNOWN_METADATA = frozenset({"source", "step", "parents", "writes", DELTA_COUNTERS, "thread_id", "score"})
CHIPS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A task that ran from a checkpoint: `state` is waiting, failed, finished or open."""

    id: str
    short: str
    node: str
    state: str
    channels: str
    questions: tuple[str, ...]
    error: str
    resumes: int


@dataclass(frozen=True, slots=True)
class StepLine:
    """One checkpoint of the timeline: its id, when it was written, and the other fields of its row."""

    id: str
    href: str
    metadata: tuple[tuple[str, str], ...]
    written_at: datetime | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pending:
    """The unfinished next step of a namespace: what waits, failed or is still to run."""

    title: str
    state: str
    tasks: tuple[TaskLine, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A checkpoint with what can only be told together with its parent."""

    at: Snapshot
    parent: Snapshot | None
    before: tuple[Task, ...]
    ran: tuple[Task, ...]
    next: tuple[str, ...]
    wrote: tuple[str, ...]

    @property
    def deltas(self) -> dict[str, list[Any]]:
        """What the step wrote to each DeltaChannel, whose value most checkpoints do not hold."""
        counted = self.at.metadata.get(DELTA_COUNTERS)
        names = set(counted if isinstance(counted, dict) else ()) - set(self.at.values)
        return {
            name: [w.value for task in self.before for w in task.writes if w.channel == name]
            for name in sorted(names)
        }


def steps(page: TimelinePage, serde: InertSerializer) -> list[Step]:
    """Decode a page and relate each checkpoint to its parent, also where that is on another page."""
    found = {row.checkpoint_id: Snapshot(row, serde) for row in (*page.parents.values(), *page.checkpoints)}
    writes = {id: [PendingWrite(row, serde) for row in rows] for id, rows in page.writes.items()}
    sends = {id: pending_sends(at, writes.get(at.parent_id or "", ())) for id, at in found.items()}
    ran = {id: tasks(writes.get(id, ()), sends[id]) for id in found}
    learnt = triggers(found.values())
    return [_step(found[row.checkpoint_id], found, ran, sends, learnt) for row in page.checkpoints]


def _step(
    at: Snapshot,
    found: Mapping[str, Snapshot],
    ran: Mapping[str, tuple[Task, ...]],
    sends: Mapping[str, tuple[str | None, ...]],
    learnt: Mapping[str, set[str]],
) -> Step:
    parent = found.get(at.parent_id or "")
    before = ran[parent.id] if parent else ()
    plan = next_nodes(at, sends[at.id], ran[at.id], learnt)
    return Step(at, parent, before, ran[at.id], plan, wrote(at, parent, before))


def step_lines(
    store: str, density: str, page: TimelinePage, related: Sequence[Step], selected: str, shown: int
) -> tuple[StepLine, ...]:
    """Return the lines of a page. The row after the last one shown only tells whether it is its parent."""
    below = [*(step.at.id for step in related[1:]), None]
    sealed = any("+" in (row.type or "") for row in page.checkpoints)
    lines = []
    for index, step in enumerate(related[:shown]):
        marks = _marks(step, below[index], page, head=index == 0 and page.newer is None, sealed=sealed)
        lines.append(_line(store, density, step, joined("timeline/_mark.html", marks), selected))
    return tuple(lines)


def rows(lines: Iterable[StepLine], now: datetime) -> SafeString:
    """Render the lines of a timeline."""
    return joined(
        "timeline/_step.html", ({**line.fields, "ago": ago(line.written_at, now)} for line in lines)
    )


def _line(store: str, density: str, step: Step, marks: SafeString, selected: str) -> StepLine:
    at, row = step.at, step.at.row
    href = addresses.checkpoint(
        store, row.thread_id, at.id, ns=row.checkpoint_ns, density="" if density == "steps" else density
    )
    metadata = user_metadata(at)
    fields = {
        "id": at.id,
        "href": href,
        "current": "true" if at.id == selected else "false",
        "step": "?" if at.step is None else str(at.step).replace("-", "−"),
        "title": title(step),
        "source": at.source or "no-source",
        "marks": marks,
        "problem": at.problem or (f"Metadata: {at.metadata_problem}" if at.metadata_problem else ""),
        "summary": summary(step),
        "loud": "" if density == "compact" else _loud(step.ran),
        "next": "" if density == "compact" else _next(step),
        "all": _all(at.id, metadata) if density == "everything" else "",
        "since": _since(step),
        "iso": at.written_at.isoformat() if at.written_at else "",
        "exact": exact(at.written_at),
        "size": size(row.size),
    }
    return StepLine(at.id, href, metadata, at.written_at, fields)


def _all(id: str, metadata: Iterable[tuple[str, str]]) -> SafeString:
    chips = joined("components/chip.html", ({"key": key, "value": value} for key, value in metadata))
    return filled("timeline/_all.html", {"id": id, "chips": chips})


def _loud(ran: Iterable[Task]) -> SafeString:
    """Render what failed and what was asked."""
    lines = (task_line(task) for task in ran if task.failed or task.interrupts)
    return joined("timeline/_loud.html", ({"state": line.state, "text": _loud_text(line)} for line in lines))


def _loud_text(line: TaskLine) -> str:
    return f"{line.node}: {line.error}" if line.error else f"{line.node} asked: {', '.join(line.questions)}"


def title(step: Step) -> str:
    """Name a step by the nodes that wrote it, else by what made it."""
    if step.wrote:
        return ", ".join(step.wrote)
    return step.at.source or "checkpoint"


def _next(step: Step) -> str:
    """Name the nodes that run from here, each with the channels that its tasks have written."""
    ran = [task_line(task) for task in step.ran if not task.failed]
    written = [f"{line.node} → {line.channels}" for line in ran if line.channels]
    waiting = list(step.next)
    for task in step.ran:
        if task.node in waiting and task.finished:
            waiting.remove(task.node)
    named = ", ".join(_counted((*waiting, *written)))
    return f"next: {named}" if named else ""


def _counted(names: Iterable[str]) -> Iterable[str]:
    return (name if times == 1 else f"{times} × {name}" for name, times in Counter(names).items())


def _since(step: Step) -> str:
    written_at, parent_id = step.at.written_at, step.at.parent_id
    if not parent_id or written_at is None:
        return ""
    before = step.parent.written_at if step.parent else id_time(parent_id)
    return duration(written_at - before) if before else ""


def _marks(
    step: Step, below: str | None, page: TimelinePage, *, head: bool, sealed: bool
) -> Iterable[Mapping[str, str]]:
    at = step.at
    if head:
        yield _mark("head", "head-mark", "The next invoke continues here")
    if at.parent_id and at.parent_id != below:
        yield _parent_mark(step)
    if page.children.get(at.id, 0) > 1:
        yield _mark(
            f"{page.children[at.id]} branches", "fork", "More than one checkpoint continues from here"
        )
    if sealed and "+" not in (at.row.type or ""):
        yield _mark("not encrypted", "bad", "Other rows of this thread are encrypted, this one is not")
    if any(task.failed for task in step.ran):
        yield _mark("error", "bad", "A task that ran from here failed")
    if any(task.interrupts for task in step.ran):
        yield _mark("interrupt", "wait", "A task that ran from here asked a question")


def _parent_mark(step: Step) -> Mapping[str, str]:
    parent_id = step.at.parent_id or ""
    if parent_id >= step.at.id:
        return _mark("parent is not older", "bad", f"Its parent {parent_id} has no lesser id: a loop")
    if step.parent is None:
        return _mark("parent missing", "bad", f"Its parent {parent_id} is not in the store")
    number = "?" if step.parent.step is None else step.parent.step
    return _mark(f"from step {number}", "fork", f"Its parent is {parent_id}, not the checkpoint before it")


def _mark(text: str, tone: str, title: str) -> Mapping[str, str]:
    return {"text": text, "tone": tone, "title": title}


def pending_card(head: Step) -> Pending | None:
    """Return the unfinished next step of a namespace, None when nothing is to run from its head."""
    unfinished = [task for task in head.ran if not task.finished]
    if not head.next and not any(task.failed or task.interrupts for task in unfinished):
        return None
    return Pending(
        title=", ".join(_counted(head.next)) or "unknown",
        state=_pending_state(unfinished),
        tasks=tuple(task_line(task) for task in head.ran),
    )


def _pending_state(unfinished: Sequence[Task]) -> str:
    if any(task.failed for task in unfinished):
        return "failed"
    return "waiting" if any(task.waiting for task in unfinished) else "to run"


def task_line(task: Task) -> TaskLine:
    """Describe a task in words."""
    channels = [write.channel for write in task.writes if not write.channel.startswith("__")]
    named = [channel for channel in channels if ":" not in channel] or channels
    return TaskLine(
        id=task.id,
        short=short(task.id),
        node=task.node or ("resume" if task.resumes else f"task {short(task.id)}"),
        state="failed"
        if task.failed
        else "waiting"
        if task.waiting
        else "finished"
        if task.finished
        else "open",
        channels=", ".join(dict.fromkeys(named)),
        questions=tuple(brief(question.value, 400) for question in task.interrupts),
        error=_error_text(task.error) if task.failed else "",
        resumes=task.resumes,
    )


def _error_text(error: Any) -> str:
    return error if isinstance(error, str) else brief(error, 2_000)


def user_metadata(at: Snapshot) -> tuple[tuple[str, str], ...]:
    """Return the metadata that is the application's own, not LangGraph's."""
    own = ((str(key), value) for key, value in at.metadata.items() if key not in KNOWN_METADATA)
    return tuple((key, value if isinstance(value, str) else brief(value, 80)) for key, value in own)


def summary(step: Step) -> str:
    """Say in one line what the step changed."""
    at = step.at
    if at.source == "input" and START in at.values:
        return preview(at, None) or brief(at.values[START], 160)
    before = step.parent.values if step.parent else {}
    deltas = step.deltas
    texts = [_change(name, before.get(name), at.values.get(name), deltas) for name in _changed(step)]
    more = [f"{len(texts) - CHIPS_SHOWN} more"] if len(texts) > CHIPS_SHOWN else []
    return " · ".join((*texts[:CHIPS_SHOWN], *more, *_last_words(step, deltas)))


def _changed(step: Step) -> list[str]:
    """Return the state's own channels whose version moved; those of the plan are shown as next."""
    before = step.parent.versions if step.parent else {}
    return [
        name
        for name, version in step.at.versions.items()
        if before.get(name) != version and ":" not in name and name not in {START, SENDS, INTERRUPT}
    ]


def _change(name: str, before: Any, after: Any, deltas: Mapping[str, list[Any]]) -> str:
    if name in deltas:
        return f"{name} +{len(deltas[name])} written"
    if isinstance(after, list) and isinstance(before, list | None):
        grown = len(after) - len(before or ())
        if grown:
            return f"{name} {'+' if grown > 0 else '−'}{abs(grown)}"
    if isinstance(after, (str, int, float)) and not isinstance(after, bool):
        return f"{name} = {brief(after, 40)}"
    return name


def _last_words(step: Step, deltas: Mapping[str, list[Any]]) -> Iterable[str]:
    """Yield what the newest message says or calls."""
    for name in _changed(step):
        newest = _newest_message(deltas.get(name) or step.at.values.get(name))
        if newest is None:
            continue
        if newest.tool_calls:
            yield f"calls {', '.join(call.name for call in newest.tool_calls)}"
        elif newest.text:
            yield f"“{' '.join(newest.text[:240].split())}”"
        return


def _newest_message(value: Any) -> Message | None:
    while isinstance(value, list) and value:
        value = value[-1]
    return message(value)
