"""The two addresses for the machines that watch the desk."""

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from pytest_django import Settings


def test_healthz_answers_without_the_database(client: Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_says_ok_when_migrated(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_migration_missing_is_503_with_the_reason(client: Client) -> None:
    newest = MigrationRecorder.Migration.objects.filter(app="sessions").latest("id")
    newest.delete()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "status": "not ready",
        "reason": "Migrations wait to be applied: run manage.py migrate.",
    }


@pytest.mark.django_db
def test_readyz_database_down_is_503_with_the_reason(client: Client) -> None:
    def refuse(*arguments: object) -> None:
        raise OperationalError("secret-host refused the connection")

    with connections[DEFAULT_DB_ALIAS].execute_wrapper(refuse):
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reason"] == "The database does not answer."
    assert "secret-host" not in response.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.django_db
def test_health_is_not_redirected_to_https(client: Client, settings: Settings, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path).status_code == 200
    assert client.get("/accounts/login/").status_code == 301


def test_healthz_refuses_to_be_posted_to(client: Client) -> None:
    assert client.post("/healthz").status_code == 405
