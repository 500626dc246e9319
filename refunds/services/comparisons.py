"""What differs between the desk's account and Digital River's, and what to do about it in words.

Judges what others have read: nothing here asks Digital River or writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from refunds import selectors
from refunds.digitalriver import payloads
from refunds.models import Difference, Order, Refund, RefundAttempt
from refunds.money import ZERO, format_money
from refunds.services.differences import Finding
from refunds.services.settlements import refund_is_as_told

_KIND = Difference.Kind
#: What a look at a refund looks for, and a look at an order; the subjects are theirs.
OF_A_REFUND = (_KIND.MISSING_THERE, _KIND.MISSING_HERE, _KIND.AMOUNT, _KIND.STATE)
OF_AN_ORDER = (_KIND.MISSING_THERE, _KIND.AVAILABLE)
#: States of a refund at Digital River in which it moved no money and never will.
_GAVE_NOTHING = frozenset({Refund.State.FAILED, Refund.State.EXPIRED})
_SETTLED = _GAVE_NOTHING | {Refund.State.SUCCEEDED}


@dataclass(slots=True)
class Match:
    """A refund as Digital River tells it, and ours that it is, as far as there is one."""

    told: payloads.Refund
    own: Refund | None
    #: It is an earlier attempt that gave nothing, after which ours was sent again.
    superseded: bool = False
    #: It differed when it was read, before anything was healed.
    differed: bool = False
    order: Order | None = None
    #: Why its order could not be read anew.
    unreadable: str = ""

    @property
    def is_as_told(self) -> bool:
        """Whether there is nothing to heal."""
        return self.superseded if self.own is None else refund_is_as_told(self.own, self.told)


def matched(refunds: Sequence[payloads.Refund]) -> list[Match]:
    """Match Digital River's refunds with ours by its id, in two queries at most."""
    # The indexes have no rows without an id: unless that is said, SQLite reads the whole tables.
    named = Refund.objects.exclude(digital_river_id="")
    own = {
        refund.digital_river_id: refund
        for refund in named.filter(digital_river_id__in=[told.id for told in refunds])
    }
    missing = [told.id for told in refunds if told.id not in own]
    attempts: set[str] = set()
    if missing:
        attempts = set(
            RefundAttempt.objects.exclude(digital_river_id="")
            .filter(digital_river_id__in=missing)
            .values_list("digital_river_id", flat=True)
        )
    return [
        Match(
            told=told,
            own=own.get(told.id),
            superseded=told.id in attempts and told.state in _GAVE_NOTHING,
        )
        for told in refunds
    ]


def is_live(state: str) -> bool:
    """Tell whether a refund in this state holds or gave money."""
    return state in Refund.HOLDING or state == Refund.State.SUCCEEDED


def amount_there(told: payloads.Refund) -> Decimal | None:
    """Return what a refund holds or gave at Digital River; None where it does not say."""
    if not is_live(told.state):
        return ZERO
    if Refund.State(told.state) is Refund.State.SUCCEEDED:
        return told.refunded_amount
    return told.requested_amount


def refund_finding(match: Match) -> Finding | None:
    """Return what differs between a refund there and ours, if anything does."""
    told, own = match.told, match.own
    if own is None:
        return None if match.superseded else _missing_here(match)
    theirs = amount_there(told)
    if own.state != told.state:
        return _states_differ(match, own, theirs)
    if theirs is None:
        return None
    asked = own.requested_amount if own.origin == Refund.Origin.DESK else None
    if told.currency != own.currency or theirs != own.held_amount:
        return _amounts_differ(own, told, theirs, own.held_amount)
    if asked is not None and is_live(own.state) and asked != theirs:
        return _amounts_differ(own, told, theirs, asked)
    return None


def _missing_here(match: Match) -> Finding:
    told = match.told
    amount = told.requested_amount if told.requested_amount is not None else told.refunded_amount
    subject = f"Digital River has refund {told.id} of {format_money(amount, told.currency)}"
    if match.order is None:
        named = (
            f"its order {told.order_id}" if told.order_id else "its order, which it does not name,"
        )
        rest = (
            f"{named} is not in the mirror. Have the order mirrored from Salesforce, then adopt "
            "the refund."
        )
    else:
        rest = (
            f"the desk could not take it on. {match.unreadable} Adopt it once the order can be "
            "read."
        )
    return Finding(
        kind=_KIND.MISSING_HERE,
        subject=told.id,
        order_id=match.order.pk if match.order else None,
        digital_river_id=told.id,
        digital_river_order_id=told.order_id,
        currency=told.currency,
        their_amount=amount,
        their_state=told.state,
        explanation=f"{subject} ({_word(told.state)}), and {rest}",
    )


def missing_there(refund: Refund, unreadable: str = "") -> Finding:
    """Return that Digital River does not list a refund of ours, or why it could not be looked for.

    Reads the refund's order, so fetch it with the refund.
    """
    amount = refund.held_amount or refund.requested_amount or ZERO
    number = refund.order.order_number
    rest = (
        f"Digital River does not list it on order {number}. Do not refund again: look in Digital "
        "River's Dashboard whether the customer got the money, and ask Digital River's support "
        "about its id."
    )
    if unreadable:
        rest = f"Digital River's list for order {number} could not be read: {unreadable}"
    return Finding(
        kind=_KIND.MISSING_THERE,
        subject=refund.digital_river_id,
        order_id=refund.order_id,
        refund_id=refund.pk,
        digital_river_id=refund.digital_river_id,
        digital_river_order_id=refund.order.digital_river_id,
        currency=refund.currency,
        our_amount=amount,
        our_state=refund.state,
        explanation=(
            f"The desk has refund {refund.reference} of {format_money(amount, refund.currency)} "
            f"({_word(refund.state)}), and {rest}"
        ),
    )


def _states_differ(match: Match, own: Refund, theirs: Decimal | None) -> Finding:
    told = match.told
    advice = "Compare the order in Digital River's Dashboard, then mark this as reviewed."
    if match.unreadable:
        advice = f"The desk could not take it on: {match.unreadable}"
    elif own.state not in _SETTLED:
        advice = "The desk is behind: reload the refund's page in a minute, and compare again."
    elif Refund.State(told.state) is Refund.State.SUCCEEDED:
        advice = (
            "A settled refund does not go back, but Digital River has sent the money: do not send "
            "it again. Mark this as reviewed once the customer's case is settled."
        )
    elif own.state == Refund.State.SUCCEEDED:
        advice = (
            "A settled refund does not go back, but the customer may not have got the money: ask "
            "Digital River's support before anything is refunded again."
        )
    return Finding(
        kind=_KIND.STATE,
        subject=told.id,
        order_id=own.order_id,
        refund_id=own.pk,
        digital_river_id=told.id,
        digital_river_order_id=told.order_id,
        currency=own.currency,
        our_amount=own.held_amount,
        their_amount=theirs,
        our_state=own.state,
        their_state=told.state,
        explanation=(
            f"Refund {own.reference} is {_word(own.state)} at the desk and {_word(told.state)} at "
            f"Digital River. {advice}"
        ),
    )


def _amounts_differ(own: Refund, told: payloads.Refund, theirs: Decimal, ours: Decimal) -> Finding:
    done = "gave back" if Refund.State(told.state) is Refund.State.SUCCEEDED else "took on"
    return Finding(
        kind=_KIND.AMOUNT,
        subject=told.id,
        order_id=own.order_id,
        refund_id=own.pk,
        digital_river_id=told.id,
        digital_river_order_id=told.order_id,
        currency=own.currency,
        our_amount=ours,
        their_amount=theirs,
        our_state=own.state,
        their_state=told.state,
        explanation=(
            f"Refund {own.reference} is for {format_money(ours, own.currency)} at the desk, and "
            f"Digital River {done} {format_money(theirs, told.currency)}. Make up what is missing "
            "by another refund, or settle what was too much, then mark this as reviewed."
        ),
    )


def _word(state: str) -> str:
    return Refund.State(state).label.lower()


def order_subject(order: Order) -> str:
    """Return what differences of an order are about, as their subject."""
    return f"order {order.pk}"


def mirror_is_as_told(order: Order, told: payloads.Order) -> bool:
    """Tell whether the order's money was read since it last changed."""
    return (
        order.refreshed_at is not None
        and order.available_amount == told.available
        and order.refunded_amount == told.refunded_amount
        and order.captured_amount == told.captured_amount
        and order.state == told.state
    )


def order_finding(order: Order, told: payloads.Order, held: selectors.OrderHeld) -> Finding | None:
    """Return how Digital River's account of an order differs from what its refunds come to."""
    expected = max(
        ZERO, told.captured_amount - held.refunded - held.charged_back - held.in_flight_there
    )
    ours, theirs, what = held.refunded, told.refunded_amount, "refunded"
    if ours == theirs:
        # While a dispute is open, and where it names no figure, Digital River offers nothing;
        # that is no account of what was refunded.
        if told.available is None or told.state == Order.State.DISPUTE:
            return None
        ours, theirs, what = expected, told.available, "still to be refunded"
    if ours == theirs:
        return None
    return Finding(
        kind=_KIND.AVAILABLE,
        subject=order_subject(order),
        order_id=order.pk,
        digital_river_order_id=order.digital_river_id,
        currency=order.currency,
        our_amount=ours,
        their_amount=theirs,
        explanation=(
            f"Order {order.order_number}: by the desk's refunds "
            f"{format_money(ours, order.currency)} is {what}, by Digital River "
            f"{format_money(theirs, order.currency)}. Nothing beyond the smaller of the "
            "two accounts can be refunded here. Compare refunds, cancellations and chargebacks in "
            "Digital River's Dashboard, then mark this as reviewed."
        ),
    )


def order_missing(order: Order) -> Finding:
    """Return that Digital River does not know an order."""
    return Finding(
        kind=_KIND.MISSING_THERE,
        subject=order_subject(order),
        order_id=order.pk,
        digital_river_order_id=order.digital_river_id,
        currency=order.currency,
        explanation=(
            f"Digital River does not know order {order.order_number} by the id "
            f"{order.digital_river_id}. Compare the DR Order ID in Salesforce, and whether the "
            "desk's key is of the account that sold it."
        ),
    )


def order_unreadable(order: Order, reason: str) -> Finding:
    """Return that an order could not be compared, and why, in a sentence."""
    return Finding(
        kind=_KIND.AVAILABLE,
        subject=order_subject(order),
        order_id=order.pk,
        digital_river_order_id=order.digital_river_id,
        currency=order.currency,
        explanation=f"Order {order.order_number} could not be compared: {reason}",
    )
