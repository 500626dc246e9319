"""The main job and every page at the width of a phone."""

import re
from decimal import Decimal
from http import HTTPStatus

from playwright.sync_api import Page, expect

from refunds.options import Option, Selection
from tests.browser.conftest import Watch
from tests.browser.screens import Screens
from tests.desk import Desk, rep


def look(screens: Screens) -> None:
    """Insist that the page fits and that its tables have become cards."""
    assert screens.fits(), screens.page.url
    for table in screens.page.locator(".desk-table:visible").all():
        box = table.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 375, screens.page.url


def test_refund_on_a_phone(phone: Page, screens: Screens, desk: Desk, watch: Watch) -> None:
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    order = desk.order("all_options")
    screens.begin(order)
    look(screens)
    summary = phone.get_by_label("Summary").locator("details")
    expect(summary).not_to_have_attribute("open", re.compile(""))
    phone.get_by_role("button", name="Review and Submit").click()
    screens.expect_focus_on_errors("Choose a reason.")
    look(screens)
    for option in ("Complete Order", "Shipping", "Tax", "Fees", "Line Items"):
        screens.choose(option)
        look(screens)
    screens.choose_units("Dual monitor arm", 2)
    look(screens)
    screens.review()
    look(screens)
    screens.submit("GBP 182.01")
    look(screens)
    phone.get_by_role("link", name="Open the refund").click()
    screens.settle()
    screens.expect_state("Succeeded")
    look(screens)


def test_every_other_page_fits_a_phone(phone: Page, screens: Screens, desk: Desk) -> None:
    long_names, disputed = desk.order("long_names"), desk.order("dispute")
    refund = desk.submit(long_names, rep(), Selection(Option.COMPLETE_ORDER, Decimal("1.00")))
    draft = desk.draft(long_names, rep(), Selection(Option.COMPLETE_ORDER, Decimal("2.00")))
    for path in (
        "/orders/",
        "/orders/?q=nothing-like-this",
        long_names.get_absolute_url(),
        disputed.get_absolute_url(),
        f"{long_names.get_absolute_url()}refunds/",
        "/refunds/new/",
        draft.get_absolute_url(),
        f"/refunds/{draft.reference}/review/",
        "/refunds/",
        refund.get_absolute_url(),
    ):
        screens.go(path)
        look(screens)
    expect(phone.get_by_role("button", name="Check now")).to_be_visible()
    screens.go("/orders/")
    # A card names what a column's head names on a wide screen.
    label = phone.locator("td[data-label=Left]").first.evaluate(
        "cell => getComputedStyle(cell, '::before').content"
    )
    assert label == '"Left"'
