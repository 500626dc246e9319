"""Records of Salesforce that could not be mirrored: kept with the reason until they can be."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from refunds.models import SetAside, SyncRun
from refunds.services.mirror.rows import BadRecord

#: What Salesforce calls the objects that are mirrored.
ORDER, ORDER_ITEM = "Order", "OrderItem"
#: The field of an order product that names an item which another one may have.
ITEM_FIELD = "DR_Order_Item_Id__c"

NUMBER_TAKEN = (
    "The order cannot be mirrored: another Salesforce order has its OrderNumber. Give one of them "
    "another number in Salesforce."
)
DIGITAL_RIVER_ID_TAKEN = (
    "The order cannot be mirrored: another Salesforce order names the same Digital River order in "
    "DR_Order_Id__c. Correct the one that is wrong in Salesforce."
)
ITEM_ID_TAKEN = (
    "The order product cannot be mirrored: another one of the order names the same Digital River "
    "item in DR_Order_Item_Id__c. Correct the one that is wrong in Salesforce."
)
WITHOUT_ORDER = (
    "The order product cannot be mirrored: its order is not in the mirror. It comes in once the "
    "order does; look whether that was set aside."
)

#: How long a sentence may be.
_LONGEST_REASON = 500


def records_set_aside(
    object_name: str,
    *,
    good: Iterable[str],
    bad: Sequence[BadRecord],
    at: datetime,
    run: SyncRun | None,
) -> None:
    """Write down what could not be mirrored, and strike off what could be after all.

    ``good`` are the Salesforce ids of what was mirrored.
    """
    kept = SetAside.objects.filter(object_name=object_name)
    # Mostly there are none, and nothing has to be looked for.
    if kept.exists():
        kept.filter(salesforce_id__in=list(good)).delete()
    if not bad:
        return
    rows = {
        each.salesforce_id: SetAside(
            object_name=object_name,
            salesforce_id=each.salesforce_id,
            order_salesforce_id=each.order_salesforce_id,
            field=each.field[:255],
            reason=each.reason[:_LONGEST_REASON],
            first_seen_at=at,
            last_seen_at=at,
            run=run,
        )
        for each in bad
    }
    SetAside.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["object_name", "salesforce_id"],
        update_fields=["order_salesforce_id", "field", "reason", "last_seen_at", "run"],
    )


def records_strike_off(object_name: str, ids: Iterable[str]) -> None:
    """Strike off records that are gone from Salesforce."""
    kept = SetAside.objects.filter(object_name=object_name)
    kept.filter(salesforce_id__in=list(ids)).delete()
