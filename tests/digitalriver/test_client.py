"""The client on the wire: what it sends, and what each answer becomes."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina
import structlog
from hypothesis import given
from hypothesis import strategies as st

from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import (
    DigitalRiverError,
    KeyRefused,
    NotConnected,
    NotFound,
    NotSendable,
    RateLimited,
    Refused,
    Unanswered,
    UnreadableAnswer,
)
from refunds.digitalriver.pace import (
    DEFAULT_RETRY_AFTER,
    LONGEST_RETRY_AFTER,
    retry_after_seconds,
)

KEY = "sk_test_very_secret"
NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
ORDER = {"id": "300100200336", "state": "complete", "currency": "USD", "totalAmount": 27.01}
REFUND = {"id": "re_1", "orderId": "300100200336", "currency": "USD", "state": "pending"}
REQUEST: dict[str, object] = {
    "orderId": "300100200336",
    "currency": "USD",
    "amount": Decimal("21.60"),
    "reason": "duplicate",
    "metadata": {"refundReference": "RD-7K2M-1"},
}

Handler = Callable[[httpx.Request], httpx.Response]


class Wire:
    """A transport that answers by the book and remembers what was asked of it."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Dripping(httpx.SyncByteStream):
    """A body that comes in pieces and may break off."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Clock:
    """A clock that moves on with every look at it."""

    def __init__(self, step: float) -> None:
        self.time = 0.0
        self.step = step

    def __call__(self) -> float:
        self.time += self.step
        return self.time


def client_over(handler: Handler, **options: Any) -> DigitalRiverClient:
    settings: dict[str, Any] = {
        "base_url": "https://api.example.com",
        "api_key": KEY,
        "version": "2021-12-13",
        "timeout": 5.0,
        "application_id": "refund-desk/0.1.0",
        "transport": httpx.MockTransport(handler),
        "now": lambda: NOW,
    }
    return DigitalRiverClient(**(settings | options))


def answered(status: int, body: object = None, **headers: str) -> httpx.Response:
    sent = {"x-dr-requestid": "req-7"} | {name.replace("_", "-"): headers[name] for name in headers}
    return httpx.Response(status, json=body, headers=sent)


def error_body(code: str, parameter: str, message: str) -> dict[str, object]:
    return {
        "type": "bad_request",
        "errors": [{"code": code, "parameter": parameter, "message": message}],
    }


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def create(wire: Wire, **options: Any) -> Any:
    with client_over(wire, **options) as client:
        return client.create_refund(REQUEST, upstream_id="RD-7K2M-1")


def test_create_refund_sends_exact_amounts_and_says_who_asks() -> None:
    wire = Wire(answered(201, REFUND))
    create(wire)
    (request,) = wire.requests
    assert (request.method, str(request.url)) == ("POST", "https://api.example.com/refunds")
    assert b'"amount": 21.60' in request.content
    assert json.loads(request.content, parse_float=Decimal) == REQUEST
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["digitalriver-version"] == "2021-12-13"
    assert request.headers["upstream-id"] == "RD-7K2M-1"
    assert request.headers["upstream-application-id"] == "refund-desk/0.1.0"
    assert request.headers["content-type"] == "application/json"


def test_create_refund_returns_the_refund_and_an_answer_without_token() -> None:
    token = {"token": "secret-token", "expiresTime": "2026-04-10T12:00:00Z"}
    waiting = REFUND | {"state": "pending_information", "tokenInformation": token}
    created = create(Wire(answered(201, waiting)))
    assert (created.refund.id, created.refund.state) == ("re_1", "pending_information")
    assert (created.request_id, created.status) == ("req-7", 201)
    assert dict(created.answer) == REFUND | {"state": "pending_information"}


@pytest.mark.parametrize("status", [400, 404, 405, 406, 409, 410, 422, 451])
def test_create_refund_definite_no_is_refused_in_digital_rivers_words(status: int) -> None:
    words = "The requested refund amount is greater than the available amount."
    wire = Wire(answered(status, error_body("invalid_parameter", "amountRequested", words)))
    with pytest.raises(Refused, match=words) as raised:
        create(wire)
    error = raised.value
    assert (error.status, error.code, error.parameter) == (
        status,
        "invalid_parameter",
        "amountRequested",
    )
    assert (error.vendor_message, error.request_id) == (words, "req-7")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_create_refund_with_a_refused_key_says_whom_to_tell(status: int) -> None:
    with pytest.raises(KeyRefused, match="Tell an administrator") as raised:
        create(Wire(answered(status, error_body("unauthorized", "", "Invalid API key."))))
    assert KEY not in str(raised.value)


def test_create_refund_refused_without_words_says_so() -> None:
    with pytest.raises(Refused, match=r"did not say why \(answer 400\)"):
        create(Wire(httpx.Response(400, content=b"<html>")))


def test_create_refund_refused_is_definite_even_where_the_words_are_cut_off() -> None:
    broken = Dripping(b'{"errors"', httpx.ReadError("reset"))
    with pytest.raises(Refused) as raised:
        create(Wire(httpx.Response(409, stream=broken)))
    assert raised.value.status == 409


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
def test_create_refund_without_a_verdict_is_unanswered_and_sent_once(status: int) -> None:
    wire = Wire(answered(status, error_body("unknown_error", "", "Oops.")))
    with pytest.raises(Unanswered, match="not known whether the refund was made") as raised:
        create(wire)
    assert (raised.value.status, raised.value.request_id) == (status, "req-7")
    assert len(wire.requests) == 1


@pytest.mark.parametrize("status", [200, 202, 204, 301, 302, 307, 308])
def test_create_refund_with_another_answer_than_201_is_unknown(status: int) -> None:
    wire = Wire(answered(status, REFUND, location="https://elsewhere.example.com/refunds"))
    with pytest.raises(UnreadableAnswer, match="not known whether") as raised:
        create(wire)
    assert raised.value.status == status
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b'{"id":"re_1","currency":"USD","state":"pending","amount":NaN}',
        b'{"id":"re_1","currency":"USD","state":"made up"}',
        b'{"id":"re_1","currency":"USD","state":"pending","orderId":"another"}',
    ],
)
def test_create_refund_taken_on_but_unreadable_is_unknown(content: bytes) -> None:
    wire = Wire(httpx.Response(201, content=content, headers={"x-dr-requestid": "req-7"}))
    with pytest.raises(UnreadableAnswer, match="not known whether") as raised:
        create(wire)
    assert (raised.value.status, raised.value.request_id) == (201, "req-7")
    assert len(wire.requests) == 1


def test_create_refund_answer_cut_off_is_unknown() -> None:
    broken = Dripping(b'{"id": "re_1"', httpx.RemoteProtocolError("incomplete"))
    with pytest.raises(Unanswered, match="not known whether") as raised:
        create(Wire(httpx.Response(201, stream=broken)))
    assert raised.value.status == 201


def test_create_refund_answer_that_drips_for_too_long_is_unknown() -> None:
    slow = Dripping(*[b" "] * 100)
    with pytest.raises(Unanswered):
        create(Wire(httpx.Response(201, stream=slow)), clock=Clock(1.0))


def test_create_refund_answer_without_end_is_unknown() -> None:
    endless = Dripping(*[b" " * 1024 * 1024] * 20)
    with pytest.raises(Unanswered):
        create(Wire(httpx.Response(201, stream=endless)))


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")],
)
def test_create_refund_without_a_connection_was_not_sent(failure: Exception) -> None:
    wire = Wire(failure)
    with pytest.raises(NotConnected, match="nothing was sent"):
        create(wire)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadTimeout("slow"),
        httpx.WriteTimeout("slow"),
        httpx.ReadError("reset"),
        httpx.WriteError("reset"),
        httpx.RemoteProtocolError("no answer"),
        httpx.ProxyError("bad gateway"),
        httpx.DecodingError("not gzip"),
        ConnectionResetError("reset"),
    ],
)
def test_create_refund_lost_on_the_way_is_unanswered_and_sent_once(failure: Exception) -> None:
    wire = Wire(failure)
    with pytest.raises(Unanswered, match="not known whether") as raised:
        create(wire)
    assert raised.value.status is None
    assert len(wire.requests) == 1


def test_create_refund_rate_limited_is_not_sent_again_here() -> None:
    wire = Wire(answered(429, retry_after="1"))
    with pytest.raises(RateLimited, match="sent again in 1 seconds") as raised:
        create(wire)
    assert (raised.value.retry_after, raised.value.status) == (1, 429)
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        (" 7 ", 7),
        ("1.2", 2),
        ("Sat, 10 Jan 2026 12:01:30 GMT", 90),
        ("Sat, 10 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 10 Jan 2026 12:01:30 -0000", 90),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
        ("999999999", LONGEST_RETRY_AFTER),
        ("9" * 40, DEFAULT_RETRY_AFTER),
        ("-5", DEFAULT_RETRY_AFTER),
        ("soon", DEFAULT_RETRY_AFTER),
        ("", DEFAULT_RETRY_AFTER),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header: str, seconds: int) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(header=st.text(max_size=40))
def test_retry_after_of_any_text_is_a_wait_within_bounds(header: str) -> None:
    assert 0 <= retry_after_seconds(header, NOW) <= LONGEST_RETRY_AFTER


@pytest.mark.parametrize(
    "body",
    [
        {"amount": 21.6},
        {"amount": Decimal("NaN")},
        {"amount": Decimal("Infinity")},
        {"items": [{"amount": 1.5}]},
        {"metadata": {"at": NOW}},
        {"reason": b"duplicate"},
    ],
)
def test_create_refund_with_what_cannot_be_sent_exactly_sends_nothing(
    body: dict[str, object],
) -> None:
    wire = Wire(answered(201, REFUND))
    with client_over(wire) as client, pytest.raises(NotSendable, match="nothing was sent"):
        client.create_refund(body, upstream_id="RD-7K2M-1")
    assert wire.requests == []


@pytest.mark.parametrize("reference", ["", "RD 1", "RD\r\nX: 1", "ärger", "R" * 256])
def test_create_refund_without_a_proper_reference_sends_nothing(reference: str) -> None:
    wire = Wire(answered(201, REFUND))
    with client_over(wire) as client, pytest.raises(NotSendable, match="reference"):
        client.create_refund(REQUEST, upstream_id=reference)
    assert wire.requests == []


def test_get_order_asks_for_the_order_and_carries_the_reference() -> None:
    wire = Wire(answered(200, ORDER))
    with client_over(wire) as client:
        order = client.get_order("300100200336", upstream_id="RD-7K2M")
    (request,) = wire.requests
    assert str(request.url) == "https://api.example.com/orders/300100200336"
    assert request.headers["upstream-id"] == "RD-7K2M"
    assert order.total_amount == Decimal("27.01")


def test_get_order_keeps_the_path_of_the_address() -> None:
    wire = Wire(answered(200, ORDER))
    with client_over(wire, base_url="https://proxy.example.com/dr/") as client:
        client.get_order("300100200336")
    assert str(wire.requests[0].url) == "https://proxy.example.com/dr/orders/300100200336"
    assert "upstream-id" not in wire.requests[0].headers


@pytest.mark.parametrize(
    "identifier", ["", " ", "../refunds", "1/2", "1?x=2", "1#2", "ü", "1\n", ".", "..", "1" * 129]
)
def test_read_with_a_malformed_id_asks_nothing(identifier: str) -> None:
    wire = Wire(answered(200, ORDER))
    with client_over(wire) as client:
        with pytest.raises(NotSendable, match="missing or malformed"):
            client.get_order(identifier)
        with pytest.raises(NotSendable):
            client.get_refund(identifier)
        with pytest.raises(NotSendable):
            client.list_refunds(order_id=identifier)
    assert wire.requests == []


def test_get_order_that_is_another_is_unreadable() -> None:
    with (
        client_over(Wire(answered(200, ORDER | {"id": "9"}))) as client,
        pytest.raises(UnreadableAnswer),
    ):
        client.get_order("300100200336")


def test_get_order_unknown_is_not_found() -> None:
    with (
        client_over(Wire(answered(404, error_body("not_found", "id", "Order not found.")))) as one,
        pytest.raises(NotFound, match="does not know this order"),
    ):
        one.get_order("300100200336")


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        answered(500, error_body("unknown_error", "", "Oops.")),
        answered(408),
        answered(429, retry_after="1"),
    ],
)
def test_read_that_fails_for_a_moment_is_tried_again(
    failure: httpx.Response | Exception,
) -> None:
    wire = Wire(failure, answered(200, ORDER))
    with client_over(wire) as client:
        assert client.get_order("300100200336").id == "300100200336"
    assert len(wire.requests) == 2


@pytest.mark.parametrize(
    ("failure", "kind", "attempts"),
    [
        (httpx.ConnectError("refused"), NotConnected, 3),
        (httpx.ReadTimeout("slow"), Unanswered, 3),
        (answered(503), Unanswered, 3),
        (answered(429, retry_after="2"), RateLimited, 3),
        (answered(429, retry_after="3"), RateLimited, 1),
        (answered(429), RateLimited, 1),
        (answered(400), Refused, 1),
        (answered(401), KeyRefused, 1),
        (answered(404), NotFound, 1),
        (answered(200, {"id": 1}), UnreadableAnswer, 1),
        (answered(302, location="https://elsewhere.example.com/"), UnreadableAnswer, 1),
        (answered(201, ORDER), UnreadableAnswer, 1),
    ],
)
def test_read_that_keeps_failing_gives_up_soon(
    failure: httpx.Response | Exception, kind: type[DigitalRiverError], attempts: int
) -> None:
    wire = Wire(failure)
    with client_over(wire) as client, pytest.raises(kind) as raised:
        client.get_order("300100200336")
    assert type(raised.value) is kind
    assert len(wire.requests) == attempts
    assert "refund was made" not in str(raised.value)


def test_get_refund_reads_one() -> None:
    wire = Wire(answered(200, REFUND))
    with client_over(wire) as client:
        assert client.get_refund("re_1").state == "pending"
    assert wire.requests[0].url.path == "/refunds/re_1"


def test_get_refund_that_is_another_is_unreadable() -> None:
    with client_over(Wire(answered(200, REFUND))) as client, pytest.raises(UnreadableAnswer):
        client.get_refund("re_2")


def page(*names: str, more: bool, **changes: object) -> httpx.Response:
    data = [REFUND | {"id": name} | changes for name in names]
    return answered(200, {"hasMore": more, "data": data})


def test_list_refunds_follows_the_cursor_to_the_end() -> None:
    wire = Wire(page("re_5", "re_4", more=True), page("re_3", more=False))
    with client_over(wire) as client:
        found = client.list_refunds(order_id="300100200336")
    assert [refund.id for refund in found] == ["re_5", "re_4", "re_3"]
    assert [dict(request.url.params) for request in wire.requests] == [
        {"orderId": "300100200336", "limit": "100"},
        {"orderId": "300100200336", "limit": "100", "startingAfter": "re_4"},
    ]


def test_list_refunds_of_an_order_without_any_is_empty() -> None:
    with client_over(Wire(page(more=False))) as client:
        assert client.list_refunds(order_id="300100200336") == ()


@pytest.mark.parametrize(
    "answers",
    [
        [page("re_1", more=True)],
        [page(more=True)],
        [page("re_1", "re_1", more=False)],
        [page("re_1", more=False, orderId="another")],
    ],
    ids=["same page for ever", "more of nothing", "twice", "another order's"],
)
def test_list_refunds_that_makes_no_sense_settles_nothing(answers: list[httpx.Response]) -> None:
    wire = Wire(*answers)
    with client_over(wire) as client, pytest.raises(UnreadableAnswer):
        client.list_refunds(order_id="300100200336")
    assert len(wire.requests) <= 2


def test_list_refunds_without_end_gives_up() -> None:
    asked: list[str] = []

    def endless(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("startingAfter", ""))
        return page(f"re_{len(asked)}", more=True)

    with client_over(endless) as client, pytest.raises(UnreadableAnswer):
        client.list_refunds(order_id="300100200336")
    assert len(asked) == 50


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"base_url": ""}, "base_url"),
        ({"base_url": "api.example.com"}, "base_url"),
        ({"base_url": "ftp://api.example.com"}, "base_url"),
        ({"base_url": "https://"}, "base_url"),
        ({"base_url": "https://user:word@api.example.com"}, "base_url"),
        ({"base_url": "https://api.example.com?x=1"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://api.example.com", "api_key": "sk_live"}, "base_url"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "sk_test_1\n"}, "api_key"),
        ({"version": ""}, "version"),
        ({"application_id": "refund desk"}, "application_id"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"read_attempts": 0}, "read_attempts"),
    ],
)
def test_client_with_an_unusable_setting_names_it(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named) as raised:
        client_over(Wire(answered(200)), **options)
    assert "sk_" not in str(raised.value)


def test_client_closed_opens_nothing_any_more() -> None:
    client = client_over(Wire(answered(200, ORDER)))
    client.close()
    with pytest.raises(RuntimeError):
        client.get_order("300100200336")


def test_log_tells_what_happened_without_ids_keys_or_bodies() -> None:
    wire = Wire(answered(200, ORDER | {"email": "buyer@example.com"}))
    with structlog.testing.capture_logs() as lines, client_over(wire) as client:
        client.get_order("300100200336")
    (line,) = lines
    assert line["event"] == "digitalriver.answered"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/orders/{id}", 200)
    assert (line["request_id"], line["complete"]) == ("req-7", True)
    assert line["duration_ms"] >= 0
    for secret in (KEY, "buyer@example.com", "300100200336", "27.01"):
        assert secret not in repr(lines)


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (httpx.ConnectError(f"no route with {KEY}"), "digitalriver.not_connected"),
        (httpx.ReadTimeout(f"slow with {KEY}"), "digitalriver.unanswered"),
    ],
)
def test_log_tells_what_went_wrong_by_kind_only(failure: Exception, event: str) -> None:
    with structlog.testing.capture_logs() as lines, pytest.raises(DigitalRiverError):
        create(Wire(failure))
    assert [(line["event"], line["error"]) for line in lines] == [(event, type(failure).__name__)]
    assert KEY not in repr(lines)
