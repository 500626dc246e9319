"""Builds the clients of the outside world from the settings, one per process."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import httpx
import requests
import structlog
from django.conf import settings
from django.db import Error
from django.db.models import DateTimeField, F, Value
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.module_loading import import_string

from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.pace import LONGEST_RETRY_AFTER
from refunds.models import CallPace
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.signing_in import Credentials

_logger = structlog.get_logger(__name__)

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
#: Names the desk to Digital River's support, as ``upstream-application-id``.
APPLICATION_ID = "refund-desk/1.0"
#: The stand-in inside this process has no address; requests need one all the same.
_IN_PROCESS_ADDRESS = "http://sandbox.invalid"
#: Neither has it a domain, and one on a port of its own takes calls for any.
_STAND_IN_DOMAIN = "sandbox.my"
#: Seconds that one call may take for which somebody waits; it is made a few times at most.
_PATIENCE_OF_A_PERSON = 5.0


@lru_cache(maxsize=1)
def digital_river() -> DigitalRiverClient:
    """Return the client for Digital River, or for the stand-in where the settings name it."""
    transport: httpx.BaseTransport | None = None
    if settings.DIGITALRIVER_TRANSPORT:
        transport = import_string(settings.DIGITALRIVER_TRANSPORT)()
    return DigitalRiverClient(
        base_url=settings.DIGITALRIVER_API_URL or _IN_PROCESS_ADDRESS,
        api_key=settings.DIGITALRIVER_API_KEY,
        version=settings.DIGITALRIVER_VERSION,
        timeout=settings.DIGITALRIVER_TIMEOUT,
        application_id=APPLICATION_ID,
        transport=transport,
        pace=SharedPace(
            key=settings.DIGITALRIVER_API_KEY,
            calls_per_second=settings.DIGITALRIVER_CALLS_PER_SECOND,
        ),
    )


@lru_cache(maxsize=1)
def salesforce() -> SalesforceClient:
    """Return the client for Salesforce, or for the stand-in where the settings name it.

    It signs in at its first call. Only where ``salesforce_is_configured``.
    """
    return _salesforce(timeout=settings.SALESFORCE_TIMEOUT)


@lru_cache(maxsize=1)
def salesforce_in_a_hurry() -> SalesforceClient:
    """Return the client for what a person waits for: as ``salesforce``, with less patience."""
    return _salesforce(timeout=min(_PATIENCE_OF_A_PERSON, settings.SALESFORCE_TIMEOUT))


def _salesforce(*, timeout: float) -> SalesforceClient:
    adapter: requests.adapters.BaseAdapter | None = None
    if settings.SALESFORCE_TRANSPORT:
        adapter = import_string(settings.SALESFORCE_TRANSPORT)()
    return SalesforceClient(
        credentials=Credentials(
            domain=settings.SALESFORCE_DOMAIN or _STAND_IN_DOMAIN,
            consumer_key=settings.SALESFORCE_CONSUMER_KEY,
            consumer_secret=settings.SALESFORCE_CONSUMER_SECRET,
            private_key=settings.SALESFORCE_PRIVATE_KEY,
            username=settings.SALESFORCE_USERNAME,
        ),
        version=settings.SALESFORCE_API_VERSION,
        url=settings.SALESFORCE_URL,
        timeout=timeout,
        adapter=adapter,
    )


def salesforce_is_configured() -> bool:
    """Tell whether the settings name a Salesforce organisation, or its stand-in."""
    return bool(
        settings.SALESFORCE_DOMAIN or settings.SALESFORCE_URL or settings.SALESFORCE_TRANSPORT
    )


class SharedPace:
    """Keeps the calls of all processes with one key under a limit, by one row of the database.

    In no second are there more than ``calls_per_second``, by whichever processes: a fifth of them
    may come at once, the rest are spread evenly. After a 429 nobody calls before its
    ``Retry-After`` has passed. A call that need not wait costs one statement.

    ``next_at`` is when the next call would be due were all of them spread evenly; a call is
    admitted up to a quarter of a second before that (the "generic cell rate algorithm").
    """

    #: How far calls may run ahead of their even spread.
    _AHEAD = timedelta(seconds=0.25)
    _LONGEST_HOLD = timedelta(seconds=LONGEST_RETRY_AFTER)
    #: How far the clocks of two servers may be apart.
    _CLOCKS_APART = timedelta(seconds=5)
    #: Seconds to wait before asking a database again that did not answer.
    _DATABASE_AWAY = 1.0

    def __init__(
        self,
        *,
        key: str,
        calls_per_second: int,
        clock: Callable[[], datetime] = timezone.now,
    ) -> None:
        """Take the key (only a digest is kept) and the limit."""
        self._key = hashlib.sha256(key.encode()).hexdigest()
        self._row = CallPace.objects.filter(key=self._key)
        # The calls of a second and those that run ahead of it are the limit together.
        self._interval = (timedelta(seconds=1) + self._AHEAD) / calls_per_second
        self._clock = clock

    def admit(self) -> float:
        """Take the place of the next call; returns the seconds to wait before asking again."""
        try:
            return self._admit()
        except Error as error:
            _logger.warning("pace.database_away", error=type(error).__name__)
            return self._DATABASE_AWAY

    def hold_back(self, seconds: float) -> None:
        """Let nobody call for so many seconds, as Digital River asked."""
        now = self._clock()
        until = now + timedelta(seconds=seconds)
        try:
            if not self._row.filter(held_until__lt=until).update(held_until=until):
                # It is not there yet, or is held for longer.
                self._create(now, held_until=until)
        except Error as error:
            _logger.warning("pace.database_away", error=type(error).__name__)

    def _admit(self) -> float:
        now = self._clock()
        taken = self._row.filter(next_at__lte=now + self._AHEAD, held_until__lte=now).update(
            next_at=Greatest(F("next_at"), Value(now, output_field=DateTimeField()))
            + self._interval
        )
        if taken:
            return 0.0
        row = self._row.first()
        if row is None:
            self._create(now, held_until=_LONG_AGO)
            return self._admit()
        # No call can have moved these that far: a clock was ahead, and is right again.
        wrong = {}
        if row.next_at - now > self._AHEAD + self._interval + self._CLOCKS_APART:
            wrong["next_at"] = now
        if row.held_until - now > self._LONGEST_HOLD + self._CLOCKS_APART:
            wrong["held_until"] = now
        if wrong:
            self._row.filter(next_at=row.next_at, held_until=row.held_until).update(**wrong)
            return self._admit()
        return max(0.001, (max(row.next_at - self._AHEAD, row.held_until) - now).total_seconds())

    def _create(self, now: datetime, *, held_until: datetime) -> None:
        CallPace.objects.get_or_create(
            key=self._key, defaults={"next_at": now, "held_until": held_until}
        )


def dashboard_order_address(digital_river_id: str) -> str:
    """Return the address of an order in Digital River's Dashboard.

    https://docs.digitalriver.com/digital-river-api/administration/dashboard/order-management/orders
    """
    return f"{settings.DIGITALRIVER_DASHBOARD_URL}/orderdetails?id={digital_river_id}"


def salesforce_order_address(salesforce_id: str) -> str:
    """Return the address of an order in Salesforce; empty where no links are wanted.

    https://developer.salesforce.com/docs/component-library/documentation/en/lwc/lwc.use_navigate_url_addressable
    """
    if not settings.SALESFORCE_ADDRESS:
        return ""
    return f"{settings.SALESFORCE_ADDRESS}/lightning/r/Order/{salesforce_id}/view"
