"""Every record of the stand-in's shop is one that the desk can read."""

from datetime import date

import pytest
import simplejson

from refunds.salesforce.payloads import OrderRecord, order_record
from sandbox.orders import ShopOrder
from sandbox.shop import build_shop


@pytest.fixture(scope="module")
def shop() -> list[tuple[ShopOrder, OrderRecord]]:
    read = []
    for order in build_shop(date(2026, 9, 1)):
        text = simplejson.dumps(order.record, use_decimal=True)
        read.append((order, order_record(simplejson.loads(text, use_decimal=True))))
    return read


def test_shop_records_are_read_with_their_ids_and_money(
    shop: list[tuple[ShopOrder, OrderRecord]],
) -> None:
    assert len(shop) >= 300
    for order, record in shop:
        assert record.order_number == order.order_number
        assert record.digitalriver_order_id == (order.id or "")
        assert record.currency == order.currency
        assert record.total_amount == order.document.get("totalAmount", record.total_amount)
        assert record.total_duty == sum(line.duty for line in record.lines)
        assert record.total_importer_tax == sum(line.importer_tax for line in record.lines)


def test_shop_records_quantities_add_up(shop: list[tuple[ShopOrder, OrderRecord]]) -> None:
    for _, record in shop:
        for line in record.lines:
            parts = (line.open_quantity, line.fulfilled_quantity, line.cancelled_quantity)
            assert sum(part or 0 for part in parts) == line.quantity
