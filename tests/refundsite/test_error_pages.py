"""The pages for requests that could not be served, and the headers on every page."""

from http import HTTPStatus

import pytest
from django.contrib import admin
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from refundsite import urls

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

handler403 = urls.handler403
handler500 = urls.handler500


def deny(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def suspect(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation


def break_down(request: HttpRequest) -> HttpResponse:
    raise ValueError("a-detail-for-developers")


urlpatterns = [
    path("deny/", deny),
    path("suspect/", suspect),
    path("break-down/", break_down),
    *urls.urlpatterns,
]


def test_permission_denied_names_the_set_and_whom_to_ask(
    client: Client, settings: Settings
) -> None:
    settings.PERMISSION_CONTACT = "Kim in room 12"
    response = client.get("/deny/")
    assert response.status_code == HTTPStatus.FORBIDDEN
    assert "DigitalRiver Connector – Refunds" in response.text
    assert "Ask Kim in room 12" in response.text


def test_suspicious_request_says_that_nothing_was_sent(client: Client) -> None:
    response = client.get("/suspect/")
    assert response.status_code == HTTPStatus.BAD_REQUEST
    assert "Nothing was sent or changed" in response.text


def test_server_error_gives_the_number_to_tell_and_no_detail(client: Client) -> None:
    client.raise_request_exception = False
    response = client.get("/break-down/")
    assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert 'id="request-id"' in response.text
    assert "a-detail-for-developers" not in response.text


def test_unknown_page_offers_to_sign_in(client: Client) -> None:
    response = client.get("/no-such-page/")
    assert response.status_code == HTTPStatus.NOT_FOUND
    assert 'href="/accounts/login/"' in response.text


def test_form_without_token_says_that_nothing_was_sent() -> None:
    response = Client(enforce_csrf_checks=True).post("/accounts/login/", {"username": "robin"})
    assert response.status_code == HTTPStatus.FORBIDDEN
    assert "This page was open too long" in response.text


@pytest.mark.parametrize(
    "address", ["/accounts/login/", "/deny/", "/no-such-page/", "/break-down/", "/admin/login/"]
)
def test_every_page_carries_the_strict_headers(client: Client, address: str) -> None:
    client.raise_request_exception = False
    headers = client.get(address).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "nonce" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("address", ["/accounts/login/", "/deny/", "/no-such-page/"])
def test_page_has_one_heading_and_nothing_inline(client: Client, address: str) -> None:
    text = client.get(address).text
    assert text.count("<h1") == 1
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick=" not in text
    assert text.count("<script") == text.count("<script src=")


def test_admin_names_the_desk() -> None:
    assert admin.site.site_header == "Refund desk administration"
