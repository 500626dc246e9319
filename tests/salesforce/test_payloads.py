"""Reading Salesforce's Order records."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refunds.salesforce.errors import SalesforceRecordError
from refunds.salesforce.payloads import lengthened_id, line_record, mended_id, nested, order_record

ORDER_ID = "801B0000000QSQZIA4"

RECORD: dict[str, Any] = json.loads(
    """
    {
      "attributes": {"type": "Order", "url": "/services/data/v60.0/sobjects/Order/801"},
      "Id": "801B0000000QSQZIA4",
      "OrderNumber": " 00000123 ",
      "Status": "Activated",
      "EffectiveDate": "2026-01-05",
      "CreatedDate": "2026-01-05T10:11:12.000+0000",
      "SystemModstamp": "2026-01-07T07:11:12.000+0000",
      "AccountId": "001B0000000QSQZ",
      "Account": {"attributes": {"type": "Account"}, "Name": "Northwind Labs"},
      "BillToContact": {"Name": "Ada Example", "Email": "ada@example.com"},
      "CurrencyIsoCode": "USD",
      "TotalAmount": 27.01,
      "digitalriverv3__DR_Order_Id__c": "300100200336",
      "digitalriverv3__DR_Order_State__c": "complete",
      "digitalriverv3__DR_Fraud_State__c": "passed",
      "digitalriverv3__DR_Payment_Status__c": "Successful",
      "digitalriverv3__DR_Customer_Type__c": "business",
      "digitalriverv3__DR_Total_Duty__c": 1.5,
      "digitalriverv3__DR_Total_IOR_Tax__c": 2.25,
      "digitalriverv3__DR_Total_Regulatory_Fee__c": null,
      "digitalriverv3__Has_Landed_Cost__c": true,
      "OrderItems": {"totalSize": 1, "done": true, "records": [
        {
          "Id": "802B0000000QSQZ",
          "Quantity": 2.0,
          "UnitPrice": 10.0,
          "TotalPrice": 20.0,
          "TotalTaxAmount": 1.61,
          "Product2": {
            "Name": "Desk switch", "StockKeepingUnit": "NW-SW-08", "ProductCode": "SW08-B"
          },
          "digitalriverv3__DR_Order_Item_Id__c": "150000010336",
          "digitalriverv3__DR_Order_Item_State__c": "partially_fulfilled",
          "digitalriverv3__DR_Duty__c": 1.5,
          "digitalriverv3__DR_IOR_Tax__c": 2.25,
          "digitalriverv3__DR_Regulatory_Fee__c": 0.7,
          "digitalriverv3__DR_Open_Quantity__c": 1.0,
          "digitalriverv3__DR_Fulfilled_Quantity__c": 1.0,
          "digitalriverv3__DR_Cancelled_Quantity__c": null
        }
      ]}
    }
    """,
    parse_float=Decimal,
)


def changed(**changes: object) -> dict[str, Any]:
    return copy.deepcopy(RECORD) | {
        name.replace("DR_", "digitalriverv3__DR_", 1): value for name, value in changes.items()
    }


def with_line(**changes: object) -> dict[str, Any]:
    record = changed()
    record["OrderItems"]["records"][0] |= changes
    return record


def without(name: str) -> dict[str, Any]:
    record = changed()
    del record[name]
    return record


def test_order_record_is_read_whole() -> None:
    record = order_record(RECORD)
    assert (record.id, record.order_number, record.status) == (ORDER_ID, "00000123", "Activated")
    assert record.effective_date == date(2026, 1, 5)
    assert record.created_time == datetime(2026, 1, 5, 10, 11, 12, tzinfo=UTC)
    assert record.modified_time == datetime(2026, 1, 7, 7, 11, 12, tzinfo=UTC)
    assert (record.account_id, record.account_name) == ("001B0000000QSQZIA4", "Northwind Labs")
    assert (record.buyer_name, record.buyer_email) == ("Ada Example", "ada@example.com")
    assert (record.currency, record.total_amount) == ("USD", Decimal("27.01"))
    assert (record.digitalriver_order_id, record.digitalriver_state) == (
        "300100200336",
        "complete",
    )
    assert (record.fraud_state, record.payment_status) == ("passed", "Successful")
    assert (record.total_duty, record.total_importer_tax) == (Decimal("1.50"), Decimal("2.25"))
    assert (str(record.total_regulatory_fee), record.has_landed_cost) == ("0.00", True)
    (line,) = record.lines
    assert (line.id, line.quantity) == ("802B0000000QSQZIA4", 2)
    assert (line.product_name, line.sku, line.product_code) == (
        "Desk switch",
        "NW-SW-08",
        "SW08-B",
    )
    assert (line.unit_price, line.total_price) == (Decimal("10.00"), Decimal("20.00"))
    assert line.total_tax == Decimal("1.61")
    assert (line.digitalriver_item_id, line.digitalriver_state) == (
        "150000010336",
        "partially_fulfilled",
    )
    assert (line.duty, line.importer_tax) == (Decimal("1.50"), Decimal("2.25"))
    assert line.regulatory_fee == Decimal("0.70")
    assert (line.open_quantity, line.fulfilled_quantity, line.cancelled_quantity) == (1, 1, None)


def test_order_record_that_never_reached_digital_river_has_no_id() -> None:
    record = order_record(changed(DR_Order_Id__c=None, Account=None, BillToContact=None))
    assert (record.digitalriver_order_id, record.account_name, record.buyer_email) == ("", "", "")


def test_order_record_without_lines_is_read() -> None:
    assert order_record(changed(OrderItems=None)).lines == ()


def test_order_record_of_the_packages_own_organisation_has_no_namespace() -> None:
    record = {name.removeprefix("digitalriverv3__"): RECORD[name] for name in RECORD}
    assert order_record(record, namespace="").digitalriver_order_id == "300100200336"
    assert order_record(RECORD, namespace="").digitalriver_order_id == ""


def test_order_record_without_currency_takes_the_organisations() -> None:
    record = order_record(without("CurrencyIsoCode"), default_currency="JPY")
    assert (record.currency, str(record.total_amount)) == ("JPY", "27")


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (lambda: changed(Id=None), "Id"),
        (lambda: changed(Id="801"), "Id"),
        (lambda: changed(Id="801B0000000QSQZAAA"), "Id"),
        (lambda: changed(OrderNumber="  "), "OrderNumber"),
        (lambda: changed(OrderNumber=123), "OrderNumber"),
        (lambda: changed(OrderNumber="1" * 31), "OrderNumber"),
        (lambda: changed(OrderNumber="1\x002"), "OrderNumber"),
        (lambda: changed(Status="\ud800"), "Status"),
        (lambda: changed(EffectiveDate="soon"), "EffectiveDate"),
        (lambda: changed(CreatedDate="soon"), "CreatedDate"),
        (lambda: changed(CreatedDate="2026-01-05T10:11:12"), "CreatedDate"),
        (lambda: changed(AccountId="x"), "AccountId"),
        (lambda: changed(Account="Northwind"), "Account"),
        (lambda: changed(Account={"Name": "N" * 256}), "Account.Name"),
        (lambda: changed(BillToContact={"Email": ["a"]}), "BillToContact.Email"),
        (lambda: changed(CurrencyIsoCode=None), "CurrencyIsoCode"),
        (lambda: changed(CurrencyIsoCode="usd"), "CurrencyIsoCode"),
        (lambda: changed(CurrencyIsoCode="XAU"), "CurrencyIsoCode"),
        (lambda: changed(TotalAmount=27.01), "TotalAmount"),
        (lambda: changed(TotalAmount=True), "TotalAmount"),
        (lambda: changed(TotalAmount="a lot"), "TotalAmount"),
        (lambda: changed(TotalAmount="NaN"), "TotalAmount"),
        (lambda: changed(TotalAmount=Decimal("1E+400")), "TotalAmount"),
        (lambda: changed(TotalAmount=Decimal(-1)), "TotalAmount"),
        (lambda: changed(DR_Order_Id__c="1" * 129), "digitalriverv3__DR_Order_Id__c"),
        (
            lambda: changed(digitalriverv3__Has_Landed_Cost__c="yes"),
            "digitalriverv3__Has_Landed_Cost__c",
        ),
        (lambda: without("OrderItems"), "OrderItems"),
        (lambda: changed(OrderItems={"done": False, "records": []}), "OrderItems"),
        (lambda: changed(OrderItems={"done": True}), "OrderItems"),
        (lambda: changed(OrderItems="none"), "OrderItems"),
        (lambda: changed(OrderItems=["line"]), "OrderItems.0"),
        (lambda: changed(OrderItems=RECORD["OrderItems"]["records"] * 2), "OrderItems"),
        (lambda: with_line(Id=None), "OrderItems.0.Id"),
        (lambda: with_line(Quantity=None), "OrderItems.0.Quantity"),
        (lambda: with_line(Quantity=Decimal("1.5")), "OrderItems.0.Quantity"),
        (lambda: with_line(Quantity=Decimal(-1)), "OrderItems.0.Quantity"),
        (lambda: with_line(Quantity=Decimal("1E+400")), "OrderItems.0.Quantity"),
        (lambda: with_line(Product2={"Name": 5}), "OrderItems.0.Product2.Name"),
    ],
)
def test_order_record_that_cannot_be_mirrored_names_the_field(
    made: Callable[[], dict[str, Any]], field: str
) -> None:
    with pytest.raises(SalesforceRecordError) as raised:
        order_record(made())
    assert raised.value.field == field
    assert f" {field} " in str(raised.value)
    assert raised.value.record_id == ("" if field == "Id" else ORDER_ID)


def test_order_record_error_does_not_repeat_what_the_field_holds() -> None:
    with pytest.raises(SalesforceRecordError) as raised:
        order_record(changed(BillToContact={"Email": "ada@example.com" * 20}))
    assert "ada@" not in str(raised.value)


def test_order_record_that_is_none_is_refused() -> None:
    with pytest.raises(SalesforceRecordError, match="Order is not a record"):
        order_record([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("001B0000000QSQZ", "001B0000000QSQZIA4"),
        ("000000000000000", "000000000000000AAA"),
        ("ABCDEABCDEABCDE", "ABCDEABCDEABCDE555"),
        ("abcdeabcdeabcde", "abcdeabcdeabcdeAAA"),
        ("Aaaaa0000AaAaAa", "Aaaaa0000AaAaAaBQK"),
    ],
)
def test_lengthened_id_of_known_ids(short: str, long: str) -> None:
    assert lengthened_id(short) == long


@given(short=st.from_regex(r"[A-Za-z0-9]{15}", fullmatch=True))
def test_lengthened_id_starts_with_the_short_and_stays(short: str) -> None:
    long = lengthened_id(short)
    assert (long[:15], len(long)) == (short, 18)
    assert lengthened_id(long) == long


@given(
    one=st.from_regex(r"[A-Za-z0-9]{15}", fullmatch=True),
    flips=st.lists(st.booleans(), min_size=15),
)
def test_lengthened_id_tells_apart_what_differs_in_case_only(one: str, flips: list[bool]) -> None:
    other = "".join(
        letter.swapcase() if flip else letter for letter, flip in zip(one, flips, strict=False)
    )
    same = lengthened_id(one).casefold() == lengthened_id(other).casefold()
    assert same is (one == other)


@pytest.mark.parametrize("text", ["", "1", "0" * 16, "0" * 19, "00000000000000é", "0" * 14 + " "])
def test_lengthened_id_of_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        lengthened_id(text)


@given(short=st.from_regex(r"[A-Za-z0-9]{15}", fullmatch=True))
def test_mended_id_has_its_capitals_back_whatever_was_done_to_them(short: str) -> None:
    long = lengthened_id(short)
    for mangled in (long, long.lower(), long.upper(), long.swapcase(), short):
        assert mended_id(mangled) == long


@pytest.mark.parametrize(
    "text", ["", "0" * 16, "001B0000000QSQZIA9", "001B0000000QSQZ555", "001B0000000QSQZIA-"]
)
def test_mended_id_of_what_no_id_can_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is "):
        mended_id(text)


# -- rows of CSV -----------------------------------------------------------------------------------


def test_nested_gives_a_row_as_rest_json_has_the_record() -> None:
    names = ["Id", "Account.Name", "BillToContact.Name", "BillToContact.Email", "TotalAmount"]
    row = ["801", "", "Ada", "ada@example.com", ""]
    assert nested(names, row) == {
        "Id": "801",
        "BillToContact": {"Name": "Ada", "Email": "ada@example.com"},
        "TotalAmount": None,
    }
    with pytest.raises(ValueError, match="zip"):
        nested(names, row[:-1])


def test_order_record_of_a_row_reads_its_texts() -> None:
    record = order_record(
        {
            **without("OrderItems"),
            "TotalAmount": "27.01",
            "digitalriverv3__Has_Landed_Cost__c": "true",
        },
        with_lines=False,
    )
    assert (record.total_amount, record.has_landed_cost) == (Decimal("27.01"), True)
    assert record.lines == ()


def test_order_record_keeps_the_beginning_of_a_long_text() -> None:
    record = order_record(changed(DR_Payment_Failure_Reason__c="no " * 4_000_000))
    assert record.payment_failure_reason.startswith("no no")
    assert len(record.payment_failure_reason) == 1000


def test_line_record_of_a_line_that_came_by_itself() -> None:
    raw = {
        **RECORD["OrderItems"]["records"][0],
        "OrderId": ORDER_ID,
        "OrderItemNumber": "0000000007",
        "SystemModstamp": "2026-01-07T07:11:12.000+0000",
    }
    line = line_record(raw, currency="USD")
    assert (line.order_id, line.number, line.quantity) == (ORDER_ID, "0000000007", 2)
    assert line.modified_time == datetime(2026, 1, 7, 7, 11, 12, tzinfo=UTC)
    with pytest.raises(SalesforceRecordError, match=r"order product .* Quantity") as raised:
        line_record({**raw, "Quantity": "2.5"}, currency="USD")
    assert raised.value.record_id == line.id
    with pytest.raises(SalesforceRecordError, match="OrderId is missing"):
        line_record({**raw, "OrderId": None}, currency="USD")
