"""Closing out an order: shown first, one Complete Order refund, nothing left, whatever crashes."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from refunds.errors import (
    FiguresChanged,
    MoveForbidden,
    OrderNotEligible,
    OrderUnreadable,
    PermissionMissing,
)
from refunds.models import CloseOut, Grounds, Order, Refund, RefundReason
from refunds.options import Option, Selection
from refunds.selectors import CloseOutView, closeout_of, closeout_plan, closeout_view, order_account
from refunds.services.closeouts import (
    closeout_begin,
    closeout_call_off,
    closeout_check,
    closeout_continue,
    closeouts_continue,
)
from refunds.services.refunds import refund_cancel, refund_retry, refunds_settle
from refunds.services.sweeping import sweep
from sandbox.faults import FaultKind
from tests.desk import Desk, person, rep
from tests.services.account import (
    at_digital_river,
    check_account,
    check_settled,
    first_taken_late,
    spoil,
    unplug,
)
from tests.services.test_concurrency import at_once
from tests.services.wire import KilledError, Wire, kill

pytestmark = pytest.mark.django_db

State = Refund.State
PART = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
WHOLE = Decimal("27.01")


def grounds() -> Grounds:
    return Grounds(
        reason=RefundReason.objects.get(label="Requested by customer"), note="They moved away."
    )


def left_of(order: Order) -> Decimal:
    return order_account(Order.objects.get(pk=order.pk)).position.ledger.left


def begin(
    desk: Desk,
    order: Order,
    *,
    user: User | None = None,
    total: Decimal | None = None,
    seen_at: datetime | None = None,
) -> CloseOut:
    """Close out an order as the page would, by what its plan showed just now."""
    return closeout_begin(
        order=order,
        user=user or rep(),
        grounds=grounds(),
        seen_total=left_of(order) if total is None else total,
        seen_at=seen_at or desk.clock(),
        clock=desk.clock,
        client=desk.client,
    )


def go_on(desk: Desk, close_out: CloseOut) -> CloseOut:
    return closeout_continue(close_out=close_out, clock=desk.clock, client=desk.client)


def view_of(close_out: CloseOut) -> CloseOutView:
    return closeout_view(closeout_of(close_out.order.order_number, close_out.pk))


def sweep_round(desk: Desk) -> object:
    """Do what the sweep does about refunds and close-outs; returns what the close-outs came to."""
    refunds_settle(clock=desk.clock, client=desk.client)
    return dict(closeouts_continue(clock=desk.clock, client=desk.client))


def leave_fees(wire: Wire, fees: Decimal) -> None:
    """Let Digital River leave the fees out of a Complete Order refund, as it does of a part."""

    def without_fees(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "amount": body["amount"] - fees} if "amount" in body else body

    wire.rewrite = without_fees


def check_whole_orders(close_out: CloseOut) -> None:
    """Assert that no more than one Complete Order refund was ever made for it."""
    assert close_out.refunds.filter(option=Option.COMPLETE_ORDER).count() == 1


def on_read(wire: Wire, number: int, hook: Callable[[], None]) -> None:
    """Let the hook run after the order was read for so many times."""

    def again() -> None:
        on_read(wire, number - 1, hook)

    wire.after_read = again if number > 1 else hook


# -- the plan --------------------------------------------------------------------------------------


def test_plan_sends_exactly_all_that_is_left_with_the_fees_named(desk: Desk) -> None:
    order = desk.order("fees")
    plan = closeout_plan(order_account(order))
    assert plan.quote is not None
    assert plan.closed_because == ""
    assert plan.quote.total == order.left_amount
    assert plan.quote.request == {"amount": order.left_amount}
    assert plan.quote.position_after.ledger.left == 0
    fees = order.fees_amount + order.fee_tax_amount
    assert fees > 0
    assert sum(amount for _, amount in plan.fees) == fees
    assert {name for name, _ in plan.fees} <= {line.product_name for line in order.lines.all()}


def test_plan_after_a_part_leaves_that_out_and_tells_what_is_on_its_way(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), PART)
    plan = closeout_plan(order_account(desk.refresh(order)))
    assert plan.quote is not None
    assert plan.quote.total == Decimal("17.01")
    assert plan.in_flight == Decimal("10.00")
    assert plan.running is None


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("dispute", "dispute"),
        ("accepted_with_capture", "not yet fulfilled"),
        ("fully_refunded", "everything the customer paid was given back"),
    ],
)
def test_plan_of_an_order_that_cannot_be_refunded_says_why(
    desk: Desk, case: str, words: str
) -> None:
    plan = closeout_plan(order_account(desk.order(case)))
    assert plan.quote is None
    assert words in plan.closed_because


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (FaultKind.LOST_AFTER, "has an unknown outcome"),
        (FaultKind.RATE_LIMITED, "waits to be sent"),
    ],
)
def test_plan_waits_for_a_refund_whose_outcome_is_open(
    desk: Desk, fault: FaultKind, words: str
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, fault)
    refund = desk.submit(order, rep(), PART)
    plan = closeout_plan(order_account(order))
    assert plan.quote is None
    assert plan.closed_because.startswith(f"Refund {refund.reference} of this order {words}")


def test_plan_waits_for_a_refund_that_is_being_sent(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    wire.before_post = kill
    with pytest.raises(KilledError):
        desk.submit(order, rep(), PART)
    assert "is being sent right now" in closeout_plan(order_account(order)).closed_because


# -- the usual way ---------------------------------------------------------------------------------


def test_close_out_sends_one_complete_order_refund_and_is_done(desk: Desk, wire: Wire) -> None:
    order = desk.order("all_options")
    total = order.left_amount
    close_out = begin(desk, order)

    assert close_out.state == CloseOut.State.DONE
    assert close_out.planned_amount == total
    assert close_out.finished_at == desk.clock()
    assert close_out.next_step_at is None
    (body,) = wire.bodies
    assert body["amount"] == total
    assert body["reason"] == close_out.reason_text == "requested_by_customer"
    assert "type" not in body
    refund = close_out.refunds.get()
    assert (refund.state, refund.option) == (State.PENDING, Option.COMPLETE_ORDER)
    assert refund.created_by == rep()
    assert refund.note == "They moved away."
    assert [entry.summary for entry in refund.history.all()][2] == "Part of closing out the order."
    desk.sandbox.settle_now()
    check_settled(desk, order)
    assert left_of(order) == 0
    assert Order.objects.get(pk=order.pk).refundable is False


def test_close_out_of_an_inconsistent_order_gives_all_back(desk: Desk) -> None:
    order = desk.order("inconsistent")
    assert order.left_amount > 0
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.DONE
    desk.sandbox.settle_now()
    check_settled(desk, order)
    assert left_of(order) == 0


def test_close_out_after_a_part_gives_the_rest_back(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), PART)
    close_out = begin(desk, desk.refresh(order))
    assert close_out.state == CloseOut.State.DONE
    assert wire.bodies[-1]["amount"] == Decimal("17.01")
    desk.sandbox.settle_now()
    check_settled(desk, order)


def test_fees_that_digital_river_left_are_refunded_per_line_afterwards(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("fees")
    fees = order.fees_amount + order.fee_tax_amount
    leave_fees(wire, fees)
    close_out = begin(desk, order)

    assert close_out.state == CloseOut.State.DONE, close_out.outcome
    whole, rest = wire.bodies
    assert whole["amount"] == close_out.planned_amount
    assert {item["type"] for item in rest["items"]} == {"fees"}
    first, second = close_out.refunds.order_by("pk")
    assert (first.option, second.option) == (Option.COMPLETE_ORDER, Option.FEES)
    assert second.held_amount == fees
    assert first.held_amount + second.held_amount == close_out.planned_amount
    # What Digital River did otherwise than asked stays visible.
    assert "was asked for" in first.flag
    assert second.flag == ""
    assert second.note == "They moved away."
    desk.sandbox.settle_now()
    check_settled(desk, order)
    assert left_of(order) == 0


def test_something_left_that_is_no_fee_stops_it_and_says_what_to_do(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("20.00"))
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.STOPPED
    assert close_out.outcome.startswith("USD 7.01 is still left")
    assert "refund it from there" in close_out.outcome
    check_whole_orders(close_out)
    # The order can be closed out once more, for the rest.
    again = begin(desk, desk.refresh(order))
    assert again.state == CloseOut.State.DONE
    assert again.planned_amount == Decimal("7.01")
    desk.sandbox.settle_now()
    check_settled(desk, order)


def test_more_left_than_the_button_named_is_not_sent(desk: Desk, wire: Wire) -> None:
    order = desk.order("fees")
    fees = order.fees_amount + order.fee_tax_amount
    leave_fees(wire, fees)

    def name_less() -> None:
        CloseOut.objects.update(planned_amount=order.left_amount - fees)

    # Between the first refund and the look at what is left.
    wire.after_post = name_less
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.STOPPED
    assert "more than the button named" in close_out.outcome
    assert len(wire.posts) == 1


# -- refused before anything is sent ---------------------------------------------------------------


def test_person_outside_the_permission_set_cannot_begin(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    with pytest.raises(PermissionMissing):
        begin(desk, order, user=person("viewer"))
    assert not CloseOut.objects.exists()
    assert wire.posts == []


def test_figures_other_than_the_person_saw_send_nothing(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    # Made elsewhere, and not known here before the order is read.
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("10.00")},
        upstream_id="elsewhere",
    )
    with pytest.raises(FiguresChanged, match="Nothing was sent") as caught:
        begin(desk, order, total=WHOLE)
    assert caught.value.seen == {"total": WHOLE}
    assert caught.value.now == {"total": Decimal("17.01")}
    assert not CloseOut.objects.exists()
    assert len(wire.posts) == 1


def test_order_that_cannot_be_read_begins_nothing(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    unplug(desk)
    with pytest.raises(OrderUnreadable):
        begin(desk, order)
    assert not CloseOut.objects.exists()
    assert not Refund.objects.exists()


def test_order_in_dispute_begins_nothing(desk: Desk) -> None:
    order = desk.order("dispute")
    with pytest.raises(OrderNotEligible, match="dispute"):
        begin(desk, order, total=Decimal("1.00"))
    assert not CloseOut.objects.exists()


def test_submitting_the_page_twice_leads_to_the_same_close_out(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    seen_at = desk.clock()
    desk.clock.forward(seconds=5)
    first = begin(desk, order, seen_at=seen_at)
    second = begin(desk, order, total=WHOLE, seen_at=seen_at)
    assert first.pk == second.pk
    assert len(wire.posts) == 1


def test_second_person_is_told_that_it_is_being_closed_out(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=2)
    plan = closeout_plan(order_account(order))
    assert plan.running == close_out
    with pytest.raises(OrderNotEligible, match="being closed out already"):
        begin(desk, order, user=rep("rep2"))


def test_database_lets_only_one_run_at_a_time(desk: Desk) -> None:
    order = desk.order("worked_sample")
    columns = {
        "order": order,
        "currency": "USD",
        "planned_amount": WHOLE,
        "reason": grounds().reason,
        "created_by": rep(),
        "created_at": desk.clock(),
    }
    CloseOut.objects.create(**columns)
    with pytest.raises(IntegrityError), transaction.atomic():
        CloseOut.objects.create(**columns)


# -- crashes ---------------------------------------------------------------------------------------


def killed(desk: Desk, wire: Wire, order: Order, *, at_read: int = 0) -> CloseOut:
    """Begin a close-out whose process goes away after the order was read for so many times.

    The first read comes before anything is written, the second between the draft and its sending,
    the third after Digital River took it on.
    """
    if at_read:
        on_read(wire, at_read, kill)
    with pytest.raises(KilledError):
        begin(desk, order)
    return CloseOut.objects.get()


def test_killed_before_anything_was_written_leaves_nothing(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    on_read(wire, 1, kill)
    with pytest.raises(KilledError):
        begin(desk, order)
    assert not CloseOut.objects.exists()
    assert not Refund.objects.exists()


def test_killed_before_its_refund_was_submitted_is_sent_by_the_sweep(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=2)
    assert close_out.refunds.get().state == State.DRAFT
    assert sweep_round(desk) == {}
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"done": 1}
    assert sweep_round(desk) == {}
    assert len(wire.posts) == 1
    check_whole_orders(close_out)
    submitted = close_out.refunds.get().history.get(to_state=State.SUBMITTING)
    assert submitted.actor == rep()
    desk.sandbox.settle_now()
    check_settled(desk, order)


def test_killed_before_the_call_ends_with_nothing_sent_and_says_so(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    wire.before_post = kill
    close_out = killed(desk, wire, order)
    assert close_out.refunds.get().state == State.SUBMITTING
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"running": 1}
    for _ in range(3):
        desk.clock.forward(minutes=2)
        sweep_round(desk)
    close_out.refresh_from_db()
    refund = close_out.refunds.get()
    assert refund.state == State.NOT_SENT
    assert close_out.state == CloseOut.State.STOPPED
    assert f"Refund {refund.reference} never reached Digital River" in close_out.outcome
    assert at_digital_river(desk, order) == []
    check_account(desk, order)


def test_killed_after_the_call_is_found_and_done(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    wire.after_post = kill
    close_out = killed(desk, wire, order)
    for _ in range(3):
        desk.clock.forward(minutes=2)
        sweep_round(desk)
    close_out.refresh_from_db()
    assert close_out.state == CloseOut.State.DONE
    assert len(wire.posts) == 1
    desk.sandbox.settle_now()
    check_settled(desk, order)


def test_killed_after_it_was_taken_on_is_done_by_the_sweep(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=3)
    assert close_out.state == CloseOut.State.RUNNING
    assert close_out.refunds.get().state == State.PENDING
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"done": 1}
    assert len(wire.posts) == 1


@pytest.mark.parametrize("at_read", [4, 5])
def test_killed_around_its_fees_sends_them_once(desk: Desk, wire: Wire, at_read: int) -> None:
    order = desk.order("fees")
    fees = order.fees_amount + order.fee_tax_amount
    leave_fees(wire, fees)
    close_out = killed(desk, wire, order, at_read=at_read)
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"done": 1}
    assert len(wire.posts) == 2
    check_whole_orders(close_out)
    desk.sandbox.settle_now()
    check_settled(desk, order)


@pytest.mark.parametrize("sent", [False, True])
def test_killed_while_its_fees_were_sent_is_settled(desk: Desk, wire: Wire, sent: bool) -> None:
    order = desk.order("fees")
    fees = order.fees_amount + order.fee_tax_amount
    leave_fees(wire, fees)

    def then() -> None:
        # The first call is through; the next one is that of the fees.
        if sent:
            wire.after_post = kill
        else:
            wire.before_post = kill

    wire.after_post = then
    close_out = killed(desk, wire, order)
    for _ in range(5):
        desk.clock.forward(minutes=2)
        sweep_round(desk)
    close_out.refresh_from_db()
    assert close_out.state == (CloseOut.State.DONE if sent else CloseOut.State.STOPPED)
    check_whole_orders(close_out)
    assert close_out.refunds.count() == 2
    desk.sandbox.settle_now()
    check_settled(desk, order)


def test_overtaken_by_another_process_it_does_not_stop_what_that_one_sent(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=2)
    desk.clock.forward(minutes=2)
    # While this process reads the order, another one sends the draft it has in its hands.
    wire.after_read = lambda: go_on_elsewhere(desk, close_out)
    assert go_on(desk, close_out).state == CloseOut.State.DONE
    assert len(wire.posts) == 1
    assert close_out.refunds.get().state == State.PENDING


def go_on_elsewhere(desk: Desk, close_out: CloseOut) -> None:
    assert go_on(desk, close_out).state == CloseOut.State.DONE
    # It did all but the last thing.
    CloseOut.objects.filter(pk=close_out.pk).update(
        state=CloseOut.State.RUNNING, finished_at=None, outcome=""
    )


def test_continuing_any_number_of_times_sends_nothing_more(desk: Desk, wire: Wire) -> None:
    close_out = begin(desk, desk.order("worked_sample"))
    for _ in range(3):
        assert go_on(desk, close_out).state == CloseOut.State.DONE
    assert len(wire.posts) == 1


def test_sweep_carries_close_outs_on(desk: Desk, wire: Wire) -> None:
    killed(desk, wire, desk.order("worked_sample"), at_read=2)
    desk.clock.forward(minutes=2)
    assert sweep(clock=desk.clock, client=desk.client)["close-outs"] == {"done": 1}


def test_sweep_leaves_alone_what_another_round_has_carried_on(desk: Desk, wire: Wire) -> None:
    killed(desk, wire, desk.order("worked_sample"), at_read=2)
    other = desk.order("plain_usd")
    on_read(wire, 2, kill)
    with pytest.raises(KilledError):
        begin(desk, other)
    desk.clock.forward(minutes=2)
    rounds: list[object] = []
    # While the first one is carried on, another round does the second.
    wire.after_read = lambda: rounds.append(sweep_round(desk))
    rounds.append(sweep_round(desk))
    assert rounds == [{"done": 1}, {"done": 1}]
    assert len(wire.posts) == 2


def test_one_that_goes_wrong_leaves_the_others_their_turn(desk: Desk, wire: Wire) -> None:
    killed(desk, wire, desk.order("worked_sample"), at_read=2)
    other = desk.order("plain_usd")
    on_read(wire, 2, kill)
    with pytest.raises(KilledError):
        begin(desk, other)

    def break_down() -> None:
        raise RuntimeError("nobody expected this")

    wire.after_read = break_down
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"went wrong": 1, "done": 1}
    desk.clock.forward(minutes=6)
    assert sweep_round(desk) == {"done": 1}


# -- what became of its refund ---------------------------------------------------------------------


def test_turned_away_refund_is_waited_for_and_then_done(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=300)
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.RUNNING
    assert close_out.next_step_at == desk.clock() + timedelta(seconds=300)
    desk.clock.forward(seconds=301)
    assert sweep_round(desk) == {"done": 1}
    assert len(wire.posts) == 2
    assert len(at_digital_river(desk, order)) == 1


@pytest.mark.parametrize(
    ("case", "fault", "state", "words"),
    [
        ("refused_on_creation", None, State.REFUSED, "Put right what is named here"),
        ("worked_sample", FaultKind.CONNECTION_REFUSED, State.NOT_SENT, "never reached"),
    ],
)
def test_refund_that_came_to_nothing_stops_it_with_a_sentence(
    desk: Desk, case: str, fault: FaultKind | None, state: str, words: str
) -> None:
    order = desk.order(case)
    if fault:
        spoil(desk, fault)
    close_out = begin(desk, order)
    refund = close_out.refunds.get()
    assert refund.state == state
    assert close_out.state == CloseOut.State.STOPPED
    assert close_out.outcome.startswith(f"Refund {refund.reference}")
    assert words in close_out.outcome
    assert close_out.finished_at == desk.clock()
    check_account(desk, order)
    assert left_of(order) == close_out.planned_amount


def test_refund_refused_after_all_stops_it_with_digital_river_s_words(desk: Desk) -> None:
    close_out = begin(desk, desk.order("refused_on_creation"))
    assert "The refund could not be created." in close_out.outcome


def test_refund_called_off_while_it_waits_stops_it(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=300)
    close_out = begin(desk, order)
    refund_cancel(refund=close_out.refunds.get(), user=rep(), clock=desk.clock)
    desk.clock.forward(minutes=6)
    assert sweep_round(desk) == {"stopped": 1}
    close_out.refresh_from_db()
    assert "was called off before it was sent" in close_out.outcome


def test_refund_that_fails_before_the_look_stops_it_and_sends_no_fees(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("failing_card")

    def fail() -> None:
        assert desk.sandbox.settle_now() > 0

    # What fails before anybody looked is found out by the very look for what is left.
    wire.after_post = fail
    close_out = begin(desk, order)
    assert close_out.refunds.get().state == State.FAILED
    assert close_out.state == CloseOut.State.STOPPED
    assert "failed after Digital River had taken it" in close_out.outcome
    assert len(wire.posts) == 1
    assert left_of(order) == close_out.planned_amount


def test_refund_that_fails_while_others_take_all_is_not_called_done(desk: Desk, wire: Wire) -> None:
    order = desk.order("failing_card")

    def fail_and_refund_elsewhere() -> None:
        assert desk.sandbox.settle_now() > 0
        desk.client.create_refund(
            {"orderId": order.digital_river_id, "currency": "USD", "amount": order.left_amount},
            upstream_id="elsewhere",
        )

    wire.after_post = fail_and_refund_elsewhere
    close_out = begin(desk, order)
    assert left_of(order) == 0
    assert close_out.state == CloseOut.State.STOPPED
    assert "failed after Digital River had taken it" in close_out.outcome


def test_done_is_taken_back_on_its_page_when_the_refund_fails_later(desk: Desk) -> None:
    order = desk.order("failing_card")
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.DONE
    view = view_of(close_out)
    assert (view.label, view.tone) == ("Nothing left", "good")
    assert view.sentence.endswith("is on its way.")
    desk.sandbox.settle_now()
    desk.refresh(order)
    view = view_of(close_out)
    refund = close_out.refunds.get()
    assert (view.label, view.tone) == ("Something is left again", "warning")
    assert view.sentence.startswith(f"Refund {refund.reference} of it is failed now")
    assert view.trouble == refund
    refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    view = view_of(close_out)
    assert view.label == "Nothing left"


def test_stopped_by_a_refund_that_was_sent_again_says_what_became_of_it(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    close_out = begin(desk, order)
    refund = close_out.refunds.get()
    assert "no money has moved" in view_of(close_out).sentence
    refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    view = view_of(close_out)
    assert view.sentence == (
        f"It stopped because refund {refund.reference} had come to nothing. Since then Digital "
        "River has taken it on: it is pending now."
    )
    assert view.next == "open the order to see whether anything is left."
    assert view.trouble is None


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "done"])
def test_refund_whose_earlier_attempt_pays_is_not_to_be_sent_again(
    desk: Desk, stopped: bool
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_BEFORE)
    close_out = begin(desk, order)
    for seconds in (1, 61):
        desk.clock.forward(seconds=seconds)
        desk.refresh(order)
    refund = close_out.refunds.get()
    assert refund.state == State.NOT_SENT
    if stopped:
        assert go_on(desk, close_out).state == CloseOut.State.STOPPED
    refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    if not stopped:
        assert go_on(desk, close_out).state == CloseOut.State.DONE

    refund, paying = first_taken_late(desk, refund)

    view = view_of(close_out)
    assert view.trouble is None
    assert view.refunds == [paying, refund]
    assert "send" not in view.sentence + view.next.removeprefix("Digital River sends")
    if stopped:
        assert view.sentence == (
            f"It stopped because refund {refund.reference} had come to nothing. Since then "
            f"Digital River has taken on refund {paying.reference} in its place: it is pending now."
        )
    else:
        assert view.label == "Nothing left"
        assert view.sentence == (
            "Nothing is left to refund on this order: USD 27.01 is on its way."
        )


def test_done_says_given_back_once_the_money_went(desk: Desk) -> None:
    order = desk.order("worked_sample")
    close_out = begin(desk, order)
    desk.sandbox.settle_now()
    desk.refresh(order)
    view = view_of(close_out)
    assert view.sentence == "Nothing is left to refund on this order: USD 27.01 was given back."
    assert view.next == ""


# -- what changed before it could be sent ----------------------------------------------------------


def test_resumed_where_it_would_come_to_another_amount_stops(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=2)
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("10.00")},
        upstream_id="elsewhere",
    )
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"stopped": 1}
    close_out.refresh_from_db()
    refund = close_out.refunds.get()
    assert refund.state == State.CANCELLED
    assert "USD 27.01" in close_out.outcome
    assert "USD 17.01 is what is left now" in close_out.outcome
    assert len(wire.posts) == 1
    check_account(desk, order)


def test_change_between_the_plan_and_the_sending_stops_it(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")

    def meanwhile() -> None:
        desk.client.create_refund(
            {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("1.00")},
            upstream_id="elsewhere",
        )

    # After the read that the figures are compared with, before the one of the submission.
    on_read(wire, 1, meanwhile)
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.STOPPED
    assert "was not sent." in close_out.outcome
    assert close_out.refunds.get().state == State.CANCELLED
    assert len(wire.posts) == 1


def test_person_who_lost_the_permission_since_stops_it(desk: Desk, wire: Wire) -> None:
    close_out = killed(desk, wire, desk.order("worked_sample"), at_read=2)
    rep().groups.clear()
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {"stopped": 1}
    close_out.refresh_from_db()
    assert close_out.outcome.startswith("Rep Tester, who began it, may not make refunds any more")
    assert close_out.refunds.get().state == State.CANCELLED
    assert wire.posts == []


def test_draft_that_expired_meanwhile_stops_it(desk: Desk, wire: Wire) -> None:
    close_out = killed(desk, wire, desk.order("worked_sample"), at_read=2)
    desk.clock.forward(days=30)
    assert sweep_round(desk) == {"stopped": 1}
    close_out.refresh_from_db()
    assert "expired" in close_out.outcome
    assert wire.posts == []


def test_digital_river_away_is_waited_for(desk: Desk, wire: Wire) -> None:
    close_out = killed(desk, wire, desk.order("worked_sample"), at_read=2)
    desk.clock.forward(minutes=2)
    unplug(desk)
    assert sweep_round(desk) == {"running": 1}
    close_out.refresh_from_db()
    assert "Digital River" in close_out.outcome
    assert close_out.next_step_at == desk.clock() + timedelta(minutes=5)
    desk.clock.forward(minutes=5)
    assert sweep_round(desk) == {"done": 1}
    assert len(wire.posts) == 1


def test_digital_river_away_after_it_was_taken_on_is_waited_for(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    wire.after_post = lambda: unplug(desk)
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.RUNNING
    assert close_out.refunds.get().state == State.PENDING
    assert "Digital River" in close_out.outcome
    desk.clock.forward(minutes=5)
    assert sweep_round(desk) == {"done": 1}


# -- a person looks, or calls it off ---------------------------------------------------------------


def test_check_settles_its_refund_and_carries_it_on(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_AFTER)
    close_out = begin(desk, order)
    assert close_out.state == CloseOut.State.RUNNING
    assert close_out.refunds.get().state == State.UNKNOWN
    desk.clock.forward(seconds=1)
    checked = closeout_check(
        close_out=close_out, user=rep("rep2"), clock=desk.clock, client=desk.client
    )
    assert checked.state == CloseOut.State.DONE
    found = close_out.refunds.get().history.last()
    assert found is not None
    assert (found.actor_kind, found.actor) == ("check", rep("rep2"))


def test_check_by_a_person_outside_the_set_is_refused(desk: Desk) -> None:
    close_out = begin(desk, desk.order("worked_sample"))
    with pytest.raises(PermissionMissing):
        closeout_check(
            close_out=close_out, user=person("viewer"), clock=desk.clock, client=desk.client
        )


def test_check_that_cannot_ask_says_so(desk: Desk) -> None:
    spoil(desk, FaultKind.LOST_AFTER)
    close_out = begin(desk, desk.order("worked_sample"))
    unplug(desk)
    with pytest.raises(OrderUnreadable):
        closeout_check(close_out=close_out, user=rep(), clock=desk.clock, client=desk.client)


def test_call_off_drops_what_was_not_sent(desk: Desk, wire: Wire) -> None:
    close_out = killed(desk, wire, desk.order("worked_sample"), at_read=2)
    called_off = closeout_call_off(close_out=close_out, user=rep("rep2"), clock=desk.clock)
    assert called_off.state == CloseOut.State.STOPPED
    assert called_off.outcome.startswith("Called off by Rep2 Tester")
    refund = close_out.refunds.get()
    assert refund.state == State.CANCELLED
    last = refund.history.last()
    assert last is not None
    assert last.actor == rep("rep2")
    desk.clock.forward(minutes=2)
    assert sweep_round(desk) == {}
    assert wire.posts == []


def test_call_off_of_what_was_sent_is_refused(desk: Desk) -> None:
    close_out = begin(desk, desk.order("worked_sample"))
    with pytest.raises(MoveForbidden, match="cannot be called off"):
        closeout_call_off(close_out=close_out, user=rep(), clock=desk.clock)
    close_out.refresh_from_db()
    assert close_out.state == CloseOut.State.DONE


def test_call_off_by_a_person_outside_the_set_is_refused(desk: Desk, wire: Wire) -> None:
    close_out = killed(desk, wire, desk.order("worked_sample"), at_read=2)
    with pytest.raises(PermissionMissing):
        closeout_call_off(close_out=close_out, user=person("viewer"), clock=desk.clock)


def test_view_of_a_running_one_says_what_it_waits_for(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=2)
    view = view_of(close_out)
    assert view.is_running
    assert view.can_call_off
    assert view.sentence == "Its next refund is not sent yet."
    assert view.refunds == []
    closeout_call_off(close_out=close_out, user=rep(), clock=desk.clock)
    spoil(desk, FaultKind.LOST_AFTER)
    desk.clock.forward(seconds=1)
    close_out = begin(desk, order)
    view = view_of(close_out)
    assert "do not refund again" in view.sentence
    assert not view.can_call_off


# -- many at once ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_four_processes_carry_one_on_at_once_and_one_refund_is_sent(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    close_out = killed(desk, wire, order, at_read=2)
    outcomes = at_once([lambda: go_on(desk, close_out)] * 4)
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    desk.clock.forward(minutes=2)
    go_on(desk, close_out)
    close_out.refresh_from_db()
    assert close_out.state == CloseOut.State.DONE
    assert len(wire.posts) == 1
    desk.sandbox.settle_now()
    check_settled(desk, order)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_four_processes_find_fees_left_at_once_and_they_are_sent_once(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("fees")
    fees = order.fees_amount + order.fee_tax_amount
    leave_fees(wire, fees)
    close_out = killed(desk, wire, order, at_read=3)
    outcomes = at_once([lambda: go_on(desk, close_out)] * 4)
    assert not [each for each in outcomes if isinstance(each, Exception)], outcomes
    desk.clock.forward(minutes=2)
    go_on(desk, close_out)
    close_out.refresh_from_db()
    assert close_out.state == CloseOut.State.DONE, close_out.outcome
    assert len(wire.posts) == 2
    desk.sandbox.settle_now()
    check_settled(desk, order)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_two_people_begin_at_once_and_one_close_out_is_made(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    people = [rep(), rep("rep2")]
    seen_at = desk.clock()
    outcomes = at_once(
        [
            lambda user=user: begin(  # type: ignore[misc]
                desk, Order.objects.get(pk=order.pk), user=user, total=WHOLE, seen_at=seen_at
            )
            for user in people
        ]
    )
    begun = [each for each in outcomes if isinstance(each, CloseOut)]
    refused = [each for each in outcomes if isinstance(each, OrderNotEligible | FiguresChanged)]
    assert (len(begun), len(refused)) == (1, 1), outcomes
    assert CloseOut.objects.count() == 1
    assert len(wire.posts) == 1
    check_account(desk, order)
