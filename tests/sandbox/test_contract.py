"""Every kind of answer is valid against Digital River's own document."""

from __future__ import annotations

import httpx
import pytest

from sandbox.errors import ERROR_TYPES
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.sandbox.conftest import Clock
from tests.sandbox.contract import check


@pytest.mark.parametrize("case", [name for name in SHOWCASE if name != "no_digital_river_id"])
def test_order_is_valid(client: httpx.Client, shop: Sandbox, case: str) -> None:
    order = check(client.get(f"/orders/{shop.order_id(SHOWCASE[case])}"), "/orders/{id}")

    assert order["upstreamId"] == SHOWCASE[case]


def test_lists_are_valid(client: httpx.Client) -> None:
    assert len(check(client.get("/orders?limit=100"), "/orders")["data"]) == 100
    refunds = check(client.get("/refunds?limit=100"), "/refunds")["data"]
    states = {refund["state"] for refund in refunds}
    assert states == {"pending", "pending_information", "succeeded", "failed", "expired"}


def test_refunds_and_their_events_are_valid(
    client: httpx.Client, shop: Sandbox, clock: Clock
) -> None:
    for case in ("plain_usd", "failing_card", "wire_transfer", "jpy", "kwd"):
        order = client.get(f"/orders/{shop.order_id(SHOWCASE[case])}").json()
        body = {
            "orderId": order["id"],
            "currency": order["currency"],
            "items": [{"itemId": order["items"][0]["id"], "quantity": 1, "percent": 100}],
            "reason": "Broken",
            "metadata": {"refundReference": "R-1"},
        }
        refund = check(client.post("/refunds", json=body), "/refunds", "post")
        assert "amount" not in refund
        assert "charges" not in refund
        clock.move(minutes=5)
        settled = check(client.get(f"/refunds/{refund['id']}"), "/refunds/{id}")
        assert settled["state"] != "pending"
        assert "charges" in settled
        address = f"/_sandbox/orders/{order['id']}"
        for action in ("dispute", "resolve-dispute", "chargeback"):
            assert client.post(f"{address}/{action}", json={"amount": 1}).status_code == 200
        check(client.get(f"/orders/{order['id']}"), "/orders/{id}")
        updated = client.post(f"/refunds/{refund['id']}", json={"metadata": {"seen": True}})
        assert check(updated, "/refunds/{id}", "post")["metadata"] == {"seen": True}

    events = check(client.get("/events?limit=100"), "/events")["data"]
    assert {event["type"] for event in events} == {
        "refund.pending",
        "refund.pending_information",
        "refund.complete",
        "refund.failed",
        "refund.updated",
        "order.charge.refund.pending",
        "order.charge.refund.complete",
        "order.charge.refund.failed",
        "order.refunded",
        "order.credit_memo.created",
        "order.dispute",
        "order.dispute.resolved",
        "order.chargeback",
    }
    check(client.get(f"/events/{events[0]['id']}"), "/events/{id}")


@pytest.mark.parametrize(
    ("method", "address", "path", "status"),
    [
        ("GET", "/orders/1", "/orders/{id}", 404),
        ("GET", "/refunds/re_1", "/refunds/{id}", 404),
        ("GET", "/events/1", "/events/{id}", 404),
        ("POST", "/refunds", "/refunds", 400),
        ("GET", "/refunds?skuId=1", "/refunds", 400),
    ],
)
def test_error_is_valid(
    client: httpx.Client, method: str, address: str, path: str, status: int
) -> None:
    response = client.request(method, address)

    assert response.status_code == status
    assert check(response, path, method.lower())["type"] == ERROR_TYPES[status]


@pytest.mark.parametrize(
    "fault", ["rate-limited", *(f"error;status={s}" for s in (408, 409, 500, 502, 503, 504))]
)
def test_injected_error_is_valid(client: httpx.Client, fault: str) -> None:
    response = client.post("/refunds", json={}, headers={"X-Sandbox-Fault": fault})

    assert check(response, "/refunds", "post")["errors"]


def test_missing_key_is_a_valid_error(client: httpx.Client) -> None:
    response = client.get("/orders/1", headers={"Authorization": ""})

    assert response.status_code == 401
    assert check(response, "/orders/{id}")["type"] == "unauthorized"
