"""What is gone from Salesforce: it leaves the mirror, unless the desk has something of it.

An order without refunds, events, documents, differences or close-outs goes with its lines; any
other stays and says when it was deleted there. A line goes where Digital River does not know it
and nothing of it was refunded; any other only loses its Salesforce id, so that a line made anew
for the same item can take its place.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce, Greatest

from refunds.models import (
    CloseOut,
    CreditMemo,
    Difference,
    Event,
    Order,
    OrderLine,
    ReconciliationRun,
    Refund,
    RefundLine,
)
from refunds.services.mirror.setting_aside import ORDER, ORDER_ITEM, records_strike_off

#: What of the desk's own an order is kept for.
_KEPT_FOR = (Refund, Event, CreditMemo, Difference, CloseOut, ReconciliationRun)


@transaction.atomic
def orders_gone(*, moments: Mapping[str, datetime], is_told: bool = True) -> int:
    """Take orders that are deleted in Salesforce out of the mirror, or mark them as deleted.

    ``moments`` are when, by Salesforce id; without ``is_told`` that is only when the desk missed
    them, and the very record it has may come back. Returns how many the mirror had of them and
    did not know as deleted.
    """
    locked = Order.objects.select_for_update().filter(salesforce_id__in=list(moments))
    there = {order.pk: order for order in locked.order_by("pk")}
    owned = _owned()
    free = list(Order.objects.filter(~owned, pk__in=there).values_list("pk", flat=True))
    OrderLine.objects.filter(order__in=free).delete()
    Order.objects.filter(pk__in=free).delete()
    changed = len(free)
    for pk in there.keys() - set(free):
        order = there[pk]
        if order.salesforce_deleted_at is None:
            at = moments[order.salesforce_id]
            changes: dict[str, object] = {"salesforce_deleted_at": at}
            if is_told:
                # Older pages must not bring it back.
                modified = Greatest(Coalesce(F("salesforce_modified_at"), at), at)
                changes["salesforce_modified_at"] = modified
            Order.objects.filter(pk=pk).update(**changes)
            changed += 1
    records_strike_off(ORDER, moments)
    return changed


@transaction.atomic
def lines_gone(*, ids: Iterable[str]) -> int:
    """Take lines that are deleted in Salesforce out of the mirror, where nothing hangs on them.

    Returns how many the mirror had of them.
    """
    ids = list(ids)
    # The index that finds them is of lines that have an id, and must be asked for as such.
    lines = OrderLine.objects.filter(salesforce_id__in=ids).exclude(salesforce_id="")
    owners = list(lines.values_list("order", flat=True).distinct())
    # Nobody reads their orders' money, or begins a refund of them, meanwhile.
    list(Order.objects.select_for_update().filter(pk__in=owners).order_by("pk").values("pk"))
    refunded = Exists(RefundLine.objects.filter(order_line=OuterRef("pk")))
    free = list(lines.filter(~refunded, digital_river_id="").values_list("pk", flat=True))
    OrderLine.objects.filter(pk__in=free).delete()
    kept = lines.exclude(digital_river_id="").update(salesforce_id="")
    records_strike_off(ORDER_ITEM, ids)
    return len(free) + kept


def _owned() -> Q:
    """Return the condition that the desk has something of an order."""
    owned = Q()
    for model in _KEPT_FOR:
        owned |= Q(Exists(model._default_manager.filter(order=OuterRef("pk"))))
    return owned
