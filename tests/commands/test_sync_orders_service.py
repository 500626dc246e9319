"""`python manage.py sync_orders --every`, as a service: a bad moment does not end it."""

import os
import signal
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from refunds.management.commands import sync_orders as command
from refunds.models import Order, SyncRun
from refunds.services.mirror import reading
from refunds.services.mirror.money import money_read
from sandbox.faults import parse_fault
from sandbox.store import Sandbox
from tests.desk import SetClock

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _now(clock: SetClock, sandbox: Sandbox) -> None:
    """The command goes by the real clock, and so does Salesforce."""
    clock.now = timezone.now()


def test_a_sync_that_went_wrong_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[str] = []
    load = reading.page_load

    def away(*told: object, **how: object) -> object:
        if not rounds:
            rounds.append("failed")
            raise OperationalError("the database was restarted")
        return load(*told, **how)  # type: ignore[arg-type]

    finish = command.Command._one_of_many

    def one_round(self: command.Command, on_progress: object) -> None:
        finish(self, on_progress)  # type: ignore[arg-type]
        if SyncRun.objects.get().state == SyncRun.State.FINISHED:
            os.kill(os.getpid(), signal.SIGTERM)

    # The test has the connection within a transaction.
    monkeypatch.setattr(command, "close_old_connections", lambda: None)
    monkeypatch.setattr("refunds.services.mirror.syncing.page_load", away)
    monkeypatch.setattr(command.Command, "_one_of_many", one_round)
    output = StringIO()

    call_command("sync_orders", "--every", "1", stdout=output)

    assert "went wrong (OperationalError)" in output.getvalue()
    assert "the database was restarted" not in output.getvalue()
    assert Order.objects.count() == 330


@pytest.fixture
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service be stopped after its first round."""
    read = command.Command._some_money

    def stop_after(self: command.Command, *told: object) -> None:
        read(self, *told)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(command, "close_old_connections", lambda: None)
    monkeypatch.setattr(command.Command, "_some_money", stop_after)


@pytest.mark.usefixtures("one_round")
def test_service_reads_money_after_each_sync() -> None:
    output = StringIO()
    call_command("sync_orders", "--every", "1", "--money", "2", stdout=output)
    assert "Money of orders: 2 read" in output.getvalue()
    assert Order.objects.filter(refreshed_at__isnull=False).count() == 2


@pytest.mark.usefixtures("one_round")
def test_service_says_that_digital_river_is_away(sandbox: Sandbox) -> None:
    sandbox.queue_fault(parse_fault({"kind": "connection-refused", "times": 1_000}))
    output = StringIO()
    call_command("sync_orders", "--every", "1", "--money", "2", stdout=output)
    assert "Money of orders: 0 read, 0 refused by Digital River. " in output.getvalue()
    assert output.getvalue().endswith("Stopped.\n")


@pytest.mark.usefixtures("one_round")
def test_service_outlives_money_that_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**how: object) -> None:
        raise OperationalError("the database was restarted")

    monkeypatch.setattr(command, "money_read", broken)
    output = StringIO()
    call_command("sync_orders", "--every", "1", "--money", "2", stdout=output)
    assert "Reading money went wrong (OperationalError)" in output.getvalue()
    assert "the database was restarted" not in output.getvalue()


def test_service_stops_between_two_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_in_the_midst(*, most: int, on_order: Callable[[int], None]) -> object:
        def after_the_first(number: int) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            on_order(number)

        return money_read(most=most, on_order=after_the_first)

    monkeypatch.setattr(command, "close_old_connections", lambda: None)
    monkeypatch.setattr(command, "money_read", stopped_in_the_midst)
    call_command("sync_orders", "--every", "1", "--money", "5", stdout=StringIO())
    assert Order.objects.filter(refreshed_at__isnull=False).count() == 1
