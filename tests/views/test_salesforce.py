"""The way from Salesforce: the Refunds action's target, looking an order up, what pages tell."""

from datetime import timedelta
from http import HTTPStatus

import pytest
from django.core.cache import cache
from django.utils.html import escape
from pytest_django import Settings

from refunds import gateways
from refunds.models import Order, OrderLine
from refunds.permissions import GROUP_NAME
from refunds.services.mirror import fetching
from sandbox.salesforce.organisation import Organisation
from sandbox.shop import SHOWCASE
from tests.desk import Desk, rep
from tests.salesforce_wire import Record, SalesforceWire
from tests.views.pages import DeskClient, Page
from tests.views.rows import DAY, make_order

pytestmark = pytest.mark.django_db

UNKNOWN_ID = "8015g0000099999AAA"
HTMX = {"hx-request": "true"}


@pytest.fixture
def wire(desk: Desk, organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> SalesforceWire:
    """Return the wire between the pages and the stand-in of Salesforce."""
    wire = SalesforceWire(organisation)
    monkeypatch.setattr(fetching, "salesforce_in_a_hurry", wire.client)
    return wire


@pytest.fixture
def record(desk: Desk, wire: SalesforceWire) -> Record:
    """Return the record of one order as Salesforce has it."""
    return desk.sandbox.salesforce_record(SHOWCASE["worked_sample"])


def action(identifier: object) -> str:
    """Return where an Order's Refunds action leads."""
    return f"/salesforce/orders/{identifier}/refunds/"


def proceed(record: Record) -> str:
    return f"/orders/{record['OrderNumber']}/refunds/"


# -- the Refunds action ----------------------------------------------------------------------------


def test_action_of_a_known_order_leads_to_its_proceed_page(
    desk: Desk, wire: SalesforceWire, as_rep: DeskClient
) -> None:
    order = desk.order("worked_sample")
    for identifier in (
        order.salesforce_id,
        order.salesforce_id[:15],
        order.salesforce_id.lower(),
        order.salesforce_id.upper(),
    ):
        response = as_rep.get(action(identifier))
        assert response.headers["Location"] == f"/orders/{order.order_number}/refunds/"
    assert "Proceed" in as_rep.page(response.headers["Location"]).text
    assert wire.queries == []


def test_action_signed_out_leads_on_after_signing_in(record: Record) -> None:
    rep()
    client = DeskClient()
    response = client.get(action(record["Id"]))
    assert response.headers["Location"] == f"/accounts/login/?next={action(record['Id'])}"
    page = client.page(response.headers["Location"])
    values = page.values("Sign in") | {"username": "rep", "password": "a-password-for-tests"}
    response = client.post("/accounts/login/", values)
    assert response.headers["Location"] == action(record["Id"])


def test_action_without_the_permission_set_says_whom_to_ask(
    record: Record, as_viewer: DeskClient, wire: SalesforceWire
) -> None:
    page = as_viewer.page(action(record["Id"]), HTTPStatus.FORBIDDEN)
    assert GROUP_NAME in page.text
    response = as_viewer.post(f"{action(record['Id'])}fetch/")
    assert response.status_code == HTTPStatus.FORBIDDEN
    assert wire.queries == []
    assert not Order.objects.exists()


def test_opening_the_action_of_an_order_that_is_not_here_costs_no_call(
    record: Record, as_rep: DeskClient, wire: SalesforceWire
) -> None:
    page = as_rep.page(action(record["Id"]))
    assert as_rep.head(action(record["Id"])).status_code == HTTPStatus.OK
    assert wire.queries == []
    assert not Order.objects.exists()
    (waiting,) = page.root.all("div", id="salesforce-order")
    assert waiting["hx-post"] == f"{action(record['Id'])}fetch/"
    assert waiting["hx-trigger"] == "load"
    assert "Fetching the order from Salesforce…" in page.text
    assert page.form("Fetch the order from Salesforce")["action"] == waiting["hx-post"]


def test_order_that_is_not_here_is_fetched_and_leads_on(
    record: Record, as_rep: DeskClient, wire: SalesforceWire
) -> None:
    page = as_rep.page(action(record["Id"]))
    form = page.form("Fetch the order from Salesforce")
    response = as_rep.post(form["action"], page.values("Fetch the order from Salesforce"))
    assert response.headers["Location"] == proceed(record)
    assert Order.objects.get().salesforce_id == record["Id"]
    assert len(wire.queries) == 1
    # Once more, from a second tab: it is here.
    response = as_rep.post(form["action"], headers=HTMX)
    assert response.headers["HX-Redirect"] == proceed(record)
    assert len(wire.queries) == 1


def test_order_is_fetched_by_a_page_that_asks_by_itself(record: Record, as_rep: DeskClient) -> None:
    response = as_rep.post(f"{action(str(record['Id']).lower())}fetch/", headers=HTMX)
    assert response.headers["HX-Redirect"] == proceed(record)
    assert Order.objects.count() == 1


def test_order_that_salesforce_does_not_show_says_what_to_do(
    record: Record, as_rep: DeskClient, settings: Settings
) -> None:
    settings.PERMISSION_CONTACT = "Kim in sales operations"
    whole = as_rep.post(f"{action(UNKNOWN_ID)}fetch/")
    part = as_rep.post(f"{action(UNKNOWN_ID)}fetch/", headers=HTMX)
    for response in (whole, part):
        page = Page(response)
        assert f"Salesforce shows the desk no order with the id {UNKNOWN_ID}." in page.notices
        assert "ask Kim in sales operations" in page.text
        assert not page.root.all("div", **{"hx-trigger": "load"})
    assert Page(whole).is_whole
    assert not Page(part).is_whole
    assert "Try again" in Page(whole).buttons


def test_salesforce_that_fails_is_told_with_what_to_do(
    record: Record, as_rep: DeskClient, wire: SalesforceWire
) -> None:
    wire.refusal = (503, "SERVER_UNAVAILABLE", "down")
    page = Page(as_rep.post(f"{action(record['Id'])}fetch/"))
    assert "did not answer in time" in " ".join(page.notices)
    assert "Nothing was sent or changed." in page.text
    wire.refusal = None
    response = as_rep.post(page.form("Try again")["action"], page.values("Try again"))
    assert response.headers["Location"] == proceed(record)


def test_record_that_cannot_be_used_is_told(
    record: Record, as_rep: DeskClient, wire: SalesforceWire
) -> None:
    wire.rewrite = lambda records: [{**records[0], "CurrencyIsoCode": None}]
    page = Page(as_rep.post(f"{action(record['Id'])}fetch/", headers=HTMX))
    assert "CurrencyIsoCode is missing." in " ".join(page.notices)
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    "identifier",
    [
        "123",
        "0015g0000099999AAA",
        "8015g0000099999AA",
        "8015g0000099999ZZZ",
        "%00",
        "üöä",
        "look-up",
    ],
)
def test_what_is_no_order_id_is_told_in_words(
    as_rep: DeskClient, wire: SalesforceWire, identifier: str
) -> None:
    page = as_rep.page(action(identifier), HTTPStatus.NOT_FOUND)
    assert "This address names no order" in page.text
    assert "use its Refunds action" in page.text
    response = as_rep.post(f"{action(identifier)}fetch/")
    assert response.status_code == HTTPStatus.NOT_FOUND
    assert wire.queries == []


def test_desk_without_salesforce_says_so(as_rep: DeskClient, settings: Settings) -> None:
    settings.SALESFORCE_TRANSPORT = settings.SALESFORCE_URL = settings.SALESFORCE_DOMAIN = ""
    page = Page(as_rep.post(f"{action(UNKNOWN_ID)}fetch/"))
    assert "not connected to Salesforce" in " ".join(page.notices)


# -- the Proceed page of an order whose money was never read ---------------------------------------


def test_proceed_page_reads_money_that_was_never_read(record: Record, as_rep: DeskClient) -> None:
    as_rep.post(f"{action(record['Id'])}fetch/")
    page = as_rep.page(proceed(record))
    assert "was not read from Digital River yet" in page.text
    assert "captured" not in page.text
    (waiting,) = page.root.all("div", id="proceed-body")
    assert (waiting["hx-post"], waiting["hx-trigger"]) == (
        f"/orders/{record['OrderNumber']}/refresh/",
        "load",
    )
    button = "Read from Digital River"
    response = as_rep.post(page.form(button)["action"], page.values(button))
    assert response.headers["Location"] == proceed(record)
    assert "Up to USD 27.01 can still be refunded" in as_rep.page(proceed(record)).text


def test_proceed_page_gets_its_newer_self_by_htmx(record: Record, as_rep: DeskClient) -> None:
    as_rep.post(f"{action(record['Id'])}fetch/")
    address = f"/orders/{record['OrderNumber']}/refresh/"
    page = Page(as_rep.post(address, {"proceed": "on"}, headers=HTMX))
    assert not page.is_whole
    (body,) = page.root.all("div", id="proceed-body")
    assert not body.get("hx-post")
    assert page.link("Proceed") == f"/orders/{record['OrderNumber']}/#refunds"


def test_proceed_page_says_that_digital_river_is_away(
    record: Record, as_rep: DeskClient, desk: Desk
) -> None:
    as_rep.post(f"{action(record['Id'])}fetch/")
    Order.objects.update(digital_river_id="229999990336")
    address = f"/orders/{record['OrderNumber']}/refresh/"
    page = Page(as_rep.post(address, {"proceed": "on"}, headers=HTMX))
    assert page.notices
    assert "so it is not known what can be refunded" in page.text
    assert page.root.one("button").text == "Try again"
    assert page.root.one("form")["hx-target"] == "#proceed-body"


def test_proceed_page_with_old_figures_reads_them_anew(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    address = f"/orders/{order.order_number}/refunds/"
    (body,) = as_rep.page(address).root.all("div", id="proceed-body")
    assert not body.get("hx-post")
    Order.objects.update(refreshed_at=desk.clock() - timedelta(minutes=5))
    page = as_rep.page(address)
    assert page.root.one("div", id="proceed-body")["hx-trigger"] == "load"
    assert page.link("Proceed")


# -- a search that finds nothing here --------------------------------------------------------------

LISTS = {"/orders/": "orders", "/refunds/new/": "select-order"}


@pytest.mark.parametrize("address", LISTS)
def test_search_for_a_whole_key_offers_to_look_in_salesforce(
    record: Record, as_rep: DeskClient, wire: SalesforceWire, address: str
) -> None:
    for key in ("OrderNumber", "Id", "digitalriverv3__DR_Order_Id__c"):
        page = as_rep.page(f"{address}?q={record[key]}")
        waiting = page.root.one("div", id="look-up")
        assert (waiting["hx-post"], waiting["hx-trigger"]) == (
            "/salesforce/orders/look-up/",
            "load",
        )
        values = page.values("Look in Salesforce")
        assert (values["search"], values["list"]) == (record[key], LISTS[address])
    assert wire.queries == []


@pytest.mark.parametrize("address", LISTS)
@pytest.mark.parametrize("search", ["müller", "anna@example.com", "12", "x' OR Id != '", ""])
def test_search_for_anything_else_does_not(
    wire: SalesforceWire, as_rep: DeskClient, address: str, search: str
) -> None:
    page = Page(as_rep.get(address, {"q": search}))
    assert not page.root.all("div", id="look-up")
    response = as_rep.post("/salesforce/orders/look-up/", {"search": search}, headers=HTMX)
    assert response.status_code == HTTPStatus.OK
    assert wire.queries == []


def test_viewer_and_desk_without_salesforce_are_not_offered_it(
    record: Record, as_viewer: DeskClient, as_rep: DeskClient, settings: Settings
) -> None:
    address = f"/orders/?q={record['OrderNumber']}"
    assert not as_viewer.page(address).root.all("div", id="look-up")
    response = as_viewer.post("/salesforce/orders/look-up/", {"search": record["OrderNumber"]})
    assert response.status_code == HTTPStatus.FORBIDDEN
    settings.SALESFORCE_TRANSPORT = settings.SALESFORCE_URL = settings.SALESFORCE_DOMAIN = ""
    page = as_rep.page(address)
    assert not page.root.all("div", id="look-up")
    assert "No order matches" in page.text


def test_order_found_in_salesforce_is_listed(record: Record, as_rep: DeskClient) -> None:
    values = {"search": record["OrderNumber"], "list": "orders"}
    page = Page(as_rep.post("/salesforce/orders/look-up/", values, headers=HTMX))
    assert page.rows == [record["OrderNumber"]]
    assert f"Order {record['OrderNumber']} was found in Salesforce" in page.text
    assert "not read yet" in page.text
    assert page.link(str(record["OrderNumber"])) == f"/orders/{record['OrderNumber']}/"
    assert as_rep.page(f"/orders/?q={record['OrderNumber']}").rows == [record["OrderNumber"]]


def test_order_found_for_the_wizard_leads_to_its_refunds(
    record: Record, as_rep: DeskClient
) -> None:
    values = {"search": record["Id"], "list": "select-order"}
    page = Page(as_rep.post("/salesforce/orders/look-up/", values, headers=HTMX))
    assert page.link(f"Go to the refunds of order {record['OrderNumber']}") == proceed(record)
    # It is here now, and offered although its money was never read.
    page = as_rep.page(f"/refunds/new/?q={record['OrderNumber']}")
    assert page.rows == [record["OrderNumber"]]


def test_order_that_is_here_and_cannot_be_refunded_costs_no_call(
    desk: Desk, wire: SalesforceWire, as_rep: DeskClient
) -> None:
    order = desk.order("cancelled")
    for said, read_at in (
        ("is here, but it cannot be refunded now.", order.refreshed_at),
        ("is here, but its money was not read from Digital River yet.", None),
    ):
        Order.objects.update(refreshed_at=read_at)
        page = as_rep.page(f"/refunds/new/?q={order.order_number}")
        assert page.rows == []
        assert said in page.text
        assert page.link("Go to its refunds") == f"/orders/{order.order_number}/refunds/"
        assert not page.root.one("div", id="look-up").get("hx-post")
    assert wire.queries == []


def test_order_found_without_javascript_is_opened(record: Record, as_rep: DeskClient) -> None:
    for address, target in (
        ("/orders/", f"/orders/{record['OrderNumber']}/"),
        ("/refunds/new/", proceed(record)),
    ):
        OrderLine.objects.all().delete()
        Order.objects.all().delete()
        page = as_rep.page(f"{address}?q={record['OrderNumber']}")
        values = page.values("Look in Salesforce")
        response = as_rep.post(page.form("Look in Salesforce")["action"], values)
        assert response.headers["Location"] == target


@pytest.mark.parametrize("address", LISTS)
def test_order_that_is_nowhere_is_told_so(record: Record, as_rep: DeskClient, address: str) -> None:
    values = {"search": "99999999", "list": LISTS[address]}
    page = Page(as_rep.post("/salesforce/orders/look-up/", values, headers=HTMX))
    said = "Salesforce has no order with the number or id 99999999 either."
    assert said in page.text
    assert not page.root.one("div", id="look-up").get("hx-post")
    response = as_rep.post("/salesforce/orders/look-up/", values)
    assert response.headers["Location"] == f"{address}?q=99999999&looked=on"
    page = as_rep.page(response.headers["Location"])
    assert said in page.text
    assert not page.root.one("div", id="look-up").get("hx-post")


def test_look_up_that_fails_can_be_tried_again(
    record: Record, as_rep: DeskClient, wire: SalesforceWire
) -> None:
    wire.refusal = (503, "SERVER_UNAVAILABLE", "down")
    values = {"search": record["OrderNumber"], "list": "orders"}
    page = Page(as_rep.post("/salesforce/orders/look-up/", values, headers=HTMX))
    assert "did not answer in time" in page.text
    button = page.root.one("button")
    assert button.text == "Look again"
    response = as_rep.post("/salesforce/orders/look-up/", values)
    (message,) = as_rep.page(response.headers["Location"]).messages
    assert "did not answer in time" in message
    wire.refusal = None
    page = Page(as_rep.post("/salesforce/orders/look-up/", values, headers=HTMX))
    assert page.rows == [record["OrderNumber"]]


def test_order_that_only_the_filters_leave_out_costs_no_call(
    as_rep: DeskClient, wire: SalesforceWire
) -> None:
    make_order(90000003, state="complete", ordered_at=DAY).save()
    page = as_rep.page("/orders/?q=90000003&state=fulfilled")
    assert page.rows == []
    assert "Order 90000003 is here, but the filters leave it out." in page.text
    assert page.link("90000003") == "/orders/90000003/"
    assert not page.root.one("div", id="look-up").get("hx-post")
    assert wire.queries == []


def test_search_with_markup_is_shown_as_text(wire: SalesforceWire, as_rep: DeskClient) -> None:
    search = "<script>12345</script>"
    response = as_rep.post("/salesforce/orders/look-up/", {"search": search}, headers=HTMX)
    assert search not in response.text
    assert escape(search) in response.text


def test_hammering_a_search_costs_two_calls(as_rep: DeskClient, wire: SalesforceWire) -> None:
    cache.clear()
    for _ in range(20):
        as_rep.post("/salesforce/orders/look-up/", {"search": "99999999"}, headers=HTMX)
    assert len(wire.queries) == 2


# -- what the order's page tells of Salesforce -----------------------------------------------------


def test_order_page_shows_what_salesforce_says(
    desk: Desk, as_rep: DeskClient, settings: Settings
) -> None:
    order = desk.order("worked_sample")
    Order.objects.update(
        fraud_state="review_opened",
        payment_status="Declined",
        payment_failure_reason="The card has expired.",
        customer_type="business",
        selling_entity="DR globalTech, Inc.",
    )
    settings.SALESFORCE_ADDRESS = "https://acme.lightning.force.com"
    page = as_rep.page(order.get_absolute_url())
    facts = page.main.one("section").text
    for told in (
        "Fraud state Review opened",
        "Payment status Declined",
        "The card has expired.",
        "Customer type Business",
        "Selling entity DR globalTech, Inc.",
    ):
        assert told in facts
    address = f"https://acme.lightning.force.com/lightning/r/Order/{order.salesforce_id}/view"
    assert page.has_link(address)
    assert "Deleted in Salesforce" not in page.text


def test_order_page_leaves_out_what_salesforce_does_not_say(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    Order.objects.update(
        fraud_state="", payment_status="", payment_failure_reason="", customer_type=""
    )
    Order.objects.update(selling_entity="")
    page = as_rep.page(order.get_absolute_url())
    for word in ("Fraud state", "Payment status", "Customer type", "Selling entity"):
        assert word not in page.text
    assert "lightning" not in page.text
    assert order.salesforce_id in page.text


@pytest.mark.parametrize("path", ["", "refunds/"])
def test_order_deleted_in_salesforce_says_so_and_links_nowhere(
    desk: Desk, as_rep: DeskClient, settings: Settings, path: str
) -> None:
    settings.SALESFORCE_ADDRESS = "https://acme.lightning.force.com"
    order = desk.order("worked_sample")
    Order.objects.update(salesforce_deleted_at=desk.clock() - timedelta(days=2))
    page = as_rep.page(f"{order.get_absolute_url()}{path}")
    (notice,) = page.notices
    assert notice.startswith("Deleted in Salesforce 2 days ago")
    assert "its money is still read from Digital River" in notice
    assert not page.has_link(gateways.salesforce_order_address(order.salesforce_id))
