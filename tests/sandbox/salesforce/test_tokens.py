"""Signing in as Salesforce lets one in, and what it says when it does not."""

from __future__ import annotations

import base64
import time
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from simple_salesforce.exceptions import SalesforceAuthenticationFailed

from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.shape import CONSUMER_KEY, INTEGRATION_USER
from tests.sandbox.conftest import Clock
from tests.sandbox.salesforce.conftest import get, signed_in

TOKEN = "https://acme.my.salesforce.com/services/oauth2/token"


def pair() -> tuple[str, str]:
    """Return a private and a public key, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


PRIVATE, PUBLIC = pair()


@pytest.fixture
def jwt_organisation(organisation: Organisation) -> Organisation:
    organisation.reshape(public_key=PUBLIC)
    return organisation


def assertion(clock: Clock, *, key: str = PRIVATE, **changes: Any) -> str:
    claims = {
        "iss": CONSUMER_KEY,
        "sub": INTEGRATION_USER,
        "aud": "https://login.salesforce.com",
        "exp": str(int(clock().timestamp()) + 180),
    }
    return jwt.encode({**claims, **changes}, key, algorithm="RS256")


def ask(session: requests.Session, token: str) -> dict[str, str]:
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": token}
    answer: dict[str, str] = session.post(TOKEN, form).json()
    return answer


def test_client_credentials_sign_in(both_ways: requests.Session) -> None:
    salesforce = signed_in(both_ways)

    assert salesforce.query("SELECT Id FROM User")["totalSize"] == 7


def test_client_credentials_may_stand_in_the_form(session: requests.Session) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": CONSUMER_KEY,
        "client_secret": "stand-in-consumer-secret",
    }
    answer = session.post(TOKEN, form).json()

    assert answer["instance_url"] == "https://acme.my.salesforce.com"
    assert answer["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"consumer_key": "another"}, "invalid_client_id"),
        ({"consumer_secret": "another"}, "invalid_client"),
    ],
)
def test_wrong_credentials_are_refused(
    session: requests.Session, changes: dict[str, str], code: str
) -> None:
    with pytest.raises(SalesforceAuthenticationFailed) as caught:
        signed_in(session, **changes)

    assert caught.value.code == code


def test_credentials_that_are_no_base64_are_refused(session: requests.Session) -> None:
    answer = session.post(
        TOKEN, {"grant_type": "client_credentials"}, headers={"Authorization": "Basic ~~"}
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_id")


def test_client_credentials_want_a_domain_of_ones_own(session: requests.Session) -> None:
    basic = base64.b64encode(f"{CONSUMER_KEY}:stand-in-consumer-secret".encode()).decode()
    answer = session.post(
        "https://login.salesforce.com/services/oauth2/token",
        {"grant_type": "client_credentials"},
        headers={"Authorization": f"Basic {basic}"},
    )

    assert answer.json()["error_description"] == "request not supported on this domain"


def test_client_credentials_want_a_user_who_may(
    session: requests.Session, organisation: Organisation
) -> None:
    organisation.reshape(approved=frozenset())

    with pytest.raises(SalesforceAuthenticationFailed, match="no client credentials user"):
        signed_in(session)


def test_other_grants_are_refused(session: requests.Session) -> None:
    answer = session.post(TOKEN, {"grant_type": "password"})

    assert answer.json()["error"] == "unsupported_grant_type"


def test_jwt_signs_in_by_the_organisations_clock(
    session: requests.Session, jwt_organisation: Organisation, clock: Clock
) -> None:
    assert ask(session, assertion(clock))["access_token"]


def test_jwt_of_simple_salesforce_signs_in(
    session: requests.Session,
    jwt_organisation: Organisation,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock.move(seconds=time.time() - clock().timestamp())
    salesforce = signed_in(
        session, username=INTEGRATION_USER, privatekey=PRIVATE, consumer_secret=None, domain="login"
    )

    assert salesforce.query("SELECT Id FROM User")["totalSize"] == 7


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"iss": "another"}, "invalid_client_id", "client identifier invalid"),
        ({"aud": "https://elsewhere.example"}, "invalid_grant", "audience is invalid"),
        ({"sub": "stranger@refund-desk.example"}, "invalid_grant",
         "user hasn't approved this consumer"),
        ({"sub": "rep@refund-desk.example.salesforce"}, "invalid_grant",
         "user hasn't approved this consumer"),
        ({"exp": "0"}, "invalid_grant", "expired authorization code"),
        ({"exp": "soon"}, "invalid_grant", "expired authorization code"),
        ({"exp": "9999999999"}, "invalid_grant", "invalid assertion"),
    ],
)  # fmt: skip
def test_jwt_that_does_not_fit_is_refused(
    session: requests.Session,
    jwt_organisation: Organisation,
    clock: Clock,
    changes: dict[str, str],
    error: str,
    words: str,
) -> None:
    answer = ask(session, assertion(clock, **changes))

    assert (answer["error"], answer["error_description"]) == (error, words)


def test_jwt_signed_with_another_key_is_refused(
    session: requests.Session, jwt_organisation: Organisation, clock: Clock
) -> None:
    assert ask(session, assertion(clock, key=pair()[0]))["error_description"] == "invalid assertion"
    assert ask(session, "no.token")["error_description"] == "invalid assertion"


def test_jwt_without_a_certificate_is_refused(session: requests.Session, clock: Clock) -> None:
    assert ask(session, assertion(clock))["error_description"] == "invalid assertion"


def test_jwt_of_an_inactive_user_is_refused(
    session: requests.Session, jwt_organisation: Organisation, clock: Clock
) -> None:
    former = "former@refund-desk.example.salesforce"
    jwt_organisation.reshape(approved=frozenset((former,)))

    assert ask(session, assertion(clock, sub=former))["error"] == "inactive_user"


def test_session_ends_after_its_time(
    session: requests.Session, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(token_seconds=600)
    salesforce = signed_in(session)
    clock.move(seconds=599)
    salesforce.query("SELECT Id FROM User")
    clock.move(seconds=1)

    answer = get(salesforce, "limits")

    assert answer.status_code == 401
    assert answer.json() == [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}
    ]


def test_sessions_end_when_told(session: requests.Session, organisation: Organisation) -> None:
    salesforce = signed_in(session)
    old = salesforce.session_id
    organisation.end_sessions()

    # It signs in anew by itself, for queries.
    assert salesforce.query("SELECT Id FROM User")["totalSize"] == 7
    assert salesforce.session_id != old


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x!y.z", "Basic abc", "Bearer é"])
def test_token_that_was_never_given_is_refused(session: requests.Session, header: str) -> None:
    answer = session.get(
        "https://acme.my.salesforce.com/services/data/v60.0/limits",
        headers={"Authorization": header.encode()},
    )

    assert answer.status_code == 401
