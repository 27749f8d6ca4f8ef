"""Pages as a test reads them: a tree of elements, found by simple CSS selectors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from django.test import AsyncClient

VOID = frozenset({"br", "img", "input", "link", "meta", "hr"})
PART = re.compile(r"([.#]?)([\w-]+)|\[([\w-]+)(?:=\"?([^\]\"]*)\"?)?\]")


Parts = tuple[tuple[str, ...], ...]


@cache
def _parts(step: str) -> Parts:
    """Take `tag.class[name=value]` apart: sign and name, or attribute and value."""
    return tuple(part.groups(default="") for part in PART.finditer(step))


@dataclass(eq=False)
class Element:
    """One element. `find` takes `tag.class#id[name=value]`, with spaces for descendants."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def words(self) -> str:
        """The text with runs of white space as one space."""
        return " ".join(self.text.split())

    def __getitem__(self, attribute: str) -> str:
        return self.attributes[attribute]

    def descendants(self) -> Iterator[Element]:
        waiting = [self]
        while waiting:
            element = waiting.pop()
            waiting.extend(child for child in reversed(element.children) if isinstance(child, Element))
            if element is not self:
                yield element

    def find(self, selector: str) -> list[Element]:
        found = [self]
        for step in selector.split():
            wanted = _parts(step)
            inside = (child for parent in found for child in parent.descendants() if child._matches(wanted))
            found = list(dict.fromkeys(inside))
        return found

    def one(self, selector: str) -> Element:
        (found,) = self.find(selector)
        return found

    def _matches(self, wanted: Parts) -> bool:
        return all(self._has(*part) for part in wanted)

    def _has(self, kind: str, name: str, attribute: str, value: str) -> bool:
        if attribute:
            return attribute in self.attributes and value in ("", self.attributes[attribute])
        match kind:
            case ".":
                return name in self.attributes.get("class", "").split()
            case "#":
                return self.attributes.get("id") == name
        return self.tag == name


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Element:
    """Return the tree of a page. Fails on elements that are not closed in order."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert len(builder.open) == 1, f"<{builder.open[-1].tag}> is left open"
    return builder.open[0]


async def load(client: AsyncClient, url: str, **headers: str) -> Element:
    """Get a page that must be there."""
    response = await client.get(url, headers={name.replace("_", "-"): text for name, text in headers.items()})
    assert response.status_code == 200, (response.status_code, url)
    return parse(response.content.decode())


async def following(client: AsyncClient, url: str) -> AsyncIterator[Element]:
    """Yield a page and those that its `rel="next"` links lead to."""
    seen = set()
    while url and url not in seen:
        seen.add(url)
        page = await load(client, url)
        yield page
        url = next((link["href"] for link in page.find("a[rel=next]")), "")
    assert not url, f"{url} leads back to itself"
