"""The dialogs of a checkpoint, each opened and each of its forms sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pages import Element, parse

if TYPE_CHECKING:
    from django.test import AsyncClient

EDITED = 4  # channels of a checkpoint that are edited


async def every_dialog(client: AsyncClient, store: str, thread: str, id: str) -> list[str]:
    """Open each dialog of a checkpoint and send its forms, and return where the forks have led to.

    None of them may fail: what cannot be forked is refused in words.
    """
    base = f"/s/{store}/threads/{thread}/checkpoints/{id}/"
    made = []
    page = await opened(client, f"{base}fork/")
    for form in page.find("form[method=post]"):
        answer = await sent(client, f"{base}fork/", form)
        made += [answer["Location"]] if answer.status_code == 303 else []
    page = await opened(client, f"{base}edit/")
    for box in page.find("input[type=checkbox]")[:EDITED]:
        editor = f"{base}edit/?{urlencode({'channel': box['value']})}"
        for form in (await opened(client, editor)).find("form[method=post]"):
            texts = {"text": ['["edited"]' for _ in form.find("textarea")]}
            await sent(client, editor, form, action="review", **texts)
            answer = await sent(client, editor, form, action="fork", **texts)
            made += [answer["Location"]] if answer.status_code == 303 else []
    asking = f"{base}replay/"
    for form in (await opened(client, asking)).find("form[method=post]"):
        for kind in ("replay", "resume", "continue", "input"):
            limits = {"step_limit": "5", "seconds_limit": "5", "configurable_json": "", "graph": ""}
            given = {"kind": kind, "answer": ["x"], "answer_as": ["text"], "input_json": "{}"}
            answer = await sent(client, asking, form, **limits, **given)
            if answer.status_code == 303:
                await opened(client, answer["Location"])
    first = {"thread": thread, "id": id}
    for other in (
        {},
        {"with_thread": thread},
        {"with_thread": thread, "with_id": id},
        {"with_thread": "good"},
    ):
        await opened(client, f"/s/{store}/compare/?{urlencode({**first, **other})}")
    for address in made:
        await opened(client, address)
    return made


async def opened(client: AsyncClient, url: str) -> Element:
    response = await client.get(url)
    assert response.status_code == 200 or "cannot" in response.content.decode(), (url, response.status_code)
    assert response.status_code < 500, (url, response.content.decode())
    return parse(response.content.decode())


async def sent(client: AsyncClient, url: str, form: Element, **data: Any) -> Any:
    fields = {field["name"]: field.attributes.get("value", "") for field in form.find("input[name]")}
    response = await client.post(url, {**fields, **data})
    assert response.status_code in {200, 303, 409, 422}, (
        url,
        response.status_code,
        response.content.decode(),
    )
    return response
