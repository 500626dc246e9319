"""Misbehaviour on demand, without a network and over a real one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from simple_salesforce.api import Salesforce

from sandbox.salesforce.faults import USUAL, Fault, FaultKind, parse_fault
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.transport import in_process_for
from tests.sandbox.salesforce.conftest import get, pages_of, refusal, signed_in

HEADER = "X-Sandbox-Fault"
FAULTS = "https://acme.my.salesforce.com/_sandbox/salesforce/faults"
KEY = {"Authorization": "Bearer sk_test_faults"}


@pytest.fixture
def known(both_ways: requests.Session) -> Salesforce:
    return signed_in(both_ways)


def send_task(known: Salesforce, fault: str, **options: Any) -> requests.Response:
    return known.session.post(
        f"{known.base_url}sobjects/Task",
        json={"Subject": "x"},
        headers={**known.headers, HEADER: fault},
        **options,
    )


@pytest.mark.parametrize("code", list(USUAL))
def test_error_comes_with_its_status_and_does_nothing(
    known: Salesforce, organisation: Organisation, code: str
) -> None:
    answer = send_task(known, f"error;code={code}")

    assert refusal(answer) == (USUAL[code][0], code)
    assert organisation.tasks() == []


def test_error_after_comes_when_all_was_done(known: Salesforce, organisation: Organisation) -> None:
    answer = send_task(known, "error-after;code=SERVER_UNAVAILABLE")

    assert answer.status_code == 503
    assert len(organisation.tasks()) == 1


@pytest.mark.parametrize(("fault", "tasks"), [("lost-before", 0), ("lost-after", 1)])
def test_answer_that_is_lost_is_a_connection_error(
    known: Salesforce, organisation: Organisation, fault: str, tasks: int
) -> None:
    with pytest.raises(requests.ConnectionError):
        send_task(known, fault)

    assert len(organisation.tasks()) == tasks


def test_slow_answer_is_a_timeout(known: Salesforce, organisation: Organisation) -> None:
    with pytest.raises(requests.ReadTimeout):
        send_task(known, "latency;milliseconds=400", timeout=(5, 0.1))

    assert len(organisation.tasks()) == 1


def test_slow_answer_in_time_arrives(known: Salesforce) -> None:
    assert send_task(known, "latency;milliseconds=20", timeout=5).status_code == 201


def test_body_breaks_off_in_the_middle(known: Salesforce, organisation: Organisation) -> None:
    organisation.reshape(orders=50)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        known.session.get(
            f"{known.base_url}query",
            params={"q": "SELECT Id FROM Order"},
            headers={**known.headers, HEADER: "breaks-off"},
        )


def test_body_cut_short_says_nothing(known: Salesforce) -> None:
    answer = send_task(known, "cut-short")

    assert answer.status_code == 201
    with pytest.raises(ValueError, match=r"."):
        answer.json()


def test_page_of_a_proxy(known: Salesforce) -> None:
    answer = send_task(known, "proxy-page")

    assert answer.status_code == 502
    assert answer.headers["Content-Type"] == "text/html"


def test_page_thirty_seven_dies(organisation: Organisation, salesforce: Salesforce) -> None:
    organisation.reshape(orders=400)
    organisation.queue_fault(Fault(FaultKind.BREAKS_OFF, path="*/results", skip=36))
    pages = pages_of(salesforce, "SELECT Id FROM Order", most=10)

    for _ in range(36):
        next(pages)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        next(pages)

    assert organisation.faults() == []


def test_queued_fault_hits_matching_requests_as_often_as_it_says(
    known: Salesforce, organisation: Organisation
) -> None:
    fault = json.dumps(
        {"kind": "error", "code": "UNABLE_TO_LOCK_ROW", "method": "POST", "times": 2}
    )
    assert known.session.post(FAULTS, data=fault, headers=KEY).status_code == 201

    assert get(known, "limits").status_code == 200
    assert [send_task(known, "").status_code for _ in range(3)] == [400, 400, 201]


def test_queued_faults_are_forgotten_on_demand(known: Salesforce) -> None:
    known.session.post(FAULTS, json={"kind": "lost-before", "times": 9}, headers=KEY)
    assert known.session.get(FAULTS, headers=KEY).json()["data"][0]["times"] == 9

    known.session.delete(FAULTS, headers=KEY)

    assert get(known, "limits").status_code == 200


def test_sign_in_can_go_wrong_too(organisation: Organisation, session: requests.Session) -> None:
    organisation.queue_fault(Fault(FaultKind.PROXY_PAGE, path="/services/oauth2/token"))

    answer = session.post("https://acme.my.salesforce.com/services/oauth2/token")

    assert answer.status_code == 502


def test_own_paths_want_a_test_key(session: requests.Session) -> None:
    assert session.get(FAULTS).status_code == 401
    assert session.get(FAULTS, headers={"Authorization": "Bearer sk_live"}).status_code == 401


@pytest.mark.parametrize(
    "fault",
    [{}, {"kind": "gremlin"}, {"kind": "error", "wait": 1}, {"kind": "latency", "milliseconds": -1},
     {"kind": "error", "status": "x"}, {"kind": "lost-after", "how": "magic"}],
)  # fmt: skip
def test_fault_that_makes_no_sense_is_refused(
    session: requests.Session, fault: dict[str, Any]
) -> None:
    assert session.post(FAULTS, json=fault, headers=KEY).status_code == 400
    assert session.get(FAULTS, headers=KEY).json() == {"data": []}


def test_fault_in_a_header_that_makes_no_sense_is_refused(salesforce: Salesforce) -> None:
    assert refusal(send_task(salesforce, "gremlin")) == (400, "INVALID_FAULT")


def test_fault_is_kept_as_it_is() -> None:
    fault = Fault(FaultKind.ERROR, "POST", "*/jobs/*", 3, 2, code="QUERY_TIMEOUT", status=400)

    assert parse_fault(fault.to_json()) == fault


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("connection-refused", requests.ConnectionError),
        ("lost-after;how=timeout", requests.ReadTimeout),
    ],
)
def test_in_process_fails_as_a_network_would(
    salesforce: Salesforce, fault: str, error: type[requests.RequestException]
) -> None:
    with pytest.raises(error):
        send_task(salesforce, fault)


def test_in_process_never_waits_longer_than_the_read_timeout(organisation: Organisation) -> None:
    waits: list[float] = []
    with requests.Session() as session:
        session.mount("https://", in_process_for(organisation, sleep=waits.append))
        known = signed_in(session)
        with pytest.raises(requests.ReadTimeout):
            send_task(known, "latency;milliseconds=60000", timeout=2.5)

    assert waits == [2.5]
