"""Who has the run: one at a time, carried on after a stop or a kill, or given up for another."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from refunds.errors import SyncRefused
from refunds.models import SeenRecord, SyncRun
from refunds.services.mirror.runs import (
    OVERLAP,
    STALE_AFTER,
    SyncHold,
    TakenOverError,
    sync_begin,
    sync_watermark,
)
from tests.desk import SetClock

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
State = SyncRun.State


def begin(clock: SetClock, **options: object) -> SyncHold:
    return sync_begin(started_by="test", clock=clock, **options)  # type: ignore[arg-type]


def end(clock: SetClock, **options: object) -> SyncRun:
    """Begin a run and finish it, with the watermark of its beginning."""
    hold = begin(clock, **options)
    hold.finish("Finished.", watermark=sync_watermark(run=hold.run, server_time=clock()))
    return hold.run


def test_begin_reads_everything_until_that_was_finished_once(clock: SetClock) -> None:
    hold = begin(clock)
    assert (hold.run.kind, hold.run.since) == (SyncRun.Kind.FULL, None)
    hold.stop("Because.")
    assert begin(clock).run.pk == hold.run.pk


def test_begin_reads_what_changed_since_the_last_one(clock: SetClock) -> None:
    end(clock)
    clock.forward(minutes=5)
    hold = begin(clock)
    assert hold.run.kind == SyncRun.Kind.CHANGES
    assert hold.run.since == AT - OVERLAP


def test_begin_reads_everything_after_a_pause_longer_than_deletions_are_told_of(
    clock: SetClock,
) -> None:
    end(clock)
    clock.forward(days=13)
    hold = begin(clock)
    assert hold.run.kind == SyncRun.Kind.CHANGES
    hold.finish("Finished.", watermark=sync_watermark(run=hold.run, server_time=clock()))

    clock.forward(days=16)

    assert begin(clock).run.kind == SyncRun.Kind.FULL


def test_begin_is_refused_while_another_shows_signs_of_life(clock: SetClock) -> None:
    hold = begin(clock)
    clock.forward(minutes=4)
    hold.beat()
    clock.forward(minutes=4)
    with pytest.raises(SyncRefused, match="5 minutes"):
        begin(clock)
    with pytest.raises(SyncRefused):
        begin(clock, full=True)


def test_begin_carries_on_one_whose_process_is_gone(clock: SetClock) -> None:
    gone = begin(clock)
    gone.write(job_id="7505g0000000001AAA", locator="abc", orders_read=7)
    clock.forward(seconds=STALE_AFTER.total_seconds() + 1)

    taken = begin(clock)

    assert taken.run.pk == gone.run.pk
    assert (taken.run.job_id, taken.run.locator, taken.run.orders_read) == (
        "7505g0000000001AAA",
        "abc",
        7,
    )
    for act in (gone.beat, lambda: gone.stop("x"), lambda: gone.finish("x")):
        with pytest.raises(TakenOverError):
            act()
    taken.beat()


def test_begin_after_the_clock_was_set_back_does_not_wait_for_as_long(clock: SetClock) -> None:
    begin(clock)
    clock.forward(hours=-3)
    begin(clock).beat()


def test_a_sign_of_life_never_comes_twice(clock: SetClock) -> None:
    hold = begin(clock)
    signs = set()
    for _ in range(5):
        hold.beat()
        signs.add(hold.run.alive_at)
    assert len(signs) == 5


def test_what_is_written_is_rolled_back_with_its_page(clock: SetClock) -> None:
    hold = begin(clock)
    with transaction.atomic():
        hold.write(orders_read=5)
        transaction.set_rollback(True)
    assert SyncRun.objects.get().orders_read == 0


@pytest.mark.parametrize(
    ("options", "is_same"),
    [({}, True), ({"full": True}, True), ({"since": AT}, False)],
)
def test_one_that_stopped_is_carried_on_if_it_is_meant(
    clock: SetClock, options: dict[str, object], is_same: bool
) -> None:
    hold = begin(clock)
    hold.stop("Because.")
    SeenRecord.objects.create(object_name="Order", salesforce_id="801")

    now = begin(clock, **options)

    assert (now.run.pk == hold.run.pk) == is_same
    assert SeenRecord.objects.exists() == is_same
    if not is_same:
        hold.run.refresh_from_db()
        assert hold.run.finished_at == clock()
        assert hold.run.outcome == "Given up: another one was started. Because."


def test_one_of_changes_that_stopped_is_given_up_for_a_full_one(clock: SetClock) -> None:
    end(clock)
    stopped = begin(clock)
    stopped.stop("Because.")
    assert begin(clock, full=True).run.kind == SyncRun.Kind.FULL
    assert SyncRun.objects.filter(state=State.RUNNING).count() == 1


def test_the_database_allows_one_run_under_way(clock: SetClock) -> None:
    begin(clock)
    with pytest.raises(IntegrityError), transaction.atomic():
        SyncRun.objects.create(
            kind=SyncRun.Kind.FULL, started_by="test", started_at=AT, alive_at=AT
        )


def test_the_watermark_leaves_no_gap(clock: SetClock) -> None:
    assert end(clock).watermark == AT
    later = clock.forward(days=2)

    assert end(clock, since=AT - timedelta(days=1)).watermark == later
    clock.forward(days=2)
    assert end(clock, since=later + timedelta(hours=1)).watermark == later
    assert end(clock).since == later - OVERLAP


def test_the_watermark_of_changes_alone_is_none(clock: SetClock) -> None:
    assert end(clock, since=AT).watermark is None
    assert begin(clock).run.kind == SyncRun.Kind.FULL
