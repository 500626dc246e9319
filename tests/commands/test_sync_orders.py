"""`python manage.py sync_orders`: what it says, how it ends, and one order at once."""

import re
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.conf import LazySettings, settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from refunds import tasks
from refunds.management.commands import sync_orders as command
from refunds.models import Order, SyncRun
from sandbox.faults import parse_fault
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.planted import Bad
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.desk import SetClock

pytestmark = pytest.mark.django_db


class Terminal(StringIO):
    """Text that is written to a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _now(clock: SetClock, sandbox: Sandbox) -> None:
    """The command goes by the real clock, and so does Salesforce."""
    clock.now = timezone.now()


def sync_orders(*arguments: str) -> str:
    output = StringIO()
    call_command("sync_orders", *arguments, stdout=output)
    return output.getvalue()


def test_sync_orders_reads_everything_and_then_what_changed() -> None:
    first = sync_orders()

    assert re.search(r"  Orders: 330 of 330 read|  Order products: 0", first)
    assert "Orders: 330 read, 330 new, 0 changed, 0 deleted." in first
    assert f"Sync {SyncRun.objects.get().pk}: Finished." in first
    assert "Orders: 0 read, 0 new, 0 changed, 0 deleted." in sync_orders()


def test_sync_orders_since_a_day() -> None:
    sync_orders()
    sync_orders("--since", "2020-01-01")
    assert SyncRun.objects.latest("pk").since == datetime(2020, 1, 1, tzinfo=UTC)
    with pytest.raises(CommandError, match="YYYY-MM-DD"):
        sync_orders("--since", "yesterday")


def test_sync_orders_full_reads_everything_again() -> None:
    sync_orders()
    assert "Orders: 330 read, 0 new, 0 changed, 0 deleted." in sync_orders("--full")


def test_sync_orders_names_what_is_set_aside(organisation: Organisation) -> None:
    organisation.reshape(orders=30, planted=dict.fromkeys(range(25), Bad.UNKNOWN_CURRENCY))
    said = sync_orders()
    assert "Set aside: 100" in said
    assert "CurrencyIsoCode is no ISO 4217 code." in said or "is not in the mirror" in said
    assert "and 80 more, in the administration" in said


def test_sync_orders_that_stopped_says_why(organisation: Organisation) -> None:
    organisation.reshape(has_package=False)
    with pytest.raises(CommandError, match="DR_Order_Id__c") as raised:
        sync_orders()
    assert raised.value.returncode == 1


def test_sync_orders_while_another_is_under_way_is_refused() -> None:
    SyncRun.objects.create(
        kind=SyncRun.Kind.FULL,
        started_by="test",
        started_at=timezone.now(),
        alive_at=timezone.now(),
    )
    with pytest.raises(CommandError, match="under way") as raised:
        sync_orders()
    assert raised.value.returncode == 2


@pytest.mark.parametrize("by", ["OrderNumber", "Id"])
def test_sync_orders_fetches_one_order(organisation: Organisation, by: str) -> None:
    identifier = organisation.order_id(SHOWCASE["worked_sample"])
    told = organisation.record("Order", identifier)[by]

    said = sync_orders("--order", told)

    assert f"Order {SHOWCASE['worked_sample']} is mirrored." in said
    assert Order.objects.get().lines.count() == 1
    assert not SyncRun.objects.exists()


def test_sync_orders_says_that_there_is_no_such_order() -> None:
    with pytest.raises(CommandError, match="no order 99999999"):
        sync_orders("--order", "99999999")


def test_sync_orders_says_what_keeps_an_order_out(organisation: Organisation) -> None:
    identifier = organisation.order_id(SHOWCASE["worked_sample"])
    organisation.change("Order", identifier, {"CurrencyIsoCode": "ZZZ"})
    with pytest.raises(CommandError, match="CurrencyIsoCode"):
        sync_orders("--order", identifier)


def test_sync_orders_takes_one_way_at_a_time() -> None:
    with pytest.raises(CommandError, match="not allowed with"):
        sync_orders("--full", "--order", "00100211")


def test_sync_orders_shows_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("sync_orders", stdout=Terminal())
    shown = capsys.readouterr().out
    assert "Orders" in shown
    assert "330/330" in shown, repr(shown)


def test_sync_orders_stopped_by_hand_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_Lines", lambda write: lambda run: interrupt(""))
    with pytest.raises(CommandError, match="to go on"):
        sync_orders()
    assert SyncRun.objects.get().state == SyncRun.State.STOPPED


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) == before


def test_sync_orders_goes_on_until_it_is_told_to_stop(
    signals: None, monkeypatch: pytest.MonkeyPatch, organisation: Organisation
) -> None:
    organisation.queue_fault(Fault(FaultKind.JOB_FAILS, method="POST", path="*/jobs/query"))
    pauses: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout or 0)
            if len(pauses) == 3:
                self.set()
            return self.is_set()

    monkeypatch.setattr(threading, "Event", Stop)
    # The test has the connection within a transaction.
    monkeypatch.setattr(command, "close_old_connections", lambda: None)

    said = sync_orders("--every", "7")

    assert pauses == [7, 7, 7]
    assert "bulk job" in said
    assert "330 new orders" in said
    assert said.rstrip().endswith("Stopped.")
    assert SyncRun.objects.filter(state=SyncRun.State.FINISHED).count() == 2


def test_the_timer_s_task_syncs_and_leaves_alone_what_is_under_way(
    organisation: Organisation,
) -> None:
    tasks.sync_orders()
    assert SyncRun.objects.get().started_by == "timer"
    SyncRun.objects.update(state=SyncRun.State.RUNNING, finished_at=None, alive_at=timezone.now())

    tasks.sync_orders()

    assert SyncRun.objects.count() == 1


def test_sync_orders_reads_money_where_asked_to() -> None:
    said = sync_orders("--money", "3")
    assert "Money of orders: 3 read, 0 refused" in said
    assert Order.objects.filter(refreshed_at__isnull=False).count() == 3
    assert "Money" not in sync_orders()


def test_sync_orders_reads_as_much_money_as_the_settings_say(settings: LazySettings) -> None:
    settings.SALESFORCE_SYNC_MONEY = 2
    assert "Money of orders: 2 read, 0 refused" in sync_orders()
    assert "Money of orders: 1 read, 0 refused" in sync_orders("--money", "1")


def test_sync_orders_shows_a_bar_of_the_money_on_a_terminal() -> None:
    terminal = Terminal()
    call_command("sync_orders", "--money", "2", stdout=terminal)
    assert "Money of orders: 2 read, 0 refused" in terminal.getvalue()


def test_sync_orders_says_why_the_money_was_left(sandbox: Sandbox) -> None:
    sandbox.queue_fault(parse_fault({"kind": "connection-refused", "times": 1_000}))
    with pytest.raises(CommandError, match="The rest is left for the next time") as raised:
        sync_orders("--money", "5")
    assert "Digital River" in str(raised.value)
    assert SyncRun.objects.get().state == SyncRun.State.FINISHED


def test_sync_orders_counts_what_digital_river_refuses() -> None:
    sync_orders()
    Order.objects.filter(may_be_refunded=True).update(digital_river_id="")
    order = Order.objects.filter(state="complete").latest("ordered_at")
    Order.objects.filter(pk=order.pk).update(digital_river_id="220000019999")
    said = sync_orders("--money", "5")
    assert "Money of orders: 0 read, 1 refused by Digital River." in said


def test_sync_orders_says_how_many_it_failed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**how: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("refunds.services.mirror.money.order_refresh", fails)
    said = sync_orders("--money", "2")
    assert "0 refused by Digital River, 2 went wrong (the log says more)." in said


def test_sync_orders_refuses_money_beside_one_order() -> None:
    with pytest.raises(CommandError, match="--money goes with a sync"):
        sync_orders("--order", SHOWCASE["worked_sample"], "--money", "5")
    assert not Order.objects.exists()


@pytest.mark.parametrize("told", ["0", "-1", "many", "1.5", "1e400", "NaN", "1000001", "9" * 5000])
def test_sync_orders_refuses_an_amount_of_money_that_is_none(told: str) -> None:
    with pytest.raises(CommandError, match="it must be a whole number from 1 to 1,000,000"):
        sync_orders("--money", told)
    assert not SyncRun.objects.exists()


def test_timer_reads_as_much_money_as_the_settings_say(settings: LazySettings) -> None:
    settings.SALESFORCE_SYNC_MONEY = 2
    tasks.sync_orders()
    assert Order.objects.filter(refreshed_at__isnull=False).count() == 2


def test_beat_syncs_every_so_many_seconds() -> None:
    entry = settings.CELERY_BEAT_SCHEDULE["sync orders"]
    assert (entry["task"], entry["schedule"]) == (tasks.sync_orders.name, 300)
