"""Django's admin: what the desk keeps to look at, reasons to keep, events to process again.

The desk alone writes its records; here nothing of theirs is added, changed or deleted.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import simplejson
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Case, Exists, Model, OuterRef, Q, QuerySet, Value, When
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html

from refunds.digitalriver.errors import UnreadableAnswer
from refunds.digitalriver.wire import load, redacted
from refunds.models import (
    CloseOut,
    CreditMemo,
    Difference,
    Event,
    HistoryEntry,
    Membership,
    Order,
    OrderLine,
    ReconciliationRun,
    Refund,
    RefundAttempt,
    RefundLine,
    RefundReason,
    SalesforceTask,
    SetAside,
    SyncRun,
)
from refunds.money import format_money
from refunds.permissions import APPROVE, GROUP_NAME, LEADS_GROUP_NAME
from refunds.search_keys import prefix_range, search_key
from refunds.services.events import event_process_again
from refunds.services.memberships import is_member, membership_set_by_hand
from refunds.services.reasons import reason_delete, reason_save
from refunds.services.salesforce_tasks import salesforce_task_try_again

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
    OrderLines = admin.TabularInline[OrderLine, Order]
    RefundLines = admin.TabularInline[RefundLine, Refund]
    Attempts = admin.StackedInline[RefundAttempt, Refund]
    History = admin.TabularInline[HistoryEntry, Refund]
    Reasons = admin.ModelAdmin[RefundReason]
    ReasonForm = forms.ModelForm[RefundReason]
    UserForm = forms.ModelForm[User]
    Users = UserAdmin[User]
else:
    # Django's classes take no type arguments when they run.
    AnyAdmin = Reasons = admin.ModelAdmin
    AnyPaginator = Paginator
    OrderLines = RefundLines = History = admin.TabularInline
    Attempts = admin.StackedInline
    ReasonForm = UserForm = forms.ModelForm
    Users = UserAdmin

#: A list shows no more rows than this: older ones are found by searching and filtering.
MOST_ROWS = 1_000
#: A reason in use names this many of the refunds that use it.
_USES_NAMED = 5


class CappedPaginator(AnyPaginator):
    """Pages through the first rows only, so that a million of them are never counted."""

    @cached_property
    def count(self) -> int:
        """How many rows there are to page through, ``MOST_ROWS`` at most."""
        rows = cast("QuerySet[Model]", self.object_list)
        return rows.order_by().values("pk")[:MOST_ROWS].count()


class LookOnly:
    """No way to add, change or delete."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is deleted here."""
        return False


class LookOnlyInline(LookOnly):
    """Rows of something, shown to whoever may see that thing."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Who opened the page may see its rows."""
        return True


class RecordAdmin(LookOnly, AnyAdmin):
    """A large table to look at: searched by its keys, never counted, linked to the desk's pages."""

    actions: Sequence[str] | None = None
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # Other columns have no index to sort by.
    sortable_by = ()
    search_help_text = (
        f"Finds what begins with these words. The list shows the newest {MOST_ROWS:,}: search for "
        "older ones."
    )

    def prefixes(self, prefix: str) -> Mapping[str, str]:
        """Return what each key column has to begin with."""
        return dict.fromkeys(self.search_fields, prefix)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows of which any key begins with the term, each key by its own index."""
        prefix = search_key(search_term)
        if not prefix or not self.search_fields:
            return queryset, False
        arms = []
        for key, text in self.prefixes(prefix).items():
            first, last = prefix_range(text)
            arm = queryset.filter(**{f"{key}__gte": first, f"{key}__lt": last}).order_by(key)
            nearest = self.model._default_manager.filter(pk__in=arm.values("pk")[:MOST_ROWS])
            arms.append(nearest.order_by().values("pk"))
        return queryset.filter(pk__in=arms[0].union(*arms[1:])), False

    def get_view_on_site_url(self, obj: Any = None) -> str | None:
        """Return the desk's page, if there is one; a draft's is only for the rep whose it is."""
        if not hasattr(obj, "get_absolute_url") or (isinstance(obj, Refund) and obj.is_draft):
            return None
        return str(obj.get_absolute_url())

    @admin.display(description="at the desk")
    def desk_page(self, row: Any) -> str:
        """Link to the row's page at the desk."""
        address = self.get_view_on_site_url(row)
        return format_html('<a href="{}">Open</a>', address) if address else "–"


def _money(column: str, description: str, *, of: str = "") -> Any:
    """Return a column that shows an amount with its currency, which ``of`` leads to."""

    @admin.display(description=description)
    def shown(row: Any) -> str:
        amount = getattr(row, column)
        holder = getattr(row, of) if of else row
        return "–" if amount is None else format_money(amount, holder.currency)

    shown.__name__ = column
    return shown


class CurrencyFilter(admin.SimpleListFilter):
    """The currencies that orders have, each found by one step along their index."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: AnyAdmin) -> list[tuple[str, str]]:
        """Return the currencies on offer."""
        return [(currency, currency) for currency in self._currencies()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the orders in the chosen currency."""
        return queryset.filter(currency=self.value()) if self.value() else queryset

    @staticmethod
    def _currencies() -> Iterator[str]:
        currencies = Order.objects.order_by("currency").values_list("currency", flat=True)
        currency = currencies.first()
        while currency is not None:
            yield currency
            currency = currencies.filter(currency__gt=currency).first()


_LINE_AMOUNTS = (
    _money("product_amount", "product", of="order"),
    _money("tax_amount", "tax", of="order"),
    _money("fees_amount", "fees", of="order"),
    _money("fee_tax_amount", "fee tax", of="order"),
    _money("duty_amount", "importer duty", of="order"),
    _money("importer_tax_amount", "importer tax", of="order"),
    _money("available_amount", "available to refund", of="order"),
)


class OrderLineInline(LookOnlyInline, OrderLines):
    """An order's lines."""

    model = OrderLine
    ordering = ("position", "id")
    fields = readonly_fields = (
        "product_name",
        "sku",
        "state",
        "quantity",
        "fulfilled_quantity",
        "cancelled_quantity",
        *_LINE_AMOUNTS,
        "digital_river_id",
        "salesforce_id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderLine]:
        """Read the lines with their order, which knows their currency."""
        return super().get_queryset(request).select_related("order")


_TOTAL = _money("total_amount", "total")
_LEFT = _money("left_amount", "left to refund")
_ORDER_AMOUNTS = (
    _TOTAL,
    _money("product_amount", "product"),
    _money("tax_amount", "tax"),
    _money("shipping_amount", "shipping"),
    _money("shipping_tax_amount", "shipping tax"),
    _money("duty_amount", "importer duty"),
    _money("importer_tax_amount", "importer tax"),
    _money("fees_amount", "fees"),
    _money("fee_tax_amount", "fee tax"),
    _money("captured_amount", "captured"),
    _money("refunded_amount", "refunded"),
    _money("available_amount", "available to refund"),
    _LEFT,
)


@admin.register(Order)
class OrderAdmin(RecordAdmin):
    """Orders as the mirror has them."""

    inlines = (OrderLineInline,)
    list_display = (
        "order_number",
        "account_name",
        "buyer_name",
        "state",
        _TOTAL,
        _LEFT,
        "ordered_at",
        "desk_page",
    )
    list_filter = ("state", CurrencyFilter, "refundable")
    search_fields = Order.SEARCH_KEYS
    readonly_fields = ("desk_page", *_ORDER_AMOUNTS)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "order_number",
                    "desk_page",
                    "account_name",
                    "buyer_name",
                    "buyer_email",
                    "ordered_at",
                )
            },
        ),
        ("Money", {"fields": ("currency", *_ORDER_AMOUNTS)}),
        (
            "Digital River",
            {
                "fields": (
                    "digital_river_id",
                    "state",
                    "payment",
                    "payment_type",
                    "fraud_state",
                    "payment_status",
                    "payment_failure_reason",
                    "capture_completed",
                    "refundable",
                    "refreshed_at",
                )
            },
        ),
        (
            "Salesforce",
            {
                "fields": (
                    "salesforce_id",
                    "salesforce_status",
                    "account_salesforce_id",
                    "salesforce_modified_at",
                    "salesforce_deleted_at",
                    "customer_type",
                    "selling_entity",
                    "has_landed_cost",
                )
            },
        ),
    )


class RefundLineInline(LookOnlyInline, RefundLines):
    """A refund's lines with the parts they make up."""

    model = RefundLine
    fields = readonly_fields = (
        "order_line",
        "quantity",
        _money("amount", "asked for", of="refund"),
        _money("product_part", "product", of="refund"),
        _money("tax_part", "tax", of="refund"),
        _money("fees_part", "fees", of="refund"),
        _money("fee_tax_part", "fee tax", of="refund"),
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


#: What is shown of an entry.
_OF_A_REFUND: tuple[str, ...] = ("at", "who", "from_state", "to_state", "summary", "request_id")
_OF_A_REASON: tuple[str, ...] = ("at", "who", "summary", "details")


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


_REQUESTED = _money("requested_amount", "requested")
_REFUNDED = _money("refunded_amount", "refunded")
_REFUND_AMOUNTS = (
    _REQUESTED,
    _money("accepted_amount", "accepted by Digital River"),
    _REFUNDED,
    _money("shipping_part", "shipping"),
    _money("shipping_tax_part", "shipping tax"),
    _money("duty_part", "importer duty"),
    _money("importer_tax_part", "importer tax"),
    _money("whole_part", "whole order, unsplit"),
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

    fields = readonly_fields = _OF_A_REASON


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


class ByIdAdmin(RecordAdmin):
    """Records that are found by whole ids, as Digital River and the logs write them."""

    search_help_text = f"Finds a whole id. The list shows the newest {MOST_ROWS:,}."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows of which any id is the term, each id by its own index."""
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        # The ids are few, so one condition for each needs no union.
        found = Q()
        for column in self.search_fields:
            found |= Q(**{str(column): term})
        return queryset.filter(found), False


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


_PLANNED = _money("planned_amount", "planned")


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
        _money("our_amount", "ours"),
        _money("their_amount", "theirs"),
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

    fields = readonly_fields = _OF_A_REASON


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


#: What marks where a place in the permission set comes from.
_FROM_SALESFORCE, _BY_HAND = "From Salesforce", "By hand"


class PermissionSetFilter(admin.SimpleListFilter):
    """Where people have their place in the permission set from."""

    title = "permission set"
    parameter_name = "permission_set"

    def lookups(self, request: HttpRequest, model_admin: AnyAdmin) -> list[tuple[str, str]]:
        """Return the ways there are."""
        return [("salesforce", _FROM_SALESFORCE), ("hand", _BY_HAND), ("none", "Not in it")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the people of the chosen way; each is marked with it."""
        chosen = self.value()
        return queryset.filter(in_permission_set=chosen) if chosen else queryset


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class DeskUserAdmin(Users):
    """People, marked with where their place in the permission set comes from.

    Putting somebody into its group here, or taking them out, goes into the place's history.
    """

    list_display = (
        "username",
        "email",
        "first_name",
        "last_name",
        "is_staff",
        "permission_set_mark",
    )
    list_filter = ("is_staff", "is_superuser", "is_active", "groups", PermissionSetFilter)
    readonly_fields = ("permission_set_mark",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Read with each person whether they are in the group, and where that comes from."""
        groups = User.groups.through.objects.filter(user=OuterRef("pk"), group__name=GROUP_NAME)
        theirs = Q(permission_set__active=True, permission_set__source=Membership.Source.SALESFORCE)
        way = Case(
            When(~Exists(groups), then=Value("none")),
            When(theirs, then=Value("salesforce")),
            default=Value("hand"),
        )
        people: QuerySet[User] = super().get_queryset(request)
        return people.annotate(in_permission_set=way)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Show it on the page of a person who is there."""
        own = [("Permission set", {"fields": ("permission_set_mark",)})] if obj else []
        return [*super().get_fieldsets(request, obj), *own]

    @admin.display(description="permission set")
    def permission_set_mark(self, user: User) -> str:
        """Say where the person's place in the permission set comes from."""
        marks = {"salesforce": _FROM_SALESFORCE, "hand": _BY_HAND}
        return marks.get(getattr(user, "in_permission_set", ""), "–")

    def save_related(
        self, request: HttpRequest, form: UserForm, formsets: Any, change: bool
    ) -> None:
        """Write the groups, and record what that means for the permission set."""
        user = form.instance
        before = is_member(user)
        super().save_related(request, form, formsets, change)
        after = is_member(user)
        if after == before:
            return
        was_theirs = Membership.objects.filter(
            user=user, active=True, source=Membership.Source.SALESFORCE
        ).exists()
        membership_set_by_hand(user=user, is_member=after, by=cast("User", request.user))
        if was_theirs and not after:
            self.message_user(
                request,
                f"Salesforce gave {user} the permission set, and gives it again with the next "
                "round unless the person loses it there.",
                messages.WARNING,
            )


@admin.register(Group)
class DeskGroupAdmin(GroupAdmin):
    """Groups. The desk's own two keep their names and are not deleted: it goes by them."""

    def get_readonly_fields(
        self, request: HttpRequest, obj: Group | None = None
    ) -> tuple[str, ...]:
        """Let the names of the desk's own groups only be looked at."""
        return ("name",) if _is_own(obj) else ()

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Refuse to delete the desk's own groups, and with them everybody's place."""
        return not _is_own(obj) and super().has_delete_permission(request, obj)


def _is_own(group: Group | None) -> bool:
    return group is not None and group.name in {GROUP_NAME, LEADS_GROUP_NAME}


@admin.register(SyncRun)
class SyncRunAdmin(RecordAdmin):
    """Runs of the mirror: what each read and changed, and how it ended."""

    list_display = (
        "started_at",
        "kind",
        "state",
        "phase",
        "orders_read",
        "orders_created",
        "orders_changed",
        "orders_deleted",
        "lines_read",
        "set_aside",
        "finished_at",
        "outcome",
    )
    list_filter = ("state", "kind")


@admin.register(SetAside)
class SetAsideAdmin(ByIdAdmin):
    """Salesforce's records that could not be mirrored, and what is wrong with each."""

    list_display = (
        "last_seen_at",
        "object_name",
        "salesforce_id",
        "order_salesforce_id",
        "field",
        "reason",
        "first_seen_at",
    )
    list_filter = ("object_name",)
    search_fields = ("salesforce_id", "order_salesforce_id")
