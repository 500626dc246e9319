"""What a query found when it began, and its pages.

A result is a list of kept records and a run of generated ones, less those that were changed. It
is settled when the query begins and kept with it, so that pages lose and repeat nothing whatever
changes meanwhile; what each record says is read when its page is.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.salesforce.conditions import Comparison, holds, required
from sandbox.salesforce.errors import SalesforceRefusal
from sandbox.salesforce.holdings import Holdings
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.soql import Query

MOST_SEARCHED = 20_000
"""Generated records that are looked through for what has no index; more takes too long."""
STAMPS = frozenset(("SystemModstamp", "CreatedDate"))
#: Fields that rise with a generated record's place.
RISING = STAMPS | {"Id", "OrderNumber", "OrderItemNumber", "EffectiveDate"}
BOUNDS = frozenset(("<", "<=", ">", ">="))

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """How much of the kept records, and up to which generated one, earlier pages had."""

    kept: int
    place: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a query found: kept records with their sort keys, and generated places.

    A kept record is named by its id; one of the generated that the query had to search for by
    its place, after an @.
    """

    kept: Sequence[tuple[str, Key]]
    first: int
    last: int
    without: Sequence[int]
    """The places between first and last that are not part of it."""

    @property
    def size(self) -> int:
        """How many records it has."""
        return len(self.kept) + self.last - self.first - len(self.without)

    @property
    def start(self) -> Position:
        """Where its first page begins."""
        return Position(0, self.first)

    def ends_at(self, position: Position) -> bool:
        """Tell whether nothing comes after a position."""
        return position.kept >= len(self.kept) and position.place >= self.last

    def to_json(self) -> dict[str, Any]:
        """Return it as the state file keeps it."""
        return {
            "kept": [[name, list(key)] for name, key in self.kept],
            "first": self.first,
            "last": self.last,
            "without": list(self.without),
        }


def result_from_json(body: dict[str, Any]) -> Result:
    """Return the result that the state file keeps."""
    kept = [(name, tuple(key)) for name, key in body["kept"]]
    return Result(kept, body["first"], body["last"], body["without"])


def find(query: Query, holdings: Holdings, *, deleted: bool) -> Result:
    """Find what a query asks for; `deleted` ones too. Raises SalesforceRefusal."""
    kept = [
        (name, _key(query, record))
        for name, record in holdings.listed.items()
        if (deleted or record["IsDeleted"] == "false") and holds(query.where, record)
    ]
    places, searched = _generated(query, holdings)
    changed = holdings.changed_places
    run = places if isinstance(places, range) and not searched else range(0)
    if searched:
        kept += [
            (f"@{place}", _key(query, record))
            for place in places
            if place not in changed
            and holds(query.where, record := holdings.generated.record(place))
        ]
    kept.sort(key=lambda entry: (entry[1], entry[0]))
    if any(descending for _, descending in query.order):
        kept = _sorted_down(query, kept)
    without = [place for place in sorted(changed) if place in run]
    return _limited(Result(kept, run.start, run.stop, without), query.limit)


def _key(query: Query, record: Texts) -> Key:
    return tuple(record.get(path.key, "") for path, _ in query.order) or (record["Id"],)


def _sorted_down(query: Query, kept: list[tuple[str, Key]]) -> list[tuple[str, Key]]:
    for at in reversed(range(len(query.order))):
        kept = sorted(kept, key=lambda entry: entry[1][at], reverse=query.order[at][1])
    return kept


def _limited(result: Result, limit: int | None) -> Result:
    if limit is None or result.size <= limit:
        return result
    if result.last > result.first:
        raise _takes_too_long()
    return Result(result.kept[:limit], 0, 0, ())


def _takes_too_long() -> SalesforceRefusal:
    return SalesforceRefusal(400, "QUERY_TIMEOUT", "Your query request was running for too long.")


def _generated(query: Query, holdings: Holdings) -> tuple[Sequence[int], bool]:
    """Return the generated places a query may mean, and whether each is still to be looked at."""
    generated = holdings.generated
    places: Sequence[int] = range(generated.count)
    searched = False
    for comparison in required(query.where):
        key = comparison.path.key
        if key == "IsDeleted" and comparison.sign == "=":
            if comparison.values[0] == "true":
                return range(0), False
        elif key in STAMPS and comparison.sign in BOUNDS and isinstance(places, range):
            places = _bounded(places, comparison, holdings)
        else:
            searched = True
            found = _named(comparison, holdings)
            if found is not None and len(found) < len(places):
                places = found
    if query.where is not None and not list(required(query.where)):
        searched = True
    rising = all(path.key in RISING and not down for path, down in query.order)
    searched = searched or not rising or query.limit is not None
    if searched and len(places) > MOST_SEARCHED:
        raise _takes_too_long()
    return places, searched


def _bounded(places: range, comparison: Comparison, holdings: Holdings) -> range:
    (moment,) = comparison.values
    if not moment:
        return range(0)
    generated = holdings.generated
    # Whole seconds: what is not before the next second is after this one.
    at = generated.first_since(comparison.path.key, moment, after=comparison.sign in (">", "<="))
    if comparison.sign in (">", ">="):
        return range(max(places.start, at), max(places.stop, at))
    return range(places.start, max(places.start, min(places.stop, at)))


def _named(comparison: Comparison, holdings: Holdings) -> list[int] | None:
    if comparison.sign not in ("=", "IN"):
        return None
    found: set[int] = set()
    for value in comparison.values:
        places = holdings.generated.places_with(comparison.path.key, value)
        if places is None:
            return None
        found.update(places)
    return sorted(found)


def page(result: Result, position: Position, most: int) -> tuple[list[str], range, Position]:
    """Return the kept records and the generated places of a page, kept ones first."""
    kept = [name for name, _ in result.kept[position.kept : position.kept + most]]
    room = most - len(kept)
    start = position.place
    # Places that are not part of it make the run longer.
    stop = min(start + room, result.last)
    while stop < result.last:
        out = bisect_left(result.without, stop) - bisect_left(result.without, start)
        if stop - start - out >= room:
            break
        stop = min(start + room + out, result.last)
    places = range(start, stop)
    place = result.last if _is_empty(result, max(stop, start)) else max(stop, start)
    return kept, places, Position(position.kept + len(kept), place)


def sorted_page(
    query: Query, result: Result, holdings: Holdings, position: Position, most: int
) -> tuple[list[str], Position]:
    """Return the names of a page's records in the query's order."""
    ahead = result.kept[position.kept : position.kept + most]
    if position.place >= result.last:
        return [name for name, _ in ahead], Position(position.kept + len(ahead), position.place)
    taken = 0
    names: list[str] = []
    place = position.place
    for key_and_name in heapq.merge(
        ((key, name) for name, key in ahead), _ahead(query, result, holdings, position, most)
    ):
        if len(names) == most:
            break
        name = key_and_name[1]
        names.append(name)
        if name.startswith("+"):
            place = int(name[1:]) + 1
        else:
            taken += 1
    if len(names) < most or _is_empty(result, place):
        place = result.last
    return names, Position(position.kept + taken, place)


def _is_empty(result: Result, place: int) -> bool:
    out = len(result.without) - bisect_left(result.without, place)
    return result.last - place == out


def _ahead(
    query: Query, result: Result, holdings: Holdings, position: Position, most: int
) -> Iterator[tuple[Key, str]]:
    """Yield the next generated records with their sort keys; their names begin with a +."""
    keys = [path.key for path, _ in query.order] or ["Id"]
    start = position.place
    given = 0
    while start < result.last and given < most:
        places = range(start, min(start + most, result.last))
        columns = holdings.generated.columns(places, keys)
        for place, *key in zip(places, *columns, strict=True):
            at = bisect_right(result.without, place)
            if at and result.without[at - 1] == place:
                continue
            given += 1
            yield tuple(key), f"+{place}"
        start = places.stop


def records(
    names: Sequence[str], holdings: Holdings, keys: Sequence[str] = ()
) -> Iterator[tuple[str, Texts]]:
    """Yield the records of a page by their names, as they are now, with these fields at least."""
    generated = _generated_records(names, holdings, keys or holdings.generated.keys)
    for name in names:
        if name[0] in "@+":
            place = int(name[1:])
            changed = holdings.changed_places.get(place)
            yield name, holdings.listed[changed] if changed else generated[place]
        elif name in holdings.listed:
            yield name, holdings.listed[name]


def _generated_records(
    names: Sequence[str], holdings: Holdings, keys: Sequence[str]
) -> dict[int, Texts]:
    places = sorted(int(name[1:]) for name in names if name[0] in "@+")
    found: dict[int, Texts] = {}
    at = 0
    while at < len(places):
        end = at + 1
        while end < len(places) and places[end] == places[end - 1] + 1:
            end += 1
        run = range(places[at], places[end - 1] + 1)
        for place, *texts in zip(run, *holdings.generated.columns(run, keys), strict=True):
            found[place] = dict(zip(keys, texts, strict=True))
        at = end
    return found
