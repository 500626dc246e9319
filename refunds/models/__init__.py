"""What the desk keeps: orders mirrored from Salesforce, refunds with their parts and history."""

from refunds.models.history import CHECK, COMMAND, Actor, HistoryEntry
from refunds.models.orders import Order, OrderLine
from refunds.models.reasons import Grounds, RefundReason
from refunds.models.refunds import Refund, RefundAttempt, RefundLine

__all__ = [
    "CHECK",
    "COMMAND",
    "Actor",
    "Grounds",
    "HistoryEntry",
    "Order",
    "OrderLine",
    "Refund",
    "RefundAttempt",
    "RefundLine",
    "RefundReason",
]
