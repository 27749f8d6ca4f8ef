"""A store that a test of the explorer may write to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from graphs import config

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import AsyncClient


@dataclass
class Forkable:
    """That store: a browser at it, the official saver and the graphs by their thread's id."""

    place: Path | str
    browser: AsyncClient
    saver: Any
    graphs: dict[str, Any]

    def ids(self, thread: str, ns: str = "") -> list[str]:
        """Return the ids of a namespace, newest first."""
        found = self.saver.list({"configurable": {"thread_id": thread, "checkpoint_ns": ns}})
        return [each.checkpoint["id"] for each in found]

    def head(self, thread: str) -> Any:
        """Return what the official saver reads of a thread's head."""
        return self.saver.get_tuple(config(thread))

    def url(self, thread: str, id: str, page: str = "", **query: str) -> str:
        """Return the address of a page of a checkpoint."""
        path = f"/s/forkable/threads/{thread}/checkpoints/{id}/{page}"
        return f"{path}?{urlencode(query)}" if query else path

    def rows(self) -> str:
        """Return all that is stored, to see whether it changed."""
        found = sorted(map(repr, self.saver.list(None)))
        return repr(found)

    async def post(self, url: str, form: Any, **data: Any) -> Any:
        """Send a form of a page as a browser does, with its hidden fields."""
        fields = {field["name"]: field.attributes.get("value", "") for field in form.find("input[name]")}
        if areas := form.find("textarea[name]"):
            for name in ("name", "path"):
                fields[name] = [field["value"] for field in form.find(f"input[name={name}]")]
            fields["text"] = [area.text.removeprefix("\n") for area in areas]
        return await self.browser.post(url, {**fields, **data})
