"""Signing in and out, guessing, and sessions that end."""

from datetime import timedelta
from http import HTTPStatus

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

PASSWORD = "a-password-for-tests"

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return User.objects.create_user("robin", password=PASSWORD)


def attempt(client: Client, password: str, *, address: str = "192.0.2.1") -> int:
    response = client.post(
        "/accounts/login/",
        {"username": "robin", "password": password},
        REMOTE_ADDR=address,
    )
    return response.status_code


def test_login_right_password(client: Client, user: User) -> None:
    assert attempt(client, PASSWORD) == HTTPStatus.FOUND
    assert client.session["_auth_user_id"] == str(user.pk)


def test_login_fifth_wrong_password_pauses_it(client: Client, user: User) -> None:
    assert [attempt(client, "wrong") for _ in range(5)] == [200, 200, 200, 200, 429]
    assert attempt(client, PASSWORD) == HTTPStatus.TOO_MANY_REQUESTS


def test_login_pause_ends_after_fifteen_minutes(client: Client, user: User) -> None:
    for _ in range(5):
        attempt(client, "wrong")
    with time_machine.travel(timezone.now() + timedelta(minutes=16)):
        assert attempt(client, PASSWORD) == HTTPStatus.FOUND


def test_login_pause_leaves_other_addresses_alone(client: Client, user: User) -> None:
    for _ in range(5):
        attempt(client, "wrong")
    assert attempt(client, PASSWORD, address="192.0.2.2") == HTTPStatus.FOUND


def test_login_right_password_forgets_earlier_mistakes(client: Client, user: User) -> None:
    for _ in range(4):
        attempt(client, "wrong")
    assert attempt(client, PASSWORD) == HTTPStatus.FOUND
    assert attempt(Client(), "wrong") == HTTPStatus.OK


def test_login_forwarded_address_is_not_believed(client: Client, user: User) -> None:
    for number in range(5):
        client.post(
            "/accounts/login/",
            {"username": "robin", "password": "wrong"},
            headers={"x-forwarded-for": f"203.0.113.{number}"},
            REMOTE_ADDR="192.0.2.1",
        )
    assert attempt(client, PASSWORD) == HTTPStatus.TOO_MANY_REQUESTS


def test_login_next_address_stays_on_this_site(client: Client, user: User) -> None:
    response = client.post(
        "/accounts/login/",
        {"username": "robin", "password": PASSWORD, "next": "https://evil.example/"},
    )
    assert response.headers["Location"] == "/orders/"


def test_session_ends_after_eight_hours(client: Client, user: User) -> None:
    attempt(client, PASSWORD)
    with time_machine.travel(timezone.now() + timedelta(hours=7, minutes=59)):
        assert client.get("/accounts/login/").status_code == HTTPStatus.FOUND
    with time_machine.travel(timezone.now() + timedelta(hours=8, minutes=1)):
        assert client.get("/accounts/login/").status_code == HTTPStatus.OK


def test_session_cookie_ends_with_the_browser(client: Client, user: User) -> None:
    attempt(client, PASSWORD)
    cookie = client.cookies["sessionid"]
    assert cookie["max-age"] == ""
    assert cookie["expires"] == ""
    assert cookie["httponly"] is True
    assert cookie["samesite"] == "Lax"


def test_logout_by_link_is_refused(client: Client, user: User) -> None:
    attempt(client, PASSWORD)
    assert client.get("/accounts/logout/").status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert "_auth_user_id" in client.session


def test_logout_ends_the_session(client: Client, user: User) -> None:
    attempt(client, PASSWORD)
    assert client.post("/accounts/logout/").status_code == HTTPStatus.OK
    assert "_auth_user_id" not in client.session
