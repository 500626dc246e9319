"""Measures one round over many refunds in a process of its own: how fast, and in how much memory.

Started by ``benchmarks`` on the database that ``DATABASE_URL`` names. The floor is what the round
cannot do without: the two bare calls of each look at an order; for the reconciliation, the bare
reading of Digital River's lists; for the verification, the bare reading of all entries. It is
measured on a part, in the same process, before the round.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import django
from django.db import connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.many_settings")
django.setup()

# Django has to be set up before models are imported.
from django.conf import settings  # noqa: E402

from benchmarks.many import fill, fill_events  # noqa: E402
from benchmarks.memory import Round, memory  # noqa: E402
from refunds.gateways import digital_river  # noqa: E402
from refunds.models import Difference, Event, HistoryEntry, Order, Refund  # noqa: E402
from refunds.services.events import events_process  # noqa: E402
from refunds.services.reconciliation import reconcile  # noqa: E402
from refunds.services.refunds import refunds_settle  # noqa: E402
from refunds.services.verification import verify_history  # noqa: E402

#: How many orders, or pages of a list, the floor is measured on.
_FLOOR_ORDERS = 200
_FLOOR_PAGES = 10
_PAGE = 100
#: Refunds that are settled before the memory is looked at for the first time.
_WARM_UP = 40


def main(name: str, size: int) -> None:
    """Do the round of this name, and write what it came to as one line of JSON."""
    if name == "fill":
        fill(Path(settings.SANDBOX_STATE), size)
        return
    print(_ROUNDS[name](size).written)
    connection.close()


def _settling(size: int) -> Round:
    refunds_settle(limit=_WARM_UP)
    orders = Order.objects.filter(refunds__state="pending").distinct().count()
    count = Refund.objects.filter(state="pending").count()
    floor = _looks() * orders
    seconds, before = _timed(refunds_settle)
    _require(not Refund.objects.exclude(state="succeeded").exists(), "refunds are not settled")
    return Round("settling", count, "refunds", seconds, floor, before, memory("VmHWM"))


def _processing(size: int) -> Round:
    fill_events(size)
    events_process(limit=_WARM_UP)
    count = Event.objects.filter(state="waiting").count()
    floor = _looks() * count
    seconds, before = _timed(events_process)
    _require(
        Event.objects.filter(state="processed").count() == count + _WARM_UP,
        "events are not processed",
    )
    return Round("events", count, "events", seconds, floor, before, memory("VmHWM"))


def _reconciling(size: int) -> Round:
    reconcile(order=Order.objects.earliest("pk"))
    refunds, orders = Refund.objects.count(), Order.objects.count()
    floor = _page_of_refunds() * refunds / _PAGE + _page_of_orders() * orders / _PAGE
    seconds, before = _timed(reconcile)
    run = Refund.objects.filter(reconciled_at=None).exists()
    _require(not run and not Difference.objects.exists(), "the reconciliation found differences")
    return Round("reconciling", refunds, "refunds", seconds, floor, before, memory("VmHWM"))


def _verifying(size: int) -> Round:
    refund = Refund.objects.earliest("pk")
    verify_history(reference=refund.reference)
    count = HistoryEntry.objects.count()
    started = time.perf_counter()
    for _ in HistoryEntry.objects.iterator():
        pass
    floor = time.perf_counter() - started
    found = list[object]()
    seconds, before = _timed(lambda: verify_history(found=found.append))
    _require(not found, f"the history does not verify: {found[:3]}")
    return Round("verifying", count, "entries", seconds, floor, before, memory("VmHWM"))


_ROUNDS: dict[str, Callable[[int], Round]] = {
    "settling": _settling,
    "events": _processing,
    "reconciling": _reconciling,
    "verifying": _verifying,
}


def _timed(do: Callable[[], object]) -> tuple[float, float]:
    """Do it; returns the seconds it took and the memory there was before."""
    before, started = memory("VmRSS"), time.perf_counter()
    do()
    return time.perf_counter() - started, before


def _looks() -> float:
    """Return the seconds that the two bare calls of one look take."""
    client = digital_river()
    orders = Order.objects.order_by("-pk")[:_FLOOR_ORDERS]
    order_ids = list(orders.values_list("digital_river_id", flat=True))
    started = time.perf_counter()
    for order_id in order_ids:
        client.list_refunds(order_id=order_id)
        client.get_order(order_id)
    return (time.perf_counter() - started) / len(order_ids)


def _page_of_refunds() -> float:
    pages: Iterator[object] = iter(digital_river().refunds_since(since=None))
    started, count = time.perf_counter(), 0
    for _ in islice(pages, _FLOOR_PAGES):
        count += 1
    return (time.perf_counter() - started) / count


def _page_of_orders() -> float:
    order_ids = list(Order.objects.values_list("digital_river_id", flat=True)[:_PAGE])
    started = time.perf_counter()
    told = digital_river().get_orders(order_ids)
    return (time.perf_counter() - started) * _PAGE / len(told)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(f"Nothing was measured: {otherwise}.")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
