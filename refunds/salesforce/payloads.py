"""Salesforce's Order and OrderItem records, read from REST JSON or CSV into frozen values.

The fields of Digital River's managed package carry its namespace (``digitalriverv3__`` in a
subscriber's organisation). Text is trimmed and held to its field's length, ids are brought to
their 18 characters, quantities must be whole; whatever is not so raises
``SalesforceRecordError`` with the field's path.

https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_order.htm
https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_orderitem.htm
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, DecimalException
from typing import Final

from refunds.errors import RefundDeskError
from refunds.money import ZERO, quantize
from refunds.salesforce.errors import SalesforceRecordError

#: The namespace of Digital River's package in an organisation that installed it.
NAMESPACE: Final = "digitalriverv3"

_SUFFIX_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHORT_ID: Final = re.compile(r"[A-Za-z0-9]{15}")
_LONG_ID: Final = re.compile(r"[A-Za-z0-9]{18}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_LARGEST_QUANTITY: Final = 1_000_000_000
_LONGEST_NUMBER: Final = 64
#: How CSV writes a checkbox.
_FLAGS: Final = ("true", "false")
#: A long text is of use by its beginning.
_LONG_TEXT: Final = 1000
_CAPITALS: Final = {
    ord(letter): "1" if letter.isupper() else "0"
    for letter in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
}
#: The letter for each five of an id: which of them are capitals, the first one counting least.
_LETTER_FOR: Final = {
    f"{number:05b}"[::-1]: letter for number, letter in enumerate(_SUFFIX_LETTERS)
}


@dataclass(frozen=True, slots=True)
class OrderLineRecord:
    """An order product. Amounts are in major units of the order's currency.

    ``number`` is Salesforce's own running number, by which an order's lines are sorted. The three
    quantities after the amounts are Digital River's, ``None`` where it has not reported yet.
    ``order_id`` is empty for a line that came nested in its order.
    """

    id: str
    product_name: str
    sku: str
    product_code: str
    quantity: int
    unit_price: Decimal
    total_price: Decimal
    total_tax: Decimal
    digitalriver_item_id: str
    digitalriver_state: str
    duty: Decimal
    importer_tax: Decimal
    regulatory_fee: Decimal
    open_quantity: int | None
    fulfilled_quantity: int | None
    cancelled_quantity: int | None
    number: str = ""
    order_id: str = ""
    modified_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order with its lines. Amounts are in major units of ``currency``.

    ``digitalriver_order_id`` is empty for an order that never reached Digital River.
    """

    id: str
    order_number: str
    status: str
    effective_date: date | None
    created_time: datetime | None
    modified_time: datetime | None
    account_id: str
    account_name: str
    buyer_name: str
    buyer_email: str
    currency: str
    total_amount: Decimal
    digitalriver_order_id: str
    digitalriver_state: str
    fraud_state: str
    payment_status: str
    payment_failure_reason: str
    customer_type: str
    selling_entity: str
    total_duty: Decimal
    total_importer_tax: Decimal
    total_regulatory_fee: Decimal
    has_landed_cost: bool
    lines: tuple[OrderLineRecord, ...]


def nested(names: Iterable[str], row: Iterable[str]) -> dict[str, object]:
    """Return a row of a CSV page as REST JSON has the record: lookups nested, empty for null.

    ``names`` are the fields' paths, as the page's first line has them.
    """
    record: dict[str, object] = {}
    for name, value in zip(names, row, strict=True):
        related, separator, inner = name.rpartition(".")
        if not separator:
            record[name] = value or None
        elif value:
            fields = record.setdefault(related, {})
            if isinstance(fields, dict):
                fields[inner] = value
    return record


def order_record(
    raw: Mapping[str, object],
    *,
    namespace: str = NAMESPACE,
    default_currency: str = "",
    with_lines: bool = True,
) -> OrderRecord:
    """Read an Order with its nested OrderItems and its Account and BillToContact.

    ``namespace`` is the package's, empty in the organisation that develops it.
    ``default_currency`` is the organisation's own, for one without multiple currencies, whose
    records have no ``CurrencyIsoCode``. Without ``with_lines`` the order products were not asked
    for. Raises ``SalesforceRecordError``.
    """
    order = _Fields(raw, namespace)
    record_id = order.id("Id", required=True)
    order.record_id = record_id
    currency = order.currency("CurrencyIsoCode", default_currency)
    children = order.children("OrderItems") if with_lines else []
    lines = tuple(_line(fields, currency) for fields in children)
    for key in ("id", "digitalriver_item_id"):
        named = [getattr(line, key) for line in lines if getattr(line, key)]
        if len(set(named)) < len(named):
            raise order.fault("OrderItems", "names a line twice")
    account = order.related("Account")
    buyer = order.related("BillToContact")
    return OrderRecord(
        id=record_id,
        order_number=order.text("OrderNumber", 30, required=True),
        status=order.text("Status", 255),
        effective_date=order.day("EffectiveDate"),
        created_time=order.moment("CreatedDate"),
        modified_time=order.moment("SystemModstamp"),
        account_id=order.id("AccountId"),
        account_name=account.text("Name", 255),
        buyer_name=buyer.text("Name", 255),
        buyer_email=buyer.text("Email", 254),
        currency=currency,
        total_amount=order.money("TotalAmount", currency),
        digitalriver_order_id=order.text(order.custom("DR_Order_Id__c"), 128),
        digitalriver_state=order.text(order.custom("DR_Order_State__c"), 255),
        fraud_state=order.text(order.custom("DR_Fraud_State__c"), 255),
        payment_status=order.text(order.custom("DR_Payment_Status__c"), 255),
        payment_failure_reason=order.text(
            order.custom("DR_Payment_Failure_Reason__c"), _LONG_TEXT, cut=True
        ),
        customer_type=order.text(order.custom("DR_Customer_Type__c"), 255),
        selling_entity=order.text(order.custom("DR_Selling_Entity__c"), 255),
        total_duty=order.money(order.custom("DR_Total_Duty__c"), currency),
        total_importer_tax=order.money(order.custom("DR_Total_IOR_Tax__c"), currency),
        total_regulatory_fee=order.money(order.custom("DR_Total_Regulatory_Fee__c"), currency),
        has_landed_cost=order.flag(order.custom("Has_Landed_Cost__c")),
        lines=lines,
    )


def lengthened_id(identifier: str) -> str:
    """Return the 18-character form of a Salesforce id of 15 or 18 characters.

    The three added letters say which of the fifteen are capitals, so that the longer form
    survives systems that ignore case. Raises ``ValueError`` for anything else, and for an
    18-character id whose last three do not fit the rest.

    https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm
    """
    if not (_SHORT_ID.fullmatch(identifier) or _LONG_ID.fullmatch(identifier)):
        raise ValueError("is not an id of 15 or 18 letters and digits")
    short = identifier[:15]
    capitals = short.translate(_CAPITALS)
    suffix = _LETTER_FOR[capitals[:5]] + _LETTER_FOR[capitals[5:10]] + _LETTER_FOR[capitals[10:]]
    if len(identifier) == 18 and identifier[15:].upper() != suffix:
        raise ValueError("is an id whose last three letters do not fit the rest")
    return short + suffix


def mended_id(identifier: str) -> str:
    """Return the 18-character form of an id, its capitals put right where they got lost.

    Of 18 characters the last three say which of the others are capitals, so an id that was typed
    or passed on without regard to case is the same id; one of 15 characters has nothing to mend
    it by. Raises ``ValueError`` as ``lengthened_id`` does.
    """
    if not _LONG_ID.fullmatch(identifier):
        return lengthened_id(identifier)
    mended = ""
    suffix = identifier[15:].upper()
    for start, letter in zip((0, 5, 10), suffix, strict=True):
        # What no suffix can have is not found, and the check at the end refuses the id.
        capitals = _SUFFIX_LETTERS.find(letter)
        for place, mark in enumerate(identifier[start : start + 5]):
            mended += mark.upper() if capitals >> place & 1 else mark.lower()
    return lengthened_id(mended + suffix)


def id_letters(text: str) -> str:
    """Return the letter for each five characters of an id that tells which are capitals.

    Raises ``KeyError`` for characters that no id has.
    """
    capitals = text.translate(_CAPITALS)
    return "".join(_LETTER_FOR[capitals[start : start + 5]] for start in range(0, len(capitals), 5))


def line_record(
    raw: Mapping[str, object], *, currency: str, namespace: str = NAMESPACE
) -> OrderLineRecord:
    """Read an OrderItem that came by itself; ``currency`` is its order's.

    Raises ``SalesforceRecordError``, whose ``record_id`` is the order product's.
    """
    fields = _Fields(raw, namespace, sobject="OrderItem")
    fields.record_id = fields.id("Id", required=True)
    fields.id("OrderId", required=True)
    return _line(fields, currency)


def _line(fields: "_Fields", currency: str) -> OrderLineRecord:
    product = fields.related("Product2")
    return OrderLineRecord(
        id=fields.id("Id", required=True),
        product_name=product.text("Name", 255),
        sku=product.text("StockKeepingUnit", 180),
        product_code=product.text("ProductCode", 255),
        quantity=fields.count("Quantity", required=True) or 0,
        unit_price=fields.money("UnitPrice", currency),
        total_price=fields.money("TotalPrice", currency),
        total_tax=fields.money("TotalTaxAmount", currency),
        digitalriver_item_id=fields.text(fields.custom("DR_Order_Item_Id__c"), 255),
        digitalriver_state=fields.text(fields.custom("DR_Order_Item_State__c"), 255),
        duty=fields.money(fields.custom("DR_Duty__c"), currency),
        importer_tax=fields.money(fields.custom("DR_IOR_Tax__c"), currency),
        regulatory_fee=fields.money(fields.custom("DR_Regulatory_Fee__c"), currency),
        open_quantity=fields.count(fields.custom("DR_Open_Quantity__c")),
        fulfilled_quantity=fields.count(fields.custom("DR_Fulfilled_Quantity__c")),
        cancelled_quantity=fields.count(fields.custom("DR_Cancelled_Quantity__c")),
        number=fields.text("OrderItemNumber", 255),
        order_id=fields.id("OrderId"),
        modified_time=fields.moment("SystemModstamp"),
    )


class _Fields:
    """A record's fields by kind; each reading raises ``SalesforceRecordError`` with its path."""

    def __init__(
        self,
        raw: object,
        namespace: str,
        *,
        path: str = "",
        record_id: str = "",
        sobject: str = "Order",
    ) -> None:
        self._namespace = namespace
        self._path = path
        self._sobject = sobject
        self.record_id = record_id
        if not isinstance(raw, Mapping):
            raise self.fault("", "is not a record")
        self._raw = raw

    def fault(self, name: str, complaint: str) -> SalesforceRecordError:
        """Return the error for a field of this record."""
        path = f"{self._path}.{name}".strip(".") or self._sobject
        return SalesforceRecordError(
            path, complaint, record_id=self.record_id, sobject=self._sobject
        )

    def custom(self, name: str) -> str:
        """Return the full name of a field of Digital River's package."""
        return f"{self._namespace}__{name}" if self._namespace else name

    def related(self, name: str) -> "_Fields":
        """Return the record a lookup leads to; one without fields where it leads nowhere."""
        raw = self._raw.get(name)
        return self._inner({} if raw is None else raw, name)

    def children(self, name: str) -> list["_Fields"]:
        """Return the nested records; Salesforce writes null for none.

        A list that Salesforce cut short would lose lines, and with them money.
        """
        raw = self._raw.get(name, ...)
        if raw is ...:
            raise self.fault(name, "was not asked for")
        if raw is None:
            return []
        if isinstance(raw, Mapping):
            if raw.get("done") is False:
                raise self.fault(name, "is cut short")
            raw = raw.get("records")
        if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
            raise self.fault(name, "is not a list of records")
        return [self._inner(entry, f"{name}.{index}") for index, entry in enumerate(raw)]

    def text(self, name: str, longest: int, *, required: bool = False, cut: bool = False) -> str:
        """Return the trimmed text, empty for null; ``cut`` to what is kept of it, if longer."""
        value = self._raw.get(name)
        if value is None:
            value = ""
        if not isinstance(value, str):
            raise self.fault(name, "is not text")
        text = value.strip()
        if cut:
            text = text[:longest]
        if required and not text:
            raise self.fault(name, "is missing")
        if len(text) > longest:
            raise self.fault(name, f"is longer than {longest} characters")
        if "\x00" in text or any("\ud800" <= mark <= "\udfff" for mark in text):
            raise self.fault(name, "holds characters that are no text")
        return text

    def id(self, name: str, *, required: bool = False) -> str:
        """Return the id in its 18 characters, empty for null."""
        identifier = self.text(name, 255, required=required)
        if not identifier:
            return ""
        try:
            return lengthened_id(identifier)
        except ValueError as error:
            raise self.fault(name, str(error)) from None

    def currency(self, name: str, default: str) -> str:
        """Return the ISO 4217 code, the default where the record has none."""
        code = self.text(name, 255) or default
        if not _CURRENCY.fullmatch(code):
            raise self.fault(name, "is no ISO 4217 code" if code else "is missing")
        try:
            quantize(ZERO, code)
        except RefundDeskError:
            raise self.fault(name, "is no ISO 4217 code") from None
        return code

    def money(self, name: str, currency: str) -> Decimal:
        """Return the amount rounded to minor units, zero for null."""
        number = self._number(name)
        if number is None:
            return quantize(ZERO, currency)
        try:
            amount = quantize(number, currency) + ZERO
        except RefundDeskError:
            raise self.fault(name, "is beyond what the desk handles") from None
        if amount < 0:
            raise self.fault(name, "is negative")
        return amount

    def count(self, name: str, *, required: bool = False) -> int | None:
        """Return the whole number of units, which Salesforce writes as 2.0; None for null."""
        number = self._number(name)
        if number is None:
            if required:
                raise self.fault(name, "is missing")
            return None
        if not 0 <= number <= _LARGEST_QUANTITY or number != number.to_integral_value():
            raise self.fault(name, "is not a whole number of units")
        return int(number)

    def flag(self, name: str) -> bool:
        """Return the checkbox, unticked for null."""
        value = self._raw.get(name)
        if value is None:
            return False
        if isinstance(value, bool):
            return value
        if value not in _FLAGS:
            raise self.fault(name, "is neither true nor false")
        return bool(value == "true")

    def day(self, name: str) -> date | None:
        """Return the calendar day, None for null."""
        text = self.text(name, 40)
        try:
            return date.fromisoformat(text) if text else None
        except ValueError:
            raise self.fault(name, "is not a date") from None

    def moment(self, name: str) -> datetime | None:
        """Return the time in UTC, None for null."""
        text = self.text(name, 40)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise self.fault(name, "has no time zone")
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.fault(name, "is not a time") from None

    def _number(self, name: str) -> Decimal | None:
        value = self._raw.get(name)
        if value is None:
            return None
        if isinstance(value, str) and 0 < len(value.strip()) <= _LONGEST_NUMBER:
            try:
                value = Decimal(value.strip())
            except DecimalException:
                raise self.fault(name, "is not a number") from None
        # A float has lost digits before it came here: parse the JSON with parse_float=Decimal.
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.fault(name, "is not an exact number")
        number = Decimal(value)
        if not number.is_finite():
            raise self.fault(name, "is not a number")
        return number

    def _inner(self, raw: object, name: str) -> "_Fields":
        path = f"{self._path}.{name}".strip(".")
        return _Fields(
            raw, self._namespace, path=path, record_id=self.record_id, sobject=self._sobject
        )
