"""The very queries that go to Salesforce, and that nothing typed can change them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refunds.salesforce import queries
from refunds.salesforce.queries import Fields
from refunds.services import salesforce_needs as needs

FIELDS = Fields(namespace="digitalriverv3")
SINCE = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ORDER_FIELDS = (
    "Id, OrderNumber, Status, EffectiveDate, CreatedDate, SystemModstamp, AccountId, Account.Name, "
    "BillToContact.Name, BillToContact.Email, CurrencyIsoCode, TotalAmount, "
    "digitalriverv3__DR_Order_Id__c, digitalriverv3__DR_Order_State__c, "
    "digitalriverv3__DR_Fraud_State__c, digitalriverv3__DR_Payment_Status__c, "
    "digitalriverv3__DR_Payment_Failure_Reason__c, digitalriverv3__DR_Customer_Type__c, "
    "digitalriverv3__DR_Selling_Entity__c, digitalriverv3__DR_Total_Duty__c, "
    "digitalriverv3__DR_Total_IOR_Tax__c, digitalriverv3__DR_Total_Regulatory_Fee__c, "
    "digitalriverv3__Has_Landed_Cost__c"
)
LINE_FIELDS = (
    "Id, OrderId, SystemModstamp, Product2.Name, Product2.StockKeepingUnit, Product2.ProductCode, "
    "Quantity, UnitPrice, TotalPrice, TotalTaxAmount, OrderItemNumber, "
    "digitalriverv3__DR_Order_Item_Id__c, digitalriverv3__DR_Order_Item_State__c, "
    "digitalriverv3__DR_Duty__c, digitalriverv3__DR_IOR_Tax__c, "
    "digitalriverv3__DR_Regulatory_Fee__c, digitalriverv3__DR_Open_Quantity__c, "
    "digitalriverv3__DR_Fulfilled_Quantity__c, digitalriverv3__DR_Cancelled_Quantity__c"
)


def test_orders_all() -> None:
    assert queries.orders(FIELDS) == f"SELECT {ORDER_FIELDS} FROM Order"


def test_orders_since() -> None:
    assert queries.orders(FIELDS, since=SINCE) == (
        f"SELECT {ORDER_FIELDS} FROM Order WHERE SystemModstamp >= 2026-01-02T03:04:05Z"
    )


def test_lines_all_and_since() -> None:
    assert queries.lines(FIELDS) == f"SELECT {LINE_FIELDS} FROM OrderItem"
    assert queries.lines(FIELDS, since=SINCE).endswith(
        "FROM OrderItem WHERE SystemModstamp >= 2026-01-02T03:04:05Z"
    )


def test_changed_orders_come_oldest_change_first() -> None:
    assert queries.changed_orders(FIELDS, SINCE) == (
        f"SELECT {ORDER_FIELDS} FROM Order WHERE SystemModstamp >= 2026-01-02T03:04:05Z "
        "ORDER BY SystemModstamp, Id"
    )
    assert queries.changed_lines(FIELDS, SINCE) == (
        f"SELECT {LINE_FIELDS} FROM OrderItem WHERE SystemModstamp >= 2026-01-02T03:04:05Z "
        "ORDER BY SystemModstamp, Id"
    )


def test_deleted_of_both_objects() -> None:
    assert queries.deleted("OrderItem", SINCE) == (
        "SELECT Id, SystemModstamp FROM OrderItem WHERE IsDeleted = true "
        "AND SystemModstamp >= 2026-01-02T03:04:05Z ORDER BY SystemModstamp, Id"
    )
    with pytest.raises(ValueError, match="mirrored"):
        queries.deleted("Account", SINCE)


def test_one_order_with_its_lines() -> None:
    assert queries.one_order(FIELDS, by="OrderNumber", value="00001234") == (
        f"SELECT {ORDER_FIELDS}, (SELECT {LINE_FIELDS} FROM OrderItems ORDER BY OrderItemNumber) "
        "FROM Order WHERE OrderNumber = '00001234' LIMIT 2"
    )


@pytest.mark.parametrize("by", ["Id", "digitalriverv3__DR_Order_Id__c"])
def test_one_order_by_its_ids(by: str) -> None:
    assert f" WHERE {by} = '1' LIMIT 2" in queries.one_order(FIELDS, by=by, value="1")


@pytest.mark.parametrize("by", ["DR_Order_Id__c", "Status", "Id = '' OR Id"])
def test_one_order_by_anything_else_is_refused(by: str) -> None:
    with pytest.raises(ValueError, match="looked up"):
        queries.one_order(FIELDS, by=by, value="1")


def test_fields_without_namespace_and_currency() -> None:
    soql = queries.orders(Fields(namespace="", has_currency=False))
    assert " DR_Order_Id__c, " in soql
    assert "digitalriverv3" not in soql
    assert "CurrencyIsoCode" not in soql


def test_refund_groups_and_members() -> None:
    assert queries.refund_groups() == (
        "SELECT PermissionSetGroupId FROM PermissionSetGroupComponent "
        "WHERE PermissionSet.Name = 'DigitalRiver_Connector_Refunds'"
    )
    members = (
        "SELECT AssigneeId, Assignee.Username, Assignee.Email, Assignee.FederationIdentifier, "
        "Assignee.IsActive, ExpirationDate, PermissionSetGroupId FROM PermissionSetAssignment "
        "WHERE PermissionSet.Name = 'DigitalRiver_Connector_Refunds'"
    )
    assert queries.refund_members([]) == members
    assert queries.refund_members(["0PG1", "0PG2"]) == (
        f"{members} OR PermissionSetGroupId IN ('0PG1', '0PG2')"
    )


def test_task_of_an_order() -> None:
    assert queries.task_of("801000000000001", "Refund R-1: it's done") == (
        r"SELECT Id FROM Task WHERE WhatId = '801000000000001' AND Subject = 'Refund R-1: it\'s "
        r"done' LIMIT 1"
    )


def test_moment_is_written_in_utc() -> None:
    at = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert queries.moment(at) == "2025-12-31T23:00:00Z"
    with pytest.raises(ValueError, match="time zone"):
        queries.moment(datetime(2026, 1, 1))  # noqa: DTZ001 -- that is the case


@given(st.text())
def test_quoted_text_never_ends_the_literal(text: str) -> None:
    literal = queries.quoted(text)
    inner = literal[1:-1]
    assert literal[0] == literal[-1] == "'"
    # Read as Salesforce does: a backslash takes the next mark with it.
    at, read = 0, ""
    while at < len(inner):
        assert inner[at] != "'"
        if inner[at] == "\\":
            at += 1
            read += {"n": "\n", "r": "\r", "t": "\t"}.get(inner[at], inner[at])
        else:
            read += inner[at]
        at += 1
    assert read == text


def test_every_field_says_what_it_is_for() -> None:
    plain = Fields(namespace="")
    assert set(plain.of_orders()) == set(needs.OF_ORDERS)
    assert set(plain.of_lines()) == set(needs.OF_LINES)
