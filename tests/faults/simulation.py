"""Takes the steps of a schedule, and after each of them looks whether all is well.

``run`` does a whole schedule and raises ``Broken`` as soon as something does not hold; the same
schedule always goes the same way.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.contrib.auth.models import User

from refunds import selectors
from refunds.digitalriver import payloads, signature
from refunds.errors import RefundDeskError
from refunds.ledger import LineLeft
from refunds.models import CHECK, Actor, Difference, Event, Order, ReconciliationRun, Refund
from refunds.money import smallest
from refunds.options import LineSelection, Option, Position, Seen, Selection
from refunds.salesforce.payloads import order_record
from refunds.services.closeouts import closeout_begin
from refunds.services.drafts import draft_choose, draft_create
from refunds.services.events import event_process, event_store
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from refunds.services.reconciliation import reconcile
from refunds.services.refunds import (
    refund_cancel,
    refund_check,
    refund_queue,
    refund_retry,
    refund_submit,
)
from refunds.services.sweeping import sweep
from refunds.services.verification import verify_history
from sandbox.errors import ApiError
from sandbox.refund_request import parse_refund
from sandbox.signing import sign, timestamp_of
from tests.faults import invariants
from tests.faults.schedule import (
    Arrive,
    Cancel,
    ChargeBack,
    Check,
    Choose,
    CloseOut,
    Damage,
    Deliver,
    Dispute,
    Draft,
    Elsewhere,
    Forward,
    Hold,
    Look,
    Mirror,
    Outage,
    Outcome,
    Reconcile,
    Resume,
    Retry,
    Schedule,
    Settle,
    Skew,
    Step,
    Submit,
    Sweep,
    Work,
)
from tests.faults.world import (
    GIVEN_UP_AFTER,
    Broken,
    Drafted,
    Ground,
    World,
    reference_of,
    world_of,
)

SECRET = "whsec_of_the_tests"
TOLERANCE = timedelta(minutes=5)
#: Timestamps are whole seconds.
TO_THE_SECOND = timedelta(seconds=1)
#: Rounds of the sweep after which all must be quiet once nothing goes wrong any more.
MOST_ROUNDS = 24

_Thing = TypeVar("_Thing")


def run(schedule: Schedule, ground: Ground) -> None:
    """Do a schedule from its first step until all is quiet. Raises ``Broken``."""
    with world_of(schedule, ground) as world:
        for step in schedule.steps:
            take(world, step)
            invariants.check_always(world)
        if not schedule.lists_events:
            invariants.forget_events(world)
        let_settle(world)
        invariants.check_settled(world)
        if schedule.audited:
            audit(world)


def take(world: World, step: Step) -> None:
    """Take one step."""
    _TAKERS[type(step)](world, step)


def let_settle(world: World) -> None:
    """Let nothing go wrong any more, and sweep until there is nothing left to do."""
    world.clear_up()
    while world.calls:
        world.resume(world.calls[0])
        invariants.check_always(world)
    world.skews.clear()
    for order in world.orders:
        if world.sandbox.order(order.digital_river_id)["state"] == "dispute":
            world.sandbox.resolve_dispute(order.digital_river_id)
    for number in range(MOST_ROUNDS):
        # Longer than any lease, claim or quiet period at first, than any pause in the end.
        world.now += timedelta(minutes=6 if number < MOST_ROUNDS // 2 else 180)
        _finish_there(world)
        _swept(sweep(clock=world.clock, client=world.client))
        world.after_call()
        invariants.check_always(world)
        if not (unquiet := invariants.unquiet(world)):
            break
    else:
        raise Broken("everything catches up by itself", "; ".join(unquiet))
    for order in world.orders:
        order_refresh(order=Order.objects.get(pk=order.pk), clock=world.clock, client=world.client)


def _finish_there(world: World) -> None:
    """Have everything that Digital River has come to its end."""
    for identifier, state in invariants.unsettled_there(world):
        if state == "pending_information":
            world.sandbox.provide_bank_details(identifier)
        world.sandbox.settle_now(identifier)


def _swept(done: Mapping[str, object]) -> None:
    for name, result in done.items():
        told = result if isinstance(result, str) else ""
        if isinstance(result, Mapping):
            told = "went wrong" if result.get("went wrong") else ""
        if "went wrong" in told:
            raise Broken("no step of a sweep goes wrong", f"{name}: {result}")


def _nth(things: Sequence[_Thing], place: int) -> _Thing | None:
    return things[place % len(things)] if things else None


def _of_the_desk(world: World) -> list[Refund]:
    orders = [order.pk for order in world.orders]
    return list(
        Refund.objects.filter(
            order__in=orders, origin=Refund.Origin.DESK, submitted_at__isnull=False
        )
        .select_related("order")
        .order_by("-pk")
    )


def _order(world: World, place: int) -> Order:
    return Order.objects.get(pk=world.orders[place % len(world.orders)].pk)


# -- reps ------------------------------------------------------------------------------------------


def _draft(world: World, step: Draft) -> None:
    order, user = _order(world, step.order), world.ground.reps[step.rep % 2]
    selection = _selection(invariants.account_of(order.pk).position, step)
    if selection is None:
        return
    try:
        draft = draft_create(order=order, user=user, clock=world.clock)
        _chosen(world, draft, user, selection)
    except RefundDeskError:
        # The form would have said so; the draft waits for its time to run out.
        return


def _choose(world: World, step: Choose) -> None:
    drafted = _nth(world.drafts[::-1], step.draft)
    if drafted is None:
        return
    draft = Refund.objects.select_related("order").get(pk=drafted.pk)
    selection = _selection(invariants.account_of(draft.order_id).position, step)
    if selection is None:
        return
    try:
        _chosen(world, draft, drafted.rep, selection)
    except RefundDeskError:
        return


def _chosen(world: World, draft: Refund, user: User, selection: Selection) -> None:
    """Have a rep choose this, and see what the review page shows of it."""
    quote = draft_choose(
        draft=draft,
        user=user,
        selection=selection,
        grounds=world.ground.grounds,
        clock=world.clock,
    )
    draft.refresh_from_db()
    seen = Seen(figures=quote.figures(), at=world.clock(), draft_changed_at=draft.updated_at)
    world.drafts.append(Drafted(draft.pk, user, seen))


def _selection(position: Position, step: Draft | Choose) -> Selection | None:
    """Return what a rep might choose now, None where nothing can be refunded."""
    if position.closed_because:
        return None
    choice = _nth([each for each in position.choices if each.is_open], step.option)
    if choice is None:
        return None
    if choice.option is Option.LINE_ITEMS:
        lines = [line for line in position.ledger.lines if line.units and line.most > 0]
        chosen = lines if step.units > 1 else lines[:1]
        return Selection(
            Option.LINE_ITEMS, lines=tuple(_line(line, step, position) for line in chosen)
        )
    if choice.option is Option.FEES:
        keys = list(position.fee_lines())
        return Selection(Option.FEES, lines=tuple(map(LineSelection, keys[: step.units])))
    if choice.option in {Option.TAX, Option.IMPORTER_TAX}:
        return Selection(choice.option)
    return Selection(choice.option, _share(choice.maximum, step.share, position.order.currency))


def _line(line: LineLeft, step: Draft | Choose, position: Position) -> LineSelection:
    units = min(line.units, step.units)
    amount = _share(line.value_of(units), step.share, position.order.currency)
    return LineSelection(line.figures.line, units, amount if step.share < 1000 else None)


def _share(amount: Decimal, thousandths: int, currency: str) -> Decimal:
    unit = smallest(currency)
    return max(unit, amount * thousandths / 1000 // unit * unit)


def _submit(world: World, step: Submit) -> None:
    drafted = _nth(world.drafts[::-1], step.draft)
    if drafted is not None:
        world.buttons[drafted.pk].add(drafted.total)
        world.start(
            step,
            lambda: refund_submit(
                draft=Refund.objects.select_related("order").get(pk=drafted.pk),
                user=drafted.rep,
                seen=drafted.seen,
                clock=world.clock,
                client=world.client,
            ),
        )


def _hold(world: World, step: Hold) -> None:
    drafted = _nth(world.drafts[::-1], step.draft)
    if drafted is not None:
        world.buttons[drafted.pk].add(drafted.total)
        world.start(
            step,
            lambda: refund_queue(
                draft=Refund.objects.select_related("order").get(pk=drafted.pk),
                user=drafted.rep,
                seen=drafted.seen,
                clock=world.clock,
            ),
        )


def _retry(world: World, step: Retry) -> None:
    offered = [refund for refund in _of_the_desk(world) if refund.can_retry]
    refund = _nth(offered, step.refund)
    if refund is not None:
        world.start(
            step,
            lambda: refund_retry(
                refund=refund,
                user=world.ground.reps[step.machine % 2],
                clock=world.clock,
                client=world.client,
            ),
        )


def _cancel(world: World, step: Cancel) -> None:
    offered = [refund for refund in _of_the_desk(world) if refund.can_cancel]
    refund = _nth(offered, step.refund)
    if refund is not None:
        user = world.ground.reps[step.machine % 2]
        world.start(step, lambda: refund_cancel(refund=refund, user=user, clock=world.clock))


def _check(world: World, step: Check) -> None:
    offered = [refund for refund in _of_the_desk(world) if refund.is_unsettled]
    refund = _nth(offered, step.refund)
    if refund is not None:
        actor = Actor.looking(world.ground.reps[step.machine % 2])
        world.start(
            step,
            lambda: refund_check(
                refund=refund, actor=actor, clock=world.clock, client=world.client
            ),
        )


def _look(world: World, step: Look) -> None:
    order = _order(world, step.order)
    world.start(
        step,
        lambda: order_refresh(order=order, actor=CHECK, clock=world.clock, client=world.client),
    )


def _mirror(world: World, step: Mirror) -> None:
    number = world.orders[step.order % len(world.orders)].order_number
    record = world.sandbox.salesforce_record(number)
    world.start(step, lambda: order_mirror(record=order_record(record)))


def _reconcile(world: World, step: Reconcile) -> None:
    order = _order(world, step.order)
    world.start(step, lambda: _reconciled(world, order))


def _reconciled(world: World, order: Order) -> ReconciliationRun:
    return reconcile(
        order=order,
        started_by=world.ground.lead,
        clock=world.clock,
        client=world.client,
        sleep=world.sleep,
    )


def audit(world: World) -> None:
    """Have the desk look itself over; once all is quiet it must find nothing."""
    for order in world.orders:
        run = _reconciled(world, Order.objects.get(pk=order.pk))
        if run.state != ReconciliationRun.State.FINISHED:
            raise Broken("a reconciliation comes to its end", run.outcome)
    taken_back = invariants.charged_back(world)
    for difference in Difference.objects.filter(resolution="").select_related("refund"):
        flagged = difference.refund is not None and difference.refund.flag
        # What is flagged a lead knows already. A chargeback may take more than was left, or be
        # known from its event alone, which was lost: there is something to find then.
        if not flagged and difference.digital_river_order_id not in taken_back:
            raise Broken("a reconciliation finds nothing", difference.explanation)
    found: list[object] = []
    verify_history(found=found.append)
    if found:
        raise Broken("the history verifies", found)


def _close_out(world: World, step: CloseOut) -> None:
    order = _order(world, step.order)
    plan = selectors.closeout_plan(selectors.order_account(order))
    if plan.quote is None:
        return
    total, at = plan.quote.total, world.clock()
    world.start(
        step,
        lambda: closeout_begin(
            order=order,
            user=world.ground.lead,
            grounds=world.ground.grounds,
            seen_total=total,
            seen_at=at,
            clock=world.clock,
            client=world.client,
        ),
    )


# -- the desk by itself ----------------------------------------------------------------------------


def _sweep(world: World, step: Sweep) -> None:
    world.start(step, lambda: _swept(sweep(clock=world.clock, client=world.client)))


def _deliver(world: World, step: Deliver) -> None:
    bodies = invariants.events_there(world)
    body = _nth(bodies, step.event)
    if body is None:
        return
    raw, header = _damaged(world, body.encode(), step.damage)
    sent_at = world.now

    def take_event() -> None:
        # As the view does.
        signature.verify(header, raw, secrets=[SECRET], now=world.clock(), tolerance=TOLERANCE)
        if step.damage is not Damage.NONE:
            raise Broken("an event that was tampered with is turned away", step.damage)
        event, is_new = event_store(
            told=payloads.read_event(raw),
            body=raw.decode("utf-8-sig"),
            source=Event.Source.WEBHOOK,
            clock=world.clock,
        )
        if is_new and event is not None:
            world.put_off.append(event.pk)

    def turned_away() -> None:
        try:
            take_event()
        except signature.SignatureRefused:
            # One that waited for too long at the door is rightly turned away too.
            waited = world.machine_time() - sent_at
            if step.damage is Damage.NONE and waited < TOLERANCE - TO_THE_SECOND:
                raise

    world.start(step, turned_away)


def _damaged(world: World, body: bytes, damage: Damage) -> tuple[bytes, str]:
    """Return the bytes that arrive, and their signature's header."""
    at = world.now - timedelta(hours=1) if damage is Damage.STALE else world.now
    secret = "whsec_of_somebody_else" if damage is Damage.FORGED else SECRET
    header = sign(secret, timestamp_of(at), body)
    if damage is Damage.ALTERED:
        # The same JSON in other bytes: nothing but the signature can tell.
        body += b" "
    return body, header


def _work(world: World, step: Work) -> None:
    pk = _nth(world.put_off, step.event)
    if pk is None:
        return
    running = world.start(
        step, lambda: event_process(event_id=pk, clock=world.clock, client=world.client)
    )
    # A message whose worker was killed is handed to another one.
    if running.ended != "killed":
        world.put_off.remove(pk)


def _resume(world: World, step: Resume) -> None:
    running = _nth(world.calls, step.call)
    if running is not None:
        world.resume(running, pause=step.pause, kill=step.kill)


# -- Digital River and the rest of the world -------------------------------------------------------


def _settle(world: World, step: Settle) -> None:
    found = _nth(invariants.unsettled_there(world), step.refund)
    if found is None:
        return
    identifier, box = found[0], world.sandbox
    try:
        match step.outcome:
            case Outcome.SUCCEEDS:
                box.succeed_refund(identifier)
            case Outcome.SUCCEEDS_FOR_LESS:
                box.succeed_refund(identifier, invariants.a_unit_less(world, identifier))
            case Outcome.FAILS:
                box.fail_refund(identifier, "account_closed")
            case Outcome.GETS_BANK_DETAILS:
                box.provide_bank_details(identifier)
            case Outcome.EXPIRES:
                box.expire_refund(identifier)
    except ApiError:
        # Digital River does no such thing with a refund in this state.
        return


def _elsewhere(world: World, step: Elsewhere) -> None:
    order = world.orders[step.order % len(world.orders)]
    told = world.sandbox.order(order.digital_river_id)
    body: dict[str, Any] = {"orderId": told["id"], "currency": told["currency"]}
    available = told["availableToRefundAmount"] or Decimal(0)
    if step.kind == "item":
        item = told["items"][0]
        amount = _share(Decimal(item["availableToRefundAmount"]), step.share, told["currency"])
        body["items"] = [{"itemId": item["id"], "quantity": 1, "amount": amount}]
    elif step.kind == "":
        body["amount"] = _share(Decimal(available), step.share, told["currency"])
    else:
        body |= {"type": step.kind, "percent": 100}
    try:
        world.sandbox.create_refund(parse_refund(body))
    except ApiError:
        return


def _forward(world: World, step: Forward) -> None:
    world.now += timedelta(seconds=step.seconds)


def _skew(world: World, step: Skew) -> None:
    world.skews[step.machine] = step.seconds


def _outage(world: World, step: Outage) -> None:
    world.spoil(step.fault)


def _arrive(world: World, step: Arrive) -> None:
    if world.underway:
        given_up, request = world.underway.pop(0)
        if world.now - given_up >= GIVEN_UP_AFTER:
            world.late.add(reference_of(request))
        world.wire.deliver(request)


def _dispute(world: World, step: Dispute) -> None:
    identifier = world.orders[step.order % len(world.orders)].digital_river_id
    if world.sandbox.order(identifier)["state"] == "dispute":
        world.sandbox.resolve_dispute(identifier)
    else:
        world.sandbox.dispute(identifier)


def _charge_back(world: World, step: ChargeBack) -> None:
    order = world.orders[step.order % len(world.orders)]
    amount = _share(order.captured_amount, step.share, order.currency)
    try:
        world.sandbox.charge_back(order.digital_river_id, amount)
    except ApiError:
        # No more than was captured can be taken back.
        return


_TAKERS: Mapping[type[Step], Callable[[World, Any], None]] = {
    Draft: _draft,
    Choose: _choose,
    Submit: _submit,
    Hold: _hold,
    Retry: _retry,
    Cancel: _cancel,
    Check: _check,
    Look: _look,
    CloseOut: _close_out,
    Sweep: _sweep,
    Deliver: _deliver,
    Work: _work,
    Resume: _resume,
    Settle: _settle,
    Elsewhere: _elsewhere,
    Forward: _forward,
    Skew: _skew,
    Outage: _outage,
    Arrive: _arrive,
    ChargeBack: _charge_back,
    Mirror: _mirror,
    Reconcile: _reconcile,
    Dispute: _dispute,
}


def broken_by(schedule: Schedule, ground: Ground) -> Broken | None:
    """Return what a schedule breaks, None if nothing."""
    try:
        run(schedule, ground)
    except Broken as broken:
        return broken
    except Exception as error:  # noqa: BLE001 - whatever it is, the schedule is told with it
        told = "".join(traceback.format_exception(error)[-6:])
        return Broken("nothing goes wrong", told)
    return None
