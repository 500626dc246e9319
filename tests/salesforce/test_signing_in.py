"""Signing in: what is sent, and why Salesforce refused it, as far as it told."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import stamina

from refunds.salesforce.client import Credentials
from refunds.salesforce.errors import SalesforceError, SignInRefused, Unreachable, UnreadableAnswer
from tests.salesforce.wire import (
    KEY,
    NOW,
    SECRET,
    TOKEN,
    Answer,
    Wire,
    client_over,
    page,
    private_key,
    signed_in,
)


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@pytest.fixture(scope="module")
def by_key() -> Credentials:
    return Credentials(
        domain="login", consumer_key=KEY, private_key=private_key(), username="desk@acme.example"
    )


def refusal(error: str, description: str | None) -> Answer:
    body = {"error": error} | ({} if description is None else {"error_description": description})
    return Answer(400, body)


def form(body: object) -> dict[str, list[str]]:
    return parse_qs(body.decode() if isinstance(body, bytes) else str(body))


def test_client_credentials_go_to_my_domain() -> None:
    wire = Wire(page())

    client_over(wire).query_page("SELECT")

    (asked,) = wire.sign_ins
    assert asked.url == "https://acme.my.salesforce.com/services/oauth2/token"
    assert form(asked.body) == {"grant_type": ["client_credentials"]}
    basic = str(asked.headers["Authorization"]).removeprefix("Basic ")
    assert base64.b64decode(basic).decode() == f"{KEY}:{SECRET}"


@pytest.mark.parametrize("domain", ["login", "test", "acme.my"])
def test_jwt_is_signed_for_the_domain(by_key: Credentials, domain: str) -> None:
    wire = Wire(page())
    credentials = Credentials(
        domain=domain,
        consumer_key=KEY,
        private_key=by_key.private_key,
        username="o'neil&co@acme.example",
    )

    client_over(wire, credentials=credentials).query_page("SELECT")

    (asked,) = wire.sign_ins
    sent = form(asked.body)
    assert asked.url == f"https://{domain}.salesforce.com/services/oauth2/token"
    assert sent["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(sent["assertion"][0], options={"verify_signature": False})
    assert claims["iss"] == KEY
    assert claims["sub"] == "o'neil&co@acme.example"
    assert claims["aud"] == f"https://{domain}.salesforce.com"


REFUSALS = [
    ("invalid_client_id", "client identifier invalid", "SALESFORCE_CONSUMER_KEY"),
    ("invalid_client", "invalid client credentials", "SALESFORCE_CONSUMER_SECRET"),
    ("invalid_client", None, "SALESFORCE_CONSUMER_SECRET"),
    ("invalid_grant", "user hasn't approved this consumer", "not approved for the connected app"),
    ("invalid_grant", "inactive user", "user is inactive"),
    ("invalid_grant", "audience is invalid", "SALESFORCE_DOMAIN"),
    ("invalid_grant", "invalid assertion", "SALESFORCE_PRIVATE_KEY_FILE"),
    ("invalid_grant", "no client credentials user enabled", "Run As"),
    ("invalid_grant", "request not supported on this domain", "My Domain"),
    ("invalid_grant", "ip restricted", "address is not among those allowed"),
    ("invalid_app_access", "user is not admin approved to access this app", "not approved"),
    ("inactive_user", "user is inactive", "user is inactive"),
    ("inactive_org", "organization is inactive", "locked or has expired"),
    ("something_new", "and unheard of", "(something_new)"),
    ("<script>", "and unheard of", "(answer 400)"),
    ("invalid_grant", None, "(invalid_grant)"),
]


@pytest.mark.parametrize(("error", "description", "told"), REFUSALS)
def test_refusal_says_which_where_salesforce_tells(
    error: str, description: str | None, told: str
) -> None:
    wire = Wire(page(), sign_in=refusal(error, description))

    with pytest.raises(SignInRefused) as caught:
        client_over(wire).query_page("SELECT")

    assert told in str(caught.value)
    assert str(caught.value).startswith("Salesforce refused the sign-in")
    assert caught.value.status == 400
    assert len(wire.sign_ins) == 1
    assert wire.requests == []
    for secret in (SECRET, KEY, "unheard of"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("off", "told"),
    [
        (timedelta(minutes=10), "clock is 10 minutes ahead of Salesforce's"),
        (timedelta(minutes=-7), "clock is 7 minutes behind Salesforce's"),
        (timedelta(seconds=95), "clock is 95 seconds ahead of Salesforce's"),
    ],
)
@pytest.mark.parametrize("words", ["expired authorization code", "assertion expired", "invalid"])
def test_clock_that_is_off_is_named_with_the_difference(
    by_key: Credentials, off: timedelta, told: str, words: str
) -> None:
    wire = Wire(page(), sign_in=refusal("invalid_grant", words))
    client = client_over(wire, credentials=by_key, clock=lambda: NOW + off)

    with pytest.raises(SignInRefused) as caught:
        client.query_page("SELECT")

    assert told in str(caught.value)


def test_assertion_that_expired_names_the_clock_although_it_cannot_tell_by_how_much(
    by_key: Credentials,
) -> None:
    answer = refusal("invalid_grant", "expired authorization code")
    del answer.headers["Date"]
    with pytest.raises(SignInRefused, match="this server's clock is off"):
        client_over(Wire(page(), sign_in=answer), credentials=by_key).query_page("SELECT")


def test_clock_is_not_named_where_the_key_is_wrong(by_key: Credentials) -> None:
    wire = Wire(page(), sign_in=refusal("invalid_grant", "invalid assertion"))
    with pytest.raises(SignInRefused, match="SALESFORCE_PRIVATE_KEY_FILE"):
        client_over(wire, credentials=by_key).query_page("SELECT")


def test_clock_that_is_off_does_not_matter_to_a_secret() -> None:
    wire = Wire(page(), sign_in=refusal("invalid_grant", "inactive user"))
    with pytest.raises(SignInRefused, match="user is inactive"):
        client_over(wire, clock=lambda: NOW + timedelta(days=1)).query_page("SELECT")


@pytest.mark.parametrize(
    ("answer", "kind", "tries"),
    [
        (Answer(500, {"error": "unknown_error"}), Unreachable, 3),
        (Answer(503, "<html>down</html>"), Unreachable, 3),
        (Answer(403, "<html>Blocked</html>"), UnreadableAnswer, 3),
        (Answer(200, "<html>Sign in to the hotel</html>"), UnreadableAnswer, 3),
        (Answer(200, []), UnreadableAnswer, 3),
        (Answer(200, {"access_token": TOKEN}), UnreadableAnswer, 3),
        (Answer(200, {"instance_url": "https://acme.my.salesforce.com"}), UnreadableAnswer, 3),
        (signed_in(token="two words"), UnreadableAnswer, 3),
        (signed_in(token="line\nbreak"), UnreadableAnswer, 3),
        (signed_in(instance_url="acme"), UnreadableAnswer, 3),
        (signed_in(instance_url="https://user@evil.example"), UnreadableAnswer, 3),
        (signed_in(instance_url="https://evil.example/path"), UnreadableAnswer, 3),
    ],
)
def test_answer_without_a_session_is_no_session(
    answer: Answer, kind: type[SalesforceError], tries: int
) -> None:
    wire = Wire(page(), sign_in=answer)
    with pytest.raises(SalesforceError) as caught:
        client_over(wire).query_page("SELECT")
    assert type(caught.value) is kind
    assert len(wire.sign_ins) == tries
    assert wire.requests == []


def test_instance_url_may_end_with_a_slash() -> None:
    wire = Wire(page(), sign_in=signed_in(instance_url="https://eu9.salesforce.com/"))
    client_over(wire).query_page("SELECT")
    assert urlsplit(wire.requests[0].url or "").netloc == "eu9.salesforce.com"
    assert urlsplit(wire.requests[0].url or "").path == "/services/data/v60.0/query/"
