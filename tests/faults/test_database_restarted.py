"""The database is stopped as by a power cut and started again while reps submit refunds."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django.plugin import DjangoDbBlocker

from refunds.digitalriver.client import DigitalRiverClient
from refunds.models import Order, Refund, RefundAttempt
from sandbox.application import Application
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.conftest import NEEDS_CLUSTER
from tests.desk import Desk
from tests.faults.aftermath import RunningClock, check_aftermath
from tests.faults.cluster import Cluster, cluster_at, programs, working_on
from tests.faults.crowds import at_once
from tests.faults.processes import (
    Gunicorn,
    database_address,
    database_connection,
    on_a_port,
    until,
    variables,
)
from tests.faults.visiting import Visit
from tests.services.account import at_digital_river

pytestmark = pytest.mark.postgresql

#: Orders with something left; the first one is refunded by two reps at once.
CASES = ("plain_usd", "gbp", "eur")
REPS = 4
CONNECTIONS = 16
#: Seconds after its return in which requests that it broke off may still fail, and no later.
NO_ERRORS_AFTER = 5.0
#: Seconds that a request may take on a busy machine.
AT_ONCE = 3.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a running cluster of this module's own."""
    found = programs()
    if found is None:
        pytest.skip(NEEDS_CLUSTER)
    with cluster_at(found) as cluster:
        yield cluster


@pytest.fixture
def database(
    cluster: Cluster, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Have Django work with a fresh database of the cluster."""
    with django_db_blocker.unblock():
        with working_on(cluster, "postgres"), database_connection() as owner:
            owner.autocommit = True
            owner.execute("DROP DATABASE IF EXISTS refund_desk")
            owner.execute("CREATE DATABASE refund_desk")
        with working_on(cluster, "refund_desk"):
            call_command("migrate", verbosity=0)
            yield


@pytest.fixture
def server(database: None, tmp_path: Path) -> Iterator[Gunicorn]:
    """Return a server each of whose threads has had a connection."""
    server = Gunicorn.serve(
        tmp_path / "log", variables(stand_in="http://127.0.0.1:9", database=database_address())
    )
    try:
        assert set(at_once([lambda: look(server)] * CONNECTIONS)) == {200}
        yield server
    finally:
        server.stop()


@pytest.fixture
def clock() -> RunningClock:
    """Return the time of the processes."""
    return RunningClock()


@dataclass
class Shift:
    """What one rep went through: when a refund was confirmed, and when something went wrong."""

    order_number: str
    visit: Visit
    confirmed: dict[str, float] = field(default_factory=dict)
    wrong: list[tuple[float, str]] = field(default_factory=list)

    def work(self, over: threading.Event) -> None:
        """Submit a refund after the other until the shift is over."""
        while not over.is_set():
            try:
                self._refund()
            except (httpx.HTTPError, AssertionError) as error:
                self.wrong.append((time.monotonic(), str(error)[:200]))
                time.sleep(0.05)

    def _refund(self) -> None:
        reference = self.visit.draft(self.order_number, "0.10")
        answer = self.visit.submit(reference, self.visit.review(reference))
        if answer.status_code == 302:
            self.confirmed[reference] = time.monotonic()
        else:
            self.wrong.append((time.monotonic(), f"submitted, and got {answer.status_code}"))


def test_database_restarted_while_reps_submit(
    cluster: Cluster, database: None, sandbox: Sandbox, clock: RunningClock, tmp_path: Path
) -> None:
    client = DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key="sk_test_refund_desk",
        version="2021-12-13",
        timeout=15,
        application_id="refund-desk/test",
        transport=in_process_for(sandbox),
    )
    desk = Desk(sandbox, client, clock)
    orders = [desk.order(case) for case in CASES]
    with on_a_port(Application(sandbox)) as stand_in:
        settings = variables(stand_in=stand_in, database=database_address())
        server = Gunicorn.serve(tmp_path / "log", settings)
        try:
            shifts, back = run_shifts(cluster, server, orders)
        finally:
            server.stop()

    # However rudely it was stopped, every rep works again soon, and keeps working.
    for shift in shifts:
        assert min(shift.confirmed.values()) < back, shift.wrong
        assert max(shift.confirmed.values()) > back, shift.wrong
        late = [words for at, words in shift.wrong if at > back + NO_ERRORS_AFTER]
        assert not [words for words in late if "500" in words], server.log
    # What a rep saw confirmed is not forgotten.
    confirmed = {reference for shift in shifts for reference in shift.confirmed}
    assert Refund.objects.filter(reference__in=confirmed).count() == len(confirmed)
    sent = Counter(
        each["metadata"]["refundReference"]
        for order in orders
        for each in at_digital_river(desk, order)
    )
    assert set(sent.values()) == {1}
    assert set(sent) <= set(RefundAttempt.objects.values_list("reference", flat=True))
    check_aftermath(desk, *orders)
    assert not Refund.objects.exclude(
        state__in=[Refund.State.SUCCEEDED, Refund.State.NOT_SENT, Refund.State.DRAFT]
    ).exists()


def test_database_restarted_between_requests(cluster: Cluster, server: Gunicorn) -> None:
    """It costs the requests that come after it nothing, and no time either."""
    restart(cluster)

    check_at_once(server, 200)
    assert Counter(at_once([lambda: look(server)] * CONNECTIONS)) == {200: CONNECTIONS}


def test_database_away(cluster: Cluster, server: Gunicorn) -> None:
    """Nobody is kept waiting meanwhile, nor once it is back."""
    cluster.crash()
    check_at_once(server, 503)

    cluster.start()
    check_at_once(server, 200)


def look(server: Gunicorn) -> int:
    """Ask for something that needs the database; returns the status of the answer."""
    return httpx.get(f"{server.address}/readyz", timeout=30, trust_env=False).status_code


def check_at_once(server: Gunicorn, status: int) -> None:
    """Assert that requests that come one after the other are answered so, and soon."""
    for _ in range(CONNECTIONS):
        begun = time.monotonic()
        assert look(server) == status, server.log
        assert time.monotonic() - begun < AT_ONCE, server.log


def restart(cluster: Cluster) -> float:
    """Stop the database as by a power cut and start it again; returns when it was back."""
    cluster.control("restart", "-m", "immediate")
    # The test's own connection went with the others.
    connections.close_all()
    until(answers, what="the database to answer again")
    return time.monotonic()


def run_shifts(
    cluster: Cluster, server: Gunicorn, orders: list[Order]
) -> tuple[list[Shift], float]:
    """Have reps submit before, during and after a restart; returns what they saw, and its end."""
    shifts = [
        Shift(orders[number % len(orders)].order_number, Visit(server.address, f"rep{number}"))
        for number in range(REPS)
    ]
    for shift in shifts:
        shift.visit.sign_in()
    over = threading.Event()
    threads = [threading.Thread(target=shift.work, args=(over,), daemon=True) for shift in shifts]
    for thread in threads:
        thread.start()
    try:
        until(lambda: all(len(shift.confirmed) > 1 for shift in shifts), what="refunds")
        back = restart(cluster)
        until(
            lambda: all(max(shift.confirmed.values()) > back for shift in shifts),
            what="every rep to work again",
        )
        time.sleep(NO_ERRORS_AFTER)
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=30)
        for shift in shifts:
            shift.visit.http.close()
    return shifts, back


def answers() -> bool:
    """Tell whether the database takes connections."""
    try:
        with database_connection():
            return True
    except psycopg.OperationalError:
        return False
