"""The main job with the keyboard alone; where the focus is can always be seen."""

from decimal import Decimal

from playwright.sync_api import Page, expect

from refunds.options import Option, Selection
from tests.browser.screens import Screens
from tests.desk import Desk, rep

#: How many times Tab is pressed before a thing counts as out of reach.
ENOUGH = 60

#: Whether the focused element, or what it draws, stands out: by an outline.
FOCUS_SHOWS = """() => {
    const seen = (element, pseudo) => {
        const style = getComputedStyle(element, pseudo);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    };
    const focused = document.activeElement;
    return seen(focused) || seen(focused, "::after");
}"""

FOCUS_NAME = """() => {
    const focused = document.activeElement;
    const label = focused.labels?.length ? focused.labels[0].innerText : "";
    return (label || focused.innerText || focused.placeholder || focused.name || "").trim();
}"""


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the focus is on what is called so; every stop on the way must show it."""
    page.wait_for_load_state()
    for _ in range(ENOUGH):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS_SHOWS), f"the focus cannot be seen: {page.evaluate(FOCUS_NAME)}"
        if page.evaluate(FOCUS_NAME).startswith(name):
            return
    raise AssertionError(f"Tab never reached {name}")


def test_refund_by_keyboard_alone(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    page = screens.page
    screens.go("/orders/")
    tab_to(page, "Search")
    page.keyboard.type("billie")
    page.keyboard.press("Enter")
    page.wait_for_url("**/orders/?q=billie**")
    tab_to(page, order.order_number)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{order.get_absolute_url()}")
    tab_to(page, "Actions")
    page.keyboard.press("Space")
    tab_to(page, "Refunds")
    page.keyboard.press("Enter")
    screens.expect_heading(f"Refunds of order {order.order_number}")
    tab_to(page, "Proceed")
    page.keyboard.press("Enter")
    page.wait_for_url("**/#refunds")
    tab_to(page, "Create refund")
    page.keyboard.press("Enter")
    screens.expect_heading("Choose option")

    tab_to(page, "Reason")
    page.keyboard.type("Requested by")
    tab_to(page, "Complete Order")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    expect(screens.option("Line Items")).to_be_focused()
    expect(screens.option("Line Items")).to_be_checked()
    tab_to(page, "Quantity of Wax ribbon")
    page.keyboard.press("ArrowUp")
    screens.expect_total("USD 10.81")
    # The new amount came into the form without taking the focus away.
    tab_to(page, "Refund amount of Wax ribbon")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("4.50")
    screens.expect_total("USD 4.50")
    tab_to(page, "Review and Submit")
    page.keyboard.press("Enter")
    screens.expect_heading("Review and Submit")
    tab_to(page, "Submit refund of USD 4.50")
    page.keyboard.press("Enter")
    page.wait_for_url("**/confirm/")
    tab_to(page, "Open the refund")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/refunds/{screens.reference}/")
    desk.sandbox.settle_now()
    tab_to(page, "Check now")
    page.keyboard.press("Enter")
    screens.expect_state("Succeeded")


def test_menus_close_by_escape_and_give_the_focus_back(screens: Screens, desk: Desk) -> None:
    page = screens.page
    screens.go(desk.order("worked_sample").get_absolute_url())
    for summary, inside in (("Rep Tester", "Sign out"), ("Actions", "Refunds")):
        tab_to(page, "Signed in as" if summary == "Rep Tester" else summary)
        page.keyboard.press("Enter")
        item = page.locator("details.menu[open] .menu-list").get_by_text(inside)
        expect(item).to_be_visible()
        page.keyboard.press("Tab")
        expect(item).to_be_focused()
        page.keyboard.press("Escape")
        expect(item).to_be_hidden()
        expect(page.locator("details.menu > summary", has_text=summary)).to_be_focused()


def test_check_now_keeps_the_focus_and_announces_the_new_state(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.40")))
    page = screens.page
    screens.go(refund.get_absolute_url())
    tab_to(page, "Check now")
    with page.expect_response("**/check/"):
        page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Check now")).to_be_focused()
    expect(page.locator("#news")).to_be_empty()

    desk.sandbox.settle_now()
    page.keyboard.press("Enter")
    screens.expect_state("Succeeded")
    # The button is gone; the focus goes on from the page.
    expect(page.locator("main")).to_be_focused()
    expect(page.locator("#news")).to_have_text("USD 5.40 Succeeded")
    expect(page.get_by_role("button", name="Copy")).to_be_visible()
