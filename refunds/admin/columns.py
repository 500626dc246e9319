"""Columns that several admins have."""

from typing import Any

from django.contrib import admin

from refunds.money import format_money


def money_column(column: str, description: str, *, of: str = "") -> Any:
    """Return a column that shows an amount with its currency, which ``of`` leads to."""

    @admin.display(description=description)
    def shown(row: Any) -> str:
        amount = getattr(row, column)
        holder = getattr(row, of) if of else row
        return "–" if amount is None else format_money(amount, holder.currency)

    shown.__name__ = column
    return shown
