"""`deliver_events` and `sandbox --webhook`: what they deliver, and where they refuse to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from refundsite.settings import DIGITALRIVER_WEBHOOK_SECRETS
from sandbox.orders import Line, make_order, order_id_of
from sandbox.refund_request import parse_refund
from sandbox.signing import HEADER, sign
from sandbox.store import Sandbox

ROOT = Path(__file__).resolve().parents[2]
SECRETS = ["whsec_new", "whsec_old"]


class Webhook(ThreadingHTTPServer):
    """Acknowledges everything and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 202
        self.signatures: list[str] = []
        self.bodies: list[bytes] = []
        self.arrived = threading.Semaphore(0)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.signatures.append(self.headers[HEADER])
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.arrived.release()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name there
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def state(tmp_path: Path, settings: LazySettings) -> Path:
    """A state file with three events, which the settings name."""
    path = tmp_path / "state.sqlite3"
    sandbox = Sandbox(path, orders=[make_order(1, lines=[Line(Decimal("40.00"))])])
    sandbox.dispute(order_id_of(1))
    sandbox.resolve_dispute(order_id_of(1))
    sandbox.charge_back(order_id_of(1), Decimal("1.00"))
    sandbox.close()
    settings.SANDBOX_STATE = path
    settings.DIGITALRIVER_WEBHOOK_SECRETS = SECRETS
    return path


def signed(webhook: Webhook, *secrets: str) -> bool:
    return webhook.signatures == [
        sign(secrets, int(signature.split(",")[0]), body)
        for signature, body in zip(webhook.signatures, webhook.bodies, strict=True)
    ]


def test_events_are_delivered_once(
    state: Path, webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("deliver_events", "--to", webhook.address)
    call_command("deliver_events", "--to", webhook.address)

    assert [json.loads(body)["type"] for body in webhook.bodies] == [
        "order.dispute",
        "order.dispute.resolved",
        "order.chargeback",
    ]
    assert signed(webhook, *SECRETS)
    assert capsys.readouterr().out.splitlines() == [
        "3 acknowledged, 0 to be tried again.",
        "0 acknowledged, 0 to be tried again.",
    ]


def test_secrets_of_the_command_line_win(state: Path, webhook: Webhook) -> None:
    call_command("deliver_events", "--to", webhook.address, "--secret", "a", "--secret", "b")

    assert len(webhook.bodies) == 3
    assert signed(webhook, "a", "b")


def test_failed_events_are_reported(
    state: Path, webhook: Webhook, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.status = 503
    call_command("deliver_events", "--to", webhook.address)

    assert capsys.readouterr().out == "0 acknowledged, 3 to be tried again.\n"


def test_misbehaviour_of_the_command_line(state: Path, webhook: Webhook) -> None:
    call_command("deliver_events", "--to", webhook.address, "--duplicates", "1", "--seed", "4")

    assert len(webhook.bodies) == 6


def test_refund_that_falls_due_meanwhile_goes_by_the_settings(
    state: Path, webhook: Webhook, settings: LazySettings
) -> None:
    settings.SANDBOX_EXPIRE_DAYS = 2
    sandbox = Sandbox(state, settle_after=timedelta(0))
    sandbox.put_order(make_order(2, lines=[Line(Decimal("9.00"))], payment="konbini"))
    ask = parse_refund({"orderId": order_id_of(2), "currency": "USD", "percent": 100})
    refund = sandbox.create_refund(ask)
    sandbox.close()

    call_command("deliver_events", "--to", webhook.address)

    (told,) = (
        event["data"]["object"]
        for event in map(json.loads, webhook.bodies)
        if event["type"] == "refund.pending_information"
    )
    expires = datetime.fromisoformat(told["expiresTime"])
    assert expires - datetime.fromisoformat(refund["createdTime"]) == timedelta(days=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "desk"], "--to: The address starts with http"),
        (["--to", "http://desk.test/", "--every", "0"], "--every is greater than 0"),
        (["--to", "http://desk.test/", "--every", "nan"], "--every is greater than 0"),
        (["--to", "http://desk.test/", "--lose", "2"], "--lose: The value is from 0 to 1"),
        (["--to", "http://desk.test/", "--reorder", "1.5"], "--reorder: The value must be a whole"),
        ([], "--to"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    state: Path, arguments: list[str], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("deliver_events", *arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("deliver_events", ["--to", "http://desk.test/"]),
        ("sandbox", ["--port", "0", "--webhook", "http://desk.test/"]),
    ],
)
def test_webhook_without_a_secret_is_refused(
    state: Path, settings: LazySettings, command: str, arguments: list[str]
) -> None:
    settings.DIGITALRIVER_WEBHOOK_SECRETS = []
    with pytest.raises(CommandError, match="DIGITALRIVER_WEBHOOK_SECRETS"):
        call_command(command, *arguments)


def test_sandbox_refuses_a_webhook_that_is_no_address(state: Path) -> None:
    with pytest.raises(CommandError, match="--webhook: The address"):
        call_command("sandbox", "--port", "0", "--webhook", "desk")


def test_state_file_that_is_none_is_refused(state: Path) -> None:
    state.unlink()
    state.write_text("no database " * 400)
    with pytest.raises(CommandError, match="Delete it"):
        call_command("deliver_events", "--to", "http://desk.test/")


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("DIGITALRIVER_API_KEY", "sk_0123456789", "live key"), ("ALLOW_SANDBOX", False, "DEBUG")],
)
def test_deliver_events_is_refused_beside_real_money(
    state: Path, webhook: Webhook, settings: LazySettings, setting: str, value: Any, words: str
) -> None:
    setattr(settings, setting, value)
    with pytest.raises(CommandError, match=words):
        call_command("deliver_events", "--to", webhook.address)

    assert webhook.bodies == []


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    "command",
    [
        ["deliver_events", "--every", "0.05", "--to"],
        ["sandbox", "--port", "0", "--webhook"],
    ],
)
def test_running_command_delivers_until_it_is_interrupted(
    state: Path, webhook: Webhook, command: list[str]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command, webhook.address],
        cwd=ROOT,
        env={
            **os.environ,
            "DIGITALRIVER_API_KEY": "sk_test_1",
            "ALLOW_SANDBOX": "1",
            "SANDBOX_STATE": str(state),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has its children ignore Ctrl+C.
        preexec_fn=_heed_interrupts,  # noqa: PLW1509
    )
    try:
        assert all(webhook.arrived.acquire(timeout=60) for _ in range(3))
        # What happens while it runs is delivered as well.
        sandbox = Sandbox(state)
        sandbox.charge_back(order_id_of(1), Decimal("2.00"))
        sandbox.close()
        assert webhook.arrived.acquire(timeout=60)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert output.splitlines()[-1] == "Stopped."
    assert signed(webhook, *DIGITALRIVER_WEBHOOK_SECRETS)
