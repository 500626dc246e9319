"""Salesforce's record ids: a prefix that names the object, a number, a suffix that checks case.

Within one object ids sort as the numbers they are made from.

https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm
"""

from __future__ import annotations

import re
import zlib
from functools import cache

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECK_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
INSTANCE = "5g0000"
BASE = len(ALPHABET)
BLOCK = BASE * BASE
"""How many numbers share all but the last two letters of their ids."""

_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_SHAPE = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")


def record_id(prefix: str, number: int) -> str:
    """Return an 18-character Salesforce id: the object's prefix, a number, the check suffix."""
    digits = ""
    while number:
        number, digit = divmod(number, BASE)
        digits = ALPHABET[digit] + digits
    short = f"{prefix}{INSTANCE}{digits:0>6}"
    return short + check_suffix(short)


def check_suffix(short: str) -> str:
    """Return the three characters that tell apart ids that differ in case only."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(
            1 << at for at, letter in enumerate(short[start : start + 5]) if letter.isupper()
        )
        suffix += CHECK_ALPHABET[bits]
    return suffix


def named_id(prefix: str, name: str) -> str:
    """Return the id of a record that is known by its name."""
    return record_id(prefix, zlib.crc32(name.encode()))


def is_id(text: str) -> bool:
    """Tell whether a text has an id's form: 15 letters and digits, or 18 that fit together."""
    if not _SHAPE.fullmatch(text):
        return False
    return len(text) == 15 or text[15:].upper() == check_suffix(text[:15])


def long_id(text: str) -> str:
    """Return the 18 characters of an id, whichever form it has."""
    return text[:15] + check_suffix(text[:15])


def number_of(identifier: str, prefix: str) -> int | None:
    """Return the number that an id of an object was made from, None where it was not made here."""
    if not identifier.startswith(prefix + INSTANCE):
        return None
    number = 0
    for letter in identifier[9:15]:
        number = number * BASE + _VALUES[letter]
    return number


@cache
def _tails(head_bits: int) -> list[tuple[str, str]]:
    """Return the two last letters of each id of a block, with the last character of its suffix.

    `head_bits` says which of the three letters before them are capitals.
    """
    tails = []
    for first in ALPHABET:
        for second in ALPHABET:
            bits = head_bits | (first.isupper() << 3) | (second.isupper() << 4)
            tails.append((first + second, CHECK_ALPHABET[bits]))
    return tails


def ids_of(prefix: str, numbers: range) -> list[str]:
    """Return the ids of numbers that follow each other, quickly: what they share is made once."""
    ids: list[str] = []
    at = numbers.start
    while at < numbers.stop:
        block = at // BLOCK * BLOCK
        end = min(block + BLOCK, numbers.stop)
        first = record_id(prefix, block)
        head, middle = first[:13], first[15:17]
        bits = sum(1 << place for place, letter in enumerate(first[10:13]) if letter.isupper())
        ids += [
            f"{head}{tail}{middle}{check}" for tail, check in _tails(bits)[at - block : end - block]
        ]
        at = end
    return ids


@cache
def _last_digits() -> list[str]:
    return [f"{number:03d}" for number in range(1000)]


def numbered(numbers: range, width: int, *, before: str = "", after: str = "") -> list[str]:
    """Return numbers that follow each other as texts of so many digits, as quickly."""
    texts: list[str] = []
    at = numbers.start
    while at < numbers.stop:
        block = at // 1000
        end = min((block + 1) * 1000, numbers.stop)
        head = f"{before}{block:0{width - 3}d}"
        last = _last_digits()[at - block * 1000 : end - block * 1000]
        texts += [f"{head}{digits}{after}" for digits in last]
        at = end
    return texts
