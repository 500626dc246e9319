"""Reconciliation: what is healed, what is noted, and that a run can break off anywhere."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from refunds import queue, tasks
from refunds.digitalriver import client as client_module
from refunds.errors import DifferenceUnresolved, PermissionMissing, ReconciliationRefused
from refunds.models import (
    ControlTotal,
    Difference,
    Order,
    ReconciliationRun,
    Refund,
    Watermark,
)
from refunds.options import Option, Selection
from refunds.salesforce.payloads import order_record
from refunds.selectors import open_differences
from refunds.services import reconciliation as reconciliation_module
from refunds.services.comparisons import OF_A_REFUND
from refunds.services.differences import Finding, difference_review, differences_record
from refunds.services.events import events_catch_up, events_process
from refunds.services.mirror.records import order_mirror
from refunds.services.reconciliation import reconcile, reconciliation_carry_on
from refunds.services.reconciliation_runs import (
    STALE_AFTER,
    reconciliation_begin,
    reconciliation_resume,
    reconciliation_start,
    reconciliation_unfinished,
    reconciliations_take_up,
)
from refunds.services.refunds import refund_retry
from refunds.services.settlements import refund_create
from sandbox.allocation import RefundAsk
from sandbox.faults import Fault, FaultKind
from sandbox.orders import Line, PastRefund, make_order
from sandbox.shop import SHOWCASE
from tests.desk import Desk, lead, rep
from tests.services.account import check_account, check_settled, edit_sandbox, spoil
from tests.services.wire import KilledError, Wire, kill

pytestmark = pytest.mark.django_db

State = Refund.State
Kind = Difference.Kind
RunState = ReconciliationRun.State


def part(amount: str) -> Selection:
    """Return a part of the whole order."""
    return Selection(Option.COMPLETE_ORDER, Decimal(amount))


def run(desk: Desk, *, order: Order | None = None, days: float = 1) -> ReconciliationRun:
    """Reconcile the refunds of the last day, by the test's clock."""
    return reconcile(
        since=desk.clock() - timedelta(days=days),
        order=order,
        clock=desk.clock,
        client=desk.client,
        sleep=lambda seconds: None,
    )


def carry_on(desk: Desk, unfinished: ReconciliationRun) -> ReconciliationRun:
    """Carry a run on, when whoever had it counts as gone."""
    desk.clock.forward(seconds=STALE_AFTER.total_seconds() + 1)
    return reconciliation_carry_on(
        run_id=unfinished.pk, clock=desk.clock, client=desk.client, sleep=lambda seconds: None
    )


def only_difference() -> Difference:
    """Return the one difference that is open."""
    return Difference.objects.get(resolution="")


def totals(run: ReconciliationRun) -> list[tuple[str, str, int, Decimal, int, Decimal]]:
    """Return a run's control totals: day, currency, ours, theirs."""
    return [
        (
            str(each.day),
            each.currency,
            each.our_count,
            each.our_amount,
            each.their_count,
            each.their_amount,
        )
        for each in run.totals.all()
    ]


def made_elsewhere(desk: Desk, order: Order, amount: str) -> str:
    """Make a refund in the Dashboard; returns Digital River's id."""
    ask = RefundAsk(order.digital_river_id, order.currency, amount=Decimal(amount))
    return str(desk.sandbox.create_refund(ask)["id"])


# -- what is healed --------------------------------------------------------------------------------


def test_reconcile_finds_everything_in_order(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(minutes=10)
    desk.refresh(order)

    found = run(desk)

    assert found.state == RunState.FINISHED
    assert found.finished_at == desk.clock()
    assert found.outcome == "Everything agrees."
    assert (found.theirs_read, found.ours_read) == (1, 1)
    assert (found.adopted, found.brought_up_to_date, found.open_differences) == (0, 0, 0)
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("5.00"), 1, Decimal("5.00"))]
    refund.refresh_from_db()
    assert refund.reconciled_at == desk.clock()
    assert not Difference.objects.exists()


def test_reconcile_adopts_what_was_made_elsewhere(desk: Desk) -> None:
    order = desk.order("worked_sample")
    identifier = made_elsewhere(desk, order, "7.00")

    found = run(desk)

    adopted = order.refunds.get()
    assert adopted.origin == Refund.Origin.ELSEWHERE
    assert adopted.digital_river_id == identifier
    assert adopted.history.get().by == "Command"
    assert (found.adopted, found.brought_up_to_date, found.open_differences) == (1, 0, 0)
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("7.00"), 1, Decimal("7.00"))]
    check_account(desk, order)


def test_reconcile_names_the_person_it_was_started_by_in_the_history(desk: Desk) -> None:
    order = desk.order("worked_sample")
    made_elsewhere(desk, order, "7.00")

    reconcile(order=order, started_by=lead(), clock=desk.clock, client=desk.client)

    assert order.refunds.get().history.get().by == "Command for Lead Tester"


def test_reconcile_brings_up_to_date_what_is_behind(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(minutes=10)

    found = run(desk)

    refund.refresh_from_db()
    assert refund.state == State.SUCCEEDED
    assert (found.adopted, found.brought_up_to_date, found.open_differences) == (0, 1, 0)
    check_settled(desk, order)


def test_reconcile_reads_an_order_once_for_all_of_its_refunds_on_a_page(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    for _ in range(3):
        desk.submit(order, rep(), part("1.00"))
    made_elsewhere(desk, order, "2.00")
    desk.clock.forward(minutes=10)
    before = len(wire.requests)

    found = run(desk)

    assert (found.adopted, found.brought_up_to_date) == (1, 3)
    paths = [request.url.path for request in wire.requests[before:]]
    # The list; the order's refunds and the order itself; the orders by their ids.
    assert paths == ["/refunds", "/refunds", f"/orders/{order.digital_river_id}", "/orders"]


def test_reconcile_finds_by_its_reference_the_refund_whose_answer_was_lost(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_AFTER)
    refund = desk.submit(order, rep(), part("5.00"))
    assert refund.state == State.UNKNOWN

    found = run(desk)

    refund.refresh_from_db()
    assert refund.state == State.PENDING
    assert refund.digital_river_id
    assert (found.adopted, found.brought_up_to_date, found.open_differences) == (0, 1, 0)
    check_account(desk, order)


def test_reconcile_settles_what_never_arrived_by_two_looks(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(seconds=5)

    assert run(desk).brought_up_to_date == 0
    desk.clock.forward(minutes=2)
    found = run(desk)

    refund.refresh_from_db()
    assert refund.state == State.NOT_SENT
    assert found.brought_up_to_date == 1
    assert found.outcome == "Everything agrees."
    assert totals(found) == []


def test_reconcile_knows_the_earlier_attempt_of_a_refund_that_was_sent_again(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    desk.sandbox.fail_refund(refund.digital_river_id, "closed_account")
    desk.refresh(order)
    refund.refresh_from_db()
    again = refund_retry(refund=refund, user=rep(), clock=desk.clock, client=desk.client)
    assert again.digital_river_id != refund.digital_river_id

    found = run(desk)

    assert (found.theirs_read, found.ours_read) == (2, 1)
    assert (found.adopted, found.brought_up_to_date, found.open_differences) == (0, 0, 0)
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("5.00"), 1, Decimal("5.00"))]


def test_reconcile_takes_no_state_that_moved_on_since_the_page_for_a_difference(
    desk: Desk, wire: Wire
) -> None:
    """The page says pending; it succeeds, and the desk learns of it, before they are compared."""
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    inner = wire._inner

    class Moving(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = inner.handle_request(request)
            if request.url.path == "/refunds" and "orderId" not in request.url.params:
                wire._inner = inner
                desk.clock.forward(minutes=10)
                desk.refresh(order)
            return response

    wire._inner = Moving()
    found = run(desk)

    refund.refresh_from_db()
    assert refund.state == State.SUCCEEDED
    assert found.outcome == "Everything agrees."


# -- what is noted ---------------------------------------------------------------------------------


def _unmirrored(desk: Desk) -> str:
    """Make a refund of an order that the mirror does not have; returns Digital River's id."""
    order_id = desk.sandbox.order_id(SHOWCASE["plain_usd"])
    assert order_id is not None
    ask = RefundAsk(order_id, "USD", amount=Decimal("6.00"))
    return str(desk.sandbox.create_refund(ask)["id"])


def test_reconcile_notes_a_refund_of_an_order_that_is_not_in_the_mirror(desk: Desk) -> None:
    identifier = _unmirrored(desk)

    found = run(desk)

    difference = only_difference()
    assert difference.kind == Kind.MISSING_HERE
    assert difference.run == found
    assert difference.digital_river_id == identifier
    assert difference.their_amount == Decimal("6.00")
    assert difference.their_state == "pending"
    assert difference.order is None
    assert "not in the mirror" in difference.explanation
    assert "adopt" in difference.explanation
    assert found.open_differences == 1
    assert found.outcome == "1 difference is open."
    assert totals(found) == [("2026-11-02", "USD", 0, Decimal(0), 1, Decimal("6.00"))]


def test_reconcile_clears_what_is_adopted_once_its_order_is_mirrored(desk: Desk) -> None:
    _unmirrored(desk)
    run(desk)
    desk.clock.forward(minutes=1)
    order_mirror(record=order_record(_record(desk, "plain_usd")))

    found = run(desk)

    difference = Difference.objects.get()
    assert difference.resolution == Difference.Resolution.CLEARED
    assert difference.resolved_at == desk.clock()
    assert difference.resolved_by is None
    assert (found.adopted, found.open_differences) == (1, 0)


def _record(desk: Desk, case: str) -> dict[str, Any]:
    return desk.sandbox.salesforce_record(SHOWCASE[case])


def test_reconcile_notes_a_refund_that_digital_river_does_not_list(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    edit_sandbox(desk, "DELETE FROM refunds WHERE id = ?", refund.digital_river_id)

    found = run(desk)

    difference = Difference.objects.get(kind=Kind.MISSING_THERE)
    assert difference.refund == refund
    assert difference.order == order
    assert difference.subject == refund.digital_river_id
    assert (difference.our_amount, difference.our_state) == (Decimal("5.00"), "pending")
    assert refund.reference in difference.explanation
    assert "Do not refund again" in difference.explanation
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("5.00"), 0, Decimal(0))]
    refund.refresh_from_db()
    assert refund.reconciled_at is None


def test_reconcile_finds_the_same_difference_again_and_clears_it_once_it_is_gone(
    desk: Desk,
) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    sql = "UPDATE refunds SET id = ? WHERE id = ?"
    edit_sandbox(desk, sql, "re_hidden", refund.digital_river_id)
    first = run(desk)
    noted = Difference.objects.get(kind=Kind.MISSING_THERE)
    desk.clock.forward(minutes=1)

    second = run(desk)

    again = Difference.objects.get(kind=Kind.MISSING_THERE)
    assert (again.pk, again.found_at) == (noted.pk, noted.found_at)
    assert again.last_seen_at == desk.clock()
    assert (noted.run, again.run) == (first, second)
    # What took its place counts as made elsewhere until it is gone again.
    edit_sandbox(desk, sql, refund.digital_river_id, "re_hidden")
    desk.clock.forward(minutes=1)
    run(desk)
    again.refresh_from_db()
    assert again.resolution == Difference.Resolution.CLEARED


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("succeeded", "failed", "may not have got the money"),
        ("failed", "succeeded", "do not send it again"),
    ],
)
def test_reconcile_notes_a_settled_state_that_digital_river_contradicts(
    desk: Desk, before: str, after: str, words: str
) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    settle = desk.sandbox.succeed_refund if before == "succeeded" else desk.sandbox.fail_refund
    settle(refund.digital_river_id)
    desk.refresh(order)
    edit_sandbox(
        desk,
        "UPDATE refunds SET state = ?, refunded = CASE ? WHEN 'succeeded' THEN minor ELSE 0 END"
        " WHERE id = ?",
        after,
        after,
        refund.digital_river_id,
    )
    desk.clock.forward(minutes=1)

    run(desk)

    difference = Difference.objects.get(kind=Kind.STATE)
    assert difference.refund == refund
    assert (difference.our_state, difference.their_state) == (before, after)
    assert words in difference.explanation
    refund.refresh_from_db()
    assert refund.state == before


def test_reconcile_notes_an_amount_other_than_the_button_named(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("3.00"))
    refund = desk.submit(order, rep(), part("5.00"))

    found = run(desk)

    difference = only_difference()
    assert difference.kind == Kind.AMOUNT
    assert difference.refund == refund
    assert (difference.our_amount, difference.their_amount) == (Decimal("5.00"), Decimal("3.00"))
    assert "USD 5.00" in difference.explanation
    assert "took on USD 3.00" in difference.explanation
    # What was taken on is what both sides have.
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("3.00"), 1, Decimal("3.00"))]


def test_reconcile_notes_what_digital_river_gave_back_short(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    desk.sandbox.succeed_refund(refund.digital_river_id, Decimal("4.50"))

    run(desk)

    difference = only_difference()
    assert difference.kind == Kind.AMOUNT
    assert (difference.our_amount, difference.their_amount) == (Decimal("5.00"), Decimal("4.50"))
    assert "gave back USD 4.50" in difference.explanation


def test_reconcile_notes_an_amount_that_differs_although_all_was_read(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    # No look brings it back, since Digital River tells the same of it as before.
    Refund.objects.filter(pk=refund.pk).update(currency="EUR")

    run(desk)

    difference = Difference.objects.get(kind=Kind.AMOUNT)
    assert difference.refund == refund
    assert "EUR 5.00" in difference.explanation
    assert "USD 5.00" in difference.explanation


def test_reconcile_notes_less_available_than_the_refunds_explain(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    desk.sandbox.charge_back(order.digital_river_id, Decimal("10.00"))

    found = run(desk)

    difference = only_difference()
    assert difference.kind == Kind.AVAILABLE
    assert difference.order == order
    assert difference.run == found
    assert (difference.our_amount, difference.their_amount) == (Decimal("22.01"), Decimal("12.01"))
    assert "chargebacks" in difference.explanation
    order.refresh_from_db()
    assert order.available_amount == Decimal("12.01")


def test_reconcile_clears_it_once_the_chargeback_is_booked(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    desk.sandbox.charge_back(order.digital_river_id, Decimal("10.00"))
    run(desk)
    desk.clock.forward(minutes=1)
    events_catch_up(clock=desk.clock, client=desk.client)
    events_process(clock=desk.clock, client=desk.client)

    found = run(desk)

    assert Difference.objects.get().resolution == Difference.Resolution.CLEARED
    assert found.outcome == "Everything agrees."
    # A chargeback is no refund of Digital River's.
    assert [row[2:] for row in totals(found)] == [(1, Decimal("5.00"), 1, Decimal("5.00"))]


def test_reconcile_notes_refunded_money_that_no_refund_explains(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    desk.clock.forward(minutes=10)
    desk.refresh(order)
    edit_sandbox(desk, "DELETE FROM refunds WHERE id = ?", refund.digital_river_id)

    run(desk, order=order)

    difference = Difference.objects.get(kind=Kind.AVAILABLE)
    assert (difference.our_amount, difference.their_amount) == (Decimal("5.00"), Decimal(0))
    assert "USD 5.00 is refunded" in difference.explanation


def test_reconcile_refreshes_an_order_whose_figures_are_old_and_notes_nothing(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    desk.refresh(order)
    Order.objects.filter(pk=order.pk).update(available_amount=Decimal("1.00"))
    desk.clock.forward(seconds=1)

    found = run(desk)

    order.refresh_from_db()
    assert order.available_amount == Decimal("22.01")
    assert found.outcome == "Everything agrees."


@pytest.mark.parametrize("case", ["null_available", "disputed"])
def test_reconcile_takes_no_figure_and_a_dispute_for_no_difference(desk: Desk, case: str) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    if case == "null_available":
        edit_sandbox(
            desk, "UPDATE orders SET null_available = 1 WHERE id = ?", order.digital_river_id
        )
    else:
        desk.sandbox.charge_back(order.digital_river_id, Decimal("1.00"))
        desk.sandbox.dispute(order.digital_river_id)

    assert run(desk).outcome == "Everything agrees."


def test_reconcile_notes_an_order_that_digital_river_does_not_know(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    Order.objects.filter(pk=order.pk).update(digital_river_id="999999999999")
    Refund.objects.update(digital_river_id="")

    found = run(desk, order=Order.objects.get(pk=order.pk))

    difference = only_difference()
    assert difference.kind == Kind.MISSING_THERE
    assert difference.order == order
    assert "999999999999" in difference.explanation
    assert "Salesforce" in difference.explanation
    assert found.open_differences == 1


def test_reconcile_reads_orders_one_by_one_where_their_list_makes_no_sense(desk: Desk) -> None:
    for case in ("worked_sample", "plain_usd"):
        desk.submit(desk.order(case), rep(), part("5.00"))
        desk.refresh(Order.objects.get(order_number=SHOWCASE[case]))
    desk.sandbox.queue_fault(Fault(FaultKind.WRONG_SHAPE, method="GET", path="/orders"))
    desk.sandbox.queue_fault(Fault(FaultKind.WRONG_SHAPE, method="GET", path="/orders/*"))

    found = run(desk)

    difference = only_difference()
    assert difference.kind == Kind.AVAILABLE
    assert "could not be compared" in difference.explanation
    assert found.state == RunState.FINISHED


def test_reconcile_notes_an_order_that_cannot_be_read_and_goes_on(desk: Desk) -> None:
    broken, sound = desk.order("worked_sample"), desk.order("plain_usd")
    identifier = made_elsewhere(desk, broken, "7.00")
    made_elsewhere(desk, sound, "6.00")
    desk.sandbox.queue_fault(
        Fault(FaultKind.WRONG_SHAPE, method="GET", path=f"/orders/{broken.digital_river_id}")
    )

    found = run(desk)

    difference = only_difference()
    assert (difference.kind, difference.digital_river_id) == (Kind.MISSING_HERE, identifier)
    assert difference.order == broken
    assert "could not take it on" in difference.explanation
    assert sound.refunds.exists()
    assert (found.state, found.adopted) == (RunState.FINISHED, 1)


def test_reconcile_counts_a_refund_on_the_day_digital_river_made_it(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    desk.clock.now = datetime(2026, 11, 3, 23, 59, 55, tzinfo=UTC)
    wire.before_post = lambda: (desk.clock.forward(seconds=10), None)[1]
    refund = desk.submit(order, rep(), part("5.00"))
    assert refund.submitted_at is not None
    assert refund.submitted_at.day == 3
    desk.clock.forward(minutes=1)

    assert totals(run(desk)) == [("2026-11-04", "USD", 1, Decimal("5.00"), 1, Decimal("5.00"))]


def test_reconcile_sums_each_day_and_currency_for_itself(desk: Desk) -> None:
    dollars, euros = desk.order("worked_sample"), desk.order("eur")
    desk.submit(dollars, rep(), part("5.00"))
    desk.submit(euros, rep(), part("3.00"))
    failing = desk.submit(dollars, rep(), part("1.00"))
    desk.sandbox.fail_refund(failing.digital_river_id)
    desk.clock.forward(days=1)
    desk.refresh(dollars)
    desk.submit(dollars, rep(), part("4.00"))
    made_elsewhere(desk, dollars, "2.00")

    found = run(desk, days=2)

    assert totals(found) == [
        ("2026-11-03", "USD", 2, Decimal("6.00"), 2, Decimal("6.00")),
        ("2026-11-02", "EUR", 1, Decimal("3.00"), 1, Decimal("3.00")),
        ("2026-11-02", "USD", 1, Decimal("5.00"), 1, Decimal("5.00")),
    ]
    assert all(total.agrees for total in found.totals.all())


def test_reconcile_of_one_order_leaves_the_others(desk: Desk) -> None:
    order, other = desk.order("worked_sample"), desk.order("plain_usd")
    made_elsewhere(desk, order, "7.00")
    made_elsewhere(desk, other, "6.00")

    found = run(desk, order=order)

    assert found.theirs_read == 1
    assert order.refunds.count() == 1
    assert not other.refunds.exists()


def test_reconcile_of_one_order_leaves_what_is_older_than_its_beginning(desk: Desk) -> None:
    order = desk.order("worked_sample")
    made_elsewhere(desk, order, "7.00")
    desk.clock.forward(days=3)

    assert run(desk, order=order).theirs_read == 0


def test_reconcile_of_an_order_that_is_not_at_digital_river_is_refused(desk: Desk) -> None:
    order = desk.order("no_digital_river_id")
    with pytest.raises(ReconciliationRefused, match="no Digital River id"):
        run(desk, order=order)
    assert not ReconciliationRun.objects.exists()


def test_reconcile_of_all_there_is_covers_the_whole_shop(desk: Desk) -> None:
    for record in desk.sandbox.salesforce_records():
        order_mirror(record=order_record(record))
    desk.clock.forward(minutes=10)

    first = reconcile(clock=desk.clock, client=desk.client)
    desk.clock.forward(minutes=10)
    second = reconcile(clock=desk.clock, client=desk.client)

    assert first.adopted == first.theirs_read == Refund.objects.count()
    assert first.outcome == "Everything agrees."
    assert (second.adopted, second.brought_up_to_date, second.open_differences) == (0, 0, 0)
    assert second.ours_read == second.theirs_read == first.theirs_read
    assert all(total.agrees for total in second.totals.all())
    assert totals(second) == totals(first)


def test_reconcile_again_changes_nothing(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    made_elsewhere(desk, order, "7.00")
    _unmirrored(desk)
    desk.clock.forward(minutes=10)
    run(desk)
    rows = list(Refund.objects.order_by("pk").values("state", "updated_at", "history_length"))
    desk.clock.forward(minutes=1)

    found = run(desk)

    assert (found.adopted, found.brought_up_to_date) == (0, 0)
    assert rows == list(
        Refund.objects.order_by("pk").values("state", "updated_at", "history_length")
    )
    assert Difference.objects.count() == 1


def test_reconcile_leaves_what_a_lead_has_reviewed_until_its_figures_change(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    desk.sandbox.charge_back(order.digital_river_id, Decimal("10.00"))
    run(desk)
    reviewed = difference_review(
        difference=only_difference(), note="The bank's letter is in.", user=lead(), clock=desk.clock
    )
    desk.clock.forward(minutes=1)

    assert run(desk).outcome == "Everything agrees."
    reviewed.refresh_from_db()
    assert reviewed.resolution == Difference.Resolution.REVIEWED
    assert reviewed.last_seen_at == desk.clock()

    desk.sandbox.charge_back(order.digital_river_id, Decimal("1.00"))
    desk.clock.forward(minutes=1)
    assert run(desk).open_differences == 1
    assert only_difference().pk != reviewed.pk


# -- breaches --------------------------------------------------------------------------------------


def test_reconcile_notes_an_order_that_gave_more_than_was_captured(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    Refund.objects.filter(pk=refund.pk).update(accepted_amount=Decimal("50.00"))

    run(desk, order=order)

    # Healed before it is checked: Digital River has it right.
    assert not Difference.objects.filter(kind=Kind.ORDER_EXCEEDED).exists()
    desk.sandbox.charge_back(order.digital_river_id, Decimal("27.01"))
    desk.clock.forward(minutes=1)
    events_catch_up(clock=desk.clock, client=desk.client)
    events_process(clock=desk.clock, client=desk.client)
    found = run(desk, order=order)
    difference = Difference.objects.get(kind=Kind.ORDER_EXCEEDED)
    assert difference.run == found
    assert (difference.our_amount, difference.their_amount) == (Decimal("32.01"), Decimal("27.01"))
    assert open_differences().breaches


# -- breaking off and carrying on ------------------------------------------------------------------


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pages and batches so short that a few refunds take several."""
    monkeypatch.setattr(client_module, "_PAGE_SIZE", 2)
    monkeypatch.setattr(reconciliation_module, "_BATCH", 2)
    monkeypatch.setattr(reconciliation_module, "MOST_ORDERS", 2)


def _something_of_everything(desk: Desk) -> None:
    """Make refunds that agree, differ, are missing on either side, and are unknown."""
    for case in ("worked_sample", "plain_usd", "eur"):
        order = desk.order(case)
        for _ in range(2):
            desk.submit(order, rep(), part("2.00"))
    for _ in range(3):
        lost = desk.submit(desk.refresh(order), rep(), part("1.00"))
        edit_sandbox(desk, "DELETE FROM refunds WHERE id = ?", lost.digital_river_id)
    for case in ("worked_sample", "plain_usd", "eur"):
        made_elsewhere(desk, Order.objects.get(order_number=SHOWCASE[case]), "1.00")
    order_id = desk.sandbox.order_id(SHOWCASE["all_options"])
    assert order_id is not None
    desk.sandbox.create_refund(RefundAsk(order_id, "GBP", amount=Decimal("6.00")))
    desk.clock.forward(seconds=1)


def _sum_of(run: ReconciliationRun) -> tuple[object, ...]:
    """Return what a run came to, however often it was broken off."""
    return (
        run.state,
        run.theirs_read,
        run.ours_read,
        run.open_differences,
        totals(run),
        sorted(run.differences.filter(resolution="").values_list("kind", "subject", "our_amount")),
    )


def _killed_at(wire: Wire, number: int) -> Callable[[], None]:
    """Let the process die at its request of this number; returns what puts the wire right."""
    inner, left = wire._inner, [number]

    class Killing(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            left[0] -= 1
            if not left[0]:
                kill()
            return inner.handle_request(request)

    def put_right() -> None:
        wire._inner = inner

    wire._inner = Killing()
    return put_right


@pytest.mark.usefixtures("small_pages")
def test_reconcile_killed_at_any_request_counts_nothing_twice(desk: Desk, wire: Wire) -> None:
    _something_of_everything(desk)
    # First what is healed once and for all, then the runs that must come to the same.
    run(desk)
    desk.clock.forward(minutes=1)
    before = len(wire.requests)
    whole = run(desk)
    requests = len(wire.requests) - before
    # Taken down now: what is seen again later is shown with the later run.
    expected = _sum_of(whole)
    assert whole.state == RunState.FINISHED
    phases = set()
    for number in range(1, requests + 1):
        desk.clock.forward(minutes=1)
        put_right = _killed_at(wire, number)
        with pytest.raises(KilledError):
            run(desk)
        put_right()
        broken = reconciliation_unfinished()
        assert broken is not None
        assert broken.state == RunState.RUNNING
        phases.add(broken.phase)

        carried_on = carry_on(desk, broken)

        assert carried_on.pk == broken.pk
        assert _sum_of(carried_on) == expected, f"killed at request {number}"
    assert phases == {"theirs", "ours", "orders"}


@pytest.mark.usefixtures("small_pages")
def test_reconcile_killed_between_any_two_pages_counts_nothing_twice(desk: Desk) -> None:
    _something_of_everything(desk)
    run(desk)
    desk.clock.forward(minutes=1)
    seen: list[str] = []
    whole = reconcile(
        since=desk.clock() - timedelta(days=1),
        clock=desk.clock,
        client=desk.client,
        on_progress=lambda each: seen.append(f"{each.phase} {each.cursor}"),
    )
    assert len(seen) > 8
    expected = _sum_of(whole)
    for number in range(len(seen)):
        desk.clock.forward(minutes=1)
        left = [number]

        def die(each: ReconciliationRun, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                kill()

        with pytest.raises(KilledError):
            reconcile(
                since=desk.clock() - timedelta(days=1),
                clock=desk.clock,
                client=desk.client,
                on_progress=die,
            )
        broken = reconciliation_unfinished()
        assert broken is not None
        assert _sum_of(carry_on(desk, broken)) == expected, f"killed after page {number}"


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("number", range(1, 16))
def test_reconcile_killed_while_it_heals_heals_the_rest_later(
    desk: Desk, wire: Wire, number: int
) -> None:
    _something_of_everything(desk)
    put_right = _killed_at(wire, number)
    with pytest.raises(KilledError):
        run(desk)
    put_right()
    broken = reconciliation_unfinished()
    assert broken is not None

    found = carry_on(desk, broken)

    assert found.state == RunState.FINISHED
    # As many as there are: each was healed once, by whichever half.
    assert Refund.objects.filter(origin=Refund.Origin.ELSEWHERE).count() == 3
    assert found.adopted <= 3
    came_to = _sum_of(found)
    desk.clock.forward(minutes=1)
    again = run(desk)
    assert (again.adopted, again.brought_up_to_date) == (0, 0)
    assert _sum_of(again)[3:] == came_to[3:]


def test_reconcile_stops_while_digital_river_is_away_and_is_carried_on(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    desk.sandbox.queue_fault(
        Fault(FaultKind.CONNECTION_REFUSED, method="GET", path="/orders", times=1)
    )

    stopped = run(desk)

    assert stopped.state == RunState.STOPPED
    assert stopped.phase == "orders"
    assert "carry the run on later" in stopped.outcome
    assert stopped.finished_at is None
    # Nobody has it, so there is nothing to wait for.
    found = reconciliation_carry_on(run_id=stopped.pk, clock=desk.clock, client=desk.client)
    assert found.outcome == "Everything agrees."
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("5.00"), 1, Decimal("5.00"))]


@pytest.mark.parametrize("path", ["/refunds", "/orders"])
def test_reconcile_stops_where_the_key_is_refused(desk: Desk, path: str) -> None:
    desk.submit(desk.order("worked_sample"), rep(), part("5.00"))
    desk.sandbox.queue_fault(Fault(FaultKind.ERROR, method="GET", path=path, status=401, times=5))
    stopped = run(desk)
    assert stopped.state == RunState.STOPPED
    assert not Difference.objects.exists()


def test_reconcile_stops_while_an_order_cannot_be_asked_for(desk: Desk) -> None:
    order = desk.order("worked_sample")
    made_elsewhere(desk, order, "7.00")
    desk.sandbox.queue_fault(
        Fault(FaultKind.LOST_BEFORE, method="GET", path=f"/orders/{order.digital_river_id}")
    )

    stopped = run(desk)

    assert (stopped.state, stopped.phase, stopped.theirs_read) == (RunState.STOPPED, "theirs", 0)
    assert not Difference.objects.exists()


def test_reconcile_waits_as_long_as_digital_river_asks(desk: Desk) -> None:
    order = desk.order("worked_sample")
    made_elsewhere(desk, order, "7.00")
    waited: list[float] = []
    for path in ("/refunds", f"/orders/{order.digital_river_id}", "/orders"):
        desk.sandbox.queue_fault(
            Fault(FaultKind.RATE_LIMITED, method="GET", path=path, retry_after=20)
        )

    found = reconcile(
        since=desk.clock() - timedelta(days=1),
        clock=desk.clock,
        client=desk.client,
        sleep=waited.append,
    )

    assert waited == [20.0, 20.0, 20.0]
    assert (found.state, found.adopted) == (RunState.FINISHED, 1)


def test_reconcile_stops_where_digital_river_asks_for_hours(desk: Desk) -> None:
    desk.submit(desk.order("worked_sample"), rep(), part("5.00"))
    desk.sandbox.queue_fault(
        Fault(FaultKind.RATE_LIMITED, method="GET", path="/refunds", retry_after=7200)
    )
    assert run(desk).state == RunState.STOPPED


def test_reconcile_that_goes_wrong_says_so_and_can_be_carried_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.submit(desk.order("worked_sample"), rep(), part("5.00"))
    monkeypatch.setattr(reconciliation_module, "matched", lambda refunds: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run(desk)

    monkeypatch.undo()
    stopped = ReconciliationRun.objects.get()
    assert stopped.state == RunState.STOPPED
    assert "ZeroDivisionError" in stopped.outcome
    found = reconciliation_carry_on(run_id=stopped.pk, clock=desk.clock, client=desk.client)
    assert found.outcome == "Everything agrees."


# -- one at a time ---------------------------------------------------------------------------------


def _under_way(desk: Desk) -> ReconciliationRun:
    """Return a run whose process was killed a moment ago."""
    with pytest.raises(KilledError):
        reconcile(clock=desk.clock, client=desk.client, on_progress=lambda each: kill())
    return ReconciliationRun.objects.get()


def test_reconciliation_under_way_keeps_others_out(desk: Desk) -> None:
    running = _under_way(desk)
    desk.clock.forward(minutes=4)
    with pytest.raises(ReconciliationRefused, match="under way"):
        reconciliation_begin(clock=desk.clock)
    with pytest.raises(ReconciliationRefused, match="under way"):
        reconciliation_carry_on(run_id=running.pk, clock=desk.clock, client=desk.client)
    with pytest.raises(ReconciliationRefused, match="under way"):
        reconciliation_resume(run=running, user=lead(), clock=desk.clock)
    assert ReconciliationRun.objects.count() == 1


def test_reconciliation_without_a_sign_of_life_is_given_up_for_a_new_one(desk: Desk) -> None:
    running = _under_way(desk)
    desk.clock.forward(minutes=6)

    found = run(desk)

    running.refresh_from_db()
    assert (running.state, running.finished_at) == (RunState.STOPPED, desk.clock())
    assert "Given up" in running.outcome
    assert found.state == RunState.FINISHED
    with pytest.raises(ReconciliationRefused, match="has ended"):
        reconciliation_carry_on(run_id=running.pk, clock=desk.clock, client=desk.client)


def test_reconciliation_that_is_finished_is_not_carried_on(desk: Desk) -> None:
    found = run(desk)
    with pytest.raises(ReconciliationRefused, match="has ended"):
        reconciliation_carry_on(run_id=found.pk, clock=desk.clock, client=desk.client)


def test_reconciliation_taken_over_writes_nothing_any_more(desk: Desk) -> None:
    """A process stands still for so long that another carries its run on, and then comes back."""
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("5.00"))
    finished: list[ReconciliationRun] = []

    def stand_still(each: ReconciliationRun) -> None:
        if not finished:
            finished.append(each)
            finished.append(carry_on(desk, each))

    found = reconcile(
        since=desk.clock() - timedelta(days=1),
        clock=desk.clock,
        client=desk.client,
        on_progress=stand_still,
    )

    assert finished[1].state == RunState.FINISHED
    assert found.outcome == finished[1].outcome
    assert totals(found) == [("2026-11-02", "USD", 1, Decimal("5.00"), 1, Decimal("5.00"))]
    assert ReconciliationRun.objects.count() == 1


def test_reconciliation_is_not_kept_out_by_a_clock_that_was_set_back(desk: Desk) -> None:
    _under_way(desk)
    desk.clock.forward(days=-1)
    assert run(desk).state == RunState.FINISHED


def test_reconciliations_take_up_puts_off_what_has_no_process(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(queue, "enqueue", lambda task, pk: asked.append((task, pk)))
    assert reconciliations_take_up(clock=desk.clock) == 0
    running = _under_way(desk)
    desk.clock.forward(minutes=4)
    assert reconciliations_take_up(clock=desk.clock) == 0
    desk.clock.forward(minutes=2)
    assert reconciliations_take_up(clock=desk.clock) == 1
    assert asked == [("refunds.tasks.reconcile", running.pk)]


def test_reconciliations_take_up_leaves_one_that_waits_for_digital_river(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "enqueue", lambda task, pk: pytest.fail("put off"))
    desk.sandbox.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, method="GET"))
    assert run(desk).state == RunState.STOPPED
    desk.clock.forward(minutes=10)
    assert reconciliations_take_up(clock=desk.clock) == 0


def test_reconciliation_start_and_resume_are_for_leads_alone(desk: Desk) -> None:
    begun = reconciliation_begin(clock=desk.clock)
    with pytest.raises(PermissionMissing, match="Refund leads"):
        reconciliation_start(user=rep(), clock=desk.clock)
    with pytest.raises(PermissionMissing, match="Refund leads"):
        reconciliation_resume(run=begun, user=rep(), clock=desk.clock)
    assert ReconciliationRun.objects.get() == begun


def test_reconciliation_start_leaves_the_work_to_the_background(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(queue, "enqueue", lambda task, pk: asked.append((task, pk)))
    begun = reconciliation_start(user=lead(), clock=desk.clock)
    assert (begun.state, begun.phase, begun.started_by) == (RunState.RUNNING, "", lead())
    assert asked == [("refunds.tasks.reconcile", begun.pk)]


def test_reconcile_task_leaves_alone_what_has_ended(desk: Desk) -> None:
    found = run(desk)
    tasks.reconcile(found.pk)
    assert ReconciliationRun.objects.get().finished_at == found.finished_at


def test_reconcile_leaves_the_place_free(desk: Desk) -> None:
    run(desk)
    mark = Watermark.objects.get(name="reconciliation")
    assert mark.at.year == 1970


# -- cost ------------------------------------------------------------------------------------------


def _queries(desk: Desk, count: int, first: int) -> int:
    """Return how many queries a run takes over so many orders with a refund each, all settled."""
    for number in range(first, first + count):
        order = make_order(
            number,
            lines=[Line(Decimal("30.00"), tax=Decimal("3.00"))],
            refunds=[PastRefund({"amount": Decimal("5.00")})],
        )
        desk.sandbox.put_order(order)
        order_mirror(record=order_record(order.record))
    reconcile(clock=desk.clock, client=desk.client)
    desk.clock.forward(minutes=1)
    with CaptureQueriesContext(connection) as captured:
        found = reconcile(clock=desk.clock, client=desk.client)
    assert found.brought_up_to_date == 0
    assert found.theirs_read >= count
    return len(captured)


def test_reconcile_takes_as_many_queries_for_a_full_page_as_for_a_few(desk: Desk) -> None:
    desk.sandbox.reset()
    with desk.sandbox._writing() as connection:
        connection.execute("DELETE FROM refunds")
    few = _queries(desk, 3, 9100)
    many = _queries(desk, 60, 9200)
    assert many == few
    assert ControlTotal.objects.exists()


# -- beside reps -----------------------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_reconcile_waits_for_no_refund_while_it_holds_another(desk: Desk) -> None:
    """A rep's transaction has one refund and goes on to another: neither must be called off."""
    order = desk.order("worked_sample")
    first = desk.submit(order, rep(), part("5.00"))
    second = desk.submit(desk.refresh(order), rep(), part("6.00"))
    desk.refresh(order)
    has_one, reconciling = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        try:
            with transaction.atomic():
                Refund.objects.select_for_update().get(pk=second.pk)
                has_one.set()
                reconciling.wait(10)
                # Time for the run to mark what is free and come to the one that is not.
                time.sleep(0.5)
                Refund.objects.select_for_update().get(pk=first.pk)
            ended.append("committed")
        except OperationalError as error:
            ended.append(type(error).__name__)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert has_one.wait(10)
    reconciling.set()

    found = run(desk)

    thread.join(10)
    assert ended == ["committed"]
    assert found.outcome == "Everything agrees."
    assert [row[2:] for row in totals(found)] == [(2, Decimal("11.00"), 2, Decimal("11.00"))]
    assert Refund.objects.filter(reconciled_at=desk.clock()).count() == 2


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_lead_reviews_while_a_run_notes_more_of_the_same_refund(desk: Desk) -> None:
    """The run holds the difference and comes to the refund at its commit; the lead the reverse."""
    refund = desk.submit(desk.order("worked_sample"), rep(), part("5.00"))

    def note(kind: Kind) -> None:
        found = Finding(
            kind=kind,
            subject=refund.digital_river_id,
            explanation="Something differs.",
            order_id=refund.order_id,
            refund_id=refund.pk,
        )
        differences_record(
            found=[found], subjects={found.subject}, kinds=OF_A_REFUND, at=desk.clock()
        )

    note(Kind.AMOUNT)
    known, person = Difference.objects.get(), lead()
    ended: list[str] = []

    def review() -> None:
        try:
            difference_review(difference=known, note="Seen.", user=person, clock=desk.clock)
            ended.append("reviewed")
        except (DifferenceUnresolved, OperationalError) as error:
            ended.append(type(error).__name__)
        finally:
            connection.close()

    thread = threading.Thread(target=review)
    with transaction.atomic():
        note(Kind.STATE)
        thread.start()
        # Time for the lead to hold the refund and wait for the difference.
        time.sleep(0.5)
    thread.join(10)
    # The run has cleared what the lead was about to review.
    assert ended == ["DifferenceUnresolved"]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_reconciliations_begun_at_once_are_one(desk: Desk) -> None:
    barrier = threading.Barrier(4)
    ended: list[str] = []

    def work() -> None:
        try:
            barrier.wait(10)
            ended.append(str(run(desk).state))
        except ReconciliationRefused:
            ended.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 4
    assert "finished" in ended
    assert set(ended) <= {"finished", "refused"}
    assert not ReconciliationRun.objects.filter(finished_at=None).exists()


def test_reconcile_that_is_answered_slowly_keeps_its_place(
    desk: Desk, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, template = desk.clock(), desk.order("worked_sample")
    # One batch, each of an order of its own; Digital River has none of them.
    for number in range(100):
        order = Order.objects.get(pk=template.pk)
        order.pk = None
        order.order_number = order.number_key = f"T{number}"
        order.salesforce_id = f"801000000000{number:03d}AAA"
        order.digital_river_id = order.digital_river_key = f"9990{number:04d}"
        order.save(force_insert=True)
        refund_create(
            order=order,
            option=Option.COMPLETE_ORDER,
            state=State.PENDING,
            currency="USD",
            requested_amount=Decimal(1),
            accepted_amount=Decimal(1),
            listed=True,
            digital_river_id=f"re_gone_{number}",
            created_at=begun,
            updated_at=begun,
            submitted_at=begun,
        )
    desk.clock.forward(minutes=10)
    taken_up: list[str] = []
    monkeypatch.setattr(queue, "enqueue", lambda task, *arguments: taken_up.append(task))
    answer = wire.handle_request

    def slowly(request: httpx.Request) -> httpx.Response:
        desk.clock.forward(seconds=4)
        reconciliations_take_up(clock=desk.clock)
        return answer(request)

    monkeypatch.setattr(wire, "handle_request", slowly)
    run = reconcile(
        since=begun - timedelta(days=1),
        clock=desk.clock,
        client=desk.client,
        sleep=lambda seconds: None,
    )
    assert run.state == RunState.FINISHED
    assert taken_up == []
