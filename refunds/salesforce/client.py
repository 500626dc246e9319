"""Salesforce's API: the desk's only way to it, over simple-salesforce.

It signs in at the first call, and again when a session has run out. Whatever can be repeated
without harm is, a few times: reads, bulk jobs, and updates, which leave the same twice. A create
is sent once; whatever goes wrong after it may have arrived is ``Unanswered``. simple-salesforce
has a session renewed only by some of its calls, and keeps the old host; so it is given each
session ready made, and a new one makes it anew.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest.htm
https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/queries.htm
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeVar
from urllib.parse import urlsplit

import requests
import stamina
import structlog
from requests.adapters import BaseAdapter, HTTPAdapter
from simple_salesforce.api import Salesforce, SFType
from simple_salesforce.exceptions import SalesforceError as WireError
from simple_salesforce.util import call_salesforce

from refunds.salesforce.answers import (
    ID,
    LOCATOR,
    BulkJob,
    CsvPage,
    Description,
    RecordPage,
    Usage,
    csv_page,
    description,
    job,
    json_of,
    mapping_of,
    record_page,
)
from refunds.salesforce.errors import (
    JobFailed,
    LimitNearlyUsed,
    LocatorExpired,
    QueryRefused,
    RecordLocked,
    RightMissing,
    SalesforceError,
    SignInRefused,
    Unanswered,
    Unreachable,
    UnreadableAnswer,
)
from refunds.salesforce.refusals import from_answer, from_network, session_is_over, unreadable
from refunds.salesforce.signing_in import Credentials, Session, answered_at, sign_in
from refunds.salesforce.wire import BoundedAdapter, http_session

__all__ = [
    "BulkJob",
    "Credentials",
    "CsvPage",
    "Description",
    "RecordPage",
    "SalesforceClient",
    "Usage",
]

_logger = structlog.get_logger(__name__)

_ATTEMPTS: Final = 4
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 10.0
_NAME: Final = re.compile(r"[A-Za-z]\w{0,79}")
_USAGE: Final = re.compile(r"(?:^|[;,\s])api-usage=([0-9]{1,12})/([0-9]{1,12})")

_Read = TypeVar("_Read")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SalesforceClient:
    """One organisation, as its integration user sees it. Safe to share between threads.

    ``url`` points all calls at another server. ``timeout`` is in seconds and bounds connecting
    and each wait for bytes. ``adapter`` replaces the network. ``stop_at_share`` is the share of
    the organisation's calls after which ``require_calls_left`` raises. ``sleep`` waits between
    looks at a bulk job, ``clock`` tells the time.
    Raises ``ValueError`` naming the argument when one cannot be used.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        version: str = "60.0",
        url: str = "",
        timeout: float = 20.0,
        adapter: BaseAdapter | None = None,
        stop_at_share: Decimal = Decimal("0.95"),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        if not re.fullmatch(r"[0-9]{2,3}\.0", version):
            raise ValueError("version must be written as 60.0")
        if not 0 < timeout <= 600:
            raise ValueError("timeout must be more than 0 and at most 600 seconds")
        _check_server(url)
        self._credentials = credentials
        self._version = version
        self._timeout = timeout
        self._stop_at_share = stop_at_share
        self._sleep = sleep
        self._clock = clock
        self._usage: Usage | None = None
        self._server_time: datetime | None = None
        self._link: _Link | None = None
        self._signing_in = threading.Lock()
        # A connection is never used for a second try of a request that it may have carried.
        bounded = BoundedAdapter(
            inner=adapter or HTTPAdapter(max_retries=0),
            timeout=timeout,
            server=url,
            on_answer=self._note,
        )
        self._http = http_session(bounded, server=url)

    @property
    def usage(self) -> Usage | None:
        """The organisation's calls, as the last answer told them."""
        return self._usage

    @property
    def server_time(self) -> datetime | None:
        """Salesforce's clock at the last answer, to the second."""
        return self._server_time

    def require_calls_left(self) -> None:
        """Raise ``LimitNearlyUsed`` once the organisation has used its share of calls."""
        usage = self._usage
        if usage is not None and usage.used >= usage.total * self._stop_at_share:
            raise LimitNearlyUsed(
                f"The organisation has used {usage.used:,} of its {usage.total:,} Salesforce API "
                "calls of 24 hours: the desk leaves the rest to others and goes on later."
            )

    def query(self, soql: str, *, deleted: bool = False) -> Iterator[Mapping[str, object]]:
        """Stream all records of a query, page by page; numbers are ``Decimal`` or ``int``.

        ``deleted`` has deleted records answered as well (queryAll). Raises any
        ``SalesforceError`` while it is walked.
        """
        page = self.query_page(soql, deleted=deleted)
        while True:
            yield from page.records
            if not page.locator:
                return
            last, page = page.locator, self.next_page(page.locator)
            if page.locator == last:
                raise unreadable()

    def query_page(self, soql: str, *, deleted: bool = False) -> RecordPage:
        """Return the first page of a query. Raises any ``SalesforceError``."""
        return self._safely(lambda link: record_page(link.api.query(soql, include_deleted=deleted)))

    def next_page(self, locator: str) -> RecordPage:
        """Return the page that a locator leads to.

        Raises ``LocatorExpired`` where Salesforce no longer keeps it, else any
        ``SalesforceError``.
        """
        if not LOCATOR.fullmatch(locator):
            raise LocatorExpired("The place in the query is not one that Salesforce gave.")

        def read(link: _Link) -> RecordPage:
            return record_page(link.api.query_more(locator, identifier_is_url=True))

        try:
            return self._safely(read)
        except RightMissing as error:
            if error.status == 404:
                raise _expired(error) from None
            raise

    def start_bulk(self, soql: str) -> str:
        """Start a bulk query job and return its id. Raises any ``SalesforceError``.

        Should an answer get lost, an unused job is left behind, which Salesforce deletes.
        https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_create_job.htm
        """
        asked = {
            "operation": "query",
            "query": soql,
            "columnDelimiter": "COMMA",
            "lineEnding": "LF",
        }
        told = self._bulk("POST", "", data=json.dumps(asked))
        return job(mapping_of(told)).id

    def bulk_job(self, job_id: str) -> BulkJob:
        """Return how far a job is.

        Raises ``JobFailed`` for one that failed or was aborted, ``LocatorExpired`` for one that
        is gone, else any ``SalesforceError``.
        """
        return job(mapping_of(self._bulk("GET", f"/{_job_id(job_id)}")))

    def wait_for_bulk(
        self, job_id: str, *, on_wait: Callable[[], None], longest: float = 4 * 3600.0
    ) -> BulkJob:
        """Return the job once it is complete. ``on_wait`` is called before each pause.

        ``longest`` is in seconds; after that it raises ``JobFailed``. Raises what ``bulk_job``
        does.
        """
        pause, waited = _FIRST_PAUSE, 0.0
        while not (job := self.bulk_job(job_id)).is_complete:
            if waited >= longest:
                raise JobFailed("Salesforce has not finished the bulk job in time. Start it anew.")
            on_wait()
            self._sleep(pause)
            waited += pause
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        return job

    def bulk_page(self, job_id: str, locator: str = "", *, most: int = 10_000) -> CsvPage:
        """Return a page of a complete job's records, with ``most`` of them at most.

        Raises ``LocatorExpired`` for a job that is gone, ``UnreadableAnswer`` with the code
        ``TOO_LARGE`` for a page to be asked for again with fewer, else any ``SalesforceError``.
        https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm
        """
        parameters: dict[str, str | int] = {"maxRecords": most}
        if locator:
            parameters["locator"] = locator
        return self._bulk_read(
            "GET", f"/{_job_id(job_id)}/results", csv_page, parameters=parameters
        )

    def end_bulk(self, job_id: str) -> None:
        """Delete a job. One that is gone already is fine.

        One that is still running cannot be deleted and stays; Salesforce deletes it in a week.
        """
        try:
            self._bulk("DELETE", f"/{_job_id(job_id)}")
        except LocatorExpired:
            return
        except QueryRefused as error:
            _logger.info("salesforce.job_left", job_id=job_id, code=error.code)

    def describe(self, sobject: str) -> Description:
        """Return what the integration user may do with an object.

        Raises ``RightMissing`` for one that is not there or not to be seen.
        https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm
        """
        return self._safely(lambda link: description(link.records(sobject).describe()))

    def create(self, sobject: str, fields: Mapping[str, object]) -> str:
        """Make a record and return its id. Sent once.

        Raises ``Unanswered`` when it is not known whether it was made; after every other
        ``SalesforceError`` it was not.
        https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_sobject_create.htm
        """
        told = self._once(lambda link: link.records(sobject).create(dict(fields)), sending=True)
        identifier = told.get("id") if isinstance(told, Mapping) else None
        if not isinstance(identifier, str) or not ID.fullmatch(identifier):
            raise Unanswered(
                "Salesforce's answer makes no sense, so it is not known whether the record was "
                "made. It must be looked up before it is sent again."
            )
        return identifier

    def update(self, sobject: str, record_id: str, fields: Mapping[str, object]) -> None:
        """Change a record's fields. Raises any ``SalesforceError``.

        https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_update_fields.htm
        """
        if not ID.fullmatch(record_id):
            raise ValueError("record_id must be an id of 15 or 18 letters and digits")
        self._safely(lambda link: link.records(sobject).update(record_id, dict(fields)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _bulk(self, method: str, path: str, *, data: str | None = None) -> object:
        return self._bulk_read(method, path, json_of, data=data)

    def _bulk_read(
        self,
        method: str,
        path: str,
        reader: Callable[[requests.Response], _Read],
        *,
        data: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
    ) -> _Read:
        """Call the bulk API. What it does not find is a job that is gone."""

        def call(link: _Link) -> _Read:
            answer: requests.Response = call_salesforce(
                url=f"{link.api.bulk2_url}query{path}",
                method=method,
                session=self._http,
                headers={**link.api.headers, "ACCEPT": "text/csv; charset=UTF-8"},
                data=data,
                params=parameters,
            )
            return reader(answer)

        try:
            return self._safely(call)
        except RightMissing as error:
            if error.status == 404:
                raise _expired(error) from None
            raise

    def _safely(self, action: "Callable[[_Link], _Read]") -> _Read:
        """Do what can be done twice without harm, again where that may help."""
        for attempt in stamina.retry_context(
            on=_may_be_repeated,
            attempts=_ATTEMPTS,
            timeout=3 * self._timeout,
            wait_initial=0.5,
            wait_max=5.0,
            wait_jitter=0.5,
        ):
            with attempt:
                return self._once(action)
        raise AssertionError("a retried block either returns or raises")

    def _once(self, action: "Callable[[_Link], _Read]", *, sending: bool = False) -> _Read:
        """Do it once; a session that has run out is renewed, for then nothing was done."""
        link = self._signed_in()
        try:
            return _spoken(action, link, sending=sending)
        except _SessionOver:
            link = self._signed_in(instead_of=link)
        try:
            return _spoken(action, link, sending=sending)
        except _SessionOver:
            raise SignInRefused(
                "Salesforce gave the desk a session and does not take it. Check that the "
                "integration user has the API Enabled permission and no session lock to an "
                "address.",
                code="INVALID_SESSION_ID",
                status=401,
            ) from None

    def _signed_in(self, *, instead_of: "_Link | None" = None) -> "_Link":
        """Return the session that all share; a new one where it is still the one given."""
        link = self._link
        if link is not None and link is not instead_of:
            return link
        with self._signing_in:
            # Another may have signed in while this one waited.
            if self._link is None or self._link is instead_of:
                session = sign_in(self._credentials, self._http, clock=self._clock)
                self._link = _Link(session, self._http, self._version)
            return self._link

    def _note(self, answer: requests.Response, seconds: float) -> None:
        """Take down what every answer tells by the way."""
        if found := _USAGE.search(answer.headers.get("Sforce-Limit-Info", "")):
            self._usage = Usage(used=int(found.group(1)), total=int(found.group(2)))
        self._server_time = answered_at(answer) or self._server_time
        # Without the query: it may name a customer's order.
        _logger.info(
            "salesforce.answered",
            method=answer.request.method,
            path=urlsplit(answer.url).path,
            status=answer.status_code,
            duration_ms=round(seconds * 1000),
        )


class _SessionOver(Exception):
    """Salesforce does not take the session."""


class _Link:
    """simple-salesforce with one session, which it does not renew itself."""

    def __init__(self, session: Session, http: requests.Session, version: str) -> None:
        self._http = http
        self.api = Salesforce(
            session_id=session.token,
            instance=session.host,
            session=http,
            version=version,
            parse_float=Decimal,
            object_pairs_hook=dict,
        )

    def records(self, sobject: str) -> SFType:
        """Return the calls for one object. Raises ``ValueError`` for what is no name."""
        if not _NAME.fullmatch(sobject):
            raise ValueError("sobject must be the API name of an object")
        return SFType(
            sobject,
            self.api.session_id,
            self.api.sf_instance,
            sf_version=self.api.sf_version,
            session=self._http,
        )


def _spoken(action: Callable[[_Link], _Read], link: _Link, *, sending: bool) -> _Read:
    """Do it; whatever goes wrong is one of the desk's errors, or that the session is over."""
    try:
        return action(link)
    # Their own words hold the answer's body, so none is chained.
    except WireError as error:
        if session_is_over(error):
            raise _SessionOver from None
        raise from_answer(error, sending=sending) from None
    except requests.RequestException as error:
        raise from_network(error, sending=sending) from None
    except RecursionError:
        raise unreadable() from None


def _may_be_repeated(error: Exception) -> bool:
    if isinstance(error, UnreadableAnswer):
        # Most that makes no sense is an answer cut short on its way.
        return error.code != "TOO_LARGE"
    if isinstance(error, Unreachable):
        return error.code != "REDIRECT"
    return isinstance(error, RecordLocked)


def _expired(error: SalesforceError) -> LocatorExpired:
    return LocatorExpired(
        "Salesforce no longer keeps the rest of what was asked. It is asked anew.",
        code=error.code,
        status=error.status,
    )


def _check_server(url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ValueError("url must start with https:// or http:// and name a server")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("url must name a server alone")


def _job_id(job_id: str) -> str:
    if not ID.fullmatch(job_id):
        raise LocatorExpired("The bulk job's id is not one that Salesforce gave.")
    return job_id
