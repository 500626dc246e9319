"""From what went wrong on the wire to the desk's own errors, each with its sentence.

Of Salesforce's answer only its errorCode and the names of fields and objects are taken over:
its message may repeat the query, and with it what a customer wrote.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import requests
from simple_salesforce.exceptions import SalesforceError as WireError
from urllib3.exceptions import NewConnectionError

from refunds.salesforce.errors import (
    FieldMissing,
    LimitReached,
    LocatorExpired,
    QueryRefused,
    RecordLocked,
    RightMissing,
    SalesforceError,
    Unanswered,
    Unreachable,
    UnreadableAnswer,
)
from refunds.salesforce.wire import AnswerTooLargeError, RedirectedError

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{1,80}")
#: A bulk job gives a code of its own and tells the real one at the beginning of its words.
_CODE_AHEAD: Final = re.compile(r"\s*([A-Z]{3,}[A-Z0-9_]*)\s*:")
_NO_COLUMN: Final = re.compile(
    r"No such column '([\w.]{1,255})' on (?:entity|sobject of type) '?(\w+)"
)
_NO_RELATION: Final = re.compile(r"Didn't understand relationship '(\w{1,255})'")
_NO_OBJECT: Final = re.compile(r"sObject type '(\w{1,255})' is not supported")


@dataclass(frozen=True, slots=True)
class Said:
    """What an error answer of Salesforce says. ``words`` is for reading only, never for showing."""

    code: str
    words: str


def said(content: object) -> Said:
    """Read the parsed body of an error answer; one that is none of Salesforce's has no code."""
    first: object = content
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        first = content[0] if content else None
    if not isinstance(first, Mapping):
        return Said("", "")
    code, words = first.get("errorCode"), first.get("message")
    words = words if isinstance(words, str) else ""
    code = code if isinstance(code, str) and _CODE.fullmatch(code) else ""
    if (ahead := _CODE_AHEAD.match(words)) and code:
        code = ahead.group(1)
    return Said(code, words)


def session_is_over(error: WireError) -> bool:
    """Tell whether Salesforce no longer takes the session: it was not done, and can be again."""
    return error.status == 401 or said(error.content).code == "INVALID_SESSION_ID"


def from_answer(error: WireError, *, sending: bool) -> SalesforceError:
    """Return what an answer of 300 and above means; ``sending`` for one that may have been done."""
    heard = said(error.content)
    status = error.status
    known = _known(heard, status)
    if known is not None:
        return known
    if status >= 500 or not heard.code:
        if sending and status >= 500:
            return Unanswered(_UNANSWERED, code=heard.code, status=status)
        sentence = _UNWELL if status >= 500 else _IN_BETWEEN
        return Unreachable(sentence.format(status=status), code=heard.code, status=status)
    return QueryRefused(
        f"Salesforce does not take what the desk asked ({heard.code}, answer {status}). Tell an "
        "administrator; `manage.py check_salesforce` may show why.",
        code=heard.code,
        status=status,
    )


def from_network(error: requests.RequestException, *, sending: bool) -> SalesforceError:
    """Return what a call without a readable answer means."""
    if isinstance(error, RedirectedError):
        return Unreachable(_LED_ELSEWHERE, code="REDIRECT")
    if _never_opened(error):
        return Unreachable(_NOT_CONNECTED)
    if sending:
        return Unanswered(_UNANSWERED)
    if isinstance(error, AnswerTooLargeError):
        return UnreadableAnswer(
            "Salesforce's answer is larger than the desk reads. Tell an administrator.",
            code="TOO_LARGE",
        )
    if isinstance(error, requests.exceptions.InvalidJSONError):
        return unreadable()
    return Unreachable("Salesforce did not answer in full. Try again in a few minutes.")


def unreadable(*, status: int | None = 200) -> UnreadableAnswer:
    """Say that an answer makes no sense."""
    return UnreadableAnswer(
        "Salesforce's answer makes no sense to the desk. Check SALESFORCE_DOMAIN, SALESFORCE_URL "
        "and the proxy, or tell an administrator if this stays so.",
        status=status,
    )


_UNANSWERED: Final = (
    "Salesforce did not answer, so it is not known whether the record was made. It must be looked "
    "up before it is sent again."
)
_UNWELL: Final = (
    "Salesforce cannot answer at the moment (answer {status}). Try again in a few minutes; "
    "https://status.salesforce.com tells more."
)
_IN_BETWEEN: Final = (
    "Something between the desk and Salesforce answered in its place (answer {status}). Check "
    "SALESFORCE_DOMAIN, SALESFORCE_URL and the proxy."
)
_LED_ELSEWHERE: Final = (
    "Salesforce's address leads elsewhere, where the desk does not follow. Check SALESFORCE_DOMAIN "
    "and SALESFORCE_URL."
)
_NOT_CONNECTED: Final = (
    "Salesforce cannot be reached, so nothing was sent. Check the network, SALESFORCE_DOMAIN and "
    "SALESFORCE_URL, and try again in a few minutes."
)
_LOCKED: Final = "Salesforce's record is locked by somebody else's change. Try again in a minute."
_LIMIT: Final = (
    "The organisation's Salesforce API calls of the last 24 hours are used up. They come back by "
    "themselves; Setup, System Overview shows who uses them."
)
_BUSY: Final = "Salesforce has too many calls at once to answer this one. Try again in a minute."
_EXPIRED: Final = "Salesforce no longer keeps the rest of what was asked. It is asked anew."
_MALFORMED: Final = (
    "Salesforce does not understand the desk's query. Check SALESFORCE_NAMESPACE and "
    "SALESFORCE_API_VERSION, or tell an administrator."
)

#: What a code means by itself; whatever was asked, it was not done.
_KINDS: Final[Mapping[str, tuple[type[SalesforceError], str]]] = {
    "INVALID_LOCATOR": (LocatorExpired, _EXPIRED),
    "INVALID_QUERY_LOCATOR": (LocatorExpired, _EXPIRED),
    "MALFORMED_QUERY": (QueryRefused, _MALFORMED),
    "REQUEST_LIMIT_EXCEEDED": (LimitReached, _LIMIT),
    "UNABLE_TO_LOCK_ROW": (RecordLocked, _LOCKED),
}
_RIGHT_CODES: Final = frozenset(
    {
        "API_CURRENTLY_DISABLED",
        "API_DISABLED_FOR_ORG",
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        "FUNCTIONALITY_NOT_ENABLED",
        "INSUFFICIENT_ACCESS",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_TYPE",
        "NOT_FOUND",
    }
)


def _known(heard: Said, status: int) -> SalesforceError | None:
    """Return the error of an answer that the desk knows; whatever was asked, it was not done."""
    code = heard.code
    if code == "REQUEST_LIMIT_EXCEEDED" and heard.words.startswith("Concurrent"):
        return Unreachable(_BUSY, code=code, status=status)
    if missing := _missing_field(heard, status):
        return missing
    if code in _KINDS:
        kind, sentence = _KINDS[code]
        return kind(sentence, code=code, status=status)
    if code in _RIGHT_CODES or _NO_OBJECT.search(heard.words) or (status == 403 and code):
        return _missing_right(heard, status)
    return None


def _missing_field(heard: Said, status: int) -> FieldMissing | None:
    """Return which field is missing; every other INVALID_FIELD leaves the name empty."""
    field = sobject = ""
    if found := _NO_COLUMN.search(heard.words):
        field, sobject = found.group(1), found.group(2)
    elif found := _NO_RELATION.search(heard.words):
        field = found.group(1)
    elif heard.code != "INVALID_FIELD":
        return None
    name = f"The field {field}" if field else "A field"
    place = f" of {sobject}" if sobject else ""
    return FieldMissing(
        f"{name}{place} is not there, or the integration user may not read it. Run `manage.py "
        "check_salesforce`, and give the user the right or set SALESFORCE_NAMESPACE.",
        field=field,
        sobject=sobject,
        code=heard.code,
        status=status,
    )


def _missing_right(heard: Said, status: int) -> RightMissing:
    found = _NO_OBJECT.search(heard.words)
    what = f"read {found.group(1)} in Salesforce" if found else "do this in Salesforce"
    if heard.code in ("API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"):
        what = "use Salesforce's API (API Enabled)"
    return RightMissing(
        f"The integration user may not {what} ({heard.code}). Run `manage.py check_salesforce` to "
        "see which right is missing.",
        code=heard.code,
        status=status,
    )


def _never_opened(error: requests.RequestException) -> bool:
    """Tell whether the connection was never opened, so that nothing can have been sent."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)
