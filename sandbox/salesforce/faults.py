"""The ways the Salesforce stand-in can be told to misbehave.

A fault is queued for the next matching requests (`POST /_sandbox/salesforce/faults`,
`Organisation.queue_fault`), or carried by one request in the header `X-Sandbox-Fault`, as
`kind;option=value;option=value`, several of them separated by commas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from sandbox.salesforce.errors import SalesforceRefusal

HEADER = "X-Sandbox-Fault"
MOST = 1_000_000


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    """The answer takes `milliseconds`; the work is done before the wait."""
    ERROR = "error"
    """The error `code`, by its usual status or by `status`; nothing is done."""
    ERROR_AFTER = "error-after"
    """The same, although everything was done."""
    CONNECTION_REFUSED = "connection-refused"
    """No connection. A server that listens can only hang up, so this is exact in-process only."""
    LOST_BEFORE = "lost-before"
    """No answer, and nothing was done. `how` is `disconnect` or `timeout` (in-process)."""
    LOST_AFTER = "lost-after"
    """No answer, and everything was done. `how` as above."""
    BREAKS_OFF = "breaks-off"
    """The connection dies in the middle of the body."""
    CUT_SHORT = "cut-short"
    """The body ends in the middle and nothing says so, as some proxies leave it."""
    PROXY_PAGE = "proxy-page"
    """A page of some proxy's in the place of the answer, with `status`; nothing is done."""
    JOB_FAILS = "job-fails"
    """The bulk job that this request makes ends as Failed."""


NO_SUCH_COLUMN = (
    "No such column 'Nonsense__c' on entity 'Order'. If you are attempting to use a custom field, "
    "be sure to append the '__c' after the custom field name. Please reference your WSDL or the "
    "describe call for the appropriate names."
)
USUAL: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "INVALID_SESSION_ID": (401, "Session expired or invalid"),
        "REQUEST_LIMIT_EXCEEDED": (403, "TotalRequests Limit exceeded."),
        "API_DISABLED_FOR_ORG": (403, "API is not enabled for this Organization or Partner"),
        "INSUFFICIENT_ACCESS": (403, "You don't have access to the record."),
        "INSUFFICIENT_ACCESS_OR_READONLY": (
            400,
            "insufficient access rights on object id",
        ),
        "MALFORMED_QUERY": (400, "unexpected token: 'SELECT'"),
        "INVALID_FIELD": (400, NO_SUCH_COLUMN),
        "INVALID_TYPE": (400, "sObject type 'Order' is not supported."),
        "INVALID_QUERY_LOCATOR": (400, "invalid query locator"),
        "QUERY_TIMEOUT": (400, "Your query request was running for too long."),
        "UNABLE_TO_LOCK_ROW": (400, "unable to obtain exclusive access to this record"),
        "SERVER_UNAVAILABLE": (503, "The server is currently unavailable, try again later."),
        "UNKNOWN_EXCEPTION": (500, "An unexpected error occurred. Please include this ErrorId."),
    }
)
"""The status and the message that usually come with an error code."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour, for `times` requests whose method and path match, after the first `skip`.

    `path` is a pattern in which * stands for anything ("*/results" for a job's pages); None
    matches every request. The page of a long result that dies is told by `skip`: 36 for page 37.
    """

    kind: FaultKind
    method: str | None = None
    path: str | None = None
    times: int = 1
    skip: int = 0
    milliseconds: int = 0
    code: str = "UNKNOWN_EXCEPTION"
    status: int | None = None
    how: str = "disconnect"

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one that this fault is for."""
        return (self.method is None or self.method == method) and (
            self.path is None or fnmatchcase(path, self.path)
        )

    def refusal(self) -> SalesforceRefusal:
        """Return the error that it gives."""
        status, message = USUAL.get(self.code, (400, self.code))
        return SalesforceRefusal(self.status or status, self.code, message)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as the admin endpoint takes it."""
        return {**asdict(self), "kind": self.kind.value}


def parse_fault(body: Mapping[str, Any]) -> Fault:
    """Return the fault that a JSON object describes; raises SalesforceRefusal on nonsense."""
    unknown = set(body) - set(Fault.__dataclass_fields__)
    if unknown:
        raise _nonsense(f"A fault has no field {sorted(unknown)[0]}.")
    try:
        kind = FaultKind(str(body.get("kind")))
        numbers = {
            name: int(str(body[name]))
            for name in ("times", "skip", "milliseconds", "status")
            if body.get(name) is not None
        }
    except ValueError as error:
        raise _nonsense(str(error)) from error
    if any(not 0 <= number <= MOST for number in numbers.values()):
        raise _nonsense(f"Numbers of a fault are from 0 to {MOST}.")
    texts = {
        name: str(body[name])
        for name in ("method", "path", "code", "how")
        if body.get(name) is not None
    }
    if texts.get("how", "disconnect") not in ("disconnect", "timeout"):
        raise _nonsense("An answer is lost by disconnect or timeout.")
    return Fault(kind, **{**texts, **numbers})  # type: ignore[arg-type]


def parse_header(value: str) -> list[Fault]:
    """Return the faults that a header carries; raises SalesforceRefusal on nonsense."""
    faults = []
    for entry in filter(None, (part.strip() for part in value.split(","))):
        kind, *options = (part.strip() for part in entry.split(";"))
        settings = (option.partition("=") for option in options)
        faults.append(
            parse_fault(
                {"kind": kind} | {name.strip(): setting.strip() for name, _, setting in settings}
            )
        )
    return faults


def _nonsense(message: str) -> SalesforceRefusal:
    return SalesforceRefusal(400, "INVALID_FAULT", message)
