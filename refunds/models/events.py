"""What Digital River tells by itself: its events, kept as they came, and its credit memos."""

from django.db import models
from django.db.models import Q

from refunds.models.orders import Order
from refunds.models.refunds import Refund


class Event(models.Model):
    """One event of Digital River, stored once by its id and processed afterwards.

    https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/events-1
    """

    class State(models.TextChoices):
        """What became of it."""

        WAITING = "waiting", "Waiting"
        PROCESSED = "processed", "Processed"
        IGNORED = "ignored", "Nothing to do"
        FAILED = "failed", "Failed"

    class Source(models.TextChoices):
        """How it came here."""

        WEBHOOK = "webhook", "Sent by Digital River"
        CATCH_UP = "catch_up", "Read by the desk"

    event_id = models.CharField("Digital River's id", max_length=128, unique=True)
    type = models.CharField(max_length=100)
    #: When Digital River made it.
    created_time = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField()
    source = models.CharField(max_length=10, choices=Source)
    #: As it came, but for tokens; may hold customer data.
    body = models.TextField()
    digital_river_order_id = models.CharField(max_length=128, blank=True, db_index=True)
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, null=True, blank=True, related_name="events"
    )
    #: The refund it is about; for a chargeback, the row that stands for it.
    refund = models.ForeignKey(
        Refund, on_delete=models.PROTECT, null=True, blank=True, related_name="events"
    )
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    #: When it is processed next; whoever processes it moves this on first, as a lease.
    next_try_at = models.DateTimeField(null=True, blank=True)
    processed_at = models.DateTimeField(null=True, blank=True)
    #: What was done, or what went wrong and what to do, in a sentence.
    outcome = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-received_at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=~Q(state="waiting") | Q(next_try_at__isnull=False),
                name="event_waiting_is_due",
            ),
        )
        indexes = (
            models.Index(fields=["-received_at", "-id"], name="event_newest"),
            models.Index(fields=["state", "-received_at", "-id"], name="event_by_state"),
            models.Index(fields=["type", "-received_at", "-id"], name="event_by_type"),
            models.Index(
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="event_next_try",
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class CreditMemo(models.Model):
    """The document that Digital River made out for a refund."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="credit_memos")
    #: The refund it belongs to; empty where that cannot be told.
    refund = models.ForeignKey(
        Refund, on_delete=models.PROTECT, null=True, blank=True, related_name="credit_memos"
    )
    memo_id = models.CharField("Digital River's id", max_length=128, unique=True)
    file_id = models.CharField("file", max_length=128, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"Credit memo {self.memo_id}"
