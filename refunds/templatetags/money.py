"""Amounts in templates: ``{{ amount|money:currency }}`` and ``{{ amount|figure:currency }}``."""

from decimal import Decimal

from django import template
from django.utils.formats import get_format

from refunds.money import format_amount, format_money

register = template.Library()


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """Return the amount with its currency, ``USD 27.01``; a dash where there is none."""
    return "–" if amount is None else _localized(format_money(amount, currency))


@register.filter
def figure(amount: Decimal | None, currency: str) -> str:
    """Return the amount without its currency, for columns that name it in their head."""
    return "–" if amount is None else _localized(format_amount(amount, currency))


def _localized(text: str) -> str:
    """Write the amount with the marks of the desk's language."""
    marks = {",": get_format("THOUSAND_SEPARATOR"), ".": get_format("DECIMAL_SEPARATOR")}
    if marks == {",": ",", ".": "."}:
        return text
    return text.translate(str.maketrans(marks))
