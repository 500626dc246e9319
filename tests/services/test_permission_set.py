"""The permission set: who gets it from Salesforce, who loses it, and what is never guessed."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import stamina
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from refunds.errors import PermissionSetRefused
from refunds.models import COMMAND, Actor, HistoryEntry, Membership, Watermark
from refunds.models.history import SWEEP
from refunds.models.sessions import DeskSession, SessionStore
from refunds.permissions import GROUP_NAME, may_issue
from refunds.salesforce.client import SalesforceClient
from refunds.services import permission_set
from refunds.services.memberships import (
    membership_give,
    membership_set_by_hand,
    membership_take,
)
from refunds.services.permission_set import (
    LEASE,
    Changes,
    permission_set_keep_up,
    permission_set_sync,
)
from refunds.services.sweeping import sweep
from refunds.services.verification import verify_history
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.moments import moment_text
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.people import user_id
from tests.desk import SetClock, lead, person, rep

pytestmark = pytest.mark.django_db

SALESFORCE, HAND = Membership.Source.SALESFORCE, Membership.Source.HAND
DOMAIN = "refund-desk.example"


@pytest.fixture(autouse=True)
def _quick_retries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def sync(salesforce: SalesforceClient, clock: SetClock) -> "Sync":
    return Sync(salesforce, clock)


class Sync:
    """Takes over the permission set by the test's clock and wire."""

    def __init__(self, client: SalesforceClient, clock: SetClock) -> None:
        self.client, self.clock = client, clock

    def __call__(self, *, actor: Actor = COMMAND, force: bool = False) -> Changes:
        return permission_set_sync(actor=actor, force=force, clock=self.clock, client=self.client)

    def trial(self, *, force: bool = False) -> Changes:
        return permission_set_sync(dry_run=True, force=force, clock=self.clock, client=self.client)

    def refusal(self) -> str:
        with pytest.raises(PermissionSetRefused) as caught:
            self()
        return str(caught.value)


def account(name: str, **columns: object) -> User:
    """Make an account that the stand-in's user of this name is matched with, by its email."""
    return User.objects.create(**{"username": name, "email": f"{name}@{DOMAIN}", **columns})


def members() -> set[str]:
    return set(User.objects.filter(groups__name=GROUP_NAME).values_list("username", flat=True))


def many(organisation: Organisation, count: int) -> list[str]:
    """Give so many further people the permission set, with accounts here."""
    names = [f"person{number}" for number in range(count)]
    for name in names:
        organisation.add_user(name, f"Person {name}")
        organisation.assign(name)
        account(name)
    return names


# -- who gets it -----------------------------------------------------------------------------------


def test_permission_set_sync_gives_the_group_directly_and_through_a_group(sync: Sync) -> None:
    for name in ("rep", "rep2", "lead", "viewer"):
        account(name)

    changes = sync()

    assert changes.given == ("lead", "rep", "rep2")
    assert (changes.members, changes.taken, changes.by_hand) == (3, (), ())
    assert members() == {"rep", "rep2", "lead"}
    kept = Membership.objects.get(user__username="lead")
    assert (kept.source, kept.active) == (SALESFORCE, True)
    assert kept.salesforce_user_id == user_id("lead")
    assert kept.since == sync.clock()


def test_permission_set_sync_writes_a_chained_entry_with_each_change(sync: Sync) -> None:
    account("rep")
    sync(actor=SWEEP)

    entry = Membership.objects.get().history.get()

    assert entry.actor_kind == HistoryEntry.ActorKind.SWEEP
    assert entry.told == {"source": "salesforce", "active": "True"}
    assert "Salesforce has the person" in entry.summary
    checked = verify_history()
    assert (checked.memberships, checked.findings) == (1, 0)


@pytest.mark.parametrize(
    "columns",
    [
        {"email": f"REP@{DOMAIN.upper()}"},
        {"email": "", "username": "fed-rep"},
        {"email": "", "username": "FED-Rep"},
        {"email": "", "username": f"rep@{DOMAIN}.salesforce"},
        {"email": "other@example.com", "username": "fed-rep"},
    ],
    ids=["email", "federation id", "federation id in another case", "username", "name, not email"],
)
def test_permission_set_sync_matches(columns: dict[str, str], sync: Sync) -> None:
    made = account("rep", **columns)

    assert sync().given == (made.username,)


def test_permission_set_sync_twice_changes_nothing_more(sync: Sync) -> None:
    account("rep")
    sync()
    sync.clock.forward(hours=1)

    changes = sync()

    assert (changes.given, changes.taken) == ((), ())
    assert HistoryEntry.objects.exclude(membership=None).count() == 1


def test_permission_set_sync_leaves_out_an_inactive_salesforce_user(
    sync: Sync, organisation: Organisation
) -> None:
    account("rep")
    account("former")
    organisation.set_active("rep", is_active=False)

    assert sync().given == ()


def test_permission_set_sync_leaves_out_an_expired_assignment(
    sync: Sync, organisation: Organisation
) -> None:
    account("viewer")
    account("admin")
    organisation.assign("viewer", expires=moment_text(sync.clock()))
    organisation.assign("admin", expires=moment_text(sync.clock() + timedelta(seconds=1)))

    assert sync().given == ("admin",)

    sync.clock.forward(seconds=1)
    assert sync().taken == ("admin",)


def test_permission_set_sync_gives_again_what_was_taken_in_the_database(sync: Sync) -> None:
    made = account("rep")
    sync()
    made.groups.clear()

    assert sync().given == ("rep",)
    assert members() == {"rep"}


# -- nobody is guessed -----------------------------------------------------------------------------


def test_permission_set_sync_names_a_member_without_an_account(sync: Sync) -> None:
    changes = sync()

    assert changes.given == ()
    assert [remark.split(" has ")[0] for remark in changes.remarks] == [
        f"{name}@{DOMAIN}.salesforce" for name in ("lead", "rep2", "rep")
    ]
    assert "no account here" in changes.remarks[0]
    assert not User.objects.exists()


def test_permission_set_sync_names_two_accounts_of_one_member(sync: Sync) -> None:
    account("rep")
    account("fed-rep", email="")

    changes = sync()

    assert changes.given == ()
    assert any("matches 2 accounts here: rep, fed-rep" in each for each in changes.remarks)


def test_permission_set_sync_takes_nothing_from_an_account_that_came_in_doubt(
    sync: Sync,
) -> None:
    account("rep")
    sync()
    account("double", email=f"rep@{DOMAIN}")

    changes = sync()

    assert (changes.given, changes.taken) == ((), ())
    assert members() == {"rep"}


def test_permission_set_sync_names_an_account_of_two_members(
    sync: Sync, organisation: Organisation
) -> None:
    account("rep")
    organisation.add_user("twin", "Twin", email=f"rep@{DOMAIN}")
    organisation.assign("twin")

    changes = sync()

    assert changes.given == ()
    assert any("The account rep matches 2 people" in each for each in changes.remarks)


def test_permission_set_sync_names_an_account_that_is_switched_off(sync: Sync) -> None:
    account("rep", is_active=False)

    changes = sync()

    assert changes.given == ()
    assert any("rep of rep@" in each and "switched off" in each for each in changes.remarks)


# -- who loses it ----------------------------------------------------------------------------------


def test_permission_set_sync_takes_the_group_from_those_who_left(
    sync: Sync, organisation: Organisation
) -> None:
    for name in ("rep", "rep2", "lead"):
        account(name)
    sync()
    organisation.unassign("rep")
    left_at = sync.clock.forward(hours=1)

    changes = sync()

    assert changes.taken == ("rep",)
    assert members() == {"rep2", "lead"}
    kept = Membership.objects.get(user__username="rep")
    assert (kept.active, kept.ended_at, kept.source) == (False, left_at, SALESFORCE)
    assert [entry.told["active"] for entry in kept.history.all()] == ["True", "False"]
    assert not may_issue(User.objects.get(username="rep"))
    assert not verify_history().findings


def test_permission_set_sync_gives_it_again_to_one_who_came_back(
    sync: Sync, organisation: Organisation
) -> None:
    for name in ("rep", "rep2", "lead"):
        account(name)
    sync()
    organisation.unassign("rep")
    sync()
    organisation.undelete(
        "PermissionSetAssignment",
        organisation.find("PermissionSetAssignment", "AssigneeId", user_id("rep"))[0]["Id"],
    )

    assert sync().given == ("rep",)
    assert Membership.objects.get(user__username="rep").history.count() == 3
    assert not verify_history().findings


# -- sessions --------------------------------------------------------------------------------------


def signed_in(user: User) -> Client:
    """Sign a person in by the form."""
    user.set_password("a-password-for-tests")
    user.save()
    client = Client()
    answer = client.post(
        "/accounts/login/", {"username": user.username, "password": "a-password-for-tests"}
    )
    assert answer.status_code == 302
    return client


def is_in(client: Client) -> bool:
    """Tell whether the next request is answered, or leads to the sign-in page."""
    answer = client.get("/orders/")
    if answer.status_code == 302:
        assert answer.headers["Location"].startswith("/accounts/login/")
        return False
    assert answer.status_code == 200
    return True


def test_who_loses_the_permission_set_is_signed_out_everywhere_with_the_next_request(
    sync: Sync, organisation: Organisation
) -> None:
    users = [account(name) for name in ("rep", "rep2", "lead")]
    sync()
    here, there, other = signed_in(users[0]), signed_in(users[0]), signed_in(users[1])
    organisation.unassign("rep")

    sync()

    assert not is_in(here)
    assert not is_in(there)
    assert is_in(other)
    # Signing in anew works, for what anybody may see.
    assert is_in(signed_in(users[0]))


def test_session_that_an_administrator_was_signed_in_with_before_any_membership_stays() -> None:
    user = account("rep")
    client = signed_in(user)

    membership_set_by_hand(user=user, is_member=True, by=user)

    assert is_in(client)


def test_signing_in_while_losing_the_permission_set_does_not_slip_through(
    sync: Sync, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = account("rep")
    for name in ("rep2", "lead"):
        account(name)
    sync()
    client = signed_in(user)
    organisation.unassign("rep")

    kept = SessionStore.create_model_instance

    def late(self: SessionStore, data: dict[str, object]) -> DeskSession:
        row = kept(self, data)
        if "_auth_user_id" in data:
            monkeypatch.undo()
            # The session is written only once the permission set is lost.
            assert sync().taken == ("rep",)
        return row

    monkeypatch.setattr(SessionStore, "create_model_instance", late)

    assert not is_in(signed_in(user))
    assert not is_in(client)


def test_session_that_a_request_under_way_writes_back_is_ended_all_the_same() -> None:
    user = account("rep")
    client = signed_in(user)
    session = client.session
    assert session["_auth_user_id"] == str(user.pk)

    membership_take(user=user, actor=COMMAND, at=timezone.now(), summary="Taken away.")
    session["written"] = "back"
    session.save()

    assert not is_in(client)


def test_page_costs_no_query_more_for_knowing_who_was_signed_out() -> None:
    client = signed_in(rep())
    with CaptureSessions() as captured:
        assert is_in(client)
    assert len(captured.of_sessions) == 1
    assert 'FROM "refunds_membership"' in captured.of_sessions[0]


class CaptureSessions:
    """The queries that read sessions, or memberships by themselves."""

    def __enter__(self) -> "CaptureSessions":
        self._context = connection.execute_wrapper(self._note)
        self.of_sessions: list[str] = []
        self._context.__enter__()
        return self

    def _note(self, execute: object, sql: str, *rest: object) -> object:
        if "refunds_desksession" in sql or "refunds_membership" in sql:
            self.of_sessions.append(sql)
        return execute(sql, *rest)  # type: ignore[operator]

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(None, None, None)


# -- what is refused -------------------------------------------------------------------------------


def test_permission_set_sync_refuses_to_take_it_from_more_than_half(
    sync: Sync, organisation: Organisation
) -> None:
    names = many(organisation, 4)
    sync()
    before = members()
    for name in names[:3]:
        organisation.unassign(name)

    said = sync.refusal()

    assert "3 of the 4 people" in said
    assert "--force" in said
    assert members() == before
    assert set(Membership.objects.values_list("active", flat=True)) == {True}

    assert sync(force=True).taken == tuple(sorted(names[:3]))
    assert members() == {names[3]}


def test_permission_set_sync_takes_it_from_just_half(
    sync: Sync, organisation: Organisation
) -> None:
    names = many(organisation, 4)
    sync()
    for name in names[:2]:
        organisation.unassign(name)

    assert sync().taken == tuple(names[:2])


def test_permission_set_sync_takes_it_from_the_only_one(
    sync: Sync, organisation: Organisation
) -> None:
    account("rep")
    sync()
    organisation.unassign("rep")

    assert sync().taken == ("rep",)


def test_permission_set_sync_never_empties_the_group_by_an_empty_answer(
    sync: Sync, organisation: Organisation
) -> None:
    account("rep")
    sync()
    organisation.reshape(has_package=False)
    for name in ("rep", "rep2"):
        organisation.unassign(name)
    organisation.unassign("lead", in_group=True)
    for each in organisation.find("PermissionSetAssignment", "IsDeleted", "false"):
        organisation.delete("PermissionSetAssignment", each["Id"])

    said = sync.refusal()

    assert "nobody in the permission set" in said
    assert members() == {"rep"}
    assert sync(force=True).taken == ("rep",)


def test_permission_set_sync_without_the_right_to_see_who_has_it(
    sync: Sync, organisation: Organisation
) -> None:
    account("rep")
    sync()
    organisation.reshape(taken=frozenset({"PermissionSetAssignment"}))

    said = sync.refusal()

    assert said.startswith("Salesforce did not tell who has the permission set")
    assert members() == {"rep"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.CONNECTION_REFUSED, times=9),
        Fault(FaultKind.BREAKS_OFF, path="*/query*", times=9),
        Fault(FaultKind.ERROR, code="REQUEST_LIMIT_EXCEEDED", path="*/query*", times=9),
        Fault(FaultKind.PROXY_PAGE, path="*/query*", status=502, times=9),
    ],
    ids=lambda fault: str(fault.kind),
)
def test_permission_set_sync_while_salesforce_is_away_changes_nothing(
    fault: Fault, sync: Sync, organisation: Organisation
) -> None:
    account("rep")
    organisation.queue_fault(fault)

    assert "nothing was changed" in sync.refusal()
    assert members() == set()
    organisation.clear_faults()
    assert sync().given == ("rep",)


def test_permission_set_sync_without_salesforce_says_so(settings: LazySettings) -> None:
    settings.SALESFORCE_TRANSPORT = ""

    with pytest.raises(PermissionSetRefused, match="No Salesforce organisation is set up"):
        permission_set_sync()


def test_permission_set_sync_without_the_group_says_so(sync: Sync) -> None:
    account("rep")
    Group.objects.get(name=GROUP_NAME).delete()

    assert "is gone" in sync.refusal()


def test_permission_set_sync_is_all_or_nothing(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    account("rep")
    account("rep2")
    given: list[Membership] = []

    def second_fails(**what: Any) -> Membership:
        if given:
            raise RuntimeError("killed")
        given.append(membership_give(**what))
        return given[0]

    monkeypatch.setattr(permission_set, "membership_give", second_fails)
    with pytest.raises(RuntimeError, match="killed"):
        sync()

    assert members() == set()
    assert not Membership.objects.exists()
    monkeypatch.undo()
    assert sync().given == ("rep", "rep2")


# -- one at a time ---------------------------------------------------------------------------------


def test_permission_set_sync_waits_for_none_that_is_under_way(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    account("rep")
    read, said = permission_set._read, []

    def reading(*what: object) -> object:
        monkeypatch.undo()
        said.append(sync.refusal())
        return read(*what)  # type: ignore[arg-type]

    monkeypatch.setattr(permission_set, "_read", reading)

    assert sync().given == ("rep",)
    assert "already" in said[0]
    assert sync().given == ()


def test_permission_set_sync_goes_on_once_a_killed_one_is_past_its_lease(sync: Sync) -> None:
    account("rep")
    Watermark.objects.create(name=permission_set._PLACE, at=sync.clock() + LEASE)
    assert "already" in sync.refusal()

    sync.clock.forward(minutes=11)

    assert sync().given == ("rep",)


def test_permission_set_sync_that_was_overtaken_changes_nothing(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    account("rep")
    read = permission_set._read

    def slowly(*what: object) -> object:
        monkeypatch.undo()
        answer = read(*what)  # type: ignore[arg-type]
        sync.clock.forward(minutes=11)
        Watermark.objects.filter(name=permission_set._PLACE).update(at=sync.clock() + LEASE)
        return answer

    monkeypatch.setattr(permission_set, "_read", slowly)

    assert "another round was begun" in sync.refusal()
    assert members() == set()


# -- by hand ---------------------------------------------------------------------------------------


def test_permission_set_sync_leaves_alone_what_was_given_by_hand(
    sync: Sync, organisation: Organisation
) -> None:
    lead()
    account("rep2")
    by_hand = account("helper")
    membership_set_by_hand(user=by_hand, is_member=True, by=by_hand, clock=sync.clock)

    changes = sync(force=True)

    assert changes.by_hand == ("helper", "lead")
    assert changes.given == ("rep2",)
    assert members() == {"helper", "lead", "rep2"}


def test_permission_set_sync_leaves_by_hand_whom_salesforce_has_too(
    sync: Sync, organisation: Organisation
) -> None:
    person("admin")
    user = account("rep")
    membership_set_by_hand(user=user, is_member=True, by=user, clock=sync.clock)

    assert sync().given == ()
    assert Membership.objects.get().source == HAND

    organisation.unassign("rep")
    assert sync(force=True).taken == ()
    assert members() == {"rep"}


def test_permission_set_sync_takes_over_whom_an_administrator_took_out(
    sync: Sync,
) -> None:
    user = account("rep")
    membership_set_by_hand(user=user, is_member=True, by=user, clock=sync.clock)
    membership_set_by_hand(user=user, is_member=False, by=user, clock=sync.clock)

    assert sync().given == ("rep",)
    assert Membership.objects.get().source == SALESFORCE


# -- a trial ---------------------------------------------------------------------------------------


def test_permission_set_sync_as_a_trial_says_what_would_change_and_changes_nothing(
    sync: Sync, organisation: Organisation
) -> None:
    for name in ("rep", "rep2"):
        account(name)
    sync()
    organisation.unassign("rep")
    account("lead")
    entries, marks = HistoryEntry.objects.count(), list(Watermark.objects.values())

    changes = sync.trial()

    assert (changes.given, changes.taken) == (("lead",), ("rep",))
    assert members() == {"rep", "rep2"}
    assert HistoryEntry.objects.count() == entries
    assert list(Watermark.objects.values()) == marks
    assert sync() == changes


def test_permission_set_sync_as_a_trial_is_refused_as_in_earnest(
    sync: Sync, organisation: Organisation
) -> None:
    names = many(organisation, 3)
    sync()
    for name in names:
        organisation.unassign(name)

    with pytest.raises(PermissionSetRefused, match="3 of the 3"):
        sync.trial()
    assert sync.trial(force=True).taken == tuple(names)


# -- by the timer ----------------------------------------------------------------------------------


def test_permission_set_keep_up_does_a_round_when_it_is_due(
    sync: Sync, settings: LazySettings
) -> None:
    settings.SALESFORCE_PERMISSION_SET_SECONDS = 900
    account("rep")

    def keep_up() -> dict[str, int]:
        return dict(permission_set_keep_up(clock=sync.clock, client=sync.client))

    assert keep_up() == {"given": 1}
    account("rep2")
    sync.clock.forward(seconds=899)
    assert keep_up() == {}
    sync.clock.forward(seconds=1)
    assert keep_up() == {"given": 1}
    assert Membership.objects.get(user__username="rep2").history.get().actor_kind == "sweep"


def test_permission_set_keep_up_is_off_at_zero_seconds(sync: Sync, settings: LazySettings) -> None:
    settings.SALESFORCE_PERMISSION_SET_SECONDS = 0
    account("rep")

    assert permission_set_keep_up(clock=sync.clock, client=sync.client) == {}
    assert members() == set()


def test_sweep_takes_the_permission_set_over_and_goes_on_where_it_is_refused(
    organisation: Organisation, settings: LazySettings
) -> None:
    settings.SALESFORCE_PERMISSION_SET_SECONDS = 900
    account("rep")
    organisation.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, times=9))
    assert "nothing was changed" in str(sweep()["permission set"])

    organisation.clear_faults()
    Watermark.objects.filter(name=permission_set._BEGUN).delete()
    assert sweep()["permission set"] == {"given": 1}


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_permission_set_sync_by_two_at_once_changes_each_once(
    salesforce: SalesforceClient, clock: SetClock
) -> None:
    account("rep")
    account("rep2")
    told: list[object] = []

    def work() -> None:
        try:
            told.append(permission_set_sync(clock=clock, client=salesforce).given)
        except PermissionSetRefused:
            told.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told.count(("rep", "rep2")) == 1
    assert HistoryEntry.objects.exclude(membership=None).count() == 2
    assert not verify_history().findings
