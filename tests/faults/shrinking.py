"""Finds the shortest schedule that still breaks the same thing, by leaving out what it can."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.faults.schedule import Call, Forward, Resume, Schedule, Step

#: Seconds that a search takes at most.
PATIENCE = 30.0

#: Returns the invariant that a schedule breaks, empty if none.
Try = Callable[[Schedule], str]


def shortest(
    schedule: Schedule, invariant: str, attempt: Try, *, patience: float = PATIENCE
) -> Schedule:
    """Return the shortest schedule found that breaks this invariant, within so many seconds."""
    end = time.monotonic() + patience
    found = True
    while found and time.monotonic() < end:
        found = False
        for candidate in _smaller(schedule):
            if time.monotonic() > end:
                break
            if attempt(candidate) == invariant:
                schedule, found = candidate, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    """Yield smaller schedules, those first that leave out most."""
    steps = schedule.steps
    length = len(steps)
    size = length // 2
    while size >= 1:
        for start in range(0, length, size):
            yield schedule.with_steps([*steps[:start], *steps[start + size :]])
        size //= 2
    if len(schedule.orders) > 1:
        yield replace(schedule, orders=schedule.orders[:1])
        yield replace(schedule, orders=schedule.orders[1:])
    for at, step in enumerate(steps):
        for simpler in _simpler(step):
            yield schedule.with_steps([*steps[:at], simpler, *steps[at + 1 :]])


def _simpler(step: Step) -> Sequence[Step]:
    """Return the step without one of the things that complicate it."""
    simpler: list[Step] = []
    if isinstance(step, Call):
        simpler = [
            replace(step, **{name: None})  # type: ignore[arg-type]
            for name in ("fault", "kill", "pause")
            if getattr(step, name) is not None
        ]
        if step.machine:
            simpler.append(replace(step, machine=0))
    elif isinstance(step, Resume):
        simpler = [
            replace(step, **{name: None})  # type: ignore[arg-type]
            for name in ("kill", "pause")
            if getattr(step, name) is not None
        ]
    elif isinstance(step, Forward):
        simpler = [Forward(seconds=each) for each in (1, 61, 130) if each < step.seconds]
    return simpler
