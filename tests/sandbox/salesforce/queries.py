"""The queries that a mirror of orders sends, written out."""

from __future__ import annotations

NAMESPACE = "digitalriverv3__"
_PACKAGED_ORDER = (
    "DR_Order_Id__c", "DR_Order_State__c", "DR_Fraud_State__c", "DR_Payment_Status__c",
    "DR_Payment_Failure_Reason__c", "DR_Customer_Type__c", "DR_Selling_Entity__c",
    "DR_Total_Duty__c", "DR_Total_IOR_Tax__c", "DR_Total_Regulatory_Fee__c", "Has_Landed_Cost__c",
)  # fmt: skip
_PACKAGED_LINE = (
    "DR_Order_Item_Id__c", "DR_Order_Item_State__c", "DR_Duty__c", "DR_IOR_Tax__c",
    "DR_Regulatory_Fee__c", "DR_Open_Quantity__c", "DR_Fulfilled_Quantity__c",
    "DR_Cancelled_Quantity__c",
)  # fmt: skip


def order_fields(prefix: str = NAMESPACE, *, currency: bool = True) -> str:
    """Return the fields of an order."""
    standard = (
        "Id, OrderNumber, Status, EffectiveDate, CreatedDate, SystemModstamp, AccountId, "
        "Account.Name, BillToContact.Name, BillToContact.Email, TotalAmount"
    )
    packaged = ", ".join(f"{prefix}{name}" for name in _PACKAGED_ORDER)
    return f"{standard}{', CurrencyIsoCode' if currency else ''}, {packaged}"


def line_fields(prefix: str = NAMESPACE) -> str:
    """Return the fields of an order product."""
    standard = (
        "Id, OrderId, SystemModstamp, Product2.Name, Product2.StockKeepingUnit, "
        "Product2.ProductCode, Quantity, UnitPrice, TotalPrice, TotalTaxAmount, OrderItemNumber"
    )
    return f"{standard}, {', '.join(f'{prefix}{name}' for name in _PACKAGED_LINE)}"


ORDERS = f"SELECT {order_fields()} FROM Order"
LINES = f"SELECT {line_fields()} FROM OrderItem"


def one_order(name: str, value: str) -> str:
    """Return the query for one order with its lines."""
    return (
        f"SELECT {order_fields()}, (SELECT {line_fields()} FROM OrderItems ORDER BY "
        f"OrderItemNumber) FROM Order WHERE {name} = '{value}' LIMIT 2"
    )


def changed(sobject: str, since: str) -> str:
    """Return the query for what changed since a moment."""
    return (
        f"SELECT Id, SystemModstamp FROM {sobject} WHERE SystemModstamp >= {since} "
        "ORDER BY SystemModstamp, Id"
    )


def deleted(sobject: str, since: str) -> str:
    """Return the query for what was deleted since a moment."""
    return (
        f"SELECT Id, SystemModstamp FROM {sobject} WHERE IsDeleted = true "
        f"AND SystemModstamp >= {since} ORDER BY SystemModstamp, Id"
    )


GROUPS = (
    "SELECT PermissionSetGroupId FROM PermissionSetGroupComponent "
    "WHERE PermissionSet.Name = 'DigitalRiver_Connector_Refunds'"
)


def members(group: str) -> str:
    """Return the query for who has the permission set, by a group too."""
    return (
        "SELECT AssigneeId, Assignee.Username, Assignee.Email, Assignee.FederationIdentifier, "
        "Assignee.IsActive, ExpirationDate, PermissionSetGroupId FROM PermissionSetAssignment "
        "WHERE PermissionSet.Name = 'DigitalRiver_Connector_Refunds' "
        f"OR PermissionSetGroupId IN ('{group}')"
    )
