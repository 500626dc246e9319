"""Records of the shop as pages of a bulk job, to be changed on the way."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from refunds.salesforce.client import CsvPage
from refunds.salesforce.queries import Fields
from sandbox.store import Sandbox

FIELDS = Fields("digitalriverv3")
Record = dict[str, Any]


def order_records(sandbox: Sandbox) -> list[Record]:
    """Return the shop's orders as REST JSON has them, their order products nested."""
    records = sandbox.salesforce_records()
    for record in records:
        for line in record["OrderItems"]["records"]:
            line["SystemModstamp"] = record["SystemModstamp"]
    return records


def line_records(orders: Iterable[Record]) -> list[Record]:
    """Return the orders' products as they come by themselves."""
    return [
        {**line, "OrderId": order["Id"], "SystemModstamp": order["SystemModstamp"]}
        for order in orders
        for line in order["OrderItems"]["records"]
    ]


def orders_page(orders: Iterable[Record], **changes: object) -> CsvPage:
    """Return a page of orders; ``changes`` are of every one, by the end of a field's path."""
    return _page(FIELDS.of_orders(), list(orders), changes)


def lines_page(lines: Iterable[Record], **changes: object) -> CsvPage:
    """Return a page of order products; ``changes`` are of every one."""
    return _page(FIELDS.of_lines(), list(lines), changes)


def changed(record: Record, **changes: object) -> Record:
    """Return the record with fields changed; the package's go without their namespace."""
    named = {name: value for name, value in changes.items() if name in record}
    custom = {
        f"digitalriverv3__{name}": value for name, value in changes.items() if name not in record
    }
    return {**record, **named, **custom}


def _page(
    paths: Sequence[str], records: Sequence[Record], changes: Mapping[str, object]
) -> CsvPage:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(paths)
    for record in records:
        told = changed(record, **changes)
        rows.writerow(_written(_value(told, path)) for path in paths)
    return CsvPage(text=text.getvalue(), records=len(records), locator="")


def _value(record: Record, path: str) -> object:
    value: object = record
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)
