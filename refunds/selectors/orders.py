"""What the pages of orders show."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from refunds.ledger import Component, Ledger
from refunds.models import CreditMemo, Order, OrderLine, Refund
from refunds.money import add
from refunds.options import Position
from refunds.search_keys import search_key
from refunds.selectors.closeouts import CloseOutPlan, closeout_plan
from refunds.selectors.paging import Page, found_page, newest_page
from refunds.selectors.positions import OrderAccount
from refunds.selectors.refunds import REFUNDS_SHOWN

#: Older figures are read anew when a rep opens the order.
FRESH_FOR = timedelta(minutes=1)


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
        return found_page(orders, Order.SEARCH_KEYS, "ordered_at", prefix, after)
    return newest_page(orders, "ordered_at", after)


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
    close_out: CloseOutPlan
    credit_memos: list[CreditMemo]
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
        close_out=closeout_plan(account),
        credit_memos=list(order.credit_memos.select_related("refund")),
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
