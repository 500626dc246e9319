"""`python manage.py demo`: what it prints, and where it refuses."""

import logging
from io import StringIO

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from refunds.models import Order, Refund
from sandbox.faults import parse_fault
from sandbox.shop import SHOWCASE
from tests.demo.conftest import OpenShop
from tests.refundsite.conftest import LONG_SECRET, Manage, manage

__all__ = ["manage"]

pytestmark = pytest.mark.django_db

#: A handful of orders; the history finds hardly any to be about.
SOME = range(1, 5)


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _demo(*arguments: str, stream: StringIO | None = None) -> str:
    output = stream or StringIO()
    call_command("demo", *arguments, stdout=output, no_color=True)
    return output.getvalue()


def test_demo_prints_address_accounts_and_orders(open_shop: OpenShop) -> None:
    open_shop(SOME)

    output = _demo("--address", "http://127.0.0.1:8123/")

    assert "Filled the desk with 4 made-up orders." in output
    assert "http://127.0.0.1:8123/" in output
    assert "password refunds-demo" in output
    assert "  rep      Maya Lindqvist   may make refunds\n" in output
    assert "  viewer   Tom Becker       may look at orders and refunds, make none\n" in output
    assert f"  {SHOWCASE['all_options']}   every refund option is open\n" in output
    assert "\r" not in output


def test_demo_counts_on_a_terminal(open_shop: OpenShop) -> None:
    open_shop(SOME)

    output = _demo(stream=Terminal())

    assert "\rReading figures: 0 of 4 orders\rReading figures: 1 of 4 orders" in output
    assert "\rReading figures: 4 of 4 orders\n" in output


def test_demo_changes_nothing_a_second_time(open_shop: OpenShop) -> None:
    open_shop(SOME)
    _demo()
    tables = (Order, Refund, User)
    before = [list(table.objects.order_by("pk").values()) for table in tables]

    output = _demo()

    assert [list(table.objects.order_by("pk").values()) for table in tables] == before
    assert output.startswith("\nThe refund desk: http://127.0.0.1:8000/")


def test_demo_goes_on_when_digital_river_cannot_be_reached(open_shop: OpenShop) -> None:
    sandbox = open_shop(SOME)
    sandbox.queue_fault(parse_fault({"kind": "connection-refused", "times": 1_000}))

    output = _demo()

    assert "The figures of 4 orders come when each is opened" in output
    assert "Digital River cannot be reached" in output
    assert "password refunds-demo" in output
    assert Order.objects.count() == 4


def test_demo_keeps_its_calls_out_of_the_log(
    open_shop: OpenShop, caplog: pytest.LogCaptureFixture
) -> None:
    open_shop(SOME)

    with caplog.at_level(logging.INFO):
        _demo()

    assert caplog.records == []
    assert logging.getLogger("refunds").level == logging.NOTSET


def test_demo_says_which_state_file_it_cannot_use(
    open_shop: OpenShop, settings: LazySettings
) -> None:
    path = open_shop(SOME).path.with_name("rubbish")
    path.write_text("This is no database, however long it may be." * 100)
    settings.SANDBOX_STATE = path

    with pytest.raises(CommandError, match="rubbish cannot be used"):
        _demo()


def test_demo_refuses_with_one_sentence(settings: LazySettings) -> None:
    settings.SANDBOX_REFUSAL = "Not beside a live key."

    with pytest.raises(CommandError, match=r"^Not beside a live key\.$"):
        _demo()

    assert not User.objects.exists()
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"DEBUG": "1", "DIGITALRIVER_API_KEY": "sk_0123456789"},
            "DIGITALRIVER_API_KEY is a live key",
        ),
        ({"DEBUG": "0", "DIGITALRIVER_API_KEY": "sk_test_1"}, "ALLOW_SANDBOX is not set"),
    ],
)
def test_demo_refuses_from_the_command_line(
    variables: dict[str, str], sentence: str, manage: Manage
) -> None:
    ended = manage(
        "demo",
        SECRET_KEY=LONG_SECRET,
        DIGITALRIVER_API_URL="https://api.digitalriver.com",
        **variables,
    )

    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "0123456789" not in ended.stderr.replace(LONG_SECRET, "")
    assert ended.stdout == ""
