"""Queries that are under way: REST queries with their pages, and bulk 2.0 query jobs.

Both are kept in the state file with what they found when they began.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query_more_results.htm
https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/queries.htm
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.moments import to_microseconds
from sandbox.salesforce.answers import csv_head, csv_of_places, csv_of_records, json_record, needed
from sandbox.salesforce.errors import SalesforceRefusal, no_such_record
from sandbox.salesforce.holdings import Holdings
from sandbox.salesforce.ids import record_id
from sandbox.salesforce.moments import SECOND, stamp_text
from sandbox.salesforce.objects import OBJECTS
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.results import (
    Position,
    Result,
    find,
    page,
    records,
    result_from_json,
    sorted_page,
)
from sandbox.salesforce.shape import INTEGRATION_USER, Shape
from sandbox.salesforce.soql import Query, read_query
from sandbox.wire import dumps, loads

QUERY = "01g"
JOB = "750"
SMALLEST_BATCH, USUAL_BATCH = 200, 2_000
MOST_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A query as the state file keeps it."""

    id: str
    soql: str
    deleted: bool
    result: Result
    state: str
    created: int
    body: dict[str, Any]


def _store(
    connection: sqlite3.Connection, prefix: str, body: dict[str, Any], state: str, now: int
) -> str:
    (last,) = connection.execute("SELECT max(rowid) FROM salesforce_queries").fetchone()
    identifier = record_id(prefix, (last or 0) + 1)
    connection.execute(
        "INSERT INTO salesforce_queries VALUES (?, ?, ?, ?)", (identifier, dumps(body), state, now)
    )
    return identifier


def _kept(connection: sqlite3.Connection, identifier: str) -> Kept | None:
    found = connection.execute(
        "SELECT body, state, created FROM salesforce_queries WHERE id = ?", (identifier,)
    ).fetchone()
    if found is None:
        return None
    body = loads(found[0])
    result = result_from_json(body["result"])
    return Kept(identifier, body["soql"], body["deleted"], result, found[1], found[2], body)


# -- REST ---------------------------------------------------------------------------------------


def first_page(
    organisation: Organisation, soql: str, *, deleted: bool, batch: int, version: str
) -> dict[str, Any]:
    """Begin a query and return its first page; raises SalesforceRefusal."""
    shape = organisation.shape
    query = read_query(soql, shape)
    sandbox = organisation.sandbox
    with sandbox.looking() as connection:
        holdings = Holdings(connection, query.sobject, shape)
        result = find(query, holdings, deleted=deleted)
        answer, end = _answer(
            connection, shape, query, result, result.start, batch, deleted, version
        )
    if not answer["done"]:
        body = {"soql": soql, "deleted": deleted, "result": result.to_json(), "batch": batch}
        with sandbox.changing() as connection:
            now = to_microseconds(organisation.now())
            identifier = _store(connection, QUERY, body, "", now)
        _lead_on(organisation, identifier, answer, batch, end, version)
    return answer


def next_page(organisation: Organisation, locator: str, *, version: str) -> dict[str, Any]:
    """Return the page that a locator leads to; raises SalesforceRefusal for an unknown one."""
    identifier, _, offset = locator.partition("-")
    shape = organisation.shape
    with organisation.sandbox.looking() as connection:
        kept = _kept(connection, identifier)
        place = None if kept is None else kept.body.get("places", {}).get(offset)
        if kept is None or place is None:
            raise SalesforceRefusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        query = read_query(kept.soql, shape)
        batch = kept.body["batch"]
        answer, end = _answer(
            connection, shape, query, kept.result, Position(*place), batch, kept.deleted, version
        )
    if not answer["done"]:
        _lead_on(organisation, identifier, answer, int(offset) + batch, end, version)
    return answer


def _answer(  # noqa: PLR0917 -- one place that both kinds of pages share
    connection: sqlite3.Connection,
    shape: Shape,
    query: Query,
    result: Result,
    start: Position,
    batch: int,
    deleted: bool,
    version: str,
) -> tuple[dict[str, Any], Position]:
    holdings = Holdings(connection, query.sobject, shape)

    def children(child: Query, parent: str) -> list[dict[str, Any]]:
        return list(_children(connection, shape, query, child, parent, version))

    names, end = sorted_page(query, result, holdings, start, batch)
    found = [
        json_record(query, record, version, children)
        for _, record in records(names, holdings, needed(query))
        if deleted or record["IsDeleted"] == "false"
    ]
    return {"totalSize": result.size, "done": result.ends_at(end), "records": found}, end


def _children(  # noqa: PLR0917 -- as above
    connection: sqlite3.Connection,
    shape: Shape,
    query: Query,
    child: Query,
    parent: str,
    version: str,
) -> Iterator[dict[str, Any]]:
    key = next(key for name, key in query.sobject.children.values() if name == child.sobject.name)
    holdings = Holdings(connection, OBJECTS[child.sobject.name], shape)
    places = holdings.generated.places_with(key, parent) or []
    of_places = [
        holdings.generated.record(place) for place in places if place not in holdings.changed_places
    ]
    found = [
        record
        for record in (*holdings.listed.values(), *of_places)
        if record.get(key) == parent and record["IsDeleted"] == "false"
    ]
    found.sort(key=lambda one: [one.get(path.key, "") for path, _ in child.order] or [one["Id"]])
    for record in found[: child.limit]:
        yield json_record(child, record, version, lambda query, parent: [])


def _lead_on(  # noqa: PLR0917 -- as above
    organisation: Organisation,
    identifier: str,
    answer: dict[str, Any],
    offset: int,
    end: Position,
    version: str,
) -> None:
    """Name the next page in an answer, and keep where it begins."""
    with organisation.sandbox.changing() as connection:
        kept = _kept(connection, identifier)
        assert kept is not None, "a page's query is kept"
        places = {**kept.body.get("places", {}), str(offset): [end.kept, end.place]}
        connection.execute(
            "UPDATE salesforce_queries SET body = ? WHERE id = ?",
            (dumps({**kept.body, "places": places}), identifier),
        )
    answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{identifier}-{offset}"


# -- bulk 2.0 -----------------------------------------------------------------------------------


def start_job(
    organisation: Organisation, soql: str, *, deleted: bool, version: str, fails: bool = False
) -> dict[str, Any]:
    """Make a query job and return it; raises SalesforceRefusal."""
    shape = organisation.shape
    query = read_query(soql, shape)
    if query.children:
        raise SalesforceRefusal(
            400, "API_ERROR", "Bulk API 2.0 doesn't support parent-to-child relationship queries."
        )
    with organisation.sandbox.changing() as connection:
        result = find(query, Holdings(connection, query.sobject, shape), deleted=deleted)
        body = {"soql": soql, "deleted": deleted, "result": result.to_json()}
        now = to_microseconds(organisation.now())
        identifier = _store(connection, JOB, body, "Failed" if fails else "", now)
    # What was asked for just now was not looked at yet.
    return job(organisation, identifier, version=version) | {"state": "UploadComplete"}


def job(organisation: Organisation, identifier: str, *, version: str) -> dict[str, Any]:
    """Return a query job as it is now; raises SalesforceRefusal where it is gone."""
    kept = _job(organisation, identifier)
    shape = organisation.shape
    state = _state(organisation, kept, shape)
    answer: dict[str, Any] = {
        "id": identifier,
        "operation": "queryAll" if kept.deleted else "query",
        "object": read_query(kept.soql, shape).sobject.name,
        "createdById": INTEGRATION_USER,
        "createdDate": f"{stamp_text(kept.created)[:-1]}+0000",
        "systemModstamp": f"{stamp_text(kept.created)[:-1]}+0000",
        "state": state,
        "concurrencyMode": "Parallel",
        "contentType": "CSV",
        "apiVersion": Decimal(version),
        "lineEnding": "LF",
        "columnDelimiter": "COMMA",
        "jobType": "V2Query",
    }
    if state == "JobComplete":
        answer |= {"numberRecordsProcessed": kept.result.size, "retries": 0}
    if state == "Failed":
        answer["errorMessage"] = "InternalServerError : the query could not be carried out"
    return answer


def _job(organisation: Organisation, identifier: str) -> Kept:
    with organisation.sandbox.looking() as connection:
        kept = _kept(connection, identifier) if identifier.startswith(JOB) else None
    if kept is None:
        raise no_such_record()
    return kept


def _state(organisation: Organisation, kept: Kept, shape: Shape) -> str:
    age = (to_microseconds(organisation.now()) - kept.created) / SECOND
    if age < shape.job_seconds:
        return kept.state if kept.state == "Aborted" else "InProgress"
    return kept.state or "JobComplete"


def abort_job(organisation: Organisation, identifier: str) -> None:
    """Abort a job, whatever it does."""
    _job(organisation, identifier)
    with organisation.sandbox.changing() as connection:
        connection.execute(
            "UPDATE salesforce_queries SET state = 'Aborted' WHERE id = ?", (identifier,)
        )


def delete_job(organisation: Organisation, identifier: str) -> None:
    """Delete a job that has ended."""
    kept = _job(organisation, identifier)
    if _state(organisation, kept, organisation.shape) == "InProgress":
        raise SalesforceRefusal(
            400, "INVALIDJOBSTATE", "Deleting jobs in state: InProgress isn't allowed"
        )
    with organisation.sandbox.changing() as connection:
        connection.execute("DELETE FROM salesforce_queries WHERE id = ?", (identifier,))


def job_page(
    organisation: Organisation, identifier: str, *, locator: str, most: int
) -> tuple[str, int, str]:
    """Return a page of a job as CSV, how many records it has, and the next page's locator.

    The locator is "null" after the last one. Raises SalesforceRefusal.
    """
    kept = _job(organisation, identifier)
    shape = organisation.shape
    state = _state(organisation, kept, shape)
    if state != "JobComplete":
        raise SalesforceRefusal(
            400, "INVALIDJOBSTATE", f"Results can't be read of a job in state: {state}"
        )
    start = _position(locator) if locator else kept.result.start
    query = read_query(kept.soql, shape)
    with organisation.sandbox.looking() as connection:
        holdings = Holdings(connection, query.sobject, shape)
        names, places, end = page(kept.result, start, most)
        listed = [
            record
            for _, record in records(names, holdings)
            if kept.deleted or record["IsDeleted"] == "false"
        ]
        texts = [csv_head(query.select), csv_of_records(query.select, listed)]
        count = len(listed)
        for part in _parts(places, holdings, kept.result):
            if isinstance(part, range):
                texts.append(csv_of_places(query.select, holdings.generated, part))
                count += len(part)
            elif kept.deleted or holdings.listed[part]["IsDeleted"] == "false":
                texts.append(csv_of_records(query.select, [holdings.listed[part]]))
                count += 1
    following = "null" if kept.result.ends_at(end) else f"{end.kept:x}.{end.place:x}"
    return "".join(texts), count, following


def _position(locator: str) -> Position:
    kept, _, place = locator.partition(".")
    try:
        return Position(int(kept, 16), int(place, 16))
    except ValueError as error:
        raise SalesforceRefusal(400, "INVALID_LOCATOR", "The locator is not valid.") from error


def _parts(places: range, holdings: Holdings, result: Result) -> Iterator[range | str]:
    """Yield runs of unchanged generated places, and between them the ids of changed ones.

    Those that were changed before the query began are not among them: they come by their ids.
    """
    without = set(result.without)
    start = places.start
    for place in sorted(place for place in holdings.changed_places if place in places):
        if start < place:
            yield range(start, place)
        if place not in without:
            yield holdings.changed_places[place]
        start = place + 1
    if start < places.stop:
        yield range(start, places.stop)
