"""The life of a replay in the app's database, of either kind."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from explorer.models import Replay, State
from explorer.replays import requests
from explorer.replays.events import EVENTS, SPOKEN
from explorer.replays.queue import carry_out, queue_name
from explorer.replays.requests import Request, Standing, ask, cancel, claim, end, report, sweep
from explorer.replays.worker import TOO_LATE, look_after_the_queue

if TYPE_CHECKING:
    from collections.abc import Callable

STORE = "sqlite:/data/checkpoints.sqlite"


@pytest.fixture(autouse=True, params=["app_database", "app_in_postgres"])
def _database(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(request.param)


def asked(thread: str = "t", graph: str = "agent", **more: Any) -> Replay:
    given: dict[str, Any] = {"step": 3, "kind": "replay", "graph": graph, "given": {}, **more}
    return ask(Request(STORE, thread, "", "1f0c", **given))


def now(replay: Replay) -> Replay:
    return Replay.objects.get(id=replay.id)


def claimed(replay: Replay) -> Replay:
    taken = claim(replay.id, "a worker")
    assert taken
    return taken


def late(replay: Replay) -> None:
    """Let the lease of a run end."""
    Replay.objects.filter(id=replay.id).update(lease_until=timezone.now() - timedelta(seconds=1))


def queued() -> list[str]:
    ready = DBTaskResult.objects.filter(status="READY").order_by("enqueued_at")
    return [each.args_kwargs["args"][0] for each in ready]


def at_once(work: Callable[..., Any], *items: Any) -> list[Any]:
    def run(item: Any) -> Any:
        try:
            return work(item)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(run, items))


def test_a_request_is_kept_and_queued_for_the_workers_of_its_graph_and_store() -> None:
    made = asked(thread="ünïcode / \n" * 400, reason="why", author="ana")
    assert now(made).state == "queued"
    [row] = DBTaskResult.objects.all()
    assert row.queue_name == queue_name(STORE, "agent") != queue_name(STORE, "other")
    assert len(row.queue_name) <= 32
    assert row.task_path == carry_out.module_path
    asked(graph="")
    assert DBTaskResult.objects.count() == 1


def test_of_many_workers_one_claims_a_request() -> None:
    made = asked()
    taken = at_once(lambda name: claim(made.id, name), *(f"worker {n}" for n in range(6)))
    [one] = [each for each in taken if each]
    assert (now(made).state, now(made).worker, now(made).attempt) == ("running", one.worker, one.attempt)
    assert claim(made.id, "late") is None


def test_of_one_thread_s_requests_one_runs_and_the_next_is_queued_when_it_ends() -> None:
    first, second, third = asked(), asked(), asked(graph="")
    other = asked("other thread")
    taken = at_once(lambda each: claim(each.id, "w"), first, second)
    [running] = [each for each in taken if each]
    waiting = second if running.id == first.id else first
    assert claimed(other)
    assert claim(third.id, "w") is None
    DBTaskResult.objects.all().delete()  # the queue has delivered them
    assert end(running, {"state": "succeeded"})
    assert queued() == [str(waiting.id)]
    assert claimed(waiting)


def test_a_report_renews_the_lease_and_keeps_what_was_told() -> None:
    run = claimed(asked())
    before = now(run).lease_until
    told = [
        {"type": "checkpoint", "id": "a", "ns": "", "parent": "", "step": 1, "source": "loop"},
        {"type": "checkpoint", "id": "b", "ns": "sub:1", "parent": "", "step": True, "source": "loop"},
        {
            "type": "finished",
            "task": "1",
            "node": "n",
            "ns": "",
            "seconds": float("nan"),
            "error": "\0\ud800",
        },
        {"type": "unknown"},
        {"type": ["no"]},
        {},
    ]
    assert report(run, told, "printed\0") == Standing(held=True)
    kept = now(run)
    assert before
    assert kept.lease_until
    assert kept.lease_until >= before
    assert (kept.checkpoints, kept.made, kept.events, kept.output) == (2, "a", 3, "printed\ufffd")
    assert [each.data.get("step") for each in kept.told.all()] == [1, None, None]
    assert kept.told.last().data["error"] == "\ufffd?"
    assert kept.version > run.version


def test_the_words_of_a_model_grow_in_one_row_and_within_bounds() -> None:
    run = claimed(asked())
    for piece in ("one ", "two "):
        report(run, [{"type": "text", "message": "m", "ns": "", "node": "n", "text": piece}] * 2)
    [row] = now(run).told.all()
    assert row.data["text"] == "one one two two "
    for _ in range(60):
        report(run, [{"type": "text", "message": "m", "ns": "", "node": "n", "text": "x" * 4_000}])
    assert len(now(run).told.get().data["text"]) == SPOKEN
    report(run, [{"type": "text", "message": "other", "ns": "", "node": "n", "text": "y"}] * 3)
    assert now(run).told.count() == 1
    assert now(run).dropped > 0


def test_more_than_a_page_can_show_is_counted_only() -> None:
    run = claimed(asked())
    for _ in range(3):
        report(run, [{"type": "custom", "ns": "", "text": "x"}] * 1_000)
    assert (now(run).told.count(), now(run).events, now(run).dropped) == (EVENTS, EVENTS, 3_000 - EVENTS)


def test_a_run_whose_lease_has_ended_is_lost_and_its_worker_is_told() -> None:
    run, waiting = claimed(asked()), asked()
    DBTaskResult.objects.all().delete()
    late(run)
    assert requests.is_lost(now(run))
    assert report(run) == Standing(held=False)
    assert not end(run, {"state": "succeeded"})
    assert now(run).state == "running"  # nobody has looked yet
    sweep()
    assert now(run).state == "lost"
    assert queued() == [str(waiting.id)]
    assert report(run) == Standing(held=False)
    assert not end(run, {"state": "succeeded"})
    assert now(run).state == "lost"


def test_a_lost_run_does_not_keep_its_thread() -> None:
    run, waiting = claimed(asked()), asked()
    late(run)
    assert claimed(waiting)
    assert now(run).state == "lost"


def test_what_another_attempt_reports_is_refused() -> None:
    run = claimed(asked())
    run.attempt = uuid.uuid4()
    assert report(run, [{"type": "custom", "text": "x"}]) == Standing(held=False)
    assert not end(run, {"state": "failed"})
    assert now(run).state == "running"
    assert now(run).told.count() == 0


def test_a_queued_request_is_cancelled_at_once_and_a_running_one_is_asked_to_stop() -> None:
    waits = asked("other")
    cancel(waits.id, "ana")
    assert (now(waits).state, now(waits).cancelled_by) == ("cancelled", "ana")
    assert claim(waits.id, "w") is None
    run = claimed(asked())
    cancel(run.id, "ben")
    cancel(run.id, "carol")
    assert (now(run).state, now(run).cancelled_by) == ("running", "ben")
    assert report(run) == Standing(held=True, stop=True)
    assert end(run, {"state": "cancelled"})
    cancel(run.id, "dan")
    assert (now(run).state, now(run).cancelled_by) == ("cancelled", "ben")


@pytest.mark.parametrize("state", requests.ENDED)
def test_a_run_ends_once_and_stays_so(state: State) -> None:
    run = claimed(asked())
    assert end(
        run, {"state": state, "error": "e" * 9_000, "traceback": "t"}, [{"type": "custom", "text": "x"}]
    )
    done = now(run)
    assert (done.state, done.traceback, done.events) == (state, "t", 1)
    assert len(done.error) < 5_000
    assert done.ended_at
    assert done.lease_until is None
    assert not end(run, {"state": "failed"})
    assert now(run).state == state


def test_what_nobody_has_taken_for_a_day_is_not_run_any_more() -> None:
    old, fresh, mine = asked("a"), asked("b"), asked("c", graph="")
    yesterday = timezone.now() - timedelta(days=1, seconds=1)
    Replay.objects.exclude(id=fresh.id).update(asked_at=yesterday)
    look_after_the_queue()
    assert [now(each).state for each in (old, fresh, mine)] == ["cancelled", "queued", "queued"]
    assert now(old).error == TOO_LATE
    assert claim(old.id, "w") is None


def test_what_is_no_end_is_a_failure() -> None:
    for ended in ({"state": "running"}, {}, {"state": ["succeeded"]}):
        run = claimed(asked())
        assert end(run, ended)
        assert now(run).state == "failed"
