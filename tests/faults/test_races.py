"""Fifty at once on one order and on one refund, in threads and on two machines.

A lock that the test holds gathers all of them where it hurts, so that no run depends on luck;
and each check is shown to fail once the lock or the condition that it is there for is taken out.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fcntl import LOCK_EX, flock
from pathlib import Path
from tempfile import gettempdir
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import Manager

from refunds.digitalriver.client import DigitalRiverClient
from refunds.errors import DraftClosed, FiguresChanged, MoveForbidden, RefundDeskError
from refunds.models import CHECK, SWEEP, Difference, Event, Grounds, Order, Refund
from refunds.options import Option, Selection
from refunds.services.differences import difference_adopt
from refunds.services.drafts import draft_choose, draft_discard, drafts_expire
from refunds.services.events import event_process, events_catch_up
from refunds.services.refunds import (
    refund_cancel,
    refund_check,
    refund_queue,
    refund_retry,
    refund_submit,
    refunds_settle,
)
from refunds.services.sweeping import sweep
from sandbox.faults import FaultKind
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.desk import Desk, SetClock, lead, rep
from tests.faults.aftermath import check_aftermath, check_history
from tests.faults.crowds import LONGEST, Job, at_once, gathered, watched
from tests.faults.processes import QUICK_COMMITS, ROOT, database_address, variables
from tests.services.account import at_digital_river, check_account, spoil, taken
from tests.services.wire import Wire

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]

State = Refund.State
MANY = 50
FIVE = Selection(Option.COMPLETE_ORDER, Decimal("5.00"))
TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
TWENTY = Selection(Option.COMPLETE_ORDER, Decimal("20.00"))


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Keep other crowds off: fifty connections more, and the database would refuse some."""
    with (Path(gettempdir()) / f"refund-desk-crowd-{os.getuid()}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


@pytest.fixture
def wire(sandbox: Sandbox) -> Wire:
    """Return the wire between the desk and its stand-in."""
    return Wire(in_process_for(sandbox))


@pytest.fixture
def desk(sandbox: Sandbox, clock: SetClock, wire: Wire, db: None) -> Desk:
    """Return the desk beside its stand-in, on the wire that the test can see."""
    client = DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key="sk_test_refund_desk",
        version="2021-12-13",
        # Threads wait for each other, and on a busy machine for long.
        timeout=90,
        application_id="refund-desk/test",
        transport=wire,
        read_attempts=1,
    )
    return Desk(sandbox, client, clock)


def submitting(desk: Desk, draft: Refund, selection: Selection, *, tries: int = 1) -> Job:
    """Return the submit of a review as it is shown now; looks at new figures so many times."""
    user, first = draft.created_by, desk.seen(draft, selection)
    assert user is not None

    def job() -> Refund:
        seen = first
        for left in reversed(range(tries)):
            mine = Refund.objects.get(pk=draft.pk)
            try:
                return refund_submit(
                    draft=mine, user=user, seen=seen, clock=desk.clock, client=desk.client
                )
            except FiguresChanged:
                if not left:
                    raise
                seen = desk.seen(draft, selection)
        raise AssertionError("tries is at least 1")

    return job


def refreshing(desk: Desk, order: Order) -> Job:
    """Return a look at the order."""
    return lambda: desk.refresh(Order.objects.get(pk=order.pk))


def failures(outcomes: list[object]) -> list[object]:
    """Return what went wrong for another reason than that the desk refused it."""
    return [
        each
        for each in outcomes
        if isinstance(each, Exception) and not isinstance(each, RefundDeskError)
    ]


def without(monkeypatch: pytest.MonkeyPatch, manager: Manager[Any], *columns: str) -> None:
    """Take these columns out of the conditions that a row is changed on."""
    found = manager.filter

    def loose(*arguments: Any, **conditions: Any) -> Any:
        if "pk" in conditions:
            conditions = {key: each for key, each in conditions.items() if key not in columns}
        return found(*arguments, **conditions)

    monkeypatch.setattr(manager, "filter", loose)


# -- fifty on one order ------------------------------------------------------------------------


def test_race_of_reps_sweeps_looks_and_cancels_on_one_order(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    chance = random.Random(20)
    users = [rep(f"rep{number}") for number in range(24)]
    drafts = [desk.draft(order, user, FIVE) for user in users]
    submits = [submitting(desk, draft, FIVE, tries=6) for draft in drafts]
    for kind in (FaultKind.LOST_AFTER, FaultKind.LOST_BEFORE, FaultKind.RATE_LIMITED):
        spoil(desk, kind)

    def cancelling(draft: Refund) -> Job:
        def job() -> object:
            mine = Refund.objects.get(pk=draft.pk)
            assert draft.created_by is not None
            if mine.is_draft:
                return draft_discard(draft=mine, user=draft.created_by, clock=desk.clock)
            return refund_cancel(refund=mine, user=draft.created_by, clock=desk.clock)

        return job

    jobs = [
        *submits,
        # Double clicks.
        *submits[:10],
        *[cancelling(draft) for draft in drafts[-6:]],
        *[lambda: sweep(clock=desk.clock, client=desk.client)] * 5,
        *[refreshing(desk, order)] * 5,
    ]
    assert len(jobs) == MANY
    chance.shuffle(jobs)

    with watched(order) as watch:
        outcomes = at_once(jobs)

    assert failures(outcomes) == []
    assert watch.looks > 10
    order.refresh_from_db()
    assert Decimal("20.00") < watch.most_held <= order.captured_amount
    assert sum(map(taken, at_digital_river(desk, order))) <= order.captured_amount
    assert len(wire.posts) <= 8
    check_aftermath(desk, order)


def race_of_submits(desk: Desk, wire: Wire) -> None:
    """Let fifty reps submit what fits once, all past the first look before any holds the money."""
    order = desk.order("worked_sample")
    drafts = [desk.draft(order, rep(f"rep{number}"), TWENTY) for number in range(MANY // 2)]
    # Each is clicked twice.
    jobs = [submitting(desk, draft, TWENTY) for draft in drafts] * 2

    with watched(order) as watch:
        outcomes = gathered(jobs, "refunds_refundattempt")

    assert failures(outcomes) == []
    assert watch.most_held <= order.captured_amount
    assert sum(isinstance(each, RefundDeskError) for each in outcomes) == MANY - 2
    assert len({each.reference for each in outcomes if isinstance(each, Refund)}) == 1
    assert len(wire.posts) == 1
    assert sum(map(taken, at_digital_river(desk, order))) == Decimal("20.00")
    check_aftermath(desk, order)


def test_race_of_submits_that_fit_once(desk: Desk, wire: Wire) -> None:
    race_of_submits(desk, wire)


def test_race_of_submits_shows_that_the_lock_of_the_order_is_gone(
    desk: Desk, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlocked = SimpleNamespace(objects=SimpleNamespace(select_for_update=Order.objects.all))
    monkeypatch.setattr("refunds.services.refunds.Order", unlocked)
    with pytest.raises(AssertionError, match="most_held"):
        race_of_submits(desk, wire)


def race_of_double_clicks(desk: Desk, wire: Wire) -> None:
    """Let one review be submitted fifty times, all past the first look before one is written."""
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)

    outcomes = gathered([submitting(desk, draft, TEN)] * MANY, "refunds_refundattempt")

    assert {getattr(each, "reference", each) for each in outcomes} == {draft.reference}
    assert len(wire.posts) == Refund.objects.get().attempts.count() == 1
    check_aftermath(desk, order)


def test_race_of_double_clicks_sends_one_refund(desk: Desk, wire: Wire) -> None:
    race_of_double_clicks(desk, wire)


def test_race_of_double_clicks_shows_that_the_locks_are_gone(
    desk: Desk, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody is kept back behind the refund's row then, so all come to the lock of the test.
    for manager in (Order.objects, Refund.objects):
        monkeypatch.setattr(manager, "select_for_update", lambda of=(), own=manager: own.all())
    with pytest.raises(AssertionError):
        race_of_double_clicks(desk, wire)


@pytest.mark.parametrize("other", ["choose", "discard", "expire"])
def test_race_of_a_submit_and_whatever_else_changes_a_draft_is_no_deadlock(
    desk: Desk, other: str
) -> None:
    """Who has the draft and not yet its order must not keep from it one who has the order."""
    order = desk.order("worked_sample")
    user = rep()
    draft = desk.draft(order, user, TEN)
    assert draft.reason is not None
    grounds = Grounds(reason=draft.reason)
    later = SetClock(desk.clock.now + timedelta(days=30))
    others: dict[str, Job] = {
        "choose": lambda: draft_choose(
            draft=draft, user=user, selection=FIVE, grounds=grounds, clock=desk.clock
        ),
        "discard": lambda: draft_discard(draft=draft, user=user, clock=desk.clock),
        "expire": lambda: drafts_expire(clock=later),
    }
    submit = submitting(desk, draft, TEN)

    outcomes = gathered([others[other], submit], "refunds_historyentry", in_turn=True)

    assert not isinstance(outcomes[0], Exception), outcomes
    assert isinstance(outcomes[1], FiguresChanged | DraftClosed), outcomes
    assert at_digital_river(desk, order) == []
    check_history(order)


def test_race_of_an_adoption_and_a_look_at_the_order_is_no_deadlock(desk: Desk) -> None:
    """As above: the adoption has the refund, the look has the order and something new of it."""
    order = desk.order("worked_sample")
    created = desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("3.00")},
        upstream_id="dashboard",
    )
    desk.refresh(order)
    at = desk.clock.forward(minutes=1)
    difference = Difference.objects.create(
        kind=Difference.Kind.MISSING_HERE,
        subject=created.refund.id,
        digital_river_id=created.refund.id,
        digital_river_order_id=order.digital_river_id,
        explanation="Digital River has it and the desk does not.",
        found_at=at,
        last_seen_at=at,
    )
    user = lead()

    def adopt() -> Refund:
        return difference_adopt(
            difference=difference, user=user, clock=desk.clock, client=desk.client
        )

    def look() -> Order:
        desk.sandbox.settle_now()
        return desk.refresh(Order.objects.get(pk=order.pk))

    outcomes = gathered([adopt, look], "refunds_historyentry", in_turn=True)

    assert [each for each in outcomes if isinstance(each, Exception)] == []
    assert Refund.objects.get().state == State.SUCCEEDED
    check_history(order)


# -- fifty on one refund -----------------------------------------------------------------------


def retrying(desk: Desk, refund: Refund) -> Job:
    """Return a rep's sending it again, as the page was when it was opened."""
    user = rep()
    return lambda: refund_retry(refund=refund, user=user, clock=desk.clock, client=desk.client)


def cancelling(desk: Desk, refund: Refund) -> Job:
    """Return a rep's calling it off."""
    user = rep()
    return lambda: refund_cancel(refund=refund, user=user, clock=desk.clock)


def checking(desk: Desk, refund: Refund) -> Job:
    """Return a look at where it stands."""

    def job() -> Refund:
        mine = Refund.objects.select_related("order").get(pk=refund.pk)
        return refund_check(refund=mine, actor=CHECK, clock=desk.clock, client=desk.client)

    return job


def settling(desk: Desk) -> Job:
    """Return a settling round."""
    return lambda: dict(refunds_settle(clock=desk.clock, client=desk.client))


def check_one_end(desk: Desk, wire: Wire, order: Order, *, before: int) -> None:
    """Assert that the refund was either sent once more or called off."""
    refund = Refund.objects.get()
    sent, posts = at_digital_river(desk, order), len(wire.posts) - before
    assert (refund.state, len(sent), posts) in {(State.PENDING, 1, 1), (State.CANCELLED, 0, 0)}
    check_aftermath(desk, order)


def test_race_of_retries_checks_and_cancels_on_one_refund(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(order, rep(), TEN)
    assert refund.state == State.NOT_SENT
    before = len(wire.posts)
    jobs = [
        *[retrying(desk, refund)] * 20,
        *[cancelling(desk, refund)] * 10,
        *[checking(desk, refund)] * 10,
        *[settling(desk)] * 10,
    ]

    outcomes = at_once(jobs)

    assert failures(outcomes) == []
    assert sum(isinstance(each, MoveForbidden) for each in outcomes) == 29
    check_one_end(desk, wire, order, before=before)


def test_race_to_send_a_waiting_refund_or_call_it_off(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)
    seen = desk.seen(draft, TEN)
    refund = refund_queue(draft=draft, user=rep(), seen=seen, clock=desk.clock)
    desk.clock.forward(minutes=2)
    jobs = [
        *[settling(desk)] * 20,
        *[checking(desk, refund)] * 20,
        *[cancelling(desk, refund)] * 5,
        *[refreshing(desk, order)] * 5,
    ]

    outcomes = at_once(jobs)

    assert failures(outcomes) == []
    check_one_end(desk, wire, order, before=0)


def test_race_of_submit_queue_and_discard_on_one_draft(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    user = rep()
    draft = desk.draft(order, user, TEN)
    seen = desk.seen(draft, TEN)
    submit = submitting(desk, draft, TEN)

    def queue() -> Refund:
        return refund_queue(draft=draft, user=user, seen=seen, clock=desk.clock)

    def discard() -> object:
        return draft_discard(draft=draft, user=user, clock=desk.clock)

    outcomes = at_once([*[submit] * 25, *[queue] * 20, *[discard] * 5])

    assert failures(outcomes) == []
    refund = Refund.objects.get()
    sent = len(at_digital_river(desk, order))
    assert (refund.state, sent) in {
        (State.PENDING, 1),
        (State.QUEUED, 0),
        (State.CANCELLED, 0),
    }
    assert len(wire.posts) == sent
    moves = Counter(entry.from_state for entry in refund.history.all() if entry.from_state)
    assert moves[State.DRAFT] - 2 == 1, "two notes of the draft, and one way out of it"
    check_aftermath(desk, order)


# -- the state moves once ----------------------------------------------------------------------


def race_of_moves(desk: Desk) -> None:
    """Let fifty that all saw a waiting refund move it, to either of two states."""
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)
    seen = desk.seen(draft, TEN)
    refund = refund_queue(draft=draft, user=rep(), seen=seen, clock=desk.clock)
    before = refund.history_length

    def moving(state: str) -> Job:
        mine = Refund.objects.get(pk=refund.pk)
        return lambda: mine.move_to(state, actor=SWEEP, at=desk.clock(), summary="Moved.")

    states = [State.SUBMITTING, State.CANCELLED] * (MANY // 2)
    outcomes = gathered([moving(state) for state in states], "refunds_historyentry")

    assert outcomes.count(None) == 1, "more than one moved it"
    assert sum(isinstance(each, MoveForbidden) for each in outcomes) == MANY - 1
    refund.refresh_from_db()
    assert refund.history_length == before + 1
    last = refund.history.last()
    assert last is not None
    assert refund.state == last.to_state
    check_history(order)


def test_race_of_moves_is_won_by_one(desk: Desk) -> None:
    race_of_moves(desk)


def test_race_of_moves_shows_that_the_condition_is_gone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, Refund.objects, "state")
    with pytest.raises(AssertionError, match="more than one moved it"):
        race_of_moves(desk)


# -- what is due is taken once -----------------------------------------------------------------


def race_of_rounds(desk: Desk, wire: Wire) -> None:
    """Let fifty settling rounds find the same refund due."""
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), TEN)
    desk.clock.forward(minutes=2)
    before = len(wire.requests)

    outcomes = gathered([settling(desk)] * MANY, "refunds_refund", rows="id = %s", of=[refund.pk])

    assert failures(outcomes) == []
    assert len(wire.requests) - before == 2, "looked at more than once"
    assert Counter(map(str, outcomes)) == {"{}": MANY - 1, "{'pending': 1}": 1}
    check_aftermath(desk, order)


def test_race_of_rounds_looks_once(desk: Desk, wire: Wire) -> None:
    race_of_rounds(desk, wire)


def test_race_of_rounds_shows_that_the_claim_is_gone(
    desk: Desk, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, Refund.objects, "next_check_at")
    with pytest.raises(AssertionError, match="looked at more than once"):
        race_of_rounds(desk, wire)


def charged_back(desk: Desk) -> tuple[Order, Event]:
    """Return an order and the event that the customer's bank took some of it back."""
    order = desk.order("worked_sample")
    desk.clock.forward(minutes=1)
    assert order.digital_river_id
    desk.sandbox.charge_back(order.digital_river_id, Decimal("4.00"))
    events_catch_up(clock=desk.clock, client=desk.client)
    return order, Event.objects.get(type="order.chargeback")


def race_of_processing(desk: Desk, wire: Wire) -> None:
    """Let fifty begin to process the same event."""
    order, event = charged_back(desk)
    before = len(wire.requests)

    def process() -> Event:
        return event_process(event_id=event.pk, clock=desk.clock, client=desk.client)

    outcomes = gathered([process] * MANY, "refunds_event", rows="id = %s", of=[event.pk])

    assert failures(outcomes) == []
    event.refresh_from_db()
    assert (event.state, event.tries) == (Event.State.PROCESSED, 1), "processed more than once"
    assert len(wire.requests) - before == 2
    check_chargeback(desk, order)


def check_chargeback(desk: Desk, order: Order) -> None:
    """Assert that it is booked, once."""
    booked = Refund.objects.get(origin=Refund.Origin.CHARGEBACK)
    assert booked.held_amount == Decimal("4.00")
    check_account(desk, order)
    check_history(order)


def test_race_of_processing_takes_an_event_once(desk: Desk, wire: Wire) -> None:
    race_of_processing(desk, wire)


def test_race_of_processing_shows_that_the_claim_is_gone(
    desk: Desk, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, Event.objects, "state", "tries", "next_try_at")
    with pytest.raises(AssertionError, match="processed more than once"):
        race_of_processing(desk, wire)


def test_race_of_those_whose_lease_on_a_chargeback_ran_out_books_it_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each had been held up for longer than its lease after it had taken the event."""
    order, event = charged_back(desk)
    monkeypatch.setattr("refunds.services.events._claim", lambda event, at: True)

    def process() -> Event:
        return event_process(event_id=event.pk, clock=desk.clock, client=desk.client)

    outcomes = gathered([process] * MANY, "refunds_order", rows="id = %s", of=[order.pk])

    assert failures(outcomes) == []
    check_chargeback(desk, order)


# -- two machines ------------------------------------------------------------------------------


def test_race_of_two_machines_on_one_order(desk: Desk, sandbox: Sandbox) -> None:
    """Twenty-five threads on each: drafts of one's own, and drafts that both submit."""
    # The machines go by their own clocks.
    desk.clock.now = datetime.now(UTC)
    order = desk.order("worked_sample")
    drafts = [desk.draft(order, rep(f"rep{number}"), TEN) for number in range(30)]
    references = [draft.reference for draft in drafts]
    settings = variables(
        stand_in="",
        database=database_address(),
        ALLOW_SANDBOX="1",
        SANDBOX_STATE=str(sandbox.path),
        **QUICK_COMMITS,
    )

    with watched(order) as watch:
        outcomes = on_machines([references[:25], references[5:]], settings)

    assert watch.most_held <= order.captured_amount
    told = Counter(outcomes)
    sent = [each.removeprefix("sent ") for each in told if each.startswith("sent ")]
    # Both machines may tell of one that both submitted.
    [reference] = sent
    assert sum(told.values()) == MANY
    # A look may read the list before the one that was sent and the order after it: that one then
    # counts twice until the next look, and ten seem more than what is left.
    assert told.keys() - {"AmountInvalid"} == {f"sent {reference}", "FiguresChanged"}
    [theirs] = at_digital_river(desk, order)
    assert theirs["metadata"]["refundReference"] == f"{reference}-1"
    desk.clock.now = datetime.now(UTC)
    check_aftermath(desk, order)


def on_machines(work: list[list[str]], settings: dict[str, str]) -> list[str]:
    """Submit these drafts on as many machines, all at once; returns what came of each."""
    machines = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.machine"],
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in work
    ]
    try:
        for machine, references in zip(machines, work, strict=True):
            assert machine.stdin is not None
            machine.stdin.write(json.dumps(references) + "\n")
            machine.stdin.flush()
        for machine in machines:
            assert machine.stdout is not None
            assert machine.stdout.readline() == "ready\n"
        return [
            outcome
            for told in [machine.communicate("go\n", timeout=LONGEST)[0] for machine in machines]
            for outcome in json.loads(told)
        ]
    finally:
        for machine in machines:
            machine.kill()
            machine.wait()
