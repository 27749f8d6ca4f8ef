"""The timeline of one namespace of a thread, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from checkpoints.steps import steps
from explorer import addresses, tilde
from explorer.bounds import NAMESPACES
from explorer.branches import BranchLine, branch_lines
from explorer.forms import DEFAULT_DENSITY, DENSITIES, TimelineParameters
from explorer.namespaces import NamespaceLine, namespace_lines
from explorer.offload import offload
from explorer.people.roles import who
from explorer.recall import recall
from explorer.rendering import screen
from explorer.steps import StepLine, rows, step_lines
from explorer.stores import located
from explorer.tasks import Pending, pending_card
from explorer.wording import at_least

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from checkpoints.inert import InertSerializer
    from checkpoints.stores import Store
    from checkpoints.stores.records import NamespaceRow, TimelinePage

STEPS_SHOWN = 50
LINK_WEIGHT = 100  # bytes of a state that cost as much to show as a link of the tree


@dataclass(frozen=True, slots=True)
class TimelineScreen:
    """What a timeline shows."""

    thread: str
    ns: str
    density: str
    densities: tuple[tuple[str, str], ...]
    namespaces: tuple[NamespaceLine, ...]
    more_namespaces: int
    checkpoints: str
    steps: tuple[StepLine, ...]
    columns: int
    branches: tuple[BranchLine, ...]
    more_branches: int
    branch: str
    whole_href: str
    pending: Pending | None
    ask_href: str
    older: str
    newest: str
    bound: str | None
    replays_href: str
    key: str


async def timeline(request: HttpRequest, store: str, thread: str) -> HttpResponse:
    asked = TimelineParameters.read(request.GET)
    location = located(store)
    key = ("timeline", store, thread, *asked.values())
    shown = await recall(who(request), location, key, lambda opened: load(opened, store, thread, asked))
    context = {
        "screen": shown,
        "rows": rows(shown.steps, datetime.now(UTC)),
        "store": store,
        "thread": thread,
    }
    return screen(request, "timeline/page.html", "timeline/_pane.html", context)


async def load(
    opened: Store, store: str, thread: str, asked: dict[str, Any], selected: str = ""
) -> TimelineScreen:
    """Read the page of the timeline that the parameters ask for, or the one around `selected`."""
    namespaces = await opened.namespaces(thread)
    ns = _namespace(asked["ns"], namespaces)
    branch = asked.get("branch") or ""
    page = await opened.timeline(
        thread,
        ns,
        before=asked.get("before") or None,
        around=selected or None,
        branch=branch or None,
        limit=STEPS_SHOWN + 1,
    )
    density = asked.get("density") or DEFAULT_DENSITY
    weight = page.weight + LINK_WEIGHT * len(page.tree.links)
    return await offload(
        weight, _screen, store, thread, ns, density, namespaces, page, opened.serde, selected, branch
    )


def _namespace(asked: str | None, namespaces: tuple[NamespaceRow, ...]) -> str:
    """Return the namespace to show: the one asked for, else the root, else the last that has checkpoints."""
    if asked or not namespaces or any(row.checkpoint_ns == "" for row in namespaces):
        return asked or ""
    return max(namespaces, key=lambda row: (row.checkpoints > 0, row.checkpoint_ns)).checkpoint_ns


def _screen(
    store: str,
    thread: str,
    ns: str,
    density: str,
    namespaces: tuple[NamespaceRow, ...],
    page: TimelinePage,
    serde: InertSerializer,
    selected: str,
    branch: str,
) -> TimelineScreen:
    related = steps(page, serde)
    lines, columns = step_lines(store, density, page, related, selected, STEPS_SHOWN, branch=branch)
    more = len(page.checkpoints) > STEPS_SHOWN or page.older is not None
    return TimelineScreen(
        thread=thread,
        ns=ns,
        density=density,
        densities=tuple(
            (name, addresses.timeline(store, thread, ns=ns, density=name, branch=branch))
            for name in DENSITIES
        ),
        namespaces=namespace_lines(store, thread, ns, density, namespaces),
        more_namespaces=max(len(namespaces) - NAMESPACES, 0),
        checkpoints=next(
            (_checkpoints(row) for row in namespaces if row.checkpoint_ns == ns), "0 checkpoints"
        ),
        steps=lines,
        columns=columns,
        branches=branch_lines(store, thread, ns, density, page, related, serde, branch),
        more_branches=max(len(page.tree.tips) - len(page.tips), 0) if page.tips else 0,
        branch=branch,
        whole_href=_page_link(store, thread, ns, density, None, ""),
        pending=pending_card(related[0]) if related and page.newer is None else None,
        ask_href=addresses.ask(store, thread, related[0].at.id, ns=ns) if related and not ns else "",
        older=_page_link(store, thread, ns, density, lines[-1].id, branch) if more and lines else "",
        newest="" if page.newer is None else _page_link(store, thread, ns, density, None, branch),
        bound=page.bound,
        replays_href=addresses.replays(store=store, thread=thread),
        key=tilde.encode(thread),
    )


def _page_link(store: str, thread: str, ns: str, density: str, before: str | None, branch: str) -> str:
    return addresses.timeline(store, thread, ns=ns, before=before, density=density, branch=branch)


def _checkpoints(row: NamespaceRow) -> str:
    number = at_least(row.checkpoints, row.at_least)
    return f"{number} checkpoint{'' if row.checkpoints == 1 else 's'}"
