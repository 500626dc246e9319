"""Submitting, looking, sending again, calling off: through the real client to the stand-in."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import simplejson

from refunds.errors import (
    AmountInvalid,
    DraftClosed,
    FiguresChanged,
    MoveForbidden,
    OptionClosed,
    OrderNotEligible,
    OrderUnreadable,
    PermissionMissing,
    SelectionInvalid,
)
from refunds.ledger import FEES, Component
from refunds.models import CHECK, Grounds, Order, Refund, RefundReason
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import order_position
from refunds.services.drafts import draft_choose, draft_create, draft_discard
from refunds.services.refunds import refund_cancel, refund_check, refund_retry, refund_submit
from sandbox.faults import FaultKind
from sandbox.shop import SHOWCASE
from tests.desk import Desk, person, rep
from tests.services.account import (
    at_digital_river,
    check_account,
    check_settled,
    parts_at_digital_river,
    parts_of_the_desk,
    spoil,
    unplug,
)
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db

State = Refund.State
WHOLE = Selection(Option.COMPLETE_ORDER, Decimal("27.01"))
PART = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))


def check(desk: Desk, refund: Refund) -> Refund:
    """Look where the refund stands."""
    return refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)


def again(desk: Desk, refund: Refund) -> Refund:
    """Send the refund again."""
    return refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)


def test_refund_submit_of_a_complete_order_is_pending_then_succeeds(desk: Desk) -> None:
    order = desk.order("worked_sample")

    refund = desk.submit(order, rep(), WHOLE)

    assert refund.state == State.PENDING
    assert refund.digital_river_id
    assert refund.requested_amount == refund.accepted_amount == Decimal("27.01")
    order.refresh_from_db()
    assert order.left_amount == 0
    assert not order.refundable

    desk.clock.forward(hours=1)
    refund = check(desk, refund)
    assert refund.state == State.SUCCEEDED
    assert refund.refunded_amount == Decimal("27.01")
    assert refund.settled_at == desk.clock()
    assert refund.next_check_at is None
    assert refund.flag == ""
    check_settled(desk, order)


Chosen = Callable[[list[str]], Selection]
Sent = Callable[[list[str]], dict[str, Any]]
#: Each option on the order that has something of everything: what is chosen, what is sent, the sum.
EVERY_OPTION: dict[Option, tuple[Chosen, Sent, str]] = {
    Option.COMPLETE_ORDER: (
        lambda items: Selection(Option.COMPLETE_ORDER, Decimal("1000.01")),
        lambda items: {"amount": Decimal("1000.01")},
        "1000.01",
    ),
    Option.LINE_ITEMS: (
        lambda items: Selection(
            Option.LINE_ITEMS,
            lines=(
                LineSelection(items[0], 2, Decimal("519.82")),
                LineSelection(items[1], 1, Decimal("12.34")),
                LineSelection(items[2], 0),
            ),
        ),
        lambda items: {
            "items": [
                {"itemId": items[0], "quantity": 2, "amount": Decimal("519.82")},
                {"itemId": items[1], "quantity": 1, "amount": Decimal("12.34")},
            ]
        },
        "532.16",
    ),
    Option.SHIPPING: (
        lambda items: Selection(Option.SHIPPING, Decimal("9.99")),
        lambda items: {"type": "shipping", "amount": Decimal("9.99")},
        "9.99",
    ),
    Option.IMPORTER_DUTY: (
        lambda items: Selection(Option.IMPORTER_DUTY, Decimal("45.82")),
        lambda items: {"type": "duty", "amount": Decimal("45.82")},
        "45.82",
    ),
    Option.IMPORTER_TAX: (
        lambda items: Selection(Option.IMPORTER_TAX),
        lambda items: {"type": "importer_tax", "percent": 100},
        "375.66",
    ),
    Option.TAX: (
        lambda items: Selection(Option.TAX),
        lambda items: {"type": "tax", "percent": 100},
        "122.68",
    ),
    Option.FEES: (
        lambda items: Selection(Option.FEES, lines=(LineSelection(items[0]),)),
        lambda items: {"items": [{"itemId": items[0], "type": "fees", "percent": 100}]},
        "13.68",
    ),
}


@pytest.mark.parametrize("option", list(Option))
def test_refund_submit_sends_each_option_and_ends_at_the_same_balance(
    desk: Desk, wire: Wire, option: Option
) -> None:
    order = desk.order("all_options")
    items = [line.digital_river_id for line in order.lines.order_by("position")]
    chosen, sent, total = EVERY_OPTION[option]

    refund = desk.submit(order, rep(), chosen(items))

    assert refund.state == State.PENDING
    assert refund.requested_amount == refund.accepted_amount == Decimal(total)
    attempt = refund.attempts.get()
    expected = {
        "orderId": order.digital_river_id,
        "currency": "GBP",
        **sent(items),
        "reason": "requested_by_customer",
        "metadata": {"refundReference": f"{refund.reference}-1"},
    }
    expected["reason"] = RefundReason.objects.get(label="Requested by customer").wire_text
    assert wire.bodies == [expected]
    assert simplejson.loads(attempt.request, use_decimal=True) == expected
    headers = wire.posts[0].headers
    assert headers["upstream-id"] == attempt.reference == f"{refund.reference}-1"
    assert headers["upstream-application-id"] == "refund-desk/test"
    assert headers["DigitalRiver-Version"] == "2021-12-13"
    [theirs] = at_digital_river(desk, order)
    assert theirs["id"] == refund.digital_river_id == attempt.digital_river_id
    assert theirs["metadata"] == {"refundReference": attempt.reference}
    assert attempt.status == 201
    assert attempt.answered_at == desk.clock()
    assert simplejson.loads(attempt.answer)["id"] == refund.digital_river_id
    assert parts_of_the_desk(order) == parts_at_digital_river(desk, order)

    desk.clock.forward(minutes=10)
    refund = check(desk, refund)
    assert refund.state == State.SUCCEEDED
    assert refund.flag == ""
    assert parts_of_the_desk(order) == parts_at_digital_river(desk, order)
    check_settled(desk, order)
    order.refresh_from_db()
    assert order.left_amount == Decimal("2990.02") - Decimal(total)


@pytest.mark.parametrize("case", ["jpy", "kwd"])
def test_refund_submit_keeps_the_currency_s_minor_units(desk: Desk, case: str) -> None:
    order = desk.order(case)
    selection = Selection(Option.COMPLETE_ORDER)

    refund = desk.submit(order, rep(), selection)

    assert refund.state == State.PENDING
    assert refund.accepted_amount == order.captured_amount
    desk.clock.forward(minutes=10)
    assert check(desk, refund).state == State.SUCCEEDED
    check_settled(desk, order)


def test_refund_submit_writes_history_with_person_and_request_id(desk: Desk, wire: Wire) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), WHOLE)

    begun, chosen, submitted, pending = refund.history.all()
    assert (begun.from_state, begun.to_state, begun.actor) == ("draft", "draft", rep())
    assert (chosen.from_state, chosen.to_state) == ("draft", "draft")
    assert (submitted.from_state, submitted.to_state) == ("draft", "submitting")
    assert "USD 27.01" in submitted.summary
    assert (pending.from_state, pending.to_state) == ("submitting", "pending")
    assert pending.actor_kind == "person"
    assert pending.actor == rep()
    assert pending.request_id == refund.attempts.get().request_id != ""


def test_refund_submit_takes_less_than_asked_flags_and_rebooks_it(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("8.00"))

    refund = desk.submit(order, rep(), PART)

    assert refund.state == State.PENDING
    assert refund.requested_amount == Decimal("10.00")
    assert refund.accepted_amount == refund.held_amount == Decimal("8.00")
    assert "USD 8.00" in refund.flag
    assert "USD 10.00" in refund.flag
    check_account(desk, order)
    order.refresh_from_db()
    assert order.left_amount == Decimal("19.01")

    desk.clock.forward(minutes=10)
    check(desk, refund)
    check_settled(desk, order)


def test_refund_submit_of_a_draft_submitted_before_sends_nothing_more(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)
    stale = Refund.objects.get(pk=draft.pk)

    first, second, third = (
        refund_submit(draft=each, user=rep(), seen=seen, clock=desk.clock, client=desk.client)
        for each in (draft, stale, Refund.objects.get(pk=draft.pk))
    )

    assert first.pk == second.pk == third.pk
    assert second.state == third.state == State.PENDING
    assert len(wire.posts) == len(at_digital_river(desk, order)) == 1


def test_refund_submit_tells_what_another_refund_changed(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)
    desk.clock.forward(seconds=1)
    other = desk.submit(order, rep("rep2"), Selection(Option.SHIPPING, Decimal("5.40")))

    with pytest.raises(FiguresChanged, match=other.reference) as changed:
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert changed.value.seen["left before"] == Decimal("27.01")
    assert changed.value.now["left before"] == Decimal("21.61")
    assert changed.value.seen["total"] == changed.value.now["total"] == Decimal("10.00")
    assert Refund.objects.get(pk=draft.pk).is_draft
    assert len(wire.posts) == 1
    check_account(desk, order)


def test_refund_submit_tells_what_digital_river_changed(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = replace(desk.seen(draft, PART), figures={"total": Decimal("10.00")})

    with pytest.raises(FiguresChanged, match="Digital River's figures"):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []


def test_refund_submit_tells_of_a_draft_changed_in_another_tab(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)
    desk.clock.forward(seconds=1)
    grounds = Grounds(reason=RefundReason.objects.get(label="Requested by customer"))
    draft_choose(draft=draft, user=rep(), selection=PART, grounds=grounds, clock=desk.clock)

    with pytest.raises(FiguresChanged, match="another tab"):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []


def test_refund_submit_refuses_who_is_not_in_the_group(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    user = rep()
    draft = desk.draft(order, user, PART)
    seen = desk.seen(draft, PART)

    with pytest.raises(PermissionMissing):
        refund_submit(
            draft=draft, user=person(user.username), seen=seen, clock=desk.clock, client=desk.client
        )

    assert wire.posts == []
    assert Refund.objects.get(pk=draft.pk).is_draft


def test_refund_submit_refuses_another_person_s_draft(desk: Desk, wire: Wire) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), PART)

    with pytest.raises(DraftClosed):
        refund_submit(
            draft=draft,
            user=rep("rep2"),
            seen=desk.seen(draft, PART),
            clock=desk.clock,
            client=desk.client,
        )

    assert wire.posts == []


def test_refund_submit_refuses_a_discarded_draft_however_fresh_the_page(
    desk: Desk, wire: Wire
) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), PART)
    seen = desk.seen(draft, PART)
    draft_discard(draft=draft, user=rep(), clock=desk.clock)

    for each in (draft, Refund.objects.get(pk=draft.pk)):
        with pytest.raises(DraftClosed):
            refund_submit(draft=each, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []


def test_refund_submit_refuses_an_expired_draft(desk: Desk, wire: Wire) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), PART)
    seen = desk.seen(draft, PART)
    desk.clock.forward(hours=24)

    with pytest.raises(DraftClosed, match="expired"):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []


def test_refund_submit_refuses_a_draft_in_which_nothing_was_chosen(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = draft_create(order=order, user=rep(), clock=desk.clock)
    chosen = desk.draft(order, rep(), PART)

    with pytest.raises(SelectionInvalid):
        refund_submit(
            draft=draft,
            user=rep(),
            seen=desk.seen(chosen, PART),
            clock=desk.clock,
            client=desk.client,
        )

    assert wire.posts == []


def test_refund_submit_refuses_while_digital_river_cannot_be_asked(desk: Desk, wire: Wire) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), PART)
    seen = desk.seen(draft, PART)
    unplug(desk)

    with pytest.raises(OrderUnreadable):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []
    assert Refund.objects.get(pk=draft.pk).is_draft


@pytest.mark.parametrize("state", ["dispute", "accepted", "in_review"])
def test_refund_submit_refuses_an_order_that_is_not_fulfilled_any_more(
    desk: Desk, wire: Wire, state: str
) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)
    desk.sandbox.set_order_state(order.digital_river_id, state)

    with pytest.raises(OrderNotEligible):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []
    assert not Order.objects.get(pk=order.pk).refundable


def test_refund_submit_refuses_an_order_without_digital_river_id(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)
    Order.objects.filter(pk=order.pk).update(digital_river_id="")
    draft = Refund.objects.get(pk=draft.pk)

    with pytest.raises(OrderNotEligible, match="no Digital River order id"):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert wire.posts == []


def test_refund_submit_refuses_when_nothing_is_left(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)
    desk.submit(order, rep("rep2"), WHOLE)

    with pytest.raises(OrderNotEligible, match="Nothing is left"):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert len(wire.posts) == 1
    check_account(desk, order)


def test_refund_submit_refuses_an_option_closed_since(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    shipping = Selection(Option.SHIPPING, Decimal("5.40"))
    draft = desk.draft(order, rep(), shipping)
    seen = desk.seen(draft, shipping)
    desk.submit(order, rep("rep2"), shipping)

    with pytest.raises(OptionClosed):
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert len(wire.posts) == 1


def test_refund_submit_counts_a_refund_made_elsewhere_a_moment_ago(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    whole = desk.draft(order, rep(), WHOLE)
    seen = desk.seen(whole, WHOLE)
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "type": "shipping", "percent": 100},
        upstream_id="dashboard",
    )

    with pytest.raises(AmountInvalid, match=r"USD 21\.61"):
        refund_submit(draft=whole, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert len(wire.posts) == 1


def test_refund_submit_of_what_was_taken_elsewhere_in_the_same_moment_is_refused_there(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")

    def elsewhere() -> None:
        desk.client.create_refund(
            {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("20.00")},
            upstream_id="dashboard",
        )

    draft = desk.draft(order, rep(), WHOLE)
    seen = desk.seen(draft, WHOLE)
    wire.after_read = elsewhere
    refund = refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)

    assert refund.state == State.REFUSED
    assert "greater than the available amount" in refund.refusal
    check_settled(desk, order)
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("7.01")


# -- sending again ---------------------------------------------------------------------------------


def failed(desk: Desk) -> Refund:
    """Return a refund that the bank did not take."""
    refund = desk.submit(desk.order("worked_sample"), rep(), PART)
    desk.sandbox.fail_refund(refund.digital_river_id, "expired_or_canceled_card")
    desk.clock.forward(minutes=2)
    return check(desk, refund)


def test_refund_retry_after_a_failure_is_the_second_attempt_of_the_same_refund(
    desk: Desk, wire: Wire
) -> None:
    refund = failed(desk)
    first = refund.digital_river_id
    assert refund.state == State.FAILED
    assert Order.objects.get(pk=refund.order_id).left_amount == Decimal("27.01")

    refund = again(desk, refund)

    assert refund.state == State.PENDING
    assert refund.failure_reason == ""
    assert refund.digital_river_id not in {"", first}
    one, two = refund.attempts.order_by("number")
    assert (one.digital_river_id, two.digital_river_id) == (first, refund.digital_river_id)
    assert two.reference == f"{refund.reference}-2"
    assert wire.bodies[1] == wire.bodies[0] | {"metadata": {"refundReference": two.reference}}
    moves = [(each.from_state, each.to_state) for each in refund.history.all()][-3:]
    assert moves == [("failed", "queued"), ("queued", "submitting"), ("submitting", "pending")]

    desk.clock.forward(minutes=10)
    refund = check(desk, refund)
    assert refund.state == State.SUCCEEDED
    assert Refund.objects.count() == 1
    check_settled(desk, refund.order)
    assert Refund.objects.count() == 1


def test_refund_retry_after_expiry_is_sent_again(desk: Desk, wire: Wire) -> None:
    order = desk.order("wire_transfer")
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("16.31")))
    desk.clock.forward(minutes=10)
    refund = check(desk, refund)
    assert refund.state == State.PENDING_INFORMATION
    desk.clock.forward(days=31)
    refund = check(desk, refund)
    assert refund.state == State.EXPIRED

    refund = again(desk, refund)

    assert refund.state == State.PENDING
    assert refund.attempts.count() == 2
    check_account(desk, order)


def test_refund_retry_after_not_sent_is_sent_again(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(order, rep(), PART)
    assert refund.state == State.NOT_SENT

    refund = again(desk, refund)

    assert refund.state == State.PENDING
    assert [each["metadata"]["refundReference"] for each in at_digital_river(desk, order)] == [
        f"{refund.reference}-2"
    ]
    check_account(desk, order)


def test_refund_retry_refuses_when_less_is_left(desk: Desk, wire: Wire) -> None:
    refund = failed(desk)
    desk.submit(refund.order, rep("rep2"), Selection(Option.COMPLETE_ORDER, Decimal("20.00")))

    with pytest.raises(AmountInvalid, match=r"USD 7\.01"):
        again(desk, refund)

    assert Refund.objects.get(pk=refund.pk).state == State.FAILED
    assert len(wire.posts) == 2
    check_account(desk, refund.order)


def test_refund_retry_refuses_another_sum_than_was_asked_for(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(order, rep(), Selection(Option.TAX))
    assert refund.requested_amount == Decimal("2.01")
    desk.submit(order, rep("rep2"), Selection(Option.SHIPPING, Decimal("5.40")))

    with pytest.raises(FiguresChanged) as changed:
        again(desk, refund)

    assert (changed.value.seen, changed.value.now) == (
        {"total": Decimal("2.01")},
        {"total": Decimal("1.61")},
    )
    assert Refund.objects.get(pk=refund.pk).state == State.NOT_SENT


@pytest.mark.parametrize("settled", [False, True])
def test_refund_retry_refuses_what_digital_river_has(desk: Desk, wire: Wire, settled: bool) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), PART)
    if settled:
        desk.clock.forward(minutes=10)

    with pytest.raises(MoveForbidden):
        again(desk, refund)

    assert len(wire.posts) == 1


def test_refund_retry_pressed_twice_sends_once(desk: Desk, wire: Wire) -> None:
    refund = failed(desk)
    again(desk, Refund.objects.get(pk=refund.pk))

    with pytest.raises(MoveForbidden):
        again(desk, refund)

    assert len(wire.posts) == 2


def test_refund_retry_refuses_a_refund_made_elsewhere(desk: Desk, wire: Wire) -> None:
    order = desk.order("external_failed")
    refund = order.refunds.get()
    assert refund.state == State.FAILED

    with pytest.raises(MoveForbidden):
        again(desk, refund)

    assert wire.posts == []


def test_refund_retry_refuses_who_is_not_in_the_group(desk: Desk, wire: Wire) -> None:
    refund = failed(desk)

    with pytest.raises(PermissionMissing):
        refund_retry(refund=refund, user=person("viewer"), clock=desk.clock, client=desk.client)

    assert len(wire.posts) == 1


def test_refund_retry_refuses_while_digital_river_cannot_be_asked(desk: Desk, wire: Wire) -> None:
    refund = failed(desk)
    unplug(desk)

    with pytest.raises(OrderUnreadable):
        again(desk, refund)

    assert Refund.objects.get(pk=refund.pk).state == State.FAILED


def test_refund_retry_of_one_that_arrived_after_all_sends_nothing(desk: Desk, wire: Wire) -> None:
    """It counted as not sent, and turns up in the very look that comes before sending again."""
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(order, rep(), PART)
    attempt = refund.attempts.get()
    desk.client.create_refund(
        simplejson.loads(attempt.request, use_decimal=True), upstream_id=attempt.reference
    )

    with pytest.raises(MoveForbidden):
        again(desk, refund)

    refund.refresh_from_db()
    assert refund.state == State.PENDING
    assert "turned up" in refund.flag
    assert len(at_digital_river(desk, order)) == 1


def test_refund_retry_of_one_that_digital_river_paid_after_failing_it_sends_nothing(
    desk: Desk, wire: Wire
) -> None:
    refund = failed(desk)
    with desk.sandbox._writing() as connection:
        connection.execute(
            "UPDATE refunds SET state = 'succeeded', refunded = minor, failure_reason = NULL"
        )

    with pytest.raises(MoveForbidden):
        again(desk, refund)

    refund.refresh_from_db()
    assert "succeeded" in refund.flag
    assert len(wire.posts) == 1


# -- calling off -----------------------------------------------------------------------------------


def test_refund_cancel_of_one_not_sent_closes_it(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(order, rep(), PART)

    refund = refund_cancel(refund=refund, user=rep("rep2"), clock=desk.clock)

    assert refund.state == State.CANCELLED
    assert refund.settled_at == desk.clock()
    last = refund.history.last()
    assert last is not None
    assert last.actor == rep("rep2")
    check_settled(desk, order)


def test_refund_cancel_of_a_waiting_one_releases_it_and_it_is_never_sent(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=30)
    refund = desk.submit(order, rep(), PART)
    stale = Refund.objects.get(pk=refund.pk)
    assert refund.state == State.QUEUED

    refund_cancel(refund=refund, user=rep(), clock=desk.clock)

    order.refresh_from_db()
    assert order.left_amount == Decimal("27.01")
    desk.clock.forward(seconds=31)
    assert check(desk, stale).state == State.CANCELLED
    assert len(wire.posts) == 1
    check_settled(desk, order)


@pytest.mark.parametrize("settled", [False, True])
def test_refund_cancel_refuses_what_digital_river_has(desk: Desk, settled: bool) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), PART)
    if settled:
        desk.clock.forward(minutes=10)
        refund = check(desk, refund)

    with pytest.raises(MoveForbidden):
        refund_cancel(refund=refund, user=rep(), clock=desk.clock)


def test_refund_cancel_refuses_who_is_not_in_the_group(desk: Desk) -> None:
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(desk.order("worked_sample"), rep(), PART)

    with pytest.raises(PermissionMissing):
        refund_cancel(refund=refund, user=person("viewer"), clock=desk.clock)

    assert Refund.objects.get(pk=refund.pk).state == State.NOT_SENT


# -- looking ---------------------------------------------------------------------------------------


def test_refund_check_shows_a_failure_and_releases_what_it_held(desk: Desk) -> None:
    order = desk.order("failing_card")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("50.00")))
    assert refund.state == State.PENDING

    desk.clock.forward(minutes=10)
    refund = check(desk, refund)

    assert refund.state == State.FAILED
    assert refund.failure_reason == "expired_or_canceled_card"
    assert refund.held_amount == 0
    check_settled(desk, order)
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("329.63")


def test_refund_check_of_a_success_for_less_releases_the_rest(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), PART)
    desk.sandbox.succeed_refund(refund.digital_river_id, Decimal("9.00"))
    desk.clock.forward(minutes=2)

    refund = check(desk, refund)

    assert refund.state == State.SUCCEEDED
    assert refund.refunded_amount == refund.held_amount == Decimal("9.00")
    assert "USD 9.00 of USD 10.00" in refund.flag
    check_settled(desk, order)
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("18.01")


def test_refund_check_walks_through_needing_bank_details(desk: Desk) -> None:
    order = desk.order("wire_transfer")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("100.00")))

    desk.clock.forward(minutes=10)
    refund = check(desk, refund)
    assert refund.state == State.PENDING_INFORMATION
    deadline = refund.information_expires_at
    assert deadline is not None
    assert timedelta(days=29) < deadline - desk.clock() < timedelta(days=31)
    check_account(desk, order)

    desk.sandbox.provide_bank_details(refund.digital_river_id)
    refund = check(desk, refund)
    assert refund.state == State.PENDING
    assert refund.information_expires_at is None
    check_account(desk, order)

    desk.clock.forward(minutes=10)
    refund = check(desk, refund)
    assert refund.state == State.SUCCEEDED
    check_settled(desk, order)
    assert not any(
        "token" in text.lower()
        for attempt in refund.attempts.all()
        for text in (attempt.answer, attempt.outcome)
    )


def test_refund_check_shows_that_nobody_gave_bank_details(desk: Desk) -> None:
    order = desk.order("wire_transfer")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("100.00")))
    desk.clock.forward(minutes=10)
    check(desk, refund)

    desk.clock.forward(days=31)
    refund = check(desk, refund)

    assert refund.state == State.EXPIRED
    assert refund.settled_at == desk.clock()
    check_settled(desk, order)


def test_refund_check_of_a_settled_one_asks_nobody(desk: Desk, wire: Wire) -> None:
    refund = failed(desk)
    asked = len(wire.requests)

    assert check(desk, refund).state == State.FAILED
    assert len(wire.requests) == asked


def test_refund_check_says_that_digital_river_cannot_be_asked(desk: Desk) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), PART)
    unplug(desk)

    with pytest.raises(OrderUnreadable):
        check(desk, refund)

    assert Refund.objects.get(pk=refund.pk).state == State.PENDING


def test_refund_flag_names_each_thing_once_however_often_it_is_read(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("8.00"))
    refund = desk.submit(order, rep(), PART)
    desk.sandbox.succeed_refund(refund.digital_river_id, Decimal("7.00"))
    refund = check(desk, refund)
    flag = refund.flag
    assert "USD 8.00; USD 10.00" in flag
    assert "USD 7.00 of USD 8.00" in flag

    for amount in ("1.00", "1.01"):
        desk.clock.forward(minutes=1)
        desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal(amount)))
        desk.refresh(order)

    assert Refund.objects.get(pk=refund.pk).flag == flag


def test_showcase_names_the_orders_used_here() -> None:
    assert {"worked_sample", "all_options", "wire_transfer", "failing_card"} <= set(SHOWCASE)


def test_order_refresh_that_finds_half_the_order_refunded_elsewhere_leaves_its_fees(
    desk: Desk,
) -> None:
    order = desk.order("fees")
    fees = order.fees_amount + order.fee_tax_amount
    asked = (order.total_amount * 3 / 4).quantize(Decimal("0.01"))
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": order.currency, "amount": asked},
        upstream_id="elsewhere",
    )

    desk.refresh(order)

    ledger = order_position(order).ledger
    assert ledger.left_of(FEES) == fees
    assert ledger.left == order.total_amount - asked == ledger.left_of(Component)
