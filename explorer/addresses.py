"""Addresses of the screens. Every link of a page is made here, so that a URL has one form."""

from __future__ import annotations

from urllib.parse import urlencode

from explorer import tilde
from explorer.forms import DEFAULT_DENSITY


def threads(store: str, *, q: str = "", before: str | None = None) -> str:
    return f"/s/{store}/threads/" + _query(q=q, before=before)


def timeline(
    store: str, thread: str, *, ns: str = "", before: str | None = None, density: str = "", branch: str = ""
) -> str:
    return f"/s/{store}/threads/{tilde.encode(thread)}/" + _query(
        ns=ns, before=before, branch=branch, density=_density(density)
    )


def checkpoint(
    store: str, thread: str, id: str, *, ns: str = "", density: str = "", branch: str = "", done: str = ""
) -> str:
    return _checkpoint(store, thread, id) + _query(ns=ns, branch=branch, density=_density(density), done=done)


def fork(store: str, thread: str, id: str, *, ns: str = "") -> str:
    return _checkpoint(store, thread, id) + "fork/" + _query(ns=ns)


def edit(
    store: str, thread: str, id: str, *, ns: str = "", channel: str = "", path: tuple[int, ...] = ()
) -> str:
    address = ".".join(map(str, path))
    return _checkpoint(store, thread, id) + "edit/" + _query(ns=ns, channel=channel, path=address)


def compare(store: str, left: tuple[str, str, str], right: tuple[str, str, str] | None = None) -> str:
    """Address a comparison of two checkpoints: thread, namespace and id of each."""
    thread, ns, id = left
    other = dict(zip(("with_thread", "with_ns", "with_id"), right or (), strict=False))
    return f"/s/{store}/compare/" + _query(thread=thread, ns=ns, id=id, **other)


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


def raw(store: str, thread: str, id: str, *, ns: str = "", download: bool = False) -> str:
    return _checkpoint(store, thread, id) + "raw/" + _query(ns=ns, download="1" if download else "")


def _checkpoint(store: str, thread: str, id: str) -> str:
    return f"/s/{store}/threads/{tilde.encode(thread)}/checkpoints/{tilde.encode(id)}/"


def query(**parameters: object) -> str:
    """Return the query of those parameters that have a value."""
    return urlencode({key: value for key, value in parameters.items() if value not in (None, "")})


def _query(**parameters: object) -> str:
    text = query(**parameters)
    return f"?{text}" if text else ""


def _density(density: str) -> str:
    return "" if density == DEFAULT_DENSITY else density
