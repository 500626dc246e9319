"""Fills the desk and the stand-in with many refunds: one order through the services, then copies.

The first order's refunds are made as a rep makes them, and settled in the stand-in alone, so that
the desk has something to learn about each. Its copies differ from it by their numbers, ids and
days, on both sides alike.
"""

import json
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from benchmarks.filling import bulk_create, people
from benchmarks.pages import submit
from refunds import selectors
from refunds.models import (
    Event,
    HistoryEntry,
    Order,
    OrderLine,
    Refund,
    RefundAttempt,
    RefundLine,
)
from refunds.options import LineSelection, Option, Selection
from refunds.salesforce.payloads import order_record
from refunds.search_keys import search_key
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from sandbox.orders import Line, ShopOrder, item_id_of, make_order, order_id_of, order_number_of
from sandbox.store import Sandbox

REFUNDS_PER_ORDER = 4
_BATCH = 500

_Row = TypeVar("_Row", bound=Model)


def fill(path: Path, refunds: int) -> None:
    """Make the tables, and so many refunds that Digital River settled and the desk has not seen."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    sandbox = Sandbox(path, settle_after=timedelta(days=1), orders=[_order()])
    person = next(people())
    pattern = _first(sandbox, person)
    orders = refunds // REFUNDS_PER_ORDER
    sandbox.close()
    _copy_there(path, pattern, orders)
    with transaction.atomic():
        for first in range(2, orders + 1, _BATCH):
            _copy_here(pattern, range(first, min(first + _BATCH, orders + 1)))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)" if connection.vendor == "postgresql" else "ANALYZE")


def fill_events(events: int) -> None:
    """Store so many events, each of another order, that wait to be processed."""
    at = timezone.now()
    orders = Order.objects.exclude(digital_river_id="").order_by("pk")[:events]
    bulk_create(
        Event(
            event_id=str(uuid.uuid4()),
            type="refund.complete",
            created_time=at,
            received_at=at,
            source=Event.Source.WEBHOOK,
            body=json.dumps(
                {
                    "id": str(uuid.uuid4()),
                    "type": "refund.complete",
                    "data": {"object": {"id": f"re_{uuid.uuid4()}", "orderId": order_id}},
                }
            ),
            digital_river_order_id=order_id,
            next_try_at=at,
        )
        for order_id in orders.values_list("digital_river_id", flat=True).iterator()
    )


def _order() -> ShopOrder:
    line = Line(Decimal("400.00"), quantity=2 * REFUNDS_PER_ORDER, tax=Decimal("32.00"))
    return make_order(1, lines=[line], shipping=Decimal("9.00"), shipping_tax=Decimal("0.72"))


@dataclass(frozen=True, slots=True)
class _Pattern:
    """The first order and all that hangs on it, as the desk has it."""

    order: Order
    line: OrderLine
    refunds: Sequence[Refund]
    attempts: Mapping[int, RefundAttempt]
    parts: Mapping[int, RefundLine]
    histories: Mapping[int, Sequence[HistoryEntry]]


def _first(sandbox: Sandbox, person: User) -> _Pattern:
    """Make the first order's refunds: pending here, settled there."""
    (record,) = sandbox.salesforce_records()
    order = order_mirror(record=order_record(record))
    order_refresh(order=order)
    (line,) = selectors.order_position(order).ledger.lines
    unit = Selection(Option.LINE_ITEMS, lines=(LineSelection(line.figures.line, 1),))
    refunds = [submit(order, person, unit) for _ in range(REFUNDS_PER_ORDER)]
    sandbox.settle_now()
    # All of them are due, as after a night without a sweep.
    Refund.objects.update(next_check_at=timezone.now())
    refunds = list(Refund.objects.order_by("pk"))
    return _Pattern(
        order=Order.objects.get(),
        line=OrderLine.objects.get(),
        refunds=refunds,
        attempts={attempt.refund_id: attempt for attempt in RefundAttempt.objects.all()},
        parts={part.refund_id: part for part in RefundLine.objects.all()},
        histories={
            refund.pk: list(refund.history.select_related("actor").order_by("number"))
            for refund in refunds
        },
    )


def _copy_here(pattern: _Pattern, numbers: Sequence[int]) -> None:
    """Add the desk's side of the orders with these numbers."""
    orders = [_order_like(pattern.order, number) for number in numbers]
    Order.objects.bulk_create(orders)
    lines = []
    for number, order in zip(numbers, orders, strict=True):
        line = _copy(pattern.line)
        line.order, line.digital_river_id = order, item_id_of(number, 0)
        lines.append(line)
    OrderLine.objects.bulk_create(lines)
    refunds, origins, parts = list[Refund](), list[Refund](), list[RefundLine]()
    for number, order in zip(numbers, orders, strict=True):
        for at, origin in enumerate(pattern.refunds):
            refund = _copy(origin)
            refund.order = order
            refund.reference = _reference(number, at)
            refund.reference_key = search_key(refund.reference)
            refund.digital_river_id = _refund_id(number, at)
            refund.digital_river_key = search_key(refund.digital_river_id)
            refunds.append(refund)
            origins.append(origin)
    Refund.objects.bulk_create(refunds)
    attempts, entries = list[RefundAttempt](), list[HistoryEntry]()
    lines_of = {line.order_id: line for line in lines}
    for refund, origin in zip(refunds, origins, strict=True):
        part = _copy(pattern.parts[origin.pk])
        part.refund, part.order_line = refund, lines_of[refund.order_id]
        parts.append(part)
        attempt = _copy(pattern.attempts[origin.pk])
        attempt.refund, attempt.reference = refund, f"{refund.reference}-1"
        attempt.digital_river_id = refund.digital_river_id
        attempts.append(attempt)
        entries += _history(refund, origin, pattern.histories[origin.pk])
    RefundLine.objects.bulk_create(parts)
    RefundAttempt.objects.bulk_create(attempts)
    HistoryEntry.objects.bulk_create(entries)
    Refund.objects.bulk_update(refunds, ["history_length", "history_head"], batch_size=_BATCH)


def _order_like(pattern: Order, number: int) -> Order:
    order = _copy(pattern)
    order.order_number = order_number_of(number)
    order.salesforce_id = f"801Hs{number:010d}AAA"
    order.digital_river_id = order_id_of(number)
    order.number_key = search_key(order.order_number)
    order.salesforce_key = search_key(order.salesforce_id)
    order.digital_river_key = search_key(order.digital_river_id)
    return order


def _history(
    refund: Refund, pattern: Refund, entries: Sequence[HistoryEntry]
) -> Iterator[HistoryEntry]:
    """Give the pattern's entries anew for this refund, chained, and note the chain's end on it."""
    head = ""
    for original in entries:
        entry = _copy(original)
        entry.refund, entry.previous_hash = refund, head
        entry.details = entry.details.replace(pattern.digital_river_id, refund.digital_river_id)
        entry.hash = head = entry.computed_hash
        yield entry
    refund.history_length, refund.history_head = len(entries), head


def _copy(row: _Row) -> _Row:
    """Return a row that is not in the database yet and says the same."""
    fields = [f for f in row._meta.concrete_fields if not (f.primary_key or f.generated)]
    return type(row)(**{field.attname: getattr(row, field.attname) for field in fields})


def _reference(number: int, at: int) -> str:
    return f"RM-{number * 10 + at:08d}"


def _refund_id(number: int, at: int) -> str:
    return f"re_{uuid.uuid5(uuid.NAMESPACE_OID, f'{number} {at}')}"


def _copy_there(path: Path, pattern: _Pattern, orders: int) -> None:
    """Add the stand-in's side of the orders, by SQL, as making each would take hours."""
    with closing(sqlite3.connect(path)) as connection:
        (order,) = _rows(connection, "SELECT * FROM orders")
        refunds = list(_rows(connection, "SELECT * FROM refunds ORDER BY number"))
        now = refunds[0]["created"]
        connection.execute("BEGIN IMMEDIATE")
        for number in range(2, orders + 1):
            # What names the order or its line in any text, on the wire or in the record.
            names = {
                order["id"]: order_id_of(number),
                order["order_number"]: order_number_of(number),
                item_id_of(1, 0): item_id_of(number, 0),
            }
            _insert(connection, "orders", _renamed(order, names) | {"number": number})
            for at, refund in enumerate(refunds):
                mine = _renamed(
                    refund, names | {pattern.refunds[at].reference: _reference(number, at)}
                )
                created = now + number * REFUNDS_PER_ORDER + at
                del mine["number"]
                _insert(
                    connection,
                    "refunds",
                    mine | {"id": _refund_id(number, at), "created": created, "updated": created},
                )
        connection.commit()


def _rows(connection: sqlite3.Connection, statement: str) -> Iterator[dict[str, Any]]:
    found = connection.execute(statement)
    names = [column[0] for column in found.description]
    for row in found:
        yield dict(zip(names, row, strict=True))


def _renamed(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    renamed = dict(row)
    for column, value in row.items():
        if isinstance(value, str):
            for old, new in names.items():
                value = value.replace(old, new)  # noqa: PLW2901 -- one name after another
            renamed[column] = value
    return renamed


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",  # noqa: S608
        tuple(row.values()),
    )
