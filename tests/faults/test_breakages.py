"""The simulation notices when the code is broken: each breakage is caught by some schedule."""

import pytest

from tests.faults.breakages import BREAKAGES, Breakage
from tests.faults.drawing import draw
from tests.faults.simulation import broken_by
from tests.faults.world import Ground

#: Schedules to try should the one that caught it last no longer do.
MOST_SEEDS = 60


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.name)
def test_simulation_catches_breakage(ground: Ground, breakage: Breakage) -> None:
    caught = breakage.caught(ground, (breakage.seed, *range(MOST_SEEDS)))
    assert caught is not None, f"nothing noticed: {breakage.name}"
    # It is the breakage that was caught, not something else.
    assert broken_by(draw(caught[0]), ground) is None
