"""Lists by keyset: a page starts behind the last row of the one before, and nothing is counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, Model, Q, QuerySet, Value
from django.db.models.sql.compiler import SQLCompiler

from refunds.errors import SelectionInvalid
from refunds.search_keys import prefix_range

Row = TypeVar("Row", bound=Model)

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page of a list, and the cursor that the next one starts behind (empty at the end)."""

    rows: list[Row]
    after: str
    is_first: bool


def newest_page(rows: QuerySet[Row], column: str, after: str) -> Page[Row]:
    """Return a page of the rows, newest by the column first."""
    ordered = rows.order_by(f"-{column}", "-id")
    if after:
        at, pk = _read_cursor(after, 2)
        ordered = ordered.filter(**{f"{column}__lte": at}).exclude(**{column: at, "id__gte": pk})
    found = list(ordered[: PAGE_SIZE + 1])
    cursor = ""
    if len(found) > PAGE_SIZE:
        last = found[PAGE_SIZE - 1]
        cursor = write_cursor(getattr(last, column), last.pk)
    return Page(found[:PAGE_SIZE], cursor, is_first=not after)


def found_page(
    rows: QuerySet[Row], keys: Sequence[str], column: str, prefix: str, after: str
) -> Page[Row]:
    """Return a page of the rows of which any key starts with the prefix, in the keys' order.

    Each key has an index of its own, so each is asked on its own for no more rows than a page
    has, and the answers are merged: one condition over all keys would read the whole table. A row
    that several keys match stands where the smallest of them does.
    """
    first, last = prefix_range(prefix)
    position: list[Any] = _read_cursor(after, 3) if after else []
    arms = []
    for index, key in enumerate(keys):
        # One lower bound only: SQLite takes the first of two for the index.
        matched = Q(**{f"{key}__gte": position[0] if position else first, f"{key}__lt": last})
        if len(keys) > 1:
            matched &= ~Q(_FoundByAnother(key, keys[:index], keys[index + 1 :], first))
        if position:
            text, at, pk = position
            shown = Q(**{f"{column}__gt": at}) | Q(**{column: at, "id__gte": pk})
            matched &= ~(Q(**{key: text}) & shown)
        nearest = rows.filter(matched).order_by(key, f"-{column}", "-id").values("pk")
        arms.append(_arm(nearest[: PAGE_SIZE + 1]))
    chosen = arms[0].union(*arms[1:], all=True) if len(arms) > 1 else arms[0]
    found = [
        (min(value for key in keys if (value := _value(row, key)).startswith(prefix)), row)
        for row in rows.filter(pk__in=chosen).order_by()
    ]
    found.sort(key=lambda pair: pair[1].pk, reverse=True)
    found.sort(key=lambda pair: getattr(pair[1], column), reverse=True)
    found.sort(key=lambda pair: pair[0])
    cursor = ""
    if len(found) > PAGE_SIZE:
        text, row = found[PAGE_SIZE - 1]
        cursor = write_cursor(text, getattr(row, column), row.pk)
    return Page([row for _, row in found[:PAGE_SIZE]], cursor, is_first=not after)


def _arm(nearest: QuerySet[Any, Any]) -> QuerySet[Any, Any]:
    """Return a part of a union that has only these rows, whatever the database takes there."""
    if connections[nearest.db].features.supports_slicing_ordering_in_compound:
        return nearest
    # SQLite takes neither order nor limit in a part; the model's own order would be put there.
    these: QuerySet[Any] = nearest.model._default_manager.filter(pk__in=nearest)
    return these.order_by().values("pk")


class _FoundByAnother(Func):
    """Whether another of a row's keys starts with the prefix too and comes before this one.

    Written out by hand: six conditions on each of seven keys, built one by one by the query
    builder, took longer than the query itself.
    """

    output_field = BooleanField()
    conditional = True

    def __init__(self, key: str, before: Sequence[str], after: Sequence[str], first: str) -> None:
        super().__init__(F(key), *map(F, [*before, *after]), Value(first))
        self._before = len(before)

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *_arguments: Any,
        **_context: Any,
    ) -> tuple[str, Any]:
        """Return the condition; of two keys that are equal the earlier one has the row."""
        (key, _), *others, (first, bound) = map(compiler.compile, self.source_expressions)
        sql = " OR ".join(
            f"({other} >= {first} AND {other} {'<=' if at < self._before else '<'} {key})"
            for at, (other, _) in enumerate(others)
        )
        # A CASE, because PostgreSQL would multiply the chances of conditions that go together,
        # expect hardly a row, and read and sort the whole range instead of walking the index.
        return f"(CASE WHEN {sql} THEN TRUE ELSE FALSE END)", [*bound] * len(others)


def _value(row: Model, path: str) -> str:
    return str(reduce(getattr, path.split("__"), row))


def write_cursor(*position: object) -> str:
    """Return the cursor behind the row at this position, signed."""
    return signing.dumps(
        [each.isoformat() if isinstance(each, datetime) else each for each in position],
        salt="refunds.page",
    )


def _read_cursor(text: str, length: int) -> list[Any]:
    """Raises ``SelectionInvalid`` for an address that was cut, edited or is of another list."""
    try:
        position = signing.loads(text, salt="refunds.page")
    except signing.BadSignature:
        position = []
    if len(position) != length:
        raise SelectionInvalid("That page of the list is not there any more. This is the first.")
    position[-2] = datetime.fromisoformat(position[-2])
    return list(position)
