"""What the desk keeps: orders mirrored from Salesforce, refunds with their parts and history."""

from refunds.models.closeouts import CloseOut
from refunds.models.events import CreditMemo, Event
from refunds.models.history import CHECK, COMMAND, SWEEP, WEBHOOK, Actor, HistoryEntry
from refunds.models.orders import Order, OrderLine
from refunds.models.pace import CallPace, Watermark
from refunds.models.reasons import Grounds, RefundReason
from refunds.models.reconciliation import ControlTotal, Difference, ReconciliationRun
from refunds.models.refunds import Refund, RefundAttempt, RefundLine
from refunds.models.salesforce import Membership, SalesforceTask, SeenRecord, SetAside, SyncRun
from refunds.models.sessions import DeskSession

__all__ = [
    "CHECK",
    "COMMAND",
    "SWEEP",
    "WEBHOOK",
    "Actor",
    "CallPace",
    "CloseOut",
    "ControlTotal",
    "CreditMemo",
    "DeskSession",
    "Difference",
    "Event",
    "Grounds",
    "HistoryEntry",
    "Membership",
    "Order",
    "OrderLine",
    "ReconciliationRun",
    "Refund",
    "RefundAttempt",
    "RefundLine",
    "RefundReason",
    "SalesforceTask",
    "SeenRecord",
    "SetAside",
    "SyncRun",
    "Watermark",
]
