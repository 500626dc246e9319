"""The client on the wire: what it sends, and what each answer becomes."""

import json
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import stamina
import structlog
from urllib3.exceptions import IncompleteRead, ProtocolError

from refunds.salesforce import wire as bounds
from refunds.salesforce.client import BulkJob, Credentials, SalesforceClient, Usage
from refunds.salesforce.errors import (
    JobFailed,
    LimitNearlyUsed,
    LocatorExpired,
    RightMissing,
    SignInRefused,
    Unreachable,
    UnreadableAnswer,
)
from tests.salesforce.wire import (
    BY_SECRET,
    DATE,
    HOST,
    KEY,
    NOW,
    SECRET,
    TOKEN,
    Answer,
    Wire,
    client_over,
    page,
    refused,
    signed_in,
)

JOB = "750000000000001AAA"
MORE = "/services/data/v60.0/query/01g000000000001-2000"
LINE_ENDS = "\u2028"


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


def job(state: str, **more: object) -> Answer:
    return Answer(200, {"id": JOB, "operation": "query", "state": state, **more})


def csv(text: str | bytes, *, records: int, locator: str = "null") -> Answer:
    headers = {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(records)}
    return Answer(200, text, {**headers, "Content-Type": "text/csv"})


def sent(wire: Wire) -> object:
    body = wire.requests[0].body
    assert isinstance(body, str | bytes)
    return json.loads(body)


def broken_page() -> Answer:
    return Answer(200, [b"Id\n801", ProtocolError("broken", IncompleteRead(6, 800))])


# -- queries ---------------------------------------------------------------------------------------


def test_query_streams_all_pages_with_exact_numbers() -> None:
    wire = Wire(
        Answer(
            200,
            f'{{"totalSize": 2, "done": false, "nextRecordsUrl": "{MORE}", "records": [{{"Id": "1",'
            '"TotalAmount": 12.10, "Count": 2, "Account": {"Name": "Élan 🎁"}}]}',
        ),
        page({"Id": "2"}),
    )

    records = list(client_over(wire).query("SELECT Id FROM Order"))

    assert [record["Id"] for record in records] == ["1", "2"]
    assert str(records[0]["TotalAmount"]) == "12.10"
    assert records[0]["Count"] == 2
    assert records[0]["Account"] == {"Name": "Élan 🎁"}
    first, second = (urlsplit(request.url or "") for request in wire.requests)
    assert (first.netloc, first.path) == (HOST, "/services/data/v60.0/query/")
    assert parse_qs(str(first.query)) == {"q": ["SELECT Id FROM Order"]}
    assert second.path == MORE
    assert wire.requests[1].headers["Authorization"] == f"Bearer {TOKEN}"


def test_query_of_deleted_records_asks_query_all() -> None:
    wire = Wire(page())
    assert list(client_over(wire, version="61.0").query("SELECT", deleted=True)) == []
    assert urlsplit(wire.requests[0].url or "").path == "/services/data/v61.0/queryAll/"


def test_query_is_read_page_by_page_as_it_is_walked() -> None:
    wire = Wire(page({"Id": "1"}, more=MORE, total=5), page({"Id": "2"}))
    records = client_over(wire).query("SELECT")
    assert next(records)["Id"] == "1"
    assert len(wire.requests) == 1


def test_query_page_that_dies_is_asked_for_again() -> None:
    wire = Wire(page({"Id": "1"}, more=MORE), broken_page(), page({"Id": "2"}))
    assert [record["Id"] for record in client_over(wire).query("SELECT")] == ["1", "2"]
    assert len(wire.requests) == 3


def test_query_that_leads_in_a_circle_is_unreadable() -> None:
    wire = Wire(page({"Id": "1"}, more=MORE))
    with pytest.raises(UnreadableAnswer):
        list(client_over(wire).query("SELECT"))


@pytest.mark.parametrize(
    "locator",
    ["", "//evil.example/query/1", ".evil.example/services/data/v60.0/query/1", "@evil", 7],
)
def test_query_does_not_follow_a_locator_that_leads_elsewhere(locator: object) -> None:
    body = {"totalSize": 1, "done": False, "records": [], "nextRecordsUrl": locator}
    wire = Wire(Answer(200, body))
    with pytest.raises(UnreadableAnswer):
        client_over(wire).query_page("SELECT")


@pytest.mark.parametrize("locator", ["@evil.example/x", f"{MORE}/../x", ""])
def test_next_page_of_what_is_no_locator_asks_nobody(locator: str) -> None:
    wire = Wire(page())
    with pytest.raises(LocatorExpired):
        client_over(wire).next_page(locator)
    assert wire.requests == []


@pytest.mark.parametrize(
    "answer", [refused(400, "INVALID_QUERY_LOCATOR"), refused(404, "NOT_FOUND")]
)
def test_next_page_that_is_gone_is_expired(answer: Answer) -> None:
    with pytest.raises(LocatorExpired):
        client_over(Wire(answer)).next_page(MORE)


def test_query_total_is_told_where_salesforce_tells_it() -> None:
    assert client_over(Wire(page(total=7))).query_page("SELECT").total == 7
    body = {"totalSize": "many", "done": True, "records": []}
    assert client_over(Wire(Answer(200, body))).query_page("SELECT").total is None


# -- bulk ------------------------------------------------------------------------------------------


def test_start_bulk_sends_the_query_and_returns_the_job() -> None:
    wire = Wire(job("UploadComplete"))

    assert client_over(wire).start_bulk("SELECT Id FROM Order") == JOB

    assert urlsplit(wire.requests[0].url or "").path == "/services/data/v60.0/jobs/query"
    assert sent(wire) == {
        "operation": "query",
        "query": "SELECT Id FROM Order",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }


@pytest.mark.parametrize("state", ["UploadComplete", "InProgress"])
def test_bulk_job_that_is_under_way(state: str) -> None:
    found = client_over(Wire(job(state, numberRecordsProcessed=12))).bulk_job(JOB)
    assert found == BulkJob(id=JOB, is_complete=False, records=12)


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_bulk_job_that_failed_says_so_without_its_words(state: str) -> None:
    with pytest.raises(JobFailed) as caught:
        client_over(Wire(job(state, errorMessage="at Jane Doe"))).bulk_job(JOB)
    assert "Jane" not in str(caught.value)
    assert caught.value.code == state


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.bulk_job(JOB),
        lambda client: client.bulk_page(JOB),
        lambda client: client.bulk_job("../../evil"),
        lambda client: client.bulk_page(""),
    ],
)
def test_bulk_job_that_is_gone_is_expired(call: Callable[[SalesforceClient], object]) -> None:
    with pytest.raises(LocatorExpired):
        call(client_over(Wire(refused(404, "NOT_FOUND"))))


@pytest.mark.parametrize(
    "body", [{"state": "JobComplete"}, {"id": "../x", "state": "JobComplete"}, {"id": JOB}, []]
)
def test_bulk_job_that_makes_no_sense(body: object) -> None:
    with pytest.raises(UnreadableAnswer):
        client_over(Wire(Answer(200, body))).bulk_job(JOB)


def test_wait_for_bulk_pauses_longer_and_longer() -> None:
    pauses: list[float] = []
    waits: list[int] = []
    wire = Wire(*[job("InProgress")] * 8, job("JobComplete", numberRecordsProcessed=3))

    done = client_over(wire, sleep=pauses.append).wait_for_bulk(
        JOB, on_wait=lambda: waits.append(1)
    )

    assert done == BulkJob(id=JOB, is_complete=True, records=3)
    assert pauses[0] == 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10.0
    assert len(waits) == len(pauses) == 8


def test_wait_for_bulk_gives_up_after_its_limit() -> None:
    pauses: list[float] = []
    client = client_over(Wire(job("InProgress")), sleep=pauses.append)
    with pytest.raises(JobFailed, match="not finished the bulk job in time"):
        client.wait_for_bulk(JOB, on_wait=lambda: None, longest=30)
    assert 30 <= sum(pauses) < 45


def test_wait_for_bulk_ends_when_on_wait_raises() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client_over(Wire(job("InProgress"))).wait_for_bulk(JOB, on_wait=stop)


def test_bulk_pages_with_their_locators() -> None:
    text = f'"Id","Account.Name"\n"1","Élan 🎁 {LINE_ENDS}"\n'
    wire = Wire(csv(text, records=1, locator="MTAwMDA="), csv('"Id"\n', records=0))
    client = client_over(wire)

    first = client.bulk_page(JOB, most=500)
    second = client.bulk_page(JOB, first.locator)

    assert (first.text, first.records, first.locator) == (text, 1, "MTAwMDA=")
    assert (second.text, second.records, second.locator) == ('"Id"\n', 0, "")
    one, two = (urlsplit(request.url or "") for request in wire.requests)
    assert one.path == f"/services/data/v60.0/jobs/query/{JOB}/results"
    assert parse_qs(str(one.query)) == {"maxRecords": ["500"]}
    assert parse_qs(str(two.query)) == {"maxRecords": ["10000"], "locator": ["MTAwMDA="]}
    assert wire.requests[0].headers["Accept"] == "text/csv; charset=UTF-8"


def test_bulk_page_that_dies_is_asked_for_again() -> None:
    wire = Wire(broken_page(), csv("Id\n1\n", records=1))
    assert client_over(wire).bulk_page(JOB).records == 1
    assert [request.url for request in wire.requests] == [wire.requests[0].url] * 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "Id\n1\n"),
        csv("Id\n", records=-1),
        csv(b"Id\n\xff\n", records=1),
        csv("Id\n", records=1, locator="two words"),
        Answer(200, "<html>Sign in to the hotel</html>", {"Content-Type": "text/html"}),
    ],
)
def test_bulk_page_that_makes_no_sense(answer: Answer) -> None:
    with pytest.raises(UnreadableAnswer):
        client_over(Wire(answer)).bulk_page(JOB)


def test_bulk_page_has_no_null_characters() -> None:
    assert client_over(Wire(csv("Id\n1\x00\n", records=1))).bulk_page(JOB).text == "Id\n1\n"


def test_end_bulk_deletes_the_job_and_is_fine_without_it() -> None:
    wire = Wire(Answer(204), refused(404, "NOT_FOUND"), refused(400, "INVALIDJOBSTATE"))
    client = client_over(wire)
    client.end_bulk(JOB)
    client.end_bulk(JOB)
    client.end_bulk(JOB)
    assert [request.method for request in wire.requests] == ["DELETE"] * 3


# -- records ---------------------------------------------------------------------------------------


def test_describe_tells_fields_and_rights() -> None:
    body = {
        "queryable": True,
        "createable": False,
        "fields": [{"name": "Id", "createable": False}, {"name": "Subject", "createable": True}],
    }
    wire = Wire(Answer(200, body))

    seen = client_over(wire).describe("Task")

    assert seen.fields == {"Id", "Subject"}
    assert seen.createable == {"Subject"}
    assert seen.may_query
    assert not seen.may_create
    path = urlsplit(wire.requests[0].url or "").path
    assert path == "/services/data/v60.0/sobjects/Task/describe"


def test_describe_of_what_is_not_there() -> None:
    with pytest.raises(RightMissing):
        client_over(Wire(refused(404, "NOT_FOUND"))).describe("Task")
    with pytest.raises(UnreadableAnswer):
        client_over(Wire(Answer(200, {"name": "Task"}))).describe("Task")
    with pytest.raises(ValueError, match="API name"):
        client_over(Wire(page())).describe("../Task")


def test_create_sends_the_fields_once_and_returns_the_id() -> None:
    wire = Wire(Answer(201, {"id": "00T000000000001AAA", "success": True, "errors": []}))

    made = client_over(wire).create("Task", {"Subject": "R-1: 12,50 € 🎁"})

    assert made == "00T000000000001AAA"
    (request,) = wire.requests
    assert request.method == "POST"
    assert urlsplit(request.url or "").path == "/services/data/v60.0/sobjects/Task/"
    assert sent(wire) == {"Subject": "R-1: 12,50 € 🎁"}


def test_update_changes_fields_and_may_be_repeated() -> None:
    wire = Wire(requests.ReadTimeout(), refused(400, "UNABLE_TO_LOCK_ROW"), Answer(204))

    client_over(wire).update("Order", "801000000000001AAA", {"Status": "Activated"})

    assert [request.method for request in wire.requests] == ["PATCH"] * 3
    path = urlsplit(wire.requests[0].url or "").path
    assert path == "/services/data/v60.0/sobjects/Order/801000000000001AAA"


def test_update_of_what_is_no_id() -> None:
    with pytest.raises(ValueError, match="record_id"):
        client_over(Wire(page())).update("Order", "../Task", {})


# -- sessions --------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_first_call() -> None:
    wire = Wire(page())
    client_over(wire)
    assert wire.sign_ins == []


def test_session_that_has_run_out_is_renewed_with_its_new_host() -> None:
    wire = Wire(page(), refused(401, "INVALID_SESSION_ID", "Session expired or invalid"), page())
    client = client_over(wire)
    client.query_page("SELECT")
    wire.sign_in = signed_in("00Dnew!token", "https://moved.my.salesforce.com")

    client.query_page("SELECT")

    assert len(wire.sign_ins) == 2
    assert urlsplit(wire.requests[2].url or "").netloc == "moved.my.salesforce.com"
    assert wire.requests[2].headers["Authorization"] == "Bearer 00Dnew!token"


CALLS: list[tuple[Callable[[SalesforceClient], object], Answer]] = [
    (lambda client: client.next_page(MORE), page()),
    (lambda client: client.start_bulk("SELECT"), job("UploadComplete")),
    (lambda client: client.bulk_job(JOB), job("InProgress")),
    (lambda client: client.bulk_page(JOB), csv("Id\n", records=0)),
    (lambda client: client.end_bulk(JOB), Answer(204)),
    (lambda client: client.describe("Task"), Answer(200, {"fields": []})),
    (lambda client: client.create("Task", {}), Answer(201, {"id": "00T000000000001"})),
    (lambda client: client.update("Order", "801000000000001", {}), Answer(204)),
]


@pytest.mark.parametrize(("call", "answer"), CALLS)
def test_session_is_renewed_by_every_call(
    call: Callable[[SalesforceClient], object], answer: Answer
) -> None:
    wire = Wire(refused(401, "INVALID_SESSION_ID"), answer)
    call(client_over(wire))
    assert len(wire.sign_ins) == 2
    assert len(wire.requests) == 2


@pytest.mark.parametrize(
    "answer", [refused(401, "INVALID_SESSION_ID"), Answer(401, ""), Answer(401, [])]
)
def test_session_that_is_never_taken_ends_after_one_renewal(answer: Answer) -> None:
    wire = Wire(answer)
    with pytest.raises(SignInRefused, match="does not take it"):
        client_over(wire).query_page("SELECT")
    assert len(wire.sign_ins) == 2
    assert len(wire.requests) == 2


def test_threads_share_one_session_and_renew_it_once() -> None:
    many, gate = 8, threading.Barrier(8)

    class Crowd(Wire):
        def send(  # type: ignore[override]
            self, request: requests.PreparedRequest, **options: object
        ) -> requests.Response:
            if "oauth2" in (request.url or ""):
                self.sign_ins.append(request)
                number = len(self.sign_ins)
                return signed_in(f"token-{number}").given_to(request)
            if request.headers["Authorization"] == "Bearer token-1":
                gate.wait(timeout=10)
                return refused(401, "INVALID_SESSION_ID").given_to(request)
            return page().given_to(request)

    wire = Crowd(page())
    client = client_over(wire)
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            client.query_page("SELECT")
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the test judges it
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert failures == []
    assert len(wire.sign_ins) == 2


# -- limits and the clock --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "usage"),
    [
        ("api-usage=18/5000", Usage(18, 5000)),
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=desk)", Usage(25, 5000)),
        ("per-app-api-usage=17/250(appName=desk); api-usage=25/5000", Usage(25, 5000)),
        ("per-app-api-usage=17/250(appName=desk)", None),
        ("api-usage=many", None),
        ("", None),
    ],
)
def test_usage_comes_from_the_last_answer(header: str, usage: Usage | None) -> None:
    answer = page()
    answer.headers["Sforce-Limit-Info"] = header
    client = client_over(Wire(answer))
    client.query_page("SELECT")
    assert client.usage == usage


def test_usage_is_known_from_a_refusal_as_well() -> None:
    client = client_over(Wire(refused(400, "X_Y", "no", Sforce_Limit_Info="api-usage=9/10")))
    with pytest.raises(Exception, match="does not take"):
        client.query_page("SELECT")
    assert client.usage == Usage(9, 10)


@pytest.mark.parametrize(("used", "stops"), [(94, False), (95, True), (100, True)])
def test_require_calls_left_stops_at_its_share(used: int, stops: bool) -> None:
    answer = page()
    answer.headers["Sforce-Limit-Info"] = f"api-usage={used}/100"
    client = client_over(Wire(answer))
    client.require_calls_left()
    client.query_page("SELECT")
    if not stops:
        client.require_calls_left()
        return
    with pytest.raises(LimitNearlyUsed, match=rf"used {used} of its 100 "):
        client.require_calls_left()


def test_require_calls_left_takes_the_share_it_was_given() -> None:
    answer = page()
    answer.headers["Sforce-Limit-Info"] = "api-usage=50/100"
    client = client_over(Wire(answer), stop_at_share=Decimal("0.5"))
    client.query_page("SELECT")
    with pytest.raises(LimitNearlyUsed):
        client.require_calls_left()


def test_server_time_is_salesforces_clock() -> None:
    odd = page()
    odd.headers["Date"] = "soon"
    client = client_over(Wire(page(), odd))
    assert client.server_time is None
    client.query_page("SELECT")
    assert client.server_time == NOW
    client.query_page("SELECT")
    assert client.server_time == NOW


# -- where calls go, and how long and large they may be --------------------------------------------


def test_every_call_has_the_time_limit() -> None:
    wire = Wire(page())
    client_over(wire, timeout=7.0).query_page("SELECT")
    assert [options["timeout"] for options in wire.options] == [7.0, 7.0]


def test_url_takes_the_place_of_every_host() -> None:
    wire = Wire(page(more=MORE), page())
    client = client_over(wire, url="http://127.0.0.1:9000")
    list(client.query("SELECT"))
    called = [*wire.sign_ins, *wire.requests]
    assert {urlsplit(request.url or "").netloc for request in called} == {"127.0.0.1:9000"}
    assert {urlsplit(request.url or "").scheme for request in called} == {"http"}
    assert not any("Host" in request.headers for request in called)


def test_proxies_of_the_environment_are_left_out_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    near, far, plain = Wire(page()), Wire(page()), Wire(page())

    client_over(near, url="http://127.0.0.1:9000").query_page("SELECT")
    client_over(far, url="https://stand-in.example").query_page("SELECT")
    client_over(plain).query_page("SELECT")

    assert not near.options[-1]["proxies"]
    for wire in (far, plain):
        proxies = wire.options[-1]["proxies"]
        assert isinstance(proxies, dict)
        assert proxies["https"] == "http://proxy.invalid:3128"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status: int) -> None:
    wire = Wire(Answer(status, b"", {"Location": "https://evil.example/"}))
    with pytest.raises(Unreachable, match="leads elsewhere"):
        client_over(wire).query_page("SELECT")
    assert len(wire.requests) == 1


def test_redirect_of_the_sign_in_is_not_followed() -> None:
    wire = Wire(page(), sign_in=Answer(302, b"", {"Location": "https://evil.example/"}))
    with pytest.raises(Unreachable, match="leads elsewhere"):
        client_over(wire).query_page("SELECT")
    assert len(wire.sign_ins) == 1


def test_answer_that_is_too_large_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST_BODY", 1000)
    wire = Wire(csv("x" * 1001, records=1))
    with pytest.raises(UnreadableAnswer) as caught:
        client_over(wire).bulk_page(JOB)
    assert caught.value.code == "TOO_LARGE"
    assert len(wire.requests) == 1


def test_netrc_does_not_take_the_place_of_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text(f"machine {HOST} login me password mine\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    wire = Wire(page())
    client_over(wire).query_page("SELECT")
    assert wire.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert str(wire.sign_ins[0].headers["Authorization"]).startswith("Basic ")


def test_log_tells_each_call_without_query_token_or_secret() -> None:
    with structlog.testing.capture_logs() as logs:
        client_over(Wire(page())).query_page("SELECT Id FROM Order WHERE Name = 'Jane Doe'")
    told = json.dumps(logs)
    assert [entry["path"] for entry in logs] == [
        "/services/oauth2/token",
        "/services/data/v60.0/query/",
    ]
    for secret in ("Jane", "SELECT", TOKEN, SECRET, KEY):
        assert secret not in told


def test_credentials_keep_their_secrets_to_themselves() -> None:
    told = repr(Credentials(domain="acme.my", consumer_key=KEY, consumer_secret=SECRET))
    assert SECRET not in told
    signed = Credentials(domain="login", consumer_key=KEY, private_key=SECRET, username="u@acme")
    assert SECRET not in repr(signed)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"version": "60"}, "version"),
        ({"version": "v60.0"}, "version"),
        ({"timeout": 0}, "timeout"),
        ({"url": "127.0.0.1:9000"}, "url"),
        ({"url": "http://127.0.0.1:9000/path"}, "url"),
        ({"url": "http://user@127.0.0.1"}, "url"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        client_over(Wire(page()), **options)


@pytest.mark.parametrize(
    "credentials",
    [
        {"domain": "", "consumer_key": "k", "consumer_secret": "s"},
        {"domain": "a.my", "consumer_key": "", "consumer_secret": "s"},
        {"domain": "a.my", "consumer_key": "k"},
        {"domain": "a.my", "consumer_key": "k", "consumer_secret": "s", "private_key": "p"},
        {"domain": "a.my", "consumer_key": "k", "private_key": "p"},
    ],
)
def test_credentials_that_fit_no_flow_are_refused(credentials: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="must be set"):
        Credentials(**credentials)


def test_close_closes_the_connections() -> None:
    closed: list[int] = []

    class Closing(Wire):
        def close(self) -> None:
            closed.append(1)

    client_over(Closing(page()), credentials=BY_SECRET).close()
    assert closed


def test_date_of_the_tests_is_the_clock_of_the_tests() -> None:
    assert NOW.strftime("%a, %d %b %Y %H:%M:%S GMT") == DATE
