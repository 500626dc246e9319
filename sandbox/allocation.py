"""What a refund takes from which part of an order. Pure, in whole minor units.

An order is a sequence of parts: each line's product, then its tax, in wire order; the shipping,
its tax, the duty, the importer tax; what the components leave unexplained; and last the
regulatory fees, each with its tax, which only a refund of everything or a refund of the fees
touches. Every amount is gross and an integer of minor units (cents, yen, fils).

https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds/issuing-refunds
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cache

from iso4217 import Currency

from sandbox.errors import RefusedError

EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
LARGEST_DIGITS = 15


class Kind(StrEnum):
    """What a part of an order was charged for."""

    PRODUCT = "product"
    TAX = "tax"
    SHIPPING = "shipping"
    SHIPPING_TAX = "shipping_tax"
    DUTY = "duty"
    IMPORTER_TAX = "importer_tax"
    UNEXPLAINED = "unexplained"
    FEE = "fee"
    FEE_TAX = "fee_tax"


PartKey = tuple[str, Kind]
"""The item's id (empty for a part of the whole order) and the kind."""

Parts = dict[PartKey, int]
"""Minor units by part, in the order in which leftover units are handed out."""

FEES = frozenset({Kind.FEE, Kind.FEE_TAX})
TAXES = frozenset({Kind.TAX, Kind.SHIPPING_TAX, Kind.FEE_TAX})

TOO_MUCH = "The requested refund amount is greater than the available amount."
FULL_ONLY = "Only full tax refunds are supported."


@cache
def exponent(currency: str) -> int:
    """Return the number of decimals of a currency by ISO 4217.

    Raises ValueError when there is no such currency or it has no minor unit.
    """
    places = Currency(currency).exponent
    if places is None:
        raise ValueError(f"{currency} has no minor unit")
    return places


def to_minor(amount: Decimal, currency: str) -> int:
    """Return an amount in minor units; raises ValueError when it has too many decimals."""
    places = exponent(currency)
    _, digits, power = amount.as_tuple()
    if not isinstance(power, int):
        raise ValueError(f"{amount} is no amount")
    # Digit by digit, because any Decimal context would round a very long number first.
    significant = "".join(map(str, digits)).rstrip("0")
    power += len(digits) - len(significant)
    if significant and power < -places:
        raise ValueError(f"{currency} has {places} decimals")
    minor = int(significant) * 10 ** (power + places) if significant else 0
    return -minor if amount.is_signed() else minor


def to_major(minor: int, currency: str) -> Decimal:
    """Return minor units as an amount of the currency, with all its decimals."""
    return Decimal(minor).scaleb(-exponent(currency), EXACT)


def half_up(share: Fraction) -> int:
    """Round a share that is not negative to whole minor units, a half upward."""
    return (2 * share.numerator + share.denominator) // (2 * share.denominator)


def portion(charged: int, units: int, of_units: int) -> int:
    """Return what some units of a line come to."""
    return half_up(Fraction(charged * units, of_units))


def percent_of(minor: int, percent: Decimal) -> int:
    """Return a percentage of one figure, half upward."""
    return half_up(minor * Fraction(percent) / 100)


def spread(amount: int, weights: Mapping[PartKey, int]) -> Parts:
    """Spread an amount over parts in proportion to what is left of each.

    Each part first takes its share rounded down; the units left over go to the parts with the
    largest remainders, the earlier part first where two are equal. Parts that take nothing are
    left out. Raises ValueError when the amount is more than the weights together.
    """
    total = sum(weights.values())
    if not 0 <= amount <= total:
        raise ValueError(f"{amount} cannot be spread over {total}")
    if amount == 0:
        return {}
    shares = {key: divmod(amount * weight, total) for key, weight in weights.items()}
    left_over = amount - sum(whole for whole, _ in shares.values())
    # sorted() is stable, so equal remainders keep the order of the parts.
    favoured = set(sorted(shares, key=lambda key: -shares[key][1])[:left_over])
    taken = {key: whole + (key in favoured) for key, (whole, _) in shares.items()}
    return {key: minor for key, minor in taken.items() if minor}


def take_back(minor: int, left: Mapping[PartKey, int]) -> Parts:
    """Return what a chargeback takes: spread like a partial refund, the fees last.

    Takes all that is left where that is less than the amount.
    """
    without_fees = {key: weight for key, weight in left.items() if key[1] not in FEES}
    fees = {key: weight for key, weight in left.items() if key[1] in FEES}
    most = sum(without_fees.values())
    beyond = min(max(0, minor - most), sum(fees.values()))
    return spread(min(minor, most), without_fees) | spread(beyond, fees)


@dataclass(frozen=True, slots=True)
class LineFacts:
    """One line as a refund sees it; the money in minor units.

    `shipping` and `duty` are the line's allocation of the order's, already lowered by what was
    refunded of them for this line.
    """

    item_id: str
    sku_id: str
    quantity: int
    shipping: int = 0
    duty: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """What an order was charged (the captured part of it) and what is left to refund."""

    currency: str
    charged: Parts
    left: Parts
    lines: Mapping[str, LineFacts]

    @property
    def available(self) -> int:
        """What is left of the whole order."""
        return sum(self.left.values())

    def item_available(self, item_id: str) -> int:
        """What is left of a line's product and tax."""
        return sum(self.of_item(item_id, Kind.PRODUCT, Kind.TAX).values())

    def of_item(self, item_id: str, *kinds: Kind) -> Parts:
        """What is left of some parts of one line."""
        return {(item_id, kind): self.left.get((item_id, kind), 0) for kind in kinds}

    def of_kinds(self, kinds: Iterable[Kind]) -> Parts:
        """What is left of all parts of some kinds."""
        wanted = frozenset(kinds)
        return {key: minor for key, minor in self.left.items() if key[1] in wanted}

    def after(self, taken: Mapping[PartKey, int]) -> Balance:
        """Return the balance once some parts were taken."""
        left = {key: minor - taken.get(key, 0) for key, minor in self.left.items()}
        return Balance(self.currency, self.charged, left, self.lines)


@dataclass(frozen=True, slots=True)
class ItemAsk:
    """One entry of `items[]` in a refund request."""

    item_id: str
    quantity: int | None = None
    amount: Decimal | None = None
    percent: Decimal | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class RefundAsk:
    """A refund request whose fields are of the right types."""

    order_id: str
    currency: str
    amount: Decimal | None = None
    percent: Decimal | None = None
    type: str | None = None
    items: Sequence[ItemAsk] = ()
    reason: str | None = None
    metadata: Mapping[str, str | bool | int] | None = None


@dataclass(frozen=True, slots=True)
class ItemShare:
    """What one entry of `items[]` takes, in minor units."""

    item_id: str
    sku_id: str
    quantity: int | None
    type: str | None
    percent: Decimal | None
    minor: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a refund takes: the total, its parts and, item by item, the shares."""

    minor: int
    parts: Parts
    items: tuple[ItemShare, ...] = field(default=())


def item_minors(items: Sequence[ItemShare], parts: Mapping[PartKey, int]) -> list[int]:
    """Return what each entry of `items[]` comes to when a refund gives these parts.

    Entries that draw on the same parts (the order's one shipping, or one line named twice) share
    them in proportion to what each asked.
    """
    pools: dict[tuple[str, frozenset[Kind]], Parts] = {}
    for at, share in enumerate(items):
        pool = pools.setdefault(_pool(share), {})
        # The position stands in for the part, so that ties go to the earlier entry.
        pool[(str(at), Kind.PRODUCT)] = share.minor
    minors = [0] * len(items)
    for (item_id, kinds), asked in pools.items():
        given = sum(
            minor for (item, kind), minor in parts.items() if item == item_id and kind in kinds
        )
        for (position, _), minor in spread(given, asked).items():
            minors[int(position)] = minor
    return minors


def _pool(share: ItemShare) -> tuple[str, frozenset[Kind]]:
    """Return which parts an entry draws on: whose, and of which kinds."""
    match share.type:
        case "fees":
            return share.item_id, FEES
        case "shipping":
            return "", frozenset({Kind.SHIPPING, Kind.SHIPPING_TAX})
        case "duty":
            return "", frozenset({Kind.DUTY})
        case _:
            return share.item_id, frozenset({Kind.PRODUCT, Kind.TAX})


def allocate(ask: RefundAsk, balance: Balance) -> Allocation:
    """Return what a request takes from an order.

    Raises RefusedError with the documented code, parameter and message when it breaks a rule.
    """
    if ask.items:
        return _items(ask, balance)
    match ask.type:
        case None:
            return _whole_order(ask, balance)
        case "shipping":
            return _typed(ask, balance.of_kinds((Kind.SHIPPING, Kind.SHIPPING_TAX)), balance)
        case "duty":
            return _typed(ask, balance.of_kinds((Kind.DUTY,)), balance)
        case "tax":
            return _full_only(ask, balance.of_kinds(TAXES), balance)
        case "importer_tax":
            return _full_only(ask, balance.of_kinds((Kind.IMPORTER_TAX,)), balance)
        case _:
            raise RefusedError(
                "invalid_parameter", "type", f"The type {ask.type} is not supported."
            )


def _asked_minor(amount: Decimal, currency: str, parameter: str) -> int:
    if amount.adjusted() >= LARGEST_DIGITS:
        raise RefusedError("amount_too_large", parameter, "The amount is too large.")
    try:
        minor = to_minor(amount, currency)
    except ValueError as error:
        message = f"The amount has too many decimals: {error}."
        raise RefusedError("invalid_format", parameter, message) from error
    if minor <= 0:
        raise RefusedError("invalid_parameter", parameter, "The amount must be greater than 0.")
    return minor


def _wanted(
    ask: RefundAsk | ItemAsk,
    most: int,
    currency: str,
    *,
    base: Fraction | None = None,
    at: str = "",
) -> int:
    """Return the minor units a request asks of a figure of which `most` is left."""
    if ask.amount is not None:
        minor = _asked_minor(ask.amount, currency, f"{at}amount")
    else:
        percent = Fraction(ask.percent if ask.percent is not None else 100) / 100
        minor = min(most, half_up((most if base is None else base) * percent))
    if minor > most or most == 0:
        raise RefusedError("invalid_parameter", "amountRequested", TOO_MUCH)
    if minor == 0:
        raise RefusedError(
            "invalid_parameter", "percentRequested", "The percentage comes to nothing."
        )
    return minor


def _whole_order(ask: RefundAsk, balance: Balance) -> Allocation:
    everything = balance.available
    without_fees = {key: minor for key, minor in balance.left.items() if key[1] not in FEES}
    most = sum(without_fees.values())
    if ask.percent is not None and ask.percent < 100:
        minor = _wanted(ask, most, balance.currency)
    else:
        minor = _wanted(ask, everything, balance.currency)
    if minor == everything:
        return Allocation(minor, {key: left for key, left in balance.left.items() if left})
    if minor > most:
        message = (
            f"A partial refund leaves out the regulatory fees: at most "
            f"{to_major(most, balance.currency)}, or all that is left, "
            f"{to_major(everything, balance.currency)}."
        )
        raise RefusedError("invalid_parameter", "amountRequested", message)
    return Allocation(minor, spread(minor, without_fees))


def _typed(ask: RefundAsk, left: Parts, balance: Balance) -> Allocation:
    minor = _wanted(ask, sum(left.values()), balance.currency)
    return Allocation(minor, spread(minor, left))


def _full_only(ask: RefundAsk, left: Parts, balance: Balance) -> Allocation:
    most = sum(left.values())
    if ask.percent is not None and ask.percent != 100:
        raise RefusedError("invalid_parameter", "percentRequested", FULL_ONLY)
    minor = _wanted(ask, most, balance.currency)
    if minor != most:
        raise RefusedError("invalid_parameter", "percentRequested", FULL_ONLY)
    return Allocation(minor, spread(minor, left))


def _items(ask: RefundAsk, balance: Balance) -> Allocation:
    taken: Parts = {}
    shares: list[ItemShare] = []
    asked_before: dict[tuple[str, str | None], int] = {}
    for position, item in enumerate(ask.items):
        at = f"items[{position}]."
        facts = balance.lines.get(item.item_id)
        if facts is None:
            message = f"The order has no item {item.item_id}."
            raise RefusedError("invalid_parameter", f"{at}itemId", message)
        if item.quantity is not None and item.quantity > facts.quantity:
            message = "The quantity is larger than the quantity ordered."
            raise RefusedError("invalid_quantity_amount", f"{at}quantity", message)
        now = balance.after(taken)
        before = asked_before.get((item.item_id, item.type), 0)
        left, most, base = _item_parts(item, facts, now, before)
        minor = _wanted(item, most, balance.currency, base=base, at=at)
        for key, share in spread(minor, left).items():
            taken[key] = taken.get(key, 0) + share
        asked_before[(item.item_id, item.type)] = before + minor
        quantity = item.quantity
        if quantity is None and item.type is None:
            quantity = facts.quantity
        shares.append(
            ItemShare(item.item_id, facts.sku_id, quantity, item.type, item.percent, minor)
        )
    return Allocation(sum(taken.values()), taken, tuple(shares))


def _item_parts(
    item: ItemAsk, facts: LineFacts, balance: Balance, before: int
) -> tuple[Parts, int, Fraction | None]:
    """Return the parts an entry draws on, the most it may take, and what a percentage is of."""
    match item.type:
        case None:
            left = balance.of_item(item.item_id, Kind.PRODUCT, Kind.TAX)
            most = sum(left.values())
            if item.quantity is None or item.quantity == facts.quantity:
                return left, most, None
            charged = sum(
                balance.charged.get((item.item_id, kind), 0) for kind in (Kind.PRODUCT, Kind.TAX)
            )
            return left, most, Fraction(charged * item.quantity, facts.quantity)
        case "fees":
            left = balance.of_item(item.item_id, Kind.FEE, Kind.FEE_TAX)
            return left, sum(left.values()), None
        case "shipping":
            left = balance.of_kinds((Kind.SHIPPING, Kind.SHIPPING_TAX))
            return left, max(0, min(sum(left.values()), facts.shipping - before)), None
        case "duty":
            left = balance.of_kinds((Kind.DUTY,))
            return left, max(0, min(sum(left.values()), facts.duty - before)), None
        case _:
            message = f"The type {item.type} is not supported for an item."
            raise RefusedError("invalid_parameter", "items.type", message)
