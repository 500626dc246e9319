"""The history of refunds: who did what, when, from which state to which. Append-only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from django.conf import settings
from django.db import models

from refunds.models.states import RefundState

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class HistoryEntry(models.Model):
    """One thing that happened to a refund. Written once, in the transaction of the change."""

    class ActorKind(models.TextChoices):
        """Who or what did it."""

        PERSON = "person", "Person"
        CHECK = "check", "Check with Digital River"
        COMMAND = "command", "Scheduled check"

    refund = models.ForeignKey("refunds.Refund", on_delete=models.PROTECT, related_name="history")
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=10, choices=ActorKind)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    from_state = models.CharField(max_length=24, choices=RefundState, blank=True)
    to_state = models.CharField(max_length=24, choices=RefundState, blank=True)
    #: What happened, in a sentence without customer data.
    summary = models.CharField(max_length=500)
    #: Digital River's ``x-dr-requestid`` of the call that told it, if any.
    request_id = models.CharField("Digital River request id", max_length=100, blank=True)

    class Meta:
        ordering = ("id",)
        verbose_name_plural = "history entries"

    def __str__(self) -> str:
        return self.summary

    @property
    def by(self) -> str:
        """Who or what did it, as the history shows it."""
        kind = str(self.ActorKind(self.actor_kind).label)
        if self.actor is None:
            return kind
        name = self.actor.get_full_name() or self.actor.get_username()
        return name if self.actor_kind == self.ActorKind.PERSON else f"{kind} for {name}"


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
#: A command that an operator or a timer started.
COMMAND = Actor(HistoryEntry.ActorKind.COMMAND)
