"""Organisations of other shapes, and who has the permission set."""

from __future__ import annotations

import pytest
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound

from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.planted import Bad
from sandbox.salesforce.shape import Shape, shape_from_json
from sandbox.wire import dumps, loads
from tests.sandbox.salesforce.conftest import read, sobject
from tests.sandbox.salesforce.queries import GROUPS, ORDERS, members, order_fields


def fields_of(salesforce: Salesforce, name: str) -> set[str]:
    return {field["name"] for field in sobject(salesforce, name).describe()["fields"]}


def test_shape_is_kept_as_it_is() -> None:
    shape = Shape(
        namespace="",
        orders=5,
        planted={3: Bad.EMOJI},
        taken=frozenset(("Order.TotalAmount",)),
        job_seconds=0.25,
    )

    assert shape_from_json(loads(dumps(shape.to_json()))) == shape


def test_organisation_without_currencies(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=3, has_currency=False)

    with pytest.raises(SalesforceMalformedRequest, match="No such column 'CurrencyIsoCode'"):
        salesforce.query(ORDERS)

    records = read(salesforce, f"SELECT {order_fields(currency=False)} FROM Order")
    assert len(records) == 3
    assert "CurrencyIsoCode" not in fields_of(salesforce, "Order")


def test_organisation_without_a_namespace(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=1, namespace="")

    (record,) = read(salesforce, f"SELECT {order_fields('')} FROM Order")

    assert record["DR_Order_Id__c"] == "3100000000036"
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        salesforce.query(ORDERS)


def test_organisation_without_the_package(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=1, has_package=False)

    with pytest.raises(SalesforceMalformedRequest, match="No such column 'digitalriverv3__DR_"):
        salesforce.query(ORDERS)
    assert not any("DR_" in name for name in fields_of(salesforce, "Order"))


def test_field_that_was_taken_away_is_not_there(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset(("Order.digitalriverv3__DR_Fraud_State__c",)))

    with pytest.raises(SalesforceMalformedRequest, match="'digitalriverv3__DR_Fraud_State__c'"):
        salesforce.query(ORDERS)
    assert "digitalriverv3__DR_Fraud_State__c" not in fields_of(salesforce, "Order")


def test_object_that_was_taken_away_is_not_there(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset(("Order", "Contact")))

    with pytest.raises(SalesforceMalformedRequest, match="INVALID_TYPE"):
        salesforce.query("SELECT Id FROM Order")
    with pytest.raises(SalesforceResourceNotFound):
        sobject(salesforce, "Order").describe()


def test_lookup_that_was_taken_away_is_not_understood(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset(("Contact",)))

    with pytest.raises(SalesforceMalformedRequest, match="relationship 'BillToContact'"):
        salesforce.query(ORDERS)


def test_right_to_make_tasks_can_be_taken_away(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset(("Task:create",)))

    assert not sobject(salesforce, "Task").describe()["createable"]
    with pytest.raises(SalesforceMalformedRequest, match="cannot be inserted"):
        sobject(salesforce, "Task").create({"Subject": "x"})


def test_right_to_write_a_field_can_be_taken_away(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset(("Task.WhatId:create",)))

    fields = {field["name"]: field for field in sobject(salesforce, "Task").describe()["fields"]}
    assert not fields["WhatId"]["createable"]
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        sobject(salesforce, "Task").create({"WhatId": "8015g0000000004AAA"})


def emails(salesforce: Salesforce) -> dict[str, bool]:
    (group,) = read(salesforce, GROUPS)
    found = read(salesforce, members(group["PermissionSetGroupId"]))
    return {
        one["Assignee"]["Email"].partition("@")[0]: one["Assignee"]["IsActive"] for one in found
    }


def test_members_of_the_permission_set(salesforce: Salesforce) -> None:
    assert emails(salesforce) == {"rep": True, "rep2": True, "lead": True, "former": False}


def test_member_through_the_group_only(salesforce: Salesforce) -> None:
    found = read(salesforce, members("0PG5g0000000000AAA"[:15]))

    assert "lead@refund-desk.example" not in {one["Assignee"]["Email"] for one in found}
    assert {one["ExpirationDate"] for one in found} == {None}
    assert {one["Assignee"]["FederationIdentifier"] for one in found} >= {"fed-rep", "fed-rep2"}


def test_members_come_and_go(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.add_user("new", "Nia New", email="new@elsewhere.example")
    organisation.assign("new", in_group=True)
    organisation.unassign("rep2")
    organisation.unassign("lead", in_group=True)
    organisation.set_active("rep", is_active=False)
    organisation.assign("viewer", expires="2024-05-01T00:00:00.000Z")

    assert emails(salesforce) == {"rep": False, "former": False, "new": True, "viewer": True}
    (group,) = read(salesforce, GROUPS)
    expiring = [
        one["ExpirationDate"]
        for one in read(salesforce, members(group["PermissionSetGroupId"]))
        if one["ExpirationDate"]
    ]
    assert expiring == ["2024-05-01T00:00:00.000+0000"]


def test_assignment_that_was_taken_can_be_given_again(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.unassign("rep")
    organisation.assign("rep")

    assert "rep" in emails(salesforce)
