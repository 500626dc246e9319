"""Fills the mirror as it is filled in earnest: a sync with Salesforce, here with its stand-in."""

from collections.abc import Callable
from dataclasses import dataclass

from demo.guard import refuse_beside_live_key
from refunds.errors import OrderUnreadable, SyncRefused
from refunds.models import Order, SyncRun
from refunds.services.mirror.syncing import sync
from refunds.services.orders import order_refresh

#: Told how many orders are done, and of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Filling:
    """What a filling did."""

    #: Orders that came in from Salesforce.
    mirrored: int
    #: Orders whose figures were read from Digital River.
    read: int
    #: Orders still without figures, and the sentence that says why; empty when there are none.
    unread: int
    trouble: str
    #: Why not all came in from Salesforce; empty when all did.
    sync_trouble: str = ""


def orders_fill(*, progress: Progress) -> Filling:
    """Sync with Salesforce, and read the figures nobody has read yet.

    A second filling takes over what changed; one that was interrupted, or that did not reach
    Digital River, is taken up where it stopped. Raises ``DemoRefusedError``.
    """
    refuse_beside_live_key()
    mirrored, sync_trouble = _mirror()
    waiting = list(
        Order.objects.filter(refreshed_at=None).exclude(digital_river_id="").order_by("pk")
    )
    for done, order in enumerate(waiting):
        progress(done, len(waiting))
        try:
            order_refresh(order=order)
        except OrderUnreadable as error:
            # What keeps one from being read keeps all: the others would only take their time.
            return Filling(mirrored, done, len(waiting) - done, str(error), sync_trouble)
    if waiting:
        progress(len(waiting), len(waiting))
    return Filling(mirrored, len(waiting), 0, "", sync_trouble)


def _mirror() -> tuple[int, str]:
    """Return how many orders came in, and why not all did."""
    try:
        run = sync(started_by="demo")
    except SyncRefused as error:
        return 0, str(error)
    return run.orders_created, "" if run.state == SyncRun.State.FINISHED else run.outcome
