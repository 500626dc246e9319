"""Reads orders anew from Digital River, whose alone their state, money and refunds are."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

from refunds import selectors
from refunds.digitalriver import payloads
from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import DigitalRiverError
from refunds.errors import OrderUnreadable
from refunds.gateways import digital_river
from refunds.models import CHECK, Actor, Order, OrderLine, Refund, RefundAttempt
from refunds.money import add
from refunds.options import Position
from refunds.selectors import OrderAccount
from refunds.services.settlements import (
    refund_adopt,
    refund_is_as_told,
    refund_missing,
    refund_take,
)

#: Tells the time; handed in by tests, which do not wait.
Clock = Callable[[], datetime]

_logger = structlog.get_logger(__name__)


def order_refresh(
    *,
    order: Order,
    actor: Actor = CHECK,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> OrderAccount:
    """Read the order and its refunds from Digital River and bring the mirror up to date.

    Settles what is unsettled on the order, adopts refunds made elsewhere, and counts as a look
    for refunds whose outcome is unknown. Returns the order as it then stands. Raises
    ``OrderUnreadable`` with a sentence for the rep; the mirror is then as it was.
    """
    if not order.digital_river_id:
        return selectors.order_account(order)
    client = client or digital_river()
    read_at = clock()
    try:
        # The refunds first: should one settle or be made between the two calls, the order's own
        # figures then count it twice rather than not at all.
        refunds = client.list_refunds(order_id=order.digital_river_id)
        told = client.get_order(order.digital_river_id)
    except DigitalRiverError as error:
        raise OrderUnreadable(str(error)) from error

    account = selectors.order_account(order)
    if _is_as_told(account, told, refunds):
        # Only if nobody wrote figures since the caller read the order.
        unmoved = Order.objects.filter(refreshed_at=order.refreshed_at, refreshed_at__lte=read_at)
        if unmoved.filter(pk=order.pk).update(refreshed_at=read_at):
            order.refreshed_at = read_at
            return account
    with transaction.atomic():
        # Others may have written since: read again behind the lock.
        locked = Order.objects.select_for_update().get(pk=order.pk)
        if locked.digital_river_id != order.digital_river_id:
            # What was read is of the one that Salesforce named before.
            raise OrderUnreadable(
                "Salesforce has just named another Digital River order for this one. Open the "
                "order again."
            )
        lines = _take_figures(locked, told, read_at)
        _take_refunds(locked, lines, refunds, read_at=read_at, at=clock(), actor=actor)
        account = selectors.order_account(locked, lines=lines)
        order_recount(order=locked, position=account.position)
    order.refresh_from_db()
    return account


def order_recount(
    *, order: Order, lines: list[OrderLine] | None = None, position: Position | None = None
) -> Position:
    """Work out anew what is left of the order and whether it can be refunded, for the lists.

    Takes the order's lines, or its position, from a caller that has read them behind the lock.
    """
    if position is None:
        position = selectors.order_position(order, lines=lines)
    _update(
        order,
        {
            "left_amount": position.ledger.left,
            "refundable": not position.closed_because,
        },
    )
    return position


def _order_figures(told: payloads.Order) -> dict[str, Any]:
    return {
        "state": told.state[:24],
        "currency": told.currency,
        "total_amount": told.total_amount,
        "product_amount": add(item.amount for item in told.items),
        "tax_amount": add(item.tax for item in told.items),
        "shipping_amount": told.shipping,
        "shipping_tax_amount": told.shipping_tax,
        "duty_amount": told.duty,
        "importer_tax_amount": told.importer_tax,
        "fees_amount": add(item.fees for item in told.items),
        "fee_tax_amount": add(item.fee_tax for item in told.items),
        "captured_amount": told.captured_amount,
        "refunded_amount": told.refunded_amount,
        "available_amount": told.available,
        "capture_completed": told.capture_completed,
        "payment": told.payment_description[:255],
        "payment_type": told.payment_type[:40],
    }


def _line_figures(item: payloads.OrderItem | None) -> dict[str, Any]:
    """Return the line's money; a line that Digital River does not have was charged nothing."""
    if item is None:
        names = ("product", "tax", "fees", "fee_tax", "duty", "importer_tax")
        return {f"{name}_amount": 0 for name in names} | {"available_amount": 0}
    return {
        "state": item.state[:24],
        "quantity": item.quantity,
        "product_amount": item.amount,
        "tax_amount": item.tax,
        "fees_amount": item.fees,
        "fee_tax_amount": item.fee_tax,
        "duty_amount": item.duty,
        "importer_tax_amount": item.importer_tax,
        "available_amount": item.available,
    }


def _is_as_told(
    account: OrderAccount, told: payloads.Order, refunds: Sequence[payloads.Refund]
) -> bool:
    """Tell whether the mirror already says all of this, as it mostly does."""
    order, lines, ours = account.order, account.lines, account.refunds
    if order.refreshed_at is None or _differences(order, _order_figures(told)):
        return False
    items = {item.id: item for item in told.items}
    if set(items) - {line.digital_river_id for line in lines}:
        return False
    if any(_differences(line, _line_figures(items.get(line.digital_river_id))) for line in lines):
        return False
    by_id = {refund.digital_river_id: refund for refund in ours if refund.digital_river_id}
    if any(refund.state in _LOOKED_FOR for refund in ours):
        return False
    return all(each.id in by_id and refund_is_as_told(by_id[each.id], each) for each in refunds)


#: Refunds that a look at Digital River's list may settle although it does not show them.
_LOOKED_FOR = frozenset({Refund.State.SUBMITTING, Refund.State.UNKNOWN})


def _take_figures(order: Order, told: payloads.Order, read_at: datetime) -> list[OrderLine]:
    """Write the order's figures unless a later read has written them; returns its lines as then."""
    lines = selectors.lines_of(order)
    if order.refreshed_at is not None and order.refreshed_at > read_at:
        return lines
    changes = _differences(order, _order_figures(told))
    # Until it is worked out anew: what is left never stands above what was captured.
    left = min(order.left_amount, told.captured_amount)
    _update(order, changes | {"refreshed_at": read_at, "left_amount": left})
    items = {item.id: item for item in told.items}
    changed, columns = [], set[str]()
    for line in lines:
        differences = _differences(line, _line_figures(items.pop(line.digital_river_id, None)))
        if differences:
            for name, value in differences.items():
                setattr(line, name, value)
            changed.append(line)
            columns |= differences.keys()
    if changed:
        # One statement for however many lines a refund has touched.
        OrderLine.objects.bulk_update(changed, sorted(columns))
    last = max((line.position for line in lines), default=0)
    for position, item in enumerate(told.items, start=1):
        if item.id in items:
            made = OrderLine.objects.create(
                order=order,
                position=last + position,
                digital_river_id=item.id,
                product_name=item.product_name[:255] or f"Item {item.id}",
                sku=item.sku_id[:255],
                part_number=item.part_number[:255],
                **_line_figures(item),
            )
            lines.append(made)
    return lines


def _take_refunds(
    order: Order,
    lines: list[OrderLine],
    refunds: Sequence[payloads.Refund],
    *,
    read_at: datetime,
    at: datetime,
    actor: Actor,
) -> None:
    """Match Digital River's refunds with ours by id or by the attempt's reference, oldest first."""
    ours = selectors.refunds_of(order)
    attempts = {
        attempt.reference: attempt
        for attempt in RefundAttempt.objects.filter(refund__order=order).order_by("number")
    }
    latest = {attempt.refund_id: attempt for attempt in attempts.values()}
    by_id = {refund.digital_river_id: refund for refund in ours if refund.digital_river_id}
    by_pk = {refund.pk: refund for refund in ours}
    for refund in ours:
        _lease_lapse(refund, latest.get(refund.pk), at=at, actor=actor)
    figures_hold = order.refreshed_at == read_at
    seen: set[int] = set()
    superseded = {
        attempt.digital_river_id
        for attempt in attempts.values()
        if attempt.digital_river_id and attempt.digital_river_id not in by_id
    }
    for told in reversed(refunds):
        known = by_id.get(told.id)
        flag = ""
        if known is None and told.id in superseded and told.state != "succeeded":
            # An earlier attempt that failed, after which the refund was sent again. A list that
            # was read before it failed still shows it as pending.
            continue
        if known is None and told.reference in attempts:
            attempt = attempts[told.reference]
            known, flag = refund_named(
                refund=by_pk[attempt.refund_id], attempt=attempt, told=told, at=at, actor=actor
            )
        if known is None:
            position = OrderAccount(order, lines, _newest_first(ours)).told_position
            known = refund_adopt(
                order=order,
                told=told,
                position=position,
                lines=lines,
                at=at,
                actor=actor,
                flag=flag or _could_be_ours(ours, latest, told),
            )
            ours.append(known)
        else:
            refund_take(refund=known, told=told, lines=lines, at=at, actor=actor)
        by_id[told.id] = known
        seen.add(known.pk)
        if figures_hold and not known.listed:
            Refund.objects.filter(pk=known.pk).update(listed=True)
            known.listed = True
    for refund in ours:
        last = latest.get(refund.pk)
        # Only a look that began after the outcome became unknown says anything about it.
        if (
            refund.state == Refund.State.UNKNOWN
            and refund.pk not in seen
            and last is not None
            and (last.answered_at or last.lease_until) <= read_at
        ):
            refund_missing(refund=refund, attempt=last, at=read_at, actor=actor)


#: States of a refund at Digital River in which it moved no money and never will.
_GAVE_NOTHING = frozenset({Refund.State.FAILED, Refund.State.EXPIRED})
#: States in which a refund of ours may still be matched with one at Digital River.
MAY_TURN_UP = frozenset({Refund.State.SUBMITTING, Refund.State.UNKNOWN, Refund.State.NOT_SENT})


def refund_named(
    *, refund: Refund, attempt: RefundAttempt, told: payloads.Refund, at: datetime, actor: Actor
) -> tuple[Refund | None, str]:
    """Return our refund that Digital River's names by the attempt's reference, if it is that one.

    Otherwise return None and what a lead must know: money is on its way that this refund's state
    does not tell of. One that waits to be sent again is then called off, lest it be sent twice.
    The caller has the order's row lock.
    """
    superseded = attempt.digital_river_id == told.id
    # The attempt that came after is on its way, or may be: the refund's state speaks of that one.
    in_doubt = refund.state != Refund.State.NOT_SENT and attempt.is_overtaken()
    may_be_this = not refund.digital_river_id and not superseded and not in_doubt
    is_this = refund.state in MAY_TURN_UP and may_be_this
    if is_this or not attempt.digital_river_id:
        attempt.digital_river_id = told.id
        attempt.outcome = f"Found at Digital River as {told.id}."
        attempt.save(update_fields=["digital_river_id", "outcome"])
    if is_this:
        return refund, ""
    if refund.state == Refund.State.QUEUED and told.state not in _GAVE_NOTHING:
        refund.move_to(
            Refund.State.CANCELLED,
            actor=actor,
            at=at,
            summary="Called off: Digital River took an earlier attempt after all.",
            settled_at=at,
            next_check_at=None,
        )
    if told.state in _GAVE_NOTHING:
        return None, ""
    return None, (
        f"Digital River has one more refund under the reference of {refund.reference}: "
        "the customer may be paid twice."
    )


def _could_be_ours(
    ours: Sequence[Refund], latest: Mapping[int, RefundAttempt], told: payloads.Refund
) -> str:
    """Return a remark where a refund without our reference may be one whose outcome is unknown.

    It is not taken for that one, since nothing says so; but should Digital River have lost the
    reference, sending ours again would pay the customer twice.
    """
    for refund in ours:
        attempt = latest.get(refund.pk)
        if (
            refund.state in _LOOKED_FOR
            and not refund.digital_river_id
            and attempt is not None
            and not told.reference
            and told.requested_amount == refund.requested_amount
            and told.created_time is not None
            and told.created_time >= attempt.started_at.replace(microsecond=0)
        ):
            return (
                f"It may be refund {refund.reference}, whose outcome is unknown: compare them in "
                "Digital River's Dashboard before that one is sent again."
            )
    return ""


def _newest_first(refunds: Sequence[Refund]) -> list[Refund]:
    return sorted(
        refunds,
        key=lambda refund: (refund.submitted_at or refund.created_at, refund.pk),
        reverse=True,
    )


def _lease_lapse(
    refund: Refund, attempt: RefundAttempt | None, *, at: datetime, actor: Actor
) -> None:
    """Take a refund whose sender never came back for unknown: it may or may not have been sent."""
    if (
        refund.state == Refund.State.SUBMITTING
        and attempt is not None
        and attempt.lease_until <= at
    ):
        refund.move_to(
            Refund.State.UNKNOWN,
            actor=actor,
            at=at,
            summary="The process that sent it did not come back; whether it was sent is unknown.",
            next_check_at=at,
        )
        _logger.warning("refund.lease_lapsed", reference=refund.reference)


def _differences(row: Order | OrderLine, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if getattr(row, name) != value}


def _update(row: Order | OrderLine, changes: Mapping[str, Any]) -> None:
    if not changes:
        return
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(update_fields=list(changes))
