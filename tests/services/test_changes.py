"""Whatever changes a refund writes to its history, in the same breath: every service, step by step.

Each life is a generator that stops after every call of a service; what had changed by then must
have an entry that was written with it.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.db import transaction

from refunds.models import (
    CHECK,
    WEBHOOK,
    Actor,
    Grounds,
    HistoryEntry,
    Order,
    Refund,
    RefundLine,
    RefundReason,
)
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import order_account
from refunds.services.drafts import draft_choose, draft_create, draft_discard, drafts_expire
from refunds.services.events import events_catch_up, events_process
from refunds.services.orders import order_recount
from refunds.services.refunds import (
    refund_cancel,
    refund_check,
    refund_queue,
    refund_retry,
    refund_submit,
    refunds_settle,
)
from refunds.services.settlements import chargeback_take
from refunds.services.verification import Finding, verify_history
from sandbox.faults import FaultKind
from tests.desk import Desk, rep
from tests.services.account import spoil
from tests.services.wire import KilledError, Wire, kill

pytestmark = pytest.mark.django_db

#: What is the desk's own bookkeeping: when it looks next, what it has compared, how it finds it.
BOOKKEEPING = {
    "updated_at",
    "next_check_at",
    "draft_expires_at",
    "listed",
    "reconciled_at",
    "reference_key",
    "digital_river_key",
    "history_length",
    "history_head",
}
MEANT = [
    field.attname for field in Refund._meta.concrete_fields if field.attname not in BOOKKEEPING
]
TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
State = Refund.State
Life = Callable[["Scene"], Iterator[str]]


@dataclass
class Scene:
    """The desk, an order of USD 27.01 on it, and the calls as a life writes them."""

    desk: Desk
    wire: Wire
    order: Order

    def draft(self) -> Refund:
        return draft_create(order=self.order, user=rep(), clock=self.desk.clock)

    def choose(self, draft: Refund, selection: Selection = TEN, **more: str) -> Refund:
        reason = RefundReason.objects.get(label="Requested by customer")
        draft_choose(
            draft=draft,
            user=rep(),
            selection=selection,
            grounds=Grounds(reason=reason, **more),
            clock=self.desk.clock,
        )
        return Refund.objects.get(pk=draft.pk)

    def submit(self, selection: Selection = TEN) -> Refund:
        draft = self.choose(self.draft(), selection)
        return refund_submit(
            draft=draft,
            user=rep(),
            seen=self.desk.seen(draft, selection),
            clock=self.desk.clock,
            client=self.desk.client,
        )

    def retry(self, refund: Refund) -> Refund:
        return refund_retry(
            refund=Refund.objects.get(pk=refund.pk),
            user=rep(),
            clock=self.desk.clock,
            client=self.desk.client,
        )

    def check(self, refund: Refund) -> Refund:
        return refund_check(
            refund=Refund.objects.get(pk=refund.pk),
            actor=Actor.looking(rep()),
            clock=self.desk.clock,
            client=self.desk.client,
        )

    def settle(self) -> None:
        refunds_settle(clock=self.desk.clock, client=self.desk.client)

    def later(self, **length: float) -> None:
        self.desk.clock.forward(**length)


def drafted_and_discarded(scene: Scene) -> Iterator[str]:
    draft = scene.draft()
    yield "draft"
    draft = scene.choose(draft, note="As agreed.", ticket_url="https://tickets.example/1")
    yield "draft"
    line = scene.order.lines.get().key
    scene.choose(draft, Selection(Option.LINE_ITEMS, lines=(LineSelection(line, quantity=1),)))
    yield "draft"
    draft_discard(draft=draft, user=rep(), clock=scene.desk.clock)
    yield "cancelled"


def drafted_and_expired(scene: Scene) -> Iterator[str]:
    scene.choose(scene.draft())
    yield "draft"
    scene.later(days=9)
    drafts_expire(clock=scene.desk.clock)
    yield "cancelled"


def sent_and_succeeded_for_less(scene: Scene) -> Iterator[str]:
    refund = scene.submit()
    yield "pending"
    scene.desk.sandbox.succeed_refund(refund.digital_river_id, Decimal("9.00"))
    scene.later(minutes=2)
    scene.settle()
    yield "succeeded"


def taken_for_another_amount(scene: Scene) -> Iterator[str]:
    spoil(scene.desk, FaultKind.OTHER_AMOUNT, amount=Decimal("4.00"))
    scene.submit()
    yield "pending"


def sent_again_after_each_end(scene: Scene) -> Iterator[str]:
    spoil(scene.desk, FaultKind.CONNECTION_REFUSED)
    refund = scene.submit()
    yield "not_sent"
    refund = scene.retry(refund)
    yield "pending"
    scene.desk.sandbox.fail_refund(refund.digital_river_id, "account_closed")
    scene.later(minutes=2)
    scene.check(refund)
    yield "failed"
    scene.retry(refund)
    yield "pending"
    # Digital River contradicts itself: the one that failed was paid after all.
    scene.later(minutes=10)
    scene.settle()
    yield "succeeded"


def lost_and_never_there(scene: Scene) -> Iterator[str]:
    spoil(scene.desk, FaultKind.LOST_BEFORE)
    refund = scene.submit()
    yield "unknown"
    scene.check(refund)
    yield "unknown"
    scene.later(seconds=30)
    scene.check(refund)
    yield "unknown"
    scene.later(seconds=31)
    scene.settle()
    yield "not_sent"
    refund_cancel(refund=refund, user=rep(), clock=scene.desk.clock)
    yield "cancelled"


def lost_and_found(scene: Scene) -> Iterator[str]:
    spoil(scene.desk, FaultKind.LOST_AFTER)
    scene.submit()
    yield "unknown"
    scene.later(seconds=1)
    scene.settle()
    yield "pending"


def killed_and_turned_up(scene: Scene) -> Iterator[str]:
    draft = scene.choose(scene.draft())
    seen = scene.desk.seen(draft, TEN)
    scene.wire.after_post = kill
    with pytest.raises(KilledError):
        refund_submit(
            draft=draft, user=rep(), seen=seen, clock=scene.desk.clock, client=scene.desk.client
        )
    yield "submitting"
    scene.later(hours=1)
    scene.settle()
    yield "succeeded"


def turned_away_and_called_off(scene: Scene) -> Iterator[str]:
    spoil(scene.desk, FaultKind.RATE_LIMITED, retry_after=90)
    refund = scene.submit()
    yield "queued"
    refund_cancel(refund=refund, user=rep(), clock=scene.desk.clock)
    yield "cancelled"


def held_and_sent_later(scene: Scene) -> Iterator[str]:
    draft = scene.choose(scene.draft())
    refund_queue(draft=draft, user=rep(), seen=scene.desk.seen(draft, TEN), clock=scene.desk.clock)
    yield "queued"
    scene.later(minutes=2)
    scene.settle()
    yield "pending"


def held_until_too_much(scene: Scene) -> Iterator[str]:
    draft = scene.choose(scene.draft())
    refund_queue(draft=draft, user=rep(), seen=scene.desk.seen(draft, TEN), clock=scene.desk.clock)
    yield "queued"
    elsewhere(scene, Decimal("20.00"))
    scene.later(minutes=2)
    scene.settle()
    yield "refused"


def refused(scene: Scene) -> Iterator[str]:
    spoil(scene.desk, FaultKind.ERROR, status=400)
    scene.submit()
    yield "refused"


def elsewhere(scene: Scene, amount: Decimal) -> str:
    """Make a refund in the Dashboard; returns its id."""
    body = {"orderId": scene.order.digital_river_id, "currency": "USD", "amount": amount}
    return scene.desk.client.create_refund(body, upstream_id="dashboard").refund.id


def made_elsewhere(scene: Scene) -> Iterator[str]:
    identifier = elsewhere(scene, Decimal("5.00"))
    scene.desk.refresh(scene.order)
    yield "pending"
    scene.desk.sandbox.fail_refund(identifier)
    scene.desk.refresh(scene.order)
    yield "failed"


def charged_back(scene: Scene) -> Iterator[str]:
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=scene.order.pk)
        chargeback_take(
            order=order,
            account=order_account(order),
            amount=Decimal("7.00"),
            currency="",
            created_at=None,
            at=scene.desk.clock(),
            actor=WEBHOOK,
        )
        order_recount(order=order)
    yield "succeeded"


def told_by_events(scene: Scene) -> Iterator[str]:
    refund = scene.submit()
    yield "pending"
    scene.desk.sandbox.succeed_refund(refund.digital_river_id)
    scene.later(minutes=2)
    events_catch_up(clock=scene.desk.clock, client=scene.desk.client)
    yield "pending"
    events_process(clock=scene.desk.clock, client=scene.desk.client)
    yield "succeeded"


LIVES = [
    drafted_and_discarded,
    drafted_and_expired,
    sent_and_succeeded_for_less,
    taken_for_another_amount,
    sent_again_after_each_end,
    lost_and_never_there,
    lost_and_found,
    killed_and_turned_up,
    turned_away_and_called_off,
    held_and_sent_later,
    held_until_too_much,
    refused,
    made_elsewhere,
    charged_back,
    told_by_events,
]


def meant() -> dict[int, object]:
    """Return what each refund says, with its lines, but for the desk's bookkeeping."""
    said: dict[int, list[object]] = {
        pk: [row] for pk, *row in Refund.objects.values_list("pk", *MEANT)
    }
    for refund_id, *row in RefundLine.objects.order_by("pk").values_list(
        "refund_id", "order_line_id", "quantity", "amount", "product_part", "tax_part"
    ):
        said[refund_id].append(row)
    return dict(said)


def lengths() -> dict[int, int]:
    """Return how long each refund's history is."""
    return dict(Refund.objects.values_list("pk", "history_length"))


def test_every_column_that_is_no_bookkeeping_is_watched() -> None:
    assert {field.attname for field in Refund._meta.concrete_fields} >= BOOKKEEPING
    assert {"state", "flag", "refunded_amount", "whole_part", "close_out_id"} <= set(MEANT)


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_every_change_of_a_refund_has_an_entry_of_its_own(
    desk: Desk, wire: Wire, life: Life
) -> None:
    scene = Scene(desk, wire, desk.order("worked_sample"))
    before, long_before = meant(), lengths()
    for state in life(scene):
        now, long = meant(), lengths()
        changed = {pk for pk in now if now[pk] != before.get(pk)}
        unnoted = {pk for pk in changed if long[pk] <= long_before.get(pk, 0)}
        assert not unnoted, f"changed without an entry: {unnoted}"
        latest = Refund.objects.latest("pk") if life is not held_until_too_much else None
        assert state in {each.state for each in Refund.objects.all()}
        assert latest is None or latest.state == state
        before, long_before = now, long
    found: list[Finding] = []
    verify_history(found=found.append)
    assert found == []
    assert before, "nothing happened"


def test_look_that_finds_nothing_new_writes_no_entry(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), TEN)
    desk.clock.forward(seconds=5)
    desk.refresh(order)
    before = HistoryEntry.objects.count()

    refund_check(
        refund=Refund.objects.get(pk=refund.pk), actor=CHECK, clock=desk.clock, client=desk.client
    )

    assert HistoryEntry.objects.count() == before


@pytest.mark.parametrize(
    ("life", "steps"),
    [
        (drafted_and_discarded, 0),
        (drafted_and_discarded, 1),
        (drafted_and_discarded, 3),
        (drafted_and_expired, 1),
        (sent_and_succeeded_for_less, 1),
        (sent_again_after_each_end, 1),
        (sent_again_after_each_end, 2),
        (sent_again_after_each_end, 4),
        (lost_and_never_there, 1),
        (lost_and_never_there, 3),
        (lost_and_never_there, 4),
        (killed_and_turned_up, 1),
        (turned_away_and_called_off, 1),
        (held_and_sent_later, 1),
        (held_until_too_much, 1),
        (made_elsewhere, 0),
        (made_elsewhere, 1),
        (charged_back, 0),
        (told_by_events, 2),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_change_whose_entry_cannot_be_written_is_not_made(
    desk: Desk, wire: Wire, life: Life, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived = life(Scene(desk, wire, desk.order("worked_sample")))
    for _ in range(steps):
        next(lived)
    before, tries = meant(), []

    class BrokenError(Exception):
        """The history cannot be written."""

    def broken(entry: HistoryEntry) -> str:
        tries.append(entry)
        raise BrokenError

    monkeypatch.setattr(HistoryEntry, "computed_hash", property(broken))
    # A round of settling goes on with the others instead.
    with suppress(BrokenError):
        next(lived)

    assert tries
    assert meant() == before
