"""What people do with graphs that have a saver, call by call, for synchronous and asynchronous runs."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from graph_matrix import (
    agent,
    calling,
    delta,
    flaky,
    forgetting,
    quiz,
    remembering,
    reviews,
    sums,
    things,
    tree,
)
from graph_runs import Call, Scenario, call
from graphs import asking, chat, fan_out, functional, joining, nested
from langchain_core.messages import HumanMessage
from langgraph.errors import InvalidUpdateError
from langgraph.graph import END
from langgraph.types import Command, Overwrite, StateUpdate
from saver_graphs import trip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

Steps: TypeAlias = Generator[Call, Any, None]


def on(thread_id: str = "1", **configurable: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, **configurable}, "metadata": {"user": "Zoë"}}


def in_turn(config: RunnableConfig) -> RunnableConfig:
    """Let nodes of a step follow one another: a failure of one must not cut off another or not, by chance."""
    return {**config, "max_concurrency": 1}


def join(method: str, *args: Any, **kwargs: Any) -> Call:
    # Where nodes join, LangGraph's own channel is written in the background while the next step changes it.
    return call(joining, method, *args, **kwargs, durability="sync")


def agent_with_tools() -> Steps:
    """Turns with one tool, with three at once, with one that asks, with none, and with one that fails."""
    for turn, words in enumerate(("price:pen", "price:ink buy:pen price:pad", "complain:pen", "")):
        said = {"messages": [HumanMessage(words, id=f"human-{turn}")]}
        told = yield call(agent, "invoke", said, on())
        if "__interrupt__" in told:
            yield call(agent, "get_state", on())
            yield call(agent, "invoke", Command(resume="yes"), on())
    yield call(chat, "invoke", {"messages": [HumanMessage("Where is it?", id="h-1")]}, on("chat"))
    yield call(chat, "invoke", {"messages": [HumanMessage("And now?", id="h-2")]}, on("chat"))


def one_interrupt() -> Steps:
    yield call(asking, "invoke", {"log": []}, on())
    yield call(asking, "invoke", None, on())  # asks again
    yield call(asking, "invoke", Command(resume="yes"), on())
    yield call(asking, "invoke", Command(resume="too late"), on())


def interrupts_in_a_loop() -> Steps:
    yield call(quiz, "invoke", {"log": []}, on())
    for answer in range(6):
        yield call(quiz, "invoke", Command(resume=answer), on())


def several_interrupts_by_id() -> Steps:
    asked = yield call(reviews, "invoke", {"log": []}, on())
    first, *others = asked["__interrupt__"]
    yield call(reviews, "invoke", Command(resume={first.id: "well"}), on())
    yield call(reviews, "get_state", on(), subgraphs=True)
    yield call(reviews, "invoke", Command(resume={each.id: "poor" for each in others}), on())


def breakpoints() -> Steps:
    yield join("invoke", {"log": []}, on(), interrupt_before=["b1"], interrupt_after=["a"])
    yield join("invoke", None, on(), interrupt_before=["b1"])
    yield join("stream", None, on(), interrupt_before=["join"], stream_mode="values")
    yield join("invoke", None, on())


def nested_subgraphs() -> Steps:
    yield call(nested, "invoke", {"log": []}, on())
    yield call(nested, "invoke", Command(resume="yes"), on())
    yield call(tree(2), "invoke", {"log": []}, on("tree"))
    state = yield call(tree(2), "get_state", on("tree"), subgraphs=True)
    inner = state.tasks[0].state.tasks[0].state
    yield call(tree(2), "update_state", inner.config, {"log": ["edited inside"]})
    yield call(tree(2), "get_state_history", inner.config)
    yield call(tree(2), "invoke", Command(resume="three"), on("tree"))


def subgraphs_with_a_memory() -> Steps:
    for n in (1, 20, 300):
        yield call(remembering, "invoke", {"n": n, "log": []}, on())
        yield call(remembering, "invoke", Command(resume=n), on())
    yield call(remembering, "get_state_history", on(checkpoint_ns="inner"))


def subgraphs_without_a_memory() -> Steps:
    yield call(forgetting, "invoke", {"n": 1, "log": []}, on())
    yield call(forgetting, "invoke", Command(resume="yes"), on())


def subgraphs_called_in_a_node() -> Steps:
    yield call(calling, "invoke", {"log": []}, on())
    yield call(calling, "invoke", Command(resume="more"), on())
    yield call(calling, "invoke", {"log": ["again"]}, on())


def map_and_reduce() -> Steps:
    yield call(fan_out, "invoke", {"log": []}, on())
    yield call(fan_out, "invoke", Command(resume="yes"), on())
    yield call(fan_out, "invoke", {"log": ["again"]}, on("other"), durability="exit")


def time_travel() -> Steps:
    """Run again from every old checkpoint, from one with new input, and from one of a subgraph."""
    yield join("invoke", {"log": ["new"]}, on())
    for state in (yield call(joining, "get_state_history", on())):
        yield join("invoke", None, state.config)
    history = yield call(joining, "get_state_history", on(), limit=9, filter={"source": "loop"})
    yield join("invoke", {"log": ["other"]}, history[-1].config)
    yield call(joining, "get_state_history", on(), before=history[1].config, limit=2)
    yield call(tree(1), "invoke", {"log": []}, on("tree"))
    state = yield call(tree(1), "get_state", on("tree"), subgraphs=True)
    yield call(tree(1), "invoke", None, state.tasks[0].state.config)
    yield call(tree(1), "invoke", Command(resume="yes"), on("tree"))
    for old in (yield call(tree(1), "get_state_history", on("tree"))):
        yield call(tree(1), "invoke", None, old.config)


def updates() -> Steps:
    yield call(joining, "update_state", on(), {"log": ["began by an update"]}, as_node="a")
    yield join("invoke", None, on(), interrupt_before=["join"])
    yield call(joining, "update_state", on(), {"log": ["?"]}, as_node="none", raises=InvalidUpdateError)
    yield call(joining, "update_state", on(), {"log": ["as b1"]}, as_node="b1")
    yield call(joining, "update_state", on(), None, raises=InvalidUpdateError)  # ambiguous
    yield call(joining, "update_state", on(), None, as_node=END)
    yield call(joining, "update_state", on(), {"log": ["input"]}, as_node="__input__")
    yield join("invoke", None, on())


def bulk_updates() -> Steps:
    step = [StateUpdate({"log": ["bulk b1"]}, "b1"), StateUpdate({"log": ["bulk b2"]}, "b2")]
    first = [StateUpdate({"log": ["bulk a"]}, "a")]
    yield call(joining, "bulk_update_state", on(), [first, step])
    yield join("invoke", None, on())
    yield call(joining, "bulk_update_state", on(), [[StateUpdate(None, "__copy__")], first, step])
    yield call(joining, "bulk_update_state", on(), [], raises=ValueError)
    yield join("invoke", None, on())


def copies() -> Steps:
    """Copy the head, one that an interrupt waits on, and an old one; go on from each copy."""
    yield call(trip, "invoke", {"log": ["began"]}, on())
    yield call(trip, "update_state", on(), None, as_node="__copy__")
    yield call(trip, "invoke", None, on())
    yield call(trip, "invoke", Command(resume="yes"), on())
    history = yield call(trip, "get_state_history", on())
    for old in history[1:4]:
        yield call(trip, "update_state", old.config, None, as_node="__copy__")
        yield call(trip, "invoke", None, on())


def failures() -> Steps:
    """A node fails beside one that does not, again, and then no more."""
    here, repaired = in_turn(on()), in_turn(on(repaired=True))
    yield call(flaky, "invoke", {"log": []}, here, raises=ValueError)
    yield call(flaky, "invoke", None, here, raises=ValueError)
    yield call(flaky, "get_state", here)
    yield call(flaky, "invoke", None, repaired)
    yield call(flaky, "invoke", {"log": ["again"]}, here, raises=ValueError)
    yield call(flaky, "update_state", here, {"log": ["by hand"]}, as_node="broken")
    yield call(flaky, "invoke", None, here)


def durability(how: Any) -> Steps:
    """Interrupts, subgraphs, failures and differences; what is written when depends on `how`."""
    yield call(trip, "invoke", {"log": ["began"]}, on(), durability=how)
    yield call(trip, "invoke", Command(resume="no"), on(), durability=how, raises=ValueError)
    yield call(trip, "invoke", None, on(), durability=how, raises=ValueError)
    yield call(trip, "update_state", on(), {"approved": "yes"}, as_node="approve")
    yield call(trip, "invoke", None, on(), durability=how)
    yield call(flaky, "invoke", {"log": []}, in_turn(on("flaky")), durability=how, raises=ValueError)
    yield call(flaky, "invoke", None, in_turn(on("flaky", repaired=True)), durability=how)
    yield call(tree(2), "invoke", {"log": []}, on("tree"), durability=how)
    yield call(tree(2), "invoke", Command(resume="yes"), on("tree"), durability=how)


def differences(frequency: int) -> Steps:
    """A state kept as differences: two runs, forks from old checkpoints, an edit, runs that write once."""
    build = delta(frequency)
    yield call(build, "invoke", {"n": 0, "log": ["began"]}, on())
    yield call(build, "invoke", {"n": 3, "log": ["again"], "counts": {"by hand": 1}}, on())
    history = yield call(build, "get_state_history", on())
    for old in history[3:12:4]:
        forked = yield call(build, "update_state", old.config, {"log": ["forked"]}, as_node="count")
        yield call(build, "invoke", None, forked)
    yield call(build, "update_state", on(), {"log": Overwrite(["anew"])}, as_node="count")
    yield call(build, "update_state", history[5].config, None, as_node="__copy__")
    yield call(build, "invoke", None, on())
    yield call(build, "invoke", {"n": 1, "log": ["at exit"]}, on(), durability="exit")
    yield call(build, "invoke", {"n": 1, "log": ["first"]}, on("exit"), durability="exit")
    yield call(build, "invoke", {"n": 4, "log": Overwrite(["second"])}, on("exit"), durability="exit")


def functions() -> Steps:
    yield call(functional, "invoke", 21, on("publish"))
    yield call(functional, "invoke", Command(resume="yes"), on("publish"))
    for n in (2, 3):
        yield call(sums, "invoke", n, on(), raises=ValueError)
        yield call(sums, "invoke", None, on(repaired=True))
        yield call(sums, "invoke", Command(resume=f"answer {n}"), on(repaired=True))


def types() -> Steps:
    yield call(things, "invoke", {"listed": []}, on())
    yield call(things, "invoke", Command(resume={"point": (1, 2)}), on())
    yield call(things, "update_state", on(), {"listed": [None]}, as_node="make")


def one_trip(n: int) -> Scenario:
    """Build a scenario of a thread of its own: some are streamed, some fail, some travel on from before."""

    def trips() -> Steps:
        here = on(f"trip {n:02}")
        yield call(trip, "invoke" if n % 2 else "stream", {"log": [f"began {n}"]}, here, stream_mode="values")
        answer = Command(resume="no" if n % 5 == 0 else "yes")
        yield call(trip, "invoke", answer, here, raises=ValueError)
        if n % 5 == 1:
            history = yield call(trip, "get_state_history", here)
            yield call(trip, "invoke", None, history[-2].config)

    return trips


def odd_threads(thread_ids: Sequence[Any]) -> Steps:
    """Ids and metadata of every kind that a config takes."""
    for thread_id in thread_ids:
        config = on(thread_id, count=3, share=0.5, flag=True, text="Zoë \x00\U0001f600", skipped=[1])
        yield call(asking, "invoke", {"log": []}, config)
        yield call(asking, "invoke", Command(resume="yes"), config)
        yield call(asking, "get_state_history", config, filter={"count": 3, "text": "Zoë \U0001f600"})


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        agent_with_tools,
        one_interrupt,
        interrupts_in_a_loop,
        several_interrupts_by_id,
        breakpoints,
        nested_subgraphs,
        subgraphs_with_a_memory,
        subgraphs_without_a_memory,
        subgraphs_called_in_a_node,
        map_and_reduce,
        time_travel,
        updates,
        bulk_updates,
        copies,
        failures,
        functions,
        types,
    )
}
SCENARIOS |= {f"durability_{how}": partial(durability, how) for how in ("sync", "async", "exit")}
SCENARIOS |= {f"differences_{frequency}": partial(differences, frequency) for frequency in (1, 3, 100)}
SCENARIOS["odd_threads"] = partial(odd_threads, ["é'\"\\%_\n", "x" * 300])
# In PostgreSQL no text holds a NUL, and the official saver takes no id that is not a text.
OF_SQLITE = {"odd_threads_of_sqlite": partial(odd_threads, ["1\x002", 7])}
