"""Settling rounds: what is due, safe at any time and any number at once; schedules by chance."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from refunds.errors import MoveForbidden, OrderUnreadable, RefundDeskError
from refunds.models import CHECK, Order, Refund
from refunds.money import smallest
from refunds.options import LineSelection, Option, Position, Selection
from refunds.selectors import order_position
from refunds.services.attempts import lease_length
from refunds.services.refunds import (
    refund_cancel,
    refund_check,
    refund_retry,
    refund_submit,
    refunds_settle,
)
from sandbox.faults import FaultKind
from tests.desk import Desk, rep
from tests.services.account import (
    at_digital_river,
    check_account,
    check_settled,
    parts_at_digital_river,
    parts_of_the_desk,
    spoil,
    unplug,
)
from tests.services.wire import KilledError, Wire, kill

pytestmark = pytest.mark.django_db

State = Refund.State


def part(amount: str) -> Selection:
    """Return a part of the whole order."""
    return Selection(Option.COMPLETE_ORDER, Decimal(amount))


def settle(desk: Desk, *, limit: int | None = None) -> dict[str, int]:
    """Run one settling round."""
    return dict(refunds_settle(limit=limit, clock=desk.clock, client=desk.client))


def test_refunds_settle_looks_only_at_what_is_due(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    first = desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(seconds=30)
    second = desk.submit(order, rep(), part("6.00"))
    asked = len(wire.requests)
    assert settle(desk) == {}
    assert len(wire.requests) == asked

    desk.clock.forward(minutes=10)
    assert sum(settle(desk).values()) >= 1
    for refund in (first, second):
        refund.refresh_from_db()
        assert refund.state == State.SUCCEEDED
        assert refund.next_check_at is None
    assert settle(desk) == {}
    check_settled(desk, order)


def test_refunds_settle_stops_at_its_limit_and_goes_on_next_time(desk: Desk) -> None:
    orders = [desk.order(case) for case in ("worked_sample", "plain_usd", "eur")]
    for order in orders:
        desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(minutes=10)

    assert settle(desk, limit=2) == {"succeeded": 2}
    assert settle(desk, limit=2) == {"succeeded": 1}
    assert settle(desk, limit=2) == {}


def test_refunds_settle_counts_what_it_could_not_read_and_looks_again(desk: Desk) -> None:
    for case in ("worked_sample", "plain_usd"):
        desk.submit(desk.order(case), rep(), part("5.00"))
    desk.clock.forward(minutes=10)
    unplug(desk)

    assert settle(desk) == {"unreadable": 1, "succeeded": 1}
    assert settle(desk) == {}
    desk.clock.forward(minutes=5)
    assert settle(desk) == {"succeeded": 1}


def test_refunds_settle_leaves_to_another_round_what_that_one_has_claimed(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=30)
    refund = desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(seconds=30)
    counts: list[dict[str, int]] = []
    wire.after_read = lambda: counts.append(settle(desk))

    assert settle(desk) == {"pending": 1}

    assert counts == [{}]
    assert len(at_digital_river(desk, order)) == 1
    assert refund.attempts.count() == 2


def test_refunds_settle_takes_up_what_a_killed_round_claimed(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(minutes=10)
    wire.after_read = kill
    with pytest.raises(KilledError):
        settle(desk)

    assert settle(desk) == {}
    desk.clock.forward(minutes=5)
    assert settle(desk) == {"succeeded": 1}


def test_refunds_settle_looks_less_and_less_often_at_what_does_not_change(desk: Desk) -> None:
    refund = desk.submit(desk.order("wire_transfer"), rep(), part("5.00"))
    desk.clock.forward(minutes=10)
    assert settle(desk) == {"pending_information": 1}
    desk.clock.forward(hours=3)

    for _ in range(2):
        assert settle(desk) == {"pending_information": 1}
        refund.refresh_from_db()
        assert refund.next_check_at == desk.clock() + timedelta(hours=1)
        desk.clock.forward(hours=1)


def test_refunds_settle_follows_a_refund_made_elsewhere(desk: Desk) -> None:
    order = desk.order("external_pending")
    refund = order.refunds.get()
    assert refund.state == State.PENDING
    desk.sandbox.settle_now(refund.digital_river_id)
    desk.clock.forward(hours=2)

    assert settle(desk) == {"succeeded": 1}
    check_settled(desk, order)


def test_refund_state_never_goes_backwards(desk: Desk, wire: Wire) -> None:
    """A look that began while it was pending ends after another one saw it succeed."""
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    desk.refresh(order)

    def another_look() -> None:
        desk.sandbox.settle_now()
        desk.clock.forward(seconds=1)
        refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)
        assert Refund.objects.get(pk=refund.pk).state == State.SUCCEEDED

    desk.clock.forward(seconds=1)
    wire.after_read = another_look
    refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)

    refund.refresh_from_db()
    assert refund.state == State.SUCCEEDED
    assert refund.next_check_at is None
    assert refund.flag == ""
    order.refresh_from_db()
    assert order.refunded_amount == Decimal("5.00")
    check_settled(desk, order)


def test_history_tells_every_move_with_its_actor_and_time(desk: Desk) -> None:
    order = desk.order("wire_transfer")
    spoil(desk, FaultKind.LOST_AFTER)
    refund = desk.submit(order, rep(), part("50.00"))
    desk.clock.forward(seconds=10)
    settle(desk)
    desk.clock.forward(minutes=10)
    asked = desk.clock()
    settle(desk)
    desk.sandbox.provide_bank_details(refund.digital_river_id or _id_of(refund))
    desk.clock.forward(minutes=10)
    refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)

    moves = [
        (entry.from_state, entry.to_state, entry.actor_kind)
        for entry in refund.history.all()
        if entry.from_state != entry.to_state
    ]
    assert moves == [
        ("draft", "submitting", "person"),
        ("submitting", "unknown", "person"),
        ("unknown", "pending", "sweep"),
        ("pending", "pending_information", "sweep"),
        ("pending_information", "succeeded", "check"),
    ]
    entry = refund.history.get(to_state="pending_information", from_state="pending")
    assert entry.at == asked


def _id_of(refund: Refund) -> str:
    refund.refresh_from_db()
    return refund.digital_river_id


# -- schedules by chance ---------------------------------------------------------------------------

FAULTS: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.LOST_BEFORE, {}),
    (FaultKind.LOST_AFTER, {}),
    (FaultKind.LOST_AFTER, {"how": "timeout"}),
    (FaultKind.ERROR, {"status": 500}),
    (FaultKind.ERROR, {"status": 408}),
    (FaultKind.ERROR, {"status": 409}),
    (FaultKind.MALFORMED, {}),
    (FaultKind.WRONG_SHAPE, {}),
    (FaultKind.RATE_LIMITED, {"retry_after": 45}),
    (FaultKind.CONNECTION_REFUSED, {}),
    (FaultKind.OTHER_AMOUNT, {}),
]


class Schedule:
    """A long day of one order: several reps, a bad line, a bank that refuses some of it."""

    def __init__(self, desk: Desk, wire: Wire, order: Order, seed: int) -> None:
        """Take the order and the seed that decides the day."""
        self.desk, self.wire, self.order = desk, wire, order
        self.dice = random.Random(seed)
        self.exact = True

    def selection(self, position: Position) -> Selection | None:
        """Choose something that is open, often only a part of it."""
        choices = [choice for choice in position.choices if choice.is_open]
        if not choices:
            return None
        choice = self.dice.choice(choices)
        if choice.option is Option.LINE_ITEMS:
            line = self.dice.choice([each for each in position.ledger.lines if each.units])
            units = self.dice.randint(1, line.units)
            return Selection(choice.option, lines=(LineSelection(line.figures.line, units),))
        if choice.option is Option.FEES:
            fees = list(position.fee_lines())
            chosen = self.dice.sample(fees, self.dice.randint(1, len(fees)))
            return Selection(choice.option, lines=tuple(map(LineSelection, chosen)))
        unit = smallest(position.order.currency)
        share = self.dice.choice((Decimal("0.1"), Decimal("0.5"), Decimal(1)))
        amount = max(unit, (choice.maximum * share).quantize(unit))
        return Selection(choice.option, amount)

    def submit(self) -> None:
        """Submit something new; sometimes the page was old, sometimes the process dies."""
        desk, user = self.desk, rep(self.dice.choice(("rep", "rep2")))
        self.order.refresh_from_db()
        selection = self.selection(order_position(self.order))
        if selection is None:
            return
        if self.dice.random() < 0.45:
            kind, options = self.dice.choice(FAULTS)
            spoil(desk, kind, **options)
        if self.dice.random() < 0.1:
            setattr(self.wire, self.dice.choice(("before_post", "after_post")), kill)
        try:
            draft = desk.draft(self.order, user, selection)
            refund_submit(
                draft=draft,
                user=user,
                seen=desk.seen(draft, selection),
                clock=desk.clock,
                client=desk.client,
            )
        except (RefundDeskError, KilledError):
            pass
        finally:
            desk.sandbox.clear_faults()
            self.wire.before_post = self.wire.after_post = None

    def settle(self) -> None:
        """Let time pass, mostly a little, and run a round, sometimes on a dead line."""
        self.desk.clock.forward(seconds=self.dice.choice((1, 20, 61, 61, 125, 400)))
        if self.dice.random() < 0.1:
            unplug(self.desk, times=2)
        settle(self.desk)
        self.desk.sandbox.clear_faults()

    def bank(self) -> None:
        """Let one refund that is under way fail, or give back less than was asked."""
        waiting = [
            each for each in at_digital_river(self.desk, self.order) if each["state"] == "pending"
        ]
        if not waiting:
            return
        refund = self.dice.choice(waiting)
        if self.dice.random() < 0.6:
            self.desk.sandbox.fail_refund(refund["id"], "expired_or_canceled_card")
        else:
            self.desk.sandbox.succeed_refund(refund["id"])

    def touch(self) -> None:
        """Open a refund's page, send it again or call it off, whatever its state."""
        refunds = list(self.order.refunds.filter(submitted_at__isnull=False))
        if not refunds:
            return
        refund, desk = self.dice.choice(refunds), self.desk
        action = self.dice.choice(("check", "retry", "cancel"))
        if self.dice.random() < 0.2:
            kind, options = self.dice.choice(FAULTS)
            spoil(desk, kind, **options)
        try:
            if action == "check":
                refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)
            elif action == "retry":
                refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
            else:
                refund_cancel(refund=refund, user=rep(), clock=desk.clock)
        except (RefundDeskError, MoveForbidden, OrderUnreadable):
            pass
        finally:
            desk.sandbox.clear_faults()

    def run(self, steps: int) -> None:
        """Live through the day, checking the account after every step, and then settle all."""
        actions = (self.submit, self.submit, self.settle, self.settle, self.bank, self.touch)
        for _ in range(steps):
            self.dice.choice(actions)()
            check_account(self.desk, self.order)
        for _ in range(4):
            self.desk.clock.forward(seconds=lease_length().total_seconds() + 301)
            settle(self.desk)
            check_account(self.desk, self.order)


@pytest.mark.parametrize("seed", range(32))
def test_no_schedule_sends_twice_loses_or_gives_more_than_is_left(
    desk: Desk, wire: Wire, seed: int
) -> None:
    case = ("all_options", "worked_sample", "jpy", "partly_cancelled")[seed % 4]
    order = desk.order(case)
    schedule = Schedule(desk, wire, order, seed)

    schedule.run(steps=12)

    check_settled(desk, order)
    unsettled = order.refunds.exclude(state__in=["draft", "not_sent"]).filter(
        settled_at__isnull=True
    )
    assert list(unsettled) == []
    assert sum(parts_of_the_desk(order).values()) == sum(
        parts_at_digital_river(desk, order).values()
    )
    assert order.refunds.filter(origin=Refund.Origin.ELSEWHERE).count() == 0
    for refund in order.refunds.prefetch_related("attempts"):
        times = [attempt.started_at for attempt in refund.attempts.all()]
        assert times == sorted(times)
        assert all(attempt.lease_until > attempt.started_at for attempt in refund.attempts.all())
        assert refund.created_at <= refund.updated_at <= desk.clock() + timedelta(0)
