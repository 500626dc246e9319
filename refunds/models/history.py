"""The history: who did what, when, from which state to which. Append-only, chained by hash.

Each entry of a refund (or of a reason) carries the hash of the one before it, and the refund
keeps how many there are and the hash of the last: so an entry that was edited, taken out or cut
off at the end shows. ``manage.py verify_history`` looks; on PostgreSQL triggers refuse UPDATE
and DELETE besides. The hashes have no key: they show what was changed by itself, not a history
that was written anew from end to end by somebody who may write every table.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Optional

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from refunds.models.states import RefundState

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from refunds.models.reasons import RefundReason
    from refunds.models.refunds import Refund
    from refunds.models.salesforce import Membership

#: Goes into every hash, so that the way it is made can change one day.
HASH_VERSION = "1"

_LONGEST_SUMMARY = 500
_LONGEST_REQUEST_ID = 100


class HistoryEntry(models.Model):
    """One thing that happened to a refund or a reason, written in the transaction of the change."""

    class ActorKind(models.TextChoices):
        """Who or what did it."""

        PERSON = "person", "Person"
        CHECK = "check", "Check with Digital River"
        WEBHOOK = "webhook", "Digital River event"
        SWEEP = "sweep", "Sweep"
        COMMAND = "command", "Command"

    refund = models.ForeignKey(
        "refunds.Refund", on_delete=models.PROTECT, null=True, blank=True, related_name="history"
    )
    #: A reason may be deleted while nothing uses it; what was done to it stays on record.
    reason = models.ForeignKey(
        "refunds.RefundReason",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="history",
    )
    membership = models.ForeignKey(
        "refunds.Membership",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="history",
    )
    #: The entry's place in its chain, from 1 on.
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=10, choices=ActorKind)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    from_state = models.CharField(max_length=24, choices=RefundState, blank=True)
    to_state = models.CharField(max_length=24, choices=RefundState, blank=True)
    #: What happened, in a sentence without customer data.
    summary = models.CharField(max_length=_LONGEST_SUMMARY)
    #: What changed with it, JSON text: amounts, Digital River's id, what a lead should know.
    details = models.TextField(blank=True)
    #: Digital River's ``x-dr-requestid`` of the call that told it, if any.
    request_id = models.CharField(
        "Digital River request id", max_length=_LONGEST_REQUEST_ID, blank=True
    )
    #: The hash of the entry before, empty for the first; and of this one, SHA-256 in hex.
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ("id",)
        verbose_name_plural = "history entries"
        constraints = (
            models.UniqueConstraint(fields=["refund", "number"], name="history_refund_once"),
            models.UniqueConstraint(fields=["reason", "number"], name="history_reason_once"),
            models.UniqueConstraint(fields=["membership", "number"], name="history_member_once"),
            models.CheckConstraint(
                condition=Q(refund__isnull=False, reason__isnull=True, membership__isnull=True)
                | Q(refund__isnull=True, reason__isnull=False, membership__isnull=True)
                | Q(refund__isnull=True, reason__isnull=True, membership__isnull=False),
                name="history_of_one_thing",
            ),
        )

    def __str__(self) -> str:
        return self.summary

    @property
    def by(self) -> str:
        """Who or what did it, as the history shows it."""
        # One that is none was put there past the desk; the verification names the entry.
        kind = str(self.get_actor_kind_display())
        if self.actor is None:
            return kind
        name = self.actor.get_full_name() or self.actor.get_username()
        return name if self.actor_kind == self.ActorKind.PERSON else f"{kind} for {name}"

    @property
    def hashed_text(self) -> str:
        """All that the entry says, as the text that is hashed: a JSON list, moments in UTC.

        The same for the entry that is written and for the one that is read back, on every
        database: moments have microseconds at most, and details are kept as text.
        """
        if self.refund_id:
            subject = f"refund {self.refund_id}"
        elif self.membership_id:
            subject = f"membership {self.membership_id}"
        else:
            subject = f"reason {self.reason_id}"
        content = [
            HASH_VERSION,
            subject,
            self.number,
            self.at.astimezone(UTC).isoformat(),
            self.actor_kind,
            self.actor_id,
            self.from_state,
            self.to_state,
            self.summary,
            self.details,
            self.request_id,
            self.previous_hash,
        ]
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    @property
    def computed_hash(self) -> str:
        """What the hash has to be, by what the entry says: SHA-256 of its text in UTF-8."""
        return hashlib.sha256(self.hashed_text.encode()).hexdigest()

    @property
    def told(self) -> Mapping[str, str]:
        """What changed with it, by name; empty where it tells nothing, or nothing readable."""
        try:
            told = json.loads(self.details or "{}")
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}


class Chained(models.Model):
    """Something whose history is a chain; it keeps the chain's length and its last hash."""

    #: The column of ``HistoryEntry`` that names it.
    HISTORY_COLUMN: ClassVar[str]

    history_length = models.PositiveIntegerField(default=0, editable=False)
    history_head = models.CharField(max_length=64, blank=True, default="", editable=False)

    class Meta:
        abstract = True


@dataclass(frozen=True, slots=True)
class Actor:
    """Who or what changes a refund, for its history."""

    kind: HistoryEntry.ActorKind
    user: Optional["User"] = None

    @classmethod
    def person(cls, user: "User") -> "Actor":
        """Return the actor for a signed-in person."""
        return cls(HistoryEntry.ActorKind.PERSON, user)

    @classmethod
    def looking(cls, user: "User") -> "Actor":
        """Return the actor for the desk itself, reading something back while this person looks."""
        return cls(HistoryEntry.ActorKind.CHECK, user)


#: The desk itself, reading a refund back because somebody looks at it.
CHECK = Actor(HistoryEntry.ActorKind.CHECK)
#: What Digital River's events set off.
WEBHOOK = Actor(HistoryEntry.ActorKind.WEBHOOK)
#: The round that a timer starts.
SWEEP = Actor(HistoryEntry.ActorKind.SWEEP)
#: A command that an operator started.
COMMAND = Actor(HistoryEntry.ActorKind.COMMAND)


def entry_append(
    subject: "Refund | RefundReason | Membership",
    *,
    actor: Actor,
    at: datetime,
    summary: str,
    from_state: str = "",
    to_state: str = "",
    request_id: str = "",
    details: Mapping[str, object] | None = None,
) -> HistoryEntry:
    """Write the next entry of a chain, behind the lock of the row whose history it is.

    In the caller's transaction, so that the entry and what it tells of are written together or
    not at all. A sentence too long for its column is cut, lest it keep a refund from being settled.
    """
    rows = type(subject)._default_manager
    entry = HistoryEntry(
        **{subject.HISTORY_COLUMN: subject},
        at=at,
        actor_kind=actor.kind,
        actor=actor.user,
        from_state=from_state,
        to_state=to_state,
        summary=summary[:_LONGEST_SUMMARY],
        details=_text(details),
        request_id=request_id[:_LONGEST_REQUEST_ID],
    )
    length, head = subject.history_length, subject.history_head
    with transaction.atomic():
        while True:
            entry.number, entry.previous_hash = length + 1, head
            entry.hash = entry.computed_hash
            # Takes the row's lock, if the chain still ends where this object knows it to end.
            if rows.filter(pk=subject.pk, history_length=length, history_head=head).update(
                history_length=entry.number, history_head=entry.hash
            ):
                break
            length, head = (
                rows.select_for_update()
                .values_list("history_length", "history_head")
                .get(pk=subject.pk)
            )
        entry.save(force_insert=True)
    subject.history_length, subject.history_head = entry.number, entry.hash
    return entry


def _text(details: Mapping[str, object] | None) -> str:
    if not details:
        return ""
    told = {name: "" if value is None else str(value) for name, value in details.items()}
    return json.dumps(told, ensure_ascii=False, sort_keys=True)
