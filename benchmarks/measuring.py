"""Takes the times: every page at every size in turns, so that whatever slows the machine meets all.

Garbage is collected between rounds and never within one; each time is the median of its rounds.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from statistics import median

from django.contrib.auth.models import User
from django.core.cache import cache

from benchmarks.clocks import clock_here
from benchmarks.pages import Opened, Screen, open_order, screens
from benchmarks.places import Place, at
from benchmarks.visiting import Visitor, calls_answered, make_calls
from refunds.models import CallPace

WARM_UP_ROUNDS = 3
FEWEST_ROUNDS = 15
FLOORS_A_ROUND = 6
#: What every row of the lists has once.
_ROW = b'<th scope="row"'
#: The pace that all processes share writes here before each call of Digital River.
_PACE = f'"{CallPace._meta.db_table}"'
_BOUNDS = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")


@dataclass
class Sample:
    """One thing that is timed at one place."""

    name: str
    place: Place
    take: Callable[[], tuple[float, float]]
    screen: Screen | None = None
    queries: int = 0
    #: How many rows its list shows: pages of different lengths do not compare.
    rows: int = 0
    #: Asked for again with the calls to Digital River left out.
    without_calls: bool = False
    seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        """The median of its times."""
        return median(self.seconds) * 1000

    @property
    def wall_milliseconds(self) -> float:
        """The median of its times on the wall."""
        return median(self.wall_seconds) * 1000


@dataclass
class Guest:
    """What a place needs for its pages to be asked for."""

    place: Place
    visitor: Visitor
    screens: list[Screen]
    opened: Opened


def invite(place: Place) -> Guest:
    """Prepare a place: open its orders and sign a person in."""
    with at(place):
        user = User.objects.get(username="rep1")
        opened = open_order(place, "all_options", user)
        many_lines = open_order(place, "many_lines", user)
        return Guest(place, Visitor(user), screens(place, opened, many_lines), opened)


def samples(guest: Guest) -> Iterator[Sample]:
    """Give what is timed at a place, having made sure that each page is the one meant."""
    order_id = guest.opened.order.digital_river_id
    with at(guest.place):
        cache.clear()
        for screen in guest.screens:
            for _ in range(WARM_UP_ROUNDS):
                guest.visitor.checked(screen)
        guest.visitor.clock = clock_here()
        for screen in guest.screens:
            queries = sum(_counts(sql) for sql, _ in guest.visitor.statements(screen))
            rows = guest.visitor.checked(screen).body.count(_ROW)
            for without_calls in (False, True) if screen.calls and screen.target else (False,):
                yield Sample(
                    screen.name,
                    guest.place,
                    _visit(guest, screen, order_id if without_calls else None),
                    screen,
                    queries,
                    rows,
                    without_calls,
                )
        yield Sample("the two calls alone", guest.place, lambda: _calls(guest, order_id))


def _counts(sql: str) -> bool:
    """Tell whether a statement is one of the page's own."""
    return not sql.startswith(_BOUNDS) and _PACE not in sql


def _calls(guest: Guest, order_id: str) -> tuple[float, float]:
    started = time.perf_counter()
    seconds = make_calls(order_id, guest.visitor.clock)
    return seconds, time.perf_counter() - started


def _visit(guest: Guest, screen: Screen, recorded: str | None) -> Callable[[], tuple[float, float]]:
    def take() -> tuple[float, float]:
        with calls_answered(recorded):
            answer = guest.visitor.visit(screen)
        if answer.status != screen.status:
            raise RuntimeError(f"{screen.name} answered {answer.status}")
        return answer.seconds, answer.wall_seconds

    return take


def measure(taken: list[Sample], *, rounds: int, within: float) -> int:
    """Time everything in turns, so many rounds or seconds; returns the rounds there were."""
    dice = Random(0)
    floors = [sample for sample in taken if sample.name == "floor"]
    turns = [sample for sample in taken if sample not in floors] + floors * FLOORS_A_ROUND
    started = time.monotonic()
    done = 0
    with _no_collection():
        while done < rounds and (done < FEWEST_ROUNDS or time.monotonic() - started < within):
            dice.shuffle(turns)
            for sample in turns:
                with at(sample.place):
                    seconds, wall_seconds = sample.take()
                sample.seconds.append(seconds)
                sample.wall_seconds.append(wall_seconds)
            gc.collect()
            done += 1
    return done


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
