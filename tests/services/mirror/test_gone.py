"""Orders that a run of everything misses, and that are there again afterwards."""

import pytest

from refunds.models import Order, SyncRun
from refunds.options import Option, Selection
from refunds.salesforce.client import SalesforceClient
from refunds.services.mirror.syncing import sync
from sandbox.salesforce.organisation import Organisation
from sandbox.shop import SHOWCASE
from tests.desk import Desk, SetClock, rep

pytestmark = pytest.mark.django_db


def hide(organisation: Organisation, order_id: str, *, hidden: bool) -> None:
    """Keep an order from the integration user, or no longer: nothing about it is changed."""
    with organisation.sandbox.changing() as connection:
        connection.execute(
            "UPDATE salesforce_records SET deleted = ? WHERE id = ?", (hidden, order_id)
        )


def test_an_order_that_is_to_be_seen_again_is_no_longer_marked_as_deleted(
    desk: Desk, salesforce: SalesforceClient, organisation: Organisation, clock: SetClock
) -> None:
    def everything() -> None:
        run = sync(started_by="test", full=True, client=salesforce, clock=clock)
        assert run.state == SyncRun.State.FINISHED, run.outcome

    order_id = organisation.order_id(SHOWCASE["worked_sample"])
    organisation.touch("Order", order_id)
    clock.forward(hours=1)
    everything()
    order = desk.refresh(Order.objects.get(salesforce_id=order_id))
    desk.submit(order, rep(), Selection(Option.SHIPPING, None))
    hide(organisation, order_id, hidden=True)
    clock.forward(hours=1)
    everything()
    order.refresh_from_db()
    assert order.salesforce_deleted_at is not None

    hide(organisation, order_id, hidden=False)
    clock.forward(hours=1)
    everything()

    order.refresh_from_db()
    assert order.salesforce_deleted_at is None
