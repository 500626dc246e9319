"""What the logs say, and what they keep to themselves."""

import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from io import StringIO

import pytest
import structlog
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DataError, IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from refunds.models import Order
from refundsite.logs import logging_settings


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """Write the logs as production does, to a place where they can be read."""
    output = StringIO()
    with redirect_stderr(output):
        logging.config.dictConfig(logging_settings(log_format="json", level="INFO"))
    yield output
    logging.config.dictConfig(settings.LOGGING)


def entries(output: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


@pytest.mark.django_db
def test_request_is_logged_with_its_id_and_user(client: Client, lines: StringIO) -> None:
    user = User.objects.create_user("robin")
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.get("/healthz")
    started, finished = entries(lines)
    assert started["message"] == "request_started"
    assert finished["message"] == "request_finished"
    assert finished["request"] == "GET /healthz"
    assert finished["code"] == 200
    assert finished["user_id"] == user.pk
    assert finished["request_id"] == started["request_id"]


@pytest.mark.django_db
def test_query_string_never_reaches_the_logs(client: Client, lines: StringIO) -> None:
    client.get("/no-such-page/", {"q": "buyer@customer.example"})
    client.get("/healthz", {"q": "buyer@customer.example"})
    assert "request_finished" in lines.getvalue()
    assert "customer.example" not in lines.getvalue()


@pytest.mark.django_db
def test_failed_sign_in_logs_neither_name_nor_password(client: Client, lines: StringIO) -> None:
    for _ in range(6):
        client.post(
            "/accounts/login/", {"username": "typed-a-secret", "password": "another-secret"}
        )
    assert "secret" not in lines.getvalue()


def test_request_id_from_outside_is_not_believed(client: Client, lines: StringIO) -> None:
    client.get("/healthz", headers={"x-request-id": "forged"})
    assert "forged" not in lines.getvalue()


@pytest.mark.parametrize("name", ["httpx", "httpcore", "urllib3", "django.server", "axes"])
def test_loggers_that_repeat_addresses_or_names_are_quiet(lines: StringIO, name: str) -> None:
    logging.getLogger(name).info("GET https://api.example/orders?email=buyer@customer.example")
    assert lines.getvalue() == ""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_traceback_prints_no_local_variables(log_format: str) -> None:
    output = StringIO()
    with redirect_stderr(output):
        logging.config.dictConfig(logging_settings(log_format=log_format, level="INFO"))
    try:
        # Put together here, so that the source line in the traceback does not hold it.
        _fail_with(card_holder=" ".join(["Ada", "Lovelace"]))
    except ValueError:
        structlog.get_logger("desk").exception("it_broke")
    finally:
        logging.config.dictConfig(settings.LOGGING)
    assert "ValueError" in output.getvalue()
    assert "Ada Lovelace" not in output.getvalue()


def _fail_with(card_holder: str) -> None:
    raise ValueError(len(card_holder))


@pytest.mark.django_db
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_traceback_of_a_database_s_error_repeats_no_row(log_format: str) -> None:
    output = StringIO()
    with redirect_stderr(output):
        logging.config.dictConfig(logging_settings(log_format=log_format, level="INFO"))
    try:
        with transaction.atomic():
            Order.objects.create(
                salesforce_id="8015g000000bRT4AAM",
                order_number="77",
                buyer_email="buyer@customer.example",
                ordered_at=timezone.now(),
                currency="USD",
                total_amount=-1,
            )
    except IntegrityError:
        structlog.get_logger("refunds.test").exception("sync.went_wrong")
        told = {"name": "refunds.tasks.sync_orders", "exc": repr(sys.exception())}
        logging.getLogger("celery.app.trace").exception("Task %(name)s: %(exc)s", told)
    finally:
        logging.config.dictConfig(settings.LOGGING)
    assert output.getvalue().count("The above exception was the direct cause") == 2
    assert "order_amounts_not_negative" in output.getvalue()
    assert "customer.example" not in output.getvalue()


@pytest.mark.postgresql
@pytest.mark.django_db
def test_traceback_of_a_value_that_a_column_refuses_does_not_repeat_it(lines: StringIO) -> None:
    typed = "buyer@customer.example"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT CAST(%s AS numeric)", [typed])
    except DataError:
        structlog.get_logger("refunds.test").exception("sync.went_wrong")
    assert "InvalidTextRepresentation" in lines.getvalue()
    assert "customer.example" not in lines.getvalue()


def test_traceback_of_errors_that_name_each_other_comes_to_an_end(lines: StringIO) -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    logging.getLogger("desk").error("it_broke", exc_info=one)
    logging.getLogger("desk").error("nothing_broke", exc_info=(None, None, None))
    broke, _ = entries(lines)
    assert str(broke["exception"]).count("ValueError") == 2
