"""The standing check: succeeded and in flight never exceed captured, per order and per line."""

import logging
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from refunds.models import Difference, Order, Refund, RefundLine
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import lines_of, open_differences
from refunds.services import standing_check as module
from refunds.services.differences import difference_review
from refunds.services.events import events_catch_up, events_process
from refunds.services.standing_check import orders_check, standing_check
from refunds.services.sweeping import sweep
from tests.desk import Desk, lead, rep
from tests.views.rows import make_orders, make_refunds

pytestmark = pytest.mark.django_db

Kind = Difference.Kind


def part(amount: str) -> Selection:
    """Return a part of the whole order."""
    return Selection(Option.COMPLETE_ORDER, Decimal(amount))


def spoil(desk: Desk, refund: Refund, **columns: object) -> None:
    """Change what is kept of a refund, as a bug might."""
    Refund.objects.filter(pk=refund.pk).update(updated_at=desk.clock(), **columns)


def check(desk: Desk, *, full: bool = False) -> int:
    return standing_check(clock=desk.clock, full=full)


def test_standing_check_of_orders_in_order_finds_nothing(desk: Desk) -> None:
    order = desk.order("all_options")
    for option in (Option.SHIPPING, Option.IMPORTER_DUTY, Option.TAX):
        desk.submit(desk.refresh(order), rep(), Selection(option))
    desk.submit(desk.refresh(order), rep(), Selection(Option.COMPLETE_ORDER))
    assert check(desk, full=True) == 0
    desk.clock.forward(minutes=10)
    desk.refresh(order)
    assert check(desk) == 0
    assert not open_differences().any


def test_standing_check_is_content_with_one_that_waits_and_no_longer_fits(desk: Desk) -> None:
    """It is refused when its turn comes; until then it only holds."""
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("20.00"))
    waiting = desk.submit(desk.refresh(order), rep(), part("7.01"))
    spoil(desk, waiting, state="queued", accepted_amount=None, requested_amount=Decimal("9.99"))
    desk.clock.forward(minutes=1)

    assert check(desk) == 0


@pytest.mark.parametrize("state", [*sorted(Refund.HOLDING - {"queued"}), "succeeded"])
def test_standing_check_finds_an_order_that_holds_more_than_was_captured(
    desk: Desk, state: str
) -> None:
    order = desk.order("worked_sample")
    first = desk.submit(order, rep(), part("20.00"))
    second = desk.submit(desk.refresh(order), rep(), part("7.01"))
    assert check(desk) == 0
    spoil(
        desk,
        second,
        state=state,
        accepted_amount=Decimal("7.02"),
        refunded_amount=Decimal("7.02"),
        settled_at=desk.clock(),
    )
    desk.clock.forward(minutes=1)

    assert check(desk) >= 1

    breach = Difference.objects.get(kind=Kind.ORDER_EXCEEDED)
    assert breach.order == order
    assert (breach.our_amount, breach.their_amount) == (Decimal("27.02"), Decimal("27.01"))
    assert breach.found_at == desk.clock()
    assert order.order_number in breach.explanation
    assert "USD 27.02" in breach.explanation
    assert "USD 27.01" in breach.explanation
    assert open_differences().breaches
    assert first.state == Refund.State.PENDING


@pytest.mark.parametrize("state", ["failed", "expired", "refused", "cancelled", "not_sent"])
def test_standing_check_leaves_out_what_holds_nothing(desk: Desk, state: str) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("27.01"))
    gone = make_refunds([order], rep(), state=state, requested_amount=Decimal("27.01"))[0]
    spoil(desk, gone, refunded_amount=Decimal(0))
    assert check(desk) == 0


def test_standing_check_clears_what_is_no_longer_so(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    spoil(desk, refund, accepted_amount=Decimal("50.00"))
    assert check(desk) == 1
    # The refund itself has not changed since: an order in breach is looked at all the same.
    Refund.objects.filter(pk=refund.pk).update(accepted_amount=Decimal("5.00"))
    desk.clock.forward(hours=1)

    assert check(desk) == 0

    breach = Difference.objects.get()
    assert breach.resolution == Difference.Resolution.CLEARED
    assert breach.resolved_at == desk.clock()
    assert not open_differences().any


def test_standing_check_finds_the_same_breach_again(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    spoil(desk, refund, accepted_amount=Decimal("50.00"))
    check(desk)
    first = Difference.objects.get()
    desk.clock.forward(minutes=1)
    check(desk)
    again = Difference.objects.get()
    assert again.pk == first.pk
    assert again.last_seen_at == desk.clock()


def test_standing_check_leaves_a_reviewed_breach_until_it_grows(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    spoil(desk, refund, accepted_amount=Decimal("50.00"))
    check(desk)
    difference_review(
        difference=Difference.objects.get(), note="Known.", user=lead(), clock=desk.clock
    )
    assert check(desk, full=True) == 0
    spoil(desk, refund, accepted_amount=Decimal("51.00"))
    assert check(desk) == 1


def test_standing_check_looks_only_at_what_changed_since(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    check(desk)
    desk.clock.forward(hours=1)
    check(desk)
    Refund.objects.filter(pk=refund.pk).update(accepted_amount=Decimal("50.00"))

    assert check(desk) == 0
    assert check(desk, full=True) == 1


def test_standing_check_looks_again_at_what_was_committed_late(desk: Desk) -> None:
    """A refund's row carries the moment before its transaction ended."""
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    at = desk.clock()
    desk.clock.forward(minutes=2)
    check(desk)
    Refund.objects.filter(pk=refund.pk).update(accepted_amount=Decimal("50.00"), updated_at=at)
    assert check(desk) == 1


def test_standing_check_shows_a_chargeback_after_the_refunds(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("20.00"))
    desk.sandbox.charge_back(order.digital_river_id, Decimal("27.01"))
    desk.clock.forward(minutes=1)
    events_catch_up(clock=desk.clock, client=desk.client)
    events_process(clock=desk.clock, client=desk.client)

    check(desk)

    breach = Difference.objects.get(kind=Kind.ORDER_EXCEEDED)
    assert breach.our_amount == Decimal("47.01")
    assert "bank took back USD 27.01" in breach.explanation


def test_standing_check_finds_a_line_that_gave_more_than_it_was_charged(desk: Desk) -> None:
    order = desk.order("many_lines")
    line = lines_of(order)[0]
    refund = desk.submit(
        order, rep(), Selection(Option.LINE_ITEMS, lines=(LineSelection(line.key, 1),))
    )
    assert check(desk) == 0
    charged = line.product_amount + line.tax_amount
    RefundLine.objects.filter(refund=refund).update(product_part=charged, tax_part=Decimal("0.01"))

    assert check(desk) == 1

    breach = Difference.objects.get()
    assert breach.kind == Kind.LINE_EXCEEDED
    assert breach.order == order
    assert (breach.our_amount, breach.their_amount) == (charged + Decimal("0.01"), charged)
    assert line.product_name[:40] in breach.explanation
    assert "product and tax" in breach.explanation


def test_standing_check_clears_a_line_that_no_refund_touches_any_more(desk: Desk) -> None:
    order = desk.order("many_lines")
    line = lines_of(order)[0]
    refund = desk.submit(
        order, rep(), Selection(Option.LINE_ITEMS, lines=(LineSelection(line.key, 1),))
    )
    RefundLine.objects.filter(refund=refund).update(product_part=line.product_amount * 2)
    assert check(desk) == 1
    desk.sandbox.fail_refund(refund.digital_river_id)
    desk.clock.forward(minutes=1)
    desk.refresh(order)
    assert check(desk) == 0


def test_standing_check_finds_a_line_whose_fees_gave_too_much(desk: Desk) -> None:
    order = desk.order("fees")
    line = next(each for each in lines_of(order) if each.fees_amount)
    refund = desk.submit(order, rep(), Selection(Option.FEES, lines=(LineSelection(line.key),)))
    assert check(desk) == 0
    RefundLine.objects.filter(refund=refund, order_line=line).update(fees_part=line.fees_amount + 1)

    assert check(desk) == 1

    breach = Difference.objects.get()
    assert breach.kind == Kind.LINE_EXCEEDED
    assert "fees and their tax" in breach.explanation


def test_standing_check_takes_no_estimate_for_a_breach_of_a_line(desk: Desk) -> None:
    """Digital River spreads a refund of the whole order by itself, perhaps otherwise."""
    order = desk.order("worked_sample")
    line = lines_of(order)[0]
    refund = desk.submit(order, rep(), part("20.00"))
    RefundLine.objects.filter(refund=refund).update(product_part=line.product_amount * 2)
    assert check(desk) == 0


def test_standing_check_counts_a_line_by_the_refunds_that_name_it(desk: Desk) -> None:
    order = desk.order("worked_sample")
    line = lines_of(order)[0]
    desk.submit(order, rep(), part("20.00"))
    by_line = desk.submit(
        order, rep(), Selection(Option.LINE_ITEMS, lines=(LineSelection(line.key, 1),))
    )
    assert check(desk) == 0
    charged = line.product_amount + line.tax_amount
    of_line = RefundLine.objects.filter(refund=by_line, order_line=line)
    of_line.update(product_part=charged + Decimal("0.01"), tax_part=0)

    assert check(desk) == 1

    assert Difference.objects.get().our_amount == charged + Decimal("0.01")


def test_standing_check_leaves_out_an_order_that_was_never_read(desk: Desk) -> None:
    orders = make_orders(1, captured_amount=Decimal(0), left_amount=Decimal(0), refreshed_at=None)
    make_refunds(orders, rep())
    assert check(desk, full=True) == 0


def test_standing_check_goes_through_every_order_in_batches(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    orders = make_orders(5, refreshed_at=desk.clock())
    for first in (0, 10, 20):
        make_refunds(orders, rep(), first=first, refunded_amount=Decimal("20.00"))
    assert check(desk, full=True) == 5
    # All changed at one moment, which a batch must not get stuck in.
    Refund.objects.update(updated_at=desk.clock())
    assert check(desk) == 5
    Refund.objects.update(refunded_amount=Decimal("1.00"))
    desk.clock.forward(hours=1)
    assert check(desk) == 0


def test_standing_check_takes_a_few_queries_for_however_many_orders(desk: Desk) -> None:
    orders = make_orders(60, refreshed_at=desk.clock())
    make_refunds(orders, rep())

    def queries(count: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            orders_check(orders=list(Order.objects.all()[:count]), at=desk.clock())
        return len(captured)

    assert queries(3) == queries(60) < 6


def test_standing_check_logs_each_breach_once_as_an_error(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), part("5.00"))
    spoil(desk, refund, accepted_amount=Decimal("50.00"))
    with caplog.at_level(logging.ERROR):
        check(desk)
        check(desk)
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "standing_check.breach" in str(error.msg)
    assert order.order_number in caplog.text
    assert order.buyer_email not in caplog.text


def test_sweep_does_the_standing_check(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), part("20.00"))
    desk.sandbox.charge_back(order.digital_river_id, Decimal("27.01"))
    desk.clock.forward(minutes=1)

    done = sweep(clock=desk.clock, client=desk.client)

    assert done["breaches"] == Difference.objects.count() >= 1
    assert Difference.objects.filter(kind=Kind.ORDER_EXCEEDED, order=order).exists()
