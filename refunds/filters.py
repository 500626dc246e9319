"""The filters of the lists: what a person chose becomes conditions on indexed columns."""

from datetime import date, datetime, time, timedelta

import django_filters
from django import forms
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import QuerySet
from django.utils import timezone

from refunds.models import Order, Refund

#: Seconds for which the list of currencies on offer is kept.
_CURRENCIES_KEPT = 300
#: Days that orders and refunds can be of; the ends of the calendar have no moment in every zone.
_DAYS = (
    MinValueValidator(date(1990, 1, 1), "Enter a day of 1990 or later."),
    MaxValueValidator(date(2199, 12, 31), "Enter a day before 2200."),
)


def _currencies() -> list[tuple[str, str]]:
    """Return the currencies that orders have; kept a while, since they hardly ever change."""

    def read() -> list[tuple[str, str]]:
        found = Order.objects.order_by("currency").values_list("currency", flat=True).distinct()
        return [(currency, currency) for currency in found]

    return cache.get_or_set("currencies", read, _CURRENCIES_KEPT) or []


def _date_input() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


def _midnight(day: date) -> datetime:
    """Return when the day begins in the desk's time zone: a bound the index can use."""
    return timezone.make_aware(datetime.combine(day, time.min))


class NarrowingFilter(django_filters.FilterSet):  # type: ignore[misc]  # ships no types
    """A filter that knows whether it leaves anything out."""

    @property
    def is_narrowed(self) -> bool:
        """Whether any filter was chosen."""
        return self.is_valid() and any(self.form.cleaned_data.values())


class OrderFilter(NarrowingFilter):
    """Which orders to list."""

    state = django_filters.ChoiceFilter(
        choices=[choice for choice in Order.State.choices if choice[0]],
        empty_label="Any",
        label="State",
    )
    currency = django_filters.ChoiceFilter(choices=_currencies, empty_label="Any", label="Currency")
    ordered_from = django_filters.DateFilter(
        method="filter_ordered_from", label="Ordered from", widget=_date_input(), validators=_DAYS
    )
    ordered_to = django_filters.DateFilter(
        method="filter_ordered_to", label="Ordered to", widget=_date_input(), validators=_DAYS
    )
    left = django_filters.BooleanFilter(
        method="filter_left", label="Something left to refund", widget=forms.CheckboxInput
    )

    class Meta:
        model = Order
        fields: tuple[str, ...] = ()

    def filter_ordered_from(self, orders: QuerySet[Order], name: str, day: date) -> QuerySet[Order]:
        """Keep orders of this day and later."""
        return orders.filter(ordered_at__gte=_midnight(day))

    def filter_ordered_to(self, orders: QuerySet[Order], name: str, day: date) -> QuerySet[Order]:
        """Keep orders of this day and earlier."""
        return orders.filter(ordered_at__lt=_midnight(day + timedelta(days=1)))

    def filter_left(self, orders: QuerySet[Order], name: str, value: bool) -> QuerySet[Order]:
        """Keep orders that can still give something back, or whose money was never read."""
        return orders.filter(may_have_left=True) if value else orders


class RefundFilter(NarrowingFilter):
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
        method="filter_made_from", label="Made from", widget=_date_input(), validators=_DAYS
    )
    made_to = django_filters.DateFilter(
        method="filter_made_to", label="Made to", widget=_date_input(), validators=_DAYS
    )
    flagged = django_filters.BooleanFilter(
        method="filter_flagged", label="Flagged", widget=forms.CheckboxInput
    )

    class Meta:
        model = Refund
        fields: tuple[str, ...] = ()

    def filter_made_from(self, refunds: QuerySet[Refund], name: str, day: date) -> QuerySet[Refund]:
        """Keep refunds of this day and later."""
        return refunds.filter(submitted_at__gte=_midnight(day))

    def filter_made_to(self, refunds: QuerySet[Refund], name: str, day: date) -> QuerySet[Refund]:
        """Keep refunds of this day and earlier."""
        return refunds.filter(submitted_at__lt=_midnight(day + timedelta(days=1)))

    def filter_flagged(self, refunds: QuerySet[Refund], name: str, value: bool) -> QuerySet[Refund]:
        """Keep refunds that a lead should look into."""
        return refunds.exclude(flag="") if value else refunds
