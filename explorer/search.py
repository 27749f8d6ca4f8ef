"""The search box: words look for a thread id, `key=value` for metadata of any checkpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from checkpoints.stores.records import Search
from explorer.people.roles import NotAllowed

if TYPE_CHECKING:
    from explorer.people.roles import Person

PAIR = re.compile(r"""(?:^|(?<=\s))(?P<key>[A-Za-z_][\w.-]*)=(?:"(?P<quoted>[^"]*)"|(?P<plain>\S+))""")
ID_ONLY = "id:"


def require(person: Person, text: str) -> None:
    """Raise NotAllowed where a search would tell what a masked key holds."""
    wanted = parse(text)
    if wanted and wanted.metadata:
        require_key(person, wanted.metadata[0])


def require_key(person: Person, key: str) -> None:
    """Raise NotAllowed where a search by this key would tell what is masked."""
    if person.masks.hides_search(key):
        raise NotAllowed(
            f"{key} is masked for you, so it cannot be searched by.",
            advice="Search by another key, or by the thread's id.",
        )


def parse(text: str) -> Search | None:
    """Return what the text asks for; None when it asks for nothing.

    `user_id=alice` or `user_id="Ana Maria"` is metadata, the rest a part of the id; `id:` before the text
    says that all of it is.
    """
    text = text.strip()
    if not text:
        return None
    if text.startswith(ID_ONLY):
        return Search(thread_id=text.removeprefix(ID_ONLY).strip() or None)
    pair = PAIR.search(text)
    if pair is None:
        return Search(thread_id=text)
    value = pair["plain"] if pair["quoted"] is None else pair["quoted"]
    rest = f"{text[: pair.start()]} {text[pair.end() :]}".strip()
    return Search(thread_id=rest or None, metadata=(pair["key"], value))
