"""The lists that are streamed: events, refunds, and orders by their ids."""

import gc
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import httpx
import pytest
import stamina
import structlog

from refunds.digitalriver.client import MOST_ORDERS, MOST_TYPES, DigitalRiverClient
from refunds.digitalriver.errors import NotFound, NotSendable, Refused, Unanswered, UnreadableAnswer
from refunds.digitalriver.payloads import Event, Refund, read_event
from sandbox.faults import Fault, FaultKind
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from sandbox.transport import in_process_for

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SINCE = datetime(2026, 1, 10, 14, 30, 59, 999_999, tzinfo=timezone(timedelta(hours=2)))
OPENED = datetime(2026, 9, 1, 12, tzinfo=UTC)
MANY = 230


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A shop with more than two pages of refunds and of events, a fraction of a second apart."""
    moments = itertools.count()
    made = Sandbox(
        tmp_path_factory.mktemp("lists") / "state.sqlite3",
        clock=lambda: OPENED + timedelta(milliseconds=300) * next(moments),
        settle_after=timedelta(days=1),
        shop_anchor=date(2026, 9, 1),
    )
    order = made.order_id(SHOWCASE["fulfilled"])
    with client_of(in_process_for(made)) as client:
        for number in range(MANY):
            client.create_refund(
                {
                    "orderId": order,
                    "currency": "USD",
                    "amount": Decimal("0.01"),
                    "metadata": {"refundReference": f"RD-LIST-{number}"},
                },
                upstream_id=f"RD-LIST-{number}",
            )
    return made


@pytest.fixture
def sandbox(shop: Sandbox) -> Iterator[Sandbox]:
    shop.clear_faults()
    yield shop
    shop.clear_faults()


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[DigitalRiverClient]:
    with client_of(in_process_for(sandbox, sleep=lambda seconds: None)) as client:
        yield client


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def client_of(transport: httpx.BaseTransport) -> DigitalRiverClient:
    return DigitalRiverClient(
        base_url="http://127.0.0.1",
        api_key="sk_test_lists",
        version="2021-12-13",
        timeout=5.0,
        application_id="refund-desk/0.1.0",
        transport=transport,
    )


def client_over(handler: Callable[[httpx.Request], httpx.Response]) -> DigitalRiverClient:
    return client_of(httpx.MockTransport(handler))


class Pages:
    """Answers with one page after another, the last one for ever; remembers what was asked."""

    def __init__(self, *pages: list[dict[str, Any]], more_at_the_end: bool = False) -> None:
        self.pages = pages
        self.more_at_the_end = more_at_the_end
        self.asked: list[list[tuple[str, str]]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.params.multi_items())
        number = min(len(self.asked), len(self.pages))
        more = number < len(self.pages) or self.more_at_the_end
        return httpx.Response(200, json={"hasMore": more, "data": self.pages[number - 1]})


def event(name: str, **changes: object) -> dict[str, Any]:
    return {"id": name, "type": "refund.pending", "data": {"object": {"id": "re_1"}}} | changes


def refund(name: str) -> dict[str, Any]:
    return {"id": name, "orderId": "21", "currency": "USD", "state": "pending"}


def order(name: str) -> dict[str, Any]:
    return {"id": name, "state": "complete", "currency": "USD", "totalAmount": 27.01}


# -- events ---------------------------------------------------------------------------------


def test_events_are_streamed_newest_first_and_each_once(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    events = list(client.list_events(since=LONG_AGO))
    assert len(events) > MANY
    assert len({told.id for told in events}) == len(events)
    times = [told.created_time for told in events if told.created_time is not None]
    assert len(times) == len(events)
    assert times == sorted(times, reverse=True)
    for told in events:
        assert read_event(told.raw.encode()) == told
        wire = sandbox.event(told.id)
        assert (told.type, told.live_mode) == (wire["type"], wire["liveMode"])


def test_events_of_some_types_are_asked_for(client: DigitalRiverClient) -> None:
    kinds = ["refund.pending_information", "order.charge.refund.pending"]
    told = list(client.list_events(since=LONG_AGO, types=kinds))
    assert {one.type for one in told} == set(kinds)


def test_events_of_other_types_are_left_out_where_the_filter_is_not_heeded() -> None:
    pages = Pages([event("e-3"), event("e-2", type="order.created"), event("e-1")])
    with client_over(pages) as client:
        told = list(client.list_events(since=SINCE, types=["refund.pending"]))
    assert [one.id for one in told] == ["e-3", "e-1"]


def test_events_before_the_moment_are_left_out(client: DigitalRiverClient) -> None:
    everything = list(client.list_events(since=LONG_AGO))
    middle = everything[MANY // 2].created_time
    assert middle is not None
    later = list(client.list_events(since=middle))
    # The moment is rounded down to its second: rather one too many than one too few.
    floor = middle.replace(microsecond=0)
    assert later == [one for one in everything if one.created_time and one.created_time >= floor]
    assert 0 < len(later) < len(everything)


def test_events_after_everything_are_none(client: DigitalRiverClient) -> None:
    assert list(client.list_events(since=datetime(2999, 1, 1, tzinfo=UTC))) == []


def test_events_are_asked_for_as_documented() -> None:
    pages = Pages([event("e-3"), event("e-2")], [event("e-1")])
    with client_over(pages) as client:
        told = list(client.list_events(since=SINCE, types=("refund.pending", "refund.failed")))
    assert [one.id for one in told] == ["e-3", "e-2", "e-1"]
    head = [
        ("createdTime[gte]", "2026-01-10T12:30:59Z"),
        ("types", "refund.pending"),
        ("types", "refund.failed"),
        ("limit", "100"),
    ]
    assert pages.asked == [head, [*head, ("startingAfter", "e-2")]]


def test_events_are_read_only_as_far_as_they_are_wanted() -> None:
    pages = Pages([event("e-3"), event("e-2")], [event("e-1")])
    with client_over(pages) as client:
        events = client.list_events(since=SINCE)
        assert pages.asked == []
        assert [one.id for one in itertools.islice(events, 2)] == ["e-3", "e-2"]
    assert len(pages.asked) == 1


def test_events_that_make_no_sense_are_left_out_and_logged() -> None:
    pages = Pages([event("e-3"), event("e-2", type=None)], [event("e-1", data="x"), event("e-0")])
    with structlog.testing.capture_logs() as lines, client_over(pages) as client:
        assert [one.id for one in client.list_events(since=SINCE)] == ["e-3", "e-0"]
    warnings = [line["event_ids"] for line in lines if line["log_level"] == "warning"]
    assert warnings == [("e-2",), ("e-1",)]
    assert pages.asked[1][-1] == ("startingAfter", "e-2")


def test_events_of_too_many_types_are_not_asked_for() -> None:
    pages = Pages([])
    with client_over(pages) as client:
        assert list(client.list_events(since=SINCE, types=["t"] * MOST_TYPES)) == []
        with pytest.raises(NotSendable, match="At most 19 types"):
            client.list_events(since=SINCE, types=["t"] * (MOST_TYPES + 1))
    assert len(pages.asked) == 1


def test_events_since_a_moment_without_a_zone_are_not_asked_for(
    client: DigitalRiverClient,
) -> None:
    with pytest.raises(ValueError, match="time zone"):
        client.list_events(since=datetime(2026, 1, 10))  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        client.refunds_since(since=datetime(2026, 1, 10))  # noqa: DTZ001


def test_events_of_an_outage_say_so_where_it_starts(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    events = client.list_events(since=LONG_AGO)
    read = list(itertools.islice(events, 100))
    sandbox.queue_fault(Fault(FaultKind.ERROR, status=503, times=3))
    with pytest.raises(Unanswered):
        next(events)
    assert len(read) == 100


def test_events_outlast_a_short_disturbance_in_the_middle(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    expected = [one.id for one in client.list_events(since=LONG_AGO)]
    events = client.list_events(since=LONG_AGO)
    read = [one.id for one in itertools.islice(events, 100)]
    sandbox.queue_fault(Fault(FaultKind.ERROR, status=503, times=2))
    read += [one.id for one in events]
    assert read == expected


# -- refunds --------------------------------------------------------------------------------


def test_refunds_are_streamed_newest_first_and_each_once(client: DigitalRiverClient) -> None:
    pages = list(client.refunds_since(since=None))
    assert [page.has_more for page in pages] == [True] * (len(pages) - 1) + [False]
    assert [len(page.refunds) for page in pages[:2]] == [100, 100]
    refunds = [one for page in pages for one in page.refunds]
    assert len({one.id for one in refunds}) == len(refunds)
    ours = [one.reference for one in refunds if one.reference]
    assert ours == [f"RD-LIST-{number}" for number in reversed(range(MANY))]
    # Those that were made elsewhere come too.
    assert len(refunds) > len(ours)


def test_refunds_are_gone_on_with_after_any_page(client: DigitalRiverClient) -> None:
    pages = list(client.refunds_since(since=LONG_AGO))
    assert len(pages) >= 3
    for done in range(1, len(pages)):
        cursor = pages[done - 1].cursor
        assert cursor == pages[done - 1].refunds[-1].id
        resumed = list(client.refunds_since(since=LONG_AGO, starting_after=cursor))
        assert resumed == pages[done:]


def test_refunds_made_while_the_list_is_walked_do_not_disturb_it(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    expected = [one.id for page in client.refunds_since(since=None) for one in page.refunds]
    pages = client.refunds_since(since=None)
    read = [one.id for one in next(pages).refunds]
    body: dict[str, object] = {
        "orderId": sandbox.order_id(SHOWCASE["plain_usd"]),
        "currency": "USD",
        "amount": Decimal("0.01"),
    }
    made = client.create_refund(body, upstream_id="RD-MEANWHILE-1").refund
    read += [one.id for page in pages for one in page.refunds]
    assert read == expected
    assert next(client.refunds_since(since=None)).refunds[0].id == made.id


def test_refunds_before_the_moment_are_left_out(client: DigitalRiverClient) -> None:
    everything = [one for page in client.refunds_since(since=None) for one in page.refunds]
    since = everything[MANY // 2].created_time
    assert since is not None
    later = [one for page in client.refunds_since(since=since) for one in page.refunds]
    assert later == [one for one in everything if one.created_time and one.created_time >= since]
    assert 0 < len(later) < len(everything)


def test_refunds_of_none_are_one_empty_page(client: DigitalRiverClient) -> None:
    (page,) = client.refunds_since(since=datetime(2999, 1, 1, tzinfo=UTC))
    assert (page.refunds, page.has_more, page.cursor) == ((), False, "")


def test_refunds_are_asked_for_as_documented() -> None:
    pages = Pages([refund("re_3"), refund("re_2")], [refund("re_1")])
    with client_over(pages) as client:
        list(client.refunds_since(since=SINCE, starting_after="re_9"))
        since = ("createdTime[gte]", "2026-01-10T12:30:59Z")
        limit = ("limit", "100")
        assert pages.asked == [
            [since, limit, ("startingAfter", "re_9")],
            [since, limit, ("startingAfter", "re_2")],
        ]
        next(client.refunds_since(since=None))
    assert pages.asked[2] == [limit]


@pytest.mark.parametrize("cursor", ["../orders", " ", "re 1", "é"])
def test_refunds_after_a_malformed_cursor_are_not_asked_for(cursor: str) -> None:
    pages = Pages([])
    with client_over(pages) as client, pytest.raises(NotSendable, match="malformed"):
        client.refunds_since(since=None, starting_after=cursor)
    assert pages.asked == []


def test_refunds_after_a_cursor_that_digital_river_does_not_know_are_refused(
    client: DigitalRiverClient,
) -> None:
    with pytest.raises(Refused):
        list(client.refunds_since(since=None, starting_after="re_unknown"))


def test_refund_twice_on_a_page_is_unreadable() -> None:
    pages = Pages([refund("re_1"), refund("re_1")])
    with client_over(pages) as client, pytest.raises(UnreadableAnswer) as raised:
        list(client.refunds_since(since=None))
    assert raised.value.parameter == "data"


Walk = Callable[[DigitalRiverClient], Iterator[Any]]
WALKS: list[tuple[Callable[[str], dict[str, Any]], Walk]] = [
    (refund, lambda client: client.refunds_since(since=None)),
    (event, lambda client: client.list_events(since=SINCE)),
]


@pytest.mark.parametrize(("entry", "walk"), WALKS, ids=["refunds", "events"])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_list_that_runs_in_a_circle_is_unreadable_before_long(
    entry: Callable[[str], dict[str, Any]], walk: Walk, before: int, length: int
) -> None:
    asked: list[str] = []

    def circle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        number = len(asked) - 1
        if number >= before:
            number = before + (number - before) % length
        return httpx.Response(200, json={"hasMore": True, "data": [entry(f"x_{number}")]})

    with client_over(circle) as client, pytest.raises(UnreadableAnswer) as raised:
        list(walk(client))
    assert raised.value.parameter == "hasMore"
    assert len(asked) <= 3 * (before + length) + 2


@pytest.mark.parametrize(("entry", "walk"), WALKS, ids=["refunds", "events"])
def test_list_with_more_of_nothing_is_unreadable(
    entry: Callable[[str], dict[str, Any]], walk: Walk
) -> None:
    pages = Pages([entry("x_1")], [], more_at_the_end=True)
    with client_over(pages) as client, pytest.raises(UnreadableAnswer):
        list(walk(client))
    assert len(pages.asked) == 2


@pytest.mark.parametrize(("entry", "walk"), WALKS, ids=["refunds", "events"])
def test_list_that_starts_again_at_its_cursor_is_unreadable(
    entry: Callable[[str], dict[str, Any]], walk: Walk
) -> None:
    pages = Pages([entry("x_1")], more_at_the_end=True)
    with client_over(pages) as client, pytest.raises(UnreadableAnswer):
        list(walk(client))
    assert len(pages.asked) == 2


@pytest.mark.parametrize("fault", [FaultKind.MALFORMED, FaultKind.WRONG_SHAPE])
@pytest.mark.parametrize(("entry", "walk"), WALKS, ids=["refunds", "events"])
def test_list_of_rubbish_is_unreadable(
    client: DigitalRiverClient,
    sandbox: Sandbox,
    entry: Callable[[str], dict[str, Any]],
    walk: Walk,
    fault: FaultKind,
) -> None:
    sandbox.queue_fault(Fault(fault))
    with pytest.raises(UnreadableAnswer):
        next(walk(client))


@pytest.mark.parametrize(("entry", "walk"), WALKS, ids=["refunds", "events"])
def test_list_of_any_length_is_held_a_page_at_a_time(
    entry: Callable[[str], dict[str, Any]], walk: Walk
) -> None:
    numbers = itertools.count()

    def endless(request: httpx.Request) -> httpx.Response:
        first = next(numbers) * 20
        data = [entry(f"x_{number}") for number in range(first, first + 20)]
        return httpx.Response(200, json={"hasMore": True, "data": data})

    def held() -> int:
        # By type alone: asking a lazy object for its class would wake it up.
        return sum(type(thing) in {Refund, Event} for thing in gc.get_objects())

    with client_over(endless) as client:
        before, walked = held(), walk(client)
        for _ in itertools.islice(walked, 1000):
            pass
        assert next(numbers) >= 50
        assert 0 < held() - before <= 2 * 20
        assert next(walked)


# -- orders ---------------------------------------------------------------------------------


def orders_of(sandbox: Sandbox) -> list[str]:
    ids = [row["digitalriverv3__DR_Order_Id__c"] for row in sandbox.salesforce_records()]
    return [one for one in ids if one is not None]


def test_orders_are_read_at_once_in_the_sequence_of_their_ids(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    asked = orders_of(sandbox)[:MOST_ORDERS]
    asked.reverse()
    found = client.get_orders(asked)
    assert [one.id for one in found] == asked
    assert found[:3] == tuple(client.get_order(one) for one in asked[:3])


def test_orders_unknown_to_digital_river_are_left_out(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    known = orders_of(sandbox)[0]
    assert [one.id for one in client.get_orders(["999", known, "998"])] == [known]
    assert client.get_orders(["999"]) == ()
    with pytest.raises(NotFound):
        client.get_order("999")


def test_orders_are_asked_for_once_each_as_documented() -> None:
    pages = Pages([order("22"), order("21")])
    with client_over(pages) as client:
        found = client.get_orders(["21", "22", "21", "23"])
    assert [one.id for one in found] == ["21", "22"]
    assert pages.asked == [[("ids", "21"), ("ids", "22"), ("ids", "23"), ("limit", "100")]]


def test_orders_of_none_ask_nothing() -> None:
    pages = Pages([])
    with client_over(pages) as client:
        assert client.get_orders([]) == ()
    assert pages.asked == []


def test_orders_too_many_or_malformed_are_not_asked_for() -> None:
    pages = Pages([])
    with client_over(pages) as client:
        assert client.get_orders([str(number) for number in range(MOST_ORDERS)]) == ()
        with pytest.raises(NotSendable, match="At most 100 orders"):
            client.get_orders([str(number) for number in range(MOST_ORDERS + 1)])
        for identifier in ("", "1,2", "../refunds", "1" * 129):
            with pytest.raises(NotSendable, match="malformed"):
                client.get_orders(["21", identifier])
    assert len(pages.asked) == 1


@pytest.mark.parametrize(
    ("page", "more"),
    [
        ([order("21"), order("29")], False),
        ([order("21"), order("21")], False),
        ([order("21")], True),
        ([order("21") | {"totalAmount": "much"}], False),
    ],
    ids=["not asked for", "twice", "more than asked for", "rubbish"],
)
def test_orders_that_make_no_sense_are_unreadable(page: list[dict[str, Any]], more: bool) -> None:
    pages = Pages(page, more_at_the_end=more)
    with client_over(pages) as client, pytest.raises(UnreadableAnswer):
        client.get_orders(["21", "22"])


def test_lists_are_logged_without_what_was_asked_for(
    client: DigitalRiverClient, sandbox: Sandbox
) -> None:
    wanted = orders_of(sandbox)[:2]
    with structlog.testing.capture_logs() as lines:
        client.get_orders(wanted)
        told: Event = next(client.list_events(since=LONG_AGO))
    assert [line["path"] for line in lines] == ["/orders", "/events"]
    for secret in (*wanted, told.order_id):
        assert secret not in repr(lines)
