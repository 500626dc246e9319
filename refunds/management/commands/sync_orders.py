"""`python manage.py sync_orders`: bring the mirror up to date with Salesforce.

Safe to run at any time; one at a time, and one that was broken off is carried on.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from time import monotonic
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from refunds.errors import OrderNotFetched, RecordUnusable, SyncRefused
from refunds.management.arguments import count, day, seconds
from refunds.management.rounds import stop_signal
from refunds.models import SetAside, SyncRun
from refunds.services.mirror.fetching import order_fetch, salesforce_order_id
from refunds.services.mirror.money import MoneyRead, money_read
from refunds.services.mirror.syncing import Progress as Told
from refunds.services.mirror.syncing import sync

_logger = structlog.get_logger(__name__)

#: Seconds between two lines where no terminal shows a bar.
_EVERY = 10
#: How many records that were set aside are written out.
_MOST_LISTED = 20
_DOING = {
    SyncRun.Phase.ORDERS: "Orders",
    SyncRun.Phase.LINES: "Order products",
    SyncRun.Phase.DELETED_ORDERS: "Deleted orders",
    SyncRun.Phase.DELETED_LINES: "Deleted order products",
    SyncRun.Phase.GONE: "What is gone without a trace",
    SyncRun.Phase.AGAIN: "Records set aside, once more",
}
_COUNTS = {SyncRun.Phase.ORDERS: "orders_read", SyncRun.Phase.LINES: "lines_read"}


class Command(BaseCommand):
    help = (
        "Bring the mirror up to date with Salesforce: everything the first time, then what "
        "changed. What was broken off is carried on. Exit status: 0 done, though records may be "
        "set aside; 1 it stopped and says why; 2 it could not be begun."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--full",
            action="store_true",
            help="read everything anew, and find what is gone from Salesforce without a trace",
        )
        what.add_argument(
            "--since",
            type=day,
            metavar="YYYY-MM-DD",
            help="read what changed on that day (UTC) and later",
        )
        what.add_argument(
            "--order", metavar="NUMBER", help="fetch one order, by its number or its Salesforce id"
        )
        what.add_argument(
            "--every",
            type=seconds,
            metavar="SECONDS",
            help="go on with this pause between two syncs until SIGTERM or SIGINT",
        )

        parser.add_argument(
            "--money",
            type=count,
            metavar="ORDERS",
            help=(
                "then read from Digital River the money of so many orders that were never read, "
                "newest first; without it as many as SALESFORCE_SYNC_MONEY says"
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        money = options["money"] or settings.SALESFORCE_SYNC_MONEY
        if options["order"] and options["money"]:
            raise CommandError("--money goes with a sync, not with --order.", returncode=2)
        if options["order"]:
            self._fetch(options["order"].strip())
        elif options["every"]:
            self._go_on(options["every"], money=money)
        else:
            try:
                self._once(full=options["full"], since=options["since"])
                if money:
                    self._read_money(money)
            except KeyboardInterrupt:
                raise CommandError(
                    "Stopped. What was read is kept; run the command again to go on."
                ) from None

    def _once(self, *, full: bool, since: datetime | None) -> None:
        try:
            with self._progress() as told:
                run = sync(started_by="command", full=full, since=since, on_progress=told)
        except SyncRefused as error:
            raise CommandError(str(error), returncode=2) from None
        self._sum_up(run)

    def _read_money(self, most: int) -> None:
        with self._progress_of_money(most) as told:
            done = money_read(most=most, on_order=told)
        self.stdout.write(_sentence(done))
        if done.stopped:
            raise CommandError(f"The rest is left for the next time. {done.stopped}")

    def _go_on(self, every: int, *, money: int) -> None:
        """Sync again and again; one that stopped says why and is carried on by the next."""

        def stop_between_pages(run: SyncRun) -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        def stop_between_orders(number: int) -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        self.stdout.write(f"A sync every {every} seconds.")
        with stop_signal() as stop:
            while not stop.is_set():
                # The database may have been restarted since the last round.
                close_old_connections()
                with suppress(KeyboardInterrupt):
                    self._one_of_many(stop_between_pages)
                    if money:
                        self._some_money(money, stop_between_orders)
                stop.wait(every)
        self.stdout.write("Stopped.")

    def _one_of_many(self, on_progress: Told) -> None:
        try:
            run = sync(started_by="command", on_progress=on_progress)
        except SyncRefused as error:
            self.stdout.write(str(error))
        except Exception as error:
            # A database that is restarted, say: what was read is kept, and the next one goes on.
            _logger.exception("sync_orders.round_failed")
            self.stdout.write(
                f"This sync went wrong ({type(error).__name__}); the log says more. The next one "
                "goes on."
            )
        else:
            if run.state != SyncRun.State.FINISHED or run.orders_changed or run.orders_created:
                self.stdout.write(
                    f"Sync {run.pk}: {run.orders_created:,} new orders, "
                    f"{run.orders_changed:,} changed. {run.outcome}"
                )
        self.stdout.flush()

    def _some_money(self, most: int, on_order: Callable[[int], None]) -> None:
        try:
            done = money_read(most=most, on_order=on_order)
        except Exception as error:
            _logger.exception("sync_orders.money_failed")
            self.stdout.write(
                f"Reading money went wrong ({type(error).__name__}); the log says more."
            )
        else:
            if done.read or done.refused or done.failed or done.stopped:
                self.stdout.write(f"{_sentence(done)} {done.stopped}".rstrip())
        self.stdout.flush()

    def _fetch(self, told: str) -> None:
        try:
            salesforce_id = salesforce_order_id(told)
        except ValueError:
            salesforce_id = ""
        try:
            if salesforce_id:
                order = order_fetch(salesforce_id=salesforce_id)
            else:
                order = order_fetch(order_number=told)
        except (OrderNotFetched, RecordUnusable) as error:
            raise CommandError(str(error)) from None
        if order is None:
            raise CommandError(f"Salesforce has no order {told}.")
        self.stdout.write(f"Order {order.order_number} is mirrored.")

    @contextmanager
    def _progress(self) -> Iterator[Told]:
        """Give what shows how far a run is: a bar on a terminal, lines elsewhere."""
        if not self.stdout.isatty():
            yield _Lines(self.stdout.write)
            return
        with _bar() as bar:
            yield _Bar(bar)

    @contextmanager
    def _progress_of_money(self, most: int) -> Iterator[Callable[[int], None]]:
        """Give what shows of how many orders the money was asked for: a bar on a terminal."""
        if not self.stdout.isatty():
            yield lambda _: None
            return
        with _bar() as bar:
            task = bar.add_task("Money", total=most)
            yield lambda number: bar.update(task, completed=number)

    def _sum_up(self, run: SyncRun) -> None:
        self.stdout.write(
            f"Orders: {run.orders_read:,} read, {run.orders_created:,} new, "
            f"{run.orders_changed:,} changed, {run.orders_deleted:,} deleted. "
            f"Order products: {run.lines_read:,} read, {run.lines_created:,} new, "
            f"{run.lines_changed:,} changed, {run.lines_deleted:,} deleted."
        )
        if run.set_aside:
            self._list_set_aside(run.set_aside)
        if run.state != SyncRun.State.FINISHED:
            raise CommandError(f"Sync {run.pk} stopped. {run.outcome}")
        self.stdout.write(f"Sync {run.pk}: {run.outcome}")

    def _list_set_aside(self, count: int) -> None:
        self.stdout.write(f"Set aside: {count:,}")
        for record in SetAside.objects.all()[:_MOST_LISTED]:
            name = record.salesforce_id or "without an id"
            self.stdout.write(f"  {record.object_name} {name}: {record.reason}")
        if count > _MOST_LISTED:
            self.stdout.write(f"  and {count - _MOST_LISTED:,} more, in the administration")


def _sentence(done: MoneyRead) -> str:
    told = f"Money of orders: {done.read:,} read, {done.refused:,} refused by Digital River"
    failed = f", {done.failed:,} went wrong (the log says more)" if done.failed else ""
    return f"{told}{failed}."


class _Lines:
    """Writes a line when a phase begins, and every few seconds how far it is."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self._phase = ""
        self._next = 0.0
        self._began = monotonic()

    def __call__(self, run: SyncRun) -> None:
        now = monotonic()
        if run.phase == self._phase and now < self._next:
            return
        doing = _DOING.get(SyncRun.Phase(run.phase))
        if doing is None:
            return
        if run.phase != self._phase:
            self._phase, self._began = run.phase, now
        self._next = now + _EVERY
        self._write(f"  {doing}{_how_far(run, now - self._began)}")


def _how_far(run: SyncRun, seconds: float) -> str:
    column = _COUNTS.get(SyncRun.Phase(run.phase))
    if column is None:
        return ""
    read = getattr(run, column)
    of = "" if run.expected is None else f" of {run.expected:,}"
    rate = f", {read / seconds:,.0f} a second" if seconds >= 1 and read else ""
    return f": {read:,}{of} read{rate}"


class _Rate(ProgressColumn):
    """Records a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(),
    )


class _Bar:
    """Shows one bar for each phase that has something to count."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[SyncRun.Phase, TaskID] = {}

    def __call__(self, run: SyncRun) -> None:
        phase = SyncRun.Phase(run.phase)
        if phase not in _DOING:
            return
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(_DOING[phase], total=None)
        for each, task in self._tasks.items():
            column = _COUNTS.get(each)
            read = getattr(run, column) if column else 0
            # A phase that is over is over, however many Salesforce had told of.
            total = run.expected if each == phase else read
            self._bar.update(task, total=total, completed=read)
