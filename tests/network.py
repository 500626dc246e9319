"""Keeps the tests on this machine: no socket reaches further than the loopback."""

import ipaddress
import sys
from typing import Any

LOOPBACK_NAMES = frozenset({"localhost", "testserver", ""})


class NetworkClosedError(RuntimeError):
    """A test tried to reach another machine.

    No OSError, so that code which handles a failing network does not take it for one.
    """


def close_network() -> None:
    """Refuse, for the rest of this process, to connect to or look up other machines.

    An audit hook sees every socket of Python's, whoever opened it; it cannot be taken away.
    See https://docs.python.org/3/library/audit_events.html
    """
    sys.addaudithook(_refuse_other_machines)


def _refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        # The address of a Unix socket is a text: a file on this machine.
        host = address[0] if isinstance(address, tuple) else ""
    elif event == "socket.getaddrinfo":
        host = arguments[0] or ""
    else:
        return
    if not is_loopback(host.decode() if isinstance(host, bytes) else str(host)):
        raise NetworkClosedError(f"a test reached for {host}: the tests stay on this machine")


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or number means this machine."""
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
