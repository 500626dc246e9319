"""What pages of orders and of their lines have in common on their way into the mirror."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import IntegrityError, OperationalError, transaction

from refunds.services.mirror.tables import tables

#: How often a page is tried that met somebody else's writing.
_TRIES = 3

#: A record without the moment, or a row, cannot tell which of them is newer.
NOT_OLDER = """(
    told.salesforce_modified_at IS NULL OR kept.salesforce_modified_at IS NULL
    OR told.salesforce_modified_at >= kept.salesforce_modified_at
)"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a page came to. ``ids`` are the Salesforce ids of all its records that have one."""

    read: int
    created: int
    changed: int
    set_aside: int
    ids: frozenset[str]


def one_page(write: Callable[[], Loaded]) -> Loaded:
    """Write a page, from the start once more where somebody else wrote the same rows meanwhile."""
    for again in reversed(range(_TRIES)):
        try:
            with transaction.atomic():
                tables().prepare()
                return write()
        except (IntegrityError, OperationalError) as error:
            # A connection that is gone stays gone; a deadlock is over once one has given way.
            is_deadlock = getattr(error.__cause__, "sqlstate", "") == "40P01"
            if not again or not (isinstance(error, IntegrityError) or is_deadlock):
                raise
    raise AssertionError("the last try returns or raises")


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python from looking for cycles while a page's rows are made.

    It would walk through all of them again and again: a tenth of the time, for rows without any.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def differ(columns: Sequence[str], distinct: str) -> str:
    """Return the condition that a row kept and the one told differ in any of these columns."""
    kept, told = (", ".join(f"{of}.{name}" for name in columns) for of in ("kept", "told"))
    return f"(({kept}) {distinct} ({told}))"
