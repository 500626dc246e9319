"""Two hundred schedules, always the same ones; `make faults` runs as many others as asked for."""

import pytest

from tests.faults.drawing import draw
from tests.faults.schedule import Schedule
from tests.faults.shrinking import shortest
from tests.faults.simulation import broken_by
from tests.faults.world import Ground

SCHEDULES = 200
CHUNK = 10


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
