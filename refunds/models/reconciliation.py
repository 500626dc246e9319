"""Reconciliation: the desk's refunds beside Digital River's, and where the two differ."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from refunds.models.fields import MoneyField
from refunds.models.orders import Order
from refunds.models.refunds import Refund


class ReconciliationRun(models.Model):
    """One time that everything was compared. It is carried on from ``phase`` and ``cursor``."""

    class State(models.TextChoices):
        """Where a run stands."""

        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        STOPPED = "stopped", "Stopped"

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    #: Refunds made since then; empty for all there are.
    since = models.DateTimeField(null=True, blank=True)
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    phase = models.CharField(max_length=20, blank=True)
    cursor = models.CharField(max_length=200, blank=True)
    theirs_read = models.PositiveIntegerField("read at Digital River", default=0)
    ours_read = models.PositiveIntegerField("read here", default=0)
    adopted = models.PositiveIntegerField(default=0)
    brought_up_to_date = models.PositiveIntegerField(default=0)
    open_differences = models.PositiveIntegerField(default=0)
    #: Why it stopped, in a sentence.
    outcome = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"Reconciliation {self.pk}"


class ControlTotal(models.Model):
    """What was refunded on one day in one currency, by the desk's account and Digital River's.

    Counts and amounts (major units of ``currency``) of the refunds made on that day, UTC, that
    hold or moved money.
    """

    run = models.ForeignKey(ReconciliationRun, on_delete=models.CASCADE, related_name="totals")
    day = models.DateField()
    currency = models.CharField(max_length=3)
    our_count = models.PositiveIntegerField(default=0)
    our_amount = MoneyField(default=0)
    their_count = models.PositiveIntegerField(default=0)
    their_amount = MoneyField(default=0)

    class Meta:
        ordering = ("-day", "currency")
        constraints = (
            models.UniqueConstraint(
                fields=["run", "day", "currency"], name="control_total_once_a_day"
            ),
        )

    def __str__(self) -> str:
        return f"{self.day} {self.currency}"

    @property
    def agrees(self) -> bool:
        """Whether both sides tell the same."""
        return self.our_count == self.their_count and self.our_amount == self.their_amount


class Difference(models.Model):
    """Something that is not as it should be, until a person or a later look has resolved it."""

    class Kind(models.TextChoices):
        """What differs."""

        MISSING_THERE = "missing_there", "Not at Digital River"
        MISSING_HERE = "missing_here", "Not at the desk"
        AMOUNT = "amount", "Amounts differ"
        STATE = "state", "States differ"
        AVAILABLE = "available", "Available amounts differ"
        ORDER_EXCEEDED = "order_exceeded", "More than was captured"
        LINE_EXCEEDED = "line_exceeded", "More than a line was charged"

    class Resolution(models.TextChoices):
        """How it was resolved."""

        OPEN = "", "Open"
        ADOPTED = "adopted", "Adopted"
        RELINKED = "relinked", "Relinked"
        REVIEWED = "reviewed", "Reviewed"
        CLEARED = "cleared", "No longer so"

    #: Kinds that must never happen: money beyond what there was.
    BREACHES = frozenset({Kind.ORDER_EXCEEDED, Kind.LINE_EXCEEDED})

    kind = models.CharField(max_length=20, choices=Kind)
    #: What it is about, as one key: a second look finds the same row again.
    subject = models.CharField(max_length=160)
    run = models.ForeignKey(
        ReconciliationRun,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="differences",
    )
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, null=True, blank=True, related_name="differences"
    )
    refund = models.ForeignKey(
        Refund, on_delete=models.PROTECT, null=True, blank=True, related_name="differences"
    )
    digital_river_id = models.CharField("Digital River id", max_length=128, blank=True)
    digital_river_order_id = models.CharField(max_length=128, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    our_amount = MoneyField(null=True, blank=True)
    their_amount = MoneyField(null=True, blank=True)
    our_state = models.CharField(max_length=24, blank=True)
    their_state = models.CharField(max_length=24, blank=True)
    #: What is so and what to do, in a sentence or two.
    explanation = models.CharField(max_length=500)
    found_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    resolution = models.CharField(
        max_length=10, choices=Resolution, blank=True, default=Resolution.OPEN
    )
    note = models.CharField(max_length=500, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-found_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(resolution=""),
                name="difference_open_once",
            ),
            models.CheckConstraint(
                condition=Q(resolution="") | Q(resolved_at__isnull=False),
                name="difference_resolved_is_dated",
            ),
        )
        indexes = (
            models.Index(
                fields=["kind", "-found_at", "-id"],
                condition=Q(resolution=""),
                name="difference_open",
            ),
            models.Index(fields=["-found_at", "-id"], name="difference_newest"),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"
