"""The history of whatever has one, shown on its page."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from refunds.admin.records import LookOnlyInline
from refunds.models import HistoryEntry, Refund

if TYPE_CHECKING:
    History = admin.TabularInline[HistoryEntry, Refund]
else:
    # Django's classes take no type arguments when they run.
    History = admin.TabularInline

#: What is shown of an entry.
_OF_A_REFUND: tuple[str, ...] = ("at", "who", "from_state", "to_state", "summary", "request_id")
OF_A_REASON: tuple[str, ...] = ("at", "who", "summary", "details")


class HistoryInline(LookOnlyInline, History):
    """What happened to a refund, and who did it."""

    model = HistoryEntry
    fields = readonly_fields = _OF_A_REFUND

    def get_queryset(self, request: HttpRequest) -> QuerySet[HistoryEntry]:
        """Read the entries with the people they name."""
        return super().get_queryset(request).select_related("actor")

    @admin.display(description="by")
    def who(self, entry: HistoryEntry) -> str:
        """Name who or what did it."""
        return entry.by
