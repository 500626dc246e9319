"""Delivering the stand-in's events to one webhook address, signed, until each is acknowledged.

What was delivered is kept in the state file, so that any process goes on where another stopped.
As with Digital River, any 2xx acknowledges, everything else and no answer within three seconds
is tried again with growing pauses, and there is no promise of order or of exactly once.

    NoAnswerError (ConnectionError)     the address gave no answer in time

https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/webhooks
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import httpx

from sandbox.errors import StateFileError
from sandbox.moments import to_microseconds
from sandbox.signing import HEADER, sign, timestamp_of
from sandbox.store import Claim, Sandbox
from sandbox.webhook import WELL_BEHAVED, Misbehaviour, Webhook

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 3.0
"""How long Digital River waits for a webhook's answer."""

RETRY_AFTER = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = timedelta(days=3)
BATCH = 20
"""Few enough that the signature of the last one is not stale if all the others time out."""

Send = Callable[[bytes, Mapping[str, str]], int]
"""Takes a body and its headers and returns the HTTP status of the answer.

Raises ConnectionError or TimeoutError where nobody answered.
"""


class NoAnswerError(ConnectionError):
    """The webhook's address gave no answer in time."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event to hand over: the raw body, and the headers with its signature.

    `attempt` counts from 1. `number` names the delivery, not the event: a duplicate has its own.
    """

    number: int
    type: str
    attempt: int
    created: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """What became of the deliveries that were due: how many were acknowledged, how many not."""

    acknowledged: int = 0
    failed: int = 0


class Deliverer:
    """Delivers a stand-in's events through `send`, signed with `secrets`.

    Time is the stand-in's own clock. A delivery that is not acknowledged is tried again after
    `retry_after`, twice that, four times that and so on, but at most an hour later, until the
    event is three days old.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        send: Send,
        *,
        secrets: Iterable[str],
        milliseconds: bool = False,
        misbehaviour: Misbehaviour = WELL_BEHAVED,
        retry_after: timedelta = RETRY_AFTER,
    ) -> None:
        """Take the stand-in, the way to its webhook, the secrets and what is to go wrong."""
        self._sandbox = sandbox
        self._send = send
        self._secrets = tuple(secrets)
        self._milliseconds = milliseconds
        self._misbehaviour = misbehaviour
        self._retry_after = retry_after // timedelta(microseconds=1)

    def next_batch(self, limit: int = BATCH) -> list[Delivery]:
        """Return signed deliveries that are due, without sending them; empty when there are none.

        Each one is the caller's until it would be tried again: `acknowledge` it, or it comes
        again then.
        """
        return self._claim(limit)

    def acknowledge(self, delivery: Delivery) -> None:
        """Note that a delivery arrived; it does not come again."""
        self._sandbox.delivery_done(delivery.number)

    def postpone(self, delivery: Delivery) -> None:
        """Note that a delivery failed; it comes again, unless its event is too old by then."""
        age = to_microseconds(self._sandbox.clock()) - delivery.created
        pause = self._pause(delivery.attempt)
        gives_up = age + pause > GIVE_UP_AFTER // timedelta(microseconds=1)
        self._sandbox.delivery_postponed(delivery.number, None if gives_up else pause)

    def deliver_due(self) -> Round:
        """Deliver once all that is due now, and return how that went.

        An error that `send` raises beyond its own two leaves the rest for the next call.
        """
        started = self._sandbox.clock()
        acknowledged = failed = 0
        while batch := self._claim(BATCH, started=started):
            for delivery in batch:
                if self._is_acknowledged(delivery):
                    self.acknowledge(delivery)
                    acknowledged += 1
                else:
                    self.postpone(delivery)
                    failed += 1
        return Round(acknowledged, failed)

    def _claim(self, limit: int, *, started: datetime | None = None) -> list[Delivery]:
        claims = self._sandbox.claim_deliveries(
            self._misbehaviour, limit=limit, wait=self._pause, until=started
        )
        # Each attempt is signed anew, as Digital River's are.
        timestamp = timestamp_of(self._sandbox.clock(), milliseconds=self._milliseconds)
        return [self._signed(claim, timestamp) for claim in claims]

    def _signed(self, claim: Claim, timestamp: int) -> Delivery:
        body = claim.body.encode()
        headers = {
            "Content-Type": "application/json",
            HEADER: sign(self._secrets, timestamp, body),
        }
        return Delivery(claim.number, claim.type, claim.attempts, claim.created, body, headers)

    def _is_acknowledged(self, delivery: Delivery) -> bool:
        try:
            status = self._send(delivery.body, delivery.headers)
        except (ConnectionError, TimeoutError):
            return False
        return 200 <= status < 300

    def _pause(self, attempts: int) -> int:
        """Return the microseconds between an attempt and the next one."""
        longest = LONGEST_PAUSE // timedelta(microseconds=1)
        # A pause of nothing would have one call of deliver_due() try for ever.
        doublings = min(attempts - 1, 30)
        return max(1, min(longest, self._retry_after << doublings))


class HttpSender:
    """Posts events to an address over HTTP; follows no redirect and reads no answer's body."""

    def __init__(self, address: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """Take the address, and the transport where it is not the network."""
        self.address = address
        self._client = httpx.Client(timeout=ANSWER_SECONDS, trust_env=False, transport=transport)

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Post one event and return the status; raises NoAnswerError."""
        try:
            with self._client.stream("POST", self.address, content=body, headers=headers) as answer:
                return answer.status_code
        except httpx.TransportError as error:
            raise NoAnswerError("the webhook's address gave no answer") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def deliver_to(sandbox: Sandbox, webhook: Webhook, send: Send) -> Round:
    """Deliver once all that is due to a registered webhook."""
    return Deliverer(
        sandbox,
        send,
        secrets=webhook.secrets,
        milliseconds=webhook.milliseconds,
        misbehaviour=webhook.misbehaviour,
    ).deliver_due()


class DeliveryThread(threading.Thread):
    """Delivers to whatever webhook is registered, every so many seconds, until it is stopped."""

    def __init__(self, sandbox: Sandbox, *, every: float = 1.0) -> None:
        """Take the stand-in and the seconds between two rounds."""
        super().__init__(name="sandbox-delivery", daemon=True)
        self._sandbox = sandbox
        self._every = every
        self._stopped = threading.Event()

    def run(self) -> None:
        """Deliver until stopped; a round that fails is noted, and the next one tries again."""
        sender: HttpSender | None = None
        while not self._stopped.wait(self._every):
            try:
                webhook = self._sandbox.webhook()
                if webhook is None:
                    continue
                if sender is None or sender.address != webhook.address:
                    if sender is not None:
                        sender.close()
                    sender = HttpSender(webhook.address)
                deliver_to(self._sandbox, webhook, sender)
            except (sqlite3.Error, StateFileError):
                logger.exception("the stand-in could not read or keep its deliveries")
        if sender is not None:
            sender.close()
        self._sandbox.close()

    def stop(self) -> None:
        """Stop after the round that is under way; wait for it, but not for long."""
        self._stopped.set()
        self.join(timeout=2 * ANSWER_SECONDS)
