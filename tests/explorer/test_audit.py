"""The audit: a row before and a row after each action, which nobody changes, or no action."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import AsyncClient
from pages import load, parse
from people_at import log_in, serve_to_users, user
from replaying import replays

from checkpoints.errors import ForkRefused
from explorer import stores
from explorer.audit import NotAudited, audited, recorded
from explorer.database.threads import in_database
from explorer.models import AppendOnly, AuditEntry
from explorer.people.roles import Person

if TYPE_CHECKING:
    from pathlib import Path

    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper

ANA = Person("ana", ("developer",))
MARKER = "what-a-customer-said"


async def entries(**wanted: Any) -> list[AuditEntry]:
    """Return the rows, oldest first."""
    return await in_database(lambda: list(AuditEntry.objects.filter(**wanted).order_by("id")))


@pytest.fixture(params=["sqlite", "postgresql"])
def audit(request: pytest.FixtureRequest) -> None:
    """An empty audit, in each database."""
    request.getfixturevalue("app_database" if request.param == "sqlite" else "app_in_postgres")


async def test_an_action_is_a_row_before_and_a_row_after(app_database: Path) -> None:
    async with audited(ANA, "fork", store="demo", thread="a/b\n", details={"reason": "why"}) as entry:
        [begun] = await entries()
        entry.add(made="1f0c")
    first, last = await entries()
    assert first == begun
    assert (first.person, first.roles, first.action, first.thread_id) == ("ana", "developer", "fork", "a/b\n")
    assert [(row.outcome, row.details) for row in (first, last)] == [
        ("begun", {"reason": "why"}),
        ("done", {"made": "1f0c"}),
    ]
    assert first.action_id == last.action_id


@pytest.mark.parametrize(
    ("error", "outcome"), [(ForkRefused("No."), "refused"), (KeyError(MARKER), "failed")], ids=str
)
async def test_an_action_that_fails_says_how_and_no_more(
    error: Exception, outcome: str, app_database: Path
) -> None:
    with pytest.raises(type(error)):
        async with audited(ANA, "fork"):
            raise error
    first, last = await entries()
    assert (first.outcome, last.outcome, last.details) == ("begun", outcome, {})


def test_commands_have_a_synchronous_one(audit: None) -> None:
    with recorded(Person.of_system_user(), "prune", store="elsewhere") as entry:
        entry.add(threads=3)
    last = AuditEntry.objects.first()
    assert last
    assert (last.roles, last.store, last.details) == ("local", "elsewhere", {"threads": 3})


def test_what_no_database_keeps_is_replaced(audit: None) -> None:
    with recorded(Person("a\0b"), "fork", thread="\ud800", details={"n\0": ["\0", 1, None], "x": "y" * 900}):
        pass
    row = AuditEntry.objects.last()
    assert row
    assert (row.person, row.thread_id) == ("a\ufffdb", "?")
    assert row.details["n\ufffd"] == ["\ufffd", 1, None]
    assert len(row.details["x"]) == 500


def test_no_row_can_be_changed_by_the_app(audit: None) -> None:
    with recorded(ANA, "fork"):
        pass
    row = AuditEntry.objects.first()
    assert row
    for change in (
        row.save,
        row.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(person="bob"),
        lambda: AuditEntry.objects.bulk_update([row], ["person"]),
        lambda: AuditEntry._base_manager.all().delete(),
    ):
        with pytest.raises(AppendOnly):
            change()
    assert AuditEntry.objects.count() == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE checkpoint_explorer_auditentry SET person = 'bob'",
        "DELETE FROM checkpoint_explorer_auditentry",
        "UPDATE checkpoint_explorer_auditentry SET id = id + 100",
    ],
)
def test_no_row_can_be_changed_in_the_database(statement: str, audit: None) -> None:
    with recorded(ANA, "fork"):
        pass
    with pytest.raises(DatabaseError, match="only added to"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert [row.person for row in AuditEntry.objects.all()] == ["ana", "ana"]


def test_sqlite_does_not_replace_a_row(app_database: Path) -> None:
    with recorded(ANA, "fork"):
        pass
    columns = "id, action_id, at, person, roles, action, store, thread_id, outcome, details"
    bob = columns.replace("person", "'bob'")
    replaced = f"INSERT OR REPLACE INTO {{0}} ({columns}) SELECT {bob} FROM {{0}}"
    with closing(sqlite3.connect(app_database)) as conn, pytest.raises(sqlite3.IntegrityError):
        conn.execute(replaced.format("checkpoint_explorer_auditentry"))


def test_postgres_does_not_empty_the_table(app_in_postgres: str) -> None:
    with pytest.raises(DatabaseError, match="only added to"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE checkpoint_explorer_auditentry")


def test_it_is_not_undone_with_what_surrounds_it(audit: None) -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic(), recorded(ANA, "fork"):
        pass
    assert not AuditEntry.objects.exists()


def holds(database: Path, text: str) -> bool:
    """Tell whether a text stands anywhere in a database's files."""
    return any(text.encode() in file.read_bytes() for file in database.parent.glob(f"{database.name}*"))


def locked(path: Path) -> sqlite3.Connection:
    """Let nobody write to the audit any more."""
    conn = sqlite3.connect(path)
    conn.execute(
        "CREATE TRIGGER full BEFORE INSERT ON checkpoint_explorer_auditentry "
        "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    return conn


async def test_without_the_audit_nothing_is_begun(app_database: Path) -> None:
    begun = False
    with closing(locked(app_database)), pytest.raises(NotAudited, match="nothing was done"):
        async with audited(ANA, "fork"):
            begun = True
    assert not begun


def test_without_the_audit_a_command_does_nothing(app_database: Path) -> None:
    begun = False
    with closing(locked(app_database)), pytest.raises(NotAudited), recorded(ANA, "fork"):
        begun = True
    assert not begun


async def test_an_end_that_cannot_be_noted_is_said(app_database: Path) -> None:
    with pytest.raises(NotAudited, match="could not note how it ended"):
        async with audited(ANA, "fork"):
            locked(app_database).close()
    assert [row.outcome for row in await entries()] == ["begun"]


async def sent(forkable: Forkable, page: str, **fields: Any) -> Any:
    """Send the first form of a page of a thread's head."""
    url = forkable.url("asking", forkable.ids("asking")[0], page)
    [form, *_] = (await load(forkable.browser, url)).find("main form[method=post]")
    return await forkable.post(url, form, **fields)


ASKING = {"kind": "replay", "step_limit": "5", "seconds_limit": "5", "graph": "*"}
ASKED = {"answer": "", "answer_as": "text", "configurable_json": ""}


@pytest.mark.parametrize(
    ("page", "fields"),
    [
        ("fork/", {"reason": "why"}),
        ("replay/", {**ASKING, **ASKED, "reason": "why"}),
    ],
)
async def test_forks_and_replays_are_noted_with_their_reason(
    page: str, fields: dict[str, str], forkable: Forkable, app_database: Path
) -> None:
    id = forkable.ids("asking")[0]
    assert (await sent(forkable, page, **fields)).status_code == 303
    first, last = await entries()
    assert (first.action, first.thread_id, first.roles) == (page.strip("/"), "asking", "local")
    assert first.store == stores.key(stores.located("forkable"))
    assert (first.details["checkpoint"], first.details["reason"]) == (id, "why")
    assert last.outcome == "done"
    assert last.details.get("replay") or last.details["made"] == forkable.ids("asking")[0]


async def test_an_edit_is_noted_without_what_was_typed(forkable: Forkable, app_database: Path) -> None:
    url = forkable.url("asking", forkable.ids("asking")[0], "edit/", channel="log")
    [form] = (await load(forkable.browser, url)).find("main form[method=post]")
    text = {"text": f'["{MARKER}"]', "reason": "why"}
    review = await forkable.post(url, form, action="review", **text)
    [form] = parse(review.content.decode()).find("main form[method=post]")
    assert (await forkable.post(url, form, action="fork", **text)).status_code == 303
    first, last = await entries()
    assert (first.action, first.details["channels"], last.outcome) == ("edit", ["log"], "done")
    assert not holds(app_database, MARKER)


async def test_a_fork_is_refused_while_the_audit_cannot_be_written(
    forkable: Forkable, app_database: Path
) -> None:
    before = forkable.rows()
    with closing(locked(app_database)):
        for page, fields in (("fork/", {}), ("replay/", {**ASKING, **ASKED})):
            answer = await sent(forkable, page, **fields)
            assert answer.status_code == 503
            assert "The audit cannot be written, so nothing was done." in answer.content.decode()
    assert forkable.rows() == before
    assert await replays() == []


async def test_a_refused_fork_is_noted_as_refused(forkable: Forkable, settings: SettingsWrapper) -> None:
    url = forkable.url("asking", forkable.ids("asking")[0], "fork/")
    [form, *_] = (await load(forkable.browser, url)).find("main form[method=post]")
    known = {row.id for row in await entries()}
    assert (await forkable.post(url, form, basis="another")).status_code == 409
    assert [row.outcome for row in await entries() if row.id not in known] == ["begun", "refused"]


async def test_whoever_asks_cancels_and_works_is_noted(forkable: Forkable, app_database: Path) -> None:
    url = "/s/forkable/threads/asking/replays/"
    asked = (await forkable.browser.post(url, '{"kind": "replay"}', content_type="application/json")).json()
    api = f"/api/replays/{asked['id']}"
    claimed = await forkable.browser.post(f"{api}/claim/", '{"worker": "w"}', content_type="application/json")
    held = {"attempt": claimed.json()["attempt"], "state": "failed", "error": MARKER}
    await forkable.browser.post(f"{api}/result/", held, content_type="application/json")
    await forkable.browser.post(f"/replays/{asked['id']}/cancel/")
    rows = await entries()
    assert [row.action for row in rows[::2]] == ["replay", "claim", "result", "cancel"]
    assert {row.outcome for row in rows[1::2]} == {"done"}
    assert all(MARKER not in repr(row.details) for row in rows)


async def test_logins_are_noted_and_failed_ones_without_a_strange_name(
    settings: SettingsWrapper, app_database: Path
) -> None:
    serve_to_users(settings)
    await user("ana", "viewer")
    client = AsyncClient()
    assert (await log_in(client, "ana", "wrong")).status_code == 422
    assert (await log_in(client, "a password typed here")).status_code == 422
    assert (await log_in(client, "ana")).status_code == 303
    assert (await client.post("/logout/")).status_code == 303
    rows = await entries()
    assert [(row.action, row.person, row.outcome) for row in rows[1::2]] == [
        ("login", "ana", "refused"),
        ("login", "", "refused"),
        ("login", "ana", "done"),
        ("logout", "ana", "done"),
    ]
    assert not holds(app_database, "a password typed here")


async def test_nobody_can_be_named_as_the_author_of_another(
    forkable: Forkable, settings: SettingsWrapper, app_database: Path
) -> None:
    serve_to_users(settings)
    await user("ana", "developer")
    forkable.browser = AsyncClient()
    await log_in(forkable.browser, "ana")
    assert (await sent(forkable, "fork/", author="bob")).status_code == 303
    assert forkable.head("asking").metadata["fork_author"] == "ana"
    assert (await entries(action="fork"))[0].person == "ana"
