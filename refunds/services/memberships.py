"""A person's place in the permission set: given, taken away, and who did it.

Being in the Django group is what counts. Beside it stands a row that says where it comes from,
with a chained history; somebody in the group without such a row was put there by hand. Group, row
and history are written together or not at all. Whoever loses the place is signed out everywhere.
"""

from datetime import datetime

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils import timezone

from refunds.models import Actor, Membership
from refunds.models.history import entry_append
from refunds.permissions import GROUP_NAME
from refunds.services.orders import Clock


@transaction.atomic
def membership_give(
    *,
    user: User,
    source: Membership.Source,
    actor: Actor,
    at: datetime,
    summary: str,
    salesforce_user_id: str = "",
) -> Membership:
    """Put a person into the permission set and say where that comes from."""
    membership = _locked(user, source=source, at=at)
    user.groups.add(Group.objects.get(name=GROUP_NAME))
    membership.source = source
    membership.active = True
    membership.salesforce_user_id = salesforce_user_id
    membership.since = at
    membership.ended_at = None
    _write(membership, actor=actor, at=at, summary=summary)
    return membership


@transaction.atomic
def membership_take(*, user: User, actor: Actor, at: datetime, summary: str) -> Membership:
    """Take a person out of the permission set and end all their sessions.

    The row and its history stay. The source stays as well: it says what there was to take.
    """
    membership = _locked(user, source=Membership.Source.HAND, at=at)
    user.groups.remove(*Group.objects.filter(name=GROUP_NAME))
    membership.active = False
    membership.ended_at = at
    membership.sign_outs += 1
    _write(membership, actor=actor, at=at, summary=summary)
    return membership


def membership_set_by_hand(
    *, user: User, is_member: bool, by: User, clock: Clock = timezone.now
) -> Membership:
    """Record that an administrator put a person into the group, or took them out of it.

    What Salesforce gave and an administrator took away Salesforce gives again with the next
    round, as long as it has the person.
    """
    if is_member:
        return membership_give(
            user=user,
            source=Membership.Source.HAND,
            actor=Actor.person(by),
            at=clock(),
            summary="Given by hand.",
        )
    return membership_take(
        user=user, actor=Actor.person(by), at=clock(), summary="Taken away by hand."
    )


def is_member(user: User) -> bool:
    """Tell whether the person is in the group, read anew."""
    return User.groups.through.objects.filter(user_id=user.pk, group__name=GROUP_NAME).exists()


def _locked(user: User, *, source: Membership.Source, at: datetime) -> Membership:
    """Return the person's row behind its lock, made on first use."""
    # One who has no row yet is locked by their account.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    known = Membership.objects.select_for_update().filter(user=user).first()
    return known or Membership.objects.create(user=user, source=source, active=False, since=at)


def _write(membership: Membership, *, actor: Actor, at: datetime, summary: str) -> None:
    membership.save(
        update_fields=[
            "source",
            "active",
            "salesforce_user_id",
            "since",
            "ended_at",
            "sign_outs",
        ]
    )
    entry_append(
        membership,
        actor=actor,
        at=at,
        summary=summary,
        details={name: getattr(membership, name) for name in Membership.TOLD_BY_HISTORY},
    )
