"""The simulation itself: calls wait and die where told to, and the same seed does the same."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from refunds.models import HistoryEntry, Refund, RefundAttempt
from sandbox.faults import FaultKind
from tests.faults import invariants
from tests.faults.drawing import draw
from tests.faults.schedule import (
    Arrive,
    At,
    Damage,
    Deliver,
    Draft,
    Forward,
    Look,
    Outage,
    Point,
    Resume,
    Schedule,
    Step,
    Submit,
    Trouble,
    WireFault,
)
from tests.faults.simulation import let_settle, run, take
from tests.faults.world import Broken, Ground, World, world_of

HALF = Draft(share=500)


@pytest.fixture
def world(ground: Ground) -> Iterator[World]:
    """Return a world with one tight order of 100.00."""
    with world_of(_schedule(), ground) as world:
        yield world


def _schedule(*steps: Step) -> Schedule:
    return Schedule(
        seed=0, orders=(0,), settle_minutes=60, lists_events=False, audited=True, steps=steps
    )


def _take(world: World, *steps: Step) -> Refund:
    for step in steps:
        take(world, step)
        invariants.check_always(world)
    return Refund.objects.get()


def test_draw_returns_the_same_schedule_for_a_seed() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_run_goes_the_same_way_each_time(ground: Ground) -> None:
    def outcome() -> list[Any]:
        told: list[Any] = []
        with world_of(draw(4), ground) as world:
            for step in draw(4).steps:
                take(world, step)
            let_settle(world)
            told += Refund.objects.order_by("pk").values_list(
                "origin", "option", "state", "requested_amount", "refunded_amount", "submitted_at"
            )
            told += HistoryEntry.objects.order_by("pk").values_list("at", "from_state", "to_state")
        return told

    assert outcome() == outcome()


def test_run_leaves_the_database_as_it_was(ground: Ground) -> None:
    run(_schedule(HALF, Submit()), ground)
    assert not Refund.objects.exists()
    assert not connection.run_on_commit


def test_call_waits_before_its_refund_is_sent(world: World) -> None:
    refund = _take(world, HALF, Submit(pause=At(Point.POST)))
    assert refund.state == Refund.State.SUBMITTING
    assert not invariants.theirs_of(world)
    assert _take(world, Resume()).state == Refund.State.PENDING
    assert [each.state for each in invariants.theirs_of(world)] == ["pending"]


def test_call_that_waits_for_too_long_gets_no_answer(world: World) -> None:
    steps = (HALF, Submit(pause=At(Point.POST_ANSWERED)), Forward(seconds=20), Resume())
    assert _take(world, *steps).state == Refund.State.UNKNOWN


def test_call_killed_within_a_transaction_writes_nothing(world: World) -> None:
    beat = Submit(pause=At(Point.TRANSACTION))
    before = _take(world, HALF, beat)
    assert _take(world, Resume(kill=At(Point.STATEMENT, 12))).state == before.state == "draft"
    assert not RefundAttempt.objects.exists()


def test_call_killed_once_it_sent_leaves_the_refund_to_the_lease(world: World) -> None:
    killed = Submit(kill=At(Point.POST_ANSWERED))
    assert _take(world, HALF, killed).state == Refund.State.SUBMITTING
    assert _take(world, Forward(seconds=130), Look()).state == Refund.State.PENDING


def test_refund_underway_arrives_after_all(world: World) -> None:
    lost = Submit(fault=WireFault(Trouble.UNDERWAY))
    assert _take(world, HALF, lost, Look()).state == Refund.State.UNKNOWN
    assert _take(world, Arrive(), Look()).state == Refund.State.PENDING
    assert not world.late


def test_read_underway_is_lost_for_good(world: World) -> None:
    away = Outage(fault=WireFault(Trouble.UNDERWAY, "*", requests=4))
    take(world, away)
    take(world, Look())
    take(world, Forward(seconds=61))
    take(world, Arrive())
    invariants.check_always(world)
    assert not world.underway
    assert not world.late


@pytest.mark.parametrize("damage", [Damage.ALTERED, Damage.FORGED, Damage.STALE])
def test_event_that_was_tampered_with_is_turned_away(world: World, damage: Damage) -> None:
    _take(world, HALF, Submit(), Deliver(damage=damage))
    assert not world.put_off
    _take(world, Deliver())
    assert len(world.put_off) == 1


def test_event_that_names_no_refund_is_tampered_with_too(world: World) -> None:
    _take(world, HALF, Submit(), Forward(seconds=3601), Look())
    (event,) = (
        at for at, body in enumerate(invariants.events_there(world)) if "refund" not in body
    )
    _take(world, Deliver(event=event, damage=Damage.ALTERED))
    assert not world.put_off


def test_event_that_waited_for_too_long_is_turned_away(world: World) -> None:
    waits = Deliver(pause=At(Point.CLOCK, 1))
    _take(world, HALF, Submit(), waits, Forward(seconds=301), Resume())
    assert not world.put_off


def test_event_that_waited_a_little_is_taken(world: World) -> None:
    waits = Deliver(pause=At(Point.CLOCK, 1))
    _take(world, HALF, Submit(), waits, Forward(seconds=298), Resume())
    assert len(world.put_off) == 1


def test_fault_meets_the_call_it_was_meant_for(world: World) -> None:
    lost = Submit(fault=WireFault(FaultKind.LOST_AFTER))
    assert _take(world, HALF, lost).state == Refund.State.UNKNOWN
    assert len(invariants.theirs_of(world)) == 1


def test_check_finds_a_refund_that_says_something_else(world: World) -> None:
    refund = _take(world, HALF, Submit())
    let_settle(world)
    invariants.check_settled(world)
    Refund.objects.filter(pk=refund.pk).update(state=Refund.State.FAILED)
    with pytest.raises(Broken, match="states here are the states there"):
        invariants.check_settled(world)


def test_check_finds_a_history_that_was_edited(world: World) -> None:
    refund = _take(world, HALF, Submit())
    entry = refund.history.order_by("number").first()
    assert entry is not None
    entry.summary = "Nothing happened."
    refund._prefetched_objects_cache = {"history": [entry]}  # type: ignore[attr-defined]
    with pytest.raises(Broken, match="the history's hashes hold"):
        invariants.check_history(refund)
