"""Digital River's orders and refunds, read from JSON into frozen values.

Tolerant readers: unknown fields pass, optional ones may be missing or null, numbers may come as
text. What money depends on is strict: an id, a currency, an amount or a refund state that makes
no sense raises ``UnreadableAnswer``. Numbers go from JSON text to ``Decimal`` without passing
through a float, and are rounded half-up to the currency's minor units, because Digital River's
own floats show at times (53.769999999999996).

https://docs.digitalriver.com/digital-river-api/order-management/orders
https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from types import MappingProxyType
from typing import Annotated, Final, Literal, NoReturn, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from refunds.digitalriver.errors import UnreadableAnswer
from refunds.errors import RefundDeskError
from refunds.money import ZERO, minor_units, quantize

RefundState = Literal["pending_information", "pending", "succeeded", "failed", "expired"]

#: The states a refund can have at Digital River.
REFUND_STATES: Final[tuple[str, ...]] = get_args(RefundState)

#: The metadata key under which the desk's own attempt reference travels.
REFERENCE_KEY: Final = "refundReference"

_LARGEST_COUNT: Final = 1_000_000_000
_LARGEST_FIGURE: Final = Decimal(10) ** 15
_LONGEST_NUMBER: Final = 64
_SECRETS: Final = frozenset({"tokenInformation", "token", "clientSecret"})


@dataclass(frozen=True, slots=True)
class OrderItem:
    """A line of an order. Amounts are line totals in major units, tax apart.

    ``amount`` is net of discounts; ``available`` is what Digital River says can still be
    refunded of product and tax, ``None`` where it does not say.
    """

    id: str
    sku_id: str
    product_name: str
    part_number: str
    quantity: int
    state: str
    amount: Decimal
    tax: Decimal
    fees: Decimal
    fee_tax: Decimal
    duty: Decimal
    importer_tax: Decimal
    available: Decimal | None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as Digital River has it now. Amounts in major units of ``currency``.

    ``available`` is ``None`` where Digital River names no figure, which is not the same as zero.
    ``payment_type`` is the first source's type on the wire, ``payment_description`` all sources
    in plain words.
    """

    id: str
    state: str
    fraud_state: str
    currency: str
    total_amount: Decimal
    total_tax: Decimal
    captured_amount: Decimal
    refunded_amount: Decimal
    cancelled_amount: Decimal
    available: Decimal | None
    shipping: Decimal
    shipping_tax: Decimal
    duty: Decimal
    importer_tax: Decimal
    items: tuple[OrderItem, ...]
    capture_completed: bool
    payment_type: str
    payment_description: str
    email: str
    upstream_id: str
    created_time: datetime | None
    updated_time: datetime | None
    live_mode: bool


@dataclass(frozen=True, slots=True)
class RefundItem:
    """One line of an item-level refund. ``type`` is empty for the product itself.

    ``amount`` is the line total asked for, tax included; ``percent`` is 0.01 to 100.
    """

    item_id: str
    type: str
    quantity: int | None
    amount: Decimal | None
    percent: Decimal | None
    refunded_amount: Decimal


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund as Digital River has it now. Amounts in major units of ``currency``.

    ``type`` is empty for a refund of the whole order or of lines. ``reference`` is the desk's
    own, from the metadata, empty for a refund that was not started here. The token of a refund
    that waits for bank details is never kept.
    """

    id: str
    order_id: str
    currency: str
    state: RefundState
    type: str
    amount: Decimal | None
    refunded_amount: Decimal
    items: tuple[RefundItem, ...]
    reason: str
    failure_reason: str
    created_time: datetime | None
    expires_time: datetime | None
    reference: str
    metadata: Mapping[str, object]
    live_mode: bool

    @property
    def requested_amount(self) -> Decimal | None:
        """The sum asked for: the refund's own, else its items' together, else not known."""
        if self.amount is not None:
            return self.amount
        amounts = [item.amount for item in self.items]
        known = [amount for amount in amounts if amount is not None]
        if not amounts or len(known) < len(amounts):
            return None
        return sum(known, ZERO)


@dataclass(frozen=True, slots=True)
class RefundPage:
    """One page of ``GET /refunds``, newest first."""

    refunds: tuple[Refund, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class VendorError:
    """What Digital River says in an error's body; empty where it says nothing readable."""

    code: str = ""
    parameter: str = ""
    message: str = ""


def read_order(body: bytes) -> Order:
    """Read the body of ``GET /orders/{id}``. Raises ``UnreadableAnswer``."""
    return order_from(load(body))


def read_refund(body: bytes) -> Refund:
    """Read the body that carries one refund. Raises ``UnreadableAnswer``."""
    return refund_from(load(body))


def read_refund_page(body: bytes) -> RefundPage:
    """Read one page of ``GET /refunds``. Raises ``UnreadableAnswer``."""
    page = _validated(_Page, load(body))
    return RefundPage(tuple(_refund(wire) for wire in page.data), page.has_more)


def read_error(body: bytes) -> VendorError:
    """Read an error's body: the first code and parameter, all messages. Never raises."""
    try:
        errors = _validated(_Errors, load(body)).errors
    except UnreadableAnswer:
        return VendorError()
    if not errors:
        return VendorError()
    messages = " ".join(error.message for error in errors if error.message)
    return VendorError(errors[0].code[:100], errors[0].parameter[:100], messages[:500])


def order_from(raw: object) -> Order:
    """Read an order from parsed JSON, such as an event's object. Raises ``UnreadableAnswer``."""
    return _order(_validated(_Order, raw))


def refund_from(raw: object) -> Refund:
    """Read a refund from parsed JSON, such as an event's object. Raises ``UnreadableAnswer``."""
    return _refund(_validated(_Refund, raw))


def load(body: bytes) -> object:
    """Parse JSON with every fraction as ``Decimal``. Raises ``UnreadableAnswer``.

    NaN and the infinities, which Python's reader would let pass, are not JSON.
    """
    try:
        parsed: object = json.loads(
            body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_constant
        )
    # The reader's own errors hold the whole body, so none of them is chained.
    except (ValueError, DecimalException, RecursionError):
        raise _unreadable() from None
    return parsed


def redacted(raw: object) -> object:
    """Return parsed JSON without tokens and secrets, and without text that no database takes."""
    if isinstance(raw, Mapping):
        return {_clean(str(key)): redacted(raw[key]) for key in raw if key not in _SECRETS}
    if isinstance(raw, list | tuple):
        return [redacted(entry) for entry in raw]
    if isinstance(raw, str):
        return _clean(raw)
    return raw


def _unreadable(place: str = "") -> UnreadableAnswer:
    """Say that the answer makes no sense; ``place`` names the field, never its value."""
    return UnreadableAnswer("Digital River's answer makes no sense to the desk.", parameter=place)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _clean(text: str) -> str:
    """Drop control characters and lone surrogates, which databases and screens choke on."""
    kept = "".join(mark for mark in text if mark in "\n\t" or unicodedata.category(mark) != "Cc")
    return kept.encode("utf-8", "replace").decode()


def _text(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _clean(value).strip() if isinstance(value, str) else value


def _identifier(value: object) -> object:
    text = _text(value)
    if text == "":
        raise ValueError("is missing")
    if isinstance(text, str) and len(text) > 255:
        raise ValueError("is too long")
    return text


def _figure(value: object) -> object:
    """Take a number or a number written as text; refuse what is not finite or beyond reason."""
    if isinstance(value, bool | float):
        raise ValueError("is not a number")
    if isinstance(value, str):
        # Longer than any amount could be: not worth the time that reading it would take.
        if not value.strip() or len(value) > _LONGEST_NUMBER or "_" in value:
            raise ValueError("is not a number")
        try:
            value = Decimal(value.strip())
        except DecimalException:
            raise ValueError("is not a number") from None
    if isinstance(value, int | Decimal):
        figure = Decimal(value)
        if not figure.is_finite() or abs(figure) > _LARGEST_FIGURE:
            raise ValueError("is beyond reason")
        return figure
    return value


def _count(value: object) -> object:
    figure = _figure(value)
    if isinstance(figure, Decimal):
        if figure != figure.to_integral_value() or not 0 <= figure <= _LARGEST_COUNT:
            raise ValueError("is not a whole number of units")
        return int(figure)
    return figure


def _moment(value: object) -> object:
    """Read a time; one that cannot be read is as good as none, for no money hangs on it."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _flag(value: object) -> object:
    return False if value is None else value


def _currency(value: object) -> object:
    """Take a code that ISO 4217 gives minor units; Digital River's own samples write ``usd``."""
    if not isinstance(value, str):
        return value
    code = value.strip().upper()
    try:
        minor_units(code)
    except RefundDeskError:
        raise ValueError("is not a currency") from None
    return code


def _list(value: object) -> object:
    return [] if value is None else value


def _mapping(value: object) -> object:
    return {} if value is None else value


_Text = Annotated[str, BeforeValidator(_text)]
_Identifier = Annotated[str, BeforeValidator(_identifier)]
_Figure = Annotated[Decimal, BeforeValidator(_figure)]
_OptionalFigure = Annotated[
    Decimal | None, BeforeValidator(lambda value: None if value is None else _figure(value))
]
_Count = Annotated[int, BeforeValidator(_count)]
_OptionalCount = Annotated[
    int | None, BeforeValidator(lambda value: None if value is None else _count(value))
]
_Moment = Annotated[datetime | None, BeforeValidator(_moment)]
_Flag = Annotated[bool, BeforeValidator(_flag)]
_Currency = Annotated[str, BeforeValidator(_currency)]


class _Wire(BaseModel):
    # An error that quotes its input would carry customer data into the log.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True
    )


class _Amount(_Wire):
    amount: _OptionalFigure = None


class _AmountAndTax(_Wire):
    amount: _OptionalFigure = None
    tax_amount: _OptionalFigure = None


class _Product(_Wire):
    id: _Text = ""
    name: _Text = ""
    part_number: _Text = ""


class _OrderItem(_Wire):
    id: _Identifier
    sku_id: _Text = ""
    product_details: _Product | None = None
    quantity: _Count
    state: _Text = ""
    amount: _Figure
    tax: _Amount | None = None
    fees: _AmountAndTax | None = None
    duties: _Amount | None = None
    importer_tax: _Amount | None = None
    available_to_refund_amount: _OptionalFigure = None


class _Capture(_Wire):
    state: _Text = ""


class _Charge(_Wire):
    captures: Annotated[list[_Capture], BeforeValidator(_list)] = []


class _Instrument(_Wire):
    brand: _Text = ""
    last_four_digits: _Text = ""


class _Source(_Wire):
    type: _Text = ""
    credit_card: _Instrument | None = None
    google_pay: _Instrument | None = None
    gift_card: _Instrument | None = None


class _Payment(_Wire):
    sources: Annotated[list[_Source], BeforeValidator(_list)] = []
    charges: Annotated[list[_Charge], BeforeValidator(_list)] = []


class _Order(_Wire):
    id: _Identifier
    state: _Identifier
    fraud_state: _Text = ""
    currency: _Currency
    total_amount: _Figure
    total_tax: _OptionalFigure = None
    captured_amount: _OptionalFigure = None
    refunded_amount: _OptionalFigure = None
    cancelled_amount: _OptionalFigure = None
    available_to_refund_amount: _OptionalFigure = None
    shipping_choice: _AmountAndTax | None = None
    total_duty: _OptionalFigure = None
    total_importer_tax: _OptionalFigure = None
    items: Annotated[list[_OrderItem], BeforeValidator(_list)] = []
    payment: _Payment | None = None
    email: _Text = ""
    upstream_id: _Text = ""
    created_time: _Moment = None
    updated_time: _Moment = None
    live_mode: _Flag = False


class _RefundItem(_Wire):
    item_id: _Text = ""
    type: _Text = ""
    quantity: _OptionalCount = None
    amount: _OptionalFigure = None
    percent: _OptionalFigure = None
    refunded_amount: _OptionalFigure = None


class _TokenInformation(_Wire):
    expires_time: _Moment = None


class _Refund(_Wire):
    id: _Identifier
    order_id: _Text = ""
    currency: _Currency
    state: RefundState
    type: _Text = ""
    amount: _OptionalFigure = None
    refunded_amount: _OptionalFigure = None
    items: Annotated[list[_RefundItem], BeforeValidator(_list)] = []
    reason: _Text = ""
    failure_reason: _Text = ""
    created_time: _Moment = None
    expires_time: _Moment = None
    token_information: _TokenInformation | None = None
    metadata: Annotated[dict[str, object], BeforeValidator(_mapping)] = {}
    live_mode: _Flag = False


class _Page(_Wire):
    has_more: _Flag = False
    data: list[_Refund]


class _Error(_Wire):
    code: _Text = ""
    parameter: _Text = ""
    message: _Text = ""


class _Errors(_Wire):
    errors: Annotated[list[_Error], BeforeValidator(_list)] = []


_Model = TypeVar("_Model", bound=_Wire)


def _validated(model: type[_Model], raw: object) -> _Model:
    try:
        return model.model_validate(raw)
    except (ValidationError, RecursionError) as error:
        place = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_input=False, include_context=False, include_url=False)[0]
            place = ".".join(str(step) for step in first["loc"])[:100]
    raise _unreadable(place)


def _rounded(figure: Decimal, currency: str, place: str) -> Decimal:
    try:
        # The sum turns the minus zero that a float's dust rounds to into a plain zero.
        return quantize(figure, currency) + ZERO
    except RefundDeskError:
        raise _unreadable(place) from None


def _amount(figure: Decimal | None, currency: str, place: str) -> Decimal:
    """Return the amount, zero where there is none; a negative one makes no sense."""
    amount = _rounded(figure or ZERO, currency, place)
    if amount < 0:
        raise _unreadable(place)
    return amount


def _optional_amount(figure: Decimal | None, currency: str, place: str) -> Decimal | None:
    return None if figure is None else _amount(figure, currency, place)


def _optional_balance(figure: Decimal | None, currency: str, place: str) -> Decimal | None:
    """Return what is left of something, which may be below zero after a chargeback."""
    return None if figure is None else _rounded(figure, currency, place)


def _order(wire: _Order) -> Order:
    currency = wire.currency
    items = tuple(
        _order_item(item, currency, f"items.{index}") for index, item in enumerate(wire.items)
    )
    _refuse_repeated((item.id for item in items), "items")
    shipping = wire.shipping_choice or _AmountAndTax()
    captured = _amount(wire.captured_amount, currency, "capturedAmount")
    payment = wire.payment or _Payment()
    return Order(
        id=wire.id,
        state=wire.state,
        fraud_state=wire.fraud_state,
        currency=currency,
        total_amount=_amount(wire.total_amount, currency, "totalAmount"),
        total_tax=_amount(wire.total_tax, currency, "totalTax"),
        captured_amount=captured,
        refunded_amount=_amount(wire.refunded_amount, currency, "refundedAmount"),
        cancelled_amount=_amount(wire.cancelled_amount, currency, "cancelledAmount"),
        available=_optional_balance(
            wire.available_to_refund_amount, currency, "availableToRefundAmount"
        ),
        shipping=_amount(shipping.amount, currency, "shippingChoice.amount"),
        shipping_tax=_amount(shipping.tax_amount, currency, "shippingChoice.taxAmount"),
        duty=_total(wire.total_duty, (item.duty for item in items), currency, "totalDuty"),
        importer_tax=_total(
            wire.total_importer_tax,
            (item.importer_tax for item in items),
            currency,
            "totalImporterTax",
        ),
        items=items,
        capture_completed=_capture_completed(payment, captured),
        payment_type=payment.sources[0].type if payment.sources else "",
        payment_description=_payment_description(payment.sources),
        email=wire.email,
        upstream_id=wire.upstream_id,
        created_time=wire.created_time,
        updated_time=wire.updated_time,
        live_mode=wire.live_mode,
    )


def _order_item(wire: _OrderItem, currency: str, place: str) -> OrderItem:
    product = wire.product_details or _Product()
    fees = wire.fees or _AmountAndTax()
    return OrderItem(
        id=wire.id,
        sku_id=wire.sku_id or product.id,
        product_name=product.name,
        part_number=product.part_number,
        quantity=wire.quantity,
        state=wire.state,
        amount=_amount(wire.amount, currency, f"{place}.amount"),
        tax=_amount((wire.tax or _Amount()).amount, currency, f"{place}.tax.amount"),
        fees=_amount(fees.amount, currency, f"{place}.fees.amount"),
        fee_tax=_amount(fees.tax_amount, currency, f"{place}.fees.taxAmount"),
        duty=_amount((wire.duties or _Amount()).amount, currency, f"{place}.duties.amount"),
        importer_tax=_amount(
            (wire.importer_tax or _Amount()).amount, currency, f"{place}.importerTax.amount"
        ),
        available=_optional_balance(
            wire.available_to_refund_amount, currency, f"{place}.availableToRefundAmount"
        ),
    )


def _total(named: Decimal | None, parts: Iterable[Decimal], currency: str, place: str) -> Decimal:
    """Return the total the order names, else the sum of its lines."""
    return _amount(sum(parts, ZERO) if named is None else named, currency, place)


def _refuse_repeated(identifiers: Iterable[str], place: str) -> None:
    seen: set[str] = set()
    for identifier in identifiers:
        if identifier in seen:
            raise _unreadable(place)
        seen.add(identifier)


def _capture_completed(payment: _Payment, captured: Decimal) -> bool:
    if not payment.charges:
        return captured > 0
    return any(
        capture.state == "complete" for charge in payment.charges for capture in charge.captures
    )


def _refund(wire: _Refund) -> Refund:
    currency = wire.currency
    token = wire.token_information or _TokenInformation()
    metadata = redacted(wire.metadata)
    reference = wire.metadata.get(REFERENCE_KEY)
    return Refund(
        id=wire.id,
        order_id=wire.order_id,
        currency=currency,
        state=wire.state,
        type=wire.type,
        amount=_optional_amount(wire.amount, currency, "amount"),
        refunded_amount=_amount(wire.refunded_amount, currency, "refundedAmount"),
        items=tuple(
            RefundItem(
                item_id=item.item_id,
                type=item.type,
                quantity=item.quantity,
                amount=_optional_amount(item.amount, currency, f"items.{index}.amount"),
                percent=item.percent,
                refunded_amount=_amount(
                    item.refunded_amount, currency, f"items.{index}.refundedAmount"
                ),
            )
            for index, item in enumerate(wire.items)
        ),
        reason=wire.reason,
        failure_reason=wire.failure_reason,
        created_time=wire.created_time,
        expires_time=wire.expires_time or token.expires_time,
        reference=_clean(reference).strip() if isinstance(reference, str) else "",
        metadata=MappingProxyType(metadata if isinstance(metadata, dict) else {}),
        live_mode=wire.live_mode,
    )


_PLAIN_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "alipay": "Alipay",
        "applePay": "Apple Pay",
        "bPay": "BPAY",
        "bancontact": "Bancontact",
        "bankTransfer": "Bank transfer",
        "codJapan": "Cash on delivery",
        "creditCard": "Card",
        "customerCredit": "Store credit",
        "directDebit": "Direct debit",
        "giftCard": "Gift card",
        "googlePay": "Google Pay",
        "ideal": "iDEAL",
        "klarnaCredit": "Klarna",
        "klarnaCreditRecurring": "Klarna",
        "konbini": "Konbini",
        "msts": "Purchase on account",
        "onlineBanking": "Online banking",
        "payCo": "PAYCO",
        "payPal": "PayPal",
        "payPalBilling": "PayPal",
        "payPalCredit": "PayPal Credit",
        "wireTransfer": "Wire transfer",
    }
)


def _payment_description(sources: Iterable[_Source]) -> str:
    """Say in plain words where the money goes back to; several sources in their wire order."""
    described = (_source_description(source) for source in sources)
    return " and ".join(dict.fromkeys(words for words in described if words))


def _source_description(source: _Source) -> str:
    words = _PLAIN_WORDS.get(source.type, source.type[:40])
    if source.type == "creditCard":
        card = source.credit_card or _Instrument()
        return _ending(card.brand[:40] or words, card)
    if source.type == "googlePay" and source.google_pay and source.google_pay.brand:
        return f"{words} ({_ending(source.google_pay.brand[:40], source.google_pay)})"
    if source.type == "giftCard":
        return _ending(words, source.gift_card or _Instrument())
    return words


def _ending(words: str, instrument: _Instrument) -> str:
    """Add the last digits; never more than four, whatever the field was filled with."""
    digits = instrument.last_four_digits
    if not digits.isascii() or not digits.isdecimal():
        return words
    return f"{words} ending {digits[-4:].zfill(4)}"
