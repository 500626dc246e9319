"""`python manage.py sync_permission_set`: what it says, and with which status it ends."""

from collections.abc import Iterator
from io import StringIO

import pytest
import stamina
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from refunds.models import HistoryEntry, Membership
from refunds.permissions import GROUP_NAME
from sandbox.salesforce.faults import Fault, FaultKind
from sandbox.salesforce.organisation import Organisation
from tests.desk import person, rep

pytestmark = pytest.mark.django_db

DOMAIN = "refund-desk.example"


@pytest.fixture(autouse=True)
def _organisation(organisation: Organisation) -> Iterator[Organisation]:
    """Let the command reach the stand-in of this test, without a wait between its tries."""
    with stamina.set_testing(True, attempts=2):
        yield organisation


def _account(name: str) -> User:
    return User.objects.create_user(name, email=f"{name}@{DOMAIN}")


def _sync(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("sync_permission_set", *arguments, stdout=output)
    return output.getvalue().splitlines()


def _nobody(name: str) -> str:
    return (
        f"{name}@{DOMAIN}.salesforce has no account here. Make one with the email of the "
        "Salesforce user, or with its federation id as the username; the next round gives it the "
        "group."
    )


def test_sync_permission_set_says_who_got_it_who_lost_it_and_who_was_not_matched(
    organisation: Organisation,
) -> None:
    for name in ("rep2", "lead"):
        _account(name)
    _sync()
    person("helper", GROUP_NAME)
    _account("viewer")
    organisation.assign("viewer")
    organisation.unassign("rep2")

    assert _sync() == [
        "In Salesforce: 3 with the permission set.",
        "Gave the group to viewer.",
        "Took the group from rep2, signed out everywhere.",
        "By hand, left alone: helper.",
        f"Not matched: {_nobody('rep')}",
        f"“{GROUP_NAME}” was given to 1 and taken from 1.",
    ]
    kinds = HistoryEntry.objects.exclude(membership=None).values_list("actor_kind", flat=True)
    assert set(kinds) == {HistoryEntry.ActorKind.COMMAND}


def test_sync_permission_set_as_a_trial_says_the_same_and_changes_nothing() -> None:
    _account("rep")

    assert _sync("--dry-run")[1] == "Would give the group to rep."
    assert _sync("--dry-run")[-1] == (
        f"“{GROUP_NAME}” would be given to 1 and taken from 0. This was a trial: nothing was "
        "changed."
    )
    assert not Membership.objects.exists()
    assert not User.objects.filter(groups__name=GROUP_NAME).exists()


def test_sync_permission_set_refuses_what_would_take_it_from_more_than_half(
    organisation: Organisation,
) -> None:
    for name in ("rep", "rep2", "lead"):
        _account(name)
    _sync()
    organisation.unassign("rep")
    organisation.unassign("rep2")

    for arguments in ((), ("--dry-run",)):
        with pytest.raises(CommandError, match="2 of the 3 people") as caught:
            _sync(*arguments)
        assert caught.value.returncode == 1
    assert User.objects.filter(groups__name=GROUP_NAME).count() == 3

    assert _sync("--force")[-1].endswith("was given to 0 and taken from 2.")
    assert User.objects.get(groups__name=GROUP_NAME).username == "lead"


def test_sync_permission_set_says_that_salesforce_is_away(organisation: Organisation) -> None:
    rep()
    organisation.queue_fault(Fault(FaultKind.CONNECTION_REFUSED, times=9))

    with pytest.raises(CommandError, match="nothing was changed"):
        _sync()


def test_sync_permission_set_says_that_no_salesforce_is_set_up(settings: LazySettings) -> None:
    settings.SALESFORCE_TRANSPORT = ""

    with pytest.raises(CommandError, match="No Salesforce organisation is set up"):
        _sync()
