"""Django's admin: events and what else is kept, to look at; events to process again."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from refunds.models import (
    CloseOut,
    CreditMemo,
    Difference,
    Event,
    ReconciliationRun,
    RefundReason,
    SetAside,
    SyncRun,
)
from tests.desk import Desk, lead, rep

pytestmark = pytest.mark.django_db

State = Event.State
MODELS = [
    "event",
    "creditmemo",
    "closeout",
    "reconciliationrun",
    "difference",
    "syncrun",
    "setaside",
]


@pytest.fixture
def pages(client: Client) -> Client:
    """A browser in which the administrator has signed in."""
    client.force_login(User.objects.create_superuser("admin", password="a-password-for-tests"))
    return client


def _page(pages: Client, name: str, *arguments: object, **query: str) -> str:
    answer = pages.get(reverse(f"admin:refunds_{name}", args=arguments), query)
    assert answer.status_code == 200
    return answer.content.decode()


def _event(number: int = 1, **columns: Any) -> Event:
    now = timezone.now() + timedelta(seconds=number)
    body = {"id": f"evt-{number}", "type": "refund.complete"}
    return Event.objects.create(
        **{
            "event_id": f"evt-{number}",
            "type": "refund.complete",
            "received_at": now,
            "source": Event.Source.WEBHOOK,
            "body": json.dumps(body),
            "state": State.FAILED,
            "outcome": f"Outcome {number}.",
            **({"next_try_at": now} if columns.get("state") == State.WAITING else {}),
            **columns,
        }
    )


@pytest.fixture
def records(desk: Desk) -> dict[str, Any]:
    """One record of each kind."""
    order, at = desk.order("worked_sample"), desk.clock()
    return {
        "event": _event(order=order),
        "creditmemo": CreditMemo.objects.create(order=order, memo_id="memo-1", created_at=at),
        "closeout": CloseOut.objects.create(
            order=order,
            currency="USD",
            planned_amount=Decimal("27.01"),
            reason=RefundReason.objects.all()[0],
            created_by=rep(),
            created_at=at,
            outcome="Record 1.",
        ),
        "reconciliationrun": ReconciliationRun.objects.create(started_at=at, outcome="Record 1."),
        "syncrun": SyncRun.objects.create(
            kind=SyncRun.Kind.FULL,
            started_by="timer",
            started_at=at,
            alive_at=at,
            orders_read=330,
            outcome="Record 1.",
        ),
        "setaside": SetAside.objects.create(
            object_name="OrderItem",
            salesforce_id="802000000000001AAA",
            field="Quantity",
            reason="Record 1.",
            first_seen_at=at,
            last_seen_at=at,
        ),
        "difference": Difference.objects.create(
            kind=Difference.Kind.AMOUNT,
            subject="re_1",
            order=order,
            currency="USD",
            our_amount=Decimal("5.00"),
            their_amount=Decimal("4.00"),
            explanation="Record 1.",
            found_at=at,
            last_seen_at=at,
        ),
    }


# -- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_record_is_listed_and_shown(model: str, pages: Client, records: dict[str, Any]) -> None:
    row = records[model]

    listed = _page(pages, f"{model}_changelist")
    shown = _page(pages, f"{model}_change", row.pk)

    assert reverse(f"admin:refunds_{model}_change", args=[row.pk]) in listed
    for text in {
        "event": ("evt-1", "Outcome 1."),
        "creditmemo": ("memo-1", str(row.order) if model == "creditmemo" else ""),
        "closeout": ("USD 27.01", "Record 1."),
        "reconciliationrun": ("Record 1.", "Running"),
        "difference": ("USD 5.00", "USD 4.00"),
        "syncrun": ("Everything", "330", "Record 1."),
        "setaside": ("802000000000001AAA", "Quantity", "Record 1."),
    }[model]:
        assert text in shown


@pytest.mark.parametrize("model", MODELS)
def test_record_can_only_be_looked_at(model: str, pages: Client, records: dict[str, Any]) -> None:
    row = records[model]
    before = type(row).objects.values().get(pk=row.pk)

    assert pages.get(reverse(f"admin:refunds_{model}_add")).status_code == 403
    change = reverse(f"admin:refunds_{model}_change", args=[row.pk])
    assert pages.post(change, {"outcome": "Forged.", "_save": "Save"}).status_code == 403
    delete = reverse(f"admin:refunds_{model}_delete", args=[row.pk])
    assert pages.post(delete, {"post": "yes"}).status_code == 403
    pages.post(
        reverse(f"admin:refunds_{model}_changelist"),
        {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"},
    )

    assert type(row).objects.values().get(pk=row.pk) == before


@pytest.mark.parametrize("model", MODELS)
def test_record_list_bears_a_search_for_anything(
    model: str, pages: Client, records: dict[str, Any]
) -> None:
    for term in ("zzz", "%", "a\x00b", "'"):
        _page(pages, f"{model}_changelist", q=term)


@pytest.mark.parametrize("model", MODELS)
def test_record_is_not_shown_without_permission(
    model: str, client: Client, records: dict[str, Any]
) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))

    assert client.get(reverse(f"admin:refunds_{model}_changelist")).status_code == 403


# -- events ----------------------------------------------------------------------------------------


def test_event_list_shows_the_newest_first(pages: Client) -> None:
    for number in (1, 3, 2):
        _event(number)

    page = _page(pages, "event_changelist")

    places = [page.index(f"evt-{number}") for number in (3, 2, 1)]
    assert places == sorted(places)


def test_event_list_filters_by_state_and_type(pages: Client) -> None:
    _event(1, state=State.PROCESSED)
    _event(2, type="order.dispute")
    _event(3, type="order.dispute_%")

    page = _page(pages, "event_changelist")
    for kind in ("refund.complete", "order.dispute", "order.dispute_%25"):
        assert page.count(f"?type={kind}&quot;") + page.count(f'?type={kind}"') == 1
    shown = _page(pages, "event_changelist", type="order.dispute")
    assert [f"evt-{number}" in shown for number in (1, 2, 3)] == [False, True, False]
    shown = _page(pages, "event_changelist", state__exact="failed")
    assert [f"evt-{number}" in shown for number in (1, 2, 3)] == [False, True, True]


def test_event_is_found_by_its_id_and_its_order(pages: Client) -> None:
    _event(1, digital_river_order_id="300100200336")
    _event(2)

    for term in ("evt-1", " 300100200336 "):
        shown = _page(pages, "event_changelist", q=term)
        assert ["Outcome 1." in shown, "Outcome 2." in shown] == [True, False]
    assert "Outcome" not in _page(pages, "event_changelist", q="evt")


def test_event_list_costs_the_same_whatever_its_length(
    pages: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _event(1)
    with django_assert_num_queries(6):
        _page(pages, "event_changelist")
    for number in range(2, 30):
        _event(number)
    with django_assert_num_queries(6) as queries:
        _page(pages, "event_changelist")
    # A list of fifty events of a megabyte each would take its time.
    assert not any('"refunds_event"."body"' in query["sql"] for query in queries)


def test_event_list_never_counts_beyond_its_cap(
    pages: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refunds.admin.records.MOST_ROWS", 3)
    for number in range(5):
        _event(number)

    assert "3 events" in _page(pages, "event_changelist")


def test_event_page_shows_the_body_without_tokens(pages: Client) -> None:
    body = {
        "id": "evt-1",
        "type": "refund.pending_information",
        "data": {
            "object": {
                "reason": "<script>alert(1)</script>",
                "amount": 27.01,
                "tokenInformation": {"token": "opens-the-bank-form", "expiresTime": "2026"},
            }
        },
    }
    event = _event(body=json.dumps(body))

    page = _page(pages, "event_change", event.pk)

    assert "27.01" in page
    assert "opens-the-bank-form" not in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_event_page_shows_one_whose_body_cannot_be_read(pages: Client) -> None:
    event = _event(body="opens-the-bank-form")

    page = _page(pages, "event_change", event.pk)

    assert "It cannot be read." in page
    assert "opens-the-bank-form" not in page


# -- processing again ------------------------------------------------------------------------------


def _again(client: Client, *events: Event, **more: str) -> str:
    answer = client.post(
        reverse("admin:refunds_event_changelist"),
        {"action": "process_again", "_selected_action": [each.pk for each in events], **more},
        follow=True,
    )
    return answer.content.decode()


def test_events_that_failed_or_had_nothing_to_do_are_processed_again(pages: Client) -> None:
    failed, ignored = _event(1, tries=6), _event(2, state=State.IGNORED)
    done, waiting = _event(3, state=State.PROCESSED), _event(4, state=State.WAITING)

    said = _again(pages, failed, ignored, done, waiting)

    assert "2 events are processed again." in said
    assert "2 left as it is" in said
    for event in (failed, ignored):
        event.refresh_from_db()
        assert (event.state, event.tries) == (State.WAITING, 0)
        assert event.next_try_at is not None
    done.refresh_from_db()
    assert done.state == State.PROCESSED
    # Who did it is on record.
    assert LogEntry.objects.filter(object_id=failed.pk).get().user.username == "admin"
    assert LogEntry.objects.count() == 2


def test_all_events_of_a_filter_are_processed_again_up_to_the_cap(
    pages: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refunds.admin.events.MOST_ROWS", 3)
    events = [_event(number) for number in range(5)]

    said = _again(pages, events[0], select_across="1")

    assert "3 events are processed again." in said
    assert Event.objects.filter(state=State.FAILED).count() == 2


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_event_processed_again_is_done_at_once(pages: Client, desk: Desk) -> None:
    order = desk.order("worked_sample")
    body = {"id": "evt-1", "type": "order.refunded", "data": {"object": {}}}
    body["data"] = {"object": {"orderId": order.digital_river_id}}
    event = _event(body=json.dumps(body), type="order.refunded")

    _again(pages, event)

    event.refresh_from_db()
    assert event.state == State.PROCESSED
    assert event.order == order


def _staff(user: User) -> User:
    user.is_staff = True
    user.save()
    user.user_permissions.add(Permission.objects.get(codename="view_event"))
    return user


def test_leads_may_have_events_processed_again(client: Client) -> None:
    client.force_login(_staff(lead()))
    event = _event()

    assert "1 event is processed again." in _again(client, event)


def test_others_may_only_look_at_events(client: Client) -> None:
    client.force_login(_staff(rep()))
    event = _event()

    assert "process_again" not in _page(client, "event_changelist")
    _again(client, event)

    event.refresh_from_db()
    assert event.state == State.FAILED
