"""`python manage.py sync_orders --every`, as a service: a bad moment does not end it."""

import os
import signal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone

from refunds.management.commands import sync_orders as command
from refunds.models import Order, SyncRun
from refunds.services.mirror import reading
from sandbox.store import Sandbox
from tests.desk import SetClock

pytestmark = pytest.mark.django_db


def test_a_sync_that_went_wrong_is_followed_by_the_next(
    clock: SetClock, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.now = timezone.now()
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
