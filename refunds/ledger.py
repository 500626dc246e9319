"""The component ledger: for each part of an order, what was charged, refunded, in flight, is left.

Digital River shows three figures for a whole order and one for a line. A rep needs to know what
each *component* can still give, so the desk keeps the account itself: the charges come from the
order, every refund is booked in parts that sum to its amount, and what is left is the difference,
capped by what Digital River says is available.

All amounts are gross of nothing but themselves: a line's product and its tax are two parts. Amounts
are in major units of the order's currency. The module is pure: no database, no network.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from refunds.money import ZERO, add, share, smallest, split


class Component(StrEnum):
    """What money on an order can be for."""

    PRODUCT = "product"
    TAX = "tax"
    FEES = "fees"
    FEE_TAX = "fee_tax"
    SHIPPING = "shipping"
    SHIPPING_TAX = "shipping_tax"
    DUTY = "duty"
    IMPORTER_TAX = "importer_tax"
    #: Stands for everything where an order's own figures do not add up and no split can be told.
    WHOLE = "whole"

    @property
    def label(self) -> str:
        """The component's name on the screens."""
        return _LABELS[self]


_LABELS = {
    Component.PRODUCT: "Product",
    Component.TAX: "Tax",
    Component.FEES: "Fees",
    Component.FEE_TAX: "Fee tax",
    Component.SHIPPING: "Shipping",
    Component.SHIPPING_TAX: "Shipping tax",
    Component.DUTY: "Importer duty",
    Component.IMPORTER_TAX: "Importer tax",
    Component.WHOLE: "Whole order",
}

#: The components a Tax refund gives back, Digital River's ``totalTax``.
TAXES = frozenset({Component.TAX, Component.SHIPPING_TAX, Component.FEE_TAX})
#: The components only a Fees refund, a Tax refund or the very last refund touches.
FEES = frozenset({Component.FEES, Component.FEE_TAX})


class Part(NamedTuple):
    """One component of the order, of one line or (``line`` empty) of the order as a whole."""

    component: Component
    line: str = ""


class Standing(StrEnum):
    """What a refund does to the money it names."""

    IN_FLIGHT = "in flight"
    REFUNDED = "refunded"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class LineFigures:
    """One order line as Digital River charged it, for the quantity that was ordered.

    ``line`` is Digital River's item id. ``fulfilled`` is None where nobody told us.
    ``available`` is the item's own ``availableToRefundAmount`` (product and tax), None if unknown.
    """

    line: str
    label: str
    quantity: int
    cancelled: int
    fulfilled: int | None
    product: Decimal
    tax: Decimal
    fees: Decimal
    fee_tax: Decimal
    duty: Decimal
    importer_tax: Decimal
    available: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """One order's money as Digital River last told it. ``available`` None means: nothing is."""

    digital_river_id: str
    state: str
    currency: str
    total: Decimal
    captured: Decimal
    refunded: Decimal
    available: Decimal | None
    capture_completed: bool
    shipping: Decimal
    shipping_tax: Decimal
    duty: Decimal
    importer_tax: Decimal
    lines: tuple[LineFigures, ...]
    #: Whether Digital River was asked at all; until then the money is not known.
    was_read: bool = True


@dataclass(frozen=True, slots=True)
class RefundFigures:
    """One refund as the ledger books it.

    ``parts`` sum to the amount it holds (in flight) or gave (refunded). ``quantities`` are the
    units of a line-item refund by line. ``listed`` tells that Digital River's own figures, as
    last read, already account for it.
    """

    reference: str
    standing: Standing
    parts: Mapping[Part, Decimal]
    quantities: Mapping[str, int]
    whole_order: bool
    listed: bool
    #: The customer's bank took it back; Digital River does not count it among its refunds.
    charged_back: bool = False

    @property
    def amount(self) -> Decimal:
        """What the refund holds or gave, in major units."""
        return add(self.parts.values())


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the ledger."""

    part: Part
    charged: Decimal
    refunded: Decimal
    in_flight: Decimal

    @property
    def left(self) -> Decimal:
        """What this part can still give; never below zero."""
        return max(ZERO, self.charged - self.refunded - self.in_flight)


@dataclass(frozen=True, slots=True)
class LineLeft:
    """What one line can still give back, in units and in money (product and tax)."""

    figures: LineFigures
    currency: str
    left: Decimal
    #: Units that were not yet refunded in full.
    units: int
    _basis: Decimal
    _basis_units: int
    _given_units: int
    _given: Decimal

    def value_of(self, units: int) -> Decimal:
        """Return what refunding this many more units gives by default, in major units.

        It is the rounded value of all the units given back so far and these, less what was
        given: so the last unit takes the remainder and nothing is lost to rounding.
        """
        if self._basis_units <= 0:
            return ZERO
        value = share(self._basis, self._given_units + units, self._basis_units, self.currency)
        return max(ZERO, min(self.left, value - self._given))

    @property
    def most(self) -> Decimal:
        """What refunding all the units that can still be refunded gives, in major units."""
        return self.value_of(self.units)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The whole account of one order."""

    currency: str
    entries: tuple[Entry, ...]
    lines: tuple[LineLeft, ...]
    #: What the order as a whole can still give: never more than Digital River has available.
    left: Decimal
    #: What of that a partial Complete Order refund does not touch.
    fees_left: Decimal
    charged: Decimal
    refunded: Decimal
    in_flight: Decimal
    #: False where the order's own figures do not add up to its total.
    consistent: bool
    #: True after a partial Complete Order refund, which Digital River spreads on its side.
    estimated: bool

    def left_of(self, components: Iterable[Component], *, line: str | None = None) -> Decimal:
        """Return what these components can still give, of one line or of all."""
        wanted = frozenset(components)
        return add(
            entry.left
            for entry in self.entries
            if entry.part.component in wanted and (line is None or entry.part.line == line)
        )

    def charged_of(self, components: Iterable[Component]) -> Decimal:
        """Return what these components were charged, over all lines."""
        wanted = frozenset(components)
        return add(entry.charged for entry in self.entries if entry.part.component in wanted)

    def line(self, line: str) -> LineLeft | None:
        """Return what is left of the line, or None if the order has no such line."""
        return next((each for each in self.lines if each.figures.line == line), None)

    def spread(
        self, amount: Decimal, components: Iterable[Component], *, line: str | None = None
    ) -> dict[Part, Decimal]:
        """Split an amount over what is left of these components; the parts sum to the amount.

        Falls back on what was charged where nothing is left: a refund made elsewhere may take
        what this account no longer has, and must be booked all the same.
        """
        wanted = frozenset(components)
        chosen = [
            entry
            for entry in self.entries
            if entry.part.component in wanted and (line is None or entry.part.line == line)
        ]
        for weights in ([entry.left for entry in chosen], [entry.charged for entry in chosen]):
            if add(weights) > 0:
                amounts = split(amount, weights, self.currency)
                return {
                    entry.part: part
                    for entry, part in zip(chosen, amounts, strict=True)
                    if part > 0
                }
        return {Part(Component.WHOLE): amount} if amount > 0 else {}


def rescale(parts: Mapping[Part, Decimal], total: Decimal, currency: str) -> dict[Part, Decimal]:
    """Return the same parts for another total: Digital River accepted or gave another amount.

    Who gets the units left over goes by the order in which amounts are split, whatever order the
    parts come in; of the lines, the one that comes first.
    """
    if add(parts.values()) == total:
        return dict(parts)
    if add(parts.values()) == 0:
        return {Part(Component.WHOLE): total} if total > 0 else {}
    lines = list(dict.fromkeys(part.line for part in parts))
    in_order = sorted(parts, key=lambda part: _place(part, lines))
    amounts = split(total, [parts[part] for part in in_order], currency)
    return {part: amount for part, amount in zip(in_order, amounts, strict=True) if amount > 0}


def _place(part: Part, lines: Sequence[str]) -> tuple[int, int, int]:
    """Return where a part stands when an amount is split: the lines, the order's own, the fees."""
    component = _SPLIT_ORDER.index(part.component)
    if part.component in FEES:
        return 2, lines.index(part.line), component
    return (0, lines.index(part.line), component) if part.line else (1, 0, component)


_SPLIT_ORDER = (
    Component.PRODUCT,
    Component.TAX,
    Component.SHIPPING,
    Component.SHIPPING_TAX,
    Component.DUTY,
    Component.IMPORTER_TAX,
    Component.FEES,
    Component.FEE_TAX,
    Component.WHOLE,
)


def build(order: OrderFigures, refunds: Sequence[RefundFigures]) -> Ledger:
    """Draw up the account of an order from its charges and its refunds, oldest first."""
    holding = [refund for refund in refunds if refund.standing is not Standing.RELEASED]
    charges, consistent = _charges(order)
    entries = tuple(
        Entry(
            part=part,
            charged=charged,
            refunded=_booked(holding, part, Standing.REFUNDED),
            in_flight=_booked(holding, part, Standing.IN_FLIGHT),
        )
        for part, charged in charges.items()
    )
    refunded = add(each.amount for each in holding if each.standing is Standing.REFUNDED)
    in_flight = add(each.amount for each in holding if each.standing is Standing.IN_FLIGHT)
    left = _available(order, holding, refunded=refunded, in_flight=in_flight)
    if consistent:
        left = min(left, add(entry.left for entry in entries))
        fees = add(entry.left for entry in entries if entry.part.component in FEES)
    else:
        # Which refund took them cannot be told; Digital River leaves them out all the same.
        fees = add(
            _fulfilled_share(order, line, amount)
            for line in order.lines
            for amount in (line.fees, line.fee_tax)
        )
    return Ledger(
        currency=order.currency,
        entries=entries,
        lines=tuple(_line_left(order, line, entries, holding) for line in order.lines)
        if consistent
        else (),
        left=left,
        fees_left=min(left, fees),
        charged=add(charges.values()),
        refunded=refunded,
        in_flight=in_flight,
        consistent=consistent,
        estimated=left > 0 and any(refund.whole_order for refund in holding),
    )


def _available(
    order: OrderFigures, holding: Sequence[RefundFigures], *, refunded: Decimal, in_flight: Decimal
) -> Decimal:
    """Return what the whole order can still give; the smaller of two accounts, never below zero.

    Digital River's own figure does not know of holds it has not listed yet, and ours may not
    know of what changed there since: the smaller one is safe.
    """
    if order.available is None:
        return ZERO
    unlisted = add(refund.amount for refund in holding if not refund.listed)
    theirs = order.available - unlisted
    # What the customer's bank took back is no part of what Digital River calls refunded.
    charged_back = add(refund.amount for refund in holding if refund.charged_back)
    given = max(order.refunded, refunded - charged_back) + charged_back
    ours = order.captured - given - in_flight
    return max(ZERO, min(theirs, ours))


def _charges(order: OrderFigures) -> tuple[dict[Part, Decimal], bool]:
    """Return what each part was charged, in the order amounts are split, and if it adds up."""
    charges: dict[Part, Decimal] = {}
    shares: dict[Part, Decimal] = {}
    for line in order.lines:
        for component, amount in (
            (Component.PRODUCT, line.product),
            (Component.TAX, line.tax),
        ):
            charges[Part(component, line.line)] = amount
            shares[Part(component, line.line)] = _fulfilled_share(order, line, amount)
    for component, amount in (
        (Component.SHIPPING, order.shipping),
        (Component.SHIPPING_TAX, order.shipping_tax),
    ):
        charges[Part(component)] = shares[Part(component)] = amount
    duty, importer_tax = Part(Component.DUTY), Part(Component.IMPORTER_TAX)
    charges[duty], charges[importer_tax] = order.duty, order.importer_tax
    shares[duty] = _order_share(order, order.duty, "duty")
    shares[importer_tax] = _order_share(order, order.importer_tax, "importer_tax")
    for line in order.lines:
        for component, amount in (
            (Component.FEES, line.fees),
            (Component.FEE_TAX, line.fee_tax),
        ):
            charges[Part(component, line.line)] = amount
            shares[Part(component, line.line)] = _fulfilled_share(order, line, amount)

    unsplit = {Part(Component.WHOLE): order.captured}
    if add(charges.values()) != order.total or order.captured > order.total:
        return unsplit, False
    if order.captured in (order.total, ZERO):
        return charges, True
    # Captured in part: a line's charge is its share by fulfilled quantity. Digital River may
    # have rounded the shares another way; its sum is the truth as long as only rounding differs.
    difference = order.captured - add(shares.values())
    if any(shares.values()) and abs(difference) <= smallest(order.currency) * len(shares):
        amounts = split(order.captured, list(shares.values()), order.currency)
        return dict(zip(shares, amounts, strict=True)), True
    if difference > 0:
        return unsplit, False
    return shares, True


def _fulfilled_share(order: OrderFigures, line: LineFigures, amount: Decimal) -> Decimal:
    units = _units(order, line)
    if line.quantity <= 0:
        return amount
    return share(amount, units, line.quantity, order.currency)


def _order_share(order: OrderFigures, total: Decimal, of: str) -> Decimal:
    """Share duty or importer tax by its lines where they show it; else leave it whole."""
    amounts: list[Decimal] = [getattr(line, of) for line in order.lines]
    if add(amounts) != total:
        return total
    return add(
        _fulfilled_share(order, line, amount)
        for line, amount in zip(order.lines, amounts, strict=True)
    )


def _units(order: OrderFigures, line: LineFigures) -> int:
    """Return how many units of the line were charged: ordered, less cancelled, or fulfilled."""
    units = max(0, line.quantity - line.cancelled)
    if order.captured < order.total and line.fulfilled is not None:
        units = min(units, line.fulfilled)
    return units


def _booked(refunds: Iterable[RefundFigures], part: Part, standing: Standing) -> Decimal:
    return add(refund.parts.get(part, ZERO) for refund in refunds if refund.standing is standing)


def _line_left(
    order: OrderFigures,
    line: LineFigures,
    entries: Sequence[Entry],
    holding: Sequence[RefundFigures],
) -> LineLeft:
    """Work out what one line can still give.

    Units count as given back when a line-item refund paid at least their default value; an
    amount off with the units kept does not take them away. A refund of another kind that thins
    the line (its tax, or its share of a whole-order amount) lowers what each remaining unit is
    worth.
    """
    own = (Part(Component.PRODUCT, line.line), Part(Component.TAX, line.line))
    mine = [entry for entry in entries if entry.part in own]
    left = add(entry.left for entry in mine)
    if line.available is not None:
        unlisted = add(
            refund.parts.get(part, ZERO) for refund in holding for part in own if not refund.listed
        )
        left = max(ZERO, min(left, line.available - unlisted))

    basis, basis_units = add(entry.charged for entry in mine), _units(order, line)
    given_units, given = 0, ZERO
    for refund in holding:
        taken = add(refund.parts.get(part, ZERO) for part in own)
        units = refund.quantities.get(line.line, 0)
        if units:
            reached = min(basis_units, given_units + units)
            worth = share(basis, reached, basis_units, order.currency) if basis_units else ZERO
            given += taken
            if given >= worth:
                given_units = reached
        elif taken:
            basis, basis_units = basis - given - taken, basis_units - given_units
            given_units, given = 0, ZERO
    return LineLeft(
        figures=line,
        currency=order.currency,
        left=left,
        units=max(0, basis_units - given_units),
        _basis=max(ZERO, basis),
        _basis_units=basis_units,
        _given_units=given_units,
        _given=given,
    )
