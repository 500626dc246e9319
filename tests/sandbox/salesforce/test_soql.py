"""What the reader of SOQL understands, and that it refuses the rest in Salesforce's words."""

from __future__ import annotations

import pytest

from sandbox.salesforce.conditions import All, Comparison, Either, holds
from sandbox.salesforce.errors import SalesforceRefusal
from sandbox.salesforce.ids import record_id
from sandbox.salesforce.shape import Shape
from sandbox.salesforce.soql import LONGEST, Query, read_query
from tests.sandbox.salesforce.queries import (
    GROUPS,
    LINES,
    ORDERS,
    changed,
    deleted,
    members,
    one_order,
)

SHAPE = Shape()
GROUP = record_id("0PG", 1)


def read(soql: str) -> Query:
    return read_query(soql, SHAPE)


@pytest.mark.parametrize(
    "soql",
    [
        ORDERS,
        LINES,
        f"{ORDERS} WHERE SystemModstamp >= 2026-01-01T00:00:00Z",
        f"{LINES} WHERE SystemModstamp >= 2026-01-01T00:00:00Z ORDER BY SystemModstamp, Id",
        changed("Order", "2026-01-01T00:00:00Z"),
        deleted("OrderItem", "2026-01-01T00:00:00Z"),
        one_order("Id", "8015g0000000004AAA"),
        one_order("digitalriverv3__DR_Order_Id__c", "220000040336"),
        GROUPS,
        members(GROUP),
        "SELECT Id FROM Task WHERE WhatId = '8015g0000000004AAA' AND Subject = 'a' LIMIT 1",
        "select id from order where (status = 'a' or status = null) and isdeleted = false",
    ],
)
def test_queries_of_a_mirror_are_understood(soql: str) -> None:
    assert read(soql).select


def test_parts_of_a_query() -> None:
    query = read(
        "SELECT Account.Name, digitalriverv3__DR_Order_Id__c, (SELECT Id FROM OrderItems) "
        "FROM Order WHERE OrderNumber = 'it\\'s \\\\ \\n' AND TotalAmount > 1.50 "
        "ORDER BY SystemModstamp DESC, Id ASC LIMIT 3"
    )

    assert [(path.wire, path.key) for path in query.select] == [
        ("Account.Name", "Account.Name"),
        ("digitalriverv3__DR_Order_Id__c", "DR_Order_Id__c"),
    ]
    assert [(path.key, down) for path, down in query.order] == [
        ("SystemModstamp", True),
        ("Id", False),
    ]
    assert query.limit == 3
    assert [name for name, _ in query.children] == ["OrderItems"]
    assert isinstance(query.where, All)
    first, second = query.where.terms
    assert isinstance(first, Comparison)
    assert first.values == ("it's \\ \n",)
    assert isinstance(second, Comparison)
    assert second.values == ("1.50",)


def test_moments_are_brought_to_utc() -> None:
    query = read("SELECT Id FROM Order WHERE SystemModstamp >= 2026-01-01T01:30:00.000+0130")

    assert isinstance(query.where, Comparison)
    assert query.where.values == ("2026-01-01T00:00:00.000Z",)


@pytest.mark.parametrize(
    ("condition", "is_met"),
    [
        ("OrderNumber = 'abc'", True),
        ("OrderNumber != 'ABC'", False),
        ("OrderNumber IN ('x', 'Abc')", True),
        ("TotalAmount = 10", True),
        ("TotalAmount > 9.99", True),
        ("TotalAmount <= 9", False),
        ("TotalAmount < 100", True),
        ("Status = null", True),
        ("Status != null", False),
        ("IsDeleted = false", True),
        ("EffectiveDate >= 2026-01-01", True),
        ("EffectiveDate < 2026-01-01", False),
        ("Status > 'a'", False),
        ("OrderNumber = 'x' OR (TotalAmount = 10 AND Status = null)", True),
    ],
)
def test_conditions_hold_as_salesforce_takes_them(condition: str, is_met: bool) -> None:
    record = {"OrderNumber": "aBc", "TotalAmount": "10.00", "EffectiveDate": "2026-01-01"}
    where = read(f"SELECT Id FROM Order WHERE {condition}").where

    assert isinstance(where, Comparison | All | Either)
    assert holds(where, record) is is_met


@pytest.mark.parametrize(
    "soql",
    [
        "",
        "SELECT",
        "SELECT FROM Order",
        "SELECT * FROM Order",
        "SELECT Id, FROM Order",
        "SELECT Id FROM",
        "SELECT Id FROM Order WHERE",
        "SELECT Id FROM Order WHERE Id",
        "SELECT Id FROM Order WHERE OrderNumber LIKE 'a%'",
        "SELECT Id FROM Order WHERE NOT Id = null",
        "SELECT Id FROM Order WHERE OrderNumber = 'a",
        "SELECT Id FROM Order WHERE OrderNumber = other",
        "SELECT Id FROM Order WHERE OrderNumber IN ()",
        "SELECT Id FROM Order WHERE Status = 'a' AND Status = 'b' OR Status = 'c'",
        "SELECT Id FROM Order WHERE CreatedDate = TODAY",
        "SELECT Id FROM Order ORDER Id",
        "SELECT Id FROM Order LIMIT -1",
        "SELECT Id FROM Order LIMIT x",
        "SELECT Id FROM Order OFFSET 5",
        "SELECT Id FROM Order LIMIT 5 LIMIT 6",
        "SELECT count(Id) FROM Order",
        "SELECT Status, count(Id) FROM Order GROUP BY Status",
        "SELECT Id, (SELECT Id FROM OrderItems FROM Order",
        "SELECT (SELECT Id FROM OrderItems) FROM Order",
        "UPDATE Order",
        "SELECT Id FROM Order; DROP",
    ],
)
def test_any_other_query_is_malformed(soql: str) -> None:
    with pytest.raises(SalesforceRefusal) as caught:
        read(soql)

    assert (caught.value.status, caught.value.code) == (400, "MALFORMED_QUERY")


def test_query_that_is_too_long_is_malformed() -> None:
    with pytest.raises(SalesforceRefusal, match="cannot be longer"):
        read("SELECT Id FROM Order" + " " * LONGEST)


@pytest.mark.parametrize(
    ("soql", "code", "words"),
    [
        ("SELECT Foo__c FROM Order", "INVALID_FIELD", "No such column 'Foo__c' on entity 'Order'"),
        ("SELECT Account.Foo FROM Order", "INVALID_FIELD", "No such column 'Foo' on entity 'Acc"),
        ("SELECT Foo__r.Name FROM Order", "INVALID_FIELD", "Didn't understand relationship"),
        ("SELECT Id FROM Order WHERE Foo = 1", "INVALID_FIELD", "No such column 'Foo'"),
        ("SELECT Id FROM Order ORDER BY Foo", "INVALID_FIELD", "No such column 'Foo'"),
        ("SELECT Id FROM Lead", "INVALID_TYPE", "sObject type 'Lead' is not supported"),
        ("SELECT Id FROM Account", "INVALID_TYPE", "sObject type 'Account' is not supported"),
        ("SELECT Id, (SELECT Id FROM Things) FROM Order", "INVALID_TYPE", "relationship 'Things'"),
        (
            "SELECT Id FROM Order WHERE SystemModstamp >= '2026-01-01T00:00:00Z'",
            "INVALID_FIELD",
            "must be of type datetime and should not be enclosed in quotes",
        ),
        ("SELECT Id FROM Order WHERE OrderNumber = 5", "INVALID_FIELD", "must be of type string"),
        ("SELECT Id FROM Order WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID"),
        (
            "SELECT Id FROM Order WHERE Id = '8015g0000000004AAB'",
            "INVALID_QUERY_FILTER_OPERATOR",
            "invalid ID",
        ),
    ],
)
def test_what_is_not_there_is_named(soql: str, code: str, words: str) -> None:
    with pytest.raises(SalesforceRefusal) as caught:
        read(soql)

    assert (caught.value.status, caught.value.code) == (400, code)
    assert words in caught.value.message


def test_refusal_points_at_the_place() -> None:
    with pytest.raises(SalesforceRefusal) as caught:
        read("SELECT Id, Foo__c FROM Order")

    _, shown, pointer, place, _ = caught.value.message.split("\n")
    assert shown[pointer.index("^") :].startswith("Foo__c")
    assert place == "ERROR at Row:1:Column:12"
