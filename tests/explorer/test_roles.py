"""Who may do what: every route, every method, every role. What has no entry is refused."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.urls import get_resolver, path
from people_at import browser_of, serve_to_users, user

from checkpoints.selection import Criteria, select
from explorer import stores, urls
from explorer.database.threads import in_database
from explorer.deletions import plans
from explorer.people.roles import ADMIN, DEVELOPER, ROLES, SUPPORT, VIEWER, Permission, Person
from explorer.people.routes import ANYBODY, needs
from explorer.replays.requests import Request, ask
from explorer.views.help import help_page

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from django.http import HttpRequest
    from django.test import AsyncClient
    from forkable import Forkable
    from pytest_django.fixtures import SettingsWrapper

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
EVERYBODY = ("", *ROLES)
BOOKKEEPING = ("django_session", "auth_user", "checkpoint_explorer_loginattempts")


def routes() -> list[Any]:
    """Return every route of the URLconf."""
    return list(get_resolver(urls).url_patterns)


async def a_replay(store: str) -> uuid.UUID:
    request = Request(stores.key(stores.located(store)), "asking", "", "1f0c", 1, "replay", "", {})
    return (await in_database(ask, request)).id


async def a_plan(store: str) -> uuid.UUID:
    location = stores.located(store)
    found = await select(location, Criteria(thread_ids=("asking",)))
    person = Person.of_system_user()
    return (await in_database(plans.keep, location, found.threads, ("one id",), person)).id


async def address(route: Any, forkable: Forkable) -> str:
    """Return the address of a route, with a thread, a checkpoint, a replay and a plan that are there."""
    given = {
        "store": "forkable",
        "thread": "asking",
        "checkpoint_id": forkable.ids("asking")[0],
        "replay": await a_replay("forkable"),
        "deletion": await a_plan("forkable"),
    }
    assert set(route.pattern.converters) <= set(given), f"Give {route} here what it takes."
    found = str(route.pattern)
    for name, converter in route.pattern.converters.items():
        kind = {"TildeConverter": "tilde", "SlugConverter": "slug", "UUIDConverter": "uuid"}
        found = found.replace(f"<{kind[type(converter).__name__]}:{name}>", converter.to_url(given[name]))
    return f"/{found}"


@pytest.fixture
def app_tables(app_database: Path, settings: SettingsWrapper) -> Path:
    serve_to_users(settings)
    return app_database


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
def test_every_route_says_what_each_method_needs(route: Any) -> None:
    said = needs(route.callback)
    assert said, f"{route.name} has no entry: allowed(view, GET=…) in urls.py"
    assert set(said) <= set(METHODS)
    assert all(need == ANYBODY or need in Permission for need in said.values())


@pytest.mark.parametrize("role", EVERYBODY)
async def test_every_route_admits_whose_role_includes_it(
    role: str, forkable: Forkable, app_tables: Path
) -> None:
    client = await browser_of(role)
    for route in routes():
        target = await address(route, forkable)
        for method in METHODS:
            answer = await client.generic(method, target)
            assert is_as_said(answer, route, method, role, target), (route.name, method, answer.status_code)
            answer.close()
            if (route.name, method) == ("logout", "POST"):
                client = await browser_of(role)


def is_as_said(answer: Any, route: Any, method: str, role: str, target: str) -> bool:
    """Tell whether a route answers a role as its entry says."""
    said = needs(route.callback) or {}
    need, person = said.get(method), Person(role, (role,) if role else ())
    if need == ANYBODY or (need and person.may(need)):
        return answer.status_code not in (401, 403, 405)
    if not role:
        return is_turned_away(answer, target)
    if need is None:
        return bool(answer.status_code == 405)
    told = method == "HEAD" or "This takes the role " in answer.content.decode()
    return bool(answer.status_code == 403 and told)


def is_turned_away(answer: Any, target: str) -> bool:
    if target.startswith("/api/"):
        return bool(answer.status_code == 401)
    return bool(answer.status_code == 302 and answer["Location"].startswith("/login/"))


@pytest.mark.parametrize("role", EVERYBODY)
async def test_a_get_changes_no_byte(role: str, forkable: Forkable, app_tables: Path) -> None:
    client = await browser_of(role)
    targets = [await address(route, forkable) for route in routes()]
    before = bytes_of(forkable), await in_database(kept)
    for target in targets:
        for method in ("GET", "HEAD", "OPTIONS"):
            answer = await client.generic(method, f"{target}?ns=&next=/help/&download=1")
            assert answer.status_code < 500, target
    assert (bytes_of(forkable), await in_database(kept)) == before


def bytes_of(forkable: Forkable) -> dict[str, bytes]:
    """Return the bytes of a store's files; of a PostgreSQL database all that is stored."""
    if isinstance(forkable.place, str):
        return {"rows": forkable.rows().encode()}
    files = forkable.place.parent.iterdir()
    # The reader's place in the log is in -shm, which holds nothing.
    return {file.name: file.read_bytes() for file in files if file.suffix != ".sqlite-shm"}


def kept() -> dict[str, str]:
    """Return a digest of each table of the app, but for what a login leaves."""
    with connection.cursor() as cursor:
        tables = sorted(set(connection.introspection.table_names()) - set(BOOKKEEPING))
        found = {}
        for table in tables:
            cursor.execute(f'SELECT * FROM "{table}"')
            found[table] = hashlib.sha256(repr(sorted(map(repr, cursor.fetchall()))).encode()).hexdigest()
    assert len(found) > 8
    return found


async def forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("opened")


urlpatterns = [path("forgotten/", forgotten), path("help/", help_page), *urls.urlpatterns]
handler404 = urls.handler404


@pytest.mark.parametrize("target", ["/forgotten/", "/help/"])
async def test_a_route_without_an_entry_is_refused_even_to_an_admin(
    target: str, settings: SettingsWrapper, demo_store: Path, app_tables: Path
) -> None:
    client = await browser_of(ADMIN)
    settings.ROOT_URLCONF = __name__
    answer = await client.get(target)
    assert answer.status_code == 403
    assert "Nobody has said who may open this page." in answer.content.decode()


async def test_a_route_without_an_entry_is_refused_locally(
    reader: AsyncClient, settings: SettingsWrapper
) -> None:
    settings.ROOT_URLCONF = __name__
    assert (await reader.get("/forgotten/")).status_code == 403


def test_the_roles_are_what_the_documents_say() -> None:
    held = {role: {each.value for each in found} for role, found in ROLES.items()}
    assert held == {
        VIEWER: {"read"},
        SUPPORT: {"read", "delete", "export"},
        DEVELOPER: {"read", "fork", "replay", "delete", "export"},
        ADMIN: {"read", "fork", "replay", "delete", "export", "audit", "administer"},
    }


def test_whoever_has_the_token_of_a_local_run_may_do_everything() -> None:
    assert all(map(Person.of_system_user().may, Permission))
    assert not any(map(Person("nobody").may, Permission))


async def test_a_role_that_is_taken_away_is_gone_at_the_next_request(
    demo_store: Path, settings: SettingsWrapper, app_tables: Path
) -> None:
    settings.EXPLORER_STORES = (str(demo_store),)
    client = await browser_of(ADMIN)
    assert (await client.get("/help/")).status_code == 200
    await user(ADMIN, VIEWER)  # with another password hash, which ends the session as well
    assert (await client.get("/help/")).status_code == 302
