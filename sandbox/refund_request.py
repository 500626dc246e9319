"""From the JSON of `POST /refunds` and `POST /refunds/{id}` to a typed request.

https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds/issuing-refunds
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import simplejson

from sandbox.allocation import ItemAsk, RefundAsk
from sandbox.errors import RefusedError

REASON_LENGTH = 64
METADATA_PAIRS = 20
METADATA_KEY_LENGTH = 40
METADATA_VALUE_LENGTH = 500
SMALLEST_PERCENT = Decimal("0.01")
PERCENT_DIGITS = 12
LARGEST_QUANTITY = 2**31 - 1

ORDER_TYPES = ("shipping", "duty", "tax", "importer_tax")
ITEM_TYPES = ("shipping", "fees", "duty")
REQUEST_FIELDS = frozenset(
    ("orderId", "invoiceId", "currency", "amount", "percent", "type", "items", "reason", "metadata")
)
ITEM_FIELDS = frozenset(("itemId", "skuId", "quantity", "amount", "percent", "type"))

# What a JSON number may look like; a numeric string is held to the same.
NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,6})?", re.ASCII)


def parse_body(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object of a request, its numbers as int and Decimal.

    Raises RefusedError when the body is not UTF-8, not JSON, or not an object.
    """
    try:
        text = body.decode("utf-8")
        value = simplejson.loads(text, use_decimal=True, parse_constant=_refuse_constant)
        # A lone surrogate is valid JSON but no text, and could not be stored.
        simplejson.dumps(value, use_decimal=True, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise RefusedError("invalid_format", "body", "The body is not valid JSON.") from error
    if not isinstance(value, dict):
        raise RefusedError("invalid_format", "body", "The body must be a JSON object.")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse_refund(body: Mapping[str, Any]) -> RefundAsk:
    """Return the refund that a body asks for; raises RefusedError when a field breaks its rule."""
    _known_fields(body, REQUEST_FIELDS, "")
    if body.get("orderId") is None and body.get("invoiceId") is None:
        raise RefusedError(
            "missing_parameter", "orderId", "An orderId or an invoiceId is required."
        )
    if body.get("currency") is None:
        raise RefusedError("missing_parameter", "currency", "A currency is required.")
    if body.get("orderId") is None:
        message = "Invoices are not part of this stand-in."
        raise RefusedError("invalid_parameter", "invoiceId", message)
    items = _items(body.get("items"))
    amount = _amount(body.get("amount"), "amount")
    percent = _percent(body.get("percent"), "percent")
    refund_type = _one_of(body.get("type"), ORDER_TYPES, "type")
    _one_way(amount, percent, items)
    if items and refund_type is not None:
        message = "A type belongs to the items when items are refunded."
        raise RefusedError("invalid_parameter", "type", message)
    return RefundAsk(
        order_id=_text(body["orderId"], "orderId"),
        currency=_text(body["currency"], "currency"),
        amount=amount,
        percent=percent,
        type=refund_type,
        items=items,
        reason=_reason(body.get("reason")),
        metadata=parse_metadata(body.get("metadata")),
    )


def _one_way(amount: Decimal | None, percent: Decimal | None, items: tuple[ItemAsk, ...]) -> None:
    given = [amount is not None, percent is not None, bool(items)]
    if not any(given):
        message = "One of amount, percent and items is required."
        raise RefusedError("missing_parameter", "amount", message)
    if sum(given) > 1:
        parameter = "items" if items else "percent"
        message = "Only one of amount, percent and items may be given."
        raise RefusedError("invalid_parameter", parameter, message)


def parse_metadata_update(body: Mapping[str, Any]) -> Mapping[str, str | bool | int]:
    """Return the metadata of `POST /refunds/{id}`, which accepts nothing else."""
    _known_fields(body, frozenset(("metadata",)), "")
    metadata = parse_metadata(body.get("metadata"))
    if metadata is None:
        raise RefusedError("missing_parameter", "metadata", "Metadata is required.")
    return metadata


def parse_metadata(value: object) -> Mapping[str, str | bool | int] | None:
    """Return metadata within the documented limits, or None where there is none."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RefusedError("invalid_parameter", "metadata", "Metadata must be an object.")
    if len(value) > METADATA_PAIRS:
        message = f"Metadata holds at most {METADATA_PAIRS} pairs."
        raise RefusedError("too_many_metadata_pairs", "metadata", message)
    for key, entry in value.items():
        if not 1 <= len(key) <= METADATA_KEY_LENGTH:
            message = f"A metadata key has 1 to {METADATA_KEY_LENGTH} characters."
            raise RefusedError("invalid_metadata_key", "metadata", message)
        if not isinstance(entry, str | bool | int) or len(str(entry)) > METADATA_VALUE_LENGTH:
            message = (
                f"A metadata value is a string, a boolean or an integer of at most "
                f"{METADATA_VALUE_LENGTH} characters."
            )
            raise RefusedError("invalid_metadata_value", "metadata", message)
    return value


def _items(value: object) -> tuple[ItemAsk, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RefusedError("invalid_parameter", "items", "Items must be a list.")
    return tuple(_item(entry, f"items[{position}]") for position, entry in enumerate(value))


def _item(entry: object, at: str) -> ItemAsk:
    if not isinstance(entry, dict):
        raise RefusedError("invalid_parameter", at, "An item must be an object.")
    _known_fields(entry, ITEM_FIELDS, f"{at}.")
    if entry.get("itemId") is None:
        raise RefusedError("missing_parameter", f"{at}.itemId", "An itemId is required.")
    amount = _amount(entry.get("amount"), f"{at}.amount")
    percent = _percent(entry.get("percent"), f"{at}.percent")
    if amount is None and percent is None:
        message = "One of amount and percent is required."
        raise RefusedError("missing_parameter", f"{at}.amount", message)
    if amount is not None and percent is not None:
        message = "Only one of amount and percent may be given."
        raise RefusedError("invalid_parameter", f"{at}.percent", message)
    return ItemAsk(
        item_id=_text(entry["itemId"], f"{at}.itemId"),
        quantity=_quantity(entry.get("quantity"), f"{at}.quantity"),
        amount=amount,
        percent=percent,
        type=_one_of(entry.get("type"), ITEM_TYPES, f"{at}.type"),
    )


def _known_fields(body: Mapping[str, Any], known: frozenset[str], at: str) -> None:
    for name in body:
        if name not in known:
            message = f"The parameter {name[:80]} is not known."
            raise RefusedError("unknown_parameter", f"{at}{name[:80]}", message)


def _text(value: object, parameter: str) -> str:
    if not isinstance(value, str):
        raise RefusedError("invalid_parameter", parameter, "The value must be a string.")
    return value


def _one_of(value: object, choices: tuple[str, ...], parameter: str) -> str | None:
    if value is None:
        return None
    if value not in choices:
        message = f"The value must be one of {', '.join(choices)}."
        raise RefusedError("invalid_parameter", parameter, message)
    return str(value)


def _reason(value: object) -> str | None:
    if value is None:
        return None
    reason = _text(value, "reason")
    if len(reason) > REASON_LENGTH:
        message = f"The reason has at most {REASON_LENGTH} characters."
        raise RefusedError("invalid_parameter", "reason", message)
    return reason


def _number(value: object, parameter: str) -> Decimal | None:
    """Return a JSON number or, as Digital River's own samples send them, a numeric string."""
    if value is None:
        return None
    if isinstance(value, str):
        if NUMBER.fullmatch(value) is None:
            raise RefusedError("invalid_format", parameter, "The value must be a number.")
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RefusedError("invalid_format", parameter, "The value must be a number.")
    return Decimal(value)


def _amount(value: object, parameter: str) -> Decimal | None:
    amount = _number(value, parameter)
    if amount is not None and amount <= 0:
        raise RefusedError("invalid_parameter", parameter, "The amount must be greater than 0.")
    return amount


def _percent(value: object, parameter: str) -> Decimal | None:
    percent = _number(value, parameter)
    if percent is not None and not SMALLEST_PERCENT <= percent <= 100:
        message = f"The percentage must be from {SMALLEST_PERCENT} to 100."
        raise RefusedError("invalid_parameter", parameter, message)
    if percent is not None and len(percent.as_tuple().digits) > PERCENT_DIGITS:
        raise RefusedError("invalid_format", parameter, "The percentage has too many digits.")
    return percent


def _quantity(value: object, parameter: str) -> int | None:
    number = _number(value, parameter)
    if number is None:
        return None
    # The size goes first: int() of 1e400000 would take its time.
    if number.adjusted() > 10 or number != number.to_integral_value():
        raise RefusedError("invalid_integer", parameter, "The quantity must be a whole number.")
    if not 1 <= number <= LARGEST_QUANTITY:
        raise RefusedError("invalid_quantity_amount", parameter, "The quantity must be at least 1.")
    return int(number)
