"""What a fork means for the next invoke, beside what LangGraph then does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stores_data import ask
from test_forking import address
from thread_graphs import SHAPES, Executions, Threads, thread

from checkpoints import outlook
from checkpoints.forking import fork, fork_thread
from checkpoints.steps import steps

if TYPE_CHECKING:
    from checkpoints.steps import Step
    from checkpoints.stores import Store

# Of these every node of the root graph is one function, so what runs is counted by its name.
FLAT = [
    "agent with tools",
    "interrupt",
    "resumed",
    "fan-out",
    "joined",
    "joined, forked",
    "failed",
    "delta 2",
]


async def related(place: str, name: str) -> list[Step]:
    async def look(store: Store) -> list[Step]:
        return steps(await store.timeline(name, "", limit=100), store.serde)

    return await ask(place, look)


@pytest.mark.parametrize("name", FLAT)
async def test_a_fork_in_place_runs_what_is_said(name: str, threads: Threads) -> None:
    graph = SHAPES[name].build(threads.official)
    for number, step in enumerate(await related(threads.place, name)):
        copy, said = f"{name} {number}", outlook.in_place(step)
        threads.ours.copy_thread(name, copy)
        fork(threads.place, copy, step.at.id)
        state = graph.get_state(thread(copy))
        assert sorted(state.next) == sorted(said.runs)
        assert set(said.again) <= set(said.runs)
        finished = {task.node for task in step.ran if task.finished}
        assert finished <= {*said.again, None}


@pytest.mark.parametrize("name", FLAT)
async def test_a_fork_into_a_new_thread_runs_what_is_said_and_reuses_the_rest(
    name: str, threads: Threads
) -> None:
    graph = SHAPES[name].build(threads.official)
    for number, step in enumerate(await related(threads.place, name)):
        copy, said = f"{name} {number}", outlook.in_new_thread(step)
        fork_thread(threads.place, name, copy, step.at.id)
        state = graph.get_state(address(copy, step.at.id))
        waiting = [task for task in state.tasks if task.interrupts and task.result is None]
        assert [asked.value for asked in said.asks] == [i.value for task in waiting for i in task.interrupts]
        unfinished = [task.name for task in state.tasks if task.result is None and not wrote(step, task.id)]
        assert sorted(said.runs) == sorted(unfinished)
        assert len(said.reused) + len(said.runs) == len(step.next)


def wrote(step: Step, task_id: str) -> bool:
    return any(task.id == task_id and task.finished for task in step.ran)


async def test_interrupts_are_asked_again_in_place_and_wait_in_a_new_thread(threads: Threads) -> None:
    [head, *_] = await related(threads.place, "interrupt")
    [asked] = outlook.in_place(head).asks
    assert asked == outlook.in_new_thread(head).asks[0]
    graph, executions = SHAPES["interrupt"].build(threads.official), Executions()
    before = graph.get_state(thread("interrupt")).interrupts[0]
    fork_thread(threads.place, "interrupt", "new")
    assert graph.get_state(thread("new")).interrupts[0].id == before.id == asked.id
    fork(threads.place, "interrupt")
    assert graph.get_state(thread("interrupt")).interrupts == ()
    graph.invoke(None, thread("interrupt", callbacks=[executions]))
    again = graph.get_state(thread("interrupt")).interrupts[0]
    assert (again.value, again.id != before.id) == (before.value, True)
    assert dict(executions.counts) == {"ask": 1}


async def test_an_answered_interrupt_is_asked_again_in_place_only(threads: Threads) -> None:
    step = next(step for step in await related(threads.place, "resumed") if step.next == ("ask",))
    assert len(outlook.in_place(step).asks) == 1
    assert outlook.in_new_thread(step).asks == ()
    assert outlook.in_new_thread(step).reused == ("ask",)
