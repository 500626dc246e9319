"""`python manage.py sweep`: do one round of everything that is due, or one every so many seconds.

For a timer or a service of its own where Celery is not used; any number may run at once.
"""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections

from refunds.management.arguments import seconds
from refunds.management.rounds import stop_signal
from refunds.services.sweeping import Done, WentWrong, sweep

_IN_WORDS = {"unreadable": "not known, because Digital River could not be asked"}


class Command(BaseCommand):
    help = (
        "Do one round of everything that is due: read and process Digital River's events, look "
        "where unsettled refunds stand, send those that wait, carry on close-outs, drop expired "
        "drafts, and check that no more than was captured is given back. Safe to run at any time, "
        "any number at once. Exit status: 0 done, though Digital River may have been away; 1 a "
        "step went wrong."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--every",
            type=seconds,
            metavar="SECONDS",
            help=(
                "go on with this pause between two rounds until SIGTERM or SIGINT; the round "
                "under way is finished first"
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        every: int | None = options["every"]
        if every is None:
            done = sweep()
            self._tell(done)
            if any(_is_wrong(each) for each in done.values()):
                raise CommandError("A step went wrong; the log says more.")
            return
        with stop_signal() as stop:
            self.stdout.write(f"A round every {every} seconds.")
            self.stdout.flush()
            stopped = False
            while not stopped:
                # The database may have been restarted since the last round.
                close_old_connections()
                self._tell(sweep(), only_news=True)
                stopped = stop.wait(every)
        self.stdout.write("Stopped.")

    def _tell(self, done: Mapping[str, Done], *, only_news: bool = False) -> None:
        """Write a line for each step, or for those that had something to do."""
        for step, outcome in done.items():
            if outcome or not only_news:
                self.stdout.write(f"{step.capitalize()}: {_in_words(outcome)}")
        self.stdout.flush()


def _in_words(outcome: Done) -> str:
    if not isinstance(outcome, Mapping):
        return str(outcome)
    counts = [
        f"{count} {_IN_WORDS.get(kind, kind.replace('_', ' '))}" for kind, count in outcome.items()
    ]
    return ", ".join(counts) or "nothing was due"


def _is_wrong(outcome: Done) -> bool:
    if isinstance(outcome, Mapping):
        return bool(outcome.get("went wrong"))
    return isinstance(outcome, WentWrong)
