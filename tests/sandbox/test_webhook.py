"""Registering the webhook of a running stand-in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from sandbox.orders import Line, make_order, order_id_of
from sandbox.store import Sandbox
from sandbox.webhook import Misbehaviour, Webhook
from tests.sandbox.conftest import Connect, MakeSandbox

ADDRESS = "http://127.0.0.1:8000/webhooks/digitalriver/"


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> Sandbox:
    return make_sandbox([make_order(1, lines=[Line(Decimal("40.00"))])])


@pytest.fixture
def plain(sandbox: Sandbox, connect: Connect) -> httpx.Client:
    return connect(sandbox)


def register(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/_sandbox/webhook", json={"address": ADDRESS, "secrets": ["a"], **body})


def test_webhook_is_registered_shown_and_forgotten(plain: httpx.Client, sandbox: Sandbox) -> None:
    assert plain.get("/_sandbox/webhook").json() == {"data": [], "undelivered": 0}
    body = {"duplicates": 0.5, "reorder": 3, "delay": "1.5", "lose": 0.25, "seed": 7}

    response = register(plain, secrets=["old", "new"], milliseconds=True, **body)

    assert response.status_code == 201
    misbehaviour = Misbehaviour(duplicates=0.5, reorder=3, delay=1.5, lose=0.25, seed=7)
    assert sandbox.webhook() == Webhook(ADDRESS, ("old", "new"), True, misbehaviour)  # noqa: FBT003
    shown = {"address": ADDRESS, "secrets": 2, "milliseconds": True, **body, "delay": 1.5}
    assert response.json() == shown
    assert plain.get("/_sandbox/webhook").json()["data"] == [shown]
    assert plain.delete("/_sandbox/webhook").json() == {"data": []}
    assert sandbox.webhook() is None


def test_webhook_shows_what_is_still_to_be_delivered(plain: httpx.Client) -> None:
    body = {"orderId": order_id_of(1), "currency": "USD", "amount": "1.00"}
    plain.post("/refunds", json=body)

    assert plain.get("/_sandbox/webhook").json()["undelivered"] == 1


def test_second_webhook_takes_the_place_of_the_first(plain: httpx.Client, sandbox: Sandbox) -> None:
    register(plain)
    register(plain, address="https://desk.test/hooks/")

    webhook = sandbox.webhook()
    assert webhook is not None
    assert webhook.address == "https://desk.test/hooks/"


def test_webhook_outlives_a_reset(plain: httpx.Client, sandbox: Sandbox) -> None:
    register(plain)
    sandbox.reset()

    assert sandbox.webhook() is not None


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"address": None}, "address"),
        ({"address": "desk"}, "address"),
        ({"address": "ftp://desk.test/"}, "address"),
        ({"address": "http:///hooks/"}, "address"),
        ({"address": "http://[desk/"}, "address"),
        ({"address": "http://desk.test:99999/"}, "address"),
        ({"secrets": None}, "secrets"),
        ({"secrets": []}, "secrets"),
        ({"secrets": "a"}, "secrets"),
        ({"secrets": [""]}, "secrets"),
        ({"secrets": [1]}, "secrets"),
        ({"milliseconds": 1}, "milliseconds"),
        ({"duplicates": 1.1}, "duplicates"),
        ({"duplicates": "often"}, "duplicates"),
        ({"lose": -0.1}, "lose"),
        ({"lose": "NaN"}, "lose"),
        ({"reorder": 1.5}, "reorder"),
        ({"delay": 1e9}, "delay"),
        ({"seed": -1}, "seed"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_webhook_that_makes_no_sense_is_refused(
    plain: httpx.Client, sandbox: Sandbox, body: dict[str, Any], parameter: str
) -> None:
    response = register(plain, **body)

    assert response.status_code == 400
    assert response.json()["errors"][0]["parameter"] == parameter
    assert sandbox.webhook() is None
