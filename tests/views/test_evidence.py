"""Evidence: what it holds, what it leaves out, what it says when things are off, who gets it."""

import hashlib
import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from refunds.models import Actor, CreditMemo, Event, Refund, RefundAttempt
from refunds.options import Option, Selection
from refunds.selectors.evidence import evidence_json
from refunds.services.refunds import refund_retry
from refunds.services.settlements import history_add
from refunds.services.verification import verify_history
from sandbox.faults import parse_fault
from tests.desk import Desk, rep
from tests.views.pages import DeskClient, signed_in

pytestmark = pytest.mark.django_db

TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))
SECRET = "tok_of_the_customer"
CUSTOMER = {
    "email": "jane.doe@customer.example",
    "shipTo": {"name": "Jane Doe", "line1": "1 High St"},
}


@pytest.fixture
def refund(desk: Desk) -> Refund:
    """A refund that was sent twice, failed once and succeeded, with an event and a memo."""
    order = desk.order("worked_sample")
    desk.sandbox.queue_fault(parse_fault({"kind": "connection-refused", "method": "POST"}))
    made = desk.submit(order, rep(), TEN)
    assert made.state == "not_sent"
    made = refund_retry(refund=made, user=rep(), clock=desk.clock, client=desk.client)
    desk.sandbox.succeed_refund(made.digital_river_id)
    desk.clock.forward(minutes=2)
    desk.refresh(order)
    tell(made, "refund.complete", {"id": made.digital_river_id, "state": "succeeded", **CUSTOMER})
    CreditMemo.objects.create(
        order=order, refund=made, memo_id="cm_1", file_id="file_1", created_at=desk.clock()
    )
    return Refund.objects.get(pk=made.pk)


def tell(refund: Refund, kind: str, subject: object, body: str = "") -> Event:
    """Store an event about a refund."""
    identifier = f"evt_{Event.objects.count()}"
    told = {
        "id": identifier,
        "type": kind,
        "data": {"object": subject},
        "apiKey": SECRET,
    }
    return Event.objects.create(
        event_id=identifier,
        type=kind,
        received_at=refund.updated_at,
        source=Event.Source.WEBHOOK,
        body=body or json.dumps(told),
        order=refund.order,
        refund=refund,
        state=Event.State.PROCESSED,
        outcome="The order was read anew.",
    )


def evidence(client: DeskClient, refund: Refund) -> dict[str, Any]:
    """Return the evidence of a refund, as it is downloaded."""
    response = client.get(f"/refunds/{refund.reference}/evidence.json")
    assert response.status_code == 200
    told: dict[str, Any] = json.loads(response.content)
    return told


# -- what it holds ---------------------------------------------------------------------------------


def test_evidence_json_holds_all_that_is_known(as_rep: DeskClient, refund: Refund) -> None:
    told = evidence(as_rep, refund)

    assert list(told) == [
        "format",
        "drawn_up",
        "refund",
        "reason",
        "asked_by",
        "parts",
        "order",
        "attempts",
        "events",
        "credit_memos",
        "history",
        "verification",
    ]
    assert told["format"] == "refund-desk-evidence/1"
    assert told["drawn_up"]["by"] == {"name": "Rep Tester", "username": "rep"}
    assert datetime.fromisoformat(told["drawn_up"]["at"]).tzinfo is not None
    assert told["refund"]["reference"] == refund.reference
    assert told["refund"]["state"] == "succeeded"
    assert told["refund"]["option"] == "complete_order"
    assert told["refund"]["requested"] == {"amount": "10.00", "currency": "USD"}
    assert told["refund"]["refunded"] == {"amount": "10.00", "currency": "USD"}
    assert told["refund"]["submitted_at"] == "2026-11-02T09:00:00+00:00"
    assert told["reason"]["label"] == "Requested by customer"
    assert told["asked_by"]["username"] == "rep"
    assert sum(Decimal(part["amount"]["amount"]) for part in told["parts"]) == Decimal("10.00")
    assert told["order"]["order_number"] == refund.order.order_number
    assert told["order"]["captured"] == {"amount": "27.01", "currency": "USD"}
    assert told["credit_memos"][0]["id"] == "cm_1"


def test_evidence_json_holds_each_attempt_with_request_and_answer(
    as_rep: DeskClient, refund: Refund
) -> None:
    first, second = evidence(as_rep, refund)["attempts"]

    assert (first["reference"], second["reference"]) == (
        f"{refund.reference}-1",
        f"{refund.reference}-2",
    )
    assert first["answer"] is None
    assert first["status"] is None
    assert second["status"] == 201
    assert second["request_id"] == refund.attempts.get(number=2).request_id != ""
    assert Decimal(second["request"].pop("amount")) == Decimal("10.00")
    assert second["request"] == {
        "orderId": refund.order.digital_river_id,
        "currency": "USD",
        "reason": refund.reason_text,
        "metadata": {"refundReference": f"{refund.reference}-2"},
    }
    assert second["answer"]["id"] == second["digital_river_id"] == refund.digital_river_id
    assert second["answer"]["state"] == "pending"


def test_evidence_json_holds_a_history_whose_hashes_anybody_can_work_out(
    as_rep: DeskClient, refund: Refund
) -> None:
    told = evidence(as_rep, refund)

    head = ""
    for number, entry in enumerate(told["history"], start=1):
        assert entry["number"] == number
        assert entry["previous_hash"] == head
        head = hashlib.sha256(entry["hashed_text"].encode()).hexdigest()
        assert entry["hash"] == head
        for name in ("summary", "from_state", "to_state", "request_id", "previous_hash"):
            assert entry[name] in json.loads(entry["hashed_text"])
    assert told["verification"] == {
        "at": told["drawn_up"]["at"],
        "whole": True,
        "findings": [],
        "history_length": len(told["history"]),
        "history_head": head,
    }
    assert told["history"][2]["details"]["requested_amount"] == "10.00"


def test_evidence_json_is_a_file_to_keep(as_rep: DeskClient, refund: Refund) -> None:
    response = as_rep.get(f"/refunds/{refund.reference}/evidence.json")

    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Content-Disposition"] == (
        f'attachment; filename="refund-{refund.reference}-evidence.json"'
    )
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("case", "selection", "amount"),
    [
        ("jpy", TEN, {"amount": "10", "currency": "JPY"}),
        (
            "kwd",
            Selection(Option.COMPLETE_ORDER, Decimal("1.500")),
            {"amount": "1.500", "currency": "KWD"},
        ),
    ],
)
def test_evidence_json_writes_amounts_with_the_digits_of_their_currency(
    desk: Desk, as_rep: DeskClient, case: str, selection: Selection, amount: dict[str, str]
) -> None:
    made = desk.submit(desk.order(case), rep(), selection)

    assert evidence(as_rep, made)["refund"]["requested"] == amount


def test_evidence_page_shows_what_the_file_holds(as_rep: DeskClient, refund: Refund) -> None:
    told = evidence(as_rep, refund)

    page = as_rep.page(f"/refunds/{refund.reference}/evidence/")

    text = page.main.text
    assert page.title.startswith(f"Evidence for refund {refund.reference}")
    assert "by Rep Tester (rep)" in text
    assert "USD 10.00" in text
    assert "all 8 entries of the history were there" in text
    for attempt in told["attempts"]:
        assert attempt["reference"] in text
        assert attempt["outcome"] in text
    assert '"refundReference"' in text
    assert "refund.complete" in text
    assert "cm_1 (file file_1)" in text
    for entry in told["history"]:
        assert entry["summary"] in text
        assert entry["hash"] in text
    assert page.has_link(f"/refunds/{refund.reference}/evidence.json")
    assert page.has_link(f"/refunds/{refund.reference}/")


def test_evidence_is_linked_on_the_refund_s_page_to_those_who_may_see_it(
    as_rep: DeskClient, as_viewer: DeskClient, refund: Refund
) -> None:
    address = f"/refunds/{refund.reference}/"

    assert as_rep.page(address).has_link(f"{address}evidence/")
    assert not as_viewer.page(address).has_link(f"{address}evidence/")


def test_evidence_of_a_refund_made_elsewhere_says_so(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    body = {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("3.00")}
    desk.client.create_refund(body, upstream_id="dashboard")
    desk.refresh(order)
    made = Refund.objects.get()

    told = evidence(as_rep, made)
    assert (told["asked_by"], told["attempts"]) == (None, [])
    page = as_rep.page(f"/refunds/{made.reference}/evidence/")
    assert "It was never sent from this desk." in page.text
    assert "None came about this refund." in page.text
    assert "Outside the desk" in page.text


# -- what it leaves out ----------------------------------------------------------------------------


def test_evidence_names_what_it_leaves_out_of_an_event(as_rep: DeskClient, refund: Refund) -> None:
    [event] = evidence(as_rep, refund)["events"]

    assert event["body"] == {
        "id": event["id"],
        "type": "refund.complete",
        "data": {
            "object": {
                "id": refund.digital_river_id,
                "state": "succeeded",
                "email": "(left out)",
                "shipTo": "(left out)",
            }
        },
        "apiKey": "(left out)",
    }


@pytest.mark.parametrize(
    "subject",
    [
        {"tokenInformation": {"token": SECRET}},
        {"items": [{"id": "1", "productDetails": {"name": SECRET}}]},
        {"metadata": {"refundReference": "R-1", "comment": SECRET}},
        {"charges": [{"id": "c", "source": {"owner": {"name": SECRET}}}]},
        {SECRET: 1, "jane.doe@customer.example": "x"},
        [{"token": SECRET}],
        {"object": {"data": {"email": SECRET}}},
        {"state": {"token": SECRET}},
    ],
)
def test_evidence_holds_no_secret_and_no_customer(
    as_rep: DeskClient, refund: Refund, subject: object
) -> None:
    tell(refund, "order.chargeback", subject)
    RefundAttempt.objects.filter(refund=refund).update(
        answer=json.dumps({"data": subject, **CUSTOMER})
    )
    order = refund.order
    order.buyer_name, order.buyer_email = "Jane Doe", "jane.doe@customer.example"
    order.save()

    told = json.dumps(evidence(as_rep, refund))
    page = as_rep.page(f"/refunds/{refund.reference}/evidence/").text

    for text in (told, page):
        for secret in (SECRET, "jane.doe", "Jane Doe", "High St"):
            assert secret not in text
        assert "(left out)" in text


@pytest.mark.parametrize("body", ["no json jane.doe", '"jane.doe"', "[" * 100_000, '{"id": "x"'])
def test_evidence_shows_nothing_of_a_body_that_is_none(
    as_rep: DeskClient, refund: Refund, body: str
) -> None:
    tell(refund, "refund.failed", {}, body=body)

    assert evidence(as_rep, refund)["events"][-1]["body"] == "(cannot be read)"
    assert "jane.doe" not in as_rep.page(f"/refunds/{refund.reference}/evidence/").text


def test_evidence_json_has_no_form_for_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="set has no form"):
        evidence_json({"refund": {1}})


# -- when things are off ---------------------------------------------------------------------------


def test_evidence_says_when_its_history_is_not_as_it_was_written(
    as_rep: DeskClient, refund: Refund
) -> None:
    Refund.objects.filter(pk=refund.pk).update(state="failed")

    verification = evidence(as_rep, refund)["verification"]

    assert not verification["whole"]
    [finding] = verification["findings"]
    assert finding["entry"] == 8
    assert "it stands at “Failed”" in finding["sentence"]
    page = as_rep.page(f"/refunds/{refund.reference}/evidence/")
    assert "the history was not as it was written" in page.text
    assert finding["sentence"] in page.text
    findings: list[object] = []
    verify_history(reference=refund.reference, found=findings.append)
    assert [str(each) for each in findings] == [f"Refund {refund.reference}: {finding['sentence']}"]


# -- who gets it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("codename", ["issue_refund", "approve_refund"])
@pytest.mark.parametrize("address", ["evidence/", "evidence.json"])
def test_evidence_is_for_those_who_make_refunds_or_look_into_them(
    refund: Refund, codename: str, address: str
) -> None:
    user = User.objects.create_user("somebody")
    path = f"/refunds/{refund.reference}/{address}"
    assert signed_in(user).get(path).status_code == 403

    user.user_permissions.add(Permission.objects.get(codename=codename))

    assert signed_in(user).get(path).status_code == 200


@pytest.mark.parametrize("address", ["evidence/", "evidence.json"])
def test_evidence_of_a_draft_or_of_nothing_is_not_found(
    desk: Desk, as_rep: DeskClient, address: str
) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), TEN)

    for reference in (draft.reference, "R-0000-0000"):
        assert as_rep.get(f"/refunds/{reference}/{address}").status_code == 404


@pytest.mark.parametrize("address", ["evidence/", "evidence.json"])
def test_evidence_takes_the_same_few_queries_however_much_there_is(
    desk: Desk, as_rep: DeskClient, refund: Refund, address: str
) -> None:
    path = f"/refunds/{refund.reference}/{address}"
    few = queries(as_rep, path)
    for _ in range(20):
        history_add(refund=refund, actor=Actor.person(rep()), at=desk.clock(), summary="Noted.")
        tell(refund, "refund.updated", {"id": refund.digital_river_id})

    assert queries(as_rep, path) == few
    assert few <= 12


def queries(client: DeskClient, path: str) -> int:
    """Return how many queries an address takes."""
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).status_code == 200
    return len(captured)
