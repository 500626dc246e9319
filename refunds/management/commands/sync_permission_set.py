"""`python manage.py sync_permission_set`: take over who has the permission set in Salesforce.

Safe to run at any time; one at a time.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from refunds.errors import PermissionSetRefused
from refunds.permissions import GROUP_NAME
from refunds.services.permission_set import Changes, permission_set_sync


class Command(BaseCommand):
    help = (
        "Take over who has the permission set DigitalRiver_Connector_Refunds in Salesforce: they "
        "get the group of that name here; those who left lose it and are signed out everywhere. "
        "What was given by hand is left alone. Exit status: 0 done, 1 not done, and nothing was "
        "changed."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would change, and change nothing"
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="do it although more than half, or the last one, would lose the group",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run: bool = options["dry_run"]
        try:
            changes = permission_set_sync(force=options["force"], dry_run=dry_run)
        except PermissionSetRefused as error:
            raise CommandError(str(error)) from None
        for line in _lines(changes, dry_run=dry_run):
            self.stdout.write(line)


def _lines(changes: Changes, *, dry_run: bool) -> list[str]:
    """Return a line for each person, and one that sums up."""
    given, taken = ("Would give", "Would take") if dry_run else ("Gave", "Took")
    return [
        f"In Salesforce: {changes.members} with the permission set.",
        *(f"{given} the group to {name}." for name in changes.given),
        *(f"{taken} the group from {name}, signed out everywhere." for name in changes.taken),
        *(f"By hand, left alone: {name}." for name in changes.by_hand),
        *(f"Not matched: {remark}" for remark in changes.remarks),
        _sum(changes, dry_run=dry_run),
    ]


def _sum(changes: Changes, *, dry_run: bool) -> str:
    if dry_run:
        counts = f"would be given to {len(changes.given)} and taken from {len(changes.taken)}"
        return f"“{GROUP_NAME}” {counts}. This was a trial: nothing was changed."
    return f"“{GROUP_NAME}” was given to {len(changes.given)} and taken from {len(changes.taken)}."
