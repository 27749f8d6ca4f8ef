"""Asking for a replay: what may be asked of a checkpoint, and a request made of what was."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from checkpoints.errors import StoreError
from checkpoints.outlook import waiting
from checkpoints.snapshot import Snapshot
from checkpoints.steps import steps
from explorer import stores, writing
from explorer.database.threads import in_database
from explorer.pages import one
from explorer.reading import read
from explorer.replays import graphs
from explorer.replays.requests import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from checkpoints.inert import InertSerializer
    from checkpoints.steps import Step
    from checkpoints.stores import Location, Store
    from checkpoints.stores.records import TimelinePage
    from checkpoints.tasks import Interrupt
    from explorer.people.roles import Person
    from explorer.replays.graphs import GraphLine

STEP_LIMIT, SECONDS_LIMIT = 50, 600
MOST_STEPS, MOST_SECONDS = 10_000, 6 * 3600
INTERRUPT_ID = re.compile(r"[0-9a-f]{32}")
LONGEST = 4_000_000  # characters of what a graph is given
# What a graph's config has of itself; the rest of its metadata may be what a run was configured with.
RESERVED = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id"})


class AskRefused(StoreError):
    """A replay that cannot be asked for like this."""

    advice = "Open the checkpoint's page and ask from there."


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants of a checkpoint. `answers` are values by interrupt id, None of the only one.

    `configurable` is None where nothing was said: then it is what the checkpoint's metadata tell.
    """

    kind: str
    graph: str = ""
    answers: Mapping[str | None, Any] = field(default_factory=dict)
    input: Any = None
    configurable: Mapping[str, Any] | None = None
    context: Any = None
    step_limit: int = STEP_LIMIT
    seconds_limit: int = SECONDS_LIMIT
    reason: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A checkpoint that something may be asked of, and what is known around it.

    `ran` are nodes of the root that have run in the thread; `offered`, the graphs that workers have.
    """

    store: str
    page: TimelinePage
    serde: InertSerializer
    refusal: str
    head: str
    root_head: str
    ran: frozenset[str]
    offered: tuple[GraphLine, ...] = ()

    @property
    def step(self) -> Step:
        [step] = steps(self.page, self.serde)
        return step

    @property
    def basis(self) -> str:
        """What the checkpoint is known by in a form, with the writes that it has."""
        writes = self.page.writes.get(self.page.checkpoints[0].checkpoint_id, ())
        return f"{writing.basis_of(self.page.checkpoints[0])}-{len(writes)}"


async def subject(person: Person, location: Location, thread: str, ns: str, id: str) -> Subject:
    """Read the checkpoint; without an id, the head of the namespace. Raises StoreError."""
    key = stores.key(location)
    found = await read(person, location, lambda opened: _subject(opened, key, thread, ns, id))
    offered = await in_database(graphs.offered, found.store)
    return replace(found, offered=offered)


async def _subject(opened: Store, key: str, thread: str, ns: str, id: str) -> Subject:
    head = await opened.head(thread, ns) or ""
    root_head = head if ns == "" else await opened.head(thread, "") or ""
    page = await one(opened, thread, ns, id or head)
    ran = set(Snapshot(page.checkpoints[0], opened.serde).seen) if ns == "" else set()
    if not _known_nodes(ran):  # the beginning of a thread; its head tells more
        for row in await opened.siblings(thread, "", [root_head] if root_head else []):
            ran |= set(Snapshot(row, opened.serde).seen)
    return Subject(
        store=key,
        page=page,
        serde=opened.serde,
        refusal=await writing.refusal(opened),
        head=head,
        root_head=root_head,
        ran=frozenset(_known_nodes(ran)),
    )


def kinds(step: Step, *, head: bool) -> tuple[str, ...]:
    """Return what may be asked of a checkpoint, the likeliest first.

    Of a subgraph's, only to replay it: LangGraph takes answers and inputs for it at the root.
    """
    if step.at.row.checkpoint_ns:
        return ("replay",)
    likely = ["resume"] if waiting(step) else []
    begun = any(task.finished or task.failed for task in step.ran)
    if head and step.next and (begun or not likely):  # where one only waits, going on asks it again
        likely.append("continue")
    return (*likely, "replay", "input") if step.next else (*likely, "input", "replay")


def request_of(wish: Wish, subject: Subject) -> Request:
    """Return the request that a wish makes of a checkpoint. Raises AskRefused, which says what to change."""
    step = subject.step
    row, is_head = step.at.row, subject.head == step.at.id
    if step.at.problem:
        raise AskRefused(f"The checkpoint cannot be read, so nothing runs from it. {step.at.problem}")
    if wish.kind not in kinds(step, head=is_head):
        raise AskRefused(_not_offered(wish.kind, is_head))
    if wish.graph and wish.graph not in (names := [line.name for line in subject.offered]):
        known = ", ".join(names) or "none"
        raise AskRefused(f"No worker has a graph {wish.graph!r}.", advice=f"There is: {known}.")
    _require_nodes(wish, subject, step)
    _require_own_keys(wish.configurable or {})
    if sum(stores.key(each) == subject.store for each in stores.registered().values()) > 1:
        raise AskRefused(
            "Two stores that are open here cannot be told apart.", advice="Open one of them alone."
        )
    given = {
        "parents": _parents(step),
        "answers": _answers(wish, step) if wish.kind == "resume" else {},
        "input": wish.input if wish.kind == "input" else None,
        "configurable": dict(configured(step) if wish.configurable is None else wish.configurable),
        "context": wish.context,
        "metadata": configured(step),
        "encrypted": row.sealed,
    }
    if wish.kind == "input" and wish.input is None:
        raise AskRefused("An input is missing.", advice='Give the graph an object, like {"messages": […]}.')
    texts = (row.thread_id, row.checkpoint_ns, step.at.id, wish.reason, wish.author)
    for text in (*texts, _as_text(given)):
        _require_storable(text)
    return Request(
        store=subject.store,
        thread_id=row.thread_id,
        checkpoint_ns=row.checkpoint_ns,
        checkpoint_id=step.at.id,
        step=step.at.step,
        kind=wish.kind,
        graph=wish.graph,
        given=given,
        head=step.at.id if wish.kind == "continue" or (wish.kind == "resume" and is_head) else "",
        former=subject.root_head,
        step_limit=wish.step_limit,
        seconds_limit=wish.seconds_limit,
        reason=wish.reason,
        author=wish.author,
    )


def fits(line: GraphLine, step: Step) -> bool:
    """Tell whether a graph has the nodes that are next at a checkpoint of its root, where these are known."""
    if not line.nodes or step.at.row.checkpoint_ns:
        return True
    return _known_nodes(step.next) <= set(line.nodes)


def likeness(line: GraphLine, subject: Subject, step: Step) -> tuple[bool, int]:
    """Tell how well a graph fits a checkpoint: by what is next there, and by what has run in its thread."""
    ns = step.at.row.checkpoint_ns
    known = {ns.partition(":")[0]} if ns else _known_nodes(step.next)
    return fits(line, step), len((known | subject.ran) & set(line.nodes))


def _known_nodes(names: Iterable[str]) -> set[str]:
    """Leave out LangGraph's own nodes, and tasks within tasks, which no graph lists."""
    return {name for name in names if not name.startswith("__") and name != "?" and " › " not in name}


def _require_nodes(wish: Wish, subject: Subject, step: Step) -> None:
    for line in subject.offered:
        if line.name == wish.graph and wish.kind != "input" and not fits(line, step):
            missing = ", ".join(sorted(_known_nodes(step.next) - set(line.nodes)))
            raise AskRefused(
                f"The graph {line.name!r} has no node {missing}, which is next here.",
                advice="Choose the graph that wrote this thread, or give the node its old name.",
            )


def configured(step: Step) -> dict[str, Any]:
    """Return the application's own metadata that is plain data.

    LangGraph keeps there what a run was configured with, so a graph that reads it finds it again.
    """
    return {
        key: value
        for key, value in step.own_metadata.items()
        if key not in RESERVED and not key.startswith(("__", "langgraph_")) and _is_plain(value)
    }


def _answers(wish: Wish, step: Step) -> dict[str, Any]:
    """Return the answers as a run takes them: by id, or the only one under an empty text."""
    asked = waiting(step)
    if not wish.answers:
        raise AskRefused("An answer is missing.", advice="Answer the interrupt, or replay without an answer.")
    if len(asked) == len(wish.answers) == 1:
        [(id, answer)] = wish.answers.items()
        if id in (None, asked[0].id):
            return _answer(asked[0], answer)
    ids = {each.id for each in asked}
    if None in ids:
        raise AskRefused(
            "Several interrupts wait here and the store does not name each.",
            advice="They are of an early LangGraph; answer them with the graph itself.",
        )
    if unknown := [id for id in wish.answers if id not in ids]:
        named = ", ".join(sorted(id for id in ids if id))
        raise AskRefused(f"No interrupt {unknown[0]!r} waits here.", advice=f"These do: {named}.")
    return {str(id): answer for id, answer in wish.answers.items()}


def _answer(asked: Interrupt, answer: Any) -> dict[str, Any]:
    """Return the only answer as a run takes it: as it is, or where that would be misread by the id."""
    if answer is not None and not (isinstance(answer, dict) and all(map(INTERRUPT_ID.fullmatch, answer))):
        return {"": answer}
    if asked.id and INTERRUPT_ID.fullmatch(asked.id):
        return {asked.id: answer}
    raise AskRefused(
        "LangGraph takes no such answer to an interrupt without an id.",
        advice="This thread is of an early release; answer with a text.",
    )


def _require_own_keys(configurable: Mapping[str, Any]) -> None:
    """Refuse what is LangGraph's own to say: it would run from somewhere else."""
    for key in configurable:
        if key in RESERVED or key.startswith("__"):
            raise AskRefused(
                f"{key!r} cannot be configured.", advice="LangGraph sets it itself; leave it out."
            )


def _parents(step: Step) -> dict[str, str]:
    """Return the checkpoints of the graphs around a subgraph, by namespace."""
    parents = step.at.metadata.get("parents")
    if not step.at.row.checkpoint_ns:
        return {}
    if not isinstance(parents, dict) or "" not in parents:
        raise AskRefused(
            "This checkpoint of a subgraph does not say from which of the root's it was called.",
            advice="Replay from the root's checkpoint instead.",
        )
    return {str(ns): str(id) for ns, id in parents.items()}


def _not_offered(kind: str, head: bool) -> str:
    match kind:
        case "resume":
            return "No interrupt waits for an answer here."
        case "continue" if not head:
            return "Only the head of a thread can be continued; another checkpoint can be replayed."
        case "continue":
            return "Nothing has been left unfinished here."
    return "This cannot be asked of a subgraph's checkpoint."


def _is_plain(value: Any) -> bool:
    """Tell whether JSON keeps a value as it is."""
    match value:
        case None | bool() | str():
            return True
        case int() | float():
            return abs(value) < 1e18  # not of NaN
        case list():
            return all(map(_is_plain, value))
        case dict():
            return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return False


def _as_text(given: Mapping[str, Any]) -> str:
    try:
        return json.dumps(given, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise AskRefused("A number of JSON is finite.", advice="Give NaN and infinity as texts.") from None
    except RecursionError:
        raise AskRefused("This is nested too deeply.", advice="Give the graph something flatter.") from None


def is_storable(text: str) -> bool:
    """Tell whether every database keeps a text: it has no NUL and no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _require_storable(text: str) -> None:
    """Refuse text that no database keeps, also when it is read as JSON, or too much of it."""
    if len(text) > LONGEST:
        raise AskRefused(f"This is more than {LONGEST:,} characters.", advice="Give the graph less.")
    if not is_storable(text) or "\\u0000" in text:
        raise AskRefused("An id or a value holds a character that cannot be kept (NUL, or half of a pair).")
