"""Graphs by configuration: what may be written, every form of a graph, what is shown of one that fails."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSaver
from langgraph.graph import START, StateGraph

from explorer.graphs.sources import GraphSource, GraphsRefused, all_of, configured, named
from explorer.replays import runs
from explorer.replays.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import SettingsWrapper

AGENT = """
import os
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    told: str

def node(state):
    return {"told": os.environ.get("WORD", "") + os.getcwd()}

builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
graph = builder.compile()
"""


def described(source: GraphSource) -> Any:
    """Tell of one graph."""
    return runs.described(source)[source.name]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)
    return folder


def config(folder: Path, content: Any) -> str:
    path = folder / "langgraph.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_configuration_names_graphs_as_langgraph_s_own_tools_read_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY='a secret'\nOTHER=${KEY}!\n")
    path = config(
        tmp_path,
        {
            "dependencies": [".", "./src", "langchain-openai"],
            "graphs": {"agent": "./agent.py:graph", "other": {"path": "pkg.mod:make", "description": "x"}},
            "env": ".env",
        },
    )
    agent, other = configured(path)
    assert (agent.name, agent.file, agent.variable) == ("agent", tmp_path / "agent.py", "graph")
    assert agent.paths == (str(tmp_path), str(tmp_path / "src"))
    assert agent.environment() == {"KEY": "a secret", "OTHER": "a secret!"}
    assert (other.file, other.where, other.variable) == (None, "pkg.mod", "make")
    assert list(configured(str(tmp_path))) == [agent, other]
    assert GraphSource.from_json(json.loads(json.dumps(agent.to_json()))) == agent


def test_an_environment_may_be_written_out(tmp_path: Path) -> None:
    path = config(tmp_path, {"graphs": {"a": "./a.py:g"}, "env": {"WORD": "x", "N": 1}})
    [source] = configured(path)
    assert source.environment() == {"WORD": "x", "N": "1"}
    assert "WORD" not in repr(source)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "holds no object"),
        ({}, "names no graphs"),
        ({"graphs": {}}, "names no graphs"),
        ({"graphs": {"a": 1}}, "has no path"),
        ({"graphs": {"a": "./agent.py"}}, "names no graph"),
        ({"graphs": {"a": "./agent.py:os.system('x')"}}, "names no graph"),
        ({"graphs": {"../a": "./agent.py:g"}}, "cannot be the name"),
        ({"graphs": {"a": "./agent.py:g"}, "env": 1}, '"env" of'),
        ({"graphs": {"a": "./agent.py:g"}, "dependencies": "."}, '"dependencies" of'),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(GraphsRefused, match=said):
        list(configured(config(tmp_path, content)))


def test_options_name_graphs_and_none_twice(tmp_path: Path) -> None:
    path = config(tmp_path, {"graphs": {"a": "./a.py:g"}})
    assert [each.name for each in all_of(path, ["b=b.py:g", "c=pkg.c:g"])] == ["a", "b", "c"]
    with pytest.raises(GraphsRefused, match="Two graphs are called 'a'"):
        all_of(path, ["a=other.py:g"])
    with pytest.raises(GraphsRefused, match="names no graph"):
        list(named(["agent.py:graph"]))
    with pytest.raises(GraphsRefused, match="cannot be read: No such file"):
        all_of(str(tmp_path / "missing.json"), [])
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(GraphsRefused, match="is not JSON"):
        all_of(str(tmp_path / "bad.json"), [])


FORMS = {
    "compiled": AGENT,
    "not compiled": AGENT + "graph = builder\n",
    "factory": AGENT + "made = graph\ndef graph(): return made\n",
    "of a config": AGENT + "made = graph\ndef graph(config): return made if config['configurable'] else 1\n",
    "of a default": AGENT + "made = graph\ndef graph(config=None): return made if config else 1\n",
    "coroutine": AGENT + "made = graph\nasync def graph(config): return made\n",
    "context": AGENT
    + "import contextlib\nmade = graph\n@contextlib.contextmanager\ndef graph(): yield made\n",
    "async context": AGENT
    + "import contextlib\nmade = graph\n"
    + "@contextlib.asynccontextmanager\nasync def graph(): yield builder\n",
    "own saver": AGENT
    + "from langgraph.checkpoint.memory import InMemorySaver\n"
    + "graph = builder.compile(checkpointer=InMemorySaver())\n",
    "chatty": "print('importing')\n" + AGENT + 'import sys; sys.stdout.write(\'{"type": "ended"}\\n\')\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_graph_is_run(form: str, tmp_path: Path) -> None:
    write(tmp_path, agent=FORMS[form])
    source = GraphSource("agent", "./agent.py:graph", str(tmp_path), env={"WORD": "said "})
    ended, values = run(source, tmp_path)
    assert ended == {"type": "ended", "state": "succeeded", "next": [], "interrupts": 0}
    assert values == {"told": f"said {tmp_path}"}


def run(source: GraphSource, folder: Path) -> tuple[Any, Any]:
    """Run a graph in a process of its own from the beginning of a thread; return its end and the state."""
    path = str(folder / "store.sqlite")
    with closing(sqlite3.connect(path, check_same_thread=False)) as conn:
        graph: Any = StateGraph(dict).add_node("node", lambda state: {}).add_edge(START, "node")
        graph = graph.compile(checkpointer=OfficialSaver(conn))
        graph.update_state({"configurable": {"thread_id": "t"}}, {"told": "begun"}, as_node="__input__")
        id = graph.get_state({"configurable": {"thread_id": "t"}}).config["configurable"]["checkpoint_id"]
        todo = {
            "graph": source.to_json(),
            "path": path,
            "conninfo": "",
            "kind": "input",
            "thread_id": "t",
            "checkpoint_ns": "",
            "checkpoint_id": id,
            "input": {"told": "asked"},
            "configurable": {"tenant": "kettles"},
        }
        with Run(source, todo) as running:
            assert running.ended.wait(60)
        found = OfficialSaver(conn).get_tuple({"configurable": {"thread_id": "t"}})
        assert found
        values = found.checkpoint["channel_values"]
        return running.result(), {name: value for name, value in values.items() if name == "told"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('no <b>key</b>')", "RuntimeError: no <b>key</b>"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(4)", "Importing it ended the process, with status 4."),
        ("graph = 1", "./agent.py:graph is a int, not a graph of LangGraph."),
        ("other = 1", "./agent.py has no graph."),
        (AGENT.replace("graph =", "grahp ="), "./agent.py has no graph. Its graphs are: builder, grahp."),
        ("def graph(): raise KeyError('x')", "KeyError: 'x'"),
        ("def graph(", "SyntaxError: '(' was never closed"),
        ("import time; time.sleep(60)", "Importing it takes longer than 2 s."),
    ],
)
def test_a_graph_that_cannot_be_had_is_shown_with_its_error(
    text: str, said: str, tmp_path: Path, settings: SettingsWrapper
) -> None:
    settings.EXPLORER_IMPORT_SECONDS = 2 if "sleep" in text else 60
    write(tmp_path, agent=text)
    told = described(GraphSource("agent", "./agent.py:graph", str(tmp_path)))
    assert told["problem"].splitlines()[-1] == said.splitlines()[-1]
    assert "nodes" not in told


def test_what_is_missing_is_told_of(tmp_path: Path) -> None:
    gone = GraphSource("agent", "./agent.py:graph", str(tmp_path / "gone"))
    assert described(gone)["problem"].endswith("of the graph 'agent' is gone.")
    missing = GraphSource("agent", "./agent.py:graph", str(tmp_path))
    assert described(missing)["problem"] == f"There is no file {tmp_path}/agent.py."
    unread = GraphSource("agent", "./agent.py:graph", str(tmp_path), env_file=str(tmp_path))
    assert "cannot be read" in described(unread)["problem"] or described(unread)["problem"]


def test_an_agent_imports_what_lies_beside_it_and_nothing_shadows_the_library(tmp_path: Path) -> None:
    write(
        tmp_path,
        shop__agent="from .parts import builder\nimport tools\n" + "graph = builder.compile()\n",
        shop__parts=AGENT,
        shop____init__="",
        lib__tools="",
        json="raise RuntimeError('not this one')",
        explorer="raise RuntimeError('nor this one')",
    )
    (tmp_path / "shop" / "__init__.py").write_text("")
    source = GraphSource("agent", "./shop/agent.py:graph", str(tmp_path), paths=(str(tmp_path / "lib"),))
    assert described(source)["nodes"] == ["node"]
    module = GraphSource("agent", "shop.agent:graph", str(tmp_path), paths=(str(tmp_path / "lib"),))
    assert described(module)["nodes"] == ["node"]


def test_classes_of_an_agent_that_ran_as_a_script_are_found_again(tmp_path: Path) -> None:
    text = (
        "from dataclasses import dataclass\nfrom typing import TypedDict\n"
        "from langgraph.graph import START, StateGraph\n"
        "@dataclass\nclass Order:\n    id: str\n"
        "class State(TypedDict, total=False):\n    order: Order\n    told: str\n"
        "def node(state): return {'told': type(state['order']).__name__}\n"
        "builder = StateGraph(State).add_node('node', node).add_edge(START, 'node')\n"
        "graph = builder.compile()\n"
        "if __name__ == '__main__':\n"
        "    import sqlite3\n    from langgraph.checkpoint.sqlite import SqliteSaver\n"
        "    saved = builder.compile(SqliteSaver(sqlite3.connect('store.sqlite', check_same_thread=False)))\n"
        "    saved.invoke({'order': Order('7')}, {'configurable': {'thread_id': 't'}})\n"
    )
    write(tmp_path, agent=text)

    subprocess.run([sys.executable, "agent.py"], cwd=tmp_path, check=True)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as conn:
        (id,) = conn.execute("SELECT checkpoint_id FROM checkpoints ORDER BY 1 LIMIT 1 OFFSET 1").fetchone()
    source = GraphSource("agent", "./agent.py:graph", str(tmp_path))
    todo = {
        "graph": source.to_json(),
        "path": str(tmp_path / "store.sqlite"),
        "conninfo": "",
        "kind": "replay",
        "thread_id": "t",
        "checkpoint_ns": "",
        "checkpoint_id": id,
    }
    with Run(source, todo) as running:
        assert running.ended.wait(60)
    assert running.result() == {"type": "ended", "state": "succeeded", "next": [], "interrupts": 0}


STRICT = """
from typing import TypedDict
from pydantic import BaseModel
from langgraph.graph import START, StateGraph

class Order(BaseModel):
    id: int

class State(TypedDict, total=False):
    order: Order
    told: str

def node(state):
    return {"told": type(state["order"]).__name__}

builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
graph = builder.compile()
"""


def test_strict_msgpack_keeps_the_classes_of_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    write(tmp_path, agent=STRICT)
    script = (
        "import sqlite3; from agent import Order, builder\n"
        "from langgraph.checkpoint.sqlite import SqliteSaver\n"
        "saver = SqliteSaver(sqlite3.connect('store.sqlite', check_same_thread=False))\n"
        "config = {'configurable': {'thread_id': 't'}}\n"
        "builder.compile(saver).invoke({'order': Order(id=1)}, config)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as conn:
        (id,) = conn.execute("SELECT checkpoint_id FROM checkpoints ORDER BY 1 LIMIT 1 OFFSET 1").fetchone()
    todo = {
        "graph": GraphSource("agent", "./agent.py:graph", str(tmp_path)).to_json(),
        "path": str(tmp_path / "store.sqlite"),
        "conninfo": "",
        "kind": "replay",
        "thread_id": "t",
        "checkpoint_ns": "",
        "checkpoint_id": id,
    }
    with Run(GraphSource.from_json(todo["graph"]), todo) as running:
        assert running.ended.wait(60)
    assert running.result() == {"type": "ended", "state": "succeeded", "next": [], "interrupts": 0}
    with closing(sqlite3.connect(tmp_path / "store.sqlite", check_same_thread=False)) as conn:
        found = OfficialSaver(conn).get_tuple({"configurable": {"thread_id": "t"}})
    assert found
    assert found.checkpoint["channel_values"]["told"] == "Order"


def test_a_graph_that_leaves_something_behind_at_its_import_is_described_at_once(tmp_path: Path) -> None:
    left = (
        "import subprocess, sys, threading, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'], start_new_session=True)\n"
        "threading.Thread(target=time.sleep, args=[20]).start()\n"
        "print('y' * 5_000_000)\n"
    )
    write(tmp_path, agent=left + AGENT)
    began = time.monotonic()
    assert described(GraphSource("agent", "./agent.py:graph", str(tmp_path)))["nodes"] == ["node"]
    assert time.monotonic() - began < 15


def test_an_env_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphsRefused, match='which is "env" of'):
        list(configured(config(tmp_path, {"graphs": {"a": "./a.py:g"}, "env": "nope.env"})))
    odd = GraphSource("agent", "./agent.py:graph", str(tmp_path), env={"A=B": "c"})
    assert "cannot be used" in described(odd)["problem"]


def test_the_graphs_of_a_module_are_described_together(tmp_path: Path) -> None:
    write(tmp_path, agent="import os\nprint(os.getpid())\n" + AGENT)
    sources = list(named(["a=agent.py:graph", "b=agent.py:builder", "c=agent.py:nothing"], str(tmp_path)))
    told = runs.described(*sources)
    assert (told["a"]["nodes"], told["b"]["nodes"]) == (["node"], ["node"])
    assert told["c"]["problem"].startswith("agent.py has no nothing.")
