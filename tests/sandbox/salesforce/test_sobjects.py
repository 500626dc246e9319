"""Objects described, and records made and changed one by one."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest, SalesforceResourceNotFound

from sandbox.salesforce.organisation import Organisation
from tests.sandbox.conftest import Clock
from tests.sandbox.salesforce.conftest import get, read, refusal, signed_in, sobject

STATE = "digitalriverv3__DR_Order_State__c"


@pytest.fixture
def order(organisation: Organisation) -> str:
    return organisation.create("Order", {"OrderNumber": "00000001"})


def code(caught: pytest.ExceptionInfo[Any]) -> str:
    (error,) = caught.value.content
    return str(error["errorCode"])


def test_task_is_made_and_found(both_ways: requests.Session, order: str) -> None:
    salesforce = signed_in(both_ways)
    made = sobject(salesforce, "Task").create({"WhatId": order[:15], "Subject": "it's refunded"})

    soql = f"SELECT Id, Status FROM Task WHERE WhatId = '{order}' AND Subject = 'it\\'s refunded'"
    (task,) = read(salesforce, f"{soql} LIMIT 1")

    assert (made["success"], made["errors"]) == (True, [])
    assert task["Id"] == made["id"]
    assert task["Status"] == "Not Started"


def test_tasks_are_told_to_tests(
    salesforce: Salesforce, organisation: Organisation, order: str
) -> None:
    for subject in ("first", "second"):
        sobject(salesforce, "Task").create({"WhatId": order, "Subject": subject})

    assert [task["Subject"] for task in organisation.tasks()] == ["first", "second"]


def test_order_is_changed_over_the_wire(
    both_ways: requests.Session, organisation: Organisation, order: str, clock: Clock
) -> None:
    clock.move(minutes=3)
    salesforce = signed_in(both_ways)

    assert sobject(salesforce, "Order").update(order, {STATE: "returned"}) == 204

    record = sobject(salesforce, "Order").get(order)
    assert record[STATE] == "returned"
    assert record["SystemModstamp"] == "2024-04-01T09:03:00.000+0000"


def test_order_is_deleted_over_the_wire(salesforce: Salesforce, order: str) -> None:
    assert sobject(salesforce, "Order").delete(order) == 204

    with pytest.raises(SalesforceResourceNotFound):
        sobject(salesforce, "Order").get(order)
    with pytest.raises(SalesforceResourceNotFound) as caught:
        sobject(salesforce, "Order").update(order, {STATE: "complete"})
    assert code(caught) == "ENTITY_IS_DELETED"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"Subject": "x" * 256}, "STRING_TOO_LONG"),
        ({"Nonsense": "x"}, "INVALID_FIELD"),
        ({"WhatId": "x"}, "MALFORMED_ID"),
        ({"WhatId": "8015g00000zzzzzAAB"}, "MALFORMED_ID"),
        ({"WhatId": "8015g00000zzzzz"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"CreatedDate": "2026-01-01T00:00:00Z"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"Subject": 5}, "JSON_PARSER_ERROR"),
    ],
)
def test_task_that_makes_no_sense_is_refused(
    salesforce: Salesforce, organisation: Organisation, fields: dict[str, Any], error: str
) -> None:
    with pytest.raises(SalesforceMalformedRequest) as caught:
        sobject(salesforce, "Task").create(fields)

    assert code(caught) == error
    assert organisation.tasks() == []


def test_task_on_a_deleted_order_is_refused(
    salesforce: Salesforce, organisation: Organisation, order: str
) -> None:
    organisation.delete("Order", order)

    with pytest.raises(SalesforceMalformedRequest) as caught:
        sobject(salesforce, "Task").create({"WhatId": order, "Subject": "x"})

    assert code(caught) == "ENTITY_IS_DELETED"


def test_orders_are_not_made_over_the_wire(salesforce: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest) as caught:
        sobject(salesforce, "Order").create({"Status": "Draft"})

    assert code(caught) == "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"


def test_description_tells_fields_and_rights(salesforce: Salesforce) -> None:
    order = {field["name"]: field for field in sobject(salesforce, "Order").describe()["fields"]}
    task = sobject(salesforce, "Task").describe()

    assert order[STATE]["type"] == "picklist"
    assert order["digitalriverv3__DR_Payment_Failure_Reason__c"]["length"] == 131_072
    assert order["AccountId"]["referenceTo"] == ["Account"]
    assert not order["OrderNumber"]["createable"]
    assert task["createable"]
    assert {"WhatId", "Subject"} <= {one["name"] for one in task["fields"] if one["createable"]}


@pytest.mark.parametrize("name", ["Lead", "Nonsense__c"])
def test_object_that_is_not_there_is_not_found(salesforce: Salesforce, name: str) -> None:
    assert refusal(get(salesforce, f"sobjects/{name}/describe")) == (404, "NOT_FOUND")


def test_limits_tell_what_is_left(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.set_calls(400)

    assert salesforce.limits()["DailyApiRequests"] == {"Max": 1_000_000, "Remaining": 999_599}


def test_each_answer_tells_the_usage_and_the_time(
    both_ways: requests.Session, organisation: Organisation, clock: Clock
) -> None:
    salesforce = signed_in(both_ways)
    clock.move(hours=1)

    answers = [get(salesforce, "limits") for _ in range(2)]

    assert [answer.headers["Sforce-Limit-Info"] for answer in answers] == [
        "api-usage=1/1000000",
        "api-usage=2/1000000",
    ]
    assert answers[0].headers["Date"] == "Mon, 01 Apr 2024 10:00:00 GMT"


def test_calls_run_out_and_come_back_the_next_day(
    salesforce: Salesforce, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(daily_calls=10, token_seconds=1_000_000)
    salesforce = signed_in(salesforce.session)
    organisation.set_calls(10)

    answer = get(salesforce, "limits")

    assert refusal(answer) == (403, "REQUEST_LIMIT_EXCEEDED")
    assert answer.headers["Sforce-Limit-Info"] == "api-usage=10/10"
    clock.move(days=1)
    assert get(salesforce, "limits").status_code == 200


@pytest.mark.parametrize("version", ["46.0", "99.0", "60", "x", "60.5"])
def test_version_that_is_not_there_is_not_found(salesforce: Salesforce, version: str) -> None:
    url = f"https://acme.my.salesforce.com/services/data/v{version}/limits"

    assert salesforce.session.get(url, headers=salesforce.headers).status_code == 404


def test_method_that_is_not_allowed(salesforce: Salesforce) -> None:
    answer = salesforce.session.delete(f"{salesforce.base_url}limits", headers=salesforce.headers)

    assert refusal(answer) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_body_that_cannot_be_read_is_refused(salesforce: Salesforce, body: bytes) -> None:
    answer = salesforce.session.post(
        f"{salesforce.base_url}sobjects/Task", data=body, headers=salesforce.headers
    )

    assert refusal(answer) == (400, "JSON_PARSER_ERROR")
