"""Records that were set aside, asked for once more: what was wrong may have been elsewhere.

An order product without its order comes in once the order is there; an order whose number another
one had, once that one has another. Neither need have changed itself, so no sync reads it again.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from refunds.errors import RecordUnusable
from refunds.models import Order, SetAside
from refunds.salesforce import queries
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.errors import SalesforceRecordError
from refunds.salesforce.payloads import order_record
from refunds.salesforce.queries import Fields
from refunds.services.fetching import record_with_all_lines
from refunds.services.mirroring import order_mirror
from refunds.services.setting_aside import ORDER, ORDER_ITEM, records_strike_off

#: Each costs one of the organisation's calls.
_MOST_LINES, _MOST_ORDERS = 100, 10
_NOT_BEFORE = timedelta(hours=1)


def again_next(
    *,
    client: SalesforceClient,
    fields: Fields,
    currency: str,
    at: datetime,
    on_each: Callable[[], None],
) -> int:
    """Ask for the next of them; returns how many orders came in. Raises any ``SalesforceError``."""
    mended = 0
    for salesforce_id in _due(at):
        client.require_calls_left()
        mended += _order_again(salesforce_id, client=client, fields=fields, currency=currency)
        SetAside.objects.filter(object_name=ORDER, salesforce_id=salesforce_id).update(
            last_seen_at=at
        )
        on_each()
    return mended


def _due(at: datetime) -> list[str]:
    """Return the orders to ask for: of lines whose order is there now, and the longest waiting."""
    there = Exists(Order.objects.filter(salesforce_id=OuterRef("order_salesforce_id")))
    lines = (
        SetAside.objects.filter(there, object_name=ORDER_ITEM, field="OrderId")
        .order_by()
        .values_list("order_salesforce_id", flat=True)
        .distinct()
    )
    waiting = (
        SetAside.objects.filter(object_name=ORDER, last_seen_at__lt=at - _NOT_BEFORE)
        .exclude(salesforce_id="")
        .order_by("last_seen_at", "id")
        .values_list("salesforce_id", flat=True)
    )
    return [*lines[:_MOST_LINES], *waiting[:_MOST_ORDERS]]


def _order_again(
    salesforce_id: str, *, client: SalesforceClient, fields: Fields, currency: str
) -> bool:
    page = client.query_page(queries.one_order(fields, by="Id", value=salesforce_id))
    if not page.records:
        # It is gone; what was set aside of it is of no use to anybody.
        records_strike_off(ORDER, [salesforce_id])
        SetAside.objects.filter(order_salesforce_id=salesforce_id).delete()
        return False
    raw = record_with_all_lines(page.records[0], client)
    try:
        record = order_record(raw, namespace=fields.namespace, default_currency=currency)
        order_mirror(record=record)
    except (SalesforceRecordError, RecordUnusable) as error:
        # It is there with its order, so that is not what keeps the line out.
        SetAside.objects.filter(
            object_name=ORDER_ITEM, order_salesforce_id=salesforce_id, field="OrderId"
        ).update(field=error.field[:255], reason=str(error)[:500])
        return False
    records_strike_off(ORDER, [record.id])
    records_strike_off(ORDER_ITEM, [line.id for line in record.lines])
    return True
