"""Runs of the mirror: begun, carried on, and held by one process at a time.

The database allows one run under way. Whoever has it shows a sign of life with every page that it
writes, within that page's transaction, and while it waits for Salesforce. The sign is a moment
that never comes twice, so a process that lost its run to another, because it stood still for
long, finds its own sign gone and writes nothing any more.
"""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Max

from refunds.errors import SyncRefused
from refunds.models import SeenRecord, SyncRun
from refunds.services.orders import Clock

#: After so long without a sign of life whoever had the run counts as gone.
STALE_AFTER = timedelta(minutes=5)
#: A run of changes reads what changed so long before the last one began, once more: a change may
#: become visible a while after the moment that Salesforce writes on it.
OVERLAP = timedelta(minutes=10)
#: Salesforce tells of what was deleted for 15 days. After a longer pause only a run of everything
#: finds what is gone.
DELETIONS_TOLD_FOR = timedelta(days=14)

_GIVEN_UP = "Given up: another one was started."


class TakenOverError(Exception):
    """Another process took the run over, since this one had shown no sign of life for long."""


class SyncHold:
    """One process's place at the run under way."""

    def __init__(self, run: SyncRun, clock: Clock) -> None:
        """Take the run, on which the sign of life was just written."""
        self.run = run
        self._clock = clock

    def write(self, **changes: object) -> None:
        """Write columns of the run, and a sign of life with them.

        Within the transaction of what they tell of. Raises ``TakenOverError`` where another
        process took the run over.
        """
        sign = _next_sign(self._clock(), self.run.alive_at)
        held = SyncRun.objects.filter(
            pk=self.run.pk, state=SyncRun.State.RUNNING, alive_at=self.run.alive_at
        )
        if not held.update(alive_at=sign, **changes):
            raise TakenOverError
        for name, value in changes.items():
            setattr(self.run, name, value)
        self.run.alive_at = sign

    def beat(self) -> None:
        """Show a sign of life; raises as ``write`` does."""
        self.write()

    def stop(self, outcome: str, **changes: object) -> None:
        """Leave the run to whoever carries it on; raises as ``write`` does."""
        self.write(state=SyncRun.State.STOPPED, outcome=outcome[:500], **changes)

    def finish(self, outcome: str, **changes: object) -> None:
        """End the run for good; raises as ``write`` does."""
        self.write(
            state=SyncRun.State.FINISHED,
            phase=SyncRun.Phase.DONE,
            finished_at=self._clock(),
            outcome=outcome[:500],
            **changes,
        )


def sync_begin(
    *,
    started_by: str,
    clock: Clock,
    full: bool = False,
    since: datetime | None = None,
) -> SyncHold:
    """Take the one place there is, for the run that stopped before or for a new one.

    Without ``full`` and ``since`` the one that stopped, or whose process is gone, is carried on;
    else a new one reads what changed since the last one, or everything where that was never read
    to the end, or so long ago that Salesforce does not tell of all deletions any more. With either
    of them, one that stopped is carried on if it reads the same, and given up if not. Raises
    ``SyncRefused`` while another process has one under way.
    """
    at = clock()
    try:
        with transaction.atomic():
            open_run = _open_run(at)
            if open_run is not None and _is_meant(open_run, full=full, since=since):
                return _taken_up(open_run, clock)
            if open_run is not None:
                _give_up(open_run, at)
            return SyncHold(_create(at, started_by=started_by, full=full, since=since), clock)
    except IntegrityError:
        # Somebody else began one at the same moment.
        raise SyncRefused(_UNDER_WAY) from None


def _open_run(at: datetime) -> SyncRun | None:
    """Return the run that can be carried on. Raises ``SyncRefused`` where somebody has it."""
    run = SyncRun.objects.select_for_update().filter(finished_at=None).order_by("-pk").first()
    if run is None or run.state == SyncRun.State.STOPPED:
        return run
    # A clock that was set back must not keep everybody out for as long.
    if abs(at - run.alive_at) < STALE_AFTER:
        raise SyncRefused(_UNDER_WAY)
    return run


_UNDER_WAY = (
    "A sync with Salesforce is under way. Wait until it is finished; if its process was killed, "
    f"it is carried on from {STALE_AFTER.seconds // 60} minutes after its last sign of life."
)


def _is_meant(run: SyncRun, *, full: bool, since: datetime | None) -> bool:
    if since is not None:
        return run.since == since
    return not full or run.kind == SyncRun.Kind.FULL


def _taken_up(run: SyncRun, clock: Clock) -> SyncHold:
    # Never the same moment twice: it tells one holder from the next.
    run.alive_at = _next_sign(clock(), run.alive_at)
    run.state = SyncRun.State.RUNNING
    run.outcome = ""
    run.save(update_fields=["alive_at", "state", "outcome"])
    return SyncHold(run, clock)


def _next_sign(at: datetime, last: datetime) -> datetime:
    return max(at, last + timedelta(microseconds=1))


def _give_up(run: SyncRun, at: datetime) -> None:
    run.state = SyncRun.State.STOPPED
    run.finished_at = at
    run.outcome = f"{_GIVEN_UP} {run.outcome}"[:500].strip()
    run.save(update_fields=["state", "finished_at", "outcome"])


def _create(at: datetime, *, started_by: str, full: bool, since: datetime | None) -> SyncRun:
    watermark = _last_watermark()
    if not full and since is None and watermark is not None:
        since = None if at - watermark > DELETIONS_TOLD_FOR else watermark - OVERLAP
    kind = SyncRun.Kind.FULL if since is None else SyncRun.Kind.CHANGES
    # What it read is known only to itself, and of the last one nothing is left.
    SeenRecord.objects.all().delete()
    return SyncRun.objects.create(
        kind=kind,
        started_by=started_by,
        started_at=at,
        alive_at=at,
        since=since,
    )


def sync_watermark(*, run: SyncRun, server_time: datetime) -> datetime | None:
    """Return from where the next run of changes reads after this one, which begins now.

    ``server_time`` is Salesforce's clock. A run that reads since a later moment than the last
    one's watermark leaves a gap, so the next one goes by that again.
    """
    if run.since is None:
        return server_time
    last = _last_watermark()
    return server_time if last is not None and run.since <= last else last


def _last_watermark() -> datetime | None:
    finished = SyncRun.objects.filter(state=SyncRun.State.FINISHED)
    last: datetime | None = finished.aggregate(last=Max("watermark"))["last"]
    return last
