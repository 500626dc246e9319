"""What a query's WHERE asks of a record, and what it leaves of the generated ones.

A record is a text by field, "" for null, moments as "2026-01-01T10:00:00.000Z".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sandbox.salesforce.errors import SalesforceRefusal
from sandbox.salesforce.ids import is_id, long_id
from sandbox.salesforce.moments import moment_text
from sandbox.salesforce.objects import NUMBERS

IDS = frozenset(("id", "reference"))
#: The kinds of literals that each field type may be compared with; text types take texts.
KINDS: Mapping[str, tuple[str, ...]] = {
    "datetime": ("moment",),
    "date": ("day",),
    "boolean": ("name",),
    **dict.fromkeys(NUMBERS, ("number",)),
}
_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Path:
    """A field as a query spells it, by its name in the catalogue, and its type."""

    wire: str
    key: str
    type: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a value, or with several by IN."""

    path: Path
    sign: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Every condition holds."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One condition at least holds."""

    terms: tuple[Condition, ...]


Condition = Comparison | All | Either


def literal_for(path: Path, kind: str, text: str) -> str:
    """Return a literal as the field's records hold it; raises SalesforceRefusal on a misfit."""
    if kind == "name" and text.lower() == "null":
        return ""
    if kind not in KINDS.get(path.type, ("text",)):
        quoted = " and should not be enclosed in quotes" if kind == "text" else ""
        raise SalesforceRefusal(
            400,
            "INVALID_FIELD",
            f"value of filter criterion for field '{path.wire}' must be of type "
            f"{path.type}{quoted}",
        )
    if kind == "moment":
        return moment_text(datetime.fromisoformat(text))
    if kind != "text":
        return text.lower()
    value = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), text[1:-1])
    if path.type in IDS:
        if not is_id(value):
            raise SalesforceRefusal(
                400, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {value[:40]}"
            )
        return long_id(value)
    return value


def holds(condition: Condition | None, record: Mapping[str, str]) -> bool:
    """Tell whether a record meets a condition."""
    match condition:
        case None:
            return True
        case All(terms):
            return all(holds(term, record) for term in terms)
        case Either(terms):
            return any(holds(term, record) for term in terms)
        case Comparison(path, sign, values):
            return _compare(path.type, record.get(path.key, ""), sign, values)


def _compare(kind: str, text: str, sign: str, values: tuple[str, ...]) -> bool:
    if sign in ("=", "IN"):
        return any(_same(kind, text, value) for value in values)
    (value,) = values
    if sign == "!=":
        return not _same(kind, text, value)
    if not text or not value:
        return False
    if kind in NUMBERS:
        return _ORDERINGS[sign](Decimal(text), Decimal(value))
    return _ORDERINGS[sign](text, value)


def _same(kind: str, text: str, value: str) -> bool:
    if kind == "boolean":
        return (text or "false") == (value or "false")
    if kind in NUMBERS and text and value:
        return Decimal(text) == Decimal(value)
    if kind in IDS:
        return text == value
    # SOQL compares texts without regard to case.
    return text.casefold() == value.casefold()


def required(condition: Condition | None) -> Iterator[Comparison]:
    """Yield the comparisons that every record of the result meets."""
    match condition:
        case Comparison():
            yield condition
        case All(terms):
            for term in terms:
                yield from required(term)
