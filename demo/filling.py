"""Fills the mirror with the shop's orders, through the services that real records go through."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from demo.guard import refuse_beside_live_key
from refunds.errors import OrderUnreadable
from refunds.models import Order
from refunds.salesforce.payloads import order_record
from refunds.services.mirroring import order_mirror
from refunds.services.orders import order_refresh
from sandbox.shop import build_shop
from sandbox.store import Sandbox

#: Told how many orders are done, and of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Filling:
    """What a filling did."""

    #: Orders taken over from Salesforce's records.
    mirrored: int
    #: Orders whose figures were read from Digital River.
    read: int
    #: Orders still without figures, and the sentence that says why; empty when there are none.
    unread: int
    trouble: str


def orders_fill(*, progress: Progress) -> Filling:
    """Mirror the shop into a desk without orders, and read the figures nobody has read yet.

    A second filling has nothing to do; one that was interrupted, or that did not reach Digital
    River, is taken up where it stopped. Raises ``DemoRefusedError``.
    """
    refuse_beside_live_key()
    mirrored = _mirror()
    waiting = list(
        Order.objects.filter(refreshed_at=None).exclude(digital_river_id="").order_by("pk")
    )
    for done, order in enumerate(waiting):
        progress(done, len(waiting))
        try:
            order_refresh(order=order)
        except OrderUnreadable as error:
            # What keeps one from being read keeps all: the others would only take their time.
            return Filling(mirrored, done, len(waiting) - done, str(error))
    if waiting:
        progress(len(waiting), len(waiting))
    return Filling(mirrored, len(waiting), 0, "")


@transaction.atomic
def _mirror() -> int:
    """Take over the shop's records, all or none, unless the desk has orders already."""
    if Order.objects.exists():
        return 0
    count = 0
    for record in _records():
        order_mirror(record=order_record(record))
        count += 1
    return count


def _records() -> Iterable[dict[str, Any]]:
    """Return the shop's Salesforce records: those of the stand-in's file, or made as it makes them.

    A stand-in on a port has a file of its own; it is the same shop, up to the dates.
    """
    if settings.DIGITALRIVER_TRANSPORT:
        return Sandbox(settings.SANDBOX_STATE).salesforce_records()
    return [dict(order.record) for order in build_shop(timezone.now().date())]
