"""Digital River's API over HTTP: the only module that speaks to it.

Reads are safe to repeat and are, a few times and briefly, because a rep is waiting. The ``POST``
that makes a refund is sent once: Digital River documents no idempotency key, so whatever goes
wrong after the connection is open leaves the outcome unknown (``Unanswered``) and only a look at
the list of refunds can settle it. httpx's default transport opens a connection without retries
(``retries=0``) and sends nothing twice; a transport passed in must do the same. Redirects are
never followed: another address has no business with the key or with money.

https://docs.digitalriver.com/digital-river-api/developer-resources/api-structure
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count, islice
from types import MappingProxyType, TracebackType
from typing import Final, NoReturn, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx
import simplejson
import stamina
import structlog

from refunds.digitalriver.errors import (
    DigitalRiverError,
    KeyRefused,
    NotConnected,
    NotFound,
    NotSendable,
    RateLimited,
    Refused,
    Unanswered,
    UnreadableAnswer,
)
from refunds.digitalriver.pace import (
    PATIENCE,
    Pace,
    Unpaced,
    retry_after_seconds,
    wait_for_turn,
)
from refunds.digitalriver.payloads import (
    Event,
    EventPage,
    Order,
    Refund,
    RefundPage,
    VendorError,
    read_error,
    read_event_page,
    read_order,
    read_order_page,
    read_refund,
    read_refund_page,
    refund_from,
)
from refunds.digitalriver.wire import IDENTIFIER, load, redacted
from refunds.digitalriver.wording import READING, SENDING, Wording

_logger = structlog.get_logger(__name__)

#: The most orders that can be asked for at once, and the most types of events.
MOST_ORDERS: Final = 100
MOST_TYPES: Final = 19

_PAGE_SIZE: Final = 100
_MOST_PAGES: Final = 50
_LARGEST_BODY: Final = 10 * 1024 * 1024
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]{1,255}")


class _Page(Protocol):
    @property
    def has_more(self) -> bool: ...

    @property
    def cursor(self) -> str: ...


_Read = TypeVar("_Read")
_PageRead = TypeVar("_PageRead", bound=_Page)
_Parameters = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class CreatedRefund:
    """A refund that Digital River has taken on (201), which is not yet a refund made.

    ``answer`` is the parsed body without tokens, for the record.
    """

    refund: Refund
    request_id: str
    status: int
    answer: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    request_id: str
    retry_after: str
    body: bytes
    complete: bool


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DigitalRiverClient:
    """One secret key's view of Digital River. Safe to share between threads; close it when done.

    ``timeout`` is in seconds and bounds connecting, each wait for bytes, and the whole answer.
    ``application_id`` names the desk to Digital River's support, ``refund-desk/<version>``.
    ``read_attempts`` is how often a read is tried at most, within one ``timeout`` altogether.
    ``pace`` is asked before every call, however often it is repeated, and told of every 429; a
    call whose turn is not near raises ``RateLimited`` without a ``status``, and nothing was sent.
    ``transport`` replaces the network, ``clock`` counts seconds, ``now`` tells the time,
    ``sleep`` waits for a turn.
    Raises ``ValueError`` naming the argument when one cannot be used.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        version: str,
        timeout: float,
        application_id: str,
        transport: httpx.BaseTransport | None = None,
        pace: Pace | None = None,
        read_attempts: int = 3,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        address = _address(base_url, api_key)
        headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {_header_value(api_key, 'api_key')}",
            "DigitalRiver-Version": _header_value(version, "version"),
            "User-Agent": _header_value(application_id, "application_id"),
            "upstream-application-id": application_id,
        }
        if not 0 < timeout <= 600:
            raise ValueError("timeout must be more than 0 and at most 600 seconds")
        if read_attempts < 1:
            raise ValueError("read_attempts must be at least 1")
        self._timeout = timeout
        self._pace = pace or Unpaced()
        self._read_attempts = read_attempts
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=address,
            headers=headers,
            timeout=httpx.Timeout(timeout),
            transport=transport,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._http.close()

    def get_order(self, order_id: str, *, upstream_id: str = "") -> Order:
        """Return the order as Digital River has it now.

        Raises ``NotFound`` for an id it does not know, else any ``DigitalRiverError``.
        https://docs.digitalriver.com/digital-river-api/order-management/orders
        """
        order = self._read(
            "/orders/{id}", order_id, read_order, thing="order", upstream_id=upstream_id
        )
        if order.id.casefold() != order_id.casefold():
            raise UnreadableAnswer(READING.unreadable, parameter="id", status=200)
        return order

    def get_orders(self, order_ids: Sequence[str]) -> tuple[Order, ...]:
        """Return the orders as Digital River has them now, in the sequence of their ids.

        An id that Digital River does not know is left out. Takes up to ``MOST_ORDERS`` ids and
        raises ``NotSendable`` for more; an order that was not asked for, or a page that is not
        the last, raises ``UnreadableAnswer``. Raises any ``DigitalRiverError``.
        """
        asked = {order_id.casefold(): order_id for order_id in order_ids}
        if len(asked) > MOST_ORDERS:
            raise NotSendable(f"At most {MOST_ORDERS} orders can be asked for at once.")
        for order_id in asked.values():
            _identifier(order_id, "order")
        if not asked:
            return ()
        parameters: _Parameters = {"ids": list(asked.values()), "limit": str(_PAGE_SIZE)}
        page = self._read(
            "/orders", "", read_order_page, thing="list of orders", parameters=parameters
        )
        found = {order.id.casefold(): order for order in page.orders}
        if page.has_more or not found.keys() <= asked.keys():
            raise UnreadableAnswer(READING.unreadable, parameter="data", status=200)
        return tuple(found[key] for key in asked if key in found)

    def list_refunds(self, *, order_id: str) -> tuple[Refund, ...]:
        """Return every refund of the order, newest first, whoever started it.

        A refund of another order in the list raises ``UnreadableAnswer``: a filter that is not
        heeded must not settle anything. Raises any ``DigitalRiverError``.
        """
        _identifier(order_id, "order")
        found: dict[str, Refund] = {}
        pages = self._pages("/refunds", read_refund_page, {"orderId": order_id}, thing="order")
        for page in islice(pages, _MOST_PAGES):
            for refund in page.refunds:
                foreign = refund.order_id and refund.order_id.casefold() != order_id.casefold()
                if foreign or refund.id in found:
                    raise UnreadableAnswer(READING.unreadable, parameter="data", status=200)
                found[refund.id] = refund
            if not page.has_more:
                return tuple(found.values())
        raise UnreadableAnswer(READING.unreadable, parameter="hasMore", status=200)

    def refunds_since(
        self, *, since: datetime | None, starting_after: str = ""
    ) -> Iterator[RefundPage]:
        """Stream every refund of the account, newest first, whoever started it, page by page.

        ``since`` leaves out those made before it, ``None`` leaves out nothing. To go on where
        one stopped, pass the ``cursor`` of the last page that was dealt with; what was made
        since then comes before it and needs a look of its own. Raises any ``DigitalRiverError``
        while it is walked, in constant memory.
        """
        if starting_after:
            _identifier(starting_after, "refund")
        return self._pages(
            "/refunds",
            read_refund_page,
            {} if since is None else {"createdTime[gte]": _written(since)},
            thing="list of refunds",
            starting_after=starting_after,
        )

    def list_events(self, *, since: datetime, types: Sequence[str] = ()) -> Iterator[Event]:
        """Stream the events since a moment, newest first; of some types only, where named.

        Digital River lists 30 days. One that makes no sense is left out, with a warning in the
        log. Raises any ``DigitalRiverError`` while it is walked, in constant memory;
        ``NotSendable`` at once for more than ``MOST_TYPES`` types, which Digital River does not
        take. How several types are written is not documented; here the field is repeated, as it
        is for ids.
        https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/events-1
        """
        if len(types) > MOST_TYPES:
            raise NotSendable(f"At most {MOST_TYPES} types of events can be asked for at once.")
        parameters: _Parameters = {"createdTime[gte]": _written(since), "types": list(types)}
        pages = self._pages("/events", read_event_page, parameters, thing="list of events")
        return (
            event
            for page in pages
            for event in _readable(page)
            # Should the filter not be heeded, it is here.
            if not types or event.type in types
        )

    def get_refund(self, refund_id: str) -> Refund:
        """Return the refund as Digital River has it now.

        Raises ``NotFound`` for an id it does not know, else any ``DigitalRiverError``.
        """
        refund = self._read("/refunds/{id}", refund_id, read_refund, thing="refund")
        if refund.id.casefold() != refund_id.casefold():
            raise UnreadableAnswer(READING.unreadable, parameter="id", status=200)
        return refund

    def create_refund(self, body: Mapping[str, object], *, upstream_id: str) -> CreatedRefund:
        """Ask Digital River for a refund, once. ``upstream_id`` is the attempt's own reference.

        ``body`` is a RefundRequest with amounts as ``Decimal``. Raises ``NotSent`` when nothing
        left the desk, ``RateLimited`` and ``Refused`` when Digital River did not do it, and
        ``Unanswered`` when nobody knows: then nothing may be sent again before
        ``list_refunds`` has shown that the refund is not there.
        https://docs.digitalriver.com/digital-river-api/order-management/returns-and-refunds-1/refunds/issuing-refunds
        """
        if not upstream_id:
            raise NotSendable("The refund has no reference, so nothing was sent.")
        # A decimal that is written out keeps every digit that was computed.
        content = simplejson.dumps(_sendable(body), use_decimal=True, allow_nan=False).encode()
        answer = self._exchange("POST", "/refunds", "", SENDING, upstream_id, content=content)
        if answer.status != 201 or not answer.complete:
            self._raise_for(answer, SENDING, "order")
        try:
            raw = load(answer.body)
            refund = refund_from(raw)
        except UnreadableAnswer as error:
            raise _unreadable(SENDING, answer, error.parameter) from None
        asked = body.get("orderId")
        if refund.order_id and isinstance(asked, str) and refund.order_id != asked:
            raise _unreadable(SENDING, answer, "orderId")
        kept = redacted(raw)
        return CreatedRefund(
            refund=refund,
            request_id=answer.request_id,
            status=answer.status,
            answer=MappingProxyType(kept if isinstance(kept, dict) else {}),
        )

    def _read(
        self,
        template: str,
        identifier: str,
        reader: Callable[[bytes], _Read],
        *,
        thing: str,
        parameters: _Parameters | None = None,
        upstream_id: str = "",
    ) -> _Read:
        """Read and, where it may help and the rep need not wait long, read again."""
        if "{id}" in template:
            _identifier(identifier, thing)
        for attempt in stamina.retry_context(
            on=_pause_before_reading_again,
            attempts=self._read_attempts,
            timeout=self._timeout,
            wait_initial=0.2,
            wait_max=1.0,
            wait_jitter=0.2,
        ):
            with attempt:
                answer = self._exchange(
                    "GET", template, identifier, READING, upstream_id, parameters=parameters
                )
                if answer.status != 200 or not answer.complete:
                    self._raise_for(answer, READING, thing)
                try:
                    return reader(answer.body)
                except UnreadableAnswer as error:
                    raise _unreadable(READING, answer, error.parameter) from None
        raise AssertionError("a retried block either returns or raises")

    def _pages(
        self,
        path: str,
        reader: Callable[[bytes], _PageRead],
        parameters: _Parameters,
        *,
        thing: str,
        starting_after: str = "",
    ) -> Iterator[_PageRead]:
        """Read page after page, holding one; pages that lead nowhere raise ``UnreadableAnswer``."""
        cursor = milestone = starting_after
        for number in count(1):
            asked: dict[str, str | Sequence[str]] = {**parameters, "limit": str(_PAGE_SIZE)}
            if cursor:
                asked["startingAfter"] = cursor
            page = self._read(path, "", reader, thing=thing, parameters=asked)
            cursor = page.cursor
            # A list that runs in a circle comes by one of its own milestones, the later the
            # longer the circle (Brent), without a memory of all that was read.
            if page.has_more and cursor in ("", milestone):
                raise UnreadableAnswer(READING.unreadable, parameter="hasMore", status=200)
            yield page
            if not page.has_more:
                return
            if number & (number - 1) == 0:
                milestone = cursor

    def _exchange(
        self,
        method: str,
        template: str,
        identifier: str,
        wording: Wording,
        upstream_id: str,
        *,
        parameters: _Parameters | None = None,
        content: bytes | None = None,
    ) -> _Answer:
        """Send one request once, in its turn.

        Raises ``RateLimited`` without a status, ``NotConnected`` or ``Unanswered``.
        """
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if upstream_id:
            if not _HEADER_VALUE.fullmatch(upstream_id):
                raise NotSendable("The reference cannot be sent, so nothing was sent.")
            headers["upstream-id"] = upstream_id
        request = self._http.build_request(
            method,
            template.replace("{id}", quote(identifier, safe="")),
            params=parameters,
            content=content,
            headers=headers,
        )
        self._await_turn(wording)
        log = _logger.bind(method=method, path=template, upstream_id=upstream_id or None)
        started = self._clock()
        try:
            response = self._http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            log.warning(
                "digitalriver.not_connected",
                error=type(error).__name__,
                duration_ms=self._milliseconds_since(started),
            )
            raise NotConnected(wording.not_connected) from error
        except (httpx.RequestError, httpx.StreamError, OSError) as error:
            log.warning(
                "digitalriver.unanswered",
                error=type(error).__name__,
                duration_ms=self._milliseconds_since(started),
            )
            raise Unanswered(wording.unanswered) from error
        body, complete = self._body(response, started)
        request_id = _printable(response.headers.get("x-dr-requestid", ""))
        log.info(
            "digitalriver.answered",
            status=response.status_code,
            request_id=request_id,
            complete=complete,
            duration_ms=self._milliseconds_since(started),
        )
        return _Answer(
            status=response.status_code,
            request_id=request_id,
            retry_after=response.headers.get("retry-after", ""),
            body=body,
            complete=complete,
        )

    def _await_turn(self, wording: Wording) -> None:
        seconds = wait_for_turn(self._pace, self._sleep)
        if seconds:
            _logger.warning("digitalriver.out_of_turn", retry_after=seconds)
            raise RateLimited(
                wording.out_of_turn.format(seconds=seconds), retry_after=seconds, status=None
            )

    def _body(self, response: httpx.Response, started: float) -> tuple[bytes, bool]:
        """Return the body and whether all of it came, within the time and size allowed.

        httpx's timeout starts anew with every byte; a peer that drips would hold the rep.
        """
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_BODY or self._clock() - started > self._timeout:
                    return b"", False
        except (httpx.RequestError, httpx.StreamError, OSError):
            return b"", False
        finally:
            response.close()
        return bytes(body), True

    def _raise_for(self, answer: _Answer, wording: Wording, thing: str) -> NoReturn:
        """Raise what an answer other than the one expected means."""
        status = answer.status
        said = read_error(answer.body)
        if status == 429:
            seconds = retry_after_seconds(answer.retry_after, self._now())
            self._pace.hold_back(seconds)
            raise RateLimited(
                wording.rate_limited.format(seconds=seconds),
                retry_after=seconds,
                code=said.code,
                parameter=said.parameter,
                vendor_message=said.message,
                request_id=answer.request_id,
            )
        if not 400 <= status < 500 or status == 408:
            kind: type[DigitalRiverError] = Unanswered
            sentence = wording.unanswered
            if 200 <= status < 400 and answer.complete:
                kind, sentence = UnreadableAnswer, wording.unreadable
        elif status in (401, 403):
            kind, sentence = KeyRefused, wording.key_refused
        else:
            kind, template = Refused, wording.refused
            if status == 404:
                kind, template = NotFound, wording.not_found
            sentence = template.format(words=_words(said, status), thing=thing)
        raise kind(
            sentence,
            status=status,
            code=said.code,
            parameter=said.parameter,
            vendor_message=said.message,
            request_id=answer.request_id,
        )

    def _milliseconds_since(self, started: float) -> int:
        return round((self._clock() - started) * 1000)


def _pause_before_reading_again(error: Exception) -> bool | float:
    """Tell whether a read may be repeated and, where Digital River said so, after how long."""
    if isinstance(error, RateLimited):
        # Without a status it was the desk's own pace, and patience has run out already.
        near = error.status is not None and error.retry_after <= PATIENCE
        return max(error.retry_after, 0.1) if near else False
    if isinstance(error, UnreadableAnswer):
        return False
    return isinstance(error, NotConnected | Unanswered)


def _readable(page: EventPage) -> tuple[Event, ...]:
    if page.unreadable:
        _logger.warning("digitalriver.events_unreadable", event_ids=page.unreadable)
    return page.events


def _written(moment: datetime) -> str:
    """Return the moment as Digital River writes it; in whole seconds, rounded down."""
    if moment.tzinfo is None:
        raise ValueError("the moment must say its time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unreadable(wording: Wording, answer: _Answer, place: str) -> UnreadableAnswer:
    return UnreadableAnswer(
        wording.unreadable, status=answer.status, request_id=answer.request_id, parameter=place
    )


def _words(said: VendorError, status: int) -> str:
    """Return Digital River's own words as a sentence, or that there were none."""
    words = " ".join(said.message.split())
    if not words:
        return f"it did not say why (answer {status})."
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _printable(text: str) -> str:
    return "".join(mark for mark in text if mark.isprintable())[:200]


def _address(base_url: str, api_key: str) -> httpx.URL:
    try:
        address = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError("base_url is not a URL") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError("base_url must start with https:// or http:// and name a host")
    if address.userinfo or address.query or address.fragment:
        raise ValueError("base_url must not carry a user, a query or a fragment")
    live = api_key.startswith("sk_") and not api_key.startswith("sk_test_")
    if live and address.scheme != "https":
        raise ValueError("base_url must start with https:// for a live api_key")
    return address


def _header_value(value: str, name: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        # The value stays out of the sentence: it may be the key.
        raise ValueError(f"{name} is missing or holds what a header cannot carry")
    return value


def _identifier(identifier: str, thing: str) -> None:
    if not IDENTIFIER.fullmatch(identifier):
        raise NotSendable(f"The {thing}'s Digital River id is missing or malformed.")


def _sendable(value: object) -> object:
    """Return the value as plain JSON types; a float is refused, it has lost the exact amount."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, Mapping):
        return {str(key): _sendable(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_sendable(entry) for entry in value]
    raise NotSendable(
        f"The refund holds a {type(value).__name__} that cannot be sent, so nothing was sent."
    )
