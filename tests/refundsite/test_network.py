"""The tests' own rule: nothing reaches another machine."""

import socket

import pytest

from tests.network import NetworkClosedError


def test_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as probe, pytest.raises(NetworkClosedError, match=r"192\.0\.2\.1"):
        probe.connect(("192.0.2.1", 80))


def test_lookup_of_another_machine_is_refused() -> None:
    with pytest.raises(NetworkClosedError, match=r"api\.digitalriver\.com"):
        socket.getaddrinfo("api.digitalriver.com", 443)


def test_loopback_is_open() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as connection,
    ):
        assert connection.getpeername() == server.getsockname()
