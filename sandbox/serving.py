"""The stand-ins on a port of their own, for clients in other processes.

https://werkzeug.palletsprojects.com/en/stable/serving/
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sandbox.application import Application
from sandbox.salesforce.application import PATHS, SalesforceApplication
from sandbox.salesforce.organisation import Organisation

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.02


class StandIns:
    """Both stand-ins as one WSGI application: Salesforce's paths, and else Digital River's."""

    def __init__(self, digital_river: Application) -> None:
        """Take Digital River's; Salesforce's is over the same state file."""
        self._digital_river = digital_river
        self._salesforce = SalesforceApplication(Organisation(digital_river.sandbox))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        is_salesforce = str(environ.get("PATH_INFO", "")).startswith(PATHS)
        application = self._salesforce if is_salesforce else self._digital_river
        return application(environ, start_response)


class QuietHandler(WSGIRequestHandler):
    """Hangs up where the application was told to lose the answer, and logs no request.

    An application that goes by a clock of its own says what the date is.
    """

    _has_date = True

    def connection_dropped(
        self, error: BaseException, environ: WSGIEnvironment | None = None
    ) -> None:
        """Close the connection without an answer."""
        self.close_connection = True

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer; the date is added at its end where the application gave none."""
        self.send_response_only(code, message)
        self.send_header("Server", self.version_string())
        self._has_date = False

    def send_header(self, keyword: str, value: str) -> None:
        """Add a header."""
        self._has_date = self._has_date or keyword.lower() == "date"
        super().send_header(keyword, value)

    def end_headers(self) -> None:
        """End the headers."""
        if not self._has_date:
            self.send_header("Date", self.date_time_string())
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: a query string may hold a customer's mail address."""


def serve(application: WSGIApplication, host: str, port: int) -> BaseWSGIServer:
    """Return a threaded server that listens; the caller runs serve_forever().

    Port 0 takes a free one, to be read from `server_port`. Raises OSError when the port is taken.
    """
    return make_server(host, port, application, threaded=True, request_handler=QuietHandler)


@contextmanager
def served(application: WSGIApplication) -> Iterator[str]:
    """Serve an application on a free port of the loopback; gives its address, for tests."""
    server = serve(application, LOOPBACK, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": POLL_SECONDS})
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
