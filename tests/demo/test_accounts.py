"""The demo's accounts: who they are, what they may do, and whom they leave alone."""

import pytest
from django.conf import LazySettings
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.test import RequestFactory

from demo.accounts import ACCOUNTS, accounts_make
from demo.guard import DemoRefusedError
from refunds.permissions import APPROVE, ISSUE

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("username", "issues", "approves", "administers"),
    [
        ("rep", True, False, False),
        ("rep2", True, False, False),
        ("lead", True, True, False),
        ("viewer", False, False, False),
        ("admin", True, True, True),
    ],
)
def test_account_may_do_what_the_table_says(
    username: str, *, issues: bool, approves: bool, administers: bool
) -> None:
    accounts_make()

    user = User.objects.get(username=username)
    assert user.has_perm(ISSUE) is issues
    assert user.has_perm(APPROVE) is approves
    assert user.is_staff is user.is_superuser is administers
    assert " " in user.get_full_name()


@pytest.mark.parametrize("username", [account.username for account in ACCOUNTS])
def test_account_signs_in_with_the_demo_password(username: str, settings: LazySettings) -> None:
    settings.DEMO_PASSWORD = "a-password-of-the-demo"
    accounts_make()

    request = RequestFactory().post("/accounts/login/")
    assert authenticate(request, username=username, password="a-password-of-the-demo")
    assert not authenticate(request, username=username, password="refunds-demo")


def test_accounts_are_made_once() -> None:
    assert len(accounts_make()) == len(ACCOUNTS)
    made = list(User.objects.order_by("pk").values())

    assert accounts_make() == []

    assert list(User.objects.order_by("pk").values()) == made


def test_account_that_was_changed_keeps_its_groups_but_not_its_password() -> None:
    accounts_make()
    viewer = User.objects.get(username="viewer")
    viewer.groups.set(User.objects.get(username="rep").groups.all())
    viewer.set_password("something-else-altogether")
    viewer.save()

    accounts_make()

    viewer = User.objects.get(username="viewer")
    assert viewer.has_perm(ISSUE)
    assert viewer.check_password("refunds-demo")


def test_account_that_is_missing_is_made_again() -> None:
    accounts_make()
    User.objects.filter(username="rep2").delete()

    assert [user.username for user in accounts_make()] == ["rep2"]

    assert User.objects.get(username="rep2").check_password("refunds-demo")


def test_account_of_somebody_else_is_left_alone() -> None:
    User.objects.create_user("admin", "boss@company.example", "a-secret-of-theirs")

    with pytest.raises(DemoRefusedError, match="accounts of its own called admin"):
        accounts_make()

    user = User.objects.get()
    assert user.check_password("a-secret-of-theirs")
    assert not user.is_superuser


def test_account_is_not_made_where_the_demo_may_not_run(settings: LazySettings) -> None:
    settings.SANDBOX_REFUSAL = "Not here."

    with pytest.raises(DemoRefusedError, match="Not here"):
        accounts_make()

    assert not User.objects.exists()


@pytest.mark.parametrize("api_key", ["sk_0123456789", "rk_0123456789"])
def test_account_is_not_made_beside_a_key_that_is_no_test_key(
    api_key: str, settings: LazySettings
) -> None:
    settings.DIGITALRIVER_API_KEY = api_key

    with pytest.raises(DemoRefusedError, match="live key") as refusal:
        accounts_make()

    assert api_key not in str(refusal.value)
    assert not User.objects.exists()
