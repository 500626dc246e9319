"""axe-core finds nothing on any page, in any state that looks different."""

from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django import Settings

from refunds.models import Difference, Order, Refund
from refunds.options import Option, Selection
from refunds.services.reconciliation import reconcile
from sandbox.faults import Fault, FaultKind
from tests.browser.conftest import Axe, SignIn, Watch
from tests.browser.screens import Screens
from tests.desk import Desk, lead, person, rep

PART = Selection(Option.COMPLETE_ORDER, Decimal("1.00"))


def look(screens: Screens, axe: Axe, *paths: str) -> None:
    """Open each path; it has one heading of the first level and nothing axe complains of."""
    for path in paths:
        screens.go(path)
        expect(screens.page.get_by_role("heading", level=1)).to_have_count(1)
        axe(screens.page)


def test_lists_and_orders_have_no_faults(screens: Screens, desk: Desk, axe: Axe) -> None:
    orders = [
        desk.order(case)
        for case in ("all_options", "dispute", "partial_whole_order", "inconsistent", "long_names")
    ]
    look(
        screens,
        axe,
        "/orders/",
        "/orders/?q=nothing-like-this",
        "/orders/?ordered_from=1066-10-14",
        "/refunds/new/",
        "/refunds/new/?q=nothing-like-this",
        f"{orders[0].get_absolute_url()}refunds/",
        f"{orders[1].get_absolute_url()}refunds/",
        *(order.get_absolute_url() for order in orders),
    )
    screens.page.get_by_text("Actions", exact=True).click()
    axe(screens.page)


def test_every_state_of_a_refund_has_no_faults(screens: Screens, desk: Desk, axe: Axe) -> None:
    def submit(case: str, fault: FaultKind | None = None) -> Refund:
        if fault:
            desk.sandbox.queue_fault(Fault(kind=fault, method="POST", retry_after=120))
        return desk.submit(desk.order(case), rep(), PART)

    submit("worked_sample")
    submit("failing_card")
    submit("wire_transfer")
    desk.sandbox.settle_now()
    for order in Order.objects.all():
        desk.refresh(order)
    submit("refused_on_creation")
    submit("fees", FaultKind.LOST_BEFORE)
    submit("eur", FaultKind.CONNECTION_REFUSED)
    submit("gbp", FaultKind.RATE_LIMITED)
    submit("kwd", FaultKind.OTHER_AMOUNT)
    refunds = {refund.state: refund for refund in Refund.objects.all()}
    assert set(refunds) == {
        Refund.State.SUCCEEDED,
        Refund.State.FAILED,
        Refund.State.PENDING_INFORMATION,
        Refund.State.REFUSED,
        Refund.State.UNKNOWN,
        Refund.State.NOT_SENT,
        Refund.State.QUEUED,
        Refund.State.PENDING,
    }
    for refund in refunds.values():
        look(screens, axe, refund.get_absolute_url())
    look(
        screens,
        axe,
        f"/refunds/{refunds[Refund.State.PENDING].reference}/confirm/",
        f"/refunds/{refunds[Refund.State.UNKNOWN].reference}/confirm/",
        "/refunds/",
        "/refunds/?search=nothing-like-this",
    )
    desk.sandbox.queue_fault(Fault(kind=FaultKind.CONNECTION_REFUSED, times=1000))
    screens.go(refunds[Refund.State.PENDING].get_absolute_url())
    screens.check_now()
    axe(screens.page)


@pytest.mark.parametrize("width", [1280, 375])
def test_wizard_has_no_faults_at_each_width(
    screens: Screens, desk: Desk, axe: Axe, watch: Watch, width: int
) -> None:
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    watch.expect_status(HTTPStatus.CONFLICT)
    watch.expect_status(HTTPStatus.GONE)
    screens.page.set_viewport_size({"width": width, "height": 900})
    order = desk.order("all_options")
    desk.submit(order, rep("rep2"), PART)
    screens.start(order)
    axe(screens.page)
    # On a phone only the table becomes something else.
    for option in Option if width > 375 else (Option.LINE_ITEMS,):
        screens.choose(option.label)
        expect(screens.page.locator("#draft-total .total")).to_have_count(
            0 if option in {Option.LINE_ITEMS, Option.FEES} else 1
        )
        axe(screens.page)
    screens.page.get_by_role("button", name="Review and Submit").click()
    screens.expect_focus_on_errors("Choose")
    axe(screens.page)
    screens.choose("Line Items")
    screens.choose_units("Dual monitor arm", 2)
    screens.amount_of("Dual monitor arm").fill("50.00")
    screens.review()
    # A look-alike refund and an estimated split are warned of.
    expect(screens.page.locator(".notice-warning")).not_to_have_count(0)
    axe(screens.page)
    desk.submit(order, rep("rep2"), PART)
    screens.page.get_by_role("button", name="Submit refund of").click()
    screens.expect_focus_on_errors("Nothing was sent")
    axe(screens.page)
    screens.page.get_by_role("button", name="Submit refund of").click()
    screens.page.wait_for_url("**/confirm/")
    axe(screens.page)
    draft = desk.draft(order, rep(), PART)
    look(screens, axe, "/refunds/")
    Refund.objects.filter(pk=draft.pk).update(draft_expires_at=timezone.now() - timedelta(hours=1))
    look(screens, axe, draft.get_absolute_url())


def test_refusals_have_no_faults(
    screens: Screens, desk: Desk, axe: Axe, sign_in: SignIn, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.FORBIDDEN)
    watch.expect_status(HTTPStatus.NOT_FOUND)
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep("rep2"), PART)
    look(screens, axe, draft.get_absolute_url(), "/orders/no-such-order/")
    sign_in(person("viewer"))
    look(screens, axe, "/refunds/new/", order.get_absolute_url(), "/refunds/")


@pytest.mark.parametrize("width", [1280, 375])
def test_leads_pages_have_no_faults_at_each_width(
    screens: Screens, desk: Desk, axe: Axe, sign_in: SignIn, watch: Watch, width: int
) -> None:
    watch.expect_status(HTTPStatus.FORBIDDEN)
    screens.page.set_viewport_size({"width": width, "height": 900})
    look(screens, axe, "/reconciliation/")
    sign_in(lead())
    look(screens, axe, "/reconciliation/", "/reconciliation/differences/")
    order = desk.order("worked_sample")
    desk.sandbox.queue_fault(Fault(kind=FaultKind.OTHER_AMOUNT, method="POST"))
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    run = reconcile(clock=desk.clock, client=desk.client)
    Difference.objects.create(
        kind=Difference.Kind.ORDER_EXCEEDED,
        subject=f"order {order.pk}",
        order=order,
        explanation="More than was captured was refunded or is on its way.",
        found_at=desk.clock(),
        last_seen_at=desk.clock(),
    )
    for path in (
        "/reconciliation/",
        f"/reconciliation/{run.pk}/",
        "/reconciliation/differences/",
        "/orders/",
        refund.get_absolute_url(),
        f"{refund.get_absolute_url()}evidence/",
    ):
        look(screens, axe, path)
        assert screens.fits(), path


def test_administration_has_no_faults(
    page: Page, screens: Screens, desk: Desk, axe: Axe, sign_in: SignIn, watch: Watch
) -> None:
    refund = desk.submit(desk.order("all_options"), rep(), PART)
    sign_in(User.objects.create_superuser("admin"))
    for path in (
        "/admin/",
        "/admin/refunds/refund/",
        f"/admin/refunds/refund/{refund.pk}/change/",
        f"/admin/refunds/order/{refund.order_id}/change/",
        "/admin/refunds/refundreason/",
    ):
        screens.go(path)
        page.wait_for_load_state("networkidle")
        assert watch.complaints == []
        # Django's own tables of rows to look at have heads without words over empty columns.
        axe(page, without=["empty-table-header"])
        # What axe tries on Django's style sheets, the security policy tells it off for.
        watch.complaints.clear()


def test_order_deleted_in_salesforce_has_no_faults(
    screens: Screens, desk: Desk, axe: Axe, settings: Settings
) -> None:
    settings.SALESFORCE_ADDRESS = "https://acme.lightning.force.com"
    order = desk.order("all_options")
    look(screens, axe, order.get_absolute_url())
    Order.objects.update(
        salesforce_deleted_at=timezone.now(), payment_failure_reason="The card has expired."
    )
    look(screens, axe, order.get_absolute_url(), f"{order.get_absolute_url()}refunds/")
