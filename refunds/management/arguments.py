"""How commands read what is written behind their options; a mistake is told in a sentence."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime

_LONGEST_PAUSE = 86_400
_MOST = 1_000_000
_FIRST_YEAR = 2000


def day(text: str) -> datetime:
    """Read a day, from its first moment in UTC on. Raises ``ArgumentTypeError``."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(
            "it must be a day written as YYYY-MM-DD, as in 2026-11-02"
        ) from None
    if moment.year < _FIRST_YEAR or moment > datetime.now(UTC):
        raise ArgumentTypeError(f"it must be a day from {_FIRST_YEAR}-01-01 to today")
    return moment


def word(text: str) -> str:
    """Read a number or a reference. Raises ``ArgumentTypeError`` for what is none.

    An empty one is mostly a variable that was not set, and must not stand for everything.
    """
    bare = text.strip()
    if not bare or not bare.isprintable():
        raise ArgumentTypeError("it must not be empty, nor hold what cannot be printed")
    return bare


def count(text: str) -> int:
    """Read how many there shall be at most. Raises ``ArgumentTypeError``."""
    try:
        most = int(text)
    except ValueError:
        most = 0
    if not 1 <= most <= _MOST:
        raise ArgumentTypeError(f"it must be a whole number from 1 to {_MOST:,}")
    return most


def seconds(text: str) -> int:
    """Read the pause between two rounds. Raises ``ArgumentTypeError``."""
    try:
        pause = int(text)
    except ValueError:
        pause = 0
    if not 1 <= pause <= _LONGEST_PAUSE:
        raise ArgumentTypeError(f"it must be a whole number of seconds from 1 to {_LONGEST_PAUSE}")
    return pause
