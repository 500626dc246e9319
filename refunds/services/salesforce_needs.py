"""What the desk needs of Salesforce, field by field, and what each is for.

The words read on after the field's name, in what `manage.py check_salesforce` prints.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: What the fields of an Order are for; the package's are named without their namespace.
OF_ORDERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Id": "tells orders apart",
        "OrderNumber": "is what reps look for",
        "Status": "shows how far the order is",
        "EffectiveDate": "shows the day of the order",
        "CreatedDate": "sorts the list of orders",
        "SystemModstamp": "tells what changed since the last look",
        "AccountId": "tells companies apart",
        "Account.Name": "shows the company",
        "BillToContact.Name": "shows the buyer",
        "BillToContact.Email": "finds the orders of a buyer",
        "CurrencyIsoCode": "is the currency of the order",
        "TotalAmount": "shows what the order came to",
        "DR_Order_Id__c": "leads to the order at Digital River; nothing is refunded without it",
        "DR_Order_State__c": "tells which orders can be refunded",
        "DR_Fraud_State__c": "shows whether fraud is looked into",
        "DR_Payment_Status__c": "shows whether the order was paid",
        "DR_Payment_Failure_Reason__c": "shows why it was not paid",
        "DR_Customer_Type__c": "shows whether the buyer is a business",
        "DR_Selling_Entity__c": "shows who sold it",
        "DR_Total_Duty__c": "shows the importer duty",
        "DR_Total_IOR_Tax__c": "shows the importer tax",
        "DR_Total_Regulatory_Fee__c": "shows the fees",
        "Has_Landed_Cost__c": "shows whether duty and importer tax were charged",
    }
)
#: What the fields of an OrderItem, which Salesforce shows as Order Product, are for.
OF_LINES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Id": "tells order products apart",
        "OrderId": "leads to the order",
        "SystemModstamp": "tells what changed since the last look",
        "Product2.Name": "shows the product",
        "Product2.StockKeepingUnit": "shows the product's SKU",
        "Product2.ProductCode": "shows the product's code",
        "Quantity": "is what was ordered",
        "UnitPrice": "shows the price of one",
        "TotalPrice": "shows the price of the line",
        "TotalTaxAmount": "shows the tax of the line",
        "OrderItemNumber": "sorts the lines of an order",
        "DR_Order_Item_Id__c": "leads to the line at Digital River; no line is refunded without it",
        "DR_Order_Item_State__c": "shows how far the line is",
        "DR_Duty__c": "shows the line's importer duty",
        "DR_IOR_Tax__c": "shows the line's importer tax",
        "DR_Regulatory_Fee__c": "shows the line's fee",
        "DR_Open_Quantity__c": "shows what is still to be fulfilled",
        "DR_Fulfilled_Quantity__c": "is what can be refunded",
        "DR_Cancelled_Quantity__c": "is what was cancelled",
    }
)
#: What the fields of a PermissionSetAssignment are for.
OF_ASSIGNMENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AssigneeId": "tells people apart",
        "Assignee.Username": "names the person",
        "Assignee.Email": "finds the person's account at the desk",
        "Assignee.FederationIdentifier": "finds it where people sign in from outside",
        "Assignee.IsActive": "leaves out people who left",
        "ExpirationDate": "leaves out what has run out",
        "PermissionSetGroupId": "follows permission set groups",
        "PermissionSet.Name": "finds the permission set",
    }
)
OF_COMPONENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "PermissionSetGroupId": "follows permission set groups",
        "PermissionSet.Name": "finds the groups that hold the permission set",
    }
)
#: What a Task on the order is made with.
OF_TASKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "WhatId": "puts the task on the order",
        "Subject": "names the refund and its state",
        "Description": "tells the amount and the reference",
        "Status": "has it done already",
        "Priority": "is normal",
        "ActivityDate": "is the day the refund settled",
    }
)
#: Where a lookup leads, and the field that holds it.
LOOKUPS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "Account": ("Account", "AccountId"),
        "BillToContact": ("Contact", "BillToContactId"),
        "Product2": ("Product2", "Product2Id"),
        "Assignee": ("User", "AssigneeId"),
        "PermissionSet": ("PermissionSet", "PermissionSetId"),
    }
)
