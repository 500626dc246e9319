"""How far the mirror is with Salesforce."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from refunds.models import SyncRun

#: Runs that are looked at for the last one that was finished.
_LOOKED_AT = 20
#: A mirror is old once so many rounds of its timer were missed, and never before this.
_ROUNDS_MISSED = 3
_NEVER_OLD_BEFORE = timedelta(minutes=30)
#: The same where no timer of the desk's own is set.
_OLD_WITHOUT_TIMER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class MirrorState:
    """What a page says of how fresh the mirror is."""

    #: When the last sync began that was finished: what changed in Salesforce before is here.
    read_at: datetime | None
    #: The run under way, if there is one.
    running: SyncRun | None
    #: Why the last run stopped, if it did.
    stopped: str
    is_old: bool


def mirror_state(*, now: datetime, every: int) -> MirrorState:
    """Return how fresh the mirror is; ``every`` is the timer's pause in seconds, 0 for none."""
    runs = list(SyncRun.objects.order_by("-pk")[:_LOOKED_AT])
    finished = [run for run in runs if run.state == SyncRun.State.FINISHED]
    if runs and not finished:
        finished = list(SyncRun.objects.filter(state=SyncRun.State.FINISHED).order_by("-pk")[:1])
    last = runs[0] if runs else None
    read_at = finished[0].started_at if finished else None
    longest = max(every * _ROUNDS_MISSED * timedelta(seconds=1), _NEVER_OLD_BEFORE)
    if not every:
        longest = _OLD_WITHOUT_TIMER
    return MirrorState(
        read_at=read_at,
        running=last if last is not None and last.state == SyncRun.State.RUNNING else None,
        stopped=last.outcome if last is not None and last.state == SyncRun.State.STOPPED else "",
        is_old=read_at is not None and now - read_at > longest,
    )
