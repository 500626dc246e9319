"""Bad records among the generated ones: what a mirror has to set aside, or to stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType

#: The texts of a record by field, as a bulk CSV page writes them; "" is null.
Texts = dict[str, str]

REASON = "DR_Payment_Failure_Reason__c"
LONG_NAME = "Ünïversal Holding für Meßgeräte und Zubehör " * 6
EMOJI_NAME = "Käsespätzle & Söhne 🧀🥨 👩🏽‍🔧 GmbH"
LONG_DESCRIPTION = ('The bank said no, "again".\nAsk the customer for another card. ' * 2_200)[
    :131_072
]
WRONG_FIELD = "Ten megabytes of what a payment service wrote into the wrong field. "


class Bad(StrEnum):
    """How a generated order, or its first line, is bad."""

    NULL_ID = "null-id"
    NULL_LINE_ID = "null-line-id"
    DUPLICATE_NUMBER = "duplicate-number"
    """It has the order number of the order before it."""
    LONG_NAMES = "long-names"
    """255 characters in the account's and the buyer's name; allowed."""
    EMOJI = "emoji"
    """Allowed."""
    UNKNOWN_CURRENCY = "unknown-currency"
    NEGATIVE_QUANTITY = "negative-quantity"
    FRACTIONAL_QUANTITY = "fractional-quantity"
    LONG_DESCRIPTION = "long-description"
    """131,072 characters with quotes and line ends, as much as Salesforce holds."""
    HUGE_DESCRIPTION = "huge-description"
    """Ten megabytes, more than Salesforce holds."""
    NEGATIVE_TOTAL = "negative-total"
    NO_NUMBER = "no-number"


def _put(texts: Mapping[str, str]) -> Callable[[Texts, Texts], None]:
    def spoil(record: Texts, before: Texts) -> None:
        record.update(texts)

    return spoil


def _duplicate(record: Texts, before: Texts) -> None:
    record["OrderNumber"] = before["OrderNumber"]


def _describe_hugely(record: Texts, before: Texts) -> None:
    # Made when it is asked for, so that it takes no room where it is not.
    record[REASON] = WRONG_FIELD * 154_000


ORDER_SPOILERS: Mapping[Bad, Callable[[Texts, Texts], None]] = MappingProxyType(
    {
        Bad.NULL_ID: _put({"Id": ""}),
        Bad.DUPLICATE_NUMBER: _duplicate,
        Bad.LONG_NAMES: _put(
            {
                "Account.Name": LONG_NAME[:255],
                "BillToContact.Name": LONG_NAME[::-1].strip()[:255],
            }
        ),
        Bad.EMOJI: _put({"Account.Name": EMOJI_NAME, "BillToContact.Name": "Zoë 🦊 O’Brien"}),
        Bad.UNKNOWN_CURRENCY: _put({"CurrencyIsoCode": "ZZZ"}),
        Bad.LONG_DESCRIPTION: _put({REASON: LONG_DESCRIPTION}),
        Bad.HUGE_DESCRIPTION: _describe_hugely,
        Bad.NEGATIVE_TOTAL: _put({"TotalAmount": "-12.50"}),
        Bad.NO_NUMBER: _put({"OrderNumber": ""}),
    }
)
"""What each kind makes of an order, given the order before it too."""

LINE_SPOILERS: Mapping[Bad, Callable[[Texts, Texts], None]] = MappingProxyType(
    {
        Bad.NULL_LINE_ID: _put({"Id": ""}),
        Bad.NEGATIVE_QUANTITY: _put({"Quantity": "-3.0"}),
        Bad.FRACTIONAL_QUANTITY: _put({"Quantity": "2.5"}),
    }
)
"""What each kind makes of the order's first line."""
