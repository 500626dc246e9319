"""Filling the mirror: once, through the real client, and on from where it stopped."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from demo.filling import orders_fill
from demo.guard import DemoRefusedError
from refunds import gateways
from refunds.models import Order
from refunds.salesforce.payloads import order_record
from refunds.services.mirror.records import order_mirror
from sandbox.application import Application
from sandbox.faults import parse_fault
from sandbox.orders import ShopOrder
from sandbox.salesforce.organisation import Organisation
from sandbox.serving import serve
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.demo.conftest import OpenShop

pytestmark = pytest.mark.django_db

#: Twelve orders, the worked sample among them.
SOME = range(1, 13)


def _silent(done: int, total: int) -> None:
    pass


def test_orders_fill_mirrors_each_order_and_reads_its_figures(open_shop: OpenShop) -> None:
    open_shop(SOME)
    steps: list[tuple[int, int]] = []

    filling = orders_fill(progress=lambda done, total: steps.append((done, total)))

    assert (filling.mirrored, filling.read, filling.unread) == (12, 12, 0)
    assert not filling.trouble
    assert steps == [(done, 12) for done in range(13)]
    assert not Order.objects.filter(refreshed_at=None).exists()
    sample = Order.objects.get(order_number=SHOWCASE["worked_sample"])
    assert str(sample.left_amount) == "27.0100"
    assert sample.refundable


def test_orders_fill_leaves_an_order_without_digital_river_id_unread(
    open_shop: OpenShop, shop_orders: list[ShopOrder]
) -> None:
    number = next(order.number for order in shop_orders if order.id is None)
    open_shop(range(number, number + 2))

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read, filling.unread) == (2, 1, 0)
    order = Order.objects.get(digital_river_id="")
    assert order.refreshed_at is None


def test_orders_fill_has_nothing_to_do_a_second_time(open_shop: OpenShop) -> None:
    open_shop(SOME)
    orders_fill(progress=_silent)
    before = list(Order.objects.order_by("pk").values())

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read, filling.unread) == (0, 0, 0)
    assert list(Order.objects.order_by("pk").values()) == before


def test_orders_fill_goes_on_where_digital_river_was_lost(open_shop: OpenShop) -> None:
    sandbox = open_shop(SOME)
    sandbox.queue_fault(parse_fault({"kind": "connection-refused", "times": 1_000}))

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read, filling.unread) == (12, 0, 12)
    assert "Digital River cannot be reached" in filling.trouble
    assert not Order.objects.filter(refundable=True).exists()

    sandbox.clear_faults()
    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read, filling.unread) == (0, 12, 0)


def test_orders_fill_takes_up_a_filling_that_was_cut_short(open_shop: OpenShop) -> None:
    open_shop(SOME)

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        orders_fill(progress=interrupt)

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read) == (0, 7)


@pytest.fixture
def served(open_shop: OpenShop, settings: LazySettings) -> Iterator[Sandbox]:
    """A stand-in on a port of its own, which the settings name."""
    sandbox = open_shop(SOME)
    server = serve(Application(sandbox), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings.DIGITALRIVER_TRANSPORT = ""
    settings.DIGITALRIVER_API_URL = f"http://127.0.0.1:{server.server_port}"
    yield sandbox
    server.shutdown()
    thread.join()
    server.server_close()
    gateways.digital_river().close()


def test_orders_fill_reads_figures_over_http(served: Sandbox) -> None:
    for record in served.salesforce_records():
        order_mirror(record=order_record(record))

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read, filling.unread) == (0, 12, 0)


def test_orders_fill_mirrors_the_whole_shop_although_the_server_is_down(
    settings: LazySettings, tmp_path: Path
) -> None:
    settings.SANDBOX_STATE = tmp_path / "shop.sqlite3"
    gateways.salesforce.cache_clear()
    settings.DIGITALRIVER_TRANSPORT = ""
    # Nothing listens at the discard port.
    settings.DIGITALRIVER_API_URL = "http://127.0.0.1:9"
    gateways.digital_river.cache_clear()

    filling = orders_fill(progress=_silent)

    gateways.digital_river().close()
    gateways.digital_river.cache_clear()
    gateways.salesforce.cache_clear()
    assert filling.mirrored >= 300
    assert not filling.sync_trouble
    assert filling.read == 0
    assert "Digital River cannot be reached" in filling.trouble
    assert set(SHOWCASE.values()) <= set(Order.objects.values_list("order_number", flat=True))


def test_orders_fill_says_why_salesforce_told_of_no_orders(
    open_shop: OpenShop, settings: LazySettings
) -> None:
    open_shop(SOME)
    settings.SALESFORCE_TRANSPORT = settings.SALESFORCE_URL = settings.SALESFORCE_DOMAIN = ""

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read) == (0, 0)
    assert "SALESFORCE_DOMAIN" in filling.sync_trouble


def test_orders_fill_takes_over_what_changed_in_salesforce_since(open_shop: OpenShop) -> None:
    sandbox = open_shop(SOME)
    orders_fill(progress=_silent)
    organisation = Organisation(sandbox)
    identifier = organisation.order_id(SHOWCASE["worked_sample"])
    organisation.change("Order", identifier, {"Status": "Closed"})

    filling = orders_fill(progress=_silent)

    assert (filling.mirrored, filling.read, filling.sync_trouble) == (0, 0, "")
    order = Order.objects.get(order_number=SHOWCASE["worked_sample"])
    assert order.salesforce_status == "Closed"
    assert order.refundable


def test_orders_fill_refuses_where_the_demo_may_not_run(settings: LazySettings) -> None:
    settings.SANDBOX_REFUSAL = "Not here."

    with pytest.raises(DemoRefusedError, match="Not here"):
        orders_fill(progress=_silent)

    assert not Order.objects.exists()
