"""The reasons that reps choose from: kept here, each change with its history."""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from refunds.admin.history import OF_A_REASON, HistoryInline
from refunds.models import Refund, RefundReason
from refunds.services.reasons import reason_delete, reason_save

if TYPE_CHECKING:
    Reasons = admin.ModelAdmin[RefundReason]
    ReasonForm = forms.ModelForm[RefundReason]
else:
    # Django's classes take no type arguments when they run.
    Reasons = admin.ModelAdmin
    ReasonForm = forms.ModelForm

#: A reason in use names this many of the refunds that use it.
_USES_NAMED = 5


class RefundReasonForm(ReasonForm):
    """A reason, with texts that Digital River takes."""

    class Meta:
        model = RefundReason
        fields = ("label", "wire_text", "needs_text", "active", "position")

    def clean_label(self) -> str:
        """Refuse what is not one line of text."""
        return _one_line(self.cleaned_data["label"])

    def clean_wire_text(self) -> str:
        """Refuse what is not one line of text."""
        return _one_line(self.cleaned_data["wire_text"])


def _one_line(text: str) -> str:
    """Return the text; raises ``ValidationError`` for control characters and line breaks."""
    if any(unicodedata.category(mark) in {"Cc", "Cs", "Zl", "Zp"} for mark in text):
        raise ValidationError(
            "Write it on one line, without tabs and other control characters.", code="control"
        )
    return text


class ReasonHistoryInline(HistoryInline):
    """What was done to a reason, and by whom."""

    fields = readonly_fields = OF_A_REASON


@admin.register(RefundReason)
class RefundReasonAdmin(Reasons):
    """The reasons that reps choose from."""

    form = RefundReasonForm
    inlines = (ReasonHistoryInline,)
    list_display = ("label", "wire_text", "needs_text", "active", "position")
    list_filter = ("active",)

    def get_inlines(self, request: HttpRequest, obj: RefundReason | None) -> list[Any]:
        """Show the history of a reason that is there."""
        return list(super().get_inlines(request, obj)) if obj else []

    def save_model(
        self, request: HttpRequest, obj: RefundReason, form: ReasonForm, change: bool
    ) -> None:
        """Write the reason together with its history."""
        reason_save(reason=obj, user=cast("User", request.user))

    def delete_model(self, request: HttpRequest, obj: RefundReason) -> None:
        """Delete the reason; its history stays."""
        reason_delete(reason=obj, user=cast("User", request.user))

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RefundReason]) -> None:
        """Delete the chosen reasons one by one, all or none; their history stays."""
        for reason in queryset:
            self.delete_model(request, reason)

    def get_deleted_objects(
        self, objs: Sequence[Any] | QuerySet[Any], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        """Say which refunds keep reasons from being deleted.

        Django would read and list every refund of the reason.
        """
        uses = Refund.objects.filter(reason__in=[reason.pk for reason in objs])
        named = list(uses.order_by("-pk").values_list("reference", flat=True)[: _USES_NAMED + 1])
        if not named:
            return super().get_deleted_objects(objs, request)
        protected = [f"Refund {reference}" for reference in named[:_USES_NAMED]]
        if len(named) > _USES_NAMED:
            protected.append("and more")
        return [], {}, set(), protected
