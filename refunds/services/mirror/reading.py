"""What a sync asks Salesforce for, page by page, and how a page gets into the mirror.

A run of everything, or of more than a day's changes, reads by bulk jobs, which are quick and cost
few of the organisation's calls; any other by plain queries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from refunds.models import SyncRun
from refunds.salesforce import queries
from refunds.salesforce.client import CsvPage, RecordPage, SalesforceClient
from refunds.salesforce.errors import UnreadableAnswer
from refunds.salesforce.queries import Fields
from refunds.services.mirror.deleting import lines_gone, orders_gone
from refunds.services.mirror.loading import (
    line_rows_load,
    lines_load,
    order_rows_load,
    orders_load,
)
from refunds.services.mirror.pages import Loaded
from refunds.services.mirror.rows import RecordLines, orders_of_records
from refunds.services.mirror.runs import OVERLAP
from refunds.services.mirror.setting_aside import ORDER, ORDER_ITEM

#: So many records are read at once; a page is one transaction.
PAGE = 10_000
#: Changes of a longer time than this are read by bulk jobs.
_BULK_BEYOND = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one phase reads, of which object."""

    sobject: str
    #: How the run's counts of it begin: ``orders_read``, ``orders_changed``.
    counts: str
    bulk_query: Callable[[Fields, datetime | None], str]
    query: Callable[[Fields, datetime], str]


ORDERS = Reading(
    ORDER,
    "orders",
    lambda fields, since: queries.orders(fields, since=since),
    queries.changed_orders,
)
LINES = Reading(
    ORDER_ITEM,
    "lines",
    lambda fields, since: queries.lines(fields, since=since),
    queries.changed_lines,
)


def reads_by_bulk(run: SyncRun) -> bool:
    """Tell whether the run reads by bulk jobs."""
    return run.since is None or run.since < run.started_at - _BULK_BEYOND


def deleted_since(run: SyncRun) -> datetime:
    """Return since when a run looks for what was deleted."""
    return run.since or (run.watermark or run.started_at) - OVERLAP


def bulk_page(client: SalesforceClient, job_id: str, locator: str) -> CsvPage:
    """Return a page of a bulk job; a smaller one where that is too large to be held.

    Raises any ``SalesforceError``.
    """
    most = PAGE
    while True:
        try:
            page = client.bulk_page(job_id, locator, most=most)
        except UnreadableAnswer as error:
            if error.code != "TOO_LARGE" or most == 1:
                raise
            most = max(1, most // 8)
        else:
            if locator and page.locator == locator:
                raise UnreadableAnswer("Salesforce sent the same page of records twice.")
            return page


def page_load(
    reading: Reading,
    page: CsvPage | RecordPage,
    *,
    fields: Fields,
    currency: str,
    at: datetime,
    run: SyncRun,
) -> Loaded:
    """Bring a page of orders or order products into the mirror."""
    if reading is ORDERS:
        if isinstance(page, CsvPage):
            return orders_load(page, fields=fields, default_currency=currency, at=at, run=run)
        found = orders_of_records(page.records, fields=fields, default_currency=currency)
        return order_rows_load(found, at=at, run=run)
    if isinstance(page, CsvPage):
        return lines_load(page, fields=fields, at=at, run=run)
    return line_rows_load(RecordLines(page.records, fields=fields), at=at, run=run)


def deleted_apply(reading: Reading, page: RecordPage) -> int:
    """Take what is deleted in Salesforce out of the mirror; returns how many it had."""
    moments = {str(record.get("Id")): _modified(record) for record in page.records}
    if reading is ORDERS:
        return orders_gone(moments=moments)
    return lines_gone(ids=moments)


def _modified(record: Mapping[str, object]) -> datetime:
    told = record.get("SystemModstamp")
    try:
        moment = datetime.fromisoformat(str(told))
    except ValueError:
        raise UnreadableAnswer("Salesforce did not tell when a record was deleted.") from None
    return moment.astimezone(UTC)
