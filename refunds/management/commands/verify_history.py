"""`python manage.py verify_history`: find what was changed in the history, and name it.

Reads only, and work at the desk goes on meanwhile. Fails when anything is wrong, for a timer.
"""

from argparse import ArgumentParser
from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from refunds.management.arguments import word
from refunds.models import Refund
from refunds.services.verification import verify_history


class Command(BaseCommand):
    help = (
        "Check the history of every refund, reason and membership, or of one refund: each edit, "
        "gap, deletion and entry put in by hand is named. Exit status: 0 nothing is wrong, 1 "
        "something is, 2 there is no such refund."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--refund",
            type=word,
            metavar="REFERENCE",
            help="check this refund only, by its reference, as R-1234-5678",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        began = monotonic()
        reference = (options["refund"] or "").upper()
        try:
            checked = verify_history(
                reference=reference, found=lambda finding: self.stdout.write(str(finding))
            )
        except Refund.DoesNotExist:
            raise CommandError(
                f"There is no refund {reference}. A reference is written like R-1234-5678.",
                returncode=2,
            ) from None
        took = max(monotonic() - began, 0.001)
        more = f" and {_count(checked.memberships, 'membership')}" if checked.memberships else ""
        self.stdout.write(
            f"Checked {_count(checked.entries, 'entry', 'entries')} of "
            f"{_count(checked.refunds, 'refund')} and {_count(checked.reasons, 'reason')}{more} in "
            f"{took:.1f} s ({checked.entries / took:,.0f} entries a second)."
        )
        if checked.findings:
            raise CommandError(
                f"The history is not as it was written: {_count(checked.findings, 'finding')}."
            )
        self.stdout.write("Nothing is wrong: every history is as it was written.")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
