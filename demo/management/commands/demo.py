"""`python manage.py demo`: make the demo's accounts and fill the desk with the shop's orders."""

import logging
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo.accounts import ACCOUNTS, accounts_make
from demo.filling import Filling, orders_fill
from demo.guard import DemoRefusedError
from demo.history import history_make
from refunds.errors import OrderUnreadable
from sandbox.errors import StateFileError
from sandbox.shop import SHOWCASE

#: Orders to begin with, each with what it shows.
WORTH_TRYING = (
    ("all_options", "every refund option is open"),
    ("worked_sample", "two units, shipping and tax: USD 27.01 in all"),
    ("landed_cost", "importer duty and importer tax"),
    ("jpy", "a currency without decimals"),
    ("kwd", "a currency with three decimals"),
    ("partial_whole_order", "refunded in part before, at Digital River"),
    ("wire_transfer", "the customer is asked for bank details"),
    ("failing_card", "the refund fails"),
    ("dispute", "cannot be refunded, and why"),
)


class Command(BaseCommand):
    help = "Make the demo accounts and fill the desk with made-up orders; safe to run again."
    # `runserver` checks, and a second start should take no time.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--address",
            default="http://127.0.0.1:8000/",
            help="where the desk is served, to be printed (%(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            accounts_make()
            with _quiet_services():
                self._say_filling(orders_fill(progress=self._show_progress))
                self._make_history()
        except (DemoRefusedError, StateFileError) as error:
            raise CommandError(str(error)) from error
        self._print(options["address"])

    def _show_progress(self, done: int, total: int) -> None:
        """Count on one line of a terminal; elsewhere say nothing."""
        if self.stdout.isatty():
            ending = "\n" if done == total else ""
            self.stdout.write(f"\rReading figures: {done} of {total} orders", ending=ending)
            self.stdout.flush()

    def _say_filling(self, filling: Filling) -> None:
        if filling.mirrored:
            self.stdout.write(f"Filled the desk with {filling.mirrored} made-up orders.")
        if filling.sync_trouble:
            self.stdout.write(
                self.style.WARNING(f"Not all orders came from Salesforce: {filling.sync_trouble}")
            )
        if filling.trouble:
            where = settings.DIGITALRIVER_API_URL or "the stand-in in this process"
            if filling.read:
                self.stdout.write("")
            self.stdout.write(
                self.style.WARNING(
                    f"The figures of {filling.unread} orders come when each is opened, because "
                    f"{where} gave none: {filling.trouble}"
                )
            )

    def _make_history(self) -> None:
        try:
            made = history_make()
        except OrderUnreadable as error:
            self.stdout.write(self.style.WARNING(f"The history of refunds ends early: {error}"))
        else:
            if made:
                self.stdout.write(f"Made {made} refunds of the last weeks.")

    def _print(self, address: str) -> None:
        self.stdout.write(f"\nThe refund desk: {address}\n")
        self.stdout.write(f"Sign in with the password {settings.DEMO_PASSWORD} as\n\n")
        self._table([(each.username, each.full_name, f"may {each.may}") for each in ACCOUNTS])
        self.stdout.write("\nOrders worth trying\n\n")
        self._table([(SHOWCASE[case], shows) for case, shows in WORTH_TRYING])
        self.stdout.write("")

    def _table(self, rows: Sequence[tuple[str, ...]]) -> None:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write(f"  {'   '.join(cells)}".rstrip())


@contextmanager
def _quiet_services() -> Iterator[None]:
    """Keep the several hundred calls of a filling out of the log, but not what goes wrong."""
    logger = logging.getLogger("refunds")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
