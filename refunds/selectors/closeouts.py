"""What closing out an order would send, and where a close-out stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from refunds.models import CloseOut, Refund
from refunds.money import ZERO, format_money
from refunds.options import Option, Quote, Selection
from refunds.selectors.positions import OrderAccount
from refunds.selectors.refunds import refund_paying_instead

#: States of a refund that Digital River has not taken on, and may yet.
NOT_TAKEN_ON = frozenset({Refund.State.QUEUED, Refund.State.SUBMITTING, Refund.State.UNKNOWN})
#: States of a refund that Digital River has taken on and not given up.
TAKEN_ON = frozenset(
    {Refund.State.PENDING, Refund.State.PENDING_INFORMATION, Refund.State.SUCCEEDED}
)


@dataclass(frozen=True, slots=True)
class CloseOutPlan:
    """What closing out an order would send; amounts are in major units of its currency."""

    #: Why it cannot be done now, and what to do, in a sentence; empty when it can.
    closed_because: str
    #: The Complete Order refund of exactly all that is left, fees included.
    quote: Quote | None
    #: The fees that are part of it, by the line's name: sent on their own only if they remain.
    fees: tuple[tuple[str, Decimal], ...]
    #: What is on its way in earlier refunds, and would be left again should they fail.
    in_flight: Decimal
    #: The latest close-out of the order, whatever became of it.
    latest: CloseOut | None

    @property
    def running(self) -> CloseOut | None:
        """The close-out that is under way; there is never more than one."""
        if self.latest is not None and self.latest.state == CloseOut.State.RUNNING:
            return self.latest
        return None


def closeout_plan(account: OrderAccount) -> CloseOutPlan:
    """Return what closing out the order would send as things stand, or why it cannot be done."""
    latest = account.order.close_outs.order_by("-id").first()
    position = account.position
    because = _why_closed(account, latest)
    fees: tuple[tuple[str, Decimal], ...] = ()
    quote = None
    if not because:
        quote = position.quote(Selection(Option.COMPLETE_ORDER))
        names = {line.key: line.product_name for line in account.lines}
        fees = tuple((names[key], left) for key, left in position.fee_lines().items())
    return CloseOutPlan(because, quote, fees, position.ledger.in_flight, latest)


def _why_closed(account: OrderAccount, latest: CloseOut | None) -> str:
    if latest is not None and latest.state == CloseOut.State.RUNNING:
        return (
            "This order is being closed out already. Open that close-out to see where it stands; "
            "do not refund anything else meanwhile."
        )
    for refund in account.refunds:
        # What these hold may turn out to be given, or left: so nobody knows what all of it is.
        if refund.state in NOT_TAKEN_ON:
            return f"Refund {refund.reference} of this order {_UNCERTAIN[refund.state]}"
    return account.position.closed_because


_UNCERTAIN = {
    "unknown": (
        "has an unknown outcome, so what is left is not certain. Open it and check it; close out "
        "the order once it is settled."
    ),
    "submitting": "is being sent right now. Close out the order once Digital River has taken it.",
    "queued": (
        "waits to be sent. Close out the order once Digital River has taken it, or call it off "
        "first."
    ),
}


@dataclass(frozen=True, slots=True)
class CloseOutView:
    """All that the page of a close-out shows."""

    close_out: CloseOut
    #: Its refunds that were submitted, newest first.
    refunds: list[Refund]
    label: str
    tone: str
    icon: str
    #: What is so, and what comes next once it has ended, in sentences.
    sentence: str
    next: str
    #: The refund that keeps it from being done, if one does.
    trouble: Refund | None

    @property
    def is_running(self) -> bool:
        """Whether it is still carried on."""
        return self.close_out.state == CloseOut.State.RUNNING

    @property
    def can_call_off(self) -> bool:
        """Whether something of it was not sent yet and may be dropped."""
        return self.is_running and any(refund.is_draft for refund in self._all)

    @property
    def _all(self) -> Sequence[Refund]:
        return list(self.close_out.refunds.all())


def closeout_of(order_number: str, pk: int) -> CloseOut:
    """Return a close-out of this order with its refunds. Raises ``CloseOut.DoesNotExist``."""
    return (
        CloseOut.objects.select_related("order", "created_by", "reason")
        .prefetch_related("refunds__created_by")
        .get(pk=pk, order__order_number=order_number)
    )


def closeout_view(close_out: CloseOut) -> CloseOutView:
    """Return what the page of a close-out shows; it has its refunds with it."""
    refunds = sorted(close_out.refunds.all(), key=lambda refund: refund.pk)
    submitted = [refund for refund in refunds if refund.submitted_at is not None]
    # One that came to nothing counts as what gives its money instead, where something does.
    counted = [refund_paying_instead(refund) or refund for refund in submitted]
    trouble = next((each for each in counted if each.state not in TAKEN_ON), None)
    label, (tone, icon) = close_out.get_state_display(), _LOOKS[close_out.state]
    if close_out.state == CloseOut.State.DONE:
        sentence, following = _done(close_out, counted, trouble)
        if trouble is not None:
            label, tone, icon = "Something is left again", "warning", "exclamation-triangle"
    elif close_out.state == CloseOut.State.STOPPED:
        sentence, following = _stopped(close_out, submitted, counted)
    else:
        sentence, following = _running(close_out, refunds, trouble), ""
    shown = [*submitted, *(each for each in counted if each not in submitted)][::-1]
    return CloseOutView(close_out, shown, label, tone, icon, sentence, following, trouble)


_LOOKS = {
    "running": ("progress", "arrow-repeat"),
    "done": ("good", "check-circle"),
    "stopped": ("bad", "slash-circle"),
}


def _done(
    close_out: CloseOut, refunds: Sequence[Refund], trouble: Refund | None
) -> tuple[str, str]:
    if trouble is not None:
        state = trouble.get_state_display().lower()
        return (
            f"Refund {trouble.reference} of it is {state} now, so its money is left again.",
            "open that refund and send it again, or close out the order once more.",
        )
    given = sum((refund.held_amount for refund in refunds), ZERO)
    total = format_money(given, close_out.currency)
    if all(refund.state == Refund.State.SUCCEEDED for refund in refunds):
        return f"Nothing is left to refund on this order: {total} was given back.", ""
    return (
        f"Nothing is left to refund on this order: {total} is on its way.",
        "Digital River sends the money, usually within 24 hours. This page tells should it fail.",
    )


def _stopped(
    close_out: CloseOut, submitted: Sequence[Refund], counted: Sequence[Refund]
) -> tuple[str, str]:
    for refund, now in zip(submitted, counted, strict=True):
        # What was so when it stopped names the refund that came to nothing, and may be so no more.
        if now.state in TAKEN_ON and refund.reference in close_out.outcome:
            state = now.get_state_display().lower()
            taken = "it on" if now == refund else f"on refund {now.reference} in its place"
            sentence = (
                f"It stopped because refund {refund.reference} had come to nothing. Since then "
                f"Digital River has taken {taken}: it is {state} now."
            )
            return sentence, "open the order to see whether anything is left."
    return close_out.outcome, ""


def _running(close_out: CloseOut, refunds: Sequence[Refund], trouble: Refund | None) -> str:
    if close_out.outcome:
        return f"{close_out.outcome} It is not certain yet that nothing is left."
    if trouble is not None:
        return f"Refund {trouble.reference}: {trouble.state_meaning}"
    if any(refund.is_draft for refund in refunds):
        return "Its next refund is not sent yet."
    return "Digital River has taken it on; what is left is read again."
