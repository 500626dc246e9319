"""The permission set: who has it in Salesforce is in the group of the same name here.

An account is found by its email, or by its username being the federation id or the username in
Salesforce; case does not count. Where that leads to more than one, nobody is guessed: the accounts
in doubt keep what they have, and a sentence says so. Accounts are never made here.

What was given by hand is left alone: it is in the group without coming from Salesforce.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from refunds import gateways
from refunds.errors import PermissionSetRefused
from refunds.models import COMMAND, SWEEP, Actor, Membership, Watermark
from refunds.permissions import GROUP_NAME
from refunds.salesforce import queries
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.errors import SalesforceError
from refunds.salesforce.members import Member, members
from refunds.services.member_matching import Account, match
from refunds.services.memberships import membership_give, membership_take
from refunds.services.orders import Clock

_logger = structlog.get_logger(__name__)

#: After so long whoever has the one round there is counts as gone.
LEASE = timedelta(minutes=10)
#: Whose ``at`` is the end of the round's lease, and when the timer last began one.
_PLACE, _BEGUN = "permission set: under way", "permission set: begun"
_NOBODY = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a round changed, or would change: usernames, and what to know in sentences."""

    #: How many people Salesforce has in the permission set.
    members: int
    given: tuple[str, ...]
    taken: tuple[str, ...]
    #: In the group, and not from Salesforce.
    by_hand: tuple[str, ...]
    #: Who could not be matched, and why.
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Who is to get the place and who to lose it, by the account's key."""

    giving: Mapping[int, Member]
    taking: Sequence[int]
    changes: Changes


class _Answer(NamedTuple):
    """What Salesforce told: who has the permission set, and whether it knew of nobody at all."""

    members: Sequence[Member]
    is_empty: bool


def permission_set_sync(
    *,
    actor: Actor = COMMAND,
    force: bool = False,
    dry_run: bool = False,
    clock: Clock = timezone.now,
    client: SalesforceClient | None = None,
) -> Changes:
    """Take over who has the permission set in Salesforce; returns what changed.

    With ``dry_run`` nothing changes, and what would is returned. Raises ``PermissionSetRefused``,
    with nothing changed, where Salesforce cannot be asked, where another round is under way, and,
    unless by ``force``, where nobody is left in Salesforce or more than half would lose it.
    """
    if client is None:
        if not gateways.salesforce_is_configured():
            raise PermissionSetRefused(
                "No Salesforce organisation is set up. Set SALESFORCE_DOMAIN and what belongs to "
                "it; docs/operations.md tells how."
            )
        client = gateways.salesforce()
    if dry_run:
        return _plan(_read(client, clock()), force=force).changes
    with _alone(clock) as until:
        answer = _read(client, clock())
        return _apply(answer, until=until, actor=actor, at=clock(), force=force)


def permission_set_keep_up(
    *, clock: Clock = timezone.now, client: SalesforceClient | None = None
) -> Mapping[str, int]:
    """Do a round if one is due by the timer; returns how many got the place and lost it.

    Raises ``PermissionSetRefused`` as ``permission_set_sync`` does, without any ``force``.
    """
    if not (settings.SALESFORCE_PERMISSION_SET_SECONDS and gateways.salesforce_is_configured()):
        return {}
    if not _begin_due(clock()):
        return {}
    changes = permission_set_sync(actor=SWEEP, clock=clock, client=client)
    counts = {"given": len(changes.given), "taken": len(changes.taken)}
    return {name: count for name, count in counts.items() if count}


def _begin_due(at: datetime) -> bool:
    """Tell whether a round is due, and note that it begins; only one of several is told so."""
    mark, made = Watermark.objects.get_or_create(name=_BEGUN, defaults={"at": at})
    pause = timedelta(seconds=settings.SALESFORCE_PERMISSION_SET_SECONDS)
    if made:
        return True
    # A mark in the future was set by a clock that was wrong.
    if timedelta(0) <= at - mark.at < pause:
        return False
    return bool(Watermark.objects.filter(pk=mark.pk, at=mark.at).update(at=at))


@contextmanager
def _alone(clock: Clock) -> Iterator[datetime]:
    """Hold the one place there is, until the moment that is given; raises while another has it."""
    at = clock()
    until = at + LEASE
    Watermark.objects.get_or_create(name=_PLACE, defaults={"at": _NOBODY})
    place = Watermark.objects.filter(name=_PLACE)
    # A lease that ends later than any begun now was set by a clock that was wrong.
    if not place.filter(Q(at__lte=at) | Q(at__gt=until)).update(at=until):
        raise PermissionSetRefused(
            "The permission set is being taken over already. Try again in a minute; if that was "
            f"killed, {LEASE.seconds // 60} minutes after it began."
        )
    try:
        yield until
    finally:
        place.filter(at=until).update(at=_NOBODY)


def _read(client: SalesforceClient, at: datetime) -> _Answer:
    try:
        groups = {
            str(record["PermissionSetGroupId"])
            for record in client.query(queries.refund_groups())
            if record.get("PermissionSetGroupId")
        }
        records = list(client.query(queries.refund_members(sorted(groups))))
        return _Answer(members(records, at=at), is_empty=not records)
    except SalesforceError as error:
        raise PermissionSetRefused(
            f"Salesforce did not tell who has the permission set; nothing was changed. {error}"
        ) from error


@transaction.atomic(durable=True)
def _apply(answer: _Answer, *, until: datetime, actor: Actor, at: datetime, force: bool) -> Changes:
    """Make the plan by what the database has now and carry it out, all or nothing."""
    if not Watermark.objects.select_for_update().filter(name=_PLACE, at=until).exists():
        raise PermissionSetRefused(
            "Salesforce took so long to answer that another round was begun; nothing was changed."
        )
    # Administrators who put people into the group wait for this.
    if not Group.objects.select_for_update().filter(name=GROUP_NAME).exists():
        raise PermissionSetRefused(
            f"The group “{GROUP_NAME}” is gone. Make it anew in the administration, with the right "
            "to issue refunds."
        )
    plan = _plan(answer, force=force)
    users = User.objects.in_bulk([*plan.giving, *plan.taking])
    for pk, member in plan.giving.items():
        membership_give(
            user=users[pk],
            source=Membership.Source.SALESFORCE,
            actor=actor,
            at=at,
            summary="Given: Salesforce has the person in the permission set.",
            salesforce_user_id=member.id[:18],
        )
    for pk in plan.taking:
        membership_take(
            user=users[pk],
            actor=actor,
            at=at,
            summary=(
                "Taken away: Salesforce no longer has the person in the permission set. Signed "
                "out everywhere."
            ),
        )
    _logger.info("permission_set.taken_over", given=len(plan.giving), taken=len(plan.taking))
    return plan.changes


def _plan(answer: _Answer, *, force: bool) -> _Plan:
    """Compare Salesforce's people with the group. Raises ``PermissionSetRefused``."""
    accounts = {
        pk: Account(pk, username, email, is_active=is_active)
        for pk, username, email, is_active in User.objects.order_by("username").values_list(
            "pk", "username", "email", "is_active"
        )
    }
    matching = match(answer.members, accounts.values())
    in_group = set(User.objects.filter(groups__name=GROUP_NAME).values_list("pk", flat=True))
    theirs = set(
        Membership.objects.filter(source=Membership.Source.SALESFORCE, active=True).values_list(
            "user_id", flat=True
        )
    )
    giving = {pk: member for pk, member in matching.entitled.items() if pk not in in_group}
    taking = theirs - matching.entitled.keys() - matching.in_doubt
    if not force:
        _require_plausible(answer, losing=len(taking), of=len(theirs))

    def named(keys: Collection[int]) -> tuple[str, ...]:
        return tuple(account.username for pk, account in accounts.items() if pk in keys)

    return _Plan(
        giving=giving,
        taking=sorted(taking),
        changes=Changes(
            members=len(answer.members),
            given=named(giving.keys()),
            taken=named(taking),
            by_hand=named(in_group - theirs),
            remarks=matching.remarks,
        ),
    )


def _require_plausible(answer: _Answer, *, losing: int, of: int) -> None:
    """Raise ``PermissionSetRefused`` for what is more likely a mistake than meant."""
    remedy = (
        "Nothing was changed. Look at the permission set in Salesforce and run `manage.py "
        "check_salesforce`; if it is meant, run `manage.py sync_permission_set --force`."
    )
    if answer.is_empty and losing:
        raise PermissionSetRefused(
            f"Salesforce has nobody in the permission set {queries.PERMISSION_SET}, or the "
            f"integration user may not see who is. {remedy}"
        )
    if losing > 1 and losing * 2 > of:
        raise PermissionSetRefused(
            f"{losing} of the {of} people who have the permission set from Salesforce would lose "
            f"it. {remedy}"
        )
