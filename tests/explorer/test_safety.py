"""Who is admitted, from where, and what every answer forbids the browser to do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from asgiref.sync import SyncToAsync
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path

from checkpoints.errors import StoreBusy, StoreDamaged, ThreadNotFound
from explorer import urls
from explorer.people.roles import READ
from explorer.people.routes import allowed

if TYPE_CHECKING:
    from conftest import Served
    from django.http import HttpRequest
    from pytest_django.fixtures import SettingsWrapper

TOKEN = "token-of-the-tests"
SCRIPT = "django_htmx/htmx-2.min.js"


async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("stored content")


async def missing(request: HttpRequest) -> HttpResponse:
    raise ThreadNotFound("There is no such thread.")


async def busy(request: HttpRequest) -> HttpResponse:
    raise StoreBusy("The store is busy.")


async def damaged(request: HttpRequest) -> HttpResponse:
    raise StoreDamaged("The store is damaged.")


async def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("stored content")


urlpatterns = [
    path("", allowed(page, GET=READ, POST=READ)),
    path("missing/", allowed(missing, GET=READ)),
    path("busy/", allowed(busy, GET=READ)),
    path("damaged/", allowed(damaged, GET=READ)),
    path("crash/", allowed(crash, GET=READ)),
    *urls.urlpatterns,
]
handler403, handler404, handler500 = urls.handler403, urls.handler404, urls.handler500


@pytest.fixture(autouse=True)
def _own_pages(settings: SettingsWrapper) -> None:
    settings.ROOT_URLCONF = __name__


async def test_a_visitor_without_the_token_is_told_where_to_find_it(visitor: AsyncClient) -> None:
    response = await visitor.get("/")
    assert response.status_code == 403
    assert "address that the command printed" in response.content.decode()
    assert "stored content" not in response.content.decode()


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "é"])
async def test_a_wrong_token_admits_nobody(visitor: AsyncClient, token: str) -> None:
    assert (await visitor.get("/", {"token": token})).status_code == 403


@pytest.mark.parametrize("configured", [None, ""])
async def test_without_a_configured_token_nobody_is_admitted(
    visitor: AsyncClient, settings: SettingsWrapper, configured: str | None
) -> None:
    settings.EXPLORER_TOKEN = configured
    assert (await visitor.get("/", {"token": configured or ""})).status_code == 403


async def test_the_token_becomes_a_cookie_and_a_clean_address(visitor: AsyncClient) -> None:
    response = await visitor.get("/missing/", {"token": TOKEN, "ns": "a/b", "q": "é"})
    (cookie,) = response.cookies.values()
    assert response.headers["Location"] == "/missing/?ns=a%2Fb&q=%C3%A9"
    assert (cookie["httponly"], cookie["samesite"], cookie["expires"]) == (True, "Lax", "")
    assert TOKEN not in cookie.value


@pytest.mark.parametrize(
    ("host", "name"), [("localhost:9000", "explorer_9000"), ("[::1]:9001", "explorer_9001")]
)
def test_the_cookie_is_named_after_the_port_that_the_browser_sees(
    served: Served, host: str, name: str
) -> None:
    answer = served.get(f"/?{urlsplit(served.url).query}", host=host)
    assert str(answer.headers["Set-Cookie"]).startswith(f"{name}=")


def test_the_token_redirects_to_this_site_only(served: Served) -> None:
    answer = served.get(f"//evil.example/?{urlsplit(served.url).query}")
    assert (answer.status, answer.headers["Location"]) == (302, "/%2Fevil.example/")


async def test_the_cookie_admits(reader: AsyncClient) -> None:
    response = await reader.get("/")
    assert (response.status_code, response.content) == (200, b"stored content")


async def test_the_token_admits_a_second_browser(reader: AsyncClient) -> None:
    assert (await AsyncClient().get("/", {"token": TOKEN})).status_code == 302


@pytest.mark.parametrize("changed", ["EXPLORER_TOKEN", "SECRET_KEY"])
async def test_the_cookie_of_another_run_is_refused(
    reader: AsyncClient, settings: SettingsWrapper, changed: str
) -> None:
    setattr(settings, changed, "of another run")
    assert (await reader.get("/")).status_code == 403


async def test_a_visitor_cannot_tell_which_pages_exist(visitor: AsyncClient) -> None:
    responses = [await visitor.get(address) for address in ("/", "/no/such/page/", "/missing/")]
    assert len({(response.status_code, response.content) for response in responses}) == 1


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.localhost", "a b", ""])
def test_a_foreign_host_is_refused_on_every_route(served: Served, host: str) -> None:
    admitted = served.admitted()
    for target in ("/", f"/?{urlsplit(served.url).query}", staticfiles_storage.url(SCRIPT)):
        answer = served.get(target, host=host, **admitted)
        assert (answer.status, answer.body) == (400, b"This host is not served here.\n")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_loopback_names_are_served(served: Served, host: str) -> None:
    assert served.get("/help/", host=f"{host}:{served.port}", **served.admitted()).status == 200


async def test_a_form_needs_its_csrf_token(settings: SettingsWrapper, visitor: AsyncClient) -> None:
    browser = AsyncClient(enforce_csrf_checks=True)
    await browser.get("/", {"token": TOKEN})
    response = await browser.post("/")
    assert response.status_code == 403
    assert "form does not come from this page" in response.content.decode()


async def test_every_answer_is_private_and_closed(reader: AsyncClient) -> None:
    reader.raise_request_exception = False
    for address in ("/", "/nowhere/", "/missing/", "/crash/"):
        headers = (await reader.get(address)).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


async def test_the_policy_allows_this_site_and_nothing_unsafe(reader: AsyncClient) -> None:
    policy = (await reader.get("/")).headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("img-src") == "'self' data:"
    assert {rules.pop(name) for name in ("default-src", "base-uri", "frame-ancestors")} == {"'none'"}
    assert set(rules) == {"script-src", "style-src", "font-src", "connect-src", "form-action"}
    assert set(rules.values()) == {"'self'"}


async def test_static_files_are_hashed_compressed_and_kept(visitor: AsyncClient) -> None:
    address = staticfiles_storage.url(SCRIPT)
    response = await visitor.get(address, headers={"accept-encoding": "gzip"})
    assert response.status_code == 200
    assert response.headers["Content-Encoding"] == "gzip"
    assert "immutable" in response.headers["Cache-Control"]
    assert int(response.headers["Content-Length"]) == len(response.content)
    again = await visitor.get(address, headers={"if-none-match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_static_files_come_uncompressed_to_those_who_ask(visitor: AsyncClient) -> None:
    response = await visitor.get(staticfiles_storage.url(SCRIPT))
    assert "Content-Encoding" not in response.headers
    assert b"htmx" in response.content


@pytest.mark.parametrize(("address", "status"), [("/missing/", 404), ("/busy/", 503), ("/damaged/", 422)])
async def test_an_error_of_a_store_is_a_page_with_its_sentence(
    reader: AsyncClient, address: str, status: int
) -> None:
    response = await reader.get(address)
    text = response.content.decode()
    assert response.status_code == status
    assert text.startswith("<!doctype html>")
    assert "There is no such thread." in text or "The store is" in text


async def test_htmx_gets_an_error_as_a_fragment(reader: AsyncClient) -> None:
    fragment = await reader.get("/missing/", headers={"hx-request": "true"})
    boosted = await reader.get("/missing/", headers={"hx-request": "true", "hx-boosted": "true"})
    assert "<html" not in fragment.content.decode()
    assert "There is no such thread." in fragment.content.decode()
    assert "<html" in boosted.content.decode()


async def test_a_crash_shows_nothing_of_itself(reader: AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    reader.raise_request_exception = False
    response = await reader.get("/crash/")
    assert response.status_code == 500
    assert "The explorer failed" in response.content.decode()
    assert "stored content" not in response.content.decode()
    assert "Traceback" not in response.content.decode()


async def test_an_unknown_address_says_where_to_start(reader: AsyncClient) -> None:
    response = await reader.get("/nowhere/")
    assert response.status_code == 404
    assert "Start from the list of stores." in response.content.decode()


async def test_no_middleware_leaves_the_event_loop(
    reader: AsyncClient, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    hops, hop = [], SyncToAsync.__call__

    async def counted(self: SyncToAsync, *given: object) -> object:
        hops.append(self.func)
        return await hop(self, *given)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    await reader.get("/")
    with_middleware = len(hops)
    settings.MIDDLEWARE = []
    assert (await AsyncClient().get("/")).status_code == 200
    assert with_middleware == len(hops) - with_middleware


def test_no_middleware_is_adapted(settings: SettingsWrapper, caplog: pytest.LogCaptureFixture) -> None:
    settings.DEBUG = True  # only then Django logs what it adapts
    with caplog.at_level(logging.DEBUG, "django.request"):
        ASGIHandler()
    assert "adapted" not in caplog.text
