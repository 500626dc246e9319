"""Events: stored once, processed as often as need be; late, repeated, reordered and stale ones."""

import itertools
import json
import logging
import random
import sqlite3
import threading
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import simplejson
from django.db import IntegrityError, connections

from refunds import queue
from refunds.digitalriver.payloads import read_event
from refunds.errors import OrderUnreadable
from refunds.models import WEBHOOK, CreditMemo, Event, HistoryEntry, Order, Refund, Watermark
from refunds.options import Option, Selection
from refunds.selectors import order_position
from refunds.services import events
from refunds.services.events import (
    CATCH_UP_EVERY,
    CHARGEBACK,
    CREDIT_MEMO,
    FIRST_CATCH_UP,
    LEASE,
    MOST_TRIES,
    MOST_TRIES_WITHOUT_ORDER,
    OVERLAP,
    event_process,
    event_process_again,
    event_store,
    events_catch_up,
    events_process,
)
from refunds.services.orders import order_refresh
from sandbox.faults import Fault, FaultKind
from sandbox.store import Cursor
from tests.desk import Desk, rep
from tests.services.account import check_account, check_settled, unplug
from tests.services.wire import KilledError, Wire

#: The types that Digital River's documents name, of those the desk acts on.
KNOWN_TYPES = (
    "refund.created",
    "refund.pending",
    "refund.pending_information",
    "refund.complete",
    "refund.succeeded",
    "refund.failed",
    "refund.expired",
    "refund.updated",
    "order.refunded",
    "order.charge.refund.created",
    "order.charge.refund.pending",
    "order.charge.refund.complete",
    "order.charge.refund.completed",
    "order.charge.refund.failed",
    "order.dispute",
    "order.dispute.resolved",
    "order.chargeback",
    "order.credit_memo.created",
)

pytestmark = pytest.mark.django_db

State = Event.State
_numbers = itertools.count(1)


def part(amount: str) -> Selection:
    """Return a part of the whole order."""
    return Selection(Option.COMPLETE_ORDER, Decimal(amount))


WHOLE = Selection(Option.COMPLETE_ORDER)


def told_by(desk: Desk, order: Order, *types: str) -> list[dict[str, Any]]:
    """Return the stand-in's events about an order, of these types or all, oldest first."""
    found = desk.sandbox.events(cursor=Cursor(limit=1_000)).data[::-1]
    named = order.digital_river_id
    return [
        each
        for each in found
        if named in {each["data"]["object"].get(name) for name in ("id", "orderId")}
        and (not types or each["type"] in types)
    ]


def store(desk: Desk, event: dict[str, Any]) -> Event:
    """Store an event as the webhook does; returns the row."""
    body = simplejson.dumps(event, use_decimal=True)
    kept, is_new = event_store(
        told=read_event(body.encode()), body=body, source=Event.Source.WEBHOOK, clock=desk.clock
    )
    assert is_new
    assert kept is not None
    return kept


def made_up(kind: str, subject: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an event that the stand-in did not send."""
    return {"id": f"evt-{next(_numbers)}", "type": kind, "data": {"object": subject}, **more}


def process(desk: Desk, event: Event) -> Event:
    return event_process(event_id=event.pk, clock=desk.clock, client=desk.client)


def take(desk: Desk, event: dict[str, Any]) -> Event:
    """Store an event and process it."""
    return process(desk, store(desk, event))


def sweep(desk: Desk) -> dict[str, int]:
    return dict(events_process(clock=desk.clock, client=desk.client))


def settled(desk: Desk, refund: Refund) -> Refund:
    """Let Digital River settle the refund; returns it as the desk has it, which was not told."""
    desk.clock.forward(minutes=1)
    desk.sandbox.settle_now(refund.digital_river_id)
    desk.clock.forward(seconds=1)
    refund.refresh_from_db()
    return refund


def reads(wire: Wire) -> int:
    return sum(request.url.path.startswith("/orders/") for request in wire.requests)


# -- storing ---------------------------------------------------------------------------------------


def test_event_store_keeps_a_repeat_once(desk: Desk) -> None:
    order = desk.order("worked_sample")
    event = made_up("refund.complete", {"id": "re_1", "orderId": order.digital_river_id})
    kept = store(desk, event)
    desk.clock.forward(minutes=1)

    body = json.dumps({**event, "type": "refund.failed"})
    again = event_store(
        told=read_event(body.encode()), body=body, source=Event.Source.WEBHOOK, clock=desk.clock
    )

    assert again == (None, False)
    assert Event.objects.get().type == "refund.complete"
    assert Event.objects.get().received_at == kept.received_at


def test_event_store_has_the_event_processed_once_it_is_committed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    done: list[object] = []
    monkeypatch.setattr(queue, "_put_off", lambda *work: done.append(work))

    with django_capture_on_commit_callbacks(execute=True):
        event = store(desk, made_up("refund.complete", {}))
        assert done == []

    assert done == [("refunds.tasks.process_event", (event.pk,))]


def test_event_store_takes_the_longest_id_and_type(desk: Desk) -> None:
    event = store(desk, {"id": "e" * 128, "type": "t" * 100})

    event.refresh_from_db()
    assert (event.event_id, event.type) == ("e" * 128, "t" * 100)


def test_event_store_takes_text_with_a_nul_in_it(desk: Desk) -> None:
    order = desk.order("worked_sample")
    subject = {"id": "re_1\x00", "orderId": order.digital_river_id, "reason": "a\x00b\ud800"}

    event = take(desk, made_up("refund.updated", subject))

    assert event.state == State.PROCESSED
    assert event.digital_river_order_id == order.digital_river_id
    assert Event.objects.get().body == event.body


def test_event_store_raises_what_is_no_repeat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IntegrityError("something else")

    monkeypatch.setattr(Event, "save", broken)

    with pytest.raises(IntegrityError, match="something else"):
        store(desk, made_up("refund.complete", {}))


# -- what each type does ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [each for each in KNOWN_TYPES if each.startswith(("refund.", "order.charge.refund."))]
)
def test_refund_event_settles_what_it_is_about(desk: Desk, kind: str) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), part("5.00")))
    assert refund.state == Refund.State.PENDING

    subject = {"id": refund.digital_river_id, "orderId": order.digital_river_id}
    event = take(desk, made_up(kind, subject))

    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert refund.history.latest("number").actor_kind == WEBHOOK.kind
    assert event.state == State.PROCESSED
    assert event.processed_at == desk.clock()
    assert event.next_try_at is None
    assert event.order == order
    assert event.refund == (refund if kind.startswith("refund.") else None)
    check_settled(desk, order)


def test_refund_event_of_a_type_nobody_has_heard_of_settles_too(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))

    event = take(desk, made_up("refund.reversed", {"orderId": order.digital_river_id}))

    assert event.state == State.PROCESSED
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED


@pytest.mark.parametrize("whole", [False, True], ids=["charge", "whole order"])
def test_charge_refund_event_names_its_order_either_way(desk: Desk, whole: bool) -> None:
    order = desk.order("failing_owner")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    theirs = desk.sandbox.order(order.digital_river_id)
    subject = theirs if whole else {"id": "ch_1", "orderId": order.digital_river_id}

    event = take(desk, made_up("order.charge.refund.failed", subject))

    assert event.state == State.PROCESSED
    refund.refresh_from_db()
    assert refund.state == Refund.State.FAILED


def test_refund_event_without_an_order_is_found_by_its_refund(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))

    event = take(desk, made_up("refund.complete", {"id": refund.digital_river_id}))

    assert (event.state, event.order, event.refund) == (State.PROCESSED, order, refund)
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED


def test_events_of_a_round_without_an_order_are_each_found_by_their_refund(desk: Desk) -> None:
    refunds = [
        desk.submit(desk.order(name), rep(), part("5.00"))
        for name in ("worked_sample", "all_options")
    ]
    # Salesforce no longer names a Digital River order for the first.
    Order.objects.filter(pk=refunds[0].order_id).update(digital_river_id="")
    for refund in refunds:
        store(desk, made_up("refund.pending", {"id": refund.digital_river_id}))

    assert sweep(desk) == {"processed": 2}

    found = Event.objects.order_by("pk").values_list("order_id", "refund_id")
    assert list(found) == [(refund.order_id, refund.pk) for refund in refunds]


def test_order_refunded_adopts_a_refund_made_elsewhere_once(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    desk.clock.forward(minutes=1)
    made = desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("7.00")},
        upstream_id="dashboard",
    )
    desk.sandbox.settle_now(made.refund.id)
    desk.clock.forward(seconds=1)
    told = told_by(desk, order)
    assert {"refund.pending", "refund.complete", "order.refunded"} <= {
        each["type"] for each in told
    }

    stored = [store(desk, each) for each in told]
    before = reads(wire)
    for each in stored:
        process(desk, each)

    adopted = Refund.objects.get()
    assert adopted.digital_river_id == made.refund.id
    assert adopted.origin == Refund.Origin.ELSEWHERE
    assert adopted.refunded_amount == Decimal("7.00")
    assert [each.actor_kind for each in adopted.history.all()] == [WEBHOOK.kind] * 2
    assert {each.state for each in Event.objects.all()} == {State.PROCESSED}
    assert reads(wire) > before
    check_settled(desk, order)


@pytest.mark.parametrize("seed", range(6))
def test_events_in_any_order_and_twice_come_to_the_same(desk: Desk, seed: int) -> None:
    order = desk.order("all_options")
    first = desk.submit(order, rep(), part("100.00"))
    second = desk.submit(order, rep(), part("50.00"))
    for refund in (first, second):
        settled(desk, refund)
    told = told_by(desk, order)
    # Each twice, under another id, as nothing forbids; shuffled by the seed.
    told += [{**each, "id": f"{each['id']}-again"} for each in told]
    random.Random(seed).shuffle(told)

    for each in told:
        take(desk, each)

    for refund in (first, second):
        refund.refresh_from_db()
        assert refund.state == Refund.State.SUCCEEDED
    assert CreditMemo.objects.count() == 2
    assert Refund.objects.count() == 2
    assert {each.state for each in Event.objects.all()} == {State.PROCESSED}
    check_settled(desk, order)


def test_stale_event_does_not_move_a_refund_back(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    desk.refresh(order)
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    entries = HistoryEntry.objects.count()
    [pending] = told_by(desk, order, "refund.pending")
    assert pending["data"]["object"]["state"] == "pending"

    desk.clock.forward(hours=1)
    event = take(desk, pending)

    assert event.state == State.PROCESSED
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert refund.flag == ""
    assert HistoryEntry.objects.count() == entries


def test_event_that_claims_a_success_is_not_believed(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), WHOLE)
    desk.clock.forward(seconds=1)
    subject = {
        "id": refund.digital_river_id,
        "orderId": order.digital_river_id,
        "state": "succeeded",
        "refundedAmount": "1.00",
    }

    take(desk, made_up("refund.complete", subject))

    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING
    assert refund.refunded_amount == 0


def test_event_leaves_an_order_that_was_read_since(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    desk.clock.forward(seconds=1)
    desk.refresh(order)
    before = len(wire.requests)

    assert process(desk, event).state == State.PROCESSED
    assert len(wire.requests) == before


def test_event_of_the_same_moment_as_the_last_look_has_the_order_read(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    before = reads(wire)

    take(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))

    assert reads(wire) == before + 1


def test_pending_information_event_brings_the_deadline(desk: Desk) -> None:
    order = desk.order("wire_transfer")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    [told] = told_by(desk, order, "refund.pending_information")

    event = take(desk, told)

    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING_INFORMATION
    assert refund.information_expires_at is not None
    token = told["data"]["object"]["tokenInformation"]["token"]
    assert token not in event.outcome
    assert not any(token in entry.details for entry in refund.history.all())


def test_dispute_closes_every_option_until_it_is_resolved(desk: Desk) -> None:
    order = desk.order("all_options")
    assert order.refundable
    desk.clock.forward(minutes=1)

    desk.sandbox.dispute(order.digital_river_id)
    take(desk, told_by(desk, order, "order.dispute")[0])

    order = Order.objects.get(pk=order.pk)
    assert order.state == "dispute"
    assert not order.refundable
    position = order_position(order)
    assert position.closed_because
    assert not any(choice.is_open for choice in position.choices)

    desk.clock.forward(minutes=1)
    desk.sandbox.resolve_dispute(order.digital_river_id)
    take(desk, told_by(desk, order, "order.dispute.resolved")[0])

    order = Order.objects.get(pk=order.pk)
    assert order.refundable
    assert not order_position(order).closed_because


@pytest.mark.parametrize(
    "kind", ["order.accepted", "order.charge.capture.complete", "return.created", "refunds"]
)
def test_event_of_another_type_is_kept_and_left(desk: Desk, wire: Wire, kind: str) -> None:
    order = desk.order("worked_sample")
    before = len(wire.requests)

    event = take(desk, made_up(kind, {"orderId": order.digital_river_id}))

    assert event.state == State.IGNORED
    assert event.outcome == "The desk does nothing about events of this type."
    assert event.processed_at == desk.clock()
    assert len(wire.requests) == before


def test_event_about_an_order_that_is_not_in_the_mirror_is_left(desk: Desk) -> None:
    event = take(desk, made_up("refund.complete", {"id": "re_9", "orderId": "999"}))

    assert event.state == State.IGNORED
    assert "it is read in full when it comes" in event.outcome


@pytest.mark.parametrize(
    "subject", [{}, {"id": "re_of_nobody"}, {"id": 17}, {"orderId": ["1"]}, {"orderId": ""}]
)
def test_event_that_names_no_order_is_left(desk: Desk, subject: dict[str, Any]) -> None:
    event = take(desk, made_up("refund.complete", subject))

    assert event.state == State.IGNORED
    assert event.outcome == "It names no order that the desk knows."


# -- chargebacks -----------------------------------------------------------------------------------


def charge_back(desk: Desk, order: Order, amount: Decimal) -> dict[str, Any]:
    """Let the customer's bank take an amount back; returns the event."""
    desk.clock.forward(minutes=1)
    desk.sandbox.charge_back(order.digital_river_id, amount)
    desk.clock.forward(seconds=1)
    return told_by(desk, order, CHARGEBACK)[-1]


def test_chargeback_of_a_part_counts_as_refunded(desk: Desk) -> None:
    order = desk.order("worked_sample")
    left = order.left_amount

    event = take(desk, charge_back(desk, order, Decimal("10.00")))

    order.refresh_from_db()
    taken = Refund.objects.get()
    assert event.state == State.PROCESSED
    assert event.refund == taken
    assert taken.reference in event.outcome
    assert taken.origin == Refund.Origin.CHARGEBACK
    assert taken.refunded_amount == Decimal("10.00")
    assert taken.flag == ""
    assert taken.history.get().actor_kind == WEBHOOK.kind
    assert order.left_amount == left - Decimal("10.00")
    assert order_position(order).ledger.left == order.left_amount


def test_chargeback_of_all_closes_the_order(desk: Desk) -> None:
    order = desk.order("worked_sample")

    take(desk, charge_back(desk, order, order.captured_amount))

    order.refresh_from_db()
    assert order.left_amount == 0
    assert not order.refundable


def test_chargeback_beside_a_refund_that_is_under_way(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("7.00"))

    take(desk, charge_back(desk, order, Decimal("20.01")))

    order.refresh_from_db()
    assert order.left_amount == 0
    assert Refund.objects.get(origin=Refund.Origin.CHARGEBACK).flag == ""


def test_chargeback_of_an_unknown_amount_takes_all_and_tells_a_lead(desk: Desk) -> None:
    order = desk.order("worked_sample")
    told = charge_back(desk, order, Decimal("10.00"))
    del told["data"]["object"]["chargebackAmount"]

    take(desk, told)

    order.refresh_from_db()
    assert order.left_amount == 0
    taken = Refund.objects.get()
    assert taken.refunded_amount == order.captured_amount
    assert "did not say how much" in taken.flag


def test_chargeback_in_another_currency_is_not_taken_at_its_figure(desk: Desk) -> None:
    """KWD 20.00 is more than the whole order; taken for USD 20.00, it would leave USD 7.01."""
    order = desk.order("worked_sample")
    subject = {"orderId": order.digital_river_id, "amount": 20, "currency": "KWD"}

    take(desk, made_up(CHARGEBACK, subject))

    order.refresh_from_db()
    assert order.left_amount == 0
    assert "did not say how much USD the customer's bank took back" in Refund.objects.get().flag


@pytest.mark.parametrize(
    "subject",
    [
        {"id": "cb_1", "amount": 20, "currency": "USD"},
        {"id": "cb_1", "orderId": "no such/id", "amount": 20, "currency": "USD"},
    ],
)
def test_chargeback_that_names_no_order_waits_for_a_person(
    desk: Desk, subject: dict[str, object]
) -> None:
    event = take(desk, made_up(CHARGEBACK, subject))
    assert event.state == Event.State.FAILED
    assert "Find it in Digital River's Dashboard" in event.outcome
    assert event.next_try_at is None
    # A new order in the mirror is not taken for it.
    desk.order("worked_sample")
    events_process(clock=desk.clock, client=desk.client)
    event.refresh_from_db()
    assert event.state == Event.State.FAILED


def test_chargeback_that_holds_its_order_is_booked(desk: Desk) -> None:
    order = desk.order("worked_sample")
    take(
        desk,
        made_up(CHARGEBACK, {"id": "cb_1", "order": {"id": order.digital_river_id}, "amount": 20}),
    )
    order.refresh_from_db()
    assert order.left_amount == Decimal("7.01")


def test_chargeback_after_a_full_refund_tells_a_lead(desk: Desk) -> None:
    order = desk.order("worked_sample")
    settled(desk, desk.submit(order, rep(), WHOLE))
    told = charge_back(desk, order, Decimal("10.00"))

    take(desk, told)

    taken = Refund.objects.get(origin=Refund.Origin.CHARGEBACK)
    assert "may have been paid twice" in taken.flag
    assert Refund.objects.get(origin=Refund.Origin.DESK).state == Refund.State.SUCCEEDED


def test_chargeback_counts_what_was_refunded_elsewhere_before(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.clock.forward(minutes=1)
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("20.00")},
        upstream_id="dashboard",
    )
    told = charge_back(desk, order, Decimal("7.01"))
    del told["data"]["object"]["chargebackAmount"]

    take(desk, told)

    taken = Refund.objects.get(origin=Refund.Origin.CHARGEBACK)
    assert taken.refunded_amount == order.captured_amount - Decimal("20.00")


def test_two_chargebacks_of_one_order_both_count(desk: Desk) -> None:
    order = desk.order("worked_sample")

    for amount in ("4.00", "5.00"):
        take(desk, charge_back(desk, order, Decimal(amount)))

    order.refresh_from_db()
    assert order.left_amount == order.captured_amount - Decimal("9.00")


def test_chargeback_is_booked_once_though_its_processor_was_killed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    event = store(desk, charge_back(desk, order, Decimal("10.00")))

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(events, "_write", killed)
        with pytest.raises(KilledError):
            process(desk, event)
    assert Refund.objects.count() == 1

    desk.clock.forward(seconds=1)
    assert sweep(desk) == {}
    desk.clock.now += LEASE
    assert sweep(desk) == {"processed": 1}

    event.refresh_from_db()
    assert event.refund == Refund.objects.get()
    order.refresh_from_db()
    assert order.left_amount == order.captured_amount - Decimal("10.00")


def test_chargeback_that_was_killed_before_it_was_booked_is_booked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    event = store(desk, charge_back(desk, order, Decimal("10.00")))

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(events, "order_recount", killed)
        with pytest.raises(KilledError):
            process(desk, event)
    assert not Refund.objects.exists()

    desk.clock.now += LEASE
    assert sweep(desk) == {"processed": 1}
    assert Refund.objects.get().refunded_amount == Decimal("10.00")


def test_chargeback_waits_for_its_order(desk: Desk) -> None:
    told = made_up(CHARGEBACK, {"orderId": "999", "amount": "5.00", "currency": "USD"})
    event = take(desk, told)

    assert event.state == State.WAITING
    assert "not in the mirror" in event.outcome

    for _ in range(MOST_TRIES_WITHOUT_ORDER):
        desk.clock.forward(hours=1)
        sweep(desk)
    event.refresh_from_db()
    assert event.state == State.FAILED
    assert event.next_try_at is None
    assert "have it processed again" in event.outcome


def test_chargeback_that_was_given_up_is_booked_once_its_order_comes(desk: Desk) -> None:
    order = desk.order("worked_sample")
    told = charge_back(desk, order, Decimal("10.00"))
    known_as, order.digital_river_id = order.digital_river_id, "another"
    order.save(update_fields=["digital_river_id"])
    event = store(desk, told)
    for _ in range(MOST_TRIES_WITHOUT_ORDER):
        desk.clock.forward(hours=1)
        sweep(desk)
    event.refresh_from_db()
    assert event.state == State.FAILED
    assert sweep(desk) == {}

    order.digital_river_id = known_as
    order.save(update_fields=["digital_river_id"])

    assert sweep(desk) == {"processed": 1}
    assert Refund.objects.get().refunded_amount == Decimal("10.00")
    assert sweep(desk) == {}


# -- credit memos ----------------------------------------------------------------------------------


def test_credit_memo_is_linked_with_its_order_and_its_refund(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    [told] = told_by(desk, order, CREDIT_MEMO)

    event = take(desk, told)

    memo = CreditMemo.objects.get()
    assert (memo.order, memo.refund) == (order, refund)
    assert memo.memo_id == told["data"]["object"]["id"]
    assert memo.file_id == told["data"]["object"]["fileId"]
    assert memo.created_at == event.created_time
    assert (event.state, event.refund) == (State.PROCESSED, refund)
    assert event.outcome == "The credit memo is linked with its refund."
    assert refund.history.latest("number").summary == (
        f"Digital River made out credit memo {memo.memo_id}."
    )


def test_credit_memo_that_comes_first_finds_its_refund_settled(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), part("5.00")))
    assert refund.state == Refund.State.PENDING

    take(desk, told_by(desk, order, CREDIT_MEMO)[0])

    assert CreditMemo.objects.get().refund == refund


def test_credit_memo_told_twice_is_kept_once(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    [told] = told_by(desk, order, CREDIT_MEMO)
    take(desk, told)
    entries = refund.history.count()

    event = take(desk, {**told, "id": "evt-again"})

    assert CreditMemo.objects.count() == 1
    assert event.refund == refund
    assert refund.history.count() == entries


def test_credit_memo_of_one_of_two_refunds_is_not_guessed(desk: Desk) -> None:
    order = desk.order("worked_sample")
    for amount in ("5.00", "6.00"):
        settled(desk, desk.submit(order, rep(), part(amount)))

    event = take(desk, told_by(desk, order, CREDIT_MEMO)[0])

    assert CreditMemo.objects.get().refund is None
    assert event.outcome == (
        "The credit memo is linked with its order; whose it is cannot be told."
    )


def test_credit_memo_is_never_linked_with_a_chargeback(desk: Desk) -> None:
    order = desk.order("worked_sample")
    take(desk, charge_back(desk, order, Decimal("10.00")))
    desk.clock.forward(minutes=1)
    subject = {"id": "memo-1", "fileId": "file-1", "orderId": order.digital_river_id}

    take(desk, made_up(CREDIT_MEMO, subject))

    assert CreditMemo.objects.get().refund is None


def test_credit_memo_without_an_id_is_as_good_as_none(desk: Desk) -> None:
    order = desk.order("worked_sample")

    event = take(desk, made_up(CREDIT_MEMO, {"orderId": order.digital_river_id}))

    assert event.state == State.PROCESSED
    assert not CreditMemo.objects.exists()


def test_credit_memo_without_its_order_is_left_in_the_end(desk: Desk) -> None:
    event = store(desk, made_up(CREDIT_MEMO, {"id": "memo-1", "orderId": "999"}))
    for _ in range(MOST_TRIES_WITHOUT_ORDER):
        assert Event.objects.get().state == State.WAITING
        sweep(desk)
        desk.clock.forward(hours=1)

    event.refresh_from_db()
    assert event.state == State.IGNORED
    assert sweep(desk) == {}


# -- trying again ----------------------------------------------------------------------------------


def test_event_waits_however_long_digital_river_is_away(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    unplug(desk, times=1_000)
    event = take(desk, told_by(desk, order, "refund.complete")[0])
    assert event.state == State.WAITING
    assert "NotConnected" in event.outcome
    assert "tries again by itself" in event.outcome

    pauses = []
    for _ in range(40):
        assert event.next_try_at is not None
        pauses.append(event.next_try_at - desk.clock())
        desk.clock.now = event.next_try_at
        assert sweep(desk) == {"waiting": 1}
        event.refresh_from_db()
    assert pauses[0] == timedelta(seconds=30)
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=1)
    assert event.tries == 41

    desk.sandbox.clear_faults()
    assert event.next_try_at is not None
    desk.clock.now = event.next_try_at
    assert sweep(desk) == {"processed": 1}
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.RATE_LIMITED, method="GET", times=100),
        Fault(FaultKind.ERROR, method="GET", status=503, times=100),
        Fault(FaultKind.ERROR, method="GET", status=401, times=100),
        Fault(FaultKind.RUBBISH, method="GET", times=100),
    ],
    ids=["429", "503", "401", "rubbish"],
)
def test_event_waits_for_what_passes_or_an_administrator_mends(desk: Desk, fault: Fault) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    desk.sandbox.queue_fault(fault)

    for _ in range(2 * MOST_TRIES):
        process(desk, event)
        desk.clock.forward(hours=1)

    event.refresh_from_db()
    assert event.state == State.WAITING


def test_round_leaves_the_rest_once_digital_river_is_away(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    for _ in range(10):
        store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    unplug(desk, times=1_000)

    assert sweep(desk) == {"waiting": 3}

    assert Event.objects.filter(tries=0, next_try_at__lte=desk.clock()).count() == 7


def test_event_about_an_order_digital_river_does_not_know_fails(desk: Desk) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    desk.sandbox.queue_fault(Fault(FaultKind.ERROR, method="GET", status=404, times=100))

    for _ in range(MOST_TRIES):
        event.refresh_from_db()
        assert event.state == State.WAITING
        process(desk, event)
        desk.clock.forward(hours=1)

    event.refresh_from_db()
    assert event.state == State.FAILED
    assert event.tries == MOST_TRIES
    assert event.order == order
    assert "NotFound" in event.outcome


def test_event_that_the_desk_cannot_process_fails_and_is_processed_again(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    event = store(desk, told_by(desk, order, "refund.complete")[0])

    def wrong(**_: object) -> None:
        raise ZeroDivisionError

    caplog.set_level(logging.ERROR)
    with monkeypatch.context() as patch:
        patch.setattr(events, "order_refresh", wrong)
        for _ in range(MOST_TRIES):
            desk.clock.forward(hours=1)
            sweep(desk)
        event.refresh_from_db()
        assert event.state == State.FAILED
        assert event.next_try_at is None
        assert "ZeroDivisionError" in event.outcome
        assert event.event_id in caplog.text
        desk.clock.forward(days=1)
        assert sweep(desk) == {}

    assert event_process_again(event_id=event.pk, clock=desk.clock)
    event.refresh_from_db()
    assert event.next_try_at == desk.clock()
    assert Event.objects.values_list("state", "tries").get() == (State.WAITING, 0)
    assert sweep(desk) == {"processed": 1}
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED


def test_event_process_again_takes_one_that_had_nothing_to_do(desk: Desk) -> None:
    order = desk.order("worked_sample")
    known_as, order.digital_river_id = order.digital_river_id, "another"
    order.save(update_fields=["digital_river_id"])
    event = take(desk, made_up("order.refunded", {"orderId": known_as}))
    assert event.state == State.IGNORED
    order.digital_river_id = known_as
    order.save(update_fields=["digital_river_id"])

    assert event_process_again(event_id=event.pk, clock=desk.clock)

    assert sweep(desk) == {"processed": 1}


def test_event_process_again_leaves_what_is_done_or_waits(desk: Desk) -> None:
    order = desk.order("worked_sample")
    waiting = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    assert not event_process_again(event_id=waiting.pk, clock=desk.clock)

    done = process(desk, waiting)
    assert not event_process_again(event_id=done.pk, clock=desk.clock)
    assert not event_process_again(event_id=0, clock=desk.clock)
    assert Event.objects.get().state == State.PROCESSED


def test_event_process_leaves_one_that_is_done(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    event = take(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    desk.clock.forward(hours=1)
    before = len(wire.requests)

    assert process(desk, event).state == State.PROCESSED
    assert len(wire.requests) == before
    assert Event.objects.get().tries == 1


def test_event_process_leaves_one_that_another_has(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    Event.objects.update(tries=1, next_try_at=desk.clock() + LEASE)
    before = len(wire.requests)

    process(desk, event)

    assert len(wire.requests) == before
    assert Event.objects.get().tries == 1


def test_event_of_a_server_whose_clock_is_ahead_is_processed_at_once(desk: Desk) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    desk.clock.forward(seconds=-2)

    assert process(desk, event).state == State.PROCESSED


def test_event_of_a_killed_worker_is_taken_up_when_its_lease_runs_out(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    event = store(desk, told_by(desk, order, "refund.complete")[0])

    def killed() -> None:
        raise KilledError

    wire.after_read = killed
    with pytest.raises(KilledError):
        process(desk, event)

    desk.clock.now += LEASE - timedelta(seconds=1)
    assert sweep(desk) == {}
    desk.clock.forward(seconds=1)
    assert sweep(desk) == {"processed": 1}
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert Event.objects.get().tries == 2


def test_processor_that_lost_its_lease_writes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))

    def slow(**_: object) -> None:
        monkeypatch.undo()
        desk.clock.now += LEASE
        assert process(desk, event).state == State.PROCESSED
        raise ZeroDivisionError

    monkeypatch.setattr(events, "order_refresh", slow)
    late = process(desk, event)

    event.refresh_from_db()
    assert event.state == State.PROCESSED
    assert event.tries == 2
    assert late.state == State.WAITING


def test_processor_that_comes_second_leaves_the_event(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    event = store(desk, made_up("order.refunded", {"orderId": order.digital_river_id}))
    asked: list[int] = []

    def clock() -> datetime:
        # Asked between reading the event and claiming it: another one is quicker.
        if not asked:
            asked.append(0)
            process(desk, event)
            asked[0] = len(wire.requests)
        return desk.clock()

    event_process(event_id=event.pk, clock=clock, client=desk.client)

    assert len(wire.requests) == asked[0]
    event.refresh_from_db()
    assert (event.state, event.tries) == (State.PROCESSED, 1)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("kind", ["order.refunded", CHARGEBACK])
def test_two_processors_at_once_process_an_event_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    order = desk.order("worked_sample")
    monkeypatch.setattr(queue, "_put_off", lambda *_: None)
    event = store(
        desk, made_up(kind, {"orderId": order.digital_river_id, "chargebackAmount": "5.00"})
    )
    start = threading.Barrier(4)
    trouble: list[BaseException] = []

    def run() -> None:
        try:
            start.wait(timeout=30)
            process(desk, event)
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the test judges it
            trouble.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert trouble == []
    event.refresh_from_db()
    assert (event.state, event.tries) == (State.PROCESSED, 1)
    assert Refund.objects.count() == (kind == CHARGEBACK)


def test_chargeback_of_two_that_both_hold_it_is_booked_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    event = store(desk, charge_back(desk, order, Decimal("10.00")))
    real = order_refresh

    def slow(**arguments: Any) -> Any:
        monkeypatch.undo()
        account = real(**arguments)
        # The lease runs out before this one books; another one processes the event meanwhile.
        desk.clock.now += LEASE
        process(desk, event)
        return account

    monkeypatch.setattr(events, "order_refresh", slow)
    process(desk, event)

    assert Refund.objects.get().refunded_amount == Decimal("10.00")


def test_round_stops_at_its_limit_and_goes_on_next_time(desk: Desk) -> None:
    for _ in range(5):
        store(desk, made_up("customer.created", {}))

    assert dict(events_process(limit=3, clock=desk.clock, client=desk.client)) == {"ignored": 3}
    assert sweep(desk) == {"ignored": 2}
    assert sweep(desk) == {}


def test_round_goes_through_more_than_one_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BATCH", 3)
    for _ in range(8):
        store(desk, made_up("customer.created", {}))

    assert sweep(desk) == {"ignored": 8}


# -- catching up -----------------------------------------------------------------------------------


def catch_up(desk: Desk) -> int:
    return events_catch_up(clock=desk.clock, client=desk.client)


def listings(wire: Wire) -> list[dict[str, str]]:
    """Return what was asked for of each list of events."""
    return [dict(request.url.params) for request in wire.requests if request.url.path == "/events"]


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_catch_up_brings_what_was_never_delivered(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = settled(desk, desk.submit(order, rep(), WHOLE))
    known = store(desk, told_by(desk, order, "refund.pending")[0])
    missed = {each["id"] for each in told_by(desk, order)} - {known.event_id}

    assert catch_up(desk) >= len(missed) > 3

    caught = Event.objects.filter(digital_river_order_id=order.digital_river_id).exclude(
        pk=known.pk
    )
    assert {each.event_id for each in caught} == missed
    assert {each.source for each in caught} == {Event.Source.CATCH_UP}
    assert all(each.created_time is not None for each in caught)
    sweep(desk)
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert CreditMemo.objects.get().refund == refund
    assert {each.state for each in order.events.all()} == {State.PROCESSED}
    check_settled(desk, order)


def test_first_catch_up_brings_a_chargeback_of_weeks_ago(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.sandbox.charge_back(order.digital_river_id, Decimal("10.00"))
    desk.clock.forward(days=29)
    assert catch_up(desk) > 0
    sweep(desk)
    taken = Refund.objects.get()
    assert taken.origin == Refund.Origin.CHARGEBACK
    assert taken.refunded_amount == Decimal("10.00")


def test_catch_up_keeps_no_token(desk: Desk) -> None:
    order = desk.order("wire_transfer")
    settled(desk, desk.submit(order, rep(), WHOLE))
    [told] = told_by(desk, order, "refund.pending_information")
    token = told["data"]["object"]["tokenInformation"]["token"]

    assert catch_up(desk)

    assert not any(token in each.body for each in Event.objects.all())


def test_catch_up_keeps_only_what_the_desk_acts_on(desk: Desk, wire: Wire) -> None:
    desk.submit(desk.order("worked_sample"), rep(), Selection(Option.COMPLETE_ORDER))
    desk.sandbox.settle_now()
    with closing(sqlite3.connect(desk.sandbox.path)) as connection, connection:
        connection.execute(
            "UPDATE events SET body = replace(body, 'refund.pending', 'customer.updated')"
            " WHERE type = 'refund.pending'"
        )
    catch_up(desk)

    # Asked for are all types: an event that a narrower list left out would be missed.
    assert "types" not in wire.requests[-1].url.params
    kept = set(Event.objects.values_list("type", flat=True))
    assert kept <= set(KNOWN_TYPES)
    assert {"refund.complete", "order.refunded"} <= kept


def test_catch_up_goes_back_all_the_list_at_first_then_to_the_last_time(
    desk: Desk, wire: Wire
) -> None:
    first = desk.clock()
    catch_up(desk)
    desk.clock.forward(seconds=CATCH_UP_EVERY.total_seconds() - 1)
    catch_up(desk)
    desk.clock.forward(days=3)
    catch_up(desk)

    assert [each["createdTime[gte]"] for each in listings(wire)] == [
        at(first - FIRST_CATCH_UP),
        at(first - OVERLAP),
    ]
    assert Watermark.objects.get().at == desk.clock()


def test_catch_up_finds_nothing_new_twice(desk: Desk) -> None:
    order = desk.order("worked_sample")
    settled(desk, desk.submit(order, rep(), WHOLE))
    assert catch_up(desk) > 0
    desk.clock.now += CATCH_UP_EVERY

    assert catch_up(desk) == 0


def test_catch_up_goes_back_as_far_after_it_failed(
    desk: Desk, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    catch_up(desk)
    first = desk.clock()
    settled(desk, desk.submit(order, rep(), WHOLE))
    desk.clock.forward(days=2)
    unplug(desk, times=10)
    with pytest.raises(OrderUnreadable, match="goes back as far"):
        catch_up(desk)
    assert Watermark.objects.get().at == first

    desk.sandbox.clear_faults()
    desk.clock.forward(seconds=1)
    assert catch_up(desk) > 0
    assert listings(wire)[-1]["createdTime[gte]"] == at(first - OVERLAP)


def test_catch_up_keeps_what_it_read_before_it_failed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = desk.order("worked_sample")
    for _ in range(60):
        desk.sandbox.dispute(order.digital_river_id)
        desk.sandbox.resolve_dispute(order.digital_river_id)
    real = events._store_new

    def away_after_a_page(page: Any, *, at: datetime) -> int:
        unplug(desk, times=10)
        return real(page, at=at)

    monkeypatch.setattr(events, "_store_new", away_after_a_page)
    with pytest.raises(OrderUnreadable):
        catch_up(desk)
    assert Event.objects.count() == 100
    assert not Watermark.objects.exists()

    monkeypatch.undo()
    desk.sandbox.clear_faults()
    assert catch_up(desk) >= 20
    assert Event.objects.filter(type="order.dispute").count() == 60


def test_catch_up_after_a_clock_that_was_wrong(desk: Desk, wire: Wire) -> None:
    right = desk.clock()
    desk.clock.forward(days=365)
    catch_up(desk)
    desk.clock.now = right

    catch_up(desk)

    assert listings(wire)[-1]["createdTime[gte]"] == at(right - FIRST_CATCH_UP)
    assert Watermark.objects.get().at == right


def test_catch_up_beside_the_webhook_keeps_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    order = desk.order("worked_sample")
    settled(desk, desk.submit(order, rep(), WHOLE))
    told = told_by(desk, order)
    real = Event.objects.bulk_create

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        store(desk, told[0])
        return real(*arguments, **named)

    monkeypatch.setattr(Event.objects, "bulk_create", meanwhile)
    catch_up(desk)

    assert order.digital_river_id == told[0]["data"]["object"]["orderId"]
    kept = Event.objects.filter(digital_river_order_id=order.digital_river_id)
    assert kept.count() == len(told)
    sweep(desk)
    check_account(desk, order)
