"""A store whose threads are deleted through the pages."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connection
from pages import Element, parse

from checkpoints.selection import Criteria, select
from explorer import stores
from explorer.database.threads import in_database
from explorer.deletions import plans
from explorer.deletions.question import expected
from explorer.deletions.runner import carry_out_all
from explorer.models import Deletion
from explorer.people.roles import Person

if TYPE_CHECKING:
    from pathlib import Path

    from django.test import AsyncClient

TABLES = {
    "sqlite": ("checkpoints", "writes"),
    "postgres": ("checkpoints", "checkpoint_writes", "checkpoint_blobs"),
}


@dataclass
class Deletable:
    """A store, a browser at it, and what is in it. `slug` names it in addresses."""

    place: Path | str
    browser: AsyncClient
    slug: str

    @property
    def kind(self) -> str:
        return "postgres" if isinstance(self.place, str) else "sqlite"

    def rows_of(self, thread_id: str) -> int:
        """Count the rows of a thread in all tables and namespaces, by SQL of its own."""
        sql = "SELECT count(*) FROM {} WHERE thread_id = {}"
        if isinstance(self.place, str):
            with psycopg.connect(self.place) as conn:
                asked = [sql.format(table, "%s").encode() for table in TABLES["postgres"]]
                return sum(conn.execute(each, [thread_id]).fetchone()[0] for each in asked)  # type: ignore[index]
        with closing(sqlite3.connect(self.place)) as conn:
            asked_of = [sql.format(table, "?") for table in TABLES["sqlite"]]
            return sum(conn.execute(each, [thread_id]).fetchone()[0] for each in asked_of)

    async def plan(self, *thread_ids: str, person: Person | None = None) -> Deletion:
        location = stores.located(self.slug)
        found = await select(location, Criteria(thread_ids=thread_ids))
        who = person or Person.of_system_user()
        return await in_database(plans.keep, location, found.threads, ["a test"], who)

    async def load(self, url: str, status: int = 200) -> Element:
        answer = await self.browser.get(url)
        assert answer.status_code == status, answer.content.decode()[-2000:]
        return parse(answer.content.decode())

    async def act(self, plan: Deletion, action: str, **fields: Any) -> Any:
        return await self.browser.post(f"/deletions/{plan.id}/", {"action": action, **fields})

    async def confirm(self, plan: Deletion, **fields: Any) -> Any:
        typed, _ = await in_database(expected, plan)
        return await self.act(plan, "confirm", **{"typed": typed, **fields})

    async def carry_out(self) -> None:
        await asyncio.to_thread(_carry_out)

    async def deleted(self, *thread_ids: str, **fields: Any) -> Deletion:
        """Plan, confirm and carry out."""
        plan = await self.plan(*thread_ids)
        answer = await self.confirm(plan, **fields)
        assert answer.status_code == 303, answer.content.decode()[-2000:]
        await self.carry_out()
        return await self.again(plan)

    async def again(self, plan: Deletion) -> Deletion:
        return await in_database(Deletion.objects.get, id=plan.id)


def _carry_out() -> None:
    try:
        carry_out_all()
    finally:
        connection.close()
