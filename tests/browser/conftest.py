"""Fixtures for the tests that drive Chromium.

Every page is watched: a message on its console, a script that broke, a breach of the content
security policy or a request to another machine fails the test, whatever it was looking at.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request
from pytest_django.live_server_helper import LiveServer

from tests.browser.screens import Screens
from tests.desk import Desk, SetClock, rep
from tests.network import is_loopback

# Playwright runs an event loop in the tests' thread; Django takes that for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE_SCRIPT = Path(settings.BASE_DIR) / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 375, "height": 812}
#: How long a test waits for something to appear, in milliseconds; nothing here takes seconds.
PATIENCE = 10_000

SignIn = Callable[[User], None]


class Axe(Protocol):
    """Lets axe-core look at a page; what it finds fails the test."""

    def __call__(self, page: Page, *, without: Sequence[str] = ()) -> None:
        """Look at the page, without these rules of axe-core's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, so that `-m "not browser"` leaves it out."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Start the Chromium that is installed; without one the tests fail, never skip."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if chromium is None:
        pytest.fail(
            "The browser tests need Chromium: sudo apt-get update && "
            "sudo apt-get install -y chromium"
        )
    return {**browser_type_launch_args, "executable_path": chromium, "args": CHROMIUM_FLAGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """Look at the desk as on an office screen, in the language of the tests."""
    return {
        **browser_context_args,
        "viewport": {"width": 1280, "height": 900},
        "locale": "en-US",
        "timezone_id": "UTC",
    }


class Watch:
    """Collects what a page does that no page may do."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.complaints: list[str] = []
        self.expected_statuses: set[int] = set()

    def expect_status(self, status: HTTPStatus) -> None:
        """Let the console mention an answer with this status: the test asks for it."""
        self.expected_statuses.add(status)

    def on_console(self, message: ConsoleMessage) -> None:
        """Keep errors and warnings; a breach of the security policy is reported as one."""
        if message.type not in {"error", "warning"}:
            return
        if any(f"the server responded with a status of {n}" in message.text for n in self._known):
            return
        self.complaints.append(f"console {message.type}: {message.text}")

    def on_page_error(self, error: Exception) -> None:
        """Keep the errors that no script caught."""
        self.complaints.append(f"script error: {error}")

    def on_request(self, request: Request) -> None:
        """Keep requests that leave this machine."""
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and not is_loopback(parts.hostname or ""):
            self.complaints.append(f"request to another machine: {parts.hostname}")

    @property
    def _known(self) -> list[int]:
        return [int(status) for status in self.expected_statuses]


@pytest.fixture
def watch(context: BrowserContext) -> Iterator[Watch]:
    """Watch every page of the test; what it complains of fails the test at its end."""
    watch = Watch()
    context.on("console", watch.on_console)
    context.on("weberror", lambda error: watch.on_page_error(error.error))
    context.on("request", watch.on_request)
    yield watch
    assert watch.complaints == []


@pytest.fixture(autouse=True)
def _every_page_is_watched(watch: Watch) -> None:
    """Watch even where a test does not ask for it."""


@pytest.fixture(autouse=True)
def _rows_of_migrations_are_there(django_db_serialized_rollback: None) -> None:
    """Give every test the groups and reasons that migrations make, also after another's flush.

    All tests that flush must ask for it: one that does not leaves rows that it would meet.
    """


@pytest.fixture
def sign_in(context: BrowserContext, live_server: LiveServer) -> SignIn:
    """Return a function that signs somebody in, without the detour by the sign-in page."""

    def sign_in_user(user: User) -> None:
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        context.add_cookies(
            [
                {
                    "name": settings.SESSION_COOKIE_NAME,
                    "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
                    "url": live_server.url,
                }
            ]
        )

    return sign_in_user


@pytest.fixture(scope="session")
def axe() -> Axe:
    """Return a function that lets axe-core look at a page; what it finds fails the test.

    See https://github.com/dequelabs/axe-core/blob/develop/doc/API.md
    """
    script = AXE_SCRIPT.read_text()

    def look(page: Page, *, without: Sequence[str] = ()) -> None:
        # By evaluation, not by a script element: the security policy forbids those.
        page.evaluate(script)
        rules = {rule: {"enabled": False} for rule in without}
        result = page.evaluate("rules => axe.run({ rules })", rules)
        found = [
            {
                "rule": violation["id"],
                "help": violation["help"],
                "nodes": [
                    {"html": node["html"], "why": node["failureSummary"]}
                    for node in violation["nodes"]
                ],
            }
            for violation in result["violations"]
        ]
        assert found == [], json.dumps(found, indent=2)

    return look


@pytest.fixture
def phone(page: Page) -> Page:
    """Return the page at the width of a phone."""
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    return page


#: Holds back the looks at Digital River that a refund's page takes by itself, so that the test
#: alone says when to look. The page's own script is not touched.
HOLD_BACK_LOOKS = """
document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.id === "refund-body") event.preventDefault();
});
"""


@pytest.fixture
def clock() -> SetClock:
    """Return a clock that shows the present: the live server's pages go by the real time."""
    return SetClock(datetime.now(UTC))


@pytest.fixture
def desk(live_server: LiveServer, desk: Desk) -> Desk:
    """Return the desk beside its stand-in, with nothing kept from the test before."""
    # The currencies on offer are kept for a while, longer than from one test to the next.
    cache.clear()
    return desk


@pytest.fixture
def screens(
    context: BrowserContext, page: Page, live_server: LiveServer, desk: Desk, sign_in: SignIn
) -> Screens:
    """Return a rep's screens; a refund's page looks at Digital River only when told to."""
    context.add_init_script(HOLD_BACK_LOOKS)
    context.set_default_timeout(PATIENCE)
    sign_in(rep())
    return Screens(page, live_server.url, desk.sandbox)
