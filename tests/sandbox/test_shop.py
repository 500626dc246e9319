"""The shop looks like a shop, and the same one everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from sandbox.orders import ORDER_STATES, Line, make_order
from sandbox.salesforce.ids import check_suffix
from sandbox.shop import SHOWCASE, build_shop
from sandbox.store import Sandbox
from sandbox.wire import dumps

ANCHOR = date(2024, 4, 1)
ROOT = Path(__file__).resolve().parents[2]
DIGEST = """
import hashlib
from datetime import date
from sandbox.shop import build_shop
from sandbox.wire import dumps
text = "".join(dumps([o.document, o.record]) for o in build_shop(date(2024, 4, 1)))
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_shop_is_the_same_whatever_the_hash_seed() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1


def test_shop_has_the_variety_of_a_quarter() -> None:
    orders = build_shop(ANCHOR)

    assert len(orders) >= 300
    assert {order.created.date() for order in orders} <= {
        date.fromordinal(ANCHOR.toordinal() - days) for days in range(1, 93)
    }
    assert {order.currency for order in orders} == {"USD", "EUR", "GBP", "JPY", "KWD"}
    states = Counter(order.state for order in orders)
    assert set(states) == set(ORDER_STATES)
    assert states["complete"] > len(orders) / 2
    assert {len(order.document["items"]) for order in orders} >= {1, 2, 3, 4, 6, 9, 12, 64}
    assert {"creditCard", "payPal", "wireTransfer", "konbini"} <= {o.payment for o in orders}


def test_components_equal_the_total_of_all_orders_but_one() -> None:
    odd = [
        order.order_number
        for order in build_shop(ANCHOR)
        if order.document["totalAmount"] != component_sum(order.document)
    ]

    assert odd == [SHOWCASE["inconsistent"]]


def component_sum(document: object) -> Decimal:
    assert isinstance(document, dict)
    zero = Decimal(0)
    lines = sum(
        (
            item["amount"]
            + item["tax"]["amount"]
            + item.get("duties", {}).get("amount", zero)
            + item.get("importerTax", {}).get("amount", zero)
            + item.get("fees", {}).get("amount", zero)
            + item.get("fees", {}).get("taxAmount", zero)
            for item in document["items"]
        ),
        zero,
    )
    choice = document["shippingChoice"]
    allocated = sum((item["shipping"]["amount"] for item in document["items"]), zero)
    assert allocated == choice["amount"]
    total: Decimal = lines + choice["amount"] + choice["taxAmount"]
    return total


def test_every_showcase_is_a_different_order_of_the_shop() -> None:
    numbers = {order.order_number for order in build_shop(ANCHOR)}

    assert len(set(SHOWCASE.values())) == len(SHOWCASE)
    assert set(SHOWCASE.values()) <= numbers


@pytest.mark.parametrize(
    ("case", "left"),
    [
        ("fully_refunded", "0.00"),
        ("in_review", "0.00"),
        ("worked_sample", "27.01"),
        ("fulfilled_uncaptured", "0.00"),
    ],
)
def test_showcase_has_this_left(shop: Sandbox, case: str, left: str) -> None:
    order_id = shop.order_id(SHOWCASE[case])
    assert order_id is not None

    assert shop.order(order_id)["availableToRefundAmount"] == Decimal(left)


def test_pending_payment_shows_no_figure(shop: Sandbox) -> None:
    order_id = shop.order_id(SHOWCASE["pending_payment"])
    assert order_id is not None

    assert shop.order(order_id)["availableToRefundAmount"] is None


def test_salesforce_record_agrees_with_the_wire(shop: Sandbox) -> None:
    for record in shop.salesforce_records():
        order_id = record["digitalriverv3__DR_Order_Id__c"]
        if record["OrderNumber"] == SHOWCASE["no_digital_river_id"]:
            assert order_id is None
            continue
        order = shop.order(order_id)
        assert record["TotalAmount"] == order["totalAmount"]
        assert record["CurrencyIsoCode"] == order["currency"]
        assert order["metadata"]["sfOrderId"] == record["Id"]
        lines = record["OrderItems"]["records"]
        assert record["OrderItems"]["totalSize"] == len(lines)
        for line, item in zip(lines, order["items"], strict=True):
            assert line["digitalriverv3__DR_Order_Item_Id__c"] == item["id"]
            assert line["TotalPrice"] == item["amount"]
            assert line["Quantity"] == item["quantity"]
            assert line["Quantity"] == sum(
                line[f"digitalriverv3__DR_{word}_Quantity__c"]
                for word in ("Open", "Fulfilled", "Cancelled")
            )


def test_salesforce_ids_are_unique_and_carry_their_check() -> None:
    records = [order.record for order in build_shop(ANCHOR)]
    ids = [record["Id"] for record in records]
    ids += [line["Id"] for record in records for line in record["OrderItems"]["records"]]

    assert len(set(ids)) == len(ids)
    assert all(len(one) == 18 and one[15:] == check_suffix(one[:15]) for one in ids)


def test_check_suffix_is_that_of_salesforce() -> None:
    # Each group of five letters counts its capitals as bits, the first letter lowest.
    assert check_suffix("001A0000006Vm9r") == "IAC"


def test_card_numbers_never_reach_the_wire() -> None:
    text = "".join(dumps(order.document) for order in build_shop(ANCHOR))

    assert not [number for number in ("4000000000004111", "4556602564240839") if number in text]
    assert '"lastFourDigits": "4111"' in text


@pytest.mark.parametrize(
    "line",
    [Line(Decimal("-1")), Line(Decimal("1.001")), Line(Decimal(1), 2, fulfilled=3)],
)
def test_order_that_cannot_be_is_refused(line: Line) -> None:
    with pytest.raises(ValueError, match=r"."):
        make_order(1, lines=[line])


def test_order_without_lines_or_of_no_known_state_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        make_order(1, lines=[])
    with pytest.raises(ValueError, match="no order state"):
        make_order(1, lines=[Line(Decimal(1))], state="lost")
