"""Asks for pages as a server does: through the WSGI application with all its middleware.

What is timed (see ``clocks``) begins with the request's environment and ends when the answer is
closed, which is when Django gives its database connection back. No network and no browser have a
part in it.
"""

import io
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest import mock
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import User
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import Client

from benchmarks.clocks import Clock, WallClock
from benchmarks.pages import Screen
from refunds.gateways import digital_river

#: Django takes any 32 letters and digits in both places.
_CSRF_TOKEN = "b" * 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long it took."""

    status: int
    body: bytes
    seconds: float
    wall_seconds: float


@dataclass
class Statements:
    """The SQL of one page."""

    texts: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        """Note a statement and let it go on its way; Django calls this."""
        self.texts.append((sql, parameters))
        return execute(sql, parameters, many, context)


class Visitor:
    """A person who is signed in at one place."""

    def __init__(self, user: User) -> None:
        """Sign the person in, at the place at hand."""
        self.clock: Clock = WallClock()
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        self._cookies = (
            f"{settings.SESSION_COOKIE_NAME}={session}; {settings.CSRF_COOKIE_NAME}={_CSRF_TOKEN}"
        )
        self._application = get_wsgi_application()

    def visit(self, screen: Screen) -> Answer:
        """Ask for a page."""
        environ = self._environ(screen)
        status = ""

        def start_response(line: str, headers: Any, error: Any = None) -> Any:
            nonlocal status
            status = line

        on_the_wall, started = time.perf_counter(), self.clock()
        response = self._application(environ, start_response)
        try:
            body = b"".join(response)
        finally:
            response.close()
        seconds = self.clock() - started
        return Answer(
            int(status.partition(" ")[0]), body, seconds, time.perf_counter() - on_the_wall
        )

    def checked(self, screen: Screen) -> Answer:
        """Ask for a page and make sure that it is the one meant."""
        answer = self.visit(screen)
        if answer.status != screen.status or screen.shows.encode() not in answer.body:
            raise RuntimeError(
                f"{screen.name} ({screen.address}) answered {answer.status} and does not show "
                f"what it should: {screen.shows!r}"
            )
        return answer

    def statements(self, screen: Screen) -> list[tuple[str, Any]]:
        """Return the SQL statements of a page with their parameters."""
        statements = Statements()
        with connection.execute_wrapper(statements):
            self.checked(screen)
        return statements.texts

    def _environ(self, screen: Screen) -> dict[str, Any]:
        host = settings.ALLOWED_HOSTS[0]
        path, _, query = screen.address.partition("?")
        body = urlencode(screen.posts).encode() if screen.posts is not None else b""
        environ = {
            "REQUEST_METHOD": "GET" if screen.posts is None else "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/x-www-form-urlencoded" if body else "",
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": host,
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": host,
            "HTTP_ORIGIN": f"https://{host}",
            "HTTP_ACCEPT": "text/html",
            "HTTP_USER_AGENT": "Mozilla/5.0",
            "HTTP_COOKIE": self._cookies,
            "HTTP_X_CSRFTOKEN": _CSRF_TOKEN,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in screen.headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ


def make_calls(order_id: str, clock: Clock) -> float:
    """Make the two calls that a step begins with and return how many seconds they took."""
    client = digital_river()
    started = clock()
    client.list_refunds(order_id=order_id)
    client.get_order(order_id)
    return clock() - started


@contextmanager
def _recorded(order_id: str) -> Iterator[None]:
    """Answer the two calls by what they answered before, at once."""
    client = digital_river()
    refunds, order = client.list_refunds(order_id=order_id), client.get_order(order_id)
    with (
        mock.patch.object(client, "list_refunds", return_value=refunds),
        mock.patch.object(client, "get_order", return_value=order),
    ):
        yield


def calls_answered(order_id: str | None) -> AbstractContextManager[None]:
    """Leave the calls out where an order is named; else let them go to the stand-in."""
    return _recorded(order_id) if order_id else nullcontext()
