"""The money of orders that nobody has opened, read in bulk."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from refunds.models import Order
from refunds.salesforce.payloads import order_record
from refunds.services.mirror import money
from refunds.services.mirror.money import money_read
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from sandbox.faults import parse_fault
from sandbox.shop import SHOWCASE
from tests.desk import Desk
from tests.services.wire import Wire


def mirror(desk: Desk, case: str) -> Order:
    """Mirror an order without reading its money."""
    return order_mirror(record=order_record(desk.sandbox.salesforce_record(SHOWCASE[case])))


def mirror_some(desk: Desk) -> list[Order]:
    """Mirror six orders that Salesforce calls refundable, the newest first."""
    cases = ["worked_sample", "all_options", "many_lines", "jpy", "kwd", "fees"]
    orders = [mirror(desk, case) for case in cases]
    return sorted(orders, key=lambda order: (order.ordered_at, order.pk), reverse=True)


def unread(orders: list[Order]) -> list[Order]:
    return [each for each in orders if Order.objects.get(pk=each.pk).refreshed_at is None]


def test_money_read_reads_the_newest_that_were_never_read(desk: Desk) -> None:
    orders = mirror_some(desk)
    told: list[int] = []

    done = money_read(most=2, clock=desk.clock, client=desk.client, on_order=told.append)

    assert (done.read, done.refused, done.stopped) == (2, 0, "")
    assert unread(orders) == orders[2:]
    assert told == [1, 2]
    read = Order.objects.get(pk=orders[0].pk)
    assert read.left_amount > 0
    assert read.refreshed_at == desk.clock()


def test_money_read_goes_on_where_it_was_and_reads_nothing_twice(desk: Desk, wire: Wire) -> None:
    orders = mirror_some(desk)
    money_read(most=2, clock=desk.clock, client=desk.client)
    done = money_read(most=100, clock=desk.clock, client=desk.client)
    assert done.read == len(orders) - 2
    assert unread(orders) == []
    calls = len(wire.requests)
    assert money_read(most=100, clock=desk.clock, client=desk.client).read == 0
    assert len(wire.requests) == calls == 2 * len(orders)


@pytest.mark.parametrize("case", ["no_digital_river_id", "accepted_uncaptured", "cancelled"])
def test_money_read_leaves_out_what_cannot_be_refunded(desk: Desk, wire: Wire, case: str) -> None:
    mirror(desk, case)
    assert money_read(most=100, clock=desk.clock, client=desk.client).read == 0
    assert wire.requests == []


def test_money_read_goes_past_an_order_that_digital_river_does_not_know(desk: Desk) -> None:
    orders = mirror_some(desk)
    Order.objects.filter(pk=orders[0].pk).update(digital_river_id="220000019999")

    done = money_read(most=100, clock=desk.clock, client=desk.client)

    assert (done.read, done.refused, done.stopped) == (len(orders) - 1, 1, "")
    assert unread(orders) == [orders[0]]


def test_money_read_stops_while_digital_river_is_away(desk: Desk, wire: Wire) -> None:
    orders = mirror_some(desk)
    desk.sandbox.queue_fault(parse_fault({"kind": "error", "status": 503, "times": 3}))

    done = money_read(most=100, clock=desk.clock, client=desk.client)

    assert done.read == 0
    assert "Digital River" in done.stopped
    assert len(wire.requests) == 3
    assert money_read(most=100, clock=desk.clock, client=desk.client).read == len(orders)


def test_money_read_says_that_the_last_order_found_digital_river_away(desk: Desk) -> None:
    mirror_some(desk)
    desk.sandbox.queue_fault(parse_fault({"kind": "error", "status": 503}))
    done = money_read(most=1, clock=desk.clock, client=desk.client)
    assert done.read == 0
    assert "Digital River" in done.stopped


def test_money_read_goes_on_after_a_moment_without_digital_river(desk: Desk) -> None:
    orders = mirror_some(desk)
    desk.sandbox.queue_fault(parse_fault({"kind": "error", "status": 503, "times": 2}))
    done = money_read(most=100, clock=desk.clock, client=desk.client)
    assert (done.read, done.stopped) == (len(orders) - 2, "")


def test_money_read_goes_past_an_order_that_the_desk_fails_at(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = mirror_some(desk)

    def fails_at_the_newest(*, order: Order, **how: Any) -> object:
        if order == orders[0]:
            raise ZeroDivisionError
        return order_refresh(order=order, **how)

    monkeypatch.setattr(money, "order_refresh", fails_at_the_newest)
    done = money_read(most=100, clock=desk.clock, client=desk.client)
    assert (done.read, done.failed, done.stopped) == (len(orders) - 1, 1, "")
    assert unread(orders) == [orders[0]]


def test_money_read_ends_where_the_database_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror_some(desk)

    def away(**how: Any) -> None:
        raise OperationalError("the database was restarted")

    monkeypatch.setattr(money, "order_refresh", away)
    with pytest.raises(OperationalError):
        money_read(most=100, clock=desk.clock, client=desk.client)


def test_money_read_leaves_out_what_was_opened_meanwhile(desk: Desk, wire: Wire) -> None:
    orders = mirror_some(desk)

    def somebody_opens_the_next() -> None:
        Order.objects.filter(pk=orders[1].pk).update(refreshed_at=desk.clock())

    wire.after_read = somebody_opens_the_next
    done = money_read(most=100, clock=desk.clock, client=desk.client)
    assert done.read == len(orders) - 1
    assert not [each for each in wire.requests if orders[1].digital_river_id in str(each.url)]


def test_money_read_finds_them_by_their_index(desk: Desk) -> None:
    mirror_some(desk)
    with CaptureQueriesContext(connection) as queries:
        money_read(most=1, clock=desk.clock, client=desk.client)
    first = queries.captured_queries[0]["sql"]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of so few rows it would rather read them all.
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
        cursor.execute(f"{explain} {first}")
        plan = str(cursor.fetchall())
    assert "order_never_read" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_money_read_takes_the_newest_first_whatever_came_first(desk: Desk) -> None:
    orders = mirror_some(desk)
    oldest = orders[-1]
    Order.objects.filter(pk=oldest.pk).update(ordered_at=orders[0].ordered_at + timedelta(days=1))
    money_read(most=1, clock=desk.clock, client=desk.client)
    assert unread(orders) == orders[:-1]
