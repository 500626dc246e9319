"""How fast Digital River is called: each call in its turn, and nobody after a 429."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina
import structlog

from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import RateLimited, Unanswered
from refunds.digitalriver.pace import (
    DEFAULT_RETRY_AFTER,
    LONGEST_RETRY_AFTER,
    Pace,
    Unpaced,
    wait_for_turn,
)
from sandbox.faults import Fault, FaultKind
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from sandbox.transport import in_process_for

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


class Script:
    """A pace that answers by the book, the last answer for ever, and remembers what it is told."""

    def __init__(self, *waits: float) -> None:
        self.waits = list(waits)
        self.asked = 0
        self.held_back: list[float] = []

    def admit(self) -> float:
        self.asked += 1
        return self.waits.pop(0) if len(self.waits) > 1 else self.waits[0]

    def hold_back(self, seconds: float) -> None:
        self.held_back.append(seconds)


class Bucket:
    """A pace that lets one call in a second, by a clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.time = 0.0
        self.next = 0.0

    def admit(self) -> float:
        if self.time < self.next:
            return self.next - self.time
        self.next = self.time + 1.0
        return 0.0

    def hold_back(self, seconds: float) -> None:
        self.next = max(self.next, self.time + seconds)

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(
        tmp_path_factory.mktemp("pace") / "state.sqlite3", settle_after=timedelta(days=1)
    )


@pytest.fixture
def order(sandbox: Sandbox) -> Iterator[str]:
    found = sandbox.order_id(SHOWCASE["plain_usd"])
    assert found is not None
    sandbox.clear_faults()
    yield found
    sandbox.clear_faults()


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


class Counting(httpx.BaseTransport):
    """Passes requests on to the stand-in, and counts them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.inner = in_process_for(sandbox, sleep=lambda seconds: None)
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return self.inner.handle_request(request)


def client_of(
    transport: httpx.BaseTransport, pace: Pace | None, sleep: Callable[[float], None]
) -> DigitalRiverClient:
    return DigitalRiverClient(
        base_url="http://127.0.0.1",
        api_key="sk_test_pace",
        version="2021-12-13",
        timeout=2.0,
        application_id="refund-desk/0.1.0",
        transport=transport,
        pace=pace,
        now=lambda: NOW,
        sleep=sleep,
    )


def ask(client: DigitalRiverClient, order: str, reference: str) -> Any:
    body = {
        "orderId": order,
        "currency": "USD",
        "amount": Decimal("0.01"),
        "metadata": {"refundReference": reference},
    }
    return client.create_refund(body, upstream_id=reference)


def test_turn_that_has_come_waits_for_nothing() -> None:
    slept: list[float] = []
    assert wait_for_turn(Script(0.0), slept.append) == 0
    assert slept == []


@pytest.mark.parametrize("wait", [float("nan"), -1.0])
def test_turn_by_a_pace_that_makes_no_sense_has_come(wait: float) -> None:
    assert wait_for_turn(Script(wait), lambda seconds: None) == 0


def test_turn_that_is_near_is_waited_for_and_asked_for_again() -> None:
    slept: list[float] = []
    assert wait_for_turn(Script(0.5, 0.25, 0.0), slept.append) == 0
    assert slept == [0.5, 0.25]
    assert wait_for_turn(Script(2.0, 0.0), slept.append) == 0


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(2.001, 3), (59.5, 60), (1e300, LONGEST_RETRY_AFTER), (float("inf"), LONGEST_RETRY_AFTER)],
)
def test_turn_that_is_far_is_not_waited_for(wait: float, seconds: int) -> None:
    slept: list[float] = []
    assert wait_for_turn(Script(wait), slept.append) == seconds
    assert slept == []


@pytest.mark.parametrize("wait", [1.5, 0.3, 0.001, 1e-12])
def test_turn_that_others_keep_taking_is_given_up_within_patience(wait: float) -> None:
    slept: list[float] = []
    pace = Script(wait)
    assert wait_for_turn(pace, slept.append) == (2 if wait > 1 else 1)
    assert 0 < sum(slept) <= 2.0
    assert pace.asked <= 201


def test_pace_none_lets_every_call_go_on_even_after_a_429() -> None:
    pace = Unpaced()
    pace.hold_back(60.0)
    assert pace.admit() == 0.0


def test_call_takes_a_place_each_time_it_is_made(sandbox: Sandbox, order: str) -> None:
    pace, transport = Script(0.0), Counting(sandbox)
    sandbox.queue_fault(Fault(FaultKind.ERROR, status=503, times=2))
    with client_of(transport, pace, lambda seconds: None) as client:
        client.get_order(order)
        ask(client, order, "RD-PACE-1")
    assert pace.asked == transport.requests == 4


def test_calls_keep_to_the_pace(sandbox: Sandbox, order: str) -> None:
    pace = Bucket()
    with client_of(Counting(sandbox), pace, pace.sleep) as client:
        for _ in range(5):
            client.get_order(order)
    assert pace.time == 4.0


def test_refund_out_of_turn_is_not_sent_and_says_so(sandbox: Sandbox, order: str) -> None:
    transport = Counting(sandbox)
    with (
        client_of(transport, Script(7.2), lambda seconds: None) as client,
        pytest.raises(RateLimited, match=r"nothing was sent\..* in 8 seconds") as raised,
    ):
        ask(client, order, "RD-PACE-2")
    assert (raised.value.retry_after, raised.value.status) == (8, None)
    assert transport.requests == 0


@pytest.mark.parametrize("wait", [7.2, 1.9])
def test_read_out_of_turn_is_given_up_at_once(sandbox: Sandbox, order: str, wait: float) -> None:
    transport, slept, pace = Counting(sandbox), list[float](), Script(wait)
    with (
        client_of(transport, pace, slept.append) as client,
        pytest.raises(RateLimited, match=r"last figures known; try again in [28] seconds"),
    ):
        client.get_order(order)
    assert transport.requests == 0
    assert sum(slept) <= 2.0
    # Patience has run out once; it does not run out three times over.
    assert pace.asked <= 2


def test_out_of_turn_is_logged_with_the_wait_alone(order: str, sandbox: Sandbox) -> None:
    with (
        structlog.testing.capture_logs() as lines,
        client_of(Counting(sandbox), Script(60.0), lambda seconds: None) as client,
        pytest.raises(RateLimited),
    ):
        client.get_order(order)
    assert lines == [
        {"event": "digitalriver.out_of_turn", "retry_after": 60, "log_level": "warning"}
    ]


@pytest.mark.parametrize("retry_after", [0, 1, 120])
def test_429_holds_everybody_back_as_long_as_it_says(
    sandbox: Sandbox, order: str, retry_after: int
) -> None:
    pace = Script(0.0)
    sandbox.queue_fault(Fault(FaultKind.RATE_LIMITED, retry_after=retry_after))
    with client_of(Counting(sandbox), pace, lambda seconds: None) as client:
        with pytest.raises(RateLimited) as raised:
            ask(client, order, "RD-PACE-3")
        assert (raised.value.retry_after, raised.value.status) == (retry_after, 429)
    assert pace.held_back == [float(retry_after)]


def test_429_while_reading_holds_back_each_time(sandbox: Sandbox, order: str) -> None:
    pace = Script(0.0)
    sandbox.queue_fault(Fault(FaultKind.RATE_LIMITED, retry_after=1, times=2))
    with client_of(Counting(sandbox), pace, lambda seconds: None) as client:
        client.get_order(order)
    assert pace.held_back == [1.0, 1.0]


def test_429_without_a_time_holds_back_for_a_careful_guess() -> None:
    pace = Script(0.0)
    transport = httpx.MockTransport(lambda request: httpx.Response(429))
    with (
        client_of(transport, pace, lambda seconds: None) as client,
        pytest.raises(RateLimited),
    ):
        client.get_order("21")
    assert pace.held_back == [float(DEFAULT_RETRY_AFTER)]


def test_429_keeps_the_next_call_away_from_digital_river(sandbox: Sandbox, order: str) -> None:
    pace, transport = Bucket(), Counting(sandbox)
    sandbox.queue_fault(Fault(FaultKind.RATE_LIMITED, retry_after=120))
    with client_of(transport, pace, pace.sleep) as client:
        with pytest.raises(RateLimited):
            client.get_order(order)
        with pytest.raises(RateLimited, match="nothing was sent") as raised:
            ask(client, order, "RD-PACE-4")
    assert raised.value.retry_after == 120
    assert transport.requests == 1


def test_answers_other_than_429_hold_nobody_back(sandbox: Sandbox, order: str) -> None:
    pace = Script(0.0)
    sandbox.queue_fault(Fault(FaultKind.ERROR, status=503))
    with (
        client_of(Counting(sandbox), pace, lambda seconds: None) as client,
        pytest.raises(Unanswered),
    ):
        ask(client, order, "RD-PACE-5")
    assert pace.held_back == []
