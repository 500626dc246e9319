"""Moments as the organisation's records hold them: whole seconds of UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from sandbox.moments import from_microseconds

FOUNDED = datetime(2022, 1, 10, 9, 0, tzinfo=UTC)
SECOND = 1_000_000


def moment_text(moment: datetime) -> str:
    """Write a moment as records here, and bulk CSV pages, hold it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def stamp_text(microseconds: int) -> str:
    """Write a number of microseconds since 1970 the same way."""
    return moment_text(from_microseconds(microseconds))
