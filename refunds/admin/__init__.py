"""Django's admin: what the desk keeps to look at, reasons to keep, events to process again.

The desk alone writes its records; here nothing of theirs is added, changed or deleted. Django
finds this package by its name; importing the modules registers their admins.
"""

from refunds.admin import (
    events,
    orders,
    people,
    reasons,
    reconciliation,
    refunds,
    salesforce,
)

__all__ = [
    "events",
    "orders",
    "people",
    "reasons",
    "reconciliation",
    "refunds",
    "salesforce",
]
