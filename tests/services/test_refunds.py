"""Submitting, looking, sending again, calling off: through the real client to the stand-in."""

from decimal import Decimal

import pytest

from refunds.models import CHECK, Refund
from refunds.options import Option, Selection
from refunds.services.refunds import refund_check
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db(transaction=True)


def test_refund_submit_of_a_complete_order_is_pending_then_succeeds(desk: Desk) -> None:
    order = desk.order("worked_sample")

    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("27.01")))

    assert refund.state == Refund.State.PENDING
    assert refund.digital_river_id
    assert refund.requested_amount == refund.accepted_amount == Decimal("27.01")
    order.refresh_from_db()
    assert order.left_amount == 0
    assert not order.refundable

    desk.clock.forward(hours=1)
    refund = refund_check(refund=refund, actor=CHECK, clock=desk.clock, client=desk.client)
    assert refund.state == Refund.State.SUCCEEDED
    assert refund.refunded_amount == Decimal("27.01")
    assert refund.flag == ""
