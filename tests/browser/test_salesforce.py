"""From Salesforce to the desk in the browser: the Refunds action, and looking an order up."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from playwright.sync_api import Page, expect

from refunds.models import Order
from sandbox.shop import SHOWCASE
from tests.browser.conftest import Axe, Watch
from tests.browser.screens import Screens
from tests.browser.test_keyboard import tab_to
from tests.desk import Desk

UNKNOWN = "/salesforce/orders/8015g0000099999AAA/refunds/"
NUMBER = SHOWCASE["worked_sample"]


@pytest.fixture
def browser_context_args(
    browser_context_args: dict[str, object], request: pytest.FixtureRequest
) -> dict[str, object]:
    """Open a browser that runs no script where a test says so."""
    runs = "without_javascript" not in request.node.name
    return {**browser_context_args, "java_script_enabled": runs}


@pytest.fixture
def action(desk: Desk) -> str:
    """Return where the Refunds action of an order leads that is not here yet."""
    found = desk.sandbox.salesforce_record(NUMBER)
    return f"/salesforce/orders/{found['Id'][:15]}/refunds/"


@pytest.fixture
def held(screens: Screens) -> Iterator[Page]:
    """Return the page, whose look in Salesforce gets no answer."""
    page = screens.page
    for address in ("**/refunds/fetch/", "**/orders/look-up/"):
        page.route(address, lambda route: None)
    yield page
    page.unroute_all(behavior="ignoreErrors")


# -- the Refunds action ----------------------------------------------------------------------------


def test_action_fetches_the_order_and_leads_to_its_refunds(screens: Screens, action: str) -> None:
    screens.go(action)
    screens.page.wait_for_url(f"**/orders/{NUMBER}/refunds/")
    screens.expect_heading(f"Refunds of order {NUMBER}")
    # Its money is read from Digital River by the page itself.
    expect(screens.page.locator("#proceed-body")).to_contain_text("Up to USD 27.01")
    screens.page.get_by_role("link", name="Proceed").click()
    screens.create_refund()
    assert Order.objects.get().order_number == NUMBER


def test_action_says_what_it_does_meanwhile(held: Page, screens: Screens, action: str) -> None:
    screens.go(action)
    expect(held.get_by_text("Fetching the order from Salesforce…")).to_be_visible()
    expect(held.get_by_role("button", name="Fetch the order")).to_be_hidden()
    assert screens.fits()


def test_action_of_an_order_that_is_not_there_can_be_tried_again(screens: Screens) -> None:
    page = screens.page
    screens.go(UNKNOWN)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Salesforce shows the desk no order with the id")
    tab_to(page, "Try again")
    with page.expect_response("**/refunds/fetch/"):
        page.keyboard.press("Enter")
    expect(alert).to_contain_text("Salesforce shows the desk no order with the id")
    # The pressed button is gone with what it stood in; the focus stays in the page.
    expect(page.locator("main")).to_be_focused()


def test_action_without_javascript(screens: Screens, action: str) -> None:
    page = screens.page
    screens.go(action)
    expect(page.get_by_text("Fetching the order from Salesforce…")).to_be_hidden()
    page.get_by_role("button", name="Fetch the order from Salesforce").click()
    screens.expect_heading(f"Refunds of order {NUMBER}")
    page.get_by_role("button", name="Read from Digital River").click()
    expect(page.locator("#proceed-body")).to_contain_text("Up to USD 27.01")
    page.get_by_role("link", name="Proceed").click()
    screens.create_refund()


# -- a search that finds nothing here --------------------------------------------------------------


def test_search_finds_an_order_in_salesforce(screens: Screens, action: str) -> None:
    page = screens.page
    screens.go("/orders/")
    page.get_by_label("Search orders").fill(NUMBER)
    page.keyboard.press("Enter")
    expect(page.locator("#look-up")).to_contain_text("was found in Salesforce")
    expect(page.locator("#news")).to_contain_text(f"Order {NUMBER} was found in Salesforce")
    page.get_by_role("link", name=NUMBER, exact=True).click()
    screens.expect_heading(f"Order {NUMBER}")
    expect(page.locator("table[aria-labelledby=left]")).to_contain_text("27.01")


def test_search_says_what_it_does_meanwhile(held: Page, screens: Screens) -> None:
    screens.go("/orders/?q=99999999")
    expect(held.get_by_text("Looking for 99999999 in Salesforce…")).to_be_visible()
    expect(held.get_by_role("button", name="Look in Salesforce")).to_be_hidden()


def test_new_refund_of_an_order_that_is_only_in_salesforce(screens: Screens, action: str) -> None:
    page = screens.page
    screens.go(f"/refunds/new/?q={NUMBER}")
    page.get_by_role("link", name=f"Go to the refunds of order {NUMBER}").click()
    page.get_by_role("link", name="Proceed").click()
    screens.create_refund()


def test_search_without_javascript(screens: Screens, action: str) -> None:
    page = screens.page
    screens.go("/orders/?q=99999999")
    page.get_by_role("button", name="Look in Salesforce").click()
    expect(page.locator("#look-up")).to_contain_text("Salesforce has no order with the number")
    expect(page.get_by_role("button", name="Look in Salesforce")).to_have_count(0)
    screens.go(f"/refunds/new/?q={NUMBER}")
    page.get_by_role("button", name="Look in Salesforce").click()
    screens.expect_heading(f"Refunds of order {NUMBER}")


# -- axe, and the width of a phone -----------------------------------------------------------------


def test_waiting_pages_have_no_faults(
    held: Page, phone: Page, screens: Screens, action: str, axe: Axe
) -> None:
    for path in (action, "/orders/?q=99999999", "/refunds/new/?q=99999999"):
        screens.go(path)
        expect(held.locator(".htmx-request")).to_have_count(1)
        axe(held)
        assert screens.fits(), path


def test_answers_have_no_faults(
    phone: Page, screens: Screens, desk: Desk, action: str, axe: Axe, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.NOT_FOUND)
    desk.order("cancelled")
    for path, said in (
        (UNKNOWN, "Salesforce shows the desk no order"),
        ("/orders/?q=99999999", "either."),
        (f"/refunds/new/?q={NUMBER}", "was found in Salesforce"),
        (f"/refunds/new/?q={SHOWCASE['cancelled']}", "it cannot be refunded now"),
        (action, "You are about to go to the refunds"),
        ("/salesforce/orders/123/refunds/", "begins with 801"),
    ):
        screens.go(path)
        expect(phone.locator("main")).to_contain_text(said)
        axe(phone)
        assert screens.fits(), path
