"""Django's admin: people and their place in the permission set; tasks in Salesforce."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from refunds.models import COMMAND, HistoryEntry, Membership, Refund, SalesforceTask
from refunds.options import Option, Selection
from refunds.permissions import GROUP_NAME, LEADS_GROUP_NAME
from refunds.services.memberships import membership_give
from refunds.services.verification import verify_history
from tests.desk import Desk, lead, person, rep

pytestmark = pytest.mark.django_db

State = SalesforceTask.State


@pytest.fixture
def administrator() -> User:
    return User.objects.create_superuser("admin", password="a-password-for-tests")


@pytest.fixture
def pages(client: Client, administrator: User) -> Client:
    """A browser in which the administrator has signed in."""
    client.force_login(administrator)
    return client


def _from_salesforce(name: str) -> User:
    user = person(name)
    membership_give(
        user=user,
        source=Membership.Source.SALESFORCE,
        actor=COMMAND,
        at=timezone.now(),
        summary="Given: Salesforce has the person in the permission set.",
    )
    return user


def _save(pages: Client, user: User, *groups: str) -> str:
    """Save the person's page with these groups; returns the page that follows."""
    answer = pages.post(
        reverse("admin:auth_user_change", args=[user.pk]),
        {
            "username": user.username,
            "is_active": "on",
            "groups": [str(group.pk) for group in Group.objects.filter(name__in=groups)],
            "date_joined_0": "2026-11-02",
            "date_joined_1": "09:00:00",
        },
        follow=True,
    )
    assert answer.status_code == 200
    assert "errornote" not in answer.content.decode()
    return answer.content.decode()


# -- people ----------------------------------------------------------------------------------------


def test_people_are_marked_with_where_their_place_comes_from(pages: Client) -> None:
    users = {"From Salesforce": _from_salesforce("anna"), "By hand": rep("bruno"), "–": person("c")}

    listed = pages.get(reverse("admin:auth_user_changelist")).content.decode()
    for mark, user in users.items():
        row = listed[listed.index(f">{user.username}</a>") :].split("</tr>")[0]
        assert f'<td class="field-permission_set_mark">{mark}</td>' in row
        shown = pages.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
        assert f'<div class="readonly">{mark}</div>' in shown


@pytest.mark.parametrize(
    ("way", "name"), [("salesforce", "anna"), ("hand", "bruno"), ("none", "carla")]
)
def test_people_are_narrowed_by_where_their_place_comes_from(
    way: str, name: str, pages: Client
) -> None:
    _from_salesforce("anna")
    rep("bruno")
    person("carla")

    answer = pages.get(reverse("admin:auth_user_changelist"), {"permission_set": way})

    found = {user.username for user in answer.context["cl"].result_list} - {"admin"}
    assert found == {name}


def test_list_of_people_costs_the_same_whatever_its_length(
    pages: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    rep("bruno")
    address = reverse("admin:auth_user_changelist")
    with django_assert_num_queries(6):
        pages.get(address)
    for number in range(10):
        _from_salesforce(f"person{number}")
    with django_assert_num_queries(6):
        pages.get(address)


def test_putting_somebody_into_the_group_by_hand_is_recorded(
    pages: Client, administrator: User
) -> None:
    user = person("bruno")

    _save(pages, user, GROUP_NAME)

    kept = Membership.objects.get(user=user)
    assert (kept.source, kept.active) == (Membership.Source.HAND, True)
    entry = kept.history.get()
    assert (entry.actor, entry.summary) == (administrator, "Given by hand.")
    assert not verify_history().findings


def test_taking_somebody_out_of_the_group_by_hand_is_recorded_and_signs_them_out(
    pages: Client, administrator: User
) -> None:
    user = rep("bruno")
    theirs = Client()
    theirs.force_login(user)
    assert theirs.get("/orders/").status_code == 200

    _save(pages, user)

    kept = Membership.objects.get(user=user)
    assert (kept.source, kept.active) == (Membership.Source.HAND, False)
    assert kept.history.get().actor == administrator
    assert theirs.get("/orders/").status_code == 302
    assert not verify_history().findings


def test_saving_somebody_with_other_groups_records_nothing(pages: Client) -> None:
    user = rep("bruno")

    _save(pages, user, GROUP_NAME, LEADS_GROUP_NAME)
    _save(pages, user, GROUP_NAME)

    assert not Membership.objects.exists()


def test_taking_out_whom_salesforce_has_says_that_it_gives_it_again(pages: Client) -> None:
    user = _from_salesforce("anna")

    page = _save(pages, user)

    assert "gives it again with the next round" in page
    assert not Membership.objects.get(user=user).active


def test_group_of_the_permission_set_keeps_its_name_and_is_not_deleted(pages: Client) -> None:
    group = Group.objects.get(name=GROUP_NAME)
    address = reverse("admin:auth_group_change", args=[group.pk])

    pages.post(address, {"name": "Another", "permissions": []})
    refused = pages.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    pages.post(
        reverse("admin:auth_group_changelist"),
        {"action": "delete_selected", "_selected_action": [str(group.pk)], "post": "yes"},
    )

    assert refused.status_code == 403
    assert Group.objects.get(pk=group.pk).name == GROUP_NAME


def test_other_groups_are_renamed_and_deleted(pages: Client) -> None:
    group = Group.objects.create(name="Others")

    pages.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "Another"})
    assert Group.objects.get(pk=group.pk).name == "Another"
    pages.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    assert not Group.objects.filter(pk=group.pk).exists()


def test_membership_is_shown_with_its_history_and_not_changed(pages: Client) -> None:
    kept = Membership.objects.get(user=_from_salesforce("anna"))

    listed = pages.get(reverse("admin:refunds_membership_changelist")).content.decode()
    shown = pages.get(reverse("admin:refunds_membership_change", args=[kept.pk])).content.decode()
    pages.post(reverse("admin:refunds_membership_change", args=[kept.pk]), {"active": ""})

    assert "From Salesforce" in listed
    assert "Given: Salesforce has the person in the permission set." in shown
    assert Membership.objects.get(pk=kept.pk).active
    assert pages.get(reverse("admin:refunds_membership_add")).status_code == 403


# -- tasks in Salesforce ---------------------------------------------------------------------------


@pytest.fixture
def refund(desk: Desk) -> Refund:
    return desk.submit(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))


def _task(refund: Refund, state: str, refund_state: str = "succeeded") -> SalesforceTask:
    now = timezone.now()
    return SalesforceTask.objects.create(
        refund=refund,
        refund_state=refund_state,
        subject=f"Refund {refund.reference}: USD 5.00 {refund_state}",
        state=state,
        outcome=f"Outcome of {refund_state}.",
        created_at=now,
        next_try_at=now if state == State.WAITING else None,
        tries=3,
    )


def test_task_is_listed_and_shown(pages: Client, refund: Refund) -> None:
    task = _task(refund, State.FAILED)

    listed = pages.get(reverse("admin:refunds_salesforcetask_changelist")).content.decode()
    address = reverse("admin:refunds_salesforcetask_change", args=[task.pk])

    for page in (listed, pages.get(address).content.decode()):
        assert task.subject in page
        assert "Outcome of succeeded." in page


def test_task_that_failed_is_tried_again_and_others_are_left(pages: Client, refund: Refund) -> None:
    failed, made = _task(refund, State.FAILED), _task(refund, State.CREATED, "failed")

    answer = pages.post(
        reverse("admin:refunds_salesforcetask_changelist"),
        {"action": "try_again", "_selected_action": [str(failed.pk), str(made.pk)]},
        follow=True,
    )

    said = answer.content.decode()
    assert "1 task is tried again." in said
    assert "1 left as it is: tried again is only what failed." in said
    failed.refresh_from_db()
    made.refresh_from_db()
    # Not none: a task that was tried before is looked for first.
    assert (failed.state, failed.tries, made.state) == (State.WAITING, 1, State.CREATED)
    assert LogEntry.objects.get().change_message == "Tried again."


def test_task_is_not_tried_again_by_whoever_may_only_look(client: Client, refund: Refund) -> None:
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_salesforcetask"))
    client.force_login(viewer)
    task = _task(refund, State.FAILED)

    client.post(
        reverse("admin:refunds_salesforcetask_changelist"),
        {"action": "try_again", "_selected_action": [str(task.pk)]},
    )

    task.refresh_from_db()
    assert task.state == State.FAILED


# -- the refund's page -----------------------------------------------------------------------------


def test_refund_page_tells_leads_what_became_of_its_task(client: Client, refund: Refund) -> None:
    _task(refund, State.FAILED, "failed")
    task = _task(refund, State.CREATED)
    SalesforceTask.objects.filter(pk=task.pk).update(done_at=timezone.now())
    client.force_login(lead())

    page = client.get(refund.get_absolute_url()).content.decode()

    assert "Failed: task failed: Outcome of failed." in page
    assert "Succeeded: task created" in page


def test_refund_page_tells_a_task_that_waits(client: Client, refund: Refund) -> None:
    task = _task(refund, State.WAITING)
    client.force_login(lead())
    assert (
        "Succeeded: task waiting: Outcome" in client.get(refund.get_absolute_url()).content.decode()
    )

    SalesforceTask.objects.filter(pk=task.pk).update(outcome="")
    page = client.get(refund.get_absolute_url()).content.decode()
    assert "task waiting: it is made in the background." in page


def test_refund_page_tells_reps_nothing_of_tasks(client: Client, refund: Refund) -> None:
    _task(refund, State.FAILED)
    client.force_login(rep())

    assert "Outcome of" not in client.get(refund.get_absolute_url()).content.decode()
    assert HistoryEntry.objects.filter(refund=refund).exists()
