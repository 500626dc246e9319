"""The desk's addresses: people read them, share them and type them."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter
from django.views.generic import RedirectView

from refunds.views import (
    closeouts,
    drafts,
    evidence,
    orders,
    reconciliation,
    refunds,
    salesforce,
    submission,
    webhooks,
)


class ReferenceConverter:
    """A refund's reference, ``R-4827-1936``."""

    regex = r"R-[0-9]{4}-[0-9]{4}"

    def to_python(self, value: str) -> str:
        """Return the reference as it stands in the address."""
        return value

    def to_url(self, value: str) -> str:
        """Return the reference for an address."""
        return value


class OrderNumberConverter(StringConverter):
    """An order's number as Salesforce writes it; PostgreSQL has no text with a NUL in it."""

    regex = r"[^/\x00]+"


register_converter(ReferenceConverter, "reference")
register_converter(OrderNumberConverter, "number")

app_name = "refunds"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="refunds:orders"), name="home"),
    path("orders/", orders.order_list, name="orders"),
    path("orders/<number:order_number>/", orders.order, name="order"),
    path("orders/<number:order_number>/refresh/", orders.order_refresh_now, name="order-refresh"),
    path("orders/<number:order_number>/refunds/", orders.order_proceed, name="order-proceed"),
    path("orders/<number:order_number>/refunds/create/", drafts.draft_begin, name="draft-begin"),
    path("orders/<number:order_number>/close-out/", closeouts.close_out, name="close-out"),
    path(
        "orders/<number:order_number>/close-out/<int:pk>/",
        closeouts.close_out_progress,
        name="close-out-progress",
    ),
    path(
        "orders/<number:order_number>/close-out/<int:pk>/check/",
        closeouts.close_out_check_now,
        name="close-out-check",
    ),
    path(
        "orders/<number:order_number>/close-out/<int:pk>/cancel/",
        closeouts.close_out_call_off,
        name="close-out-cancel",
    ),
    path("refunds/", refunds.refund_list, name="refunds"),
    path("refunds/new/", drafts.select_order, name="select-order"),
    path("refunds/<reference:reference>/", refunds.refund, name="refund"),
    path("refunds/<reference:reference>/option/", drafts.draft_option, name="draft-option"),
    path("refunds/<reference:reference>/total/", drafts.draft_total, name="draft-total"),
    path("refunds/<reference:reference>/review/", submission.draft_review, name="draft-review"),
    path("refunds/<reference:reference>/confirm/", submission.confirm, name="confirm"),
    path("refunds/<reference:reference>/discard/", drafts.draft_drop, name="draft-discard"),
    path("refunds/<reference:reference>/check/", refunds.refund_check_now, name="refund-check"),
    path("refunds/<reference:reference>/retry/", refunds.refund_send_again, name="refund-retry"),
    path("refunds/<reference:reference>/cancel/", refunds.refund_call_off, name="refund-cancel"),
    path("refunds/<reference:reference>/evidence/", evidence.evidence, name="evidence"),
    path(
        "refunds/<reference:reference>/evidence.json", evidence.evidence_json, name="evidence-json"
    ),
    path(
        "refunds/<reference:reference>/relink/",
        reconciliation.refund_relink_now,
        name="refund-relink",
    ),
    path("reconciliation/", reconciliation.reconciliation_list, name="reconciliations"),
    path("reconciliation/begin/", reconciliation.reconciliation_begin, name="reconciliation-begin"),
    path("reconciliation/<int:run_id>/", reconciliation.reconciliation, name="reconciliation"),
    path(
        "reconciliation/<int:run_id>/carry-on/",
        reconciliation.reconciliation_carry_on,
        name="reconciliation-carry-on",
    ),
    path("reconciliation/differences/", reconciliation.differences, name="differences"),
    path(
        "reconciliation/differences/<int:pk>/review/",
        reconciliation.difference_review_now,
        name="difference-review",
    ),
    path(
        "reconciliation/differences/<int:pk>/adopt/",
        reconciliation.difference_adopt_now,
        name="difference-adopt",
    ),
    path(
        "reconciliation/differences/<int:pk>/relink/",
        reconciliation.difference_relink_now,
        name="difference-relink",
    ),
    path("salesforce/orders/look-up/", salesforce.salesforce_look_up, name="salesforce-look-up"),
    path(
        "salesforce/orders/<str:identifier>/refunds/",
        salesforce.salesforce_order,
        name="salesforce-order",
    ),
    path(
        "salesforce/orders/<str:identifier>/refunds/fetch/",
        salesforce.salesforce_order_fetch,
        name="salesforce-order-fetch",
    ),
    path("webhooks/digitalriver/", webhooks.digital_river, name="webhook"),
]
