"""The sync: everything from Salesforce into the mirror the first time, then what changed.

A run goes through phases, each a stream that is never held as a whole: orders, order products,
what was deleted of both, what is gone without a trace (only a run of everything that finds a
mirror already), and records set aside that may do now. What a page came to is written in one
transaction with the page that comes next, so a run that stopped or was killed goes on behind the
last page it wrote. One process at a time has the run (see ``runs``).
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog
from django.conf import settings
from django.db import Error, transaction
from django.utils import timezone

from refunds.errors import SyncRefused
from refunds.gateways import salesforce, salesforce_is_configured
from refunds.models import Order, SeenRecord, SetAside, SyncRun
from refunds.salesforce import queries
from refunds.salesforce.client import CsvPage, RecordPage, SalesforceClient
from refunds.salesforce.errors import JobFailed, LocatorExpired, RightMissing, SalesforceError
from refunds.salesforce.queries import Fields
from refunds.services.mirror.again import again_next
from refunds.services.mirror.gone import gone_next, gone_too_many, seen_add
from refunds.services.mirror.reading import (
    LINES,
    ORDERS,
    Reading,
    bulk_page,
    deleted_apply,
    deleted_since,
    page_load,
    reads_by_bulk,
)
from refunds.services.mirror.runs import SyncHold, TakenOverError, sync_begin, sync_watermark
from refunds.services.mirror.setting_aside import ORDER
from refunds.services.orders import Clock

_logger = structlog.get_logger(__name__)

Progress = Callable[[SyncRun], None]
Phase = SyncRun.Phase

_NEXT = {
    Phase.ORDERS: Phase.LINES,
    Phase.LINES: Phase.DELETED_ORDERS,
    Phase.DELETED_ORDERS: Phase.DELETED_LINES,
    Phase.DELETED_LINES: Phase.GONE,
    Phase.GONE: Phase.AGAIN,
    Phase.AGAIN: Phase.DONE,
}
#: So often a phase is begun anew whose pages Salesforce no longer has.
_MOST_BEGINNINGS = 3
_GOES_ON = "What was read so far is kept, and the next sync goes on from there."


def sync(
    *,
    started_by: str,
    full: bool = False,
    since: datetime | None = None,
    clock: Clock = timezone.now,
    client: SalesforceClient | None = None,
    on_progress: Progress | None = None,
) -> SyncRun:
    """Bring the mirror up to date with Salesforce; ``since`` is by Salesforce's clock.

    Without ``full`` and ``since`` it goes on with what stopped, else reads what changed since the
    last time, or everything the first time. Returns the run as it ended: *finished*, or *stopped*
    with the reason. Raises ``SyncRefused`` where no organisation is set, or while another process
    has a run under way.
    """
    if client is None:
        if not salesforce_is_configured():
            raise SyncRefused(
                "Salesforce is not set up for this desk: set SALESFORCE_DOMAIN and what goes with "
                "it (see docs/salesforce.md)."
            )
        client = salesforce()
    hold = sync_begin(started_by=started_by, full=full, since=since, clock=clock)
    worker = _Worker(hold, client=client, clock=clock, on_progress=on_progress or _silent)
    return worker.work()


def _silent(run: SyncRun) -> None:
    """Tell nobody."""


class _Worker:
    """One process's work on a run."""

    def __init__(
        self, hold: SyncHold, *, client: SalesforceClient, clock: Clock, on_progress: Progress
    ) -> None:
        self._hold = hold
        self._run = hold.run
        self._client = client
        self._clock = clock
        self._on_progress = on_progress
        self._fields = Fields(settings.SALESFORCE_NAMESPACE)
        self._phases: dict[str, Callable[[], None]] = {
            Phase.ORDERS: lambda: self._read(ORDERS),
            Phase.LINES: lambda: self._read(LINES),
            Phase.DELETED_ORDERS: lambda: self._deleted(ORDERS),
            Phase.DELETED_LINES: lambda: self._deleted(LINES),
            Phase.GONE: self._gone,
            Phase.AGAIN: self._again,
        }

    def work(self) -> SyncRun:
        """Go through what is left of the phases; returns the run as it ended."""
        log = _logger.bind(run=self._run.pk)
        try:
            self._prepare()
            while self._run.phase != Phase.DONE:
                self._phase()
            self._finish()
            log.info("sync.finished", orders=self._run.orders_read, lines=self._run.lines_read)
        except TakenOverError:
            log.warning("sync.taken_over")
        except JobFailed as error:
            log.warning("sync.stopped", reason=str(error))
            self._stop(f"{error} {_GOES_ON}", job_id="", locator="")
        except (SalesforceError, SyncRefused) as error:
            log.warning("sync.stopped", reason=str(error))
            self._stop(f"{error} {_GOES_ON}")
        except KeyboardInterrupt:
            self._stop(f"Stopped by hand. {_GOES_ON}")
            raise
        except Exception as error:
            log.exception("sync.went_wrong")
            self._stop(
                f"The desk could not go on ({type(error).__name__}); tell an administrator. "
                f"{_GOES_ON}"
            )
            raise
        self._run.refresh_from_db()
        return self._run

    def _stop(self, outcome: str, **changes: object) -> None:
        # A run that could not even be left counts as gone in a while, and is carried on as well.
        with suppress(TakenOverError, Error):
            self._hold.stop(outcome, **changes)

    def _prepare(self) -> None:
        """Learn Salesforce's clock and whether its records name a currency."""
        try:
            described = self._client.describe(ORDER)
        except RightMissing:
            raise SyncRefused(
                "The integration user does not see the object Order in Salesforce. Run "
                "`manage.py check_salesforce`, which names each right that it needs."
            ) from None
        self._client.require_calls_left()
        has_currency = "CurrencyIsoCode" in described.fields
        if not has_currency and not settings.SALESFORCE_CURRENCY:
            raise SyncRefused(
                "This Salesforce organisation has one currency, so its orders name none: set "
                "SALESFORCE_CURRENCY to its ISO code, such as USD."
            )
        self._fields = Fields(settings.SALESFORCE_NAMESPACE, has_currency=has_currency)
        run = self._run
        if run.watermark is None:
            now = self._client.server_time or self._clock()
            self._hold.write(
                watermark=sync_watermark(run=run, server_time=now),
                keeps_seen=run.kind == SyncRun.Kind.FULL and Order.objects.exists(),
            )

    def _phase(self) -> None:
        """Do the phase at hand, anew where Salesforce no longer has its pages."""
        phase = self._run.phase
        self._on_progress(self._run)
        for beginning in range(1, _MOST_BEGINNINGS + 1):
            try:
                self._phases[phase]()
            except LocatorExpired:
                if beginning == _MOST_BEGINNINGS:
                    raise
                _logger.warning("sync.phase_anew", run=self._run.pk, phase=phase)
                self._begin_anew(phase)
            else:
                return

    def _begin_anew(self, phase: str) -> None:
        anew: dict[str, object] = {"job_id": "", "locator": "", "expected": None}
        with transaction.atomic():
            for reading, of in ((ORDERS, Phase.ORDERS), (LINES, Phase.LINES)):
                if phase == of:
                    anew[f"{reading.counts}_read"] = 0
                    SeenRecord.objects.filter(object_name=reading.sobject).delete()
            self._hold.write(**anew)

    # -- the phases

    def _read(self, reading: Reading) -> None:
        if reads_by_bulk(self._run):
            self._read_by_bulk(reading)
            return
        assert self._run.since is not None
        soql = reading.query(self._fields, self._run.since)
        self._walk(soql, lambda page: self._load(reading, page))

    def _read_by_bulk(self, reading: Reading) -> None:
        run, client = self._run, self._client
        if not run.job_id:
            job_id = client.start_bulk(reading.bulk_query(self._fields, run.since))
            self._hold.write(job_id=job_id, locator="", expected=None)
        job_id = run.job_id
        told = client.wait_for_bulk(job_id, on_wait=self._wait)
        if run.expected != told.records:
            self._hold.write(expected=told.records)
        phase = run.phase
        while run.phase == phase:
            client.require_calls_left()
            self._load(reading, bulk_page(client, job_id, run.locator))
        client.end_bulk(job_id)

    def _wait(self) -> None:
        self._hold.beat()
        self._on_progress(self._run)

    def _walk(
        self, soql: str, write: Callable[[RecordPage], None], *, deleted: bool = False
    ) -> None:
        """Write a query's pages from the one that comes next; each moves the run on."""
        run, phase = self._run, self._run.phase
        while run.phase == phase:
            self._client.require_calls_left()
            if run.locator:
                page = self._client.next_page(run.locator)
            else:
                page = self._client.query_page(soql, deleted=deleted)
                self._hold.write(expected=page.total)
            if page.locator and page.locator == run.locator:
                raise LocatorExpired("Salesforce sent the same page twice.")
            write(page)

    def _load(self, reading: Reading, page: CsvPage | RecordPage) -> None:
        """Write a page with how far the run is, all or nothing."""
        run, of = self._run, reading.counts
        with transaction.atomic():
            loaded = page_load(
                reading,
                page,
                fields=self._fields,
                currency=settings.SALESFORCE_CURRENCY,
                at=self._clock(),
                run=run,
            )
            if run.keeps_seen:
                seen_add(reading.sobject, loaded.ids)
            self._advance(
                page.locator,
                **{
                    f"{of}_read": getattr(run, f"{of}_read") + loaded.read,
                    f"{of}_created": getattr(run, f"{of}_created") + loaded.created,
                    f"{of}_changed": getattr(run, f"{of}_changed") + loaded.changed,
                },
            )
        self._on_progress(run)

    def _deleted(self, reading: Reading) -> None:
        soql = queries.deleted(reading.sobject, deleted_since(self._run))
        self._walk(soql, lambda page: self._apply_deleted(reading, page), deleted=True)

    def _apply_deleted(self, reading: Reading, page: RecordPage) -> None:
        count = f"{reading.counts}_deleted"
        with transaction.atomic():
            deleted = deleted_apply(reading, page)
            self._advance(page.locator, **{count: getattr(self._run, count) + deleted})
        self._on_progress(self._run)

    def _gone(self) -> None:
        """Find what a run of everything did not read, though the mirror has it."""
        run = self._run
        if not run.keeps_seen or (not run.locator and gone_too_many(run)):
            self._hold.write(**self._next_phase())
            return
        while run.phase == Phase.GONE:
            with transaction.atomic():
                step = gone_next(run, self._clock())
                self._advance(
                    step.locator,
                    orders_deleted=run.orders_deleted + step.orders,
                    lines_deleted=run.lines_deleted + step.lines,
                )
            self._on_progress(run)

    def _again(self) -> None:
        """Ask once more for records that were set aside, and may do by now."""
        again_next(
            client=self._client,
            fields=self._fields,
            currency=settings.SALESFORCE_CURRENCY,
            at=self._clock(),
            on_each=self._wait,
        )
        self._hold.write(**self._next_phase())

    def _advance(self, locator: str, **changes: object) -> None:
        if locator:
            self._hold.write(locator=locator, **changes)
        else:
            self._hold.write(**self._next_phase(), **changes)

    def _next_phase(self) -> dict[str, object]:
        return {
            "phase": _NEXT[Phase(self._run.phase)],
            "job_id": "",
            "locator": "",
            "expected": None,
        }

    def _finish(self) -> None:
        run = self._run
        with transaction.atomic():
            if run.kind == SyncRun.Kind.FULL:
                # Everything was read: what was not set aside by it is there no more.
                SetAside.objects.filter(last_seen_at__lt=run.started_at).delete()
            outcome = "Finished."
            if run.keeps_seen and gone_too_many(run):
                outcome = (
                    "Finished, but more than half of the mirror was not in Salesforce, so nothing "
                    "was taken out for that. Look whether the integration user still sees all "
                    "orders, then run “manage.py sync_orders --full” again."
                )
            set_aside = SetAside.objects.count()
            if set_aside:
                outcome += " Records are set aside; the administration names what is wrong."
            SeenRecord.objects.all().delete()
            self._hold.finish(outcome, set_aside=set_aside)
