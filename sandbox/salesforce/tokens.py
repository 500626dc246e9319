"""Signing in: the two OAuth flows of an integration, and the tokens they end in.

A token carries when it ends and is signed with the organisation's key, so that any process that
serves the same state file can check it.

https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_client_credentials_flow.htm
https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_jwt_flow.htm
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

import jwt

from sandbox.salesforce.errors import SalesforceRefusal, SignInRefusal
from sandbox.salesforce.organisation import Organisation

ORGANISATION_ID = "00D5g0000000001EAA"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_ASSERTION = 300
"""Seconds that an assertion may have to go. Salesforce wants three minutes, and is lenient."""
_AUDIENCE = re.compile(r"https://(?:login|test|[a-z0-9.-]+\.my|[a-z0-9-]+)\.salesforce\.com")


def sign_in(
    organisation: Organisation, form: Mapping[str, str], authorization: str, host: str
) -> dict[str, object]:
    """Return the body of a granted token request; raises SignInRefusal."""
    match form.get("grant_type"):
        case "client_credentials":
            user = _client_credentials(organisation, form, authorization, host)
        case grant if grant == JWT_BEARER:
            user = _assertion(organisation, form.get("assertion", ""))
        case _:
            raise SignInRefusal("unsupported_grant_type", "grant type not supported")
    token = issue(organisation, user)
    return {
        "access_token": token,
        "scope": "api",
        "instance_url": f"https://{host}",
        "id": f"https://{host}/id/{ORGANISATION_ID}/{user}",
        "token_type": "Bearer",
    }


def _client_credentials(
    organisation: Organisation, form: Mapping[str, str], authorization: str, host: str
) -> str:
    shape = organisation.shape
    if host in ("login.salesforce.com", "test.salesforce.com"):
        raise SignInRefusal("invalid_grant", "request not supported on this domain")
    key, secret = _credentials(form, authorization)
    if key != shape.consumer_key:
        raise SignInRefusal("invalid_client_id", "client identifier invalid")
    if not hmac.compare_digest(secret.encode(), shape.consumer_secret.encode()):
        raise SignInRefusal("invalid_client", "invalid client credentials")
    active = [
        user["Username"]
        for user in organisation.find("User", "IsActive", "true")
        if user["Username"] in shape.approved
    ]
    if not active:
        raise SignInRefusal("invalid_grant", "no client credentials user enabled")
    return sorted(active)[0]


def _credentials(form: Mapping[str, str], authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    key, _, secret = text.partition(":")
    return key, secret


def _assertion(organisation: Organisation, assertion: str) -> str:
    shape = organisation.shape
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise SignInRefusal("invalid_grant", "invalid assertion") from error
    if claims.get("iss") != shape.consumer_key:
        raise SignInRefusal("invalid_client_id", "client identifier invalid")
    _check_signature(assertion, shape.public_key)
    if not _AUDIENCE.fullmatch(str(claims.get("aud"))):
        raise SignInRefusal("invalid_grant", "audience is invalid")
    left = _seconds(claims.get("exp")) - int(organisation.now().timestamp())
    if left <= 0:
        raise SignInRefusal("invalid_grant", "expired authorization code")
    if left > LONGEST_ASSERTION:
        raise SignInRefusal("invalid_grant", "invalid assertion")
    username = str(claims.get("sub", ""))
    users = organisation.find("User", "Username", username)
    if not users or username not in shape.approved:
        raise SignInRefusal("invalid_grant", "user hasn't approved this consumer")
    if users[0]["IsActive"] != "true":
        raise SignInRefusal("inactive_user", "user is inactive")
    return username


def _check_signature(assertion: str, public_key: str) -> None:
    try:
        # Of its claims, the times go by the organisation's clock.
        jwt.decode(
            assertion,
            public_key,
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise SignInRefusal("invalid_grant", "invalid assertion") from error


def _seconds(value: object) -> int:
    # simple-salesforce writes it as a text, and Salesforce takes it.
    try:
        return int(str(value))
    except ValueError:
        return 0


def issue(organisation: Organisation, user: str) -> str:
    """Return a token for a user, from now."""
    ends = int(organisation.now().timestamp()) + organisation.shape.token_seconds
    said = base64.urlsafe_b64encode(f"{organisation.sessions} {ends} {user}".encode()).decode()
    return f"{ORGANISATION_ID[:15]}!{said}.{_signature(organisation, said)}"


def check(organisation: Organisation, authorization: str) -> None:
    """Raise SalesforceRefusal unless an Authorization header brings a token that holds."""
    scheme, _, token = authorization.partition(" ")
    said, _, signature = token.partition("!")[2].rpartition(".")
    if scheme.lower() in ("bearer", "oauth") and hmac.compare_digest(
        signature.encode(), _signature(organisation, said).encode()
    ):
        sessions, ends, _ = base64.urlsafe_b64decode(said).decode().split(" ", 2)
        if int(sessions) == organisation.sessions and int(ends) > organisation.now().timestamp():
            return
    raise SalesforceRefusal(401, "INVALID_SESSION_ID", "Session expired or invalid")


def _signature(organisation: Organisation, said: str) -> str:
    return hmac.new(organisation.key.encode(), said.encode(), hashlib.sha256).hexdigest()[:32]
