"""What comes from Salesforce and goes back: runs of the mirror, the permission set, tasks."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from refunds.models.history import Chained
from refunds.models.refunds import Refund
from refunds.models.states import RefundState


class SyncRun(models.Model):
    """One run of the mirror. It is carried on from ``phase``, ``job_id`` and ``locator``."""

    class Kind(models.TextChoices):
        """What it reads."""

        FULL = "full", "Everything"
        CHANGES = "changes", "Changes"

    class State(models.TextChoices):
        """Where it stands."""

        RUNNING = "running", "Running"
        FINISHED = "finished", "Finished"
        STOPPED = "stopped", "Stopped"

    class Phase(models.TextChoices):
        """What it reads just now, in this order."""

        ORDERS = "orders", "Orders"
        LINES = "lines", "Order products"
        DELETED_ORDERS = "deleted_orders", "Deleted orders"
        DELETED_LINES = "deleted_lines", "Deleted order products"
        GONE = "gone", "What is gone without a trace"
        AGAIN = "again", "Records set aside, once more"
        DONE = "done", "Done"

    kind = models.CharField(max_length=10, choices=Kind)
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    phase = models.CharField(max_length=20, choices=Phase, default=Phase.ORDERS)
    #: What started it: a command, the timer.
    started_by = models.CharField(max_length=40)
    started_at = models.DateTimeField()
    #: The last sign of life of the process that has it.
    alive_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    #: Reads what changed since then, by Salesforce's clock; empty for everything.
    since = models.DateTimeField(null=True, blank=True)
    #: From where the next run of changes reads once this one has finished, by Salesforce's clock.
    watermark = models.DateTimeField(null=True, blank=True)
    #: Whether it keeps the ids of what it read, to find what is gone without a trace.
    keeps_seen = models.BooleanField(default=False)
    #: Salesforce's bulk query job of the phase at hand, and the page of it that comes next.
    job_id = models.CharField(max_length=18, blank=True)
    locator = models.CharField(max_length=200, blank=True)
    #: How many records the phase at hand has in all, where Salesforce told.
    expected = models.PositiveIntegerField(null=True, blank=True)
    orders_read = models.PositiveIntegerField(default=0)
    orders_created = models.PositiveIntegerField(default=0)
    orders_changed = models.PositiveIntegerField(default=0)
    orders_deleted = models.PositiveIntegerField(default=0)
    lines_read = models.PositiveIntegerField(default=0)
    lines_created = models.PositiveIntegerField(default=0)
    lines_changed = models.PositiveIntegerField(default=0)
    lines_deleted = models.PositiveIntegerField(default=0)
    set_aside = models.PositiveIntegerField(default=0)
    #: Why it stopped, or what to know of it, in a sentence.
    outcome = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["state"], condition=Q(state="running"), name="sync_one_at_a_time"
            ),
        )
        indexes = (models.Index(fields=["kind", "state", "-id"], name="sync_run_by_kind"),)

    def __str__(self) -> str:
        return f"Sync {self.pk}"


class SeenRecord(models.Model):
    """A record that the one run under way has read; gone once it has ended.

    What is in the mirror and was not read by a run of everything is gone from Salesforce, even
    from its recycle bin.
    """

    object_name = models.CharField(max_length=20)
    salesforce_id = models.CharField(max_length=18)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["salesforce_id", "object_name"], name="seen_record_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.object_name} {self.salesforce_id}"


class SetAside(models.Model):
    """A Salesforce record that could not be mirrored, with what is wrong, until it can be."""

    object_name = models.CharField("object", max_length=20)
    salesforce_id = models.CharField("Salesforce id", max_length=255)
    #: The order it belongs to, where that is known.
    order_salesforce_id = models.CharField("order's Salesforce id", max_length=18, blank=True)
    field = models.CharField(max_length=255, blank=True)
    #: What is wrong and what to do, in a sentence without the field's value.
    reason = models.CharField(max_length=500)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    run = models.ForeignKey(
        SyncRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="records"
    )

    class Meta:
        ordering = ("-last_seen_at", "-id")
        verbose_name = "record set aside"
        verbose_name_plural = "records set aside"
        constraints = (
            models.UniqueConstraint(fields=["object_name", "salesforce_id"], name="set_aside_once"),
        )
        indexes = (
            models.Index(fields=["-last_seen_at", "-id"], name="set_aside_newest"),
            models.Index(fields=["order_salesforce_id"], name="set_aside_of_order"),
        )

    def __str__(self) -> str:
        return f"{self.object_name} {self.salesforce_id}"


class Membership(Chained):
    """A person's place in the permission set, and where it comes from. Kept after it has ended.

    Being in the Django group is what counts; this row says why, and its history who changed it.
    """

    class Source(models.TextChoices):
        """Who gave it."""

        SALESFORCE = "salesforce", "From Salesforce"
        HAND = "hand", "Given by hand"

    HISTORY_COLUMN = "membership"
    #: The columns whose values its history tells.
    TOLD_BY_HISTORY: ClassVar = ("source", "active")

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="permission_set"
    )
    source = models.CharField(max_length=10, choices=Source)
    active = models.BooleanField(default=True)
    salesforce_user_id = models.CharField("Salesforce user", max_length=18, blank=True)
    since = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    #: How often the person was signed out everywhere; a session knows how often before it began.
    sign_outs = models.PositiveIntegerField("signed out everywhere", default=0)

    class Meta:
        ordering = ("user",)

    def __str__(self) -> str:
        return f"{self.user}: {self.get_source_display().lower()}"


class SalesforceTask(models.Model):
    """A Task to be made on a Salesforce Order when a refund settles; once per refund and state."""

    class State(models.TextChoices):
        """What became of it."""

        WAITING = "waiting", "Waiting"
        CREATED = "created", "Created"
        FAILED = "failed", "Failed"

    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="salesforce_tasks")
    refund_state = models.CharField(max_length=24, choices=RefundState)
    subject = models.CharField(max_length=255)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    task_id = models.CharField("Salesforce id", max_length=18, blank=True)
    tries = models.PositiveIntegerField(default=0)
    #: When it is tried next; whoever tries it moves this on first, as a lease.
    next_try_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True, blank=True)
    #: What went wrong last and what to do, in a sentence.
    outcome = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)
        verbose_name = "Salesforce task"
        constraints = (
            models.UniqueConstraint(fields=["refund", "refund_state"], name="salesforce_task_once"),
            models.CheckConstraint(
                condition=~Q(state="waiting") | Q(next_try_at__isnull=False),
                name="salesforce_task_waiting_is_due",
            ),
        )
        indexes = (
            models.Index(
                fields=["next_try_at"],
                condition=Q(next_try_at__isnull=False),
                name="salesforce_task_next_try",
            ),
        )

    def __str__(self) -> str:
        return self.subject
