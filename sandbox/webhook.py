"""Where the stand-in delivers its events, and how badly it is told to do so.

https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/webhooks/creating-a-webhook
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from sandbox.errors import RefusedError

FIELDS = frozenset(
    ("address", "secrets", "milliseconds", "duplicates", "reorder", "delay", "lose", "seed")
)
LARGEST_WINDOW = 10_000
LONGEST_DELAY = 30 * 86_400
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """One delivery of an event: its place in the order of those that are due, and its wait.

    The wait, in microseconds, counts from the event's creation; None means that it never comes.
    """

    place: float
    wait: int | None


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What goes wrong with deliveries; the same seed does the same to the same event.

    `duplicates` and `lose` are probabilities from 0 to 1: that an event is delivered twice, and
    that it never is. `reorder` is the number of later events that may overtake one, among those
    that are due together. `delay` is the most seconds that a delivery waits.
    """

    duplicates: float = 0.0
    reorder: int = 0
    delay: float = 0.0
    lose: float = 0.0
    seed: int = 0

    def plan(self, event: int) -> list[PlannedDelivery]:
        """Return the deliveries of the event with this number."""
        if not (self.duplicates or self.reorder or self.delay or self.lose):
            return [PlannedDelivery(event, 0)]
        # Drawn from the event's own number, so that no draw depends on who delivers when.
        chance = random.Random(f"{self.seed}/{event}")  # noqa: S311 -- no secret hangs on it
        if chance.random() < self.lose:
            return [PlannedDelivery(event, None)]
        times = 2 if chance.random() < self.duplicates else 1
        return [
            PlannedDelivery(
                event + chance.uniform(0, self.reorder),
                int(chance.uniform(0, self.delay) * 1_000_000),
            )
            for _ in range(times)
        ]


WELL_BEHAVED = Misbehaviour()


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that takes events, the secrets they are signed with, and what goes wrong.

    Several secrets are all active, as while one replaces another. `milliseconds` is the unit of
    the signature's timestamp.
    """

    address: str
    secrets: tuple[str, ...]
    milliseconds: bool = False
    misbehaviour: Misbehaviour = WELL_BEHAVED

    def to_json(self) -> dict[str, Any]:
        """Return the webhook as the admin endpoint takes it."""
        return {
            "address": self.address,
            "secrets": list(self.secrets),
            "milliseconds": self.milliseconds,
            **asdict(self.misbehaviour),
        }

    def shown(self) -> dict[str, Any]:
        """Return the webhook as the admin endpoint shows it: of the secrets only how many."""
        return {**self.to_json(), "secrets": len(self.secrets)}


def parse_webhook(body: Mapping[str, Any]) -> Webhook:
    """Return the webhook that a JSON object describes; raises RefusedError when it makes no sense.

    The fields that are left out mean good behaviour; `address` and `secrets` are required.
    """
    for name in body:
        if name not in FIELDS:
            raise RefusedError("unknown_parameter", str(name)[:80], "A webhook has no such field.")
    milliseconds = body.get("milliseconds", False)
    if not isinstance(milliseconds, bool):
        raise RefusedError("invalid_parameter", "milliseconds", "The value is true or false.")
    return Webhook(
        address=_address(body.get("address")),
        secrets=_secrets(body.get("secrets")),
        milliseconds=milliseconds,
        misbehaviour=Misbehaviour(
            duplicates=float(_number(body, "duplicates", 1)),
            reorder=_whole(body, "reorder", LARGEST_WINDOW),
            delay=float(_number(body, "delay", LONGEST_DELAY)),
            lose=float(_number(body, "lose", 1)),
            seed=_whole(body, "seed", LARGEST_SEED),
        ),
    )


def _address(value: object) -> str:
    try:
        parts = urlsplit(str(value or ""))
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        message = "The address starts with http:// or https:// and names a host."
        raise RefusedError("invalid_parameter", "address", message)
    return str(value)


def _secrets(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise RefusedError("missing_parameter", "secrets", "At least one secret is required.")
    if not all(isinstance(secret, str) and secret for secret in value):
        raise RefusedError("invalid_parameter", "secrets", "Each secret is a text, not empty.")
    return tuple(value)


def _number(body: Mapping[str, Any], name: str, most: int) -> Decimal:
    value = body.get(name)
    if value is None:
        return Decimal(0)
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise RefusedError("invalid_format", name, "The value must be a number.") from error
    if not number.is_finite() or not 0 <= number <= most:
        raise RefusedError("invalid_parameter", name, f"The value is from 0 to {most}.")
    return number


def _whole(body: Mapping[str, Any], name: str, most: int) -> int:
    number = _number(body, name, most)
    if number != int(number):
        raise RefusedError("invalid_integer", name, "The value must be a whole number.")
    return int(number)
