"""One record into the mirror: what it must not change, and what keeps it out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from refunds.errors import RecordUnusable
from refunds.models import Order, OrderLine
from refunds.options import Option, Selection
from refunds.salesforce.payloads import OrderRecord, order_record
from refunds.services.mirror import records
from refunds.services.mirror.records import order_mirror
from sandbox.store import Sandbox
from tests.desk import Desk, rep
from tests.services.salesforce_pages import order_records

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def record_of(sandbox: Sandbox, place: int = 0) -> OrderRecord:
    """Return one of the shop's orders that reached Digital River."""
    there = [
        record for record in order_records(sandbox) if record["digitalriverv3__DR_Order_Id__c"]
    ]
    return order_record(there[place])


def test_order_mirror_refuses_a_number_that_another_order_has(sandbox: Sandbox) -> None:
    one, other = record_of(sandbox), record_of(sandbox, 1)
    order_mirror(record=one)
    with pytest.raises(RecordUnusable, match="OrderNumber"):
        order_mirror(record=replace(other, order_number=one.order_number))
    order_mirror(record=other)
    with pytest.raises(RecordUnusable, match="OrderNumber"):
        order_mirror(record=replace(other, order_number=one.order_number))
    assert Order.objects.count() == 2


def test_order_mirror_refuses_a_digital_river_id_that_another_order_has(sandbox: Sandbox) -> None:
    one, other = record_of(sandbox), record_of(sandbox, 1)
    order_mirror(record=one)
    with pytest.raises(RecordUnusable, match="DR_Order_Id__c"):
        order_mirror(record=replace(other, digitalriver_order_id=one.digitalriver_order_id))
    assert Order.objects.get().order_number == one.order_number


def test_order_mirror_of_a_record_that_is_older_changes_nothing(sandbox: Sandbox) -> None:
    record = record_of(sandbox)
    newer = replace(record, modified_time=AT, buyer_name="Newer")
    order_mirror(record=replace(newer, lines=()))
    line = replace(record.lines[0], modified_time=AT, product_name="Newer")
    order_mirror(record=replace(newer, lines=(line,)))

    order = order_mirror(record=record)

    assert Order.objects.get(pk=order.pk).buyer_name == "Newer"
    assert order.lines.get(salesforce_id=line.id).product_name == "Newer"


def test_order_mirror_of_an_order_that_was_deleted_clears_the_mark(sandbox: Sandbox) -> None:
    order = order_mirror(record=record_of(sandbox))
    Order.objects.update(salesforce_deleted_at=AT)
    order_mirror(record=record_of(sandbox))
    assert Order.objects.get(pk=order.pk).salesforce_deleted_at is None


def test_order_mirror_sorts_lines_by_salesforce_s_numbers(sandbox: Sandbox) -> None:
    record = record_of(sandbox)
    (line, *_) = record.lines
    lines = tuple(
        replace(line, id=f"80200000000000{at}AAA", digitalriver_item_id="", number=number)
        for at, number in enumerate(["OI-0000000101", "OI-0000000105"])
    )
    order = order_mirror(record=replace(record, lines=lines))
    assert list(order.lines.values_list("position", flat=True)) == [101, 105]

    unnumbered = tuple(replace(each, number="") for each in lines)
    order_mirror(record=replace(record, lines=unnumbered))
    assert list(order.lines.values_list("position", flat=True)) == [1, 2]


def test_order_mirror_counts_a_read_order_anew_when_fewer_units_were_fulfilled(desk: Desk) -> None:
    order = desk.order("worked_sample")
    record = next(
        order_record(each)
        for each in order_records(desk.sandbox)
        if each["OrderNumber"] == order.order_number
    )
    line = replace(record.lines[0], cancelled_quantity=record.lines[0].quantity)

    order_mirror(record=replace(record, lines=(line,)))

    kept = Order.objects.get(pk=order.pk)
    assert kept.lines.get().cancelled_quantity == line.quantity
    assert (kept.refreshed_at, kept.total_amount) == (order.refreshed_at, order.total_amount)


def test_order_mirror_keeps_quantities_that_were_read(desk: Desk) -> None:
    order = desk.order("worked_sample")
    record = next(
        order_record(each)
        for each in order_records(desk.sandbox)
        if each["OrderNumber"] == order.order_number
    )
    before = order.lines.get().quantity
    order_mirror(record=replace(record, lines=(replace(record.lines[0], quantity=9),)))
    assert order.lines.get().quantity == before


def test_order_mirror_takes_a_line_made_anew_for_the_one_that_was_deleted(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    record = next(
        order_record(each)
        for each in order_records(desk.sandbox)
        if each["OrderNumber"] == order.order_number
    )
    anew = replace(record.lines[0], id="802000000000001AAA")

    order_mirror(record=replace(record, lines=(anew,)))

    assert order.lines.get().salesforce_id == "802000000000001AAA"


def test_order_mirror_refuses_an_item_that_another_line_has(sandbox: Sandbox) -> None:
    record = record_of(sandbox)
    line = replace(record.lines[0], digitalriver_item_id="1")
    other = replace(line, id="802000000000001AAA", digitalriver_item_id="2")
    order_mirror(record=replace(record, lines=(line, other)))

    swapped = (
        replace(line, digitalriver_item_id="2"),
        replace(other, digitalriver_item_id="1"),
    )
    with pytest.raises(RecordUnusable, match="DR_Order_Item_Id__c"):
        order_mirror(record=replace(record, lines=swapped))

    assert OrderLine.objects.get(salesforce_id=line.id).digital_river_id == "1"


@pytest.mark.parametrize(("times", "comes_in"), [(1, True), (2, False)])
def test_order_mirror_of_an_order_that_somebody_else_writes_as_well(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, times: int, comes_in: bool
) -> None:
    good: Callable[..., Any] = records._mirror_lines
    calls = 0

    def clash(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise IntegrityError("duplicate key")
        good(*arguments)

    monkeypatch.setattr(records, "_mirror_lines", clash)
    if comes_in:
        order_mirror(record=record_of(sandbox))
    else:
        with pytest.raises(RecordUnusable, match="Try again"):
            order_mirror(record=record_of(sandbox))
    assert Order.objects.exists() == comes_in


def test_order_mirror_of_an_order_without_any_date_is_the_same_each_time(sandbox: Sandbox) -> None:
    record = replace(record_of(sandbox), created_time=None, effective_date=None)
    first = order_mirror(record=record).ordered_at
    assert first == record.modified_time
    later = replace(record, modified_time=first + timedelta(days=1), effective_date=AT.date())
    assert order_mirror(record=later).ordered_at == AT.replace(hour=0)
