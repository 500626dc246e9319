"""What each way a call can end means for the refund, its money and what is sent afterwards."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from refunds.digitalriver.errors import NotSent
from refunds.errors import MoveForbidden
from refunds.models import CHECK, Actor, Order, Refund
from refunds.options import Option, Selection
from refunds.services.attempts import attempt_record, attempt_send, lease_length
from refunds.services.refunds import (
    refund_cancel,
    refund_check,
    refund_retry,
    refund_submit,
    refunds_settle,
)
from sandbox.faults import FaultKind
from tests.desk import Desk, rep
from tests.services.account import at_digital_river, check_account, check_settled, spoil, unplug
from tests.services.wire import KilledError, Wire, kill

pytestmark = pytest.mark.django_db

State = Refund.State
PART = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))


def submit(desk: Desk) -> Refund:
    """Submit USD 10.00 of the order of USD 27.01."""
    return desk.submit(desk.order("worked_sample"), rep(), PART)


def settle(desk: Desk) -> dict[str, int]:
    """Run one settling round."""
    return dict(refunds_settle(clock=desk.clock, client=desk.client))


def begun_and_killed(desk: Desk, wire: Wire, *, sent: bool) -> Refund:
    """Return a refund whose sender went away before the call, or after it but before its record."""
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    if sent:
        wire.after_post = kill
    else:
        wire.before_post = kill
    with pytest.raises(KilledError):
        refund_submit(
            draft=draft,
            user=rep(),
            seen=desk.seen(draft, PART),
            clock=desk.clock,
            client=desk.client,
        )
    refund = Refund.objects.get(pk=draft.pk)
    assert refund.state == State.SUBMITTING
    return refund


def test_attempt_refused_keeps_digital_river_s_words_and_releases_the_money(desk: Desk) -> None:
    order = desk.order("refused_on_creation")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER))

    assert refund.state == State.REFUSED
    assert "The refund could not be created." in refund.refusal
    assert refund.settled_at == desk.clock()
    assert refund.held_amount == 0
    attempt = refund.attempts.get()
    assert attempt.status == 400
    assert "The refund could not be created." in attempt.outcome
    last = refund.history.last()
    assert last is not None
    assert last.request_id == attempt.request_id != ""
    assert (last.from_state, last.to_state) == ("submitting", "refused")
    check_settled(desk, order)
    order.refresh_from_db()
    assert order.left_amount == order.captured_amount


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 409])
def test_attempt_answered_by_any_other_definite_no_is_refused(desk: Desk, status: int) -> None:
    spoil(desk, FaultKind.ERROR, status=status)
    refund = submit(desk)

    assert refund.state == State.REFUSED
    assert refund.attempts.get().status == status
    assert at_digital_river(desk, refund.order) == []
    check_settled(desk, refund.order)


def test_attempt_turned_away_waits_as_long_as_told_and_is_sent_once(desk: Desk, wire: Wire) -> None:
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=90)
    refund = submit(desk)

    assert refund.state == State.QUEUED
    assert refund.next_check_at == desk.clock() + timedelta(seconds=90)
    check_account(desk, refund.order)
    assert Order.objects.get(pk=refund.order_id).left_amount == Decimal("17.01")

    desk.clock.forward(seconds=89)
    assert settle(desk) == {}
    waiting = refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)
    assert waiting.state == State.QUEUED
    assert len(wire.posts) == 1

    desk.clock.forward(seconds=1)
    assert settle(desk) == {"pending": 1}
    assert settle(desk) == {}
    assert [each["metadata"]["refundReference"] for each in wire.bodies] == [
        f"{refund.reference}-1",
        f"{refund.reference}-2",
    ]
    assert len(at_digital_river(desk, refund.order)) == 1
    refund.refresh_from_db()
    assert refund.state == State.PENDING
    last = refund.history.last()
    assert last is not None
    assert last.actor_kind == "sweep"
    desk.clock.forward(minutes=10)
    check_settled(desk, refund.order)


def test_attempt_turned_away_again_waits_again(desk: Desk, wire: Wire) -> None:
    spoil(desk, FaultKind.RATE_LIMITED, times=2, retry_after=30)
    refund = submit(desk)
    stale = Refund.objects.get(pk=refund.pk)

    desk.clock.forward(seconds=30)
    assert settle(desk) == {"queued": 1}
    # Somebody who looked before that round, and comes second, must not cut the new wait short.
    refund_check(refund=stale, actor=CHECK, clock=desk.clock, client=desk.client)
    assert len(wire.posts) == 2

    desk.clock.forward(seconds=30)
    assert settle(desk) == {"pending": 1}
    check_account(desk, refund.order)


def test_attempt_that_waited_is_refused_when_its_money_is_gone(desk: Desk, wire: Wire) -> None:
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=30)
    refund = submit(desk)
    desk.client.create_refund(
        {
            "orderId": refund.order.digital_river_id,
            "currency": "USD",
            "amount": Decimal("20.00"),
        },
        upstream_id="dashboard",
    )

    desk.clock.forward(seconds=30)
    assert settle(desk) == {"refused": 1}

    refund.refresh_from_db()
    assert "USD 7.01" in refund.refusal
    assert len(wire.posts) == 2
    desk.clock.forward(minutes=10)
    check_settled(desk, refund.order)


def test_attempt_that_waited_keeps_waiting_while_digital_river_cannot_be_asked(
    desk: Desk, wire: Wire
) -> None:
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=30)
    refund = submit(desk)
    desk.clock.forward(seconds=30)
    unplug(desk)

    assert settle(desk) == {"unreadable": 1}

    refund.refresh_from_db()
    assert refund.state == State.QUEUED
    desk.clock.forward(minutes=5)
    assert settle(desk) == {"pending": 1}
    assert len(at_digital_river(desk, refund.order)) == 1


def test_attempt_never_connected_is_not_sent_and_holds_nothing(desk: Desk) -> None:
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = submit(desk)

    assert refund.state == State.NOT_SENT
    assert refund.held_amount == 0
    assert refund.next_check_at is None
    check_settled(desk, refund.order)
    assert Order.objects.get(pk=refund.order_id).left_amount == Decimal("27.01")


LOST = [
    pytest.param(FaultKind.LOST_BEFORE, {}, False, id="hung up before it was made"),
    pytest.param(FaultKind.LOST_BEFORE, {"how": "timeout"}, False, id="timed out before"),
    pytest.param(FaultKind.ERROR, {"status": 500}, False, id="500"),
    pytest.param(FaultKind.ERROR, {"status": 502}, False, id="502"),
    pytest.param(FaultKind.ERROR, {"status": 503}, False, id="503"),
    pytest.param(FaultKind.ERROR, {"status": 408}, False, id="408"),
    pytest.param(FaultKind.LOST_AFTER, {}, True, id="hung up after it was made"),
    pytest.param(FaultKind.LOST_AFTER, {"how": "timeout"}, True, id="timed out after"),
    pytest.param(FaultKind.MALFORMED, {}, True, id="cut off"),
    pytest.param(FaultKind.WRONG_SHAPE, {}, True, id="another shape"),
]


@pytest.mark.parametrize(("kind", "options", "made"), LOST)
def test_attempt_without_an_answer_is_unknown_until_looked_for(
    desk: Desk, wire: Wire, kind: FaultKind, options: dict[str, object], made: bool
) -> None:
    spoil(desk, kind, **options)
    refund = submit(desk)
    order = refund.order

    assert refund.state == State.UNKNOWN
    assert refund.held_amount == Decimal("10.00")
    assert refund.next_check_at == desk.clock()
    check_account(desk, order)

    desk.clock.forward(seconds=1)
    if made:
        assert settle(desk) == {"pending": 1}
        refund.refresh_from_db()
        [theirs] = at_digital_river(desk, order)
        attempt = refund.attempts.get()
        assert refund.digital_river_id == attempt.digital_river_id == theirs["id"]
        assert refund.flag == ""
    else:
        assert settle(desk) == {"unknown": 1}
        desk.clock.forward(seconds=59)
        assert settle(desk) == {}
        assert _looked(desk, refund).state == State.UNKNOWN
        desk.clock.forward(seconds=1)
        assert settle(desk) == {"not_sent": 1}
        refund.refresh_from_db()
        assert refund.held_amount == 0
        assert at_digital_river(desk, order) == []
    assert len(wire.posts) == 1
    desk.clock.forward(minutes=10)
    check_settled(desk, order)


def test_attempt_is_looked_for_twice_by_whoever_looks(desk: Desk) -> None:
    """Opening the page counts as a look, 59 seconds after the first are not enough."""
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = submit(desk)
    first = desk.clock.forward(seconds=5)

    assert _looked(desk, refund).state == State.UNKNOWN
    assert refund.attempts.get().missing_since == first
    for _ in range(3):
        desk.clock.forward(seconds=19)
        assert _looked(desk, refund).state == State.UNKNOWN
    desk.clock.forward(seconds=2)
    assert _looked(desk, refund).state == State.UNKNOWN
    assert refund.attempts.get().missing_since == first
    desk.clock.forward(seconds=1)
    assert _looked(desk, refund).state == State.NOT_SENT


def test_attempt_is_not_missed_by_a_look_that_began_before_it_was_unknown(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), PART)
    seen = desk.seen(draft, PART)

    def meanwhile() -> None:
        desk.clock.forward(seconds=3)
        spoil(desk, FaultKind.LOST_BEFORE)
        refund_submit(draft=draft, user=rep(), seen=seen, clock=desk.clock, client=desk.client)
        desk.clock.forward(seconds=3)

    wire.after_read = meanwhile
    desk.refresh(order)

    refund = Refund.objects.get(pk=draft.pk)
    assert refund.state == State.UNKNOWN
    assert refund.attempts.get().missing_since is None


def test_attempt_found_between_the_two_looks_is_taken_on(desk: Desk, wire: Wire) -> None:
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = submit(desk)
    desk.clock.forward(seconds=1)
    assert settle(desk) == {"unknown": 1}
    desk.client.create_refund(wire.bodies[0], upstream_id=f"{refund.reference}-1")

    desk.clock.forward(seconds=60)
    assert settle(desk) == {"pending": 1}

    refund.refresh_from_db()
    assert refund.flag == ""
    desk.clock.forward(minutes=10)
    check_settled(desk, refund.order)


def test_attempt_found_failed_releases_what_it_held(desk: Desk) -> None:
    order = desk.order("failing_card")
    spoil(desk, FaultKind.LOST_AFTER)
    refund = desk.submit(order, rep(), PART)
    desk.clock.forward(minutes=10)

    assert settle(desk) == {"failed": 1}

    refund.refresh_from_db()
    assert refund.digital_river_id == refund.attempts.get().digital_river_id != ""
    check_settled(desk, order)


def test_attempt_turning_up_after_not_sent_is_taken_on_and_flagged(desk: Desk, wire: Wire) -> None:
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = submit(desk)
    desk.clock.forward(seconds=1)
    settle(desk)
    desk.clock.forward(seconds=60)
    assert settle(desk) == {"not_sent": 1}
    desk.client.create_refund(wire.bodies[0], upstream_id=f"{refund.reference}-1")

    order = desk.refresh(refund.order)

    refund.refresh_from_db()
    assert refund.state == State.PENDING
    assert "turned up" in refund.flag
    assert refund.held_amount == Decimal("10.00")
    assert order.left_amount == Decimal("17.01")
    assert Refund.objects.count() == 1
    desk.clock.forward(minutes=10)
    check_settled(desk, order)


def test_attempt_turning_up_after_it_was_sent_again_is_adopted_and_flagged(
    desk: Desk, wire: Wire
) -> None:
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = submit(desk)
    body = wire.bodies[0]
    refund = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    assert refund.state == State.PENDING
    desk.client.create_refund(body, upstream_id=f"{refund.reference}-1")

    order = desk.refresh(refund.order)
    desk.refresh(order)

    other = Refund.objects.exclude(pk=refund.pk).get()
    assert other.origin == Refund.Origin.ELSEWHERE
    assert refund.reference in other.flag
    assert "twice" in other.flag
    assert order.left_amount == Decimal("7.01")
    desk.clock.forward(minutes=10)
    order = desk.refresh(order)
    assert {each.state for each in order.refunds.all()} == {State.SUCCEEDED}


def test_attempt_turning_up_while_its_refund_waits_calls_the_waiting_one_off(
    desk: Desk, wire: Wire
) -> None:
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = submit(desk)
    body = wire.bodies[0]
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=30)
    refund = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    assert refund.state == State.QUEUED
    desk.client.create_refund(body, upstream_id=f"{refund.reference}-1")
    posted = len(wire.posts)

    desk.clock.forward(seconds=31)
    assert settle(desk) == {"cancelled": 1}

    assert len(wire.posts) == posted
    assert len(at_digital_river(desk, refund.order)) == 1
    other = Refund.objects.exclude(pk=refund.pk).get()
    assert other.state == State.PENDING
    assert other.flag
    assert Order.objects.get(pk=refund.order_id).left_amount == Decimal("17.01")


def test_a_second_refund_under_the_same_reference_is_adopted_once_and_flagged(
    desk: Desk, wire: Wire
) -> None:
    refund = submit(desk)
    desk.client.create_refund(wire.bodies[0], upstream_id=f"{refund.reference}-1")

    order = desk.refresh(refund.order)
    order = desk.refresh(order)

    assert Refund.objects.count() == 2
    other = Refund.objects.exclude(pk=refund.pk).get()
    assert refund.reference in other.flag
    assert order.left_amount == Decimal("7.01")


# -- senders that went away or came back late ------------------------------------------------------


@pytest.mark.parametrize("sent", [False, True])
def test_attempt_of_a_killed_sender_is_unknown_after_its_lease_and_settled(
    desk: Desk, wire: Wire, sent: bool
) -> None:
    refund = begun_and_killed(desk, wire, sent=sent)
    order = refund.order
    assert refund.next_check_at == desk.clock() + lease_length()
    check_account(desk, order)

    desk.clock.forward(seconds=lease_length().total_seconds() - 1)
    assert settle(desk) == {}
    if sent:
        # Anybody who looks finds it, lease or not.
        assert _looked(desk, refund).state == State.PENDING
    else:
        assert _looked(desk, refund).state == State.SUBMITTING
        desk.clock.forward(seconds=1)
        assert settle(desk) == {"unknown": 1}
        assert refund.attempts.get().missing_since == desk.clock()
        desk.clock.forward(seconds=60)
        assert settle(desk) == {"not_sent": 1}
    assert len(wire.posts) == 1
    desk.clock.forward(minutes=10)
    check_settled(desk, order)


def test_attempt_of_a_sender_that_stood_still_is_not_sent(desk: Desk, wire: Wire) -> None:
    refund = begun_and_killed(desk, wire, sent=False)
    attempt = refund.attempts.get()
    posted = len(wire.posts)

    desk.clock.forward(seconds=31)
    outcome = attempt_send(attempt=attempt, client=desk.client, clock=desk.clock)
    assert isinstance(outcome, NotSent)
    assert len(wire.posts) == posted

    actor = Actor.person(rep())
    refund = attempt_record(attempt=attempt, outcome=outcome, actor=actor, clock=desk.clock)
    assert refund.state == State.NOT_SENT
    check_settled(desk, refund.order)


def test_attempt_of_a_sender_that_comes_back_late_does_not_touch_the_next_attempt(
    desk: Desk, wire: Wire
) -> None:
    """The first sender never sent; the second one is on its way when the first one says so."""
    refund = begun_and_killed(desk, wire, sent=False)
    first = refund.attempts.get()
    desk.clock.forward(seconds=lease_length().total_seconds())
    settle(desk)
    desk.clock.forward(seconds=60)
    assert settle(desk) == {"not_sent": 1}
    actor = Actor.person(rep())

    def first_comes_back() -> None:
        outcome = attempt_send(attempt=first, client=desk.client, clock=desk.clock)
        assert isinstance(outcome, NotSent)
        attempt_record(attempt=first, outcome=outcome, actor=actor, clock=desk.clock)
        assert Refund.objects.get(pk=refund.pk).state == State.SUBMITTING
        check_account(desk, refund.order)

    wire.before_post = first_comes_back
    spoil(desk, FaultKind.LOST_AFTER)
    refund.refresh_from_db()
    refund = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)

    assert refund.state == State.UNKNOWN
    assert refund.held_amount == Decimal("10.00")
    first.refresh_from_db()
    assert first.outcome
    assert settle(desk) == {"pending": 1}
    check_account(desk, refund.order)


def test_attempt_answered_after_its_refund_was_called_off_is_kept_and_flagged(
    desk: Desk, wire: Wire
) -> None:
    """So slow a call that others took it for lost: what it made must count all the same."""
    order = desk.order("worked_sample")

    def others_give_up() -> None:
        desk.clock.forward(seconds=lease_length().total_seconds())
        assert settle(desk) == {"unknown": 1}
        desk.clock.forward(seconds=60)
        assert settle(desk) == {"not_sent": 1}
        refund_cancel(refund=Refund.objects.get(), user=rep("rep2"), clock=desk.clock)

    wire.before_post = others_give_up
    refund = desk.submit(order, rep(), PART)

    assert refund.state == State.CANCELLED
    assert refund.digital_river_id == ""
    other = Refund.objects.exclude(pk=refund.pk).get()
    assert other.state == State.PENDING
    assert other.held_amount == Decimal("10.00")
    assert refund.reference in other.flag
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("17.01")
    desk.clock.forward(minutes=10)
    check_settled(desk, order)
    assert Refund.objects.count() == 2


def test_attempt_answered_after_the_next_one_was_is_kept_and_flagged(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")

    def others_send_it_again() -> None:
        desk.clock.forward(seconds=lease_length().total_seconds())
        settle(desk)
        desk.clock.forward(seconds=60)
        assert settle(desk) == {"not_sent": 1}
        again = refund_retry(
            refund=Refund.objects.get(), user=rep("rep2"), clock=desk.clock, client=desk.client
        )
        assert again.state == State.PENDING

    wire.before_post = others_send_it_again
    refund = desk.submit(order, rep(), PART)

    one, two = refund.attempts.order_by("number")
    assert refund.digital_river_id == two.digital_river_id
    assert one.digital_river_id not in {"", two.digital_river_id}
    other = Refund.objects.exclude(pk=refund.pk).get()
    assert other.digital_river_id == one.digital_river_id
    assert "twice" in other.flag
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("7.01")
    desk.clock.forward(minutes=10)
    order = desk.refresh(order)
    assert {each.state for each in order.refunds.all()} == {State.SUCCEEDED}
    assert order.refunds.count() == 2


def fail_and_send_again(desk: Desk, order: Order) -> None:
    """Have Digital River fail the refund it has, and a rep who sees it send it again."""
    (there,) = at_digital_river(desk, order)
    desk.sandbox.fail_refund(there["id"], "account_closed")
    desk.refresh(order)
    refund = Refund.objects.get()
    assert refund.state == State.FAILED
    refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)


def test_attempt_answered_after_it_failed_and_was_sent_again_changes_nothing(
    desk: Desk, wire: Wire
) -> None:
    """The answer tells of a refund that is known, and known to have given nothing."""
    order = desk.order("worked_sample")
    wire.after_post = lambda: fail_and_send_again(desk, order)
    refund = desk.submit(order, rep(), PART)

    assert refund.state == State.PENDING
    assert refund.flag == ""
    assert Refund.objects.count() == 1
    first, second = refund.attempts.order_by("number")
    assert first.digital_river_id
    assert second.digital_river_id == refund.digital_river_id != first.digital_river_id
    assert first.answered_at is not None
    check_account(desk, order)


def test_attempt_found_by_a_look_keeps_its_id_when_no_answer_comes(desk: Desk, wire: Wire) -> None:
    """Else the failed one would be taken for the next attempt, or for one made elsewhere."""
    order = desk.order("worked_sample")

    def found_and_then_lost() -> None:
        desk.refresh(order)
        raise httpx.ReadTimeout("nobody answered")

    wire.after_post = found_and_then_lost
    refund = desk.submit(order, rep(), PART)
    assert refund.state == State.PENDING
    assert refund.attempts.get().digital_river_id == refund.digital_river_id

    fail_and_send_again(desk, order)
    desk.refresh(order)
    refund = Refund.objects.get()
    assert refund.state == State.PENDING
    assert refund.flag == ""
    check_account(desk, order)


def test_attempt_that_failed_is_not_taken_for_the_next_one_by_a_stale_look(
    desk: Desk, wire: Wire
) -> None:
    """A list that was read before it failed still shows it as pending."""
    order = desk.order("worked_sample")
    desk.submit(order, rep(), PART)

    def fail_and_lose_the_next() -> None:
        spoil(desk, FaultKind.LOST_AFTER)
        fail_and_send_again(desk, order)
        assert Refund.objects.get().state == State.UNKNOWN

    wire.after_read = fail_and_lose_the_next
    desk.refresh(order)
    assert Refund.objects.get().state == State.UNKNOWN

    desk.refresh(order)
    refund = Refund.objects.get()
    assert refund.state == State.PENDING
    assert refund.flag == ""
    first, second = refund.attempts.order_by("number")
    assert second.digital_river_id == refund.digital_river_id != first.digital_river_id
    check_account(desk, order)


def test_attempt_found_by_a_look_before_its_answer_is_the_same_refund(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    wire.after_post = lambda: (desk.refresh(order), None)[1]

    refund = desk.submit(order, rep(), PART)

    assert refund.state == State.PENDING
    assert Refund.objects.count() == 1
    assert refund.flag == ""
    check_account(desk, order)


def test_attempt_answered_while_it_counts_as_unknown_is_taken_on(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")

    def others_look() -> None:
        desk.clock.forward(seconds=lease_length().total_seconds())
        assert settle(desk) == {"unknown": 1}

    wire.before_post = others_look
    refund = desk.submit(order, rep(), PART)

    assert refund.state == State.PENDING
    assert refund.flag == ""
    assert Refund.objects.count() == 1
    assert refund.attempts.get().digital_river_id == refund.digital_river_id
    check_account(desk, order)


def test_attempt_that_stays_unanswered_for_long_is_looked_for_anew(desk: Desk, wire: Wire) -> None:
    """A look while the call was still under way says nothing of what that call did."""
    order = desk.order("worked_sample")

    def others_look() -> None:
        desk.clock.forward(seconds=lease_length().total_seconds())
        assert settle(desk) == {"unknown": 1}
        desk.clock.forward(seconds=30)

    wire.before_post = others_look
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), PART)
    assert refund.state == State.UNKNOWN

    desk.clock.forward(seconds=31)
    assert _looked(desk, refund).state == State.UNKNOWN
    desk.clock.forward(seconds=60)
    assert _looked(desk, refund).state == State.NOT_SENT


def _looked(desk: Desk, refund: Refund) -> Refund:
    refund = Refund.objects.get(pk=refund.pk)
    return refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)


def test_refund_without_our_reference_that_may_be_the_unknown_one_is_flagged(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_BEFORE)
    unknown = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    assert unknown.state == Refund.State.UNKNOWN
    desk.clock.forward(seconds=5)
    desk.client.create_refund(
        {
            "orderId": order.digital_river_id,
            "currency": order.currency,
            "amount": Decimal("5.00"),
        },
        upstream_id="elsewhere",
    )

    desk.refresh(order)

    adopted = order.refunds.get(origin=Refund.Origin.ELSEWHERE)
    assert f"It may be refund {unknown.reference}" in adopted.flag
    unknown.refresh_from_db()
    assert unknown.state == Refund.State.UNKNOWN


@pytest.mark.parametrize(
    ("case", "amount", "written"),
    [("worked_sample", "5.00", "5.00"), ("jpy", "100", "100"), ("kwd", "1.250", "1.250")],
)
def test_amounts_are_sent_with_the_decimals_of_their_currency(
    desk: Desk, wire: Wire, case: str, amount: str, written: str
) -> None:
    desk.submit(desk.order(case), rep(), Selection(Option.COMPLETE_ORDER, Decimal(amount)))

    assert str(wire.bodies[0]["amount"]) == written


# -- a list that does not show our reference -------------------------------------------------------


def nameless(told: dict[str, Any]) -> None:
    """Let Digital River's list show a refund without the reference it was sent with."""
    told.pop("metadata", None)


def settle_looks(desk: Desk, order: Order) -> None:
    """Look until whatever is not there counts as not sent."""
    for seconds in (130, 61, 61):
        desk.clock.forward(seconds=seconds)
        desk.refresh(order)


def test_answer_takes_over_what_a_look_adopted_while_the_call_was_under_way(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    wire.retell_listed = nameless

    def look() -> None:
        desk.refresh(order)

    wire.after_post = look
    refund = desk.submit(order, rep(), PART)

    assert refund.state == State.PENDING
    adopted = order.refunds.get(origin=Refund.Origin.ELSEWHERE)
    assert (adopted.state, adopted.relinked_to, adopted.flag) == (State.RELINKED, refund, "")
    assert adopted.digital_river_id == ""
    assert adopted.held_amount == 0
    settle_looks(desk, order)
    refund.refresh_from_db()
    assert refund.digital_river_id
    assert not refund.can_retry
    check_account(desk, order)
    assert len(at_digital_river(desk, order)) == 1


def test_late_answer_takes_over_what_a_look_adopted(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    wire.retell_listed = nameless

    def look_when_the_lease_is_over() -> None:
        desk.clock.forward(seconds=lease_length().total_seconds() + 1)
        desk.refresh(order)

    wire.after_post = look_when_the_lease_is_over
    refund = desk.submit(order, rep(), PART)

    assert refund.digital_river_id
    assert refund.state in {State.PENDING, State.SUCCEEDED}
    assert order.refunds.get(origin=Refund.Origin.ELSEWHERE).relinked_to == refund
    check_account(desk, order)


def test_adopted_while_ours_was_being_sent_is_flagged_when_no_answer_comes(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    wire.retell_listed = nameless

    def look_then_lose() -> None:
        desk.refresh(order)
        raise httpx.ReadTimeout("lost")

    wire.after_post = look_then_lose
    refund = desk.submit(order, rep(), PART)
    assert refund.state == State.UNKNOWN
    settle_looks(desk, order)
    refund.refresh_from_db()
    assert refund.state == State.NOT_SENT
    assert refund.reference in order.refunds.get(origin=Refund.Origin.ELSEWHERE).flag
    with pytest.raises(MoveForbidden, match="may be"):
        refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    assert len(at_digital_river(desk, order)) == 1
    # Once the other one gave nothing, nobody can be paid twice.
    desk.sandbox.fail_refund(at_digital_river(desk, order)[0]["id"], "account_closed")
    sent = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    assert sent.state == State.PENDING
