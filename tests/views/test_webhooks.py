"""The webhook: who may send events, what is kept of them, and what each answer says."""

import json
import logging
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from refunds.models import Event, Refund
from refunds.options import Option, Selection
from refunds.views import webhooks
from sandbox.delivery import Deliverer
from sandbox.signing import HEADER, sign, timestamp_of
from tests.desk import Desk, rep

SECRET = "whsec_of_the_tests"
ADDRESS = "/webhooks/digitalriver/"
EVENT = {
    "id": "evt-1",
    "type": "refund.complete",
    "createdTime": "2026-11-02T09:00:00.12345Z",
    "data": {
        "object": {
            "id": "re_1",
            "orderId": "300100200336",
            "customer": "Ada Lovelace",
            "tokenInformation": {"token": "opens-the-bank-form", "expiresTime": "2026-12-02"},
        }
    },
}

pytestmark = pytest.mark.django_db


def written(**changes: Any) -> bytes:
    """Return the event's body with these fields changed; one that is None is left out."""
    event = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
    return json.dumps(event).encode()


def post(
    client: Client,
    body: bytes,
    *,
    secrets: str | list[str] = SECRET,
    age: timedelta = timedelta(0),
    milliseconds: bool = False,
    **headers: str,
) -> Any:
    """Send the body as Digital River does, signed now or that long ago."""
    timestamp = timestamp_of(timezone.now() - age, milliseconds=milliseconds)
    return client.post(
        ADDRESS,
        body,
        content_type="application/json",
        headers={HEADER: sign(secrets, timestamp, body), **headers},
    )


def said(answer: HttpResponse) -> str:
    return answer.content.decode()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


# -- what is taken ---------------------------------------------------------------------------------


def test_webhook_stores_the_event_as_it_came(client: Client) -> None:
    body = b'{"type": "refund.complete",\n "id": "evt-1", "data": {"object": {"note": "\xc3\xa9"}}}'

    answer = post(client, body)

    assert answer.status_code == 202
    assert said(answer) == "Stored.\n"
    event = Event.objects.get()
    assert event.body.encode() == body
    assert (event.event_id, event.type) == ("evt-1", "refund.complete")
    assert event.source == Event.Source.WEBHOOK
    assert event.state == Event.State.WAITING
    assert event.next_try_at == event.received_at
    assert reverse("refunds:webhook") == ADDRESS


def test_webhook_needs_few_statements(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # A savepoint, which is a transaction outside of tests; the row; its end.
    with django_assert_num_queries(3):
        assert post(client, written()).status_code == 202


def test_webhook_answers_a_repeat_and_keeps_one(client: Client) -> None:
    post(client, written())
    Event.objects.update(state=Event.State.PROCESSED, next_try_at=None)

    answer = post(client, written(type="refund.failed"))

    assert answer.status_code == 202
    assert said(answer) == "Known already.\n"
    event = Event.objects.get()
    assert event.type == "refund.complete"
    assert event.state == Event.State.PROCESSED


def test_webhook_takes_a_type_nobody_has_heard_of(client: Client) -> None:
    answer = post(client, written(type="quantum.entangled", data=None, createdTime="yesterday"))

    assert answer.status_code == 202
    event = Event.objects.get()
    assert event.type == "quantum.entangled"
    assert event.created_time is None


@pytest.mark.parametrize("milliseconds", [False, True], ids=["seconds", "milliseconds"])
def test_webhook_takes_either_unit_of_time(client: Client, milliseconds: bool) -> None:
    assert post(client, written(), milliseconds=milliseconds).status_code == 202


@pytest.mark.parametrize(
    "signed_with", [["old"], ["new"], ["old", "new"], ["older", "new"]], ids=" and ".join
)
def test_webhook_takes_any_active_secret_while_they_change(
    client: Client, settings: LazySettings, signed_with: list[str]
) -> None:
    settings.DIGITALRIVER_WEBHOOK_SECRETS = ["new", "old"]

    assert post(client, written(), secrets=signed_with).status_code == 202


def test_webhook_takes_an_event_of_the_largest_size(client: Client) -> None:
    body = written(padding="")
    body = written(padding="x" * (webhooks.LARGEST_BODY - len(body)))
    assert len(body) == webhooks.LARGEST_BODY

    assert post(client, body).status_code == 202


def test_webhook_takes_an_event_that_comes_in_chunks(rf: RequestFactory) -> None:
    body = written(data={"object": {"id": "re_1", "orderId": "300100200336"}})
    # Without a length, as gunicorn hands on a request with Transfer-Encoding: chunked.
    request = rf.generic("POST", ADDRESS)
    request.META |= {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True}
    signature = sign(SECRET, timestamp_of(timezone.now()), body)
    request.META[f"HTTP_{HEADER.upper().replace('-', '_')}"] = signature

    assert webhooks.digital_river(request).status_code == 202
    assert Event.objects.get().body.encode() == body


def test_webhook_keeps_no_token(client: Client) -> None:
    assert post(client, written()).status_code == 202

    kept = Event.objects.get().body
    assert "opens-the-bank-form" not in kept
    # All else is kept, the deadline too.
    assert "2026-12-02" in kept
    assert "Ada Lovelace" in kept


def test_webhook_needs_no_sign_in_no_session_and_no_form_token(rf: RequestFactory) -> None:
    client = Client(enforce_csrf_checks=True)

    answer = post(client, written())

    assert answer.status_code == 202
    assert not answer.cookies


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_webhook_has_the_event_processed(client: Client, desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER))
    assert refund.state == Refund.State.PENDING
    desk.clock.forward(hours=1)
    desk.sandbox.settle_now(refund.digital_river_id)
    desk.clock.forward(seconds=1)

    def send(body: bytes, headers: Any) -> int:
        return client.post(
            ADDRESS, body, content_type="application/json", headers=dict(headers)
        ).status_code

    outcome = Deliverer(desk.sandbox, send, secrets=[SECRET]).deliver_due()

    assert outcome.acknowledged
    assert not outcome.failed
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert {event.state for event in order.events.all()} == {Event.State.PROCESSED}


# -- who may send ----------------------------------------------------------------------------------


def refused(answer: Any, sentence: str) -> None:
    assert answer.status_code == 401
    assert sentence in said(answer)
    assert answer["Content-Type"].startswith("text/plain")
    assert not Event.objects.exists()


def test_webhook_refuses_a_request_without_a_signature(client: Client) -> None:
    answer = client.post(ADDRESS, written(), content_type="application/json")

    refused(answer, "has no DigitalRiver-Signature header")


def test_webhook_refuses_a_signature_of_another_secret(client: Client) -> None:
    refused(post(client, written(), secrets="whsec_of_somebody"), "none of the active secrets")


def test_webhook_refuses_a_secret_that_is_no_longer_active(
    client: Client, settings: LazySettings
) -> None:
    settings.DIGITALRIVER_WEBHOOK_SECRETS = ["new"]

    refused(post(client, written(), secrets="old"), "none of the active secrets")


def test_webhook_refuses_a_body_that_was_changed_on_the_way(client: Client) -> None:
    signature = sign(SECRET, timestamp_of(timezone.now()), written())

    answer = client.post(
        ADDRESS,
        written().replace(b"refund.complete", b"refund.failed"),
        content_type="application/json",
        headers={HEADER: signature},
    )

    refused(answer, "none of the active secrets")


@pytest.mark.parametrize("minutes", [6, -6], ids=["old", "ahead"])
def test_webhook_refuses_a_stale_timestamp(client: Client, minutes: int) -> None:
    refused(post(client, written(), age=timedelta(minutes=minutes)), "more than the 300 allowed")


def test_webhook_takes_a_timestamp_within_the_tolerance(
    client: Client, settings: LazySettings
) -> None:
    settings.DIGITALRIVER_WEBHOOK_TOLERANCE = 3600

    assert post(client, written(), age=timedelta(minutes=59)).status_code == 202


def test_webhook_without_secrets_refuses_all_and_says_which_setting(
    client: Client, settings: LazySettings, logged: pytest.LogCaptureFixture
) -> None:
    settings.DIGITALRIVER_WEBHOOK_SECRETS = []

    refused(post(client, written()), "No webhook secret is set")
    assert "DIGITALRIVER_WEBHOOK_SECRETS" in logged.text


def test_webhook_checks_the_signature_before_it_reads_the_body(client: Client) -> None:
    refused(post(client, b"not JSON", secrets="whsec_of_somebody"), "none of the active secrets")


# -- what cannot be taken --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "not JSON"),
        (b"event", "not JSON"),
        (b'{"id": "evt-1", "type": "refund.complete"', "not JSON"),
        (b'{"id": "evt-1", "type": "refund.complete\x00"}', "not JSON"),
        (b'{"id": "evt-1", "type": "\xff"}', "not JSON"),
        (b'{"id": "evt-1", "id": "evt-2", "type": "refund.complete"}', "names a field twice"),
        (b'["evt-1", "refund.complete"]', "not a JSON object"),
        (written(id=None), "id is missing"),
        (written(id=""), "id is missing"),
        (written(id=17), "id is missing"),
        (written(id="e" * 129), "at most 128"),
        (written(id="evt\x00"), "id is missing"),
        (written(type=None), "type is missing"),
        (written(type="t" * 101), "at most 100"),
        (written(data="refund"), "data is not a JSON object"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[:30].decode("ascii", "replace"),
)
def test_webhook_names_the_fault(client: Client, body: bytes, fault: str) -> None:
    answer = post(client, body)

    assert answer.status_code == 400
    assert fault in said(answer)
    assert said(answer).count("\n") == 1
    assert not Event.objects.exists()


def test_webhook_keeps_text_that_no_database_takes_as_it_was_written(client: Client) -> None:
    body = written(note="a\x00b\ud800c", data={"object": {"id": "re_1"}})
    assert rb"\u0000" in body

    assert post(client, body).status_code == 202
    assert Event.objects.get().body.encode() == body


def test_webhook_refuses_a_body_that_is_too_large(client: Client) -> None:
    answer = post(client, written(padding="x" * webhooks.LARGEST_BODY))

    assert answer.status_code == 413
    assert "1 MiB" in said(answer)
    assert not Event.objects.exists()


class Counting(BytesIO):
    """Remembers how much of it was read."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 <= size <= webhooks.LARGEST_BODY + 1
        return super().read(size)


@pytest.mark.parametrize(
    ("length", "at_most"),
    [
        (str(webhooks.LARGEST_BODY + 1), 0),
        ("9" * 5_000, 0),
        # A length that is a lie, or none at all.
        ("", webhooks.LARGEST_BODY + 1),
    ],
    ids=["named", "absurd", "chunks"],
)
def test_webhook_reads_no_more_than_it_takes_to_tell(
    rf: RequestFactory, length: str, at_most: int
) -> None:
    stream = Counting(b"x" * (2 * webhooks.LARGEST_BODY))
    request = rf.generic("POST", ADDRESS)
    request.META |= {
        "CONTENT_LENGTH": length,
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
    }

    assert webhooks.digital_river(request).status_code == 413
    assert stream.tell() <= at_most


def test_webhook_tells_a_body_that_broke_off(rf: RequestFactory) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError

    request = rf.generic("POST", ADDRESS)
    request.META |= {
        "CONTENT_LENGTH": "",
        "wsgi.input": Broken(),
        "wsgi.input_terminated": True,
    }

    assert webhooks.digital_river(request).status_code == 400


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_webhook_takes_nothing_but_post(client: Client, method: str) -> None:
    answer = getattr(client, method)(ADDRESS)

    assert answer.status_code == 405
    assert answer["Allow"] == "POST"


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_webhook_asks_for_the_event_again_while_the_database_is_away(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def away(**_: object) -> None:
        raise error("could not connect to server at 10.0.0.1")

    monkeypatch.setattr(webhooks, "event_store", away)

    answer = post(client, written())

    assert answer.status_code == 503
    assert said(answer) == "The event could not be stored. Send it again later.\n"


# -- what is logged --------------------------------------------------------------------------------


def test_webhook_logs_type_and_id_and_no_body(
    client: Client, logged: pytest.LogCaptureFixture
) -> None:
    post(client, written())
    post(client, written())

    assert logged.text.count("evt-1") == 2
    assert "refund.complete" in logged.text
    for secret in ("Ada Lovelace", "opens-the-bank-form", SECRET, "re_1"):
        assert secret not in logged.text


@pytest.mark.parametrize("body", [written(id=None), b"Ada Lovelace, not JSON"])
def test_webhook_logs_nothing_of_a_body_it_cannot_read(
    client: Client, logged: pytest.LogCaptureFixture, body: bytes
) -> None:
    post(client, body)

    assert "webhook.unreadable" in logged.text
    assert "Ada" not in logged.text


def test_webhook_logs_no_signature(client: Client, logged: pytest.LogCaptureFixture) -> None:
    signature = sign("whsec_of_somebody", 1_700_000_000, written())

    client.post(ADDRESS, written(), content_type="application/json", headers={HEADER: signature})

    assert "webhook.signature_refused" in logged.text
    assert signature not in logged.text
    assert signature.split(", ")[1] not in logged.text


def test_webhook_leaves_a_signed_in_person_alone(client: Client) -> None:
    client.force_login(
        User.objects.create_user("robin"), backend="django.contrib.auth.backends.ModelBackend"
    )

    assert post(client, written()).status_code == 202
    assert settings.SESSION_COOKIE_NAME not in post(client, written(id="evt-2")).cookies
