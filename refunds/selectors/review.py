"""What the review of a draft shows, and what has changed since."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from refunds.errors import FiguresChanged, RefundDeskError
from refunds.ledger import Component
from refunds.models import OrderLine, Refund
from refunds.models.refunds import LINE_PART_COLUMNS, ORDER_PART_COLUMNS
from refunds.money import ZERO, format_money
from refunds.options import Quote
from refunds.selectors.orders import component_rows
from refunds.selectors.positions import OrderAccount, selection_of
from refunds.selectors.refunds import REFUNDS_SHOWN, earlier_refunds_of_buyer

#: A refund like another of the same order this recently may be a duplicate.
LOOK_ALIKE_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ReviewView:
    """All that the review page shows: a quote, or why what was chosen is closed now."""

    quote: Quote | None
    closed: RefundDeskError | None
    rows: list["ReviewRow"]
    warnings: list[str]
    earlier: list[Refund]
    earlier_of_buyer: list[Refund]


def review_view(account: OrderAccount, draft: Refund, now: datetime) -> ReviewView:
    """Return what the review page shows of a draft in which an option was chosen."""
    quote, closed = None, None
    try:
        quote = account.position.quote(selection_of(draft, account.lines))
    except RefundDeskError as error:
        closed = error
    return ReviewView(
        quote=quote,
        closed=closed,
        rows=review_rows(quote) if quote else [],
        warnings=review_warnings(quote, account.refunds, now) if quote else [],
        earlier=account.refunds[:REFUNDS_SHOWN],
        earlier_of_buyer=earlier_refunds_of_buyer(account.order),
    )


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """One component as the review shows it: what it gives, and what it has left after."""

    label: str
    left_before: Decimal
    amount: Decimal
    left_after: Decimal


def review_rows(quote: Quote) -> list[ReviewRow]:
    """Return a quote by component, with those that keep what they have."""
    after = {row.label: row.left for row in component_rows(quote.position_after.ledger)}
    amounts: dict[str, Decimal] = {}
    for part, amount in quote.parts.items():
        label = part.component.label
        amounts[label] = amounts.get(label, ZERO) + amount
    return [
        ReviewRow(row.label, row.left, amounts.get(row.label, ZERO), after.get(row.label, ZERO))
        for row in component_rows(quote.before)
    ]


@dataclass(frozen=True, slots=True)
class FigureChange:
    """One figure the rep saw, and what it is now; None where it was or is not there."""

    label: str
    seen: Decimal | None
    now: Decimal | None
    is_money: bool


def figure_changes(changed: FiguresChanged, lines: Sequence[OrderLine]) -> list[FigureChange]:
    """Return the figures that differ, old beside new, in words."""
    names = {line.key: line.product_name for line in lines}
    changes = []
    for key in [*changed.seen, *(key for key in changed.now if key not in changed.seen)]:
        seen, now = changed.seen.get(key), changed.now.get(key)
        if seen == now:
            continue
        kind, _, line = key.partition(" ")
        label = _FIGURE_LABELS.get(key)
        if label is None:
            label = "Units" if kind == "units" else Component(kind).label
            label = f"{label}: {names.get(line, line)}" if line else label
        changes.append(FigureChange(label, seen, now, is_money=kind != "units"))
    return changes


_FIGURE_LABELS = {
    "total": "Total to the customer",
    "left before": "Left to refund before",
    "left after": "Left to refund afterwards",
}


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part of a refund: which component, of which line (None: of the whole order)."""

    label: str
    line: OrderLine | None
    quantity: int
    amount: Decimal


def part_rows(refund: Refund) -> list[PartRow]:
    """Return a refund's parts, line by line and then those of the order as a whole."""
    rows = [
        PartRow(component.label, line.order_line, line.quantity, amount)
        for line in refund.lines.all()
        for component, column in LINE_PART_COLUMNS.items()
        if (amount := getattr(line, column))
    ]
    rows += [
        PartRow(component.label, None, 0, amount)
        for component, column in ORDER_PART_COLUMNS.items()
        if (amount := getattr(refund, column))
    ]
    return rows


def review_warnings(quote: Quote, refunds: Sequence[Refund], now: datetime) -> list[str]:
    """Return what the rep should think twice about before submitting, in sentences."""
    warnings = []
    for refund in refunds:
        recent = refund.submitted_at is not None and now - refund.submitted_at < LOOK_ALIKE_WITHIN
        counts = refund.state in Refund.HOLDING or refund.state == Refund.State.SUCCEEDED
        alike = refund.option == quote.option or refund.requested_amount == quote.total
        if recent and counts and alike:
            by = refund.created_by.get_full_name() if refund.created_by else "somebody elsewhere"
            warnings.append(
                f"This may be a duplicate: {refund.reference}, {refund.get_option_display()} of "
                f"{format_money(refund.requested_amount or ZERO, refund.currency)}, was made in "
                f"the last 24 hours by {by}."
            )
    if quote.before.estimated:
        warnings.append(
            "A part of the complete order was refunded before. How Digital River spread it is "
            "an estimate here, so the components below may differ by what Digital River answers."
        )
    if any(refund.state == Refund.State.UNKNOWN for refund in refunds):
        warnings.append(
            "Another refund of this order has an unknown outcome. If this one is meant to replace "
            "it, wait until it is settled."
        )
    return warnings
