"""Misbehaviour on demand, without a network and over a real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
import simplejson

from sandbox.application import Application
from sandbox.faults import Fault, FaultKind
from sandbox.orders import Line, make_order, order_id_of
from sandbox.serving import serve
from sandbox.store import Sandbox
from sandbox.transport import InProcessTransport
from tests.sandbox.conftest import HEADERS, MakeSandbox

BODY = {"orderId": order_id_of(1), "currency": "USD", "amount": "10.00"}


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> Sandbox:
    return make_sandbox([make_order(1, lines=[Line(Decimal("40.00"))])])


@pytest.fixture(params=["in-process", "http"])
def client(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[httpx.Client]:
    application = Application(sandbox)
    if request.param == "in-process":
        transport = InProcessTransport(application)
        with httpx.Client(transport=transport, base_url="http://s.test", headers=HEADERS) as known:
            yield known
        return
    server = serve(application, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        with httpx.Client(base_url=address, headers=HEADERS, trust_env=False) as known:
            yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(client: httpx.Client, fault: str, **options: Any) -> httpx.Response:
    return client.post("/refunds", json=BODY, headers={"X-Sandbox-Fault": fault}, **options)


def made(sandbox: Sandbox) -> list[Decimal]:
    return [refund["amount"] for refund in sandbox.refunds().data]


def test_answer_lost_before_makes_no_refund(client: httpx.Client, sandbox: Sandbox) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, "lost-before")

    assert made(sandbox) == []
    assert client.post("/refunds", json=BODY).status_code == 201


def test_answer_lost_after_makes_the_refund(client: httpx.Client, sandbox: Sandbox) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, "lost-after")

    assert made(sandbox) == [Decimal("10.00")]


def test_slow_answer_is_a_timeout_and_makes_the_refund(
    client: httpx.Client, sandbox: Sandbox
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        ask(client, "latency;milliseconds=400", timeout=0.1)

    assert made(sandbox) == [Decimal("10.00")]


def test_answer_that_is_slow_but_in_time_arrives(client: httpx.Client) -> None:
    response = ask(client, "latency;milliseconds=30", timeout=5)

    assert response.status_code == 201
    assert response.elapsed.total_seconds() >= 0.03


def test_rate_limit_says_when_to_come_back(client: httpx.Client, sandbox: Sandbox) -> None:
    response = ask(client, "rate-limited;retryAfter=120")

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "120"
    assert made(sandbox) == []


@pytest.mark.parametrize("status", [408, 500, 502, 503])
def test_error_makes_no_refund(client: httpx.Client, sandbox: Sandbox, status: int) -> None:
    response = ask(client, f"error;status={status}")

    assert response.status_code == status
    assert response.json()["errors"]
    assert made(sandbox) == []


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_error_after_the_refund_was_made(
    client: httpx.Client, sandbox: Sandbox, status: int
) -> None:
    response = ask(client, f"error-after;status={status}")

    assert response.status_code == status
    assert response.json()["errors"]
    assert made(sandbox) == [Decimal("10.00")]


@pytest.mark.parametrize(
    ("fault", "status", "refunds"),
    [("rubbish", 201, 1), ("error;status=502, rubbish", 502, 0)],
)
def test_rubbish_body_is_not_even_text(
    client: httpx.Client, sandbox: Sandbox, fault: str, status: int, refunds: int
) -> None:
    response = ask(client, fault)

    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html"
    assert int(response.headers["Content-Length"]) == len(response.content)
    with pytest.raises(UnicodeDecodeError):
        response.content.decode()
    assert len(made(sandbox)) == refunds


def test_malformed_body_is_no_json(client: httpx.Client, sandbox: Sandbox) -> None:
    response = ask(client, "malformed")

    assert response.status_code == 201
    with pytest.raises(ValueError, match=r"."):
        response.json()
    assert made(sandbox) == [Decimal("10.00")]


def test_wrong_shape_is_json_of_something_else(client: httpx.Client) -> None:
    assert ask(client, "wrong-shape").json() == [{"unexpected": True}]


@pytest.mark.parametrize(("fault", "amount"), [("", "9.99"), (";amount=7.50", "7.50")])
def test_other_amount_is_what_is_really_made(
    client: httpx.Client, sandbox: Sandbox, fault: str, amount: str
) -> None:
    refund = simplejson.loads(ask(client, f"other-amount{fault}").text, use_decimal=True)

    assert refund["amount"] == Decimal(amount)
    left = sandbox.order(order_id_of(1))["availableToRefundAmount"]
    assert left == Decimal("40.00") - Decimal(amount)


def test_several_faults_in_one_header(client: httpx.Client, sandbox: Sandbox) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, "other-amount;amount=1.00, lost-after")

    assert made(sandbox) == [Decimal("1.00")]


def test_queued_fault_hits_as_often_as_it_says(client: httpx.Client) -> None:
    fault = {"kind": "error", "status": 503, "method": "post", "path": "/refunds*", "times": 2}
    assert client.post("/_sandbox/faults", json=fault).status_code == 201

    assert client.get("/refunds").status_code == 200
    assert [client.post("/refunds", json=BODY).status_code for _ in range(3)] == [503, 503, 201]
    assert client.get("/_sandbox/faults").json() == {"data": []}


def test_queued_faults_are_forgotten_on_demand(client: httpx.Client) -> None:
    client.post("/_sandbox/faults", json={"kind": "lost-before", "times": 9})
    assert client.get("/_sandbox/faults").json()["data"][0]["times"] == 9

    client.delete("/_sandbox/faults")

    assert client.get("/refunds").status_code == 200


def test_reset_brings_the_shop_back(client: httpx.Client, sandbox: Sandbox) -> None:
    client.post("/refunds", json=BODY)
    client.post("/_sandbox/faults", json={"kind": "lost-before"})

    assert client.post("/_sandbox/reset").status_code == 200

    assert made(sandbox) == []
    assert client.get("/events").json()["data"] == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "gremlin"},
        {},
        {"kind": "error", "status": 418},
        {"kind": "error", "status": "x"},
        {"kind": "lost-after", "how": "magic"},
        {"kind": "latency", "milliseconds": -1},
        {"kind": "latency", "wait": 1},
        {"kind": "other-amount", "amount": "NaN"},
        {"kind": "other-amount", "amount": "much"},
    ],
)
def test_fault_that_makes_no_sense_is_refused(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    transport = InProcessTransport(Application(sandbox))
    with httpx.Client(transport=transport, base_url="http://s.test", headers=HEADERS) as client:
        assert client.post("/_sandbox/faults", json=fault).status_code == 400
        assert client.get("/_sandbox/faults").json() == {"data": []}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("connection-refused", httpx.ConnectError),
        ("lost-after;how=timeout", httpx.ReadTimeout),
    ],
)
def test_in_process_fails_as_a_network_would(
    sandbox: Sandbox, fault: str, error: type[httpx.TransportError]
) -> None:
    transport = InProcessTransport(Application(sandbox))
    with httpx.Client(transport=transport, base_url="http://s.test", headers=HEADERS) as client:
        with pytest.raises(error):
            ask(client, fault)
        assert client.get("/refunds").status_code == 200


def test_in_process_never_waits_longer_than_the_read_timeout(sandbox: Sandbox) -> None:
    waits: list[float] = []
    transport = InProcessTransport(Application(sandbox), sleep=waits.append)
    sandbox.queue_fault(Fault(FaultKind.LATENCY, milliseconds=60_000))
    with (
        httpx.Client(transport=transport, base_url="http://s.test", headers=HEADERS) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.get("/refunds", timeout=2.5)

    assert waits == [2.5]
