"""Close-outs: one action that brings an order to exactly nothing left.

A close-out is a Complete Order refund of exactly all that is left, and a refund of the fees per
line only should Digital River have left them. Its row and its first refund, a draft, are written
together, so there is never a second Complete Order refund. From then on the refunds alone tell
how far it came: whoever carries it on (the request that began it, a person who checks, the sweep)
looks at them and does the next thing, and any number may do so at once.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from refunds import selectors
from refunds.digitalriver.client import DigitalRiverClient
from refunds.errors import (
    FiguresChanged,
    MoveForbidden,
    OrderNotEligible,
    OrderUnreadable,
    PermissionMissing,
    RefundDeskError,
)
from refunds.gateways import digital_river
from refunds.models import SWEEP, Actor, CloseOut, Grounds, Order, Refund
from refunds.money import add, format_money
from refunds.options import LineSelection, Option, Seen, Selection
from refunds.permissions import require_issue
from refunds.services.drafts import draft_choose, draft_create
from refunds.services.orders import Clock, order_refresh
from refunds.services.refunds import refund_check, refund_submit
from refunds.services.settlements import history_add

_logger = structlog.get_logger(__name__)

#: When the sweep first looks at one whose process may have gone away.
_FIRST_LOOK = timedelta(minutes=1)
#: How long to wait for a Digital River that could not be asked.
_AWAY = timedelta(minutes=5)
#: How long a round keeps others off a close-out it carries on.
_CLAIM = timedelta(minutes=5)
#: More steps than a close-out can have; none goes round in circles.
_MOST_STEPS = 10


def closeout_begin(
    *,
    order: Order,
    user: User,
    grounds: Grounds,
    seen_total: Decimal,
    seen_at: datetime,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> CloseOut:
    """Begin to close out an order, if it still comes to what the person saw, and carry it on.

    ``seen_total`` is what the button named, in major units of the order's currency, on a page made
    at ``seen_at``. One that the person began since, by a double click or from another tab, is
    returned as it stands. Raises ``PermissionMissing``, ``OrderUnreadable``, ``OrderNotEligible``
    or ``FiguresChanged``; then nothing was sent and nothing is held.
    """
    require_issue(user)
    client = client or digital_river()
    order_refresh(order=order, actor=Actor.looking(user), clock=clock, client=client)
    with transaction.atomic(durable=True):
        at = clock()
        locked = Order.objects.select_for_update().get(pk=order.pk)
        known = locked.close_outs.filter(created_by=user, created_at__gt=seen_at).first()
        if known is not None:
            return known
        plan = selectors.closeout_plan(selectors.order_account(locked))
        if plan.quote is None:
            raise OrderNotEligible(plan.closed_because)
        total = plan.quote.total
        if total != seen_total:
            raise FiguresChanged(
                "Nothing was sent: what is left of this order has changed since. Look at the new "
                "figures and close it out if they are right.",
                seen={"total": seen_total},
                now={"total": total},
            )
        close_out = CloseOut.objects.create(
            order=locked,
            currency=plan.quote.currency,
            planned_amount=total,
            reason=grounds.reason,
            reason_text=grounds.wire_text,
            note=grounds.note,
            created_by=user,
            created_at=at,
            next_step_at=at + _FIRST_LOOK,
        )
        selection = Selection(Option.COMPLETE_ORDER, total)
        _draft_make(close_out, user=user, selection=selection, grounds=grounds, clock=clock)
    _logger.info("close_out.begun", close_out=close_out.pk)
    return closeout_continue(
        close_out=close_out, actor=Actor.person(user), clock=clock, client=client
    )


def closeout_continue(
    *,
    close_out: CloseOut,
    actor: Actor = SWEEP,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> CloseOut:
    """Carry a close-out on as far as it goes now; returns it as it then stands.

    May be called any number of times, by several processes at once: what is sent is sent once.
    """
    client = client or digital_river()
    for _ in range(_MOST_STEPS):
        current = _read(close_out)
        if current.state != CloseOut.State.RUNNING:
            break
        if not _step(current, actor=actor, clock=clock, client=client):
            break
    return _read(close_out)


def closeout_check(
    *,
    close_out: CloseOut,
    user: User,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> CloseOut:
    """Look where its refunds stand and carry it on at once, for a person who asks.

    Raises ``PermissionMissing``, or ``OrderUnreadable`` when Digital River cannot be asked.
    """
    require_issue(user)
    client = client or digital_river()
    actor = Actor.looking(user)
    waiting = close_out.refunds.filter(state__in=selectors.NOT_TAKEN_ON).select_related("order")
    for refund in waiting:
        refund_check(refund=refund, actor=actor, clock=clock, client=client)
    return closeout_continue(close_out=close_out, actor=actor, clock=clock, client=client)


def closeout_call_off(*, close_out: CloseOut, user: User, clock: Clock = timezone.now) -> CloseOut:
    """Drop what a close-out has not sent yet. Raises ``PermissionMissing``, ``MoveForbidden``."""
    require_issue(user)
    draft = close_out.refunds.filter(state=Refund.State.DRAFT).first()
    sentence = (
        f"Called off by {user.get_full_name() or user.get_username()}; what was not sent yet was "
        "dropped. Close out the order again should it be wanted after all."
    )
    current = _read(close_out)
    if (
        draft is None
        or current.state != CloseOut.State.RUNNING
        or _stop(current, sentence, because_of=draft, actor=Actor.person(user), clock=clock)
    ):
        raise MoveForbidden(
            "Nothing of this close-out waits to be sent, so it cannot be called off. Open its "
            "refunds to see where they stand."
        )
    return _read(close_out)


def closeouts_continue(
    *, clock: Clock = timezone.now, client: DigitalRiverClient | None = None
) -> Mapping[str, int]:
    """Carry on every close-out that is due, once; returns how many now stand in each state.

    Any number may run at once: a close-out is claimed before it is carried on.
    """
    counts: dict[str, int] = {}
    due = CloseOut.objects.filter(state=CloseOut.State.RUNNING, next_step_at__lte=clock())
    for close_out in list(due.order_by("next_step_at", "pk")):
        claim = CloseOut.objects.filter(pk=close_out.pk, next_step_at=close_out.next_step_at)
        if not claim.update(next_step_at=clock() + _CLAIM):
            continue
        try:
            carried_on = closeout_continue(close_out=close_out, clock=clock, client=client)
            outcome = str(carried_on.state)
        except Exception:
            # The others must not wait for one that the desk cannot handle; it is due again later.
            _logger.exception("close_out.failed", close_out=close_out.pk)
            outcome = "went wrong"
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


def _read(close_out: CloseOut) -> CloseOut:
    """Read it anew, with the person who began it and their permissions as they are now."""
    return CloseOut.objects.select_related("order", "created_by", "reason").get(pk=close_out.pk)


def _draft_make(
    close_out: CloseOut, *, user: User, selection: Selection, grounds: Grounds, clock: Clock
) -> None:
    """Write the next refund of the close-out as a draft; the caller has the order's row lock."""
    draft = draft_create(order=close_out.order, user=user, clock=clock)
    draft_choose(draft=draft, user=user, selection=selection, grounds=grounds, clock=clock)
    Refund.objects.filter(pk=draft.pk).update(close_out=close_out)
    history_add(
        refund=draft, actor=Actor.person(user), at=clock(), summary="Part of closing out the order."
    )


def _step(close_out: CloseOut, *, actor: Actor, clock: Clock, client: DigitalRiverClient) -> bool:
    """Do the next thing; tells whether there is another one to do right now."""
    refunds = list(close_out.refunds.order_by("pk"))
    for refund in refunds:
        if refund.state in _ENDS:
            refused = refund.refusal or "it was refused, and no money has moved."
            sentence = _ENDS[refund.state].format(refund=refund.reference, refused=refused)
            return _stop(close_out, sentence, because_of=refund, actor=actor, clock=clock)
    for refund in refunds:
        if refund.is_draft:
            return _submit(close_out, refund, actor=actor, clock=clock, client=client)
    waiting = [refund for refund in refunds if refund.state in selectors.NOT_TAKEN_ON]
    if waiting:
        soonest = clock() + _FIRST_LOOK
        due = min(refund.next_check_at or soonest for refund in waiting)
        _wait(close_out, until=max(due, soonest))
        return False
    return _finish(close_out, refunds, actor=actor, clock=clock, client=client)


#: The states of a refund that end a close-out, and what to do then.
_ENDS = {
    "refused": (
        "Refund {refund}: {refused} Put right what is named here, then close out the order again."
    ),
    "not_sent": (
        "Refund {refund} never reached Digital River, and no money has moved. Open it and send it "
        "again, or close out the order again."
    ),
    "failed": (
        "Refund {refund} failed after Digital River had taken it. Open it to see why, and send it "
        "again or close out the order again."
    ),
    "expired": (
        "Refund {refund} expired because the customer gave no bank details. Open it and send it "
        "again once the customer can give them."
    ),
    "cancelled": (
        "Refund {refund} was called off before it was sent, and no money has moved. Close out the "
        "order again should it be wanted after all."
    ),
}


def _submit(
    close_out: CloseOut, draft: Refund, *, actor: Actor, clock: Clock, client: DigitalRiverClient
) -> bool:
    """Send a draft as the person who began the close-out, if it comes to what they saw."""
    order, user = close_out.order, close_out.created_by
    try:
        require_issue(user)
        if selectors.is_stale(order, clock()):
            order_refresh(order=order, actor=actor, clock=clock, client=client)
        account = selectors.order_account(order)
        if draft.option == Option.COMPLETE_ORDER:
            _require_same(close_out.planned_amount, account.position.ledger.left, close_out)
        quote = account.position.quote(selectors.selection_of(draft, account.lines))
        if draft.option == Option.FEES:
            promised = add(line.amount or Decimal(0) for line in draft.lines.all())
            _require_same(promised, quote.total, close_out)
        seen = Seen(figures=quote.figures(), at=clock(), draft_changed_at=draft.updated_at)
        refund_submit(draft=draft, user=user, seen=seen, clock=clock, client=client)
    except OrderUnreadable as error:
        _wait(close_out, until=clock() + _AWAY, outcome=str(error))
        return False
    except PermissionMissing:
        name = user.get_full_name() or user.get_username()
        sentence = (
            f"{name}, who began it, may not make refunds any more, so refund {draft.reference} "
            "was not sent. Somebody who may can close out the order again."
        )
        return _stop(close_out, sentence, because_of=draft, actor=actor, clock=clock)
    except RefundDeskError as error:
        sentence = (
            f"Refund {draft.reference} was not sent. {error} Look at the order, and close it out "
            "again if that is right."
        )
        return _stop(close_out, sentence, because_of=draft, actor=actor, clock=clock)
    return True


def _require_same(promised: Decimal, now: Decimal, close_out: CloseOut) -> None:
    """Raise ``FiguresChanged`` where it would not give back what it was to give back."""
    if now != promised:
        raise FiguresChanged(
            f"It was to give back {format_money(promised, close_out.currency)}, but "
            f"{format_money(now, close_out.currency)} is what is left now.",
            seen={"total": promised},
            now={"total": now},
        )


def _finish(
    close_out: CloseOut,
    refunds: Sequence[Refund],
    *,
    actor: Actor,
    clock: Clock,
    client: DigitalRiverClient,
) -> bool:
    """Read the order again, now that Digital River has taken all of it on: is nothing left?"""
    try:
        account = order_refresh(order=close_out.order, actor=actor, clock=clock, client=client)
    except OrderUnreadable as error:
        _wait(close_out, until=clock() + _AWAY, outcome=str(error))
        return False
    if not _still_taken_on(close_out):
        # This very look told that one of them failed.
        return True
    left = account.position.ledger.left
    if left == 0:
        _end(close_out, CloseOut.State.DONE, "Nothing is left to refund.", at=clock())
        return False
    if account.position.fee_lines() and len(refunds) == 1:
        return _fees_begin(close_out, refunds[0], actor=actor, clock=clock)
    sentence = (
        f"{format_money(left, close_out.currency)} is still left after all that was sent. See on "
        "the order's page what it is, and refund it from there."
    )
    return _stop(close_out, sentence, because_of=refunds[-1], actor=actor, clock=clock)


def _still_taken_on(close_out: CloseOut) -> bool:
    return not close_out.refunds.exclude(state__in=selectors.TAKEN_ON).exists()


def _fees_begin(close_out: CloseOut, first: Refund, *, actor: Actor, clock: Clock) -> bool:
    """Write the refund of the fees that Digital River left, unless somebody has."""
    words = close_out.reason_text if close_out.reason.needs_text else ""
    grounds = Grounds(close_out.reason, words, close_out.note, first.ticket_url)
    try:
        with transaction.atomic(durable=True):
            order = Order.objects.select_for_update().get(pk=close_out.order_id)
            current = _read(close_out)
            made = list(current.refunds.all())
            if (
                current.state != CloseOut.State.RUNNING
                or len(made) != 1
                or not _still_taken_on(current)
            ):
                return True
            fees = selectors.order_position(order).fee_lines()
            if not fees:
                return True
            given = made[0].held_amount
            if given + add(fees.values()) > close_out.planned_amount:
                raise FiguresChanged(
                    "The fees that are left would make it more than the button named.",
                    seen={"total": close_out.planned_amount},
                    now={"total": given + add(fees.values())},
                )
            selection = Selection(Option.FEES, lines=tuple(LineSelection(key) for key in fees))
            _draft_make(
                current, user=current.created_by, selection=selection, grounds=grounds, clock=clock
            )
    except RefundDeskError as error:
        sentence = f"Regulatory fees are still left. {error} Refund them from the order's page."
        return _stop(close_out, sentence, because_of=first, actor=actor, clock=clock)
    return True


def _wait(close_out: CloseOut, *, until: datetime, outcome: str = "") -> None:
    running = CloseOut.objects.filter(pk=close_out.pk, state=CloseOut.State.RUNNING)
    running.update(next_step_at=until, outcome=outcome[:500])


def _stop(
    close_out: CloseOut, sentence: str, *, because_of: Refund, actor: Actor, clock: Clock
) -> bool:
    """End it with a sentence and drop what was not sent.

    Returns True, and does nothing, where the refund it stops for has moved on since it was read:
    then there is something else to do.
    """
    at = clock()
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=close_out.order_id)
        refunds = list(close_out.refunds.select_for_update().order_by("pk"))
        if any(each.pk == because_of.pk and each.state != because_of.state for each in refunds):
            return True
        for refund in refunds:
            if refund.is_draft:
                refund.move_to(
                    Refund.State.CANCELLED,
                    actor=actor,
                    at=at,
                    summary="The close-out it was part of has stopped.",
                    draft_expires_at=None,
                )
        _end(close_out, CloseOut.State.STOPPED, sentence, at=at)
    return False


def _end(close_out: CloseOut, state: str, outcome: str, *, at: datetime) -> None:
    running = CloseOut.objects.filter(pk=close_out.pk, state=CloseOut.State.RUNNING)
    if running.update(state=state, outcome=outcome[:500], finished_at=at, next_step_at=None):
        _logger.info("close_out.ended", close_out=close_out.pk, state=state)
