"""Delivering events: once, again, twice, late, never; from one process and from several."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from sandbox.delivery import Deliverer, DeliveryThread, HttpSender, NoAnswerError, Round, deliver_to
from sandbox.orders import Line, make_order, order_id_of
from sandbox.refund_request import parse_refund
from sandbox.signing import HEADER, sign
from sandbox.store import Cursor, Sandbox
from sandbox.webhook import Misbehaviour, Webhook
from tests.sandbox.conftest import Clock, MakeSandbox

SECRET = "whsec_1"


class Receiver:
    """A webhook that answers as it was told, and remembers what it was sent."""

    def __init__(self, status: int = 202) -> None:
        self.status = status
        self.error: Exception | None = None
        self.events: list[dict[str, Any]] = []
        self.signatures: list[str] = []

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        if self.error is not None:
            raise self.error
        self.events.append(json.loads(body))
        self.signatures.append(headers[HEADER])
        return self.status

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> Sandbox:
    return make_sandbox([make_order(1, lines=[Line(Decimal("9000.00"))])])


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def deliverer(sandbox: Sandbox, receiver: Receiver, **more: Any) -> Deliverer:
    return Deliverer(sandbox, receiver, secrets=[SECRET], **more)


def refund(sandbox: Sandbox, times: int = 1) -> None:
    body = {"orderId": order_id_of(1), "currency": "USD", "amount": "1.00"}
    for _ in range(times):
        sandbox.create_refund(parse_refund(body))


def made(sandbox: Sandbox) -> list[str]:
    """Return the ids of all events, oldest first."""
    return [event["id"] for event in sandbox.events((), Cursor(limit=1000)).data[::-1]]


def test_due_events_are_delivered_once_in_order(sandbox: Sandbox, receiver: Receiver) -> None:
    refund(sandbox, 30)
    sandbox.settle_now()
    assert len(made(sandbox)) == 180

    assert deliverer(sandbox, receiver).deliver_due() == Round(acknowledged=180)

    assert receiver.ids == made(sandbox)
    assert deliverer(sandbox, receiver).deliver_due() == Round()


def test_new_events_follow_where_the_last_round_stopped(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    refund(sandbox)
    deliverer(sandbox, receiver).deliver_due()
    refund(sandbox)
    sandbox.close()

    assert deliverer(Sandbox(sandbox.path, clock=sandbox.clock), receiver).deliver_due() == Round(1)
    assert receiver.ids == made(sandbox)


def test_body_is_the_event_and_the_header_signs_it(sandbox: Sandbox, clock: Clock) -> None:
    refund(sandbox)
    (delivery,) = Deliverer(sandbox, Receiver(), secrets=["new", "old"]).next_batch()

    assert json.loads(delivery.body) == json.loads(
        json.dumps(sandbox.events().data[0], default=float)
    )
    assert delivery.type == "refund.pending"
    timestamp = int(clock.now.timestamp())
    assert delivery.headers == {
        "Content-Type": "application/json",
        HEADER: sign(["new", "old"], timestamp, delivery.body),
    }


def test_timestamp_in_milliseconds(sandbox: Sandbox, receiver: Receiver, clock: Clock) -> None:
    refund(sandbox)
    deliverer(sandbox, receiver, milliseconds=True).deliver_due()

    assert receiver.signatures[0].startswith(f"{int(clock.now.timestamp() * 1000)}, ")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_acknowledges(sandbox: Sandbox, status: int) -> None:
    refund(sandbox)

    assert deliverer(sandbox, Receiver(status)).deliver_due() == Round(acknowledged=1)
    assert sandbox.undelivered() == (0, None)


@pytest.mark.parametrize("status", [199, 300, 302, 400, 401, 404, 500])
def test_any_other_status_is_tried_again(sandbox: Sandbox, clock: Clock, status: int) -> None:
    refund(sandbox)

    assert deliverer(sandbox, Receiver(status)).deliver_due() == Round(failed=1)
    assert sandbox.undelivered() == (1, clock.now + timedelta(seconds=10))


@pytest.mark.parametrize("error", [NoAnswerError(), ConnectionResetError(), TimeoutError()])
def test_no_answer_is_tried_again(
    sandbox: Sandbox, receiver: Receiver, clock: Clock, error: Exception
) -> None:
    refund(sandbox)
    receiver.error = error

    assert deliverer(sandbox, receiver).deliver_due() == Round(failed=1)

    receiver.error = None
    clock.move(seconds=10)
    assert deliverer(sandbox, receiver).deliver_due() == Round(acknowledged=1)


def test_pauses_double_up_to_an_hour_and_end_after_three_days(
    sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.dispute(order_id_of(1))
    failing = deliverer(sandbox, Receiver(500))
    started, pauses = clock.now, []
    while (due := sandbox.undelivered()[1]) is not None:
        pauses.append(int((due - clock.now).total_seconds()))
        clock.now = due
        assert failing.deliver_due() == Round(failed=1)

    assert pauses[:11] == [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    assert set(pauses[10:]) == {3600}
    assert timedelta(days=2, hours=23) < clock.now - started <= timedelta(days=3)


def test_claim_alone_has_a_delivery_tried_again(sandbox: Sandbox, clock: Clock) -> None:
    sandbox.dispute(order_id_of(1))
    pauses = []
    for _ in range(3):
        assert len(deliverer(sandbox, Receiver()).next_batch()) == 1
        due = sandbox.undelivered()[1]
        assert due is not None
        pauses.append(int((due - clock.now).total_seconds()))
        clock.now = due

    assert pauses == [10, 20, 40]


def test_each_attempt_is_signed_anew(sandbox: Sandbox, clock: Clock) -> None:
    refund(sandbox)
    receiver = Receiver(500)
    for _ in range(2):
        deliverer(sandbox, receiver).deliver_due()
        clock.move(seconds=10)

    first, second = (int(signature.split(",")[0]) for signature in receiver.signatures)
    assert second - first == 10


def test_round_tries_nothing_twice_even_without_a_pause(sandbox: Sandbox) -> None:
    refund(sandbox, 25)
    receiver = Receiver(500)

    outcome = deliverer(sandbox, receiver, retry_after=timedelta(0)).deliver_due()

    assert outcome == Round(failed=25)
    assert receiver.ids == made(sandbox)


def test_batch_that_nobody_acknowledges_comes_again(sandbox: Sandbox, clock: Clock) -> None:
    refund(sandbox, 3)
    known = deliverer(sandbox, Receiver())
    first = known.next_batch()
    assert [delivery.attempt for delivery in first] == [1, 1, 1]
    assert known.next_batch() == []
    known.acknowledge(first[1])
    clock.move(seconds=10)

    again = known.next_batch()

    assert [delivery.body for delivery in again] == [first[0].body, first[2].body]
    assert [delivery.attempt for delivery in again] == [2, 2]


def test_crash_in_the_receiver_loses_nothing(
    sandbox: Sandbox, receiver: Receiver, clock: Clock
) -> None:
    refund(sandbox, 3)
    receiver.error = RuntimeError("the desk died")
    with pytest.raises(RuntimeError):
        deliverer(sandbox, receiver).deliver_due()
    receiver.error = None
    clock.move(seconds=10)

    deliverer(sandbox, receiver).deliver_due()

    assert sorted(receiver.ids) == sorted(made(sandbox))


def test_late_failure_does_not_undo_an_acknowledgement(sandbox: Sandbox, clock: Clock) -> None:
    refund(sandbox)
    known = deliverer(sandbox, Receiver())
    (slow,) = known.next_batch()
    clock.move(seconds=10)
    (quick,) = known.next_batch()
    known.acknowledge(quick)
    known.postpone(slow)

    assert sandbox.undelivered() == (0, None)


def test_two_deliverers_at_once_lose_nothing(sandbox: Sandbox) -> None:
    refund(sandbox, 100)
    receivers = [Receiver(), Receiver(), Receiver()]

    def work(receiver: Receiver) -> None:
        own = Sandbox(sandbox.path, clock=sandbox.clock)
        deliverer(own, receiver).deliver_due()
        own.close()

    threads = [threading.Thread(target=work, args=(receiver,)) for receiver in receivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    taken = [identifier for receiver in receivers for identifier in receiver.ids]
    assert sorted(taken) == sorted(made(sandbox))
    assert sandbox.undelivered() == (0, None)


# -- misbehaviour ------------------------------------------------------------------------------


def test_duplicates_come_beside_the_first(sandbox: Sandbox, receiver: Receiver) -> None:
    refund(sandbox, 200)
    deliverer(sandbox, receiver, misbehaviour=Misbehaviour(duplicates=0.25)).deliver_due()

    counts = Counter(receiver.ids)
    assert set(counts) == set(made(sandbox))
    assert 30 < sum(count == 2 for count in counts.values()) < 70
    assert max(counts.values()) == 2


def test_lost_events_never_come_but_are_listed(
    sandbox: Sandbox, receiver: Receiver, clock: Clock
) -> None:
    refund(sandbox, 200)
    known = deliverer(sandbox, receiver, misbehaviour=Misbehaviour(lose=0.25))
    known.deliver_due()
    clock.move(seconds=299)
    known.deliver_due()

    assert 130 < len(receiver.ids) < 170
    assert len(made(sandbox)) == 200
    assert sandbox.undelivered() == (0, None)


def test_reordering_stays_within_its_window(sandbox: Sandbox, receiver: Receiver) -> None:
    refund(sandbox, 200)
    deliverer(sandbox, receiver, misbehaviour=Misbehaviour(reorder=5)).deliver_due()

    place = {identifier: at for at, identifier in enumerate(made(sandbox))}
    moved = [at - place[identifier] for at, identifier in enumerate(receiver.ids)]
    assert sorted(receiver.ids) == sorted(place)
    assert min(moved) < 0 < max(moved)
    assert max(map(abs, moved)) <= 5


def test_delay_holds_events_back_but_not_for_longer(
    sandbox: Sandbox, receiver: Receiver, clock: Clock
) -> None:
    refund(sandbox, 50)
    known = deliverer(sandbox, receiver, misbehaviour=Misbehaviour(delay=60))
    known.deliver_due()
    assert receiver.ids == []
    clock.move(seconds=30)
    known.deliver_due()
    assert 10 < len(receiver.ids) < 40
    clock.move(seconds=30)
    known.deliver_due()

    assert sorted(receiver.ids) == sorted(made(sandbox))
    assert receiver.ids != made(sandbox)


def test_same_seed_misbehaves_in_the_same_way(make_sandbox: MakeSandbox) -> None:
    def walk(seed: int, rounds: int) -> list[int]:
        sandbox = make_sandbox([make_order(1, lines=[Line(Decimal("900.00"))])])
        receiver = Receiver()
        misbehaviour = Misbehaviour(duplicates=0.3, reorder=9, lose=0.2, seed=seed)
        refund(sandbox, 60)
        while rounds:
            deliverer(sandbox, receiver, misbehaviour=misbehaviour).deliver_due()
            rounds -= 1
        place = {identifier: at for at, identifier in enumerate(made(sandbox))}
        return [place[identifier] for identifier in receiver.ids]

    assert walk(1, 1) == walk(1, 3)
    assert walk(1, 1) != walk(2, 1)


def test_plan_in_slices_comes_to_the_same(
    make_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = []
    for slice_ in (5_000, 2):
        monkeypatch.setattr("sandbox.store.PLANNED_AT_ONCE", slice_)
        sandbox = make_sandbox([make_order(1, lines=[Line(Decimal("900.00"))])])
        receiver = Receiver()
        refund(sandbox, 60)
        # Most slices of two bring nothing, which must not look like the end.
        deliverer(sandbox, receiver, misbehaviour=Misbehaviour(lose=0.8)).deliver_due()
        place = {identifier: at for at, identifier in enumerate(made(sandbox))}
        received.append([place[identifier] for identifier in receiver.ids])

    assert received[0] == received[1]
    assert len(received[0]) > 5


def test_reset_forgets_what_was_to_be_delivered_and_goes_on(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    refund(sandbox, 3)
    failing = Receiver(500)
    deliverer(sandbox, failing).deliver_due()
    sandbox.reset()
    assert sandbox.undelivered() == (0, None)
    refund(sandbox)

    assert deliverer(sandbox, receiver).deliver_due() == Round(acknowledged=1)
    assert receiver.ids == made(sandbox)


def test_delivering_from_memory_needs_no_file(clock: Clock, receiver: Receiver) -> None:
    orders = [make_order(1, lines=[Line(Decimal("40.00"))])]
    sandbox = Sandbox(":memory:", orders=orders, clock=clock)
    refund(sandbox)
    sandbox.settle_now()

    assert deliverer(sandbox, receiver).deliver_due() == Round(acknowledged=6)
    assert receiver.types[0] == "refund.pending"
    sandbox.close()


# -- over HTTP ---------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """A webhook on a port of its own; `status` None keeps silent until it is closed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status: int | None = 202
        self.closing = threading.Event()
        self.arrived = threading.Event()
        self.requests: list[tuple[str, str, bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers[HEADER], body))
        self.server.arrived.set()
        if self.server.status is None:
            self.server.closing.wait(20)
            return
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name there
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as known:
        thread = threading.Thread(target=known.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield known
        known.closing.set()
        known.shutdown()
        thread.join()


def test_http_sender_posts_the_body_and_the_signature(sandbox: Sandbox, server: Server) -> None:
    refund(sandbox, 2)
    webhook = Webhook(server.address, (SECRET,))
    with HttpSender(webhook.address) as send:
        assert deliver_to(sandbox, webhook, send) == Round(acknowledged=2)

    (path, signature, body), _ = server.requests
    assert path == "/hooks/"
    assert signature == sign(SECRET, int(signature.split(",")[0]), body)
    assert json.loads(body)["type"] == "refund.pending"


def test_http_sender_follows_no_redirect(server: Server) -> None:
    server.status = 307
    with HttpSender(server.address) as send:
        assert send(b"{}", {HEADER: "1, x"}) == 307

    assert len(server.requests) == 1


def test_http_sender_gives_up_on_a_silent_address(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.delivery.ANSWER_SECONDS", 0.2)
    server.status = None
    with HttpSender(server.address) as send, pytest.raises(NoAnswerError):
        send(b"{}", {HEADER: "1, x"})


def test_http_sender_finds_nobody() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport = httpx.MockTransport(refuse)
    with HttpSender("http://s.test", transport=transport) as send, pytest.raises(NoAnswerError):
        send(b"{}", {HEADER: "1, x"})


def test_thread_delivers_to_the_webhook_that_is_registered_meanwhile(
    sandbox: Sandbox, server: Server
) -> None:
    thread = DeliveryThread(sandbox, every=0.02)
    thread.start()
    try:
        refund(sandbox)
        assert not server.arrived.wait(0.2)
        sandbox.register_webhook(Webhook(server.address, (SECRET,)))
        assert server.arrived.wait(10)
    finally:
        thread.stop()

    assert not thread.is_alive()
    assert [json.loads(body)["id"] for _, _, body in server.requests] == made(sandbox)
