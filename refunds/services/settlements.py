"""What Digital River says of a refund is taken on here, from whichever call told it.

States never go backwards: what a late or stale answer says is dropped unless the move is allowed.
The callers hold the order's row lock.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.db import IntegrityError, transaction

from refunds.digitalriver import payloads
from refunds.ledger import FEES, Component, Part, rescale
from refunds.models import (
    Actor,
    CreditMemo,
    Event,
    HistoryEntry,
    Order,
    OrderLine,
    Refund,
    RefundAttempt,
    RefundLine,
)
from refunds.models.history import entry_append
from refunds.models.refunds import LINE_PART_COLUMNS, ORDER_PART_COLUMNS, TOLD_BY_HISTORY
from refunds.models.states import MOVES, RefundState
from refunds.money import ZERO, add, format_money, quantize
from refunds.options import DRAWS_ON, Option, Position
from refunds.search_keys import search_key
from refunds.selectors import OrderAccount
from refunds.services.salesforce_tasks import salesforce_task_add

_logger = structlog.get_logger(__name__)

#: Two looks that did not find a refund must be this far apart before it counts as not sent.
QUIET_PERIOD = timedelta(seconds=60)
_SOONEST_LOOK = timedelta(minutes=1)
_LATEST_LOOK = timedelta(hours=1)

_SETTLED = frozenset({Refund.State.SUCCEEDED, Refund.State.FAILED, Refund.State.EXPIRED})
_OPTION_OF_TYPE = {
    "": Option.COMPLETE_ORDER,
    "shipping": Option.SHIPPING,
    "duty": Option.IMPORTER_DUTY,
    "importer_tax": Option.IMPORTER_TAX,
    "tax": Option.TAX,
}


def next_look(refund: Refund, at: datetime) -> datetime:
    """Return when to look again: soon at first, then less and less often, at least hourly."""
    age = at - (refund.submitted_at or at)
    return at + min(max(age / 2, _SOONEST_LOOK), _LATEST_LOOK)


def refund_create(**columns: Any) -> Refund:
    """Create a refund under a reference of its own, short and easy to say: ``R-4827-1936``."""
    while True:
        digits = f"{secrets.randbelow(10**8):08d}"
        try:
            with transaction.atomic():
                return Refund.objects.create(
                    reference=f"R-{digits[:4]}-{digits[4:]}", reference_key=digits, **columns
                )
        except IntegrityError:
            if not Refund.objects.filter(reference_key=digits).exists():
                raise


def history_add(
    *,
    refund: Refund,
    actor: Actor,
    at: datetime,
    summary: str,
    request_id: str = "",
    details: Mapping[str, object] | None = None,
) -> HistoryEntry:
    """Note something that happened to a refund without changing its state."""
    return entry_append(
        refund,
        actor=actor,
        at=at,
        summary=summary,
        from_state=refund.state,
        to_state=refund.state,
        request_id=request_id,
        details=details,
    )


def refund_parts_save(
    *,
    refund: Refund,
    parts: Mapping[Part, Decimal],
    lines: Sequence[OrderLine],
) -> None:
    """Book the refund in these parts, replacing the ones it was booked in before."""
    for component, column in ORDER_PART_COLUMNS.items():
        setattr(refund, column, parts.get(Part(component), ZERO))
    refund.save(update_fields=list(ORDER_PART_COLUMNS.values()))
    existing = {line.order_line_id: line for line in refund.lines.all()}
    made, changed = [], []
    for line in lines:
        amounts = {
            column: parts.get(Part(component, line.key), ZERO)
            for component, column in LINE_PART_COLUMNS.items()
        }
        row = existing.get(line.pk)
        if row is None and any(amounts.values()):
            made.append(RefundLine(refund=refund, order_line=line, **amounts))
        elif row is not None and any(getattr(row, name) != amounts[name] for name in amounts):
            for name, amount in amounts.items():
                setattr(row, name, amount)
            changed.append(row)
    RefundLine.objects.bulk_create(made)
    RefundLine.objects.bulk_update(changed, list(LINE_PART_COLUMNS.values()))
    if made:
        # The prefetched rows no longer show all there are.
        getattr(refund, "_prefetched_objects_cache", {}).pop("lines", None)


def refund_is_as_told(refund: Refund, told: payloads.Refund) -> bool:
    """Tell whether taking on this answer would change nothing."""
    if refund.state != Refund.State(told.state) or refund.digital_river_id != told.id:
        return False
    if refund.told_otherwise:
        return False
    if told.requested_amount not in (None, refund.accepted_amount):
        return False
    if refund.state == Refund.State.SUCCEEDED and refund.refunded_amount != told.refunded_amount:
        return False
    return refund.listed and refund.information_expires_at == told.expires_time


def refund_take(
    *,
    refund: Refund,
    told: payloads.Refund,
    lines: Sequence[OrderLine],
    at: datetime,
    actor: Actor,
    request_id: str = "",
) -> None:
    """Take on what Digital River told of a refund: its id, state, amounts and deadline.

    An amount other than the one the rep was shown, a success after we had written the refund off
    and a state that contradicts a settled one are flagged for a lead.
    """
    told = told.counted_in(refund.currency)
    changes = _changes_told(refund, told)
    remarks = [each for each in _remarks(refund, told) if each not in refund.flag]
    state = Refund.State(told.state)
    flag = " ".join([refund.flag, *remarks]).strip()[:500]
    if flag != refund.flag:
        changes["flag"] = flag
        _logger.warning("refund.flagged", reference=refund.reference)
    otherwise = state if _contradicts(refund, state) else ""
    if otherwise != refund.told_otherwise:
        changes["told_otherwise"] = otherwise
    if state != refund.state and state in MOVES[refund.state]:
        settled = state in _SETTLED
        changes["settled_at"] = at if settled else None
        changes["next_check_at"] = None if settled else next_look(refund, at)
        refund.move_to(
            state,
            actor=actor,
            at=at,
            summary=_summary(told, refund),
            request_id=request_id,
            **changes,
        )
        salesforce_task_add(refund=refund, at=at)
    else:
        details = {name: changes[name] for name in TOLD_BY_HISTORY if name in changes}
        if refund.is_unsettled:
            changes["next_check_at"] = next_look(refund, at)
        if changes:
            Refund.objects.filter(pk=refund.pk).update(updated_at=at, **changes)
            for name, value in changes.items():
                setattr(refund, name, value)
        if details:
            history_add(
                refund=refund,
                actor=actor,
                at=at,
                summary=" ".join(["Digital River told more of it.", *remarks])[:500],
                request_id=request_id,
                details=details,
            )
    _rebook(refund, told, lines)


def _changes_told(refund: Refund, told: payloads.Refund) -> dict[str, Any]:
    """Return the columns that Digital River's answer changes, but for the state."""
    changes: dict[str, Any] = {"information_expires_at": told.expires_time}
    if not refund.digital_river_id:
        changes["digital_river_id"] = told.id
        changes["digital_river_key"] = search_key(told.id)
    if told.requested_amount is not None:
        changes["accepted_amount"] = told.requested_amount
    if _has_succeeded(told):
        changes["refunded_amount"] = told.refunded_amount
    if told.failure_reason:
        changes["failure_reason"] = told.failure_reason[:255]
    return {name: value for name, value in changes.items() if getattr(refund, name) != value}


def _remarks(refund: Refund, told: payloads.Refund) -> list[str]:
    """Return what a lead should know of this answer, in sentences."""
    remarks = []
    state, asked = Refund.State(told.state), refund.requested_amount
    accepted = told.requested_amount
    if refund.state == Refund.State.NOT_SENT:
        remarks.append("It turned up at Digital River after it had counted as not sent.")
    if accepted is not None and asked is not None and accepted != asked:
        remarks.append(
            f"Digital River took {format_money(accepted, refund.currency)}; "
            f"{format_money(asked, refund.currency)} was asked for."
        )
    if told.currency != refund.currency:
        remarks.append(_other_currency(told))
    expected = asked if accepted is None else accepted
    if _has_succeeded(told) and expected is not None and told.refunded_amount != expected:
        remarks.append(
            f"Digital River gave back {format_money(told.refunded_amount, refund.currency)} "
            f"of {format_money(expected, refund.currency)}."
        )
    if _contradicts(refund, state):
        remarks.append(
            f"Digital River now shows it as {state.label.lower()}, after it was "
            f"{Refund.State(refund.state).label.lower()}."
        )
    return remarks


def _other_currency(told: payloads.Refund) -> str:
    return f"Digital River shows this refund in {told.currency}."


def _contradicts(refund: Refund, state: RefundState) -> bool:
    """Tell whether Digital River now tells another end of a refund than it told before."""
    return state in _SETTLED and state != refund.state and state not in MOVES[refund.state]


def _has_succeeded(told: payloads.Refund) -> bool:
    return Refund.State(told.state) is Refund.State.SUCCEEDED


def _rebook(refund: Refund, told: payloads.Refund, lines: Sequence[OrderLine]) -> None:
    """Make the parts sum to what the refund holds or gave; a released one keeps its last ones."""
    if refund.state not in Refund.HOLDING and refund.state != Refund.State.SUCCEEDED:
        return
    parts = refund.parts({line.pk: line.key for line in lines})
    if add(parts.values()) != refund.held_amount:
        rebooked = _rebooked(refund, told, parts)
        refund_parts_save(refund=refund, parts=rebooked, lines=lines)


def _rebooked(
    refund: Refund, told: payloads.Refund, parts: Mapping[Part, Decimal]
) -> dict[Part, Decimal]:
    """Return the parts for another sum: by the items of the answer where it tells their amounts."""
    amounts = [item.refunded_amount if _has_succeeded(told) else item.amount for item in told.items]
    known = [amount for amount in amounts if amount is not None]
    if known and len(known) == len(amounts) and add(known) == refund.held_amount:
        rebooked: dict[Part, Decimal] = {}
        for item, amount in zip(told.items, known, strict=True):
            components, line = _drawn_on(item)
            own = {
                part: held
                for part, held in parts.items()
                if part.component in components and line in (None, part.line)
            }
            # What was booked in no part of it before goes on the whole order.
            for part, held in rescale(own, amount, refund.currency).items():
                rebooked[part] = rebooked.get(part, ZERO) + held
        return rebooked
    without_fees = {part: amount for part, amount in parts.items() if part.component not in FEES}
    # Digital River may have left the regulatory fees out, as it does of a partial refund.
    if add(without_fees.values()) == refund.held_amount:
        return without_fees
    return rescale(parts, refund.held_amount, refund.currency)


def _drawn_on(item: payloads.RefundItem) -> tuple[tuple[Component, ...], str | None]:
    """Return the components that an item of a refund draws on, and of which line; None for all."""
    return {
        "": ((Component.PRODUCT, Component.TAX), item.item_id),
        "fees": ((Component.FEES, Component.FEE_TAX), item.item_id),
        "shipping": ((Component.SHIPPING, Component.SHIPPING_TAX), None),
        "duty": ((Component.DUTY,), None),
    }.get(item.type, (tuple(Component), None))


def _summary(told: payloads.Refund, refund: Refund) -> str:
    if _has_succeeded(told):
        return f"Succeeded: {format_money(told.refunded_amount, refund.currency)} given back."
    if told.state == "failed":
        return "Failed" + (f": {told.failure_reason}." if told.failure_reason else ".")
    return f"Digital River shows it as {Refund.State(told.state).label.lower()}."


def refund_adopt(
    *,
    order: Order,
    told: payloads.Refund,
    position: Position,
    lines: Sequence[OrderLine],
    at: datetime,
    actor: Actor,
    flag: str = "",
) -> Refund:
    """Record a refund that Digital River lists and the desk did not make, so that it counts."""
    if told.currency != order.currency:
        flag = f"{flag} {_other_currency(told)}".strip()
        told = told.counted_in(order.currency)
    option = _OPTION_OF_TYPE.get(told.type, Option.COMPLETE_ORDER)
    if told.items:
        types = {item.type for item in told.items}
        option = Option.FEES if types == {"fees"} else Option.LINE_ITEMS
        option = {"shipping": Option.SHIPPING, "duty": Option.IMPORTER_DUTY}.get(
            next(iter(types)) if len(types) == 1 else "", option
        )
    parts = _parts_told(told, option, position)
    settled = Refund.State(told.state) in _SETTLED
    submitted_at = told.created_time or at
    refund = refund_create(
        order=order,
        origin=Refund.Origin.ELSEWHERE,
        option=option,
        state=told.state,
        currency=order.currency,
        requested_amount=add(parts.values()),
        accepted_amount=add(parts.values()),
        refunded_amount=told.refunded_amount if _has_succeeded(told) else ZERO,
        reason_text=told.reason[:64],
        digital_river_id=told.id,
        digital_river_key=search_key(told.id),
        listed=True,
        failure_reason=told.failure_reason[:255],
        flag=flag,
        created_at=at,
        updated_at=at,
        submitted_at=submitted_at,
        settled_at=at if settled else None,
        information_expires_at=told.expires_time,
    )
    if not settled:
        Refund.objects.filter(pk=refund.pk).update(next_check_at=next_look(refund, at))
    refund_parts_save(refund=refund, parts=parts, lines=lines)
    if option is Option.LINE_ITEMS:
        _units_save(refund, told, lines)
    _rebook(refund, told, lines)
    history_add(
        refund=refund,
        actor=actor,
        at=at,
        summary="Found at Digital River; it was not made at this desk.",
        details={name: getattr(refund, name) for name in TOLD_BY_HISTORY if getattr(refund, name)},
    )
    return refund


def refund_give_way(
    *, outside: Refund, own: Refund, at: datetime, actor: Actor, summary: str
) -> None:
    """Let a row that was taken for a refund made elsewhere give way to the desk's own that it is.

    It is *relinked*: it holds nothing and names the other one, which gets what Digital River told
    of it. The caller has the order's row lock, and moves Digital River's id.
    """
    outside.move_to(
        Refund.State.RELINKED,
        actor=actor,
        at=at,
        summary=summary,
        relinked_to=own,
        digital_river_id="",
        digital_river_key="",
        refunded_amount=ZERO,
        settled_at=at,
        next_check_at=None,
        flag="",
    )
    Event.objects.filter(refund=outside).update(refund=own)
    CreditMemo.objects.filter(refund=outside).update(refund=own)


def chargeback_take(
    *,
    order: Order,
    account: OrderAccount,
    amount: Decimal | None,
    currency: str,
    created_at: datetime | None,
    at: datetime,
    actor: Actor,
) -> Refund:
    """Book what the customer's bank took back, so that it counts as refunded.

    ``amount`` is in major units of ``currency``, empty for the order's; where Digital River did
    not tell it in the order's currency, all that was not given back before counts as taken: what
    is closed wrongly a lead can see, what is paid twice is gone. The caller has the order's row
    lock.
    """
    if currency not in ("", order.currency):
        amount = None
    ledger = account.position.ledger
    rest = max(ZERO, order.captured_amount - ledger.refunded - ledger.in_flight)
    taken = rest if amount is None else quantize(amount, order.currency)
    flag = ""
    if amount is None:
        flag = (
            f"Digital River did not say how much {order.currency} the customer's bank took back: "
            "all that was left counts as taken. Compare the order in Digital River's Dashboard."
        )
    elif taken > rest:
        flag = (
            "The customer's bank took back more than was left after the refunds: the customer "
            "may have been paid twice."
        )
    parts = ledger.spread(taken, list(Component))
    refund = refund_create(
        order=order,
        origin=Refund.Origin.CHARGEBACK,
        option=Option.COMPLETE_ORDER,
        state=Refund.State.SUCCEEDED,
        currency=order.currency,
        requested_amount=taken,
        accepted_amount=taken,
        refunded_amount=taken,
        listed=True,
        flag=flag,
        created_at=at,
        updated_at=at,
        submitted_at=created_at or at,
        settled_at=at,
    )
    refund_parts_save(refund=refund, parts=parts, lines=account.lines)
    history_add(
        refund=refund,
        actor=actor,
        at=at,
        summary=f"Chargeback: the customer's bank took back {format_money(taken, order.currency)}.",
        details={"refunded_amount": taken, "flag": flag},
    )
    return refund


def _parts_told(told: payloads.Refund, option: Option, position: Position) -> dict[Part, Decimal]:
    """Return the parts of a refund made elsewhere, as well as they can be told from outside."""
    ledger = position.ledger
    if not told.items:
        amount = told.requested_amount
        if amount is None:
            amount = told.refunded_amount
        if option is Option.COMPLETE_ORDER:
            # By the components: the figures of the whole order know of this refund already.
            partial = amount < ledger.left_of(Component)
            drawn = [each for each in Component if not (partial and each in FEES)]
            return ledger.spread(amount, drawn)
        return ledger.spread(amount, DRAWS_ON[option])
    parts: dict[Part, Decimal] = {}
    for item in told.items:
        components, line = _drawn_on(item)
        amount = item.amount
        if amount is None and _has_succeeded(told):
            amount = item.refunded_amount
        if amount is None:
            left = ledger.left_of(components, line=line)
            amount = quantize(left * (item.percent or 100) / 100, told.currency)
        for part, share in ledger.spread(amount, components, line=line).items():
            parts[part] = parts.get(part, ZERO) + share
    return parts


def _units_save(refund: Refund, told: payloads.Refund, lines: Sequence[OrderLine]) -> None:
    """Keep the units of a line-item refund made elsewhere, so that they are not offered again."""
    by_key = {line.key: line for line in lines}
    for item in told.items:
        line = by_key.get(item.item_id)
        if line is None or item.type:
            continue
        quantity = line.quantity if item.quantity is None else min(item.quantity, line.quantity)
        refund.lines.filter(order_line=line).update(quantity=quantity, amount=item.amount)


def refund_missing(*, refund: Refund, attempt: RefundAttempt, at: datetime, actor: Actor) -> None:
    """Note that a look at Digital River, begun at ``at``, did not find an unknown refund.

    The second such look, at least the quiet period after the first, settles it as not sent.
    """
    if attempt.missing_since is None:
        RefundAttempt.objects.filter(pk=attempt.pk).update(missing_since=at)
        Refund.objects.filter(pk=refund.pk).update(next_check_at=at + QUIET_PERIOD, updated_at=at)
        refund.next_check_at = at + QUIET_PERIOD
        attempt.missing_since = at
        history_add(
            refund=refund,
            actor=actor,
            at=at,
            summary="Looked at Digital River: it is not there. Looking once more to be certain.",
        )
    elif at - attempt.missing_since >= QUIET_PERIOD:
        refund.move_to(
            Refund.State.NOT_SENT,
            actor=actor,
            at=at,
            summary="Looked at Digital River twice: it is not there, so it never arrived.",
            next_check_at=None,
        )
    else:
        again = attempt.missing_since + QUIET_PERIOD
        Refund.objects.filter(pk=refund.pk).update(next_check_at=again)
        refund.next_check_at = again
