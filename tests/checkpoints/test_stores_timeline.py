"""Pages of a timeline: each checkpoint once, newest first, as LangGraph tells it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from stores_data import ask, bound, checkpoint_id, config, counter, execute, official, write, write_asking

from checkpoints import errors
from checkpoints.stores.budget import Budget
from checkpoints.stores.sqlite import timeline

if TYPE_CHECKING:
    from pathlib import Path

    from langgraph.types import StateSnapshot

    from checkpoints.stores import CheckpointRow, Store


def write_long(place: Path | str, calls: int) -> list[StateSnapshot]:
    write(place, ["long"] * calls)
    with official(place) as saver:
        return list(counter(saver).get_state_history(config("long")))


async def every_page(store: Store, limit: int) -> list[tuple[CheckpointRow, ...]]:
    pages, before = [], None
    while True:
        page = await store.timeline("long", "", before=before, limit=limit)
        pages.append(page.checkpoints)
        before = page.older
        if before is None:
            return pages


@pytest.mark.parametrize("limit", [1, 4, 5, 50])
async def test_the_pages_are_the_history_of_langgraph(place: str, limit: int) -> None:
    history = write_long(place, calls=5)
    pages = await ask(place, lambda store: every_page(store, limit))
    rows = [row for page in pages for row in page]
    assert [row.checkpoint_id for row in rows] == [checkpoint_id(state) for state in history]
    assert [json.loads(row.metadata or "") for row in rows] == [state.metadata for state in history]
    parents = [
        state.parent_config and state.parent_config["configurable"]["checkpoint_id"] for state in history
    ]
    assert [row.parent_checkpoint_id for row in rows] == parents
    assert {len(page) for page in pages[:-1]} <= {limit}


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_a_checkpoint_whose_id_is_no_text_is_on_exactly_one_page(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "x.sqlite"
    history = [checkpoint_id(state) for state in write_long(path, calls=2)]
    change = "UPDATE {table} SET checkpoint_id = {id} WHERE checkpoint_id = ?"
    for place, id in ((1, f"CAST(x'{history[1][:-1].encode().hex()}ff' AS TEXT)"), (4, "x'ff00'")):
        for table in ("checkpoints", "writes"):
            execute(path, change.format(table=table, id=id), history[place])

    async def look(store: Store) -> None:
        pages = await every_page(store, limit)
        found = [row.checkpoint_id for page in pages for row in page]
        assert found == ["\ufffd\0", history[0], history[1][:-1] + "\ufffd", *history[2:4], history[5]]
        page = await store.timeline("long", "", limit=limit)
        assert page.writes["\ufffd\0"], "its writes are found, too"
        while page.older:
            newer, page = page, await store.timeline("long", "", before=page.older, limit=limit)
            assert await store.timeline("long", "", before=page.newer, limit=limit) == newer

    await ask(path, look)


async def test_newer_leads_back_through_the_same_pages(place: str) -> None:
    write_long(place, calls=5)

    async def there_and_back(store: Store) -> None:
        first = await store.timeline("long", "", limit=4)
        second = await store.timeline("long", "", limit=4, before=first.older)
        third = await store.timeline("long", "", limit=4, before=second.older)
        assert (first.newer, second.newer) == (None, "")
        assert await store.timeline("long", "", limit=4, before=second.newer) == first
        assert await store.timeline("long", "", limit=4, before=third.newer) == second

    await ask(place, there_and_back)


@pytest.mark.parametrize(("deep", "above"), [(0, 0), (3, 3), (9, 5)])
async def test_a_page_around_a_checkpoint_has_a_few_newer_ones(place: str, deep: int, above: int) -> None:
    wanted = checkpoint_id(write_long(place, calls=5)[deep])

    async def look(store: Store) -> list[str]:
        page = await store.timeline("long", "", around=wanted, limit=8)
        return [row.checkpoint_id for row in page.checkpoints]

    found = await ask(place, look)
    assert (len(found), found.index(wanted)) == (min(8, 15 - deep + above), above)


async def test_writes_come_in_the_savers_order(place: str) -> None:
    write_long(place, calls=1)
    with official(place) as saver:
        head = counter(saver).get_state(config("long")).config
        for task, path in (("a", "2"), ("c", "1"), ("b", "1")):
            saver.put_writes(head, [("log", ["x"]), ("log", ["y"]), ("__error__", "z")], task, path)
        stored = saver.get_tuple(head)
    assert stored

    async def look(store: Store) -> list[tuple[str, str]]:
        page = await store.timeline("long", "")
        at = page.checkpoints[0].checkpoint_id
        assert page.writes[at] == await store.writes("long", "", at)
        return [(write.task_id, write.channel) for write in page.writes[at]]

    expected = [(task, channel) for task, channel, _ in stored.pending_writes or ()]
    assert await ask(place, look) == expected


async def test_a_parent_beyond_the_page_is_brought_along(place: str) -> None:
    history = write_long(place, calls=2)

    async def look(store: Store) -> None:
        page = await store.timeline("long", "", limit=2)
        assert [row.checkpoint_id for row in page.parents.values()] == [checkpoint_id(history[2])]
        parent = checkpoint_id(history[2])
        assert page.writes[parent] == await store.writes("long", "", parent) != ()
        last = await store.timeline("long", "", before=page.older)
        assert last.parents == {}

    await ask(place, look)
    execute(place, "DELETE FROM checkpoints WHERE checkpoint_id = ?", checkpoint_id(history[2]))
    page = await ask(place, lambda store: store.timeline("long", "", limit=2))
    assert page.parents == {}


@pytest.mark.parametrize(("most", "above"), [(100, 100), (7, 100), (7, 6), (5, 100), (5, 5)])
async def test_the_tree_of_a_page_is_known_as_far_as_its_bounds_go(
    place: str, monkeypatch: pytest.MonkeyPatch, most: int, above: int
) -> None:
    history = write_long(place, calls=2)
    with official(place) as saver:
        counter(saver).update_state(history[3].config, {"log": ["edited"]})
        links = [
            (at.config["configurable"]["checkpoint_id"], parent_id(at))
            for at in saver.list({"configurable": {"thread_id": "long"}})
        ]
    assert len(links) == 7
    bound(monkeypatch, "timeline", "MOST_IN_TREE", most)
    bound(monkeypatch, "timeline", "MOST_ABOVE", above)
    page = await ask(place, lambda store: store.timeline("long", "", limit=5))
    assert page.tree.children[checkpoint_id(history[3])] == 2
    assert (page.tree.links, page.tree.whole) == (tuple(links[: most + 1]), most >= 7)
    last = await ask(place, lambda store: store.timeline("long", "", before=page.older))
    known = 7 if most >= 7 or above >= 7 else 0
    assert (last.tree.links, last.tree.whole) == (tuple(links[:known]), most >= 7)


def parent_id(at: Any) -> str | None:
    return at.parent_config["configurable"]["checkpoint_id"] if at.parent_config else None


async def test_tips_come_with_their_metadata_and_without_their_states(place: str) -> None:
    history = write_long(place, calls=2)
    assert (await ask(place, lambda store: store.timeline("long", ""))).tips == ()
    with official(place) as saver:
        for number in range(3):
            counter(saver).update_state(
                history[3].config, {"log": ["x" * 5000]}, as_node=None if number else "__copy__"
            )
    page = await ask(place, lambda store: store.timeline("long", "", limit=2))
    assert [row.checkpoint_id for row in page.tips] == list(page.tree.tips)
    assert len(page.tips) == 4
    assert [json.loads(row.metadata)["source"] for row in page.tips] == ["update", "update", "fork", "loop"]
    assert {row.blob for row in page.tips} == {None}


async def test_a_branch_is_followed_by_its_links(place: str) -> None:
    history = write_long(place, calls=3)
    with official(place) as saver:
        config = counter(saver).update_state(history[3].config, {"log": ["edited"]})
    tip, main = checkpoint_id_of(config), [checkpoint_id(state) for state in history]

    async def ids(**kwargs: Any) -> list[str]:
        page = await ask(place, lambda store: store.timeline("long", "", **kwargs))
        return [row.checkpoint_id for row in page.checkpoints]

    assert await ids(branch=tip) == [tip, *main[3:]]
    assert await ids(branch=main[0]) == main
    page = await ask(place, lambda store: store.timeline("long", "", branch=tip, limit=2))
    assert (page.older, page.newer) == (main[3], None)
    page = await ask(place, lambda store: store.timeline("long", "", branch=tip, before=page.older, limit=2))
    assert ([row.checkpoint_id for row in page.checkpoints], page.newer) == (main[4:6], "")
    assert (await ids(branch=main[0], around=main[6]))[0] == main[1]
    assert await ids(branch="nobody") == []
    assert await ids(branch=tip, before="nobody", around="nobody") == [tip, *main[3:]]
    execute(
        place, "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE checkpoint_id = ?", main[0], main[-1]
    )
    assert await ids(branch=main[0]) == main


async def test_a_branch_is_paged_to_its_end_however_long_it_is(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkpoints.stores.branch.MOST_ABOVE", 3)
    ids = [checkpoint_id(state) for state in write_long(place, calls=3)]
    met, before = [], None
    while before is not None or not met:
        page = await ask(
            place, lambda store, key=before: store.timeline("long", "", branch=ids[0], before=key, limit=2)
        )
        met += [row.checkpoint_id for row in page.checkpoints]
        before = page.older
    assert met == ids
    page = await ask(place, lambda store: store.timeline("long", "", branch=ids[0], around=ids[5], limit=2))
    assert [row.checkpoint_id for row in page.checkpoints] == ids[5:7]
    assert (page.older, page.newer) == (ids[6], "")


def checkpoint_id_of(config: Any) -> str:
    return str(config["configurable"]["checkpoint_id"])


async def test_equal_ids_in_other_namespaces_and_threads_stay_apart(place: str) -> None:
    ids = [checkpoint_id(state) for state in write_long(place, calls=1)]
    for thread, ns in (("long", "sub:1"), ("twin", "")):
        for table in ("checkpoints", "writes"):
            execute(
                place,
                f"CREATE TABLE copied AS SELECT * FROM {table} WHERE thread_id || checkpoint_ns = 'long'",
            )
            execute(place, "UPDATE copied SET thread_id = ?, checkpoint_ns = ?", thread, ns)
            execute(place, f"INSERT INTO {table} SELECT * FROM copied")
            execute(place, "DROP TABLE copied")

    async def look(store: Store) -> None:
        for thread in (("long", ""), ("long", "sub:1"), ("twin", "")):
            page = await store.timeline(*thread)
            assert [row.checkpoint_id for row in page.checkpoints] == ids
            assert {(row.thread_id, row.checkpoint_ns) for row in page.checkpoints} == {thread}
            assert sum(map(len, page.writes.values())) == 3
            assert set(page.tree.children.values()) == {1}

    await ask(place, look)


async def test_a_large_blob_is_left_out_and_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.sqlite"
    head = checkpoint_id(write_long(path, calls=1)[0])
    execute(path, "UPDATE checkpoints SET checkpoint = zeroblob(2000000) WHERE checkpoint_id = ?", head)
    execute(path, "UPDATE writes SET value = zeroblob(70000)")

    async def look(store: Store) -> None:
        page = await store.timeline("long", "")
        assert [(row.skipped, row.blob is None) for row in page.checkpoints] == [(True, True)] + [
            (False, False)
        ] * 2
        writes = [write for found in page.writes.values() for write in found]
        assert {(write.skipped, write.value, write.size) for write in writes} == {(True, None, 70000)}
        assert len((await store.checkpoint_row("long", "", head)).blob or b"") == 2000000
        at = page.checkpoints[-1].checkpoint_id
        assert {len(write.value or b"") for write in await store.writes("long", "", at)} == {70000}

    await ask(path, look)


async def test_a_page_stops_reading_blobs_when_its_budget_is_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.sqlite"
    write_long(path, calls=2)
    execute(path, "UPDATE checkpoints SET checkpoint = zeroblob(1000)")
    monkeypatch.setattr(timeline, "PAGE", Budget(1000, 2500))
    page = await ask(path, lambda store: store.timeline("long", ""))
    assert [row.skipped for row in page.checkpoints] == [False, False, True, True, True, True]


async def test_null_is_not_skipped(tmp_path: Path) -> None:
    write_long(tmp_path / "x.sqlite", calls=1)
    execute(tmp_path / "x.sqlite", "UPDATE checkpoints SET checkpoint = NULL, metadata = NULL, type = NULL")
    page = await ask(tmp_path / "x.sqlite", lambda store: store.timeline("long", ""))
    assert {(row.blob, row.metadata, row.type, row.size, row.skipped) for row in page.checkpoints} == {
        (None, None, None, 0, False)
    }


async def test_large_metadata_is_left_out(tmp_path: Path) -> None:
    write_long(tmp_path / "x.sqlite", calls=1)
    execute(tmp_path / "x.sqlite", "UPDATE checkpoints SET metadata = zeroblob(1100000)")
    page = await ask(tmp_path / "x.sqlite", lambda store: store.timeline("long", ""))
    assert {(row.metadata, row.metadata_skipped) for row in page.checkpoints} == {(None, True)}


async def test_an_unknown_checkpoint_is_not_found(place: str) -> None:
    states = write_asking(place, "asking")
    for wrong in (
        ("asking", "", "x"),
        ("asking", "inner:x", checkpoint_id(states[0])),
        ("x", "", checkpoint_id(states[0])),
    ):
        with pytest.raises(errors.CheckpointNotFound):
            await ask(place, lambda store, wrong=wrong: store.checkpoint_row(*wrong))
