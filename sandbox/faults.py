"""The ways the stand-in can be told to misbehave.

A fault is queued for the next matching requests (`POST /_sandbox/faults`), or carried by one
request in the header `X-Sandbox-Fault`, as `kind` or `kind;option=value;option=value`, several
of them separated by commas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from sandbox.errors import ERROR_TYPES, RefusedError

HEADER = "X-Sandbox-Fault"
LARGEST_TIMES = 1_000_000
LONGEST_WAIT = 600_000


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    """The answer takes `milliseconds`; the work is done before the wait."""
    RATE_LIMITED = "rate-limited"
    """429 with `Retry-After: retryAfter`; nothing is done."""
    ERROR = "error"
    """An error of `status` in Digital River's shape; nothing is done."""
    ERROR_AFTER = "error-after"
    """An error of `status` in Digital River's shape, although everything was done."""
    CONNECTION_REFUSED = "connection-refused"
    """No connection. A server that listens can only hang up, so this is exact in-process only."""
    LOST_BEFORE = "lost-before"
    """No answer, and nothing was done. `how` is `disconnect` or `timeout` (in-process)."""
    LOST_AFTER = "lost-after"
    """No answer, and everything was done. `how` as above."""
    MALFORMED = "malformed"
    """Everything was done; the body breaks off in the middle."""
    WRONG_SHAPE = "wrong-shape"
    """Everything was done; the body is JSON of another shape."""
    RUBBISH = "rubbish"
    """Everything was done; the body is a page of some proxy's, and not even text."""
    OTHER_AMOUNT = "other-amount"
    """A refund is made for less than asked: for `amount`, or for one minor unit less."""


class AnswerLostError(ConnectionError):
    """The connection ends before an answer."""

    def __init__(self, how: str) -> None:
        """Take the way in which it is lost: disconnect or timeout."""
        super().__init__("the stand-in was told to lose the answer")
        self.how = how


class RefusedConnectionError(ConnectionError):
    """The connection was never opened."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour, for `times` requests whose method and path match.

    `path` is a pattern in which * stands for anything; None matches every request.
    """

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    times: int = 1
    milliseconds: int = 0
    retry_after: int = 1
    status: int = 500
    how: str = "disconnect"
    amount: Decimal | None = None

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one that this fault is for."""
        return (self.method is None or self.method == method) and (
            self.path is None or fnmatchcase(path, self.path)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fault as the admin endpoint takes it."""
        return {
            "kind": self.kind.value,
            "method": self.method,
            "path": self.path,
            "times": self.times,
            "milliseconds": self.milliseconds,
            "retryAfter": self.retry_after,
            "status": self.status,
            "how": self.how,
            "amount": None if self.amount is None else str(self.amount),
        }


FIELDS = frozenset(
    ("kind", "method", "path", "times", "milliseconds", "retryAfter", "status", "how", "amount")
)


def parse_fault(body: Mapping[str, Any]) -> Fault:
    """Return the fault that a JSON object describes; raises RefusedError when it makes no sense."""
    for name in body:
        if name not in FIELDS:
            raise RefusedError("unknown_parameter", str(name), "A fault has no such field.")
    try:
        kind = FaultKind(str(body.get("kind")))
    except ValueError as error:
        kinds = ", ".join(FaultKind)
        raise RefusedError("invalid_parameter", "kind", f"The kind is one of {kinds}.") from error
    status = _integer(body, "status", 500, 400, 599)
    if status not in ERROR_TYPES:
        raise RefusedError("invalid_parameter", "status", "Digital River has no such error.")
    how = body.get("how") or "disconnect"
    if how not in ("disconnect", "timeout"):
        raise RefusedError(
            "invalid_parameter", "how", "An answer is lost by disconnect or timeout."
        )
    method, path = body.get("method"), body.get("path")
    return Fault(
        kind=kind,
        method=str(method).upper() if method is not None else None,
        path=str(path) if path is not None else None,
        times=_integer(body, "times", 1, 1, LARGEST_TIMES),
        milliseconds=_integer(body, "milliseconds", 0, 0, LONGEST_WAIT),
        retry_after=_integer(body, "retryAfter", 1, 0, 86_400),
        status=status,
        how=str(how),
        amount=_amount(body.get("amount")),
    )


def parse_header(value: str) -> list[Fault]:
    """Return the faults that a header carries; raises RefusedError when one makes no sense."""
    faults = []
    for entry in filter(None, (part.strip() for part in value.split(","))):
        kind, *options = (part.strip() for part in entry.split(";"))
        body: dict[str, Any] = {"kind": kind}
        for option in options:
            name, _, setting = option.partition("=")
            body[name.strip()] = setting.strip()
        faults.append(parse_fault(body))
    return faults


def _integer(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    try:
        number = int(str(value))
    except ValueError as error:
        raise RefusedError("invalid_integer", name, "The value must be a whole number.") from error
    if not least <= number <= most:
        raise RefusedError("invalid_parameter", name, f"The value is from {least} to {most}.")
    return number


def _amount(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise RefusedError("invalid_format", "amount", "The amount must be a number.") from error
    if not amount.is_finite() or amount <= 0 or amount.adjusted() > 15:
        raise RefusedError("invalid_parameter", "amount", "The amount must be greater than 0.")
    return amount
