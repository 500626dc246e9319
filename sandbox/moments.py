"""Moments in time as the stand-in keeps and writes them.

The state file holds microseconds since 1970; the wire shows ISO 8601 in UTC, resources with
whole seconds and events with six digits, as in Digital River's samples.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def to_microseconds(moment: datetime) -> int:
    """Return a moment as microseconds since 1970; a moment without a zone is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def from_microseconds(microseconds: int) -> datetime:
    """Return the moment of a number of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def resource_time(microseconds: int) -> str:
    """Write a moment as orders and refunds carry it."""
    return from_microseconds(microseconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def event_time(microseconds: int) -> str:
    """Write a moment as events carry it."""
    return from_microseconds(microseconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def wire_time(moment: datetime) -> str:
    """Write a moment as orders and refunds carry it."""
    return resource_time(to_microseconds(moment))
