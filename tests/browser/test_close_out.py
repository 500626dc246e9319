"""Closing out an order in the browser: shown first, begun once, followed to nothing left."""

from http import HTTPStatus

import pytest
from playwright.sync_api import Page, expect

from refunds.models import CloseOut, Order
from sandbox.faults import Fault, FaultKind
from tests.browser.conftest import PHONE, Axe, Watch
from tests.browser.screens import Screens
from tests.desk import Desk


def lose_answer(desk: Desk, kind: FaultKind) -> None:
    """Let the next refund that is posted go wrong."""
    desk.sandbox.queue_fault(Fault(kind=kind, method="POST", path="/refunds"))


def open_plan(screens: Screens, order: Order) -> None:
    """Go from the order's page to the plan."""
    screens.go(order.get_absolute_url())
    screens.page.get_by_role("link", name="Close out", exact=True).click()
    screens.expect_heading(f"Close out order {order.order_number}")


def begin(screens: Screens, total: str) -> None:
    """Choose a reason and press the button that names this total."""
    reason = screens.page.get_by_role("combobox", name="Reason", exact=True)
    reason.select_option(label="Requested by customer")
    screens.page.get_by_role("button", name=f"Close out for {total}", exact=True).click()
    screens.page.wait_for_url("**/close-out/*/")


def expect_standing(page: Page, label: str) -> None:
    """Wait until the page shows where the close-out stands by this word."""
    expect(page.locator("#close-out-body .confirm-line .state")).to_have_text(label)


@pytest.mark.parametrize("width", [1280, PHONE["width"]])
def test_order_is_closed_out_to_nothing_left(
    screens: Screens, desk: Desk, axe: Axe, width: int
) -> None:
    page = screens.page
    page.set_viewport_size({"width": width, "height": 900})
    order = desk.order("fees")
    open_plan(screens, order)
    sent = page.locator("table[aria-labelledby=sent]")
    expect(sent.locator("tbody tr").first).to_contain_text("regulatory fees included")
    expect(sent.locator("tfoot .money")).to_have_text("2,199.06")
    left = page.locator("table[aria-labelledby=parts] tfoot td").last
    expect(left).to_have_text("0.00")
    axe(page)
    assert screens.fits()
    begin(screens, "EUR 2,199.06")
    expect_standing(page, "Nothing left")
    expect(page.get_by_text("EUR 2,199.06 is on its way.")).to_be_visible()
    axe(page)
    assert screens.fits()
    assert screens.ledger(order)["Whole order"][3] == "0.00"
    expect(page.get_by_role("link", name="Close out", exact=True)).to_have_count(0)
    axe(page)
    # The refund names what it is part of.
    screens.go(order.refunds.get().get_absolute_url())
    screens.settle()
    screens.expect_state("Succeeded")
    axe(page)
    page.get_by_role("link", name="Closing out the order").click()
    expect(page.get_by_text("EUR 2,199.06 was given back.")).to_be_visible()


def test_close_out_without_a_reason_says_so_and_keeps_what_was_typed(
    screens: Screens, desk: Desk, axe: Axe, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    open_plan(screens, desk.order("worked_sample"))
    page = screens.page
    page.get_by_label("Internal note").fill("They moved away.")
    page.get_by_role("button", name="Close out for USD 27.01").click()
    screens.expect_focus_on_errors("Choose a reason.")
    expect(page.get_by_label("Internal note")).to_have_value("They moved away.")
    axe(page)
    begin(screens, "USD 27.01")
    expect_standing(page, "Nothing left")


def test_lost_answer_is_followed_up_by_check_now(screens: Screens, desk: Desk, axe: Axe) -> None:
    order = desk.order("worked_sample")
    lose_answer(desk, FaultKind.LOST_AFTER)
    open_plan(screens, order)
    begin(screens, "USD 27.01")
    page = screens.page
    expect_standing(page, "Being closed out")
    expect(page.get_by_text("do not refund again")).to_be_visible()
    axe(page)
    with page.expect_response("**/check/"):
        page.get_by_role("button", name="Check now").press("Enter")
    expect_standing(page, "Nothing left")
    # What is new is read out, and the focus stays on the page.
    expect(page.locator("#news")).to_contain_text("Nothing left")
    expect(page.locator("#main")).to_be_focused()
    axe(page)
    assert desk.refresh(order).refunds.count() == 1


def test_button_pressed_twice_closes_out_once(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    open_plan(screens, order)
    screens.page.get_by_role("combobox", name="Reason", exact=True).select_option(
        label="Requested by customer"
    )
    screens.page.evaluate(
        """() => {
            const button = document.querySelector(".submit-form .btn-primary");
            button.click();
            button.click();
        }"""
    )
    screens.page.wait_for_url("**/close-out/*/")
    assert CloseOut.objects.count() == 1
    assert desk.refresh(order).refunds.count() == 1


def test_refusal_says_why_and_what_to_do(screens: Screens, desk: Desk, axe: Axe) -> None:
    order = desk.order("refused_on_creation")
    open_plan(screens, order)
    total = screens.page.get_by_role("button", name="Close out for").inner_text()
    begin(screens, total.removeprefix("Close out for "))
    expect_standing(screens.page, "Stopped")
    expect(screens.page.get_by_text("The refund could not be created.")).to_be_visible()
    axe(screens.page)
    screens.go(order.get_absolute_url())
    expect(screens.page.get_by_role("link", name="See why, and what to do")).to_be_visible()
    axe(screens.page)


def test_order_that_cannot_be_closed_out_says_why(screens: Screens, desk: Desk, axe: Axe) -> None:
    order = desk.order("dispute")
    screens.go(f"{order.get_absolute_url()}close-out/")
    expect(screens.page.get_by_text("This order cannot be closed out now.")).to_be_visible()
    axe(screens.page)


def test_refund_is_held_while_digital_river_is_away(
    screens: Screens, desk: Desk, axe: Axe, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.SERVICE_UNAVAILABLE)
    page = screens.page
    screens.start(desk.order("worked_sample"))
    screens.choose("Shipping")
    desk.sandbox.queue_fault(Fault(kind=FaultKind.CONNECTION_REFUSED, method="GET", times=1000))
    screens.review()
    expect(page.get_by_text("no money is reserved")).to_be_visible()
    axe(page)
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    assert screens.fits()
    page.get_by_role("button", name="Submit refund of USD 5.40").click()
    screens.expect_focus_on_errors("Nothing was sent")
    axe(page)
    page.get_by_role("button", name="Hold it and send when Digital River answers").click()
    page.wait_for_url("**/confirm/")
    screens.expect_state("Waiting to be sent")
    expect(page.get_by_text("it can still be called off")).to_be_visible()
    axe(page)
    assert screens.fits()
    page.get_by_role("button", name="Call off this refund").click()
    screens.expect_state("Cancelled")
