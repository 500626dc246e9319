"""Two hundred schedules, always the same ones; `make faults` runs as many others as asked for.

Beside them those that broke something once and are rarely drawn.
"""

from collections.abc import Sequence

import pytest

from sandbox.faults import FaultKind
from tests.faults import invariants
from tests.faults.drawing import draw
from tests.faults.schedule import (
    Arrive,
    At,
    Cancel,
    Draft,
    Elsewhere,
    Forward,
    Hold,
    Look,
    Outcome,
    Point,
    Resume,
    Retry,
    Schedule,
    Settle,
    Step,
    Submit,
    Sweep,
    Trouble,
    WireFault,
)
from tests.faults.shrinking import shortest
from tests.faults.simulation import broken_by, let_settle, take
from tests.faults.world import Ground, world_of

SCHEDULES = 200
CHUNK = 10

_UNDERWAY = WireFault(Trouble.UNDERWAY)
#: A first attempt counts as not sent, and is still underway.
_GIVEN_UP = (
    Draft(share=400),
    Submit(fault=_UNDERWAY),
    Forward(seconds=1),
    Look(),
    Forward(seconds=61),
    Look(),
)
#: A first attempt was found and failed; its sender still waits with the answer to it.
_ANSWERED_LATE = (
    Draft(share=400),
    Submit(pause=At(Point.POST_ANSWERED)),
    Settle(outcome=Outcome.FAILS),
    Look(),
)
_FOUND_AND_FAILED = (Arrive(), Look(), Settle(outcome=Outcome.FAILS), Look())


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_schedules_break_nothing(ground: Ground, first: int) -> None:
    for seed in range(first, first + CHUNK):
        broken = broken_by(draw(seed), ground)
        if broken is None:
            continue

        def attempt(schedule: Schedule) -> str:
            again = broken_by(schedule, ground)
            return "" if again is None else again.invariant

        short = shortest(draw(seed), broken.invariant, attempt)
        pytest.fail(f"{broken}\n{short}\nReplay it with: make faults SEED={seed}", pytrace=False)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            (*_ANSWERED_LATE, Retry(pause=At(Point.POST))), id="an old answer beside a new attempt"
        ),
        pytest.param(
            (
                *_ANSWERED_LATE,
                Retry(pause=At(Point.POST)),
                Resume(call=0),
                Look(),
                Retry(machine=1),
            ),
            id="an old answer does not offer a third attempt",
        ),
        pytest.param(
            (
                *_GIVEN_UP,
                Retry(pause=At(Point.POST)),
                *_FOUND_AND_FAILED,
                Retry(machine=1),
                Resume(),
            ),
            id="the first turns up and fails before the second is sent",
        ),
        pytest.param(
            (*_GIVEN_UP, Retry(fault=_UNDERWAY), *_FOUND_AND_FAILED, Arrive(), Retry()),
            id="the first turns up and fails while the second is underway",
        ),
        pytest.param(
            (*_GIVEN_UP, Retry(fault=_UNDERWAY), *_FOUND_AND_FAILED, Retry(), Arrive()),
            id="the second arrives once more would be sent",
        ),
    ],
)
def test_schedule_that_broke_something_holds(ground: Ground, steps: Sequence[Step]) -> None:
    assert broken_by(_one_order(0, steps), ground) is None


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            (
                Elsewhere(kind="item"),
                Elsewhere(share=500),
                Settle(outcome=Outcome.FAILS),
                Elsewhere(kind="item"),
            ),
            id="a line and a part of all, both elsewhere",
        ),
        pytest.param(
            (Draft(share=10), Submit(pause=At(Point.POST)), Elsewhere(kind="item")),
            id="a line elsewhere while a part of all is sent",
        ),
    ],
)
def test_how_digital_river_spreads_a_refund_raises_no_alarm(
    ground: Ground, steps: Sequence[Step]
) -> None:
    assert broken_by(_one_order(1, steps), ground) is None


def test_fees_given_with_a_tax_held_for_another_refund_raise_no_alarm(ground: Ground) -> None:
    steps = (Draft(option=5), Hold(), Draft(option=5, units=3), Submit(), Cancel())
    assert broken_by(_one_order(4, steps), ground) is None


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(
            (
                *_GIVEN_UP,
                Retry(pause=At(Point.POST), fault=WireFault(FaultKind.RATE_LIMITED)),
                Arrive(),
                Look(),
                Resume(),
                Forward(seconds=120),
                Sweep(),
            ),
            id="the second was not taken",
        ),
        pytest.param(
            (
                *_GIVEN_UP,
                Retry(),
                Arrive(),
                Look(),
                Settle(outcome=Outcome.FAILS),
                Look(),
                Retry(),
            ),
            id="the second failed",
        ),
    ],
)
def test_attempt_that_turns_up_beside_a_later_one_keeps_a_third_from_being_sent(
    ground: Ground, steps: Sequence[Step]
) -> None:
    with world_of(_one_order(0, steps), ground) as world:
        for step in steps:
            take(world, step)
            invariants.check_always(world)
        let_settle(world)
        invariants.check_settled(world)
        live = [each for each in invariants.theirs_of(world) if each.state in invariants.LIVE]
    assert [each.reference[-2:] for each in live] == ["-1"]


def _one_order(case: int, steps: Sequence[Step]) -> Schedule:
    return Schedule(
        seed=0,
        orders=(case,),
        settle_minutes=24 * 60,
        lists_events=True,
        audited=True,
        steps=tuple(steps),
    )
