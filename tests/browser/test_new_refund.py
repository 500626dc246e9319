"""The wizard: select an order, the live total, errors, a stale review, drafts."""

import re
from decimal import Decimal
from http import HTTPStatus

import pytest
from playwright.sync_api import BrowserContext, Route, expect

from refunds.models import Refund
from refunds.options import Option, Selection
from tests.browser.conftest import SignIn, Watch
from tests.browser.screens import Screens
from tests.desk import Desk, person, rep

RIBBON = "Wax ribbon 110 mm x 300 m"


def test_new_refund_from_the_navigation_searches_and_selects_an_order(
    screens: Screens, desk: Desk
) -> None:
    wanted = desk.order("worked_sample")
    desk.order("eur")
    closed = desk.order("in_review")
    screens.go("/orders/")
    screens.page.get_by_role("link", name="New refund").click()
    screens.expect_heading("Select order")
    expect(screens.page.locator(".steps [aria-current=step]")).to_have_text("Select order")
    rows = screens.page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(screens.page.get_by_text(closed.order_number)).to_have_count(0)

    search = screens.page.get_by_role("searchbox", name="Search orders that can be refunded now")
    search.fill("billie-JEAN")
    search.press("Enter")
    expect(rows).to_have_count(1)
    screens.page.get_by_role("button", name=f"Select order {wanted.order_number}").click()
    screens.expect_heading("Choose option")
    expect(screens.page.locator(".steps [aria-current=step]")).to_have_text("Choose option")
    expect(screens.page.get_by_label("Summary")).to_contain_text(wanted.order_number)

    screens.go("/refunds/new/?q=no-such-buyer")
    expect(screens.page.get_by_text("No order that can be refunded matches")).to_be_visible()


@pytest.mark.parametrize(
    ("case", "typed", "total", "left"),
    [
        ("worked_sample", "7.50", "USD 7.50", "USD 19.51"),
        ("jpy", "1,205", "JPY 1,205", "JPY 141,200"),
        ("kwd", "8.330", "KWD 8.330", "KWD 480.000"),
    ],
)
def test_live_total_follows_what_is_typed(
    screens: Screens, desk: Desk, case: str, typed: str, total: str, left: str
) -> None:
    screens.start(desk.order(case))
    address = screens.page.url
    screens.page.evaluate("window.stayed = true")
    screens.choose("Complete Order", amount=typed)
    screens.expect_total(total)
    expect(screens.page.locator("#draft-total tr", has_text="Left afterwards")).to_contain_text(
        left
    )
    assert screens.page.evaluate("window.stayed") is True
    assert screens.page.url == address


def test_live_total_follows_the_quantity_and_keeps_a_typed_amount(
    screens: Screens, desk: Desk
) -> None:
    screens.start(desk.order("kwd"))
    switch, cable = "24-port managed switch, PoE+", "Fibre patch cable OM4, 15 m"
    screens.choose("Line Items")
    screens.choose_units(switch, 2)
    expect(screens.amount_of(switch)).to_have_value("239.236")
    screens.expect_total("KWD 239.236")
    screens.choose_units(cable, 11)
    screens.expect_total("KWD 340.040")
    screens.amount_of(switch).fill("100.5")
    screens.expect_total("KWD 201.304")
    screens.page.get_by_label(f"Quantity of {cable}").fill("12")
    expect(screens.page.locator("#draft-total")).to_contain_text("at most 11 can still be refunded")
    expect(screens.amount_of(switch)).to_have_value("100.5")


def test_amount_typed_while_the_total_is_on_its_way_is_kept(screens: Screens, desk: Desk) -> None:
    screens.start(desk.order("worked_sample"))
    screens.choose("Line Items")
    page = screens.page
    waiting: list[Route] = []
    # Playwright writes on the handler, which a method of a list does not bear.
    page.route("**/total/", lambda route: waiting.append(route), times=1)  # noqa: PLW0108
    with page.expect_request("**/total/"):
        page.get_by_label(f"Quantity of {RIBBON}").fill("1")
    screens.amount_of(RIBBON).fill("4.50")
    with page.expect_response("**/total/"):
        waiting[0].continue_()
    screens.expect_total("USD 4.50")
    expect(screens.amount_of(RIBBON)).to_have_value("4.50")


def test_review_shows_component_by_component_what_it_gives_back(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep("rep2"), Selection(Option.SHIPPING, Decimal("1.00")))
    screens.start(order)
    screens.choose("Shipping", amount="2.70")
    screens.review()
    rows = screens.page.locator("table[aria-labelledby=parts] :is(tbody, tfoot) tr")
    expect(rows).to_have_text(
        [
            re.compile(r"Product\s+20.00\s+–\s+20.00"),
            re.compile(r"Tax\s+1.61\s+–\s+1.61"),
            re.compile(r"Shipping\s+4.07\s+2.50\s+1.57"),
            re.compile(r"Shipping tax\s+0.33\s+0.20\s+0.13"),
            re.compile(r"Total to the customer\s+26.01\s+2.70\s+23.31"),
        ]
    )
    expect(screens.page.get_by_text("USD 0.20 of it is tax.")).to_be_visible()
    expect(screens.page.get_by_text("This may be a duplicate")).to_contain_text("Rep2 Tester")
    expect(
        screens.page.get_by_role("heading", name="Earlier refunds of this order")
    ).to_be_visible()


def test_yen_has_no_decimals_from_the_form_to_the_refund(screens: Screens, desk: Desk) -> None:
    order = desk.order("jpy")
    screens.start(order)
    expect(screens.page.get_by_label("Complete Order: Refund amount")).to_have_value("142405")
    screens.choose("Shipping", amount="1000")
    screens.refund("JPY 1,000")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)["Whole order"] == ("142,405", "1,000", "0", "141,405")


def test_errors_move_the_focus_and_lead_to_their_fields(
    screens: Screens, desk: Desk, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    screens.start(desk.order("worked_sample"))
    send = screens.page.get_by_role("button", name="Review and Submit")

    send.click()
    screens.expect_focus_on_errors("Choose a reason.")
    screens.expect_focus_on_errors("Choose a refund option.")
    assert screens.page.title().startswith("Error: ")
    screens.page.get_by_role("link", name="Choose a reason.").click()
    expect(screens.page.get_by_role("combobox", name="Reason", exact=True)).to_be_focused()
    screens.page.get_by_role("link", name="Choose a refund option.").click()
    expect(screens.page.locator("#id_option")).to_be_focused()

    screens.choose("Complete Order", amount="99", reason="Other")
    send.click()
    screens.expect_focus_on_errors("At most USD 27.01 can be refunded here.")
    screens.expect_focus_on_errors("Write the reason for “Other”.")
    amount = screens.page.get_by_label("Complete Order: Refund amount")
    expect(amount).to_have_value("99")
    screens.page.get_by_role("link", name="At most USD 27.01").click()
    expect(amount).to_be_focused()
    expect(amount).to_have_attribute("aria-invalid", "true")

    screens.page.get_by_label("Reason in your own words").fill("Bought by mistake")
    screens.choose("Line Items", reason="Other")
    send.click()
    screens.expect_focus_on_errors("Choose how many units to refund of at least one line.")
    screens.choose_units(RIBBON, 1)
    screens.amount_of(RIBBON).fill("10,811")
    send.click()
    screens.page.get_by_role("link", name="can be read in two ways").click()
    expect(screens.amount_of(RIBBON)).to_be_focused()


def test_stale_review_shows_old_beside_new_and_sends_nothing(
    screens: Screens, desk: Desk, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.CONFLICT)
    order = desk.order("worked_sample")
    screens.start(order)
    screens.choose("Complete Order", amount="10.00")
    screens.review()
    other = desk.submit(order, rep("rep2"), Selection(Option.SHIPPING, Decimal("5.40")))

    screens.page.get_by_role("button", name="Submit refund of USD 10.00").click()
    screens.expect_focus_on_errors(other.reference)
    changes = screens.page.locator("table.changes")
    expect(changes.get_by_role("columnheader")).to_have_text(["Figure", "You saw", "It is now"])
    left = changes.get_by_role("row", name="Left to refund before")
    expect(left.locator("td")).to_have_text(["USD 27.01", "USD 21.61"])
    assert not Refund.objects.exclude(pk=other.pk).exclude(submitted_at=None).exists()

    screens.submit("USD 10.00")
    assert screens.ledger(order)["Whole order"] == ("27.01", "0.00", "15.40", "11.61")


def test_option_closed_since_the_review_leads_back_to_the_choice(
    screens: Screens, desk: Desk, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.CONFLICT)
    order = desk.order("worked_sample")
    screens.start(order)
    screens.choose("Shipping")
    screens.review()
    desk.submit(order, rep("rep2"), Selection(Option.SHIPPING, Decimal("5.40")))
    screens.page.get_by_role("button", name="Submit refund of USD 5.40").click()
    screens.expect_focus_on_errors("was refunded already, or is on its way")
    screens.page.get_by_role("link", name="Choose again").click()
    expect(screens.option("Shipping")).to_be_disabled()


def test_two_tabs_with_two_drafts_never_mix(
    screens: Screens, desk: Desk, context: BrowserContext
) -> None:
    first_order, second_order = desk.order("worked_sample"), desk.order("eur")
    second = Screens(context.new_page(), screens.address, screens.sandbox)
    screens.start(first_order)
    second.start(second_order)
    screens.choose("Complete Order", amount="3.00")
    second.choose("Complete Order", amount="4.00")
    screens.review()
    second.review()
    screens.submit("USD 3.00")
    second.submit("EUR 4.00")
    assert screens.ledger(first_order)["Whole order"][2] == "3.00"
    assert second.ledger(second_order)["Whole order"][2] == "4.00"


def test_draft_is_resumed_discarded_and_then_closed(
    screens: Screens, desk: Desk, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.GONE)
    screens.start(desk.order("worked_sample"))
    address, reference = screens.page.url, screens.reference
    screens.choose("Complete Order", amount="3.00")
    screens.review()
    screens.go("/refunds/")
    expect(screens.page.get_by_role("heading", name="Your drafts")).to_be_visible()
    screens.page.get_by_role("link", name=reference).click()
    expect(screens.option("Complete Order")).to_be_checked()
    expect(screens.page.get_by_label("Complete Order: Refund amount")).to_have_value("3.00")
    screens.page.get_by_role("button", name="Discard draft").click()
    expect(screens.page.get_by_role("status").first).to_contain_text(f"{reference} is discarded")
    screens.page.goto(address)
    screens.expect_heading("This draft is closed")


def test_viewer_sees_no_actions_and_is_told_whom_to_ask(
    screens: Screens, desk: Desk, sign_in: SignIn, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.FORBIDDEN)
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.40")))
    sign_in(person("viewer"))
    screens.go(order.get_absolute_url())
    screens.expect_heading(f"Order {order.order_number}")
    expect(screens.page.get_by_text("Actions", exact=True)).to_have_count(0)
    expect(screens.page.get_by_role("button", name="Create refund")).to_have_count(0)
    expect(screens.page.get_by_role("link", name="New refund")).to_have_count(0)
    screens.go(refund.get_absolute_url())
    screens.expect_state("Pending")
    expect(screens.page.get_by_role("button", name="Check now")).to_have_count(0)
    screens.go(f"{order.get_absolute_url()}refunds/")
    screens.expect_heading("You cannot open this page")
    expect(screens.page.get_by_text("DigitalRiver Connector – Refunds")).to_be_visible()
