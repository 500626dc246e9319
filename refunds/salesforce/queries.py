"""The very SOQL queries that the desk sends; every name of a field in one place. Pure.

Fields of Digital River's package carry its namespace (``digitalriverv3__``), those of the
organisation that develops it carry none. Values are escaped, moments are written in UTC.

https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select.htm
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

#: The permission set of Digital River's package that lets a rep refund.
PERMISSION_SET: Final = "DigitalRiver_Connector_Refunds"

#: Orders are read with these, the package's without their namespace.
_ORDER_STANDARD: Final = (
    "Id",
    "OrderNumber",
    "Status",
    "EffectiveDate",
    "CreatedDate",
    "SystemModstamp",
    "AccountId",
    "Account.Name",
    "BillToContact.Name",
    "BillToContact.Email",
)
_CURRENCY: Final = "CurrencyIsoCode"
_LINE_STANDARD: Final = (
    "Id",
    "OrderId",
    "SystemModstamp",
    "Product2.Name",
    "Product2.StockKeepingUnit",
    "Product2.ProductCode",
    "Quantity",
    "UnitPrice",
    "TotalPrice",
    "TotalTaxAmount",
    "OrderItemNumber",
)

#: The package's fields of an order with the label that an administrator sees.
ORDER_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DR_Order_Id__c": "Digital River Order Id",
        "DR_Order_State__c": "Digital River Order State",
        "DR_Fraud_State__c": "Digital River Fraud State",
        "DR_Payment_Status__c": "DR Payment Status",
        "DR_Payment_Failure_Reason__c": "DR Payment Failure Reason",
        "DR_Customer_Type__c": "Digital River Customer Type",
        "DR_Selling_Entity__c": "DR Selling Entity",
        "DR_Total_Duty__c": "DR Total Duty",
        "DR_Total_IOR_Tax__c": "DR Total IOR Tax",
        "DR_Total_Regulatory_Fee__c": "DR Total Regulatory Fee",
        "Has_Landed_Cost__c": "Has Landed Cost",
    }
)
#: The package's fields of an order product with the label that an administrator sees.
LINE_LABELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "DR_Order_Item_Id__c": "DR Order Item Id",
        "DR_Order_Item_State__c": "Digital River Order Item State",
        "DR_Duty__c": "DR Duty",
        "DR_IOR_Tax__c": "DR IOR Tax",
        "DR_Regulatory_Fee__c": "DR Regulatory Fee",
        "DR_Open_Quantity__c": "DR Open Quantity",
        "DR_Fulfilled_Quantity__c": "DR Fulfilled Quantity",
        "DR_Cancelled_Quantity__c": "DR Cancelled Quantity",
    }
)


@dataclass(frozen=True, slots=True)
class Fields:
    """How an organisation names its fields.

    ``namespace`` is the package's, empty for none. ``has_currency`` is off in an organisation
    without multiple currencies, whose records have no ``CurrencyIsoCode``.
    """

    namespace: str
    has_currency: bool = True

    def custom(self, name: str) -> str:
        """Return the full name of a field of Digital River's package."""
        return f"{self.namespace}__{name}" if self.namespace else name

    def of_orders(self) -> tuple[str, ...]:
        """Return the paths of the fields that an order is read with."""
        currency = (_CURRENCY,) if self.has_currency else ()
        return (
            *_ORDER_STANDARD,
            *currency,
            "TotalAmount",
            *(self.custom(name) for name in ORDER_LABELS),
        )

    def of_lines(self) -> tuple[str, ...]:
        """Return the paths of the fields that an order product is read with."""
        return (*_LINE_STANDARD, *(self.custom(name) for name in LINE_LABELS))


def orders(fields: Fields, *, since: datetime | None = None) -> str:
    """Return the query for all orders, or those changed since a moment, in no order (bulk)."""
    return _select(fields.of_orders(), "Order", since)


def lines(fields: Fields, *, since: datetime | None = None) -> str:
    """Return the query for all order products, or those changed since a moment (bulk)."""
    return _select(fields.of_lines(), "OrderItem", since)


def changed_orders(fields: Fields, since: datetime) -> str:
    """Return the query for the orders changed since a moment, the oldest change first (REST)."""
    return f"{orders(fields, since=since)} {_OLDEST_FIRST}"


def changed_lines(fields: Fields, since: datetime) -> str:
    """Return the query for the order products changed since a moment, oldest change first."""
    return f"{lines(fields, since=since)} {_OLDEST_FIRST}"


def deleted(sobject: str, since: datetime) -> str:
    """Return the query for what was deleted since a moment; only queryAll answers it.

    Salesforce keeps deleted records for 15 days.
    """
    if sobject not in ("Order", "OrderItem"):
        raise ValueError("only orders and order products are mirrored")
    return (
        f"SELECT Id, SystemModstamp FROM {sobject} WHERE IsDeleted = true "
        f"AND SystemModstamp >= {moment(since)} {_OLDEST_FIRST}"
    )


def one_order(fields: Fields, *, by: str, value: str) -> str:
    """Return the query for one order with its order products; two mean that it is not unique.

    ``by`` is ``Id``, ``OrderNumber`` or the package's ``DR_Order_Id__c`` with its namespace.
    """
    if by not in ("Id", "OrderNumber", fields.custom("DR_Order_Id__c")):
        raise ValueError("an order is looked up by its id, its number or Digital River's id")
    nested = f"(SELECT {', '.join(fields.of_lines())} FROM OrderItems ORDER BY OrderItemNumber)"
    return (
        f"SELECT {', '.join(fields.of_orders())}, {nested} FROM Order "
        f"WHERE {by} = {quoted(value)} LIMIT 2"
    )


def refund_groups() -> str:
    """Return the query for the permission set groups that hold the refund permission set."""
    return (
        "SELECT PermissionSetGroupId FROM PermissionSetGroupComponent "
        f"WHERE PermissionSet.Name = '{PERMISSION_SET}'"
    )


def refund_members(group_ids: Sequence[str]) -> str:
    """Return the query for the people who have the permission set, by itself or by a group."""
    groups = ", ".join(quoted(group_id) for group_id in group_ids)
    by_group = f" OR PermissionSetGroupId IN ({groups})" if groups else ""
    return (
        "SELECT AssigneeId, Assignee.Username, Assignee.Email, Assignee.FederationIdentifier, "
        "Assignee.IsActive, ExpirationDate, PermissionSetGroupId FROM PermissionSetAssignment "
        f"WHERE PermissionSet.Name = '{PERMISSION_SET}'{by_group}"
    )


def task_of(order_id: str, subject: str) -> str:
    """Return the query for the Task of that subject on an order."""
    return (
        f"SELECT Id FROM Task WHERE WhatId = {quoted(order_id)} "
        f"AND Subject = {quoted(subject)} LIMIT 1"
    )


def quoted(text: str) -> str:
    r"""Return the text as a SOQL literal.

    https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm
    """
    for mark, written in _ESCAPES:
        text = text.replace(mark, written)
    return f"'{text}'"


def moment(at: datetime) -> str:
    """Return the moment as a SOQL literal: in UTC, in whole seconds, rounded down."""
    if at.tzinfo is None:
        raise ValueError("the moment must say its time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_OLDEST_FIRST: Final = "ORDER BY SystemModstamp, Id"
#: The backslash first: those that follow write one.
_ESCAPES: Final = (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))


def _select(paths: Sequence[str], sobject: str, since: datetime | None) -> str:
    condition = "" if since is None else f" WHERE SystemModstamp >= {moment(since)}"
    return f"SELECT {', '.join(paths)} FROM {sobject}{condition}"
