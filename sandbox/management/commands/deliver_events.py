"""`python manage.py deliver_events`: deliver the stand-in's events to a webhook."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from sandbox.delivery import HttpSender, Round, deliver_to
from sandbox.errors import RefusedError, StateFileError
from sandbox.guard import refuse_beside_live_settings
from sandbox.store import Sandbox
from sandbox.webhook import Webhook, parse_webhook

LONGEST_PAUSE = 86_400


class Command(BaseCommand):
    """Delivers what is due once, or every so many seconds until it is interrupted."""

    help = "Deliver the Digital River stand-in's events to a webhook, signed."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--to", required=True, metavar="URL", help="the webhook's address")
        parser.add_argument(
            "--secret",
            action="append",
            help="sign with this secret, instead of DIGITALRIVER_WEBHOOK_SECRETS; may be repeated",
        )
        parser.add_argument(
            "--every",
            type=float,
            metavar="SECONDS",
            help="go on until interrupted, with this pause; without it once",
        )
        parser.add_argument("--duplicates", default=0, help="how likely an event comes twice, 0-1")
        parser.add_argument("--reorder", default=0, help="how many later events may overtake one")
        parser.add_argument("--delay", default=0, help="the most seconds an event is late")
        parser.add_argument("--lose", default=0, help="how likely an event never comes, 0-1")
        parser.add_argument("--seed", default=0, help="the seed of what goes wrong")

    def handle(self, *args: Any, **options: Any) -> None:
        """Deliver; raises CommandError where the stand-in must not or cannot run."""
        try:
            refuse_beside_live_settings()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        every: float | None = options["every"]
        if every is not None and not 0 < every <= LONGEST_PAUSE:
            raise CommandError(f"--every is greater than 0, and at most {LONGEST_PAUSE}.")
        webhook = _webhook(options)
        try:
            # What falls due is settled by whoever looks first, so this has to know how.
            sandbox = Sandbox(
                settings.SANDBOX_STATE,
                settle_after=timedelta(seconds=int(settings.SANDBOX_SETTLE_SECONDS)),
                expire_after=timedelta(days=int(getattr(settings, "SANDBOX_EXPIRE_DAYS", 30))),
            )
            with HttpSender(webhook.address) as send:
                self._report(deliver_to(sandbox, webhook, send), always=True)
                while every is not None:
                    time.sleep(every)
                    self._report(deliver_to(sandbox, webhook, send))
        except StateFileError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")

    def _report(self, outcome: Round, *, always: bool = False) -> None:
        if always or outcome != Round():
            self.stdout.write(
                f"{outcome.acknowledged} acknowledged, {outcome.failed} to be tried again."
            )


def _webhook(options: dict[str, Any]) -> Webhook:
    secrets = options["secret"] or list(settings.DIGITALRIVER_WEBHOOK_SECRETS)
    if not secrets:
        raise CommandError(
            "There is no secret to sign with: set DIGITALRIVER_WEBHOOK_SECRETS, or give --secret."
        )
    misbehaviour = {
        name: options[name] for name in ("duplicates", "reorder", "delay", "lose", "seed")
    }
    try:
        return parse_webhook({"address": options["to"], "secrets": secrets, **misbehaviour})
    except RefusedError as error:
        name = "to" if error.parameter == "address" else error.parameter
        raise CommandError(f"--{name}: {error.message}") from error
