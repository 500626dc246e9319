"""Evidence: all that is known of one refund, in one piece, for whoever has to judge it later.

The names of the fields are promised: ``FORMAT`` changes when one of them does. What Digital River
said and was told is shown by a list of fields that are known to hold no customer data; everything
else is named and left out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol

import simplejson
from django.contrib.auth.models import User
from django.db.models import Prefetch

from refunds.models import (
    CreditMemo,
    Event,
    HistoryEntry,
    Order,
    Refund,
    RefundAttempt,
    RefundLine,
)
from refunds.money import format_amount, format_money
from refunds.selectors.review import PartRow, part_rows

FORMAT: Final = "refund-desk-evidence/1"

LEFT_OUT: Final = "(left out)"
UNREADABLE: Final = "(cannot be read)"
#: The fields of Digital River's refunds, charges, orders, events and credit memos that say what
#: was refunded and when, and of whom they are never.
_SHOWN: Final = frozenset(
    {
        "amount",
        "availableToRefundAmount",
        "cancelledAmount",
        "captured",
        "capturedAmount",
        "captures",
        "charges",
        "code",
        "createdTime",
        "currency",
        "data",
        "disputeAmount",
        "errors",
        "expiresTime",
        "failureCode",
        "failureReason",
        "fileId",
        "id",
        "invoiceId",
        "itemId",
        "items",
        "liveMode",
        "metadata",
        "object",
        "orderId",
        "parameter",
        "pendingWebhooks",
        "percent",
        "quantity",
        "reason",
        "refundId",
        "refundReference",
        "refunded",
        "refundedAmount",
        "refunds",
        "skuId",
        "state",
        "totalAmount",
        "type",
        "updatedTime",
    }
)
_FIELD_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,39}")


class Found(Protocol):
    """What a verification found wrong; as text, a sentence."""

    @property
    def number(self) -> int | None:
        """The history entry at fault, if one is."""

    @property
    def sentence(self) -> str:
        """What is wrong with it."""


@dataclass(frozen=True, slots=True)
class Sum:
    """An amount in major units, with its currency."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        """Return it as the pages show it: ``USD 1,234.50``."""
        return format_money(self.amount, self.currency)

    @property
    def plain(self) -> dict[str, str]:
        """The amount as text without grouping, and the currency."""
        figure = format_amount(self.amount, self.currency).replace(",", "")
        return {"amount": figure, "currency": self.currency}


@dataclass(frozen=True, slots=True)
class Body:
    """What went over the wire, as far as it is shown; None where nothing did."""

    plain: object

    def __str__(self) -> str:
        """Return it as JSON text for people, empty for none."""
        return "" if self.plain is None else _json(self.plain)


def evidence_subject(reference: str) -> Refund:
    """Return a submitted refund with all that its evidence names.

    The number of queries is the same for every refund. Raises ``Refund.DoesNotExist``.
    """
    return (
        Refund.objects.select_related("order", "created_by", "reason", "relinked_to")
        .prefetch_related(
            Prefetch("lines", RefundLine.objects.select_related("order_line")),
            "attempts",
            Prefetch("events", Event.objects.order_by("received_at", "pk")),
            Prefetch("credit_memos", CreditMemo.objects.order_by("pk")),
            Prefetch(
                "history", HistoryEntry.objects.select_related("actor").order_by("number", "pk")
            ),
        )
        .get(reference=reference, submitted_at__isnull=False)
    )


def evidence_pack(
    refund: Refund, *, findings: Sequence[Found], user: User, at: datetime
) -> dict[str, Any]:
    """Return the evidence of a refund that ``evidence_subject`` read.

    ``findings`` is what the verification of its history found at ``at``; ``user`` draws it up.
    """
    return {
        "format": FORMAT,
        "drawn_up": {"at": at, "by": _person(user)},
        "refund": _refund(refund),
        "reason": {
            "label": refund.reason.label if refund.reason else "",
            "text_sent": refund.reason_text,
        },
        "asked_by": _person(refund.created_by),
        "parts": [_part(row, refund.currency) for row in part_rows(refund)],
        "order": _order(refund.order),
        "attempts": [_attempt(each) for each in refund.attempts.all()],
        "events": [_event(each) for each in refund.events.all()],
        "credit_memos": [
            {"id": memo.memo_id, "file_id": memo.file_id, "received_at": memo.created_at}
            for memo in refund.credit_memos.all()
        ],
        "history": [_entry(each) for each in refund.history.all()],
        "verification": {
            "at": at,
            "whole": not findings,
            "findings": [{"entry": each.number, "sentence": each.sentence} for each in findings],
            "history_length": refund.history_length,
            "history_head": refund.history_head,
        },
    }


def evidence_json(pack: Mapping[str, Any]) -> str:
    """Return the evidence as JSON text: amounts as text beside their currency, moments in UTC."""
    return _json(pack)


def _refund(refund: Refund) -> dict[str, object]:
    def amount(value: Decimal | None) -> Sum | None:
        return None if value is None else Sum(value, refund.currency)

    return {
        "reference": refund.reference,
        "state": refund.state,
        "state_label": refund.get_state_display(),
        "origin": refund.origin,
        "origin_label": refund.get_origin_display(),
        "option": refund.option,
        "option_label": refund.get_option_display(),
        "requested": amount(refund.requested_amount),
        "accepted": amount(refund.accepted_amount),
        "refunded": amount(refund.refunded_amount),
        "digital_river_id": refund.digital_river_id,
        "failure_reason": refund.failure_reason,
        "refusal": refund.refusal,
        "flag": refund.flag,
        "note": refund.note,
        "ticket_url": refund.ticket_url,
        "relinked_to": refund.relinked_to.reference if refund.relinked_to else "",
        "created_at": refund.created_at,
        "submitted_at": refund.submitted_at,
        "settled_at": refund.settled_at,
        "information_expires_at": refund.information_expires_at,
        "updated_at": refund.updated_at,
    }


def _order(order: Order) -> dict[str, object]:
    return {
        "order_number": order.order_number,
        "digital_river_id": order.digital_river_id,
        "salesforce_id": order.salesforce_id,
        "state": order.state,
        "state_label": order.get_state_display(),
        "ordered_at": order.ordered_at,
        "total": Sum(order.total_amount, order.currency),
        "captured": Sum(order.captured_amount, order.currency),
        "refunded": Sum(order.refunded_amount, order.currency),
        "left": Sum(order.left_amount, order.currency),
        "read_at": order.refreshed_at,
    }


def _part(row: PartRow, currency: str) -> dict[str, object]:
    return {
        "component": row.label,
        "line_item": row.line.product_name if row.line else "",
        "item_id": row.line.digital_river_id if row.line else "",
        "quantity": row.quantity,
        "amount": Sum(row.amount, currency),
    }


def _attempt(attempt: RefundAttempt) -> dict[str, object]:
    return {
        "reference": attempt.reference,
        "number": attempt.number,
        "started_at": attempt.started_at,
        "lease_until": attempt.lease_until,
        "answered_at": attempt.answered_at,
        "status": attempt.status,
        "request_id": attempt.request_id,
        "digital_river_id": attempt.digital_river_id,
        "outcome": attempt.outcome,
        "missing_since": attempt.missing_since,
        "request": _body(attempt.request),
        "answer": _body(attempt.answer),
    }


def _event(event: Event) -> dict[str, object]:
    return {
        "id": event.event_id,
        "type": event.type,
        "source": event.source,
        "source_label": event.get_source_display(),
        "created_time": event.created_time,
        "received_at": event.received_at,
        "processed_at": event.processed_at,
        "state": event.state,
        "state_label": event.get_state_display(),
        "outcome": event.outcome,
        "body": _body(event.body),
    }


def _entry(entry: HistoryEntry) -> dict[str, object]:
    return {
        "number": entry.number,
        "at": entry.at,
        "by": entry.by,
        "actor_kind": entry.actor_kind,
        "actor": _person(entry.actor),
        "from_state": entry.from_state,
        "from_state_label": entry.get_from_state_display(),
        "to_state": entry.to_state,
        "to_state_label": entry.get_to_state_display(),
        "summary": entry.summary,
        "details": entry.told,
        "request_id": entry.request_id,
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
        # Whoever has the evidence can work out the hash: SHA-256 of this text in UTF-8.
        "hashed_text": entry.hashed_text,
    }


def _person(user: User | None) -> dict[str, str] | None:
    if user is None:
        return None
    return {"name": user.get_full_name() or user.get_username(), "username": user.get_username()}


def _body(text: str) -> Body:
    if not text:
        return Body(None)
    try:
        raw = simplejson.loads(text, use_decimal=True)
    except (ValueError, RecursionError):
        # The parser's own words would quote it.
        raw = None
    return Body(_redacted(raw) if isinstance(raw, dict) else UNREADABLE)


def _redacted(raw: object) -> object:
    """Return parsed JSON with the fields that are shown; of the others, that they are there."""
    if isinstance(raw, Mapping):
        return {
            name: _redacted(value) if name in _SHOWN else LEFT_OUT
            for name, value in raw.items()
            # A name that is none may be a value in the wrong place.
            if _FIELD_NAME.fullmatch(name)
        }
    if isinstance(raw, list):
        return [_redacted(each) for each in raw]
    return raw


def _json(value: object) -> str:
    text: str = simplejson.dumps(
        value, default=_plain, use_decimal=False, ensure_ascii=False, indent=2, ignore_nan=True
    )
    return text


def _plain(value: object) -> object:
    if isinstance(value, Sum | Body):
        return value.plain
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
