"""Answering back: a Task on the Salesforce order when a refund settles, off unless switched on.

The row that says so is written in the transaction in which the refund settles, once per refund
and state; the Task is made afterwards, in the background. Salesforce has nothing that makes a
create happen once, so before each try but the very first the desk looks whether the Task is there,
and after an answer that never came it waits until Salesforce must have ended its work. None of
this touches the refund.

Only refunds that were made at this desk are answered: what was found at Digital River and what a
customer's bank took back was not asked for from the order in Salesforce.

https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_task.htm
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from refunds import gateways, queue, selectors
from refunds.models import Refund, SalesforceTask
from refunds.models.states import RefundState
from refunds.money import ZERO, format_money
from refunds.salesforce import queries
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.errors import (
    FieldMissing,
    LimitNearlyUsed,
    LimitReached,
    QueryRefused,
    RightMissing,
    SalesforceError,
    SignInRefused,
    Unanswered,
    Unreachable,
    UnreadableAnswer,
)

_logger = structlog.get_logger(__name__)

Clock = Callable[[], datetime]

#: What Digital River says for good. A refund that it refused never existed there.
ANSWERED = frozenset({RefundState.SUCCEEDED, RefundState.FAILED, RefundState.EXPIRED})
#: How long whoever makes a Task keeps others off it; Salesforce works on a request no longer.
LEASE = timedelta(minutes=10)
#: What must be left of the lease for a Task to be made.
_ENOUGH = timedelta(minutes=5)
#: Tries after which one that goes wrong waits for a person; being away alone never leads there.
MOST_TRIES = 20
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_BATCH = 200

#: Nobody gets through, so a round leaves the rest for later.
_AWAY = (Unreachable, LimitReached, LimitNearlyUsed, SignInRefused)
#: The Task may have been made.
_IN_DOUBT = (Unanswered, UnreadableAnswer)
#: It would be the same however often it was tried.
_FINAL = (RightMissing, FieldMissing, QueryRefused)
#: Salesforce's words for an order that is gone, or that the user may not see.
_GONE = frozenset(
    {
        "ENTITY_IS_DELETED",
        "INVALID_CROSS_REFERENCE_KEY",
        "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY",
    }
)


def salesforce_task_add(*, refund: Refund, at: datetime) -> None:
    """Note, in the transaction in which a refund settles, that its order is to get a Task.

    Nothing for a state that is none of ``ANSWERED``, for a refund that was not made at this desk,
    or where ``SALESFORCE_TASKS`` is off. The caller has the order's row lock.
    """
    is_ours = refund.origin == Refund.Origin.DESK and refund.state in ANSWERED
    if not (settings.SALESFORCE_TASKS and is_ours):
        return
    task, is_new = SalesforceTask.objects.get_or_create(
        refund=refund,
        refund_state=refund.state,
        defaults={"subject": _subject(refund), "created_at": at, "next_try_at": at},
    )
    if is_new:
        queue.enqueue("refunds.tasks.send_salesforce_task", task.pk)


def salesforce_task_send(
    *, task_id: int, clock: Clock = timezone.now, client: SalesforceClient | None = None
) -> SalesforceTask:
    """Make a Task that is due; one that is done, or that another one has, is left alone.

    What cannot be done now is tried again later; what keeps going wrong is *failed* and says why.
    """
    task = SalesforceTask.objects.select_related("refund__order").get(pk=task_id)
    if _is_on():
        _send(task, clock=clock, client=client or gateways.salesforce())
    return task


def salesforce_tasks_send(
    *, clock: Clock = timezone.now, client: SalesforceClient | None = None
) -> Mapping[str, int]:
    """Make every Task that is due; returns how many now stand in each state.

    Once Salesforce turns out to be away the rest stays due for the next round.
    """
    counts: Counter[str] = Counter()
    if not _is_on():
        return counts
    for task in _due(clock()):
        goes_on = _send(task, clock=clock, client=client or gateways.salesforce())
        counts[str(task.state)] += 1
        if not goes_on:
            break
    return counts


def salesforce_task_try_again(*, task_id: int, clock: Clock = timezone.now) -> bool:
    """Have a Task that failed tried once more; tells whether it will be."""
    with transaction.atomic():
        changed = SalesforceTask.objects.filter(
            pk=task_id, state=SalesforceTask.State.FAILED
        ).update(
            state=SalesforceTask.State.WAITING,
            next_try_at=clock(),
            # Not none: it is looked for before it is made.
            tries=1,
        )
        if changed:
            queue.enqueue("refunds.tasks.send_salesforce_task", task_id)
    return bool(changed)


def _is_on() -> bool:
    return bool(settings.SALESFORCE_TASKS) and gateways.salesforce_is_configured()


def _subject(refund: Refund) -> str:
    """Return what names the Task and tells it from every other one of the order."""
    amount = format_money(_amount(refund), refund.currency)
    return f"Refund {refund.reference}: {amount} {refund.state}"


def _amount(refund: Refund) -> Decimal:
    """Return what was given back, or what would have been."""
    amount: Decimal | None = refund.refunded_amount
    if refund.state != RefundState.SUCCEEDED:
        asked, accepted = refund.requested_amount, refund.accepted_amount
        amount = asked if accepted is None else accepted
    return amount or ZERO


def _fields(task: SalesforceTask) -> dict[str, object]:
    """Return the Task as Salesforce takes it; nothing of the customer is in it."""
    refund, state = task.refund, RefundState(task.refund_state)
    meaning = [state.meaning]
    if state == refund.state:
        # Of a refund that was sent again since, these no longer say how it stands.
        meaning.append(refund.failure_in_words)
        if other := selectors.refund_paying_instead(refund):
            meaning = [
                f"Refund {other.reference} pays the customer: it is an earlier attempt of this one."
            ]
    told = [
        f"{task.subject}.",
        *meaning,
        f"{refund.get_option_display()} of order {refund.order.order_number}, at the refund desk.",
    ]
    if settings.DESK_ADDRESS:
        told.append(f"{settings.DESK_ADDRESS}{refund.get_absolute_url()}")
    return {
        "Subject": task.subject,
        "Description": "\n".join(filter(None, told)),
        "WhatId": refund.order.salesforce_id,
        "Status": "Completed",
        "Priority": "Normal",
        "ActivityDate": timezone.localtime(task.created_at).date().isoformat(),
    }


def _due(now: datetime) -> Iterator[SalesforceTask]:
    """Return the Tasks that are due, in the order they were noted, each once."""
    due = SalesforceTask.objects.filter(
        state=SalesforceTask.State.WAITING, next_try_at__lte=now
    ).select_related("refund__order")
    last = 0
    while batch := list(due.filter(pk__gt=last).order_by("pk")[:_BATCH]):
        yield from batch
        last = batch[-1].pk


def _send(task: SalesforceTask, *, clock: Clock, client: SalesforceClient) -> bool:
    """Make the Task unless another one has it; returns False if Salesforce is away."""
    if not _claim(task, at=clock()):
        return True
    try:
        outcome = _make(task, clock=clock, client=client)
    except SalesforceError as error:
        _logger.warning(
            "salesforce_task.not_made",
            reference=task.refund.reference,
            error=type(error).__name__,
            code=error.code,
            status=error.status,
        )
        _take_error(task, error, at=clock())
        return not isinstance(error, _AWAY)
    except Exception as error:
        _logger.exception("salesforce_task.went_wrong", reference=task.refund.reference)
        _put_off(
            task,
            f"The desk could not make it ({type(error).__name__}); the log says more.",
            at=clock(),
        )
    else:
        _write(task, state=SalesforceTask.State.CREATED, outcome=outcome, done_at=clock())
    return True


def _claim(task: SalesforceTask, *, at: datetime) -> bool:
    """Keep others off the Task for a while; False if it is done, not due, or another one's."""
    if task.state != SalesforceTask.State.WAITING or task.next_try_at is None:
        return False
    # One that nobody has tried yet is due by any server's clock.
    if task.tries and task.next_try_at > at:
        return False
    lease = at + LEASE
    taken = SalesforceTask.objects.filter(
        pk=task.pk, state=task.state, tries=task.tries, next_try_at=task.next_try_at
    ).update(next_try_at=lease, tries=F("tries") + 1)
    if taken:
        task.tries += 1
        task.next_try_at = lease
    return bool(taken)


def _make(task: SalesforceTask, *, clock: Clock, client: SalesforceClient) -> str:
    """Make the Task unless it is there already; returns what was done, in a sentence."""
    order = task.refund.order
    if order.salesforce_deleted_at is not None:
        raise QueryRefused("The order was deleted in Salesforce.", code="ENTITY_IS_DELETED")
    if task.tries > 1:
        there = next(iter(client.query(queries.task_of(order.salesforce_id, task.subject))), None)
        if there is not None:
            task.task_id = str(there["Id"])[:18]
            return "It was in Salesforce already."
    assert task.next_try_at is not None
    if task.next_try_at - clock() < _ENOUGH:
        # This process stood still for long: another one may have begun by the time it is sent.
        raise Unreachable("The desk was held up before it could make the task.")
    task.task_id = client.create("Task", _fields(task))[:18]
    return "It was made in Salesforce."


def _take_error(task: SalesforceTask, error: SalesforceError, *, at: datetime) -> None:
    """Write what the error means for the Task."""
    if error.code in _GONE:
        _fail(
            task,
            f"Order {task.refund.order.order_number} was deleted in Salesforce, or the integration "
            "user may not see it, so it can have no task. Restore it there, then try again.",
        )
    elif isinstance(error, _FINAL):
        _fail(task, f"{error} Mend that, then try again.")
    elif isinstance(error, _IN_DOUBT):
        _write(
            task,
            state=SalesforceTask.State.WAITING,
            outcome=(
                "Salesforce did not say whether it made the task. The desk looks once Salesforce "
                "must have ended its work, and makes it only if it is not there."
            ),
            next_try_at=at + LEASE,
        )
    else:
        _put_off(task, str(error), at=at, counts=not isinstance(error, _AWAY))


def _put_off(task: SalesforceTask, outcome: str, *, at: datetime, counts: bool = True) -> None:
    """Leave the Task for later, or for a person once it was tried often enough."""
    if counts and task.tries >= MOST_TRIES:
        _fail(task, f"{outcome} Mend that, then try again.")
        return
    pause = min(_FIRST_PAUSE * 2 ** min(task.tries - 1, 10), _LONGEST_PAUSE)
    _write(
        task,
        state=SalesforceTask.State.WAITING,
        outcome=f"{outcome} The desk tries again by itself.",
        next_try_at=at + pause,
    )


def _fail(task: SalesforceTask, outcome: str) -> None:
    _write(task, state=SalesforceTask.State.FAILED, outcome=outcome)


def _write(
    task: SalesforceTask,
    *,
    state: str,
    outcome: str,
    next_try_at: datetime | None = None,
    done_at: datetime | None = None,
) -> None:
    """Write what became of the Task, unless the lease has run out and another one has it."""
    columns = {
        "state": state,
        "outcome": outcome[:500],
        "next_try_at": next_try_at,
        "done_at": done_at,
        "task_id": task.task_id,
    }
    ours = SalesforceTask.objects.filter(
        pk=task.pk, state=SalesforceTask.State.WAITING, next_try_at=task.next_try_at
    )
    if not ours.update(**columns):
        _logger.warning("salesforce_task.lease_lost", reference=task.refund.reference)
        return
    for name, value in columns.items():
        setattr(task, name, value)
