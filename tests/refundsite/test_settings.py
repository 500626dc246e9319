"""The settings as an operator meets them: on the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.exceptions import ImproperlyConfigured

from refundsite.environment import Environment
from tests.refundsite.conftest import LONG_SECRET, PROJECT, Manage
from tests.salesforce.wire import private_key

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


SALESFORCE = {
    "SALESFORCE_DOMAIN": "acme.my",
    "SALESFORCE_CONSUMER_KEY": "3MVG9-key",
    "SALESFORCE_CONSUMER_SECRET": "shh-secret",
}
JWT = {
    "SALESFORCE_DOMAIN": "login",
    "SALESFORCE_CONSUMER_KEY": "3MVG9-key",
    "SALESFORCE_PRIVATE_KEY_FILE": "GOOD",
    "SALESFORCE_USERNAME": "desk@acme.example",
}
#: Each stops the start; GOOD, BAD, CERTIFICATE and GONE are key files.
MISTAKES: list[tuple[dict[str, str], str]] = [
    ({"SALESFORCE_DOMAIN": "acme.my"}, "SALESFORCE_CONSUMER_KEY is not set: set it to the consum"),
    (
        {"SALESFORCE_DOMAIN": "acme.my", "SALESFORCE_CONSUMER_KEY": "k"},
        "SALESFORCE_CONSUMER_SECRET is not set although SALESFORCE_DOMAIN is",
    ),
    (
        {**SALESFORCE, "SALESFORCE_PRIVATE_KEY_FILE": "GOOD", "SALESFORCE_USERNAME": "u"},
        "SALESFORCE_CONSUMER_SECRET and SALESFORCE_PRIVATE_KEY_FILE are both set",
    ),
    ({**JWT, "SALESFORCE_USERNAME": ""}, "SALESFORCE_USERNAME is not set although"),
    ({**JWT, "SALESFORCE_PRIVATE_KEY_FILE": "GONE"}, "SALESFORCE_PRIVATE_KEY_FILE cannot be read"),
    ({**JWT, "SALESFORCE_PRIVATE_KEY_FILE": "BAD"}, "SALESFORCE_PRIVATE_KEY_FILE holds no key"),
    (
        {**JWT, "SALESFORCE_PRIVATE_KEY_FILE": "BINARY"},
        "SALESFORCE_PRIVATE_KEY_FILE cannot be read",
    ),
    (
        {**SALESFORCE, "SALESFORCE_DOMAIN": "https://acme.my.salesforce.com"},
        "SALESFORCE_DOMAIN is malformed: set it to the part of the address before",
    ),
    ({**SALESFORCE, "SALESFORCE_DOMAIN": "acme.my/x"}, "SALESFORCE_DOMAIN is malformed"),
    (
        {**SALESFORCE, "SALESFORCE_DOMAIN": "login"},
        "SALESFORCE_DOMAIN is malformed: set it to the My",
    ),
    (
        {**SALESFORCE, "SALESFORCE_URL": "http://stand-in.example:9000"},
        "SALESFORCE_URL is not encrypted although it gets credentials",
    ),
    (
        {"SALESFORCE_URL": "http://10.0.0.1", "SALESFORCE_CONSUMER_SECRET": "shh-secret"},
        "SALESFORCE_URL is not encrypted although it gets credentials",
    ),
    ({**SALESFORCE, "SALESFORCE_URL": "acme"}, "SALESFORCE_URL is malformed"),
    (
        {**SALESFORCE, "SALESFORCE_URL": "https://acme.example/x"},
        "SALESFORCE_URL is malformed: set",
    ),
    (
        {**SALESFORCE, "SALESFORCE_API_VERSION": "v60"},
        "SALESFORCE_API_VERSION is malformed: set it",
    ),
    (
        {**SALESFORCE, "SALESFORCE_NAMESPACE": "dr v3"},
        "SALESFORCE_NAMESPACE is malformed: set it to",
    ),
    ({**SALESFORCE, "SALESFORCE_NAMESPACE": "x__y"}, "SALESFORCE_NAMESPACE is malformed"),
    ({**SALESFORCE, "SALESFORCE_NAMESPACE": "3dr"}, "SALESFORCE_NAMESPACE is malformed"),
    (
        {**SALESFORCE, "SALESFORCE_CURRENCY": "ZZZ"},
        "SALESFORCE_CURRENCY is malformed: set it to the",
    ),
    ({**SALESFORCE, "SALESFORCE_CURRENCY": "XAU"}, "SALESFORCE_CURRENCY is malformed"),
    ({**SALESFORCE, "SALESFORCE_TIMEOUT": "0"}, "SALESFORCE_TIMEOUT is malformed"),
    ({**SALESFORCE, "SALESFORCE_SYNC_SECONDS": "-1"}, "SALESFORCE_SYNC_SECONDS is malformed"),
    ({**SALESFORCE, "SALESFORCE_SYNC_MONEY": "all"}, "SALESFORCE_SYNC_MONEY is malformed"),
    (
        {**SALESFORCE, "SALESFORCE_TASKS": "maybe"},
        "SALESFORCE_TASKS is malformed: set it to 1 or 0",
    ),
    ({**SALESFORCE, "SALESFORCE_ADDRESS": "acme"}, "SALESFORCE_ADDRESS is malformed"),
]
_START = """
import json, os, runpy, sys
from django.core.exceptions import ImproperlyConfigured
for variables in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(variables)
    try:
        settings = runpy.run_path("refundsite/settings.py")
    except ImproperlyConfigured as error:
        print(json.dumps(str(error)))
    else:
        print(json.dumps({k: v for k, v in settings.items() if k.startswith("SALESFORCE_")}))
"""


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the paths of key files by what they are."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "good").write_text(private_key())
    (folder / "bad").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (folder / "binary").write_bytes(b"\xff\xfe")
    return {name: str(folder / name.lower()) for name in ("GOOD", "BAD", "BINARY", "GONE")}


def settings_of(
    cases: list[dict[str, str]], key_files: dict[str, str]
) -> list[str | dict[str, object]]:
    """Return of each case the sentence that stopped the start, or its settings."""
    given = [
        {**PRODUCTION, "SECRET_KEY": LONG_SECRET}
        | {name: key_files.get(value, value) for name, value in case.items()}
        for case in cases
    ]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", _START],
        cwd=PROJECT,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_salesforce_mistakes_stop_the_start_with_one_sentence(key_files: dict[str, str]) -> None:
    told = settings_of([variables for variables, _ in MISTAKES], key_files)

    for (variables, beginning), sentence in zip(MISTAKES, told, strict=True):
        assert isinstance(sentence, str), variables
        assert sentence.startswith(beginning), variables
        assert sentence.endswith(".")
        assert "shh-secret" not in sentence


def test_salesforce_settings_that_are_right(key_files: dict[str, str]) -> None:
    cases = [
        {},
        SALESFORCE,
        {**SALESFORCE, "SALESFORCE_DOMAIN": "Acme.my.salesforce.com", "SALESFORCE_CURRENCY": "eur"},
        JWT,
        {**SALESFORCE, "SALESFORCE_NAMESPACE": ""},
        {**SALESFORCE, "SALESFORCE_NAMESPACE": "none", "SALESFORCE_URL": "http://127.0.0.1:9000/"},
        {
            "SALESFORCE_URL": "http://stand-in.example:9000",
            "SALESFORCE_SYNC_SECONDS": "0",
            "SALESFORCE_SYNC_MONEY": "500",
        },
        {"DIGITALRIVER_API_KEY": "sk_test_1", "ALLOW_SANDBOX": "1"},
        {"ALLOW_SANDBOX": "1"},
    ]
    found = []
    for settings in settings_of(cases, key_files):
        assert isinstance(settings, dict), settings
        found.append(settings)

    off, secret, written, signed, emptied, none, stand_in, sandbox, live = found
    assert off["SALESFORCE_TRANSPORT"] == ""
    assert secret["SALESFORCE_DOMAIN"] == "acme.my"
    assert secret["SALESFORCE_NAMESPACE"] == "digitalriverv3"
    assert secret["SALESFORCE_API_VERSION"] == "60.0"
    assert (secret["SALESFORCE_SYNC_SECONDS"], secret["SALESFORCE_TASKS"]) == (300, False)
    assert written["SALESFORCE_DOMAIN"] == "acme.my"
    assert written["SALESFORCE_CURRENCY"] == "EUR"
    assert signed["SALESFORCE_PRIVATE_KEY"] == Path(key_files["GOOD"]).read_text()
    assert signed["SALESFORCE_CONSUMER_SECRET"] == ""
    assert emptied["SALESFORCE_NAMESPACE"] == none["SALESFORCE_NAMESPACE"] == ""
    assert none["SALESFORCE_URL"] == "http://127.0.0.1:9000"
    assert stand_in["SALESFORCE_CONSUMER_KEY"] == "stand-in-consumer-key"
    assert stand_in["SALESFORCE_SYNC_SECONDS"] == 0
    assert (off["SALESFORCE_SYNC_MONEY"], stand_in["SALESFORCE_SYNC_MONEY"]) == (0, 500)
    assert sandbox["SALESFORCE_TRANSPORT"] == "sandbox.salesforce.transport.in_process"
    # The stand-in never runs beside a live key of Digital River's.
    assert live["SALESFORCE_TRANSPORT"] == ""


def test_key_of_salesforce_is_refused_with_a_password_or_of_another_kind(tmp_path: Path) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    kinds = {
        "LOCKED": rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"shh-secret"),
        ),
        "ELLIPTIC": elliptic.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        environment = Environment({"SALESFORCE_PRIVATE_KEY_FILE": str(tmp_path / name)})
        with pytest.raises(ImproperlyConfigured, match="holds no key that can sign"):
            environment.private_key("SALESFORCE_PRIVATE_KEY_FILE")
