"""Digital River's events: stored once by their id, processed afterwards, as often as need be.

An event says that something happened, not how things stand: events repeat, overtake each other
and show the past. So what it is about is read anew, by the one way that settles, adopts and
refreshes (``order_refresh``), unless it was read since the event came. Only what cannot be read
back, a chargeback's amount and a credit memo, is taken from the event itself.

https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/events-1/event-types
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from itertools import islice

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from refunds import queue, selectors
from refunds.digitalriver import payloads
from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import DigitalRiverError, KeyRefused, NotSendable, Refused
from refunds.errors import OrderUnreadable
from refunds.gateways import digital_river
from refunds.models import WEBHOOK, CreditMemo, Event, Order, Refund, Watermark
from refunds.services.orders import Clock, order_recount, order_refresh
from refunds.services.settlements import chargeback_take, history_add

_logger = structlog.get_logger(__name__)

CHARGEBACK = "order.chargeback"
CREDIT_MEMO = "order.credit_memo.created"
#: What these tell cannot be read back, so it is taken from the event.
_TAKEN = frozenset({CHARGEBACK, CREDIT_MEMO})
#: What the types begin with after which the order is read anew, whatever else they may be called.
_READ_ANEW = ("refund.", "order.charge.refund.", "order.refunded", "order.dispute")
#: How long whoever processes an event keeps others off it.
LEASE = timedelta(minutes=5)
#: Tries after which an event that goes wrong waits for a person.
MOST_TRIES = 6
#: Tries, about a day of them, in which its order may still come to the mirror.
MOST_TRIES_WITHOUT_ORDER = 30
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)
#: Events in a row that found Digital River away, after which a round leaves the rest for later.
_AWAY_IN_A_ROW = 3
#: How many due events are read at once; the body of one may be as large as 1 MiB.
_BATCH = 20

#: Catching up goes back a bit further: an event may be listed later than it was made.
OVERLAP = timedelta(minutes=10)
#: The first time it goes back as far as Digital River's list does: a chargeback is told of by its
#: event alone, and who knows since when nobody has looked.
FIRST_CATCH_UP = timedelta(days=30)
CATCH_UP_EVERY = timedelta(minutes=5)
_WATERMARK = "events"
#: Events that catching up stores at once.
_PAGE = 100

#: Orders that were read a moment ago, by their ids at Digital River.
_Orders = dict[str, Order]


class OrderUnknownError(Exception):
    """An event is about an order that is not in the mirror (yet)."""


class OrderUnnamedError(Exception):
    """An event that takes money from an order does not say from which."""


def event_store(
    *, told: payloads.Event, body: str, source: Event.Source, clock: Clock = timezone.now
) -> tuple[Event | None, bool]:
    """Keep an event and have it processed; returns it, and whether it is new.

    ``body`` is the event as it came. A repeat returns None and changes nothing: what is known is
    not processed again.
    """
    event = _event(told, body=body, source=source, at=clock())
    try:
        # By itself the statement is a transaction already, which spares PostgreSQL two round trips.
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            event.save(force_insert=True)
            queue.enqueue("refunds.tasks.process_event", event.pk)
    except IntegrityError:
        if not Event.objects.filter(event_id=told.id).exists():
            raise
        return None, False
    return event, True


def _event(told: payloads.Event, *, body: str, source: Event.Source, at: datetime) -> Event:
    return Event(
        event_id=told.id,
        type=told.type,
        created_time=told.created_time,
        received_at=at,
        source=source,
        body=body,
        digital_river_order_id=told.order_id,
        next_try_at=at,
    )


def event_process(
    *,
    event_id: int,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Event:
    """Process a stored event that is due; one that is done, or that another one has, is left alone.

    What cannot be done now is tried again later; what keeps going wrong is *failed* and says why.
    """
    event = Event.objects.get(pk=event_id)
    _process(event, orders={}, clock=clock, client=client or digital_river())
    return event


def event_process_again(*, event_id: int, clock: Clock = timezone.now) -> bool:
    """Have an event processed once more that failed or had nothing to do; tells whether it will."""
    with transaction.atomic():
        changed = Event.objects.filter(
            pk=event_id, state__in=[Event.State.FAILED, Event.State.IGNORED]
        ).update(state=Event.State.WAITING, next_try_at=clock(), tries=0, processed_at=None)
        if changed:
            queue.enqueue("refunds.tasks.process_event", event_id)
    return bool(changed)


def events_process(
    *,
    limit: int | None = None,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
) -> Mapping[str, int]:
    """Process every event that is due; returns how many now stand in each state.

    Once Digital River turns out to be away the rest stays due for the next round.
    """
    now = clock()
    client = client or digital_river()
    _take_up_again(now)
    counts: dict[str, int] = {}
    away = 0
    for event, orders in islice(_due(now), limit):
        done = _process(event, orders=orders, clock=clock, client=client)
        away = 0 if done else away + 1
        counts[str(event.state)] = counts.get(str(event.state), 0) + 1
        if away == _AWAY_IN_A_ROW:
            break
    return counts


def events_catch_up(
    *, clock: Clock = timezone.now, client: DigitalRiverClient | None = None
) -> int:
    """Read the events that Digital River made and could not deliver; returns how many were new.

    They are due at once, for ``events_process``. Does nothing if it was done in the last minutes.
    Raises ``OrderUnreadable`` when Digital River cannot be asked: what was read by then is kept,
    and the next time goes back as far.
    """
    at = clock()
    mark = Watermark.objects.filter(name=_WATERMARK).first()
    since = at - FIRST_CATCH_UP
    # A mark in the future was set by a clock that was wrong: nobody knows by how much.
    if mark is not None and mark.at <= at:
        if at - mark.at < CATCH_UP_EVERY:
            return 0
        since = mark.at - OVERLAP
    new = 0
    # Of all types: whether the list can be narrowed to several of them the documents tell in two
    # ways, and an event that is left out would be missed without a trace.
    told = (client or digital_river()).list_events(since=since)
    try:
        while page := list(islice(told, _PAGE)):
            new += _store_new([each for each in page if _is_for_us(each.type)], at=clock())
    except DigitalRiverError as error:
        raise OrderUnreadable(
            f"Digital River's events could not be read ({type(error).__name__}). The next round "
            "goes back as far."
        ) from error
    Watermark.objects.update_or_create(name=_WATERMARK, defaults={"at": at})
    return new


def _is_for_us(event_type: str) -> bool:
    """Tell whether the desk does anything about events of this type."""
    return event_type in _TAKEN or event_type.startswith(_READ_ANEW)


def _store_new(page: Iterable[payloads.Event], *, at: datetime) -> int:
    """Keep those events that are not known yet; most came by the webhook before."""
    told = {each.id: each for each in page}
    for known in Event.objects.filter(event_id__in=told).values_list("event_id", flat=True):
        del told[known]
    Event.objects.bulk_create(
        [
            _event(each, body=each.raw, source=Event.Source.CATCH_UP, at=at)
            for each in told.values()
        ],
        # The webhook may bring one in this very moment.
        ignore_conflicts=True,
    )
    return len(told)


def _due(now: datetime) -> Iterator[tuple[Event, _Orders]]:
    """Return the events that are due, in the order they came, each once, however many there are.

    With each come the orders that were read for others of its batch.
    """
    due = Event.objects.filter(state=Event.State.WAITING, next_try_at__lte=now)
    last = 0
    while True:
        batch = list(due.filter(pk__gt=last).order_by("pk")[:_BATCH])
        orders: _Orders = {}
        for event in batch:
            yield event, orders
        if len(batch) < _BATCH:
            return
        last = batch[-1].pk


def _take_up_again(at: datetime) -> None:
    """Have chargebacks processed that were given up before their order came to the mirror."""
    theirs = Order.objects.filter(digital_river_id=OuterRef("digital_river_order_id"))
    Event.objects.filter(
        Exists(theirs), state=Event.State.FAILED, type=CHARGEBACK, order=None
    ).update(state=Event.State.WAITING, next_try_at=at, tries=0)


def _process(event: Event, *, orders: _Orders, clock: Clock, client: DigitalRiverClient) -> bool:
    """Process the event unless another one has it; returns False if Digital River is away."""
    if not _claim(event, at=clock()):
        return True
    try:
        state, outcome = _act(event, orders=orders, clock=clock, client=client)
    except OrderUnreadable as error:
        # However long Digital River is away, the event waits; not so where it says no.
        cause = error.__cause__
        final = isinstance(cause, Refused | NotSendable) and not isinstance(cause, KeyRefused)
        why = f" ({type(cause).__name__})" if cause is not None else ""
        _put_back(
            event,
            f"Digital River did not tell of its order{why}.",
            at=clock(),
            most_tries=MOST_TRIES if final else None,
        )
        return final
    except OrderUnknownError:
        _put_back(
            event,
            "Its order is not in the mirror.",
            at=clock(),
            most_tries=MOST_TRIES_WITHOUT_ORDER,
            # Without the order nobody misses its credit memo; a chargeback has taken money.
            at_last=Event.State.FAILED if event.type == CHARGEBACK else Event.State.IGNORED,
        )
    except OrderUnnamedError:
        outcome = (
            "It does not say which order the customer's bank took money back from. Find it in "
            "Digital River's Dashboard, and do not refund that money again."
        )
        _write(event, state=Event.State.FAILED, outcome=outcome, next_try_at=None)
    except Exception as error:
        _logger.exception("event.went_wrong", event_id=event.event_id, type=event.type)
        _put_back(
            event,
            f"The desk could not process it ({type(error).__name__}); the log says more.",
            at=clock(),
            most_tries=MOST_TRIES,
        )
    else:
        at = clock()
        _write(event, state=state, outcome=outcome, next_try_at=None, processed_at=at)
    return True


def _claim(event: Event, *, at: datetime) -> bool:
    """Keep others off the event for a while; False if it is done, not due, or another one's."""
    if event.state != Event.State.WAITING or event.next_try_at is None:
        return False
    # One that nobody has tried yet is due by any server's clock.
    if event.tries and event.next_try_at > at:
        return False
    lease = at + LEASE
    taken = Event.objects.filter(
        pk=event.pk, state=event.state, tries=event.tries, next_try_at=event.next_try_at
    ).update(next_try_at=lease, tries=F("tries") + 1)
    if taken:
        event.tries += 1
        event.next_try_at = lease
    return bool(taken)


def _act(
    event: Event, *, orders: _Orders, clock: Clock, client: DigitalRiverClient
) -> tuple[str, str]:
    """Do what the event asks for; returns its state and what was done."""
    takes = event.type in _TAKEN
    if not _is_for_us(event.type):
        return Event.State.IGNORED, "The desk does nothing about events of this type."
    told = payloads.read_event(event.body.encode())
    # An order mostly has several events, and reading it anew brings this one up to date too.
    order = orders.get(told.order_id) or _order_of(told)
    if order is None:
        if takes and told.order_id:
            raise OrderUnknownError
        if event.type == CHARGEBACK:
            raise OrderUnnamedError
        return Event.State.IGNORED, (
            "Its order is not in the mirror; it is read in full when it comes."
            if told.order_id
            else "It names no order that the desk knows."
        )
    event.order = order
    if told.order_id:
        orders[told.order_id] = order
    _look(order, event, clock=clock, client=client)
    if event.type == CHARGEBACK:
        return Event.State.PROCESSED, _charge_back(order, event, told, clock=clock)
    if told.credit_memo is not None:
        return Event.State.PROCESSED, _link_memo(order, event, told.credit_memo, clock=clock)
    if told.refund_id:
        found = order.refunds.filter(digital_river_id=told.refund_id).values_list("pk", flat=True)
        event.refund_id = found.first()
    return Event.State.PROCESSED, "The order is as Digital River has it."


def _order_of(told: payloads.Event) -> Order | None:
    """Return the order the event names, or else the one whose refund it names."""
    # The index has no rows without an id: unless that is said, SQLite reads the whole table.
    if told.order_id:
        orders = Order.objects.exclude(digital_river_id="")
        return orders.filter(digital_river_id=told.order_id).first()
    if told.refund_id:
        refunds = Refund.objects.select_related("order").exclude(digital_river_id="")
        refund = refunds.filter(digital_river_id=told.refund_id).first()
        return refund.order if refund is not None else None
    return None


def _look(order: Order, event: Event, *, clock: Clock, client: DigitalRiverClient) -> None:
    """Read the order unless it was read since the event came."""
    if order.refreshed_at is None or order.refreshed_at <= event.received_at:
        order_refresh(order=order, actor=WEBHOOK, clock=clock, client=client)


def _charge_back(order: Order, event: Event, told: payloads.Event, *, clock: Clock) -> str:
    """Book the chargeback, once, however often the event has to be processed."""
    with transaction.atomic(durable=True):
        locked = Order.objects.select_for_update().get(pk=order.pk)
        # Read behind the lock: whoever had the event before may have booked it and been killed,
        # or may have lost its lease and book it only now.
        kept = Event.objects.select_related("refund").get(pk=event.pk)
        if kept.refund is None:
            kept.refund = chargeback_take(
                order=locked,
                account=selectors.order_account(locked),
                amount=told.chargeback_amount,
                currency=told.chargeback_currency,
                created_at=told.created_time,
                at=clock(),
                actor=WEBHOOK,
            )
            kept.order = locked
            kept.save(update_fields=["refund", "order"])
            order_recount(order=locked)
    event.refund = kept.refund
    return f"The chargeback is booked as {kept.refund.reference}."


def _link_memo(order: Order, event: Event, memo: payloads.CreditMemo, *, clock: Clock) -> str:
    """Keep the memo with the order, and with its refund where only one can be meant."""
    with transaction.atomic(durable=True):
        # Two memos of one order, read at once, must not both go to the same refund.
        Order.objects.select_for_update().get(pk=order.pk)
        known = CreditMemo.objects.select_related("refund").filter(memo_id=memo.id).first()
        if known is None:
            refunds = order.refunds.filter(state=Refund.State.SUCCEEDED, credit_memos=None)
            candidates = list(refunds.exclude(origin=Refund.Origin.CHARGEBACK)[:2])
            known = CreditMemo.objects.create(
                memo_id=memo.id,
                order=order,
                refund=candidates[0] if len(candidates) == 1 else None,
                file_id=memo.file_id,
                created_at=event.created_time or event.received_at,
            )
            if known.refund is not None:
                history_add(
                    refund=known.refund,
                    actor=WEBHOOK,
                    at=clock(),
                    summary=f"Digital River made out credit memo {memo.id}.",
                )
    event.refund = known.refund
    whose = "its refund" if known.refund else "its order; whose it is cannot be told"
    return f"The credit memo is linked with {whose}."


def _put_back(
    event: Event,
    outcome: str,
    *,
    at: datetime,
    most_tries: int | None,
    at_last: str = Event.State.FAILED,
) -> None:
    """Leave the event for later, or for a person once it was tried often enough."""
    if most_tries is not None and event.tries >= most_tries:
        remedy = "Mend that, then have it processed again."
        _write(event, state=at_last, outcome=f"{outcome} {remedy}", next_try_at=None)
        return
    pause = min(_FIRST_PAUSE * 2 ** min(event.tries - 1, 10), _LONGEST_PAUSE)
    remedy = "The desk tries again by itself."
    _write(event, state=Event.State.WAITING, outcome=f"{outcome} {remedy}", next_try_at=at + pause)


def _write(
    event: Event,
    *,
    state: str,
    outcome: str,
    next_try_at: datetime | None,
    processed_at: datetime | None = None,
) -> None:
    """Write what became of the event, unless the lease has run out and another one has it."""
    columns = {
        "state": state,
        "outcome": outcome[:500],
        "next_try_at": next_try_at,
        "processed_at": processed_at,
        "order_id": event.order_id,
        "refund_id": event.refund_id,
    }
    ours = Event.objects.filter(
        pk=event.pk, state=Event.State.WAITING, next_try_at=event.next_try_at
    )
    if not ours.update(**columns):
        _logger.warning("event.lease_lost", event_id=event.event_id, type=event.type)
        return
    for name, value in columns.items():
        setattr(event, name, value)
