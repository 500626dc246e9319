"""Differences: noted once, cleared when they are no longer so, resolved by a lead.

A difference is known by its kind and its subject. While it is open a later look finds the same
row again; one that a lead has reviewed stays so as long as its figures stay the same.

Locks here leave the keys alone (``no_key``): a run that notes a difference has to look at the key
of its refund and of its order, and would wait for the lead who waits for the difference.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from refunds import selectors
from refunds.digitalriver.client import DigitalRiverClient
from refunds.errors import DifferenceUnresolved
from refunds.ledger import rescale
from refunds.models import (
    Actor,
    Difference,
    Order,
    OrderLine,
    ReconciliationRun,
    Refund,
)
from refunds.money import ZERO, add, format_money
from refunds.permissions import require_approve
from refunds.services.orders import Clock, order_recount, order_refresh
from refunds.services.salesforce_tasks import salesforce_task_add
from refunds.services.settlements import history_add, next_look, refund_give_way, refund_parts_save

_logger = structlog.get_logger(__name__)

#: States in which a refund of the desk may turn out to be one that counts as made elsewhere.
RELINKED_TO = frozenset({Refund.State.UNKNOWN, Refund.State.NOT_SENT})
_SETTLED = frozenset({Refund.State.SUCCEEDED, Refund.State.FAILED, Refund.State.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a look found to differ; the fields are those of ``Difference``.

    Amounts are in major units of ``currency``.
    """

    kind: Difference.Kind
    subject: str
    explanation: str
    order_id: int | None = None
    refund_id: int | None = None
    digital_river_id: str = ""
    digital_river_order_id: str = ""
    currency: str = ""
    our_amount: Decimal | None = None
    their_amount: Decimal | None = None
    our_state: str = ""
    their_state: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What the row is found again by."""
        return str(self.kind), self.subject

    def columns(self) -> dict[str, Any]:
        """Return what the row's columns hold."""
        return asdict(self) | {"explanation": self.explanation[:500]}


#: The columns that make a difference another one than the one that was reviewed.
_FIGURES = ("our_amount", "their_amount", "our_state", "their_state", "currency")
_RENEWED = (
    *_FIGURES,
    "explanation",
    "order",
    "refund",
    "digital_river_id",
    "digital_river_order_id",
    "last_seen_at",
    "run",
)


def differences_record(
    *,
    found: Sequence[Finding],
    subjects: Collection[str],
    kinds: Collection[Difference.Kind],
    at: datetime,
    run: ReconciliationRun | None = None,
) -> list[Finding]:
    """Note what a look at these subjects found, and clear what it no longer found.

    ``subjects`` are all that were looked at, and ``kinds`` what was looked for. Returns what was
    not known before. Takes the same few queries for however many subjects.
    """
    looked_at = Difference.objects.filter(kind__in=kinds, subject__in=subjects)
    wanted = {finding.key: finding for finding in found}
    known = {(each.kind, each.subject): each for each in looked_at.filter(resolution="")}
    gone = [each.pk for key, each in known.items() if key not in wanted]
    if gone:
        Difference.objects.filter(pk__in=gone, resolution="").update(
            resolution=Difference.Resolution.CLEARED, resolved_at=at
        )
    if not wanted:
        return []
    reviewed: dict[tuple[str, str], Difference] = {}
    if wanted.keys() - known.keys():
        for each in looked_at.filter(resolution=Difference.Resolution.REVIEWED).order_by("pk"):
            reviewed[each.kind, each.subject] = each
    new, again = [], []
    for key, finding in wanted.items():
        row = known.get(key)
        if row is None and key in reviewed and _is_same(reviewed[key], finding):
            row = reviewed[key]
        if row is None:
            new.append(finding)
            continue
        for name, value in finding.columns().items():
            setattr(row, name, value)
        row.last_seen_at = at
        row.run = run or row.run
        again.append(row)
    Difference.objects.bulk_update(again, _RENEWED)
    Difference.objects.bulk_create(
        [Difference(**finding.columns(), run=run, found_at=at, last_seen_at=at) for finding in new],
        # Another look may have noted the same in this moment.
        ignore_conflicts=True,
    )
    return new


def _is_same(row: Difference, finding: Finding) -> bool:
    return all(getattr(row, name) == getattr(finding, name) for name in _FIGURES)


# -- resolving -------------------------------------------------------------------------------------


def difference_review(
    *, difference: Difference, note: str, user: User, clock: Clock = timezone.now
) -> Difference:
    """Mark a difference as reviewed: a lead knows what it is, and says so in the note.

    It stays so until its figures change. Raises ``PermissionMissing`` or
    ``DifferenceUnresolved``.
    """
    require_approve(user)
    words = " ".join(note.split())
    if not words:
        raise DifferenceUnresolved(
            "Write a note: what you found, and what was done about it.", field="note"
        )
    if "\0" in words:
        raise DifferenceUnresolved(
            "The note has a character in it that cannot be kept. Type it anew.", field="note"
        )
    if len(words) > _NOTE_LENGTH:
        raise DifferenceUnresolved(
            f"The note is too long: at most {_NOTE_LENGTH} characters are kept.", field="note"
        )
    with transaction.atomic():
        at = clock()
        if difference.refund_id is not None:
            # Refunds are locked before differences, everywhere.
            Refund.objects.select_for_update(no_key=True).get(pk=difference.refund_id)
        current = _open(difference)
        if current.refund is not None:
            history_add(
                refund=current.refund,
                actor=Actor.person(user),
                at=at,
                summary=f"A lead reviewed what differs: {current.get_kind_display().lower()}.",
                details={"difference": current.pk},
            )
        _resolve(current, Difference.Resolution.REVIEWED, user=user, at=at, note=words)
    return current


_NOTE_LENGTH = 500


def difference_adopt(
    *,
    difference: Difference,
    user: User,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Refund:
    """Take on a refund of Digital River that the desk lacks, once its order is in the mirror.

    Returns the refund as the desk now has it. Raises ``PermissionMissing``,
    ``DifferenceUnresolved`` or ``OrderUnreadable``.
    """
    require_approve(user)
    order = _order_to_adopt_on(difference)
    order_refresh(order=order, actor=Actor.looking(user), clock=clock, client=client)
    with transaction.atomic():
        at = clock()
        # Before the refund, as everyone does: at its commit PostgreSQL locks the order as well.
        Order.objects.select_for_update(no_key=True).get(pk=order.pk)
        refund = _refund_there(difference)
        current = _open(difference)
        history_add(
            refund=refund,
            actor=Actor.person(user),
            at=at,
            summary="A lead adopted it: Digital River had it and the desk did not.",
            details={"difference": current.pk},
        )
        current.order, current.refund = order, refund
        _resolve(current, Difference.Resolution.ADOPTED, user=user, at=at)
    return refund


def difference_relink(
    *,
    difference: Difference,
    reference: str,
    user: User,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Refund:
    """Say that the refund a difference is about is in truth one of the desk's own.

    ``reference`` is that one's. Where the desk lacks the refund, it is adopted first. Returns the
    desk's own refund. Raises as ``difference_adopt`` and ``refund_relink`` do.
    """
    require_approve(user)
    with transaction.atomic():
        outside = _open(difference).refund
    if outside is None:
        order = _order_to_adopt_on(difference)
        order_refresh(order=order, actor=Actor.looking(user), clock=clock, client=client)
        with transaction.atomic():
            outside = _refund_there(difference)
    return refund_relink(outside=outside, reference=reference, user=user, clock=clock)


def refund_relink(
    *, outside: Refund, reference: str, user: User, clock: Clock = timezone.now
) -> Refund:
    """Say that a refund taken for one made elsewhere is in truth the desk's own ``reference``.

    That one, whose outcome is unknown or which counts as not sent, takes on Digital River's id,
    state and amounts; the outside row is *relinked*, holds nothing and names the other. Returns
    the desk's own refund. Raises ``PermissionMissing``, ``DifferenceUnresolved`` or
    ``MoveForbidden``; then nothing was changed.
    """
    require_approve(user)
    actor = Actor.person(user)
    with transaction.atomic(durable=True):
        at = clock()
        order = Order.objects.select_for_update(no_key=True).get(pk=outside.order_id)
        given = Refund.objects.select_for_update(no_key=True).get(pk=outside.pk)
        own = (
            Refund.objects.select_for_update(no_key=True)
            .filter(reference=_reference(reference))
            .prefetch_related("lines")
            .first()
        )
        if own is None:
            raise DifferenceUnresolved(
                "The desk has no refund of that reference. Copy it from the refund's page; it "
                "looks like R-4827-1936.",
                field="reference",
            )
        _require_same(given, own)
        _relink(given, own, selectors.lines_of(order), actor=actor, at=at)
        open_ones = Difference.objects.filter(resolution="").filter(
            Q(refund=given) | Q(subject=own.digital_river_id)
        )
        for difference in open_ones:
            difference.refund = own
            _resolve(difference, Difference.Resolution.RELINKED, user=user, at=at)
        order_recount(order=order)
    _logger.info("refund.relinked", reference=own.reference, outside=given.reference)
    return own


def _relink(
    given: Refund, own: Refund, lines: Sequence[OrderLine], *, actor: Actor, at: datetime
) -> None:
    """Move Digital River's id, state and amounts from one row to the other."""
    taken = {
        name: getattr(given, name)
        for name in (
            "digital_river_id",
            "digital_river_key",
            "accepted_amount",
            "refunded_amount",
            "failure_reason",
            "told_otherwise",
            "information_expires_at",
            "listed",
            "reconciled_at",
        )
    }
    state, settled = given.state, given.state in _SETTLED
    refund_give_way(
        outside=given,
        own=own,
        at=at,
        actor=actor,
        summary=f"Relinked: it is refund {own.reference} of this desk.",
    )
    own.move_to(
        state,
        actor=actor,
        at=at,
        summary=(
            f"Relinked: Digital River's refund {taken['digital_river_id']}, taken for one made "
            "elsewhere, is this one."
        ),
        settled_at=at if settled else None,
        next_check_at=None if settled else next_look(own, at),
        **taken,
    )
    salesforce_task_add(refund=own, at=at)
    parts = own.parts({line.pk: line.key for line in lines})
    if own.held_amount and add(parts.values()) != own.held_amount:
        parts = rescale(parts, own.held_amount, own.currency)
        refund_parts_save(refund=own, parts=parts, lines=lines)
    attempt = own.attempts.order_by("-number").first()
    if attempt is not None:
        attempt.digital_river_id = taken["digital_river_id"]
        attempt.outcome = f"Relinked by a lead to Digital River's {taken['digital_river_id']}."
        attempt.save(update_fields=["digital_river_id", "outcome"])


def _require_same(given: Refund, own: Refund) -> None:
    """Raise ``DifferenceUnresolved`` unless the two can be one and the same refund."""
    if given.origin != Refund.Origin.ELSEWHERE or not given.digital_river_id:
        raise DifferenceUnresolved(
            f"Refund {given.reference} was not taken for one made outside the desk, so there is "
            "nothing to relink."
        )
    if own.origin != Refund.Origin.DESK:
        raise DifferenceUnresolved(
            f"Refund {own.reference} was not made at this desk. Name the desk's own refund.",
            field="reference",
        )
    if own.order_id != given.order_id:
        raise DifferenceUnresolved(
            f"Refund {own.reference} is of another order, so it is not the same refund.",
            field="reference",
        )
    if own.state not in RELINKED_TO or own.digital_river_id:
        raise DifferenceUnresolved(
            f"Refund {own.reference} is {own.get_state_display().lower()}. Only a refund whose "
            "outcome is unknown, or that counts as not sent, can be relinked.",
            field="reference",
        )
    if own.currency != given.currency or own.requested_amount != given.requested_amount:
        asked = format_money(own.requested_amount or ZERO, own.currency)
        there = format_money(given.requested_amount or ZERO, given.currency)
        raise DifferenceUnresolved(
            f"Refund {own.reference} asked for {asked}, and Digital River's is for {there}, so it "
            "is not the same refund.",
            field="reference",
        )


def _reference(text: str) -> str:
    """Return the reference as it is kept, from what a person typed."""
    digits = "".join(mark for mark in text if mark in "0123456789")
    return f"R-{digits[:4]}-{digits[4:]}"


def _order_to_adopt_on(difference: Difference) -> Order:
    if difference.kind != Difference.Kind.MISSING_HERE:
        raise DifferenceUnresolved(
            "Only a refund that the desk lacks can be adopted; this difference is about something "
            "else. Mark it as reviewed once you know what it is."
        )
    order = Order.objects.filter(digital_river_id=difference.digital_river_order_id).first()
    if order is None or not difference.digital_river_order_id:
        raise DifferenceUnresolved(
            f"Order {difference.digital_river_order_id or '(not named)'} of Digital River is not "
            "in the mirror yet. Have it mirrored from Salesforce first, then adopt the refund."
        )
    return order


def _refund_there(difference: Difference) -> Refund:
    refund = (
        Refund.objects.select_for_update(no_key=True)
        .filter(digital_river_id=difference.digital_river_id)
        .first()
    )
    if refund is None:
        raise DifferenceUnresolved(
            f"Digital River does not list refund {difference.digital_river_id} on this order any "
            "more. Look at the order in Digital River's Dashboard, then mark the difference as "
            "reviewed."
        )
    return refund


def _open(difference: Difference) -> Difference:
    """Return the difference behind its lock; raises where somebody resolved it before."""
    current = (
        Difference.objects.select_for_update(of=("self",))
        .select_related("refund")
        .get(pk=difference.pk)
    )
    if current.resolution:
        raise DifferenceUnresolved(
            f"This difference is resolved already ({current.get_resolution_display().lower()}). "
            "Reload the page to see it."
        )
    return current


def _resolve(
    difference: Difference,
    resolution: Difference.Resolution,
    *,
    user: User,
    at: datetime,
    note: str = "",
) -> None:
    difference.resolution, difference.note = resolution, note
    difference.resolved_by, difference.resolved_at = user, at
    difference.save(
        update_fields=["resolution", "note", "resolved_by", "resolved_at", "order", "refund"]
    )
