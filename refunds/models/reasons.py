"""Why refunds are made: a list that administrators keep."""

from dataclasses import dataclass
from typing import ClassVar

from django.db import models

from refunds.models.history import Chained


class RefundReason(Chained):
    """One reason to choose from. ``wire_text`` is what Digital River gets, at most 64 characters.

    https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds/issuing-refunds
    """

    HISTORY_COLUMN = "reason"
    #: The columns whose values its history tells.
    TOLD_BY_HISTORY: ClassVar = ("label", "wire_text", "needs_text", "active", "position")

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

    @property
    def told(self) -> dict[str, str]:
        """What it says, column by column, in the words of its history."""
        values = {name: getattr(self, name) for name in self.TOLD_BY_HISTORY}
        yes_or_no = {True: "yes", False: "no"}
        return {
            name: yes_or_no[value] if isinstance(value, bool) else str(value)
            for name, value in values.items()
        }


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
