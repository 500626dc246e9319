"""The filters: which rows each keeps, and what they make of values that are none."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from pytest_django import DjangoAssertNumQueries, Settings

from refunds.filters import OrderFilter, RefundFilter
from refunds.models import Order, Refund
from tests.desk import rep
from tests.views.rows import DAY, make_order, make_orders, make_refunds

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    cache.clear()


def orders(**data: str) -> list[str]:
    filters = OrderFilter(data, queryset=Order.objects.order_by("order_number"))
    assert filters.is_valid(), filters.errors
    return [order.order_number[-1] for order in filters.qs]


def test_order_filter_without_a_choice_keeps_all_and_is_not_narrowed() -> None:
    make_orders(3)
    filters = OrderFilter({}, queryset=Order.objects.all())
    assert filters.qs.count() == 3
    assert not filters.is_narrowed


@pytest.mark.parametrize(
    "data",
    [{"state": "complete"}, {"currency": "USD"}, {"left": "on"}, {"ordered_to": "2026-10-01"}],
)
def test_order_filter_with_a_choice_is_narrowed(data: dict[str, str]) -> None:
    make_orders(1)
    assert OrderFilter(data, queryset=Order.objects.all()).is_narrowed


def test_order_filter_with_a_value_that_is_none_is_not_narrowed() -> None:
    assert not OrderFilter({"state": "?"}, queryset=Order.objects.all()).is_narrowed


def test_order_filter_left_keeps_what_can_give_something_back() -> None:
    make_order(1).save()
    make_order(2, left_amount=Decimal(0)).save()
    assert orders(left="on") == ["1"]
    assert orders() == ["1", "2"]


def test_order_filter_by_day_includes_both_its_ends() -> None:
    for number, at in enumerate(
        [
            DAY.replace(hour=0) - timedelta(microseconds=1),
            DAY.replace(hour=0),
            DAY.replace(hour=23, minute=59, second=59, microsecond=999_999),
            DAY.replace(hour=0) + timedelta(days=1),
        ],
        start=1,
    ):
        make_order(number, ordered_at=at).save()
    assert orders(ordered_from="2026-10-01", ordered_to="2026-10-01") == ["2", "3"]
    assert orders(ordered_from="2026-10-01") == ["2", "3", "4"]
    assert orders(ordered_to="2026-10-01") == ["1", "2", "3"]


def test_order_filter_by_the_day_the_clocks_change(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    # 25 October 2026 has 25 hours there: from 22:00 UTC the day before to 23:00 UTC.
    for number, hour in ((1, -3), (2, -2), (3, 22), (4, 23)):
        at = DAY.replace(day=25, hour=0) + timedelta(hours=hour)
        make_order(number, ordered_at=at).save()
    assert orders(ordered_from="2026-10-25", ordered_to="2026-10-25") == ["2", "3"]


def test_order_filter_offers_the_currencies_there_are_and_keeps_them_a_while(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_order(1, currency="KWD").save()
    make_order(2, currency="EUR").save()
    choices = list(OrderFilter({}).form.fields["currency"].choices)
    assert [value for value, _ in choices] == ["", "EUR", "KWD"]
    with django_assert_num_queries(0):
        assert list(OrderFilter({}).form.fields["currency"].choices) == choices


def test_order_filter_offers_no_state_without_a_name() -> None:
    values = [value for value, _ in OrderFilter({}).form.fields["state"].choices]
    assert values.count("") == 1
    assert "dispute" in values


@pytest.mark.parametrize("name", ["ordered_from", "ordered_to"])
@pytest.mark.parametrize("day", ["1989-12-31", "2200-01-01", "0001-01-01", "9999-12-31"])
def test_order_filter_refuses_days_beyond_all_orders(name: str, day: str) -> None:
    filters = OrderFilter({name: day}, queryset=Order.objects.all())
    assert not filters.is_valid()
    assert list(filters.errors) == [name]


def test_refund_filter_offers_no_drafts() -> None:
    values = [value for value, _ in RefundFilter({}).form.fields["state"].choices]
    assert "draft" not in values
    assert set(values) == {"", *Refund.State.values} - {"draft"}


def test_refund_filter_offers_the_people_who_are_still_here() -> None:
    rep()
    gone = rep("gone")
    gone.is_active = False
    gone.save()
    people = RefundFilter({}).form.fields["person"].queryset
    assert [user.username for user in people] == ["rep"]


def test_refund_filter_by_day_goes_by_when_it_was_submitted() -> None:
    made = make_refunds(make_orders(3), rep(), apart=timedelta(days=1))
    filters = RefundFilter({"made_from": "2026-09-30"}, queryset=Refund.objects.all())
    assert set(filters.qs) == set(made[:2])


def test_refund_filter_flagged_keeps_what_a_lead_should_look_into() -> None:
    plain, flagged = make_refunds(make_orders(2), rep())
    Refund.objects.filter(pk=flagged.pk).update(flag="Look.")
    assert list(RefundFilter({"flagged": "on"}, queryset=Refund.objects.all()).qs) == [flagged]
    assert set(RefundFilter({}, queryset=Refund.objects.all()).qs) == {plain, flagged}
