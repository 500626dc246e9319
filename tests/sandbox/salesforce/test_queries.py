"""Queries in pages: what they hold, and what they lose and repeat, which is nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest

from sandbox.orders import Line, make_order
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.transport import in_process_for
from tests.sandbox.conftest import Clock
from tests.sandbox.salesforce.conftest import get, read, refusal, signed_in
from tests.sandbox.salesforce.queries import ORDERS, changed, deleted, line_fields, one_order

EVER = "2000-01-01T00:00:00Z"


def names(records: list[Any]) -> list[str]:
    return [record["Id"] for record in records]


def test_pages_hold_every_record_once(
    both_ways: requests.Session, organisation: Organisation
) -> None:
    organisation.reshape(orders=450)
    salesforce = signed_in(both_ways)

    found = names(read(salesforce, changed("OrderItem", EVER)))

    assert len(found) == len(set(found)) == 1350
    assert found == sorted(found)


def test_page_says_how_many_there_are_and_where_the_next_is(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=2100)

    first = salesforce.query("SELECT Id FROM Order ORDER BY Id")
    second = salesforce.query_more(first["nextRecordsUrl"], identifier_is_url=True)

    assert (first["totalSize"], first["done"], len(first["records"])) == (2100, False, 2000)
    assert first["nextRecordsUrl"].startswith("/services/data/v60.0/query/01g")
    assert first["nextRecordsUrl"].endswith("-2000")
    assert (second["done"], len(second["records"])) == (True, 100)
    assert "nextRecordsUrl" not in second


def test_page_can_be_read_again(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=2100)
    url = salesforce.query("SELECT Id FROM Order ORDER BY Id")["nextRecordsUrl"]

    again = [salesforce.query_more(url, identifier_is_url=True) for _ in range(2)]

    assert again[0] == again[1]


@pytest.mark.parametrize(("asked", "given"), [(1, 200), (300, 300), (9_999, 450)])
def test_page_length_stays_within_bounds(
    salesforce: Salesforce, organisation: Organisation, asked: int, given: int
) -> None:
    organisation.reshape(orders=450)

    headers = {"Sforce-Query-Options": f"batchSize={asked}"}
    page = salesforce.query("SELECT Id FROM Order", headers=headers)

    assert len(page["records"]) == given


def test_what_changes_between_pages_is_neither_lost_nor_repeated(
    salesforce: Salesforce, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(orders=600)
    everything = names(read(salesforce, "SELECT Id FROM Order ORDER BY Id"))
    headers = {"Sforce-Query-Options": "batchSize=200"}
    page = salesforce.query(changed("Order", EVER), headers=headers)
    found = names(page["records"])
    clock.move(days=1)
    for place in (10, 250, 599):
        organisation.touch("Order", everything[place])
    while not page["done"]:
        page = salesforce.query_more(page["nextRecordsUrl"], identifier_is_url=True)
        found += names(page["records"])

    assert found == everything


def test_changed_records_come_where_their_stamp_belongs(
    salesforce: Salesforce, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(orders=450)
    everything = names(read(salesforce, "SELECT Id FROM Order ORDER BY Id"))
    organisation.change("Order", everything[3], {"Status": "Draft"})
    clock.move(seconds=5)
    organisation.change("Order", everything[1], {"digitalriverv3__DR_Order_State__c": "returned"})

    found = names(read(salesforce, changed("Order", EVER)))
    (last,) = read(salesforce, f"{ORDERS} WHERE SystemModstamp >= 2024-04-01T09:00:05Z")

    assert len(found) == 450
    assert found[-2:] == [everything[3], everything[1]]
    assert last["digitalriverv3__DR_Order_State__c"] == "returned"
    assert last["SystemModstamp"] == "2024-04-01T09:00:05.000+0000"


def test_changes_are_found_by_the_second(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=1000)
    stamps = [record["SystemModstamp"] for record in read(salesforce, changed("Order", EVER))]
    moment = stamps[500].replace(".000+0000", "Z")

    for sign, count in ((">=", 500), (">", 499), ("<=", 501), ("<", 500)):
        soql = f"SELECT Id FROM Order WHERE SystemModstamp {sign} {moment}"
        assert salesforce.query(soql)["totalSize"] == count


def test_deleted_records_are_seen_by_query_all_only(
    both_ways: requests.Session, organisation: Organisation
) -> None:
    organisation.reshape(orders=3)
    salesforce = signed_in(both_ways)
    everything = names(read(salesforce, "SELECT Id FROM Order ORDER BY Id"))

    organisation.delete("Order", everything[1])

    assert names(read(salesforce, "SELECT Id FROM Order ORDER BY Id")) == [
        everything[0],
        everything[2],
    ]
    assert read(salesforce, deleted("Order", EVER)) == []
    gone = salesforce.query_all(deleted("Order", EVER), include_deleted=True)["records"]
    assert names(gone) == [everything[1]]
    lines = salesforce.query_all(deleted("OrderItem", EVER), include_deleted=True)
    assert lines["totalSize"] == 3


def test_undeleted_record_is_there_again(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=3)
    (first, *_) = names(read(salesforce, "SELECT Id FROM Order ORDER BY Id"))
    organisation.delete("Order", first)
    organisation.undelete("Order", first)

    assert len(read(salesforce, "SELECT Id FROM OrderItem")) == 9
    found = salesforce.query_all(deleted("Order", EVER), include_deleted=True)
    assert found["records"] == []


@pytest.mark.parametrize("way", ["Id", "OrderNumber", "digitalriverv3__DR_Order_Id__c"])
def test_one_generated_order_of_a_million_is_found_at_once(
    salesforce: Salesforce, organisation: Organisation, way: str
) -> None:
    organisation.reshape(orders=1_000_000)
    value = {
        "Id": "8015g0000008OI3AAM",
        "OrderNumber": "20999999",
        "digitalriverv3__DR_Order_Id__c": "3100099999936",
    }[way]

    answer = salesforce.query(one_order(way, value))

    (order,) = answer["records"]
    assert order["OrderNumber"] == "20999999"
    lines = order["OrderItems"]["records"]
    assert [line["OrderId"] for line in lines] == [order["Id"]] * 3
    assert [line["OrderItemNumber"] for line in lines] == sorted(
        line["OrderItemNumber"] for line in lines
    )


def test_one_order_of_the_shop_by_each_of_its_ids(shop_organisation: Organisation) -> None:
    with requests.Session() as session:
        session.mount("https://", in_process_for(shop_organisation))
        salesforce = signed_in(session, parse_float=Decimal)
        (by_number,) = salesforce.query(one_order("OrderNumber", "00100204"))["records"]
        (by_id,) = salesforce.query(one_order("Id", by_number["Id"][:15]))["records"]

    assert by_id == by_number
    assert by_number["Account"]["Name"] == "Cascade Instruments Inc."
    assert by_number["TotalAmount"] == Decimal("4480.65")
    assert [type(line["Quantity"]) for line in by_number["OrderItems"]["records"]] == [Decimal] * 4


def test_order_put_into_the_shop_is_changed_just_now(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    identifier = organisation.put_order(make_order(7, lines=[Line(Decimal("40.00"))]))

    found = read(salesforce, changed("Order", "2024-04-01T09:00:00Z"))

    assert names(found) == [identifier]
    assert len(read(salesforce, changed("OrderItem", "2024-04-01T09:00:00Z"))) == 1


def test_state_moved_by_digital_river_changes_the_record(shop_organisation: Organisation) -> None:
    shop = shop_organisation.sandbox
    order_id = shop.order_id("00100204")
    assert order_id is not None

    shop.set_order_state(order_id, "returned")

    (order,) = shop_organisation.find("Order", "OrderNumber", "00100204")
    assert order["DR_Order_State__c"] == "returned"
    assert order["SystemModstamp"] == "2024-04-01T09:00:00.000Z"


def test_order_without_lines_has_null_for_them(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.create("Order", {"OrderNumber": "00000001"})

    (order,) = salesforce.query(one_order("OrderNumber", "00000001"))["records"]

    assert order["OrderItems"] is None
    assert order["Account"] is None


@pytest.mark.parametrize("locator", ["01g5g0000000001AAA-2000", "nonsense", "01g-x"])
def test_unknown_locator_is_refused(salesforce: Salesforce, locator: str) -> None:
    assert refusal(get(salesforce, f"query/{locator}")) == (400, "INVALID_QUERY_LOCATOR")


def test_offset_that_no_page_led_to_is_refused(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=2100)
    url = salesforce.query("SELECT Id FROM Order")["nextRecordsUrl"]
    locator = url.rpartition("/")[2].replace("-2000", "-4000")

    assert refusal(get(salesforce, f"query/{locator}")) == (400, "INVALID_QUERY_LOCATOR")


@pytest.mark.parametrize(
    "soql",
    [
        "SELECT Id FROM Order WHERE Status = 'Draft'",
        "SELECT Id FROM Order ORDER BY TotalAmount",
        "SELECT Id FROM Order ORDER BY Id DESC",
        "SELECT Id FROM Order LIMIT 5",
    ],
)
def test_query_that_would_look_through_a_million_takes_too_long(
    salesforce: Salesforce, organisation: Organisation, soql: str
) -> None:
    organisation.reshape(orders=1_000_000)

    with pytest.raises(SalesforceMalformedRequest, match="QUERY_TIMEOUT"):
        salesforce.query(soql)


def test_few_records_are_searched_and_sorted_by_anything(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=40)

    found = read(
        salesforce, "SELECT OrderNumber FROM Order WHERE Status = 'activated' ORDER BY Id DESC"
    )

    assert [one["OrderNumber"] for one in found] == [f"200000{at:02d}" for at in range(39, -1, -1)]


def test_child_query_with_its_fields(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=1)

    soql = f"SELECT Id, (SELECT {line_fields()} FROM OrderItems LIMIT 2) FROM Order"
    (order,) = salesforce.query(soql)["records"]

    assert order["OrderItems"]["totalSize"] == 2
    assert order["attributes"]["url"].endswith(f"/sobjects/Order/{order['Id']}")
