"""What the tests of the pages share: time that stands still, and people who are signed in."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import time_machine

from tests.desk import SetClock, lead, person, rep
from tests.views.pages import DeskClient, signed_in


@dataclass
class TravellingClock(SetClock):
    """A clock by which the pages go as well: they ask Django what time it is."""

    traveller: time_machine.Traveller | None = field(default=None, repr=False)

    def forward(self, **length: float) -> datetime:
        now = super().forward(**length)
        assert self.traveller is not None
        self.traveller.move_to(now)
        return now


@pytest.fixture
def clock() -> Iterator[SetClock]:
    """Return the clock that the test sets, for the desk, its stand-in and its pages."""
    clock = TravellingClock()
    with time_machine.travel(clock.now, tick=False) as traveller:
        clock.traveller = traveller
        yield clock


@pytest.fixture(autouse=True)
def _without_the_wait(without_the_wait: None) -> None:
    """No page waits before it reads again."""


@pytest.fixture
def as_rep(db: None, clock: SetClock) -> DeskClient:
    """Return the client of a rep in the permission set."""
    return signed_in(rep())


@pytest.fixture
def as_other_rep(db: None, clock: SetClock) -> DeskClient:
    """Return the client of another rep."""
    return signed_in(rep("rep2"))


@pytest.fixture
def as_lead(db: None, clock: SetClock) -> DeskClient:
    """Return the client of a lead."""
    return signed_in(lead())


@pytest.fixture
def as_viewer(db: None, clock: SetClock) -> DeskClient:
    """Return the client of a person who is not in the permission set."""
    return signed_in(person("viewer"))
