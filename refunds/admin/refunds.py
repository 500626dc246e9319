"""Refunds with their lines, their attempts and their history."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from refunds.admin.columns import money_column
from refunds.admin.history import HistoryInline
from refunds.admin.records import LookOnlyInline, RecordAdmin
from refunds.models import Refund, RefundAttempt, RefundLine

if TYPE_CHECKING:
    RefundLines = admin.TabularInline[RefundLine, Refund]
    Attempts = admin.StackedInline[RefundAttempt, Refund]
else:
    # Django's classes take no type arguments when they run.
    RefundLines = admin.TabularInline
    Attempts = admin.StackedInline


class RefundLineInline(LookOnlyInline, RefundLines):
    """A refund's lines with the parts they make up."""

    model = RefundLine
    fields = readonly_fields = (
        "order_line",
        "quantity",
        money_column("amount", "asked for", of="refund"),
        money_column("product_part", "product", of="refund"),
        money_column("tax_part", "tax", of="refund"),
        money_column("fees_part", "fees", of="refund"),
        money_column("fee_tax_part", "fee tax", of="refund"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefundLine]:
        """Read the lines with what they name."""
        return super().get_queryset(request).select_related("order_line", "refund")


class RefundAttemptInline(LookOnlyInline, Attempts):
    """The times a refund was sent, and what came back."""

    model = RefundAttempt
    fields = readonly_fields = (
        "reference",
        "started_at",
        "lease_until",
        "answered_at",
        "status",
        "request_id",
        "digital_river_id",
        "outcome",
        "missing_since",
        "request",
        "answer",
    )


_REQUESTED = money_column("requested_amount", "requested")
_REFUNDED = money_column("refunded_amount", "refunded")
_REFUND_AMOUNTS = (
    _REQUESTED,
    money_column("accepted_amount", "accepted by Digital River"),
    _REFUNDED,
    money_column("shipping_part", "shipping"),
    money_column("shipping_tax_part", "shipping tax"),
    money_column("duty_part", "importer duty"),
    money_column("importer_tax_part", "importer tax"),
    money_column("whole_part", "whole order, unsplit"),
)


@admin.register(Refund)
class RefundAdmin(RecordAdmin):
    """Refunds with all that is kept of them."""

    inlines = (RefundLineInline, RefundAttemptInline, HistoryInline)
    list_display = (
        "reference",
        "order",
        "option",
        "state",
        _REQUESTED,
        _REFUNDED,
        "created_by",
        "submitted_at",
        "flag",
        "desk_page",
    )
    list_select_related = ("order", "created_by")
    list_filter = ("state", "option", "origin", ("flag", admin.EmptyFieldListFilter))
    search_fields = ("reference_key", "digital_river_key", "order__number_key")
    readonly_fields = ("desk_page", *_REFUND_AMOUNTS)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "reference",
                    "desk_page",
                    "order",
                    "option",
                    "state",
                    "flag",
                    "failure_reason",
                    "refusal",
                )
            },
        ),
        ("Money", {"fields": ("currency", *_REFUND_AMOUNTS)}),
        ("Grounds", {"fields": ("reason", "reason_text", "note", "ticket_url")}),
        (
            "Record",
            {
                "fields": (
                    "origin",
                    "digital_river_id",
                    "listed",
                    "created_by",
                    "created_at",
                    "updated_at",
                    "draft_expires_at",
                    "submitted_at",
                    "settled_at",
                    "information_expires_at",
                    "next_check_at",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Refund]:
        """Read the refunds with what each names."""
        return super().get_queryset(request).select_related("order", "created_by", "reason")

    def prefixes(self, prefix: str) -> Mapping[str, str]:
        """Read a reference with or without its letter and dashes, as the desk's own search does."""
        digits = "".join(mark for mark in prefix.removeprefix("r") if mark not in "- ")
        keys = super().prefixes(prefix)
        return {**keys, "reference_key": digits} if digits.isdigit() else keys
