"""The stand-in on a port of its own, for clients in other processes.

https://werkzeug.palletsprojects.com/en/stable/serving/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from sandbox.application import Application

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class QuietHandler(WSGIRequestHandler):
    """Hangs up where the application was told to lose the answer, and logs no request."""

    def connection_dropped(
        self, error: BaseException, environ: WSGIEnvironment | None = None
    ) -> None:
        """Close the connection without an answer."""
        self.close_connection = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: a query string may hold a customer's mail address."""


def serve(application: Application, host: str, port: int) -> BaseWSGIServer:
    """Return a threaded server that listens; the caller runs serve_forever().

    Port 0 takes a free one, to be read from `server_port`. Raises OSError when the port is taken.
    """
    return make_server(host, port, application, threaded=True, request_handler=QuietHandler)
