"""Copies between stores of both kinds, and what the official savers say of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from langgraph.checkpoint.postgres import PostgresSaver as OfficialPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver as OfficialSqliteSaver
from thread_graphs import thread

from checkpoints.splicing import msgpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = {
    "sqlite": ("checkpoints", "writes"),
    "postgres": ("checkpoints", "checkpoint_blobs", "checkpoint_writes"),
}


def kind(place: str) -> str:
    return "postgres" if place.startswith("postgresql://") else "sqlite"


@contextmanager
def official(place: str) -> Iterator[Any]:
    """Open the official saver of a file or a database."""
    saver: Any = OfficialPostgresSaver if kind(place) == "postgres" else OfficialSqliteSaver
    with saver.from_conn_string(place) as opened:
        opened.setup()
        yield opened


def rows(place: str, thread_id: str) -> dict[str, list[Any]]:
    """Return a thread's rows of each table, in an order of their own."""
    return {
        table: sorted(execute(place, f"SELECT * FROM {table} WHERE thread_id = %s", thread_id), key=repr)
        for table in TABLES[kind(place)]
    }


def execute(place: str, sql: str, *parameters: Any) -> list[Any]:
    """Run one statement, whose parameters are `%s`, and commit it."""
    if kind(place) == "postgres":
        with psycopg.connect(place, autocommit=True) as conn:
            cursor = conn.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []
    with closing(sqlite3.connect(place)) as conn, conn:
        return conn.execute(sql.replace("%s", "?"), parameters).fetchall()


def told(place: str, thread_id: str, *but: str) -> list[str]:
    """Return what the official saver says of each checkpoint, types and all; `but` values of these types."""
    with official(place) as saver:
        listed = list(saver.list({"configurable": {"thread_id": thread_id}}))
        assert [in_order(saver.get_tuple(each.config)) for each in listed] == list(map(in_order, listed))
        for each in listed:
            values = each.checkpoint["channel_values"].items()
            each.checkpoint["channel_values"] = {
                name: value for name, value in values if type(value).__name__ not in but
            }
        return sorted(map(in_order, listed))


def in_order(value: Any) -> str:
    """Return a value's repr with dicts by their keys: JSONB has an order of its own."""
    if type(value) is dict:
        return f"{{{', '.join(sorted(f'{key!r}: {in_order(part)}' for key, part in value.items()))}}}"
    if isinstance(value, list | tuple) and not hasattr(value, "_asdict"):
        return f"{type(value).__name__}({', '.join(map(in_order, value))})"
    return in_order(value._asdict()) if hasattr(value, "_asdict") else repr(value)


def history(place: str, build: Any, thread_id: str) -> list[str]:
    """Return the states that LangGraph sees in the thread with this graph, newest first."""
    with official(place) as saver:
        graph = build(saver)
        states = list(graph.get_state_history(thread(thread_id)))
        return [in_order(graph.get_state(thread(thread_id), subgraphs=True)), *map(in_order, states)]


def channel_bytes(path: str, thread_id: str) -> dict[Any, dict[str, bytes]]:
    """Return the bytes of each channel's value in each checkpoint of a file."""
    sql = "SELECT checkpoint_ns, checkpoint_id, checkpoint FROM checkpoints WHERE thread_id = %s"
    return {
        (ns, id): msgpacked.members(msgpacked.members(blob)["channel_values"])
        for ns, id, blob in execute(path, sql, thread_id)
    }
