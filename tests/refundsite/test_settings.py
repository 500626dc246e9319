"""The settings as an operator meets them: on the command line."""

import pytest

from tests.refundsite.conftest import LONG_SECRET, Manage

PRODUCTION = {
    "SECRET_KEY": LONG_SECRET,
    "ALLOWED_HOSTS": "desk.example",
    "DIGITALRIVER_API_URL": "https://api.digitalriver.com",
    "DIGITALRIVER_API_KEY": "sk_0123456789",
}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "SECRET_KEY is not set: set it to a random text"),
        ({"SECRET_KEY": "x", "DEBUG": "perhaps"}, "DEBUG is malformed: set it to 1 or 0."),
        ({"SECRET_KEY": "x"}, "DIGITALRIVER_API_URL is not set: set it to Digital River's address"),
        (
            {"SECRET_KEY": "x", "DIGITALRIVER_API_URL": "https://api.digitalriver.com"},
            "DIGITALRIVER_API_KEY is not set: set it to the secret key",
        ),
        (
            {"SECRET_KEY": "x", "DEBUG": "1", "DIGITALRIVER_API_KEY": "sk_0123456789"},
            "DIGITALRIVER_API_URL is not set although DIGITALRIVER_API_KEY is a live key",
        ),
        (
            {"SECRET_KEY": "x", "ALLOW_SANDBOX": "1", "DIGITALRIVER_API_KEY": "sk_0123456789"},
            "DIGITALRIVER_API_URL is not set although DIGITALRIVER_API_KEY is a live key",
        ),
        (
            {**PRODUCTION, "DIGITALRIVER_API_URL": "http://api.digitalriver.com"},
            "DIGITALRIVER_API_URL is not encrypted although DIGITALRIVER_API_KEY is a live key",
        ),
        ({**PRODUCTION, "DIGITALRIVER_TIMEOUT": "soon"}, "DIGITALRIVER_TIMEOUT is malformed"),
        ({**PRODUCTION, "DATABASE_URL": "oracle://x"}, "DATABASE_URL is malformed"),
        ({**PRODUCTION, "TIME_ZONE": "Moon"}, "TIME_ZONE is malformed"),
        ({**PRODUCTION, "LANGUAGE_CODE": "klingon"}, "LANGUAGE_CODE is malformed"),
        ({**PRODUCTION, "DIGITALRIVER_VERSION": "new"}, "DIGITALRIVER_VERSION is malformed"),
        ({**PRODUCTION, "CSRF_TRUSTED_ORIGINS": "desk.example"}, "CSRF_TRUSTED_ORIGINS is malform"),
        ({**PRODUCTION, "LOG_FORMAT": "xml"}, "LOG_FORMAT is malformed: set it to json or console"),
    ],
)
def test_start_stops_with_one_sentence(
    manage: Manage, variables: dict[str, str], sentence: str
) -> None:
    result = manage("check", **variables)
    assert result.returncode == 1
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_live_key_is_not_repeated_in_the_refusal(manage: Manage) -> None:
    result = manage("check", SECRET_KEY="x", DEBUG="1", DIGITALRIVER_API_KEY="sk_0123456789")
    assert "sk_0123456789" not in result.stderr


def test_deploy_check_is_clean_with_production_settings(manage: Manage) -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert result.returncode == 0, result.stderr


def test_sandbox_is_allowed_without_debug_when_asked_for(manage: Manage) -> None:
    result = manage("check", SECRET_KEY=LONG_SECRET, ALLOW_SANDBOX="1")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("variables", "refusal"),
    [
        ({"SECRET_KEY": "x", "DEBUG": "1"}, ""),
        ({"SECRET_KEY": "x", "ALLOW_SANDBOX": "1"}, ""),
        ({**PRODUCTION, "ALLOW_SANDBOX": "1"}, "DIGITALRIVER_API_KEY is a live key"),
        ({**PRODUCTION, "DEBUG": "1"}, "DIGITALRIVER_API_KEY is a live key"),
        ({**PRODUCTION, "DIGITALRIVER_API_KEY": "sk_test_1"}, "ALLOW_SANDBOX is not set and DEBUG"),
    ],
)
def test_sandbox_refusal_says_why(manage: Manage, variables: dict[str, str], refusal: str) -> None:
    code = "from django.conf import settings; print('<' + settings.SANDBOX_REFUSAL)"
    result = manage("shell", "--no-imports", "--command", code, **variables)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"<{refusal}")
    assert (result.stdout.strip() == "<") == (refusal == "")


CALLER = """
from axes.helpers import get_client_ip_address
from django.test import RequestFactory
headers = {"x-forwarded-for": "HEADER", "x-forwarded-proto": "https"}
request = RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", headers=headers)
print(get_client_ip_address(request), request.is_secure())
"""


@pytest.mark.parametrize(
    ("behind_proxy", "header", "seen"),
    [
        ("0", "198.51.100.7", "127.0.0.1 False"),
        ("1", "198.51.100.7", "198.51.100.7 True"),
        ("1", "10.0.0.5", "10.0.0.5 True"),
        ("1", "8.8.8.8, 198.51.100.7", "127.0.0.1 True"),
    ],
    ids=["not-behind-a-proxy", "outside", "inside", "forged-list"],
)
def test_proxy_headers_are_believed_only_behind_a_proxy(
    manage: Manage, behind_proxy: str, header: str, seen: str
) -> None:
    code = CALLER.replace("HEADER", header)
    variables = {**PRODUCTION, "BEHIND_PROXY": behind_proxy}
    result = manage("shell", "--no-imports", "--command", code, **variables)
    assert result.stdout.strip() == seen, result.stderr
