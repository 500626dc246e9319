"""The refund options: what each draws on, its limits, the parts of an amount, the request it sends.

The seven options are those of Digital River's Dashboard, under the names the Salesforce package
uses. Each is either open, or closed with one sentence that says why. A ``Selection`` (what the
rep chose) becomes a ``Quote`` (what will be sent and what it really does) or is refused.

How the kinds behave is documented at
https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds/issuing-refunds
The module is pure: no database, no network. Amounts are in major units of the order's currency and
include their tax.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

from refunds.errors import (
    AmountInvalid,
    OptionClosed,
    OrderNotEligible,
    QuantityInvalid,
    SelectionInvalid,
)
from refunds.ledger import (
    FEES,
    TAXES,
    Component,
    Ledger,
    LineLeft,
    OrderFigures,
    Part,
    RefundFigures,
    Standing,
    build,
)
from refunds.money import ZERO, add, format_money, is_exact, quantize, smallest


class Option(StrEnum):
    """The kinds of refund, in the order and under the names the screens show them."""

    COMPLETE_ORDER = "complete_order"
    LINE_ITEMS = "line_items"
    SHIPPING = "shipping"
    IMPORTER_DUTY = "importer_duty"
    IMPORTER_TAX = "importer_tax"
    TAX = "tax"
    FEES = "fees"

    @property
    def label(self) -> str:
        """The option's name on the screens."""
        return self.value.replace("_", " ").title()


#: What each single-component option draws on, in the order its amounts are split.
DRAWS_ON: Mapping[Option, tuple[Component, ...]] = {
    Option.SHIPPING: (Component.SHIPPING, Component.SHIPPING_TAX),
    Option.IMPORTER_DUTY: (Component.DUTY,),
    Option.IMPORTER_TAX: (Component.IMPORTER_TAX,),
    Option.TAX: (Component.TAX, Component.SHIPPING_TAX, Component.FEE_TAX),
    Option.FEES: (Component.FEES, Component.FEE_TAX),
}
#: Digital River's ``type`` of an order-level refund.
WIRE_TYPES: Mapping[Option, str] = {
    Option.SHIPPING: "shipping",
    Option.IMPORTER_DUTY: "duty",
    Option.IMPORTER_TAX: "importer_tax",
    Option.TAX: "tax",
}
#: Given back only as a whole: Digital River refuses a part of them.
FULL_ONLY = frozenset({Option.IMPORTER_TAX, Option.TAX})
#: The options that take one amount.
WITH_AMOUNT = frozenset({Option.COMPLETE_ORDER, Option.SHIPPING, Option.IMPORTER_DUTY})

_THING = {
    Option.SHIPPING: "shipping",
    Option.IMPORTER_DUTY: "importer duty",
    Option.IMPORTER_TAX: "importer tax",
    Option.TAX: "tax",
    Option.FEES: "regulatory fees",
}

#: The states of a Digital River order that can be refunded.
REFUNDABLE_STATES = frozenset({"fulfilled", "complete", "returned"})

_CLOSED_STATES = {
    "dispute": (
        "The customer's bank has opened a dispute on this order. Refunds stay closed until it is "
        "resolved; otherwise the customer could be paid twice."
    ),
    "accepted": (
        "The order is accepted but not yet fulfilled in full. Only fulfilled orders can be "
        "refunded; until then, cancel the open items instead."
    ),
    "in_review": "Digital River is still reviewing this order, so nothing was charged yet.",
    "pending_payment": (
        "The payment of this order has not arrived yet, so there is nothing to refund."
    ),
    "blocked": "Digital River blocked this order; the customer was not charged.",
    "cancelled": "This order was cancelled; the customer was not charged.",
}


@dataclass(frozen=True, slots=True)
class LineSelection:
    """What the rep chose of one line. ``amount`` is the line total, tax included.

    ``amount`` None asks for the whole default value of these units; for Fees ``quantity`` and
    ``amount`` are not used.
    """

    line: str
    quantity: int = 0
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What the rep chose: an option, its amount (None: all that is left), its lines."""

    option: Option
    amount: Decimal | None = None
    lines: tuple[LineSelection, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One option as it stands on an order now."""

    option: Option
    #: Why the option is closed, in one sentence; empty when it is open.
    closed_because: str
    #: The most it can give, gross, and the tax that is part of that.
    maximum: Decimal
    tax: Decimal
    #: What is left is an estimate; Digital River's answer decides.
    estimated: bool

    @property
    def is_open(self) -> bool:
        """Whether the option can be chosen now."""
        return not self.closed_because


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """One line of a quote: units and the line total that will be sent."""

    line: str
    label: str
    quantity: int
    amount: Decimal


@dataclass(frozen=True)
class Quote:
    """What a selection will send and what it really does."""

    option: Option
    currency: str
    total: Decimal
    parts: Mapping[Part, Decimal]
    lines: tuple[QuotedLine, ...]
    #: The kind-specific fields of ``POST /refunds``.
    request: Mapping[str, object]
    before: Ledger
    estimated: bool
    position: "Position" = field(repr=False)

    @property
    def tax(self) -> Decimal:
        """The tax that goes along, in major units."""
        return add(amount for part, amount in self.parts.items() if part.component in TAXES)

    @cached_property
    def position_after(self) -> "Position":
        """The order as it will stand once this refund is in flight."""
        return self.position.with_refund(
            RefundFigures(
                reference="",
                standing=Standing.IN_FLIGHT,
                parts=self.parts,
                quantities={line.line: line.quantity for line in self.lines if line.quantity},
                whole_order=self.option is Option.COMPLETE_ORDER,
                listed=False,
            )
        )

    def figures(self) -> dict[str, Decimal]:
        """Return every figure the review page shows, by a stable key, to compare later."""
        figures = {"total": self.total, "left before": self.before.left}
        for part, amount in self.parts.items():
            figures[f"{part.component.value} {part.line}".strip()] = amount
        for line in self.lines:
            figures[f"units {line.line}"] = Decimal(line.quantity)
        figures["left after"] = self.position_after.ledger.left
        return figures


@dataclass(frozen=True)
class Position:
    """An order and its refunds (oldest first): all that the options are worked out from."""

    order: OrderFigures
    refunds: tuple[RefundFigures, ...] = ()

    @cached_property
    def ledger(self) -> Ledger:
        """The order's account."""
        return build(self.order, self.refunds)

    def with_refund(self, refund: RefundFigures) -> "Position":
        """Return the position with one more refund booked."""
        return Position(self.order, (*self.refunds, refund))

    @cached_property
    def closed_because(self) -> str:
        """Why the order cannot be refunded at all, in one sentence; empty when it can."""
        order, ledger = self.order, self.ledger
        if not order.digital_river_id:
            return (
                "This order has no Digital River order id, so Digital River never took it and "
                "there is nothing to refund. Ask a Salesforce administrator to check the order."
            )
        if order.state not in REFUNDABLE_STATES:
            return _CLOSED_STATES.get(
                order.state,
                "Digital River has not marked this order as fulfilled. Only fulfilled orders can "
                "be refunded.",
            )
        if not order.was_read:
            return (
                "The money of this order was not read from Digital River yet, so it is not known "
                "what can be refunded. Open the order and refresh it."
            )
        if not order.capture_completed or order.captured <= 0:
            return (
                "The payment of this order has not been captured yet, so there is no money to "
                "give back. Try again once Digital River has captured it."
            )
        return "" if ledger.left > 0 else self._why_nothing_is_left()

    def _why_nothing_is_left(self) -> str:
        order, ledger = self.order, self.ledger
        if max(order.refunded, ledger.refunded) + ledger.in_flight < order.captured:
            return (
                "Digital River has nothing available to refund on this order, although not all of "
                "it was given back. Look at the order in Digital River's Dashboard for the reason."
            )
        if ledger.in_flight > 0:
            held = format_money(ledger.in_flight, order.currency)
            return (
                f"Nothing is left to refund: {held} is on its way in a refund that has not "
                "settled yet, and the rest is refunded."
            )
        return "Nothing is left to refund: everything the customer paid was given back."

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Every option offered on this order, open or closed with its reason."""
        return tuple(
            self._choice(option)
            for option in Option
            if option is not Option.FEES or self._carries_fees
        )

    @property
    def open_choices(self) -> tuple[Choice, ...]:
        """The options that can be chosen now."""
        return tuple(choice for choice in self.choices if choice.is_open)

    def choice(self, option: Option) -> Choice:
        """Return one option as it stands now."""
        return self._choice(option)

    def fee_lines(self) -> dict[str, Decimal]:
        """Return what is left of each line's fees and their tax, for lines that carry any."""
        return {
            line.figures.line: left
            for line in self.ledger.lines
            if (left := self.ledger.left_of(FEES, line=line.figures.line)) > 0
        }

    @property
    def whole_order_limit(self) -> Decimal:
        """The most a *partial* Complete Order refund can give: all that is left, less the fees."""
        return self.ledger.left - self.ledger.fees_left

    @property
    def _carries_fees(self) -> bool:
        return any(line.fees or line.fee_tax for line in self.order.lines)

    def _choice(self, option: Option) -> Choice:
        maximum, tax = self._most(option)
        return Choice(
            option=option,
            closed_because=self._why_closed(option, maximum),
            maximum=maximum,
            tax=tax,
            estimated=self.ledger.estimated and option is not Option.COMPLETE_ORDER,
        )

    def _most(self, option: Option) -> tuple[Decimal, Decimal]:
        """Return the most an option can give and the tax within it."""
        ledger = self.ledger
        if option is Option.COMPLETE_ORDER:
            return ledger.left, min(ledger.left, ledger.left_of(TAXES))
        if option is Option.LINE_ITEMS:
            whole = add(line.most for line in ledger.lines)
            tax = ledger.left_of({Component.TAX})
        else:
            drawn = DRAWS_ON[option]
            whole = ledger.left_of(drawn)
            tax = ledger.left_of(TAXES & frozenset(drawn))
        maximum = min(whole, ledger.left)
        return maximum, min(maximum, tax)

    def _why_closed(self, option: Option, maximum: Decimal) -> str:
        if self.closed_because or option is Option.COMPLETE_ORDER:
            return self.closed_because
        if not self.ledger.consistent:
            return (
                "The figures Digital River shows for this order do not add up, so it can only be "
                "refunded as a Complete Order."
            )
        if option is Option.LINE_ITEMS:
            if maximum <= 0:
                return "Every line item was refunded already, or is in a refund on its way."
            return ""
        return self._why_component_closed(option, maximum)

    def _why_component_closed(self, option: Option, maximum: Decimal) -> str:
        drawn, thing = DRAWS_ON[option], _THING[option]
        charged, left = self.ledger.charged_of(drawn), self.ledger.left_of(drawn)
        if charged <= 0:
            return f"This order was charged no {thing}."
        if left <= 0:
            amount = format_money(charged, self.order.currency)
            return f"All of the {thing} ({amount}) was refunded already, or is on its way."
        smallest_piece = left if option in FULL_ONLY else ZERO
        if option is Option.FEES:
            smallest_piece = min(self.fee_lines().values())
        if maximum < smallest_piece:
            return (
                f"Digital River refunds {thing} only in full, and of the whole order just "
                f"{format_money(maximum, self.order.currency)} is left, less than the {thing}."
            )
        return ""

    # -- quoting ---------------------------------------------------------------------------

    def quote(self, selection: Selection) -> Quote:
        """Work out what a selection sends and does.

        Raises ``OrderNotEligible``, ``OptionClosed``, ``AmountInvalid``, ``QuantityInvalid`` or
        ``SelectionInvalid``, each with the sentence for the rep and the field at fault.
        """
        if self.closed_because:
            raise OrderNotEligible(self.closed_because)
        choice = self.choice(selection.option)
        if not choice.is_open:
            raise OptionClosed(choice.closed_because, field="option")
        if selection.option is Option.LINE_ITEMS:
            return self._quote_lines(selection)
        if selection.option is Option.FEES:
            return self._quote_fees(selection)
        if selection.option in FULL_ONLY:
            parts = self.ledger.spread(choice.maximum, DRAWS_ON[selection.option])
            request = {"type": WIRE_TYPES[selection.option], "percent": 100}
            return self._quote(selection.option, parts, request)
        amount = choice.maximum if selection.amount is None else selection.amount
        self._check_amount(amount, choice)
        # The database keeps four decimals of every currency; the wire gets as many as it has.
        amount = quantize(amount, self.order.currency)
        if selection.option is Option.COMPLETE_ORDER:
            parts = self._whole_order_parts(amount)
            return self._quote(selection.option, parts, {"amount": amount})
        parts = self.ledger.spread(amount, DRAWS_ON[selection.option])
        request = {"type": WIRE_TYPES[selection.option], "amount": amount}
        if self.ledger.estimated and amount == self.ledger.left_of(DRAWS_ON[selection.option]):
            # What is left is our estimate of Digital River's split: ask for all that it has.
            request = {"type": WIRE_TYPES[selection.option], "percent": 100}
        return self._quote(selection.option, parts, request)

    def _check_amount(self, amount: Decimal, choice: Choice) -> None:
        currency = self.order.currency
        if amount.is_nan():
            raise AmountInvalid("That is not an amount.", field="amount")
        if amount <= 0:
            least = format_money(smallest(currency), currency)
            raise AmountInvalid(f"Enter an amount of at least {least}.", field="amount")
        if amount > choice.maximum:
            most = format_money(choice.maximum, currency)
            raise AmountInvalid(f"At most {most} can be refunded here.", field="amount")
        if not is_exact(amount, currency):
            raise AmountInvalid(
                f"The amount has more decimals than {currency} has.", field="amount"
            )

    def _whole_order_parts(self, amount: Decimal) -> dict[Part, Decimal]:
        ledger, currency = self.ledger, self.order.currency
        if amount == ledger.left:
            return ledger.spread(amount, Component)
        limit = self.whole_order_limit
        if amount > limit:
            fees = format_money(ledger.fees_left, currency)
            whole = format_money(ledger.left, currency)
            if limit <= 0:
                raise AmountInvalid(
                    f"Only regulatory fees are left ({fees}). Refund exactly {whole}, or use Fees.",
                    field="amount",
                )
            raise AmountInvalid(
                f"A part of the order does not include its regulatory fees ({fees}). Enter at "
                f"most {format_money(limit, currency)}, or exactly {whole} to refund all that is "
                "left, fees included.",
                field="amount",
            )
        return ledger.spread(amount, [each for each in Component if each not in FEES])

    def _quote_lines(self, selection: Selection) -> Quote:
        lines: list[QuotedLine] = []
        parts: dict[Part, Decimal] = {}
        seen: set[str] = set()
        for chosen in selection.lines:
            line = self.ledger.line(chosen.line)
            if line is None or chosen.line in seen:
                raise SelectionInvalid("Choose each line of this order at most once.")
            seen.add(chosen.line)
            if chosen.quantity == 0 and not chosen.amount:
                continue
            amount = self._line_amount(line, chosen)
            lines.append(QuotedLine(chosen.line, line.figures.label, chosen.quantity, amount))
            own = (Component.PRODUCT, Component.TAX)
            parts.update(self.ledger.spread(amount, own, line=chosen.line))
        if not lines:
            raise SelectionInvalid("Choose how many units to refund of at least one line.")
        total = add(line.amount for line in lines)
        if total > self.ledger.left:
            most = format_money(self.ledger.left, self.order.currency)
            raise AmountInvalid(f"Only {most} is left on the whole order.")
        request = {
            "items": [
                {
                    "itemId": line.line,
                    "quantity": line.quantity,
                    "amount": quantize(line.amount, self.order.currency),
                }
                for line in lines
            ]
        }
        return self._quote(Option.LINE_ITEMS, parts, request, tuple(lines))

    def _line_amount(self, line: LineLeft, chosen: LineSelection) -> Decimal:
        currency, label = self.order.currency, line.figures.label
        quantity_field, amount_field = f"quantity {chosen.line}", f"amount {chosen.line}"
        if chosen.quantity < 0 or chosen.quantity > line.units:
            raise QuantityInvalid(
                f"{label}: {_units(line.units)} can still be refunded.", field=quantity_field
            )
        if chosen.quantity == 0:
            raise QuantityInvalid(
                f"{label}: choose the number of units the amount is for.", field=quantity_field
            )
        most = line.value_of(chosen.quantity)
        if most <= 0 < line.most:
            raise QuantityInvalid(
                f"{label}: earlier refunds already cover {_units(chosen.quantity)}; choose more "
                "units.",
                field=quantity_field,
            )
        if most <= 0:
            raise AmountInvalid(f"{label}: nothing is left to refund.", field=quantity_field)
        amount = most if chosen.amount is None else chosen.amount
        if amount.is_nan():
            raise AmountInvalid(f"{label}: that is not an amount.", field=amount_field)
        if amount <= 0:
            least = format_money(smallest(currency), currency)
            raise AmountInvalid(
                f"{label}: enter an amount of at least {least}, or leave the line out.",
                field=amount_field,
            )
        if amount > most:
            raise AmountInvalid(
                f"{label}: at most {format_money(most, currency)} can be refunded for "
                f"{_units(chosen.quantity)}.",
                field=amount_field,
            )
        if not is_exact(amount, currency):
            raise AmountInvalid(
                f"{label}: the amount has more decimals than {currency} has.", field=amount_field
            )
        return amount

    def _quote_fees(self, selection: Selection) -> Quote:
        fees = self.fee_lines()
        chosen = [each.line for each in selection.lines]
        if not chosen or len(set(chosen)) != len(chosen):
            raise SelectionInvalid("Choose the lines whose fees to refund.", field="fees")
        lines: list[QuotedLine] = []
        parts: dict[Part, Decimal] = {}
        for each in chosen:
            line = self.ledger.line(each)
            if line is None or each not in fees:
                raise SelectionInvalid("A chosen line has no fees left to refund.", field="fees")
            lines.append(QuotedLine(each, line.figures.label, 0, fees[each]))
            parts.update(self.ledger.spread(fees[each], FEES, line=each))
        if add(parts.values()) > self.ledger.left:
            most = format_money(self.ledger.left, self.order.currency)
            raise AmountInvalid(f"Only {most} is left on the whole order.", field="fees")
        request = {"items": [{"itemId": each, "type": "fees", "percent": 100} for each in chosen]}
        return self._quote(Option.FEES, parts, request, tuple(lines))

    def _quote(
        self,
        option: Option,
        parts: Mapping[Part, Decimal],
        request: Mapping[str, object],
        lines: tuple[QuotedLine, ...] = (),
    ) -> Quote:
        return Quote(
            option=option,
            currency=self.order.currency,
            total=add(parts.values()),
            parts=parts,
            lines=lines,
            request=request,
            before=self.ledger,
            estimated=self.choice(option).estimated,
            position=self,
        )


def _units(number: int) -> str:
    return "1 unit" if number == 1 else f"{number} units"


@dataclass(frozen=True, slots=True)
class Seen:
    """The figures on the review page the rep submitted, when it was made, and of which draft."""

    figures: Mapping[str, Decimal]
    at: datetime
    draft_changed_at: datetime
