"""A world to break: the stand-in's orders, the desk beside it, its machines, their clocks and wire.

Each call of a service runs in a greenlet of its own, on the one connection to the database. It
may be made to wait, and its process killed, wherever no transaction of its own is open: before
and after each request, before each transaction, and between statements. All that the others do
meanwhile is then done in transactions of theirs, as on a server.

Everything happens within one transaction that is taken back in the end, which makes it quick;
those of the services are savepoints in it, and whether they were durable is checked all the same.
"""

import contextvars
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import greenlet
import httpx
import simplejson
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction

from refunds.digitalriver.client import DigitalRiverClient
from refunds.errors import RefundDeskError
from refunds.gateways import SharedPace
from refunds.models import Grounds, Order, RefundReason
from refunds.options import Seen
from refunds.salesforce.payloads import order_record
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from sandbox.faults import HEADER, FaultKind
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.desk import SetClock, lead, rep
from tests.faults.cases import CASES, shop_order
from tests.faults.schedule import At, Call, Point, Schedule, Trouble, WireFault

#: The client's own, and the longest that a call which waits on the wire is waited for.
TIMEOUT = timedelta(seconds=15)
#: What each request, and each answer, takes at least.
TRIP = timedelta(milliseconds=20)
#: What goes by between two looks at the clock.
TICK = timedelta(milliseconds=1)
#: How long a process may stand still between making sure of its lease and sending. Digital River
#: takes no idempotency key, so one that stands still for longer can be noticed by nobody: here
#: such a process never comes back.
STANDSTILL = timedelta(seconds=30)
#: A refund that arrives this long after its sender gave up may rightly count as not sent: two
#: looks a minute apart did not find it, by clocks that were off by some seconds.
GIVEN_UP_AFTER = timedelta(seconds=45)
_READING = ("SELECT", "SAVEPOINT", "RELEASE")
#: The table that the client asks for its turn, after the sender made sure of its lease.
_PACE = "refunds_callpace"


class KilledError(BaseException):
    """The process went away. No ``Exception``: no handler runs once a process is killed."""


class Broken(AssertionError):
    """Something that must always hold does not; ``invariant`` names what."""

    def __init__(self, invariant: str, told: object = "") -> None:
        """Take the invariant's name and what was found."""
        super().__init__(f"{invariant}: {told}")
        self.invariant = invariant


@dataclass(frozen=True, slots=True)
class Drafted:
    """A draft, with what its rep saw on the review page."""

    pk: int
    rep: User
    seen: Seen

    @property
    def total(self) -> Decimal:
        """What the button named."""
        return self.seen.figures["total"]


@dataclass(slots=True)
class _Weather:
    """What goes wrong with so many more requests."""

    fault: WireFault
    left: int

    def strikes(self, method: str) -> bool:
        if self.left <= 0 or self.fault.method not in {"*", method}:
            return False
        self.left -= 1
        return True


class Running:
    """A call of a service in a greenlet of its own."""

    def __init__(self, world: "World", step: Call, action: Callable[[], object]) -> None:
        """Take what to call, and where it shall wait or be killed."""
        self.machine = step.machine
        self.name = type(step).__name__
        self.ended = ""
        self.trouble: BaseException | None = None
        self.weather = None if step.fault is None else _Weather(step.fault, step.fault.requests)
        self._world = world
        self._action = action
        self._passed: Counter[Point] = Counter()
        self._pause, self._kill = step.pause, step.kill
        self._greenlet = greenlet.greenlet(self._run)
        self._greenlet.gr_context = contextvars.copy_context()

    def go(self, *, pause: At | None = None, kill: At | None = None) -> None:
        """Let it run until it waits or ends. Raises what no rep should ever see."""
        if self._passed:
            self._passed.clear()
            self._pause, self._kill = pause, kill
        self._world.current = self
        try:
            self._greenlet.switch()
        finally:
            self._world.current = None
        if isinstance(self.trouble, Broken):
            raise self.trouble
        if self.trouble is not None:
            told = "".join(traceback.format_exception(self.trouble)[-6:])
            raise Broken("no call goes wrong", f"{self.name}: {told}") from self.trouble

    def drop(self) -> None:
        """End it where it waits, without a word."""
        if self._greenlet and not self._greenlet.dead:
            self._greenlet.throw(KilledError())

    def reach(self, point: Point, *, may_wait: bool = True) -> None:
        """Come by a point, at which the process may die or be made to wait."""
        self._passed[point] += 1
        here = At(point, self._passed[point])
        if here == self._kill:
            raise KilledError
        if may_wait and here == self._pause:
            self._pause = None
            self._world.hub.switch()

    def _run(self) -> None:
        try:
            self._action()
        except KilledError:
            self.ended = "killed"
        except RefundDeskError as error:
            self.ended = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the simulation reports it
            self.trouble = error
            self.ended = "went wrong"
        else:
            self.ended = "done"


class Wire(httpx.BaseTransport):
    """What lies between the desk and its stand-in, and everything that goes wrong there."""

    def __init__(self, world: "World", inner: httpx.BaseTransport) -> None:
        """Take the world and the transport to the stand-in."""
        self._world = world
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Hand a request on, unless something happens to it or to its sender."""
        world, posts = self._world, request.method == "POST"
        world.require_no_transaction()
        began = world.now
        world.now += TRIP
        world.reach(Point.POST if posts else Point.READ)
        self._patience(request, began)
        fault = world.fault_for(request.method)
        if posts:
            world.posted(request)
        if fault is not None and fault.kind is Trouble.UNDERWAY:
            world.now += TIMEOUT
            # A read that arrives when nobody waits for it changes nothing.
            if posts:
                world.underway.append((world.now, request))
            raise httpx.ReadTimeout("no answer came", request=request)
        if fault is not None:
            request.headers[HEADER] = _header(fault)
        response = self._inner.handle_request(request)
        world.now += TRIP
        world.reach(Point.POST_ANSWERED if posts else Point.READ_ANSWERED)
        self._patience(request, began)
        return response

    def deliver(self, request: httpx.Request) -> None:
        """Let a request that was underway arrive; nobody waits for the answer."""
        self._inner.handle_request(request).close()

    def _patience(self, request: httpx.Request, began: datetime) -> None:
        if self._world.now - began > TIMEOUT:
            raise httpx.ReadTimeout("the answer took too long", request=request)


def _header(fault: WireFault) -> str:
    if fault.kind is FaultKind.LATENCY:
        return f"{fault.kind};milliseconds={fault.seconds * 1000}"
    if fault.kind is FaultKind.RATE_LIMITED:
        return f"{fault.kind};retryAfter={fault.seconds}"
    if fault.kind in (FaultKind.ERROR, FaultKind.ERROR_AFTER):
        return f"{fault.kind};status={fault.status}"
    return str(fault.kind)


@dataclass
class World:
    """The desk, its stand-in and everything between them, at one moment."""

    sandbox: Sandbox
    #: The true time, by which Digital River goes.
    time: SetClock
    ground: "Ground"
    lists_events: bool
    client: DigitalRiverClient = field(init=False)
    wire: Wire = field(init=False)
    orders: list[Order] = field(default_factory=list)
    skews: Counter[int] = field(default_factory=Counter)
    drafts: list[Drafted] = field(default_factory=list)
    #: What the buttons named that were pressed for each draft, by its primary key.
    buttons: defaultdict[int, set[Decimal]] = field(default_factory=lambda: defaultdict(set))
    calls: list[Running] = field(default_factory=list)
    current: Running | None = None
    #: How many transactions are open when none of a service is.
    depth: int = field(default_factory=lambda: len(connection.atomic_blocks))
    hub: Any = field(default_factory=greenlet.getcurrent)
    #: Primary keys of events that a worker was told of.
    put_off: list[int] = field(default_factory=list)
    #: Since when its sender has given it up, and the refund that was sent.
    underway: list[tuple[datetime, httpx.Request]] = field(default_factory=list)
    #: How often each attempt was sent, by its reference.
    sent: Counter[str] = field(default_factory=Counter)
    #: Attempts that reached Digital River after the desk had, rightly, given them up.
    late: set[str] = field(default_factory=set)
    #: Whether the desk wrote anything since this was last looked at.
    has_written: bool = True
    #: How often the stand-in had written when this was last looked at.
    changes_seen: int = -1
    _outages: list[_Weather] = field(default_factory=list)

    # -- time --

    @property
    def now(self) -> datetime:
        """The true time."""
        return self.time.now

    @now.setter
    def now(self, moment: datetime) -> None:
        self.time.now = moment

    def clock(self) -> datetime:
        """Tell the time on the machine that is at work, or the true time."""
        if self.current is not None and len(connection.atomic_blocks) == self.depth:
            self.current.reach(Point.CLOCK)
        self.now += TICK
        return self.machine_time()

    def machine_time(self) -> datetime:
        """Tell the same time to the client, which nobody stops in the middle of a call."""
        machine = self.current.machine if self.current else None
        return self.now + timedelta(seconds=0 if machine is None else self.skews[machine])

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += timedelta(seconds=seconds)

    # -- calls --

    def start(self, step: Call, action: Callable[[], object]) -> Running:
        """Begin a call and let it run until it waits or ends."""
        running = Running(self, step, action)
        running.go()
        if not running.ended:
            self.calls.append(running)
        self.after_call()
        return running

    def resume(self, running: Running, *, pause: At | None = None, kill: At | None = None) -> None:
        """Let a call that waits go on."""
        running.go(pause=pause, kill=kill)
        if running.ended:
            self.calls.remove(running)
        self.after_call()

    def after_call(self) -> None:
        """Make sure that a call left nothing open, whatever became of it."""
        self.require_no_transaction()
        # What is put off is taken up by the steps, not when this transaction ends.
        connection.run_on_commit.clear()
        if connection.needs_rollback:
            # A process was killed in a statement that is a transaction by itself.
            connection.set_rollback(False)

    def reach(self, point: Point, *, may_wait: bool = True) -> None:
        """Have the call that is at work come by a point."""
        if self.current is not None:
            self.current.reach(point, may_wait=may_wait)

    def require_no_transaction(self) -> None:
        """Assert that no transaction of a service is open."""
        if len(connection.atomic_blocks) != self.depth:
            raise Broken("no call is made in a transaction", connection.atomic_blocks)

    def statement(
        self,
        execute: Callable[..., Any],
        sql: str,
        parameters: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        """Execute a statement, before which the process may be killed or made to wait."""
        running = self.current
        if running is not None and not sql.startswith(("RELEASE", "ROLLBACK")):
            outside = len(connection.atomic_blocks) == self.depth
            if outside:
                begins = sql.startswith("SAVEPOINT")
                before = self.now
                running.reach(Point.TRANSACTION if begins else Point.BETWEEN)
                if _PACE in sql and self.now - before > STANDSTILL:
                    raise KilledError
            running.reach(Point.STATEMENT, may_wait=False)
        if not sql.startswith(_READING) and _PACE not in sql:
            self.has_written = True
        return execute(sql, parameters, many, context)

    # -- the wire --

    def fault_for(self, method: str) -> WireFault | None:
        """Return what goes wrong with the request that is made now."""
        weather = [self.current.weather] if self.current and self.current.weather else []
        for each in (*weather, *self._outages):
            if each.strikes(method):
                return each.fault
        return None

    def spoil(self, fault: WireFault) -> None:
        """Let the next requests go wrong, whoever makes them."""
        self._outages.append(_Weather(fault, fault.requests))

    def clear_up(self) -> None:
        """Let nothing go wrong any more."""
        self._outages.clear()
        for call in self.calls:
            call.weather = None

    def posted(self, request: httpx.Request) -> None:
        """Note that an attempt was sent."""
        self.sent[reference_of(request)] += 1


def reference_of(request: httpx.Request) -> str:
    """Return the reference of the attempt that a request sends."""
    return str(simplejson.loads(request.content)["metadata"]["refundReference"])


@dataclass(frozen=True, slots=True)
class Ground:
    """What every world of a process begins with: people, and the orders, mirrored."""

    reps: tuple[User, User]
    lead: User
    grounds: Grounds
    #: Primary keys, by the case's place.
    orders: tuple[int, ...]


def ground_prepare() -> Ground:
    """Make the people and mirror the orders, in the database as it is now."""
    assert timedelta(seconds=settings.DIGITALRIVER_TIMEOUT) == TIMEOUT, "the lease would not fit"
    ground = Ground(
        reps=(rep("anna"), rep("ben")),
        lead=lead("carla"),
        grounds=Grounds(reason=RefundReason.objects.get(label="Requested by customer")),
        orders=(),
    )
    everything = Schedule(
        seed=0,
        orders=tuple(range(len(CASES))),
        settle_minutes=5,
        lists_events=True,
        audited=False,
        steps=(),
    )
    world = _world(everything, ground)
    for record in world.sandbox.salesforce_records():
        order = order_mirror(record=order_record(record))
        order_refresh(order=order, clock=world.clock, client=world.client)
        ground = replace(ground, orders=(*ground.orders, order.pk))
    world.client.close()
    world.sandbox.close()
    return ground


@contextmanager
def world_of(schedule: Schedule, ground: Ground) -> Iterator[World]:
    """Yield the world of a schedule; afterwards the database is as it was before."""
    outer = transaction.atomic()
    # As Django's own TestCase marks its transactions: durable ones may begin within.
    outer._from_testcase = True  # type: ignore[attr-defined]
    with outer:
        world = _world(schedule, ground)
        world.orders = [Order.objects.get(pk=ground.orders[case]) for case in schedule.orders]
        try:
            with connection.execute_wrapper(world.statement):
                yield world
        finally:
            for call in world.calls:
                call.drop()
            world.client.close()
            world.sandbox.close()
            connection.run_on_commit.clear()
            transaction.set_rollback(True)


def _world(schedule: Schedule, ground: Ground) -> World:
    time = SetClock()
    sandbox = Sandbox(
        ":memory:",
        clock=time,
        settle_after=timedelta(minutes=schedule.settle_minutes),
        orders=[shop_order(case) for case in schedule.orders],
    )
    world = World(sandbox, time, ground, schedule.lists_events)
    world.wire = Wire(world, in_process_for(sandbox, sleep=world.sleep))
    world.client = _client(world)
    return world


def _client(world: World) -> DigitalRiverClient:
    return DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key="sk_test_refund_desk",
        version="2021-12-13",
        timeout=TIMEOUT.total_seconds(),
        application_id="refund-desk/test",
        transport=world.wire,
        pace=SharedPace(
            key="sk_test_refund_desk", calls_per_second=100_000, clock=world.machine_time
        ),
        # Reads that are repeated bring in nothing but real seconds.
        read_attempts=1,
        now=world.machine_time,
        sleep=world.sleep,
    )
