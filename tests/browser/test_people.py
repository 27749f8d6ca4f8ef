"""Logging in and out in a browser: by keyboard, on a phone, without JavaScript; and what is offered then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from browser.test_look import WIDTHS, beyond_the_edge, violations
from browser.visitor import PHONE, WIDE, Visitor, origin
from explorer import addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Served
    from playwright.sync_api import Browser, Page

PASSWORD = "tr0ubador & 3 words"
ROOT = Path(__file__).parents[2]
ROLES = ("viewer", "support", "admin")
TIMELINE = addresses.timeline("demo", "refund-1043")
everywhere = pytest.mark.parametrize("width", [WIDE, PHONE])


@pytest.fixture(scope="module")
def with_users(
    serve: Callable[..., Served], demo_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Served:
    """An explorer with a user of each role, called like it; support does not see messages."""
    url = f"sqlite:///{tmp_path_factory.mktemp('people')}/app.sqlite3"
    command = ("env", f"DATABASE_URL={url}", sys.executable, "-m", "explorer")
    for role in ROLES:
        made = [*command, "createuser", role, "--role", role, "--password-stdin"]
        subprocess.run(made, cwd=ROOT, input=PASSWORD, text=True, check=True, capture_output=True)
    return serve(demo_store, "--users", "--mask", "support:messages", command=command)


@pytest.fixture
def person(browser: Browser, with_users: Served) -> Iterator[Visitor]:
    """Open pages there, at first as nobody."""
    visitor = Visitor(browser, origin(with_users), None)
    yield visitor
    visitor.leave()
    refused = [text for text in visitor.complaints if "status of 4" not in text]
    assert refused == []


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()


@everywhere
@pytest.mark.parametrize("javascript", [True, False])
def test_one_logs_in_comes_back_and_logs_out(person: Visitor, width: int, javascript: bool):
    page = person.open(TIMELINE, width=width, javascript=javascript)
    log_in(page, "viewer")
    expect(page.get_by_role("heading", name="refund-1043")).to_be_visible()
    expect(page.get_by_role("link", name="viewer")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto(TIMELINE)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_keyboard_is_enough(person: Visitor):
    page = person.open("/login/")
    page.keyboard.type("viewer")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    page.get_by_role("link", name="viewer").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_wrong_password_is_said_and_typed_again_at_once(person: Visitor):
    page = person.open("/login/")
    log_in(page, "viewer", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("There is no user with this name and password.")
    expect(page.get_by_label("Name")).to_have_value("viewer")
    expect(page.get_by_label("Password")).to_be_focused()
    assert violations(page) == []


def test_a_page_that_is_open_when_the_session_ends_leads_to_the_login(person: Visitor):
    page = person.open(TIMELINE)
    log_in(page, "viewer")
    page.locator("a.step").first.wait_for()
    page.context.clear_cookies()
    page.locator("a.step").nth(1).click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    log_in(page, "viewer")
    expect(page.get_by_role("heading", name="refund-1043")).to_be_visible()


@everywhere
@pytest.mark.parametrize("target", ["/login/", "/password/", "/audit/", "/help/", TIMELINE])
def test_everybody_can_read_these_pages(person: Visitor, target: str, width: int):
    page = person.open("/login/", width=width)
    log_in(page, "admin")
    page.get_by_role("button", name="Log out").wait_for()
    page.goto(target)
    assert violations(page) == []
    assert [beyond_the_edge(page, each) for each in WIDTHS] == [[], [], []]


@pytest.mark.parametrize(
    ("name", "offered"), [("viewer", ["c"]), ("support", ["c"]), ("admin", ["r", "f", "e", "c"])]
)
def test_a_checkpoint_offers_what_one_may_do(person: Visitor, name: str, offered: list[str]):
    page = person.open(TIMELINE)
    log_in(page, name)
    page.locator("#inspector [data-checkpoint]").wait_for()
    keys: Any = page.locator(".actions a").evaluate_all("links => links.map((link) => link.dataset.key)")
    assert keys == offered
    assert bool(page.locator(".edit-link").count()) == (name == "admin")
    masked = "(masked" in page.locator("#state").inner_text()
    assert masked == (name == "support")


def test_a_refusal_says_which_role_it_takes(person: Visitor):
    page = person.open("/audit/")
    log_in(page, "viewer")
    expect(page.get_by_role("heading")).to_have_text("This takes the role admin; yours is viewer.")
    assert violations(page) == []


def test_the_audit_is_exported(person: Visitor):
    page = person.open("/audit/")
    log_in(page, "admin")
    with page.expect_download() as begun:
        page.get_by_role("button", name="Export as CSV").click()
    text = Path(begun.value.path()).read_text()
    assert text.startswith("id,action_id,at,person,roles,action,")
    assert begun.value.suggested_filename.endswith(".csv")
    page.reload()
    expect(page.locator("table.audit tbody tr").first).to_contain_text("export")
