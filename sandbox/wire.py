"""How orders, refunds and events look on the wire.

Money is written as JSON numbers from Decimal, with all the decimals of its currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import simplejson

from sandbox.allocation import Balance, ItemShare, PartKey, Parts, item_minors, to_major
from sandbox.moments import event_time, resource_time
from sandbox.orders import credit_memo_file, stable_uuid

VERSION = "2021-12-13"
KNOWN_VERSIONS = (
    "2020-01-07", "2020-09-30", "2020-12-17", "2021-02-23", "2021-03-23", VERSION,
)  # fmt: skip

CHARGE_REFUND_STATES = {
    "pending": "pending",
    "pending_information": "pending",
    "succeeded": "complete",
    "failed": "failed",
    "expired": "failed",
}
HOLDING = frozenset(("pending", "pending_information", "succeeded"))
"""The refund states whose money is not available; a failed or expired one gives it back."""


@dataclass(frozen=True, slots=True)
class RefundRow:
    """A refund as the state file holds it; money in minor units, times in microseconds."""

    number: int
    id: str
    order_id: str
    currency: str
    charge_id: str
    source_id: str
    state: str
    type: str | None
    minor: int
    refunded: int
    parts: Parts
    items: tuple[ItemShare, ...]
    reason: str | None
    failure_reason: str | None
    metadata: Mapping[str, Any] | None
    token: str | None
    expires: int | None
    created: int
    updated: int
    plan: str | None

    @property
    def held(self) -> Mapping[PartKey, int]:
        """The parts that this refund keeps from being refunded again."""
        return self.parts if self.state in HOLDING else {}

    @property
    def item_refunded(self) -> Sequence[int]:
        """What was really given back for each entry of the items."""
        if self.state != "succeeded":
            return [0] * len(self.items)
        if self.refunded == self.minor:
            return [share.minor for share in self.items]
        return item_minors(self.items, self.parts)


def dumps(value: object) -> str:
    """Write JSON, Decimals as numbers."""
    return str(simplejson.dumps(value, use_decimal=True, ensure_ascii=False))


def loads(text: str) -> Any:
    """Read JSON, numbers with a fraction as Decimal."""
    return simplejson.loads(text, use_decimal=True)


def refund_json(row: RefundRow) -> dict[str, Any]:
    """Return a refund as the API answers it."""

    def major(minor: int) -> Decimal:
        return to_major(minor, row.currency)

    refund: dict[str, Any] = {
        "id": row.id,
        "createdTime": resource_time(row.created),
        "currency": row.currency,
    }
    if not row.items:
        refund["amount"] = major(row.minor)
    if row.type is not None:
        refund["type"] = row.type
    refund["items"] = [
        _refund_item(share, major(share.minor), major(refunded))
        for share, refunded in zip(row.items, row.item_refunded, strict=True)
    ]
    refund["orderId"] = row.order_id
    if row.reason is not None:
        refund["reason"] = row.reason
    refund["refundedAmount"] = major(row.refunded)
    refund["state"] = row.state
    if row.failure_reason is not None:
        refund["failureReason"] = row.failure_reason
    if row.token is not None and row.expires is not None:
        expires = resource_time(row.expires)
        refund["tokenInformation"] = {"token": row.token, "expiresTime": expires}
        refund["expiresTime"] = expires
    if row.state != "pending":
        refund["charges"] = [
            {
                "id": row.charge_id,
                "captured": True,
                "refunded": row.state == "succeeded",
                "refunds": [
                    {
                        "createdTime": resource_time(row.created),
                        "amount": major(charge_refund_minor(row)),
                        "state": CHARGE_REFUND_STATES[row.state],
                    }
                ],
                "sourceId": row.source_id,
            }
        ]
    if row.metadata is not None:
        refund["metadata"] = row.metadata
    refund["liveMode"] = False
    return refund


def charge_refund_minor(row: RefundRow) -> int:
    """Return what the payment side moves for a refund."""
    return row.refunded if row.state == "succeeded" else row.minor


def _refund_item(share: ItemShare, amount: Decimal, refunded: Decimal) -> dict[str, Any]:
    item: dict[str, Any] = {"itemId": share.item_id, "skuId": share.sku_id, "amount": amount}
    if share.quantity is not None:
        item["quantity"] = share.quantity
    if share.percent is not None:
        item["percent"] = share.percent
    if share.type is not None:
        item["type"] = share.type
    item["refundedAmount"] = refunded
    return item


def order_json(
    document: dict[str, Any],
    *,
    state: str,
    updated: int,
    balance: Balance,
    refunds: Iterable[RefundRow],
    null_available: bool,
) -> dict[str, Any]:
    """Return an order as the API answers it: its document with what refunds have changed."""
    refunds = list(refunds)
    succeeded = [row for row in refunds if row.state == "succeeded"]

    def major(minor: int) -> Decimal:
        return to_major(minor, balance.currency)

    document["state"] = state
    document["updatedTime"] = resource_time(updated)
    document["availableToRefundAmount"] = None if null_available else major(balance.available)
    if succeeded:
        document["refundedAmount"] = major(sum(row.refunded for row in succeeded))
        document["creditMemoPDFs"] = [credit_memo_file(row.id) for row in succeeded]
    for item in document["items"]:
        item["availableToRefundAmount"] = major(balance.item_available(item["id"]))
    charge = document["payment"]["charges"][0]
    if refunds:
        charge["refunded"] = bool(succeeded)
        charge["refunds"] = [_charge_refund(row) for row in refunds]
    return document


def _charge_refund(row: RefundRow) -> dict[str, Any]:
    refund: dict[str, Any] = {
        "id": stable_uuid("charge refund", row.id),
        "createdTime": resource_time(row.created),
        "updatedTime": resource_time(row.updated),
        "amount": to_major(charge_refund_minor(row), row.currency),
        "state": CHARGE_REFUND_STATES[row.state],
    }
    if row.failure_reason is not None:
        refund["failureCode"] = row.failure_reason
        refund["failureMessage"] = row.failure_reason.replace("_", " ").capitalize()
    return refund


def credit_memo_json(row: RefundRow, customer_id: str) -> dict[str, Any]:
    """Return the object of `order.credit_memo.created`."""
    file = credit_memo_file(row.id)
    return {
        "id": stable_uuid("credit memo event", row.id),
        "fileId": file["id"],
        "orderId": row.order_id,
        "customerId": customer_id,
        "purpose": "customer_credit_memo",
        "invoiceURL": file["url"],
        "liveMode": False,
    }


def chargeback_json(order: Mapping[str, Any], minor: int, currency: str) -> dict[str, Any]:
    """Return the object of `order.chargeback`: the order, and what was charged back this time.

    A guess: Digital River publishes no sample of this event. A receiver must read the order anew.
    """
    return {**order, "chargebackAmount": to_major(minor, currency)}


def event_json(
    identifier: str, event_type: str, created: int, subject: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an event around an object.

    The contract spells the version in two ways, and requires the one it does not describe.
    """
    return {
        "id": identifier,
        "type": event_type,
        "data": {"object": subject},
        "liveMode": False,
        "createdTime": event_time(created),
        "webhookIds": [],
        "pendingWebhooks": 0,
        "digitalriverVersion": VERSION,
        "digitalRiverVersion": VERSION,
    }
