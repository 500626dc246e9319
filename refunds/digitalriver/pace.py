"""How fast Digital River may be called: one pace for all that share a key, and its Retry-After.

https://docs.digitalriver.com/digital-river-api/developer-resources/rate-limiting
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import ceil
from typing import Final, Protocol

#: Seconds to wait after a 429 that does not say how long, and the longest wait believed.
DEFAULT_RETRY_AFTER: Final = 60
LONGEST_RETRY_AFTER: Final = 24 * 60 * 60

#: Longest wait, in seconds, that a call sits out while the rep looks on.
PATIENCE: Final = 2

#: Shortest wait before asking again: others ask at the same moment, and each asking costs.
_SHORTEST_PAUSE: Final = 0.01


class Pace(Protocol):
    """The rate limit that every process with the same key keeps to. Neither method may raise."""

    def admit(self) -> float:
        """Return 0.0 if the call may be made now, which takes its place; else the seconds to wait.

        After waiting one asks again: another may have been quicker.
        """

    def hold_back(self, seconds: float) -> None:
        """Let nobody call for so many seconds, as Digital River asked by a 429."""


class Unpaced:
    """No limit at all: for a test account of one's own, and for tests."""

    def admit(self) -> float:
        """Admit every call at once."""
        return 0.0

    def hold_back(self, seconds: float) -> None:
        """Let calls go on."""


def wait_for_turn(pace: Pace, sleep: Callable[[float], None]) -> int:
    """Return 0 once the call may be made; else, out of patience, the whole seconds left to wait.

    Sleeps ``PATIENCE`` seconds at most, all turns that others were quicker to take included.
    """
    patience: float = PATIENCE
    while True:
        wait = pace.admit()
        if not wait > 0:
            return 0
        pause = max(wait, _SHORTEST_PAUSE)
        if pause > patience:
            return ceil(min(pause, LONGEST_RETRY_AFTER))
        sleep(pause)
        patience -= pause


def retry_after_seconds(header: str, now: datetime) -> int:
    """Return the whole seconds a Retry-After header asks for: a number, or a date after ``now``.

    A header that is missing or makes no sense gives ``DEFAULT_RETRY_AFTER``; none gives more
    than ``LONGEST_RETRY_AFTER``.
    """
    text = header.strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        seconds = ceil(Decimal(text))
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return DEFAULT_RETRY_AFTER
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = max(0, ceil((moment - now).total_seconds()))
    return min(seconds, LONGEST_RETRY_AFTER)
