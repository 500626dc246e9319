"""The places that are measured in turns: a database with so many orders, and its stand-in."""

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from django.db import connections

from sandbox.store import Sandbox
from sandbox.transport import in_process_for


@dataclass(frozen=True, slots=True)
class Place:
    """One database, and the stand-in that knows its orders."""

    orders: int
    sandbox: Sandbox
    transport: httpx.BaseTransport

    @property
    def alias(self) -> str:
        """What the settings call the database."""
        return str(self.orders)


def place(directory: Path, orders: int) -> Place:
    """Return the place with so many orders; its refunds settle only when they are told to."""
    shop, path = directory / "shop.sqlite3", directory / f"sandbox_{orders}.sqlite3"
    if not shop.exists():
        # Made once and copied, as making it takes a while.
        with closing(Sandbox(shop)):
            pass
    shutil.copy(shop, path)
    sandbox = Sandbox(path, settle_after=timedelta(days=1))
    return Place(orders, sandbox, in_process_for(sandbox))


_here: list[Place] = []


@contextmanager
def at(where: Place) -> Iterator[None]:
    """Have the desk work with this place's database and stand-in."""
    _here.append(where)
    connections["default"] = connections[where.alias]
    try:
        yield
    finally:
        _here.pop()


class TransportHere(httpx.BaseTransport):
    """Hands each call to the stand-in of the place at hand."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a call."""
        return _here[-1].transport.handle_request(request)


def transport() -> httpx.BaseTransport:
    """Return the transport that the settings name."""
    return TransportHere()
