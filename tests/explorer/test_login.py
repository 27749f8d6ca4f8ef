"""Logging in and out: who gets in, for how long, and what a stranger can learn."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import F
from django.test import AsyncClient
from django.utils import timezone
from pages import load, parse
from people_at import PASSWORD, log_in, serve_to_users, user

from explorer.database.threads import in_database
from explorer.models import LoginAttempts
from explorer.people import throttle

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import SettingsWrapper

COOKIE = "explorer_session"
WRONG = "There is no user with this name and password."


@pytest.fixture(autouse=True)
async def _ana(settings: SettingsWrapper, app_database: Path, demo_store: Path) -> None:
    """A user, where users log in."""
    serve_to_users(settings)
    settings.EXPLORER_STORES = (str(demo_store),)
    settings.EXPLORER_TOKEN = "token"
    await user("ana", "viewer")


@pytest.fixture
def client() -> AsyncClient:
    return AsyncClient()


async def is_in(client: AsyncClient) -> bool:
    return bool((await client.get("/help/")).status_code == 200)


async def test_a_stranger_is_led_to_the_login_and_back(client: AsyncClient) -> None:
    led = await client.get("/s/demo/threads/?q=a b")
    assert led["Location"] == "/login/?next=%2Fs%2Fdemo%2Fthreads%2F%3Fq%3Da%2520b"
    page = await load(client, led["Location"])
    assert page.one("main h1").words == "Log in"
    done = await log_in(client, "ana", next="/s/demo/threads/?q=a%20b")
    assert (done.status_code, done["Location"]) == (303, "/s/demo/threads/?q=a%20b")
    assert await is_in(client)


@pytest.mark.parametrize(
    "then",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "help/",
     "/\t/evil.example", "///evil.example", "http:///evil.example", "", " //evil.example"],
)  # fmt: skip
async def test_a_login_leads_nowhere_else(then: str, client: AsyncClient) -> None:
    done = await log_in(client, "ana", next=then)
    assert (done.status_code, done["Location"]) == (303, "/")


async def test_a_stranger_cannot_tell_which_pages_exist(client: AsyncClient) -> None:
    targets = ("/no/such/page/", "/s/demo/threads/", "/s/nothing/threads/", "/replays/", "/login", "/login//")
    for target in targets:
        answer = await client.get(target)
        assert (answer.status_code, answer.content) == (302, b"")


async def test_htmx_and_programs_are_told_in_their_own_way(client: AsyncClient) -> None:
    part = await client.get(
        "/help/", headers={"hx-request": "true", "hx-current-url": "http://testserver/x/"}
    )
    assert (part.status_code, part["HX-Redirect"]) == (401, "/login/?next=%2Fx%2F")
    api = await client.get("/api/replays/")
    assert (api.status_code, api.json()["error"]) == (401, "Log in first.")
    json = await client.post("/s/demo/threads/a/replays/", "{}", content_type="application/json")
    assert json.status_code == 401


async def test_the_local_token_opens_nothing_here(client: AsyncClient) -> None:
    assert (await client.get("/help/?token=token")).status_code == 302
    assert (await client.get("/help/", headers={"authorization": "Bearer wrong"})).status_code == 401


async def test_a_program_reads_and_replays_with_the_token_and_no_more(client: AsyncClient) -> None:
    program = {"authorization": "Bearer token"}
    assert (await client.get("/api/replays/", headers=program)).status_code == 200
    assert (await client.get("/audit/", headers=program)).status_code == 403
    fork = await client.post("/s/demo/threads/a/checkpoints/b/fork/", headers=program)
    assert fork.status_code == 403


async def test_every_failure_says_the_same(client: AsyncClient) -> None:
    await user("shut-out", "viewer", active=False)
    said = set()
    for name, password in (("ana", "x"), ("nobody", PASSWORD), ("shut-out", PASSWORD), ("ANA", PASSWORD)):
        answer = await log_in(client, name, password)
        page = parse(answer.content.decode())
        said.add((answer.status_code, page.one("#problem").words))
        assert COOKIE not in answer.cookies
    assert said == {(422, f"{WRONG} Check both. Capital letters matter.")}


@pytest.mark.parametrize("name", ["ana", "nobody", "shut-out"])
async def test_a_failure_costs_one_hash_whoever_is_named(
    name: str, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await user("shut-out", "viewer", active=False)
    hashed: list[str] = []
    encode = hashers.MD5PasswordHasher.encode
    monkeypatch.setattr(
        hashers.MD5PasswordHasher,
        "encode",
        lambda self, password, salt: hashed.append(password) or encode(self, password, salt),
    )
    await log_in(client, name, "wrong")
    assert hashed == ["wrong"]


async def test_a_session_gets_a_new_id_at_each_login(client: AsyncClient) -> None:
    client.cookies[COOKIE] = "chosen-by-somebody-else-00000000"
    await log_in(client, "ana")
    first = client.cookies[COOKIE].value
    assert first != "chosen-by-somebody-else-00000000"
    await log_in(client, "ana")
    assert client.cookies[COOKIE].value != first
    other = AsyncClient()
    other.cookies[COOKIE] = first
    assert not await is_in(other)


async def test_the_cookie_is_out_of_reach_and_over_tls_of_this_host_only(
    client: AsyncClient, settings: SettingsWrapper
) -> None:
    settings.EXPLORER_INSECURE_HTTP, settings.SESSION_COOKIE_SECURE = False, True
    done = await client.post("/login/", {"name": "ana", "password": PASSWORD}, secure=True)
    cookie = done.cookies[f"__Host-{COOKIE}"]
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"], cookie["path"]) == (
        True,
        "Lax",
        True,
        "/",
    )
    assert cookie["domain"] == cookie["max-age"] == ""
    assert done["Strict-Transport-Security"] == "max-age=3600"


async def test_no_password_goes_over_plain_http_unasked(
    client: AsyncClient, settings: SettingsWrapper
) -> None:
    settings.EXPLORER_INSECURE_HTTP = False
    for answer in (await client.get("/login/"), await log_in(client, "ana")):
        assert answer.status_code == 403
        assert "plain HTTP" in answer.content.decode()
    assert not await is_in(client)


async def test_a_proxy_that_speaks_tls_is_believed_only_if_there_is_one(
    client: AsyncClient, settings: SettingsWrapper
) -> None:
    settings.EXPLORER_INSECURE_HTTP = False
    claimed = {"x-forwarded-proto": "https"}
    assert (await client.get("/login/", headers=claimed)).status_code == 403
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert (await client.get("/login/", headers=claimed)).status_code == 200


async def test_logging_out_ends_the_session_everywhere(client: AsyncClient) -> None:
    await log_in(client, "ana")
    copied = AsyncClient()
    copied.cookies[COOKIE] = client.cookies[COOKIE].value
    assert (await client.get("/logout/")).status_code == 405
    assert (await client.post("/logout/")).status_code == 303
    assert not await is_in(copied)
    assert not await in_database(Session.objects.exists)


@pytest.mark.parametrize("target", ["/login/", "/logout/", "/password/"])
async def test_these_forms_need_their_csrf_token(target: str) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    page = parse((await client.get("/login/")).content.decode())
    token = page.one("input[name=csrfmiddlewaretoken]")["value"]
    done = await client.post("/login/", {"name": "ana", "password": PASSWORD, "csrfmiddlewaretoken": token})
    assert done.status_code == 303
    refused = await client.post(target, {"name": "ana", "password": PASSWORD})
    assert "The form does not come from this page." in refused.content.decode()
    old = await client.post("/logout/", {"csrfmiddlewaretoken": token})
    assert old.status_code == 403  # the token is another one after the login


async def test_a_session_ends_after_half_a_day_without_a_request(client: AsyncClient) -> None:
    await log_in(client, "ana")
    await in_database(later, timedelta(hours=11))
    assert await is_in(client)  # which moves the end on
    await in_database(later, timedelta(hours=11))
    assert await is_in(client)
    await in_database(later, timedelta(hours=13))
    assert not await is_in(client)


def later(span: timedelta) -> None:
    """Let time pass for the sessions."""
    Session.objects.update(expire_date=F("expire_date") - span)


@pytest.mark.parametrize("change", ["shut out", "deleted", "no role", "another password"])
async def test_what_changes_about_a_user_holds_from_the_next_request_on(
    change: str, client: AsyncClient
) -> None:
    await log_in(client, "ana")
    assert await is_in(client)
    await in_database(CHANGES[change])
    assert not await is_in(client)


def _another_password() -> None:
    ana = User.objects.get()
    ana.set_password("another")
    ana.save()


CHANGES: dict[str, Any] = {
    "shut out": lambda: User.objects.update(is_active=False),
    "deleted": lambda: User.objects.all().delete(),
    "no role": lambda: User.objects.get().groups.clear(),
    "another password": _another_password,
}


async def test_who_has_no_role_is_told_so_and_can_log_out(client: AsyncClient) -> None:
    await user("ben")
    await log_in(client, "ben")
    page = await client.get("/help/")
    assert page.status_code == 403
    assert "ben has no role here yet." in page.content.decode()
    await client.post("/logout/")
    assert not await in_database(Session.objects.exists)


class BrowserAt(AsyncClient):
    """A browser at another address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def _base_scope(self, **request: Any) -> dict[str, Any]:
        return {**super()._base_scope(**request), "client": [self.address, 0]}


async def fail(browser: AsyncClient, times: int, name: str = "ana") -> list[int]:
    statuses = []
    for _ in range(times):
        answer = await browser.post("/login/", {"name": name, "password": "wrong"})
        statuses.append(answer.status_code)
    return statuses


@pytest.mark.parametrize("name", ["ana", "nobody"])
async def test_a_guesser_has_to_wait_and_is_told_how_long(name: str, client: AsyncClient) -> None:
    assert await fail(client, throttle.OF_BOTH + 1, name) == [422] * throttle.OF_BOTH + [429]
    answer = await log_in(client, name)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 900
    assert "Wait 15 minutes, then try again." in answer.content.decode()
    await in_database(lambda: LoginAttempts.objects.update(since=timezone.now() - throttle.WINDOW * 1.01))
    assert (await log_in(client, name)).status_code == (303 if name == "ana" else 422)


@pytest.mark.parametrize("name", ["ANA", "Ａna", "aNa"])
async def test_another_spelling_is_the_same_account(name: str, client: AsyncClient) -> None:
    await fail(client, throttle.OF_BOTH)
    assert await fail(client, 1, name) == [429]


async def test_who_guesses_elsewhere_does_not_lock_a_user_out(client: AsyncClient) -> None:
    await fail(BrowserAt("203.0.113.9"), throttle.OF_BOTH + 1)
    assert (await log_in(client, "ana")).status_code == 303


async def test_an_address_cannot_try_all_names() -> None:
    far = BrowserAt("203.0.113.9")
    for number in range(throttle.OF_ADDRESS):
        assert await fail(far, 1, f"user{number}") == [422]
    assert await fail(far, 1, "one-more") == [429]


async def test_an_account_is_locked_when_everybody_guesses() -> None:
    for number in range(throttle.OF_ACCOUNT):
        assert await fail(BrowserAt(f"198.51.100.{number}"), 1) == [422]
    assert await fail(BrowserAt("192.0.2.1"), 1) == [429]


async def test_an_address_is_not_changed_by_what_a_client_claims(
    client: AsyncClient, settings: SettingsWrapper
) -> None:
    for number in range(throttle.OF_BOTH):
        claimed = {"x-forwarded-for": f"192.0.2.{number}"}
        await client.post("/login/", {"name": "ana", "password": "x"}, headers=claimed)
    assert await fail(client, 1) == [429]
    settings.EXPLORER_PROXIES = 1
    claimed = {"x-forwarded-for": "127.0.0.1, 192.0.2.77"}  # the proxy has added the last one
    answer = await client.post("/login/", {"name": "ana", "password": "x"}, headers=claimed)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "192.0.2.1", False),
    ],
)
async def test_a_network_of_ipv6_is_one_address(address: str, other: str, same: bool) -> None:
    await fail(BrowserAt(address), throttle.OF_BOTH)
    assert await fail(BrowserAt(other), 1) == [429 if same else 422]


async def test_the_right_password_forgives_the_wrong_ones(client: AsyncClient) -> None:
    for _ in range(3):
        await fail(client, throttle.OF_BOTH - 1)
        assert (await log_in(client, "ana")).status_code == 303


async def change_password(client: AsyncClient, old: str, new: str, again: str | None = None) -> Any:
    return await client.post("/password/", {"old": old, "new": new, "again": new if again is None else again})


async def test_a_user_changes_the_own_password_and_stays_logged_in(client: AsyncClient) -> None:
    other = AsyncClient()
    for each in (client, other):
        await log_in(each, "ana")
    done = await change_password(client, PASSWORD, "tr0ubador & 3 words")
    assert (done.status_code, done["Location"]) == (303, "/password/?done=1")
    assert await is_in(client)
    assert not await is_in(other)
    assert (await log_in(other, "ana")).status_code == 422
    assert (await log_in(other, "ana", "tr0ubador & 3 words")).status_code == 303


@pytest.mark.parametrize(
    ("old", "new", "again", "said"),
    [
        ("wrong", "tr0ubador & 3 words", None, "This is not your password."),
        (PASSWORD, "short", None, "too short"),
        (PASSWORD, "1234567890123", None, "entirely numeric"),
        (PASSWORD, "tr0ubador & 3 words", "another", "not the same"),
    ],
)
async def test_a_password_that_will_not_do_is_refused(
    old: str, new: str, again: str | None, said: str, client: AsyncClient
) -> None:
    await log_in(client, "ana")
    answer = await change_password(client, old, new, again)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert (await log_in(AsyncClient(), "ana")).status_code == 303


async def test_visitors_read_and_are_offered_the_login(
    client: AsyncClient, settings: SettingsWrapper
) -> None:
    settings.EXPLORER_ANONYMOUS = "viewer"
    page = await load(client, "/s/demo/threads/")
    assert page.one("header.bar a[href=/login/]").words == "Log in"
    assert not page.find("form.log-out")
    assert (await client.get("/audit/")).status_code == 403
    assert (await client.get("/password/")).status_code == 404
    assert (await client.post("/s/demo/threads/a/checkpoints/b/fork/")).status_code == 403


async def test_the_bar_says_who_is_here(client: AsyncClient) -> None:
    await log_in(client, "ana")
    bar = (await load(client, "/help/")).one("header.bar")
    assert bar.one("a.whoami").words == "ana"
    assert bar.one("form.log-out")["action"] == "/logout/"
    assert not bar.find("a.to-audit")


async def test_nobody_logs_in_to_a_local_run(reader: AsyncClient, settings: SettingsWrapper) -> None:
    settings.EXPLORER_USERS = False
    await reader.get("/", {"token": settings.EXPLORER_TOKEN})
    for target in ("/login/", "/password/"):
        assert (await reader.get(target)).status_code == 404
    assert not (await load(reader, "/help/")).find("form.log-out")


async def test_a_database_that_does_not_answer_is_said(
    client: AsyncClient, app_database: Path, settings: SettingsWrapper
) -> None:
    await log_in(client, "ana")
    await in_database(_drop_sessions)
    answer = await client.get("/help/")
    assert answer.status_code == 503
    assert "database cannot be used" in answer.content.decode()


def _drop_sessions() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE django_session")
