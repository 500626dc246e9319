"""Refunds: submitting one, looking where it stands, sending it again, calling it off.

A refund is sent in three beats (see ``attempts``): what the rep saw is checked and the money held
in one transaction, the call is made outside any, and what came of it is written in another.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from refunds import selectors
from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import NotSent, RateLimited, Unanswered
from refunds.errors import (
    FiguresChanged,
    MoveForbidden,
    OrderUnreadable,
    RefundDeskError,
)
from refunds.gateways import digital_river
from refunds.models import SWEEP, Actor, Order, OrderLine, Refund, RefundAttempt
from refunds.money import format_money
from refunds.options import Position, Quote, Seen
from refunds.permissions import require_issue
from refunds.selectors import OrderAccount
from refunds.services.attempts import attempt_record, attempt_send, attempt_start
from refunds.services.drafts import draft_lock, draft_require_open
from refunds.services.orders import Clock, order_recount, order_refresh
from refunds.services.settlements import next_look, refund_parts_save

_logger = structlog.get_logger(__name__)

#: How long a settling round keeps others off a refund it is looking at.
_CLAIM = timedelta(minutes=5)
#: When a refund that waits for Digital River is first tried.
_FIRST_TRY = timedelta(minutes=1)
#: Refunds in a row that found Digital River away, after which a round leaves the rest for later.
_AWAY_IN_A_ROW = 3
#: How many due refunds a round reads at once.
_BATCH = 200
_WITH_DIGITAL_RIVER = frozenset({Refund.State.PENDING, Refund.State.PENDING_INFORMATION})


def refund_submit(
    *,
    draft: Refund,
    user: User,
    seen: Seen,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Refund:
    """Send a draft to Digital River, once, if what the rep saw still holds.

    A draft that was submitted already, by a double click or another tab, is returned as it
    stands and nothing is sent. Raises ``PermissionMissing``, ``DraftClosed``,
    ``OrderUnreadable``, ``FiguresChanged`` or what ``Position.quote`` raises; then nothing was
    sent and nothing is held.
    """
    require_issue(user)
    client = client or digital_river()
    actor = Actor.person(user)
    if draft.submitted_at is not None:
        return draft
    order_refresh(order=draft.order, actor=Actor.looking(user), clock=clock, client=client)
    with transaction.atomic(durable=True):
        at = clock()
        locked = _draft_as_seen(draft=draft, user=user, seen=seen, at=at)
        if isinstance(locked, Refund):
            return locked
        account, current, quote = locked
        attempt = attempt_start(
            refund=current,
            quote=quote,
            account=account,
            actor=actor,
            at=at,
            summary=f"Submitted for {format_money(quote.total, quote.currency)}.",
        )
    return _send(attempt, actor=actor, clock=clock, client=client)


def refund_queue(*, draft: Refund, user: User, seen: Seen, clock: Clock = timezone.now) -> Refund:
    """Hold a draft's money and send it once Digital River answers again; nothing is sent now.

    For a rep who cannot wait while Digital River is away: what the rep saw are the last figures
    known. Before it is sent the order is read anew, and should it then come to another amount it
    is refused. A draft that was submitted already is returned as it stands. Raises
    ``PermissionMissing``, ``DraftClosed``, ``FiguresChanged`` or what ``Position.quote`` raises.
    """
    require_issue(user)
    with transaction.atomic(durable=True):
        at = clock()
        locked = _draft_as_seen(draft=draft, user=user, seen=seen, at=at)
        if isinstance(locked, Refund):
            return locked
        account, current, quote = locked
        current.move_to(
            Refund.State.QUEUED,
            actor=Actor.person(user),
            at=at,
            summary=(
                f"Held for {format_money(quote.total, quote.currency)}; to be sent once Digital "
                "River answers."
            ),
            requested_amount=quote.total,
            submitted_at=at,
            draft_expires_at=None,
            next_check_at=at + _FIRST_TRY,
        )
        refund_parts_save(refund=current, parts=quote.parts, lines=account.lines)
        order_recount(order=account.order, lines=account.lines)
    return current


def _draft_as_seen(
    *, draft: Refund, user: User, seen: Seen, at: datetime
) -> tuple[OrderAccount, Refund, Quote] | Refund:
    """Lock the order and the draft and check that the figures the rep saw still hold.

    Returns the refund alone where the draft was submitted already. Raises as ``refund_submit``.
    """
    order = Order.objects.select_for_update().get(pk=draft.order_id)
    current = draft_lock(draft=draft, order=order)
    if current.submitted_at is not None:
        return current
    draft_require_open(draft=current, user=user, at=at)
    account = selectors.order_account(order)
    quote = account.position.quote(selectors.selection_of(current, account.lines))
    if quote.figures() != seen.figures or current.updated_at != seen.draft_changed_at:
        why = _why_changed(current, account.refunds, seen)
        raise FiguresChanged(why, seen=seen.figures, now=quote.figures())
    return account, current, quote


def refund_retry(
    *,
    refund: Refund,
    user: User,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Refund:
    """Send a refund again that failed, expired or never arrived, as a new attempt.

    It must still come to the same amount. Raises ``PermissionMissing``, ``MoveForbidden``,
    ``OrderUnreadable``, ``FiguresChanged`` or what ``Position.quote`` raises; then nothing was
    sent.
    """
    require_issue(user)
    client = client or digital_river()
    actor = Actor.person(user)
    order_refresh(order=refund.order, actor=Actor.looking(user), clock=clock, client=client)
    with transaction.atomic(durable=True):
        at = clock()
        order = Order.objects.select_for_update().get(pk=refund.order_id)
        current = Refund.objects.select_for_update().get(pk=refund.pk)
        if current.state in Refund.RETRYABLE and current.refunded_amount:
            raise MoveForbidden(
                f"Digital River now shows that refund {current.reference} was paid after all, so "
                "it is not sent again. Ask a lead to look into it."
            )
        if not current.can_retry:
            raise MoveForbidden(
                f"Refund {current.reference} is {current.get_state_display().lower()}, so it is "
                "not sent again."
            )
        if current.paying_instead().exists():
            raise MoveForbidden(
                f"Digital River took an earlier attempt of refund {current.reference} after all, "
                "so it is not sent again: the customer would be paid twice. Ask a lead to look "
                "into it."
            )
        other = selectors.refund_perhaps_elsewhere(current)
        if other is not None:
            raise MoveForbidden(
                f"Refund {other.reference}, made outside the desk, is for the same amount and may "
                f"be {current.reference}, so that one is not sent again. Ask a lead to compare "
                "the two."
            )
        account = selectors.order_account(order)
        quote = _quote_again(current, account.position, account.lines)
        current.move_to(
            Refund.State.QUEUED,
            actor=actor,
            at=at,
            summary="To be sent again.",
            next_check_at=at,
        )
        attempt = attempt_start(
            refund=current,
            quote=quote,
            account=account,
            actor=actor,
            at=at,
            summary="Sent again as a new attempt.",
        )
    return _send(attempt, actor=actor, clock=clock, client=client)


@transaction.atomic
def refund_cancel(*, refund: Refund, user: User, clock: Clock = timezone.now) -> Refund:
    """Call off a refund that waits to be sent or never arrived. Raises ``MoveForbidden``."""
    require_issue(user)
    order = Order.objects.select_for_update().get(pk=refund.order_id)
    current = Refund.objects.select_for_update().get(pk=refund.pk)
    if not current.can_cancel:
        raise MoveForbidden(
            f"Refund {current.reference} is {current.get_state_display().lower()} and cannot be "
            "called off any more."
        )
    at = clock()
    current.move_to(
        Refund.State.CANCELLED,
        actor=Actor.person(user),
        at=at,
        summary="Called off before it was sent.",
        settled_at=at,
        next_check_at=None,
    )
    order_recount(order=order)
    return current


def refund_check(
    *,
    refund: Refund,
    actor: Actor,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Refund:
    """Look where an unsettled refund stands, or send it if it waits and its time has come.

    Raises ``OrderUnreadable`` when Digital River cannot be asked.
    """
    client = client or digital_river()
    if refund.state == Refund.State.QUEUED:
        return _send_queued(refund, actor=actor, clock=clock, client=client)
    if refund.is_unsettled:
        order_refresh(order=refund.order, actor=actor, clock=clock, client=client)
    return Refund.objects.select_related("order").get(pk=refund.pk)


def refunds_settle(
    *,
    limit: int | None = None,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Mapping[str, int]:
    """Look at every refund whose next look is due, once. Returns how many now stand in each state.

    Any number may run at once: a refund is claimed before it is looked at. ``unreadable`` counts
    those Digital River could not be asked for; ``went wrong`` counts those whose trouble is in the
    log. Once Digital River turns out to be away the rest stays due for the next round.
    """
    counts: dict[str, int] = {}
    away = 0
    for pk, due_at in islice(_due(clock()), limit):
        outcome, found_away = _settle_due(pk, due_at, clock=clock, client=client)
        if outcome:
            counts[outcome] = counts.get(outcome, 0) + 1
        away = away + 1 if found_away else 0
        if away == _AWAY_IN_A_ROW:
            break
    return counts


def _due(now: datetime) -> Iterator[tuple[int, datetime]]:
    """Return the refunds that are due, each once a round, never holding more than a batch."""
    behind = Q()
    while True:
        due = Refund.objects.filter(behind, next_check_at__lte=now)
        batch = list(
            due.order_by("next_check_at", "pk").values_list("pk", "next_check_at")[:_BATCH]
        )
        for pk, at in batch:
            assert at is not None, "what is due has a time"
            yield pk, at
        if len(batch) < _BATCH:
            return
        pk, at = batch[-1]
        behind = Q(next_check_at__gt=at) | Q(next_check_at=at, pk__gt=pk)


def _settle_due(
    pk: int, due_at: datetime, *, clock: Clock, client: DigitalRiverClient | None
) -> tuple[str, bool]:
    """Look at one refund that is due, unless another round has it.

    Returns what came of it, and whether Digital River turned out to be away.
    """
    claim = clock() + _CLAIM
    if not Refund.objects.filter(pk=pk, next_check_at=due_at).update(next_check_at=claim):
        return "", False
    refund = Refund.objects.select_related("order").get(pk=pk)
    # The claim is for other rounds; this one looks at the refund as it was due.
    refund.next_check_at = due_at
    try:
        refund = refund_check(refund=refund, actor=SWEEP, clock=clock, client=client)
        if refund.state in _WITH_DIGITAL_RIVER:
            # Where nothing was new, the claim still stands.
            again = next_look(refund, clock())
            Refund.objects.filter(pk=pk, next_check_at=claim).update(next_check_at=again)
    except OrderUnreadable as error:
        _logger.warning("refund.unreadable", reference=refund.reference, reason=str(error))
        return "unreadable", isinstance(error.__cause__, NotSent | Unanswered | RateLimited)
    except Exception:
        # The others must not wait for one that the desk cannot handle; it is due again later.
        _logger.exception("refund.not_settled", reference=refund.reference)
        return "went wrong", False
    return str(refund.state), False


def _send_queued(
    refund: Refund, *, actor: Actor, clock: Clock, client: DigitalRiverClient
) -> Refund:
    """Send a waiting refund if its time has come and it still stands."""
    if refund.next_check_at is not None and refund.next_check_at > clock():
        return refund
    order_refresh(order=refund.order, actor=actor, clock=clock, client=client)
    with transaction.atomic(durable=True):
        at = clock()
        order = Order.objects.select_for_update().get(pk=refund.order_id)
        current = Refund.objects.select_for_update().get(pk=refund.pk)
        if current.state != Refund.State.QUEUED or current.updated_at != refund.updated_at:
            # Another one sent it, and it may have been told to wait once more.
            return current
        account = selectors.order_account(order)
        try:
            quote = _quote_again(current, _without(account.position, current), account.lines)
        except RefundDeskError as error:
            current.move_to(
                Refund.State.REFUSED,
                actor=actor,
                at=at,
                summary=f"Not sent after waiting: {error}"[:500],
                refusal=str(error)[:500],
                settled_at=at,
                next_check_at=None,
            )
            order_recount(order=order, lines=account.lines)
            return current
        attempt = attempt_start(
            refund=current,
            quote=quote,
            account=account,
            actor=actor,
            at=at,
            summary="Sent after waiting.",
        )
    return _send(attempt, actor=actor, clock=clock, client=client)


def _send(
    attempt: RefundAttempt, *, actor: Actor, clock: Clock, client: DigitalRiverClient
) -> Refund:
    outcome = attempt_send(attempt=attempt, client=client, clock=clock)
    return attempt_record(attempt=attempt, outcome=outcome, actor=actor, clock=clock)


def _quote_again(refund: Refund, position: Position, lines: Sequence[OrderLine]) -> Quote:
    """Quote what a refund asked for before; it must come to the same amount."""
    quote = position.quote(selectors.selection_of(refund, lines))
    if quote.total != refund.requested_amount:
        asked = format_money(refund.requested_amount or Decimal(0), refund.currency)
        raise FiguresChanged(
            f"It was for {asked}, but {format_money(quote.total, refund.currency)} is what it "
            "would be now. Create a new refund instead.",
            seen={"total": refund.requested_amount or Decimal(0)},
            now={"total": quote.total},
        )
    return quote


def _without(position: Position, refund: Refund) -> Position:
    """Return the position without the hold of this very refund."""
    return Position(
        position.order,
        tuple(each for each in position.refunds if each.reference != refund.reference),
    )


def _why_changed(draft: Refund, refunds: list[Refund], seen: Seen) -> str:
    since = [refund for refund in refunds if refund.updated_at > seen.at]
    if draft.updated_at != seen.draft_changed_at:
        why = "this draft was changed in another tab or window since"
    elif since:
        named = ", ".join(refund.reference for refund in since[:3])
        why = f"refund {named} of this order was made or has moved since"
    else:
        why = "Digital River's figures for this order have changed since"
    return f"Nothing was sent: {why}. Look at the new figures and submit again if they are right."
