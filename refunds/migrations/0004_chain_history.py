import hashlib
import json
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.utils import timezone

BATCH = 500


def chain(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Give what was written before the chain its place in it, refund by refund.

    What has its place already is left as it is: chained anew, an edit would not show any more.
    """
    HistoryEntry = apps.get_model("refunds", "HistoryEntry")
    Refund = apps.get_model("refunds", "Refund")
    for pks in _batches(Refund.objects.filter(history_length=0)):
        chained = []
        ends: dict[int | None, tuple[int, str]] = {}
        entries = HistoryEntry.objects.filter(refund__in=pks, hash="")
        for entry in entries.order_by("refund_id", "id"):
            number, head = ends.get(entry.refund_id, (0, ""))
            entry.number, entry.previous_hash = number + 1, head
            entry.hash = _hash(entry, f"refund {entry.refund_id}")
            ends[entry.refund_id] = (entry.number, entry.hash)
            chained.append(entry)
        HistoryEntry.objects.bulk_update(
            chained, ["number", "previous_hash", "hash"], batch_size=BATCH
        )
        refunds = [
            Refund(pk=pk, history_length=number, history_head=head)
            for pk, (number, head) in ends.items()
        ]
        Refund.objects.bulk_update(refunds, ["history_length", "history_head"])


def begin(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Begin the history of the reasons there are with what each of them says now."""
    HistoryEntry = apps.get_model("refunds", "HistoryEntry")
    # Whole seconds: copies that keep milliseconds, as dumpdata's do, then still fit the hash.
    at = timezone.now().replace(microsecond=0)
    for reason in apps.get_model("refunds", "RefundReason").objects.filter(history_length=0):
        told = {
            "label": reason.label,
            "wire_text": reason.wire_text,
            "needs_text": "yes" if reason.needs_text else "no",
            "active": "yes" if reason.active else "no",
            "position": str(reason.position),
        }
        entry = HistoryEntry(
            reason=reason,
            number=1,
            at=at,
            actor_kind="command",
            summary="On the list when its history began.",
            details=json.dumps(told, ensure_ascii=False, sort_keys=True),
        )
        entry.hash = _hash(entry, f"reason {reason.pk}")
        entry.save(force_insert=True)
        reason.history_length, reason.history_head = 1, entry.hash
        reason.save(update_fields=["history_length", "history_head"])


def _batches(rows: Any) -> Iterator[list[int]]:
    last = 0
    while pks := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]):
        yield pks
        last = pks[-1]


def _hash(entry: Any, subject: str) -> str:
    content = [
        "1",
        subject,
        entry.number,
        entry.at.astimezone(UTC).isoformat(),
        entry.actor_kind,
        entry.actor_id,
        entry.from_state,
        entry.to_state,
        entry.summary,
        entry.details,
        entry.request_id,
        entry.previous_hash,
    ]
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Migration(migrations.Migration):
    dependencies = [("refunds", "0003_events_and_reconciliation")]

    operations = [
        migrations.RunPython(chain, migrations.RunPython.noop, elidable=False),
        migrations.RunPython(begin, migrations.RunPython.noop, elidable=False),
    ]
