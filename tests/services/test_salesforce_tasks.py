"""Answering back: one Task for a refund and state, whatever is lost, late or killed on the way."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import stamina
from django.conf import LazySettings
from django.db import transaction

from refunds import queue
from refunds.models import Order, Refund, SalesforceTask
from refunds.models.history import CHECK
from refunds.options import Option, Selection
from refunds.salesforce.client import SalesforceClient
from refunds.selectors import order_account
from refunds.services import salesforce_tasks
from refunds.services.refunds import refund_retry
from refunds.services.salesforce_tasks import (
    LEASE,
    MOST_TRIES,
    salesforce_task_add,
    salesforce_task_send,
    salesforce_task_try_again,
    salesforce_tasks_send,
)
from refunds.services.settlements import chargeback_take
from refunds.services.sweeping import sweep
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from tests.desk import Desk, rep
from tests.services.account import taken_late

pytestmark = pytest.mark.django_db

State = SalesforceTask.State
TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
#: Making a Task, and looking for one.
MAKES, LOOKS = "*/sobjects/Task*", "*/query*"


@pytest.fixture(autouse=True)
def _on(settings: LazySettings) -> Iterator[None]:
    settings.SALESFORCE_TASKS = True
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def order(desk: Desk) -> Order:
    """Return an order that is in Salesforce as well."""
    return desk.order("worked_sample")


def submit(desk: Desk, order: Order) -> Refund:
    return desk.submit(order, rep(), TEN)


def succeed(desk: Desk, refund: Refund) -> Refund:
    """Let Digital River succeed with the refund, and the desk find out."""
    desk.sandbox.succeed_refund(refund.digital_river_id)
    return look(desk, refund)


def fail(desk: Desk, refund: Refund) -> Refund:
    desk.sandbox.fail_refund(refund.digital_river_id, "expired_or_canceled_card")
    return look(desk, refund)


def look(desk: Desk, refund: Refund) -> Refund:
    desk.clock.forward(minutes=2)
    desk.refresh(refund.order)
    refund.refresh_from_db()
    return refund


@pytest.fixture
def task(desk: Desk, order: Order) -> SalesforceTask:
    """Return what is to be told of a refund that succeeded."""
    succeed(desk, submit(desk, order))
    return SalesforceTask.objects.get()


class Sender:
    """Sends what is due by the test's clock and wire."""

    def __init__(self, client: SalesforceClient, desk: Desk) -> None:
        self.client, self.clock = client, desk.clock

    def __call__(self) -> dict[str, int]:
        return dict(salesforce_tasks_send(clock=self.clock, client=self.client))


@pytest.fixture
def send(salesforce: SalesforceClient, desk: Desk) -> Sender:
    return Sender(salesforce, desk)


def spoil(organisation: Organisation, kind: FaultKind, **more: Any) -> None:
    organisation.queue_fault(Fault(kind, **{"path": MAKES, "method": "POST", **more}))


# -- what is noted when a refund settles -----------------------------------------------------------


def test_refund_that_succeeds_is_noted_once(desk: Desk, order: Order) -> None:
    refund = succeed(desk, submit(desk, order))
    look(desk, refund)

    task = SalesforceTask.objects.get()
    assert task.subject == f"Refund {refund.reference}: USD 10.00 succeeded"
    assert (task.state, task.refund_state, task.tries) == (State.WAITING, "succeeded", 0)
    assert task.next_try_at == task.created_at == refund.settled_at


def test_refund_that_fails_and_succeeds_when_sent_again_is_noted_twice(
    desk: Desk, order: Order
) -> None:
    refund = fail(desk, submit(desk, order))
    refund = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    succeed(desk, refund)

    assert list(SalesforceTask.objects.order_by("pk").values_list("subject", flat=True)) == [
        f"Refund {refund.reference}: USD 10.00 failed",
        f"Refund {refund.reference}: USD 10.00 succeeded",
    ]


def test_refund_that_fails_twice_is_noted_once(desk: Desk, order: Order) -> None:
    refund = fail(desk, submit(desk, order))
    refund = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    assert fail(desk, refund).state == Refund.State.FAILED

    assert SalesforceTask.objects.get().refund_state == "failed"


def test_refund_under_way_is_not_noted(desk: Desk, order: Order) -> None:
    submit(desk, order)

    assert not SalesforceTask.objects.exists()


def test_refund_that_settles_is_not_noted_where_it_is_off(
    desk: Desk, order: Order, settings: LazySettings, send: Sender
) -> None:
    settings.SALESFORCE_TASKS = False
    succeed(desk, submit(desk, order))

    assert not SalesforceTask.objects.exists()
    assert send() == {}


def test_refund_that_was_made_elsewhere_is_not_noted(desk: Desk, order: Order) -> None:
    made = desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("5.00")},
        upstream_id="elsewhere",
    )
    desk.refresh(order)
    refund = Refund.objects.get(digital_river_id=made.refund.id)
    assert refund.origin == Refund.Origin.ELSEWHERE

    assert succeed(desk, refund).state == Refund.State.SUCCEEDED

    assert not SalesforceTask.objects.exists()


def test_chargeback_is_not_noted(desk: Desk, order: Order) -> None:
    with transaction.atomic():
        chargeback_take(
            order=order,
            account=order_account(order),
            amount=Decimal("5.00"),
            currency="",
            created_at=None,
            at=desk.clock(),
            actor=CHECK,
        )

    assert not SalesforceTask.objects.exists()


def test_note_is_written_with_the_move_or_not_at_all(desk: Desk, order: Order) -> None:
    refund = submit(desk, order)

    class BrokenOffError(Exception):
        pass

    def settle() -> None:
        with transaction.atomic():
            refund.move_to(
                Refund.State.SUCCEEDED,
                actor=CHECK,
                at=desk.clock(),
                summary="Succeeded.",
                settled_at=desk.clock(),
                refunded_amount=Decimal("10.00"),
            )
            salesforce_task_add(refund=refund, at=desk.clock())
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        settle()

    assert not SalesforceTask.objects.exists()
    assert Refund.objects.get(pk=refund.pk).state == Refund.State.PENDING


def test_refund_settles_whatever_salesforce_does(
    desk: Desk, order: Order, organisation: Organisation
) -> None:
    organisation.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, times=99))

    refund = succeed(desk, submit(desk, order))

    assert refund.state == Refund.State.SUCCEEDED
    assert len(organisation.faults()) == 1
    assert organisation.faults()[0]["times"] == 99


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_note_is_put_off_once_it_is_committed(
    desk: Desk, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_off: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        queue, "_put_off", lambda task, arguments: put_off.append((task, arguments))
    )

    succeed(desk, submit(desk, order))

    task = SalesforceTask.objects.get()
    assert put_off == [("refunds.tasks.send_salesforce_task", (task.pk,))]


# -- the Task --------------------------------------------------------------------------------------


def test_task_is_made_on_the_order(
    task: SalesforceTask, send: Sender, organisation: Organisation, settings: LazySettings
) -> None:
    settings.DESK_ADDRESS = "https://desk.example.com"
    refund, order = task.refund, task.refund.order

    assert send() == {"created": 1}

    (made,) = organisation.tasks()
    assert made["Subject"] == task.subject
    assert made["WhatId"] == order.salesforce_id
    assert (made["Status"], made["Priority"]) == ("Completed", "Normal")
    assert made["ActivityDate"] == "2026-11-02"
    assert made["Description"].splitlines() == [
        f"Refund {refund.reference}: USD 10.00 succeeded.",
        "Digital River has sent the money back. The customer sees it 5 to 10 business days later.",
        f"Complete Order of order {order.order_number}, at the refund desk.",
        f"https://desk.example.com/refunds/{refund.reference}/",
    ]
    task.refresh_from_db()
    assert (task.state, task.task_id, task.tries) == (State.CREATED, made["Id"], 1)
    assert task.done_at == send.clock()
    assert task.next_try_at is None


def test_task_of_a_refund_that_failed_says_why(
    desk: Desk, order: Order, send: Sender, organisation: Organisation
) -> None:
    fail(desk, submit(desk, order))
    send()

    told = organisation.tasks()[0]["Description"]

    assert "The customer got no money." in told
    assert "The customer's card has expired or was cancelled." in told


def test_task_of_a_refund_whose_earlier_attempt_pays_says_which_one_does(
    desk: Desk, order: Order, organisation: Organisation, send: Sender
) -> None:
    refund, other = taken_late(desk, order, TEN)
    assert send() == {"created": 1}

    [made] = organisation.tasks()
    assert made["Subject"] == f"Refund {refund.reference}: USD 10.00 failed"
    assert f"Refund {other.reference} pays the customer" in made["Description"]
    assert "got no money" not in made["Description"]


def test_task_holds_nothing_of_the_customer(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    order = task.refund.order
    send()

    told = str(organisation.tasks()[0])

    for theirs in (order.buyer_email, order.buyer_name, order.account_name):
        assert theirs
        assert theirs not in told


def test_task_is_made_once_however_often_it_is_sent(
    task: SalesforceTask, send: Sender, organisation: Organisation, salesforce: SalesforceClient
) -> None:
    send()
    send.clock.forward(days=1)

    assert send() == {}
    assert (
        salesforce_task_send(task_id=task.pk, clock=send.clock, client=salesforce).state
        == State.CREATED
    )
    assert len(organisation.tasks()) == 1


def test_task_costs_one_call_at_the_first_try(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    before = organisation.calls
    send()

    # Signing in counts as none.
    assert organisation.calls - before == 1


# -- answers that never came -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.LOST_AFTER, FaultKind.BREAKS_OFF])
def test_task_whose_answer_was_lost_is_found_and_not_made_again(
    kind: FaultKind, task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    spoil(organisation, kind)

    assert send() == {"waiting": 1}
    assert len(organisation.tasks()) == 1
    task.refresh_from_db()
    assert "did not say whether it made the task" in task.outcome
    assert task.next_try_at == send.clock() + LEASE

    send.clock.forward(minutes=9)
    assert send() == {}
    send.clock.forward(minutes=1)
    assert send() == {"created": 1}
    assert len(organisation.tasks()) == 1
    task.refresh_from_db()
    assert (task.task_id, task.outcome) == (
        organisation.tasks()[0]["Id"],
        "It was in Salesforce already.",
    )


def test_task_that_never_arrived_is_made_after_a_look(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    spoil(organisation, FaultKind.LOST_BEFORE)
    send()
    assert organisation.tasks() == []

    send.clock.forward(minutes=10)

    assert send() == {"created": 1}
    assert len(organisation.tasks()) == 1


def test_task_that_cannot_be_looked_for_is_not_made(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    spoil(organisation, FaultKind.LOST_AFTER)
    send()
    organisation.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, path=LOOKS, times=9))
    send.clock.forward(minutes=10)

    assert send() == {"waiting": 1}
    assert len(organisation.tasks()) == 1


def test_task_of_a_process_that_was_killed_after_making_it_is_found(
    task: SalesforceTask,
    send: Sender,
    organisation: Organisation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise KilledError

    monkeypatch.setattr(salesforce_tasks, "_write", killed)
    with pytest.raises(KilledError):
        send()
    monkeypatch.undo()
    assert len(organisation.tasks()) == 1
    assert send() == {}

    send.clock.now += LEASE

    assert send() == {"created": 1}
    assert len(organisation.tasks()) == 1


def test_task_that_another_one_has_is_left_alone(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    stale = SalesforceTask.objects.select_related("refund__order").get(pk=task.pk)
    SalesforceTask.objects.filter(pk=task.pk).update(tries=1, next_try_at=send.clock() + LEASE)

    assert salesforce_tasks._send(stale, clock=send.clock, client=send.client)
    assert organisation.tasks() == []


def test_task_is_not_made_by_a_process_that_stood_still(
    task: SalesforceTask,
    send: Sender,
    organisation: Organisation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = salesforce_tasks._claim

    def slowly(*what: Any, **more: Any) -> bool:
        claimed = claim(*what, **more)
        send.clock.forward(minutes=6)
        return claimed

    monkeypatch.setattr(salesforce_tasks, "_claim", slowly)
    send()

    assert organisation.tasks() == []
    task.refresh_from_db()
    assert "held up" in task.outcome


def test_task_whose_lease_ran_out_is_not_written_over(
    task: SalesforceTask,
    send: Sender,
    organisation: Organisation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = send.client.create

    def meanwhile(*what: Any) -> str:
        made = create(*what)
        SalesforceTask.objects.filter(pk=task.pk).update(
            state=State.CREATED, next_try_at=None, task_id=made, outcome="By another one."
        )
        return made

    monkeypatch.setattr(send.client, "create", meanwhile)
    send()

    task.refresh_from_db()
    assert task.outcome == "By another one."


# -- what can wait ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.ERROR, code="UNABLE_TO_LOCK_ROW", path=MAKES, times=9),
        Fault(FaultKind.ERROR, code="REQUEST_LIMIT_EXCEEDED", path=MAKES),
        Fault(FaultKind.CONNECTION_REFUSED, times=9),
    ],
    ids=["locked", "limit", "away"],
)
def test_task_that_cannot_be_made_now_is_made_later(
    fault: Fault, task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    organisation.queue_fault(fault)

    assert send() == {"waiting": 1}
    task.refresh_from_db()
    assert task.outcome.endswith("The desk tries again by itself.")
    assert task.next_try_at == send.clock() + timedelta(minutes=1)
    assert organisation.tasks() == []

    organisation.clear_faults()
    send.clock.forward(minutes=1)
    assert send() == {"created": 1}
    assert len(organisation.tasks()) == 1


def test_task_waits_longer_each_time_and_an_hour_at_most(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    organisation.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, times=999))
    pauses = []
    for _ in range(MOST_TRIES + 5):
        send()
        task.refresh_from_db()
        assert task.next_try_at is not None
        pauses.append(int((task.next_try_at - send.clock()).total_seconds() / 60))
        send.clock.now = task.next_try_at

    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    # However long Salesforce is away, it waits.
    assert task.state == State.WAITING


def test_round_ends_once_salesforce_is_away(
    desk: Desk, order: Order, task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    succeed(desk, submit(desk, order))
    organisation.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, times=999))

    assert send() == {"waiting": 1}
    assert sorted(SalesforceTask.objects.values_list("tries", flat=True)) == [0, 1]


# -- what waits for a person -----------------------------------------------------------------------


@pytest.mark.parametrize("right", ["Task:create", "Task.Description:create"])
def test_task_without_a_right_fails_and_says_so(
    right: str, task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset({right}))

    assert send() == {"failed": 1}
    task.refresh_from_db()
    assert "integration user may not" in task.outcome
    assert task.outcome.endswith("Mend that, then try again.")
    assert task.next_try_at is None
    send.clock.forward(days=1)
    assert send() == {}


def test_task_that_failed_is_made_when_tried_again(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    organisation.reshape(taken=frozenset({"Task:create"}))
    send()
    organisation.reshape(taken=frozenset())

    assert salesforce_task_try_again(task_id=task.pk, clock=send.clock)
    assert not salesforce_task_try_again(task_id=task.pk, clock=send.clock)
    assert send() == {"created": 1}
    assert len(organisation.tasks()) == 1


def test_task_that_is_tried_again_is_looked_for_first(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    send()
    SalesforceTask.objects.filter(pk=task.pk).update(state=State.FAILED, task_id="")

    assert salesforce_task_try_again(task_id=task.pk, clock=send.clock)
    assert send() == {"created": 1}
    assert len(organisation.tasks()) == 1


def test_task_of_an_order_that_was_deleted_in_salesforce_fails_and_says_so(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    order = task.refund.order
    organisation.delete("Order", order.salesforce_id)

    assert send() == {"failed": 1}
    task.refresh_from_db()
    assert f"Order {order.order_number} was deleted in Salesforce" in task.outcome

    organisation.undelete("Order", order.salesforce_id)
    salesforce_task_try_again(task_id=task.pk, clock=send.clock)
    assert send() == {"created": 1}


def test_task_of_an_order_that_the_mirror_knows_is_deleted_costs_no_call(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    Order.objects.update(salesforce_deleted_at=send.clock())
    before = organisation.calls

    assert send() == {"failed": 1}
    assert organisation.calls == before


def test_task_that_keeps_being_locked_fails_in_the_end(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    SalesforceTask.objects.filter(pk=task.pk).update(tries=MOST_TRIES - 1)
    spoil(organisation, FaultKind.ERROR, code="UNABLE_TO_LOCK_ROW", times=9)

    assert send() == {"failed": 1}


def test_task_that_the_desk_cannot_make_is_put_off_and_logged(
    task: SalesforceTask,
    send: Sender,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(salesforce_tasks, "_fields", broken)

    assert send() == {"waiting": 1}
    task.refresh_from_db()
    assert "ZeroDivisionError" in task.outcome


def test_task_never_touches_the_refund(
    task: SalesforceTask, send: Sender, organisation: Organisation
) -> None:
    before = Refund.objects.values().get()
    entries = list(task.refund.history.values())
    organisation.reshape(taken=frozenset({"Task:create"}))
    send()
    organisation.reshape(taken=frozenset())
    salesforce_task_try_again(task_id=task.pk, clock=send.clock)
    send()

    assert Refund.objects.values().get() == before
    assert list(task.refund.history.values()) == entries


# -- the sweep -------------------------------------------------------------------------------------


def test_sweep_makes_what_is_due(
    task: SalesforceTask, organisation: Organisation, desk: Desk
) -> None:
    done = sweep(clock=desk.clock, client=desk.client)

    assert done["Salesforce tasks"] == {"created": 1}
    assert len(organisation.tasks()) == 1


def test_sweep_leaves_them_where_it_is_off(
    task: SalesforceTask, desk: Desk, settings: LazySettings
) -> None:
    settings.SALESFORCE_TASKS = False

    assert sweep(clock=desk.clock, client=desk.client)["Salesforce tasks"] == {}
    task.refresh_from_db()
    assert (task.state, task.tries) == (State.WAITING, 0)
