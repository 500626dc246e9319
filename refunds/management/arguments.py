"""How commands read what is written behind their options; a mistake is told in a sentence."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime

_LONGEST_PAUSE = 86_400
_MOST = 1_000_000


def day(text: str) -> datetime:
    """Read a day, from its first moment in UTC on. Raises ``ArgumentTypeError``."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(
            "it must be a day written as YYYY-MM-DD, as in 2026-11-02"
        ) from None


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
