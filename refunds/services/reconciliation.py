"""Reconciliation: the desk's refunds beside Digital River's, page by page, and what differs.

A run goes through three phases, each a stream that is never held as a whole:

1. *theirs*: every refund that Digital River lists, newest first, matched by its id, else by the
   attempt's reference. What is missing here or differs is healed in the one way there is, by
   reading its order anew; what still differs is noted.
2. *ours*: those that the first phase did not see, looked for once more on their order's list; and
   those whose outcome is unknown, which the same look settles.
3. *orders*: what Digital River has as refunded and available beside what the refunds come to, and
   the standing check of each order and line.

What a page came to (control totals, differences, the cursor) is written in one transaction, so a
run that stopped or crashed goes on behind the last page it wrote and counts nothing twice. One
process at a time has the run (see ``reconciliation_runs``).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeVar

import structlog
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from refunds import selectors
from refunds.digitalriver import payloads
from refunds.digitalriver.client import MOST_ORDERS, DigitalRiverClient
from refunds.digitalriver.errors import (
    DigitalRiverError,
    KeyRefused,
    NotFound,
    NotSendable,
    RateLimited,
    Refused,
    UnreadableAnswer,
)
from refunds.errors import OrderUnreadable
from refunds.gateways import digital_river
from refunds.models import (
    COMMAND,
    Actor,
    ControlTotal,
    Difference,
    Order,
    ReconciliationRun,
    Refund,
    RefundAttempt,
)
from refunds.money import ZERO
from refunds.services.comparisons import (
    OF_A_REFUND,
    OF_AN_ORDER,
    Match,
    amount_there,
    is_live,
    matched,
    mirror_is_as_told,
    missing_there,
    order_finding,
    order_missing,
    order_subject,
    order_unreadable,
    refund_finding,
)
from refunds.services.differences import Finding, differences_record
from refunds.services.orders import Clock, order_refresh
from refunds.services.reconciliation_runs import (
    DONE,
    ORDERS,
    OURS,
    THEIRS,
    RunHold,
    TakenOverError,
    reconciliation_begin,
    run_claim,
)
from refunds.services.standing_check import orders_check

_logger = structlog.get_logger(__name__)

Progress = Callable[[ReconciliationRun], None]
Sleep = Callable[[float], None]
_Result = TypeVar("_Result")

_NEXT = {THEIRS: OURS, OURS: ORDERS, ORDERS: DONE}

#: How many rows are held at once.
_BATCH = 100
#: A run has patience where a rep has none: so often, and so long at a time, in seconds.
_MOST_WAITS = 5
_LONGEST_WAIT = 60.0

#: States of ours that only a look at Digital River's list settles.
_LOOKED_FOR = (Refund.State.SUBMITTING, Refund.State.UNKNOWN)


def reconcile(
    *,
    since: datetime | None = None,
    order: Order | None = None,
    started_by: User | None = None,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
    on_progress: Progress | None = None,
    sleep: Sleep = time.sleep,
) -> ReconciliationRun:
    """Compare all refunds made since a moment, or all of one order, and heal or note what differs.

    Returns the run as it ended: *finished*, or *stopped* with the reason where Digital River
    could not be asked, to be carried on by ``reconciliation_carry_on``. Raises
    ``ReconciliationRefused`` while another is under way.
    """
    run = reconciliation_begin(since=since, order=order, started_by=started_by, clock=clock)
    return reconciliation_carry_on(
        run_id=run.pk, clock=clock, client=client, on_progress=on_progress, sleep=sleep
    )


def reconciliation_carry_on(
    *,
    run_id: int,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
    on_progress: Progress | None = None,
    sleep: Sleep = time.sleep,
) -> ReconciliationRun:
    """Do what is left of a run, from the page behind the last one it wrote.

    Returns the run as it ended; see ``reconcile``. Raises ``ReconciliationRefused`` where it is
    finished, or another process has it.
    """
    worker = _Worker(
        run_claim(run_id=run_id, clock=clock),
        clock=clock,
        client=client or digital_river(),
        on_progress=on_progress or (lambda run: None),
        sleep=sleep,
    )
    return worker.work()


@dataclass(slots=True)
class _Sums:
    """What both sides have on one day in one currency, of one page."""

    our_count: int = 0
    our_amount: Decimal = ZERO
    their_count: int = 0
    their_amount: Decimal = ZERO


@dataclass(slots=True)
class _Look:
    """What a look at some refunds or orders came to, until it is written."""

    found: list[Finding] = field(default_factory=list)
    #: What was looked at, by the subject of the differences there may be.
    subjects: set[str] = field(default_factory=set)
    #: Refunds of ours that Digital River has.
    seen: set[int] = field(default_factory=set)
    totals: dict[tuple[date, str], _Sums] = field(default_factory=lambda: defaultdict(_Sums))
    theirs_read: int = 0
    ours_read: int = 0


class _Worker:
    """One process's work on a run."""

    def __init__(
        self,
        hold: RunHold,
        *,
        clock: Clock,
        client: DigitalRiverClient,
        on_progress: Progress,
        sleep: Sleep,
    ) -> None:
        self._hold = hold
        self._run = hold.run
        self._clock = clock
        self._client = client
        self._on_progress = on_progress
        self._sleep = sleep
        # Whoever started it, it is no person that changes what is healed.
        self._actor = Actor(COMMAND.kind, hold.run.started_by)

    def work(self) -> ReconciliationRun:
        """Go through what is left of the phases; returns the run as it ended."""
        phases = {THEIRS: self._theirs, OURS: self._ours, ORDERS: self._orders}
        log = _logger.bind(run=self._run.pk)
        try:
            while self._run.phase in phases:
                phases[self._run.phase]()
                self._commit(_Look(), phase=_NEXT[self._run.phase])
            self._finish()
        except TakenOverError:
            log.warning("reconciliation.taken_over")
        except (DigitalRiverError, OrderUnreadable) as error:
            log.warning("reconciliation.stopped", reason=str(error))
            self._stop(f"{error} What was compared so far is kept; carry the run on later.")
        except KeyboardInterrupt:
            self._stop("Stopped by hand. What was compared so far is kept; carry the run on.")
            raise
        except Exception as error:
            log.exception("reconciliation.went_wrong")
            self._stop(
                f"The desk could not go on ({type(error).__name__}); tell an administrator. What "
                "was compared so far is kept; carry the run on afterwards."
            )
            raise
        return selectors.reconciliation_run(self._run.pk)

    # -- the phases

    def _theirs(self) -> None:
        for refunds, cursor in self._their_pages():
            look = _Look(theirs_read=len(refunds))
            self._compare(refunds, look)
            look.ours_read = len(look.seen)
            self._commit(look, cursor=cursor)

    def _their_pages(self) -> Iterator[tuple[Sequence[payloads.Refund], str]]:
        """Give Digital River's refunds page by page, each with the cursor behind it."""
        run = self._run
        if run.order is not None:
            yield from self._their_pages_of(run.order)
            return
        cursor, waits = run.cursor, 0
        while True:
            pages = self._client.refunds_since(since=run.since, starting_after=cursor)
            try:
                for page in pages:
                    cursor, waits = page.cursor or cursor, 0
                    yield page.refunds, cursor
                return
            except RateLimited as error:
                waits += 1
                self._wait(error, waits)

    def _their_pages_of(self, order: Order) -> Iterator[tuple[Sequence[payloads.Refund], str]]:
        since, cursor = self._run.since, self._run.cursor
        listed = [
            told
            for told in self._list_of(order)
            if since is None or told.created_time is None or told.created_time >= since
        ]
        behind = [at for at, told in enumerate(listed, start=1) if told.id == cursor]
        for start in range(behind[0] if behind else 0, len(listed), _BATCH):
            page = listed[start : start + _BATCH]
            yield page, page[-1].id

    def _ours(self) -> None:
        while batch := self._own_batch():
            look = _Look(ours_read=len(batch))
            by_order: dict[int, list[Refund]] = defaultdict(list)
            for refund in batch:
                by_order[refund.order_id].append(refund)
            for refunds in by_order.values():
                self._look_for(refunds, look)
            self._commit(look, cursor=str(batch[-1].pk))

    def _own_batch(self) -> list[Refund]:
        """Return the next of ours that the first phase did not see, or whose outcome is unknown."""
        started = self._run.started_at
        unseen = Q(reconciled_at=None) | Q(reconciled_at__lt=started)
        return list(
            self._in_period(Refund.objects.filter(pk__gt=int(self._run.cursor or 0)))
            # One that the run itself adopted was seen by it.
            .filter(created_at__lte=started)
            .filter((unseen & ~Q(digital_river_id="")) | Q(state__in=_LOOKED_FOR))
            .select_related("order")
            .order_by("pk")[:_BATCH]
        )

    def _in_period(self, refunds: QuerySet[Refund]) -> QuerySet[Refund]:
        run = self._run
        refunds = refunds.filter(submitted_at__lte=run.started_at)
        if run.since is not None:
            refunds = refunds.filter(submitted_at__gte=run.since)
        return refunds if run.order is None else refunds.filter(order=run.order)

    def _look_for(self, refunds: Sequence[Refund], look: _Look) -> None:
        """Look for refunds of ours, all of one order, on that order's list."""
        order = refunds[0].order
        unsettled = [refund.pk for refund in refunds if refund.state in _LOOKED_FOR]
        if unsettled:
            self._refresh(order)
            left = Refund.objects.filter(pk__in=unsettled, state__in=_LOOKED_FOR).count()
            self._healed(updated=len(unsettled) - left)
        expected = {each.digital_river_id: each for each in refunds if each.digital_river_id}
        if not expected:
            return
        listed, unreadable = dict[str, payloads.Refund](), ""
        try:
            listed = {told.id: told for told in self._list_of(order)}
        except (UnreadableAnswer, NotSendable) as error:
            unreadable = str(error)
        self._compare([listed[name] for name in expected if name in listed], look)
        for name, refund in expected.items():
            if name not in listed:
                look.subjects.add(name)
                look.found.append(missing_there(refund, unreadable))
                self._count(look, refund.submitted_at, own=refund)

    def _orders(self) -> None:
        while batch := self._order_batch():
            look = _Look()
            told = self._told_of(batch, look)
            held = selectors.held_by_order(batch)
            for order in batch:
                look.subjects.add(order_subject(order))
                if order.pk in told:
                    finding = self._compare_order(
                        order, told[order.pk], held.get(order.pk, selectors.NOTHING_HELD)
                    )
                    look.found += [finding] if finding else []
            # What was healed is another row than the one that was read.
            current = list(Order.objects.filter(pk__in=[order.pk for order in batch]))
            self._commit(look, cursor=str(batch[-1].pk), orders=current, kinds=OF_AN_ORDER)

    def _order_batch(self) -> list[Order]:
        refunds = self._in_period(Refund.objects.filter(order=OuterRef("pk")))
        orders = Order.objects.filter(Exists(refunds), pk__gt=int(self._run.cursor or 0))
        return list(orders.exclude(digital_river_id="").order_by("pk")[:MOST_ORDERS])

    # -- comparing refunds

    def _compare(self, refunds: Sequence[payloads.Refund], look: _Look) -> None:
        """Match Digital River's refunds with ours, heal what is behind, and note what differs."""
        matches = matched(refunds)
        differing = [match for match in matches if not match.is_as_told]
        if differing:
            for match in differing:
                match.differed = refund_finding(match) is not None
            for order, of_order in self._by_order(differing):
                self._heal(order, of_order)
        for match in matches:
            look.subjects.add(match.told.id)
            if match.own is not None:
                look.seen.add(match.own.pk)
            finding = refund_finding(match)
            if finding is not None:
                look.found.append(finding)
            if not match.superseded:
                own = match.own
                created = match.told.created_time or (own.submitted_at if own else None)
                self._count(look, created, told=match.told, own=own)

    def _by_order(self, matches: Iterable[Match]) -> Iterator[tuple[Order | None, list[Match]]]:
        """Give the matches by the order they are of; None for those not in the mirror."""
        matches = list(matches)
        named = {match.told.order_id for match in matches if match.told.order_id}
        owned = {match.own.order_id for match in matches if match.own is not None}
        # The index has no rows without an id: unless that is said, SQLite reads the whole table.
        by_id = Q(digital_river_id__in=named) & ~Q(digital_river_id="")
        orders = list(Order.objects.filter(by_id | Q(pk__in=owned)))
        by_name = {order.digital_river_id: order for order in orders}
        by_pk = {order.pk: order for order in orders}
        references = {match.told.reference for match in matches if match.told.reference}
        by_reference = {
            attempt.reference: attempt.refund.order
            for attempt in RefundAttempt.objects.filter(reference__in=references).select_related(
                "refund__order"
            )
        }
        groups: dict[int | None, list[Match]] = defaultdict(list)
        for match in matches:
            match.order = (
                by_pk.get(match.own.order_id)
                if match.own is not None
                else by_name.get(match.told.order_id) or by_reference.get(match.told.reference)
            )
            groups[match.order.pk if match.order else None].append(match)
        for group in groups.values():
            yield group[0].order, group

    def _heal(self, order: Order | None, matches: Sequence[Match]) -> None:
        """Read the order anew, and what still differs then once more: it may have just moved."""
        if order is None:
            return
        before = set(order.refunds.values_list("pk", flat=True))
        unreadable = ""
        for _ in range(2):
            unreadable = self._refresh(order)
            self._match_again(matches)
            behind = [match for match in matches if not match.is_as_told]
            if unreadable or not behind:
                break
            for match in behind:
                match.told = self._read_again(match.told)
            if all(match.is_as_told for match in behind):
                break
        for match in matches:
            match.unreadable = unreadable
        made = set(
            order.refunds.filter(origin=Refund.Origin.ELSEWHERE)
            .exclude(pk__in=before)
            .values_list("pk", flat=True)
        )
        updated = [
            match
            for match in matches
            if match.differed
            and match.own is not None
            and match.own.pk not in made
            and refund_finding(match) is None
        ]
        self._healed(adopted=len(made), updated=len(updated))

    def _healed(self, *, adopted: int = 0, updated: int = 0) -> None:
        # At once, and not with the page: what is healed is not healed again.
        ReconciliationRun.objects.filter(pk=self._run.pk).update(
            adopted=F("adopted") + adopted,
            brought_up_to_date=F("brought_up_to_date") + updated,
        )

    def _match_again(self, matches: Sequence[Match]) -> None:
        now = {match.told.id: match for match in matched([match.told for match in matches])}
        for match in matches:
            again = now[match.told.id]
            match.own, match.superseded = again.own, again.superseded

    def _read_again(self, told: payloads.Refund) -> payloads.Refund:
        try:
            return self._patiently(lambda: self._client.get_refund(told.id))
        except (NotFound, NotSendable, UnreadableAnswer):
            return told

    def _count(
        self,
        look: _Look,
        made: datetime | None,
        *,
        told: payloads.Refund | None = None,
        own: Refund | None = None,
    ) -> None:
        """Add a refund to the day it was made on, by Digital River's account where it has it."""
        if made is not None and made > self._run.started_at:
            # One side may have seen it and the other not yet.
            return
        day = (made or self._run.started_at).astimezone(UTC).date()
        if own is not None and is_live(own.state):
            sums = look.totals[day, own.currency]
            sums.our_count += 1
            sums.our_amount += own.held_amount
        if told is not None and is_live(told.state):
            amount = amount_there(told)
            if amount is None:
                # A percentage that has not been carried out: nobody but ours says what it is.
                amount = own.held_amount if own is not None else ZERO
            sums = look.totals[day, told.currency]
            sums.their_count += 1
            sums.their_amount += amount

    # -- comparing orders

    def _told_of(self, orders: Sequence[Order], look: _Look) -> Mapping[int, payloads.Order]:
        """Read the orders at Digital River; one that it does not know or show is noted."""
        by_name = {order.digital_river_id.casefold(): order for order in orders}
        told: dict[int, payloads.Order] = {}
        unreadable: dict[int, str] = {}
        try:
            listed = self._patiently(
                lambda: self._client.get_orders([order.digital_river_id for order in orders])
            )
        except (UnreadableAnswer, NotSendable):
            # One of them makes the whole page useless: each by itself.
            for order in orders:
                try:
                    told[order.pk] = self._get_order(order)
                except NotFound:
                    continue
                except (UnreadableAnswer, NotSendable, Refused) as error:
                    if isinstance(error, KeyRefused):
                        raise
                    unreadable[order.pk] = str(error)
        else:
            told = {by_name[each.id.casefold()].pk: each for each in listed}
        for order in orders:
            if order.pk in unreadable:
                look.found.append(order_unreadable(order, unreadable[order.pk]))
            elif order.pk not in told:
                look.found.append(order_missing(order))
        return told

    def _get_order(self, order: Order) -> payloads.Order:
        return self._patiently(lambda: self._client.get_order(order.digital_river_id))

    def _compare_order(
        self, order: Order, told: payloads.Order, held: selectors.OrderHeld
    ) -> Finding | None:
        """Compare what is refunded and available; what differs is read anew, twice at most."""
        for _ in range(2):
            if mirror_is_as_told(order, told) and order_finding(order, told, held) is None:
                return None
            unreadable = self._refresh(order)
            if unreadable:
                return order_unreadable(order, unreadable)
            held = selectors.held_by_order([order]).get(order.pk, selectors.NOTHING_HELD)
            told = self._get_order(order)
        return order_finding(order, told, held)

    # -- reading Digital River

    def _list_of(self, order: Order) -> Sequence[payloads.Refund]:
        """Return all refunds that Digital River lists of an order; none where it knows no such."""
        try:
            return self._patiently(
                lambda: self._client.list_refunds(order_id=order.digital_river_id)
            )
        except KeyRefused:
            raise
        except Refused:
            return ()

    def _refresh(self, order: Order) -> str:
        """Bring the order up to date; returns why it cannot be read, where it is the order's fault.

        Raises ``OrderUnreadable`` where Digital River cannot be asked at all.
        """
        try:
            self._patiently(
                lambda: order_refresh(
                    order=order, actor=self._actor, clock=self._clock, client=self._client
                )
            )
        except OrderUnreadable as error:
            cause = error.__cause__
            if isinstance(cause, KeyRefused) or not isinstance(
                cause, Refused | UnreadableAnswer | NotSendable
            ):
                raise
            return str(error)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            # The others must not wait for one that the desk cannot handle.
            _logger.exception("reconciliation.order_went_wrong", order=order.order_number)
            return (
                f"The desk could not take on what Digital River shows ({type(error).__name__}). "
                "Tell an administrator."
            )
        finally:
            self._hold.beat()
        return ""

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        """Make a call; where Digital River is busy wait as long as it asks, a few times."""
        # A batch makes a hundred calls and more, and each answer may take its time.
        self._hold.beat()
        for waits in range(1, _MOST_WAITS + 1):
            try:
                return call()
            except RateLimited as error:
                self._wait(error, waits)
            except OrderUnreadable as error:
                if not isinstance(error.__cause__, RateLimited):
                    raise
                self._wait(error.__cause__, waits)
        return call()

    def _wait(self, error: RateLimited, waits: int) -> None:
        if waits > _MOST_WAITS or error.retry_after > _LONGEST_WAIT:
            raise error
        self._sleep(error.retry_after)
        self._hold.beat()

    # -- writing

    def _commit(
        self,
        look: _Look,
        *,
        phase: str | None = None,
        cursor: str = "",
        orders: Sequence[Order] = (),
        kinds: Sequence[Difference.Kind] = OF_A_REFUND,
    ) -> None:
        """Write what a page came to, and that it is done, in one transaction."""
        run = self._run
        at = max(self._clock(), run.started_at)
        # Before the page counts: should it be read again, its refunds are marked again.
        self._mark(look.seen, at)
        with transaction.atomic():
            # First, for it holds off whoever took the run over.
            self._hold.beat()
            self._add_totals(look.totals)
            if look.subjects:
                differences_record(
                    found=look.found, subjects=look.subjects, kinds=kinds, at=at, run=run
                )
            if orders:
                orders_check(orders=orders, at=at, run=run)
            ReconciliationRun.objects.filter(pk=run.pk).update(
                phase=run.phase if phase is None else phase,
                cursor=cursor,
                theirs_read=F("theirs_read") + look.theirs_read,
                ours_read=F("ours_read") + look.ours_read,
            )
        run.refresh_from_db(
            fields=["phase", "cursor", "theirs_read", "ours_read", "adopted", "brought_up_to_date"]
        )
        self._on_progress(run)

    def _mark(self, seen: set[int], at: datetime) -> None:
        """Mark refunds as found at Digital River.

        Never waits for one while it holds another: reps' refunds are locked in an order of their
        own, and it must not be a rep's that is called off as a deadlock.
        """
        if not seen:
            return
        with transaction.atomic():
            free = set(
                Refund.objects.filter(pk__in=seen)
                .select_for_update(skip_locked=True, no_key=True)
                .values_list("pk", flat=True)
            )
            Refund.objects.filter(pk__in=free).update(reconciled_at=at)
        for pk in seen - free:
            Refund.objects.filter(pk=pk).update(reconciled_at=at)

    def _add_totals(self, totals: Mapping[tuple[date, str], _Sums]) -> None:
        """Add a page's sums to the run's, in two queries."""
        if not totals:
            return
        days = {day for day, _ in totals}
        rows = {(row.day, row.currency): row for row in self._run.totals.filter(day__in=days)}
        for (day, currency), sums in totals.items():
            row = rows.setdefault(
                (day, currency),
                ControlTotal(run=self._run, day=day, currency=currency),
            )
            row.our_count += sums.our_count
            row.our_amount += sums.our_amount
            row.their_count += sums.their_count
            row.their_amount += sums.their_amount
        ControlTotal.objects.bulk_create(
            [ControlTotal(**_columns(row)) for row in rows.values()],
            update_conflicts=True,
            unique_fields=["run", "day", "currency"],
            update_fields=["our_count", "our_amount", "their_count", "their_amount"],
        )

    def _finish(self) -> None:
        left = Difference.objects.filter(resolution="")
        if self._run.order is not None:
            left = left.filter(order=self._run.order)
        with transaction.atomic():
            self._hold.leave()
            count = left.count()
            ReconciliationRun.objects.filter(pk=self._run.pk).update(
                state=ReconciliationRun.State.FINISHED,
                finished_at=self._clock(),
                open_differences=count,
                outcome=_outcome(count),
            )
        _logger.info("reconciliation.finished", run=self._run.pk, open_differences=count)

    def _stop(self, outcome: str) -> None:
        try:
            with transaction.atomic():
                self._hold.leave()
                ReconciliationRun.objects.filter(pk=self._run.pk).update(
                    state=ReconciliationRun.State.STOPPED, outcome=outcome[:500]
                )
        except TakenOverError:
            _logger.warning("reconciliation.taken_over", run=self._run.pk)


def _outcome(count: int) -> str:
    if not count:
        return "Everything agrees."
    return f"{count} {'difference is' if count == 1 else 'differences are'} open."


def _columns(row: ControlTotal) -> dict[str, object]:
    names = ("day", "currency", "our_count", "our_amount", "their_count", "their_amount")
    return {"run_id": row.run_id} | {name: getattr(row, name) for name in names}
