"""A refund after it was sent: settled, lost, failed, refused, waiting for the customer."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from refunds.models import RefundAttempt
from refunds.options import Option, Selection
from sandbox.faults import Fault, FaultKind
from tests.browser.conftest import SignIn
from tests.browser.screens import Screens
from tests.desk import Desk, rep

HALF = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))


def lose_answer(desk: Desk, kind: FaultKind) -> None:
    desk.sandbox.queue_fault(Fault(kind=kind, method="POST", path="/refunds"))


def test_confirm_says_requested_what_happens_next_and_what_to_tell_the_customer(
    screens: Screens, desk: Desk, context: BrowserContext
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    order = desk.order("worked_sample")
    screens.start(order)
    screens.choose("Complete Order", amount="10.00")
    screens.review()
    screens.submit("USD 10.00")

    page = screens.page
    screens.expect_heading(f"Refund {screens.reference}")
    expect(page.locator(".steps [aria-current=step]")).to_have_text("Confirm")
    expect(page.get_by_text("the money has not moved yet")).to_be_visible()
    expect(page.get_by_text("usually within 24 hours. This page")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("We have requested a refund of USD 10.00 for your order")
    assert screens.reference in copied

    page.go_back()
    page.wait_for_url("**/confirm/")
    expect(page.get_by_role("button", name=re.compile("Submit"))).to_have_count(0)


def test_submit_pressed_twice_says_it_is_sending_and_sends_once(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")
    screens.start(order)
    screens.choose("Complete Order", amount="10.00")
    screens.review()
    said, width_before, width_after = screens.page.evaluate(
        """() => {
            const button = document.querySelector(".submit-form .btn-primary");
            const width = button.offsetWidth;
            button.click();
            button.click();
            return [button.textContent, width, button.offsetWidth];
        }"""
    )
    assert said == "Sending…"
    # A shorter button would put the link beside it under the second click.
    assert width_after == width_before
    screens.page.wait_for_url("**/confirm/")
    # A second one at Digital River would be found and recorded now.
    assert desk.refresh(order).refunds.count() == 1


def test_pages_look_by_themselves_until_the_refund_is_settled(
    page: Page, live_server: LiveServer, desk: Desk, sign_in: SignIn
) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), HALF)
    desk.sandbox.settle_now()
    sign_in(rep())
    page.goto(f"{live_server.url}{refund.get_absolute_url()}")
    expect(page.locator(".confirm-line .state")).to_have_text("Pending")
    expect(page.locator(".confirm-line .state")).to_have_text("Succeeded")
    expect(page.get_by_role("button", name="Check now")).to_have_count(0)


def test_refund_page_tells_all_of_it(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), HALF)
    screens.go(refund.get_absolute_url())
    screens.check_now()
    screens.expect_state("Pending")
    screens.settle()
    screens.expect_state("Succeeded")
    history = screens.page.locator(".history")
    expect(history).to_contain_text("Submitted for USD 10.00.")
    expect(history).to_contain_text("(Draft → Being sent)")
    expect(history).to_contain_text("(Pending → Succeeded)")
    expect(history).to_contain_text("Rep Tester · Digital River request")
    refund.refresh_from_db()
    expect(screens.page.get_by_text(refund.digital_river_id, exact=True)).to_be_visible()
    dashboard = screens.page.get_by_role("link", name="Order in Digital River’s Dashboard")
    expect(dashboard).to_have_attribute("href", re.compile(f"id={order.digital_river_id}$"))
    moment = screens.page.locator("dt:text-is('Made') + dd time")
    expect(moment).to_have_text(re.compile("now|second"))
    expect(moment).to_have_attribute("title", re.compile(r"\d{4}, \d\d:\d\d:\d\d UTC"))


def test_moments_grow_older_while_the_page_stays_open(screens: Screens, desk: Desk) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), HALF)
    screens.page.clock.install(time=datetime.now(UTC))
    screens.go(refund.get_absolute_url())
    moment = screens.page.locator("dt:text-is('Made') + dd time")
    screens.page.clock.run_for("03:01")
    expect(moment).to_have_text(re.compile(r"^3 minutes ago$"))


def test_answer_lost_after_the_refund_was_made_is_found_again(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    lose_answer(desk, FaultKind.LOST_AFTER)
    screens.start(order)
    screens.choose("Complete Order", amount="10.00")
    screens.refund("USD 10.00")
    screens.expect_state("Outcome unknown")
    expect(
        screens.page.get_by_text("We do not know yet whether Digital River took")
    ).to_be_visible()
    assert screens.ledger(order)["Whole order"] == ("27.01", "0.00", "10.00", "17.01")
    screens.go(order.refunds.get().get_absolute_url())
    screens.check_now()
    screens.expect_state("Pending")
    screens.settle()
    screens.expect_state("Succeeded")


def test_answer_lost_before_the_refund_was_made_takes_two_looks(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")
    lose_answer(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), HALF)
    screens.go(refund.get_absolute_url())
    screens.check_now()
    screens.expect_state("Outcome unknown")
    expect(screens.page.get_by_text("Looking once more to be certain")).to_be_visible()
    screens.check_now()
    screens.expect_state("Outcome unknown")
    RefundAttempt.objects.update(missing_since=datetime.now(UTC) - timedelta(seconds=61))
    screens.check_now()
    screens.expect_state("Not sent")
    screens.page.get_by_role("button", name="Send refund of USD 10.00 again").click()
    screens.expect_state("Pending")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)["Whole order"] == ("27.01", "10.00", "0.00", "17.01")


def test_digital_river_away_is_said_and_the_page_still_reads(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), HALF)
    desk.sandbox.queue_fault(Fault(kind=FaultKind.CONNECTION_REFUSED, times=1000))
    screens.go(refund.get_absolute_url())
    screens.check_now()
    expect(screens.page.get_by_role("alert")).to_contain_text("Digital River")
    screens.expect_state("Pending")
    screens.go(order.get_absolute_url())
    screens.page.get_by_role("button", name="Refresh").click()
    expect(screens.page.get_by_role("alert")).to_contain_text("Digital River")
    expect(screens.page.get_by_role("heading", name="Line items")).to_be_visible()


def test_failing_card_says_why_and_is_sent_again(screens: Screens, desk: Desk) -> None:
    order = desk.order("failing_card")
    screens.start(order)
    screens.choose("Shipping")
    screens.refund("USD 16.44")
    screens.settle()
    screens.expect_state("Failed")
    expect(screens.page.get_by_text("card has expired or was cancelled")).to_be_visible()
    assert screens.ledger(order)["Whole order"] == ("329.63", "0.00", "0.00", "329.63")
    screens.go(order.refunds.get().get_absolute_url())
    screens.page.get_by_role("button", name="Send refund of USD 16.44 again").click()
    expect(screens.page.get_by_role("status").first).to_contain_text(
        "was tried again. It is now pending"
    )
    screens.expect_state("Pending")
    expect(screens.page.locator("#attempts + .table-frame tbody tr")).to_have_count(2)
    screens.settle()
    screens.expect_state("Failed")


def test_bank_details_needed_says_by_when_then_succeeds(screens: Screens, desk: Desk) -> None:
    order = desk.order("wire_transfer")
    screens.start(order)
    screens.choose("Shipping")
    screens.refund("EUR 16.31")
    screens.settle()
    screens.expect_state("Needs bank details")
    expect(screens.page.get_by_text("Next: the customer gives bank details by")).to_be_visible()
    expect(screens.page.locator("#customer-text")).to_contain_text("we need your bank details")
    expect(screens.page.locator("dt:text-is('Bank details by') + dd")).to_contain_text("UTC")
    assert screens.ledger(order)["Whole order"][2] == "16.31"
    refund = order.refunds.get()
    desk.sandbox.provide_bank_details(refund.digital_river_id)
    screens.go(refund.get_absolute_url())
    screens.settle()
    screens.expect_state("Succeeded")


def test_busy_digital_river_queues_the_refund_and_it_can_be_called_off(
    screens: Screens, desk: Desk
) -> None:
    desk.sandbox.queue_fault(
        Fault(kind=FaultKind.RATE_LIMITED, method="POST", path="/refunds", retry_after=120)
    )
    refund = desk.submit(desk.order("worked_sample"), rep(), HALF)
    screens.go(refund.get_absolute_url())
    screens.expect_state("Waiting to be sent")
    screens.page.get_by_role("button", name="Call off this refund").click()
    screens.expect_state("Cancelled")
    expect(screens.page.get_by_role("status").first).to_contain_text("No money has moved")


def test_refunds_list_finds_by_reference_order_and_state(screens: Screens, desk: Desk) -> None:
    first = desk.submit(desk.order("worked_sample"), rep(), HALF)
    second = desk.submit(
        desk.order("refused_on_creation"), rep("rep2"), Selection(Option.SHIPPING, Decimal("1.00"))
    )
    screens.go("/refunds/")
    rows = screens.page.locator("tbody tr")
    expect(rows).to_have_count(2)
    search = screens.page.get_by_role("searchbox", name="Search", exact=True)
    search.fill(first.reference.lower()[:6])
    search.press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(first.reference)
    screens.page.get_by_role("link", name="Clear").click()
    screens.page.get_by_role("combobox", name="State").select_option(label="Refused")
    screens.page.get_by_role("button", name="Show refunds").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Rep2 Tester")
    # The whole row leads to the refund.
    rows.click()
    screens.expect_heading(f"Refund {second.reference}")
