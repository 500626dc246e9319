"""The client against the stand-in: what went over the wire, and what became of the money."""

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina

from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import (
    DigitalRiverError,
    KeyRefused,
    NotConnected,
    NotFound,
    RateLimited,
    Refused,
    Unanswered,
    UnreadableAnswer,
)
from sandbox.application import Application
from sandbox.faults import Fault, FaultKind
from sandbox.serving import serve
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from sandbox.transport import in_process_for


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(
        tmp_path_factory.mktemp("stand-in") / "state.sqlite3",
        settle_after=timedelta(days=1),
        shop_anchor=date(2026, 9, 1),
    )


@pytest.fixture
def sandbox(shop: Sandbox) -> Iterator[Sandbox]:
    shop.clear_faults()
    yield shop
    shop.clear_faults()


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def client_of(transport: httpx.BaseTransport | None, **options: Any) -> DigitalRiverClient:
    settings: dict[str, Any] = {
        "base_url": "http://127.0.0.1",
        "api_key": "sk_test_stand_in",
        "version": "2021-12-13",
        "timeout": 2.0,
        "application_id": "refund-desk/0.1.0",
        "transport": transport,
    }
    return DigitalRiverClient(**(settings | options))


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[DigitalRiverClient]:
    with client_of(in_process_for(sandbox, sleep=lambda seconds: None)) as client:
        yield client


@pytest.fixture
def address(sandbox: Sandbox) -> Iterator[str]:
    """The stand-in on a port of its own, with sockets between it and the client."""
    server = serve(Application(sandbox), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def order_id(sandbox: Sandbox, case: str) -> str:
    found = sandbox.order_id(SHOWCASE[case])
    assert found is not None
    return found


def request(order: str, reference: str, **what: object) -> dict[str, object]:
    head = {"orderId": order, "currency": "USD", "metadata": {"refundReference": reference}}
    return head | what


def references(client: DigitalRiverClient, order: str) -> list[str]:
    return [refund.reference for refund in client.list_refunds(order_id=order)]


def test_every_order_of_the_shop_is_read_and_adds_up(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    inconsistent = order_id(sandbox, "inconsistent")
    read = 0
    for record in sandbox.salesforce_records():
        identifier = record["digitalriverv3__DR_Order_Id__c"]
        if identifier is None:
            continue
        order = client.get_order(identifier)
        parts = [order.shipping, order.total_tax, order.duty, order.importer_tax]
        parts += [item.amount + item.fees for item in order.items]
        assert (sum(parts) == order.total_amount) is (identifier != inconsistent)
        assert order.payment_description
        read += 1
    assert read >= 300


@pytest.mark.parametrize(
    ("case", "description"),
    [
        ("worked_sample", "Visa ending"),
        ("wire_transfer", "Wire transfer"),
        ("konbini", "Konbini"),
        ("paypal", "PayPal"),
    ],
)
def test_order_says_where_the_money_goes(
    client: DigitalRiverClient, sandbox: Sandbox, case: str, description: str
) -> None:
    order = client.get_order(order_id(sandbox, case))
    assert order.payment_description.startswith(description)
    assert order.capture_completed


@pytest.mark.parametrize("case", ["accepted_uncaptured", "in_review", "fulfilled_uncaptured"])
def test_order_not_captured_is_told_apart(
    client: DigitalRiverClient, sandbox: Sandbox, case: str
) -> None:
    order = client.get_order(order_id(sandbox, case))
    assert not order.capture_completed
    assert not order.available


def test_refund_is_made_listed_and_settled(client: DigitalRiverClient, sandbox: Sandbox) -> None:
    order = order_id(sandbox, "plain_usd")
    before = client.get_order(order).available
    created = client.create_refund(
        request(order, "RD-ONE-1", amount=Decimal("10.10"), reason="duplicate"),
        upstream_id="RD-ONE-1",
    )
    assert created.refund.requested_amount == Decimal("10.10")
    assert (created.refund.state, created.refund.reason) == ("pending", "duplicate")
    assert (created.refund.reference, created.refund.order_id) == ("RD-ONE-1", order)
    assert created.request_id
    assert created.answer["id"] == created.refund.id
    assert before is not None
    assert client.get_order(order).available == before - Decimal("10.10")
    assert client.list_refunds(order_id=order)[0] == created.refund
    sandbox.succeed_refund(created.refund.id, Decimal("9.90"))
    settled = client.get_refund(created.refund.id)
    assert (settled.state, settled.refunded_amount) == ("succeeded", Decimal("9.90"))


def test_refund_of_an_item_names_no_sum_of_its_own(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    order = client.get_order(order_id(sandbox, "all_options"))
    line = order.items[0]
    refund = client.create_refund(
        request(
            order.id,
            "RD-ITEM-1",
            currency=order.currency,
            items=[{"itemId": line.id, "quantity": 1, "amount": Decimal("1.25")}],
        ),
        upstream_id="RD-ITEM-1",
    ).refund
    assert refund.amount is None
    assert refund.requested_amount == Decimal("1.25")
    assert [(item.item_id, item.quantity) for item in refund.items] == [(line.id, 1)]


def test_refund_in_a_currency_of_three_decimals_is_exact(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    order = order_id(sandbox, "kwd")
    refund = client.create_refund(
        request(order, "RD-KWD-1", currency="KWD", amount=Decimal("1.005")),
        upstream_id="RD-KWD-1",
    ).refund
    assert (refund.currency, str(refund.amount)) == ("KWD", "1.005")


def test_refund_that_waits_for_bank_details_shows_its_deadline_and_no_token(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    refund = client.list_refunds(order_id=order_id(sandbox, "waiting_for_bank_details"))[0]
    wire = sandbox.refund(refund.id)
    assert refund.state == "pending_information"
    assert refund.expires_time is not None
    assert wire["tokenInformation"]["token"] not in repr(refund)


def test_refund_that_failed_says_why(client: DigitalRiverClient, sandbox: Sandbox) -> None:
    refund = client.list_refunds(order_id=order_id(sandbox, "external_failed"))[0]
    assert (refund.state, refund.failure_reason) == ("failed", "expired_or_canceled_card")
    assert (refund.refunded_amount, refund.reference) == (Decimal(0), "")


def test_refunds_of_many_pages_are_listed_once_each_newest_first(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    order = order_id(sandbox, "fulfilled")
    for number in range(103):
        client.create_refund(
            request(order, f"RD-MANY-{number}", amount=Decimal("0.01")),
            upstream_id=f"RD-MANY-{number}",
        )
    expected = [f"RD-MANY-{number}" for number in reversed(range(103))]
    assert references(client, order)[:103] == expected


@pytest.mark.parametrize(
    ("what", "parameter", "words"),
    [
        ({"amount": Decimal("999999.00")}, "amountRequested", "greater than the available"),
        ({"amount": Decimal("1.00"), "currency": "EUR"}, "currency", "EUR is not supported"),
        ({"type": "tax", "percent": 50}, "percentRequested", "Only full tax refunds"),
    ],
)
def test_refund_refused_carries_digital_rivers_words(
    client: DigitalRiverClient,
    sandbox: Sandbox,
    what: dict[str, object],
    parameter: str,
    words: str,
) -> None:
    order = order_id(sandbox, "worked_sample")
    with pytest.raises(Refused, match=words) as raised:
        client.create_refund(request(order, "RD-NO-1", **what), upstream_id="RD-NO-1")
    error = raised.value
    assert (error.status, error.code, error.parameter) == (400, "invalid_parameter", parameter)
    assert error.request_id
    assert "RD-NO-1" not in references(client, order)


def test_unknown_order_and_refund_are_not_found(client: DigitalRiverClient) -> None:
    with pytest.raises(NotFound, match="order"):
        client.get_order("999")
    with pytest.raises(NotFound, match="refund"):
        client.get_refund("re_none")


def test_key_that_is_not_known_is_refused(sandbox: Sandbox) -> None:
    with (
        client_of(in_process_for(sandbox), api_key="pk_test_public") as client,
        pytest.raises(KeyRefused),
    ):
        client.get_order(order_id(sandbox, "plain_usd"))


NOT_DONE: list[tuple[Fault, type[DigitalRiverError]]] = [
    (Fault(FaultKind.CONNECTION_REFUSED), NotConnected),
    (Fault(FaultKind.RATE_LIMITED, retry_after=120), RateLimited),
    (Fault(FaultKind.ERROR, status=500), Unanswered),
    (Fault(FaultKind.ERROR, status=408), Unanswered),
    (Fault(FaultKind.ERROR, status=403), KeyRefused),
    (Fault(FaultKind.ERROR, status=409), Refused),
    (Fault(FaultKind.LOST_BEFORE), Unanswered),
    (Fault(FaultKind.LOST_BEFORE, how="timeout"), Unanswered),
]
DONE: list[tuple[Fault, type[DigitalRiverError]]] = [
    (Fault(FaultKind.LOST_AFTER), Unanswered),
    (Fault(FaultKind.LOST_AFTER, how="timeout"), Unanswered),
    (Fault(FaultKind.LATENCY, milliseconds=3000), Unanswered),
    (Fault(FaultKind.MALFORMED), UnreadableAnswer),
    (Fault(FaultKind.WRONG_SHAPE), UnreadableAnswer),
]


@pytest.mark.parametrize(
    ("fault", "kind", "times"),
    [(fault, kind, 0) for fault, kind in NOT_DONE] + [(fault, kind, 1) for fault, kind in DONE],
    ids=lambda value: f"{value.kind}-{value.how}" if isinstance(value, Fault) else None,
)
def test_refund_gone_wrong_is_made_at_most_once_and_a_look_tells(
    client: DigitalRiverClient,
    sandbox: Sandbox,
    fault: Fault,
    kind: type[DigitalRiverError],
    times: int,
) -> None:
    order = order_id(sandbox, "fulfilled")
    reference = f"RD-{fault.kind.value.upper()}-{fault.status}-{fault.how}"
    sandbox.queue_fault(fault)
    with pytest.raises(kind) as raised:
        client.create_refund(
            request(order, reference, amount=Decimal("0.01")), upstream_id=reference
        )
    assert type(raised.value) is kind
    assert references(client, order).count(reference) == times


def test_refund_rate_limited_says_how_long(client: DigitalRiverClient, sandbox: Sandbox) -> None:
    sandbox.queue_fault(Fault(FaultKind.RATE_LIMITED, retry_after=120))
    with pytest.raises(RateLimited) as raised:
        client.create_refund(request("1", "RD-1"), upstream_id="RD-1")
    assert raised.value.retry_after == 120


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.CONNECTION_REFUSED, times=2),
        Fault(FaultKind.ERROR, status=503, times=2),
        Fault(FaultKind.LOST_BEFORE, times=2),
        Fault(FaultKind.RATE_LIMITED, retry_after=1, times=2),
    ],
    ids=lambda fault: str(fault.kind),
)
def test_read_outlasts_a_short_disturbance(
    client: DigitalRiverClient, sandbox: Sandbox, fault: Fault
) -> None:
    order = order_id(sandbox, "plain_usd")
    sandbox.queue_fault(fault)
    assert client.get_order(order).id == order
    assert sandbox.faults() == []


def test_refund_over_a_socket_is_made(address: str, sandbox: Sandbox) -> None:
    order = order_id(sandbox, "fulfilled")
    with client_of(None, base_url=address) as client:
        created = client.create_refund(
            request(order, "RD-SOCKET-1", amount=Decimal("0.02")), upstream_id="RD-SOCKET-1"
        )
        assert references(client, order)[0] == created.refund.reference == "RD-SOCKET-1"


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (Fault(FaultKind.LOST_BEFORE, method="POST"), 0),
        (Fault(FaultKind.LOST_AFTER, method="POST"), 1),
        (Fault(FaultKind.LATENCY, method="POST", milliseconds=1500), 1),
    ],
    ids=lambda value: str(value.kind) if isinstance(value, Fault) else None,
)
def test_refund_over_a_socket_that_breaks_is_sent_once(
    address: str, sandbox: Sandbox, fault: Fault, times: int
) -> None:
    order = order_id(sandbox, "fulfilled")
    reference = f"RD-BROKEN-{fault.kind.value.upper()}"
    # The fault is for one request: sent again on a new connection, the refund would be made.
    sandbox.queue_fault(fault)
    with client_of(None, base_url=address, timeout=0.5) as client:
        client.get_order(order)
        with pytest.raises(Unanswered):
            client.create_refund(
                request(order, reference, amount=Decimal("0.02")), upstream_id=reference
            )
        assert references(client, order).count(reference) == times


def test_refund_to_a_port_where_nobody_listens_was_not_sent() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with (
            client_of(None, base_url=f"http://127.0.0.1:{port}") as client,
            pytest.raises(NotConnected, match="nothing was sent"),
        ):
            client.create_refund(request("1", "RD-1"), upstream_id="RD-1")


def answering(raw: bytes) -> Callable[[socket.socket], None]:
    """Return a server's work: read one request, send the bytes, hang up."""

    def work(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(raw)

    return work


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "another protocol", "cut off", "not gzip", "bad chunk"],
)
def test_refund_answered_with_broken_http_is_unanswered(raw: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answering(raw), args=(listener,))
        thread.start()
        with (
            client_of(None, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client,
            pytest.raises(Unanswered, match="not known whether"),
        ):
            client.create_refund(request("1", "RD-1"), upstream_id="RD-1")
        thread.join()
