"""`python manage.py reconcile_refunds`: compare the desk's refunds with Digital River's.

Safe to run at any time; one at a time, and one that was broken off can be carried on.
"""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from refunds import selectors
from refunds.errors import ReconciliationRefused
from refunds.management.arguments import day, word
from refunds.models import Difference, Order, ReconciliationRun
from refunds.services.reconciliation import reconcile, reconciliation_carry_on
from refunds.services.reconciliation_runs import reconciliation_unfinished

_PHASES = {
    "theirs": "reading Digital River's refunds",
    "ours": "looking for ours that it did not list",
    "orders": "comparing orders",
}


class Command(BaseCommand):
    help = (
        "Compare the desk's refunds with Digital River's: put right what is only behind, and list "
        "what really differs. Exit status: 0 everything agrees, 1 a difference is open, 2 it could "
        "not be begun or not be finished."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since",
            type=day,
            metavar="YYYY-MM-DD",
            help="compare refunds made on that day (UTC) and later; without it, all there are",
        )
        parser.add_argument(
            "--order", type=word, metavar="NUMBER", help="compare the refunds of one order"
        )
        parser.add_argument(
            "--resume", action="store_true", help="carry on the one that was broken off"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["resume"] and (options["since"] or options["order"]):
            raise CommandError(
                "--resume carries on the one that was broken off, with what it compares: leave "
                "out --since and --order.",
                returncode=2,
            )
        self._told = ""
        try:
            run = self._resume() if options["resume"] else self._begin(**options)
        except ReconciliationRefused as error:
            raise CommandError(str(error), returncode=2) from None
        self._sum_up(run)

    def _begin(
        self, *, since: datetime | None, order: str | None, **options: Any
    ) -> ReconciliationRun:
        found = None
        if order:
            try:
                found = selectors.order_by_number(order)
            except Order.DoesNotExist:
                raise CommandError(
                    f"The desk has no order of the number {order!r}. It is the number that "
                    "Salesforce shows, not Digital River's id.",
                    returncode=2,
                ) from None
        return reconcile(since=since, order=found, on_progress=self._tell)

    def _resume(self) -> ReconciliationRun:
        run = reconciliation_unfinished()
        if run is None:
            raise CommandError(
                "There is nothing to carry on. Start a new one without --resume.", returncode=2
            )
        return reconciliation_carry_on(run_id=run.pk, on_progress=self._tell)

    def _tell(self, run: ReconciliationRun) -> None:
        doing = _PHASES.get(run.phase)
        if doing is None:
            return
        line = f"  {doing}: {run.theirs_read} read there, {run.ours_read} here"
        if line != self._told:
            self.stdout.write(line)
        self._told = line

    def _sum_up(self, run: ReconciliationRun) -> None:
        self.stdout.write(f"Reconciliation {run.pk}: {run.outcome}")
        self.stdout.write(
            f"Read at Digital River: {run.theirs_read}. Read here: {run.ours_read}. "
            f"Adopted: {run.adopted}. Brought up to date: {run.brought_up_to_date}."
        )
        totals = selectors.totals_view(run)
        if totals.disagree:
            self.stdout.write("Control totals that do not agree:")
        for total in totals.rows:
            if not total.agrees:
                self.stdout.write(
                    f"  {total.day} {total.currency}: here {total.our_count} of "
                    f"{total.our_amount.normalize():f}, there {total.their_count} of "
                    f"{total.their_amount.normalize():f}"
                )
        if run.state != ReconciliationRun.State.FINISHED:
            raise CommandError(
                "It is not finished. Run `manage.py reconcile_refunds --resume` to carry it on.",
                returncode=2,
            )
        if run.open_differences:
            self._list_open(run)
            # For a timer: whoever watches it is told.
            raise CommandError(run.outcome, returncode=1)

    def _list_open(self, run: ReconciliationRun) -> None:
        rows = Difference.objects.filter(resolution="").order_by("-found_at", "-pk")
        if run.order is not None:
            rows = rows.filter(order=run.order)
        self.stdout.write("Open differences, newest first:")
        for difference in rows[:_MOST_LISTED]:
            self.stdout.write(f"  {difference.get_kind_display()}: {difference.explanation}")
        if run.open_differences > _MOST_LISTED:
            self.stdout.write(
                f"  and {run.open_differences - _MOST_LISTED} more, on the page Reconciliation"
            )


#: How many open differences are written out.
_MOST_LISTED = 20
