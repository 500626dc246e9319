"""One order fetched from Salesforce while a rep waits: by each key, and all that can go wrong."""

from time import monotonic

import pytest
import requests
import time_machine
from pytest_django import Settings
from structlog.testing import capture_logs

from refunds.errors import OrderNotFetched, RecordUnusable
from refunds.models import Order
from refunds.salesforce.client import SalesforceClient
from refunds.services.mirror.fetching import (
    NOT_THERE_FOR,
    is_whole_key,
    order_fetch,
    order_known,
    order_look_up,
    salesforce_order_id,
)
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.shop import SHOWCASE
from tests.desk import Desk, SetClock
from tests.salesforce_wire import Record, SalesforceWire
from tests.views.rows import make_order

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("without_the_wait")]

UNKNOWN_ID = "8015g0000099999AAA"


@pytest.fixture
def salesforce_wire(desk: Desk, organisation: Organisation) -> SalesforceWire:
    """Return the wire between the desk and the stand-in of Salesforce."""
    return SalesforceWire(organisation)


@pytest.fixture
def client(salesforce_wire: SalesforceWire) -> SalesforceClient:
    """Return the desk's client on that wire."""
    return salesforce_wire.client()


@pytest.fixture
def record(desk: Desk) -> Record:
    """Return the record of one order as Salesforce has it."""
    return desk.sandbox.salesforce_record(SHOWCASE["worked_sample"])


# -- found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mangle",
    [str, lambda text: text[:15], str.lower, str.upper],
    ids=["18", "15", "lower case", "upper case"],
)
def test_order_is_fetched_by_its_salesforce_id(
    record: Record, client: SalesforceClient, mangle: object
) -> None:
    assert callable(mangle)
    order = order_fetch(salesforce_id=mangle(str(record["Id"])), client=client)
    assert order is not None
    assert order == Order.objects.get()
    assert (order.salesforce_id, order.order_number) == (record["Id"], record["OrderNumber"])
    assert order.digital_river_id == record["digitalriverv3__DR_Order_Id__c"]
    assert order.refreshed_at is None
    assert not order.refundable
    assert order.lines.count() == 1


def test_order_is_fetched_by_its_number(record: Record, client: SalesforceClient) -> None:
    order = order_fetch(order_number=str(record["OrderNumber"]), client=client)
    assert order is not None
    assert order.salesforce_id == record["Id"]


def test_order_is_fetched_by_its_digital_river_id(record: Record, client: SalesforceClient) -> None:
    told = str(record["digitalriverv3__DR_Order_Id__c"])
    order = order_fetch(digital_river_id=told, client=client)
    assert order is not None
    assert order.salesforce_id == record["Id"]


def test_order_that_is_here_is_brought_up_to_date(record: Record, client: SalesforceClient) -> None:
    order = order_fetch(salesforce_id=str(record["Id"]), client=client)
    Order.objects.update(account_name="Out of date")
    assert order_fetch(salesforce_id=str(record["Id"]), client=client) == order
    assert Order.objects.get().account_name != "Out of date"


def test_order_without_namespace_is_fetched(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire, settings: Settings
) -> None:
    settings.SALESFORCE_NAMESPACE = ""
    salesforce_wire.refusal = (400, "INVALID_FIELD", "No such column 'X' on entity 'Order'")
    with pytest.raises(OrderNotFetched):
        order_fetch(digital_river_id="223", client=client)
    assert "DR_Order_Id__c = '223'" in salesforce_wire.queries[0]
    assert "__DR" not in salesforce_wire.queries[0]


def test_lines_on_further_pages_are_read_as_well(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    """Salesforce puts nested records beyond some number on pages of their own."""

    def cut(records: list[Record]) -> list[Record]:
        lines = records[0]["OrderItems"]
        assert isinstance(lines, dict)
        kept.extend(lines["records"])
        lines |= {
            "done": False,
            "records": [],
            "nextRecordsUrl": "/services/data/v60.0/query/01g-0",
        }
        return records

    kept: list[Record] = []
    salesforce_wire.rewrite = cut
    salesforce_wire.further = kept
    order = order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert order is not None
    assert order.lines.count() == len(kept) == 1


# -- not there -------------------------------------------------------------------------------------


def test_order_that_is_not_there_is_not_asked_for_again_for_a_while(
    client: SalesforceClient, salesforce_wire: SalesforceWire, clock: SetClock
) -> None:
    with time_machine.travel(clock(), tick=False) as traveller:
        for _ in range(5):
            assert order_fetch(salesforce_id=UNKNOWN_ID, client=client) is None
            assert order_fetch(salesforce_id=UNKNOWN_ID.lower(), client=client) is None
        assert len(salesforce_wire.queries) == 1
        traveller.shift(NOT_THERE_FOR + 1)
        assert order_fetch(salesforce_id=UNKNOWN_ID, client=client) is None
    assert len(salesforce_wire.queries) == 2
    assert not Order.objects.exists()


def test_each_key_is_remembered_by_itself(
    client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    assert order_fetch(order_number="99999999", client=client) is None
    assert order_fetch(digital_river_id="99999999", client=client) is None
    assert len(salesforce_wire.queries) == 2


@pytest.mark.parametrize("identifier", ["", "nonsense", "001" + UNKNOWN_ID[3:], UNKNOWN_ID + "A"])
def test_what_is_no_order_id_is_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match="is "):
        salesforce_order_id(identifier)


def test_two_keys_at_once_are_refused(client: SalesforceClient) -> None:
    with pytest.raises(ValueError, match="two keys"):
        order_fetch(order_number="1", digital_river_id="2", client=client)


# -- refused ---------------------------------------------------------------------------------------


def test_two_orders_with_one_number_are_not_guessed_between(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    salesforce_wire.rewrite = lambda records: records * 2
    with pytest.raises(OrderNotFetched, match="more than one order with the number"):
        order_fetch(order_number=str(record["OrderNumber"]), client=client)
    told = str(record["digitalriverv3__DR_Order_Id__c"])
    with pytest.raises(OrderNotFetched, match="more than one order with the Digital River id"):
        order_fetch(digital_river_id=told, client=client)
    assert not Order.objects.exists()


def test_record_that_cannot_be_used_names_the_field_and_what_to_do(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    salesforce_wire.rewrite = lambda records: [{**records[0], "CurrencyIsoCode": "XYZ"}]
    with pytest.raises(RecordUnusable) as refusal:
        order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert "CurrencyIsoCode is no ISO 4217 code." in str(refusal.value)
    assert "Ask a Salesforce administrator to correct the order" in str(refusal.value)
    assert not Order.objects.exists()


def test_order_whose_number_another_has_here_is_refused(
    record: Record, client: SalesforceClient
) -> None:
    make_order(int(str(record["OrderNumber"]))).save()
    Order.objects.update(order_number=record["OrderNumber"])
    with pytest.raises(RecordUnusable):
        order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert Order.objects.count() == 1


@pytest.mark.parametrize(
    "cut",
    [requests.ConnectionError("no route"), requests.ReadTimeout("slow")],
    ids=["no connection", "no answer"],
)
def test_salesforce_that_cannot_be_reached_is_asked_again_later(
    record: Record,
    client: SalesforceClient,
    salesforce_wire: SalesforceWire,
    cut: requests.RequestException,
) -> None:
    salesforce_wire.cut = cut
    with pytest.raises(OrderNotFetched, match=r"did not answer in time.*Try again in a minute"):
        order_fetch(salesforce_id=str(record["Id"]), client=client)
    salesforce_wire.cut = None
    assert order_fetch(salesforce_id=str(record["Id"]), client=client) is not None


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ((403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), "daily calls"),
        ((400, "INVALID_FIELD", "No such column 'DR_X__c' on entity 'Order'."), "DR_X__c"),
        ((400, "INVALID_TYPE", "sObject type 'Order' is not supported."), "let the desk read"),
        ((403, "API_DISABLED_FOR_ORG", "API is not enabled."), "let the desk read"),
        ((400, "MALFORMED_QUERY", "unexpected token"), "could not be asked"),
        ((503, "SERVER_UNAVAILABLE", "down"), "could not be asked"),
        ((401, "INVALID_SESSION_ID", "Session expired"), "let the desk sign in"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_refusal_is_told_with_what_to_do(
    record: Record,
    client: SalesforceClient,
    salesforce_wire: SalesforceWire,
    refusal: tuple[int, str, str],
    sentence: str,
) -> None:
    salesforce_wire.refusal = refusal
    with capture_logs() as logs, pytest.raises(OrderNotFetched, match=sentence) as told:
        order_fetch(order_number=str(record["OrderNumber"]), client=client)
    assert any(word in str(told.value) for word in ("Try again", "check_salesforce"))
    assert str(record["OrderNumber"]) not in str(logs)


def test_slow_salesforce_keeps_a_rep_waiting_for_seconds_only(
    desk: Desk, organisation: Organisation, settings: Settings
) -> None:
    settings.SALESFORCE_TIMEOUT = 1
    slow = Fault(FaultKind.LATENCY, path="/services/data/*", milliseconds=60_000, times=10)
    organisation.queue_fault(slow)
    started = monotonic()
    with pytest.raises(OrderNotFetched, match="did not answer in time"):
        order_fetch(order_number=SHOWCASE["worked_sample"])
    assert monotonic() - started < 10


def test_calls_that_are_nearly_used_up_are_left_to_others(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    salesforce_wire.usage = "api-usage=96/100"
    assert order_fetch(order_number="99999999", client=client) is None
    with pytest.raises(OrderNotFetched, match="used up, or nearly"):
        order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert len(salesforce_wire.queries) == 1


def test_look_ups_of_all_reps_together_keep_a_pace(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire, clock: SetClock
) -> None:
    refused = 0
    for number in range(100):
        try:
            order_fetch(order_number=f"9{number:07d}", client=client, clock=clock)
        except OrderNotFetched as error:
            assert "Try again in a minute" in str(error)  # noqa: PT017 -- some pass, some do not
            refused += 1
    assert len(salesforce_wire.queries) == 100 - refused
    assert 60 <= 100 - refused <= 61
    clock.forward(seconds=15)
    assert order_fetch(salesforce_id=str(record["Id"]), client=client, clock=clock) is not None


def test_desk_without_salesforce_says_so(settings: Settings) -> None:
    settings.SALESFORCE_TRANSPORT = settings.SALESFORCE_URL = settings.SALESFORCE_DOMAIN = ""
    with pytest.raises(OrderNotFetched, match="not connected to Salesforce"):
        order_fetch(order_number="00100203")


# -- an organisation with one currency -------------------------------------------------------------


def test_organisation_with_one_currency_is_asked_without_it(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire, settings: Settings
) -> None:
    settings.SALESFORCE_CURRENCY = "EUR"
    salesforce_wire.one_currency = True
    order = order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert order is not None
    assert order.currency == "EUR"
    assert len(salesforce_wire.queries) == 2
    order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert len(salesforce_wire.queries) == 3


def test_currency_that_is_not_told_is_named(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    salesforce_wire.one_currency = True
    with pytest.raises(OrderNotFetched, match="CurrencyIsoCode"):
        order_fetch(salesforce_id=str(record["Id"]), client=client)


def test_currency_of_the_record_wins(
    record: Record, client: SalesforceClient, settings: Settings
) -> None:
    settings.SALESFORCE_CURRENCY = "EUR"
    order = order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert order is not None
    assert order.currency == record["CurrencyIsoCode"] != "EUR"


# -- two at once -----------------------------------------------------------------------------------


def test_order_that_another_process_mirrors_meanwhile_is_found(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    def other() -> None:
        order_fetch(salesforce_id=str(record["Id"]), client=client)

    salesforce_wire.before = other
    order = order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert order == Order.objects.get()


# -- what a search looks up ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["00100203", "220000030336", "ORD-2026-114", "8015g00000ABCDE", "  00100203 ", "12345"]
)
def test_whole_key_may_be_looked_up(text: str) -> None:
    assert is_whole_key(text)


@pytest.mark.parametrize(
    "text",
    ["", "   ", "müller", "anna li", "anna@example.com", "1234", "AB-12", "0010\x00203", "'1234567",
     "00100203'", "1" * 41, "٠٠١٠٠٢٠٣", "%%%123", "00100203\n00100204"],
)  # fmt: skip
def test_what_is_no_whole_key_causes_no_call(
    text: str, client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    assert not is_whole_key(text)
    assert order_look_up(text=text, client=client) is None
    assert salesforce_wire.queries == []


@pytest.mark.parametrize("key", ["OrderNumber", "Id", "digitalriverv3__DR_Order_Id__c"])
def test_search_is_looked_up_by_what_it_looks_like(
    record: Record, client: SalesforceClient, salesforce_wire: SalesforceWire, key: str
) -> None:
    order = order_look_up(text=f" {record[key]} ", client=client)
    assert order is not None
    assert order.order_number == record["OrderNumber"]
    # The likeliest first.
    assert len(salesforce_wire.queries) == 1
    assert order_look_up(text=f" {record[key]} ", client=client) == order
    assert len(salesforce_wire.queries) == 1


def test_number_that_is_nowhere_is_looked_up_as_both(
    client: SalesforceClient, salesforce_wire: SalesforceWire
) -> None:
    assert order_look_up(text="99999999", client=client) is None
    by_number, by_id = salesforce_wire.queries
    assert "WHERE OrderNumber = '99999999'" in by_number
    assert "WHERE digitalriverv3__DR_Order_Id__c = '99999999'" in by_id


def test_salesforce_id_of_15_characters_is_known_here(
    record: Record, client: SalesforceClient
) -> None:
    order = order_fetch(salesforce_id=str(record["Id"]), client=client)
    assert order_known(text=str(record["Id"])[:15]) == order
    assert order_known(text=str(record["Id"]).lower()) == order
    assert order_known(text=str(record["OrderNumber"])) == order
    assert order_known(text=str(record["OrderNumber"])[:-1]) is None
