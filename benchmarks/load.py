"""Sends requests over kept connections and times each answer: a client that costs little itself.

One thread serves all connections, each of which sends its next request once it has the answer to
the last one. The time of a request is from its first byte out to the last byte of its answer.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack, closing

#: Seconds without any answer after which the server counts as stuck.
_PATIENCE = 30.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class LoadError(Exception):
    """The server answered something else than was meant to be measured, or not at all."""


def send(port: int, requests: Iterable[bytes], *, clients: int, status: int) -> list[float]:
    """Send the requests over so many connections; returns the seconds that each took.

    Raises ``LoadError`` unless every answer has this status.
    """
    rest, taken = deque(requests), list[float]()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(min(clients, len(rest))):
            connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
            stack.enter_context(closing(connection))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, _Exchange(connection))
        for key in selector.get_map().values():
            key.data.begin(rest.popleft())
        under_way = len(selector.get_map())
        while under_way:
            ready = selector.select(_PATIENCE)
            if not ready:
                raise LoadError(f"The server gave no answer for {_PATIENCE:.0f} seconds.")
            for key, _ in ready:
                exchange: _Exchange = key.data
                if not exchange.is_over(status):
                    continue
                taken.append(exchange.seconds)
                if rest:
                    exchange.begin(rest.popleft())
                else:
                    under_way -= 1
    return taken


class _Exchange:
    """One connection and the request that is under way on it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answer = b""
        self._started = 0.0
        self.seconds = 0.0

    def begin(self, request: bytes) -> None:
        """Send a request."""
        self._answer = b""
        self._started = time.perf_counter()
        self._connection.sendall(request)

    def is_over(self, status: int) -> bool:
        """Read what has come of the answer; returns whether that is all of it."""
        come = self._connection.recv(65536)
        if not come:
            raise LoadError("The server closed a connection that was to be kept.")
        self._answer += come
        head, end, body = self._answer.partition(_HEAD_END)
        if not end:
            return False
        lines = head.lower().split(b"\r\n")
        length = next(int(line[len(_LENGTH) :]) for line in lines if line.startswith(_LENGTH))
        if len(body) < length:
            return False
        self.seconds = time.perf_counter() - self._started
        if lines[0].split()[1] != str(status).encode():
            raise LoadError(f"The server answered {head.decode()}\n\n{body.decode()}")
        return True
