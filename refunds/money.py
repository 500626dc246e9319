"""Money: minor units, rounding, splitting, reading and writing amounts.

Every amount is a ``Decimal`` in major units (27.01 is twenty-seven dollars and one cent) and
travels with its ISO 4217 currency code. How many digits a currency has comes from ISO 4217,
never from a locale's display rules: the two differ for a dozen currencies.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import lru_cache

import iso4217

from refunds.errors import AmountInvalid, CurrencyUnknown

ZERO = Decimal(0)

#: The largest amount the desk handles, in major units: with four decimals it has the fifteen
#: significant digits that every database keeps exactly.
LARGEST = Decimal("99999999999.9999")


@lru_cache(maxsize=256)
def minor_units(currency: str) -> int:
    """Return how many decimals the currency has: USD 2, JPY 0, KWD 3.

    Raises ``CurrencyUnknown`` for a code that ISO 4217 does not list, or lists without minor
    units (gold, special drawing rights).
    """
    try:
        exponent = iso4217.Currency(currency).exponent
    except ValueError:
        exponent = None
    if exponent is None:
        raise CurrencyUnknown(f"“{currency[:8]}” is not a currency that money can be refunded in.")
    return int(exponent)


@lru_cache(maxsize=256)
def smallest(currency: str) -> Decimal:
    """Return the smallest amount of the currency: USD 0.01, JPY 1, KWD 0.001."""
    return Decimal(1).scaleb(-minor_units(currency))


def quantize(amount: Decimal, currency: str) -> Decimal:
    """Return the amount rounded half-up to the currency's minor units.

    Raises ``AmountInvalid`` for an amount that is not finite or beyond what the desk handles.
    """
    if not amount.is_finite():
        raise AmountInvalid("That is not an amount.")
    if abs(amount) <= LARGEST:
        rounded = amount.quantize(smallest(currency), rounding=ROUND_HALF_UP)
        if abs(rounded) <= LARGEST:
            return rounded
    raise AmountInvalid("The amount is larger than the desk can handle.")


def is_exact(amount: Decimal, currency: str) -> bool:
    """Tell whether the amount is a whole number of the currency's minor units."""
    return amount == quantize(amount, currency)


def share(amount: Decimal, part: int, whole: int, currency: str) -> Decimal:
    """Return ``part / whole`` of the amount, rounded half-up. ``whole`` must be positive."""
    if part >= whole:
        return amount
    return quantize(amount * part / whole, currency)


def split(total: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Split the total by weight; the parts always sum to the total.

    Each part is rounded down to minor units; the units left over go one each to the largest
    remainders, ties to the earlier part. No part exceeds its weight when the total does not
    exceed their sum. Raises ``ValueError`` for negative figures, or when there is a total to
    split and nothing to weigh it by.
    """
    whole = sum(weights, ZERO)
    if total < 0 or any(weight < 0 for weight in weights):
        raise ValueError("only amounts of zero or more can be split")
    if total == 0:
        return [quantize(ZERO, currency) for _ in weights]
    if whole == 0:
        raise ValueError("there is nothing to split the total by")
    unit = smallest(currency)
    # Whole numbers throughout: a division of Decimals would round the remainders, and with
    # them who gets the last unit.
    units = int(total / unit)
    if units * unit != total:
        raise ValueError("the total is not a whole number of minor units")
    scale = min(int(weight.as_tuple().exponent) for weight in [*weights, ZERO])
    scaled = [int(weight.scaleb(-scale)) for weight in weights]
    scaled_whole = sum(scaled)
    parts = [units * weight // scaled_whole for weight in scaled]
    remainders = [units * weight % scaled_whole for weight in scaled]
    by_remainder = sorted(range(len(parts)), key=lambda index: (-remainders[index], index))
    for index in by_remainder[: units - sum(parts)]:
        parts[index] += 1
    return [part * unit for part in parts]


def add(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum; zero for none."""
    return sum(amounts, ZERO)


def format_amount(amount: Decimal, currency: str) -> str:
    """Return the amount with its digits and grouping, without the currency: ``1,234.50``."""
    exact = amount.quantize(smallest(currency), rounding=ROUND_DOWN)
    if exact != amount:
        # Never hide a fraction that should not be there: show the figure as it is.
        return f"{amount:,f}"
    return f"{exact:,f}"


def format_money(amount: Decimal, currency: str) -> str:
    """Return the amount as the screens and the button show it: ``USD 1,234.50``."""
    return f"{currency} {format_amount(amount, currency)}"


#: What groups digits besides marks. Not every white space: a tab or a line break stands between
#: two amounts that were pasted together.
_SPACES = re.compile("[ \u00a0\u2007\u2009\u202f'’]")
_SPACED = re.compile(rf"[1-9]\d{{0,2}}(?:{_SPACES.pattern}\d{{3}})+(?:[.,]\d+)?")
_PLAIN = re.compile(r"\d+")
#: Thousands (1,234,567) or the Indian way (12,34,567); a group never starts with a zero.
_GROUPED = {
    mark: re.compile(
        rf"[1-9]\d{{0,2}}(?:[{mark}]\d{{3}})+|[1-9]\d?(?:[{mark}]\d{{2}})*[{mark}]\d{{3}}"
    )
    for mark in ".,"
}


def parse_amount(text: str, currency: str, *, decimal_mark: str = ".") -> Decimal:
    """Read an amount a person typed, in the writing of any locale: 1,234.50, 1.234,50, 1 234,50.

    ``decimal_mark`` is the mark of the reader's locale; it only decides where both readings
    have a meaning in the currency. A text that two people could read as two amounts (``1,234``
    in dollars) is refused rather than guessed. Raises ``AmountInvalid`` with what to type.
    """
    digits = minor_units(currency)
    typed = text.strip()
    example = format_amount(Decimal("1234.5") if digits else Decimal(1234), currency)
    if not typed:
        raise AmountInvalid("Enter an amount.")
    if len(typed) > 40:
        raise AmountInvalid(f"The amount is too long. Write it like {example}.")
    bare = typed.upper().removeprefix(currency).removesuffix(currency).strip()
    if bare.startswith(("-", "\N{MINUS SIGN}", "(")):
        raise AmountInvalid("The amount cannot be negative.")
    bare = "".join(str(unicodedata.decimal(mark, mark)) for mark in bare)
    if _SPACED.fullmatch(bare):
        bare = _SPACES.sub("", bare)
    whole, fraction = _whole_and_fraction(bare, digits, decimal_mark, example)
    if len(whole) > 15:
        raise AmountInvalid("The amount is larger than the desk can handle.")
    if len(fraction) > digits:
        allowed = f"at most {digits} decimals" if digits else "no decimals"
        raise AmountInvalid(f"{currency} has {allowed}. Write the amount like {example}.")
    amount = Decimal(f"{whole}.{fraction}" if fraction else whole)
    if amount > LARGEST:
        raise AmountInvalid("The amount is larger than the desk can handle.")
    return amount.quantize(smallest(currency))


def _whole_and_fraction(bare: str, digits: int, decimal_mark: str, example: str) -> tuple[str, str]:
    """Tell the whole units from the decimals; refuse what has two readings or none."""
    unreadable = AmountInvalid(f"That is not an amount. Write it like {example}.")
    marks = [mark for mark in bare if mark in ".,"]
    if not marks:
        if not _PLAIN.fullmatch(bare):
            raise unreadable
        return bare, ""
    if len(set(marks)) == 2:
        last = max(bare.rfind("."), bare.rfind(","))
        head, mark, fraction = bare[:last], bare[last], bare[last + 1 :]
        group = "," if mark == "." else "."
        if mark in head or not _GROUPED[group].fullmatch(head) or not _PLAIN.fullmatch(fraction):
            raise unreadable
        return head.replace(group, ""), fraction
    mark = marks[0]
    if len(marks) > 1:
        if not _GROUPED[mark].fullmatch(bare):
            raise unreadable
        return bare.replace(mark, ""), ""
    head, _, fraction = bare.partition(mark)
    if not _PLAIN.fullmatch(head or "0") or not _PLAIN.fullmatch(fraction):
        raise unreadable
    if not _GROUPED[mark].fullmatch(bare):
        return head or "0", fraction
    return _group_or_decimals(bare, digits, decimal_mark, example)


def _group_or_decimals(bare: str, digits: int, decimal_mark: str, example: str) -> tuple[str, str]:
    """Tell a thousand from one and a bit where the text may be either, or refuse it."""
    head, mark, fraction = bare[:-4], bare[-4], bare[-3:]
    if digits >= 3 and mark == decimal_mark:
        return head, fraction
    if digits == 0:
        return head + fraction, ""
    other = f"give the decimals in full, like {example}"
    if digits >= 3:
        other = f"{head}{decimal_mark}{fraction} for {head} and decimals"
    raise AmountInvalid(
        f"“{bare}” can be read in two ways. Write {head}{fraction} for {head},{fraction} whole "
        f"units, or {other}."
    )
