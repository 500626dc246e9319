"""What must hold between the desk and Digital River: after every step, and once all is quiet.

Each check raises ``Broken`` with the invariant's name. What is read of the stand-in is read from
its own tables, not through the client.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from django.db import connection

from refunds.ledger import Component, Part
from refunds.models import (
    CloseOut,
    Event,
    HistoryEntry,
    Order,
    OrderLine,
    Refund,
    RefundLine,
)
from refunds.models.states import MOVES
from refunds.money import ZERO, add, smallest
from refunds.selectors import OrderAccount, refunds_of
from sandbox.wire import loads
from tests.faults.world import Broken, World

LIVE = frozenset({"pending", "pending_information", "succeeded"})
UNSETTLED_THERE = frozenset({"pending", "pending_information"})
#: What a lead is told, with cause, where an attempt arrived late and of nothing else.
_TURNED_UP = "turned up"
_TWICE = "may be paid twice"


@dataclass(frozen=True, slots=True)
class Theirs:
    """A refund as the stand-in has it; amounts in minor units."""

    id: str
    order_id: str
    state: str
    minor: int
    refunded: int
    parts: Mapping[tuple[str, str], int]
    reference: str

    @property
    def taken(self) -> int:
        """What it keeps from the order."""
        if self.state not in LIVE:
            return 0
        return self.refunded if self.state == "succeeded" else self.minor

    @property
    def of_refund(self) -> str:
        """The reference of the desk's refund that it is an attempt of, empty if of none."""
        return self.reference.rpartition("-")[0]


# -- looking ---------------------------------------------------------------------------------------


def theirs_of(world: World) -> list[Theirs]:
    """Return what the stand-in has, oldest first, as it is now."""
    world.sandbox.undelivered()  # Has it settle what is due.
    rows = world.sandbox._connection().execute(
        "SELECT id, order_id, state, minor, refunded, parts, metadata FROM refunds ORDER BY number"
    )
    return [
        Theirs(
            identifier,
            order_id,
            state,
            minor,
            refunded,
            {(item, kind): part for item, kind, part in loads(parts)},
            (loads(metadata) if metadata else {}).get("refundReference", ""),
        )
        for identifier, order_id, state, minor, refunded, parts, metadata in rows.fetchall()
    ]


def forget_events(world: World) -> None:
    """Let Digital River know nothing any more of the events it made."""
    world.sandbox._connection().execute("DELETE FROM events")


def events_there(world: World) -> list[str]:
    """Return the bodies of the stand-in's events, newest first."""
    rows = world.sandbox._connection().execute("SELECT body FROM events ORDER BY number DESC")
    return [body for (body,) in rows.fetchall()]


def charged_back(world: World) -> set[str]:
    """Return the ids of the orders of which a customer's bank took something back."""
    rows = world.sandbox._connection().execute("SELECT DISTINCT order_id FROM chargebacks")
    return {order_id for (order_id,) in rows.fetchall()}


def unsettled_there(world: World) -> list[tuple[str, str]]:
    """Return the id and state of what the stand-in has not settled, oldest first."""
    return [(each.id, each.state) for each in theirs_of(world) if each.state in UNSETTLED_THERE]


def a_unit_less(world: World, identifier: str) -> Decimal:
    """Return a bit less than what a refund of the stand-in was made for, in major units."""
    (found,) = (each for each in theirs_of(world) if each.id == identifier)
    order = next(order for order in world.orders if order.digital_river_id == found.order_id)
    return max(1, found.minor - 1) * smallest(order.currency)


def unquiet(world: World) -> list[str]:
    """Return what is still to come, in words."""
    waiting, running = Event.State.WAITING, CloseOut.State.RUNNING
    unsettled = sorted(Refund.UNSETTLED)
    places = ", ".join(["%s"] * len(unsettled))
    with connection.cursor() as cursor:
        # One plain statement: it is asked after every round.
        cursor.execute(
            f"SELECT 'refund', reference, state FROM refunds_refund WHERE state IN ({places})"  # noqa: S608 - only places
            " UNION ALL SELECT 'event', type, outcome FROM refunds_event WHERE state = %s"
            " UNION ALL SELECT 'close-out', '', outcome FROM refunds_closeout WHERE state = %s",
            [*unsettled, waiting, running],
        )
        found = [" ".join(row) for row in cursor.fetchall()]
    return found + [
        f"{identifier} is {state} there" for identifier, state in unsettled_there(world)
    ]


# -- after every step ------------------------------------------------------------------------------


def check_always(world: World) -> None:
    """Check what must hold at any moment at which no transaction is open."""
    theirs = theirs_of(world)
    changes = world.sandbox._connection().total_changes
    if not world.has_written and changes == world.changes_seen:
        return
    world.has_written, world.changes_seen = False, changes
    _check_captured(world, theirs)
    _check_sent_once(world, theirs)
    for order in world.orders:
        account = account_of(order.pk)
        _check_given_up(world, theirs, account)
        _check_buttons(world, account)
        _check_held(account)
        _check_left(account)


def account_of(order: int) -> OrderAccount:
    """Read an order as the selectors do, by fewer and plainer statements: it is done often."""
    (read,) = Order.objects.raw("SELECT * FROM refunds_order WHERE id = %s", [order])
    lines = OrderLine.objects.raw(
        "SELECT * FROM refunds_orderline WHERE order_id = %s ORDER BY position, id", [order]
    )
    refunds = list(
        Refund.objects.raw(
            "SELECT * FROM refunds_refund WHERE order_id = %s AND submitted_at IS NOT NULL"
            " ORDER BY submitted_at DESC, id DESC",
            [order],
        )
    )
    of_refund: dict[int, list[RefundLine]] = {refund.pk: [] for refund in refunds}
    for line in RefundLine.objects.raw(
        "SELECT of_refund.* FROM refunds_refundline of_refund"
        " JOIN refunds_refund ON refunds_refund.id = of_refund.refund_id WHERE order_id = %s",
        [order],
    ):
        of_refund.get(line.refund_id, []).append(line)
    for refund in refunds:
        refund._prefetched_objects_cache = {"lines": of_refund[refund.pk]}  # type: ignore[attr-defined]
    return OrderAccount(read, list(lines), refunds)


def _check_captured(world: World, theirs: Sequence[Theirs]) -> None:
    rows = world.sandbox._connection().execute("SELECT id, charged FROM orders").fetchall()
    for order_id, charged_text in rows:
        charged = {(item, kind): minor for item, kind, minor in loads(charged_text)}
        live = [each for each in theirs if each.order_id == order_id and each.state in LIVE]
        if sum(each.taken for each in live) > sum(charged.values()):
            raise Broken("never more than was captured", live)
        taken: Counter[tuple[str, str]] = Counter()
        for each in live:
            taken.update(each.parts)
        if any(minor > charged.get(part, 0) for part, minor in taken.items()):
            raise Broken("never more than was captured, per line", live)


def _check_sent_once(world: World, theirs: Sequence[Theirs]) -> None:
    if twice := [reference for reference, times in world.sent.items() if times > 1]:
        raise Broken("each attempt is sent once", twice)
    arrived = Counter(each.reference for each in theirs if each.reference)
    if twice := [reference for reference, times in arrived.items() if times > 1]:
        raise Broken("each attempt has one Digital River refund at most", twice)
    live = Counter(
        each.of_refund
        for each in theirs
        if each.reference and each.state in LIVE and each.reference not in world.late
    )
    if twice := [reference for reference, times in live.items() if times > 1]:
        raise Broken("each refund has one that is not failed or expired at most", twice)


def _check_held(account: OrderAccount) -> None:
    """Check what the desk itself has promised: not what others did, nor what is flagged."""
    keys = {line.pk: line.key for line in account.lines}
    held: dict[Part, Decimal] = {}
    total = ZERO
    for refund in account.refunds:
        if not refund.held_amount:
            continue
        parts = refund.parts(keys)
        if add(parts.values()) != refund.held_amount:
            raise Broken("the parts sum to the whole", f"{refund}: {parts}")
        if refund.origin == Refund.Origin.DESK and not refund.flag:
            total += refund.held_amount
            for part, amount in parts.items():
                held[part] = held.get(part, ZERO) + amount
    if total > account.order.captured_amount:
        raise Broken("the desk holds no more than was captured", _told(account.refunds))
    charged = {entry.part: entry.charged for entry in account.position.ledger.entries}
    for part, amount in held.items():
        if part.component != Component.WHOLE and amount > charged.get(part, ZERO):
            raise Broken(
                "the desk holds no more than was captured, per line",
                f"{part}: {amount} of {charged.get(part)}; {_told(account.refunds)}",
            )


def _check_given_up(world: World, theirs: Sequence[Theirs], account: OrderAccount) -> None:
    """Check that the desk gave up nothing that Digital River has, unless it arrived too late."""
    state = Refund.State
    there = {each.of_refund: each for each in theirs if each.reference not in world.late}
    for refund in account.refunds:
        found = there.get(refund.reference)
        if found is None:
            continue
        if refund.state == state.NOT_SENT and found.state in LIVE:
            raise Broken("what counts as not sent was not sent", _told([refund]))
        if refund.state == state.REFUSED and _is_last(found, refund):
            raise Broken("what counts as refused was refused", _told([refund]))


def _check_buttons(world: World, account: OrderAccount) -> None:
    """Check that the desk asks for what a button named that somebody pressed, and nothing else."""
    for refund in account.refunds:
        if refund.origin != Refund.Origin.DESK or refund.close_out_id is not None:
            continue
        if refund.requested_amount not in world.buttons[refund.pk]:
            raise Broken("a refund is for what its button named", _told([refund]))


def _is_last(found: Theirs, refund: Refund) -> bool:
    last = refund.attempts.order_by("-number").first()
    return last is not None and last.reference == found.reference


def _check_left(account: OrderAccount) -> None:
    order, position = account.order, account.position
    if order.left_amount != position.ledger.left:
        raise Broken(
            "what is left is what the ledger says",
            f"{order.left_amount}, {position.ledger.left}; {_told(account.refunds)}",
        )
    if order.refundable != (not position.closed_because):
        raise Broken("an order can be refunded if its position says so", order)


def _told(refunds: Iterable[Refund]) -> str:
    return "; ".join(
        f"{each.reference} {each.origin} {each.option} {each.state} {each.held_amount}"
        f" of {each.requested_amount} [{each.digital_river_id}] {each.flag}"
        for each in refunds
    )


# -- once all is quiet -----------------------------------------------------------------------------


def check_settled(world: World) -> None:
    """Check what must hold once everything has come to its end."""
    check_always(world)
    if still := unquiet(world):
        raise Broken("everything ends in a state that is explained", "; ".join(still))
    theirs = theirs_of(world)
    refunds = list(
        Refund.objects.filter(order__in=[order.pk for order in world.orders])
        .select_related("order")
        .prefetch_related("attempts", "history")
    )
    _check_events()
    _check_chargebacks(world)
    _check_close_outs()
    _check_known(theirs, refunds)
    _check_ours(theirs, refunds)
    _check_flags(world, theirs, refunds)
    _check_availability(world)
    for refund in refunds:
        check_history(refund)


def _check_events() -> None:
    for event in Event.objects.exclude(state__in=[Event.State.PROCESSED, Event.State.IGNORED]):
        raise Broken("every event is processed", f"{event.type} {event.state}: {event.outcome}")


def _check_close_outs() -> None:
    """Check that a close-out gives no more than its button named, and tells how it ended."""
    for close_out in CloseOut.objects.all():
        given = add(refund.held_amount for refund in close_out.refunds.all() if not refund.flag)
        if given > close_out.planned_amount:
            raise Broken("a close-out gives what its button named", f"{given}: {close_out}")
        if not close_out.outcome:
            raise Broken("a close-out tells how it ended", close_out)


def _check_chargebacks(world: World) -> None:
    """Check that each chargeback that the desk was told of is booked once."""
    told = Event.objects.filter(type="order.chargeback", state=Event.State.PROCESSED).count()
    booked = Refund.objects.filter(origin=Refund.Origin.CHARGEBACK).count()
    query = "SELECT count(*) FROM chargebacks"
    ((there,),) = world.sandbox._connection().execute(query).fetchall()
    if booked != told or (world.lists_events and booked != there):
        raise Broken("each chargeback is booked once", f"{booked} of {told}, {there} there")


def _check_known(theirs: Sequence[Theirs], refunds: Sequence[Refund]) -> None:
    """Check that each refund of Digital River is known here, once, and as it is there."""
    ours = {refund.digital_river_id: refund for refund in refunds if refund.digital_river_id}
    superseded = {
        attempt.digital_river_id
        for refund in refunds
        for attempt in refund.attempts.all()
        if attempt.digital_river_id
    }
    for each in theirs:
        refund = ours.get(each.id)
        if refund is None:
            if each.state in LIVE or each.id not in superseded:
                raise Broken("each Digital River refund is known here", f"{each}; {_told(refunds)}")
            continue
        unit = smallest(refund.currency)
        if refund.state != each.state:
            raise Broken("states here are the states there", f"{each}; {_told([refund])}")
        if refund.held_amount != each.taken * unit:
            raise Broken("amounts here are the amounts there", f"{each}; {_told([refund])}")
        named = refund.reference == each.of_refund
        if each.reference and each.state in LIVE and not named and not refund.flag:
            raise Broken("one more under the same reference is flagged", _told([refund]))
    for identifier, refund in ours.items():
        if identifier not in {each.id for each in theirs}:
            raise Broken("a refund here is a refund there", _told([refund]))


def _check_ours(theirs: Sequence[Theirs], refunds: Sequence[Refund]) -> None:
    """Check that each refund of the desk tells what became of it."""
    live = {each.of_refund for each in theirs if each.state in LIVE and each.reference}
    for refund in refunds:
        if refund.origin != Refund.Origin.DESK or refund.submitted_at is None:
            continue
        if broken := _unexplained(refund):
            raise Broken(broken, _told([refund]))
        if refund.state == Refund.State.SUCCEEDED or refund.reference not in live:
            continue
        # Another attempt than the last one paid: it is on record by itself, and flagged.
        if not any(refund.reference in each.flag for each in refunds):
            raise Broken("money that moved is never hidden", _told(refunds))


def _unexplained(refund: Refund) -> str:
    """Return what a refund's state lacks to be understood, empty if nothing."""
    state = Refund.State
    if refund.state in {state.SUCCEEDED, state.FAILED, state.EXPIRED}:
        whole = refund.digital_river_id and refund.settled_at is not None
        return "" if whole else "what settled names its Digital River refund"
    if refund.digital_river_id:
        return "states here are the states there"
    if refund.state == state.REFUSED and not refund.refusal:
        return "what was refused says why"
    if refund.state == state.REFUSED and _refused_by_nobody(refund):
        return "what counts as refused was refused"
    return ""


def _refused_by_nobody(refund: Refund) -> bool:
    """Tell whether the last attempt was answered by something else than a refusal."""
    last = max(refund.attempts.all(), key=lambda each: each.number, default=None)
    if last is None or last.status is None:
        return False
    # A refund that waited after a 429 may be refused by the desk itself.
    waited = any(entry.from_state == Refund.State.QUEUED for entry in refund.history.all())
    return not 400 <= last.status < 500 or (last.status in {408, 429} and not waited)


def _check_flags(world: World, theirs: Sequence[Theirs], refunds: Sequence[Refund]) -> None:
    """Check that a lead is told of what no rep asked for."""
    there = {each.id: each for each in theirs}
    late = {reference.rpartition("-")[0] for reference in world.late}
    for refund in refunds:
        each = there.get(refund.digital_river_id)
        if each is None:
            continue
        if _TWICE in refund.flag and each.of_refund not in late:
            raise Broken("no alarm without cause", _told([refund]))
        if refund.origin != Refund.Origin.DESK:
            continue
        asked = (refund.requested_amount or ZERO) / smallest(refund.currency)
        if each.state in LIVE and each.minor != asked and not refund.flag:
            raise Broken("another amount than asked for is flagged", f"{each}; {_told([refund])}")
        if each.state == "succeeded" and each.refunded != asked and not refund.flag:
            raise Broken("another amount than asked for is flagged", f"{each}; {_told([refund])}")
        if _TURNED_UP in refund.flag and each.of_refund not in late:
            raise Broken("no alarm without cause", _told([refund]))
        turned_up = any(
            entry.from_state == Refund.State.NOT_SENT and entry.to_state in {*LIVE, "failed"}
            for entry in refund.history.all()
        )
        if turned_up and _TURNED_UP not in refund.flag:
            raise Broken("what turned up after all is flagged", _told([refund]))


def _check_availability(world: World) -> None:
    for order in Order.objects.filter(pk__in=[each.pk for each in world.orders]):
        told = world.sandbox.order(order.digital_river_id)
        available = Decimal(told["availableToRefundAmount"] or 0)
        if order.left_amount != max(ZERO, available):
            raise Broken(
                "what is left is what Digital River has available",
                f"{order.left_amount}, {available}; {_told(refunds_of(order))}",
            )


def check_history(refund: Refund) -> None:
    """Check that a refund's history is whole, and tells how it came to where it stands."""
    entries = sorted(refund.history.all(), key=lambda entry: entry.number)
    head = ""
    for number, entry in enumerate(entries, start=1):
        if entry.number != number or entry.previous_hash != head:
            raise Broken("the history has no gap", f"{refund} {entry.number}")
        if entry.hash != entry.computed_hash:
            raise Broken("the history's hashes hold", f"{refund} {entry.number}")
        head = entry.hash
    if (refund.history_length, refund.history_head) != (len(entries), head):
        raise Broken("the history is whole", f"{refund}")
    _check_moves(refund, entries)


def _check_moves(refund: Refund, entries: Sequence[HistoryEntry]) -> None:
    moves = [entry for entry in entries if entry.from_state != entry.to_state]
    for one, other in pairwise(moves):
        if one.to_state != other.from_state:
            raise Broken("the history tells of every move", f"{refund}: {one}, {other}")
    for move in moves:
        if move.to_state not in MOVES[move.from_state]:
            raise Broken("states go only where they may", f"{refund}: {move}")
    if moves and moves[-1].to_state != refund.state:
        raise Broken("the history tells of every move", f"{refund} is {refund.state}")
