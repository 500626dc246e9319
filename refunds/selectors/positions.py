"""An order with its lines and refunds, as the ledger and the options see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from refunds.errors import SelectionInvalid
from refunds.ledger import LineFigures, OrderFigures, RefundFigures, Standing
from refunds.models import Order, OrderLine, Refund
from refunds.options import LineSelection, Option, Position, Selection


def refunds_of(order: Order) -> list[Refund]:
    """Return the order's submitted refunds, newest first, with their lines and who made them."""
    return list(
        order.refunds.filter(submitted_at__isnull=False)
        .select_related("created_by")
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

    @property
    def told_position(self) -> Position:
        """The order as Digital River sees it: without refunds that it was not told of yet."""
        told = [refund for refund in self.refunds if refund.digital_river_id]
        return OrderAccount(self.order, self.lines, told).position


def order_account(order: Order, *, lines: list[OrderLine] | None = None) -> OrderAccount:
    """Read the order's refunds, and its lines where the caller does not have them."""
    return OrderAccount(order, lines_of(order) if lines is None else lines, refunds_of(order))


def order_position(order: Order, *, lines: list[OrderLine] | None = None) -> Position:
    """Read the order's refunds and lines, as ``order_account`` does, and return its position."""
    return order_account(order, lines=lines).position


def order_figures(order: Order, lines: Sequence[OrderLine]) -> OrderFigures:
    """Return the order's money as the ledger reads it."""
    return OrderFigures(
        digital_river_id=order.digital_river_id,
        was_read=order.refreshed_at is not None,
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
        charged_back=refund.origin == Refund.Origin.CHARGEBACK,
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
