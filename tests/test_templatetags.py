"""Amounts and moments as the pages write them."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from pytest_django import Settings

from refunds.templatetags.moments import ago
from refunds.templatetags.money import figure, money
from tests.desk import SetClock


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (Decimal("27.01"), "USD", "USD 27.01"),
        (Decimal("1234567.5"), "USD", "USD 1,234,567.50"),
        (Decimal("1234"), "JPY", "JPY 1,234"),
        (Decimal("1.5"), "KWD", "KWD 1.500"),
        (Decimal(0), "EUR", "EUR 0.00"),
        (Decimal("-1"), "EUR", "EUR -1.00"),
        (None, "USD", "–"),
    ],
)
def test_money_is_written_with_its_currency(
    amount: Decimal | None, currency: str, written: str
) -> None:
    assert money(amount, currency) == written


def test_figure_is_written_without_its_currency() -> None:
    assert figure(Decimal("1234.5"), "USD") == "1,234.50"
    assert figure(None, "USD") == "–"


def test_figure_does_not_hide_a_fraction_that_should_not_be_there() -> None:
    assert figure(Decimal("1.005"), "USD") == "1.005"
    assert money(Decimal("10.5"), "JPY") == "JPY 10.5"


def test_money_is_written_with_the_marks_of_the_desks_language(settings: Settings) -> None:
    settings.LANGUAGE_CODE = "de"
    assert money(Decimal("1234.50"), "EUR") == "EUR 1.234,50"
    assert figure(Decimal("1234.50"), "EUR") == "1.234,50"


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=5), "5 seconds ago"),
        (timedelta(minutes=5), "5 minutes ago"),
        (timedelta(hours=1), "an hour ago"),
        (timedelta(days=1, hours=2), "1 day ago"),
        (timedelta(days=17), "2 weeks ago"),
        (timedelta(days=400), "1 year ago"),
        (-timedelta(minutes=3), "3 minutes from now"),
        (-timedelta(days=29, hours=5), "4 weeks from now"),
    ],
)
def test_ago_says_the_largest_unit_alone(length: timedelta, words: str) -> None:
    now = SetClock().now
    with time_machine.travel(now, tick=False):
        assert ago(now - length).replace("\N{NO-BREAK SPACE}", " ") == words
