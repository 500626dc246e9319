"""Close-outs: one action that brings an order to exactly nothing left."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from refunds.models.fields import MoneyField
from refunds.models.orders import Order
from refunds.models.reasons import RefundReason


class CloseOut(models.Model):
    """A Complete Order refund of all that is left, and fees per line should any remain.

    Its refunds name it. ``planned_amount`` is what the button named, in major units of
    ``currency``. It is carried on from wherever it stopped, by the sweep or by a person.
    """

    class State(models.TextChoices):
        """Where a close-out stands."""

        RUNNING = "running", "Being closed out"
        DONE = "done", "Nothing left"
        STOPPED = "stopped", "Stopped"

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="close_outs")
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING)
    currency = models.CharField(max_length=3)
    planned_amount = MoneyField()
    reason = models.ForeignKey(RefundReason, on_delete=models.PROTECT)
    reason_text = models.CharField("reason as sent", max_length=64, blank=True)
    note = models.TextField("internal note", max_length=2000, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="close_outs"
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    #: When the sweep carries it on next.
    next_step_at = models.DateTimeField(null=True, blank=True)
    #: What is so, or why it stopped, in a sentence.
    outcome = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=["order"], condition=Q(state="running"), name="close_out_one_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(planned_amount__gt=0), name="close_out_of_something"
            ),
        )
        indexes = (
            models.Index(
                fields=["next_step_at"],
                condition=Q(next_step_at__isnull=False),
                name="close_out_next_step",
            ),
        )

    def __str__(self) -> str:
        return f"Close-out of {self.order}"
