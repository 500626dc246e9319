"""The filters of the lists: what a person chose becomes conditions on indexed columns."""

import django_filters
from django import forms
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import QuerySet

from refunds.models import Order, Refund

#: Seconds for which the list of currencies on offer is kept.
_CURRENCIES_KEPT = 300


def _currencies() -> list[tuple[str, str]]:
    """Return the currencies that orders have; kept a while, since they hardly ever change."""

    def read() -> list[tuple[str, str]]:
        found = Order.objects.order_by("currency").values_list("currency", flat=True).distinct()
        return [(currency, currency) for currency in found]

    currencies: list[tuple[str, str]] = cache.get_or_set("currencies", read, _CURRENCIES_KEPT)
    return currencies


def _date_input() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class OrderFilter(django_filters.FilterSet):
    """Which orders to list."""

    state = django_filters.ChoiceFilter(
        choices=[choice for choice in Order.State.choices if choice[0]],
        empty_label="Any",
        label="State",
    )
    currency = django_filters.ChoiceFilter(choices=_currencies, empty_label="Any", label="Currency")
    ordered_from = django_filters.DateFilter(
        field_name="ordered_at", lookup_expr="date__gte", label="Ordered from", widget=_date_input
    )
    ordered_to = django_filters.DateFilter(
        field_name="ordered_at", lookup_expr="date__lte", label="to", widget=_date_input
    )
    left = django_filters.BooleanFilter(
        method="filter_left", label="Something left to refund", widget=forms.CheckboxInput
    )

    class Meta:
        model = Order
        fields: tuple[str, ...] = ()

    def filter_left(self, orders: QuerySet[Order], name: str, value: bool) -> QuerySet[Order]:
        """Keep orders that can still give something back."""
        return orders.filter(left_amount__gt=0) if value else orders


class RefundFilter(django_filters.FilterSet):
    """Which refunds to list."""

    state = django_filters.ChoiceFilter(
        choices=[
            choice for choice in Refund.State.choices if choice[0] != Refund.State.DRAFT.value
        ],
        empty_label="Any",
        label="State",
    )
    option = django_filters.ChoiceFilter(
        choices=Refund.OptionChoice.choices, empty_label="Any", label="Option"
    )
    person = django_filters.ModelChoiceFilter(
        field_name="created_by",
        queryset=User.objects.filter(is_active=True).order_by("username"),
        empty_label="Anyone",
        label="By",
    )
    made_from = django_filters.DateFilter(
        field_name="submitted_at", lookup_expr="date__gte", label="Made from", widget=_date_input
    )
    made_to = django_filters.DateFilter(
        field_name="submitted_at", lookup_expr="date__lte", label="to", widget=_date_input
    )
    flagged = django_filters.BooleanFilter(
        method="filter_flagged", label="Flagged", widget=forms.CheckboxInput
    )

    class Meta:
        model = Refund
        fields: tuple[str, ...] = ()

    def filter_flagged(self, refunds: QuerySet[Refund], name: str, value: bool) -> QuerySet[Refund]:
        """Keep refunds that a lead should look into."""
        return refunds.exclude(flag="") if value else refunds
