"""Pages of records into the mirror: what is new is inserted, what differs is updated, all at once.

A page is one transaction. What the desk alone knows is not touched: once Digital River was read
(``refreshed_at``), an order's state and money and its lines' figures are Digital River's; a
Digital River id that is known does not get lost; what was modified earlier never takes the place
of what was modified later. A record that cannot be mirrored is set aside, and the rest goes on.

One record goes the same way by ``refunds.services.mirror.records.order_mirror``.
"""

from datetime import datetime

from refunds.models import SyncRun
from refunds.salesforce.client import CsvPage
from refunds.salesforce.queries import Fields
from refunds.services.mirror.csv_rows import PageLines, orders_of_page
from refunds.services.mirror.lines import LinePage
from refunds.services.mirror.orders import OrderPage
from refunds.services.mirror.pages import Loaded, one_page, uncollected
from refunds.services.mirror.rows import LineRows, OrderRows
from refunds.services.mirror.tables import tables


def orders_load(
    page: CsvPage,
    *,
    fields: Fields,
    default_currency: str = "",
    at: datetime,
    run: SyncRun | None = None,
) -> Loaded:
    """Bring a bulk job's page of orders into the mirror. Raises ``UnreadableAnswer``."""
    with uncollected():
        found = orders_of_page(page, fields=fields, default_currency=default_currency)
        return order_rows_load(found, at=at, run=run)


def lines_load(
    page: CsvPage, *, fields: Fields, at: datetime, run: SyncRun | None = None
) -> Loaded:
    """Bring a bulk job's page of order products into the mirror. Raises ``UnreadableAnswer``."""
    with uncollected():
        return line_rows_load(PageLines(page, fields=fields), at=at, run=run)


def order_rows_load(found: OrderRows, *, at: datetime, run: SyncRun | None = None) -> Loaded:
    """Bring orders into the mirror, in one transaction."""
    return one_page(lambda: OrderPage(found, tables()).write(at, run))


def line_rows_load(found: LineRows, *, at: datetime, run: SyncRun | None = None) -> Loaded:
    """Bring order products into the mirror, in one transaction."""
    return one_page(lambda: LinePage(found, tables()).write(at, run))
