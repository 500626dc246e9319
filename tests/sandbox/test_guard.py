"""The stand-in stays away from real money."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

from sandbox.checks import check_transport
from sandbox.guard import refuse_beside_live_key
from sandbox.transport import in_process

LIVE = "sk_0123456789"


@pytest.mark.parametrize(("debug", "allow_sandbox"), [(True, False), (False, True)])
@pytest.mark.parametrize("api_key", ["", "sk_test_1"])
def test_test_key_is_let_through(api_key: str, *, debug: bool, allow_sandbox: bool) -> None:
    assert (
        refuse_beside_live_key(api_key=api_key, debug=debug, allow_sandbox=allow_sandbox) is None  # type: ignore[func-returns-value]
    )


@pytest.mark.parametrize("api_key", [LIVE, "rk_1", "sk_live_1"])
def test_live_key_is_refused_whatever_is_allowed(api_key: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="live key") as refusal:
        refuse_beside_live_key(api_key=api_key, debug=True, allow_sandbox=True)

    assert api_key not in str(refusal.value)


def test_production_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="ALLOW_SANDBOX=1"):
        refuse_beside_live_key(api_key="sk_test_1", debug=False, allow_sandbox=False)


@override_settings(DIGITALRIVER_API_KEY=LIVE)
def test_in_process_is_refused_beside_a_live_key() -> None:
    with pytest.raises(ImproperlyConfigured, match="live key"):
        in_process()


@override_settings(DIGITALRIVER_API_KEY=LIVE)
def test_command_is_refused_beside_a_live_key() -> None:
    with pytest.raises(CommandError, match="live key"):
        call_command("sandbox", "--port", "0")


@override_settings(DIGITALRIVER_API_KEY="sk_test_1", ALLOW_SANDBOX=True)
def test_command_refuses_a_negative_delay(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="settle-seconds"):
        call_command("sandbox", "--port", "0", "--settle-seconds", "-1")


@override_settings(DIGITALRIVER_API_KEY=LIVE, DIGITALRIVER_TRANSPORT="sandbox.transport.in_process")
def test_check_reports_the_stand_in_beside_a_live_key() -> None:
    assert [message.id for message in check_transport()] == ["sandbox.E001"]


@override_settings(DIGITALRIVER_API_KEY=LIVE, DIGITALRIVER_TRANSPORT="")
def test_check_says_nothing_where_the_stand_in_is_not_used() -> None:
    assert check_transport() == []


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_command_serves_the_shop_on_a_port(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "sandbox", "--port", "0", "--rate-limit", "50"]
    process = subprocess.Popen(
        [*command, "--state", str(tmp_path / "state.sqlite3"), "--settle-seconds", "0"],
        cwd=Path(__file__).resolve().parents[2],
        env={
            **os.environ,
            "DIGITALRIVER_API_KEY": "sk_test_1",
            "ALLOW_SANDBOX": "1",
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONUNBUFFERED": "1",
        },
        stdout=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has its children ignore Ctrl+C.
        preexec_fn=_heed_interrupts,  # noqa: PLW1509
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=address, trust_env=False) as client:
            response = client.get("/orders", headers={"Authorization": "Bearer sk_test_1"})
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)

    assert response.status_code == 200
    assert "Stopped." in rest
    assert process.returncode == 0


def test_in_process_serves_the_shop_that_the_settings_describe(tmp_path: Path) -> None:
    with (
        override_settings(
            DIGITALRIVER_API_KEY="sk_test_1",
            ALLOW_SANDBOX=True,
            SANDBOX_STATE=tmp_path / "state.sqlite3",
            SANDBOX_SETTLE_SECONDS=0,
        ),
        httpx.Client(transport=in_process(), base_url="http://s.test") as client,
    ):
        response = client.get("/orders", headers={"Authorization": "Bearer sk_test_1"})

    assert len(response.json()["data"]) == 10
