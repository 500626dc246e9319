"""``kill -9`` of the process that sends a refund, in each beat: once, found again, or not sent.

The processes are the real ones, on a database of the tests' own. A lock that the test holds, or
the stand-in's answer held back, keeps the process where it is to be killed.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest
from celery import Celery
from redis import Redis

from refunds.models import Order, Refund, RefundAttempt
from refunds.options import Option, Selection
from refunds.services.refunds import refund_queue, refund_retry
from sandbox.application import Application
from sandbox.store import Sandbox
from tests.brokers import BROKERS
from tests.desk import Desk, rep
from tests.faults.aftermath import LONG, RunningClock, check_aftermath, sweep_once
from tests.faults.processes import (
    PATIENCE,
    QUICK_COMMITS,
    Gate,
    Gunicorn,
    Running,
    blocked_ports,
    database_address,
    held,
    on_a_port,
    until,
    variables,
)
from tests.faults.visiting import Visit
from tests.services.account import at_digital_river, check_account

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]

State = Refund.State
TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
QUEUE = f"refund-desk-faults-{os.getpid()}"
SWEEP = "refunds.tasks.sweep"


@dataclass
class Scene:
    """A refund that a process of the desk is about to send, and the means to stop it half-way."""

    desk: Desk
    gate: Gate
    order: Order
    refund: Refund
    running: Running
    #: Has the process send the refund; returns at once.
    send: Callable[[], None]
    #: Returns once the desk has recovered from the kill as far as it does so by itself.
    recover: Callable[[], None]
    #: Does what the rep, or nobody, does next; nothing may be sent by it unless all is as before.
    again: Callable[[], None]
    #: What the order had left before.
    left: Decimal = field(init=False)
    killed: int = 0

    def __post_init__(self) -> None:
        self.left = self.left_now() + self.refund.held_amount

    def left_now(self) -> Decimal:
        """Return what is left of the order by the desk's lists."""
        left: Decimal = Order.objects.get(pk=self.order.pk).left_amount
        return left

    def kill(self, port: int) -> None:
        """Kill the process that has this port."""
        self.killed = self.running.kill_owner(port)

    def kill_blocked(self) -> None:
        """Kill the process once its statement waits for a lock."""
        self.kill(until(blocked_ports, what="a statement that waits for the test's lock")[0])

    def reach_gate(self) -> None:
        """Have the refund sent and wait until the stand-in has the call."""
        self.send()
        assert self.gate.reached.wait(timeout=PATIENCE), self.running.log

    def sees(self) -> Refund:
        """Return the refund as it stands now."""
        return Refund.objects.get(pk=self.refund.pk)


# -- where it is killed ------------------------------------------------------------------------


def before_the_attempt(scene: Scene) -> None:
    """First beat: it holds the order's lock and has written nothing yet."""
    with held("refunds_refundattempt"):
        scene.send()
        scene.kill_blocked()


def half_written(scene: Scene) -> None:
    """First beat: the attempt is written, the history is not."""
    with held("refunds_historyentry"):
        scene.send()
        scene.kill_blocked()


def before_the_call(scene: Scene) -> None:
    """Between the first beat and the second: the attempt is there, the call is not made."""
    with ExitStack() as pace:
        with held("refunds_historyentry"):
            scene.send()
            until(blocked_ports, what="the first beat")
            # Every call takes its turn from one row, so this holds the next one.
            pace.enter_context(held("refunds_callpace", rows="true"))
        until(RefundAttempt.objects.exists, what="the end of the first beat")
        scene.kill_blocked()


def lost_on_the_way(scene: Scene) -> None:
    """Second beat: the call is under way and never arrives."""
    scene.gate.hold_before = scene.gate.lose = True
    scene.reach_gate()
    scene.kill(scene.gate.posts[0])
    scene.gate.open()


def late_on_the_way(scene: Scene) -> None:
    """Second beat: the call arrives after the desk has looked for it in vain."""
    scene.gate.hold_before = True
    scene.reach_gate()
    scene.kill(scene.gate.posts[0])
    scene.desk.clock.now += LONG
    sweep_once(scene.desk)
    assert scene.sees().state == State.UNKNOWN
    assert at_digital_river(scene.desk, scene.order) == []
    scene.gate.open()
    assert scene.gate.passed.wait(timeout=PATIENCE)


def before_the_answer(scene: Scene) -> None:
    """Second beat: the refund is made, and the answer finds nobody."""
    scene.gate.hold_after = True
    scene.reach_gate()
    scene.kill(scene.gate.posts[0])
    scene.gate.open()


def before_the_record(scene: Scene) -> None:
    """Third beat: it has the answer and waits for the order's lock."""
    scene.gate.hold_after = True
    scene.reach_gate()
    with held("refunds_order", rows="id = %s", of=[scene.order.pk]):
        scene.gate.open()
        scene.kill_blocked()


def half_recorded(scene: Scene) -> None:
    """Third beat: the new state is written, the history is not."""
    scene.gate.hold_after = True
    scene.reach_gate()
    with held("refunds_historyentry"):
        scene.gate.open()
        scene.kill_blocked()


Kill = Callable[[Scene], None]
NOTHING_WRITTEN: list[Kill] = [before_the_attempt, half_written]
NEVER_ARRIVED: list[Kill] = [before_the_call, lost_on_the_way]
MADE: list[Kill] = [late_on_the_way, before_the_answer, before_the_record, half_recorded]


# -- who is killed -----------------------------------------------------------------------------


@pytest.fixture
def clock() -> RunningClock:
    """Return the time of the processes."""
    return RunningClock()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[tuple[Gate, str]]:
    """Return the gate before this module's stand-in, and its address."""
    gate = Gate()
    with on_a_port(gate) as address:
        yield gate, address


@pytest.fixture
def gate(stand_in: tuple[Gate, str], sandbox: Sandbox) -> Iterator[Gate]:
    """Return the gate before this test's stand-in."""
    gate, _ = stand_in
    gate.reset()
    gate.application = Application(sandbox)
    yield gate
    gate.open()


@pytest.fixture(scope="module")
def gunicorn(
    django_db_setup: None, stand_in: tuple[Gate, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gunicorn]:
    """Return the desk's server."""
    log_file = tmp_path_factory.mktemp("gunicorn") / "log"
    settings = variables(stand_in=stand_in[1], database=database_address(), **QUICK_COMMITS)
    server = Gunicorn.serve(log_file, settings)
    yield server
    server.stop()


@dataclass
class Background:
    """A Celery worker on a broker, and the way to give it work."""

    broker: str
    worker: Running
    app: Celery = field(init=False)

    def __post_init__(self) -> None:
        self.app = Celery("faults", broker=self.broker, set_as_current=False)
        self.app.conf.task_default_queue = QUEUE
        if self.broker.startswith("redis"):
            self.app.conf.broker_transport_options = {"global_keyprefix": f"{QUEUE}."}

    def done(self) -> int:
        """Return how many rounds of the sweep the worker has finished so far."""
        return self.worker.log.count("succeeded in")

    def clean(self) -> None:
        """Leave nothing at the broker."""
        if self.broker.startswith("redis"):
            with Redis.from_url(self.broker) as client:
                for key in client.scan_iter(f"{QUEUE}*"):
                    client.delete(key)
        else:
            with self.app.connection_for_write() as connection:
                channel: Any = connection.default_channel
                channel.queue_delete(QUEUE)
                channel.exchange_delete(QUEUE)
        self.app.close()


@pytest.fixture(scope="module")
def background(
    request: pytest.FixtureRequest,
    django_db_setup: None,
    stand_in: tuple[Gate, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Background]:
    """Return a worker on the broker that the test names."""
    broker, log_file = BROKERS[request.param], tmp_path_factory.mktemp("celery") / "log"
    settings = variables(
        stand_in=stand_in[1],
        database=database_address(),
        CELERY_BROKER_URL=broker,
        FAULTS_QUEUE=QUEUE,
        **QUICK_COMMITS,
    )
    command = ["celery", "-A", "refundsite", "worker", "--concurrency", "1"]
    worker = Running.start(command, log_file, settings)
    with worker.or_stopped():
        until(lambda: worker.ended() or " ready." in worker.log, what="the Celery worker")
        assert not worker.ended(), "the Celery worker ended"
    background = Background(broker, worker)
    yield background
    worker.stop()
    background.clean()


@pytest.fixture
def submitted(desk: Desk, gate: Gate, gunicorn: Gunicorn) -> Iterator[Scene]:
    """Return a refund that the rep submits by the page."""
    order = desk.order("worked_sample")
    with Visit(gunicorn.address) as visit, Visit(gunicorn.address) as other:
        visit.sign_in()
        other.sign_in()
        reference = visit.draft(order.order_number, "10.00")
        form = visit.review(reference)
        lost: list[httpx.TransportError] = []

        def submit() -> None:
            try:
                visit.submit(reference, form)
            except httpx.TransportError as error:
                lost.append(error)

        sending = threading.Thread(target=submit)

        def recover() -> None:
            sending.join(timeout=PATIENCE)
            assert lost, "the rep got an answer although the process was killed"
            # The server starts another one, and meanwhile the page answers.
            other.order_page(order.order_number)
            until(
                lambda: scene.killed not in gunicorn.workers and len(gunicorn.workers) == 2,
                what="a new worker",
            )

        def again() -> None:
            # The rep sends the page once more that got no answer.
            answer = visit.submit(reference, form)
            assert answer.status_code == 302, answer.status_code
            assert answer.headers["location"] == f"/refunds/{reference}/confirm/"

        refund = Refund.objects.get(reference=reference)
        scene = Scene(desk, gate, order, refund, gunicorn, sending.start, recover, again)
        yield scene
        gate.open()
        sending.join(timeout=PATIENCE)


@pytest.fixture
def queued(desk: Desk, gate: Gate, background: Background) -> Scene:
    """Return a refund that waits for a round of the sweep in the background."""
    # Queued a while ago, so that it is due.
    desk.clock.now -= LONG
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), TEN)
    seen = desk.seen(draft, TEN)
    refund = refund_queue(draft=draft, user=rep(), seen=seen, clock=desk.clock)
    desk.clock.now += LONG
    before = background.done()

    def recover() -> None:
        # The broker gives the round to another process, which leaves alone what has a lease.
        until(lambda: background.done() > before, what=f"the round again:\n{background.worker.log}")

    def again() -> None:
        sweep_once(desk)

    def send() -> None:
        background.app.send_task(SWEEP)

    return Scene(desk, gate, order, refund, background.worker, send, recover, again)


# -- what must hold ----------------------------------------------------------------------------


def check_nothing_written(scene: Scene, *, before: str) -> None:
    """The kill undid the whole first beat, and the refund is sent as if it had not begun."""
    desk, order = scene.desk, scene.order
    assert scene.sees().state == before
    assert not RefundAttempt.objects.exists()
    assert scene.gate.posts == []
    check_account(desk, order)
    desk.clock.now += LONG
    scene.again()
    assert scene.sees().state == State.PENDING
    [theirs] = at_digital_river(desk, order)
    assert theirs["metadata"]["refundReference"] == f"{scene.refund.reference}-1"
    check_aftermath(desk, order)
    assert scene.sees().state == State.SUCCEEDED


def check_never_arrived(scene: Scene) -> None:
    """It holds the money until two looks agree, and is then sent again as a new attempt."""
    desk, order = scene.desk, scene.order
    assert scene.sees().state == State.SUBMITTING
    assert scene.left_now() == scene.left - 10
    scene.again()
    check_account(desk, order)
    for state in (State.UNKNOWN, State.NOT_SENT):
        desk.clock.now += LONG
        sweep_once(desk)
        assert scene.sees().state == state
    assert at_digital_river(desk, order) == []
    assert scene.left_now() == scene.left
    refund_retry(refund=scene.sees(), user=rep(), clock=desk.clock, client=desk.client)
    [theirs] = at_digital_river(desk, order)
    assert theirs["metadata"]["refundReference"] == f"{scene.refund.reference}-2"
    check_aftermath(desk, order)
    assert scene.sees().state == State.SUCCEEDED


def check_made(scene: Scene) -> None:
    """It is found by its reference and taken on; nothing is sent again."""
    desk, order = scene.desk, scene.order
    assert scene.sees().state in {State.SUBMITTING, State.UNKNOWN}
    [theirs] = at_digital_river(desk, order)
    scene.again()
    check_aftermath(desk, order)
    refund = scene.sees()
    assert refund.state == State.SUCCEEDED
    assert refund.digital_river_id == theirs["id"]
    assert not refund.flag
    assert refund.attempts.count() == len(scene.gate.posts) == 1
    assert len(at_digital_river(desk, order)) == 1
    assert scene.left_now() == scene.left - 10


@pytest.mark.parametrize("kill", NOTHING_WRITTEN)
def test_gunicorn_worker_killed_before_the_refund_is_written(submitted: Scene, kill: Kill) -> None:
    kill(submitted)
    submitted.recover()
    check_nothing_written(submitted, before=State.DRAFT)


@pytest.mark.parametrize("kill", NEVER_ARRIVED)
def test_gunicorn_worker_killed_before_the_refund_arrived(submitted: Scene, kill: Kill) -> None:
    kill(submitted)
    submitted.recover()
    check_never_arrived(submitted)


@pytest.mark.parametrize("kill", MADE)
def test_gunicorn_worker_killed_although_the_refund_is_made(submitted: Scene, kill: Kill) -> None:
    kill(submitted)
    submitted.recover()
    check_made(submitted)


@pytest.mark.redis
@pytest.mark.parametrize("background", ["redis"], indirect=True)
@pytest.mark.parametrize("kill", NOTHING_WRITTEN)
def test_celery_worker_killed_before_the_refund_is_written(queued: Scene, kill: Kill) -> None:
    kill(queued)
    queued.recover()
    check_nothing_written(queued, before=State.QUEUED)


@pytest.mark.redis
@pytest.mark.parametrize("background", ["redis"], indirect=True)
@pytest.mark.parametrize("kill", NEVER_ARRIVED)
def test_celery_worker_killed_before_the_refund_arrived(queued: Scene, kill: Kill) -> None:
    kill(queued)
    queued.recover()
    check_never_arrived(queued)


@pytest.mark.redis
@pytest.mark.parametrize("background", ["redis"], indirect=True)
@pytest.mark.parametrize("kill", MADE)
def test_celery_worker_killed_although_the_refund_is_made(queued: Scene, kill: Kill) -> None:
    kill(queued)
    queued.recover()
    check_made(queued)


@pytest.mark.rabbitmq
@pytest.mark.parametrize("background", ["rabbitmq"], indirect=True)
@pytest.mark.parametrize("kill", [before_the_answer])
def test_celery_worker_killed_while_rabbitmq_keeps_its_work(queued: Scene, kill: Kill) -> None:
    kill(queued)
    queued.recover()
    check_made(queued)
