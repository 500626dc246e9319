"""The rate limit that all processes share: never too fast, and nobody after a 429."""

import os
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import InterfaceError, OperationalError, connection, connections
from pytest_django import DjangoAssertNumQueries

from refunds import gateways
from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import RateLimited
from refunds.digitalriver.pace import PATIENCE
from refunds.gateways import SharedPace, dashboard_order_address, digital_river
from refunds.models import CallPace
from sandbox.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.desk import Desk, SetClock
from tests.faults.processes import database_address
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db

PROJECT = Path(__file__).resolve().parents[1]
KEY = "sk_test_of_the_pace"


def pace(clock: SetClock, calls_per_second: int = 20, *, key: str = KEY) -> SharedPace:
    return SharedPace(key=key, calls_per_second=calls_per_second, clock=clock)


def most_in_a_second(moments: Iterable[float]) -> int:
    """Return the most of these moments, in seconds, that lie within any one second."""
    sorted_ = sorted(moments)
    # Moments are told to the microsecond, and spread by whole ones.
    return max(bisect_left(sorted_, first + 0.999) - place for place, first in enumerate(sorted_))


def walk(clock: SetClock, paces: Sequence[SharedPace], seconds: float) -> list[float]:
    """Let callers ask in turn, each as soon as it may; returns when they were admitted."""
    start = clock.now
    admitted = []
    while (elapsed := (clock.now - start).total_seconds()) < seconds:
        waits = []
        for each in paces:
            wait = each.admit()
            if wait:
                waits.append(wait)
            else:
                admitted.append(elapsed)
        if len(waits) == len(paces):
            clock.forward(seconds=min(waits))
    return admitted


# -- the limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5, 20, 25, 100])
def test_pace_keeps_to_the_limit_in_every_second(clock: SetClock, limit: int) -> None:
    admitted = walk(clock, [pace(clock, limit), pace(clock, limit)], 3)

    assert most_in_a_second(admitted) <= limit
    # And it does not waste what it may use: four fifths of it, and what may come at once.
    assert len(admitted) >= int(3 * limit * 0.8)


def test_pace_keeps_to_the_limit_after_a_pause(clock: SetClock) -> None:
    admitted = walk(clock, [pace(clock)], 2)
    clock.forward(hours=1)
    later = walk(clock, [pace(clock)], 2)

    assert most_in_a_second(admitted + [3600 + each for each in later]) <= 20


def test_pace_admits_some_at_once_and_then_one_at_a_time(clock: SetClock) -> None:
    mine = pace(clock)

    assert [mine.admit() for _ in range(5)] == [0.0] * 5
    wait = mine.admit()
    assert wait == pytest.approx(0.0625)
    clock.forward(seconds=wait)
    assert mine.admit() == 0.0
    assert mine.admit() == pytest.approx(0.0625)


def test_pace_is_shared_by_all_with_the_same_key(clock: SetClock) -> None:
    mine, theirs = pace(clock), pace(clock)
    while not mine.admit():
        pass

    assert theirs.admit() > 0
    assert pace(clock, key="another").admit() == 0.0


def test_pace_keeps_no_key(clock: SetClock) -> None:
    pace(clock).admit()

    row = CallPace.objects.get()
    assert KEY not in row.key
    assert KEY not in str(row)


def test_pace_costs_one_statement_where_nobody_waits(
    clock: SetClock, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    mine = pace(clock)
    mine.admit()

    with django_assert_num_queries(1):
        assert mine.admit() == 0.0


def test_pace_of_a_clock_that_was_ahead_does_not_hold_everybody_up(clock: SetClock) -> None:
    clock.forward(days=2)
    mine = pace(clock)
    while not mine.admit():
        pass
    clock.forward(days=-2)

    admitted = walk(clock, [mine, pace(clock)], 2)

    assert admitted[0] == 0.0
    assert most_in_a_second(admitted) <= 20


def test_hold_of_a_clock_that_was_ahead_does_not_hold_everybody_up(clock: SetClock) -> None:
    clock.forward(days=365)
    pace(clock).hold_back(60)
    clock.forward(days=-365)

    assert pace(clock).admit() == 0.0


# -- Retry-After -----------------------------------------------------------------------------------


def test_hold_back_holds_everybody_back(clock: SetClock) -> None:
    mine, theirs = pace(clock), pace(clock)
    mine.admit()

    mine.hold_back(120)

    assert theirs.admit() == 120.0
    clock.forward(seconds=119)
    assert theirs.admit() == 1.0
    clock.forward(seconds=1)
    assert theirs.admit() == 0.0


def test_hold_back_is_not_shortened(clock: SetClock) -> None:
    mine = pace(clock)
    mine.hold_back(120)
    mine.hold_back(5)

    assert mine.admit() == 120.0


def test_hold_back_before_the_first_call(clock: SetClock) -> None:
    mine = pace(clock)

    mine.hold_back(5)

    assert CallPace.objects.count() == 1
    assert mine.admit() == 5.0


def test_hold_back_by_the_first_429_keeps_another_process_from_calling(
    desk: Desk, sandbox: Sandbox, clock: SetClock
) -> None:
    order = desk.order("worked_sample")
    wire = Wire(in_process_for(sandbox))
    mine, theirs = (
        DigitalRiverClient(
            base_url="http://sandbox.invalid",
            api_key=KEY,
            version="2021-12-13",
            timeout=5,
            application_id="refund-desk/test",
            transport=wire,
            read_attempts=1,
            pace=pace(clock),
        )
        for _ in range(2)
    )
    sandbox.queue_fault(Fault(FaultKind.RATE_LIMITED, method="GET", retry_after=60))
    with pytest.raises(RateLimited):
        mine.get_order(order.digital_river_id)
    asked = len(wire.requests)

    with pytest.raises(RateLimited) as error:
        theirs.get_order(order.digital_river_id)

    assert error.value.retry_after == 60
    assert len(wire.requests) == asked
    clock.forward(seconds=60)
    assert theirs.get_order(order.digital_river_id).id == order.digital_river_id


# -- a database that is away -----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_pace_admits_nobody_while_the_database_is_away(
    clock: SetClock, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    mine = pace(clock)
    mine.admit()

    def away(*_: Any) -> None:
        raise error("the server closed the connection unexpectedly")

    with connection.execute_wrapper(away):
        assert 0 < mine.admit() <= PATIENCE
        mine.hold_back(60)

    assert caplog.text.count("pace.database_away") == 2
    assert mine.admit() == 0.0


# -- many at once ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_pace_of_threads_that_ask_at_once_keeps_to_the_limit() -> None:
    limit, seconds = 40, 2.0
    start = threading.Barrier(4)
    admitted: list[float] = []
    trouble: list[BaseException] = []

    def call() -> None:
        mine = SharedPace(key=KEY, calls_per_second=limit)
        try:
            start.wait(timeout=30)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                wait = mine.admit()
                if wait:
                    time.sleep(wait)
                else:
                    admitted.append(time.monotonic())
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the test judges it
            trouble.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert trouble == []
    assert CallPace.objects.count() == 1
    # What is admitted late on a busy machine may fall into the next second.
    assert len(admitted) <= limit * seconds * 0.8 + limit * 0.2 + 2
    assert len(admitted) >= limit * 0.3


#: How another process reaches the tests' database.
ADDRESSES = {
    "sqlite": lambda: f"sqlite:///{connection.settings_dict['NAME']}",
    "postgresql": database_address,
}
_CALLER = """
import sys, time, django
django.setup()
from refunds.gateways import SharedPace
pace = SharedPace(key="sk_test_of_the_pace", calls_per_second=20)
print("ready", flush=True)
sys.stdin.readline()
end, admitted = time.monotonic() + 2.0, 0
while time.monotonic() < end:
    wait = pace.admit()
    time.sleep(wait)
    admitted += not wait
print(admitted)
"""


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_pace_of_two_processes_together_keeps_to_the_limit() -> None:
    variables = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "refundsite.settings",
        "DEBUG": "1",
        "SECRET_KEY": "only-for-tests-" + "0" * 50,
        "DATABASE_URL": ADDRESSES[connection.vendor](),
    }
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", _CALLER],
            cwd=PROJECT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    counts = []
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    for caller in callers:
        output, _ = caller.communicate(timeout=60)
        counts.append(int(output))

    assert CallPace.objects.count() == 1
    # 16 a second for two seconds, and 4 that may come at once at the start.
    assert 5 <= sum(counts) <= 38


# -- what is built from the settings ---------------------------------------------------------------


def test_client_of_the_settings_is_paced_by_the_shared_row(desk: Desk) -> None:
    order = desk.order("worked_sample")
    assert not CallPace.objects.exists()

    digital_river().get_order(order.digital_river_id)

    row = CallPace.objects.get()
    assert row.held_until <= datetime.now(UTC)


def test_dashboard_address_names_the_order() -> None:
    assert dashboard_order_address("123").endswith("/orderdetails?id=123")


# -- Salesforce ------------------------------------------------------------------------------------


def test_salesforce_of_the_settings_is_the_stand_in_and_is_signed_in_at_its_first_call(
    organisation: Organisation,
) -> None:
    client = gateways.salesforce()
    assert client is gateways.salesforce()
    assert client.usage is None
    assert client.describe("Order").may_query
    assert client.usage is not None


@pytest.mark.parametrize("name", ["SALESFORCE_DOMAIN", "SALESFORCE_URL", "SALESFORCE_TRANSPORT"])
def test_salesforce_is_configured_by_any_of_its_settings(settings: LazySettings, name: str) -> None:
    settings.SALESFORCE_TRANSPORT = ""
    assert not gateways.salesforce_is_configured()
    setattr(settings, name, "x")
    assert gateways.salesforce_is_configured()
