"""After something broke: has everything settle, and asserts that it did so rightly."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from refunds.models import Order, Refund
from refunds.services.sweeping import sweep
from tests.desk import Desk, SetClock
from tests.services.account import check_account, check_settled

#: Longer than any lease, claim or quiet period of the desk, so that each round finds work due.
LONG = timedelta(minutes=10)
#: Rounds after which everything must have settled, however it was left.
ROUNDS = 5


@dataclass
class RunningClock(SetClock):
    """Goes on by itself, as that of a process does; ``forward`` puts it ahead of theirs."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _started: float = field(default_factory=time.monotonic)

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=time.monotonic() - self._started)


def sweep_once(desk: Desk) -> None:
    """Do one round, in which no step may go wrong."""
    done = sweep(clock=desk.clock, client=desk.client)
    assert not [text for text in done.values() if isinstance(text, str)], done


def let_settle(desk: Desk) -> None:
    """Sweep, later and later, until no refund waits for anything but Digital River."""
    for _ in range(ROUNDS):
        desk.clock.now += LONG
        sweep_once(desk)


def check_history(order: Order) -> None:
    """Assert that each refund's history is whole, by its hashes."""
    for refund in Refund.objects.filter(order=order):
        head = ""
        entries = list(refund.history.order_by("number"))
        assert [entry.number for entry in entries] == list(range(1, refund.history_length + 1))
        for entry in entries:
            assert entry.previous_hash == head, entry
            assert entry.hash == entry.computed_hash, entry
            head = entry.hash
        assert refund.history_head == head


def check_aftermath(desk: Desk, *orders: Order) -> None:
    """Let everything settle and assert that nothing was sent twice, lost, or too large."""
    for order in orders:
        check_account(desk, order)
    let_settle(desk)
    for order in orders:
        check_settled(desk, order)
        check_history(order)
