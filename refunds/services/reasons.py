"""Reasons: what administrators add to the list, change in it and take off it, with its history.

Reasons are written here and nowhere else: what a rep can give as the reason is part of what a
refund is judged by.
"""

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from refunds.models import Actor, RefundReason
from refunds.models.history import entry_append
from refunds.services.orders import Clock

#: The last sentence of a reason's history, by which one that is gone is known to have been deleted.
DELETED = "Deleted."


@transaction.atomic
def reason_save(
    *, reason: RefundReason, user: User, clock: Clock = timezone.now
) -> dict[str, tuple[str, str]]:
    """Add a reason, or write what was changed in it; returns each column's text before and now.

    Only the columns that differ from what the database has are written, and where none does,
    nothing is. The caller has checked that the person may keep reasons.
    """
    before = (
        RefundReason.objects.select_for_update().filter(pk=reason.pk).first() if reason.pk else None
    )
    was = before.told if before else dict.fromkeys(RefundReason.TOLD_BY_HISTORY, "")
    now = reason.told
    changed = {name: (was[name], now[name]) for name in now if not before or was[name] != now[name]}
    if before is None:
        reason.save(force_insert=True)
    elif changed:
        reason.save(update_fields=list(changed))
    else:
        return {}
    entry_append(
        reason,
        actor=Actor.person(user),
        at=clock(),
        summary="Changed." if before else "Added.",
        details={name: f"{old} → {new}" if before else new for name, (old, new) in changed.items()},
    )
    return changed


@transaction.atomic
def reason_delete(*, reason: RefundReason, user: User, clock: Clock = timezone.now) -> None:
    """Take a reason off the list for good; its history stays.

    Raises ``ProtectedError`` where a refund was made for this reason; then nothing is written.
    """
    locked = RefundReason.objects.select_for_update().get(pk=reason.pk)
    entry_append(locked, actor=Actor.person(user), at=clock(), summary=DELETED, details=locked.told)
    locked.delete()
