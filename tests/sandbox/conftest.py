"""A sandbox of its own for each test, with a clock that the test moves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sandbox.orders import ShopOrder
from sandbox.store import Sandbox
from sandbox.transport import in_process_for

ANCHOR = date(2024, 4, 1)
HEADERS = {"Authorization": "Bearer sk_test_shop", "DigitalRiver-Version": "2021-12-13"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Start on the morning after the shop's quarter."""
        self.now = datetime(2024, 4, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **step: float) -> None:
        self.now += timedelta(**step)


MakeSandbox = Callable[..., Sandbox]
Connect = Callable[[Sandbox], httpx.Client]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_sandbox(tmp_path: Path, clock: Clock) -> Iterator[MakeSandbox]:
    made: list[Sandbox] = []

    def make(orders: Iterable[ShopOrder] | None = ()) -> Sandbox:
        sandbox = Sandbox(
            tmp_path / f"sandbox-{len(made)}.sqlite3",
            clock=clock,
            settle_after=timedelta(minutes=5),
            expire_after=timedelta(days=30),
            orders=orders,
            shop_anchor=ANCHOR,
        )
        made.append(sandbox)
        return sandbox

    yield make
    for sandbox in made:
        sandbox.close()


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The filled shop, made once; each test works on a copy of its own."""
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite3"
    Sandbox(path, clock=Clock(), shop_anchor=ANCHOR).close()
    return path


@pytest.fixture
def shop(shop_file: Path, tmp_path: Path, clock: Clock) -> Iterator[Sandbox]:
    path = tmp_path / "shop.sqlite3"
    shutil.copy(shop_file, path)
    sandbox = Sandbox(path, clock=clock, settle_after=timedelta(minutes=5), shop_anchor=ANCHOR)
    yield sandbox
    sandbox.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    clients: list[httpx.Client] = []

    def client(sandbox: Sandbox) -> httpx.Client:
        transport = in_process_for(sandbox, sleep=lambda seconds: None)
        clients.append(
            httpx.Client(transport=transport, base_url="http://sandbox.test", headers=HEADERS)
        )
        return clients[-1]

    yield client
    for open_client in clients:
        open_client.close()


@pytest.fixture
def client(shop: Sandbox, connect: Connect) -> httpx.Client:
    return connect(shop)
