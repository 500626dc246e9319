"""The three beats of sending: write the attempt, send it outside any transaction, write what came.

Only the process that wrote *submitting* sends, and it sends once. What became of it is told by
the branch of the client's error tree; after no answer nothing is sent again, and only a look at
Digital River's list settles it.
"""

from datetime import datetime, timedelta

import simplejson
import structlog
from django.conf import settings
from django.db import transaction

from refunds.digitalriver.client import CreatedRefund, DigitalRiverClient
from refunds.digitalriver.errors import (
    DigitalRiverError,
    NotSent,
    RateLimited,
    Refused,
    Unanswered,
)
from refunds.models import Actor, Order, OrderLine, Refund, RefundAttempt
from refunds.options import Quote
from refunds.selectors import OrderAccount, lines_of, order_account
from refunds.services.orders import MAY_TURN_UP, Clock, order_recount, refund_named
from refunds.services.settlements import (
    refund_adopt,
    refund_give_way,
    refund_parts_save,
    refund_take,
)

_logger = structlog.get_logger(__name__)

#: The client bounds each step of a call by the timeout; together they never take this many.
_STEPS_OF_A_CALL = 6
_MARGIN = timedelta(seconds=30)

#: Why a refund that met with a 429 does not wait to be sent again.
_EARLIER_PAYS = "Digital River was busy and did not take it; it has an earlier attempt."


def lease_length() -> timedelta:
    """Return how long a sender may take before its attempt counts as abandoned."""
    return timedelta(seconds=settings.DIGITALRIVER_TIMEOUT * _STEPS_OF_A_CALL) + _MARGIN


def attempt_start(
    *,
    refund: Refund,
    quote: Quote,
    account: OrderAccount,
    actor: Actor,
    at: datetime,
    summary: str,
) -> RefundAttempt:
    """First beat: write the refund as *submitting*, with its parts, attempt and lease.

    Its money is held from then on. The caller has the order's row lock, behind which it read the
    account, and an open transaction; it sends after the commit.
    """
    number = refund.attempts.count() + 1
    reference = f"{refund.reference}-{number}"
    request: dict[str, object] = {
        "orderId": quote.position.order.digital_river_id,
        "currency": quote.currency,
        **quote.request,
    }
    if refund.reason_text:
        request["reason"] = refund.reason_text
    request["metadata"] = {"refundReference": reference}
    lease_until = at + lease_length()
    attempt = RefundAttempt.objects.create(
        refund=refund,
        number=number,
        reference=reference,
        started_at=at,
        lease_until=lease_until,
        request=simplejson.dumps(request, use_decimal=True),
    )
    refund.move_to(
        Refund.State.SUBMITTING,
        actor=actor,
        at=at,
        summary=summary,
        requested_amount=quote.total,
        accepted_amount=None,
        digital_river_id="",
        digital_river_key="",
        listed=False,
        submitted_at=refund.submitted_at or at,
        settled_at=None,
        failure_reason="",
        draft_expires_at=None,
        next_check_at=lease_until,
    )
    refund_parts_save(refund=refund, parts=quote.parts, lines=account.lines)
    order_recount(order=account.order, lines=account.lines)
    return attempt


def attempt_send(
    *, attempt: RefundAttempt, client: DigitalRiverClient, clock: Clock
) -> CreatedRefund | DigitalRiverError:
    """Second beat: send the attempt once, in no transaction. Returns the answer or the error."""
    if attempt.lease_until - clock() < lease_length() - _MARGIN:
        # This process stood still between the beats: others may already count it as lost.
        return NotSent("The desk was held up before it could send the refund; nothing was sent.")
    body = simplejson.loads(attempt.request, use_decimal=True)
    try:
        return client.create_refund(body, upstream_id=attempt.reference)
    except DigitalRiverError as error:
        return error


@transaction.atomic(durable=True)
def attempt_record(
    *,
    attempt: RefundAttempt,
    outcome: CreatedRefund | DigitalRiverError,
    actor: Actor,
    clock: Clock,
) -> Refund:
    """Third beat: write what came of it.

    So slow an answer that the refund went on without it changes nothing of the attempt that came
    after; a refund it tells of is matched as one on Digital River's list would be.
    """
    at = clock()
    order = Order.objects.select_for_update().get(pk=attempt.refund.order_id)
    refund = Refund.objects.select_for_update().get(pk=attempt.refund_id)
    # A look may have found it while the call was under way.
    attempt.refresh_from_db(fields=["digital_river_id"])
    attempt.answered_at = at
    attempt.request_id = outcome.request_id[:100]
    attempt.status = outcome.status
    lines = lines_of(order)
    if isinstance(outcome, CreatedRefund):
        attempt.answer = simplejson.dumps(dict(outcome.answer), use_decimal=True)
        _take_answer(order, lines, refund, attempt, outcome, at=at, actor=actor)
        attempt.digital_river_id = outcome.refund.id
        attempt.outcome = f"Taken on by Digital River as {outcome.refund.id}."
    else:
        attempt.outcome = _outcome(outcome)[:500]
        if not attempt.is_overtaken():
            _take_error(refund, outcome, at=at, actor=actor)
    written = ["answered_at", "request_id", "status", "answer", "outcome", "digital_river_id"]
    if isinstance(outcome, Unanswered):
        # A look at Digital River while the call was under way says nothing of what it did.
        attempt.missing_since = None
        written.append("missing_since")
    attempt.save(update_fields=written)
    order_recount(order=order, lines=lines)
    _logger.info(
        "refund.attempted",
        reference=attempt.reference,
        state=refund.state,
        status=outcome.status,
        request_id=outcome.request_id,
    )
    return refund


def _take_answer(
    order: Order,
    lines: list[OrderLine],
    refund: Refund,
    attempt: RefundAttempt,
    created: CreatedRefund,
    *,
    at: datetime,
    actor: Actor,
) -> None:
    """Take on the refund that Digital River made, which may have been found on its list before."""
    told, flag = created.refund, ""
    if not attempt.is_overtaken():
        _take_over(refund, told.id, at=at, actor=actor)
    known: Refund | None = refund
    moved_on = refund.state != Refund.State.SUBMITTING or refund.digital_river_id
    if moved_on or attempt.is_overtaken():
        # It went on without this answer: a look found what was made, or others gave it up and
        # may be sending it again right now, as another attempt that this answer says nothing of.
        known = Refund.objects.filter(digital_river_id=told.id).first()
    if known is None and attempt.digital_river_id == told.id:
        # Found before, failed since, and sent again as another attempt: the answer is old.
        return
    if known is None:
        known, flag = refund_named(refund=refund, attempt=attempt, told=told, at=at, actor=actor)
    if known is None:
        position = order_account(order, lines=lines).told_position
        refund_adopt(
            order=order, told=told, position=position, lines=lines, at=at, actor=actor, flag=flag
        )
        return
    refund_take(
        refund=refund if known.pk == refund.pk else known,
        told=told,
        lines=lines,
        at=at,
        actor=actor,
        request_id=created.request_id,
    )


def _take_over(refund: Refund, identifier: str, *, at: datetime, actor: Actor) -> None:
    """Take the place of a row that was taken for a refund made elsewhere, if there is one.

    A look at Digital River's list while the call was under way adopts it where the list does not
    show our reference. The answer is certain: it is this refund.
    """
    if refund.digital_river_id or refund.state not in MAY_TURN_UP:
        return
    outside = (
        Refund.objects.select_for_update()
        .filter(digital_river_id=identifier, origin=Refund.Origin.ELSEWHERE)
        .first()
    )
    if outside is None:
        return
    if outside.listed:
        Refund.objects.filter(pk=refund.pk).update(listed=True)
        refund.listed = True
    refund_give_way(
        outside=outside,
        own=refund,
        at=at,
        actor=actor,
        summary=f"Relinked: Digital River's answer says that it is refund {refund.reference}.",
    )


def _take_error(refund: Refund, error: DigitalRiverError, *, at: datetime, actor: Actor) -> None:
    """Move the refund to what the error means for its money."""
    state = Refund.State
    if refund.state not in {state.SUBMITTING, state.UNKNOWN}:
        # A look at Digital River settled it while the answer was on its way.
        return
    if isinstance(error, Refused | NotSent | RateLimited) and refund.state == state.UNKNOWN:
        # The lease ran out first; what is certain now is that nothing was taken on.
        refund.move_to(
            state.NOT_SENT,
            actor=actor,
            at=at,
            summary=str(error)[:500],
            request_id=error.request_id,
            next_check_at=None,
        )
    elif isinstance(error, Refused):
        refund.move_to(
            state.REFUSED,
            actor=actor,
            at=at,
            summary=f"Digital River refused it: {error.vendor_message or error}"[:500],
            request_id=error.request_id,
            refusal=str(error)[:500],
            settled_at=at,
            next_check_at=None,
        )
    elif isinstance(error, RateLimited) and not refund.paying_instead().exists():
        refund.move_to(
            state.QUEUED,
            actor=actor,
            at=at,
            summary="Digital River was busy and did not take it; it is sent again by itself.",
            request_id=error.request_id,
            next_check_at=at + timedelta(seconds=error.retry_after or 60),
        )
    elif isinstance(error, NotSent | RateLimited):
        refund.move_to(
            state.NOT_SENT,
            actor=actor,
            at=at,
            summary=str(error)[:500] if isinstance(error, NotSent) else _EARLIER_PAYS,
            request_id=error.request_id,
            next_check_at=None,
        )
    elif refund.state == state.SUBMITTING:
        refund.move_to(
            state.UNKNOWN,
            actor=actor,
            at=at,
            summary="No answer that can be trusted came; looking whether it arrived.",
            request_id=error.request_id,
            next_check_at=at,
        )


def _outcome(error: DigitalRiverError) -> str:
    words = [type(error).__name__]
    if error.status:
        words.append(f"status {error.status}")
    words += [each for each in (error.code, error.parameter, error.vendor_message) if each]
    return ": ".join([words[0], ", ".join(words[1:]) or str(error)])
