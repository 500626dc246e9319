"""Salesforce's answers, read into frozen values; one that makes no sense is ``UnreadableAnswer``.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query.htm
https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import requests

from refunds.salesforce.errors import JobFailed
from refunds.salesforce.refusals import unreadable

#: Where the rest of a query is; another address has no business with the token.
LOCATOR: Final = re.compile(r"/services/data/v[0-9]{2,3}\.0/query(All)?/[A-Za-z0-9_-]{1,150}")
_JOB_LOCATOR: Final = re.compile(r"[\x21-\x7e]{1,200}")
#: A record's id, or a job's.
ID: Final = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records of a query. ``locator`` leads to the next page, empty at the end.

    ``total`` is how many the query has in all, where Salesforce told.
    """

    records: Sequence[Mapping[str, object]]
    locator: str
    total: int | None


@dataclass(frozen=True, slots=True)
class CsvPage:
    """A page of a bulk job: CSV with its header line. ``locator`` is empty at the end."""

    text: str
    records: int
    locator: str


@dataclass(frozen=True, slots=True)
class BulkJob:
    """A bulk query job. ``records`` is how many it has read, where Salesforce told."""

    id: str
    is_complete: bool
    records: int | None


@dataclass(frozen=True, slots=True)
class Description:
    """What the integration user sees of an object: fields to read, fields to set when making."""

    fields: frozenset[str]
    createable: frozenset[str]
    may_query: bool
    may_create: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """API calls of the organisation in the last 24 hours, and how many it has."""

    used: int
    total: int


def mapping_of(told: object) -> Mapping[str, object]:
    """Return the JSON object that an answer is."""
    if not isinstance(told, Mapping):
        raise unreadable()
    return told


def json_of(answer: requests.Response) -> object:
    """Parse an answer with every fraction as ``Decimal``; None for one without a body."""
    if answer.status_code == 204:
        return None
    told: object = answer.json(parse_float=Decimal)
    return told


def record_page(told: object) -> RecordPage:
    """Read a page of a query."""
    raw = mapping_of(told)
    records, done, total = raw.get("records"), raw.get("done"), raw.get("totalSize")
    if not isinstance(records, list) or not isinstance(done, bool):
        raise unreadable()
    if not all(isinstance(record, Mapping) for record in records):
        raise unreadable()
    locator = "" if done else raw.get("nextRecordsUrl")
    if not isinstance(locator, str) or not (done or LOCATOR.fullmatch(locator)):
        raise unreadable()
    return RecordPage(records=records, locator=locator, total=_whole(total))


def job(raw: Mapping[str, object]) -> BulkJob:
    """Read a bulk query job. Raises ``JobFailed`` for one that failed or was aborted."""
    identifier, state = raw.get("id"), raw.get("state")
    if not isinstance(identifier, str) or not ID.fullmatch(identifier):
        raise unreadable()
    if state in ("Failed", "Aborted"):
        raise JobFailed(
            f"Salesforce's bulk job {identifier} was not finished ({str(state).lower()}). Setup, "
            "Bulk Data Load Jobs tells why; then start it anew.",
            code=str(state),
        )
    if not isinstance(state, str):
        raise unreadable()
    return BulkJob(
        id=identifier,
        is_complete=state == "JobComplete",
        records=_whole(raw.get("numberRecordsProcessed")),
    )


def csv_page(answer: requests.Response) -> CsvPage:
    """Read a page of a bulk job."""
    count = answer.headers.get("Sforce-NumberOfRecords", "")
    locator = answer.headers.get("Sforce-Locator", "")
    locator = "" if locator == "null" else locator
    if not re.fullmatch(r"[0-9]{1,12}", count) or (locator and not _JOB_LOCATOR.fullmatch(locator)):
        raise unreadable()
    try:
        text = answer.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise unreadable() from None
    # As simple-salesforce does: bulk pages have been seen with them, and no database takes one.
    return CsvPage(text=text.replace("\x00", ""), records=int(count), locator=locator)


def description(told: object) -> Description:
    """Read what an object is made of."""
    raw = mapping_of(told)
    fields = raw.get("fields")
    if not isinstance(fields, list):
        raise unreadable()
    named = [field for field in fields if isinstance(field, Mapping)]
    return Description(
        fields=frozenset(str(field.get("name")) for field in named),
        createable=frozenset(str(field.get("name")) for field in named if field.get("createable")),
        may_query=raw.get("queryable") is True,
        may_create=raw.get("createable") is True,
    )


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value
