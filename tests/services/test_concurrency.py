"""Many at once, in real threads with connections of their own: what may be sent is sent, once."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from django.db import connections

from refunds.errors import FiguresChanged, MoveForbidden, RefundDeskError
from refunds.models import CHECK, Grounds, Order, Refund
from refunds.options import Option, Selection
from refunds.services.drafts import draft_choose, draft_discard, drafts_expire
from refunds.services.refunds import (
    refund_cancel,
    refund_check,
    refund_retry,
    refund_submit,
    refunds_settle,
)
from sandbox.faults import FaultKind
from tests.desk import Desk, rep
from tests.services.account import at_digital_river, check_account, check_settled, spoil
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

State = Refund.State
TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
TWENTY = Selection(Option.COMPLETE_ORDER, Decimal("20.00"))
Job = Callable[[], object]

#: How many at once: as many as a desk sees on PostgreSQL, fewer where one writes at a time.
MANY = [
    pytest.param(10, marks=pytest.mark.postgresql, id="ten"),
    pytest.param(4, id="four"),
]


def at_once(jobs: Sequence[Job]) -> list[object]:
    """Run the jobs in threads that start together; returns what each returned or raised."""
    start = threading.Barrier(len(jobs))
    outcomes: list[object] = [None] * len(jobs)

    def run(place: int, job: Job) -> None:
        try:
            start.wait(timeout=30)
            outcomes[place] = job()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test judges it
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place, job)) for place, job in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    return outcomes


def submitting(desk: Desk, draft: Refund, selection: Selection, username: str = "rep") -> Job:
    """Return the submit of a review page as it was shown now."""
    user, seen = rep(username), desk.seen(draft, selection)

    def job() -> Refund:
        mine = Refund.objects.get(pk=draft.pk)
        return refund_submit(draft=mine, user=user, seen=seen, clock=desk.clock, client=desk.client)

    return job


def settling(desk: Desk) -> Job:
    """Return a settling round."""
    return lambda: dict(refunds_settle(clock=desk.clock, client=desk.client))


@pytest.mark.parametrize("many", MANY)
def test_parallel_submits_of_one_review_send_one_refund(desk: Desk, wire: Wire, many: int) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)

    outcomes = at_once([submitting(desk, draft, TEN)] * many)

    assert {getattr(each, "reference", each) for each in outcomes} == {draft.reference}
    assert len(wire.posts) == 1
    [theirs] = at_digital_river(desk, order)
    refund = Refund.objects.get()
    assert refund.digital_river_id == theirs["id"]
    assert refund.state == State.PENDING
    assert refund.attempts.count() == 1
    moves = Counter((entry.from_state, entry.to_state) for entry in refund.history.all())
    assert moves["draft", "submitting"] == moves["submitting", "pending"] == 1
    check_account(desk, order)


@pytest.mark.parametrize("many", MANY)
def test_parallel_submits_that_together_exceed_what_is_left_send_only_what_may_be_sent(
    desk: Desk, wire: Wire, many: int
) -> None:
    order = desk.order("worked_sample")
    jobs = [
        submitting(desk, desk.draft(order, rep(name), TWENTY), TWENTY, name)
        for name in ("rep", "rep2")
    ]

    outcomes = at_once(jobs * (many // 2))

    sent = {each.reference for each in outcomes if isinstance(each, Refund)}
    refused = [each for each in outcomes if not isinstance(each, Refund)]
    assert len(sent) == 1, outcomes
    assert len(refused) == many // 2, outcomes
    assert all(isinstance(each, RefundDeskError) for each in refused), outcomes
    assert len(wire.posts) == len(at_digital_river(desk, order)) == 1
    assert Refund.objects.filter(state=State.DRAFT).count() == 1
    check_account(desk, order)
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("7.01")


@pytest.mark.parametrize("many", MANY)
def test_parallel_submits_of_different_reviews_send_one_at_a_time(
    desk: Desk, wire: Wire, many: int
) -> None:
    """Each would fit, but each rep saw figures that the first one's refund changed."""
    order = desk.order("worked_sample")
    small = Selection(Option.COMPLETE_ORDER, Decimal("1.00"))
    drafts = [desk.draft(order, rep(), small) for _ in range(many)]

    outcomes = at_once([submitting(desk, draft, small) for draft in drafts])

    sent = [each for each in outcomes if isinstance(each, Refund)]
    assert len(sent) == len(wire.posts) == len(at_digital_river(desk, order)) == 1
    assert sum(isinstance(each, FiguresChanged) for each in outcomes) == many - 1
    check_account(desk, order)


@pytest.mark.parametrize("many", MANY)
def test_parallel_submit_refresh_and_settle_agree_in_the_end(
    desk: Desk, wire: Wire, many: int
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_AFTER)
    lost = desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.40")))
    assert lost.state == State.UNKNOWN
    desk.clock.forward(seconds=1)
    order = desk.refresh(order)
    draft = desk.draft(order, rep(), TEN)
    one = submitting(desk, draft, TEN)

    def look() -> object:
        return desk.refresh(Order.objects.get(pk=order.pk))

    outcomes = at_once([one, one, *[settling(desk), look] * (many // 2)])

    assert [each for each in outcomes if isinstance(each, Exception)] == []
    assert len(wire.posts) == len(at_digital_river(desk, order)) == 2
    assert Refund.objects.count() == 2
    assert {refund.state for refund in Refund.objects.all()} == {State.PENDING}
    check_account(desk, order)
    desk.clock.forward(minutes=10)
    check_settled(desk, order)


@pytest.mark.parametrize("many", MANY)
def test_parallel_settles_of_a_waiting_refund_send_it_once(
    desk: Desk, wire: Wire, many: int
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.RATE_LIMITED, retry_after=30)
    refund = desk.submit(order, rep(), TEN)
    desk.clock.forward(seconds=30)
    stale = [Refund.objects.get(pk=refund.pk) for _ in range(many // 2)]

    def check(mine: Refund) -> Job:
        return lambda: refund_check(refund=mine, actor=CHECK, clock=desk.clock, client=desk.client)

    outcomes = at_once([*map(check, stale), *[settling(desk)] * (many // 2)])

    assert [each for each in outcomes if isinstance(each, Exception)] == []
    assert len(at_digital_river(desk, order)) == 1
    assert len(wire.posts) == 2
    refund.refresh_from_db()
    assert refund.state == State.PENDING
    assert refund.attempts.count() == 2
    check_account(desk, order)


@pytest.mark.parametrize("many", MANY)
def test_parallel_retries_and_a_cancel_end_in_one_of_the_two(
    desk: Desk, wire: Wire, many: int
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.CONNECTION_REFUSED)
    refund = desk.submit(order, rep(), TEN)
    user = rep()

    def retry() -> Refund:
        mine = Refund.objects.get(pk=refund.pk)
        return refund_retry(refund=mine, user=user, clock=desk.clock, client=desk.client)

    def cancel() -> Refund:
        mine = Refund.objects.get(pk=refund.pk)
        return refund_cancel(refund=mine, user=user, clock=desk.clock)

    outcomes = at_once([*[retry] * (many - 1), cancel])

    done = [each for each in outcomes if isinstance(each, Refund)]
    assert len(done) == 1
    assert sum(isinstance(each, MoveForbidden) for each in outcomes) == many - 1
    refund.refresh_from_db()
    sent = at_digital_river(desk, order)
    assert (refund.state, len(sent)) in {(State.PENDING, 1), (State.CANCELLED, 0)}
    check_account(desk, order)


@pytest.mark.parametrize("many", MANY)
def test_parallel_looks_adopt_a_refund_made_elsewhere_once(
    desk: Desk, wire: Wire, many: int
) -> None:
    order = desk.order("worked_sample")
    desk.client.create_refund(
        {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("3.00")},
        upstream_id="dashboard",
    )

    def look() -> object:
        return desk.refresh(Order.objects.get(pk=order.pk))

    outcomes = at_once([look] * many)

    assert [each for each in outcomes if isinstance(each, Exception)] == []
    assert Refund.objects.get().held_amount == Decimal("3.00")
    assert Refund.objects.get().history.count() == 1
    check_settled(desk, order)


@pytest.mark.parametrize("many", MANY)
def test_parallel_looks_for_a_lost_refund_count_as_one(desk: Desk, wire: Wire, many: int) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), TEN)
    desk.clock.forward(seconds=1)

    def look() -> object:
        return desk.refresh(Order.objects.get(pk=order.pk))

    at_once([look] * many)

    refund.refresh_from_db()
    assert refund.state == State.UNKNOWN
    assert refund.history.filter(summary__startswith="Looked").count() == 1
    desk.clock.forward(seconds=60)
    at_once([look] * many)
    refund.refresh_from_db()
    assert refund.state == State.NOT_SENT
    assert refund.history.filter(to_state=State.NOT_SENT).count() == 1


def test_parallel_submit_choose_discard_and_expiry_leave_one_story(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)
    user = rep()
    submit = submitting(desk, draft, TEN)

    def discard() -> object:
        draft_discard(draft=Refund.objects.get(pk=draft.pk), user=user, clock=desk.clock)
        return "discarded"

    outcomes = at_once([submit, discard, lambda: drafts_expire(clock=desk.clock), submit])

    refund = Refund.objects.get()
    sent = at_digital_river(desk, order)
    if "discarded" in outcomes:
        assert (refund.state, sent, wire.posts) == (State.CANCELLED, [], [])
    else:
        assert refund.state == State.PENDING
        assert len(sent) == len(wire.posts) == 1
    check_account(desk, order)


def test_parallel_choosing_in_two_tabs_keeps_one_whole_choice(desk: Desk) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)
    user = rep()
    assert draft.reason is not None
    grounds = Grounds(reason=draft.reason)
    choices = [TEN, Selection(Option.TAX), Selection(Option.SHIPPING, Decimal("5.40"))]

    def choosing(selection: Selection) -> Job:
        def job() -> object:
            return draft_choose(
                draft=Refund.objects.get(pk=draft.pk),
                user=user,
                selection=selection,
                grounds=grounds,
                clock=desk.clock,
            )

        return job

    outcomes = at_once([choosing(each) for each in choices])

    assert [each for each in outcomes if isinstance(each, Exception)] == []
    draft.refresh_from_db()
    expected = {
        "complete_order": Decimal("10.00"),
        "tax": None,
        "shipping": Decimal("5.40"),
    }
    assert draft.requested_amount == expected[draft.option]
