"""Records that were set aside for another's sake come in once that one is mended."""

from collections.abc import Callable

import pytest

from refunds.models import Order, OrderLine, SetAside, SyncRun
from refunds.salesforce.client import SalesforceClient
from refunds.services.mirror.syncing import sync
from sandbox.salesforce.organisation import Organisation
from sandbox.shop import SHOWCASE
from tests.desk import SetClock

pytestmark = pytest.mark.django_db

Sync = Callable[..., SyncRun]


@pytest.fixture
def run_sync(salesforce: SalesforceClient, clock: SetClock) -> Sync:
    def start(**options: object) -> SyncRun:
        run = sync(started_by="test", client=salesforce, clock=clock, **options)  # type: ignore[arg-type]
        assert run.state == SyncRun.State.FINISHED, run.outcome
        return run

    return start


def lines_of(organisation: Organisation, order_id: str) -> list[str]:
    found = (organisation.find("OrderItem", "OrderId", order_id),)
    return sorted(line["Id"] for lines in found for line in lines)


def test_the_good_lines_of_an_order_come_in_beside_a_bad_one(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    order_id = organisation.order_id(SHOWCASE["all_options"])
    bad, *good = lines_of(organisation, order_id)
    organisation.change("OrderItem", bad, {"Quantity": "-1.0"})
    organisation.change("Order", order_id, {"CurrencyIsoCode": "ZZZ"})
    run_sync()
    clock.forward(hours=1)
    organisation.change("Order", order_id, {"CurrencyIsoCode": "GBP"})

    run_sync()

    order = Order.objects.get(salesforce_id=order_id)
    assert set(order.lines.values_list("salesforce_id", flat=True)) == set(good)
    left = SetAside.objects.get()
    assert (left.salesforce_id, left.field) == (bad, "Quantity")
    assert left.order_salesforce_id == order_id


def test_a_line_that_is_gone_is_not_asked_for_for_ever(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    order_id = organisation.order_id(SHOWCASE["all_options"])
    run_sync()
    SetAside.objects.create(
        object_name="OrderItem",
        salesforce_id="802000000000001AAA",
        order_salesforce_id=order_id,
        field="OrderId",
        reason="Its order was not there.",
        first_seen_at=clock(),
        last_seen_at=clock(),
    )
    clock.forward(hours=1)

    run_sync()

    assert not SetAside.objects.exists()


def test_a_line_made_anew_comes_in_once_the_one_before_it_is_gone(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    order_id = organisation.order_id(SHOWCASE["all_options"])
    run_sync()
    before = OrderLine.objects.filter(order__salesforce_id=order_id).order_by("position")[0]
    clock.forward(hours=1)
    told = organisation.record("OrderItem", before.salesforce_id)
    organisation.delete("OrderItem", before.salesforce_id)
    made = organisation.create(
        "OrderItem",
        {name: text for name, text in told.items() if name not in ("Id", "SystemModstamp")},
    )
    # The sync that reads both begins long after, so that the next one's overlap has neither.
    clock.forward(hours=1)
    run_sync()
    assert SetAside.objects.get().salesforce_id == made
    clock.forward(hours=2)

    run_sync()

    assert not SetAside.objects.exists()
    before.refresh_from_db()
    assert before.salesforce_id == made
