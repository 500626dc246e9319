"""Refunds: what was asked, what it holds, how it was sent, and the only way its state changes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.urls import reverse

from refunds.errors import MoveForbidden
from refunds.ledger import Component, Part
from refunds.models.closeouts import CloseOut
from refunds.models.fields import MoneyField, SearchKeyField
from refunds.models.history import Actor, Chained, entry_append
from refunds.models.orders import Order, OrderLine
from refunds.models.reasons import RefundReason
from refunds.models.states import MOVES, RefundState
from refunds.options import Option

ZERO = Decimal(0)

#: The columns whose new values the history tells.
TOLD_BY_HISTORY = (
    "requested_amount",
    "accepted_amount",
    "refunded_amount",
    "digital_river_id",
    "failure_reason",
    "refusal",
    "information_expires_at",
    "flag",
)

#: The columns of a refund, and of its lines, that hold each component's part.
ORDER_PART_COLUMNS = {
    Component.SHIPPING: "shipping_part",
    Component.SHIPPING_TAX: "shipping_tax_part",
    Component.DUTY: "duty_part",
    Component.IMPORTER_TAX: "importer_tax_part",
    Component.WHOLE: "whole_part",
}
LINE_PART_COLUMNS = {
    Component.PRODUCT: "product_part",
    Component.TAX: "tax_part",
    Component.FEES: "fees_part",
    Component.FEE_TAX: "fee_tax_part",
}


class Refund(Chained):
    """One refund, from draft to settled. Amounts are in major units of ``currency``.

    ``requested_amount`` is what the button named, ``accepted_amount`` what Digital River answered
    that it took, ``refunded_amount`` what it gave back in the end.
    """

    HISTORY_COLUMN = "refund"

    State = RefundState

    class Origin(models.TextChoices):
        """Where a refund was made."""

        DESK = "desk", "Refund desk"
        ELSEWHERE = "elsewhere", "Outside the desk"
        #: The customer's bank took the money back: counts as refunded, is no refund of ours.
        CHARGEBACK = "chargeback", "Chargeback"

    class OptionChoice(models.TextChoices):
        """The refund options as column values."""

        COMPLETE_ORDER = Option.COMPLETE_ORDER.value, Option.COMPLETE_ORDER.label
        LINE_ITEMS = Option.LINE_ITEMS.value, Option.LINE_ITEMS.label
        SHIPPING = Option.SHIPPING.value, Option.SHIPPING.label
        IMPORTER_DUTY = Option.IMPORTER_DUTY.value, Option.IMPORTER_DUTY.label
        IMPORTER_TAX = Option.IMPORTER_TAX.value, Option.IMPORTER_TAX.label
        TAX = Option.TAX.value, Option.TAX.label
        FEES = Option.FEES.value, Option.FEES.label

    #: States in which the refund's amount is held: it is not there for another refund.
    HOLDING = frozenset(
        {
            RefundState.QUEUED,
            RefundState.SUBMITTING,
            RefundState.UNKNOWN,
            RefundState.PENDING,
            RefundState.PENDING_INFORMATION,
        }
    )
    #: States that will still change by themselves; a look at Digital River may settle them.
    UNSETTLED = HOLDING
    #: States from which the rep may try again with a new attempt.
    RETRYABLE = frozenset({RefundState.NOT_SENT, RefundState.FAILED, RefundState.EXPIRED})

    reference = models.CharField(max_length=16, unique=True)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="refunds")
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.DESK)
    option = models.CharField(max_length=20, choices=OptionChoice, blank=True)
    state = models.CharField(max_length=24, choices=RefundState, default=RefundState.DRAFT)
    currency = models.CharField(max_length=3)
    requested_amount = MoneyField("requested", null=True, blank=True)
    accepted_amount = MoneyField("accepted by Digital River", null=True, blank=True)
    refunded_amount = MoneyField("refunded", default=ZERO)

    # The parts of the order as a whole; those of its lines are on the refund's lines. Together
    # they are what the refund holds, or gave once it succeeded.
    shipping_part = MoneyField("shipping", default=ZERO)
    shipping_tax_part = MoneyField("shipping tax", default=ZERO)
    duty_part = MoneyField("importer duty", default=ZERO)
    importer_tax_part = MoneyField("importer tax", default=ZERO)
    whole_part = MoneyField("whole order, unsplit", default=ZERO)

    reason = models.ForeignKey(RefundReason, on_delete=models.PROTECT, null=True, blank=True)
    reason_text = models.CharField("reason as sent", max_length=64, blank=True)
    note = models.TextField("internal note", max_length=2000, blank=True)
    ticket_url = models.URLField("ticket", max_length=500, blank=True)

    digital_river_id = models.CharField("Digital River id", max_length=128, blank=True)
    #: Digital River's figures, as the order last read them, account for this refund.
    listed = models.BooleanField(default=False)
    failure_reason = models.CharField(max_length=255, blank=True)
    #: Digital River's words, or ours, for why it was refused.
    refusal = models.CharField(max_length=500, blank=True)
    #: The refund of the desk that this one, taken for one made elsewhere, turned out to be.
    relinked_to = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="relinked"
    )
    close_out = models.ForeignKey(
        CloseOut, on_delete=models.PROTECT, null=True, blank=True, related_name="refunds"
    )
    #: When a reconciliation last found it at Digital River.
    reconciled_at = models.DateTimeField(null=True, blank=True)
    #: The settled state that Digital River told after another one; empty where it did not.
    told_otherwise = models.CharField(max_length=24, choices=RefundState, blank=True)
    #: What a lead should look at; empty when all is as it should be.
    flag = models.CharField(max_length=500, blank=True)

    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="refunds",
    )
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    draft_expires_at = models.DateTimeField(null=True, blank=True)
    submitted_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    #: Until when the customer may give bank details (``expiresTime``, never a constant).
    information_expires_at = models.DateTimeField(null=True, blank=True)
    #: When the desk looks at Digital River (or sends a queued one) next by itself.
    next_check_at = models.DateTimeField(null=True, blank=True)

    reference_key = SearchKeyField(max_length=16)
    digital_river_key = SearchKeyField()

    class Meta:
        ordering = ("-submitted_at", "-id")
        permissions = (
            ("issue_refund", "Can issue refunds (DigitalRiver Connector – Refunds)"),
            ("approve_refund", "Can approve refunds and look into flagged ones"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["digital_river_id"],
                condition=~Q(digital_river_id=""),
                name="refund_digital_river_id_unique",
            ),
            models.CheckConstraint(
                condition=Q(requested_amount__gte=0)
                & Q(refunded_amount__gte=0)
                & Q(shipping_part__gte=0)
                & Q(shipping_tax_part__gte=0)
                & Q(duty_part__gte=0)
                & Q(importer_tax_part__gte=0)
                & Q(whole_part__gte=0),
                name="refund_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(state__in=RefundState.values), name="refund_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "cancelled"])
                | (
                    Q(submitted_at__isnull=False)
                    & Q(requested_amount__isnull=False)
                    & ~Q(option="")
                ),
                name="refund_submitted_is_complete",
            ),
            models.CheckConstraint(
                condition=~Q(state="relinked")
                | (Q(relinked_to__isnull=False) & Q(digital_river_id="")),
                name="refund_relinked_is_complete",
            ),
            models.CheckConstraint(
                condition=~Q(state="succeeded") | Q(settled_at__isnull=False),
                name="refund_succeeded_is_settled",
            ),
        )
        indexes = (
            models.Index(fields=["-submitted_at", "-id"], name="refund_newest"),
            models.Index(fields=["updated_at"], name="refund_changed"),
            models.Index(fields=["state", "-submitted_at", "-id"], name="refund_by_state"),
            models.Index(fields=["option", "-submitted_at", "-id"], name="refund_by_option"),
            models.Index(fields=["created_by", "-submitted_at", "-id"], name="refund_by_person"),
            models.Index(
                fields=["-submitted_at", "-id"], condition=~Q(flag=""), name="refund_flagged"
            ),
            models.Index(
                fields=["next_check_at"],
                condition=Q(next_check_at__isnull=False),
                name="refund_next_check",
            ),
            models.Index(
                fields=["reference_key", "-submitted_at", "-id"], name="refund_reference_key"
            ),
            models.Index(
                fields=["digital_river_key", "-submitted_at", "-id"],
                name="refund_digital_river_key",
            ),
        )

    def __str__(self) -> str:
        return f"Refund {self.reference}"

    def get_absolute_url(self) -> str:
        """Return the refund's page; a draft's is its first open step."""
        if self.state == self.State.DRAFT:
            return reverse("refunds:draft-option", args=[self.reference])
        return reverse("refunds:refund", args=[self.reference])

    @property
    def is_draft(self) -> bool:
        """Whether the refund is still a draft."""
        return self.state == self.State.DRAFT

    def is_expired(self, at: datetime) -> bool:
        """Tell whether the draft's time has run out."""
        return self.draft_expires_at is not None and self.draft_expires_at <= at

    @property
    def is_unsettled(self) -> bool:
        """Whether a look at Digital River may still change it."""
        return self.state in self.UNSETTLED

    @property
    def can_retry(self) -> bool:
        """Whether the rep may send it again as a new attempt."""
        return (
            self.origin == self.Origin.DESK
            and self.state in self.RETRYABLE
            # Digital River may have contradicted itself and paid one that it told had failed.
            and not self.refunded_amount
        )

    @property
    def is_contradicted(self) -> bool:
        """Whether Digital River told both that it was paid and that it came to nothing."""
        if self.state == self.State.SUCCEEDED:
            return bool(self.told_otherwise)
        return bool(self.refunded_amount)

    @property
    def can_cancel(self) -> bool:
        """Whether it can still be called off: nothing is at Digital River or on its way there."""
        return self.state in {self.State.QUEUED, self.State.NOT_SENT}

    @property
    def state_look(self) -> tuple[str, str]:
        """The state's colour and icon."""
        return RefundState(self.state).look

    @property
    def state_meaning(self) -> str:
        """The state in plain words."""
        return RefundState(self.state).meaning

    @property
    def failure_in_words(self) -> str:
        """Why it failed, in words for the rep; empty where Digital River gave no cause."""
        if not self.failure_reason:
            return ""
        words = self.failure_reason.replace("_", " ")
        return _FAILURES.get(self.failure_reason, f"{words[0].upper()}{words[1:]}.")

    @property
    def held_amount(self) -> Decimal:
        """What the refund holds or gave, in major units of its currency."""
        held: Decimal | None = ZERO
        if self.state == self.State.SUCCEEDED:
            held = self.refunded_amount
        elif self.state in self.HOLDING:
            held = self.requested_amount if self.accepted_amount is None else self.accepted_amount
        return held or ZERO

    def parts(self, line_keys: Mapping[int, str]) -> dict[Part, Decimal]:
        """Return what the refund is made up of; reads its lines, so prefetch them for many.

        ``line_keys`` gives the ledger's name of each order line by its primary key.
        """
        parts = {
            Part(component): getattr(self, column)
            for component, column in ORDER_PART_COLUMNS.items()
        }
        for line in self.lines.all():
            for component, column in LINE_PART_COLUMNS.items():
                parts[Part(component, line_keys[line.order_line_id])] = getattr(line, column)
        return {part: amount for part, amount in parts.items() if amount}

    def paying_instead(self) -> "models.QuerySet[Refund]":
        """Return the refunds that hold or gave the money of an earlier attempt of this one.

        Such an attempt turned up at Digital River while a later one was on its way, and is on
        record by itself. As long as it neither failed nor expired, sending this refund again
        would pay the customer twice.
        """
        made = self.attempts.exclude(digital_river_id="").values("digital_river_id")
        paying = Refund.objects.filter(state__in=[*self.HOLDING, self.State.SUCCEEDED])
        # The index has no rows without an id: unless that is said, the whole table is read.
        there = paying.filter(digital_river_id__in=made).exclude(digital_river_id="")
        return there.exclude(pk=self.pk)

    def perhaps_elsewhere(self) -> "models.QuerySet[Refund]":
        """Return the refunds that count as made elsewhere and may be this one.

        Digital River shows them without our reference, for the same amount, and made since this
        one was first sent without an answer: should it have lost the reference, sending this one
        again would pay the customer twice. A lead relinks it, or knows better.
        """
        looked_for = self.attempts.filter(missing_since__isnull=False).order_by("number")
        first = looked_for.values_list("started_at", flat=True).first()
        if first is None:
            return Refund.objects.none()
        return Refund.objects.filter(
            order=self.order_id,
            origin=self.Origin.ELSEWHERE,
            state__in=[*self.HOLDING, self.State.SUCCEEDED],
            requested_amount=self.requested_amount,
            # Digital River tells times in whole seconds.
            submitted_at__gte=first - timedelta(seconds=1),
        )

    def move_to(
        self,
        state: str,
        *,
        actor: Actor,
        at: datetime,
        summary: str,
        request_id: str = "",
        **changes: Any,
    ) -> None:
        """Change the state, and the columns that change with it, and write the history row.

        This is the only way a state changes: the move must be in ``MOVES`` and the row must
        still be in the state this object has, else ``MoveForbidden`` is raised and nothing is
        written.
        """
        if state not in MOVES[self.state]:
            raise MoveForbidden(
                f"Refund {self.reference} is {self.State(self.state).label.lower()} and cannot "
                f"become {self.State(state).label.lower()}. Reload the page to see where it stands."
            )
        before = self.state
        with transaction.atomic():
            moved = Refund.objects.filter(pk=self.pk, state=before).update(
                state=state, updated_at=at, **changes
            )
            if not moved:
                raise MoveForbidden(
                    f"Refund {self.reference} was changed by somebody else in this moment. "
                    "Reload the page to see where it stands."
                )
            entry_append(
                self,
                actor=actor,
                at=at,
                summary=summary,
                from_state=before,
                to_state=state,
                request_id=request_id,
                details={name: changes[name] for name in TOLD_BY_HISTORY if name in changes},
            )
        self.state = state
        self.updated_at = at
        for name, value in changes.items():
            setattr(self, name, value)


#: Digital River publishes no list of failure reasons; others are shown in its own words.
_FAILURES = {
    "expired_or_canceled_card": "The customer's card has expired or was cancelled.",
    "account_closed": "The customer's account is closed.",
    "closed_account": "The customer's account is closed.",
    "account_frozen": "The customer's account is frozen.",
}


class RefundLine(models.Model):
    """One order line of a refund: what was asked for it, and the parts it makes up.

    ``quantity`` and ``amount`` (the line total, tax included) are what the rep chose for Line
    Items; other options touch lines without choosing units.
    """

    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="lines")
    order_line = models.ForeignKey(OrderLine, on_delete=models.PROTECT, related_name="+")
    quantity = models.PositiveIntegerField(default=0)
    amount = MoneyField(null=True, blank=True)
    product_part = MoneyField("product", default=ZERO)
    tax_part = MoneyField("tax", default=ZERO)
    fees_part = MoneyField("fees", default=ZERO)
    fee_tax_part = MoneyField("fee tax", default=ZERO)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=["refund", "order_line"], name="refund_line_once"),
            models.CheckConstraint(
                condition=Q(amount__gte=0)
                & Q(product_part__gte=0)
                & Q(tax_part__gte=0)
                & Q(fees_part__gte=0)
                & Q(fee_tax_part__gte=0),
                name="refund_line_not_negative",
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.order_line_id}"


class RefundAttempt(models.Model):
    """One time a refund was sent: what was asked, when, and what came back.

    ``reference`` is what Digital River keeps in the refund's metadata, so that an answer that
    never came can be looked up. Only the process that wrote the attempt sends it, until
    ``lease_until``.
    """

    refund = models.ForeignKey(Refund, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    reference = models.CharField(max_length=24, unique=True)
    started_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    #: The body as it is sent, JSON text.
    request = models.TextField()
    #: Digital River's answer, JSON text without any token; empty when none came.
    answer = models.TextField(blank=True)
    status = models.PositiveSmallIntegerField("HTTP status", null=True, blank=True)
    request_id = models.CharField("Digital River request id", max_length=100, blank=True)
    #: Digital River's id of the refund this attempt made, once known.
    digital_river_id = models.CharField("Digital River id", max_length=128, blank=True)
    #: What became of it, for people who look into it.
    outcome = models.CharField(max_length=500, blank=True)
    #: When a look at Digital River first said that it is not there.
    missing_since = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("refund", "number")
        constraints = (
            models.UniqueConstraint(fields=["refund", "number"], name="refund_attempt_once"),
            models.UniqueConstraint(
                fields=["digital_river_id"],
                condition=~Q(digital_river_id=""),
                name="refund_attempt_digital_river_id_unique",
            ),
        )

    def __str__(self) -> str:
        return self.reference

    def is_overtaken(self) -> bool:
        """Tell whether the refund was sent again since, as another attempt."""
        later = RefundAttempt.objects.filter(refund_id=self.refund_id, number__gt=self.number)
        return later.exists()
