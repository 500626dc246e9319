"""The history of refunds that the demo begins with."""

from collections import Counter
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.utils import timezone

from demo.accounts import accounts_make
from demo.filling import orders_fill
from demo.guard import DemoRefusedError
from demo.history import EPISODES, history_make
from refunds.models import Order, Refund
from refunds.options import Option
from refunds.services.drafts import draft_create
from sandbox.shop import ORDERS, SHOWCASE
from tests.demo.conftest import OpenShop

pytestmark = pytest.mark.django_db

#: The newest orders are enough for the history to choose from.
NEWEST = range(ORDERS - 145, ORDERS + 1)
TOUCHED = {SHOWCASE["fails_after_pending_card"], SHOWCASE["refused_on_creation"]}


@pytest.fixture
def filled(open_shop: OpenShop) -> None:
    open_shop(NEWEST)
    accounts_make()
    orders_fill(progress=lambda done, total: None)


def _made() -> list[Refund]:
    refunds = Refund.objects.filter(origin=Refund.Origin.DESK).order_by("submitted_at")
    return list(refunds.select_related("order", "created_by"))


@pytest.mark.usefixtures("filled")
def test_history_make_shows_every_option_and_many_states() -> None:
    left = dict(Order.objects.values_list("order_number", "left_amount"))

    assert history_make() == len(EPISODES)

    refunds = _made()
    assert {refund.option for refund in refunds} == set(Option)
    assert Counter(refund.state for refund in refunds) == {
        "succeeded": 8,
        "expired": 1,
        "failed": 1,
        "refused": 1,
        "pending_information": 1,
        "pending": 1,
    }
    assert not any(refund.flag for refund in refunds)
    assert {refund.created_by.username for refund in refunds if refund.created_by} == {
        "rep",
        "rep2",
    }
    assert len({refund.order_id for refund in refunds}) == len(refunds)
    for refund in refunds:
        order = refund.order
        gone = left[order.order_number] - order.left_amount
        assert gone == refund.held_amount, refund.option

    special = set(SHOWCASE.values()) & {refund.order.order_number for refund in refunds}
    assert special == TOUCHED


@pytest.mark.usefixtures("filled")
def test_history_make_dates_refunds_alike_at_both_ends(open_shop: OpenShop) -> None:
    history_make()

    refunds = _made()
    now = timezone.now()
    assert refunds[0].submitted_at is not None
    assert now - refunds[0].submitted_at > timedelta(days=30)
    for refund in refunds:
        assert refund.submitted_at is not None
        assert refund.order.ordered_at < refund.submitted_at <= now
        if refund.state in {"succeeded", "failed", "expired"}:
            assert refund.settled_at is not None
            assert refund.submitted_at < refund.settled_at < now - timedelta(days=1)
        refreshed = refund.order.refreshed_at
        assert refreshed is not None
        assert now - refreshed < timedelta(minutes=5)

    listed = {told["id"]: told["createdTime"] for told in open_shop(NEWEST).refunds().data if told}
    newest = next(refund for refund in reversed(refunds) if refund.digital_river_id)
    assert newest.submitted_at is not None
    assert listed[newest.digital_river_id][:16] == newest.submitted_at.isoformat()[:16]


@pytest.mark.usefixtures("filled")
def test_history_make_is_left_out_once_somebody_made_a_refund() -> None:
    order = Order.objects.filter(refundable=True)[0]
    draft_create(order=order, user=User.objects.get(username="rep"))

    assert history_make() == 0

    assert len(_made()) == 1


def test_history_make_without_orders_makes_nothing(open_shop: OpenShop) -> None:
    open_shop(range(0))

    assert history_make() == 0


def test_history_make_refuses_where_the_demo_may_not_run(settings: LazySettings) -> None:
    settings.SANDBOX_REFUSAL = "Not here."

    with pytest.raises(DemoRefusedError, match="Not here"):
        history_make()
