"""One order: what it shows, reading it anew, why it cannot be refunded, and the way to a refund."""

from decimal import Decimal

import pytest

from refunds.models import Order, Refund
from refunds.options import Option, Selection
from sandbox.faults import parse_fault
from sandbox.shop import SHOWCASE
from tests.desk import Desk, rep
from tests.views.pages import DeskClient, Page
from tests.views.rows import make_order, make_refunds

pytestmark = pytest.mark.django_db

#: What the page says of each order of the shop that cannot be refunded.
NOT_ELIGIBLE = {
    "accepted_with_capture": "Only fulfilled orders can be refunded; until then, cancel",
    "accepted_uncaptured": "Only fulfilled orders can be refunded; until then, cancel",
    "pending_payment": "The payment of this order has not arrived yet",
    "in_review": "Digital River is still reviewing this order",
    "blocked": "Digital River blocked this order; the customer was not charged.",
    "cancelled": "This order was cancelled; the customer was not charged.",
    "fulfilled_uncaptured": "The payment of this order has not been captured yet",
    "dispute": "The customer's bank has opened a dispute on this order.",
    "no_digital_river_id": "This order has no Digital River order id",
    "waiting_for_bank_details": "is on its way in a refund that has not settled yet",
    "fully_refunded": "Nothing is left to refund: everything the customer paid was given back.",
}
ELIGIBLE = sorted(set(SHOWCASE) - set(NOT_ELIGIBLE))


def down(desk: Desk, kind: str = "connection-refused", **more: object) -> None:
    """Let every read of Digital River go wrong from now on."""
    desk.sandbox.queue_fault(parse_fault({"kind": kind, "method": "GET", "times": 1000, **more}))


@pytest.mark.parametrize("case", NOT_ELIGIBLE)
def test_order_that_cannot_be_refunded_says_why_and_offers_nothing(
    desk: Desk, as_rep: DeskClient, case: str
) -> None:
    order = desk.order(case)
    page = as_rep.page(order.get_absolute_url())
    assert NOT_ELIGIBLE[case] in " ".join(page.notices)
    assert "Create refund" not in page.buttons
    proceed = as_rep.page(f"{order.get_absolute_url()}refunds/")
    assert NOT_ELIGIBLE[case] in proceed.text
    assert "Proceed" not in proceed.text
    response = as_rep.post(f"{order.get_absolute_url()}refunds/create/")
    assert response.headers["Location"] == order.get_absolute_url()
    (message,) = as_rep.page(order.get_absolute_url()).messages
    assert NOT_ELIGIBLE[case] in message
    assert not Refund.objects.filter(state=Refund.State.DRAFT).exists()


@pytest.mark.parametrize("case", ELIGIBLE)
def test_order_that_can_be_refunded_leads_to_the_wizard(
    desk: Desk, as_rep: DeskClient, case: str
) -> None:
    order = desk.order(case)
    page = as_rep.page(order.get_absolute_url())
    address = f"{order.get_absolute_url()}refunds/"
    assert page.has_link(address)
    proceed = as_rep.page(address)
    assert "Nothing is refunded yet" in proceed.text
    assert proceed.link("Proceed") == f"{order.get_absolute_url()}#refunds"
    response = as_rep.post(page.form("Create refund")["action"])
    draft = Refund.objects.get(order=order, state=Refund.State.DRAFT)
    assert response.headers["Location"] == f"/refunds/{draft.reference}/option/"
    assert as_rep.page(response.headers["Location"]).buttons[-2:] == [
        "Review and Submit",
        "Discard draft",
    ]


def test_order_shows_its_head_lines_and_ledger(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    page = as_rep.page(order.get_absolute_url())
    assert page.title == f"Order {order.order_number} – Refund desk"
    for words in (
        "Complete",
        "Activated",
        order.digital_river_id,
        order.salesforce_id,
        order.buyer_email,
        order.account_name,
        order.payment,
    ):
        assert words in page.text
    ledger = {
        each.text: row.text for row in page.root.all("tr") for each in row.all("th", scope="row")
    }
    assert ledger["Product"] == "Product 20.00 0.00 0.00 20.00"
    assert ledger["Shipping"] == "Shipping 5.00 0.00 0.00 5.00"
    assert ledger["Whole order"] == "Whole order 27.01 0.00 0.00 27.01"
    assert "Nothing of this order was refunded yet." in page.text


def test_order_shows_its_refunds(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.40")))
    page = as_rep.page(order.get_absolute_url())
    (row,) = [row.text for row in page.root.all("tr") if refund.reference in row.text]
    assert refund.digital_river_id in row
    assert "Shipping USD 5.40 USD 0.00 Pending Rep Tester" in row
    assert page.has_link(f"/refunds/{refund.reference}/")


def test_order_shows_no_drafts(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), Selection(Option.SHIPPING))
    assert draft.reference not in as_rep.page(order.get_absolute_url()).text


def test_order_with_many_refunds_shows_the_latest_and_leads_to_all(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("plain_usd")
    make_refunds([order] * 26, rep())
    page = as_rep.page(order.get_absolute_url())
    assert len([row for row in page.rows if row.startswith("R-")]) == 25
    address = page.link("All refunds of this order")
    assert len(as_rep.page(address).rows) == 25
    assert "Next page" in as_rep.page(address).text


def test_order_in_dispute_closes_what_is_under_way(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), Selection(Option.SHIPPING))
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    page = as_rep.page(f"/refunds/{draft.reference}/option/")
    assert NOT_ELIGIBLE["dispute"] in " ".join(page.notices)
    assert "Review and Submit" not in page.buttons


def test_order_number_with_special_marks_has_a_page(as_rep: DeskClient) -> None:
    make_order(57_000_000, order_number="A&B #1?é").save()
    order = Order.objects.get()
    page = as_rep.page(order.get_absolute_url())
    assert "Order A&B #1?é" in page.text
    assert as_rep.page("/orders/?q=a%26b").has_link(order.get_absolute_url())


# -- reading it anew -------------------------------------------------------------------------------


def test_figures_are_read_anew_after_loading_when_they_are_old(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("worked_sample")
    body = as_rep.page(order.get_absolute_url()).root.one("div", id="order-body")
    assert not body.get("hx-trigger")
    desk.clock.forward(seconds=61)
    body = as_rep.page(order.get_absolute_url()).root.one("div", id="order-body")
    assert body["hx-trigger"] == "load"
    assert body["hx-post"] == f"{order.get_absolute_url()}refresh/"


def test_order_page_does_not_ask_digital_river_itself(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    desk.clock.forward(hours=1)
    down(desk)
    as_rep.page(order.get_absolute_url())
    assert [fault["times"] for fault in desk.sandbox.faults()] == [1000]


def test_refresh_by_htmx_answers_with_the_new_figures(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    desk.clock.forward(minutes=5)
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    response = as_rep.post(f"{order.get_absolute_url()}refresh/", headers={"hx-request": "true"})
    page = Page(response)
    assert response.status_code == 200
    assert not page.is_whole
    body = page.root.one("div", id="order-body")
    assert not body.get("hx-trigger"), "it would ask again and again"
    assert "In dispute" in page.text
    assert "Create refund" not in page.text


def test_refresh_without_htmx_leads_back_to_the_page(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    desk.clock.forward(minutes=5)
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    page = as_rep.page(order.get_absolute_url())
    response = as_rep.post(page.form("Refresh")["action"], page.values("Refresh"))
    assert response.headers["Location"] == order.get_absolute_url()
    after = as_rep.page(order.get_absolute_url())
    assert "In dispute" in after.text
    assert after.messages == []


def test_refresh_settles_a_refund_and_takes_on_one_made_elsewhere(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.40")))
    desk.clock.forward(hours=1)
    as_rep.post(f"{order.get_absolute_url()}refresh/")
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "connection-refused"},
        {"kind": "lost-before"},
        {"kind": "error", "status": 500},
        {"kind": "error", "status": 401},
        {"kind": "malformed"},
        {"kind": "wrong-shape"},
        {"kind": "rate-limited", "retryAfter": 90},
    ],
    ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}",
)
@pytest.mark.parametrize("htmx", [True, False])
def test_refresh_while_digital_river_cannot_be_read_says_so_and_shows_the_age(
    desk: Desk, as_rep: DeskClient, fault: dict[str, object], htmx: bool
) -> None:
    order = desk.order("worked_sample")
    desk.clock.forward(minutes=5)
    down(desk, **fault)  # type: ignore[arg-type]
    address = f"{order.get_absolute_url()}refresh/"
    if htmx:
        page = Page(as_rep.post(address, headers={"hx-request": "true"}))
        (notice,) = page.notices
    else:
        as_rep.post(address)
        page = as_rep.page(order.get_absolute_url())
        (notice,) = page.messages
    assert "Digital River" in notice
    assert "5 minutes ago" in page.text
    assert "27.01" in page.text
    assert "Create refund" in page.text


def test_refresh_of_an_order_without_a_digital_river_id_changes_nothing(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("no_digital_river_id")
    page = as_rep.page(order.get_absolute_url())
    assert "Not read from Digital River yet" in page.text
    assert "Refresh" not in page.buttons
    response = as_rep.post(f"{order.get_absolute_url()}refresh/")
    assert response.headers["Location"] == order.get_absolute_url()


def test_order_that_digital_river_does_not_know_says_so(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    Order.objects.filter(pk=order.pk).update(digital_river_id="999")
    as_rep.post(f"{order.get_absolute_url()}refresh/")
    (message,) = as_rep.page(order.get_absolute_url()).messages
    assert "Digital River" in message
