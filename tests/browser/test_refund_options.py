"""Each of the seven options, from the order's page to a settled refund and back to the ledger."""

from http import HTTPStatus

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watch
from tests.browser.screens import Screens
from tests.desk import Desk

RIBBON = "Wax ribbon 110 mm x 300 m"
UPS = "Rack UPS 1500 VA"
BATTERY = "Replacement battery pack for UPS"


def test_complete_order_in_part_then_all_that_is_left(screens: Screens, desk: Desk) -> None:
    order = desk.order("worked_sample")

    screens.begin(order)
    screens.choose("Complete Order", amount="10.00")
    screens.refund("USD 10.00")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)["Whole order"] == ("27.01", "10.00", "0.00", "17.01")
    expect(
        screens.page.get_by_text("what is left of each component is an estimate")
    ).to_be_visible()

    screens.create_refund()
    screens.choose("Complete Order")
    screens.refund("USD 17.01")
    screens.settle()
    screens.expect_state("Succeeded")
    ledger = screens.ledger(order)
    assert {row[3] for row in ledger.values()} == {"0.00"}
    assert ledger["Whole order"] == ("27.01", "27.01", "0.00", "0.00")
    expect(screens.page.get_by_role("button", name="Create refund")).to_have_count(0)
    expect(screens.page.get_by_text("everything the customer paid was given back")).to_be_visible()


def test_line_items_one_unit_then_the_last_one_takes_the_remainder(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")

    screens.begin(order)
    screens.choose("Line Items")
    screens.choose_units(RIBBON, 1)
    screens.expect_total("USD 10.81")
    screens.refund("USD 10.81")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order) == {
        "Product": ("20.00", "10.00", "0.00", "10.00"),
        "Tax": ("1.61", "0.81", "0.00", "0.80"),
        "Shipping": ("5.00", "0.00", "0.00", "5.00"),
        "Shipping tax": ("0.40", "0.00", "0.00", "0.40"),
        "Whole order": ("27.01", "10.81", "0.00", "16.20"),
    }

    screens.create_refund()
    screens.choose("Line Items")
    screens.choose_units(RIBBON, 1)
    screens.refund("USD 10.80")
    assert screens.ledger(order)["Whole order"] == ("27.01", "10.81", "10.80", "5.40")
    screens.page.get_by_role("link", name="R-").first.click()
    screens.settle()
    screens.expect_state("Succeeded")
    screens.begin(order)
    expect(screens.option("Line Items")).to_be_disabled()
    expect(screens.option_row("Line Items")).to_contain_text(
        "Every line item was refunded already, or is in a refund on its way."
    )


def test_line_items_with_a_lowered_amount_keep_the_rest_of_the_line(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("worked_sample")

    screens.begin(order)
    screens.choose("Line Items")
    screens.choose_units(RIBBON, 2)
    screens.amount_of(RIBBON).fill("5.00")
    screens.expect_total("USD 5.00")
    screens.refund("USD 5.00")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)["Whole order"] == ("27.01", "5.00", "0.00", "22.01")


@pytest.mark.parametrize(
    ("option", "part", "rest", "row", "after_part"),
    [
        ("Shipping", "10.00", "29.82", "Shipping", ("33.18", "8.33", "0.00", "24.85")),
        ("Importer Duty", "15.80", "30.02", "Importer duty", ("45.82", "15.80", "0.00", "30.02")),
    ],
)
def test_one_component_in_part_then_the_rest(
    screens: Screens,
    desk: Desk,
    option: str,
    part: str,
    rest: str,
    row: str,
    after_part: tuple[str, str, str, str],
) -> None:
    order = desk.order("all_options")

    screens.begin(order)
    screens.choose(option, amount=part)
    screens.refund(f"GBP {part}")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)[row] == after_part

    screens.create_refund()
    screens.choose(option)
    screens.refund(f"GBP {rest}")
    screens.settle()
    screens.expect_state("Succeeded")
    ledger = screens.ledger(order)
    charged = ledger[row][0]
    assert ledger[row] == (charged, charged, "0.00", "0.00")
    screens.create_refund()
    expect(screens.option(option)).to_be_disabled()
    expect(screens.option_row(option)).to_contain_text("was refunded already, or is on its way.")


@pytest.mark.parametrize(
    ("option", "total", "row"),
    [("Tax", "GBP 122.68", "Tax"), ("Importer Tax", "GBP 375.66", "Importer tax")],
)
def test_taxes_whole_then_closed_because_already_refunded(
    screens: Screens, desk: Desk, option: str, total: str, row: str
) -> None:
    order = desk.order("all_options")

    screens.begin(order)
    screens.choose(option)
    expect(screens.option_row(option)).to_contain_text("Digital River refunds this only in full")
    expect(screens.option_row(option).get_by_role("textbox")).to_have_count(0)
    screens.refund(total)
    screens.settle()
    screens.expect_state("Succeeded")
    ledger = screens.ledger(order)
    assert ledger[row][0] == ledger[row][1]
    assert ledger[row][3] == "0.00"
    assert ledger["Whole order"][1] == total.removeprefix("GBP ")

    screens.create_refund()
    expect(screens.option(option)).to_be_disabled()
    expect(screens.option_row(option)).to_contain_text(f"({total}) was refunded already")


def test_tax_refused_by_digital_river_says_why_and_holds_nothing(
    screens: Screens, desk: Desk
) -> None:
    order = desk.order("refused_on_creation")

    screens.begin(order)
    screens.choose("Tax")
    screens.refund("USD 24.58")
    screens.expect_state("Refused")
    expect(screens.page.locator(".text-bad")).to_contain_text("The refund could not be created.")
    expect(screens.page.get_by_role("button", name="Check now")).to_have_count(0)
    assert screens.ledger(order)["Whole order"] == ("323.38", "0.00", "0.00", "323.38")


def test_fees_of_one_line_then_those_of_the_other(screens: Screens, desk: Desk) -> None:
    order = desk.order("fees")

    screens.begin(order)
    screens.choose("Fees")
    screens.page.get_by_role("checkbox", name=UPS).check()
    screens.expect_total("EUR 10.52")
    screens.refund("EUR 10.52")
    screens.settle()
    screens.expect_state("Succeeded")
    ledger = screens.ledger(order)
    assert ledger["Fees"] == ("26.52", "8.84", "0.00", "17.68")
    assert ledger["Whole order"] == ("2,199.06", "10.52", "0.00", "2,188.54")

    screens.create_refund()
    screens.choose("Fees")
    expect(screens.page.get_by_role("checkbox", name=UPS)).to_have_count(0)
    screens.page.get_by_role("checkbox", name=BATTERY).check()
    screens.refund("EUR 21.04")
    screens.settle()
    screens.expect_state("Succeeded")
    assert screens.ledger(order)["Fees"] == ("26.52", "26.52", "0.00", "0.00")


def test_complete_order_between_its_limits_names_both_figures(
    screens: Screens, desk: Desk, watch: Watch
) -> None:
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    screens.begin(desk.order("fees"))
    screens.choose("Complete Order", amount="2180.00")
    screens.page.get_by_role("button", name="Review and Submit").click()
    screens.expect_focus_on_errors("EUR 2,167.50")
    expect(screens.page.locator("[data-error-summary]")).to_contain_text("EUR 2,199.06")
