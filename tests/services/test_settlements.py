"""Refunds made elsewhere: adopted once, each in the right parts, and never offered again."""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from refunds.digitalriver import payloads
from refunds.ledger import FEES, Component, Part
from refunds.models import Order, Refund
from refunds.models.history import SWEEP
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import lines_of, order_position
from refunds.services.refunds import refund_queue
from refunds.services.settlements import next_look, refund_take
from tests.desk import Desk, rep
from tests.services.account import (
    check_account,
    check_settled,
    parts_at_digital_river,
    parts_of_the_desk,
)
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db

State = Refund.State
Body = Callable[[list[str]], dict[str, Any]]


def elsewhere(desk: Desk, order: Order, **body: Any) -> str:
    """Make a refund as somebody does in the Dashboard; returns Digital River's id."""
    made = desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": order.currency, **body},
        upstream_id="dashboard",
    )
    return made.refund.id


#: The kinds of refund, on the order that has something of everything.
KINDS: dict[str, tuple[Option, Body]] = {
    "a small part of the order": (
        Option.COMPLETE_ORDER,
        lambda items: {"amount": Decimal("100.01")},
    ),
    "a large part of the order": (
        Option.COMPLETE_ORDER,
        lambda items: {"amount": Decimal("2500.00")},
    ),
    "a percentage of the order": (Option.COMPLETE_ORDER, lambda items: {"percent": 30}),
    "all of the order": (Option.COMPLETE_ORDER, lambda items: {"percent": 100}),
    "a part of the shipping": (
        Option.SHIPPING,
        lambda items: {"type": "shipping", "amount": Decimal("7.77")},
    ),
    "a percentage of the shipping": (
        Option.SHIPPING,
        lambda items: {"type": "shipping", "percent": 50},
    ),
    "a part of the duty": (
        Option.IMPORTER_DUTY,
        lambda items: {"type": "duty", "amount": Decimal("7.77")},
    ),
    "the importer tax": (
        Option.IMPORTER_TAX,
        lambda items: {"type": "importer_tax", "percent": 100},
    ),
    "the tax": (Option.TAX, lambda items: {"type": "tax", "percent": 100}),
    "units of a line": (
        Option.LINE_ITEMS,
        lambda items: {"items": [{"itemId": items[0], "quantity": 2, "amount": Decimal("500.00")}]},
    ),
    "a percentage of two lines": (
        Option.LINE_ITEMS,
        lambda items: {
            "items": [
                {"itemId": items[0], "quantity": 1, "percent": 100},
                {"itemId": items[2], "quantity": 1, "percent": 50},
            ]
        },
    ),
    "the fees of a line": (
        Option.FEES,
        lambda items: {"items": [{"itemId": items[0], "type": "fees", "percent": 100}]},
    ),
    "the shipping of a line": (
        Option.SHIPPING,
        lambda items: {"items": [{"itemId": items[0], "type": "shipping", "percent": 100}]},
    ),
    "the duty of a line": (
        Option.IMPORTER_DUTY,
        lambda items: {"items": [{"itemId": items[0], "type": "duty", "percent": 100}]},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["pending", "succeeded"])
def test_refund_made_elsewhere_is_adopted_once_in_its_parts(
    desk: Desk, kind: str, state: str
) -> None:
    order = desk.order("all_options")
    option, body = KINDS[kind]
    items = [line.digital_river_id for line in order.lines.order_by("position")]
    identifier = elsewhere(desk, order, **body(items))
    desk.clock.forward(minutes=10 if state == "succeeded" else 1)

    order = desk.refresh(order)
    desk.clock.forward(seconds=1)
    order = desk.refresh(order)

    refund = order.refunds.get()
    assert refund.digital_river_id == identifier
    assert refund.origin == Refund.Origin.ELSEWHERE
    assert refund.created_by is None
    assert refund.option == option
    assert refund.state == state
    assert refund.flag == ""
    assert (refund.next_check_at is None) == (state == "succeeded")
    assert parts_of_the_desk(order) == parts_at_digital_river(desk, order)
    assert refund.history.get().summary.startswith("Found at Digital River")
    check_settled(desk, order)


def test_refund_made_elsewhere_keeps_the_fees_that_it_left(desk: Desk) -> None:
    """Most of the order was given back in part, which leaves the fees out; they can still go."""
    order = desk.order("all_options")
    fees = order_position(order).ledger.left_of(FEES)
    elsewhere(desk, order, amount=Decimal("2900.00"))
    desk.clock.forward(minutes=10)

    order = desk.refresh(order)

    assert order_position(order).ledger.left_of(FEES) == fees
    [line] = order_position(order).fee_lines()
    refund = desk.submit(order, rep(), Selection(Option.FEES, lines=(LineSelection(line),)))
    assert refund.state == State.PENDING
    assert refund.flag == ""


def test_units_refunded_elsewhere_are_not_offered_again(desk: Desk) -> None:
    order = desk.order("external_succeeded")

    refund = order.refunds.get()
    assert refund.option == Option.LINE_ITEMS
    line = order.lines.order_by("position").first()
    assert line is not None
    left = order_position(order).ledger.line(line.key)
    assert left is not None
    assert left.units == line.quantity - 2


@pytest.mark.parametrize(
    ("case", "state"),
    [
        ("external_pending", "pending"),
        ("external_failed", "failed"),
        ("external_expired", "expired"),
        ("waiting_for_bank_details", "pending_information"),
        ("fully_refunded", "succeeded"),
        ("shipping_refunded", "succeeded"),
        ("partial_whole_order", "succeeded"),
    ],
)
def test_refund_made_before_the_desk_opened_is_adopted(desk: Desk, case: str, state: str) -> None:
    order = desk.order(case)

    refund = order.refunds.get()
    assert refund.state == state
    assert (refund.settled_at is None) == (state in {"pending", "pending_information"})
    assert (refund.information_expires_at is not None) == (state == "pending_information")
    assert parts_of_the_desk(order) == parts_at_digital_river(desk, order)
    check_settled(desk, order)


def test_several_refunds_made_elsewhere_and_here_add_up(desk: Desk) -> None:
    order = desk.order("all_options")
    items = [line.digital_river_id for line in order.lines.order_by("position")]
    elsewhere(desk, order, type="shipping", percent=50)
    desk.refresh(order)
    desk.submit(order, rep(), Selection(Option.TAX))
    elsewhere(desk, order, items=[{"itemId": items[1], "quantity": 1, "percent": 100}])
    desk.refresh(order)
    desk.submit(order, rep(), Selection(Option.SHIPPING))
    elsewhere(desk, order, type="duty", amount=Decimal("3.33"))
    order = desk.refresh(order)
    check_account(desk, order)
    assert parts_of_the_desk(order) == parts_at_digital_river(desk, order)

    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER))

    assert refund.state == State.PENDING
    assert refund.flag == ""
    desk.clock.forward(minutes=10)
    order = desk.refresh(order)
    assert order.left_amount == 0
    assert parts_of_the_desk(order) == parts_at_digital_river(desk, order)
    check_settled(desk, order)


def test_refund_made_elsewhere_is_split_without_what_digital_river_was_not_told_of(
    desk: Desk,
) -> None:
    order = desk.order("all_options")
    line = order.lines.order_by("position")[0]
    selection = Selection(
        Option.LINE_ITEMS, lines=(LineSelection(line.digital_river_id, quantity=1),)
    )
    draft = desk.draft(order, rep(), selection)
    seen = desk.seen(draft, selection)
    refund_queue(draft=draft, user=rep(), seen=seen, clock=desk.clock)

    identifier = elsewhere(desk, order, percent=100)
    order = desk.refresh(order)

    refund = Refund.objects.get(digital_river_id=identifier)
    charged = {
        each.pk: each.product_amount + each.tax_amount + each.fees_amount + each.fee_tax_amount
        for each in order.lines.all()
    }
    given = {
        each.order_line_id: each.product_part + each.tax_part + each.fees_part + each.fee_tax_part
        for each in refund.lines.all()
    }
    assert given == charged


def test_refund_made_elsewhere_that_gave_less_is_booked_for_what_it_gave(desk: Desk) -> None:
    order = desk.order("worked_sample")
    identifier = elsewhere(desk, order, amount=Decimal("10.00"))
    order = desk.refresh(order)
    desk.sandbox.succeed_refund(identifier, Decimal("9.00"))
    desk.clock.forward(seconds=1)

    order = desk.refresh(order)

    refund = order.refunds.get()
    assert refund.held_amount == Decimal("9.00")
    assert "USD 9.00 of USD 10.00" in refund.flag
    check_settled(desk, order)


def test_refund_of_lines_that_gave_another_sum_is_booked_by_what_each_line_was_given(
    desk: Desk,
) -> None:
    refund, order = _of_two_lines(desk)
    first, second = (line.key for line in lines_of(order)[:2])
    told = _told(refund, {first: "1.00", second: "5.00"})

    _take(desk, refund, order, told)

    given = Counter[str]()
    for part, minor in parts_of_the_desk(order).items():
        given[part.line] += minor
    assert given == {first: 100, second: 500}
    assert "GBP 6.00 of GBP 30.00" in refund.flag


def test_refund_of_a_line_that_the_order_has_not_is_booked_on_the_whole_order(desk: Desk) -> None:
    refund, order = _of_two_lines(desk)
    first, second = (line.key for line in lines_of(order)[:2])
    told = _told(refund, {first: "0.00", "itm_of_another_order": "4.00", second: "2.00"})

    _take(desk, refund, order, told)

    parts = parts_of_the_desk(order)
    assert parts[Part(Component.WHOLE)] == 400
    assert {part.line for part in parts} == {"", second}
    assert refund.held_amount == Decimal("6.00")


def test_refund_of_a_line_of_an_order_that_adds_up_to_nothing_known_stays_on_the_whole_order(
    desk: Desk,
) -> None:
    order = desk.order("inconsistent")
    item = lines_of(order)[0].digital_river_id
    identifier = elsewhere(
        desk, order, items=[{"itemId": item, "quantity": 1, "amount": Decimal("5.00")}]
    )
    order = desk.refresh(order)
    desk.sandbox.succeed_refund(identifier, Decimal("4.00"))
    desk.clock.forward(seconds=1)

    order = desk.refresh(order)

    assert parts_of_the_desk(order) == {Part(Component.WHOLE): 400}
    check_settled(desk, order)


def _of_two_lines(desk: Desk) -> tuple[Refund, Order]:
    order = desk.order("all_options")
    lines = tuple(
        LineSelection(line.key, quantity=1, amount=amount)
        for line, amount in zip(lines_of(order), (Decimal("20.00"), Decimal("10.00")), strict=False)
    )
    return desk.submit(order, rep(), Selection(Option.LINE_ITEMS, lines=lines)), order


def _told(refund: Refund, given: Mapping[str, str]) -> payloads.Refund:
    """Return what Digital River would tell had it given this much of each line."""
    items = [
        {"itemId": line, "quantity": 1, "amount": 15, "refundedAmount": amount}
        for line, amount in given.items()
    ]
    answer = {
        "id": refund.digital_river_id,
        "orderId": refund.order.digital_river_id,
        "currency": refund.currency,
        "state": "succeeded",
        "items": items,
        "refundedAmount": str(sum(map(Decimal, given.values()))),
        "liveMode": False,
    }
    return payloads.refund_from(answer)


def _take(desk: Desk, refund: Refund, order: Order, told: payloads.Refund) -> None:
    refund_take(refund=refund, told=told, lines=lines_of(order), at=desk.clock(), actor=SWEEP)


def test_next_look_is_soon_at_first_and_at_least_hourly(desk: Desk) -> None:
    refund = desk.submit(
        desk.order("worked_sample"), rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00"))
    )
    begun = desk.clock()
    waits = []
    for minutes in (0, 10, 40, 60 * 24):
        desk.clock.now = begun
        at = desk.clock.forward(minutes=minutes)
        waits.append((next_look(refund, at) - at).total_seconds() / 60)

    assert waits == [1, 5, 20, 60]


# -- what Digital River should never tell ----------------------------------------------------------


def in_dollars(told: dict[str, Any]) -> None:
    told.update(currency="USD", amount=Decimal("100.50"))


@pytest.mark.parametrize("where", ["retell_created", "retell_listed"])
def test_refund_told_in_another_currency_with_more_decimals_is_flagged(
    desk: Desk, wire: Wire, where: str
) -> None:
    order = desk.order("jpy")
    setattr(wire, where, in_dollars)
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal(100)))
    desk.clock.forward(seconds=1)
    desk.refresh(order)
    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING
    assert "shows this refund in USD" in refund.flag


def test_refund_made_elsewhere_in_another_currency_is_adopted(desk: Desk, wire: Wire) -> None:
    order = desk.order("jpy")
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "JPY", "amount": Decimal(100)},
        upstream_id="elsewhere",
    )
    wire.retell_listed = in_dollars
    desk.refresh(order)
    adopted = order.refunds.get()
    assert (adopted.state, adopted.currency) == (Refund.State.PENDING, "JPY")
    assert adopted.flag == "Digital River shows this refund in USD."
    # The order can be shown and refunded as before.
    position = order_position(order)
    assert position.quote(Selection(Option.COMPLETE_ORDER)).total > 0


def test_success_that_tells_no_amount_gave_what_was_asked_for(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("10.00")))
    desk.sandbox.settle_now()
    desk.clock.forward(seconds=1)
    wire.retell_listed = lambda told: told.pop("refundedAmount")
    desk.refresh(order)
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert (refund.refunded_amount, refund.flag) == (Decimal("10.00"), "")
