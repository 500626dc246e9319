"""Lists: filters, cursors, order; keys and headers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from sandbox.application import Application
from sandbox.orders import Line, make_order, order_id_of
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.sandbox.conftest import HEADERS, Clock, Connect, MakeSandbox


@pytest.fixture
def five(make_sandbox: MakeSandbox, connect: Connect, clock: Clock) -> httpx.Client:
    """A client of a shop in which five refunds were made, a minute apart from 09:00 on."""
    orders = [make_order(number, lines=[Line(Decimal(100))]) for number in (1, 2)]
    client = connect(make_sandbox(orders))
    for at in range(5):
        body = {"orderId": order_id_of(1 + at % 2), "currency": "USD", "amount": at + 1}
        assert client.post("/refunds", json=body).status_code == 201
        clock.move(minutes=1)
    return client


def amounts(client: httpx.Client, **parameters: Any) -> list[int]:
    response = client.get("/refunds", params=parameters)
    assert response.status_code == 200, response.text
    return [int(refund["amount"]) for refund in response.json()["data"]]


def test_refunds_are_listed_newest_first(five: httpx.Client) -> None:
    assert amounts(five) == [5, 4, 3, 2, 1]


def test_cursors_walk_in_both_directions(five: httpx.Client) -> None:
    ids = [refund["id"] for refund in five.get("/refunds").json()["data"]]

    assert five.get("/refunds?limit=2").json()["hasMore"] is True
    assert amounts(five, limit=2, startingAfter=ids[1]) == [3, 2]
    assert amounts(five, limit=2, endingBefore=ids[3]) == [4, 3]
    assert amounts(five, startingAfter=ids[0], endingBefore=ids[1]) == [5]
    last = five.get("/refunds", params={"limit": 2, "startingAfter": ids[2]}).json()
    assert last["hasMore"] is False


def test_refunds_are_filtered(five: httpx.Client, clock: Clock) -> None:
    ids = [refund["id"] for refund in five.get("/refunds").json()["data"]]

    assert amounts(five, orderId=order_id_of(2)) == [4, 2]
    assert amounts(five, ids=[ids[0], ids[4]]) == [5, 1]
    assert amounts(five, orderId="1") == []
    assert amounts(five, **{"createdTime[gte]": "2024-04-01T09:03:00Z"}) == [5, 4]
    assert amounts(five, **{"createdTime[gt]": "2024-04-01T11:03:00+02:00"}) == [5]
    assert amounts(
        five,
        **{"createdTime[lt]": "2024-04-01T09:03:00Z", "createdTime[gte]": "2024-04-01T09:01:00Z"},
    ) == [3, 2]
    assert amounts(five, createdTime="2024-04-01T09:01:00Z") == [2]
    assert amounts(five, **{"createdTime[lte]": "2024-04-01T09:00:00Z"}) == [1]
    assert amounts(five, **{"createdTime[eq]": "2024-04-01T09:04:00Z"}) == [5]
    assert amounts(five, state="succeeded") == [1]


@pytest.mark.parametrize(
    ("comparison", "whole", "fraction"),
    [
        ("gte", [5, 4, 3], [5, 4]),
        ("gt", [5, 4], [5, 4]),
        ("lte", [3, 2, 1], [3, 2, 1]),
        ("lt", [2, 1], [3, 2, 1]),
        ("eq", [3], []),
    ],
)
def test_refunds_are_compared_by_whole_seconds(
    make_sandbox: MakeSandbox,
    connect: Connect,
    clock: Clock,
    comparison: str,
    whole: list[int],
    fraction: list[int],
) -> None:
    client = connect(make_sandbox([make_order(1, lines=[Line(Decimal(100))])]))
    # Each within its second, which is all that the wire shows of it.
    clock.move(milliseconds=700)
    for amount in range(1, 6):
        body = {"orderId": order_id_of(1), "currency": "USD", "amount": amount}
        assert client.post("/refunds", json=body).status_code == 201
        clock.move(seconds=1)

    name = f"createdTime[{comparison}]"
    assert amounts(client, **{name: "2024-04-01T09:00:02Z"}) == whole
    assert amounts(client, **{name: "2024-04-01T09:00:02.900Z"}) == fraction


def test_filters_hold_along_a_walk_newest_first(five: httpx.Client) -> None:
    seen, cursor = [], dict[str, str]()
    while True:
        parameters: dict[str, Any] = {
            "limit": 1,
            "createdTime[gte]": "2024-04-01T09:02:00Z",
            **cursor,
        }
        page = five.get("/refunds", params=parameters).json()
        seen += [int(refund["amount"]) for refund in page["data"]]
        if not page["hasMore"]:
            break
        cursor = {"startingAfter": page["data"][-1]["id"]}

    assert seen == [5, 4, 3]


def test_events_since_a_moment_of_some_types(five: httpx.Client, clock: Clock) -> None:
    clock.move(minutes=5)
    five.get("/refunds")
    seen, cursor = [], dict[str, str]()
    while True:
        parameters: dict[str, Any] = {
            "limit": 2,
            "createdTime[gte]": "2024-04-01T09:04:00Z",
            "types": ["refund.complete", "refund.pending"],
            **cursor,
        }
        page = five.get("/events", params=parameters).json()
        seen += [(event["type"], int(event["data"]["object"]["amount"])) for event in page["data"]]
        if not page["hasMore"]:
            break
        cursor = {"startingAfter": page["data"][-1]["id"]}

    complete = [("refund.complete", amount) for amount in (5, 4, 3, 2, 1)]
    assert seen == [*complete, ("refund.pending", 5)]


@pytest.mark.parametrize(
    ("address", "parameters", "index"),
    [
        ("/refunds", {"createdTime[gte]": "2024-01-01T00:00:00Z"}, "refunds_created (created>"),
        ("/refunds", {"state": "pending"}, "refunds_state (state="),
        ("/refunds", {"orderId": "1"}, "refunds_order (order_id="),
        ("/events", {"createdTime[gte]": "2024-01-01", "types": "a"}, "events_created (created>"),
        ("/orders", {"createdTime[gte]": "2024-01-01T00:00:00Z"}, "orders_created (created>"),
        ("/orders", {"ids": ["1", "2"]}, "sqlite_autoindex_orders_1 (id="),
    ],
)
def test_list_walks_an_index(
    make_sandbox: MakeSandbox,
    connect: Connect,
    address: str,
    parameters: dict[str, Any],
    index: str,
) -> None:
    sandbox = make_sandbox([make_order(1, lines=[Line(Decimal(100))])])
    statements: list[str] = []
    sandbox._connection().set_trace_callback(statements.append)
    assert connect(sandbox).get(address, params=parameters).status_code == 200
    sandbox._connection().set_trace_callback(None)

    (listing,) = (each for each in statements if "ORDER BY" in each and "LIMIT 11" in each)
    plan = sandbox._connection().execute(f"EXPLAIN QUERY PLAN {listing}").fetchall()
    assert any(index in step for *_, step in plan), plan


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=101", "invalid_parameter", "limit"),
        ("limit=ten", "invalid_integer", "limit"),
        ("startingAfter=re_0", "invalid_parameter", "startingAfter"),
        ("endingBefore=re_0", "invalid_parameter", "endingBefore"),
        ("createdTime=yesterday", "invalid_format", "createdTime"),
        ("createdTime[near]=2024-04-01", "unknown_parameter", "createdTime[near]"),
        ("reason=x", "unknown_parameter", "reason"),
        ("amount[gt]=1", "unknown_parameter", "amount[gt]"),
        ("page=2", "unknown_parameter", "page"),
    ],
)
def test_filter_that_is_not_known_is_refused(
    five: httpx.Client, query: str, code: str, parameter: str
) -> None:
    response = five.get(f"/refunds?{query}")

    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert (error["code"], error["parameter"]) == (code, parameter)


def test_events_are_filtered_by_type(five: httpx.Client, clock: Clock) -> None:
    clock.move(minutes=5)

    complete = five.get("/events?type=refund.complete").json()["data"]
    assert [int(event["data"]["object"]["amount"]) for event in complete] == [5, 4, 3, 2, 1]
    both = five.get("/events?types=refund.complete,refund.pending&limit=100").json()["data"]
    assert len(both) == 10
    newest = five.get("/events?limit=1").json()["data"][0]["id"]
    assert five.get(f"/events?endingBefore={newest}").json()["data"] == []


def test_orders_are_filtered(five: httpx.Client) -> None:
    assert [order["id"] for order in five.get("/orders").json()["data"]] == [
        order_id_of(2),
        order_id_of(1),
    ]
    found = five.get("/orders", params={"ids": order_id_of(1)}).json()["data"]
    assert [order["id"] for order in found] == [order_id_of(1)]
    both = five.get(f"/orders?ids={order_id_of(1)}&ids={order_id_of(2)}&ids=1").json()["data"]
    assert [order["id"] for order in both] == [order_id_of(2), order_id_of(1)]
    assert five.get("/orders?state=dispute").json() == {"hasMore": False, "data": []}
    assert five.get("/orders?fraudState=passed").status_code == 400


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer sk_live_1", "Bearer sk_1234", "Bearer pk_test_1", "Bearer sk_test_",
     "Basic sk_test_1"],
)  # fmt: skip
def test_other_key_is_unauthorized(five: httpx.Client, authorization: str) -> None:
    response = five.get("/refunds", headers={"Authorization": authorization})

    assert response.status_code == 401
    assert response.json()["type"] == "unauthorized"
    assert response.headers["x-dr-requestid"]


def test_headers_are_checked(five: httpx.Client) -> None:
    assert five.get("/refunds", headers={"Accept": "text/html"}).status_code == 406
    assert five.get("/refunds", headers={"DigitalRiver-Version": "1999-01-01"}).status_code == 400
    response = five.delete("/refunds")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "POST"}
    assert five.get("/nothing").status_code == 404


def test_every_answer_has_its_own_request_id(five: httpx.Client) -> None:
    answers = [five.get("/refunds"), five.get("/refunds"), five.get("/orders/1")]

    assert len({answer.headers["x-dr-requestid"] for answer in answers}) == 3


def test_rate_limit_answers_429_with_retry_after(make_sandbox: MakeSandbox) -> None:
    sandbox: Sandbox = make_sandbox()
    assert isinstance(Application(sandbox).sandbox, Sandbox)
    transport = in_process_for(sandbox, rate_limit=3)
    with httpx.Client(transport=transport, base_url="http://s.test", headers=HEADERS) as client:
        answers = [client.get("/refunds") for _ in range(12)]

    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert limited[0].headers["Retry-After"] == "1"
    assert limited[0].json()["type"] == "too_many_requests"
