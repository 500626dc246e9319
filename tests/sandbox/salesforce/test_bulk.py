"""Bulk 2.0 query jobs: their life, their pages of CSV, and what they do not do."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest

from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.planted import Bad
from tests.sandbox.conftest import Clock
from tests.sandbox.salesforce.conftest import get, pages_of, read, refusal, signed_in
from tests.sandbox.salesforce.queries import LINES, ORDERS, order_fields


def rows(page: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(page, newline="")))


def start(salesforce: Salesforce, soql: str, operation: str = "query") -> requests.Response:
    return salesforce.session.post(
        f"{salesforce.bulk2_url}query",
        data=json.dumps({"operation": operation, "query": soql}),
        headers=salesforce.headers,
    )


def all_rows(salesforce: Salesforce, soql: str, most: int = 10_000) -> list[dict[str, str]]:
    pages = pages_of(salesforce, soql, most=most)
    return [row for page in pages for row in rows(page)]


@pytest.mark.parametrize(("soql", "count"), [(ORDERS, 250), (LINES, 750)])
def test_job_gives_every_record_once_over_its_pages(
    both_ways: requests.Session, organisation: Organisation, soql: str, count: int
) -> None:
    organisation.reshape(orders=250)
    salesforce = signed_in(both_ways)

    found = all_rows(salesforce, soql, most=100)

    assert len(found) == count
    assert len({row["Id"] for row in found}) == count


def test_csv_says_the_same_as_json(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=40)

    by_id = {row["Id"]: row for row in all_rows(salesforce, ORDERS)}

    for record in read(salesforce, ORDERS):
        row = by_id[record["Id"]]
        assert list(row) == order_fields().split(", ")
        assert row["Account.Name"] == record["Account"]["Name"]
        assert row["BillToContact.Email"] == record["BillToContact"]["Email"]
        assert row["SystemModstamp"] == record["SystemModstamp"].replace("+0000", "Z")
        assert float(row["TotalAmount"]) == record["TotalAmount"]
        assert (row["digitalriverv3__Has_Landed_Cost__c"] == "true") == (
            record["digitalriverv3__Has_Landed_Cost__c"]
        )
        payment = record["digitalriverv3__DR_Payment_Status__c"]
        assert row["digitalriverv3__DR_Payment_Status__c"] == (payment or "")


def test_page_is_quoted_csv_with_its_headers(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=5)
    job = start(salesforce, "SELECT Id, OrderNumber FROM Order").json()

    answer = get(salesforce, f"jobs/query/{job['id']}/results", params={"maxRecords": 2})

    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Sforce-NumberOfRecords"] == "2"
    assert answer.headers["Sforce-Locator"] not in ("", "null")
    lines = answer.text.split("\n")
    assert lines[0] == '"Id","OrderNumber"'
    assert lines[1].endswith(',"20000000"')
    assert lines[-1] == ""


def test_last_page_says_null(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=5)
    job = start(salesforce, "SELECT Id FROM Order").json()

    answer = get(salesforce, f"jobs/query/{job['id']}/results", params={"maxRecords": 5})

    assert answer.headers["Sforce-Locator"] == "null"


def test_job_without_records_gives_the_head_alone(salesforce: Salesforce) -> None:
    (page,) = pages_of(salesforce, "SELECT Id FROM Order")

    assert page == '"Id"\n'


def test_job_takes_its_time(
    salesforce: Salesforce, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(orders=5, job_seconds=60)
    job = start(salesforce, "SELECT Id FROM Order").json()
    path = f"jobs/query/{job['id']}"

    assert job["state"] == "UploadComplete"
    assert get(salesforce, path).json()["state"] == "InProgress"
    assert "numberRecordsProcessed" not in get(salesforce, path).json()
    assert refusal(get(salesforce, f"{path}/results")) == (400, "INVALIDJOBSTATE")
    clock.move(seconds=60)
    done = get(salesforce, path).json()
    assert (done["state"], done["numberRecordsProcessed"]) == ("JobComplete", 5)


def test_job_can_be_aborted_and_deleted(
    salesforce: Salesforce, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(job_seconds=60)
    path = f"{salesforce.bulk2_url}query/{start(salesforce, 'SELECT Id FROM Order').json()['id']}"

    def send(method: str, **options: Any) -> requests.Response:
        return salesforce.session.request(method, path, headers=salesforce.headers, **options)

    assert refusal(send("DELETE")) == (400, "INVALIDJOBSTATE")
    assert refusal(send("PATCH", json={"state": "Open"})) == (400, "INVALIDJOBSTATE")
    assert send("PATCH", json={"state": "Aborted"}).json()["state"] == "Aborted"
    assert send("DELETE").status_code == 204
    assert refusal(send("GET")) == (404, "NOT_FOUND")
    assert refusal(send("DELETE")) == (404, "NOT_FOUND")


def test_job_fails_when_told(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.queue_fault(Fault(FaultKind.JOB_FAILS, path="*/jobs/query"))
    job = start(salesforce, "SELECT Id FROM Order").json()

    answer = get(salesforce, f"jobs/query/{job['id']}").json()

    assert answer["state"] == "Failed"
    assert answer["errorMessage"]


def test_job_of_everything_sees_what_was_deleted(
    salesforce: Salesforce, organisation: Organisation
) -> None:
    organisation.reshape(orders=5)
    organisation.delete("Order", all_rows(salesforce, "SELECT Id FROM Order")[2]["Id"])

    pages = pages_of(salesforce, deleted=True, soql="SELECT Id, IsDeleted FROM Order")
    found = [row for page in pages for row in rows(page)]

    assert len(all_rows(salesforce, "SELECT Id FROM Order")) == 4
    assert sorted(row["IsDeleted"] for row in found) == ["false"] * 4 + ["true"]


def test_what_changes_while_a_job_is_read_is_neither_lost_nor_repeated(
    salesforce: Salesforce, organisation: Organisation, clock: Clock
) -> None:
    organisation.reshape(orders=50)
    everything = [row["Id"] for row in all_rows(salesforce, "SELECT Id FROM Order")]
    organisation.touch("Order", everything[7])
    pages = pages_of(salesforce, "SELECT Id, Status FROM Order", most=10)

    found = rows(next(pages))
    clock.move(hours=1)
    organisation.change("Order", everything[40], {"Status": "Draft"})
    organisation.touch("Order", everything[2])
    organisation.delete("Order", everything[45])
    found += [row for page in pages for row in rows(page)]

    assert sorted(row["Id"] for row in found) == sorted({*everything} - {everything[45]})
    assert {row["Id"]: row["Status"] for row in found}[everything[40]] == "Draft"


def test_job_since_a_moment(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=1_000_000)

    found = all_rows(salesforce, f"{ORDERS} WHERE SystemModstamp >= 2025-12-24T00:00:00Z")

    assert 0 < len(found) < 2_000
    assert min(row["SystemModstamp"] for row in found) >= "2025-12-24T00:00:00.000Z"
    assert found[-1]["OrderNumber"] == "20999999"


def test_child_queries_are_refused(salesforce: Salesforce) -> None:
    answer = start(salesforce, "SELECT Id, (SELECT Id FROM OrderItems) FROM Order")

    assert refusal(answer)[0] == 400


@pytest.mark.parametrize(
    ("soql", "operation", "code"),
    [
        ("SELECT Nonsense__c FROM Order", "query", "INVALID_FIELD"),
        ("SELECT count() FROM Order", "query", "MALFORMED_QUERY"),
        ("SELECT Id FROM Order", "insert", "INVALIDJOB"),
    ],
)
def test_job_that_cannot_be_done_is_refused(
    salesforce: Salesforce, soql: str, operation: str, code: str
) -> None:
    assert refusal(start(salesforce, soql, operation)) == (400, code)


def test_nonsense_asked_of_a_page_is_refused(salesforce: Salesforce) -> None:
    path = f"jobs/query/{start(salesforce, 'SELECT Id FROM Order').json()['id']}/results"

    assert refusal(get(salesforce, path, params={"locator": "x"})) == (400, "INVALID_LOCATOR")
    assert refusal(get(salesforce, path, params={"maxRecords": "0"}))[0] == 400
    assert refusal(get(salesforce, "jobs/query/801/results")) == (404, "NOT_FOUND")


def test_quotes_and_line_ends_survive(salesforce: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=5, planted={2: Bad.LONG_DESCRIPTION, 3: Bad.EMOJI})

    found = all_rows(salesforce, ORDERS)

    assert len(found) == 5
    reason = found[2]["digitalriverv3__DR_Payment_Failure_Reason__c"]
    assert len(reason) == 131_072
    assert '"again".\n' in reason
    assert "👩🏽‍🔧" in found[3]["Account.Name"]


def test_query_of_another_organisation_reads_as_malformed(salesforce: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_TYPE"):
        next(pages_of(salesforce, "SELECT Id FROM Lead"))
