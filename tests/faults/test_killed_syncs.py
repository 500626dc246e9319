"""``kill -9`` of the process that syncs, while the desk is served by another one.

Both are the real ones, on a database of the tests' own, and speak HTTP to the stand-ins. The
stand-in's answer held back, or a lock that the test holds, keeps the sync where it is killed.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Count, F

from refunds.models import Order, OrderLine, SyncRun
from refunds.services.mirror.runs import STALE_AFTER
from sandbox.application import Application
from sandbox.salesforce.organisation import Organisation
from sandbox.serving import StandIns
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.desk import Desk
from tests.faults.processes import (
    PATIENCE,
    QUICK_COMMITS,
    Gunicorn,
    Running,
    blocked_ports,
    database_address,
    held,
    on_a_port,
    until,
    variables,
)
from tests.faults.visiting import Visit
from tests.services.account import check_account

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]

#: Enough for two pages of orders and four of lines, with the shop's.
GENERATED = 12_000


@dataclass
class Gate:
    """The stand-ins behind a gate, at which the answer to one page of a bulk job can be held."""

    application: StandIns
    #: The how-many-eth page is held; none without.
    hold: int = 0
    pages: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Hand a request on, or hold its answer."""
        if environ["PATH_INFO"].endswith("/results"):
            self.pages += 1
            if self.pages == self.hold:
                self.reached.set()
                self.opened.wait(timeout=PATIENCE)
                raise ConnectionResetError("whoever asked is gone")
        return self.application(environ, start_response)


@dataclass
class Place:
    """The stand-ins on a port, and what starts processes of the desk that speak to them."""

    gate: Gate
    organisation: Organisation
    address: str
    folder: Path
    syncs: list[Running] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """The variables of all processes."""
        return variables(
            stand_in=self.address,
            database=database_address(),
            ALLOW_SANDBOX="1",
            SALESFORCE_URL=self.address,
            **QUICK_COMMITS,
        )

    def start_sync(self) -> Running:
        """Start ``manage.py sync_orders`` in a process of its own."""
        log = self.folder / f"sync-{len(self.syncs)}.log"
        sync = Running.start(["python", "manage.py", "sync_orders"], log, self.variables)
        self.syncs.append(sync)
        return sync

    def finish_sync(self) -> SyncRun:
        """Sync to the end in a process of its own."""
        sync = self.start_sync()
        with sync.or_stopped():
            until(sync.ended, what="the sync to end", seconds=3 * PATIENCE)
        assert sync.process.returncode == 0, sync.log[-4000:]
        return SyncRun.objects.latest("pk")


@pytest.fixture
def place(sandbox: Sandbox, tmp_path: Path) -> Iterator[Place]:
    organisation = Organisation(sandbox)
    organisation.reshape(orders=GENERATED)
    gate = Gate(StandIns(Application(sandbox)))
    with on_a_port(gate) as address:
        here = Place(gate, organisation, address, tmp_path)
        try:
            yield here
        finally:
            gate.opened.set()
            for sync in here.syncs:
                if not sync.ended():
                    sync.stop()


def kill(sync: Running) -> None:
    sync.process.kill()
    sync.process.wait(timeout=10)


def long_ago() -> None:
    """Let the time pass after which a process counts as gone."""
    SyncRun.objects.update(alive_at=F("alive_at") - STALE_AFTER)


def check_whole(run: SyncRun, shop_orders: int) -> None:
    """Check that everything is there, once."""
    assert (run.state, run.set_aside) == (SyncRun.State.FINISHED, 0), run.outcome
    assert Order.objects.count() == run.orders_read == GENERATED + shop_orders
    assert OrderLine.objects.count() == run.lines_read
    assert (run.orders_created, run.lines_created) == (run.orders_read, run.lines_read)
    numbers = Order.objects.values("order_number").distinct().count()
    assert numbers == run.orders_read
    lines = OrderLine.objects.values("salesforce_id").annotate(times=Count("pk"))
    assert not lines.filter(times__gt=1).exists()


@pytest.mark.parametrize("page", [1, 2, 4, 6])
def test_a_sync_killed_while_it_waits_for_a_page_goes_on(place: Place, page: int) -> None:
    shop_orders = len(place.organisation.sandbox.salesforce_records())
    place.gate.hold = page
    sync = place.start_sync()
    with sync.or_stopped():
        assert place.gate.reached.wait(timeout=PATIENCE), "the page was never asked for"
    kill(sync)
    place.gate.opened.set()
    before = SyncRun.objects.get()
    assert before.state == SyncRun.State.RUNNING
    assert before.orders_read == Order.objects.count()
    assert before.lines_read == OrderLine.objects.count()

    refused = place.start_sync()
    until(refused.ended, what="the second sync to be refused")
    assert refused.process.returncode == 2
    assert "under way" in refused.log

    long_ago()
    run = place.finish_sync()

    assert run.pk == before.pk
    check_whole(run, shop_orders)
    # What was read before the kill was not asked for again.
    pages_in_all = -(-run.orders_read // 10_000) + -(-run.lines_read // 10_000)
    assert place.gate.pages == pages_in_all + 1


@pytest.mark.parametrize("table", ["refunds_order", "refunds_orderline"])
def test_a_sync_killed_while_it_writes_a_page_leaves_nothing_of_it(
    place: Place, table: str
) -> None:
    shop_orders = len(place.organisation.sandbox.salesforce_records())
    with held(table):
        sync = place.start_sync()
        with sync.or_stopped():
            until(blocked_ports, what="the sync to write")
        kill(sync)
    until(lambda: not blocked_ports(), what="the database to notice")
    before = SyncRun.objects.get()
    assert before.orders_read == Order.objects.count()
    assert before.lines_read == OrderLine.objects.count() == 0
    long_ago()

    check_whole(place.finish_sync(), shop_orders)


@contextmanager
def served(place: Place) -> Iterator[Gunicorn]:
    server = Gunicorn.serve(place.folder / "gunicorn.log", place.variables)
    try:
        yield server
    finally:
        server.stop()


def test_a_desk_that_is_worked_at_while_another_process_syncs(place: Place, desk: Desk) -> None:
    """An order is opened and refunded between its coming in and that of its lines."""
    shop_orders = len(place.organisation.sandbox.salesforce_records())
    # Before the first page of lines.
    place.gate.hold = 3
    number = SHOWCASE["worked_sample"]
    with served(place) as server, Visit(server.address) as visit:
        visit.sign_in()
        sync = place.start_sync()
        with sync.or_stopped():
            assert place.gate.reached.wait(timeout=PATIENCE), "the page was never asked for"
        assert number in visit.order_page(number)
        token = {"csrfmiddlewaretoken": visit.http.cookies["csrftoken"]}
        visit.http.post(f"/orders/{number}/refresh/", data=token)
        order = Order.objects.get(order_number=number)
        assert order.refreshed_at is not None
        assert order.lines.count() == 1
        reference = visit.draft(number, "5.00")
        visit.submit(reference, visit.review(reference))
        order.refresh_from_db()
        figures = (order.state, order.total_amount, order.left_amount, order.refundable)
        place.gate.opened.set()
        with sync.or_stopped():
            until(sync.ended, what="the sync to end", seconds=3 * PATIENCE)
        run = SyncRun.objects.get()
        if run.state == SyncRun.State.STOPPED:
            # The page that was held came to nothing.
            run = place.finish_sync()
        assert run.state == SyncRun.State.FINISHED, run.outcome
        assert "Mirrored from Salesforce" in visit.http.get("/orders/").text

    assert Order.objects.count() == GENERATED + shop_orders
    assert OrderLine.objects.count() == run.lines_read
    order.refresh_from_db()
    assert (order.state, order.total_amount, order.left_amount, order.refundable) == figures
    line = order.lines.get()
    assert line.salesforce_id
    assert line.product_amount == Decimal("20.00")
    assert order.refunds.count() == 1
    desk.clock.forward(minutes=1)
    check_account(desk, desk.refresh(order))
