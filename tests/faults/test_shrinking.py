"""The shortest schedule: what does not matter is left out, what does stays."""

from sandbox.faults import FaultKind
from tests.faults.schedule import At, Draft, Forward, Look, Point, Schedule, Submit, WireFault
from tests.faults.shrinking import shortest

LOST = WireFault(FaultKind.LOST_AFTER)
SCHEDULE = Schedule(
    seed=1,
    orders=(0, 4),
    settle_minutes=5,
    lists_events=True,
    audited=False,
    steps=(
        Look(machine=2),
        Draft(share=600),
        Forward(seconds=3600),
        Submit(machine=1, pause=At(Point.POST), fault=LOST),
        Look(order=1),
        Forward(seconds=86_400),
    ),
)


def _breaks(schedule: Schedule) -> str:
    """Return what breaks where a draft is submitted and the answer gets lost."""
    drafted = any(isinstance(step, Draft) for step in schedule.steps)
    lost = any(isinstance(step, Submit) and step.fault == LOST for step in schedule.steps)
    return "lost" if drafted and lost else ""


def test_shortest_leaves_out_all_that_does_not_matter() -> None:
    short = shortest(SCHEDULE, "lost", _breaks)
    assert short.steps == (Draft(share=600), Submit(fault=LOST))
    assert len(short.orders) == 1


def test_shortest_does_not_settle_for_another_breakage() -> None:
    def attempt(schedule: Schedule) -> str:
        return _breaks(schedule) if len(schedule.steps) == len(SCHEDULE.steps) else "another"

    assert shortest(SCHEDULE, "lost", attempt).steps[1] == Draft(share=600)
    assert len(shortest(SCHEDULE, "lost", attempt).steps) == len(SCHEDULE.steps)


def test_shortest_gives_up_when_its_time_is_over() -> None:
    assert shortest(SCHEDULE, "lost", _breaks, patience=0) == SCHEDULE


def test_schedule_shows_each_step_on_a_line() -> None:
    told = str(SCHEDULE)
    assert "orders (0, 4)" in told
    assert "  4  Submit(machine=1, pause=post 1, fault=lost-after on 1 POST)" in told
