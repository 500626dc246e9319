"""The list of orders and one order's page."""

import re
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import expect

from refunds.models import Order
from sandbox.faults import Fault, FaultKind
from tests.browser.screens import Screens
from tests.desk import Desk


def test_orders_are_searched_filtered_and_opened_by_their_row(screens: Screens, desk: Desk) -> None:
    wanted, euros = desk.order("worked_sample"), desk.order("eur")
    desk.order("fully_refunded")
    page = screens.page
    screens.go("/")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    search = page.get_by_role("searchbox", name="Search", exact=True)
    search.fill(wanted.digital_river_id[:8])
    search.press("Enter")
    expect(page.get_by_role("link", name=wanted.order_number)).to_be_visible()

    search.fill("no such order")
    search.press("Enter")
    expect(page.get_by_text("No order matches")).to_be_visible()
    page.get_by_role("link", name="Show all orders").click()
    page.get_by_role("combobox", name="Currency").select_option("EUR")
    page.get_by_role("button", name="Show orders").click()
    expect(rows).to_have_count(1)
    rows.click()
    screens.expect_heading(f"Order {euros.order_number}")

    # The search in the masthead is within reach on every page.
    everywhere = page.get_by_role("searchbox", name="Search orders")
    everywhere.fill("lone star")
    everywhere.press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text(wanted.order_number)


def test_order_reads_old_figures_anew_after_loading(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    Order.objects.update(refreshed_at=timezone.now() - timedelta(hours=3))
    screens.go(order.get_absolute_url())
    expect(screens.page.get_by_text("has opened a dispute on this order")).to_be_visible()
    expect(screens.page.locator("#order-body [data-news]")).to_contain_text(
        re.compile("now|second")
    )
    expect(screens.page.get_by_role("button", name="Create refund")).to_have_count(0)
    screens.go(f"{order.get_absolute_url()}refunds/")
    expect(screens.page.get_by_text("has opened a dispute on this order")).to_be_visible()
    expect(screens.page.get_by_role("link", name="Proceed")).to_have_count(0)


def test_order_shows_the_age_of_its_figures_while_digital_river_is_away(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")
    Order.objects.update(refreshed_at=timezone.now() - timedelta(hours=3))
    desk.sandbox.queue_fault(Fault(kind=FaultKind.CONNECTION_REFUSED, times=1000))
    screens.go(order.get_absolute_url())
    expect(screens.page.get_by_role("alert")).to_contain_text("Digital River")
    expect(screens.page.locator("#order-body [data-news]")).to_contain_text("3 hours ago")
    expect(screens.page.get_by_role("heading", name="Line items")).to_be_visible()
    screens.create_refund()
    expect(screens.page.locator(".notice")).to_contain_text("3 hours ago")
