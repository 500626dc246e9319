"""Why refunds are made: a list that administrators keep."""

from dataclasses import dataclass

from django.db import models


class RefundReason(models.Model):
    """One reason to choose from. ``wire_text`` is what Digital River gets, at most 64 characters.

    https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds/issuing-refunds
    """

    label = models.CharField(max_length=60, unique=True)
    wire_text = models.CharField(
        "text for Digital River",
        max_length=64,
        help_text="Sent to Digital River with the refund; at most 64 characters.",
    )
    needs_text = models.BooleanField(
        "needs words of the rep",
        default=False,
        help_text="The rep must write the reason; their words are sent instead.",
    )
    active = models.BooleanField(default=True, help_text="Offered for new refunds.")
    position = models.PositiveSmallIntegerField(default=100)

    class Meta:
        ordering = ("position", "label")

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Grounds:
    """Why the rep refunds: a reason from the list, words of their own, what stays inside."""

    reason: RefundReason
    #: Sent to Digital River instead of the reason's own text, at most 64 characters.
    words: str = ""
    note: str = ""
    ticket_url: str = ""

    @property
    def wire_text(self) -> str:
        """What Digital River is told."""
        return self.words if self.reason.needs_text else self.reason.wire_text
