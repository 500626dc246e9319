"""One state file, several processes: the same organisation on a port and in-process."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from simple_salesforce.api import Salesforce

from sandbox.application import Application
from sandbox.checks import check_salesforce_transport, check_transport
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.transport import in_process
from sandbox.serving import StandIns, served
from sandbox.store import Sandbox
from tests.sandbox.conftest import HEADERS
from tests.sandbox.salesforce.conftest import ToAddress, get, read, signed_in, sobject
from tests.sandbox.salesforce.queries import changed

ROOT = Path(__file__).resolve().parents[3]
OWN = "https://acme.my.salesforce.com/_sandbox/salesforce/"
KEY = {"Authorization": "Bearer sk_test_sharing"}


@pytest.fixture
def served_apart(sandbox: Sandbox) -> Iterator[str]:
    """Serve the test's file from another process, on a port that the process chooses."""
    command = [
        sys.executable, "manage.py", "sandbox", "--port", "0",
        "--state", str(sandbox.path), "--orders", "300", "--job-seconds", "0",
    ]  # fmt: skip
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.kill()


def test_another_process_serves_the_same_organisation(
    served_apart: str, organisation: Organisation, session: requests.Session
) -> None:
    with requests.Session() as apart:
        apart.trust_env = False
        apart.mount("https://", ToAddress(served_apart))
        over_there = signed_in(apart)
        sobject(over_there, "Task").create({"Subject": "made over there"})
        everything = read(over_there, changed("Order", "2000-01-01T00:00:00Z"))

        assert len(everything) == 300
        assert [task["Subject"] for task in organisation.tasks()] == ["made over there"]
        organisation.end_sessions()
        assert get(over_there, "limits").status_code == 401


def test_token_and_locator_hold_in_another_process(sandbox: Sandbox) -> None:
    Organisation(sandbox).reshape(orders=500)
    with requests.Session() as session:
        session.trust_env = False
        with served(StandIns(Application(sandbox))) as address:
            session.mount("https://", ToAddress(address))
            salesforce = signed_in(session)
            headers = {"Sforce-Query-Options": "batchSize=400"}
            page = salesforce.query("SELECT Id FROM Order", headers=headers)
        again = Sandbox(sandbox.path, clock=sandbox.clock)
        with served(StandIns(Application(again))) as address:
            session.mount("https://", ToAddress(address))
            rest = salesforce.query_more(page["nextRecordsUrl"], identifier_is_url=True)
        again.close()

    assert (len(page["records"]), len(rest["records"])) == (400, 100)


def test_both_stand_ins_answer_on_one_port(shop: Sandbox) -> None:
    with requests.Session() as session, served(StandIns(Application(shop))) as address:
        session.trust_env = False
        orders = session.get(f"{address}/orders", headers=HEADERS)
        session.mount("https://", ToAddress(address))
        salesforce = signed_in(session)

        assert len(orders.json()["data"]) == 10
        assert salesforce.query("SELECT Id FROM Order")["totalSize"] == 330
        assert "Date" in orders.headers
        assert "," not in orders.headers["Date"].replace(", ", " ")


def test_reset_takes_what_was_changed_and_leaves_the_shape(
    organisation: Organisation, sandbox: Sandbox
) -> None:
    organisation.reshape(orders=7)
    organisation.create("Task", {"Subject": "x"})

    sandbox.reset()

    assert organisation.tasks() == []
    assert organisation.shape.orders == 7


def test_file_from_before_gets_its_tables(organisation: Organisation, sandbox: Sandbox) -> None:
    with sqlite3.connect(sandbox.path) as connection:
        for table in ("salesforce_records", "salesforce_queries", "salesforce_faults"):
            connection.execute(f"DROP TABLE {table}")
    connection.close()

    again = Organisation(Sandbox(sandbox.path))
    again.create("Task", {"Subject": "x"})

    assert len(again.tasks()) == 1
    again.sandbox.close()


def test_in_process_serves_the_settings_state_file(
    organisation: Organisation, settings: LazySettings
) -> None:
    settings.SANDBOX_STATE = organisation.sandbox.path
    organisation.create("Task", {"Subject": "x"})
    with requests.Session() as session:
        session.mount("https://", in_process())
        salesforce = signed_in(session)

        assert salesforce.query("SELECT Id FROM Task")["totalSize"] == 1


def test_in_process_never_starts_beside_a_live_key(settings: LazySettings) -> None:
    settings.DIGITALRIVER_API_KEY = "sk_live"
    with pytest.raises(ImproperlyConfigured, match="live key"):
        in_process()


def test_check_reports_salesforce_wired_to_the_stand_in(settings: LazySettings) -> None:
    settings.DIGITALRIVER_TRANSPORT = ""
    settings.SALESFORCE_TRANSPORT = "sandbox.salesforce.transport.in_process"
    settings.DEBUG = settings.ALLOW_SANDBOX = False

    assert check_transport() == []
    assert [error.id for error in check_salesforce_transport()] == ["sandbox.E002"]


@pytest.mark.parametrize("orders", [-1, 10_000_001])
def test_command_refuses_orders_out_of_bounds(sandbox: Sandbox, orders: int) -> None:
    with pytest.raises(CommandError, match="--orders"):
        call_command("sandbox", state=sandbox.path, orders=orders)


def test_shape_is_told_over_the_wire(session: requests.Session, salesforce: Salesforce) -> None:
    answer = session.patch(f"{OWN}shape", json={"orders": 5, "job_seconds": "2"}, headers=KEY)

    assert answer.json()["orders"] == 5
    assert session.get(f"{OWN}shape", headers=KEY).json()["consumer_secret"] == "***"
    assert salesforce.query("SELECT Id FROM Order")["totalSize"] == 5
    nonsense = session.patch(f"{OWN}shape", json={"wings": 2}, headers=KEY)
    assert nonsense.status_code == 400


def test_sessions_calls_and_the_bin_over_the_wire(
    session: requests.Session, salesforce: Salesforce, organisation: Organisation
) -> None:
    identifier = organisation.create("Order", {"OrderNumber": "1"})
    organisation.delete("Order", identifier)

    body = {"sobject": "Order", "id": identifier}
    assert session.post(f"{OWN}undelete", json=body, headers=KEY).status_code == 200
    assert session.post(f"{OWN}calls", json={"used": 41}, headers=KEY).json() == {"used": 41}
    assert get(salesforce, "limits").headers["Sforce-Limit-Info"] == "api-usage=42/1000000"
    assert session.post(f"{OWN}end-sessions", headers=KEY).status_code == 200
    assert organisation.record("Order", identifier)["IsDeleted"] == "false"
    assert get(salesforce, "limits").status_code == 401
