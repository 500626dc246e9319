"""`python manage.py sandbox`: serve the stand-ins, Digital River and Salesforce, over HTTP."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from sandbox.application import Application
from sandbox.delivery import DeliveryThread
from sandbox.errors import RefusedError, StateFileError
from sandbox.guard import refuse_beside_live_settings
from sandbox.salesforce.organisation import Organisation
from sandbox.serving import StandIns, serve
from sandbox.store import Sandbox
from sandbox.webhook import Webhook, parse_webhook

MOST_ORDERS = 10_000_000


class Command(BaseCommand):
    """Serves the stand-ins until it is interrupted."""

    help = "Serve the stand-ins for Digital River and Salesforce over HTTP."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--port", type=int, default=9000)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--state", type=Path, help="the state file (SANDBOX_STATE)")
        parser.add_argument("--settle-seconds", type=int, help="how long a refund stays pending")
        parser.add_argument(
            "--rate-limit", type=int, help="requests a second and key; without it any number"
        )

        parser.add_argument(
            "--webhook",
            metavar="URL",
            help="deliver events there, signed with DIGITALRIVER_WEBHOOK_SECRETS",
        )
        parser.add_argument(
            "--orders",
            type=int,
            metavar="N",
            help="let Salesforce have so many made-up orders more, with three lines each",
        )
        parser.add_argument(
            "--job-seconds", type=float, metavar="S", help="how long a bulk query job takes"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve; raises CommandError where the stand-in must not or cannot run."""
        try:
            refuse_beside_live_settings()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        settle_seconds = options["settle_seconds"]
        if settle_seconds is None:
            settle_seconds = int(getattr(settings, "SANDBOX_SETTLE_SECONDS", 300))
        if settle_seconds < 0:
            raise CommandError("--settle-seconds must not be negative.")
        try:
            sandbox = Sandbox(
                options["state"] or settings.SANDBOX_STATE,
                settle_after=timedelta(seconds=settle_seconds),
                expire_after=timedelta(days=int(getattr(settings, "SANDBOX_EXPIRE_DAYS", 30))),
            )
            if options["webhook"] is not None:
                sandbox.register_webhook(_webhook(options["webhook"]))
            _shape(sandbox, options)
            application = Application(sandbox, rate_limit=options["rate_limit"])
            server = serve(StandIns(application), options["host"], options["port"])
        except (StateFileError, OSError) as error:
            raise CommandError(str(error)) from error
        address = f"http://{server.host}:{server.server_port}"
        self.stdout.write(f"Digital River stand-in: {address}")
        self.stdout.write(f"Salesforce stand-in: {address} (SALESFORCE_URL)")
        self.stdout.write("Interrupt to stop.")
        # Always there, since a webhook may be registered while the stand-in runs.
        delivery = DeliveryThread(sandbox)
        delivery.start()
        # An interrupt ends serve_forever() in good order.
        server.serve_forever()
        delivery.stop()
        self.stdout.write("Stopped.")


def _shape(sandbox: Sandbox, options: dict[str, Any]) -> None:
    """Keep in the state file what Salesforce's stand-in is told, for every process it serves."""
    changes = {
        name: options[name] for name in ("orders", "job_seconds") if options[name] is not None
    }
    if any(value < 0 for value in changes.values()):
        raise CommandError("--orders and --job-seconds must not be negative.")
    if options["orders"] is not None and options["orders"] > MOST_ORDERS:
        raise CommandError(f"--orders is at most {MOST_ORDERS}.")
    if changes:
        Organisation(sandbox).reshape(**changes)


def _webhook(address: str) -> Webhook:
    secrets = list(settings.DIGITALRIVER_WEBHOOK_SECRETS)
    if not secrets:
        raise CommandError(
            "There is no secret to sign events with: set DIGITALRIVER_WEBHOOK_SECRETS."
        )
    try:
        return parse_webhook({"address": address, "secrets": secrets})
    except RefusedError as error:
        raise CommandError(f"--webhook: {error.message}") from error
