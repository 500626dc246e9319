"""`python manage.py verify_history`: what it says, and with which status it ends."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from refunds.models import HistoryEntry, Refund, RefundReason
from refunds.options import Option, Selection
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db


@pytest.fixture
def refund(desk: Desk) -> Refund:
    """A refund with a history of four entries."""
    return desk.submit(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))


def verify(*arguments: str) -> tuple[str, str, int]:
    """Run the command; returns what it wrote, its last words and its exit status."""
    output = StringIO()
    try:
        call_command("verify_history", *arguments, stdout=output)
    except CommandError as error:
        return output.getvalue(), str(error), error.returncode
    return output.getvalue(), "", 0


def test_verify_history_says_how_much_it_looked_at_and_that_nothing_is_wrong(
    refund: Refund,
) -> None:
    output, words, status = verify()

    entries = HistoryEntry.objects.count()
    reasons = RefundReason.objects.count()
    assert re.fullmatch(
        rf"Checked {entries} entries of 1 refund and {reasons} reasons in [0-9.]+ s "
        r"\([0-9,]+ entries a second\)\.\n"
        r"Nothing is wrong: every history is as it was written\.\n",
        output,
    )
    assert (words, status) == ("", 0)


def test_verify_history_names_what_is_wrong_and_fails(refund: Refund) -> None:
    Refund.objects.filter(pk=refund.pk).update(
        history_length=5, state="succeeded", settled_at="2026-11-02T09:00Z"
    )

    output, words, status = verify()

    assert output.splitlines()[0] == f"Refund {refund.reference}: entry 5 is missing at the end."
    assert "Checked " in output
    assert "Nothing is wrong" not in output
    assert (words, status) == ("The history is not as it was written: 1 finding.", 1)


@pytest.mark.parametrize("written", ["{}", " {} "])
def test_verify_history_of_one_refund_leaves_out_the_others(
    refund: Refund, desk: Desk, written: str
) -> None:
    other = desk.submit(desk.order("plain_usd"), rep(), Selection(Option.SHIPPING))
    Refund.objects.filter(pk=other.pk).update(history_head="")

    output, _, status = verify("--refund", written.format(refund.reference.lower()))

    assert output.startswith("Checked 4 entries of 1 refund and 0 reasons in ")
    assert status == 0
    output, words, status = verify("--refund", other.reference)
    assert output.startswith(f"Refund {other.reference}: entry 4 is not the one")
    assert (words, status) == ("The history is not as it was written: 1 finding.", 1)


def test_verify_history_of_no_refund_at_all_says_how_a_reference_is_written() -> None:
    output, words, status = verify("--refund", "R-1")

    assert output == ""
    assert words == "There is no refund R-1. A reference is written like R-1234-5678."
    assert status == 2


@pytest.mark.parametrize("written", ["", " ", "\udcff"])
def test_verify_history_of_no_refund_checks_nothing(refund: Refund, written: str) -> None:
    output, words, _ = verify("--refund", written)
    assert "it must not be empty" in words
    assert output == ""
