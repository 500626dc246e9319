"""The desk's errors. ``str()`` of each is the sentence the rep reads: what is so, and what to do.

    RefundDeskError
    ├── AmountInvalid            text that is no amount, or an amount out of bounds
    ├── QuantityInvalid          a quantity that is not there to be refunded
    ├── CurrencyUnknown          a currency that ISO 4217 does not list
    ├── OptionClosed             the refund option is not open on this order (any more)
    ├── SelectionInvalid         the selection is incomplete or contradicts itself
    ├── OrderNotEligible         the order cannot be refunded now
    ├── OrderUnreadable          Digital River could not be asked for the order
    ├── FiguresChanged           what the rep saw no longer holds; carries the old and the new
    ├── DraftClosed              the draft was submitted, discarded or has expired
    ├── MoveForbidden            a refund cannot go from its state to the one asked for
    ├── PermissionMissing        the person is not in the permission set
    ├── PermissionSetRefused     the permission set cannot be taken over from Salesforce now
    ├── ReconciliationRefused    a reconciliation cannot be begun or carried on now
    ├── DifferenceUnresolved     a difference cannot be resolved in the way asked for
    ├── OrderNotFetched          an order could not be had from Salesforce
    ├── SyncRefused              a sync with Salesforce cannot be begun now
    └── RecordUnusable           a Salesforce record that cannot be mirrored

The module knows nothing of Django, of the database or of the wire.
"""

from collections.abc import Mapping
from decimal import Decimal


class RefundDeskError(Exception):
    """Anything the desk refuses. ``field`` names the form field at fault, or is empty."""

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class AmountInvalid(RefundDeskError):
    """The text is not an amount of this currency, or the amount is out of bounds."""


class QuantityInvalid(RefundDeskError):
    """The quantity is not a whole number of units that are there to be refunded."""


class CurrencyUnknown(RefundDeskError):
    """The currency code is not one that ISO 4217 lists with minor units."""


class OptionClosed(RefundDeskError):
    """The refund option is not open on this order (any more)."""


class SelectionInvalid(RefundDeskError):
    """The selection is incomplete or contradicts itself."""


class OrderNotEligible(RefundDeskError):
    """The order cannot be refunded now; the sentence says why."""


class OrderUnreadable(RefundDeskError):
    """Digital River could not be asked for the order, so its figures may be out of date."""


class FiguresChanged(RefundDeskError):
    """The figures on the page the rep submitted no longer hold. Nothing was sent.

    ``seen`` and ``now`` map a row's key to its amount in major units of the order's currency.
    """

    def __init__(
        self, sentence: str, *, seen: Mapping[str, Decimal], now: Mapping[str, Decimal]
    ) -> None:
        super().__init__(sentence)
        self.seen = seen
        self.now = now


class DraftClosed(RefundDeskError):
    """The draft was submitted, discarded or has expired; nothing can be changed in it."""


class MoveForbidden(RefundDeskError):
    """The refund cannot go from the state it is in to the one asked for."""


class PermissionMissing(RefundDeskError):
    """The person may not do this: not in the permission set."""


class PermissionSetRefused(RefundDeskError):
    """The permission set cannot be taken over from Salesforce now; nothing was changed."""


class ReconciliationRefused(RefundDeskError):
    """A reconciliation cannot be begun or carried on now; the sentence says why."""


class DifferenceUnresolved(RefundDeskError):
    """A difference cannot be resolved in the way asked for; nothing was changed."""


class OrderNotFetched(RefundDeskError):
    """An order could not be had from Salesforce; whether it is there may not be known."""


class SyncRefused(RefundDeskError):
    """A sync with Salesforce cannot be begun now; the sentence says why."""


class RecordUnusable(RefundDeskError):
    """A Salesforce record that cannot be mirrored; the sentence names the field."""
