"""`python manage.py settle_refunds`: see where unsettled refunds stand, and drop expired drafts.

For a timer: safe to run at any time and any number at once.
"""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from refunds.models import Refund
from refunds.services.drafts import drafts_expire
from refunds.services.refunds import refunds_settle


def _limit(text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ArgumentTypeError("it must be a whole number of at least 1")
    return limit


class Command(BaseCommand):
    help = (
        "Ask Digital River where unsettled refunds stand, send those that wait, and drop expired "
        "drafts. Safe to run at any time, any number at once."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--limit", type=_limit, metavar="N", help="look at no more than N refunds"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Drafts expired: {drafts_expire()}")
        counts = dict(refunds_settle(limit=options["limit"]))
        unreadable = counts.pop("unreadable", 0)
        self.stdout.write(f"Refunds looked at: {sum(counts.values()) + unreadable}")
        for state in Refund.State:
            if state in counts:
                self.stdout.write(f"  {state.label}: {counts[state]}")
        if unreadable:
            # No failure of this command: the next run looks again.
            self.stdout.write(
                f"  Not known, because Digital River could not be asked: {unreadable}"
            )
