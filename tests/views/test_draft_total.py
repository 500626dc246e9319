"""The live total: what htmx gets while a rep types, and that nothing is kept."""

import pytest

from refunds.models import HistoryEntry
from refunds.options import Option, Selection
from tests.desk import Desk, rep
from tests.views.pages import DeskClient, Page
from tests.views.test_order_page import down
from tests.views.wizard import Walk, at_digital_river

pytestmark = pytest.mark.django_db


@pytest.fixture
def sample(desk: Desk, as_rep: DeskClient) -> Walk:
    return Walk.begin(as_rep, desk.order("worked_sample"))


@pytest.fixture
def line(sample: Walk) -> str:
    return sample.order.lines.get().key


def sums(page: Page) -> dict[str, str]:
    """Return the rows of the total."""
    return {row.one("th").text: row.one("td").text for row in page.root.all("tr") if row.all("td")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"option": "complete_order"},
            {
                "Product": "20.00",
                "Tax": "1.61",
                "Shipping": "5.00",
                "Shipping tax": "0.40",
                "Total": "USD 27.01",
                "Left afterwards": "USD 0.00",
            },
        ),
        (
            {"option": "shipping", "amount_of_shipping": "2.70"},
            {
                "Shipping": "2.50",
                "Shipping tax": "0.20",
                "Total": "USD 2.70",
                "Left afterwards": "USD 24.31",
            },
        ),
        (
            {"option": "tax"},
            {
                "Tax": "1.61",
                "Shipping tax": "0.40",
                "Total": "USD 2.01",
                "Left afterwards": "USD 25.00",
            },
        ),
    ],
)
def test_total_shows_the_components_the_sum_and_what_is_left(
    sample: Walk, changes: dict[str, str], expected: dict[str, str]
) -> None:
    page = sample.total(**changes)
    assert not page.is_whole
    assert sums(page) == expected


def test_total_of_lines(sample: Walk, line: str) -> None:
    page = sample.total(
        option="line_items", **{f"quantity_{line}": "1", f"for_{line}": "1", f"amount_{line}": "9"}
    )
    assert sums(page)["Total"] == "USD 9.00"


def test_changed_quantity_brings_its_amount_along(sample: Walk, line: str) -> None:
    page = sample.total(option="line_items", **{f"quantity_{line}": "1"})
    assert sums(page)["Total"] == "USD 10.81"
    cell = page.root.one("span", id=f"id_amount_{line}_cell")
    assert cell["hx-swap-oob"] == "true"
    assert cell.one("input", name=f"amount_{line}")["value"] == "10.81"
    assert cell.one("input", name=f"for_{line}")["value"] == "1"


def test_quantity_changed_again_brings_the_next_amount(sample: Walk, line: str) -> None:
    page = sample.total(
        option="line_items",
        **{f"quantity_{line}": "2", f"for_{line}": "1", f"amount_{line}": "10.81"},
    )
    assert page.root.one("input", name=f"amount_{line}")["value"] == "21.61"
    back = sample.total(
        option="line_items",
        **{f"quantity_{line}": "0", f"for_{line}": "2", f"amount_{line}": "21.61"},
    )
    assert back.root.one("input", name=f"amount_{line}")["value"] == ""
    assert back.root.one("input", name=f"for_{line}")["value"] == "0"


def test_amount_that_a_person_typed_is_kept_when_the_quantity_changes(
    sample: Walk, line: str
) -> None:
    page = sample.total(
        option="line_items",
        **{f"quantity_{line}": "2", f"for_{line}": "1", f"amount_{line}": "7.50"},
    )
    assert not page.root.all("input", name=f"amount_{line}")
    assert sums(page)["Total"] == "USD 7.50"


def test_quantity_that_stays_brings_nothing_along(sample: Walk, line: str) -> None:
    page = sample.total(
        option="line_items",
        **{f"quantity_{line}": "1", f"for_{line}": "1", f"amount_{line}": "10.81"},
    )
    assert not page.root.all("input", name=f"amount_{line}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Choose an option to see what it comes to."),
        ({"option": "shipping", "amount_of_shipping": "9"}, "At most USD 5.40 can be refunded"),
        ({"option": "shipping", "amount_of_shipping": ""}, "Enter an amount."),
        ({"option": "shipping", "amount_of_shipping": "1e400"}, "That is not an amount."),
        ({"option": "line_items"}, "Choose how many units to refund of at least one line."),
        ({"option": "importer_duty"}, "This order was charged no importer duty."),
        ({"option": "nothing"}, "Choose a refund option from the list."),
    ],
)
def test_total_of_what_cannot_be_says_why(
    sample: Walk, changes: dict[str, str], words: str
) -> None:
    page = sample.total(**changes)
    assert words in page.text
    assert sums(page) == {}


@pytest.mark.parametrize("quantity", ["3", "x", "-1", "9" * 5000])
def test_total_of_a_quantity_that_is_none_says_why(sample: Walk, line: str, quantity: str) -> None:
    page = sample.total(option="line_items", **{f"quantity_{line}": quantity})
    assert sample.order.lines.get().product_name in page.text
    assert sums(page) == {}


def test_total_comes_without_a_reason_and_does_not_ask_for_one(sample: Walk) -> None:
    page = sample.total(option="tax", reason="")
    assert sums(page)["Total"] == "USD 2.01"
    assert "reason" not in page.text.lower()


def test_total_of_an_empty_form_asks_for_an_option(sample: Walk) -> None:
    response = sample.client.post(sample.at("total"), headers={"hx-request": "true"})
    assert response.status_code == 200
    assert "Choose an option" in Page(response).text


def test_total_keeps_nothing_and_sends_nothing(sample: Walk, desk: Desk, line: str) -> None:
    before, entries = sample.draft, HistoryEntry.objects.count()
    sample.total(option="line_items", note="Not to be kept", **{f"quantity_{line}": "1"})
    after = sample.draft
    assert (after.updated_at, after.option, after.note) == (before.updated_at, "", "")
    assert not after.lines.exists()
    assert HistoryEntry.objects.count() == entries
    assert at_digital_river(desk, sample.order) == 0


def test_total_does_not_ask_digital_river(sample: Walk, desk: Desk) -> None:
    values = sample.values(option="tax")
    down(desk)
    response = sample.client.post(sample.at("total"), values, headers={"hx-request": "true"})
    assert "USD 2.01" in response.text
    assert [fault["times"] for fault in desk.sandbox.faults()] == [1000]


def test_total_of_an_estimate_is_marked(desk: Desk, as_rep: DeskClient) -> None:
    walk = Walk.begin(as_rep, desk.order("partial_whole_order"))
    page = walk.total(option="shipping")
    assert sums(page)["Total"].startswith("≈ USD ")


def test_total_after_the_draft_was_submitted_is_not_found(sample: Walk) -> None:
    values = sample.values(option="tax")
    sample.submit(option="tax")
    assert sample.client.post(sample.at("total"), values).status_code == 404


def test_total_counts_what_others_hold(sample: Walk, desk: Desk) -> None:
    desk.submit(sample.order, rep("rep2"), Selection(Option.SHIPPING))
    page = sample.total(option="tax")
    assert sums(page)["Total"] == "USD 1.61"
    assert sums(page)["Left afterwards"] == "USD 20.00"
