"""What reconciliation reads: runs, control totals, differences, and what holds money of an order.

The sums are made by the database, for a batch of orders at a time, so that nothing here grows
with the number of refunds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Case, F, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce

from refunds.models import ControlTotal, Difference, Order, ReconciliationRun, Refund, RefundLine
from refunds.models.fields import MoneyField
from refunds.money import ZERO, quantize
from refunds.options import Option
from refunds.selectors.paging import Page, newest_page

#: How many days' totals a run's page shows of those that agree, and of those that do not.
TOTALS_SHOWN = 60

_MONEY = MoneyField(max_digits=19)
#: What is on its way, or may be. One that waits to be sent holds its money as well, but is sent
#: only if it still fits then: another refund that overtakes it is no breach.
_ON_THE_WAY = Refund.HOLDING - {Refund.State.QUEUED}
_HOLDING = Q(state__in=_ON_THE_WAY)
_SUCCEEDED = Q(state=Refund.State.SUCCEEDED)
_CHARGEBACK = Q(origin=Refund.Origin.CHARGEBACK)
#: Refunds that name their lines. Digital River spreads the others over the lines by itself, by what
#: was left when it came to them: what is booked of them on a line is an estimate, and says nothing
#: against that line.
_BY_LINE = frozenset({Option.LINE_ITEMS, Option.FEES})


@dataclass(frozen=True, slots=True)
class OrderHeld:
    """What the refunds of one order hold or gave, in major units of its currency."""

    refunded: Decimal
    charged_back: Decimal
    in_flight: Decimal
    #: The part of ``in_flight`` that Digital River has taken on, so that it knows of it.
    in_flight_there: Decimal

    @property
    def total(self) -> Decimal:
        """All that is gone or may go."""
        return self.refunded + self.charged_back + self.in_flight


@dataclass(frozen=True, slots=True)
class LineHeld:
    """What refunds of lines hold or gave of one line beside what it was charged, in major units."""

    order_id: int
    line_id: int
    product_name: str
    currency: str
    #: Product and tax.
    charged: Decimal
    held: Decimal
    #: Fees and their tax.
    fees_charged: Decimal
    fees_held: Decimal


NOTHING_HELD = OrderHeld(ZERO, ZERO, ZERO, ZERO)


def held_by_order(orders: Collection[Order]) -> Mapping[int, OrderHeld]:
    """Return what is held of each order that has submitted refunds; one query for all of them."""
    holds = Coalesce("accepted_amount", "requested_amount")
    rows = (
        Refund.objects.filter(order__in=[order.pk for order in orders], submitted_at__isnull=False)
        .order_by()
        .values("order_id")
        .annotate(
            refunded=_sum("refunded_amount", _SUCCEEDED & ~_CHARGEBACK),
            charged_back=_sum("refunded_amount", _SUCCEEDED & _CHARGEBACK),
            in_flight=_sum(holds, _HOLDING),
            in_flight_there=_sum(holds, _HOLDING & ~Q(digital_river_id="")),
        )
    )
    currencies = {order.pk: order.currency for order in orders}
    return {
        row["order_id"]: OrderHeld(
            *(
                quantize(row[name], currencies[row["order_id"]])
                for name in ("refunded", "charged_back", "in_flight", "in_flight_there")
            )
        )
        for row in rows
    }


def held_by_line(orders: Collection[Order]) -> list[LineHeld]:
    """Return what is held of each line that refunds name; one query for all of the orders."""
    rows = (
        RefundLine.objects.filter(
            order_line__order__in=[order.pk for order in orders],
            refund__state__in=[*_ON_THE_WAY, Refund.State.SUCCEEDED],
            refund__option__in=_BY_LINE,
        )
        .order_by()
        .values(
            "order_line_id",
            "order_line__order_id",
            "order_line__product_name",
            "order_line__product_amount",
            "order_line__tax_amount",
            "order_line__fees_amount",
            "order_line__fee_tax_amount",
        )
        .annotate(
            held=Sum(F("product_part") + F("tax_part"), output_field=_MONEY),
            fees_held=Sum(F("fees_part") + F("fee_tax_part"), output_field=_MONEY),
        )
    )
    currencies = {order.pk: order.currency for order in orders}
    found = []
    for row in rows:
        currency = currencies[row["order_line__order_id"]]
        found.append(
            LineHeld(
                order_id=row["order_line__order_id"],
                line_id=row["order_line_id"],
                product_name=row["order_line__product_name"],
                currency=currency,
                charged=row["order_line__product_amount"] + row["order_line__tax_amount"],
                held=quantize(row["held"], currency),
                fees_charged=row["order_line__fees_amount"] + row["order_line__fee_tax_amount"],
                fees_held=quantize(row["fees_held"], currency),
            )
        )
    return found


def _sum(amount: str | Coalesce, condition: Q) -> Sum:
    zero = Value(ZERO, output_field=_MONEY)
    return Sum(Case(When(condition, then=amount), default=zero, output_field=_MONEY))


@dataclass(frozen=True, slots=True)
class TotalsView:
    """The control totals that a run's page shows, newest day first."""

    rows: list[ControlTotal]
    #: Whether there are more days and currencies than are shown.
    more: bool
    disagree: bool


def reconciliation_runs_page(after: str = "") -> Page[ReconciliationRun]:
    """Return a page of reconciliations, newest first."""
    runs = ReconciliationRun.objects.select_related("started_by", "order")
    return newest_page(runs, "started_at", after)


def reconciliation_run(run_id: int) -> ReconciliationRun:
    """Return one reconciliation. Raises ``ReconciliationRun.DoesNotExist``."""
    return ReconciliationRun.objects.select_related("started_by", "order").get(pk=run_id)


def totals_view(run: ReconciliationRun) -> TotalsView:
    """Return the totals of a run: all that disagree, up to a bound, and the latest that agree."""
    disagreeing = ~Q(our_count=F("their_count"), our_amount=F("their_amount"))
    differing = list(run.totals.filter(disagreeing)[: TOTALS_SHOWN + 1])
    agreeing = list(run.totals.exclude(disagreeing)[: TOTALS_SHOWN + 1])
    rows = sorted(
        [*differing[:TOTALS_SHOWN], *agreeing[:TOTALS_SHOWN]],
        key=lambda total: (total.day, total.currency),
        reverse=True,
    )
    return TotalsView(
        rows=rows,
        more=max(len(differing), len(agreeing)) > TOTALS_SHOWN,
        disagree=bool(differing),
    )


def differences_page(
    *,
    run: ReconciliationRun | None = None,
    resolved: bool = False,
    breaches: bool = False,
    after: str = "",
) -> Page[Difference]:
    """Return a page of differences, newest first: open ones or resolved ones, of one run or all."""
    rows: QuerySet[Difference] = Difference.objects.select_related(
        "order", "refund", "run", "resolved_by"
    )
    rows = rows.exclude(resolution="") if resolved else rows.filter(resolution="")
    if run is not None:
        rows = rows.filter(run=run)
    if breaches:
        rows = rows.filter(kind__in=Difference.BREACHES)
    return newest_page(rows, "found_at", after)


@dataclass(frozen=True, slots=True)
class OpenDifferences:
    """Whether anything waits for a lead, and whether any of it must never happen."""

    any: bool
    breaches: bool


def open_differences() -> OpenDifferences:
    """Look for open differences: one query that reads two entries of an index."""
    unresolved = Difference.objects.filter(resolution="").order_by()
    breaches = unresolved.filter(kind__in=Difference.BREACHES)
    others = unresolved.exclude(kind__in=Difference.BREACHES)
    kinds = set(
        Difference.objects.filter(
            Q(pk__in=breaches.values("pk")[:1]) | Q(pk__in=others.values("pk")[:1])
        )
        .order_by()
        .values_list("kind", flat=True)
    )
    return OpenDifferences(any=bool(kinds), breaches=bool(kinds & Difference.BREACHES))
