"""How many queries each page takes: few, and no more for forty rows than for three."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from refunds.models import CloseOut, Order, RefundReason
from refunds.salesforce.payloads import order_record
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from sandbox.orders import Line, PastRefund, item_id_of, make_order
from tests.desk import Desk, rep
from tests.views.pages import DeskClient
from tests.views.rows import make_orders, make_refunds
from tests.views.wizard import Walk, submit_button

pytestmark = pytest.mark.django_db

#: What no page may exceed, whatever the data.
MOST = 12
FEW, MANY = 3, 40

#: Marks the bounds of transactions, which here are savepoints within that of the test.
_BOUNDS = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")
#: Keeps the shared pace: one statement for each call of Digital River, whatever is called.
_PACE = '"refunds_callpace"'


@dataclass
class Visit:
    """The desk with so many rows of everything, and the queries of one visit to it."""

    client: DeskClient
    desk: Desk
    rows: int
    order: Order

    def walk(self) -> Walk:
        """Return a draft of the order with many lines and refunds, with an option chosen."""
        walk = Walk.begin(self.client, self.order)
        walk.choose(**self.lines)
        return walk

    @property
    def lines(self) -> dict[str, str]:
        """What chooses one unit of every line."""
        keys = [line.key for line in self.order.lines.all()]
        return {"option": "line_items", **{f"quantity_{key}": "1" for key in keys}}

    def queries(
        self, address: str, data: dict[str, str] | None = None, *, status: int = 0, **headers: str
    ) -> list[str]:
        """Return the queries of getting an address, or of posting to it."""
        with CaptureQueriesContext(connection) as captured:
            if data is None:
                response = self.client.get(address)
            else:
                response = self.client.post(address, data, headers=headers)
        assert response.status_code in ({status} if status else {200, 302}), response.status_code
        asked = [each["sql"] for each in captured.captured_queries]
        return [sql for sql in asked if not sql.startswith(_BOUNDS) and _PACE not in sql]


def visit(desk: Desk, client: DeskClient, rows: int) -> Visit:
    """Make so many orders with a refund each, and an order of so many lines and refunds."""
    number = 9000 + rows
    orders = make_orders(rows, first=50_000_000 + 1000 * rows)
    make_refunds(orders, rep(), first=100 * rows)
    shop_order = make_order(
        number,
        lines=[Line(Decimal("300.00"), quantity=30, tax=Decimal("30.00")) for _ in range(rows)],
        shipping=Decimal("5.00"),
        refunds=[
            PastRefund(
                {"items": [{"itemId": item_id_of(number, at), "quantity": 1, "amount": Decimal(1)}]}
            )
            for at in range(rows)
        ],
    )
    desk.sandbox.put_order(shop_order)
    order = order_mirror(record=order_record(shop_order.record))
    order_refresh(order=order, clock=desk.clock, client=desk.client)
    order.refresh_from_db()
    assert order.refunds.count() == rows
    return Visit(client, desk, rows, order)


def _option(visit: Visit) -> list[str]:
    return visit.queries(visit.walk().at("option"))


def _option_posted(visit: Visit) -> list[str]:
    walk = visit.walk()
    return visit.queries(walk.at("option"), walk.values(**visit.lines))


def _option_refused(visit: Visit) -> list[str]:
    walk = visit.walk()
    values = walk.values(option="shipping", amount_of_shipping="999")
    return visit.queries(walk.at("option"), values, status=422)


def _total(visit: Visit) -> list[str]:
    walk = visit.walk()
    return visit.queries(walk.at("total"), walk.values(**visit.lines))


def _review(visit: Visit) -> list[str]:
    return visit.queries(visit.walk().at("review"))


def _submit(visit: Visit) -> list[str]:
    walk = visit.walk()
    page = visit.client.page(walk.at("review"))
    return visit.queries(walk.at("review"), page.values(submit_button(page)))


def _after_submit(visit: Visit, step: str) -> list[str]:
    walk = visit.walk()
    page = visit.client.page(walk.at("review"))
    visit.client.post(walk.at("review"), page.values(submit_button(page)))
    return visit.queries(walk.at(step) if step else f"/refunds/{walk.reference}/")


def _check(visit: Visit, *, seen: bool = False, **headers: str) -> list[str]:
    walk = visit.walk()
    page = visit.client.page(walk.at("review"))
    visit.client.post(walk.at("review"), page.values(submit_button(page)))
    # The first look finds it listed; from then on nothing changes until it settles.
    visit.client.post(walk.at("check"))
    data = {"seen": walk.draft.updated_at.isoformat()} if seen else {}
    return visit.queries(walk.at("check"), data, status=204 if seen else 0, **headers)


def _close_out(visit: Visit, *, begin: bool = False) -> list[str]:
    # The first look finds listed what was submitted before.
    visit.queries(f"{visit.order.get_absolute_url()}refresh/", {})
    address = f"{visit.order.get_absolute_url()}close-out/"
    if not begin:
        return visit.queries(address)
    page = visit.client.page(address)
    (button,) = [each for each in page.buttons if each.startswith("Close out for")]
    reason = RefundReason.objects.get(label="Requested by customer")
    return visit.queries(address, {**page.values(button), "reason": str(reason.pk)})


def _close_out_progress(visit: Visit) -> list[str]:
    close_out = CloseOut.objects.get(order=visit.order)
    return visit.queries(f"{visit.order.get_absolute_url()}close-out/{close_out.pk}/")


PAGES: dict[str, Callable[[Visit], list[str]]] = {
    "orders": lambda visit: visit.queries("/orders/"),
    "orders filtered": lambda visit: visit.queries("/orders/?state=complete&currency=USD&left=on"),
    "orders searched": lambda visit: visit.queries("/orders/?q=sam"),
    "select order": lambda visit: visit.queries("/refunds/new/"),
    "select order searched": lambda visit: visit.queries("/refunds/new/?q=500"),
    "order": lambda visit: visit.queries(visit.order.get_absolute_url()),
    "order proceed": lambda visit: visit.queries(f"{visit.order.get_absolute_url()}refunds/"),
    "refunds": lambda visit: visit.queries("/refunds/"),
    "refunds filtered": lambda visit: visit.queries("/refunds/?state=succeeded&flagged=on"),
    "refunds searched": lambda visit: visit.queries("/refunds/?search=7000"),
    "order refreshed": lambda visit: visit.queries(f"{visit.order.get_absolute_url()}refresh/", {}),
    "order refreshed by htmx": lambda visit: visit.queries(
        f"{visit.order.get_absolute_url()}refresh/", {}, hx_request="true"
    ),
    "option": _option,
    "option posted": _option_posted,
    "option refused": _option_refused,
    "total": _total,
    "review": _review,
    "confirm": lambda visit: _after_submit(visit, "confirm"),
    "refund": lambda visit: _after_submit(visit, ""),
    "refund checked": _check,
    "refund checked by htmx, unchanged": lambda visit: _check(visit, seen=True, hx_request="true"),
    "refund checked by htmx": lambda visit: _check(visit, hx_request="true"),
    "submit": _submit,
    "close-out": _close_out,
    "close-out begun": lambda visit: _close_out(visit, begin=True),
    "close-out progress": _close_out_progress,
}
#: What writes takes more than a page: it locks, writes and keeps the history; and looking at
#: Digital River takes its own before the page's. A close-out drafts, chooses, submits and reads
#: the order three times, all in one go.
MORE = {
    "option posted": 21,
    "refund checked by htmx": 15,
    "submit": 44,
    "close-out begun": 112,
}


def test_pages_take_few_queries_and_no_more_for_many_rows(desk: Desk, as_rep: DeskClient) -> None:
    taken: dict[int, dict[str, list[str]]] = {}
    for rows in (FEW, MANY):
        visited = visit(desk, as_rep, rows)
        # What is kept for a while, such as the currencies on offer, is read the first time.
        visited.queries("/orders/")
        visited.queries(f"{visited.order.get_absolute_url()}refresh/", {})
        taken[rows] = {name: look(visited) for name, look in PAGES.items()}
    few, many = ({name: len(asked) for name, asked in each.items()} for each in taken.values())
    assert few == many
    too_many = {name: count for name, count in many.items() if count > MORE.get(name, MOST)}
    listing = [sql[:300] for name in too_many for sql in [name, *taken[MANY][name]]]
    assert too_many == {}, "\n".join(listing)
