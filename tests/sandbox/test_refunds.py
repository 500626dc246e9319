"""Making refunds over the wire: what is taken, what is refused, and what becomes of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import simplejson

from sandbox.orders import Line, item_id_of, make_order, order_id_of
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.sandbox.conftest import Clock, Connect, MakeSandbox

NUMBER = 7
ORDER = order_id_of(NUMBER)
ITEM = item_id_of(NUMBER, 0)
TOO_MUCH = "The requested refund amount is greater than the available amount."


def worked_sample(**more: Any) -> Any:
    line = Line(Decimal("20.00"), 2, tax=Decimal("1.61"))
    return make_order(
        NUMBER, lines=[line], shipping=Decimal("5.00"), shipping_tax=Decimal("0.40"), **more
    )


@pytest.fixture
def sample(make_sandbox: MakeSandbox, connect: Connect) -> httpx.Client:
    return connect(make_sandbox([worked_sample()]))


def read(response: httpx.Response) -> Any:
    return simplejson.loads(response.content, use_decimal=True)


def post(client: httpx.Client, **body: Any) -> httpx.Response:
    content = simplejson.dumps({"orderId": ORDER, "currency": "USD", **body}, use_decimal=True)
    return client.post("/refunds", content=content)


def available(client: httpx.Client, order_id: str = ORDER) -> Decimal:
    amount: Decimal = read(client.get(f"/orders/{order_id}"))["availableToRefundAmount"]
    return amount


def refused(response: httpx.Response) -> tuple[str, str, str]:
    assert response.status_code == 400, response.text
    (error,) = response.json()["errors"]
    return error["code"], error["parameter"], error["message"]


@pytest.mark.parametrize(
    ("body", "amount", "left"),
    [
        ({"type": "tax", "percent": 100}, "2.01", "25.00"),
        ({"type": "shipping", "percent": 100}, "5.40", "21.61"),
        ({"percent": 50}, "13.51", "13.50"),
        ({"percent": 100}, "27.01", "0.00"),
        ({"amount": Decimal("27.01")}, "27.01", "0.00"),
        ({"amount": "10.00"}, "10.00", "17.01"),
        ({"type": "tax", "amount": Decimal("2.01")}, "2.01", "25.00"),
    ],
)
def test_refund_of_the_worked_sample(
    sample: httpx.Client, body: dict[str, Any], amount: str, left: str
) -> None:
    response = post(sample, **body)

    assert response.status_code == 201
    refund = read(response)
    assert refund["amount"] == Decimal(amount)
    assert refund["state"] == "pending"
    assert refund["refundedAmount"] == 0
    assert available(sample) == Decimal(left)


def test_item_refund_of_the_worked_sample(sample: httpx.Client) -> None:
    refund = read(post(sample, items=[{"itemId": ITEM, "quantity": "2", "percent": 100}]))

    assert "amount" not in refund
    assert refund["items"][0]["amount"] == Decimal("21.61")
    order = read(sample.get(f"/orders/{ORDER}"))
    assert order["items"][0]["availableToRefundAmount"] == 0
    assert order["availableToRefundAmount"] == Decimal("5.40")


def test_item_percentage_of_some_units(sample: httpx.Client) -> None:
    refund = read(post(sample, items=[{"itemId": ITEM, "quantity": 1, "percent": 100}]))

    assert refund["items"][0]["amount"] == Decimal("10.81")


def test_refund_settles_when_its_time_has_come(sample: httpx.Client, clock: Clock) -> None:
    refund = read(post(sample, amount=Decimal("10.00")))
    assert "refundedAmount" not in read(sample.get(f"/orders/{ORDER}"))
    clock.move(minutes=4, seconds=59)
    assert read(sample.get(f"/refunds/{refund['id']}"))["state"] == "pending"
    clock.move(seconds=1)

    settled = read(sample.get(f"/refunds/{refund['id']}"))

    assert settled["state"] == "succeeded"
    assert settled["refundedAmount"] == Decimal("10.00")
    assert settled["charges"][0]["refunds"][0]["state"] == "complete"
    order = read(sample.get(f"/orders/{ORDER}"))
    assert order["refundedAmount"] == Decimal("10.00")
    assert order["availableToRefundAmount"] == Decimal("17.01")
    assert order["totalAmount"] == order["capturedAmount"] == Decimal("27.01")
    events = [event["type"] for event in read(sample.get("/events"))["data"]]
    assert events[::-1] == [
        "refund.pending",
        "order.charge.refund.pending",
        "order.charge.refund.complete",
        "refund.complete",
        "order.refunded",
        "order.credit_memo.created",
    ]


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        ({"card_number": "4000000000004111"}, "expired_or_canceled_card"),
        ({"card_number": "4556602564240839"}, None),
        ({"owner_last_name": "RefundFail"}, "account_closed"),
        ({"owner_last_name": "refundFail", "payment": "alipay"}, "account_closed"),
        ({"owner_last_name": "RefundFailedAfterPending", "payment": "directDebit"}, None),
    ],
)
def test_refund_fails_by_its_trigger(
    make_sandbox: MakeSandbox,
    connect: Connect,
    clock: Clock,
    trigger: dict[str, str],
    reason: str | None,
) -> None:
    client = connect(make_sandbox([worked_sample(**trigger)]))
    refund = read(post(client, percent=100))
    assert available(client) == 0
    clock.move(minutes=5)

    failed = read(client.get(f"/refunds/{refund['id']}"))

    assert (failed["state"], failed.get("failureReason")) == ("failed", reason)
    assert failed["refundedAmount"] == 0
    assert available(client) == Decimal("27.01")
    assert "4000000000004111" not in client.get(f"/orders/{ORDER}").text
    assert post(client, percent=100).status_code == 201


def test_refund_refused_on_creation_by_its_trigger(
    make_sandbox: MakeSandbox, connect: Connect
) -> None:
    client = connect(make_sandbox([worked_sample(owner_last_name="RefundFailWhileCreation")]))

    assert refused(post(client, percent=100))[0] == "invalid_parameter"
    assert available(client) == Decimal("27.01")


@pytest.mark.parametrize("payment", ["wireTransfer", "konbini", "bPay", "onlineBanking"])
def test_receiver_method_waits_for_bank_details_then_succeeds(
    make_sandbox: MakeSandbox, connect: Connect, clock: Clock, payment: str
) -> None:
    client = connect(make_sandbox([worked_sample(payment=payment)]))
    address = f"/refunds/{read(post(client, percent=100))['id']}"
    clock.move(minutes=5)

    waiting = read(client.get(address))
    assert waiting["state"] == "pending_information"
    assert waiting["tokenInformation"]["token"]
    assert waiting["expiresTime"] == "2024-05-01T09:05:00Z"
    assert waiting["charges"][0]["refunds"][0]["state"] == "pending"
    assert available(client) == 0

    assert client.post(f"/_sandbox{address}/bank-details").json()["state"] == "pending"
    clock.move(minutes=5)
    assert read(client.get(address))["state"] == "succeeded"


def test_bank_details_may_lead_to_a_failure(
    make_sandbox: MakeSandbox, connect: Connect, clock: Clock
) -> None:
    order = worked_sample(payment="konbini", owner_last_name="RefundFailAfterPaymentInfo")
    client = connect(make_sandbox([order]))
    address = f"/refunds/{read(post(client, percent=100))['id']}"
    clock.move(minutes=5)
    client.post(f"/_sandbox{address}/bank-details")
    clock.move(minutes=5)

    assert read(client.get(address))["state"] == "failed"


def test_bank_details_that_never_come_let_the_refund_expire(
    make_sandbox: MakeSandbox, connect: Connect, clock: Clock
) -> None:
    client = connect(make_sandbox([worked_sample(payment="wireTransfer")]))
    address = f"/refunds/{read(post(client, percent=100))['id']}"
    clock.move(days=31)

    assert read(client.get(address))["state"] == "expired"
    assert available(client) == Decimal("27.01")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"amount": Decimal("27.02")}, ("invalid_parameter", "amountRequested", TOO_MUCH)),
        (
            {"type": "shipping", "amount": Decimal("5.41")},
            ("invalid_parameter", "amountRequested", TOO_MUCH),
        ),
        (
            {"type": "duty", "percent": 100},
            ("invalid_parameter", "amountRequested", TOO_MUCH),
        ),
        (
            {"items": [{"itemId": ITEM, "amount": Decimal("21.62")}]},
            ("invalid_parameter", "amountRequested", TOO_MUCH),
        ),
        (
            {"items": [{"itemId": ITEM, "amount": 15}, {"itemId": ITEM, "amount": 15}]},
            ("invalid_parameter", "amountRequested", TOO_MUCH),
        ),
        (
            {"currency": "EUR", "percent": 100},
            ("invalid_parameter", "currency", "Currency EUR is not supported."),
        ),
        (
            {"type": "tax", "percent": 50},
            ("invalid_parameter", "percentRequested", "Only full tax refunds are supported."),
        ),
        (
            {"type": "tax", "amount": Decimal("2.00")},
            ("invalid_parameter", "percentRequested", "Only full tax refunds are supported."),
        ),
        ({"orderId": "1", "percent": 100}, ("invalid_parameter", "orderId")),
        ({"orderId": None, "percent": 100}, ("missing_parameter", "orderId")),
        ({"orderId": None, "invoiceId": "1", "percent": 100}, ("invalid_parameter", "invoiceId")),
        ({"orderId": 7, "percent": 100}, ("invalid_parameter", "orderId")),
        ({"currency": None, "percent": 100}, ("missing_parameter", "currency")),
        ({}, ("missing_parameter", "amount")),
        ({"items": []}, ("missing_parameter", "amount")),
        ({"amount": 1, "percent": 1}, ("invalid_parameter", "percent")),
        ({"amount": 1, "items": [{"itemId": ITEM, "amount": 1}]}, ("invalid_parameter", "items")),
        ({"type": "fees", "percent": 100}, ("invalid_parameter", "type")),
        (
            {"type": "tax", "items": [{"itemId": ITEM, "amount": 1}]},
            ("invalid_parameter", "type"),
        ),
        ({"items": [{"itemId": "1", "amount": 1}]}, ("invalid_parameter", "items[0].itemId")),
        ({"items": [{"amount": 1}]}, ("missing_parameter", "items[0].itemId")),
        ({"items": [{"itemId": ITEM}]}, ("missing_parameter", "items[0].amount")),
        (
            {"items": [{"itemId": ITEM, "amount": 1, "percent": 1}]},
            ("invalid_parameter", "items[0].percent"),
        ),
        (
            {"items": [{"itemId": ITEM, "amount": 1, "type": "tax"}]},
            ("invalid_parameter", "items[0].type"),
        ),
        (
            {"items": [{"itemId": ITEM, "amount": 1, "quantity": 3}]},
            ("invalid_quantity_amount", "items[0].quantity"),
        ),
        (
            {"items": [{"itemId": ITEM, "amount": 1, "quantity": 0}]},
            ("invalid_quantity_amount", "items[0].quantity"),
        ),
        (
            {"items": [{"itemId": ITEM, "amount": 1, "quantity": Decimal("1.5")}]},
            ("invalid_integer", "items[0].quantity"),
        ),
        ({"items": [{"itemId": ITEM, "amount": 0}]}, ("invalid_parameter", "items[0].amount")),
        ({"items": ["x"]}, ("invalid_parameter", "items[0]")),
        ({"items": {"itemId": ITEM}}, ("invalid_parameter", "items")),
        ({"items": [{"itemId": ITEM, "sku": "1"}]}, ("unknown_parameter", "items[0].sku")),
        ({"amount": 0}, ("invalid_parameter", "amount")),
        ({"amount": -1}, ("invalid_parameter", "amount")),
        ({"amount": Decimal("1.001")}, ("invalid_format", "amount")),
        ({"amount": "1." + "0" * 80 + "1"}, ("invalid_format", "amount")),
        ({"amount": "1e-9999999"}, ("invalid_format", "amount")),
        ({"amount": "1e-400"}, ("invalid_format", "amount")),
        ({"percent": "50." + "0" * 80 + "1"}, ("invalid_format", "percent")),
        ({"amount": "NaN"}, ("invalid_format", "amount")),
        ({"amount": "1e400"}, ("amount_too_large", "amount")),
        ({"amount": "1,00"}, ("invalid_format", "amount")),
        ({"amount": True}, ("invalid_format", "amount")),
        ({"percent": 0}, ("invalid_parameter", "percent")),
        ({"percent": Decimal("100.01")}, ("invalid_parameter", "percent")),
        ({"percent": 100, "reason": "x" * 65}, ("invalid_parameter", "reason")),
        ({"percent": 100, "reason": 5}, ("invalid_parameter", "reason")),
        ({"percent": 100, "colour": "red"}, ("unknown_parameter", "colour")),
        ({"percent": 100, "metadata": []}, ("invalid_parameter", "metadata")),
        (
            {"percent": 100, "metadata": {str(at): 1 for at in range(21)}},
            ("too_many_metadata_pairs", "metadata"),
        ),
        ({"percent": 100, "metadata": {"k" * 41: 1}}, ("invalid_metadata_key", "metadata")),
        ({"percent": 100, "metadata": {"k": "v" * 501}}, ("invalid_metadata_value", "metadata")),
        (
            {"percent": 100, "metadata": {"k": Decimal("1.5")}},
            ("invalid_metadata_value", "metadata"),
        ),
    ],
)
def test_refund_that_breaks_a_rule_is_refused(
    sample: httpx.Client, body: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert refused(post(sample, **body))[: len(expected)] == expected
    assert available(sample) == Decimal("27.01")
    assert sample.get("/refunds").json()["data"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"amount": NaN}',
        b'{"amount": Infinity}',
        b'{"reason": "\\ud800"}',
        b"\xff",
        b"[" * 100_000,
        b'{"amount": ' + b"9" * 5_000 + b"}",
    ],
)
def test_body_that_is_no_json_object_is_refused(sample: httpx.Client, body: bytes) -> None:
    assert refused(sample.post("/refunds", content=body))[0] == "invalid_format"


def test_amount_beyond_any_number_is_refused(sample: httpx.Client) -> None:
    body = f'{{"orderId": "{ORDER}", "currency": "USD", "amount": 1e400}}'

    assert refused(sample.post("/refunds", content=body))[0] == "amount_too_large"


@pytest.mark.parametrize("state", ["accepted", "in_review", "cancelled", "pending_payment"])
def test_order_without_a_capture_is_refused(
    make_sandbox: MakeSandbox, connect: Connect, state: str
) -> None:
    client = connect(make_sandbox([worked_sample(state=state)]))

    assert refused(post(client, percent=100))[:2] == ("invalid_parameter", "order")


def test_disputed_order_is_refused_until_the_dispute_ends(sample: httpx.Client) -> None:
    sample.post(f"/_sandbox/orders/{ORDER}/state", json={"state": "dispute"})
    assert refused(post(sample, percent=100))[:2] == ("invalid_parameter", "order")

    sample.post(f"/_sandbox/orders/{ORDER}/state", json={"state": "complete"})
    assert post(sample, percent=100).status_code == 201
    types = [event["type"] for event in sample.get("/events").json()["data"]]
    assert types == ["refund.pending", "order.dispute.resolved", "order.dispute"]


def test_fees_go_by_the_item_or_with_everything(
    make_sandbox: MakeSandbox, connect: Connect
) -> None:
    line = Line(Decimal("10.00"), 1, fee=Decimal("1.00"), fee_tax=Decimal("0.19"))
    client = connect(make_sandbox([make_order(NUMBER, lines=[line])]))
    assert available(client) == Decimal("11.19")

    code, parameter, message = refused(post(client, amount=Decimal("10.50")))
    assert (code, parameter) == ("invalid_parameter", "amountRequested")
    assert "10.00" in message
    assert "11.19" in message
    item = {"itemId": ITEM, "type": "fees", "percent": 100}
    refund = read(post(client, items=[item]))
    assert refund["items"][0]["amount"] == Decimal("1.19")
    assert "quantity" not in refund["items"][0]
    assert refused(post(client, items=[item]))[1] == "amountRequested"
    assert available(client) == Decimal("10.00")


def test_importer_tax_is_all_or_nothing_and_duty_is_not(
    make_sandbox: MakeSandbox, connect: Connect
) -> None:
    line = Line(Decimal("10.00"), 1, duty=Decimal("2.00"), importer_tax=Decimal("3.00"))
    client = connect(make_sandbox([make_order(NUMBER, lines=[line])]))

    assert refused(post(client, type="importer_tax", percent=99))[1] == "percentRequested"
    assert read(post(client, type="importer_tax", percent=100))["amount"] == Decimal("3.00")
    assert read(post(client, type="duty", amount=Decimal("0.50")))["amount"] == Decimal("0.50")
    item = {"itemId": ITEM, "type": "duty", "percent": 100}
    assert read(post(client, items=[item]))["items"][0]["amount"] == Decimal("1.50")
    assert available(client) == Decimal("10.00")


def test_item_shipping_is_capped_by_the_items_share(
    make_sandbox: MakeSandbox, connect: Connect
) -> None:
    lines = [Line(Decimal("10.00")), Line(Decimal("30.00"))]
    order = make_order(NUMBER, lines=lines, shipping=Decimal("4.00"))
    client = connect(make_sandbox([order]))

    item = {"itemId": ITEM, "type": "shipping", "percent": 100}
    assert read(post(client, items=[item]))["items"][0]["amount"] == Decimal("1.00")
    assert refused(post(client, items=[item]))[1] == "amountRequested"
    assert available(client) == Decimal("43.00")


def test_partly_fulfilled_order_gives_back_what_was_captured(
    make_sandbox: MakeSandbox, connect: Connect
) -> None:
    line = Line(Decimal("10.00"), 3, tax=Decimal("1.00"), fulfilled=2)
    order = make_order(NUMBER, lines=[line], shipping=Decimal("5.00"))
    client = connect(make_sandbox([order]))

    shown = read(client.get(f"/orders/{ORDER}"))

    assert shown["totalAmount"] == Decimal("16.00")
    assert shown["capturedAmount"] == Decimal("12.34")
    assert shown["cancelledAmount"] == Decimal("3.66")
    assert shown["availableToRefundAmount"] == Decimal("12.34")
    assert shown["items"][0]["availableToRefundAmount"] == Decimal("7.34")


def test_yen_has_no_decimals(make_sandbox: MakeSandbox, connect: Connect) -> None:
    order = make_order(NUMBER, lines=[Line(Decimal(1001))], currency="JPY")
    client = connect(make_sandbox([order]))

    assert refused(post(client, currency="JPY", amount=Decimal("0.5")))[0] == "invalid_format"
    assert read(post(client, currency="JPY", percent=50))["amount"] == 501
    assert '"availableToRefundAmount": 500}' in client.get(f"/orders/{ORDER}").text


def test_admin_success_for_less_releases_the_rest(sample: httpx.Client) -> None:
    refund = read(post(sample, percent=100))
    address = f"/_sandbox/refunds/{refund['id']}/succeed"

    settled = read(sample.post(address, json={"refundedAmount": "20.00"}))

    assert settled["refundedAmount"] == Decimal("20.00")
    assert available(sample) == Decimal("7.01")
    assert sample.post(address).status_code == 400


def test_items_give_back_what_their_parts_give(make_sandbox: MakeSandbox, connect: Connect) -> None:
    lines = [Line(Decimal("60.00")), Line(Decimal("30.00"), fee=Decimal("2.00"))]
    client = connect(make_sandbox([make_order(NUMBER, lines=lines, shipping=Decimal("8.00"))]))
    second = item_id_of(NUMBER, 1)
    items = [
        {"itemId": ITEM, "amount": "40.00"},
        {"itemId": second, "amount": "20.00"},
        {"itemId": ITEM, "amount": "20.00"},
        {"itemId": second, "type": "fees", "percent": 100},
    ]
    refund = read(post(client, items=items))
    body = {"refundedAmount": "41.00"}

    settled = read(client.post(f"/_sandbox/refunds/{refund['id']}/succeed", json=body))

    # Half of 82.00 was given back, so half of each entry was.
    given = [item["refundedAmount"] for item in settled["items"]]
    assert given == [Decimal("20.00"), Decimal("10.00"), Decimal("10.00"), Decimal("1.00")]
    order = read(client.get(f"/orders/{ORDER}"))
    left = [item["availableToRefundAmount"] for item in order["items"]]
    assert left == [Decimal("30.00"), Decimal("20.00")]


def test_admin_failure_carries_its_reason(sample: httpx.Client) -> None:
    refund = read(post(sample, percent=100))
    body = {"failureReason": "account_closed"}

    failed = read(sample.post(f"/_sandbox/refunds/{refund['id']}/fail", json=body))

    assert (failed["state"], failed["failureReason"]) == ("failed", "account_closed")
    assert available(sample) == Decimal("27.01")


def test_admin_settles_at_once(sample: httpx.Client) -> None:
    post(sample, percent=10)
    post(sample, percent=10)

    assert sample.post("/_sandbox/settle").json() == {"settled": 2}
    assert sample.get("/refunds?state=pending").json()["data"] == []


def test_admin_expires_only_what_waits(shop: Sandbox, client: httpx.Client) -> None:
    order_id = shop.order_id(SHOWCASE["waiting_for_bank_details"])
    (refund,) = client.get(f"/refunds?orderId={order_id}").json()["data"]

    expired = client.post(f"/_sandbox/refunds/{refund['id']}/expire")
    assert expired.json()["state"] == "expired"
    assert client.post(f"/_sandbox/refunds/{refund['id']}/expire").status_code == 400


def test_metadata_is_all_that_may_be_changed(sample: httpx.Client) -> None:
    address = f"/refunds/{read(post(sample, percent=100))['id']}"

    assert sample.post(address, json={"metadata": {"a": "b"}}).json()["metadata"] == {"a": "b"}
    assert sample.get(address).json()["metadata"] == {"a": "b"}
    for body, code in (
        ({"reason": "x"}, "unknown_parameter"),
        ({"metadata": {"a": 1}, "amount": 1}, "unknown_parameter"),
        ({}, "missing_parameter"),
    ):
        assert refused(sample.post(address, json=body))[0] == code


def test_state_survives_a_restart(shop: Sandbox, clock: Clock, connect: Connect) -> None:
    order_id = shop.order_id(SHOWCASE["worked_sample"])
    assert order_id is not None
    refund = post(connect(shop), orderId=order_id, percent=50).json()
    shop.close()

    again = Sandbox(shop.path, clock=clock, settle_after=timedelta(hours=9))
    assert again.refund(refund["id"])["state"] == "pending"
    clock.move(minutes=5)
    assert again.refund(refund["id"])["state"] == "succeeded"
    assert available(connect(again), order_id) == Decimal("13.50")
    again.close()
