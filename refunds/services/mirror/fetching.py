"""Fetches one order from Salesforce while a rep waits for it.

The mirror follows Salesforce every few minutes; an order that a rep asks for before that is
fetched here. Every look-up is a call that counts against the organisation's daily limit, so what
Salesforce did not have is not asked for again for a while, and all processes together look up no
faster than ``_LookUpPace`` lets them, whatever is typed.

https://developer.salesforce.com/docs/atlas.en-us.salesforce_app_limits_cheatsheet.meta/salesforce_app_limits_cheatsheet/salesforce_app_limits_platform_api.htm
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from refunds.errors import OrderNotFetched, RecordUnusable
from refunds.gateways import SharedPace, salesforce_in_a_hurry, salesforce_is_configured
from refunds.models import Order
from refunds.salesforce import queries
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.errors import (
    FieldMissing,
    LimitNearlyUsed,
    LimitReached,
    RightMissing,
    SalesforceError,
    SalesforceRecordError,
    SignInRefused,
)
from refunds.salesforce.payloads import mended_id, order_record
from refunds.search_keys import search_key
from refunds.services.mirror.records import order_mirror
from refunds.services.mirror.rows import BadRecord
from refunds.services.mirror.setting_aside import records_set_aside, records_strike_off

Clock = Callable[[], datetime]

_logger = structlog.get_logger(__name__)

#: Seconds for which Salesforce is not asked again for what it did not have. Kept by each process.
NOT_THERE_FOR: Final = 120
#: Seconds for which it is remembered that the organisation's records name no currency.
_NO_CURRENCY_FOR: Final = 3600
_NO_CURRENCY: Final = "salesforce-names-no-currency"
#: What the id of every Order begins with.
#: https://help.salesforce.com/s/articleView?id=000385203&type=1
_ORDER_PREFIX: Final = "801"
#: A whole order number or Digital River id: one word of some length with several digits.
_WHOLE_KEY: Final = re.compile(r"(?=(?:\D*\d){3})[A-Za-z0-9][A-Za-z0-9._-]{4,39}", re.ASCII)
#: Digital River's order ids have twelve digits, Salesforce's order numbers mostly eight.
_LONG_NUMBER: Final = 10

_CURRENCY_FIELD: Final = "CurrencyIsoCode"
_DIGITAL_RIVER_ID: Final = "DR_Order_Id__c"
_ASK_FOR_CHECK: Final = (
    "Ask an administrator of the desk to run “manage.py check_salesforce”, which tells what to do."
)


class _LookUpPace(SharedPace):
    """Lets all processes together look up 60 orders at once, and then one every ten seconds.

    That is at most some 8,700 of the organisation's calls a day.
    """

    _AHEAD = timedelta(minutes=10)


def salesforce_order_id(identifier: str) -> str:
    """Return the 18-character id of an Order, mended where its case got lost.

    Raises ``ValueError`` for what is no id, or the id of something else.
    """
    salesforce_id = mended_id(identifier)
    if not salesforce_id.startswith(_ORDER_PREFIX):
        raise ValueError("is not the id of an order")
    return salesforce_id


def is_whole_key(text: str) -> bool:
    """Tell whether a search may be the whole of an order's number or of one of its ids."""
    return _WHOLE_KEY.fullmatch(text.strip()) is not None


def order_known(*, text: str) -> Order | None:
    """Return the mirrored order whose number or id the text is, the whole of it."""
    keys = {search_key(text)}
    with suppress(ValueError):
        keys.add(search_key(salesforce_order_id(text.strip())))
    for column in ("number_key", "digital_river_key", "salesforce_key"):
        if found := Order.objects.filter(**{f"{column}__in": keys - {""}}).first():
            return found
    return None


def order_look_up(
    *,
    text: str,
    client: SalesforceClient | None = None,
    clock: Clock = timezone.now,
) -> Order | None:
    """Return the order whose number or id the text is, from the mirror or else from Salesforce.

    Raises what ``order_fetch`` raises.
    """
    if known := order_known(text=text):
        return known
    text = text.strip()
    if not is_whole_key(text):
        return None
    for by, value in _likely_keys(text):
        if found := _fetched(by, value, client, clock):
            return found
    return None


def _likely_keys(text: str) -> list[tuple[str, str]]:
    """Return the fields that the text may be the value of, the likeliest first."""
    with suppress(ValueError):
        return [("Id", salesforce_order_id(text))]
    likely = [("OrderNumber", text), (_fields().custom(_DIGITAL_RIVER_ID), text)]
    return likely if len(text) < _LONG_NUMBER else likely[::-1]


def order_fetch(
    *,
    salesforce_id: str = "",
    order_number: str = "",
    digital_river_id: str = "",
    client: SalesforceClient | None = None,
    clock: Clock = timezone.now,
) -> Order | None:
    """Ask Salesforce for one order, by exactly one of its keys, and mirror it.

    Returns ``None`` where Salesforce has no such order. Raises ``OrderNotFetched`` where it could
    not be asked or has two of them, and ``RecordUnusable`` for one that cannot be mirrored.
    """
    (by, value), *more = (
        (by, value)
        for by, value in (
            ("Id", salesforce_id),
            ("OrderNumber", order_number),
            (_fields().custom(_DIGITAL_RIVER_ID), digital_river_id),
        )
        if value
    )
    if more:
        raise ValueError("asks for an order by two keys at once")
    return _fetched(by, salesforce_order_id(value) if by == "Id" else value, client, clock)


def _fetched(by: str, value: str, client: SalesforceClient | None, clock: Clock) -> Order | None:
    not_there = _memory_of(by, value)
    if cache.get(not_there):
        return None
    try:
        record = _record(by, value, client or _client(), clock)
    except SalesforceError as error:
        _logger.warning(
            "salesforce.look_up_failed", error=type(error).__name__, code=error.code, by=by
        )
        raise OrderNotFetched(_sentence(error)) from error
    if record is None:
        cache.set(not_there, value=True, timeout=NOT_THERE_FOR)
        return None
    return _mirrored(record, clock)


def _client() -> SalesforceClient:
    if not salesforce_is_configured():
        raise OrderNotFetched(
            "The desk is not connected to Salesforce, so it cannot fetch an order that is not "
            "here yet. Ask an administrator of the desk to connect it."
        )
    return salesforce_in_a_hurry()


def _record(
    by: str, value: str, client: SalesforceClient, clock: Clock
) -> Mapping[str, object] | None:
    pace = _LookUpPace(key="salesforce look-ups", calls_per_second=60, clock=clock)
    if pace.admit():
        raise OrderNotFetched(
            "Many orders were looked up in Salesforce within a few minutes, so the desk pauses to "
            "spare the organisation's daily calls. Try again in a minute."
        )
    client.require_calls_left()
    try:
        records = _records(by, value, client)
    except FieldMissing as error:
        if error.field != _CURRENCY_FIELD or not settings.SALESFORCE_CURRENCY:
            raise
        cache.set(_NO_CURRENCY, value=True, timeout=_NO_CURRENCY_FOR)
        records = _records(by, value, client)
    if len(records) > 1:
        raise OrderNotFetched(
            f"Salesforce has more than one order with {_named(by)} {value}, so it is not known "
            "which is meant. Open the order in Salesforce and use its Refunds action, or search "
            "for its Salesforce id."
        )
    return records[0] if records else None


def _records(by: str, value: str, client: SalesforceClient) -> list[Mapping[str, object]]:
    page = client.query_page(queries.one_order(_fields(), by=by, value=value))
    return [record_with_all_lines(record, client) for record in page.records]


def _fields() -> queries.Fields:
    return queries.Fields(
        namespace=settings.SALESFORCE_NAMESPACE, has_currency=not cache.get(_NO_CURRENCY)
    )


def record_with_all_lines(
    record: Mapping[str, object], client: SalesforceClient
) -> Mapping[str, object]:
    """Return the record with the lines that Salesforce put on further pages."""
    nested = record.get("OrderItems")
    if not isinstance(nested, Mapping) or nested.get("done") is not False:
        return record
    lines = list(nested.get("records") or ())
    locator = str(nested.get("nextRecordsUrl") or "")
    while locator:
        page = client.next_page(locator)
        lines += page.records
        locator = page.locator
    return {**record, "OrderItems": lines}


def _mirrored(record: Mapping[str, object], clock: Clock) -> Order:
    try:
        read = order_record(
            record,
            namespace=settings.SALESFORCE_NAMESPACE,
            default_currency=settings.SALESFORCE_CURRENCY,
        )
    except SalesforceRecordError as error:
        _set_aside(error, clock)
        raise RecordUnusable(
            f"{error} Ask a Salesforce administrator to correct the order there, then try again."
        ) from error
    order = order_mirror(record=read)
    records_strike_off("Order", [read.id])
    records_strike_off("OrderItem", [line.id for line in read.lines])
    return order


def _set_aside(error: SalesforceRecordError, clock: Clock) -> None:
    """Write the record down for the administrators, as the mirror does."""
    if error.record_id:
        bad = BadRecord(error.record_id, error.field, str(error))
        records_set_aside("Order", good=(), bad=[bad], at=clock(), run=None)


def _sentence(error: SalesforceError) -> str:
    """Return what the rep reads: what is so, and what to do next."""
    if isinstance(error, LimitReached | LimitNearlyUsed):
        return (
            "The organisation's daily calls to Salesforce are used up, or nearly, so the order "
            "cannot be fetched now. Try again in some hours."
        )
    if isinstance(error, SignInRefused):
        return (
            "Salesforce did not let the desk sign in, so the order cannot be fetched. "
            f"{_ASK_FOR_CHECK}"
        )
    if isinstance(error, FieldMissing):
        return (
            f"Salesforce does not show the desk the field {error.field}, so the order cannot be "
            f"fetched. {_ASK_FOR_CHECK}"
        )
    if isinstance(error, RightMissing):
        return f"Salesforce does not let the desk read orders. {_ASK_FOR_CHECK}"
    return (
        "Salesforce could not be asked, or did not answer in time, so it is not known whether it "
        "has this order. Try again in a minute."
    )


def _named(by: str) -> str:
    return "the number" if by == "OrderNumber" else "the Digital River id"


def _memory_of(by: str, value: str) -> str:
    """Return the cache's key for what was asked; SOQL compares without regard to case."""
    digest = hashlib.sha256(search_key(value).encode()).hexdigest()
    return f"salesforce-not-there-{by}-{digest}"
