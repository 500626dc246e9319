"""`python manage.py settle_refunds`: what it settles, what it says, and that it never fails."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from refunds.models import Refund
from refunds.options import Option, Selection
from refunds.services.drafts import draft_create
from sandbox.faults import parse_fault
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db

WHOLE = Selection(Option.COMPLETE_ORDER)


def _settle(*arguments: str) -> str:
    output = StringIO()
    call_command("settle_refunds", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture(autouse=True)
def _an_hour_ago(desk: Desk) -> None:
    """What a test does was done an hour ago; the command goes by the real clock."""
    desk.clock.now = timezone.now() - timedelta(hours=1)


def _submit(desk: Desk, case: str) -> Refund:
    return desk.submit(desk.order(case), rep(), WHOLE)


def test_settle_refunds_settles_what_is_due(desk: Desk) -> None:
    succeeding = _submit(desk, "worked_sample")
    failing = _submit(desk, "failing_owner")

    output = _settle()

    assert output == "Drafts expired: 0\nRefunds looked at: 2\n  Succeeded: 1\n  Failed: 1\n"
    succeeding.refresh_from_db()
    failing.refresh_from_db()
    assert succeeding.state == Refund.State.SUCCEEDED
    assert failing.state == Refund.State.FAILED


def test_settle_refunds_a_second_time_has_nothing_to_do(desk: Desk) -> None:
    _submit(desk, "worked_sample")
    _settle()

    assert _settle() == "Drafts expired: 0\nRefunds looked at: 0\n"


def test_settle_refunds_leaves_what_is_not_due(desk: Desk) -> None:
    desk.clock.now = timezone.now()
    refund = _submit(desk, "worked_sample")

    assert _settle() == "Drafts expired: 0\nRefunds looked at: 0\n"

    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING


def test_settle_refunds_drops_expired_drafts_only(desk: Desk) -> None:
    order = desk.order("worked_sample")
    kept = draft_create(order=order, user=rep(), clock=desk.clock)
    desk.clock.forward(days=-3)
    expired = draft_create(order=order, user=rep(), clock=desk.clock)

    assert _settle().startswith("Drafts expired: 1\n")

    assert Refund.objects.get(pk=kept.pk).state == Refund.State.DRAFT
    assert Refund.objects.get(pk=expired.pk).state == Refund.State.CANCELLED


def test_settle_refunds_stops_at_its_limit(desk: Desk) -> None:
    _submit(desk, "worked_sample")
    _submit(desk, "plain_usd")

    assert "Refunds looked at: 1\n" in _settle("--limit", "1")

    states = Refund.objects.values_list("state", flat=True)
    assert sorted(states) == [Refund.State.PENDING, Refund.State.SUCCEEDED]


def test_settle_refunds_says_that_digital_river_cannot_be_reached(desk: Desk) -> None:
    refund = _submit(desk, "worked_sample")
    desk.sandbox.queue_fault(parse_fault({"kind": "connection-refused", "times": 1_000}))

    output = _settle()

    assert output == (
        "Drafts expired: 0\nRefunds looked at: 1\n"
        "  Not known, because Digital River could not be asked: 1\n"
    )
    refund.refresh_from_db()
    assert refund.state == Refund.State.PENDING
    assert refund.next_check_at is not None
    assert refund.next_check_at > timezone.now()


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "many", ""])
def test_settle_refunds_refuses_a_limit_that_is_none(limit: str) -> None:
    with pytest.raises(CommandError, match="whole number of at least 1"):
        _settle("--limit", limit)
