"""Celery in earnest: gunicorn stores an event, a worker processes it, over each broker."""

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from refunds import tasks
from refunds.models import Event, Refund
from refunds.options import Option, Selection
from refunds.services.sweeping import sweep
from sandbox.delivery import Deliverer, Delivery
from tests.brokers import BROKERS, Relay, forget
from tests.desk import Desk, rep
from tests.faults.processes import Gunicorn, Running, database_address, until, variables

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

SECRET = "whsec_of_the_tests"
WHOLE = Selection(Option.COMPLETE_ORDER)
#: Seconds after which Digital River gives an event's answer up.
PATIENCE = 3.0


def _database() -> str:
    """Return the address of the tests' database for another process."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{connection.settings_dict['NAME']}"
    return database_address()


def _settled_unnoticed(desk: Desk, case: str) -> tuple[Refund, Delivery]:
    """Return a refund that Digital River settled, and the event that tells so."""
    desk.clock.now = timezone.now() - timedelta(hours=1)
    refund = desk.submit(desk.order(case), rep(), WHOLE)
    assert refund.state == Refund.State.PENDING
    desk.clock.now = timezone.now()
    desk.sandbox.settle_now(refund.digital_river_id)
    desk.clock.now = timezone.now()
    mine = refund.digital_river_id.encode()
    deliverer = Deliverer(desk.sandbox, lambda *_: 202, secrets=[SECRET])
    while batch := deliverer.next_batch():
        for each in batch:
            if each.type == "refund.complete" and mine in each.body:
                return refund, each
    raise AssertionError("the stand-in made no event of it")


def _post(server: Gunicorn, delivery: Delivery) -> float:
    """Deliver an event as Digital River does; returns the seconds until it was acknowledged."""
    started = time.monotonic()
    answer = httpx.post(
        f"{server.address}/webhooks/digitalriver/",
        content=delivery.body,
        headers=dict(delivery.headers),
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 202, answer.text
    return time.monotonic() - started


def _has_succeeded(refund: Refund) -> bool:
    refund.refresh_from_db()
    return refund.state == Refund.State.SUCCEEDED


#: Each broker, and each way a worker may work.
WORKERS = [
    pytest.param("redis", "prefork", marks=pytest.mark.redis, id="redis-prefork"),
    pytest.param("rabbitmq", "solo", marks=pytest.mark.rabbitmq, id="rabbitmq-solo"),
]


@pytest.fixture
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    """Return the web process's way to the broker."""
    with Relay(request.param) as relay:
        yield relay


@pytest.fixture
def surroundings(relay: Relay, settings: LazySettings, desk: Desk) -> Iterator[dict[str, str]]:
    """Return the variables of processes that work on this test's database, shop and queue."""
    address = BROKERS[relay.name]
    name = f"refund-desk-test-{uuid.uuid4().hex}"
    yield variables(
        stand_in="",
        database=_database(),
        DJANGO_SETTINGS_MODULE="refundsite.settings",
        ALLOW_SANDBOX="1",
        SANDBOX_STATE=str(settings.SANDBOX_STATE),
        DIGITALRIVER_WEBHOOK_SECRETS=SECRET,
        CELERY_BROKER_URL=address,
        CELERY_QUEUE=name,
        WEB_CONCURRENCY="1",
    )
    forget(relay.name, name)


@pytest.mark.parametrize(("relay", "pool"), WORKERS, indirect=["relay"])
def test_event_stored_by_the_web_process_is_processed_by_a_worker(
    desk: Desk, relay: Relay, surroundings: dict[str, str], tmp_path: Path, pool: str
) -> None:
    first, told = _settled_unnoticed(desk, "worked_sample")
    second, told_next = _settled_unnoticed(desk, "plain_usd")
    command = ["celery", "-A", "refundsite", "worker", f"--pool={pool}", "--concurrency=1"]
    worker = Running.start(command, tmp_path / "worker.log", surroundings)
    server = Gunicorn.serve(
        tmp_path / "web.log", {**surroundings, "CELERY_BROKER_URL": relay.address}
    )
    try:
        with worker.or_stopped(), server.or_stopped():
            until(lambda: "ready" in worker.log, what="the worker to be ready")
            assert _post(server, told) < PATIENCE
            until(lambda: _has_succeeded(first), what="the event to be processed")
            until(lambda: Event.objects.get().state == Event.State.PROCESSED, what="its end")
            assert Event.objects.get().tries == 1
            assert first.history.latest("number").actor_kind == "webhook"

            # The broker goes away: the event is taken all the same, and the sweep finds it.
            relay.cut()
            assert _post(server, told_next) < PATIENCE
            assert "queue.broker_away" in server.log
            left = Event.objects.latest("pk")
            assert left.state == Event.State.WAITING
            assert not _has_succeeded(second)
            sweep()
            left.refresh_from_db()
            assert (left.state, left.tries) == (Event.State.PROCESSED, 1)
            assert _has_succeeded(second)
        for told_of in (worker.log, server.log):
            assert "Traceback" not in told_of
            assert SECRET not in told_of
    finally:
        worker.stop()
        server.stop()


def test_sweep_as_a_task_does_a_round(desk: Desk) -> None:
    refund, _ = _settled_unnoticed(desk, "worked_sample")

    tasks.sweep()

    assert _has_succeeded(refund)


def test_process_event_as_a_task_can_be_done_twice(desk: Desk) -> None:
    refund, told = _settled_unnoticed(desk, "worked_sample")
    event = Event.objects.create(
        event_id="evt-1",
        type=told.type,
        received_at=timezone.now(),
        source=Event.Source.WEBHOOK,
        body=told.body.decode(),
        next_try_at=timezone.now(),
    )

    tasks.process_event(event.pk)
    tasks.process_event(event.pk)

    event.refresh_from_db()
    assert (event.state, event.tries) == (Event.State.PROCESSED, 1)
    assert _has_succeeded(refund)
