"""`python manage.py sweep`: what a round does, what it says, and how it goes on and stops."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from refunds.management.commands import sweep as command
from refunds.models import Event, Refund
from refunds.options import Option, Selection
from refunds.services import sweeping
from refunds.services.drafts import draft_create
from sandbox.faults import parse_fault
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db

PROJECT = Path(__file__).resolve().parents[2]
WHOLE = Selection(Option.COMPLETE_ORDER)


def _sweep(*arguments: str) -> dict[str, str]:
    """Run the command; returns what it says of each step."""
    output = StringIO()
    call_command("sweep", *arguments, stdout=output)
    return dict(line.split(": ", 1) for line in output.getvalue().splitlines())


@pytest.fixture(autouse=True)
def _an_hour_ago(desk: Desk) -> None:
    """What a test does was done an hour ago; the command goes by the real clock."""
    desk.clock.now = timezone.now() - timedelta(hours=1)


def _submit(desk: Desk, case: str) -> Refund:
    return desk.submit(desk.order(case), rep(), WHOLE)


def test_sweep_settles_what_is_due(desk: Desk) -> None:
    succeeding = _submit(desk, "worked_sample")
    failing = _submit(desk, "failing_owner")

    said = _sweep()

    assert said["Drafts expired"] == "0"
    for refund, state in (
        (succeeding, Refund.State.SUCCEEDED),
        (failing, Refund.State.FAILED),
    ):
        refund.refresh_from_db()
        assert refund.state == state


def test_sweep_settles_without_any_event(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "events_catch_up", lambda **_: 0)
    _submit(desk, "worked_sample")
    _submit(desk, "failing_owner")

    assert _sweep()["Refunds"] in {"1 succeeded, 1 failed", "1 failed, 1 succeeded"}


def test_sweep_reads_and_processes_events(desk: Desk) -> None:
    refund = _submit(desk, "worked_sample")

    said = _sweep()

    assert int(said["Events read"]) >= 5
    assert "processed" in said["Events"]
    about = refund.order.events.values_list("state", flat=True)
    assert set(about) == {Event.State.PROCESSED}


def test_sweep_a_second_time_has_nothing_to_do(desk: Desk) -> None:
    _submit(desk, "worked_sample")
    _sweep()

    said = _sweep()

    assert (said["Events read"], said["Events"]) == ("0", "nothing was due")
    assert (said["Refunds"], said["Drafts expired"]) == ("nothing was due", "0")


def test_sweep_leaves_what_is_not_due(desk: Desk) -> None:
    desk.clock.now = timezone.now()
    refund = _submit(desk, "worked_sample")

    assert _sweep()["Refunds"] == "nothing was due"

    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING


def test_sweep_drops_expired_drafts_only(desk: Desk) -> None:
    order = desk.order("worked_sample")
    kept = draft_create(order=order, user=rep(), clock=desk.clock)
    desk.clock.forward(days=-3)
    expired = draft_create(order=order, user=rep(), clock=desk.clock)

    assert _sweep()["Drafts expired"] == "1"

    assert Refund.objects.get(pk=kept.pk).state == Refund.State.DRAFT
    assert Refund.objects.get(pk=expired.pk).state == Refund.State.CANCELLED


def test_sweep_says_that_digital_river_cannot_be_reached(desk: Desk) -> None:
    refund = _submit(desk, "worked_sample")
    desk.sandbox.queue_fault(parse_fault({"kind": "connection-refused", "times": 1_000}))

    # No failure of the command: the next round looks again.
    said = _sweep()

    assert said["Refunds"] == "1 not known, because Digital River could not be asked"
    assert "could not be read" in said["Events read"]
    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING
    assert refund.next_check_at is not None
    assert refund.next_check_at > timezone.now()


def test_sweep_fails_when_a_step_went_wrong_and_does_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = _submit(desk, "worked_sample")

    def wrong(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sweeping, "events_catch_up", wrong)
    output = StringIO()
    with pytest.raises(CommandError, match="A step went wrong") as failure:
        call_command("sweep", stdout=output)

    assert failure.value.returncode == 1
    assert "Events read: went wrong (ZeroDivisionError); see the log\n" in output.getvalue()
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED


def test_sweep_fails_when_a_single_refund_went_wrong(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "refunds_settle", lambda **_: {"pending": 3, "went wrong": 1})

    with pytest.raises(CommandError, match="A step went wrong"):
        _sweep()


@pytest.mark.parametrize("every", ["0", "-1", "1.5", "soon", "", "86401"])
def test_sweep_refuses_a_pause_that_is_none(every: str) -> None:
    with pytest.raises(CommandError, match="whole number of seconds from 1 to 86400"):
        _sweep("--every", every)


def test_sweep_every_so_often_finishes_the_round_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds: list[str] = []

    def slow() -> dict[str, sweeping.Done]:
        rounds.append("begun")
        if len(rounds) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            # A signal's handler runs between two steps of Python's.
            time.sleep(0.01)
        rounds.append("done")
        return {"refunds": {"looked at": len(rounds)}, "events": {}, "breaches": 0}

    monkeypatch.setattr(command, "sweep", slow)
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout: self.is_set())
    before = signal.getsignal(signal.SIGTERM)
    output = StringIO()

    call_command("sweep", "--every", "1", stdout=output)

    assert rounds == ["begun", "done"] * 2
    assert output.getvalue() == (
        "A round every 1 seconds.\nRefunds: 2 looked at\nRefunds: 4 looked at\nStopped.\n"
    )
    assert signal.getsignal(signal.SIGTERM) == before


def test_sweep_every_so_often_goes_on_after_a_round_that_went_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds: list[sweeping.WentWrong] = []

    def wrong() -> dict[str, sweeping.Done]:
        rounds.append(sweeping.WentWrong("went wrong (OSError); see the log"))
        if len(rounds) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        return {"refunds": rounds[-1]}

    monkeypatch.setattr(command, "sweep", wrong)
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout: self.is_set())
    output = StringIO()

    call_command("sweep", "--every", "1", stdout=output)

    assert output.getvalue().count("went wrong") == 2


def test_sweep_as_a_service_finishes_its_round_and_stops(tmp_path: Path) -> None:
    variables = {
        "PATH": os.environ["PATH"],
        "DEBUG": "1",
        "SECRET_KEY": "only-for-tests-" + "0" * 50,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'desk.sqlite3'}",
        "SANDBOX_STATE": str(tmp_path / "sandbox.sqlite3"),
    }
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v", "0"], cwd=PROJECT, env=variables, check=True)
    with subprocess.Popen(
        [*manage, "sweep", "--every", "86400"],
        cwd=PROJECT,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "A round every 86400 seconds.\n"
        service.send_signal(signal.SIGTERM)
        said = service.stdout.read()
        assert service.wait(timeout=60) == 0
    assert said.endswith("Stopped.\n")
    connection = sqlite3.connect(tmp_path / "desk.sqlite3")
    [(read_up_to,)] = connection.execute("SELECT at FROM refunds_watermark WHERE name = 'events'")
    connection.close()
    assert read_up_to
