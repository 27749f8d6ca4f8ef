"""Workers that are killed, stopped and doubled, with graphs that fail in every way."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from explorer.models import Replay, State
from explorer.replays import requests
from explorer.replays.events import EVENTS

if TYPE_CHECKING:
    from conftest import World

AGENTS = Path(__file__).parent / "agents"


UNIMPORTABLE = (
    "checkpoint-explorer: The graph 'unimportable' cannot be imported. The page of the replays says why."
)


def pids(world: World, text: str) -> set[int]:
    return {int(pid) for _, pid, told in world.log if told == text}


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"


def test_a_replay_runs_to_its_end(world: World) -> None:
    world.worker()
    asked = world.ask("slow", reason="to see it", author="ana")
    done = world.ended(asked)
    assert (done.state, done.error, done.checkpoints) == ("succeeded", "", 5)
    values = world.values()
    assert values["log"] == ["asked", "first", "second", "third"]
    assert world.values(id=done.made) == values
    events = [event.data for event in done.told.all()]
    assert [event["node"] for event in events if event["type"] == "finished"] == ["first", "second", "third"]
    assert all(
        event["seconds"] >= 0.4 for event in events if event.get("node") in ("first",) and "seconds" in event
    )


def test_an_interrupt_ends_it_and_its_answer_goes_on(world: World) -> None:
    world.worker()
    done = world.ended(world.ask("asking"))
    assert done.state == "interrupted"
    answer = {"kind": "resume", "given": {"answers": {"": "yes"}}, "head": done.made}
    again = world.ended(world.ask("asking", id=done.made, **answer))
    assert again.state == "succeeded"
    assert world.values()["log"] == ["asked", "first", "yes", "third"]


def test_an_answer_is_not_given_where_the_thread_has_moved_on(in_file: World) -> None:
    in_file.worker()
    done = in_file.ended(in_file.ask("asking"))
    in_file.ended(in_file.ask("asking"))
    answer = {"kind": "resume", "given": {"answers": {"": "yes"}}, "head": done.made}
    late = in_file.ended(in_file.ask("asking", id=done.made, **answer))
    assert late.state == "failed"
    assert late.error.startswith("The thread has moved on since")


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ("failing", "ValueError: cannot divide <b>pallets</b> by zero"),
        ("leaving", "SystemExit: the node gives up"),
        ("vanishing", "The graph's process ended with status 7, without a result."),
        ("crashing", "The graph's process ended by signal SIGSEGV, without a result."),
        ("forking", "The graph's process ended by signal SIGKILL, without a result."),
        ("reading", "EOFError: EOF when reading a line"),
        ("unimportable", "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
    ],
)
def test_a_graph_that_fails_is_told_of(graph: str, said: str, in_file: World) -> None:
    in_file.worker()
    done = in_file.ended(in_file.ask(graph))
    assert (done.state, done.error[: len(said)]) == ("failed", said)
    if graph == "failing":
        assert 'raise ValueError("cannot divide' in done.traceback
    expected = ["began"] if graph == "unimportable" else ["asked", "third"]
    assert in_file.values().get("log", ["began"]) == expected


def test_a_graph_that_is_cancelled_stops_within_a_superstep(world: World) -> None:
    world.worker()
    asked = world.ask("endless", step_limit=10_000)
    world.told("again begins")
    requests.cancel(asked.id, "ben")
    at = time.time()
    done = world.ended(asked)
    assert (done.state, done.cancelled_by, done.error) == ("cancelled", "ben", "")
    assert max(world.said("again begins")) < at + 1.5
    assert world.values()["log"][-1] == "again"


@pytest.mark.parametrize("graph", ["hanging", "spinning"])
def test_a_node_that_never_ends_is_killed(graph: str, in_file: World) -> None:
    in_file.worker()
    asked = in_file.ask(graph)
    begins = "hang begins" if graph == "hanging" else "spin begins"
    in_file.told(begins)
    requests.cancel(asked.id)
    assert in_file.ended(asked).state == "cancelled"
    [pid] = pids(in_file, begins)
    assert is_gone(pid)
    assert in_file.values()["log"] == ["asked", "third"]


def test_limits_of_steps_and_of_time_end_a_run(in_file: World) -> None:
    in_file.worker()
    steps = in_file.ask("endless", "steps", step_limit=5)
    seconds = in_file.ask("hanging", "seconds", seconds_limit=1)
    assert in_file.ended(steps).error == "The step limit of 5 was reached. Ask again with a higher one."
    assert in_file.ended(seconds).error.startswith("The time limit of 1 s was reached.")
    assert {each.state for each in Replay.objects.all()} == {"failed"}


def test_a_graph_that_floods_its_output_is_kept_within_bounds(in_file: World) -> None:
    in_file.worker()
    printed, reported = in_file.ask("babbling", "a"), in_file.ask("reporting", "b")
    done = in_file.ended(printed)
    assert done.state == "succeeded"
    assert set(done.output) == {"x"}
    assert 10_000 < len(done.output) <= requests.OUTPUT
    done = in_file.ended(reported)
    assert done.state == "succeeded"
    assert done.told.count() == done.events == EVENTS
    assert done.events + done.dropped >= 20_000
    assert in_file.values("b")["log"] == ["asked", "reported"]


def test_the_words_of_a_model_are_told_as_they_come(in_file: World) -> None:
    in_file.worker()
    given = {"input": {"messages": [{"role": "user", "content": "count"}]}}
    done = in_file.ended(in_file.ask("talking", given=given))
    words = [event.data["text"] for event in done.told.all() if event.data["type"] == "text"]
    assert "".join(words) == "one two three four five"


def test_a_run_whose_worker_was_killed_is_lost_and_not_started_again(world: World) -> None:
    world.environment["EXPLORER_LEASE_SECONDS"] = "2"
    first = world.worker()
    asked = world.ask("hanging")
    world.told("hang begins")
    [pid] = pids(world, "hang begins")
    first.kill()
    deadline = time.monotonic() + 10
    while not is_gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    world.worker()
    done = world.ended(asked)
    assert done.state == "lost"
    time.sleep(1)
    assert len(world.said("hang begins")) == 1
    assert world.values()["log"] == ["asked", "third"]
    again = world.ask("slow", id=done.checkpoint_id)
    assert world.ended(again).state == "succeeded"


def test_a_worker_that_was_frozen_for_longer_than_its_lease_gives_up(in_postgres: World) -> None:
    in_postgres.environment["EXPLORER_LEASE_SECONDS"] = "2"
    frozen = in_postgres.worker()
    asked = in_postgres.ask("hanging")
    in_postgres.told("hang begins")
    frozen.send_signal(signal.SIGSTOP)
    [pid] = pids(in_postgres, "hang begins")
    deadline = time.monotonic() + 3
    while not is_gone(pid):  # before its lease ends, and so before anybody else may run the thread
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    other = in_postgres.worker()
    assert in_postgres.ended(asked).state == "lost"
    frozen.send_signal(signal.SIGCONT)
    time.sleep(1)
    assert Replay.objects.get(id=asked.id).state == "lost"
    assert other.poll() is None


def test_a_worker_that_is_asked_to_end_stops_what_it_runs(in_file: World) -> None:
    worker = in_file.worker()
    asked, queued = in_file.ask("endless", step_limit=10_000), in_file.ask("slow")
    in_file.told("again begins")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    done = Replay.objects.get(id=asked.id)
    assert (done.state, done.error[:22]) == ("cancelled", "The worker was stopped")
    in_file.worker()
    assert in_file.ended(queued).state == "succeeded"


@pytest.mark.parametrize("kind", ["in_file", "in_postgres"])
def test_two_workers_run_each_replay_once_and_a_thread_one_at_a_time(
    kind: str, request: pytest.FixtureRequest
) -> None:
    world: World = request.getfixturevalue(kind)
    workers = [world.worker("--concurrency", "3") for _ in range(2)]
    asked = [world.ask("slow", f"thread {number % 4}") for number in range(8)]
    assert [world.ended(each).state for each in asked] == ["succeeded"] * 8
    assert len(world.said("first begins")) == len(world.said("second ends")) == 8
    for number in range(4):
        runs = [Replay.objects.get(id=each.id) for each in asked if each.thread_id == f"thread {number}"]
        before, after = sorted(runs, key=lambda each: each.started_at or each.asked_at)
        assert before.ended_at
        assert after.started_at
        assert before.ended_at <= after.started_at
    assert all(worker.poll() is None for worker in workers)
    assert set(world.complaints().split("\n")) <= {"", UNIMPORTABLE}


def test_a_run_ends_as_it_would_where_its_server_is_killed(in_file: World) -> None:
    server = in_file.server(EXPLORER_LEASE_SECONDS="2")
    asked = in_file.ask("hanging")
    in_file.told("hang begins")
    [child] = pids(in_file, "hang begins")
    os.kill(parent_of(child), signal.SIGKILL)
    assert in_file.ended(asked).state == "lost"
    assert in_file.ended(in_file.ask("slow")).state == "succeeded"
    server.terminate()
    server.wait(15)


def test_a_run_outlives_a_database_that_is_locked_for_a_while(in_file: World) -> None:
    in_file.worker()
    asked = in_file.ask("slow")
    in_file.told("first begins")
    path = in_file.app_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("BEGIN EXCLUSIVE")
        time.sleep(2)
    assert in_file.ended(asked).state == "succeeded"


def test_what_a_killed_worker_has_taken_from_the_queue_is_queued_again(in_file: World) -> None:
    from django_tasks_db.models import DBTaskResult

    asked = in_file.ask("slow")
    DBTaskResult.objects.update(status="RUNNING")
    Replay.objects.update(asked_at=timezone.now() - timedelta(minutes=1))
    in_file.worker()
    assert in_file.ended(asked).state == "succeeded"


def test_the_graph_s_process_has_none_of_the_explorer_s_secrets(in_file: World) -> None:
    in_file.worker(EXPLORER_TOKEN="a-token-of-the-server")
    asked = in_file.ask("hanging")
    in_file.told("hang begins")
    [pid] = pids(in_file, "hang begins")
    with open(f"/proc/{pid}/environ", "rb") as environment, open(f"/proc/{pid}/cmdline", "rb") as command:
        seen = environment.read() + command.read()
    requests.cancel(asked.id)
    in_file.ended(asked)
    assert b"TOLD_BY=langgraph.json" in seen
    for secret in (b"a-token-of-the-server", b"DATABASE_URL", in_file.app_url.encode()):
        assert secret not in seen


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def test_states_are_those_that_are_documented() -> None:
    assert State.values == ["queued", "running", "succeeded", "interrupted", "failed", "cancelled", "lost"]


def test_a_graph_that_was_repaired_is_imported_again(in_file: World) -> None:
    in_file.begin()
    path = in_file.folder / "mine.py"
    path.write_text("raise RuntimeError('not yet')")
    in_file.process("worker", in_file.place, "--graph", f"mine={path}:slow")
    in_file.until_told("mine", "problem")
    path.write_text((AGENTS / "agents.py").read_text())
    assert "first" in in_file.until_told("mine", "nodes")
