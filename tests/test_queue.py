"""Work put off: done after the commit, in a thread or by a broker, which may be away."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from celery import Celery, current_app
from django.conf import LazySettings
from django.db import connection, transaction
from kombu import Connection, Exchange, Queue

from refunds import queue
from refunds.models import RefundReason
from refundsite.celery import BROKER_TIMEOUT, app, transport_options
from tests.brokers import BROKERS, Relay, forget

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

TASK = "tests.test_queue.work"
#: Seconds after which Digital River gives an event's answer up.
PATIENCE = 3.0

_done: list[tuple[str, object]] = []


def work(word: str) -> None:
    """Note who did it, reading the database as every task does."""
    assert RefundReason.objects.exists()
    if word == "wrong":
        raise ZeroDivisionError
    _done.append((threading.current_thread().name, word))


@pytest.fixture(autouse=True)
def _nothing_done_yet() -> None:
    _done.clear()


# -- without a broker ------------------------------------------------------------------------------


@pytest.fixture
def thread(settings: LazySettings) -> Callable[[], None]:
    """Put work off to the thread; returns what waits until it is done."""
    settings.QUEUE_IN_THREAD = True
    return lambda: queue._executor().submit(lambda: None).result(timeout=30)


def test_enqueue_waits_for_the_commit(thread: Callable[[], None]) -> None:
    with transaction.atomic():
        queue.enqueue(TASK, "first")
        thread()
        assert _done == []
    thread()

    assert [word for _, word in _done] == ["first"]


def test_enqueue_forgets_what_was_rolled_back(thread: Callable[[], None]) -> None:
    with transaction.atomic():
        queue.enqueue(TASK, "never")
        transaction.set_rollback(rollback=True)
    thread()

    assert _done == []


def test_enqueue_leaves_the_work_to_another_thread(thread: Callable[[], None]) -> None:
    queue.enqueue(TASK, "first")
    queue.enqueue(TASK, "second")
    thread()

    names = {name for name, _ in _done}
    assert len(names) == 1
    assert names != {threading.current_thread().name}
    assert [word for _, word in _done] == ["first", "second"]


def test_thread_keeps_no_connection(thread: Callable[[], None]) -> None:
    queue.enqueue(TASK, "first")
    thread()

    # Django has one connection object for each thread.
    left = queue._executor().submit(lambda: connection.connection).result(timeout=30)
    assert left is None
    assert connection.connection is not None


def test_thread_logs_what_goes_wrong_and_goes_on(
    thread: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    queue.enqueue(TASK, "wrong")
    queue.enqueue(TASK, "right")
    thread()

    assert [word for _, word in _done] == ["right"]
    [record] = [each for each in caplog.records if "queue.task_failed" in each.getMessage()]
    assert record.levelno == logging.ERROR
    assert TASK in record.getMessage()
    assert queue._executor().submit(lambda: connection.connection).result(timeout=30) is None


def test_thread_logs_a_task_that_is_not_there(
    thread: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    queue.enqueue("refunds.tasks.no_such_task")
    thread()

    assert "refunds.tasks.no_such_task" in caplog.text


def test_enqueue_does_the_work_at_once_where_told_to(caplog: pytest.LogCaptureFixture) -> None:
    queue.enqueue(TASK, "first")
    queue.enqueue(TASK, "wrong")

    assert _done == [(threading.current_thread().name, "first")]
    assert "ZeroDivisionError" in caplog.text


def test_every_thread_speaks_to_the_desks_own_broker() -> None:
    found: list[object] = []
    other = threading.Thread(target=lambda: found.append(current_app.main))
    other.start()
    other.join()

    assert found == [app.main] == ["refundsite"]


# -- with a broker ---------------------------------------------------------------------------------


@dataclass
class Line:
    """The way from the desk to a broker, through a relay, to a queue of this test's own."""

    relay: Relay
    queue: Queue

    def send(self, word: str) -> float:
        """Put work off; returns the seconds that took."""
        started = time.monotonic()
        queue.enqueue(TASK, word)
        return time.monotonic() - started

    def arrived(self) -> list[str]:
        """Return what the broker has got since."""
        words = []
        while message := self.queue.get(no_ack=True):
            assert message.headers["task"] == TASK
            [word] = message.payload[0]
            words.append(word)
        return words

    def arrives(self, word: str) -> bool:
        """Tell whether this arrives before long; brokers take their time."""
        for _ in range(100):
            if word in self.arrived():
                return True
            time.sleep(0.05)
        return False


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in BROKERS])
def line(
    request: pytest.FixtureRequest, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    """Put work off to this broker as production does, and never leave it alone for long."""
    name = f"refund-desk-test-{uuid.uuid4().hex}"
    with Relay(request.param) as relay, Connection(BROKERS[request.param]) as direct:
        settings.CELERY_BROKER_URL = relay.address
        desk = Celery("desk", set_as_current=False)
        desk.conf.update(
            broker_url=relay.address,
            broker_connection_timeout=BROKER_TIMEOUT,
            broker_transport_options=transport_options(relay.address),
            task_default_queue=name,
            task_ignore_result=True,
        )
        monkeypatch.setattr(queue, "current_app", desk)
        monkeypatch.setattr(queue, "_broker", queue._Broker())
        monkeypatch.setattr(queue, "_LEFT_ALONE", 0.0)
        kept = Queue(name, Exchange(name), routing_key=name, channel=direct.default_channel)
        kept.declare()
        yield Line(relay, kept)
        relay.cut()
        desk.close()
    forget(request.param, name)


def test_broker_gets_the_task(line: Line) -> None:
    assert line.send("first") < PATIENCE
    line.send("second")

    assert line.arrives("second")
    assert _done == []


def test_broker_gets_nothing_that_was_rolled_back(line: Line) -> None:
    with transaction.atomic():
        line.send("never")
        transaction.set_rollback(rollback=True)
    line.send("first")

    assert line.arrives("first")
    assert line.arrived() == []


def test_broker_that_is_away_holds_nobody_up(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    line.relay.cut()

    assert line.send("lost") < PATIENCE
    assert "queue.broker_away" in caplog.text
    assert "lost" not in caplog.text


def test_broker_that_never_answers_holds_nobody_up(line: Line) -> None:
    line.relay.hush()

    assert line.send("lost") < 2 * PATIENCE


def test_broker_that_falls_silent_holds_nobody_up(line: Line) -> None:
    line.send("first")
    assert line.arrives("first")
    line.relay.hush()

    assert line.send("lost") < PATIENCE
    assert line.send("lost too") < 2 * PATIENCE


def test_broker_that_comes_back_is_used_again(line: Line) -> None:
    line.send("first")
    assert line.arrives("first")
    line.relay.cut()
    assert line.send("lost") < PATIENCE

    line.relay.mend()
    # The first one may find out that the old connection is gone.
    line.send("perhaps")
    line.send("second")

    assert line.arrives("second")


def test_broker_that_is_away_is_left_alone_for_a_while(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue, "_LEFT_ALONE", 60.0)
    line.relay.cut()
    line.send("lost")

    line.relay.mend()
    assert line.send("left to the sweep") < 0.5

    assert caplog.text.count("queue.broker_away") == 1
    assert line.arrived() == []
