"""Orders and refunds as the ledger reads them: made by hand, and made up by hypothesis."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from hypothesis import strategies as st

from refunds.ledger import Component, LineFigures, OrderFigures, Part, RefundFigures, Standing

#: Currencies of every kind by their decimals, written down apart from the desk's own table.
DECIMALS: Mapping[str, int] = {"USD": 2, "EUR": 2, "GBP": 2, "JPY": 0, "KWD": 3}
ZERO = Decimal(0)


def money(text: str | int | Decimal) -> Decimal:
    """Return the amount; short for the many that a test writes down."""
    return Decimal(text)


def line(
    key: str = "L1",
    *,
    product: str = "10.00",
    tax: str = "0",
    fees: str = "0",
    fee_tax: str = "0",
    duty: str = "0",
    importer_tax: str = "0",
    quantity: int = 1,
    cancelled: int = 0,
    fulfilled: int | None = None,
    available: str | None = None,
) -> LineFigures:
    """Return one line; everything shipped unless said otherwise."""
    return LineFigures(
        line=key,
        label=f"Article {key}",
        quantity=quantity,
        cancelled=cancelled,
        fulfilled=quantity - cancelled if fulfilled is None else fulfilled,
        product=money(product),
        tax=money(tax),
        fees=money(fees),
        fee_tax=money(fee_tax),
        duty=money(duty),
        importer_tax=money(importer_tax),
        available=None if available is None else money(available),
    )


def order(
    *lines: LineFigures,
    currency: str = "USD",
    shipping: str = "0",
    shipping_tax: str = "0",
    duty: str | None = None,
    importer_tax: str | None = None,
    unexplained: str = "0",
    captured: str | None = None,
    refunded: str = "0",
    available: str | None = "captured",
    state: str = "complete",
    capture_completed: bool = True,
    digital_river_id: str = "300100200336",
) -> OrderFigures:
    """Return an order; captured in full, nothing refunded and all available unless said."""
    total_duty = sum((each.duty for each in lines), ZERO) if duty is None else money(duty)
    total_importer_tax = (
        sum((each.importer_tax for each in lines), ZERO)
        if importer_tax is None
        else money(importer_tax)
    )
    total = (
        sum((each.product + each.tax + each.fees + each.fee_tax for each in lines), ZERO)
        + money(shipping)
        + money(shipping_tax)
        + total_duty
        + total_importer_tax
        + money(unexplained)
    )
    taken = total if captured is None else money(captured)
    if available == "captured":
        left: Decimal | None = taken - money(refunded)
    else:
        left = None if available is None else money(available)
    return OrderFigures(
        digital_river_id=digital_river_id,
        state=state,
        currency=currency,
        total=total,
        captured=taken,
        refunded=money(refunded),
        available=left,
        capture_completed=capture_completed,
        shipping=money(shipping),
        shipping_tax=money(shipping_tax),
        duty=total_duty,
        importer_tax=total_importer_tax,
        lines=lines,
    )


def worked_sample() -> OrderFigures:
    """Return Digital River's own worked sample: 27.01 in all, 5.40 of it for the shipping."""
    return order(
        line("L1", product="20.00", tax="1.61", quantity=2), shipping="5.00", shipping_tax="0.40"
    )


def full_order() -> OrderFigures:
    """Return an order that carries every component: 149.10 in all, 7.60 of it fees."""
    return order(
        line("L1", product="60.00", tax="6.00", fees="4.00", fee_tax="0.40", quantity=3),
        line("L2", product="30.00", tax="3.00", fees="3.00", fee_tax="0.20", quantity=1),
        shipping="10.00",
        shipping_tax="1.00",
        duty="12.50",
        importer_tax="19.00",
    )


def refund(
    parts: Mapping[Part, str | Decimal],
    *,
    standing: Standing = Standing.IN_FLIGHT,
    quantities: Mapping[str, int] | None = None,
    whole_order: bool = False,
    listed: bool = False,
    reference: str = "R-1",
) -> RefundFigures:
    """Return a refund that holds (or gave) these parts."""
    return RefundFigures(
        reference=reference,
        standing=standing,
        parts={part: money(amount) for part, amount in parts.items()},
        quantities=quantities or {},
        whole_order=whole_order,
        listed=listed,
    )


PRODUCT = Part(Component.PRODUCT, "L1")
TAX = Part(Component.TAX, "L1")
SHIPPING = Part(Component.SHIPPING)
SHIPPING_TAX = Part(Component.SHIPPING_TAX)
WHOLE = Part(Component.WHOLE)


# -- made up by hypothesis -----------------------------------------------------------------------


@dataclass(frozen=True)
class MadeUpLine:
    """One line in whole minor units, and how many of its units were shipped."""

    quantity: int
    fulfilled: int
    product: int
    tax: int
    fees: int
    fee_tax: int
    duty: int
    importer_tax: int


@dataclass(frozen=True)
class MadeUpOrder:
    """An order in whole minor units, from which the figures of both sides are made."""

    currency: str
    lines: tuple[MadeUpLine, ...]
    shipping: int
    shipping_tax: int

    def major(self, minor: int) -> Decimal:
        """Return minor units as an amount of the order's currency."""
        return Decimal(minor).scaleb(-DECIMALS[self.currency])

    @property
    def captured(self) -> int:
        """What was captured: each line's share by the units shipped, and all of the shipping."""
        shares = sum(
            half_up(Fraction(amount * each.fulfilled, each.quantity))
            for each in self.lines
            for amount in (
                each.product, each.tax, each.fees, each.fee_tax, each.duty, each.importer_tax,
            )
        )  # fmt: skip
        return shares + self.shipping + self.shipping_tax

    def figures(self) -> OrderFigures:
        """Return the order as the ledger reads it, nothing refunded yet."""
        made = order(
            *(
                LineFigures(
                    line=f"L{number}",
                    label=f"Article {number}",
                    quantity=each.quantity,
                    cancelled=each.quantity - each.fulfilled,
                    fulfilled=each.fulfilled,
                    product=self.major(each.product),
                    tax=self.major(each.tax),
                    fees=self.major(each.fees),
                    fee_tax=self.major(each.fee_tax),
                    duty=self.major(each.duty),
                    importer_tax=self.major(each.importer_tax),
                    available=None,
                )
                for number, each in enumerate(self.lines, start=1)
            ),
            currency=self.currency,
            shipping=str(self.major(self.shipping)),
            shipping_tax=str(self.major(self.shipping_tax)),
        )
        captured = self.major(self.captured)
        return replace(made, captured=captured, available=captured)


def half_up(value: Fraction) -> int:
    """Round a share to whole units, a half upward: a second way beside the desk's."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _minor(most: int) -> st.SearchStrategy[int]:
    """Return amounts that are often nothing, often tiny (where rounding bites), else anything."""
    return st.one_of(st.just(0), st.integers(0, 9), st.integers(0, most))


@st.composite
def made_up_orders(
    draw: st.DrawFn, *, most_lines: int = 6, in_part: bool | None = None
) -> MadeUpOrder:
    """Return orders of 1 to 6 lines in any currency, shipped in full or in part."""
    partly = draw(st.booleans()) if in_part is None else in_part
    lines = []
    for _ in range(draw(st.integers(1, most_lines))):
        quantity = draw(st.integers(1, 12))
        lines.append(
            MadeUpLine(
                quantity=quantity,
                fulfilled=draw(st.integers(0, quantity)) if partly else quantity,
                product=draw(_minor(250_000)),
                tax=draw(_minor(50_000)),
                fees=draw(_minor(2_000)),
                fee_tax=draw(_minor(400)),
                duty=draw(_minor(9_000)),
                importer_tax=draw(_minor(30_000)),
            )
        )
    made = MadeUpOrder(
        currency=draw(st.sampled_from(sorted(DECIMALS))),
        lines=tuple(lines),
        shipping=draw(_minor(9_000)),
        shipping_tax=draw(_minor(900)),
    )
    if made.captured == 0:
        first = replace(lines[0], product=lines[0].product + 1, fulfilled=lines[0].quantity)
        return replace(made, lines=(first, *made.lines[1:]))
    return made
