"""The client against the Salesforce stand-in: over real HTTP, and in this process."""

import csv
import io
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stamina
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from refunds.salesforce import queries
from refunds.salesforce.client import Credentials, SalesforceClient
from refunds.salesforce.errors import (
    FieldMissing,
    JobFailed,
    LimitNearlyUsed,
    LimitReached,
    LocatorExpired,
    QueryRefused,
    RecordLocked,
    RightMissing,
    SalesforceError,
    SignInRefused,
    Unanswered,
    Unreachable,
    UnreadableAnswer,
)
from sandbox.salesforce.application import SalesforceApplication
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.shape import INTEGRATION_USER, Shape
from sandbox.salesforce.transport import in_process_for
from sandbox.serving import served
from sandbox.store import Sandbox
from tests.desk import SetClock
from tests.salesforce.wire import private_key

FIELDS = queries.Fields(namespace="digitalriverv3")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
KEY = "stand-in-consumer-key"
SECRET = "stand-in-consumer-secret"
BY_SECRET = Credentials(domain="sandbox.my", consumer_key=KEY, consumer_secret=SECRET)


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory) -> Organisation:
    return Organisation(Sandbox(tmp_path_factory.mktemp("salesforce") / "state.sqlite3"))


@pytest.fixture(scope="module")
def address(organisation: Organisation) -> Iterator[str]:
    with served(SalesforceApplication(organisation)) as found:
        yield found


@pytest.fixture(autouse=True)
def _as_it_was(organisation: Organisation) -> Iterator[None]:
    yield
    organisation.clear_faults()
    organisation.reshape(**{name: getattr(Shape(), name) for name in Shape.__slots__})
    organisation.set_calls(0)


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def client_at(address: str, **options: Any) -> SalesforceClient:
    given: dict[str, Any] = {"credentials": BY_SECRET, "url": address, "timeout": 10.0}
    return SalesforceClient(**(given | options))


@pytest.fixture
def client(address: str) -> Iterator[SalesforceClient]:
    found = client_at(address)
    yield found
    found.close()


# -- signing in ------------------------------------------------------------------------------------


def test_client_credentials_sign_in(client: SalesforceClient) -> None:
    assert client.query_page(queries.refund_groups()).records
    assert client.usage is not None
    assert client.usage.used == 1
    assert client.server_time is not None
    assert abs(client.server_time - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.fixture(scope="module")
def pem() -> str:
    return private_key()


def public_of(pem: str) -> str:
    key = load_pem_private_key(pem.encode(), password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def by_key(pem: str, **changes: str) -> Credentials:
    given = {"domain": "login", "consumer_key": KEY, "username": INTEGRATION_USER}
    return Credentials(private_key=pem, **(given | changes))


@pytest.mark.parametrize("domain", ["login", "test", "acme.my"])
def test_jwt_signs_in(organisation: Organisation, address: str, pem: str, domain: str) -> None:
    organisation.reshape(public_key=public_of(pem))
    client = client_at(address, credentials=by_key(pem, domain=domain))
    assert client.query_page(queries.refund_groups()).records
    client.close()


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (Credentials(domain="a.my", consumer_key="x", consumer_secret=SECRET), "CONSUMER_KEY"),
        (Credentials(domain="a.my", consumer_key=KEY, consumer_secret="x"), "CONSUMER_SECRET"),
    ],
)
def test_wrong_key_and_wrong_secret_are_told_apart(
    address: str, credentials: Credentials, told: str
) -> None:
    client = client_at(address, credentials=credentials)
    with pytest.raises(SignInRefused, match=told):
        client.query_page(queries.refund_groups())
    client.close()


def test_jwt_of_another_key_or_user_is_told_apart(
    organisation: Organisation, address: str, pem: str
) -> None:
    for credentials, told in (
        (by_key(pem), "SALESFORCE_PRIVATE_KEY_FILE"),
        (by_key(pem, username="nobody@acme.example"), "not approved"),
    ):
        client = client_at(address, credentials=credentials)
        with pytest.raises(SignInRefused, match=told):
            client.query_page(queries.refund_groups())
        client.close()
        organisation.reshape(public_key=public_of(pem))


@pytest.mark.parametrize(
    ("minutes", "told"), [(12, "12 minutes ahead"), (-12, "12 minutes behind")]
)
def test_jwt_with_the_clock_off_names_the_difference(
    sandbox: Sandbox, clock: SetClock, pem: str, minutes: int, told: str
) -> None:
    clock.now = datetime.now(UTC) - timedelta(minutes=minutes)
    organisation = Organisation(sandbox)
    organisation.reshape(public_key=public_of(pem))
    client = SalesforceClient(credentials=by_key(pem), adapter=in_process_for(organisation))
    with pytest.raises(SignInRefused, match=told):
        client.query_page(queries.refund_groups())


def test_session_that_has_run_out_is_renewed(
    organisation: Organisation, client: SalesforceClient
) -> None:
    job = client.start_bulk(queries.orders(FIELDS))
    page = client.query_page(queries.changed_orders(FIELDS, LONG_AGO))
    calls: list[Callable[[], object]] = [
        lambda: client.query_page(queries.refund_groups()),
        lambda: client.bulk_job(job),
        lambda: client.bulk_page(job, most=10),
        lambda: client.describe("Order"),
        lambda: client.create("Task", {"Subject": "x", "WhatId": page.records[0]["Id"]}),
        lambda: client.update("Order", str(page.records[0]["Id"]), {"Status": "Activated"}),
        lambda: client.end_bulk(job),
    ]
    for call in calls:
        organisation.end_sessions()
        call()


# -- queries and bulk jobs -------------------------------------------------------------------------


def test_query_walks_all_pages(organisation: Organisation, client: SalesforceClient) -> None:
    organisation.reshape(orders=2_100)

    records = list(client.query(queries.changed_orders(FIELDS, LONG_AGO)))

    assert len({record["Id"] for record in records}) == len(records) > 2_100
    assert client.usage is not None
    assert client.usage.used == 2
    stamps = [str(record["SystemModstamp"]) for record in records]
    assert stamps == sorted(stamps)


def test_page_37_that_dies_is_asked_for_again(
    organisation: Organisation, client: SalesforceClient
) -> None:
    organisation.reshape(orders=400)
    job = client.start_bulk(queries.orders(FIELDS))
    client.wait_for_bulk(job, on_wait=lambda: None)
    for kind in (FaultKind.BREAKS_OFF, FaultKind.LOST_BEFORE):
        organisation.queue_fault(Fault(kind, path="*/results", skip=36))

    ids, read = walked(client, job, most=10)

    assert len(set(ids)) == len(ids) == read > 400
    assert organisation.faults() == []


def walked(client: SalesforceClient, job: str, *, most: int) -> tuple[list[str], int]:
    """Return the ids of a job's records, and how many the pages said there were."""
    ids: list[str] = []
    read, locator = 0, ""
    while True:
        page = client.bulk_page(job, locator, most=most)
        ids += [row["Id"] for row in csv.DictReader(io.StringIO(page.text))]
        read += page.records
        locator = page.locator
        if not locator:
            return ids, read


def test_bulk_job_is_waited_for_and_has_the_records_of_the_query(
    organisation: Organisation, address: str
) -> None:
    organisation.reshape(job_seconds=0.3)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(0.2)

    client = client_at(address, sleep=pause)
    job = client.start_bulk(queries.lines(FIELDS))
    with pytest.raises(QueryRefused):
        client.bulk_page(job)

    done = client.wait_for_bulk(job, on_wait=lambda: None)
    ids, read = walked(client, job, most=1_000)

    assert waits
    assert done.is_complete
    assert done.records == read == len(set(ids))
    header = client.bulk_page(job, most=1).text.splitlines()[0]
    assert header.replace('"', "").split(",") == list(FIELDS.of_lines())
    client.close()


def test_bulk_job_that_fails(organisation: Organisation, client: SalesforceClient) -> None:
    organisation.queue_fault(Fault(FaultKind.JOB_FAILS, method="POST", path="*/jobs/query"))
    job = client.start_bulk(queries.orders(FIELDS))
    with pytest.raises(JobFailed):
        client.wait_for_bulk(job, on_wait=lambda: None)


def test_bulk_job_that_was_ended_is_gone(client: SalesforceClient) -> None:
    job = client.start_bulk(queries.orders(FIELDS))
    client.end_bulk(job)
    client.end_bulk(job)
    with pytest.raises(LocatorExpired):
        client.bulk_job(job)
    with pytest.raises(LocatorExpired):
        client.bulk_page(job)


def test_locator_that_salesforce_does_not_keep(client: SalesforceClient) -> None:
    with pytest.raises(LocatorExpired):
        client.next_page("/services/data/v60.0/query/01g000000000001AAA-2000")


def test_deleted_orders_are_found_by_query_all(
    organisation: Organisation, client: SalesforceClient
) -> None:
    order = str(client.query_page(queries.changed_orders(FIELDS, LONG_AGO)).records[0]["Id"])
    organisation.delete("Order", order)
    soql = queries.deleted("Order", LONG_AGO)
    assert [record["Id"] for record in client.query(soql, deleted=True)] == [order]
    organisation.undelete("Order", order)
    assert list(client.query(soql, deleted=True)) == []


def test_one_order_is_found_by_each_of_its_names(client: SalesforceClient) -> None:
    any_order = next(
        record
        for record in client.query(queries.changed_orders(FIELDS, LONG_AGO))
        if record["digitalriverv3__DR_Order_Id__c"]
    )
    for by in ("Id", "OrderNumber", "digitalriverv3__DR_Order_Id__c"):
        soql = queries.one_order(FIELDS, by=by, value=str(any_order[by]))
        (found,) = client.query_page(soql).records
        assert found["Id"] == any_order["Id"]
        assert isinstance(found["OrderItems"], dict)
    soql = queries.one_order(FIELDS, by="OrderNumber", value="' OR Id != '")
    assert client.query_page(soql).records == []


def test_members_and_tasks_are_found(organisation: Organisation, client: SalesforceClient) -> None:
    groups = [
        str(record["PermissionSetGroupId"]) for record in client.query(queries.refund_groups())
    ]
    assert list(client.query(queries.refund_members(groups)))
    order = str(client.query_page(queries.changed_orders(FIELDS, LONG_AGO)).records[0]["Id"])
    subject = "Refund R-1 \\ it's 12,50 € 🎁"
    assert client.query_page(queries.task_of(order, subject)).records == []
    made = client.create("Task", {"Subject": subject, "WhatId": order})
    assert [record["Id"] for record in client.query(queries.task_of(order, subject))] == [made]


# -- what goes wrong -------------------------------------------------------------------------------

ERRORS = [
    ("INVALID_FIELD", FieldMissing, 1),
    ("MALFORMED_QUERY", QueryRefused, 1),
    ("INVALID_TYPE", RightMissing, 1),
    ("API_DISABLED_FOR_ORG", RightMissing, 1),
    ("REQUEST_LIMIT_EXCEEDED", LimitReached, 1),
    ("INVALID_QUERY_LOCATOR", LocatorExpired, 1),
    ("UNABLE_TO_LOCK_ROW", RecordLocked, 3),
    ("SERVER_UNAVAILABLE", Unreachable, 3),
    ("UNKNOWN_EXCEPTION", Unreachable, 3),
    ("INVALID_SESSION_ID", SignInRefused, 2),
]


@pytest.mark.parametrize(("code", "kind", "tries"), ERRORS)
def test_each_error_over_the_wire(
    organisation: Organisation,
    client: SalesforceClient,
    code: str,
    kind: type[SalesforceError],
    tries: int,
) -> None:
    organisation.queue_fault(Fault(FaultKind.ERROR, method="GET", code=code, times=tries))

    with pytest.raises(SalesforceError) as caught:
        client.query_page(queries.refund_groups())

    assert type(caught.value) is kind
    assert caught.value.code == code
    assert organisation.faults() == []


@pytest.mark.parametrize("code", ["UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "INVALID_SESSION_ID"])
def test_what_passes_is_asked_again_without_a_word(
    organisation: Organisation, client: SalesforceClient, code: str
) -> None:
    organisation.queue_fault(Fault(FaultKind.ERROR, method="GET", code=code))
    assert client.query_page(queries.refund_groups()).records


@pytest.mark.parametrize(
    "kind",
    [FaultKind.LOST_BEFORE, FaultKind.BREAKS_OFF, FaultKind.CUT_SHORT, FaultKind.PROXY_PAGE],
)
def test_read_that_gets_lost_is_repeated(
    organisation: Organisation, client: SalesforceClient, kind: FaultKind
) -> None:
    organisation.queue_fault(Fault(kind, method="GET", status=502))
    assert client.query_page(queries.refund_groups()).records
    organisation.queue_fault(Fault(kind, method="GET", status=502, times=3))
    with pytest.raises((Unreachable, UnreadableAnswer)):
        client.query_page(queries.refund_groups())


def test_slow_answer_is_not_waited_for(organisation: Organisation, address: str) -> None:
    client = client_at(address, timeout=0.2)
    client.query_page(queries.refund_groups())
    organisation.queue_fault(Fault(FaultKind.LATENCY, method="GET", milliseconds=1_000, times=3))
    began = time.monotonic()
    with pytest.raises(Unreachable):
        client.query_page(queries.refund_groups())
    assert time.monotonic() - began < 2
    client.close()


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_AFTER, FaultKind.BREAKS_OFF, FaultKind.ERROR_AFTER]
)
def test_create_whose_answer_is_lost_is_unanswered_and_was_made_once(
    organisation: Organisation, client: SalesforceClient, kind: FaultKind
) -> None:
    order = str(client.query_page(queries.changed_orders(FIELDS, LONG_AGO)).records[0]["Id"])
    subject = f"Refund R-1 by {kind}"
    organisation.queue_fault(Fault(kind, method="POST", path="*/sobjects/*"))

    with pytest.raises(Unanswered):
        client.create("Task", {"Subject": subject, "WhatId": order})

    assert len(list(client.query(queries.task_of(order, subject)))) == 1
    assert [task["Subject"] for task in organisation.tasks()].count(subject) == 1


def test_server_that_is_away_was_never_reached() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    client = client_at(address)
    with pytest.raises(Unreachable, match="nothing was sent"):
        client.create("Task", {"Subject": "x"})
    client.close()


def test_limit_stops_the_desk_before_it_stops_everybody(
    organisation: Organisation, client: SalesforceClient
) -> None:
    organisation.reshape(daily_calls=100)
    organisation.set_calls(93)
    client.query_page(queries.refund_groups())
    client.require_calls_left()
    client.query_page(queries.refund_groups())
    with pytest.raises(LimitNearlyUsed, match="95 of its 100"):
        client.require_calls_left()
    organisation.set_calls(100)
    with pytest.raises(LimitReached):
        client.query_page(queries.refund_groups())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"has_package": False}, "digitalriverv3__DR_Order_Id__c"),
        ({"namespace": "other"}, "digitalriverv3__DR_Order_Id__c"),
        ({"has_currency": False}, "CurrencyIsoCode"),
        ({"taken": frozenset({"Order.TotalAmount"})}, "TotalAmount"),
    ],
)
def test_missing_field_is_named_by_rest_and_bulk(
    organisation: Organisation, client: SalesforceClient, changes: dict[str, Any], field: str
) -> None:
    organisation.reshape(**changes)
    for call in (
        lambda: client.query_page(queries.changed_orders(FIELDS, LONG_AGO)),
        lambda: client.start_bulk(queries.orders(FIELDS)),
    ):
        with pytest.raises(FieldMissing) as caught:
            call()
        assert caught.value.field == field
        assert caught.value.sobject == "Order"


def test_missing_object_is_named(organisation: Organisation, client: SalesforceClient) -> None:
    organisation.reshape(taken=frozenset({"PermissionSetGroupComponent"}))
    with pytest.raises(RightMissing, match="PermissionSetGroupComponent"):
        client.query_page(queries.refund_groups())


def test_in_process_it_is_the_same(organisation: Organisation) -> None:
    client = SalesforceClient(credentials=BY_SECRET, adapter=in_process_for(organisation))
    assert client.query_page(queries.refund_groups()).records
    organisation.queue_fault(Fault(FaultKind.BREAKS_OFF, method="GET"))
    assert client.query_page(queries.refund_groups()).records
    organisation.queue_fault(Fault(FaultKind.LOST_AFTER, method="POST", path="*/sobjects/*"))
    with pytest.raises(Unanswered):
        client.create("Task", {"Subject": "x"})
