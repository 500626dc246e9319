"""`python manage.py reconcile_refunds`: what it says, how it ends, and carrying on."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from refunds.models import Difference, ReconciliationRun, Refund
from refunds.options import Option, Selection
from refunds.services.reconciliation import reconcile
from refunds.services.reconciliation_runs import reconciliation_begin
from sandbox.allocation import RefundAsk
from sandbox.faults import Fault, FaultKind
from sandbox.shop import SHOWCASE
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _an_hour_ago(desk: Desk) -> None:
    """What a test does was done an hour ago; the command goes by the real clock."""
    desk.clock.now = timezone.now() - timedelta(hours=1)


@pytest.fixture
def since(desk: Desk) -> str:
    """Return the day before the test's, so that the shop's own past is left out."""
    return f"{desk.clock() - timedelta(days=1):%Y-%m-%d}"


def _reconcile(*arguments: str) -> tuple[str, int, str]:
    """Run the command; returns what it said, how it ended, and why."""
    output = StringIO()
    try:
        call_command("reconcile_refunds", *arguments, stdout=output)
    except CommandError as error:
        return output.getvalue(), error.returncode, str(error)
    return output.getvalue(), 0, ""


def _submit(desk: Desk, case: str = "worked_sample") -> Refund:
    return desk.submit(desk.order(case), rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))


def _unmirrored(desk: Desk) -> None:
    """Make a refund of an order that the mirror does not have."""
    order_id = desk.sandbox.order_id(SHOWCASE["plain_usd"])
    assert order_id is not None
    desk.sandbox.create_refund(RefundAsk(order_id, "USD", amount=Decimal("6.00")))


def test_reconcile_refunds_heals_and_says_that_everything_agrees(desk: Desk, since: str) -> None:
    refund = _submit(desk)
    order = refund.order
    desk.sandbox.create_refund(RefundAsk(order.digital_river_id, "USD", amount=Decimal("1.00")))

    said, status, _ = _reconcile("--since", since)

    assert status == 0
    found = ReconciliationRun.objects.get()
    assert said.splitlines() == [
        "  reading Digital River's refunds: 2 read there, 2 here",
        "  looking for ours that it did not list: 2 read there, 2 here",
        "  comparing orders: 2 read there, 2 here",
        f"Reconciliation {found.pk}: Everything agrees.",
        "Read at Digital River: 2. Read here: 2. Adopted: 1. Brought up to date: 1.",
    ]
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
    assert found.since is not None
    assert f"{found.since:%Y-%m-%d %H:%M}" == f"{since} 00:00"
    assert found.started_by is None


def test_reconcile_refunds_ends_with_1_while_a_difference_is_open(desk: Desk, since: str) -> None:
    _unmirrored(desk)

    said, status, why = _reconcile("--since", since)

    assert (status, why) == (1, "1 difference is open.")
    assert "Control totals that do not agree:" in said
    assert f"  {desk.clock():%Y-%m-%d} USD: here 0 of 0, there 1 of 6" in said
    assert "Open differences, newest first:\n  Not at the desk: Digital River has refund" in said
    # One found before counts as well, whatever is compared now.
    tomorrow = f"{timezone.now() + timedelta(days=1):%Y-%m-%d}"
    assert _reconcile("--since", tomorrow)[1] == 1
    Difference.objects.update(
        resolution=Difference.Resolution.REVIEWED, resolved_at=desk.clock(), note="Known."
    )
    assert _reconcile("--since", since)[1] == 0


def test_reconcile_refunds_names_some_of_many(desk: Desk, since: str) -> None:
    for number in range(23):
        Difference.objects.create(
            kind=Difference.Kind.AVAILABLE,
            subject=f"order {number}",
            explanation=f"Number {number}.",
            found_at=desk.clock.forward(seconds=1),
            last_seen_at=desk.clock(),
        )
    said, status, why = _reconcile("--since", since)
    assert (status, why) == (1, "23 differences are open.")
    assert said.count("Available amounts differ: ") == 20
    assert "  and 3 more, on the page Reconciliation" in said


def test_reconcile_refunds_of_one_order(desk: Desk) -> None:
    refund = _submit(desk)
    other = _submit(desk, "plain_usd")
    _unmirrored(desk)

    said, status, _ = _reconcile("--order", refund.order.order_number)

    assert status == 0
    assert "Brought up to date: 1." in said
    other.refresh_from_db()
    assert other.state == Refund.State.PENDING
    assert ReconciliationRun.objects.get().order == refund.order


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "01.11.2026", ""])
def test_reconcile_refunds_refuses_a_day_that_is_none(desk: Desk, day: str) -> None:
    _, status, why = _reconcile("--since", day)
    assert status != 0
    assert "YYYY-MM-DD" in why
    assert not ReconciliationRun.objects.exists()


def test_reconcile_refunds_refuses_an_order_that_is_not_there(desk: Desk) -> None:
    _, status, why = _reconcile("--order", "99999999")
    assert status == 2
    assert "no order of the number '99999999'" in why
    assert not ReconciliationRun.objects.exists()


def test_reconcile_refunds_says_that_digital_river_is_away_and_is_carried_on(
    desk: Desk, since: str
) -> None:
    _submit(desk)
    desk.sandbox.queue_fault(
        Fault(FaultKind.CONNECTION_REFUSED, method="GET", path="/orders", times=1_000)
    )

    said, status, why = _reconcile("--since", since)

    assert status == 2
    assert "--resume" in why
    assert "carry the run on later" in said
    desk.sandbox.clear_faults()
    said, status, _ = _reconcile("--resume")
    assert status == 0
    assert "Everything agrees." in said
    assert "reading Digital River's refunds" not in said
    assert ReconciliationRun.objects.get().theirs_read == 1


def test_reconcile_refunds_carries_on_with_what_was_compared_and_nothing_else(
    desk: Desk, since: str
) -> None:
    reconciliation_begin()
    for more in (("--since", since), ("--order", "1")):
        _, status, why = _reconcile("--resume", *more)
        assert status == 2
        assert "leave out --since and --order" in why


def test_reconcile_refunds_has_nothing_to_carry_on(desk: Desk, since: str) -> None:
    _reconcile("--since", since)
    _, status, why = _reconcile("--resume")
    assert status == 2
    assert "There is nothing to carry on." in why


def test_reconcile_refunds_does_not_start_beside_another(desk: Desk, since: str) -> None:
    ended: list[tuple[str, int, str]] = []
    reconcile(
        since=timezone.now(),
        client=desk.client,
        on_progress=lambda run: ended.append(_reconcile("--since", since)),
    )
    assert {status for _, status, _ in ended} == {2}
    assert "A reconciliation is under way." in ended[0][2]
    assert ReconciliationRun.objects.count() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "2999-01-01"],
        ["--since", "0026-11-02"],
        ["--order", ""],
        ["--order", " "],
        ["--order", "\udcff"],
    ],
    ids=["a day to come", "a year typed wrong", "nothing", "a space", "bytes that are no text"],
)
def test_reconcile_refunds_begins_nothing_by_what_makes_no_sense(
    desk: Desk, arguments: list[str]
) -> None:
    _, _, why = _reconcile(*arguments)
    assert "it must" in why
    assert not ReconciliationRun.objects.exists()
