"""Makes many rows for lists, without a shop: quickly, and with what the lists read of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User

from refunds.models import Order, Refund
from refunds.search_keys import search_key

DAY = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


def make_orders(
    count: int, *, apart: timedelta = timedelta(0), first: int = 50_000_001, **columns: Any
) -> list[Order]:
    """Make orders numbered from the first on, each ``apart`` older than the one before."""
    return Order.objects.bulk_create(
        make_order(first + at, ordered_at=DAY - at * apart, **columns) for at in range(count)
    )


def make_order(number: int, **columns: Any) -> Order:
    """Return an order that can be refunded, its money read from Digital River, not saved yet."""
    known: dict[str, Any] = {
        "salesforce_id": f"801{number:015d}",
        "order_number": str(number),
        "digital_river_id": f"33{number}0336",
        "account_name": "Example Works",
        "buyer_name": "Sam Sample",
        "buyer_email": "sam@example.com",
        "ordered_at": DAY,
        "state": "complete",
        "currency": "USD",
        "total_amount": Decimal("40.00"),
        "product_amount": Decimal("40.00"),
        "captured_amount": Decimal("40.00"),
        "left_amount": Decimal("40.00"),
        "available_amount": Decimal("40.00"),
        "capture_completed": True,
        "refundable": True,
        "refreshed_at": DAY,
        **columns,
    }
    for key, column in (
        ("number_key", "order_number"),
        ("digital_river_key", "digital_river_id"),
        ("salesforce_key", "salesforce_id"),
        ("email_key", "buyer_email"),
        ("buyer_key", "buyer_name"),
        ("account_key", "account_name"),
    ):
        known.setdefault(key, search_key(known[column]))
    return Order(**known)


def make_unread_order(number: int, **columns: Any) -> Order:
    """Return an order as Salesforce alone tells of it, not saved yet."""
    nothing = dict.fromkeys(("product_amount", "captured_amount", "left_amount"), Decimal(0)) | {
        "available_amount": None,
        "capture_completed": False,
    }
    return make_order(number, **{**nothing, "refundable": False, "refreshed_at": None, **columns})


def make_refunds(
    orders: Sequence[Order],
    user: User | None,
    *,
    apart: timedelta = timedelta(0),
    first: int = 0,
    **columns: Any,
) -> list[Refund]:
    """Make a refund of each order, R-7000-0000 and on, each ``apart`` older than the one before."""
    return Refund.objects.bulk_create(
        Refund(
            **{
                "reference": f"R-7000-{first + at:04d}",
                "reference_key": f"7000{first + at:04d}",
                "order": order,
                "option": Refund.OptionChoice.COMPLETE_ORDER,
                "state": Refund.State.SUCCEEDED,
                "currency": order.currency,
                "requested_amount": Decimal("1.00"),
                "refunded_amount": Decimal("1.00"),
                "created_by": user,
                "created_at": DAY,
                "updated_at": DAY,
                "submitted_at": DAY - at * apart,
                "settled_at": DAY,
                "listed": True,
                "digital_river_id": f"re_{first + at:04d}",
                "digital_river_key": f"re_{first + at:04d}",
                **columns,
            }
        )
        for at, order in enumerate(orders)
    )
