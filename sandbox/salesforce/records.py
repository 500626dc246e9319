"""The order as the Salesforce Lightning B2B Commerce App leaves it in Salesforce, in REST JSON.

Fields of the managed package carry its namespace, `digitalriverv3__`. Two things are worth
knowing: an order that Digital River holds as disputed stays complete here, because the package's
picklist has no such state; and `TotalAmount` is what the customer was charged, taxes included.

https://docs.digitalriver.com/salesforce-lightning
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.goods import Product
from sandbox.people import Buyer, Company
from sandbox.salesforce.ids import named_id, record_id
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.shape import NAMESPACE

API = "/services/data/v60.0/sobjects"


@dataclass(frozen=True, slots=True)
class OrderItemFacts:
    """What one Salesforce order product is written from; money for the whole line."""

    item_id: str | None
    product: Product
    quantity: int
    fulfilled: int
    cancelled: int
    unit_price: Decimal
    amount: Decimal
    tax: Decimal
    duty: Decimal
    importer_tax: Decimal
    fee: Decimal


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What the Salesforce order is written from."""

    number: int
    order_number: str
    order_id: str | None
    state: str
    created: datetime
    currency: str
    total: Decimal
    company: Company
    buyer: Buyer
    items: tuple[OrderItemFacts, ...]

    @property
    def salesforce_id(self) -> str:
        """The record id of the order."""
        return record_id("801", self.number)


def salesforce_time(moment: datetime) -> str:
    """Write a moment as Salesforce's JSON has it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _attributes(sobject: str, identifier: str) -> dict[str, str]:
    return {"type": sobject, "url": f"{API}/{sobject}/{identifier}"}


def salesforce_order(facts: OrderFacts) -> dict[str, Any]:
    """Return the Salesforce order with its order products, as a query answers it."""
    identifier = facts.salesforce_id
    account = named_id("001", facts.company.name)
    contact = named_id("003", facts.buyer.email)
    items = [_order_item(facts, at, item) for at, item in enumerate(facts.items)]
    state = facts.state if facts.order_id is not None else "salesforce_failure"
    has_landed_cost = any(item.duty or item.importer_tax for item in facts.items)
    return {
        "attributes": _attributes("Order", identifier),
        "Id": identifier,
        "OrderNumber": facts.order_number,
        "Status": "Activated",
        "EffectiveDate": facts.created.strftime("%Y-%m-%d"),
        "CreatedDate": salesforce_time(facts.created),
        "SystemModstamp": salesforce_time(facts.created + timedelta(hours=5)),
        "AccountId": account,
        "Account": {
            "attributes": _attributes("Account", account),
            "Name": facts.company.name,
        },
        "BillToContactId": contact,
        "BillToContact": {
            "attributes": _attributes("Contact", contact),
            "Name": facts.buyer.name,
            "Email": facts.buyer.email,
        },
        "CurrencyIsoCode": facts.currency,
        "TotalAmount": facts.total,
        "digitalriverv3__DR_Order_Id__c": facts.order_id,
        "digitalriverv3__DR_Order_State__c": "complete" if state == "dispute" else state,
        "digitalriverv3__DR_Fraud_State__c": {
            "blocked": "blocked",
            "in_review": "in_review",
        }.get(facts.state, "passed"),
        "digitalriverv3__DR_Payment_Status__c": (
            None if facts.state == "pending_payment" else "Successful"
        ),
        "digitalriverv3__DR_Customer_Type__c": "business",
        "digitalriverv3__DR_Selling_Entity__c": "Digital River, Inc.",
        "digitalriverv3__DR_Total_Duty__c": sum((item.duty for item in facts.items), Decimal(0)),
        "digitalriverv3__DR_Total_IOR_Tax__c": sum(
            (item.importer_tax for item in facts.items), Decimal(0)
        ),
        "digitalriverv3__DR_Total_Regulatory_Fee__c": sum(
            (item.fee for item in facts.items), Decimal(0)
        ),
        "digitalriverv3__Has_Landed_Cost__c": has_landed_cost,
        "OrderItems": {"totalSize": len(items), "done": True, "records": items},
    }


def _order_item(facts: OrderFacts, at: int, item: OrderItemFacts) -> dict[str, Any]:
    identifier = record_id("802", facts.number * 1000 + at)
    product = named_id("01t", item.product.sku)
    return {
        "attributes": _attributes("OrderItem", identifier),
        "Id": identifier,
        "OrderItemNumber": f"{facts.number * 1000 + at + 1:010d}",
        # Salesforce writes quantities as numbers with a decimal.
        "Quantity": Decimal(item.quantity).quantize(Decimal("0.0")),
        "UnitPrice": item.unit_price,
        "TotalPrice": item.amount,
        "TotalTaxAmount": item.tax,
        "Product2Id": product,
        "Product2": {
            "attributes": _attributes("Product2", product),
            "Name": item.product.name,
            "StockKeepingUnit": item.product.sku,
            "ProductCode": item.product.part_number,
        },
        "digitalriverv3__DR_Order_Item_Id__c": item.item_id,
        "digitalriverv3__DR_Order_Item_State__c": _item_state(item),
        "digitalriverv3__DR_Duty__c": item.duty,
        "digitalriverv3__DR_IOR_Tax__c": item.importer_tax,
        "digitalriverv3__DR_Regulatory_Fee__c": item.fee,
        "digitalriverv3__DR_Open_Quantity__c": _quantity(
            item.quantity - item.fulfilled - item.cancelled
        ),
        "digitalriverv3__DR_Fulfilled_Quantity__c": _quantity(item.fulfilled),
        "digitalriverv3__DR_Cancelled_Quantity__c": _quantity(item.cancelled),
    }


def _quantity(units: int) -> Decimal:
    return Decimal(units).quantize(Decimal("0.0"))


def _item_state(item: OrderItemFacts) -> str:
    if item.fulfilled == item.quantity:
        return "fulfilled"
    if item.cancelled == item.quantity:
        return "cancelled"
    if item.cancelled:
        return "partially_cancelled"
    return "partially_fulfilled" if item.fulfilled else "created"


def flat_order(record: Mapping[str, Any]) -> tuple[Texts, tuple[Texts, ...]]:
    """Return an order and its order products as the stand-in's queries read them.

    A text by field, the package's without their namespace, a lookup's as `Account.Name`.
    """
    order = _flat(record)
    lines = []
    for item in record["OrderItems"]["records"]:
        line = _flat(item)
        line["OrderId"] = order["Id"]
        line["CreatedDate"] = order["CreatedDate"]
        line["SystemModstamp"] = order["SystemModstamp"]
        lines.append(line)
    return order, tuple(lines)


def _flat(record: Mapping[str, Any]) -> Texts:
    texts: Texts = {"IsDeleted": "false"}
    for name, value in record.items():
        if name in ("attributes", "OrderItems"):
            continue
        if isinstance(value, Mapping):
            texts[f"{name}.Id"] = str(record.get(f"{name}Id", ""))
            texts |= {f"{name}.{at}": _text(one) for at, one in value.items() if at != "attributes"}
        else:
            texts[name.removeprefix(f"{NAMESPACE}__")] = _text(value)
    return texts


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return f"{text[:-5]}Z" if text.endswith(".000+0000") else text
