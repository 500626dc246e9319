"""The sync against the stand-in: first load, changes, deletions, and going on where it stopped."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import OperationalError

from refunds.errors import SyncRefused
from refunds.models import Order, OrderLine, SeenRecord, SetAside, SyncRun
from refunds.options import Option, Selection
from refunds.salesforce.client import CsvPage, SalesforceClient
from refunds.services.mirror import reading, syncing
from refunds.services.mirror.runs import OVERLAP, STALE_AFTER
from refunds.services.mirror.syncing import sync
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.planted import Bad
from sandbox.shop import SHOWCASE
from tests.desk import Desk, SetClock, rep

pytestmark = pytest.mark.django_db

#: Starts a sync by the test's clock; takes what ``sync`` takes.
Sync = Callable[..., SyncRun]
Phase = SyncRun.Phase


class StoppedError(Exception):
    """The process is killed here."""


@pytest.fixture
def run_sync(salesforce: SalesforceClient, clock: SetClock) -> Sync:
    def start(**options: object) -> SyncRun:
        return sync(started_by="test", client=salesforce, clock=clock, **options)  # type: ignore[arg-type]

    return start


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read fifty records at a time."""
    monkeypatch.setattr(reading, "PAGE", 50)


def counts() -> tuple[int, int]:
    return Order.objects.count(), OrderLine.objects.count()


def order_of(case: str) -> Order:
    return Order.objects.get(order_number=SHOWCASE[case])


def finished(run: SyncRun) -> SyncRun:
    assert run.state == SyncRun.State.FINISHED, run.outcome
    assert (run.phase, run.job_id, run.locator) == (Phase.DONE, "", "")
    return run


# -- the first load --------------------------------------------------------------------------------


def test_the_first_sync_reads_everything(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    run = finished(run_sync())

    assert run.kind == SyncRun.Kind.FULL
    assert counts() == (run.orders_read, run.lines_read) == (run.orders_created, run.lines_created)
    assert (run.set_aside, run.outcome) == (0, "Finished.")
    assert run.watermark == clock()
    order = order_of("worked_sample")
    assert order.salesforce_id == organisation.order_id(SHOWCASE["worked_sample"])
    assert order.refreshed_at is None
    assert order.lines.count() == 1


def test_a_sync_without_changes_changes_nothing(run_sync: Sync, clock: SetClock) -> None:
    first = finished(run_sync())
    assert first.watermark is not None
    clock.forward(minutes=5)

    run = finished(run_sync())

    assert run.kind == SyncRun.Kind.CHANGES
    assert run.since == first.watermark - OVERLAP
    assert (run.orders_created, run.orders_changed, run.lines_created, run.lines_changed) == (
        *(0, 0),
        *(0, 0),
    )


def test_a_sync_takes_over_what_changed_since(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    finished(run_sync())
    clock.forward(minutes=5)
    order = order_of("worked_sample")
    organisation.change("Order", order.salesforce_id, {"Status": "Closed"})
    line = order.lines.get()
    organisation.change("OrderItem", line.salesforce_id, {"Product2.Name": "Another"})

    run = finished(run_sync())

    assert (run.orders_read, run.orders_changed, run.lines_read, run.lines_changed) == (1, 1, 1, 1)
    order.refresh_from_db()
    assert order.salesforce_status == "Closed"
    clock.forward(minutes=1)
    again = finished(run_sync())
    assert (again.orders_read, again.orders_changed) == (1, 0)


def test_a_sync_since_a_day_long_ago_reads_by_bulk_and_keeps_the_watermark_right(
    run_sync: Sync, clock: SetClock
) -> None:
    first = finished(run_sync())
    clock.forward(days=3)

    long_ago = finished(run_sync(since=clock() - timedelta(days=400)))
    assert long_ago.kind == SyncRun.Kind.CHANGES
    assert long_ago.watermark == clock()
    assert long_ago.orders_read > 0

    clock.forward(days=3)
    with_gap = finished(run_sync(since=clock() - timedelta(days=1)))
    assert with_gap.watermark == long_ago.watermark
    assert first.watermark != long_ago.watermark


def test_an_organisation_without_currencies_needs_the_desk_s(
    run_sync: Sync, organisation: Organisation, settings: LazySettings
) -> None:
    organisation.reshape(has_currency=False)

    run = run_sync()

    assert run.state == SyncRun.State.STOPPED
    assert "SALESFORCE_CURRENCY" in run.outcome
    settings.SALESFORCE_CURRENCY = "EUR"
    finished(run_sync())
    assert set(Order.objects.values_list("currency", flat=True)) == {"EUR"}


def test_an_organisation_whose_package_has_no_namespace(
    run_sync: Sync, organisation: Organisation, settings: LazySettings
) -> None:
    organisation.reshape(namespace="")
    settings.SALESFORCE_NAMESPACE = ""
    finished(run_sync())
    assert order_of("worked_sample").digital_river_id


@pytest.mark.parametrize(
    ("shape", "named"),
    [
        ({"has_package": False}, "DR_Order_Id__c"),
        ({"taken": frozenset({"Order.TotalAmount"})}, "TotalAmount"),
        ({"taken": frozenset({"OrderItem.Quantity"})}, "Quantity"),
        ({"taken": frozenset({"Order"})}, "Order"),
        ({"taken": frozenset({"OrderItem"})}, "OrderItem"),
    ],
)
def test_a_missing_field_or_right_is_named(
    run_sync: Sync, organisation: Organisation, shape: dict[str, object], named: str
) -> None:
    organisation.reshape(**shape)
    run = run_sync()
    assert run.state == SyncRun.State.STOPPED
    assert named in run.outcome
    organisation.reshape(has_package=True, taken=frozenset())
    assert finished(run_sync()).pk == run.pk


def test_bad_records_are_set_aside_and_the_rest_comes_in(
    run_sync: Sync, organisation: Organisation
) -> None:
    organisation.reshape(orders=60, planted={place * 3: bad for place, bad in enumerate(Bad)})

    run = finished(run_sync())

    allowed = {Bad.LONG_NAMES, Bad.EMOJI, Bad.LONG_DESCRIPTION, Bad.HUGE_DESCRIPTION}
    of_lines = {Bad.NULL_LINE_ID, Bad.NEGATIVE_QUANTITY, Bad.FRACTIONAL_QUANTITY}
    bad_orders = len(set(Bad) - allowed - of_lines)
    assert Order.objects.count() == run.orders_read - bad_orders
    # The lines of those orders have no order.
    assert OrderLine.objects.count() == run.lines_read - 3 * bad_orders - len(of_lines)
    fields = set(SetAside.objects.values_list("object_name", "field"))
    assert {
        ("Order", "Id"),
        ("Order", "OrderNumber"),
        ("Order", "CurrencyIsoCode"),
        ("Order", "TotalAmount"),
        ("OrderItem", "Id"),
        ("OrderItem", "Quantity"),
        ("OrderItem", "OrderId"),
    } == fields
    assert run.set_aside == SetAside.objects.count()
    assert "set aside" in run.outcome
    assert Order.objects.filter(account_name__contains="🧀").exists()


# -- going on --------------------------------------------------------------------------------------


def test_a_sync_goes_on_behind_the_last_page_it_wrote(
    run_sync: Sync, organisation: Organisation, small_pages: None, clock: SetClock
) -> None:
    fault = Fault(FaultKind.ERROR, path="*/results", skip=3, times=2, code="INVALID_SESSION_ID")
    organisation.queue_fault(fault)

    stopped = run_sync()

    assert stopped.state == SyncRun.State.STOPPED
    assert stopped.orders_read == Order.objects.count() == 150
    assert "goes on from there" in stopped.outcome
    clock.forward(minutes=1)
    run = finished(run_sync())
    assert run.pk == stopped.pk
    assert counts() == (run.orders_created, run.lines_created) == (run.orders_read, run.lines_read)


@pytest.mark.parametrize("killed_at", range(1, 32, 3))
def test_a_sync_that_is_killed_at_any_page_goes_on_and_counts_nothing_twice(
    run_sync: Sync, small_pages: None, clock: SetClock, killed_at: int
) -> None:
    steps = 0

    def kill(run: SyncRun) -> None:
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_sync(on_progress=kill)
    with pytest.raises(SyncRefused, match="under way"):
        run_sync()
    clock.forward(seconds=STALE_AFTER.total_seconds() + 1)

    run = finished(run_sync())

    assert SyncRun.objects.count() == 1
    assert counts() == (run.orders_read, run.lines_read) == (run.orders_created, run.lines_created)


def test_a_page_that_cannot_be_written_leaves_nothing_of_it(
    run_sync: Sync, small_pages: None, monkeypatch: pytest.MonkeyPatch, clock: SetClock
) -> None:
    good = reading.page_load

    def broken(reading: object, page: CsvPage, **how: object) -> object:
        loaded = good(reading, page, **how)  # type: ignore[arg-type]
        if Order.objects.count() > 100:
            raise OperationalError("the disk is full")
        return loaded

    monkeypatch.setattr(syncing, "page_load", broken)
    with pytest.raises(OperationalError):
        run_sync()

    assert Order.objects.count() == SyncRun.objects.get().orders_read == 100
    assert SyncRun.objects.get().state == SyncRun.State.STOPPED
    monkeypatch.setattr(syncing, "page_load", good)
    finished(run_sync())


def test_a_process_that_stood_still_writes_nothing_any_more(
    run_sync: Sync, small_pages: None, clock: SetClock
) -> None:
    others: list[SyncRun] = []

    def stand_still(run: SyncRun) -> None:
        if not others and run.orders_read == 100:
            clock.forward(minutes=6)
            others.append(run_sync())

    mine = run_sync(on_progress=stand_still)

    finished(others[0])
    assert mine.pk == others[0].pk
    assert counts() == (others[0].orders_created, others[0].lines_created)


def test_a_job_that_is_gone_is_begun_anew(
    run_sync: Sync, organisation: Organisation, small_pages: None, clock: SetClock
) -> None:
    def kill(run: SyncRun) -> None:
        if run.orders_read == 150:
            raise SystemExit

    with pytest.raises(SystemExit):
        run_sync(on_progress=kill)
    SyncRun.objects.update(job_id="7505g0000009999AAA")
    clock.forward(minutes=6)

    run = finished(run_sync())

    assert counts() == (run.orders_read, run.lines_read) == (run.orders_created, run.lines_created)


def test_a_locator_of_a_query_that_is_gone_is_begun_anew(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    finished(run_sync())
    clock.forward(minutes=5)
    organisation.touch("Order", order_of("worked_sample").salesforce_id)
    run = SyncRun.objects.create(
        kind=SyncRun.Kind.CHANGES,
        state=SyncRun.State.STOPPED,
        started_by="test",
        started_at=clock(),
        alive_at=clock(),
        since=clock() - timedelta(minutes=1),
        watermark=clock(),
        locator="/services/data/v60.0/query/01g000000000001-2000",
    )

    assert finished(run_sync()).pk == run.pk
    assert SyncRun.objects.get(pk=run.pk).orders_read == 1


def test_a_bulk_job_that_failed_stops_and_is_started_anew_next_time(
    run_sync: Sync, organisation: Organisation
) -> None:
    organisation.queue_fault(Fault(FaultKind.JOB_FAILS, method="POST", path="*/jobs/query"))

    run = run_sync()

    assert (run.state, run.job_id) == (SyncRun.State.STOPPED, "")
    assert "bulk job" in run.outcome
    finished(run_sync())


def test_a_sync_stops_before_the_daily_calls_are_used_up(
    run_sync: Sync, organisation: Organisation, small_pages: None
) -> None:
    organisation.set_calls(949_995)

    run = run_sync()

    assert run.state == SyncRun.State.STOPPED
    assert "calls" in run.outcome
    assert 0 < run.orders_read < 330
    organisation.set_calls(10)
    assert finished(run_sync()).pk == run.pk


def test_a_wrong_key_is_said_so(run_sync: Sync, organisation: Organisation) -> None:
    organisation.reshape(consumer_secret="another")
    run = run_sync()
    assert run.state == SyncRun.State.STOPPED
    assert not Order.objects.exists()


def test_a_sync_is_refused_where_no_salesforce_is_set(settings: LazySettings) -> None:
    settings.SALESFORCE_TRANSPORT = settings.SALESFORCE_URL = settings.SALESFORCE_DOMAIN = ""
    with pytest.raises(SyncRefused, match="SALESFORCE_DOMAIN"):
        sync(started_by="test")
    assert not SyncRun.objects.exists()


# -- deletions -------------------------------------------------------------------------------------


def test_a_deleted_order_leaves_the_mirror(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    finished(run_sync())
    clock.forward(minutes=5)
    organisation.delete("Order", order_of("plain_usd").salesforce_id)
    before = counts()

    run = finished(run_sync())

    assert run.orders_deleted == 1
    assert counts()[0] == before[0] - 1
    assert not Order.objects.filter(order_number=SHOWCASE["plain_usd"]).exists()


def test_a_deleted_order_with_refunds_stays_and_says_so(
    desk: Desk, run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    finished(run_sync())
    order = desk.refresh(order_of("worked_sample"))
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING, None))
    clock.forward(minutes=5)
    organisation.delete("Order", order.salesforce_id)
    deleted_at = clock()

    run = finished(run_sync())

    order.refresh_from_db()
    assert run.orders_deleted == 1
    assert order.salesforce_deleted_at == deleted_at
    assert order.lines.count() == 1
    refund.refresh_from_db()
    clock.forward(minutes=5)
    assert finished(run_sync()).orders_deleted == 0

    organisation.undelete("Order", order.salesforce_id)
    finished(run_sync())
    again = Order.objects.get(pk=order.pk)
    assert again.salesforce_deleted_at is None
    assert again.lines.get().salesforce_id


def test_a_deleted_line_goes_unless_digital_river_knows_it(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    finished(run_sync())
    clock.forward(minutes=5)
    known, unknown = order_of("all_options").lines.order_by("position")[:2]
    OrderLine.objects.filter(pk=unknown.pk).update(digital_river_id="")
    for line in (known, unknown):
        organisation.delete("OrderItem", line.salesforce_id)

    run = finished(run_sync())

    assert run.lines_deleted == 2
    assert not OrderLine.objects.filter(pk=unknown.pk).exists()
    known.refresh_from_db()
    assert known.salesforce_id == ""


def test_a_full_sync_finds_what_is_gone_without_a_trace(
    desk: Desk, run_sync: Sync, clock: SetClock
) -> None:
    finished(run_sync())
    purged, kept = order_of("plain_usd"), desk.refresh(order_of("worked_sample"))
    desk.submit(kept, rep(), Selection(Option.SHIPPING, None))
    for number, order in enumerate((purged, kept)):
        Order.objects.filter(pk=order.pk).update(salesforce_id=f"80100000000000{number}AAA")
        order.lines.update(salesforce_id="")
        Order.objects.filter(pk=order.pk).update(order_number=f"gone-{number}")
        Order.objects.filter(pk=order.pk).update(digital_river_id=f"gone-{number}")
    clock.forward(minutes=5)

    run = finished(run_sync(full=True))

    assert run.orders_deleted == 2
    assert not Order.objects.filter(pk=purged.pk).exists()
    kept.refresh_from_db()
    assert kept.salesforce_deleted_at is not None
    assert not SeenRecord.objects.exists()
    assert run.outcome == "Finished."


def test_a_full_sync_that_misses_most_takes_nothing_out(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    organisation.reshape(orders=400)
    finished(run_sync())
    before = counts()
    organisation.reshape(orders=0)
    clock.forward(minutes=5)

    run = finished(run_sync(full=True))

    assert counts() == before
    assert "more than half" in run.outcome


# -- records set aside -----------------------------------------------------------------------------


def test_an_order_corrected_in_salesforce_comes_in_with_its_lines(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    salesforce_id = organisation.order_id(SHOWCASE["all_options"])
    organisation.change("Order", salesforce_id, {"CurrencyIsoCode": "ZZZ"})
    finished(run_sync())
    assert SetAside.objects.filter(order_salesforce_id=salesforce_id).count() == 3
    clock.forward(hours=1)
    organisation.change("Order", salesforce_id, {"CurrencyIsoCode": "GBP"})

    run = finished(run_sync())

    assert not SetAside.objects.exists()
    assert run.set_aside == 0
    assert order_of("all_options").lines.count() == 3


def test_an_order_whose_number_became_free_comes_in_by_itself(
    run_sync: Sync, organisation: Organisation, clock: SetClock
) -> None:
    one, other = (organisation.order_id(SHOWCASE[case]) for case in ("plain_usd", "in_review"))
    number = organisation.record("Order", one)["OrderNumber"]
    organisation.change("Order", other, {"OrderNumber": number})
    finished(run_sync())
    taken = SetAside.objects.get(object_name="Order")
    free = {one, other} - {taken.salesforce_id}
    clock.forward(hours=2)
    organisation.change("Order", free.pop(), {"OrderNumber": "77"})
    finished(run_sync())
    clock.forward(hours=2)

    finished(run_sync())

    assert Order.objects.filter(salesforce_id__in=[one, other]).count() == 2
    assert not SetAside.objects.exists()
