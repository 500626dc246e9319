"""Reasons: added, changed and deleted, each with an entry that tells what changed."""

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import ProtectedError

from refunds.models import HistoryEntry, RefundReason
from refunds.options import Option, Selection
from refunds.services.reasons import reason_delete, reason_save
from refunds.services.verification import Finding, verify_history
from tests.desk import Desk, SetClock, person

pytestmark = pytest.mark.django_db

LATE = "Late delivery"


def entries(reason_id: int) -> list[HistoryEntry]:
    """Return what was done to a reason since it was listed, oldest first."""
    return list(HistoryEntry.objects.filter(reason_id=reason_id, number__gt=1).order_by("number"))


def whole() -> list[Finding]:
    """Return what the verification finds wrong."""
    findings: list[Finding] = []
    verify_history(found=findings.append)
    return findings


def test_reason_save_adds_a_reason_and_tells_all_of_it(clock: SetClock) -> None:
    reason = RefundReason(label="Gift", wire_text="gift", needs_text=True)

    changed = reason_save(reason=reason, user=person("keeper"), clock=clock)

    assert changed["label"] == ("", "Gift")
    kept = RefundReason.objects.get(label="Gift")
    entry = kept.history.get()
    assert (entry.number, entry.summary, entry.at) == (1, "Added.", clock())
    assert entry.actor == person("keeper")
    assert entry.told == {
        "label": "Gift",
        "wire_text": "gift",
        "needs_text": "yes",
        "active": "yes",
        "position": "100",
    }
    assert whole() == []


def test_reason_save_tells_what_was_and_what_is(clock: SetClock) -> None:
    reason = RefundReason.objects.get(label=LATE)
    before = reason.wire_text
    reason.wire_text, reason.active = "too late", False

    changed = reason_save(reason=reason, user=person("keeper"), clock=clock)

    assert changed == {"wire_text": (before, "too late"), "active": ("yes", "no")}
    [entry] = entries(reason.pk)
    assert entry.told == {"wire_text": f"{before} → too late", "active": "yes → no"}
    assert entry.summary == "Changed."
    kept = RefundReason.objects.get(pk=reason.pk)
    assert (kept.wire_text, kept.active, kept.history_length) == ("too late", False, 2)
    assert whole() == []


def test_reason_save_writes_nothing_where_nothing_changed(clock: SetClock) -> None:
    reason = RefundReason.objects.get(label=LATE)

    assert reason_save(reason=reason, user=person("keeper"), clock=clock) == {}

    assert entries(reason.pk) == []


def test_reason_save_leaves_alone_what_others_changed_meanwhile(clock: SetClock) -> None:
    stale = RefundReason.objects.get(label=LATE)
    fresh = RefundReason.objects.get(label=LATE)
    fresh.position = 7
    reason_save(reason=fresh, user=person("keeper"), clock=clock)
    stale.position = 7
    stale.active = False

    reason_save(reason=stale, user=person("keeper"), clock=clock)

    kept = RefundReason.objects.get(label=LATE)
    assert (kept.position, kept.active, kept.history_length) == (7, False, 3)
    assert entries(kept.pk)[-1].told == {"active": "yes → no"}
    assert whole() == []


def test_reason_save_with_a_label_that_is_taken_leaves_no_entry(clock: SetClock) -> None:
    reason = RefundReason.objects.get(label=LATE)
    reason.label = "Other"

    with pytest.raises(IntegrityError), transaction.atomic():
        reason_save(reason=reason, user=person("keeper"), clock=clock)

    assert entries(reason.pk) == []
    assert whole() == []


def test_reason_save_whose_entry_cannot_be_written_changes_nothing(
    clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_entry: HistoryEntry) -> str:
        raise DatabaseError

    reason = RefundReason.objects.get(label=LATE)
    reason.active = False
    with monkeypatch.context() as patched:
        patched.setattr(HistoryEntry, "computed_hash", property(broken))
        with pytest.raises(DatabaseError):
            reason_save(reason=reason, user=person("keeper"), clock=clock)

    assert RefundReason.objects.get(pk=reason.pk).active
    assert whole() == []


def test_reason_delete_keeps_the_history_of_what_it_said(clock: SetClock) -> None:
    reason = RefundReason.objects.get(label=LATE)
    pk, said = reason.pk, reason.told

    reason_delete(reason=reason, user=person("keeper"), clock=clock)

    assert not RefundReason.objects.filter(pk=pk).exists()
    [entry] = entries(pk)
    assert (entry.summary, entry.told, entry.at) == ("Deleted.", said, clock())
    assert whole() == []


def test_reason_delete_of_one_in_use_writes_nothing(desk: Desk) -> None:
    refund = desk.submit(desk.order("worked_sample"), person("rep", *GROUPS), SHIPPING)
    assert refund.reason is not None

    with pytest.raises(ProtectedError), transaction.atomic():
        reason_delete(reason=refund.reason, user=person("keeper"), clock=desk.clock)

    assert entries(refund.reason.pk) == []
    assert whole() == []


GROUPS = ["DigitalRiver Connector – Refunds"]
SHIPPING = Selection(Option.SHIPPING)
