"""The states of a refund, what each means to the rep, and the moves between them."""

from collections.abc import Mapping

from django.db import models


class RefundState(models.TextChoices):
    """Where a refund stands; the moves between the states are in ``MOVES``."""

    DRAFT = "draft", "Draft"
    QUEUED = "queued", "Waiting to be sent"
    SUBMITTING = "submitting", "Being sent"
    UNKNOWN = "unknown", "Outcome unknown"
    NOT_SENT = "not_sent", "Not sent"
    PENDING = "pending", "Pending"
    PENDING_INFORMATION = "pending_information", "Needs bank details"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    EXPIRED = "expired", "Expired"
    REFUSED = "refused", "Refused"
    CANCELLED = "cancelled", "Cancelled"
    RELINKED = "relinked", "Relinked"

    @property
    def look(self) -> tuple[str, str]:
        """The badge's colour and icon; the word is the label."""
        return _LOOKS[self.value]

    @property
    def meaning(self) -> str:
        """The state in plain words, for the rep."""
        return _MEANINGS[self.value]


_S = RefundState
_SETTLED_BY_PROCESSOR = frozenset({_S.PENDING, _S.PENDING_INFORMATION, _S.SUCCEEDED, _S.FAILED})
#: The only moves there are between states.
MOVES: Mapping[str, frozenset[str]] = {
    _S.DRAFT: frozenset({_S.QUEUED, _S.SUBMITTING, _S.CANCELLED}),
    _S.QUEUED: frozenset({_S.SUBMITTING, _S.REFUSED, _S.CANCELLED}),
    _S.SUBMITTING: _SETTLED_BY_PROCESSOR
    | frozenset({_S.REFUSED, _S.QUEUED, _S.NOT_SENT, _S.UNKNOWN}),
    _S.UNKNOWN: _SETTLED_BY_PROCESSOR | frozenset({_S.EXPIRED, _S.NOT_SENT}),
    _S.NOT_SENT: _SETTLED_BY_PROCESSOR | frozenset({_S.EXPIRED, _S.QUEUED, _S.CANCELLED}),
    # Relinked: a refund taken for one made elsewhere that turned out to be one of the desk's own.
    _S.PENDING: frozenset(
        {_S.PENDING_INFORMATION, _S.SUCCEEDED, _S.FAILED, _S.EXPIRED, _S.RELINKED}
    ),
    _S.PENDING_INFORMATION: frozenset(
        {_S.PENDING, _S.SUCCEEDED, _S.FAILED, _S.EXPIRED, _S.RELINKED}
    ),
    _S.SUCCEEDED: frozenset({_S.RELINKED}),
    _S.FAILED: frozenset({_S.QUEUED, _S.RELINKED}),
    _S.EXPIRED: frozenset({_S.QUEUED, _S.RELINKED}),
    _S.RELINKED: frozenset(),
    _S.REFUSED: frozenset(),
    _S.CANCELLED: frozenset(),
}

_LOOKS = {
    "draft": ("neutral", "pencil"),
    "queued": ("waiting", "hourglass-split"),
    "submitting": ("progress", "send"),
    "unknown": ("warning", "question-diamond"),
    "not_sent": ("warning", "send-slash"),
    "pending": ("progress", "arrow-repeat"),
    "pending_information": ("waiting", "bank"),
    "succeeded": ("good", "check-circle"),
    "failed": ("bad", "x-octagon"),
    "expired": ("bad", "clock-history"),
    "refused": ("bad", "slash-circle"),
    "cancelled": ("neutral", "x-circle"),
    "relinked": ("neutral", "link-45deg"),
}

_MEANINGS = {
    "draft": "Not submitted yet. Nothing was sent to Digital River.",
    "queued": (
        "Digital River cannot take it yet. The refund is held and will be sent by itself; do not "
        "make another one."
    ),
    "submitting": "The refund is on its way to Digital River. Do not make another one.",
    "unknown": (
        "We do not know yet whether Digital River took this; do not refund again. The desk looks "
        "until it is certain."
    ),
    "not_sent": (
        "This refund never reached Digital River. No money will move; it can be sent again."
    ),
    "pending": (
        "Requested: Digital River has taken the refund, but the money has not moved yet. This "
        "usually takes up to 24 hours."
    ),
    "pending_information": (
        "Digital River needs the customer's bank details before it can send the money."
    ),
    "succeeded": (
        "Digital River has sent the money back. The customer sees it 5 to 10 business days later."
    ),
    "failed": "The refund failed at the bank or the payment service. The customer got no money.",
    "expired": "The customer did not give bank details in time. No money has moved.",
    # By Digital River, or by the desk where the refund had waited and was no longer possible.
    "refused": "This refund was refused, and no money has moved.",
    "cancelled": "Called off before anything was sent. No money has moved.",
    "relinked": (
        "A lead found that this is one of the desk's own refunds; it goes on under that reference."
    ),
}
