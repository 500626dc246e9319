"""Many at once: threads that start together, locks that gather them, and a watch on the money."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from django.db import connections

from refunds.models import Order, Refund
from tests.faults.processes import blocked_ports, database_connection, held, until

Job = Callable[[], object]

#: Seconds that a crowd may take on a busy machine.
LONGEST = 90


def at_once(jobs: Sequence[Job], *, in_turn: bool = False) -> list[object]:
    """Run the jobs in threads that start together; returns what each returned or raised.

    ``in_turn`` has each wait until those before it are held by a lock.
    """
    start = threading.Barrier(len(jobs))
    outcomes: list[object] = [None] * len(jobs)

    def run(place: int, job: Job) -> None:
        try:
            start.wait(timeout=LONGEST)
            if in_turn:
                until(lambda: len(blocked_ports()) >= place, what="those before to be held")
            outcomes[place] = job()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test judges it
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(place, job), daemon=True)
        for place, job in enumerate(jobs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=LONGEST)
    assert not any(thread.is_alive() for thread in threads), "some wait for ever"
    return outcomes


def gathered(
    jobs: Sequence[Job],
    table: str,
    *,
    rows: str = "",
    of: Sequence[object] = (),
    in_turn: bool = False,
) -> list[object]:
    """Run the jobs at once, all of them held by one lock until the last has come to one.

    So however the threads happen to run, each has read before any has written. Those that a lock
    of the desk's keeps behind others count as held, too.
    """
    ready = threading.Event()
    trouble: list[AssertionError] = []

    def hold() -> None:
        try:
            with held(table, rows=rows, of=of):
                ready.set()
                until(lambda: len(blocked_ports()) == len(jobs), what="all to be held")
        except AssertionError as error:
            trouble.append(error)
        finally:
            ready.set()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    assert ready.wait(timeout=LONGEST)
    outcomes = at_once(jobs, in_turn=in_turn)
    holder.join(timeout=LONGEST)
    assert not trouble, trouble
    return outcomes


@dataclass
class Watch:
    """What was seen of an order's money while others were at work."""

    most_held: Decimal = Decimal(0)
    looks: int = 0


_HELD_NOW = """
    SELECT coalesce(sum(CASE
        WHEN state = 'succeeded' THEN refunded_amount
        WHEN state = ANY(%s) THEN coalesce(accepted_amount, requested_amount)
        END), 0)
    FROM refunds_refund WHERE order_id = %s
"""


@contextmanager
def watched(order: Order) -> Iterator[Watch]:
    """Look again and again at what succeeded and what is in flight, as others may read it."""
    watch, over = Watch(), threading.Event()
    holding = [str(state) for state in Refund.HOLDING]

    def look() -> None:
        with database_connection() as looker:
            looker.autocommit = True
            while not over.wait(0.005):
                row = looker.execute(_HELD_NOW, (holding, order.pk)).fetchone()
                assert row is not None
                watch.most_held = max(watch.most_held, row[0])
                watch.looks += 1

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join(timeout=10)
