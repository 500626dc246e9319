"""Reconciliations, the differences they found, and close-outs."""

from django.contrib import admin

from refunds.admin.columns import money_column
from refunds.admin.records import RecordAdmin
from refunds.models import CloseOut, Difference, ReconciliationRun

_PLANNED = money_column("planned_amount", "planned")


@admin.register(CloseOut)
class CloseOutAdmin(RecordAdmin):
    """Close-outs, and how far each came."""

    list_display = ("created_at", "order", "state", _PLANNED, "created_by", "outcome")
    list_select_related = ("order", "created_by")
    list_filter = ("state",)
    fields = (
        "order",
        "state",
        _PLANNED,
        "reason",
        "reason_text",
        "note",
        "created_by",
        "created_at",
        "next_step_at",
        "finished_at",
        "outcome",
    )
    readonly_fields = (_PLANNED,)


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(RecordAdmin):
    """Reconciliations, and how far each came; the desk's own page has their control totals."""

    list_display = (
        "started_at",
        "state",
        "since",
        "order",
        "theirs_read",
        "ours_read",
        "adopted",
        "open_differences",
        "started_by",
        "outcome",
    )
    list_select_related = ("order", "started_by")
    list_filter = ("state",)


@admin.register(Difference)
class DifferenceAdmin(RecordAdmin):
    """What was found not to be as it should be, and how it was resolved."""

    list_display = ("found_at", "kind", "order", "refund", "explanation", "resolution")
    list_select_related = ("order", "refund")
    list_filter = ("kind", "resolution")
    fields = readonly_fields = (
        "kind",
        "explanation",
        "order",
        "refund",
        money_column("our_amount", "ours"),
        money_column("their_amount", "theirs"),
        "our_state",
        "their_state",
        "digital_river_id",
        "digital_river_order_id",
        "found_at",
        "last_seen_at",
        "resolution",
        "note",
        "resolved_by",
        "resolved_at",
        "run",
    )
