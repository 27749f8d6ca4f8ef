"""A deletion from plan to receipt, through its page."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone
from graphs import AWKWARD, chat, config, official_saver
from langchain_core.messages import HumanMessage

from checkpoints.bundling import import_bundle
from checkpoints.deleting import Deleter
from checkpoints.errors import StoreBusy
from explorer.database.threads import in_database
from explorer.deletions import backups, life
from explorer.deletions.carrying import Carrier, carry_out
from explorer.deletions.errors import NotAsPlanned
from explorer.models import AuditEntry, Deletion, Fate, Outcome, Replay, Stage, State
from explorer.people.roles import Person
from explorer.replays.requests import Request, ask
from explorer.stores import key, located

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deletable import Deletable
    from pages import Element

EVERY_SHAPE = ["chat", AWKWARD, "nested", "forked", "asking", "failing", "big", "functional"]


def say(shop: Deletable, thread_id: str, text: str) -> None:
    with official_saver(shop.place) as saver:
        chat(saver).invoke({"messages": [HumanMessage(text)]}, config(thread_id))


def facts(page: Element) -> dict[str, str]:
    listed = page.one(".receipt dl.facts")
    return {term.words: text.words for term, text in zip(listed.find("dt"), listed.find("dd"), strict=True)}


async def fates(plan: Deletion) -> dict[str, str]:
    return await in_database(lambda: dict(plan.of.values_list("thread_id", "fate")))


async def test_the_plan_says_what_would_go_and_deletes_nothing(shop: Deletable) -> None:
    before = shop.rows_of("nested")
    page = await shop.load(f"/deletions/{(await shop.plan('nested')).id}/")
    counts = [[cell.words for cell in row.find("td")] for row in page.find("table.counts tbody tr")]
    assert sum(int(cells[0]) for cells in counts) == before == shop.rows_of("nested")
    assert facts(page)["namespaces"] == "3"
    assert "long-term store" in facts(page)["not covered"]
    assert page.one("h1").words == "Plan: delete nested"


@pytest.mark.parametrize("thread_id", EVERY_SHAPE)
async def test_a_confirmed_deletion_leaves_no_row_in_any_table(shop: Deletable, thread_id: str) -> None:
    done = await shop.deleted(thread_id)
    assert shop.rows_of(thread_id) == 0
    assert done.stage == Stage.DELETED
    assert await fates(done) == {thread_id: Fate.GONE}
    assert done.left == {"threads": 0, "checkpoints": 0, "writes": 0, "blobs": 0, "fits": 0}
    assert (done.erased_at is not None) == (shop.kind == "sqlite")


async def test_the_receipt_tells_who_when_what_and_whether_it_is_erased(shop: Deletable) -> None:
    done = await shop.deleted("chat", "nested", reason="ticket 4711")
    told = facts(await shop.load(f"/deletions/{done.id}/"))
    assert "ticket 4711" in told["confirmed"]
    assert told["threads"] == "2 deleted"
    assert told["erased"].startswith("erased" if shop.kind == "sqlite" else "out of reach")
    answer = await shop.browser.get(f"/deletions/{done.id}/receipt.json")
    receipt = json.loads(answer.content)
    assert {each["rows_after"] for each in receipt["tables"].values()} == {0}
    assert [each["thread"] for each in receipt["threads"]] == ["chat", "nested"]
    assert receipt["erased"]["erased"] is (shop.kind == "sqlite")
    assert receipt["confirmed"]["by"]
    assert "98-1143" not in answer.content.decode(), "an order number of the state"


@pytest.mark.parametrize(
    ("threads", "typed"), [(("chat",), "chat"), (("chat", "nested"), "2"), ((AWKWARD,), "1")]
)
async def test_nothing_is_deleted_before_the_right_thing_is_typed(
    shop: Deletable, threads: tuple[str, ...], typed: str
) -> None:
    plan = await shop.plan(*threads)
    answer = await shop.act(plan, "confirm", typed="yes", reason="I said so")
    assert answer.status_code == 422
    assert "Nothing was deleted." in answer.content.decode()
    assert "I said so" in answer.content.decode(), "what was typed stays"
    await shop.carry_out()
    assert all(map(shop.rows_of, threads))
    assert (await shop.act(plan, "confirm", typed=typed)).status_code == 303


async def test_a_plan_whose_thread_was_written_to_is_refused_with_what_changed(shop: Deletable) -> None:
    plan = await shop.plan("chat", "nested")
    say(shop, "chat", "one more thing")
    answer = await shop.confirm(plan)
    assert answer.status_code == 409
    assert "1 was written to since: chat" in " ".join(
        answer.content.decode().replace("<code>", "").replace("</code>", "").split()
    )
    await shop.carry_out()
    assert shop.rows_of("nested")
    again = await shop.act(plan, "again")
    assert again.status_code == 303
    newer = await in_database(Deletion.objects.get, again_of=plan)
    assert (await shop.confirm(newer)).status_code == 303


async def test_a_thread_that_changes_after_the_confirmation_is_left_whole(shop: Deletable) -> None:
    plan = await shop.plan("chat", "nested")
    await shop.confirm(plan)
    say(shop, "chat", "wait!")
    held = shop.rows_of("chat")
    await shop.carry_out()
    assert await fates(plan) == {"chat": Fate.CHANGED, "nested": Fate.GONE}
    assert shop.rows_of("chat") == held
    page = await shop.load(f"/deletions/{plan.id}/")
    assert "1 left whole: written to after the plan" in facts(page)["threads"]
    left = (await shop.again(plan)).left
    assert left["threads"] == 1
    assert sum(left[table] for table in ("checkpoints", "writes", "blobs")) == held


async def test_of_two_people_one_does_it_and_the_other_reads_that_it_is_done(shop: Deletable) -> None:
    mine, yours = await shop.plan("chat"), await shop.plan("chat")
    await shop.confirm(mine)
    refused = await shop.confirm(yours)
    assert refused.status_code == 409
    assert "right now" in refused.content.decode()
    await shop.carry_out()
    page = await shop.load(f"/deletions/{yours.id}/")
    assert "gone already, deleted by " in page.one("[role=alert]").words
    assert f"/deletions/{mine.id}/" in [link["href"] for link in page.find("[role=alert] a")]
    assert (await shop.confirm(yours)).status_code == 409


async def test_what_two_have_confirmed_at_once_is_deleted_once(shop: Deletable) -> None:
    mine, yours = await shop.plan("chat"), await shop.plan("chat")
    await shop.confirm(mine)
    await in_database(
        Deletion.objects.filter(id=yours.id).update, stage=Stage.QUEUED, confirmed_at=timezone.now()
    )
    await shop.carry_out()
    assert (await shop.again(mine)).stage == Stage.DELETED
    late = await shop.again(yours)
    assert (late.stage, await fates(late)) == (Stage.VOID, {"chat": Fate.MISSING})


async def test_a_form_that_is_sent_twice_deletes_once(shop: Deletable) -> None:
    plan = await shop.plan("chat")
    assert (await shop.confirm(plan)).status_code == 303
    assert (await shop.confirm(plan)).status_code == 409
    begun = AuditEntry.objects.filter(action_id=plan.id, outcome=Outcome.BEGUN)
    assert await in_database(begun.count) == 1


async def test_it_is_in_the_audit_before_and_after_without_any_state(shop: Deletable) -> None:
    done = await shop.deleted("chat", reason="by mail")
    rows = await in_database(lambda: list(AuditEntry.objects.filter(action_id=done.id).order_by("id")))
    assert [row.outcome for row in rows] == [Outcome.BEGUN, Outcome.DONE]
    assert rows[0].thread_id == "chat"
    assert rows[0].details["reason"] == "by mail"
    assert (rows[1].details["threads_left"], rows[1].details["rows_left"]) == (0, 0)
    page = await shop.load("/audit/")
    assert f"/deletions/{done.id}/" in [link["href"] for link in page.find("td.why a")]


async def test_without_an_audit_nothing_is_deleted(shop: Deletable, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = await shop.plan("chat")
    monkeypatch.setattr(AuditEntry._meta, "db_table", "no_such_table")
    assert (await shop.confirm(plan)).status_code == 503
    await shop.carry_out()
    assert shop.rows_of("chat")
    assert (await shop.again(plan)).stage == Stage.PLANNED


async def test_a_read_only_explorer_plans_and_deletes_nothing(shop: Deletable, settings: Any) -> None:
    plan = await shop.plan("chat")
    settings.EXPLORER_READ_ONLY = True
    assert (await shop.confirm(plan)).status_code == 403
    answer = await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": "all", "every": "1"})
    assert answer.status_code == 403
    assert "Nothing can be deleted" in (await shop.load(f"/deletions/{plan.id}/")).one("p.notice.bad").words


async def test_it_stops_when_asked_and_the_rest_can_be_planned_anew(shop: Deletable) -> None:
    plan = await shop.plan("chat", "nested")
    await shop.confirm(plan)
    await shop.act(plan, "stop")
    await shop.carry_out()
    stopped = await shop.again(plan)
    assert stopped.stage == Stage.STOPPED
    assert stopped.left["threads"] == 2
    assert shop.rows_of("chat")
    assert shop.rows_of("nested")
    assert (await shop.act(plan, "again")).status_code == 303


async def test_a_thread_that_comes_back_is_shown_and_can_be_deleted_again(shop: Deletable) -> None:
    done = await shop.deleted("chat")
    say(shop, "chat", "I was still talking")
    await in_database(Deletion.objects.filter(id=done.id).update, watch_next=timezone.now())
    await shop.carry_out()
    page = await shop.load(f"/deletions/{done.id}/")
    assert page.one("[role=alert]").words.startswith("1 thread came back.")
    assert "came back" in (await shop.load("/deletions/")).one("table.deletions").words
    await shop.act(done, "again")
    newer = await in_database(Deletion.objects.get, again_of=done)
    await shop.confirm(newer)
    await shop.carry_out()
    assert shop.rows_of("chat") == 0


async def test_the_watch_goes_on_for_a_month_and_then_ends(shop: Deletable) -> None:
    done = await shop.deleted("chat")
    assert done.watch_next > timezone.now()
    long_ago = timezone.now() - timezone.timedelta(days=31)
    await in_database(
        Deletion.objects.filter(id=done.id).update, ended_at=long_ago, watch_next=timezone.now()
    )
    await shop.carry_out()
    assert (await shop.again(done)).watch_next is None


async def test_a_backup_is_downloaded_and_brings_the_threads_back(shop: Deletable, tmp_path: Any) -> None:
    before = shop.rows_of("nested")
    done = await shop.deleted("nested", backup="1")
    answer = await shop.act(done, "backup")
    content = b"".join([chunk async for chunk in answer])
    (tmp_path / "backup.sqlite").write_bytes(content)
    imported = import_bundle(str(tmp_path / "backup.sqlite"), str(shop.place))
    assert (imported.threads, shop.rows_of("nested")) == (1, before)
    await shop.act(done, "drop-backup")
    assert backups.path_of(await shop.again(done)) is None
    assert not list((tmp_path / "backups").iterdir())


async def test_a_backup_is_dropped_after_its_week(shop: Deletable, tmp_path: Any) -> None:
    await shop.deleted("chat", backup="1")
    backups.sweep(timezone.now() + backups.KEPT / 2)
    assert len(list((tmp_path / "backups").iterdir())) == 1
    backups.sweep(timezone.now() + backups.KEPT * 2)
    assert not list((tmp_path / "backups").iterdir())


async def test_what_the_explorer_keeps_of_replays_goes_too(shop: Deletable, app_database: Any) -> None:
    secret = "what ana had typed into a replay"
    request = Request(key(located(shop.slug)), "chat", "", "1", 1, "input", "", {"input": secret})
    replay = await in_database(ask, request)
    done = await shop.deleted("chat")
    assert done.replays == 1
    assert not await in_database(Replay.objects.filter(id=replay.id).exists)
    assert secret.encode() not in app_database.read_bytes()


async def test_a_running_replay_is_asked_to_stop(shop: Deletable) -> None:
    request = Request(key(located(shop.slug)), "chat", "", "1", 1, "replay", "", {})
    replay = await in_database(ask, request)
    await in_database(Replay.objects.filter(id=replay.id).update, state=State.RUNNING)
    plan = await shop.plan("chat")
    assert (
        "1 replay of these threads waits or runs"
        in (await shop.load(f"/deletions/{plan.id}/")).one("main").words
    )
    await shop.confirm(plan)
    await shop.carry_out()
    assert (await in_database(Replay.objects.get, id=replay.id)).cancel_at
    await in_database(Replay.objects.filter(id=replay.id).update, state=State.CANCELLED)
    await in_database(Deletion.objects.filter(id=plan.id).update, watch_next=timezone.now())
    await shop.carry_out()
    assert not await in_database(Replay.objects.exists)
    assert (await shop.again(plan)).replays == 1


async def test_a_plan_is_discarded_or_forgotten_after_a_week(shop: Deletable) -> None:
    plan, old = await shop.plan("chat"), await shop.plan("chat")
    await shop.act(plan, "discard")
    await in_database(
        Deletion.objects.filter(id=old.id).update, planned_at=timezone.now() - life.PLANS_KEPT * 2
    )
    await in_database(life.forget_old_plans, timezone.now())
    assert await in_database(Deletion.objects.count) == 0
    await shop.load(f"/deletions/{plan.id}/", status=404)


async def test_progress_is_a_fragment_until_it_has_ended(shop: Deletable) -> None:
    plan = await shop.plan("chat")
    await shop.confirm(plan)
    page = await shop.load(f"/deletions/{plan.id}/")
    assert page.one("#progress")["hx-get"] == f"/deletions/{plan.id}/progress/"
    assert page.find("noscript meta")
    waiting = await shop.browser.get(f"/deletions/{plan.id}/progress/")
    assert "HX-Refresh" not in waiting.headers
    await shop.carry_out()
    assert (await shop.browser.get(f"/deletions/{plan.id}/progress/"))["HX-Refresh"] == "true"


async def test_the_threads_of_a_large_deletion_come_page_by_page(
    shop: Deletable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.deletions.screen.SHOWN", 2)
    plan = await shop.plan("chat", "nested", "big")
    page = await shop.load(f"/deletions/{plan.id}/")
    assert len(page.find(".of tbody tr")) == 2
    page = await shop.load(page.one("a[rel=next]")["href"])
    assert len(page.find(".of tbody tr")) == 1


async def test_deletions_are_listed_newest_first(shop: Deletable) -> None:
    await shop.deleted("chat", reason="first")
    await shop.plan("nested", "big")
    rows = (await shop.load("/deletions/")).find("table.deletions tbody tr")
    assert [row.one("a").words for row in rows] == ["2 threads", "chat"]
    assert "first" in rows[1].words


async def test_a_store_that_somebody_keeps_locked_is_waited_for(
    shop: Deletable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpoints.stores.sqlite.writing.WAIT", 0.2)
    monkeypatch.setattr("checkpoints.stores.postgres.writing.BEGIN", "SET LOCAL lock_timeout = '200ms'")
    plan = await shop.plan("chat")
    await shop.confirm(plan)
    with locked(shop):
        await shop.carry_out()
    waiting = await shop.again(plan)
    assert waiting.stage == Stage.DELETING
    assert waiting.error
    page = await shop.load(f"/deletions/{plan.id}/")
    assert "It is tried again by itself." in page.one("#progress").words
    await in_database(Deletion.objects.filter(id=plan.id).update, retry_at=timezone.now())
    await shop.carry_out()
    assert shop.rows_of("chat") == 0
    assert (await shop.again(plan)).error == ""


@contextmanager
def locked(shop: Deletable) -> Iterator[None]:
    if isinstance(shop.place, str):
        with psycopg.connect(shop.place) as conn:
            conn.execute("SELECT * FROM checkpoints FOR UPDATE")
            conn.execute("SELECT * FROM checkpoint_writes FOR UPDATE")
            yield
        return
    with closing(sqlite3.connect(shop.place, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")


async def test_a_large_plan_that_is_refused_says_what_changed_however_fresh(
    shop: Deletable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.deletions.question.FEW", 0)
    plan = await shop.plan("chat", "nested")
    say(shop, "chat", "one more thing")
    answer = await shop.confirm(plan)
    assert answer.status_code == 409
    assert "This plan is out of date." in answer.content.decode()


async def test_stop_is_heard_while_the_store_is_away(
    shop: Deletable, settings: Any, monkeypatch: Any
) -> None:
    plan = await shop.plan("chat")
    await shop.confirm(plan)
    away = {
        "stage": Stage.DELETING,
        "error": "away",
        "retry_at": timezone.now() + timezone.timedelta(hours=1),
    }
    await in_database(lambda: Deletion.objects.filter(id=plan.id).update(**away))
    await shop.act(plan, "stop")
    with monkeypatch.context() as patch:
        patch.setattr("explorer.deletions.carrying.held", refused)
        patch.setattr("explorer.deletions.carrying.deleting", refused)
        await shop.carry_out()
    stopped = await shop.again(plan)
    assert (stopped.stage, stopped.left) == (Stage.STOPPED, None)
    page = await shop.load(f"/deletions/{plan.id}/")
    assert page.find("table.counts")


def refused(*_: Any, **__: Any) -> Any:
    raise StoreBusy("The store is away.")


async def test_who_is_later_reads_that_it_was_confirmed_and_the_audit_names_the_first(
    shop: Deletable,
) -> None:
    plan = await shop.plan("chat")
    await in_database(lambda: life.confirm(plan, Person("ana"), "mine", backup=False))
    with pytest.raises(NotAsPlanned, match="confirmed already"):
        await in_database(lambda: life.confirm(plan, Person("ben"), "no, mine", backup=False))
    rows = await in_database(lambda: list(AuditEntry.objects.filter(action_id=plan.id)))
    assert [(row.person, row.details["reason"]) for row in rows] == [("ana", "mine")]


async def test_a_plan_that_was_confirmed_is_not_discarded(shop: Deletable) -> None:
    plan = await shop.plan("chat")
    await shop.confirm(plan)
    await shop.act(plan, "discard")
    assert (await shop.again(plan)).stage == Stage.QUEUED


async def test_a_thread_that_another_deletion_has_begun_with_is_left_to_it(shop: Deletable) -> None:
    mine, yours = await shop.plan("chat"), await shop.plan("chat")
    await shop.confirm(yours)
    held = {"stage": Stage.DELETING, "lease_until": timezone.now() + timezone.timedelta(minutes=1)}
    await in_database(lambda: Deletion.objects.filter(id=mine.id).update(**held))
    await in_database(lambda: mine.of.update(fate=Fate.BEGUN))
    await shop.carry_out()
    assert await fates(yours) == {"chat": Fate.MISSING}
    assert shop.rows_of("chat")


async def test_where_it_cannot_be_erased_for_any_reason_it_has_ended_all_the_same(
    shop: Deletable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.deletions.carrying.erase", refused)
    done = await shop.deleted("chat")
    assert (done.stage, done.erased_at) == (Stage.DELETED, None)
    assert done.erasure["reason"] == "The store is away."
    assert done.retry_at


async def test_threads_that_came_after_the_plan_and_fit_it_are_told(shop: Deletable) -> None:
    await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": "all", "meta": "user_id=ana"})
    plan = await in_database(Deletion.objects.get)
    with official_saver(shop.place) as saver:
        chat(saver).invoke({"messages": [HumanMessage("me again")]}, config("newer", user_id="ana"))
    assert (await shop.confirm(plan)).status_code == 303
    await shop.carry_out()
    page = await shop.load(f"/deletions/{plan.id}/")
    assert "1 more thread fits what was looked for" in page.one("main").words
    assert "newer" in (await shop.load(page.one("p.notice a")["href"])).one("table.picks").words


async def test_a_plan_that_is_made_again_looks_for_the_same_again(shop: Deletable) -> None:
    await shop.browser.post(f"/s/{shop.slug}/deletions/", {"which": "all", "meta": "user_id=ana"})
    plan = await in_database(Deletion.objects.get)
    with official_saver(shop.place) as saver:
        chat(saver).invoke({"messages": [HumanMessage("me again")]}, config("newer", user_id="ana"))
    await shop.act(plan, "again")
    newer = await in_database(Deletion.objects.get, again_of=plan)
    assert (newer.threads, newer.found_by) == (3, plan.found_by)


async def test_who_was_frozen_and_lost_the_deletion_touches_nothing_that_came_since(
    shop: Deletable, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = await shop.plan("chat")
    await shop.confirm(plan)
    real, frozen = Deleter.delete, []

    def delete(self: Deleter, *args: Any, **kwargs: Any) -> Any:
        frozen.append(True)
        return real(self, *args, **kwargs)

    def taken_over(self: Carrier, *args: Any) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(Deleter, "delete", delete)
        Deletion.objects.filter(id=plan.id).update(attempt=uuid.uuid4())
        Carrier._mark(self, *args)

    monkeypatch.setattr(Carrier, "_mark", taken_over)
    held = await in_database(life.take, plan.id)
    await asyncio.to_thread(carried_out, held)
    assert frozen == []
    assert shop.rows_of("chat")
    assert await fates(plan) == {"chat": Fate.PLANNED}


def carried_out(held: Deletion) -> None:
    try:
        carry_out(held)
    finally:
        connection.close()


async def test_rows_that_their_owner_keeps_are_never_called_erased(shop: Deletable) -> None:
    if isinstance(shop.place, str):
        body = "$$ BEGIN RETURN NULL; END $$"
        with psycopg.connect(shop.place) as conn:
            conn.execute(f"CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS {body}".encode())
            trigger = "CREATE TRIGGER keep BEFORE DELETE ON checkpoints FOR EACH ROW EXECUTE FUNCTION keep()"
            conn.execute(trigger.encode())
    else:
        with closing(sqlite3.connect(shop.place)) as conn:
            conn.execute("CREATE TRIGGER keep BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(IGNORE); END")
    done = await shop.deleted("chat")
    assert await fates(done) == {"chat": Fate.LEFT}
    assert done.erased_at is None
    assert done.left["checkpoints"] > 0
    await shop.act(done, "erase")
    await shop.carry_out()
    assert (await shop.again(done)).erased_at is None
    assert "came back" in (await shop.load(f"/deletions/{done.id}/")).one("[role=alert]").words


async def test_a_backup_that_cannot_be_kept_is_told_before_anything_is_deleted(
    shop: Deletable, settings: Any, tmp_path: Any
) -> None:
    (tmp_path / "in the way").write_text("a file")
    settings.EXPLORER_BACKUPS = str(tmp_path / "in the way")
    plan = await shop.plan("chat")
    await shop.confirm(plan, backup="1")
    await shop.carry_out()
    waiting = await shop.again(plan)
    assert (waiting.stage, waiting.error) == (Stage.QUEUED, "Backups cannot be kept: File exists.")
    assert shop.rows_of("chat")


async def test_what_was_begun_when_it_stopped_is_told_as_it_is_and_can_be_deleted_then(
    shop: Deletable,
) -> None:
    plan = await shop.plan("chat", "nested")
    await shop.confirm(plan)
    await in_database(lambda: Deletion.objects.filter(id=plan.id).update(stage=Stage.DELETING))
    await in_database(lambda: plan.of.update(fate=Fate.BEGUN))
    with official_saver(shop.place) as saver:
        saver.delete_thread("chat")
    await shop.act(plan, "stop")
    await shop.carry_out()
    assert await fates(plan) == {"chat": Fate.GONE, "nested": Fate.BEGUN}
    await shop.act(plan, "again")
    newer = await in_database(Deletion.objects.get, again_of=plan)
    assert (await shop.confirm(newer)).status_code == 303
    await shop.carry_out()
    assert await fates(newer) == {"nested": Fate.GONE}
    assert shop.rows_of("nested") == 0
