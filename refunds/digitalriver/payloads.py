"""Digital River's orders, refunds and events, read from JSON into frozen values.

Tolerant readers: unknown fields pass, optional ones may be missing or null, numbers may come as
text. What money depends on is strict: an id, a currency, an amount or a refund state that makes
no sense raises ``UnreadableAnswer``. Numbers go from JSON text to ``Decimal`` without passing
through a float, and are rounded half-up to the currency's minor units, because Digital River's
own floats show at times (53.769999999999996).

Of an event only the envelope's id and type are strict; what its object says about ids and money
is read where it can be, for nobody promised its form, and the order itself can be read again.

https://docs.digitalriver.com/digital-river-api/order-management/orders
https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds
https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/events-1
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal, get_args

import simplejson
from pydantic import Field

from refunds.digitalriver.errors import EventUnreadable, UnreadableAnswer
from refunds.digitalriver.wire import (
    IDENTIFIER,
    Count,
    Currency,
    Figure,
    Flag,
    Identifier,
    ListOf,
    Moment,
    OptionalCount,
    OptionalFigure,
    OptionalMapping,
    Text,
    Wire,
    as_figure,
    as_moment,
    clean,
    load,
    load_once,
    redacted,
    unreadable,
    validated,
)
from refunds.errors import RefundDeskError
from refunds.money import ZERO, quantize

RefundState = Literal["pending_information", "pending", "succeeded", "failed", "expired"]

#: The states a refund can have at Digital River.
REFUND_STATES: Final[tuple[str, ...]] = get_args(RefundState)

#: The metadata key under which the desk's own attempt reference travels.
REFERENCE_KEY: Final = "refundReference"

_Fields = Mapping[str, object]

_LONGEST_ID: Final = 128
_LONGEST_TYPE: Final = 100
_EVENT_TEXT: Final = re.compile(r"[\x21-\x7e]+")
_DEEPEST: Final = 50
_LARGEST_EXPONENT: Final = 308
_LARGEST_BITS: Final = 1024
#: Fields that an order has and a charge or a credit memo has not.
_SIGNS_OF_AN_ORDER: Final = frozenset(
    {"totalAmount", "availableToRefundAmount", "capturedAmount", "checkoutId", "items", "payment"}
)


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

    def counted_in(self, currency: str) -> "Refund":
        """Return it with figures that an account in this currency can count.

        Digital River refunds an order in the order's currency; should it ever tell another one,
        the figures are rounded to this one's minor units, and ``currency`` still says so.
        """
        if self.currency == currency:
            return self

        def rounded(amount: Decimal | None) -> Decimal | None:
            return None if amount is None else quantize(amount, currency)

        return replace(
            self,
            amount=rounded(self.amount),
            refunded_amount=quantize(self.refunded_amount, currency),
            items=tuple(
                replace(
                    item,
                    amount=rounded(item.amount),
                    refunded_amount=quantize(item.refunded_amount, currency),
                )
                for item in self.items
            ),
        )


@dataclass(frozen=True, slots=True)
class OrderPage:
    """One page of ``GET /orders``."""

    orders: tuple[Order, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class RefundPage:
    """One page of ``GET /refunds``, newest first."""

    refunds: tuple[Refund, ...]
    has_more: bool

    @property
    def cursor(self) -> str:
        """The id after which the next page starts; empty for a page of none."""
        return self.refunds[-1].id if self.refunds else ""


@dataclass(frozen=True, slots=True)
class CreditMemo:
    """The document that Digital River made out for a refund; ``file_id`` may be empty."""

    id: str
    file_id: str


@dataclass(frozen=True, slots=True)
class Event:
    """What Digital River tells that happened, perhaps late, twice, or out of order.

    ``object`` is the refund, charge, order or credit memo as it was when the event was sent, or
    empty; ``refund_from`` and ``order_from`` read it. ``order_id`` and ``refund_id`` are the ids
    it is about, empty where it does not say or says nonsense. ``chargeback_amount`` is in major
    units of ``chargeback_currency``, or of the order's where that is empty; ``None`` where it is
    not told.
    ``envelope`` is the whole event. Neither holds a token, a secret, or text that no database
    takes; both may hold customer data.
    """

    id: str
    type: str
    created_time: datetime | None
    live_mode: bool
    object: _Fields
    order_id: str
    refund_id: str
    credit_memo: CreditMemo | None
    chargeback_amount: Decimal | None
    chargeback_currency: str
    envelope: _Fields

    @property
    def raw(self) -> str:
        """The whole event as JSON text, to be stored; ``read_event`` reads it again."""
        return simplejson.dumps(
            self.envelope, use_decimal=True, ensure_ascii=False, separators=(",", ":")
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page of ``GET /events``, newest first.

    ``unreadable`` are the ids of those that make no sense; ``cursor`` is the id after which the
    next page starts, empty for a page of none.
    """

    events: tuple[Event, ...]
    unreadable: tuple[str, ...]
    has_more: bool
    cursor: str


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
    page = validated(_RefundPage, load(body))
    _refuse_repeated((wire.id for wire in page.data), "data")
    return RefundPage(tuple(_refund(wire) for wire in page.data), page.has_more)


def read_order_page(body: bytes) -> OrderPage:
    """Read one page of ``GET /orders``. Raises ``UnreadableAnswer``."""
    page = validated(_OrderPage, load(body))
    _refuse_repeated((wire.id for wire in page.data), "data")
    return OrderPage(tuple(_order(wire) for wire in page.data), page.has_more)


def read_event(body: bytes) -> Event:
    """Read the body of a webhook request. Raises ``EventUnreadable``, whatever came."""
    try:
        parsed = load_once(body)
    except UnreadableAnswer:
        raise EventUnreadable("The body is not JSON, or names a field twice.") from None
    return event_from(parsed)


def read_event_page(body: bytes) -> EventPage:
    """Read one page of ``GET /events``. Raises ``UnreadableAnswer``.

    One event that makes no sense must not keep the desk from those before it, so it is left out.
    """
    page = validated(_EventPage, load(body))
    events: list[Event] = []
    strange: list[str] = []
    cursor = ""
    for index, raw in enumerate(page.data):
        try:
            cursor = _event_text(raw.get("id"), "id", _LONGEST_ID)
        except EventUnreadable:
            # The last one's id leads on to the next page.
            if page.has_more and index == len(page.data) - 1:
                raise unreadable(f"data.{index}.id") from None
            strange.append("")
            continue
        try:
            events.append(event_from(raw))
        except EventUnreadable:
            strange.append(cursor)
    return EventPage(tuple(events), tuple(strange), page.has_more, cursor)


def read_error(body: bytes) -> VendorError:
    """Read an error's body: the first code and parameter, all messages. Never raises."""
    try:
        errors = validated(_Errors, load(body)).errors
    except UnreadableAnswer:
        return VendorError()
    if not errors:
        return VendorError()
    messages = " ".join(error.message for error in errors if error.message)
    return VendorError(errors[0].code[:100], errors[0].parameter[:100], messages[:500])


def order_from(raw: object) -> Order:
    """Read an order from parsed JSON, such as an event's object. Raises ``UnreadableAnswer``."""
    return _order(validated(_Order, raw))


def refund_from(raw: object) -> Refund:
    """Read a refund from parsed JSON, such as an event's object. Raises ``UnreadableAnswer``."""
    return _refund(validated(_Refund, raw))


def event_from(raw: object) -> Event:
    """Read an event from JSON that ``load`` has parsed. Raises ``EventUnreadable``.

    Types and fields that nobody has heard of pass.
    """
    if not isinstance(raw, Mapping):
        raise EventUnreadable("The event is not a JSON object.")
    identifier = _event_text(raw.get("id"), "id", _LONGEST_ID)
    kind = _event_text(raw.get("type"), "type", _LONGEST_TYPE)
    envelope = _fields(_kept(raw), "event")
    subject = _fields(_fields(envelope.get("data"), "data").get("object"), "data.object")
    created = as_moment(envelope.get("createdTime"))
    charged_back, currency = _charged_back(kind, subject)
    return Event(
        id=identifier,
        type=kind,
        created_time=created if isinstance(created, datetime) else None,
        live_mode=envelope.get("liveMode") is True,
        object=subject,
        order_id=_order_id(kind, subject),
        refund_id=_id_in(subject, "id") if kind.startswith("refund.") else "",
        credit_memo=_credit_memo(kind, subject),
        chargeback_amount=charged_back,
        chargeback_currency=currency,
        envelope=envelope,
    )


def _event_text(value: object, place: str, longest: int) -> str:
    if isinstance(value, str) and len(value) <= longest and _EVENT_TEXT.fullmatch(value):
        return value
    raise EventUnreadable(
        f"The event's {place} is missing, or is not a text of at most {longest} plain characters.",
        parameter=place,
    )


def _kept(raw: object, depth: int = 0) -> object:
    """Return parsed JSON without tokens and secrets, of numbers and text that can be kept."""
    if depth > _DEEPEST:
        raise EventUnreadable("The event is nested too deeply.")
    if isinstance(raw, Mapping):
        return {
            _storable(str(key)): _kept(entry, depth + 1)
            for key, entry in raw.items()
            if not _opens_something(key, entry)
        }
    if isinstance(raw, list | tuple):
        return [_kept(entry, depth + 1) for entry in raw]
    if isinstance(raw, str):
        return _storable(raw)
    if isinstance(raw, float) or (isinstance(raw, int | Decimal) and _is_absurd(raw)):
        raise EventUnreadable("The event holds a number that is beyond reason.")
    return raw


def _storable(text: str) -> str:
    """Mark what no database takes; dropping it would turn one id or name into another."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _opens_something(name: object, entry: object) -> bool:
    # A token's deadline is kept: it is what the refund page shows.
    return name in ("token", "clientSecret") or (
        name == "tokenInformation" and not isinstance(entry, Mapping)
    )


def _is_absurd(number: int | Decimal) -> bool:
    """Tell whether a number is none that Digital River, which counts in doubles, can send."""
    if isinstance(number, int):
        return number.bit_length() > _LARGEST_BITS
    return not number.is_finite() or abs(number.adjusted()) > _LARGEST_EXPONENT


def _fields(value: object, place: str) -> _Fields:
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise EventUnreadable(f"The event's {place} is not a JSON object.", parameter=place)


def _id_in(subject: _Fields, name: str) -> str:
    """Return the id in the field, empty where there is none that could be asked for."""
    value = subject.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and IDENTIFIER.fullmatch(value) else ""


def _order_id(kind: str, subject: _Fields) -> str:
    """Return the order's id: the one a refund, charge or credit memo names, or its own.

    ``order.charge.refund.failed`` is known with a charge and with a whole order.
    """
    if subject.get("orderId") is not None:
        return _id_in(subject, "orderId")
    order = subject.get("order")
    if isinstance(order, Mapping):
        return _id_in(order, "id")
    if kind.startswith("order.") and not _SIGNS_OF_AN_ORDER.isdisjoint(subject):
        return _id_in(subject, "id")
    return ""


def _credit_memo(kind: str, subject: _Fields) -> CreditMemo | None:
    if kind != "order.credit_memo.created":
        return None
    memo = CreditMemo(id=_id_in(subject, "id"), file_id=_id_in(subject, "fileId"))
    return memo if memo.id else None


def _charged_back(kind: str, subject: _Fields) -> tuple[Decimal | None, str]:
    """Return what was charged back, and in which currency where that is said.

    No sample of that event is published, so names are guessed. A whole order's ``amount`` would be
    something else, so it is not taken for it.
    """
    if kind != "order.chargeback":
        return None, ""
    names = ["chargebackAmount", "chargedBackAmount"]
    if "totalAmount" not in subject:
        names.append("amount")
    told = next((subject[name] for name in names if subject.get(name) is not None), None)
    currency = subject.get("currency")
    if currency is not None and not isinstance(currency, str):
        return None, ""
    currency = (currency or "").strip().upper()
    try:
        amount = as_figure(told)
        if not isinstance(amount, Decimal) or amount <= 0:
            return None, currency
        return (quantize(amount, currency) + ZERO if currency else amount), currency
    except (ValueError, RefundDeskError):
        return None, currency


class _Amount(Wire):
    amount: OptionalFigure = None


class _AmountAndTax(Wire):
    amount: OptionalFigure = None
    tax_amount: OptionalFigure = None


class _Product(Wire):
    id: Text = ""
    name: Text = ""
    part_number: Text = ""


class _OrderItem(Wire):
    id: Identifier
    sku_id: Text = ""
    product_details: _Product | None = None
    quantity: Count
    state: Text = ""
    amount: Figure
    tax: _Amount | None = None
    fees: _AmountAndTax | None = None
    duties: _Amount | None = None
    importer_tax: _Amount | None = None
    available_to_refund_amount: OptionalFigure = None


class _Capture(Wire):
    state: Text = ""


class _Charge(Wire):
    captures: ListOf[_Capture] = ()


class _Instrument(Wire):
    brand: Text = ""
    last_four_digits: Text = ""


class _Source(Wire):
    type: Text = ""
    credit_card: _Instrument | None = None
    google_pay: _Instrument | None = None
    gift_card: _Instrument | None = None


class _Payment(Wire):
    sources: ListOf[_Source] = ()
    charges: ListOf[_Charge] = ()


class _Order(Wire):
    id: Identifier
    state: Identifier
    fraud_state: Text = ""
    currency: Currency
    total_amount: Figure
    total_tax: OptionalFigure = None
    captured_amount: OptionalFigure = None
    refunded_amount: OptionalFigure = None
    cancelled_amount: OptionalFigure = None
    available_to_refund_amount: OptionalFigure = None
    shipping_choice: _AmountAndTax | None = None
    total_duty: OptionalFigure = None
    total_importer_tax: OptionalFigure = None
    items: ListOf[_OrderItem] = ()
    payment: _Payment | None = None
    email: Text = ""
    upstream_id: Text = ""
    created_time: Moment = None
    updated_time: Moment = None
    live_mode: Flag = False


class _RefundItem(Wire):
    item_id: Text = ""
    type: Text = ""
    quantity: OptionalCount = None
    amount: OptionalFigure = None
    percent: OptionalFigure = None
    refunded_amount: OptionalFigure = None


class _TokenInformation(Wire):
    expires_time: Moment = None


class _Refund(Wire):
    id: Identifier
    order_id: Text = ""
    currency: Currency
    state: RefundState
    type: Text = ""
    amount: OptionalFigure = None
    refunded_amount: OptionalFigure = None
    items: ListOf[_RefundItem] = ()
    reason: Text = ""
    failure_reason: Text = ""
    created_time: Moment = None
    expires_time: Moment = None
    token_information: _TokenInformation | None = None
    metadata: OptionalMapping = Field(default_factory=dict)
    live_mode: Flag = False


class _RefundPage(Wire):
    has_more: Flag = False
    data: list[_Refund]


class _OrderPage(Wire):
    has_more: Flag = False
    data: list[_Order]


class _EventPage(Wire):
    has_more: Flag = False
    data: list[dict[str, object]]


class _Error(Wire):
    code: Text = ""
    parameter: Text = ""
    message: Text = ""


class _Errors(Wire):
    errors: ListOf[_Error] = ()


def _rounded(figure: Decimal, currency: str, place: str) -> Decimal:
    try:
        # The sum turns the minus zero that a float's dust rounds to into a plain zero.
        return quantize(figure, currency) + ZERO
    except RefundDeskError:
        raise unreadable(place) from None


def _amount(figure: Decimal | None, currency: str, place: str) -> Decimal:
    """Return the amount, zero where there is none; a negative one makes no sense."""
    amount = _rounded(figure or ZERO, currency, place)
    if amount < 0:
        raise unreadable(place)
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
            raise unreadable(place)
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
    refund = Refund(
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
        reference=clean(reference).strip() if isinstance(reference, str) else "",
        metadata=MappingProxyType(metadata if isinstance(metadata, dict) else {}),
        live_mode=wire.live_mode,
    )
    if wire.refunded_amount is None and wire.state == "succeeded":
        # Not told is not nothing: what succeeded gave what was asked for, unless it says otherwise.
        return replace(refund, refunded_amount=refund.requested_amount or ZERO)
    return refund


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
