"""Records that were set aside, asked for once more: what was wrong may have been elsewhere.

An order product without its order comes in once the order is there; an order whose number another
one had, once that one has another; an order product whose item another one had, once that one is
gone. None of them need have changed itself, so no sync reads it again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models import Case, Exists, F, OuterRef, Q, When

from refunds.models import Order, SetAside
from refunds.salesforce import queries
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.queries import Fields
from refunds.services.mirror.fetching import record_with_all_lines
from refunds.services.mirror.loading import line_rows_load, order_rows_load
from refunds.services.mirror.rows import RecordLines, orders_of_records
from refunds.services.mirror.setting_aside import ITEM_FIELD, ORDER, ORDER_ITEM, records_strike_off

#: Each costs one of the organisation's calls.
_MOST_LINES, _MOST_ORDERS = 100, 10
_NOT_BEFORE = timedelta(hours=1)
_OWNER = "order_salesforce_id"


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
        mended += _order_again(
            salesforce_id, client=client, fields=fields, currency=currency, at=at
        )
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
        SetAside.objects.filter(
            Q(object_name=ORDER) | Q(object_name=ORDER_ITEM, field=ITEM_FIELD),
            last_seen_at__lt=at - _NOT_BEFORE,
        )
        .annotate(order=Case(When(object_name=ORDER, then="salesforce_id"), default=F(_OWNER)))
        .exclude(order="")
        .order_by("last_seen_at", "id")
        .values_list("order", flat=True)
    )
    return list(dict.fromkeys([*lines[:_MOST_LINES], *waiting[:_MOST_ORDERS]]))


def _order_again(
    salesforce_id: str, *, client: SalesforceClient, fields: Fields, currency: str, at: datetime
) -> bool:
    """Bring in the order and those of its lines that will do, as a page of records does."""
    page = client.query_page(queries.one_order(fields, by="Id", value=salesforce_id))
    of_lines = SetAside.objects.filter(object_name=ORDER_ITEM, order_salesforce_id=salesforce_id)
    if not page.records:
        # It is gone; what was set aside of it is of no use to anybody.
        records_strike_off(ORDER, [salesforce_id])
        of_lines.delete()
        return False
    raw = record_with_all_lines(page.records[0], client)
    found = orders_of_records([raw], fields=fields, default_currency=currency)
    order = order_rows_load(found, at=at)
    lines = line_rows_load(RecordLines(_lines_of(raw), fields=fields), at=at)
    # Salesforce named all there are: those that it did not name are gone.
    of_lines.filter(last_seen_at__lt=at).delete()
    return not (order.set_aside or lines.set_aside)


def _lines_of(raw: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    nested = raw.get("OrderItems")
    told = nested.get("records") if isinstance(nested, Mapping) else nested
    return [line for line in told if isinstance(line, Mapping)] if isinstance(told, list) else []
