"""The line on the orders page that says how fresh the mirror is."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from refunds.models import SyncRun
from tests.views.pages import DeskClient

pytestmark = pytest.mark.django_db

State = SyncRun.State


def sync_run(*, minutes_ago: float, state: State = State.FINISHED, **columns: Any) -> SyncRun:
    at = timezone.now() - timedelta(minutes=minutes_ago)
    values = {
        "kind": SyncRun.Kind.CHANGES,
        "state": state,
        "started_by": "timer",
        "started_at": at,
        "alive_at": at,
        **columns,
    }
    return SyncRun.objects.create(**values)


@pytest.fixture
def shown(as_rep: DeskClient) -> Any:
    """Return what reads the orders page."""
    return lambda: " ".join(as_rep.page("/orders/").text.split())


def test_orders_page_says_when_salesforce_was_read(shown: Any) -> None:
    sync_run(minutes_ago=3)
    assert "Mirrored from Salesforce 3 minutes ago" in shown()
    assert "may be missing" not in shown()


def test_orders_page_says_that_nothing_was_read_yet(shown: Any) -> None:
    assert "Not mirrored from Salesforce to the end yet" in shown()


def test_orders_page_says_how_far_the_first_sync_is(shown: Any) -> None:
    sync_run(minutes_ago=1, state=State.RUNNING, orders_read=120_000)
    assert "a sync is under way, 120,000 orders read so far" in shown()


def test_orders_page_warns_when_the_last_sync_stopped(shown: Any) -> None:
    sync_run(minutes_ago=90)
    sync_run(minutes_ago=5, state=State.STOPPED, outcome="Salesforce cannot be reached.")
    said = shown()
    assert "The last sync with Salesforce stopped, so what changed there since" in said
    assert "Salesforce cannot be reached." in said


def test_orders_page_warns_when_no_sync_has_run_for_long(
    shown: Any, settings: LazySettings
) -> None:
    sync_run(minutes_ago=40)
    assert "newer orders and changes may be missing" in shown()
    settings.SALESFORCE_SYNC_SECONDS = 3600
    assert "may be missing" not in shown()
    settings.SALESFORCE_SYNC_SECONDS = 0
    assert "may be missing" not in shown()
    SyncRun.objects.update(started_at=timezone.now() - timedelta(days=2))
    assert "may be missing" in shown()


def test_orders_page_finds_the_last_finished_sync_behind_many_stopped_ones(shown: Any) -> None:
    sync_run(minutes_ago=500)
    for minutes in range(25, 0, -1):
        sync_run(
            minutes_ago=minutes, state=State.STOPPED, outcome="Away.", finished_at=timezone.now()
        )
    assert "8 hours ago" in shown()


def test_orders_page_says_nothing_where_there_is_no_salesforce(
    shown: Any, settings: LazySettings
) -> None:
    settings.SALESFORCE_TRANSPORT = settings.SALESFORCE_URL = settings.SALESFORCE_DOMAIN = ""
    sync_run(minutes_ago=3)
    assert "Mirrored from Salesforce" not in shown()
