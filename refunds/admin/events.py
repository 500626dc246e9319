"""Digital River's events and the documents it makes out."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import simplejson
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from refunds.admin.records import MOST_ROWS, AnyAdmin, ByIdAdmin
from refunds.digitalriver.errors import UnreadableAnswer
from refunds.digitalriver.wire import load, redacted
from refunds.models import CreditMemo, Event
from refunds.permissions import APPROVE
from refunds.services.events import event_process_again


class EventTypeFilter(admin.SimpleListFilter):
    """The types of the events that are there, each found by one step along their index."""

    title = "type"
    parameter_name = "type"
    #: Digital River has about a hundred.
    most = 100

    def lookups(self, request: HttpRequest, model_admin: AnyAdmin) -> list[tuple[str, str]]:
        """Return the types on offer."""
        return [(kind, kind) for kind in islice(self._types(), self.most)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the events of the chosen type."""
        return queryset.filter(type=self.value()) if self.value() else queryset

    @staticmethod
    def _types() -> Iterator[str]:
        types = Event.objects.order_by("type").values_list("type", flat=True)
        kind = types.first()
        while kind is not None:
            yield kind
            kind = types.filter(type__gt=kind).first()


@admin.register(Event)
class EventAdmin(ByIdAdmin):
    """Digital River's events, what became of them, and a way to have one processed again."""

    actions = ("process_again",)
    list_display = ("received_at", "type", "state", "order", "outcome", "event_id")
    list_display_links = ("received_at", "type")
    list_select_related = ("order",)
    list_filter = ("state", EventTypeFilter, "source")
    search_fields = ("event_id", "digital_river_order_id")
    fieldsets = (
        (None, {"fields": ("event_id", "type", "state", "outcome", "order", "refund")}),
        (
            "Record",
            {
                "fields": (
                    "source",
                    "created_time",
                    "received_at",
                    "tries",
                    "next_try_at",
                    "processed_at",
                    "digital_river_order_id",
                )
            },
        ),
        ("As it came, without tokens", {"fields": ("shown_body",)}),
    )
    readonly_fields = ("shown_body",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Read the events with what they name; in the list without their bodies."""
        return super().get_queryset(request).select_related("order", "refund").defer("body")

    @admin.display(description="body")
    def shown_body(self, event: Event) -> str:
        """Show the body in lines, without what opens something to whoever holds it."""
        try:
            body = redacted(load(event.body.encode()))
        except UnreadableAnswer:
            return "It cannot be read."
        text = simplejson.dumps(body, use_decimal=True, ensure_ascii=False, indent=2)
        return format_html("<pre>{}</pre>", text)

    def has_process_again_permission(self, request: HttpRequest) -> bool:
        """Leads, and whoever may do everything, have events processed again."""
        return cast("User", request.user).has_perm(APPROVE)

    @admin.action(
        description="Process again what failed or had nothing to do", permissions=["process_again"]
    )
    def process_again(self, request: HttpRequest, queryset: QuerySet[Event]) -> None:
        """Have the chosen events processed once more, and say how many that will be."""
        chosen = list(queryset.order_by("pk")[:MOST_ROWS])
        again = [event for event in chosen if event_process_again(event_id=event.pk)]
        for event in again:
            self.log_change(request, event, "Processed again.")
        if again:
            which = "1 event is" if len(again) == 1 else f"{len(again)} events are"
            self.message_user(request, f"{which} processed again.", messages.SUCCESS)
        if left := len(chosen) - len(again):
            self.message_user(
                request,
                f"{left} left as it is: processed again is only what failed or had nothing to do.",
                messages.WARNING,
            )


@admin.register(CreditMemo)
class CreditMemoAdmin(ByIdAdmin):
    """The documents that Digital River made out for refunds."""

    list_display = ("memo_id", "order", "refund", "file_id", "created_at")
    list_select_related = ("order", "refund")
    search_fields = ("memo_id",)
