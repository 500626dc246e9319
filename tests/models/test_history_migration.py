"""Histories that were written before they were chained get their place in the chain."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.apps.registry import Apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from refunds.models import HistoryEntry, Refund, RefundReason
from refunds.services.verification import Finding, verify_history

AT = datetime(2026, 10, 1, 12, 0, 0, 654321, tzinfo=UTC)
BEFORE = [("refunds", "0003_events_and_reconciliation")]


def migrate(targets: list[tuple[str, str]]) -> Apps:
    """Bring the schema to these migrations; returns the models as they then are."""
    executor = MigrationExecutor(connection)
    return executor.migrate(targets).apps


@pytest.fixture
def before(transactional_db: None) -> Iterator[Apps]:
    """Take the schema back to before the chain, and leave it as it was."""
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        yield migrate(BEFORE)
    finally:
        migrate(newest)


def write(apps: Apps, references: list[str], each: int) -> None:
    """Write refunds with histories of this length, their entries mixed, as the desk once did."""
    order = apps.get_model("refunds", "Order").objects.create(
        salesforce_id="801000000000001AAA", order_number="1", ordered_at=AT, currency="USD"
    )
    refunds = [
        apps.get_model("refunds", "Refund").objects.create(
            reference=reference, order=order, currency="USD", created_at=AT, updated_at=AT
        )
        for reference in references
    ]
    for at in range(each):
        for refund in refunds:
            apps.get_model("refunds", "HistoryEntry").objects.create(
                refund=refund,
                number=0,
                hash="",
                at=AT + timedelta(seconds=at),
                actor_kind="check",
                from_state="draft",
                to_state="draft",
                summary=f"Grüße {at}\n",
            )


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_migration_chains_what_was_written_before(before: Apps) -> None:
    write(before, ["R-0000-0001", "R-0000-0002", "R-0000-0003"], each=3)

    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())

    findings: list[Finding] = []
    checked = verify_history(found=findings.append)
    assert findings == []
    assert (checked.refunds, checked.entries - checked.reasons) == (3, 9)
    for refund in Refund.objects.all():
        chain = list(refund.history.order_by("number"))
        assert [entry.summary for entry in chain] == [f"Grüße {at}\n" for at in range(3)]
        assert [entry.pk for entry in chain] == sorted(entry.pk for entry in chain)
        assert refund.history_length == 3


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_migration_leaves_what_is_chained_as_it_is(before: Apps) -> None:
    write(before, ["R-0000-0001"], each=2)
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    migrate(newest)
    heads = list(Refund.objects.values_list("history_head", flat=True))
    entries = list(HistoryEntry.objects.order_by("pk").values())

    migrate(BEFORE)
    Refund.objects.update(state="cancelled")
    HistoryEntry.objects.filter(number=2, refund__isnull=False).update(summary="Another.")
    migrate(newest)

    assert list(Refund.objects.values_list("history_head", flat=True)) == heads
    assert RefundReason.objects.filter(history_length=1).count() == RefundReason.objects.count()
    assert len(entries) == HistoryEntry.objects.count()
    findings: list[Finding] = []
    verify_history(found=findings.append)
    assert [finding.number for finding in findings] == [2, 2]
