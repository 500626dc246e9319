"""The whole job without JavaScript."""

import re
from datetime import timedelta
from http import HTTPStatus

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from refunds.models import Order
from tests.browser.conftest import Watch
from tests.browser.screens import Screens
from tests.desk import Desk

RIBBON = "Wax ribbon 110 mm x 300 m"


@pytest.fixture
def browser_context_args(browser_context_args: dict[str, object]) -> dict[str, object]:
    """Open a browser that runs no script."""
    return {**browser_context_args, "java_script_enabled": False}


def test_refund_without_javascript(screens: Screens, desk: Desk, watch: Watch) -> None:
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    order = desk.order("worked_sample")
    page = screens.page
    screens.begin(order)
    page.get_by_role("button", name="Review and Submit").click()
    expect(page.locator("[data-error-summary]")).to_contain_text("Choose a reason.")

    screens.choose("Line Items")
    page.get_by_label(f"Quantity of {RIBBON}").fill("1")
    screens.review()
    page.get_by_role("link", name="Change").click()
    # Another quantity brings its own amount, also where no script fills it in.
    page.get_by_label(f"Quantity of {RIBBON}").fill("2")
    screens.review()
    page.get_by_role("link", name="Change").click()
    page.get_by_label(f"Quantity of {RIBBON}").fill("1")
    screens.refund("USD 10.81")
    screens.expect_state("Pending")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)["Whole order"] == ("27.01", "10.81", "0.00", "16.20")


def test_refresh_reads_old_figures_anew_without_javascript(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")
    Order.objects.update(refreshed_at=timezone.now() - timedelta(hours=3))
    screens.go(order.get_absolute_url())
    age = screens.page.locator("#order-body [data-news]")
    expect(age).to_contain_text("3 hours ago")
    screens.page.get_by_role("button", name="Refresh").click()
    screens.expect_heading(f"Order {order.order_number}")
    expect(age).to_contain_text(re.compile("now|second"))
