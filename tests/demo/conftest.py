"""Small shops of today for the demo to fill the desk with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.utils import timezone

from refunds import gateways
from sandbox.orders import ShopOrder
from sandbox.shop import build_shop
from sandbox.store import Sandbox

#: Opens a stand-in with the orders of these numbers; the desk of this process speaks to it.
OpenShop = Callable[[range], Sandbox]


@pytest.fixture(scope="session")
def shop_orders() -> list[ShopOrder]:
    return build_shop(timezone.now().date())


@pytest.fixture
def open_shop(
    shop_orders: list[ShopOrder], tmp_path: Path, settings: LazySettings
) -> Iterator[OpenShop]:
    opened: list[Sandbox] = []

    def open_it(numbers: range) -> Sandbox:
        orders = [order for order in shop_orders if order.number in numbers]
        opened.append(Sandbox(tmp_path / "shop.sqlite3", orders=orders))
        settings.SANDBOX_STATE = opened[-1].path
        gateways.digital_river.cache_clear()
        gateways.salesforce.cache_clear()
        return opened[-1]

    yield open_it
    for sandbox in opened:
        sandbox.close()
    gateways.digital_river.cache_clear()
    gateways.salesforce.cache_clear()
