"""The message brokers that tests use where they answer, and a way to take one away for a while."""

import os
import socket
import threading
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

from kombu import Connection

#: The brokers' addresses by the marker of the tests that need them.
BROKERS = {
    "redis": os.environ.get("TEST_REDIS", "redis://127.0.0.1:6379/9"),
    "rabbitmq": os.environ.get("TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//"),
}
_PORTS = {"redis": 6379, "amqp": 5672}


def host_and_port(address: str) -> tuple[str, int]:
    """Return where a broker listens."""
    parts = urlsplit(address)
    return parts.hostname or "127.0.0.1", parts.port or _PORTS[parts.scheme]


def is_there(name: str) -> bool:
    """Tell whether a broker takes connections."""
    with suppress(OSError), socket.create_connection(host_and_port(BROKERS[name]), timeout=2):
        return True
    return False


def forget(name: str, queue: str) -> None:
    """Leave nothing of a queue at the broker."""
    with Connection(BROKERS[name]) as direct:
        channel: Any = direct.default_channel
        channel.queue_delete(queue)
        channel.exchange_delete(queue)
        # In Redis the bindings are keys of their own, which stay behind.
        if name == "redis" and (keys := channel.client.keys(f"*{queue}*")):
            channel.client.delete(*keys)


class Relay:
    """A port of this test's own through which a broker is reached, or is not.

    ``cut`` closes the port and all that goes through it; ``hush`` leaves it open and hands
    nothing on, as a host that went away without a word; ``mend`` lets everything through again.
    """

    def __init__(self, name: str) -> None:
        """Take the broker's marker."""
        self.name = name
        self._broker = host_and_port(BROKERS[name])
        self._silent = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        parts = urlsplit(BROKERS[name])
        login = parts.netloc.rpartition("@")[0]
        where = f"{login}@127.0.0.1" if login else "127.0.0.1"
        self.address = parts._replace(netloc=f"{where}:{self.port}").geturl()

    def __enter__(self) -> "Relay":
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def mend(self) -> None:
        """Let connections through."""
        self._silent.clear()
        if self._listener is None:
            listener = socket.create_server(("127.0.0.1", self.port))
            self._listener = listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def hush(self) -> None:
        """Take what is sent, and connections too, and hand nothing on."""
        self._silent.set()

    def cut(self) -> None:
        """Close the port and every connection through it."""
        if self._listener is not None:
            # Closing alone would not wake the thread that waits for a connection.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._broker)
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._hand_on, args=(source, target), daemon=True).start()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if not self._silent.is_set():
                    target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
