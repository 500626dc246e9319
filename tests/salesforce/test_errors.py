"""What Salesforce's refusals, as recorded, become at the desk; and that nothing of them leaks."""

from collections.abc import Iterator

import pytest
import requests
import stamina
from urllib3.connection import HTTPConnection
from urllib3.exceptions import IncompleteRead, MaxRetryError, NewConnectionError, ProtocolError

from refunds.salesforce.errors import (
    FieldMissing,
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
from tests.salesforce.wire import SECRET, TOKEN, Answer, Wire, client_over, refused

PRIVATE = "Jane Doe"
NO_COLUMN = (
    "\nSELECT Id, digitalriverv3__DR_Order_Id__c FROM Order WHERE Name = 'Jane Doe'\n           ^\n"
    "ERROR at Row:1:Column:12\nNo such column 'digitalriverv3__DR_Order_Id__c' on entity 'Order'. "
    "If you are attempting to use a custom field, be sure to append the '__c' after the custom "
    "field name."
)
NO_RELATION = (
    "\nSELECT BillToContact.Name\n       ^\nERROR at Row:1:Column:8\nDidn't understand "
    "relationship 'BillToContact' in field path."
)
NO_TYPE = (
    "\nFROM PermissionSetGroupComponent\n     ^\nERROR at Row:1:Column:28\nsObject type "
    "'PermissionSetGroupComponent' is not supported. If you are attempting to use a custom object"
)
MALFORMED = (
    "\nFROM Order WHERE x = 'Jane Doe\n ^\nERROR at Row:1:Column:9\nunexpected token: 'FROM'"
)


@pytest.fixture(autouse=True)
def _without_waiting() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


RECORDED = [
    (refused(400, "INVALID_FIELD", NO_COLUMN), FieldMissing, 1),
    (refused(400, "INVALID_FIELD", NO_RELATION), FieldMissing, 1),
    (refused(400, "INVALID_FIELD", "field 'x' can not be sorted"), FieldMissing, 1),
    # A bulk job says the same with a code of its own.
    (refused(400, "API_ERROR", f"INVALID_FIELD: {NO_COLUMN}"), FieldMissing, 1),
    (refused(400, "INVALID_TYPE", NO_TYPE), RightMissing, 1),
    (refused(400, "API_ERROR", f"INVALID_TYPE: {NO_TYPE}"), RightMissing, 1),
    (refused(400, "MALFORMED_QUERY", MALFORMED), QueryRefused, 1),
    (refused(400, "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"), QueryRefused, 1),
    (refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator"), LocatorExpired, 1),
    (refused(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"), RecordLocked, 3),
    (refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), LimitReached, 1),
    (
        refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
        Unreachable,
        3,
    ),
    (
        refused(403, "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization."),
        RightMissing,
        1,
    ),
    (refused(403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access"), RightMissing, 1),
    (refused(403, "SOMETHING_NEW", "You may not."), RightMissing, 1),
    (refused(404, "NOT_FOUND", "The requested resource does not exist"), RightMissing, 1),
    (refused(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."), Unreachable, 3),
    (refused(503, "SERVER_UNAVAILABLE", "Server is too busy"), Unreachable, 3),
    (Answer(503, "<html>We are down for maintenance</html>"), Unreachable, 3),
    (Answer(502, b""), Unreachable, 3),
    (Answer(403, "<html>Blocked by your proxy, Jane Doe</html>"), Unreachable, 3),
    (Answer(400, {"error": "unsupported"}), Unreachable, 3),
    (Answer(400, []), Unreachable, 3),
    (Answer(200, "<html>Sign in to the hotel's network</html>"), UnreadableAnswer, 3),
    (Answer(200, b"\xff\xfe"), UnreadableAnswer, 3),
    (Answer(200, "[" * 100_000), UnreadableAnswer, 3),
    (Answer(200, [1, 2]), UnreadableAnswer, 3),
    (Answer(200, {"totalSize": 1, "done": True}), UnreadableAnswer, 3),
    (Answer(200, {"totalSize": 1, "done": True, "records": [1]}), UnreadableAnswer, 3),
    (Answer(200, {"totalSize": 1, "done": False, "records": []}), UnreadableAnswer, 3),
]


@pytest.mark.parametrize(("answer", "kind", "tries"), RECORDED)
def test_answer_becomes_the_error_that_it_means(
    answer: Answer, kind: type[SalesforceError], tries: int
) -> None:
    wire = Wire(answer)

    with pytest.raises(SalesforceError) as caught:
        client_over(wire).query_page("SELECT Id FROM Order WHERE Name = 'Jane Doe'")

    assert type(caught.value) is kind
    assert len(wire.requests) == tries
    assert caught.value.status == answer.status
    told = f"{caught.value!s} {caught.value!r} {caught.value.__cause__} {caught.value.code}"
    for secret in (PRIVATE, TOKEN, SECRET, "SELECT", "<html>", "unexpected token"):
        assert secret not in told
    assert str(caught.value).endswith(".")


def test_missing_field_is_named_with_its_object() -> None:
    with pytest.raises(FieldMissing) as caught:
        client_over(Wire(refused(400, "INVALID_FIELD", NO_COLUMN))).query_page("SELECT")

    assert caught.value.field == "digitalriverv3__DR_Order_Id__c"
    assert caught.value.sobject == "Order"
    assert caught.value.code == "INVALID_FIELD"
    assert str(caught.value).startswith("The field digitalriverv3__DR_Order_Id__c of Order is not")


def test_missing_field_of_a_bulk_job_is_named_as_well() -> None:
    wire = Wire(refused(400, "API_ERROR", f"INVALID_FIELD: {NO_COLUMN}"))
    with pytest.raises(FieldMissing) as caught:
        client_over(wire).start_bulk("SELECT")

    assert caught.value.field == "digitalriverv3__DR_Order_Id__c"
    assert caught.value.code == "INVALID_FIELD"


def test_missing_lookup_is_named() -> None:
    with pytest.raises(FieldMissing) as caught:
        client_over(Wire(refused(400, "INVALID_FIELD", NO_RELATION))).query_page("SELECT")

    assert (caught.value.field, caught.value.sobject) == ("BillToContact", "")


def test_missing_right_names_the_object() -> None:
    with pytest.raises(RightMissing, match="may not read PermissionSetGroupComponent"):
        client_over(Wire(refused(400, "INVALID_TYPE", NO_TYPE))).query_page("SELECT")


def never_opened() -> requests.ConnectionError:
    connection = HTTPConnection("acme.my.salesforce.com")
    reason = NewConnectionError(connection, "refused")
    return requests.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]


BROKEN = [
    never_opened(),
    requests.ConnectTimeout(),
    requests.ReadTimeout(),
    requests.exceptions.ProxyError(),
    requests.exceptions.SSLError(),
    requests.ConnectionError(ProtocolError("Connection aborted.")),
    requests.exceptions.ChunkedEncodingError(),
    Answer(200, [b'{"totalSize": 1, "do', ProtocolError("broken", IncompleteRead(20, 80))]),
]


@pytest.mark.parametrize("trouble", BROKEN, ids=lambda trouble: type(trouble).__name__)
def test_read_without_an_answer_is_repeated_and_then_unreachable(
    trouble: Answer | Exception,
) -> None:
    wire = Wire(trouble)

    with pytest.raises(Unreachable) as caught:
        client_over(wire).query_page("SELECT Id FROM Order")

    assert len(wire.requests) == 3
    assert caught.value.status is None
    assert caught.value.__cause__ is None


NOT_MADE = [
    (never_opened(), Unreachable),
    (requests.ConnectTimeout(), Unreachable),
    (requests.exceptions.ProxyError(), Unreachable),
    (refused(400, "UNABLE_TO_LOCK_ROW"), RecordLocked),
    (refused(400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [x]"), QueryRefused),
    (refused(400, "INVALID_FIELD", "No such column 'Foo' on sobject of type Task"), FieldMissing),
    (refused(400, "INSUFFICIENT_ACCESS_OR_READONLY"), RightMissing),
    (refused(403, "REQUEST_LIMIT_EXCEEDED"), LimitReached),
    (refused(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests exceeded"), Unreachable),
    (Answer(403, "<html>Blocked by your proxy</html>"), Unreachable),
    (refused(401, "INVALID_SESSION_ID"), SignInRefused),
]


@pytest.mark.parametrize(("trouble", "kind"), NOT_MADE)
def test_create_that_was_not_made_says_so(
    trouble: Answer | Exception, kind: type[SalesforceError]
) -> None:
    wire = Wire(trouble)

    with pytest.raises(SalesforceError) as caught:
        client_over(wire).create("Task", {"Subject": "x"})

    assert type(caught.value) is kind


MAYBE_MADE = [
    requests.ReadTimeout(),
    requests.exceptions.SSLError(),
    requests.ConnectionError(ProtocolError("Connection aborted.")),
    requests.ConnectionError("closed"),
    Answer(201, [b'{"id": "00T', ProtocolError("broken", IncompleteRead(9, 80))]),
    Answer(201, "<html>"),
    Answer(201, {"success": True}),
    Answer(201, {"id": 7}),
    Answer(201, [1]),
    Answer(201, b""),
    Answer(500, [{"errorCode": "UNKNOWN_EXCEPTION", "message": "oh"}]),
    Answer(502, "<html>Bad gateway</html>"),
    Answer(503, "<html>"),
]


@pytest.mark.parametrize("trouble", MAYBE_MADE)
def test_create_that_may_have_been_made_is_unanswered_and_sent_once(
    trouble: Answer | Exception,
) -> None:
    wire = Wire(trouble)

    with pytest.raises(Unanswered):
        client_over(wire).create("Task", {"Subject": "x"})

    assert len(wire.requests) == 1
