"""Digital River's webhook: see who sent an event, keep it, answer at once; the work comes later.

Any 2xx tells Digital River that the event arrived; after anything else, and after three seconds
without an answer, it sends the event again, for three days. So types nobody has heard of and
repeats are taken like all others.

https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/webhooks
"""

import re
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from refunds.digitalriver import signature
from refunds.digitalriver.errors import EventUnreadable
from refunds.digitalriver.payloads import Event as Told
from refunds.digitalriver.payloads import read_event
from refunds.models import Event
from refunds.services.events import event_store

_logger = structlog.get_logger(__name__)

#: What the names of the fields that hold tokens and secrets have in common.
_CARRIES_A_TOKEN = re.compile(r"token|secret", re.IGNORECASE)
#: Bytes of the largest event that is read; Digital River's are a few kilobytes.
LARGEST_BODY = 1024 * 1024


class _TurnedAwayError(Exception):
    """The request is not taken; ``str()`` is the sentence that the sender reads."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@csrf_exempt
@require_POST
def digital_river(request: HttpRequest) -> HttpResponse:
    """Take one event of Digital River: 202 once it is stored, new or not."""
    try:
        body = _body(request)
        _require_signature(request, body)
        told = read_event(body)
        kept = _kept(body, told)
        _, is_new = event_store(told=told, body=kept, source=Event.Source.WEBHOOK)
    except _TurnedAwayError as error:
        return _answer(error.status, str(error))
    except EventUnreadable as error:
        _logger.warning("webhook.unreadable", place=error.parameter)
        return _answer(400, str(error))
    except (OperationalError, InterfaceError) as error:
        _logger.error("webhook.database_away", error=type(error).__name__)
        return _answer(503, "The event could not be stored. Send it again later.")
    _logger.info("webhook.event", event_id=told.id, type=told.type, is_new=is_new)
    return _answer(202, "Stored." if is_new else "Known already.")


def _body(request: HttpRequest) -> bytes:
    """Return the raw body; reads no more of one that is too large than it takes to tell."""
    too_large = _TurnedAwayError(413, "The event is larger than 1 MiB.")
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > 9 or int(length) > LARGEST_BODY):
        raise too_large
    # Django takes a request without a length, sent in chunks, for an empty one. Where the server
    # marks the body's end itself, it can be read all the same.
    stream = request
    if not length and request.META.get("wsgi.input_terminated"):
        stream = request.META["wsgi.input"]
    try:
        body = stream.read(LARGEST_BODY + 1)
    except (UnreadablePostError, OSError):
        raise _TurnedAwayError(400, "The event did not arrive whole. Send it again.") from None
    if len(body) > LARGEST_BODY:
        raise too_large
    return body


def _kept(body: bytes, told: Told) -> str:
    """Return the event as it came; where it carries a token, without that.

    Whoever has the token of a refund can say where its money goes.
    """
    text = body.decode("utf-8-sig")
    return told.raw if _CARRIES_A_TOKEN.search(text) else text


def _require_signature(request: HttpRequest, body: bytes) -> None:
    """Turn away what Digital River did not sign just now with one of the active secrets."""
    if not settings.DIGITALRIVER_WEBHOOK_SECRETS:
        _logger.warning("webhook.no_secret", setting="DIGITALRIVER_WEBHOOK_SECRETS")
    try:
        signature.verify(
            request.headers.get(signature.HEADER, ""),
            body,
            secrets=settings.DIGITALRIVER_WEBHOOK_SECRETS,
            now=timezone.now(),
            tolerance=timedelta(seconds=settings.DIGITALRIVER_WEBHOOK_TOLERANCE),
        )
    except signature.SignatureRefused as error:
        _logger.warning("webhook.signature_refused", reason=type(error).__name__)
        raise _TurnedAwayError(401, str(error)) from None


def _answer(status: int, sentence: str) -> HttpResponse:
    return HttpResponse(f"{sentence}\n", status=status, content_type="text/plain; charset=utf-8")
