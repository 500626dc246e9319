"""Disputes and chargebacks: what the customer's bank does to an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest
import simplejson

from sandbox.orders import Line, item_id_of, make_order, order_id_of
from sandbox.store import Sandbox
from tests.sandbox.conftest import Clock, Connect, MakeSandbox

ORDER = order_id_of(1)
ADMIN = f"/_sandbox/orders/{ORDER}"


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> Sandbox:
    """An order of 100.00: two lines of 60.00 and 30.00, shipping of 8.00 and a fee of 2.00."""
    lines = [Line(Decimal("60.00")), Line(Decimal("30.00"), fee=Decimal("2.00"))]
    return make_sandbox([make_order(1, lines=lines, shipping=Decimal("8.00"))])


@pytest.fixture
def plain(sandbox: Sandbox, connect: Connect) -> httpx.Client:
    return connect(sandbox)


def read(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return simplejson.loads(response.content, use_decimal=True)


def charge_back(client: httpx.Client, amount: Any) -> Any:
    return read(client.post(f"{ADMIN}/chargeback", json={"amount": amount}))


def refund(client: httpx.Client, status: int = 201, **body: Any) -> Any:
    body = {"orderId": ORDER, "currency": "USD", **body}
    return read(client.post("/refunds", json=body), status)


def available(client: httpx.Client) -> list[Decimal]:
    """Return what is available of the order, then of each item."""
    order = read(client.get(f"/orders/{ORDER}"))
    return [each["availableToRefundAmount"] for each in (order, *order["items"])]


def event_types(client: httpx.Client) -> list[str]:
    """Return the types of the events, oldest first."""
    return [event["type"] for event in client.get("/events?limit=100").json()["data"]][::-1]


# -- disputes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["fulfilled", "complete", "returned"])
def test_dispute_closes_the_order_until_it_is_resolved(
    make_sandbox: MakeSandbox, connect: Connect, state: str
) -> None:
    order = make_order(1, lines=[Line(Decimal("10.00"))], state=state)
    client = connect(make_sandbox([order]))

    disputed = read(client.post(f"{ADMIN}/dispute"))
    assert disputed["state"] == "dispute"
    assert "dispute" in disputed["stateTransitions"]
    refund(client, 400, percent=100)
    resolved = read(client.post(f"{ADMIN}/resolve-dispute"))

    assert resolved["state"] == state
    refund(client, percent=100)
    assert event_types(client) == ["order.dispute", "order.dispute.resolved", "refund.pending"]
    events = read(client.get("/events"))["data"]
    assert events[2]["data"]["object"] == disputed
    assert events[1]["data"]["object"] == resolved


def test_order_that_was_made_in_dispute_is_complete_afterwards(
    make_sandbox: MakeSandbox, connect: Connect
) -> None:
    order = make_order(1, lines=[Line(Decimal("10.00"))], state="dispute")
    client = connect(make_sandbox([order]))

    assert read(client.post(f"{ADMIN}/resolve-dispute"))["state"] == "complete"


def test_dispute_twice_or_resolved_without_one_is_refused(plain: httpx.Client) -> None:
    assert plain.post(f"{ADMIN}/resolve-dispute").status_code == 400
    plain.post(f"{ADMIN}/dispute")
    assert plain.post(f"{ADMIN}/dispute").status_code == 400
    assert event_types(plain) == ["order.dispute"]


@pytest.mark.parametrize("action", ["dispute", "resolve-dispute", "chargeback"])
def test_order_that_is_not_known_is_not_found(plain: httpx.Client, action: str) -> None:
    address = f"/_sandbox/orders/1/{action}"

    assert plain.post(address, json={"amount": "1.00"}).status_code == 404


# -- chargebacks -------------------------------------------------------------------------------


def test_chargeback_lowers_what_is_available(plain: httpx.Client, clock: Clock) -> None:
    clock.move(minutes=1)

    order = charge_back(plain, "49.00")

    # 49.00 of the 98.00 that are no fees: half of every component.
    assert available(plain) == [Decimal("51.00"), Decimal("30.00"), Decimal("15.00")]
    assert order["availableToRefundAmount"] == Decimal("51.00")
    assert order["capturedAmount"] == Decimal("100.00")
    assert "refundedAmount" not in order
    assert order["updatedTime"] == "2024-04-01T09:01:00Z"
    refund(plain, 400, amount="51.01")
    refund(plain, 400, type="shipping", amount="4.01")
    assert refund(plain, type="shipping", percent=100)["amount"] == Decimal("4.00")
    refund(plain, items=[{"itemId": item_id_of(1, 0), "amount": "30.00"}])
    assert available(plain) == [Decimal("17.00"), Decimal(0), Decimal("15.00")]


def test_chargeback_is_told_with_the_order_and_its_amount(plain: httpx.Client) -> None:
    order = charge_back(plain, 10)
    charge_back(plain, "5.50")

    second, first = read(plain.get("/events"))["data"]
    assert first["type"] == second["type"] == "order.chargeback"
    assert first["data"]["object"] == {**order, "chargebackAmount": Decimal("10.00")}
    assert second["data"]["object"]["chargebackAmount"] == Decimal("5.50")
    assert second["data"]["object"]["availableToRefundAmount"] == Decimal("84.50")


@pytest.mark.parametrize(
    ("amount", "left"),
    [("98.00", ["2.00", "0", "0"]), ("99.00", ["1.00", "0", "0"]), ("100.00", ["0", "0", "0"])],
)
def test_chargeback_takes_the_fees_last(plain: httpx.Client, amount: str, left: list[str]) -> None:
    charge_back(plain, amount)

    assert available(plain) == [Decimal(figure) for figure in left]


def test_chargeback_of_more_than_is_left_leaves_nothing(plain: httpx.Client) -> None:
    pending = refund(plain, amount="60.00")
    charge_back(plain, "90.00")
    assert available(plain) == [0, 0, 0]

    # Captured 100.00 less charged back 90.00: the failed refund sets 10.00 free, and not 60.00.
    plain.post(f"/_sandbox/refunds/{pending['id']}/fail")

    assert available(plain)[0] == Decimal("10.00")
    refund(plain, 400, amount="10.01")


def test_success_for_less_pays_the_chargeback_first(plain: httpx.Client) -> None:
    pending = refund(plain, percent=100)
    charge_back(plain, "15.00")
    address = f"/_sandbox/refunds/{pending['id']}/succeed"

    read(plain.post(address, json={"refundedAmount": "80.00"}))

    assert available(plain)[0] == Decimal("5.00")
    assert read(plain.get(f"/orders/{ORDER}"))["refundedAmount"] == Decimal("80.00")


def test_refunds_of_a_part_do_not_move_the_chargeback(plain: httpx.Client) -> None:
    charge_back(plain, "49.00")
    pending = refund(plain, type="shipping", percent=100)
    plain.post(f"/_sandbox/refunds/{pending['id']}/succeed")

    refund(plain, 400, type="shipping", percent=100)
    assert available(plain) == [Decimal("47.00"), Decimal("30.00"), Decimal("15.00")]


def test_several_chargebacks_take_at_most_what_was_captured(plain: httpx.Client) -> None:
    charge_back(plain, "70.00")
    response = plain.post(f"{ADMIN}/chargeback", json={"amount": "30.01"})

    assert response.status_code == 400
    assert response.json()["errors"][0]["parameter"] == "amount"
    charge_back(plain, "30.00")
    assert available(plain) == [0, 0, 0]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"amount": "0"},
        {"amount": -1},
        {"amount": "1.001"},
        {"amount": "NaN"},
        {"amount": "much"},
        {"amount": True},
        {"amount": [1]},
        {"amount": "1e400"},
        {"amount": "100.01"},
    ],
)
def test_chargeback_of_no_such_amount_is_refused(plain: httpx.Client, body: dict[str, Any]) -> None:
    assert plain.post(f"{ADMIN}/chargeback", json=body).status_code == 400
    assert available(plain)[0] == Decimal("100.00")
    assert event_types(plain) == []


def test_chargeback_goes_with_its_order(sandbox: Sandbox, plain: httpx.Client) -> None:
    charge_back(plain, "49.00")
    sandbox.put_order(make_order(1, lines=[Line(Decimal("12.00"))]))
    assert available(plain)[0] == Decimal("12.00")
    charge_back(plain, "12.00")

    sandbox.reset()

    assert available(plain)[0] == Decimal("100.00")
