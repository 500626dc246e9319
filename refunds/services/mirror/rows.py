"""How a Salesforce record becomes a row of the mirror: the columns, and what fills them.

Each record goes through ``order_record`` or ``line_record``, which name the field at fault;
``csv_rows`` has a quicker way to the very same values. Values are as both databases read them:
moments as text in UTC, amounts as text or ``Decimal``, ticks as 0 and 1.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Protocol

from django.utils import timezone

from refunds.salesforce.errors import SalesforceRecordError
from refunds.salesforce.payloads import (
    OrderLineRecord,
    OrderRecord,
    lengthened_id,
    line_record,
    order_record,
)
from refunds.salesforce.queries import Fields
from refunds.search_keys import search_key, surname_key

Value = str | int | Decimal | None
Row = tuple[Value, ...]

#: What an order's row takes from Salesforce for good.
ORDER_IDENTITY = (
    "salesforce_id",
    "order_number",
    "salesforce_status",
    "account_salesforce_id",
    "account_name",
    "buyer_name",
    "buyer_email",
    "ordered_at",
    "salesforce_modified_at",
    "fraud_state",
    "payment_status",
    "payment_failure_reason",
    "customer_type",
    "selling_entity",
    "has_landed_cost",
    "digital_river_id",
    "number_key",
    "digital_river_key",
    "salesforce_key",
    "email_key",
    "buyer_key",
    "surname_key",
    "account_key",
)
#: What it takes from Salesforce until Digital River was read, and never again.
ORDER_UNTIL_READ = (
    "currency",
    "state",
    "total_amount",
    "duty_amount",
    "importer_tax_amount",
    "fees_amount",
)
ORDER_COLUMNS = ORDER_IDENTITY + ORDER_UNTIL_READ

#: The same of an order's line.
LINE_IDENTITY = (
    "order_id",
    "position",
    "salesforce_id",
    "digital_river_id",
    "product_name",
    "sku",
    "part_number",
    "fulfilled_quantity",
    "cancelled_quantity",
    "open_quantity",
    "salesforce_modified_at",
)
LINE_AMOUNTS = (
    "product_amount",
    "tax_amount",
    "duty_amount",
    "importer_tax_amount",
    "fees_amount",
)
LINE_UNTIL_READ = ("state", "quantity", *LINE_AMOUNTS)
LINE_COLUMNS = LINE_IDENTITY + LINE_UNTIL_READ

#: Long texts are of no use to the desk beyond what its columns hold.
_CUT = {
    "salesforce_status": 40,
    "fraud_state": 24,
    "payment_status": 40,
    "payment_failure_reason": 1000,
    "customer_type": 24,
    "state": 24,
}
_NO_DIGIT = re.compile("[^0-9]")
#: Lines are sorted by so many digits of their number, the last ones: the column holds no more.
_POSITION_DIGITS = 9


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be mirrored, and why. ``salesforce_id`` is empty where it has none."""

    salesforce_id: str
    field: str
    reason: str
    order_salesforce_id: str = ""


@dataclass(slots=True)
class OrderRows:
    """The orders of one page: their rows, and those that are none."""

    rows: list[Row] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)


class LineRows(Protocol):
    """The order products of one page; each becomes a row once its order is known."""

    #: The order that each one names, in 18 characters; empty where it names none.
    order_ids: list[str]

    def record_id(self, place: int) -> str:
        """Return the id of one of them in 18 characters, empty where it is none."""
        ...

    def row(self, place: int, order_id: int, currency: str) -> Row:
        """Return the row of one of them; ``order_id`` is the order's row in the mirror.

        Raises ``SalesforceRecordError``.
        """
        ...


# -- one record, the precise way -------------------------------------------------------------------


def order_values(record: OrderRecord) -> dict[str, object]:
    """Return an order's columns as the model has them, by name."""
    return _cut(
        {
            "salesforce_id": record.id,
            "order_number": record.order_number,
            "salesforce_status": record.status,
            "account_salesforce_id": record.account_id,
            "account_name": record.account_name,
            "buyer_name": record.buyer_name,
            "buyer_email": record.buyer_email,
            "ordered_at": _ordered_at(record),
            "salesforce_modified_at": record.modified_time,
            "fraud_state": record.fraud_state,
            "payment_status": record.payment_status,
            "payment_failure_reason": record.payment_failure_reason,
            "customer_type": record.customer_type,
            "selling_entity": record.selling_entity,
            "has_landed_cost": record.has_landed_cost,
            "digital_river_id": record.digitalriver_order_id,
            "number_key": search_key(record.order_number),
            "digital_river_key": search_key(record.digitalriver_order_id),
            "salesforce_key": search_key(record.id),
            "email_key": search_key(record.buyer_email),
            "buyer_key": search_key(record.buyer_name),
            "surname_key": surname_key(record.buyer_name),
            "account_key": search_key(record.account_name),
            "currency": record.currency,
            "state": record.digitalriver_state,
            "total_amount": record.total_amount,
            "duty_amount": record.total_duty,
            "importer_tax_amount": record.total_importer_tax,
            "fees_amount": record.total_regulatory_fee,
        }
    )


def line_values(record: OrderLineRecord, *, order_id: int, position: int) -> dict[str, object]:
    """Return a line's columns as the model has them, by name; ``order_id`` is the order's row."""
    return _cut(
        {
            "order_id": order_id,
            "position": position,
            "salesforce_id": record.id,
            "digital_river_id": record.digitalriver_item_id,
            "product_name": record.product_name,
            "sku": record.sku,
            "part_number": record.product_code,
            "fulfilled_quantity": record.fulfilled_quantity,
            "cancelled_quantity": record.cancelled_quantity or 0,
            "open_quantity": record.open_quantity,
            "salesforce_modified_at": record.modified_time,
            "state": record.digitalriver_state,
            "quantity": record.quantity,
            "product_amount": record.total_price,
            "tax_amount": record.total_tax,
            "duty_amount": record.duty,
            "importer_tax_amount": record.importer_tax,
            "fees_amount": record.regulatory_fee,
        }
    )


def line_position(number: str) -> int:
    """Return the place of a line among its order's, by Salesforce's number of it; 0 for none."""
    digits = number if number.isascii() and number.isdigit() else _NO_DIGIT.sub("", number)
    return int(digits[-_POSITION_DIGITS:] or 0)


def _row(values: Mapping[str, object]) -> Row:
    return tuple(_written(value) for value in values.values())


def _written(value: object) -> Value:
    if isinstance(value, datetime):
        return str(value.astimezone(UTC).replace(tzinfo=None))
    if isinstance(value, bool):
        return int(value)
    assert value is None or isinstance(value, str | int | Decimal)
    return value


def _cut(values: dict[str, object]) -> dict[str, object]:
    for name, longest in _CUT.items():
        text = values.get(name)
        if isinstance(text, str) and len(text) > longest:
            values[name] = text[:longest].rstrip()
    return values


def _ordered_at(record: OrderRecord) -> datetime:
    if record.created_time is not None:
        return record.created_time
    if record.effective_date is not None:
        return datetime.combine(record.effective_date, time.min, tzinfo=UTC)
    # Salesforce always has one of them; the same each time it is read would be the best guess.
    return record.modified_time or timezone.now()


def values_of(row: Row, columns: Sequence[str]) -> dict[str, object]:
    """Return what a row of an order holds as the model has it, by name."""
    values: dict[str, object] = {}
    for name, value in zip(columns, row, strict=True):
        values[name] = value
        if name.endswith("_at") and isinstance(value, str):
            values[name] = datetime.fromisoformat(value).replace(tzinfo=UTC)
        elif name.endswith("_amount"):
            values[name] = Decimal(value or 0)
        elif name.startswith("has_"):
            values[name] = bool(value)
    return values


# -- JSON records ----------------------------------------------------------------------------------


def orders_of_records(
    records: Sequence[Mapping[str, object]], *, fields: Fields, default_currency: str
) -> OrderRows:
    """Read orders without their lines from REST JSON."""
    found = OrderRows()
    for raw in records:
        try:
            record = order_record(
                raw,
                namespace=fields.namespace,
                default_currency=default_currency,
                with_lines=False,
            )
        except SalesforceRecordError as error:
            found.bad.append(BadRecord(error.record_id, error.field, str(error)))
        else:
            found.rows.append(_row(order_values(record)))
    return found


class RecordLines:
    """Order products that came by themselves as REST JSON."""

    def __init__(self, records: Sequence[Mapping[str, object]], *, fields: Fields) -> None:
        """Take the records of a page."""
        self._records = records
        self._namespace = fields.namespace
        self.order_ids = [any_id(record.get("OrderId")) for record in records]

    def record_id(self, place: int) -> str:
        """Return the id of one of them, empty where it is none."""
        return any_id(self._records[place].get("Id"))

    def row(self, place: int, order_id: int, currency: str) -> Row:
        """Return the row of one of them. Raises ``SalesforceRecordError``."""
        record = line_record(self._records[place], currency=currency, namespace=self._namespace)
        position = line_position(record.number)
        return _row(line_values(record, order_id=order_id, position=position))


def any_id(told: object) -> str:
    """Return an id in its 18 characters, empty where it is none."""
    try:
        return lengthened_id(told.strip()) if isinstance(told, str) else ""
    except ValueError:
        return ""
