"""The moves between states: the table, the conditional update, the history row."""

from decimal import Decimal

import pytest
from django.utils import timezone

from refunds.errors import MoveForbidden
from refunds.models import COMMAND, Order, Refund
from refunds.models.states import MOVES, RefundState
from refunds.services.settlements import refund_create

#: The table as the house has it, and *relinked* beside it: a refund taken for one made elsewhere
#: that turned out to be one of the desk's own. Awaiting approval comes with approvals.
TABLE = {
    "draft": {"queued", "submitting", "cancelled"},
    "queued": {"submitting", "refused", "cancelled"},
    "submitting": {
        "pending",
        "pending_information",
        "succeeded",
        "failed",
        "refused",
        "queued",
        "not_sent",
        "unknown",
    },
    "unknown": {"pending", "pending_information", "succeeded", "failed", "expired", "not_sent"},
    "not_sent": {
        "queued",
        "cancelled",
        "pending",
        "pending_information",
        "succeeded",
        "failed",
        "expired",
    },
    "pending": {"pending_information", "succeeded", "failed", "expired", "relinked"},
    "pending_information": {"pending", "succeeded", "failed", "expired", "relinked"},
    "succeeded": {"relinked"},
    "failed": {"queued", "relinked"},
    "expired": {"queued", "relinked"},
    "relinked": set(),
    "refused": set(),
    "cancelled": set(),
}
PAIRS = [(one, other) for one in RefundState for other in RefundState]


def refund_in(state: str) -> Refund:
    """Return a refund that stands in this state."""
    order = Order.objects.create(
        salesforce_id="801000000000001AAA",
        order_number="1",
        ordered_at=timezone.now(),
        currency="USD",
    )
    now = timezone.now()
    return refund_create(
        order=order,
        state=state,
        option="complete_order",
        currency="USD",
        requested_amount=Decimal("1.00"),
        created_at=now,
        updated_at=now,
        submitted_at=now,
        settled_at=now,
        relinked_to=another(order) if state == "relinked" else None,
    )


def another(order: Order) -> Refund:
    """Return another refund of the order."""
    now = timezone.now()
    return refund_create(order=order, currency="USD", created_at=now, updated_at=now)


def changes_with(refund: Refund, state: str) -> dict[str, object]:
    """Return the columns that must change with the state."""
    return {"relinked_to": another(refund.order)} if state == "relinked" else {}


def test_moves_are_the_house_s_table() -> None:
    assert {one: set(others) for one, others in MOVES.items()} == TABLE


def test_every_state_has_a_look_and_a_meaning() -> None:
    for state in RefundState:
        assert state.meaning
        colour, icon = state.look
        assert colour
        assert icon


def test_states_that_hold_money_are_those_that_may_still_move_it() -> None:
    assert {str(state) for state in Refund.HOLDING} == {
        "queued",
        "submitting",
        "unknown",
        "pending",
        "pending_information",
    }
    assert {str(state) for state in Refund.RETRYABLE} == {"not_sent", "failed", "expired"}


@pytest.mark.django_db
@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_move_to_follows_the_table_and_nothing_else(before: str, after: str) -> None:
    refund = refund_in(before)
    at = timezone.now()

    if after in TABLE[before]:
        changes = changes_with(refund, after)
        refund.move_to(after, actor=COMMAND, at=at, summary="Moved.", request_id="r-1", **changes)
        entry = refund.history.get()
        assert (entry.from_state, entry.to_state) == (before, after)
        assert (entry.at, entry.summary, entry.request_id) == (at, "Moved.", "r-1")
        assert Refund.objects.get(pk=refund.pk).state == refund.state == after
        assert Refund.objects.get(pk=refund.pk).updated_at == at
    else:
        with pytest.raises(MoveForbidden):
            refund.move_to(after, actor=COMMAND, at=at, summary="Moved.")
        assert not refund.history.exists()
        assert Refund.objects.get(pk=refund.pk).state == refund.state == before


@pytest.mark.django_db
def test_move_to_refuses_when_somebody_else_moved_it_meanwhile() -> None:
    refund = refund_in("queued")
    stale = Refund.objects.get(pk=refund.pk)
    refund.move_to("cancelled", actor=COMMAND, at=timezone.now(), summary="Called off.")

    with pytest.raises(MoveForbidden, match="somebody else"):
        stale.move_to(
            "submitting", actor=COMMAND, at=timezone.now(), summary="Sent.", requested_amount=2
        )

    kept = Refund.objects.get(pk=refund.pk)
    assert kept.state == "cancelled"
    assert kept.requested_amount == Decimal("1.00")
    assert kept.history.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("state", list(RefundState))
def test_held_amount_is_what_the_state_says(state: str) -> None:
    refund = refund_in(state)
    refund.requested_amount, refund.refunded_amount = Decimal("5.00"), Decimal("4.00")
    expected = {"succeeded": Decimal("4.00")} | dict.fromkeys(Refund.HOLDING, Decimal("5.00"))

    assert refund.held_amount == expected.get(state, 0)
    refund.accepted_amount = Decimal("4.50")
    if state in Refund.HOLDING:
        assert refund.held_amount == Decimal("4.50")
