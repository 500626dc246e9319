"""What every reading of Digital River's JSON stands on: from bytes to plain, checked values.

Numbers go from JSON text to ``Decimal`` without passing through a float. A field's reader takes
what has the same meaning (a number written as text, a null for an empty text) and raises
``ValueError`` for the rest, which pydantic turns into the place where it stood.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Annotated, Final, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from refunds.digitalriver.errors import UnreadableAnswer
from refunds.errors import RefundDeskError
from refunds.money import minor_units

#: What an id of Digital River's may be, to be asked for and to be kept.
IDENTIFIER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

_LARGEST_COUNT: Final = 1_000_000_000
_LARGEST_FIGURE: Final = Decimal(10) ** 15
_LONGEST_NUMBER: Final = 64
#: As long as the columns that hold ids.
_LONGEST_ID: Final = 128
#: What opens something to whoever holds it.
_SECRETS: Final = frozenset({"tokenInformation", "token", "clientSecret"})

_Entry = TypeVar("_Entry")


def load(body: bytes) -> object:
    """Parse JSON with every fraction as ``Decimal``. Raises ``UnreadableAnswer``.

    NaN and the infinities, which Python's reader would let pass, are not JSON.
    """
    try:
        parsed: object = json.loads(
            body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_constant
        )
    # The reader's own errors hold the whole body, so none of them is chained.
    except (ValueError, DecimalException, RecursionError):
        raise unreadable() from None
    return parsed


def load_once(body: bytes) -> object:
    """Parse JSON as ``load`` does, and refuse a field that is there twice.

    Of two fields with one name readers take one or the other, and no signature tells which.
    """
    try:
        parsed: object = json.loads(
            body.decode("utf-8-sig"),
            parse_float=Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_fields_once,
        )
    except (ValueError, DecimalException, RecursionError):
        raise unreadable() from None
    return parsed


def redacted(raw: object) -> object:
    """Return parsed JSON without tokens and secrets, and without text that no database takes."""
    if isinstance(raw, Mapping):
        return {clean(str(key)): redacted(raw[key]) for key in raw if key not in _SECRETS}
    if isinstance(raw, list | tuple):
        return [redacted(entry) for entry in raw]
    if isinstance(raw, str):
        return clean(raw)
    return raw


def unreadable(place: str = "") -> UnreadableAnswer:
    """Say that the answer makes no sense; ``place`` names the field, never its value."""
    return UnreadableAnswer("Digital River's answer makes no sense to the desk.", parameter=place)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _fields_once(fields: list[tuple[str, object]]) -> dict[str, object]:
    once = dict(fields)
    if len(once) < len(fields):
        raise ValueError("a field is there twice")
    return once


def clean(text: str) -> str:
    """Drop control characters and lone surrogates, which databases and screens choke on."""
    if text.isprintable():
        return text
    kept = "".join(mark for mark in text if mark in "\n\t" or unicodedata.category(mark) != "Cc")
    return kept.encode("utf-8", "replace").decode()


def _text(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return clean(value).strip() if isinstance(value, str) else value


def _identifier(value: object) -> object:
    text = _text(value)
    if text == "":
        raise ValueError("is missing")
    if isinstance(text, str) and len(text) > _LONGEST_ID:
        raise ValueError("is too long")
    return text


def as_figure(value: object) -> object:
    """Take a number or a number written as text; refuse what is not finite or beyond reason."""
    if isinstance(value, bool | float):
        raise ValueError("is not a number")
    if isinstance(value, str):
        # Longer than any amount could be: not worth the time that reading it would take.
        if not value.strip() or len(value) > _LONGEST_NUMBER or "_" in value:
            raise ValueError("is not a number")
        try:
            value = Decimal(value.strip())
        except DecimalException:
            raise ValueError("is not a number") from None
    if isinstance(value, int | Decimal):
        figure = Decimal(value)
        if not figure.is_finite() or abs(figure) > _LARGEST_FIGURE:
            raise ValueError("is beyond reason")
        return figure
    return value


def _count(value: object) -> object:
    figure = as_figure(value)
    if isinstance(figure, Decimal):
        if figure != figure.to_integral_value() or not 0 <= figure <= _LARGEST_COUNT:
            raise ValueError("is not a whole number of units")
        return int(figure)
    return figure


def as_moment(value: object) -> object:
    """Read a time; one that cannot be read is as good as none, for no money hangs on it."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # "Never" is often the calendar's last day, which no other time zone has.
    return moment if 1 < moment.year < 9999 else None


def _flag(value: object) -> object:
    return False if value is None else value


def _currency(value: object) -> object:
    """Take a code that ISO 4217 gives minor units; Digital River's own samples write ``usd``."""
    if not isinstance(value, str):
        return value
    code = value.strip().upper()
    try:
        minor_units(code)
    except RefundDeskError:
        raise ValueError("is not a currency") from None
    return code


def _list(value: object) -> object:
    return [] if value is None else value


def _mapping(value: object) -> object:
    return {} if value is None else value


Text = Annotated[str, BeforeValidator(_text)]
Identifier = Annotated[str, BeforeValidator(_identifier)]
Figure = Annotated[Decimal, BeforeValidator(as_figure)]
OptionalFigure = Annotated[
    Decimal | None, BeforeValidator(lambda value: None if value is None else as_figure(value))
]
Count = Annotated[int, BeforeValidator(_count)]
OptionalCount = Annotated[
    int | None, BeforeValidator(lambda value: None if value is None else _count(value))
]
Moment = Annotated[datetime | None, BeforeValidator(as_moment)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Currency = Annotated[str, BeforeValidator(_currency)]
#: A list and a mapping that may be null, which is as good as empty.
ListOf = Annotated[tuple[_Entry, ...], BeforeValidator(_list)]
OptionalMapping = Annotated[dict[str, object], BeforeValidator(_mapping)]


class Wire(BaseModel):
    """A piece of Digital River's JSON: camel case there, unknown fields pass."""

    # An error that quotes its input would carry customer data into the log.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True
    )


_Model = TypeVar("_Model", bound=Wire)


def validated(model: type[_Model], raw: object) -> _Model:
    """Return the parsed JSON as the model. Raises ``UnreadableAnswer`` naming the place."""
    try:
        return model.model_validate(raw)
    except (ValidationError, RecursionError) as error:
        place = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_input=False, include_context=False, include_url=False)[0]
            place = ".".join(str(step) for step in first["loc"])[:100]
    raise unreadable(place)
