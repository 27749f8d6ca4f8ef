"""Asking for a replay of a checkpoint: first what would happen, then the request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.http import QueryDict

from checkpoints import outlook
from checkpoints.errors import StoreError
from explorer import addresses, writing
from explorer.asking import (
    SECONDS_LIMIT,
    STEP_LIMIT,
    AskRefused,
    Wish,
    configured,
    kinds,
    likeness,
    request_of,
    subject,
)
from explorer.audit import audited
from explorer.database.threads import in_database
from explorer.errors import status_of
from explorer.forks import Prospect, busy, prospect
from explorer.forms import AskForm, AskParameters
from explorer.models import Replay
from explorer.offload import offload
from explorer.people.roles import who
from explorer.rendering import screen
from explorer.replays.requests import ask as ask_for
from explorer.stores import located
from explorer.summary import title
from explorer.tasks import question
from explorer.wording import number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from checkpoints.outlook import Outlook
    from checkpoints.steps import Step
    from checkpoints.stores.records import CheckpointRow
    from explorer.asking import Subject
    from explorer.replays.graphs import GraphLine

QUESTIONS = 20
NO_GRAPH = "No graph is chosen."
OWN = "*"  # how the form names no graph but a worker of one's own; no graph is called so


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that may be asked for, and what follows from it."""

    kind: str
    chosen: bool
    next: Prospect


@dataclass(frozen=True, slots=True)
class Question:
    """An interrupt that waits, and what was typed as its answer."""

    id: str
    text: str
    answer: str
    as_json: bool


@dataclass(frozen=True, slots=True)
class AskScreen:
    """What the page that asks for a replay shows. `error` is why what was sent was not done."""

    id: str
    ns: str
    step: str
    title: str
    node: str
    is_head: bool
    back_href: str
    refusal: str
    problem: str
    busy: str
    basis: str
    choices: tuple[Choice, ...]
    questions: tuple[Question, ...]
    several: bool
    more_questions: int
    speaks: bool
    graphs: tuple[GraphLine, ...]
    graph: str
    configurable: str
    error: str


async def ask(request: HttpRequest, store: str, thread: str, checkpoint_id: str) -> HttpResponse:
    asked = AskParameters.read(request.GET)
    ns = asked["ns"] or ""
    old = await in_database(former, asked["again"]) if asked["again"] else None
    form = AskForm(request.POST or None, initial=initial(old))
    found = await subject(who(request), located(store), thread, ns, checkpoint_id)
    error, status = "", 422 if form.is_bound else 200
    if form.is_bound and form.is_valid():
        try:
            made = await _asked(request, store, found, old, form.cleaned_data)
            return writing.done(addresses.replay(made.id))
        except StoreError as refused:  # what was typed stays on the page
            error, status = str(refused), status_of(refused)
    begun = request.POST or (given_again(old) if old else QueryDict())
    shown = await offload(found.page.weight, _screen, store, found, asked["kind"] or "", begun, error)
    context = {"ask": shown, "form": form, "id": uuid4(), "store": store, "thread": thread}
    response = screen(request, "ask/page.html", "ask/_ask.html", context)
    response.status_code = status
    return response


async def _asked(
    request: HttpRequest, store: str, found: Subject, old: Replay | None, sent: Mapping[str, Any]
) -> Replay:
    """Keep the request that a form makes. Raises StoreError."""
    row, person = found.page.checkpoints[0], who(request)
    sent = {**sent, "author": person.signature or sent["author"]}
    told = told_of(row, sent["kind"], sent["graph"], sent["reason"])
    async with audited(person, "replay", store=store, thread=row.thread_id, details=told) as entry:
        back = addresses.checkpoint(store, row.thread_id, row.checkpoint_id, ns=row.checkpoint_ns)
        writing.require(found.refusal, found.basis, sent["basis"], back)
        if found.offered and not sent["graph"]:
            raise AskRefused(NO_GRAPH, advice="Choose one, or leave it to a worker of your own.")
        wish = _wish(sent, request.POST)
        made = await in_database(
            ask_for, await offload(found.page.weight, request_of, wish, found), old, sent["id"]
        )
        entry.add(replay=made.id)
    return made


def told_of(row: CheckpointRow, kind: str, graph: str, reason: str) -> dict[str, str]:
    """Return what the audit keeps of a request: not what the graph is given."""
    address = {"checkpoint": row.checkpoint_id, "namespace": row.checkpoint_ns}
    return {**address, "kind": kind, "graph": graph, "reason": reason}


def former(id: UUID) -> Replay | None:
    """Return the replay that is asked for again, if there is one."""
    return Replay.objects.filter(id=id).first()


def initial(old: Replay | None) -> dict[str, Any]:
    """Return what the form has at first: what was asked for before, or the defaults."""
    if old is None:
        return {"step_limit": STEP_LIMIT, "seconds_limit": SECONDS_LIMIT}
    given = old.given
    return {
        "step_limit": old.step_limit,
        "seconds_limit": old.seconds_limit,
        "reason": old.reason,
        "author": old.author,
        "input_json": "" if given.get("input") is None else as_json(given["input"]),
        "context_json": "" if given.get("context") is None else as_json(given["context"]),
    }


def given_again(old: Replay) -> QueryDict:
    """Return what was chosen and answered before, as a form sends it."""
    begun = QueryDict(mutable=True)
    begun["kind"], begun["graph"] = old.kind, old.graph or OWN
    begun["configurable_json"] = as_json(old.given.get("configurable") or {})
    for answer in (old.given.get("answers") or {}).values():
        begun.appendlist("answer", answer if isinstance(answer, str) else as_json(answer))
        begun.appendlist("answer_as", "text" if isinstance(answer, str) else "json")
    return begun


def _wish(sent: Mapping[str, Any], posted: QueryDict) -> Wish:
    """Return what a form asks for. Raises AskRefused where a text is no JSON."""
    return Wish(
        kind=sent["kind"],
        graph="" if sent["graph"] == OWN else sent["graph"],
        answers=_answers(posted) if sent["kind"] == "resume" else {},
        input=_input(sent) if sent["kind"] == "input" else None,
        configurable=_object(sent["configurable_json"], "The configuration"),
        context=parsed(sent["context_json"], "The context") if sent["context_json"].strip() else None,
        step_limit=sent["step_limit"],
        seconds_limit=sent["seconds_limit"],
        reason=sent["reason"],
        author=sent["author"],
    )


def _answers(posted: QueryDict) -> dict[str | None, Any]:
    """Return the answers that were given: one that is empty is none, where there are several."""
    ids, texts, forms = (posted.getlist(name) for name in ("interrupt", "answer", "answer_as"))
    if not len(ids) == len(texts) == len(forms):
        raise AskRefused("The form has lost some of its fields.", advice="Open the page anew.")
    given = zip(ids, (text.replace("\r\n", "\n") for text in texts), forms, strict=True)
    return {
        id or None: parsed(text, "The answer") if form == "json" else text for id, text, form in given if text
    }


def _input(sent: Mapping[str, Any]) -> Any:
    """Return the input: an object of JSON, a message of a user, or both in one."""
    given = parsed(sent["input_json"], "The input") if sent["input_json"].strip() else None
    if not (message := sent["message"].replace("\r\n", "\n")):
        return given
    spoken = [{"role": "user", "content": message}]
    if given is None:
        return {"messages": spoken}
    if not isinstance(given, dict) or "messages" in given:
        raise AskRefused(
            "The message cannot be added to this input.",
            advice="Write it into the messages of the JSON, or give an object without them.",
        )
    return {**given, "messages": spoken}


def _object(text: str, name: str) -> dict[str, Any] | None:
    if not text.strip():
        return {}
    found = parsed(text, name)
    if not isinstance(found, dict):
        raise AskRefused(f"{name} is no object of JSON.", advice='Write it as {"key": "value"}.')
    return found


def parsed(text: str, name: str) -> Any:
    """Return what a text of JSON says. Raises AskRefused, which says where it is none."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise AskRefused(f"{name} is no JSON: {error.msg} at {where}.", advice="Correct it.") from None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise AskRefused(f"{name} is no JSON: {why}.", advice="Correct it.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _screen(store: str, found: Subject, kind: str, posted: QueryDict, error: str) -> AskScreen:
    step = found.step
    at, row = step.at, step.at.row
    is_head = found.head == at.id
    offered = kinds(step, head=is_head)
    kind = posted.get("kind", kind)
    chosen = kind if kind in offered else offered[0]
    waits = questions(step, posted)
    runnable = [line for line in found.offered if not line.problem]
    likeliest = max(runnable, key=lambda line: likeness(line, found, step), default=None)
    return AskScreen(
        id=at.id,
        ns=row.checkpoint_ns,
        step=number(at.step),
        title=title(step),
        node=row.checkpoint_ns.rpartition("|")[2].partition(":")[0],
        is_head=is_head,
        back_href=addresses.checkpoint(store, row.thread_id, at.id, ns=row.checkpoint_ns),
        refusal=found.refusal,
        problem=at.problem or "",
        busy=busy(found.root_head),
        basis=found.basis,
        choices=tuple(
            Choice(each, each == chosen, prospect(outlook_of(each, step, is_head=is_head)))
            for each in offered
        ),
        questions=waits[:QUESTIONS],
        several=len(waits) > 1,
        more_questions=max(len(waits) - QUESTIONS, 0),
        speaks="messages" in at.values or "messages" in step.deltas,
        graphs=found.offered,
        graph=posted.get("graph", likeliest.name if likeliest else ""),
        configurable=posted.get("configurable_json") or _text_of(configured(step)),
        error=error,
    )


def outlook_of(kind: str, step: Step, *, is_head: bool) -> Outlook:
    """Return what a run of a kind does from a checkpoint."""
    match kind:
        case "resume":
            return outlook.resumed(step, head=is_head)
        case "continue":
            return outlook.continued(step)
        case "input":
            return outlook.begun_anew(step)
    return outlook.replayed(step)


def questions(step: Step, posted: QueryDict | None = None) -> tuple[Question, ...]:
    """Return the interrupts that wait at a checkpoint, with what was sent as their answers."""
    sent = (posted.getlist(name) for name in ("answer", "answer_as")) if posted else ((), ())
    typed = list(zip(*sent, strict=False))
    return tuple(
        Question(
            id=asked.id or "",
            text=question(asked.value),
            answer=typed[place][0] if place < len(typed) else "",
            as_json=place < len(typed) and typed[place][1] == "json",
        )
        for place, asked in enumerate(outlook.waiting(step))
    )


def _text_of(values: Mapping[str, Any]) -> str:
    return as_json(values) if values else ""


def as_json(value: Any) -> str:
    """Return a value as the text that a form takes."""
    return json.dumps(value, ensure_ascii=False, indent=2)
