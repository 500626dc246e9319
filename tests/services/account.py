"""What must hold between the desk and its stand-in whatever happened before."""

import sqlite3
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import simplejson

from refunds.ledger import Component, Part
from refunds.models import Order, Refund
from refunds.money import smallest
from refunds.options import Selection
from refunds.selectors import lines_of, order_position
from refunds.services.refunds import refund_retry
from sandbox.faults import Fault, FaultKind
from sandbox.store import Cursor
from sandbox.wire import loads
from tests.desk import Desk, rep

ZERO = Decimal(0)
LIVE = frozenset({"pending", "pending_information", "succeeded"})


def spoil(desk: Desk, kind: FaultKind, **more: Any) -> None:
    """Let the next refund that is posted go wrong."""
    desk.sandbox.queue_fault(Fault(kind, method="POST", path="/refunds", **more))


def taken_late(desk: Desk, order: Order, selection: Selection) -> tuple[Refund, Refund]:
    """Return a refund that failed at its second attempt, and the one that its first one became.

    The first was under way for so long that it counted as not sent.
    """
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), selection)
    for seconds in (1, 61):
        desk.clock.forward(seconds=seconds)
        desk.refresh(order)
    refund.refresh_from_db()
    refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    return first_taken_late(desk, refund)


def first_taken_late(desk: Desk, refund: Refund) -> tuple[Refund, Refund]:
    """Let a refund's second attempt fail and its first one turn up; returns what both became."""
    refund.refresh_from_db()
    desk.sandbox.fail_refund(refund.digital_river_id, "account_closed")
    first = refund.attempts.get(number=1)
    body = simplejson.loads(first.request, use_decimal=True)
    desk.client.create_refund(body, upstream_id=first.reference)
    desk.clock.forward(seconds=1)
    desk.refresh(refund.order)
    refund.refresh_from_db()
    assert refund.state == Refund.State.FAILED
    return refund, refund.order.refunds.get(origin=Refund.Origin.ELSEWHERE)


def edit_sandbox(desk: Desk, sql: str, *parameters: object) -> None:
    """Change what the stand-in keeps, as no processor should."""
    with desk.sandbox._writing() as connection:
        assert connection.execute(sql, parameters).rowcount == 1


def unplug(desk: Desk, *, times: int = 1) -> None:
    """Let the next reads find nobody."""
    desk.sandbox.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, method="GET", times=times))


def at_digital_river(desk: Desk, order: Order) -> list[dict[str, Any]]:
    """Return the refunds the stand-in has of the order, oldest first."""
    filters = [("refunds.order_id = ?", (order.digital_river_id,))]
    return desk.sandbox.refunds(filters, Cursor(limit=100)).data[::-1]


def taken(refund: dict[str, Any]) -> Decimal:
    """Return what one of the stand-in's refunds keeps from the order."""
    if refund["state"] == "succeeded":
        return Decimal(refund["refundedAmount"])
    if refund["state"] not in LIVE:
        return ZERO
    if "amount" in refund:
        return Decimal(refund["amount"])
    return sum((Decimal(item["amount"]) for item in refund["items"]), ZERO)


def parts_at_digital_river(desk: Desk, order: Order) -> Counter[Part]:
    """Return what the stand-in booked for each part, from its own file."""
    parts: Counter[Part] = Counter()
    connection = sqlite3.connect(desk.sandbox.path)
    rows = connection.execute(
        "SELECT parts FROM refunds WHERE order_id = ?"
        " AND state IN ('pending', 'pending_information', 'succeeded')",
        (order.digital_river_id,),
    ).fetchall()
    connection.close()
    for (text,) in rows:
        for item, kind, minor in loads(text):
            component = Component.FEES if kind == "fee" else Component(kind)
            parts[Part(component, item)] += minor
    return +parts


def parts_of_the_desk(order: Order) -> Counter[Part]:
    """Return what the desk booked for each part, in minor units."""
    unit = smallest(order.currency)
    keys = {line.pk: line.key for line in lines_of(order)}
    parts: Counter[Part] = Counter()
    for refund in order.refunds.prefetch_related("lines"):
        if refund.held_amount:
            for part, amount in refund.parts(keys).items():
                parts[part] += int(amount / unit)
    return +parts


def check_account(desk: Desk, order: Order) -> None:
    """Assert that nothing was sent twice, nothing lost, and nothing larger than what was left."""
    order = Order.objects.get(pk=order.pk)
    theirs = at_digital_river(desk, order)
    assert sum(map(taken, theirs)) <= order.captured_amount
    references = Counter(
        reference
        for each in theirs
        if (reference := each.get("metadata", {}).get("refundReference"))
    )
    assert not references or max(references.values()) == 1
    live = Counter(
        each["metadata"]["refundReference"].rpartition("-")[0]
        for each in theirs
        if each["state"] in LIVE and each.get("metadata", {}).get("refundReference")
    )
    assert not live or max(live.values()) == 1

    keys = {line.pk: line.key for line in lines_of(order)}
    held = ZERO
    for refund in Refund.objects.filter(order=order).prefetch_related("lines", "attempts"):
        held += refund.held_amount
        if refund.held_amount:
            assert sum(refund.parts(keys).values()) == refund.held_amount, refund
        for attempt in refund.attempts.all():
            assert references[attempt.reference] <= 1
        moves = [entry for entry in refund.history.all() if entry.from_state != entry.to_state]
        assert all(one.to_state == other.from_state for one, other in pairwise(moves))
        if moves:
            assert moves[-1].to_state == refund.state
    assert held <= order.captured_amount
    position = order_position(order)
    assert position.ledger.left == order.left_amount
    assert order.left_amount <= order.captured_amount - held
    assert order.refundable == (not position.closed_because)


def check_settled(desk: Desk, order: Order) -> None:
    """Assert that the desk and the stand-in tell the same of the order, to the last unit."""
    check_account(desk, order)
    order = desk.refresh(order)
    theirs = {each["id"]: each for each in at_digital_river(desk, order)}
    ours = {
        refund.digital_river_id: refund for refund in order.refunds.all() if refund.digital_river_id
    }
    for refund in ours.values():
        assert refund.state == theirs[refund.digital_river_id]["state"]
    for identifier, each in theirs.items():
        if each["state"] in LIVE:
            assert ours[identifier].held_amount == taken(each)
    assert order.left_amount == max(
        ZERO, Decimal(desk.sandbox.order(order.digital_river_id)["availableToRefundAmount"])
    )
    assert not order.refunds.filter(state__in=["queued", "submitting", "unknown"]).exists()
