"""The client that the webhook is measured with, before a server of the test's own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.load import LoadError, send

REQUEST = b"POST / HTTP/1.1\r\nHost: desk.example\r\nContent-Length: 2\r\n\r\n{}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        is_last = self.server.requests == self.server.closes_after
        self.send_response(self.server.status)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"Stor")
        self.wfile.flush()
        self.wfile.write(b"ed.")
        self.close_connection = is_last

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(status: int = 202, closes_after: int = 0) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.connections = server.requests = 0
    server.status, server.closes_after = status, closes_after
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_send_every_request_over_kept_connections() -> None:
    with serving() as server:
        seconds = send(server.server_port, [REQUEST] * 25, clients=4, status=202)
    assert len(seconds) == server.requests == 25
    assert server.connections == 4
    assert all(each > 0 for each in seconds)


def test_send_fewer_requests_than_clients() -> None:
    with serving() as server:
        assert len(send(server.server_port, [REQUEST], clients=4, status=202)) == 1
    assert server.connections == 1


def test_send_another_status_is_not_measured() -> None:
    with serving(status=401) as server, pytest.raises(LoadError, match="401"):
        send(server.server_port, [REQUEST] * 2, clients=1, status=202)


def test_send_a_connection_that_is_not_kept_is_not_measured() -> None:
    with serving(closes_after=1) as server, pytest.raises(LoadError, match="closed"):
        send(server.server_port, [REQUEST] * 2, clients=1, status=202)
