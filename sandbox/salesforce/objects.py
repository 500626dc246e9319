"""The objects of the organisation: what fields each has and where its lookups lead.

Names are kept without the package's namespace; a field of the package is marked so, and carries
the organisation's prefix on the wire.

https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_list.htm
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sandbox.salesforce.shape import Shape

NUMBERS = frozenset(("currency", "double", "int"))


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its Salesforce type, whether the package brings it, whether it can be written."""

    name: str
    type: str = "string"
    length: int = 0
    packaged: bool = False
    createable: bool = False
    updateable: bool = False

    def wire_name(self, shape: Shape) -> str:
        """Return the name that this organisation knows it by."""
        return shape.prefix + self.name if self.packaged else self.name


@dataclass(frozen=True, slots=True)
class SObject:
    """An object: its id's prefix, its fields, its lookups by name (field of the id, object)."""

    name: str
    prefix: str
    fields: Mapping[str, Field]
    parents: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    children: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Child relationships by name: the object and the field of it that holds the parent's id."""
    createable: bool = False

    def fields_in(self, shape: Shape) -> dict[str, Field]:
        """Return the fields that this organisation has and grants, by their wire names."""
        return {
            one.wire_name(shape): one for one in self.fields.values() if self._is_there(one, shape)
        }

    def _is_there(self, one: Field, shape: Shape) -> bool:
        if one.packaged and not shape.has_package:
            return False
        if one.name == "CurrencyIsoCode" and not shape.has_currency:
            return False
        return not shape.lacks(f"{self.name}.{one.wire_name(shape)}")


def _fields(*fields: Field) -> Mapping[str, Field]:
    return MappingProxyType({one.name: one for one in (*_SYSTEM, *fields)})


def _packaged(name: str, kind: str = "string", length: int = 255) -> Field:
    return Field(name, kind, length, packaged=True, updateable=True)


def _writable(name: str, kind: str = "string", length: int = 255) -> Field:
    return Field(name, kind, length, createable=True, updateable=True)


_SYSTEM = (
    Field("Id", "id", 18),
    Field("IsDeleted", "boolean"),
    Field("CreatedDate", "datetime"),
    Field("SystemModstamp", "datetime"),
)

_ORDER = SObject(
    "Order",
    "801",
    _fields(
        Field("OrderNumber", length=30),
        _writable("Status", "picklist"),
        _writable("EffectiveDate", "date", 0),
        _writable("AccountId", "reference", 18),
        _writable("BillToContactId", "reference", 18),
        _writable("CurrencyIsoCode", "picklist", 3),
        Field("TotalAmount", "currency"),
        _packaged("DR_Order_Id__c"),
        _packaged("DR_Order_State__c", "picklist"),
        _packaged("DR_Fraud_State__c", "picklist"),
        _packaged("DR_Payment_Status__c", "picklist"),
        _packaged("DR_Payment_Failure_Reason__c", "textarea", 131_072),
        _packaged("DR_Customer_Type__c", "picklist"),
        _packaged("DR_Selling_Entity__c"),
        _packaged("DR_Total_Duty__c", "currency", 0),
        _packaged("DR_Total_IOR_Tax__c", "currency", 0),
        _packaged("DR_Total_Regulatory_Fee__c", "currency", 0),
        _packaged("Has_Landed_Cost__c", "boolean", 0),
    ),
    parents={"Account": ("AccountId", "Account"), "BillToContact": ("BillToContactId", "Contact")},
    children={"OrderItems": ("OrderItem", "OrderId")},
)

_ORDER_ITEM = SObject(
    "OrderItem",
    "802",
    _fields(
        Field("OrderId", "reference", 18, createable=True),
        Field("OrderItemNumber", length=30),
        Field("Product2Id", "reference", 18, createable=True),
        _writable("Quantity", "double", 0),
        _writable("UnitPrice", "currency", 0),
        Field("TotalPrice", "currency"),
        Field("TotalTaxAmount", "currency"),
        _packaged("DR_Order_Item_Id__c"),
        _packaged("DR_Order_Item_State__c", "picklist"),
        _packaged("DR_Duty__c", "currency", 0),
        _packaged("DR_IOR_Tax__c", "currency", 0),
        _packaged("DR_Regulatory_Fee__c", "currency", 0),
        _packaged("DR_Open_Quantity__c", "double", 0),
        _packaged("DR_Fulfilled_Quantity__c", "double", 0),
        _packaged("DR_Cancelled_Quantity__c", "double", 0),
    ),
    parents={"Product2": ("Product2Id", "Product2")},
)

_TASK = SObject(
    "Task",
    "00T",
    _fields(
        _writable("WhatId", "reference", 18),
        _writable("WhoId", "reference", 18),
        _writable("OwnerId", "reference", 18),
        _writable("Subject", "combobox"),
        _writable("Status", "picklist", 40),
        _writable("Priority", "picklist", 40),
        _writable("ActivityDate", "date", 0),
        _writable("Description", "textarea", 32_000),
        _writable("TaskSubtype", "picklist", 40),
        _writable("Type", "picklist", 40),
    ),
    createable=True,
)

_USER = SObject(
    "User",
    "005",
    _fields(
        Field("Username", length=80),
        Field("Name", length=121),
        Field("Email", "email", 128),
        Field("FederationIdentifier", length=512),
        Field("IsActive", "boolean"),
    ),
)

_PERMISSION_SET = SObject(
    "PermissionSet", "0PS", _fields(Field("Name", length=80), Field("Label", length=80))
)

_ASSIGNMENT = SObject(
    "PermissionSetAssignment",
    "0Pa",
    _fields(
        Field("AssigneeId", "reference", 18),
        Field("PermissionSetId", "reference", 18),
        Field("PermissionSetGroupId", "reference", 18),
        Field("ExpirationDate", "datetime"),
    ),
    parents={
        "Assignee": ("AssigneeId", "User"),
        "PermissionSet": ("PermissionSetId", "PermissionSet"),
    },
)

_COMPONENT = SObject(
    "PermissionSetGroupComponent",
    "0PH",
    _fields(
        Field("PermissionSetId", "reference", 18), Field("PermissionSetGroupId", "reference", 18)
    ),
    parents={"PermissionSet": ("PermissionSetId", "PermissionSet")},
)

_ACCOUNT = SObject("Account", "001", _fields(Field("Name", length=255)))
_CONTACT = SObject(
    "Contact", "003", _fields(Field("Name", length=255), Field("Email", "email", 80))
)
_PRODUCT = SObject(
    "Product2",
    "01t",
    _fields(
        Field("Name", length=255),
        Field("StockKeepingUnit", length=180),
        Field("ProductCode", length=255),
    ),
)

PARENTS_ONLY: Mapping[str, SObject] = MappingProxyType(
    {one.name: one for one in (_ACCOUNT, _CONTACT, _PRODUCT)}
)
"""Objects that are here only as what a lookup leads to; they cannot be queried by themselves."""

OBJECTS: Mapping[str, SObject] = MappingProxyType(
    {
        one.name: one
        for one in (_ORDER, _ORDER_ITEM, _TASK, _USER, _PERMISSION_SET, _ASSIGNMENT, _COMPONENT)
    }
)
"""Objects that can be queried."""

KNOWN: Mapping[str, SObject] = MappingProxyType({**OBJECTS, **PARENTS_ONLY})
