"""The standing check: what succeeded and what is in flight never exceeds what was captured.

Nothing that the desk does can make it so; a bug, a restored backup, a refund made in the
Dashboard at the same moment, or a chargeback after the refunds can. The sums are made by the
database from the refunds as they are kept, and not by the ledger that decides what may be sent:
the check must not share that one's mistakes.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import structlog
from django.utils import timezone

from refunds import selectors
from refunds.models import Difference, Order, ReconciliationRun, Refund, Watermark
from refunds.money import format_money
from refunds.services.differences import Finding, differences_record
from refunds.services.orders import Clock

_logger = structlog.get_logger(__name__)

_WATERMARK = "standing check"
#: A refund's row may be committed a while after the moment it carries.
_OVERLAP = timedelta(minutes=5)
#: How many rows are held at once.
_BATCH = 200
_KIND = Difference.Kind


def standing_check(*, clock: Clock = timezone.now, full: bool = False) -> int:
    """Check the orders whose refunds changed since the last time, and those in breach before.

    ``full`` checks every order that has refunds. Returns how many breaches are open now.
    """
    at = clock()
    mark = Watermark.objects.filter(name=_WATERMARK).first()
    if full or mark is None:
        batches = _every_order()
    else:
        batches = _changed_since(min(mark.at, at) - _OVERLAP)
    for batch in batches:
        orders_check(orders=batch, at=at)
    for batch in _in_breach():
        orders_check(orders=batch, at=at)
    Watermark.objects.update_or_create(name=_WATERMARK, defaults={"at": at})
    return Difference.objects.filter(resolution="", kind__in=Difference.BREACHES).count()


def orders_check(
    *, orders: Sequence[Order], at: datetime, run: ReconciliationRun | None = None
) -> None:
    """Check these orders and their lines, in a few queries; note each breach, clear what is none.

    An order whose money was never read is left out: nothing can have been sent for it.
    """
    orders = [order for order in orders if order.refreshed_at is not None]
    if not orders:
        return
    found = [*_orders_exceeded(orders), *_lines_exceeded(orders)]
    # What was found before is found again by its order, so that a line whose refunds are gone is
    # cleared too.
    before = Difference.objects.filter(
        resolution="", kind__in=Difference.BREACHES, order__in=[order.pk for order in orders]
    )
    subjects = {
        *before.order_by().values_list("subject", flat=True),
        *(finding.subject for finding in found),
    }
    if not subjects:
        return
    new = differences_record(
        found=found,
        subjects=subjects,
        kinds=Difference.BREACHES,
        at=at,
        run=run,
    )
    numbers = {order.pk: order.order_number for order in orders}
    for finding in new:
        _logger.error(
            "standing_check.breach",
            kind=str(finding.kind),
            order=numbers.get(finding.order_id or 0),
            held=str(finding.our_amount),
            allowed=str(finding.their_amount),
            currency=finding.currency,
        )


def _orders_exceeded(orders: Sequence[Order]) -> Iterator[Finding]:
    held = selectors.held_by_order(orders)
    for order in orders:
        sums = held.get(order.pk, selectors.NOTHING_HELD)
        if sums.total <= order.captured_amount:
            continue
        taken_back = ""
        if sums.charged_back:
            taken_back = (
                f", of which the customer's bank took back "
                f"{format_money(sums.charged_back, order.currency)}"
            )
        yield Finding(
            kind=_KIND.ORDER_EXCEEDED,
            subject=_subject(order.pk),
            order_id=order.pk,
            digital_river_order_id=order.digital_river_id,
            currency=order.currency,
            our_amount=sums.total,
            their_amount=order.captured_amount,
            explanation=(
                f"Order {order.order_number}: {format_money(sums.total, order.currency)} was "
                f"refunded or is on its way{taken_back}, and only "
                f"{format_money(order.captured_amount, order.currency)} was captured. Compare its "
                "refunds with Digital River's Dashboard, call off what still waits here, and "
                "settle the rest with Digital River."
            ),
        )


def _lines_exceeded(orders: Sequence[Order]) -> Iterator[Finding]:
    by_pk = {order.pk: order for order in orders}
    for line in selectors.held_by_line(orders):
        order = by_pk[line.order_id]
        what, held, charged = "product and tax", line.held, line.charged
        if held <= charged:
            what, held, charged = "fees and their tax", line.fees_held, line.fees_charged
        if held <= charged:
            continue
        yield Finding(
            kind=_KIND.LINE_EXCEEDED,
            subject=f"line {line.line_id}",
            order_id=order.pk,
            digital_river_order_id=order.digital_river_id,
            currency=line.currency,
            our_amount=held,
            their_amount=charged,
            explanation=(
                f"Order {order.order_number}, {line.product_name[:120]}: "
                f"{format_money(held, line.currency)} of its {what} was refunded or is on its "
                f"way, and only {format_money(charged, line.currency)} was charged. Compare its "
                "refunds with Digital River's Dashboard before anything more is refunded."
            ),
        )


def _subject(order_id: int) -> str:
    return f"order {order_id}"


def _every_order() -> Iterator[list[Order]]:
    """Give all orders that have submitted refunds, in batches."""
    last = 0
    while True:
        refunds = Refund.objects.filter(order__gt=last, submitted_at__isnull=False)
        ids = list(refunds.order_by("order_id").values_list("order_id", flat=True)[:_BATCH])
        if ids:
            yield list(Order.objects.filter(pk__in=set(ids)).order_by())
        if len(ids) < _BATCH:
            return
        last = ids[-1]


def _changed_since(moment: datetime) -> Iterator[list[Order]]:
    """Give the orders of the refunds that changed since then, in batches; some perhaps twice."""
    at, last = moment, 0
    while True:
        # The first condition alone lets the index be walked; the second goes on within a moment.
        rows = list(
            Refund.objects.filter(updated_at__gte=at)
            .exclude(updated_at=at, pk__lte=last)
            .order_by("updated_at", "pk")
            .values_list("updated_at", "pk", "order_id")[:_BATCH]
        )
        if rows:
            yield list(Order.objects.filter(pk__in={order for _, _, order in rows}).order_by())
        if len(rows) < _BATCH:
            return
        at, last, _ = rows[-1]


def _in_breach() -> Iterator[list[Order]]:
    """Give the orders with an open breach, in batches."""
    last = 0
    while True:
        breaches = Difference.objects.filter(resolution="", kind__in=Difference.BREACHES)
        ids = list(
            breaches.filter(order__gt=last)
            .order_by("order_id")
            .values_list("order_id", flat=True)[:_BATCH]
        )
        if ids:
            yield list(Order.objects.filter(pk__in=set(ids)).order_by())
        if len(ids) < _BATCH:
            return
        last = ids[-1]
