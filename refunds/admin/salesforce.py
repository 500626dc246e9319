"""The mirror's runs, records set aside, places in the permission set, tasks in Salesforce."""

from typing import cast

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest

from refunds.admin.history import OF_A_REASON, HistoryInline
from refunds.admin.records import MOST_ROWS, ByIdAdmin, RecordAdmin
from refunds.models import Membership, SalesforceTask, SetAside, SyncRun
from refunds.permissions import APPROVE
from refunds.services.salesforce_tasks import salesforce_task_try_again


@admin.register(SyncRun)
class SyncRunAdmin(RecordAdmin):
    """Runs of the mirror: what each read and changed, and how it ended."""

    list_display = (
        "started_at",
        "kind",
        "state",
        "orders_read",
        "set_aside",
        "outcome",
        "phase",
        "orders_created",
        "orders_changed",
        "orders_deleted",
        "lines_read",
        "finished_at",
    )
    list_filter = ("state", "kind")


@admin.register(SetAside)
class SetAsideAdmin(ByIdAdmin):
    """Salesforce's records that could not be mirrored, and what is wrong with each."""

    list_display = (
        "last_seen_at",
        "object_name",
        "salesforce_id",
        "reason",
        "field",
        "order_salesforce_id",
        "first_seen_at",
    )
    list_filter = ("object_name",)
    search_fields = ("salesforce_id", "order_salesforce_id")


@admin.register(SalesforceTask)
class SalesforceTaskAdmin(RecordAdmin):
    """What is told to Salesforce of refunds that settled, what became of it, and another try."""

    actions = ("try_again",)
    list_display = ("created_at", "subject", "state", "refund", "outcome", "task_id")
    list_display_links = ("created_at", "subject")
    list_select_related = ("refund",)
    list_filter = ("state",)
    fields = (
        "refund",
        "subject",
        "state",
        "outcome",
        "task_id",
        "tries",
        "next_try_at",
        "created_at",
        "done_at",
    )

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        """Leads, and whoever may do everything, have them tried again."""
        return cast("User", request.user).has_perm(APPROVE)

    @admin.action(description="Try again what failed", permissions=["try_again"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[SalesforceTask]) -> None:
        """Have the chosen ones tried once more, and say how many that will be."""
        chosen = list(queryset.order_by("pk")[:MOST_ROWS])
        again = [task for task in chosen if salesforce_task_try_again(task_id=task.pk)]
        for task in again:
            self.log_change(request, task, "Tried again.")
        if again:
            which = "1 task is" if len(again) == 1 else f"{len(again)} tasks are"
            self.message_user(request, f"{which} tried again.", messages.SUCCESS)
        if left := len(chosen) - len(again):
            self.message_user(
                request,
                f"{left} left as it is: tried again is only what failed.",
                messages.WARNING,
            )


class MembershipHistoryInline(HistoryInline):
    """How a place in the permission set was given and taken away, and by whom."""

    fields = readonly_fields = OF_A_REASON


@admin.register(Membership)
class MembershipAdmin(RecordAdmin):
    """Who is, or was, in the permission set, where that comes from, and its history.

    Somebody who was put into the group before there was a record of it has no row.
    """

    inlines = (MembershipHistoryInline,)
    list_display = ("user", "source", "active", "since", "ended_at", "salesforce_user_id")
    list_select_related = ("user",)
    list_filter = ("source", "active")
    fields = (
        "user",
        "source",
        "active",
        "since",
        "ended_at",
        "salesforce_user_id",
        "sign_outs",
    )
