"""`python manage.py check_salesforce`: what the desk reaches in Salesforce, and what it lacks.

Reads only; safe to run at any time. For setting up, and when the mirror says that a field or a
right is missing.
"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from refunds import gateways
from refunds.salesforce.errors import SalesforceError
from refunds.services.salesforce_check import Finding, Section, Verdict, salesforce_check

_MARKS = {Verdict.FINE: "ok     ", Verdict.LACKING: "LACKING", Verdict.NOTE: "note   "}


class Command(BaseCommand):
    help = (
        "Tell object by object and field by field what the desk reaches in Salesforce and what "
        "the integration user lacks. Exit status: 0 nothing is lacking, 1 something is, 2 "
        "Salesforce is not configured or could not be looked at."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if not gateways.salesforce_is_configured():
            raise CommandError(
                "Salesforce is not configured: set SALESFORCE_DOMAIN and SALESFORCE_CONSUMER_KEY, "
                "and SALESFORCE_CONSUMER_SECRET, or SALESFORCE_PRIVATE_KEY_FILE and "
                "SALESFORCE_USERNAME. docs/salesforce.md tells how.",
                returncode=2,
            )
        lacking = 0
        try:
            for section in salesforce_check():
                lacking += self._tell(section)
        except SalesforceError as error:
            raise CommandError(str(error), returncode=2) from None
        if lacking:
            things = "thing is" if lacking == 1 else "things are"
            raise CommandError(f"{lacking} {things} lacking, marked above.", returncode=1)
        self.stdout.write("Nothing is lacking.")

    def _tell(self, section: Section) -> int:
        """Write a section; returns how many things are lacking in it."""
        self.stdout.write(section.title)
        for finding in section.findings:
            self.stdout.write(self._line(finding))
        return sum(finding.verdict is Verdict.LACKING for finding in section.findings)

    def _line(self, finding: Finding) -> str:
        line = f"  {_MARKS[finding.verdict]} {finding.name}: {finding.sentence}"
        return self.style.ERROR(line) if finding.verdict is Verdict.LACKING else line
