"""Addresses of the screens. Every link of a page is made here, so that a URL has one form."""

from __future__ import annotations

from urllib.parse import urlencode

from explorer import tilde
from explorer.forms import DEFAULT_DENSITY


def threads(store: str, *, q: str = "", before: str | None = None) -> str:
    return f"/s/{store}/threads/" + _query(q=q, before=before)


def bytes_page(store: str) -> str:
    return f"/s/{store}/bytes/"


def timeline(
    store: str, thread: str, *, ns: str = "", before: str | None = None, density: str = "", branch: str = ""
) -> str:
    return f"/s/{store}/threads/{tilde.encode(thread)}/" + _query(
        ns=ns, before=before, branch=branch, density=_density(density)
    )


def checkpoint(
    store: str,
    thread: str,
    id: str,
    *,
    ns: str = "",
    density: str = "",
    branch: str = "",
    done: str = "",
    origin: str = "",
    former: str = "",
) -> str:
    return _checkpoint(store, thread, id) + _query(
        ns=ns, branch=branch, density=_density(density), done=done, origin=origin, former=former
    )


def fork(store: str, thread: str, id: str, *, ns: str = "", measure: bool = False) -> str:
    return _checkpoint(store, thread, id) + "fork/" + _query(ns=ns, measure="1" if measure else "")


def edit(
    store: str,
    thread: str,
    id: str,
    *,
    ns: str = "",
    channel: str | None = None,
    path: tuple[int, ...] = (),
) -> str:
    """Address the editor of a channel, of a part of it, or without one the choice of channels."""
    address = ".".join(map(str, path))
    key = None if channel is None else tilde.encode(channel)
    return _checkpoint(store, thread, id) + "edit/" + _query(ns=ns, channel=key, path=address)


def ask(store: str, thread: str, id: str, *, ns: str = "", kind: str = "", again: object = "") -> str:
    """Address the page that asks for a replay of a checkpoint, with a kind chosen, or of one once more."""
    return _checkpoint(store, thread, id) + "replay/" + _query(ns=ns, kind=kind, again=again)


def replay(id: object, page: str = "") -> str:
    return f"/replays/{id}/{page}"


def replays(
    *, state: str = "", store: str = "", thread: str = "", by: str = "", before: str | None = None
) -> str:
    key = tilde.encode(thread) if thread else ""
    return "/replays/" + _query(state=state, store=store, thread=key, by=by, before=before)


def audit(**asked: str) -> str:
    """Address the audit, filtered as its form asks: the thread tilde-encoded, as forms change line breaks."""
    return "/audit/" + _query(**asked)


def compare(
    store: str,
    left: tuple[str, str, str],
    right: tuple[str, str, str] | None = None,
    *,
    before: str | None = None,
) -> str:
    """Address a comparison of two checkpoints: thread, namespace and id of each."""
    thread, ns, id = map(tilde.encode, left)  # forms send these on, and would change line breaks
    other = dict(zip(("with_thread", "with_ns", "with_id"), map(tilde.encode, right or ()), strict=False))
    return f"/s/{store}/compare/" + _query(thread=thread, ns=ns, id=id, **other, before=before)


def value(
    store: str,
    thread: str,
    id: str,
    *,
    ns: str = "",
    part: str = "values",
    channel: str = "",
    task: str = "",
    idx: int | None = None,
    path: tuple[int, ...] = (),
    start: int = 0,
) -> str:
    address = ".".join(map(str, path))
    return (
        _checkpoint(store, thread, id)
        + "value/"
        + _query(ns=ns, part=part, channel=channel, task=task, idx=idx, path=address, start=start or None)
    )


def find(store: str, *, meta: str = "", ids: str = "") -> str:
    return f"/s/{store}/find/" + _query(meta=meta, ids=ids)


def deletion(id: object, *, after: int | None = None) -> str:
    return f"/deletions/{id}/" + _query(after=after)


def deletions(*, store: str = "", before: str = "") -> str:
    return "/deletions/" + _query(store=store, before=before)


def raw(store: str, thread: str, id: str, *, ns: str = "", download: bool = False) -> str:
    return _checkpoint(store, thread, id) + "raw/" + _query(ns=ns, download="1" if download else "")


def _checkpoint(store: str, thread: str, id: str) -> str:
    return f"/s/{store}/threads/{tilde.encode(thread)}/checkpoints/{tilde.encode(id)}/"


def _query(**parameters: object) -> str:
    given = {key: value for key, value in parameters.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""


def _density(density: str) -> str:
    return "" if density == DEFAULT_DENSITY else density
