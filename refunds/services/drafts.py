"""Drafts: a refund before it is submitted, with addresses of its own, that belongs to one rep."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from refunds import selectors
from refunds.errors import DraftClosed, OrderNotEligible
from refunds.models import SWEEP, Actor, Grounds, Order, OrderLine, Refund, RefundLine
from refunds.options import WITH_AMOUNT, Quote, Selection
from refunds.permissions import require_issue
from refunds.services.orders import Clock
from refunds.services.settlements import history_add, refund_create


@transaction.atomic
def draft_create(*, order: Order, user: User, clock: Clock = timezone.now) -> Refund:
    """Begin a refund of an order that can be refunded, by what the mirror knows.

    Raises ``PermissionMissing`` or ``OrderNotEligible``.
    """
    require_issue(user)
    at = clock()
    closed_because = selectors.order_position(order).closed_because
    if closed_because:
        raise OrderNotEligible(closed_because)
    refund = refund_create(
        order=order,
        currency=order.currency,
        created_by=user,
        created_at=at,
        updated_at=at,
        draft_expires_at=_expiry(at),
    )
    history_add(refund=refund, actor=Actor.person(user), at=at, summary="Draft begun.")
    return refund


@transaction.atomic
def draft_choose(
    *,
    draft: Refund,
    user: User,
    selection: Selection,
    grounds: Grounds,
    clock: Clock = timezone.now,
) -> Quote:
    """Keep what the rep chose, if it can be refunded as things stand. Returns what it would do.

    Raises ``DraftClosed``, ``PermissionMissing``, or what ``Position.quote`` raises; then the
    draft is as it was.
    """
    require_issue(user)
    at = clock()
    locked = draft_lock(draft=draft, order=_order_lock(draft))
    draft_require_open(draft=locked, user=user, at=at)
    account = selectors.order_account(locked.order)
    quote = account.position.quote(selection)
    locked.option = selection.option
    locked.requested_amount = quote.total if selection.option in WITH_AMOUNT else None
    locked.reason = grounds.reason
    locked.reason_text = grounds.wire_text
    locked.note = grounds.note
    locked.ticket_url = grounds.ticket_url
    locked.updated_at = at
    locked.draft_expires_at = _expiry(at)
    locked.save()
    _lines_save(locked, quote, account.lines)
    history_add(
        refund=locked,
        actor=Actor.person(user),
        at=at,
        summary=f"Chose {selection.option.label}.",
        details={"total": quote.total, "currency": quote.currency, "reason": grounds.wire_text},
    )
    return quote


def _lines_save(draft: Refund, quote: Quote, lines: Sequence[OrderLine]) -> None:
    by_key = {line.key: line for line in lines}
    draft.lines.all().delete()
    RefundLine.objects.bulk_create(
        RefundLine(
            refund=draft,
            order_line=by_key[line.line],
            quantity=line.quantity,
            amount=line.amount,
        )
        for line in quote.lines
    )


@transaction.atomic
def draft_discard(*, draft: Refund, user: User, clock: Clock = timezone.now) -> None:
    """Drop a draft that will not be submitted. Raises ``DraftClosed``."""
    at = clock()
    locked = draft_lock(draft=draft, order=_order_lock(draft))
    draft_require_open(draft=locked, user=user, at=at)
    locked.move_to(
        Refund.State.CANCELLED,
        actor=Actor.person(user),
        at=at,
        summary="Draft discarded.",
        draft_expires_at=None,
    )


def drafts_expire(*, clock: Clock = timezone.now) -> int:
    """Drop the drafts whose time has run out; returns how many."""
    at = clock()
    count = 0
    expired = Refund.objects.filter(state=Refund.State.DRAFT, draft_expires_at__lte=at)
    for draft in expired.order_by("pk").iterator():
        with transaction.atomic():
            _order_lock(draft)
            locked = (
                Refund.objects.select_for_update()
                .filter(pk=draft.pk, state=Refund.State.DRAFT, draft_expires_at__lte=at)
                .first()
            )
            if locked is None:
                continue
            locked.move_to(
                Refund.State.CANCELLED,
                actor=SWEEP,
                at=at,
                summary="Draft expired.",
                draft_expires_at=None,
            )
            count += 1
    return count


def _order_lock(draft: Refund) -> Order:
    """Lock the draft's order before the draft, as everyone does who changes a refund.

    PostgreSQL locks it at the commit in any case, to see that it is still there; by then another
    may have it and wait for the draft.
    """
    return Order.objects.select_for_update().get(pk=draft.order_id)


def draft_lock(*, draft: Refund, order: Order) -> Refund:
    """Return the draft behind its row lock, with its order, which the caller has locked."""
    locked = Refund.objects.select_for_update().get(pk=draft.pk)
    locked.order = order
    return locked


def draft_require_open(*, draft: Refund, user: User, at: datetime) -> None:
    """Raise ``DraftClosed`` unless the draft is open and theirs."""
    if draft.created_by_id != user.pk or not draft.is_draft:
        raise DraftClosed(
            f"Refund {draft.reference} is not a draft any more. Open it to see where it stands."
        )
    if draft.draft_expires_at is None or draft.draft_expires_at <= at:
        raise DraftClosed(
            "This draft has expired, and nothing was sent. Create a new refund from the order."
        )


def _expiry(at: datetime) -> datetime:
    return at + timedelta(hours=settings.DRAFT_HOURS)
