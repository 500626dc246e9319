"""Signing in to Salesforce by OAuth: client credentials with a secret, or a JWT with a key.

simple-salesforce writes both requests; what comes back is judged here before it reads it, for it
takes a page of a proxy for an answer and an answer without a token for a session.

https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_client_credentials_flow.htm
https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_jwt_flow.htm
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import requests
from simple_salesforce.exceptions import SalesforceAuthenticationFailed
from simple_salesforce.login import SalesforceLogin

from refunds.salesforce.errors import SignInRefused, Unreachable
from refunds.salesforce.refusals import from_network, unreadable

#: A JWT is good for three minutes; clocks further apart than this can keep it from being so.
_CLOCKS_APART: Final = timedelta(seconds=90)
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_WORD: Final = re.compile(r"[a-z_]{1,60}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the desk signs in with: a secret, or a private key (PEM) and a username.

    ``domain`` is the part of the address before ``.salesforce.com``: the My Domain name
    (``acme.my``), or ``login`` or ``test`` with a private key.
    """

    domain: str
    consumer_key: str
    consumer_secret: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    username: str = ""

    def __post_init__(self) -> None:
        if not self.domain or not self.consumer_key:
            raise ValueError("domain and consumer_key must be set")
        if bool(self.consumer_secret) == bool(self.private_key):
            raise ValueError("either consumer_secret or private_key must be set")
        if self.private_key and not self.username:
            raise ValueError("username must be set with private_key")


@dataclass(frozen=True, slots=True)
class Session:
    """What Salesforce gave: a token, and the host that takes it."""

    token: str = field(repr=False)
    host: str


def sign_in(
    credentials: Credentials, http: requests.Session, *, clock: Callable[[], datetime]
) -> Session:
    """Ask Salesforce for a session.

    Raises ``SignInRefused``, ``Unreachable`` and ``UnreadableAnswer``.
    """
    by_key = bool(credentials.private_key)
    door = _TokenDoor(http, credentials, clock)
    try:
        token, host = SalesforceLogin(
            session=door,
            domain=credentials.domain,
            consumer_key=credentials.consumer_key,
            consumer_secret=None if by_key else credentials.consumer_secret,
            privatekey=credentials.private_key if by_key else None,
            username=credentials.username if by_key else None,
        )
    except requests.RequestException as error:
        raise from_network(error, sending=False) from None
    except SalesforceAuthenticationFailed:
        # The door lets through what has a token; this one asked for it in a wrong way.
        raise SignInRefused(_GENERAL.format(code="no flow fits")) from None
    return Session(token=str(token), host=str(host).rstrip("/"))


class _TokenDoor(requests.Session):
    """Sends the one request for a token, and lets through only an answer that has one."""

    def __init__(
        self, http: requests.Session, credentials: Credentials, clock: Callable[[], datetime]
    ) -> None:
        super().__init__()
        self._http = http
        self._credentials = credentials
        self._clock = clock

    def post(  # type: ignore[override]  # the library calls it with just these
        self,
        url: str,
        data: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None,
        proxies: Mapping[str, str] | None,
    ) -> requests.Response:
        answer = self._http.post(url, data=data, headers=headers)
        status = answer.status_code
        if status >= 500:
            raise Unreachable(
                f"Salesforce cannot sign the desk in at the moment (answer {status}). Try again "
                "in a few minutes; https://status.salesforce.com tells more.",
                status=status,
            )
        try:
            told = answer.json()
        except requests.exceptions.JSONDecodeError:
            raise unreadable(status=status) from None
        if not isinstance(told, dict):
            raise unreadable(status=status)
        if status != 200:
            raise self._refused(told, answer)
        if not _has_session(told):
            raise unreadable(status=status)
        return answer

    def _refused(self, told: Mapping[str, object], answer: requests.Response) -> SignInRefused:
        code, words = str(told.get("error", "")), str(told.get("error_description", ""))
        code = code if _WORD.fullmatch(code) else ""
        if self._credentials.private_key and code == "invalid_grant":
            sentence = _clock_is_off(words, answer, self._clock())
            if sentence:
                return SignInRefused(sentence, code=code, status=answer.status_code)
        for known_code, beginning, meaning in _REFUSALS:
            if code == known_code and words.casefold().startswith(beginning):
                return SignInRefused(_REFUSED + meaning, code=code, status=answer.status_code)
        sentence = _GENERAL.format(code=code or f"answer {answer.status_code}")
        return SignInRefused(sentence, code=code, status=answer.status_code)


def answered_at(answer: requests.Response) -> datetime | None:
    """Return the time of an answer by Salesforce's clock, to the second."""
    try:
        moment = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clocks_apart(ours: datetime, theirs: datetime) -> str:
    """Return how far this server's clock is from Salesforce's, as words."""
    seconds = round((ours - theirs).total_seconds())
    amount = abs(seconds)
    words = f"{amount} seconds" if amount < 120 else f"{round(amount / 60)} minutes"
    return f"{words} {'ahead of' if seconds > 0 else 'behind'} Salesforce's"


def _clock_is_off(words: str, answer: requests.Response, ours: datetime) -> str:
    """Return the sentence for a JWT that came too late or too early, or nothing."""
    theirs = answered_at(answer)
    apart = theirs is not None and abs(ours - theirs) >= _CLOCKS_APART
    if not apart and "expired" not in words.casefold():
        return ""
    off = "off"
    if theirs is not None and apart:
        off = clocks_apart(ours, theirs)
    return (
        f"Salesforce refused the sign-in: this server's clock is {off}. Set the clock (NTP), then "
        "try again."
    )


def _has_session(told: Mapping[str, object]) -> bool:
    token, address = told.get("access_token"), told.get("instance_url")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not isinstance(address, str):
        return False
    parts = urlsplit(address)
    bare = not parts.path.strip("/") and not parts.query and not parts.fragment
    return parts.scheme in ("https", "http") and bare and bool(_HOST.fullmatch(parts.netloc))


_REFUSED: Final = "Salesforce refused the sign-in: "
_GENERAL: Final = (
    "Salesforce refused the sign-in ({code}). Check the connected app and the SALESFORCE_ settings."
)
_NOT_APPROVED: Final = (
    "the integration user is not approved for the connected app. Set the app to “Admin approved "
    "users are pre-authorized” and give the user a permission set that holds it."
)
_INACTIVE: Final = "the integration user is inactive. Activate the user in Salesforce."
_UNKNOWN_KEY: Final = (
    "it does not know the consumer key. Check SALESFORCE_CONSUMER_KEY and SALESFORCE_DOMAIN; a new "
    "connected app takes ten minutes to work."
)
_WRONG_CREDENTIALS: Final = "the consumer secret is wrong. Check SALESFORCE_CONSUMER_SECRET."
_WRONG_AUDIENCE: Final = (
    "SALESFORCE_DOMAIN is not where the user signs in. Set it to login, to test for a sandbox, or "
    "to the My Domain name."
)
_WRONG_CERTIFICATE: Final = (
    "the key in SALESFORCE_PRIVATE_KEY_FILE does not belong to the certificate of the connected "
    "app. Upload the certificate of this key there."
)
_NO_RUN_AS: Final = (
    "the connected app has no user for the client credentials flow. Set “Run As” in the app's "
    "policies."
)
_NOT_MY_DOMAIN: Final = "SALESFORCE_DOMAIN must be the My Domain name, such as acme.my."
_ADDRESS: Final = (
    "this server's address is not among those allowed. Add it to the connected app's or the "
    "user's profile's."
)
#: Salesforce's error, the beginning of its description, and what it means.
_REFUSALS: Final = (
    ("invalid_client_id", "", _UNKNOWN_KEY),
    ("invalid_client", "", _WRONG_CREDENTIALS),
    ("invalid_grant", "user hasn't approved", _NOT_APPROVED),
    ("invalid_grant", "inactive user", _INACTIVE),
    ("invalid_grant", "audience", _WRONG_AUDIENCE),
    ("invalid_grant", "invalid assertion", _WRONG_CERTIFICATE),
    ("invalid_grant", "no client credentials user", _NO_RUN_AS),
    ("invalid_grant", "request not supported on this domain", _NOT_MY_DOMAIN),
    ("invalid_grant", "ip restricted", _ADDRESS),
    ("invalid_app_access", "", _NOT_APPROVED),
    ("inactive_user", "", _INACTIVE),
    ("inactive_org", "", "the organisation is locked or has expired. Ask its administrator."),
)
