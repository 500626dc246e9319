"""Resolving differences: adopted, relinked, reviewed; by leads alone, and never by guess."""

from decimal import Decimal

import pytest

from refunds.errors import DifferenceUnresolved, OrderUnreadable, PermissionMissing
from refunds.models import CreditMemo, Difference, Order, Refund
from refunds.options import Option, Selection
from refunds.salesforce.payloads import order_record
from refunds.services.differences import (
    difference_adopt,
    difference_relink,
    difference_review,
    refund_relink,
)
from refunds.services.mirror.records import order_mirror
from refunds.services.reconciliation import reconcile
from refunds.services.refunds import refund_retry
from sandbox.allocation import RefundAsk
from sandbox.faults import FaultKind
from sandbox.shop import SHOWCASE
from tests.desk import Desk, lead, rep
from tests.services.account import check_account, check_settled, spoil, unplug

pytestmark = pytest.mark.django_db

State = Refund.State
Kind = Difference.Kind
Resolution = Difference.Resolution


def part(amount: str) -> Selection:
    """Return a part of the whole order."""
    return Selection(Option.COMPLETE_ORDER, Decimal(amount))


def mirror(desk: Desk, case: str) -> Order:
    """Mirror an order without reading its money."""
    record = desk.sandbox.salesforce_record(SHOWCASE[case])
    return order_mirror(record=order_record(record))


def unmirrored(desk: Desk, case: str = "plain_usd") -> Difference:
    """Return the difference about a refund whose order the mirror does not have."""
    order_id = desk.sandbox.order_id(SHOWCASE[case])
    assert order_id is not None
    desk.sandbox.create_refund(RefundAsk(order_id, "USD", amount=Decimal("6.00")))
    reconcile(since=desk.clock(), clock=desk.clock, client=desk.client)
    return Difference.objects.get(kind=Kind.MISSING_HERE)


def amount_differs(desk: Desk) -> Difference:
    """Return a difference about the amount of a refund of the desk."""
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("3.00"))
    desk.submit(order, rep(), part("5.00"))
    reconcile(order=order, clock=desk.clock, client=desk.client)
    return Difference.objects.get(kind=Kind.AMOUNT)


def lost_and_found(desk: Desk, *, not_sent: bool = False) -> tuple[Refund, Refund]:
    """Return the desk's refund whose outcome is unknown, and the one elsewhere that it is.

    Digital River took it on and lost its metadata, so that nothing says whose it is.
    """
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_AFTER)
    own = desk.submit(order, rep(), part("5.00"))
    made = desk.client.list_refunds(order_id=order.digital_river_id)[0]
    desk.sandbox.update_refund(made.id, {})
    desk.clock.forward(seconds=1)
    desk.refresh(order)
    if not_sent:
        desk.clock.forward(minutes=2)
        desk.refresh(order)
    own.refresh_from_db()
    assert own.state == (State.NOT_SENT if not_sent else State.UNKNOWN)
    return own, order.refunds.get(origin=Refund.Origin.ELSEWHERE)


# -- reviewed --------------------------------------------------------------------------------------


def test_difference_review_keeps_the_note_and_tells_the_refunds_history(desk: Desk) -> None:
    difference = amount_differs(desk)
    desk.clock.forward(minutes=1)

    reviewed = difference_review(
        difference=difference, note="  Two more were\nsent.  ", user=lead(), clock=desk.clock
    )

    difference.refresh_from_db()
    assert difference == reviewed
    assert difference.resolution == Resolution.REVIEWED
    assert difference.note == "Two more were sent."
    assert (difference.resolved_by, difference.resolved_at) == (lead(), desk.clock())
    assert difference.refund is not None
    entry = difference.refund.history.last()
    assert entry is not None
    assert entry.by == "Lead Tester"
    assert entry.summary == "A lead reviewed what differs: amounts differ."
    assert "sent" not in entry.details


def test_difference_review_of_what_is_about_no_refund(desk: Desk) -> None:
    difference = unmirrored(desk)
    difference_review(difference=difference, note="Another shop's.", user=lead(), clock=desk.clock)
    difference.refresh_from_db()
    assert difference.resolution == Resolution.REVIEWED


@pytest.mark.parametrize(
    ("note", "words"), [("", "Write a note"), (" \n", "Write a note"), ("x" * 501, "too long")]
)
def test_difference_review_needs_a_note_of_a_fitting_length(
    desk: Desk, note: str, words: str
) -> None:
    difference = unmirrored(desk)
    with pytest.raises(DifferenceUnresolved, match=words):
        difference_review(difference=difference, note=note, user=lead(), clock=desk.clock)
    difference.refresh_from_db()
    assert difference.resolution == Resolution.OPEN


def test_difference_that_is_resolved_is_not_resolved_again(desk: Desk) -> None:
    difference = unmirrored(desk)
    difference_review(difference=difference, note="First.", user=lead(), clock=desk.clock)
    with pytest.raises(DifferenceUnresolved, match=r"resolved already \(reviewed\)"):
        difference_review(difference=difference, note="Second.", user=lead(), clock=desk.clock)
    difference.refresh_from_db()
    assert difference.note == "First."


def test_differences_are_resolved_by_leads_alone(desk: Desk) -> None:
    difference = unmirrored(desk)
    mirror(desk, "plain_usd")
    own, outside = lost_and_found(desk)
    for act in (
        lambda: difference_review(difference=difference, note="No.", user=rep()),
        lambda: difference_adopt(difference=difference, user=rep(), client=desk.client),
        lambda: difference_relink(
            difference=difference, reference=own.reference, user=rep(), client=desk.client
        ),
        lambda: refund_relink(outside=outside, reference=own.reference, user=rep()),
    ):
        with pytest.raises(PermissionMissing, match="Refund leads"):
            act()
    difference.refresh_from_db()
    assert difference.resolution == Resolution.OPEN
    own.refresh_from_db()
    assert own.state == State.UNKNOWN


# -- adopted ---------------------------------------------------------------------------------------


def test_difference_adopt_takes_on_the_refund_once_its_order_is_mirrored(desk: Desk) -> None:
    difference = unmirrored(desk)
    order = mirror(desk, "plain_usd")

    refund = difference_adopt(
        difference=difference, user=lead(), clock=desk.clock, client=desk.client
    )

    assert refund.origin == Refund.Origin.ELSEWHERE
    assert refund.order == order
    assert refund.digital_river_id == difference.digital_river_id
    found, adopted = refund.history.all()
    assert found.by == "Check with Digital River for Lead Tester"
    assert adopted.by == "Lead Tester"
    difference.refresh_from_db()
    assert difference.resolution == Resolution.ADOPTED
    assert (difference.order, difference.refund) == (order, refund)
    assert difference.resolved_by == lead()
    check_account(desk, order)


def test_difference_adopt_is_refused_while_its_order_is_not_mirrored(desk: Desk) -> None:
    difference = unmirrored(desk)
    with pytest.raises(DifferenceUnresolved, match="mirrored from Salesforce first"):
        difference_adopt(difference=difference, user=lead(), clock=desk.clock, client=desk.client)
    assert not Refund.objects.exists()


def test_difference_adopt_is_refused_for_what_the_desk_has(desk: Desk) -> None:
    difference = amount_differs(desk)
    with pytest.raises(DifferenceUnresolved, match="Only a refund that the desk lacks"):
        difference_adopt(difference=difference, user=lead(), clock=desk.clock, client=desk.client)


def test_difference_adopt_is_refused_for_what_digital_river_no_longer_lists(desk: Desk) -> None:
    difference = unmirrored(desk)
    mirror(desk, "plain_usd")
    Difference.objects.update(digital_river_id="re_gone")
    difference.refresh_from_db()
    with pytest.raises(DifferenceUnresolved, match="does not list refund re_gone"):
        difference_adopt(difference=difference, user=lead(), clock=desk.clock, client=desk.client)
    difference.refresh_from_db()
    assert difference.resolution == Resolution.OPEN


def test_difference_adopt_while_digital_river_is_away_changes_nothing(desk: Desk) -> None:
    difference = unmirrored(desk)
    mirror(desk, "plain_usd")
    unplug(desk)
    with pytest.raises(OrderUnreadable):
        difference_adopt(difference=difference, user=lead(), clock=desk.clock, client=desk.client)
    difference.refresh_from_db()
    assert difference.resolution == Resolution.OPEN


# -- relinked --------------------------------------------------------------------------------------


@pytest.mark.parametrize("not_sent", [False, True])
def test_refund_relink_gives_the_desks_refund_what_digital_river_has(
    desk: Desk, not_sent: bool
) -> None:
    own, outside = lost_and_found(desk, not_sent=not_sent)
    identifier, state = outside.digital_river_id, outside.state
    order = Order.objects.get(pk=own.order_id)
    assert order.left_amount == Decimal("22.01") - (0 if not_sent else 5)
    desk.clock.forward(minutes=1)

    linked = refund_relink(outside=outside, reference=own.reference, user=lead(), clock=desk.clock)

    own.refresh_from_db()
    outside.refresh_from_db()
    assert linked == own
    assert (own.digital_river_id, own.state) == (identifier, state)
    assert own.digital_river_key
    assert own.accepted_amount == Decimal("5.00")
    assert own.listed
    assert outside.state == State.RELINKED
    assert outside.relinked_to == own
    assert (outside.digital_river_id, outside.digital_river_key) == ("", "")
    assert (outside.flag, outside.next_check_at) == ("", None)
    attempt = own.attempts.get()
    assert attempt.digital_river_id == identifier
    # The money is held once, by the desk's own.
    order.refresh_from_db()
    assert order.left_amount == Decimal("22.01")
    check_account(desk, order)
    for refund in (own, outside):
        entry = refund.history.last()
        assert entry is not None
        assert entry.by == "Lead Tester"
        assert "Relinked" in entry.summary
        assert entry.from_state != entry.to_state
    desk.clock.forward(minutes=10)
    check_settled(desk, order)
    own.refresh_from_db()
    outside.refresh_from_db()
    assert (own.state, outside.state) == ((State.SUCCEEDED, State.RELINKED))


def test_refund_relink_of_one_that_succeeded_settles_the_desks_refund(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    desk.sandbox.succeed_refund(outside.digital_river_id, Decimal("4.00"))
    desk.refresh(own.order)
    outside.refresh_from_db()
    memo = CreditMemo.objects.create(
        order=own.order, refund=outside, memo_id="memo", created_at=desk.clock()
    )

    refund_relink(outside=outside, reference=own.reference, user=lead(), clock=desk.clock)

    own.refresh_from_db()
    outside.refresh_from_db()
    assert (own.state, own.refunded_amount) == (State.SUCCEEDED, Decimal("4.00"))
    assert own.settled_at == desk.clock()
    assert own.next_check_at is None
    assert outside.refunded_amount == 0
    memo.refresh_from_db()
    assert memo.refund == own
    # Its parts sum to what was given back, not to what was asked.
    check_account(desk, own.order)


def test_refund_relink_of_one_that_failed_lets_it_be_sent_again(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    desk.sandbox.fail_refund(outside.digital_river_id, "account_closed")
    desk.refresh(own.order)
    outside.refresh_from_db()

    refund_relink(outside=outside, reference=own.reference, user=lead(), clock=desk.clock)

    own.refresh_from_db()
    assert (own.state, own.failure_reason) == (State.FAILED, "account_closed")
    assert own.can_retry
    again = refund_retry(refund=own, user=rep(), clock=desk.clock, client=desk.client)
    assert again.state == State.PENDING
    assert again.attempts.count() == 2
    found = reconcile(order=own.order, clock=desk.clock, client=desk.client)
    assert found.outcome == "Everything agrees."
    check_account(desk, own.order)


def test_refund_relink_resolves_the_differences_about_either(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    difference = Difference.objects.create(
        kind=Kind.AMOUNT,
        subject=outside.digital_river_id,
        refund=outside,
        explanation="Something.",
        found_at=desk.clock(),
        last_seen_at=desk.clock(),
    )

    linked = difference_relink(
        difference=difference,
        reference=own.reference,
        user=lead(),
        clock=desk.clock,
        client=desk.client,
    )

    assert linked == own
    difference.refresh_from_db()
    assert difference.resolution == Resolution.RELINKED
    assert difference.refund == own
    assert difference.resolved_by == lead()


def test_difference_relink_adopts_first_what_the_desk_lacks(desk: Desk) -> None:
    order = desk.order("plain_usd")
    spoil(desk, FaultKind.LOST_AFTER)
    own = desk.submit(order, rep(), part("6.00"))
    made = desk.client.list_refunds(order_id=order.digital_river_id)[0]
    desk.sandbox.update_refund(made.id, {})
    difference = Difference.objects.create(
        kind=Kind.MISSING_HERE,
        subject=made.id,
        digital_river_id=made.id,
        digital_river_order_id=order.digital_river_id,
        explanation="Something.",
        found_at=desk.clock(),
        last_seen_at=desk.clock(),
    )

    # Typed as people do.
    reference = f" {own.reference.lower()} "
    difference_relink(
        difference=difference,
        reference=reference,
        user=lead(),
        clock=desk.clock,
        client=desk.client,
    )

    own.refresh_from_db()
    assert (own.state, own.digital_river_id) == (State.PENDING, made.id)
    difference.refresh_from_db()
    assert difference.resolution == Resolution.RELINKED
    assert order.refunds.get(state=State.RELINKED).relinked_to == own
    check_account(desk, order)


def test_difference_relink_is_refused_where_there_is_no_refund_elsewhere(desk: Desk) -> None:
    difference = amount_differs(desk)
    own = difference.refund
    assert own is not None
    with pytest.raises(DifferenceUnresolved, match="not taken for one made outside"):
        difference_relink(
            difference=difference,
            reference=own.reference,
            user=lead(),
            clock=desk.clock,
            client=desk.client,
        )


@pytest.mark.parametrize("reference", ["", "R-0000-0000", "nonsense", "R-1"])
def test_refund_relink_to_no_refund_is_refused(desk: Desk, reference: str) -> None:
    _, outside = lost_and_found(desk)
    with pytest.raises(DifferenceUnresolved, match="no refund of that reference") as caught:
        refund_relink(outside=outside, reference=reference, user=lead(), clock=desk.clock)
    assert caught.value.field == "reference"


def _refused(desk: Desk, outside: Refund, own: Refund, words: str) -> None:
    """Assert that relinking is refused and nothing was changed."""
    before = [Refund.objects.filter(pk=each.pk).values().get() for each in (outside, own)]
    with pytest.raises(DifferenceUnresolved, match=words):
        refund_relink(outside=outside, reference=own.reference, user=lead(), clock=desk.clock)
    assert before == [Refund.objects.filter(pk=each.pk).values().get() for each in (outside, own)]


def test_refund_relink_to_one_of_another_amount_is_refused(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    Refund.objects.filter(pk=own.pk).update(requested_amount=Decimal("5.01"))
    _refused(desk, outside, own, "asked for USD 5.01, and Digital River's is for USD 5.00")


def test_refund_relink_to_one_of_another_currency_is_refused(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    Refund.objects.filter(pk=own.pk).update(currency="EUR")
    _refused(desk, outside, own, "asked for EUR 5.00")


def test_refund_relink_to_one_of_another_order_is_refused(desk: Desk) -> None:
    _, outside = lost_and_found(desk)
    spoil(desk, FaultKind.LOST_BEFORE)
    other = desk.submit(desk.order("plain_usd"), rep(), part("5.00"))
    _refused(desk, outside, other, "of another order")


@pytest.mark.parametrize(
    "state", sorted(set(State) - {State.UNKNOWN, State.NOT_SENT, State.RELINKED})
)
def test_refund_relink_to_one_that_is_known_is_refused(desk: Desk, state: str) -> None:
    own, outside = lost_and_found(desk)
    Refund.objects.filter(pk=own.pk).update(state=state, settled_at=desk.clock())
    _refused(desk, outside, own, "outcome is unknown, or that counts as not sent")


def test_refund_relink_to_one_made_elsewhere_is_refused(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    desk.sandbox.create_refund(RefundAsk(own.order.digital_river_id, "USD", amount=Decimal("1.00")))
    desk.clock.forward(seconds=1)
    desk.refresh(own.order)
    other = own.order.refunds.exclude(pk__in=[own.pk, outside.pk]).get()
    _refused(desk, outside, other, "was not made at this desk")


def test_refund_relink_of_the_desks_own_is_refused(desk: Desk) -> None:
    own, _ = lost_and_found(desk)
    with pytest.raises(DifferenceUnresolved, match="not taken for one made outside"):
        refund_relink(outside=own, reference=own.reference, user=lead(), clock=desk.clock)


def test_refund_relink_a_second_time_is_refused(desk: Desk) -> None:
    own, outside = lost_and_found(desk)
    refund_relink(outside=outside, reference=own.reference, user=lead(), clock=desk.clock)
    outside.refresh_from_db()
    own.refresh_from_db()
    _refused(desk, outside, own, "not taken for one made outside")


def test_note_with_what_no_database_keeps_is_refused(desk: Desk) -> None:
    difference = amount_differs(desk)
    with pytest.raises(DifferenceUnresolved, match="cannot be kept"):
        difference_review(difference=difference, note="seen\x00it", user=lead())
    difference.refresh_from_db()
    assert difference.resolution == ""
