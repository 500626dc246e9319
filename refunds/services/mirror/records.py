"""The mirror: what an order is comes from Salesforce, its money and state from Digital River.

What a record changes is told here, for one record at a time; ``loading`` does the same
for whole pages of them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from refunds import selectors
from refunds.errors import RecordUnusable
from refunds.models import Order, OrderLine, RefundLine
from refunds.salesforce.payloads import OrderLineRecord, OrderRecord
from refunds.services.mirror.rows import (
    LINE_AMOUNTS,
    LINE_UNTIL_READ,
    ORDER_UNTIL_READ,
    line_position,
    line_values,
    order_values,
)
from refunds.services.mirror.setting_aside import (
    DIGITAL_RIVER_ID_TAKEN,
    ITEM_ID_TAKEN,
    NUMBER_TAKEN,
)
from refunds.services.orders import order_recount

#: What is left of an order depends on them as well as on its money.
LEFT_DEPENDS_ON = ("fulfilled_quantity", "cancelled_quantity")


def order_mirror(*, record: OrderRecord) -> Order:
    """Create or update an order with its lines from its Salesforce record.

    Money is taken from Salesforce only until Digital River was read: from then on it is
    Digital River's alone, and so is the state. A record modified earlier than what the mirror has
    changes nothing. Raises ``RecordUnusable`` for one that names another Digital River order than
    the one refunds were made on, or a number or Digital River id that another order has.
    """
    try:
        return _mirror(record)
    except IntegrityError:
        # Somebody else wrote the same order meanwhile: now it is there, and can be seen.
        try:
            return _mirror(record)
        except IntegrityError:
            raise RecordUnusable(
                f"Salesforce order {record.id} cannot be mirrored just now: something else writes "
                "it as well. Try again."
            ) from None


@transaction.atomic
def _mirror(record: OrderRecord) -> Order:
    values = order_values(record)
    order = Order.objects.select_for_update().filter(salesforce_id=record.id).first()
    _require_its_own(values, order)
    if order is None:
        order = Order.objects.create(**values)
    else:
        order_change(order=order, values=values)
    _mirror_lines(order, record.lines)
    return order


def order_change(*, order: Order, values: Mapping[str, object]) -> bool:
    """Update an order, behind its lock, to what its record says; returns whether it differed.

    ``values`` are its columns by name. Raises ``RecordUnusable`` as ``order_mirror`` does.
    """
    if _is_older(values, order):
        return False
    told = dict(values)
    told |= _digital_river_id(order, str(told["digital_river_id"]))
    if told.get("refreshed_at", order.refreshed_at):
        for name in ORDER_UNTIL_READ:
            del told[name]
    return _update(order, told | {"salesforce_deleted_at": None})


def orders_recount(*, order_ids: Iterable[int]) -> None:
    """Work out anew what is left of these orders, in the caller's transaction."""
    for order in Order.objects.filter(pk__in=list(order_ids)).order_by("pk"):
        order_recount(order=order)


@dataclass(frozen=True, slots=True)
class KnownLine:
    """A line as the mirror has it."""

    pk: int
    salesforce_id: str
    digital_river_id: str


def line_match(
    by_id: KnownLine | None, by_item: KnownLine | None, living: Collection[str] | None = None
) -> KnownLine | None:
    """Return which of the order's lines a record is of; None for a new one.

    ``by_id`` is the line that has the record's Salesforce id, ``by_item`` the one that has the
    Digital River item id it names. ``living`` are the Salesforce ids of all lines the order has
    there, where that is known. A line that Digital River told of before Salesforce named it takes
    the place of the one that Salesforce told of. Raises ``RecordUnusable`` where the item is
    another line's.
    """
    if by_item is None or by_item == by_id:
        return by_id
    if by_id is None:
        is_free = not by_item.salesforce_id or (
            living is not None and by_item.salesforce_id not in living
        )
    else:
        is_free = not by_item.salesforce_id and not by_id.digital_river_id
        # Digital River charged nothing for it, so nothing of it was refunded.
        if is_free and not RefundLine.objects.filter(order_line=by_id.pk).exists():
            OrderLine.objects.filter(pk=by_id.pk).delete()
        else:
            is_free = False
    if not is_free:
        raise RecordUnusable(ITEM_ID_TAKEN)
    return by_item


def _require_its_own(values: Mapping[str, object], order: Order | None) -> None:
    """Raise ``RecordUnusable`` where the record names what is another order's."""
    for column, complaint in (
        ("order_number", NUMBER_TAKEN),
        ("digital_river_id", DIGITAL_RIVER_ID_TAKEN),
    ):
        value = values[column]
        if not value or (order is not None and getattr(order, column) == value):
            continue
        others = Order.objects.exclude(salesforce_id=str(values["salesforce_id"]))
        if others.filter(**{column: value}).exists():
            raise RecordUnusable(complaint)


def _digital_river_id(order: Order, told: str) -> dict[str, object]:
    """Return what a record's Digital River id changes; one that is known does not get lost.

    Looks at another order would not find a refund that was sent, and have it sent again.
    """
    known = order.digital_river_id
    if not told:
        return {"digital_river_id": known, "digital_river_key": order.digital_river_key}
    if not known or told == known:
        return {}
    if order.refunds.filter(submitted_at__isnull=False).exists():
        raise RecordUnusable(
            f"Salesforce order {order.salesforce_id} cannot be mirrored: DR_Order_Id__c names "
            "another Digital River order than the one its refunds were made on."
        )
    # What was read is of the other one.
    return {
        "refreshed_at": None,
        "available_amount": None,
        "left_amount": 0,
        "refundable": False,
    }


def _mirror_lines(order: Order, records: Sequence[OrderLineRecord]) -> None:
    lines = {line.pk: line for line in selectors.lines_of(order)}
    known = [KnownLine(pk, each.salesforce_id, each.digital_river_id) for pk, each in lines.items()]
    by_id = {each.salesforce_id: each for each in known if each.salesforce_id}
    by_item = {each.digital_river_id: each for each in known if each.digital_river_id}
    living = {record.id for record in records}
    is_left_different = False
    for position, record in zip(_positions(records), records, strict=True):
        values = line_values(record, order_id=order.pk, position=position)
        match = line_match(by_id.get(record.id), by_item.get(record.digitalriver_item_id), living)
        if match is None:
            if order.refreshed_at is not None:
                # Digital River, which was read, did not name it: it charged nothing for it.
                values |= dict.fromkeys(LINE_AMOUNTS, 0)
            OrderLine.objects.create(**values)
        else:
            is_left_different |= _line_change(lines[match.pk], values, order)
    if is_left_different:
        order_recount(order=order)


def _line_change(line: OrderLine, values: dict[str, object], order: Order) -> bool:
    """Update a line; returns whether what is left of its order may be different with it."""
    if _is_older(values, line):
        return False
    values["digital_river_id"] = values["digital_river_id"] or line.digital_river_id
    if order.refreshed_at is None:
        _update(line, values)
        return False
    for name in LINE_UNTIL_READ:
        del values[name]
    is_left_different = any(getattr(line, name) != values[name] for name in LEFT_DEPENDS_ON)
    _update(line, values)
    return is_left_different


def _positions(records: Sequence[OrderLineRecord]) -> list[int]:
    """Return each line's place: the numbers that Salesforce gave them, in the order they came."""
    numbers = sorted({line_position(record.number) for record in records})
    if len(numbers) < len(records) or 0 in numbers:
        return list(range(1, len(records) + 1))
    return numbers


def _is_older(values: Mapping[str, object], row: Order | OrderLine) -> bool:
    """Tell whether the row was modified later in Salesforce than what is told."""
    told, known = values["salesforce_modified_at"], row.salesforce_modified_at
    return told is not None and known is not None and told < known  # type: ignore[operator]


def _update(row: Order | OrderLine, values: Mapping[str, object]) -> bool:
    changes = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changes.items():
        setattr(row, name, value)
    if changes:
        row.save(update_fields=list(changes))
    return bool(changes)
