"""Reconciliation runs: begun, carried on, and held by one process at a time.

Whoever has the one run under way shows a sign of life with every page it writes, within that
page's transaction. The sign is a moment that never comes twice, so a process that lost its place
to another, because it stood still for long, finds its own sign gone and writes nothing any more.
"""

from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from refunds import queue
from refunds.errors import ReconciliationRefused
from refunds.models import Order, ReconciliationRun, Watermark
from refunds.permissions import require_approve
from refunds.services.orders import Clock

#: The phases, in their order; a run that nobody has taken up yet has none.
THEIRS, OURS, ORDERS, DONE = "theirs", "ours", "orders", "done"

#: After so long without a sign of life whoever had the run counts as gone.
STALE_AFTER = timedelta(minutes=5)
#: Whose ``at`` is the last sign of life of the one run under way; the beginning of time: none.
_WATERMARK = "reconciliation"
_NOBODY = datetime(1970, 1, 1, tzinfo=UTC)


def reconciliation_begin(
    *,
    since: datetime | None = None,
    order: Order | None = None,
    started_by: User | None = None,
    clock: Clock = timezone.now,
) -> ReconciliationRun:
    """Write a new run; nothing is compared yet. One that stopped before is given up for it.

    Raises ``ReconciliationRefused`` while another is under way, or for an order that Digital
    River does not have.
    """
    if order is not None and not order.digital_river_id:
        raise ReconciliationRefused(
            f"Order {order.order_number} has no Digital River id, so there is nothing to compare."
        )
    at = clock()
    with transaction.atomic():
        _require_nobody(_sign_of_life(), at)
        ReconciliationRun.objects.filter(finished_at=None).update(
            state=ReconciliationRun.State.STOPPED,
            finished_at=at,
            outcome="Given up: a newer one was started.",
        )
        return ReconciliationRun.objects.create(
            started_at=at, started_by=started_by, since=since, order=order
        )


def reconciliation_start(
    *,
    user: User,
    since: datetime | None = None,
    order: Order | None = None,
    clock: Clock = timezone.now,
) -> ReconciliationRun:
    """Begin a run for a lead and leave the work to the background.

    Raises ``PermissionMissing`` or ``ReconciliationRefused``.
    """
    require_approve(user)
    with transaction.atomic():
        run = reconciliation_begin(since=since, order=order, started_by=user, clock=clock)
        queue.enqueue("refunds.tasks.reconcile", run.pk)
    return run


def reconciliation_resume(
    *, run: ReconciliationRun, user: User, clock: Clock = timezone.now
) -> ReconciliationRun:
    """Have the background carry on a run that stopped or whose process is gone.

    Raises ``PermissionMissing`` or ``ReconciliationRefused``.
    """
    require_approve(user)
    with transaction.atomic():
        _require_nobody(_sign_of_life(), clock())
        current = _unfinished(run.pk)
        queue.enqueue("refunds.tasks.reconcile", current.pk)
    return current


def reconciliations_take_up(*, clock: Clock = timezone.now) -> int:
    """Put a run off once more whose process is gone, or whose message was lost; returns how many.

    One that stopped because Digital River could not be asked waits for a person.
    """
    at = clock()
    mark = Watermark.objects.filter(name=_WATERMARK).first()
    if mark is not None and _is_alive(mark, at):
        return 0
    lost = ReconciliationRun.objects.filter(
        state=ReconciliationRun.State.RUNNING, started_at__lt=at - STALE_AFTER
    ).first()
    if lost is None:
        return 0
    queue.enqueue("refunds.tasks.reconcile", lost.pk)
    return 1


def reconciliation_unfinished() -> ReconciliationRun | None:
    """Return the run that can be carried on, if there is one."""
    return ReconciliationRun.objects.filter(finished_at=None).select_related("order").first()


class TakenOverError(Exception):
    """Another process took the run over, since this one had shown no sign of life for long."""


class RunHold:
    """One process's place at the run under way."""

    def __init__(self, run: ReconciliationRun, sign: datetime, clock: Clock) -> None:
        """Take the run, and the sign of life that was shown for it."""
        self.run = run
        self._sign = sign
        self._clock = clock

    def beat(self) -> None:
        """Show a sign of life. Raises ``TakenOverError`` where another one took the run over."""
        sign = max(self._clock(), self._sign + timedelta(microseconds=1))
        held = Watermark.objects.filter(name=_WATERMARK, at=self._sign)
        if not held.update(at=sign):
            raise TakenOverError
        self._sign = sign

    def leave(self) -> None:
        """Make the place free for another run; raises as ``beat`` does."""
        self.beat()
        Watermark.objects.filter(name=_WATERMARK, at=self._sign).update(at=_NOBODY)


def run_claim(*, run_id: int, clock: Clock) -> RunHold:
    """Take the one place there is, for this run. Raises ``ReconciliationRefused``."""
    at = clock()
    with transaction.atomic():
        mark = _sign_of_life()
        _require_nobody(mark, at)
        current = _unfinished(run_id)
        current.state = ReconciliationRun.State.RUNNING
        current.phase = current.phase or THEIRS
        current.outcome = ""
        current.save(update_fields=["state", "phase", "outcome"])
        # Never the same moment twice: it tells one holder from the next.
        sign = max(at, mark.at + timedelta(microseconds=1))
        Watermark.objects.filter(pk=mark.pk).update(at=sign)
    return RunHold(current, sign, clock)


def _sign_of_life() -> Watermark:
    """Return the row that says whether a run is under way, behind its lock."""
    Watermark.objects.get_or_create(name=_WATERMARK, defaults={"at": _NOBODY})
    return Watermark.objects.select_for_update().get(name=_WATERMARK)


def _is_alive(mark: Watermark, at: datetime) -> bool:
    # A clock that was set back must not keep everybody out for as long.
    return abs(at - mark.at) < STALE_AFTER


def _require_nobody(mark: Watermark, at: datetime) -> None:
    if _is_alive(mark, at):
        minutes = STALE_AFTER.seconds // 60
        raise ReconciliationRefused(
            "A reconciliation is under way. Wait until it is finished; if its process was killed, "
            f"it can be carried on {minutes} minutes after its last sign of life."
        )


def _unfinished(run_id: int) -> ReconciliationRun:
    current = (
        ReconciliationRun.objects.select_for_update(of=("self",))
        .select_related("order", "started_by")
        .get(pk=run_id)
    )
    if current.finished_at is not None:
        raise ReconciliationRefused(
            f"Reconciliation {current.pk} has ended and cannot be carried on. Start a new one."
        )
    return current
