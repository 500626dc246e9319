"""Generated orders: the same each time, all different, and bad where they are told to be."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal

import pytest

from sandbox.salesforce.generated import Generated
from sandbox.salesforce.ids import check_suffix, ids_of, number_of, numbered, record_id
from sandbox.salesforce.planted import Bad
from sandbox.salesforce.shape import Shape

MANY = Shape(orders=1_000_000)


@pytest.fixture
def orders() -> Generated:
    return Generated("Order", MANY)


@pytest.fixture
def lines() -> Generated:
    return Generated("OrderItem", MANY)


def test_orders_are_the_same_each_time(orders: Generated) -> None:
    assert Generated("Order", Shape(orders=10)).record(7) == orders.record(7)


def test_another_seed_gives_other_orders(orders: Generated) -> None:
    other = Generated("Order", Shape(orders=10, seed=2)).record(7)

    assert other["OrderNumber"] == orders.record(7)["OrderNumber"]
    assert other["Account.Name"] != orders.record(7)["Account.Name"]


def test_page_and_single_records_agree(orders: Generated, lines: Generated) -> None:
    for generated in (orders, lines):
        columns = generated.columns(range(3995, 4021), generated.keys)
        for at, place in enumerate(range(3995, 4021)):
            record = {key: column[at] for key, column in zip(generated.keys, columns, strict=True)}
            assert record == generated.record(place)


def test_order_is_the_sum_of_its_lines(orders: Generated, lines: Generated) -> None:
    for place in (0, 1, 77, 999_999):
        order = orders.record(place)
        items = [lines.record(place * 3 + at) for at in range(3)]
        names = ("TotalPrice", "TotalTaxAmount", "DR_Duty__c", "DR_IOR_Tax__c",
                 "DR_Regulatory_Fee__c")  # fmt: skip
        total = sum(Decimal(item[name]) for item in items for name in names)
        assert Decimal(order["TotalAmount"]) == total
        assert {item["OrderId"] for item in items} == {order["Id"]}
        for item in items:
            price = Decimal(item["UnitPrice"]) * Decimal(item["Quantity"])
            assert price == Decimal(item["TotalPrice"])


def test_orders_are_varied(orders: Generated) -> None:
    keys = ("Account.Name", "BillToContact.Email", "CurrencyIsoCode", "DR_Order_State__c",
            "DR_Order_Id__c", "Id", "TotalAmount")  # fmt: skip
    columns = orders.columns(range(20_000), keys)
    accounts, buyers, currencies, states, ids, records, totals = (len(set(one)) for one in columns)

    assert accounts > 8_000
    assert buyers > 12_000
    assert currencies == 7
    assert states == 8
    assert ids == records == 20_000
    assert totals > 15_000
    assert any(not name.isascii() for name in columns[0])


def test_moments_and_ids_rise_with_the_place(orders: Generated) -> None:
    stamps, ids = orders.columns(range(5_000), ("SystemModstamp", "Id"))

    assert stamps == sorted(stamps)
    assert ids == sorted(ids)


def test_record_is_found_again_by_its_id(lines: Generated) -> None:
    assert lines.place_of(lines.record(2_999_999)["Id"]) == 2_999_999
    assert lines.place_of(record_id("802", 5)) is None
    assert lines.place_of("801000000000000AAA") is None


@pytest.mark.parametrize("value", ["", "x", "²", "2000000", "9" * 400])
def test_number_that_no_order_has_leads_nowhere(orders: Generated, value: str) -> None:
    assert orders.places_with("OrderNumber", value) == []
    assert orders.places_with("DR_Order_Id__c", value) == []


def test_a_million_orders_take_no_room(orders: Generated) -> None:
    orders.columns(range(10), orders.keys)
    tracemalloc.start()
    try:
        for start in range(0, 20_000, 2_000):
            orders.columns(range(start, start + 2_000), orders.keys)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("bad", "field", "value"),
    [
        (Bad.NULL_ID, "Id", ""),
        (Bad.NO_NUMBER, "OrderNumber", ""),
        (Bad.DUPLICATE_NUMBER, "OrderNumber", "20000004"),
        (Bad.UNKNOWN_CURRENCY, "CurrencyIsoCode", "ZZZ"),
        (Bad.NEGATIVE_TOTAL, "TotalAmount", "-12.50"),
    ],
)
def test_bad_order_is_where_it_was_planted(bad: Bad, field: str, value: str) -> None:
    generated = Generated("Order", Shape(orders=10, planted={5: bad}))

    (column,) = generated.columns(range(10), (field,))

    assert column[5] == value
    assert value not in column[6:]
    assert generated.places_with(field, "nobody's") in ([5], None)


@pytest.mark.parametrize(
    ("bad", "length"),
    [(Bad.LONG_NAMES, 255), (Bad.LONG_DESCRIPTION, 131_072), (Bad.HUGE_DESCRIPTION, 10_000_000)],
)
def test_long_texts_are_long(bad: Bad, length: int) -> None:
    record = Generated("Order", Shape(orders=10, planted={5: bad})).record(5)
    name = "Account.Name" if bad is Bad.LONG_NAMES else "DR_Payment_Failure_Reason__c"

    assert len(record[name]) >= length


@pytest.mark.parametrize(
    ("bad", "field", "value"),
    [
        (Bad.NULL_LINE_ID, "Id", ""),
        (Bad.NEGATIVE_QUANTITY, "Quantity", "-3.0"),
        (Bad.FRACTIONAL_QUANTITY, "Quantity", "2.5"),
    ],
)
def test_bad_line_is_the_first_of_its_order(bad: Bad, field: str, value: str) -> None:
    generated = Generated("OrderItem", Shape(orders=10, planted={5: bad}))

    (column,) = generated.columns(range(14, 18), (field,))

    assert [text == value for text in column] == [False, True, False, False]


def test_ids_made_together_are_the_ids_made_one_by_one() -> None:
    numbers = range(3_840, 3_850)

    assert ids_of("801", numbers) == [record_id("801", number) for number in numbers]
    for identifier, number in zip(ids_of("801", numbers), numbers, strict=True):
        assert identifier[15:] == check_suffix(identifier[:15])
        assert number_of(identifier, "801") == number


def test_numbers_written_together_are_those_written_one_by_one() -> None:
    numbers = range(998, 2_003)

    assert numbered(numbers, 8, before="a", after="z") == [f"a{one:08d}z" for one in numbers]
