"""What pages read. Nothing here writes, and templates get finished values from here.

Lists are paged by keyset: a page starts behind the last row of the one before, so the hundredth
page costs what the first does, and nothing is ever counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, reduce
from typing import Any, Generic, TypeVar

from django.contrib.auth.models import User
from django.core import signing
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Model, Prefetch, Q, QuerySet, Value
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from refunds.errors import FiguresChanged, RefundDeskError, SelectionInvalid
from refunds.ledger import (
    Component,
    Ledger,
    LineFigures,
    OrderFigures,
    RefundFigures,
    Standing,
)
from refunds.models import HistoryEntry, Order, OrderLine, Refund, RefundLine, RefundReason
from refunds.models.refunds import LINE_PART_COLUMNS, ORDER_PART_COLUMNS
from refunds.money import ZERO, add, format_money
from refunds.options import LineSelection, Option, Position, Quote, Selection
from refunds.search_keys import prefix_range, search_key

Row = TypeVar("Row", bound=Model)

PAGE_SIZE = 25
#: How many refunds the order page shows before it leads to the list.
REFUNDS_SHOWN = 25
#: Older figures are read anew when a rep opens the order.
FRESH_FOR = timedelta(minutes=1)
#: A refund like another of the same order this recently may be a duplicate.
LOOK_ALIKE_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list, and the cursor that the next one starts behind (empty at the end)."""

    rows: list[Row]
    after: str
    is_first: bool


# -- positions: an order with all that its options are worked out from ---------------------------


def refunds_of(order: Order) -> list[Refund]:
    """Return the order's submitted refunds, newest first, with their lines."""
    return list(
        order.refunds.filter(submitted_at__isnull=False)
        .select_related("created_by", "reason")
        .prefetch_related("lines")
        .order_by("-submitted_at", "-id")
    )


def lines_of(order: Order) -> list[OrderLine]:
    """Return the order's lines in the order Digital River lists them."""
    return list(order.lines.order_by("position", "id"))


@dataclass(frozen=True)
class OrderAccount:
    """An order with its lines and its refunds (newest first), read once for all who need them."""

    order: Order
    lines: list[OrderLine]
    refunds: list[Refund]

    @cached_property
    def position(self) -> Position:
        """The order as the ledger and the options see it."""
        keys = {line.pk: line.key for line in self.lines}
        return Position(
            order_figures(self.order, self.lines),
            tuple(refund_figures(refund, keys) for refund in reversed(self.refunds)),
        )


def order_account(order: Order) -> OrderAccount:
    """Read the order's lines and refunds."""
    return OrderAccount(order, lines_of(order), refunds_of(order))


def order_position(order: Order) -> Position:
    """Read the order's lines and refunds and return its position."""
    return order_account(order).position


def order_figures(order: Order, lines: Sequence[OrderLine]) -> OrderFigures:
    """Return the order's money as the ledger reads it."""
    return OrderFigures(
        digital_river_id=order.digital_river_id,
        state=order.state,
        currency=order.currency,
        total=order.total_amount,
        captured=order.captured_amount,
        refunded=order.refunded_amount,
        available=order.available_amount,
        capture_completed=order.capture_completed,
        shipping=order.shipping_amount,
        shipping_tax=order.shipping_tax_amount,
        duty=order.duty_amount,
        importer_tax=order.importer_tax_amount,
        lines=tuple(
            LineFigures(
                line=line.key,
                label=line.product_name,
                quantity=line.quantity,
                cancelled=line.cancelled_quantity,
                fulfilled=line.fulfilled_quantity,
                product=line.product_amount,
                tax=line.tax_amount,
                fees=line.fees_amount,
                fee_tax=line.fee_tax_amount,
                duty=line.duty_amount,
                importer_tax=line.importer_tax_amount,
                available=line.available_amount,
            )
            for line in lines
        ),
    )


def refund_figures(refund: Refund, line_keys: dict[int, str]) -> RefundFigures:
    """Return one refund as the ledger books it."""
    if refund.state == Refund.State.SUCCEEDED:
        standing = Standing.REFUNDED
    elif refund.state in Refund.HOLDING:
        standing = Standing.IN_FLIGHT
    else:
        standing = Standing.RELEASED
    quantities = {}
    if refund.option == Option.LINE_ITEMS:
        quantities = {
            line_keys[line.order_line_id]: line.quantity
            for line in refund.lines.all()
            if line.quantity
        }
    return RefundFigures(
        reference=refund.reference,
        standing=standing,
        parts=refund.parts(line_keys),
        quantities=quantities,
        whole_order=refund.option == Option.COMPLETE_ORDER,
        listed=refund.listed,
    )


def selection_of(refund: Refund, lines: Sequence[OrderLine]) -> Selection:
    """Return what the rep chose in a draft (or in a refund that is sent again)."""
    if not refund.option:
        raise SelectionInvalid("Choose a refund option first.", field="option")
    option = Option(refund.option)
    keys = {line.pk: line.key for line in lines}
    chosen: tuple[LineSelection, ...] = ()
    if option in {Option.LINE_ITEMS, Option.FEES}:
        chosen = tuple(
            LineSelection(keys[line.order_line_id], line.quantity, line.amount)
            for line in refund.lines.all()
            if line.amount is not None
        )
    return Selection(option=option, amount=refund.requested_amount, lines=chosen)


# -- orders --------------------------------------------------------------------------------------


def order_by_number(order_number: str) -> Order:
    """Return one order. Raises ``Order.DoesNotExist``."""
    return Order.objects.get(order_number=order_number)


def is_stale(order: Order, now: datetime) -> bool:
    """Tell whether the order's money should be read anew before anybody relies on it."""
    return order.refreshed_at is None or now - order.refreshed_at > FRESH_FOR


def orders_page(orders: QuerySet[Order], *, search: str = "", after: str = "") -> Page[Order]:
    """Return a page of orders, newest first; of those a search finds, by what it matched.

    ``orders`` carries the filters. ``search`` is looked up as a prefix of the order number, the
    Digital River id, the Salesforce id, the buyer's email or name and the account.
    """
    prefix = search_key(search)
    if prefix:
        return _found_page(orders, Order.SEARCH_KEYS, "ordered_at", prefix, after)
    return _newest_page(orders, "ordered_at", after)


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """One row of the ledger grid: a component over all lines."""

    label: str
    charged: Decimal
    refunded: Decimal
    in_flight: Decimal
    left: Decimal


@dataclass(frozen=True, slots=True)
class LineRow:
    """One line of the order with what it can still give."""

    line: OrderLine
    units: int | None
    left: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderView:
    """All that the order's page shows."""

    order: Order
    position: Position
    components: list[ComponentRow]
    lines: list[LineRow]
    refunds: list[Refund]
    #: Whether the order has more refunds than the page shows.
    more_refunds: bool
    is_stale: bool
    #: What is left, named only where Digital River has less available than the parts add up to.
    is_capped: bool


def order_view(account: OrderAccount, now: datetime) -> OrderView:
    """Return what the order's page shows."""
    order, lines, refunds = account.order, account.lines, account.refunds
    position = account.position
    components = component_rows(position.ledger)
    by_key = {line.figures.line: line for line in position.ledger.lines}
    return OrderView(
        order=order,
        position=position,
        components=components,
        lines=[
            LineRow(
                line=line,
                units=by_key[line.key].units if line.key in by_key else None,
                left=by_key[line.key].left if line.key in by_key else None,
            )
            for line in lines
        ],
        refunds=refunds[:REFUNDS_SHOWN],
        more_refunds=len(refunds) > REFUNDS_SHOWN,
        is_stale=bool(order.digital_river_id) and is_stale(order, now),
        is_capped=position.ledger.left < add(row.left for row in components),
    )


def component_rows(ledger: Ledger) -> list[ComponentRow]:
    """Return the ledger by component, without those the order was never charged."""
    rows = []
    for component in Component:
        entries = [entry for entry in ledger.entries if entry.part.component is component]
        charged = add(entry.charged for entry in entries)
        refunded = add(entry.refunded for entry in entries)
        in_flight = add(entry.in_flight for entry in entries)
        if charged or refunded or in_flight:
            left = add(entry.left for entry in entries)
            rows.append(ComponentRow(component.label, charged, refunded, in_flight, left))
    return rows


# -- reviewing -------------------------------------------------------------------------------------


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


# -- refunds -------------------------------------------------------------------------------------


def refunds_page(refunds: QuerySet[Refund], *, search: str = "", after: str = "") -> Page[Refund]:
    """Return a page of submitted refunds, newest first; of those a search finds, by the match.

    ``search`` is a prefix of the reference (with or without its letter and dashes), of Digital
    River's refund id, or of the order number.
    """
    refunds = refunds.filter(submitted_at__isnull=False).select_related(
        "order", "created_by", "reason"
    )
    prefix = search_key(search)
    if not prefix:
        return _newest_page(refunds, "submitted_at", after)
    digits = "".join(mark for mark in prefix.removeprefix("r") if mark not in "- ")
    if prefix.startswith("r-") and digits.isdigit():
        return _found_page(refunds, ("reference_key",), "submitted_at", digits, after)
    return _found_page(
        refunds,
        ("reference_key", "digital_river_key", "order__number_key"),
        "submitted_at",
        digits if digits.isdigit() else prefix,
        after,
    )


def drafts_of(user: User) -> list[Refund]:
    """Return the person's open drafts, latest first; a handful, since drafts expire."""
    return list(
        Refund.objects.filter(
            created_by=user, state=Refund.State.DRAFT, draft_expires_at__gt=timezone.now()
        )
        .select_related("order")
        .order_by("-updated_at")[:REFUNDS_SHOWN]
    )


def refund_by_reference(reference: str) -> Refund:
    """Return a submitted refund with all its page shows. Raises ``Refund.DoesNotExist``."""
    return (
        Refund.objects.select_related("order", "created_by", "reason")
        .prefetch_related(
            Prefetch("lines", RefundLine.objects.select_related("order_line")),
            "attempts",
            Prefetch("history", HistoryEntry.objects.select_related("actor")),
        )
        .get(reference=reference, submitted_at__isnull=False)
    )


def refund_to_act_on(reference: str) -> Refund:
    """Return a submitted refund with its order alone. Raises ``Refund.DoesNotExist``."""
    return Refund.objects.select_related("order").get(
        reference=reference, submitted_at__isnull=False
    )


def draft_by_reference(reference: str, user: User) -> Refund:
    """Return the person's own draft, or the refund it became.

    Another person's is not told from one that does not exist. Raises ``Refund.DoesNotExist``.
    """
    return (
        Refund.objects.select_related("order", "reason")
        .prefetch_related("lines")
        .get(reference=reference, created_by=user, origin=Refund.Origin.DESK)
    )


def earlier_refunds_of_buyer(order: Order) -> list[Refund]:
    """Return the latest refunds of the buyer's other orders (by email), newest first."""
    if not order.email_key:
        return []
    return list(
        Refund.objects.filter(order__email_key=order.email_key, submitted_at__isnull=False)
        .exclude(order=order)
        .select_related("order", "created_by")
        .order_by("-submitted_at", "-id")[:5]
    )


def reasons() -> list[RefundReason]:
    """Return the reasons offered for new refunds."""
    return list(RefundReason.objects.filter(active=True))


def flagged_refunds_exist() -> bool:
    """Tell whether any refund waits for a lead to look into it."""
    return Refund.objects.exclude(flag="").exists()


# -- keyset paging -------------------------------------------------------------------------------


def _newest_page(rows: QuerySet[Row], column: str, after: str) -> Page[Row]:
    ordered = rows.order_by(f"-{column}", "-id")
    if after:
        at, pk = _read_cursor(after, 2)
        ordered = ordered.filter(**{f"{column}__lte": at}).exclude(**{column: at, "id__gte": pk})
    found = list(ordered[: PAGE_SIZE + 1])
    cursor = ""
    if len(found) > PAGE_SIZE:
        last = found[PAGE_SIZE - 1]
        cursor = _write_cursor(getattr(last, column), last.pk)
    return Page(found[:PAGE_SIZE], cursor, is_first=not after)


def _found_page(
    rows: QuerySet[Row], keys: Sequence[str], column: str, prefix: str, after: str
) -> Page[Row]:
    """Return a page of the rows of which any key starts with the prefix, in the keys' order.

    Each key has an index of its own, so each is asked on its own for no more rows than a page
    has, and the answers are merged: one condition over all keys would read the whole table. A row
    that several keys match stands where the smallest of them does.
    """
    first, last = prefix_range(prefix)
    position: list[Any] = _read_cursor(after, 3) if after else []
    arms = []
    for index, key in enumerate(keys):
        # One lower bound only: SQLite takes the first of two for the index.
        matched = Q(**{f"{key}__gte": position[0] if position else first, f"{key}__lt": last})
        if len(keys) > 1:
            matched &= ~Q(_FoundByAnother(key, keys[:index], keys[index + 1 :], first))
        if position:
            text, at, pk = position
            shown = Q(**{f"{column}__gt": at}) | Q(**{column: at, "id__gte": pk})
            matched &= ~(Q(**{key: text}) & shown)
        nearest = rows.filter(matched).order_by(key, f"-{column}", "-id").values("pk")
        # A part of a union has no order of its own; the model's would be put there.
        arms.append(
            rows.model._default_manager.filter(pk__in=nearest[: PAGE_SIZE + 1])
            .order_by()
            .values("pk")
        )
    chosen = arms[0].union(*arms[1:], all=True) if len(arms) > 1 else arms[0]
    found = [
        (min(value for key in keys if (value := _value(row, key)).startswith(prefix)), row)
        for row in rows.filter(pk__in=chosen).order_by()
    ]
    found.sort(key=lambda pair: pair[1].pk, reverse=True)
    found.sort(key=lambda pair: getattr(pair[1], column), reverse=True)
    found.sort(key=lambda pair: pair[0])
    cursor = ""
    if len(found) > PAGE_SIZE:
        text, row = found[PAGE_SIZE - 1]
        cursor = _write_cursor(text, getattr(row, column), row.pk)
    return Page([row for _, row in found[:PAGE_SIZE]], cursor, is_first=not after)


class _FoundByAnother(Func):
    """Whether another of a row's keys starts with the prefix too and comes before this one.

    Written out by hand: six conditions on each of seven keys, built one by one by the query
    builder, took longer than the query itself.
    """

    output_field = BooleanField()
    conditional = True

    def __init__(self, key: str, before: Sequence[str], after: Sequence[str], first: str) -> None:
        super().__init__(F(key), *map(F, [*before, *after]), Value(first))
        self._before = len(before)

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *_arguments: Any,
        **_context: Any,
    ) -> tuple[str, Any]:
        """Return the condition; of two keys that are equal the earlier one has the row."""
        (key, _), *others, (first, bound) = map(compiler.compile, self.source_expressions)
        sql = " OR ".join(
            f"({other} >= {first} AND {other} {'<=' if at < self._before else '<'} {key})"
            for at, (other, _) in enumerate(others)
        )
        # A CASE, because PostgreSQL would multiply the chances of conditions that go together,
        # expect hardly a row, and read and sort the whole range instead of walking the index.
        return f"(CASE WHEN {sql} THEN TRUE ELSE FALSE END)", [*bound] * len(others)


def _value(row: Model, path: str) -> str:
    return str(reduce(getattr, path.split("__"), row))


def _write_cursor(*position: object) -> str:
    return signing.dumps(
        [each.isoformat() if isinstance(each, datetime) else each for each in position],
        salt="refunds.page",
    )


def _read_cursor(text: str, length: int) -> list[Any]:
    """Raises ``SelectionInvalid`` for an address that was cut, edited or is of another list."""
    try:
        position = signing.loads(text, salt="refunds.page")
    except signing.BadSignature:
        position = []
    if len(position) != length:
        raise SelectionInvalid("That page of the list is not there any more. This is the first.")
    position[-2] = datetime.fromisoformat(position[-2])
    return list(position)
