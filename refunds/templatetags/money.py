"""Amounts in templates: ``{{ amount|money:currency }}`` and ``{{ amount|figure:currency }}``."""

from decimal import Decimal

from django import template

from refunds.money import format_amount, format_money

register = template.Library()


@register.filter
def money(amount: Decimal | None, currency: str) -> str:
    """Return the amount with its currency, ``USD 27.01``; a dash where there is none."""
    return "–" if amount is None else format_money(amount, currency)


@register.filter
def figure(amount: Decimal | None, currency: str) -> str:
    """Return the amount without its currency, for columns that name it in their head."""
    return "–" if amount is None else format_amount(amount, currency)
