"""The component ledger: charged, refunded, in flight and left, part by part."""

from dataclasses import replace
from decimal import Decimal

import pytest

from refunds.ledger import (
    FEES,
    TAXES,
    Component,
    Ledger,
    Part,
    RefundFigures,
    Standing,
    build,
    rescale,
)
from tests.properties.orders import (
    PRODUCT,
    SHIPPING,
    SHIPPING_TAX,
    TAX,
    WHOLE,
    full_order,
    line,
    money,
    order,
    refund,
    worked_sample,
)


def left(ledger: Ledger, part: Part) -> Decimal:
    return next(entry.left for entry in ledger.entries if entry.part == part)


def charged(ledger: Ledger, part: Part) -> Decimal:
    return next(entry.charged for entry in ledger.entries if entry.part == part)


# -- charged -------------------------------------------------------------------------------------


def test_every_component_has_its_label() -> None:
    assert [component.label for component in Component] == [
        "Product", "Tax", "Fees", "Fee tax", "Shipping", "Shipping tax", "Importer duty",
        "Importer tax", "Whole order",
    ]  # fmt: skip


def test_charges_stand_in_the_order_amounts_are_split() -> None:
    parts = [entry.part for entry in build(full_order(), []).entries]
    assert parts == [
        Part(Component.PRODUCT, "L1"), Part(Component.TAX, "L1"),
        Part(Component.PRODUCT, "L2"), Part(Component.TAX, "L2"),
        Part(Component.SHIPPING), Part(Component.SHIPPING_TAX),
        Part(Component.DUTY), Part(Component.IMPORTER_TAX),
        Part(Component.FEES, "L1"), Part(Component.FEE_TAX, "L1"),
        Part(Component.FEES, "L2"), Part(Component.FEE_TAX, "L2"),
    ]  # fmt: skip


def test_charges_add_up_to_the_total() -> None:
    figures = full_order()
    ledger = build(figures, [])
    assert ledger.consistent
    assert ledger.charged == figures.total == ledger.left == money("149.10")
    assert ledger.refunded == ledger.in_flight == 0


def test_charges_by_component() -> None:
    ledger = build(full_order(), [])
    assert ledger.charged_of({Component.SHIPPING, Component.SHIPPING_TAX}) == money("11.00")
    assert ledger.charged_of(TAXES) == money("10.60")
    assert ledger.left_of(FEES) == money("7.60")
    assert ledger.left_of(FEES, line="L2") == money("3.20")
    assert ledger.left_of({Component.SHIPPING}, line="L2") == 0


def test_charges_that_do_not_add_up_are_one_part() -> None:
    ledger = build(order(line(), unexplained="3.75"), [])
    assert not ledger.consistent
    assert [entry.part for entry in ledger.entries] == [WHOLE]
    assert ledger.left == ledger.charged == money("13.75")
    assert ledger.lines == ()


def test_a_capture_beyond_the_total_does_not_add_up() -> None:
    ledger = build(order(line(), captured="10.01"), [])
    assert not ledger.consistent
    assert ledger.left == money("10.01")


# -- captured in part ----------------------------------------------------------------------------


def test_captured_in_part_charges_a_line_by_its_fulfilled_quantity() -> None:
    figures = order(
        line("L1", product="30.00", tax="3.00", fees="1.50", quantity=3, fulfilled=2, cancelled=1),
        line("L2", product="5.00", quantity=1, fulfilled=0, cancelled=1),
        shipping="4.00",
        captured="27.00",
    )
    ledger = build(figures, [])
    assert ledger.consistent
    assert charged(ledger, PRODUCT) == money("20.00")
    assert charged(ledger, TAX) == money("2.00")
    assert charged(ledger, Part(Component.FEES, "L1")) == money("1.00")
    assert charged(ledger, Part(Component.PRODUCT, "L2")) == 0
    assert charged(ledger, SHIPPING) == money("4.00")
    assert ledger.left == ledger.charged == money("27.00")


def test_captured_in_part_shares_duty_and_importer_tax_by_their_lines() -> None:
    figures = order(
        line("L1", duty="3.00", importer_tax="5.00", quantity=2, fulfilled=1, cancelled=1),
        line("L2", duty="2.00", importer_tax="1.00"),
        captured="22.00",
    )
    ledger = build(figures, [])
    assert charged(ledger, Part(Component.DUTY)) == money("3.50")
    assert charged(ledger, Part(Component.IMPORTER_TAX)) == money("3.50")


def test_captured_in_part_leaves_a_duty_its_lines_do_not_show_whole() -> None:
    figures = order(
        line("L1", product="20.00", quantity=2, fulfilled=1, cancelled=1),
        duty="3.00",
        captured="13.00",
    )
    ledger = build(figures, [])
    assert charged(ledger, Part(Component.DUTY)) == money("3.00")
    assert ledger.charged == money("13.00")


def test_captured_in_part_takes_the_sum_where_only_rounding_differs() -> None:
    figures = order(line(product="10.00", quantity=3, fulfilled=1, cancelled=2), captured="3.34")
    ledger = build(figures, [])
    assert ledger.consistent
    assert ledger.charged == ledger.left == money("3.34")


def test_captured_in_part_of_nothing_that_shipped_does_not_add_up() -> None:
    figures = order(line(quantity=2, fulfilled=0, cancelled=2), captured="0.01")
    ledger = build(figures, [])
    assert not ledger.consistent
    assert ledger.left == money("0.01")


def test_captured_beyond_the_shares_does_not_add_up() -> None:
    figures = order(line(product="30.00", quantity=3, fulfilled=1, cancelled=2), captured="25.00")
    ledger = build(figures, [])
    assert not ledger.consistent
    assert ledger.left == money("25.00")


def test_captured_below_the_shares_caps_what_is_left() -> None:
    figures = order(line(product="30.00", quantity=3, fulfilled=3), captured="15.00")
    ledger = build(figures, [])
    assert ledger.consistent
    assert left(ledger, PRODUCT) == money("30.00")
    assert ledger.left == money("15.00")


def test_captured_nothing_leaves_nothing() -> None:
    figures = order(line(), captured="0", capture_completed=False)
    ledger = build(figures, [])
    assert ledger.charged == money("10.00")
    assert ledger.left == 0


# -- available -----------------------------------------------------------------------------------


def test_available_null_means_nothing() -> None:
    assert build(order(line(), available=None), []).left == 0


def test_available_below_the_account_caps_it() -> None:
    assert build(order(line(), available="4.00"), []).left == money("4.00")


def test_available_below_zero_leaves_nothing() -> None:
    assert build(order(line(), available="-4.00"), []).left == 0


def test_available_beyond_the_capture_is_not_believed() -> None:
    assert build(order(line(), available="99.00"), []).left == money("10.00")


def test_available_is_less_our_holds_that_are_not_listed() -> None:
    hold = refund({PRODUCT: "4.00"}, listed=False)
    assert build(order(line(), available="10.00"), [hold]).left == money("6.00")


def test_available_counts_a_listed_hold_once() -> None:
    hold = refund({PRODUCT: "4.00"}, listed=True)
    assert build(order(line(), available="6.00"), [hold]).left == money("6.00")


@pytest.mark.parametrize("unexplained", ["0", "3.75"])
def test_available_that_forgot_a_listed_hold_is_not_believed(unexplained: str) -> None:
    figures = order(line(), unexplained=unexplained)
    hold = refund({PRODUCT: "4.00"}, listed=True)
    assert build(figures, [hold]).left == figures.captured - money("4.00")


def test_available_is_less_a_success_that_is_not_listed() -> None:
    gave = refund({PRODUCT: "4.00"}, standing=Standing.REFUNDED, listed=False)
    ledger = build(order(line(), available="10.00"), [gave])
    assert ledger.left == money("6.00")
    assert ledger.refunded == money("4.00")


def test_available_is_less_what_was_charged_back() -> None:
    # Digital River counts it as refunded although no refund of ours or theirs says so.
    assert build(order(line(), refunded="10.00", available="10.00"), []).left == 0


def test_released_refunds_hold_nothing() -> None:
    released = refund({PRODUCT: "4.00"}, standing=Standing.RELEASED)
    ledger = build(order(line()), [released])
    assert ledger.left == money("10.00")
    assert ledger.refunded == ledger.in_flight == 0
    assert left(ledger, PRODUCT) == money("10.00")


def test_entries_tell_refunded_from_in_flight() -> None:
    ledger = build(
        order(line()),
        [
            refund({PRODUCT: "4.00"}, standing=Standing.REFUNDED),
            refund({PRODUCT: "1.50"}),
        ],
    )
    (entry,) = [entry for entry in ledger.entries if entry.part == PRODUCT]
    assert (entry.charged, entry.refunded, entry.in_flight, entry.left) == (
        money("10.00"), money("4.00"), money("1.50"), money("4.50"),
    )  # fmt: skip


def test_entries_never_show_less_than_nothing_left() -> None:
    too_much = refund({PRODUCT: "12.00"}, standing=Standing.REFUNDED)
    ledger = build(order(line(), shipping="5.00"), [too_much])
    assert left(ledger, PRODUCT) == 0
    assert ledger.left == money("3.00")


# -- spreading -----------------------------------------------------------------------------------


def test_spread_keeps_to_the_components_and_the_line() -> None:
    ledger = build(full_order(), [])
    parts = ledger.spread(money("11.00"), (Component.PRODUCT, Component.TAX), line="L2")
    assert parts == {
        Part(Component.PRODUCT, "L2"): money("10.00"),
        Part(Component.TAX, "L2"): money("1.00"),
    }


def test_spread_goes_by_what_is_left() -> None:
    tax_back = refund({SHIPPING_TAX: "0.40"})
    parts = build(worked_sample(), [tax_back]).spread(
        money("5.00"), (Component.SHIPPING, Component.SHIPPING_TAX)
    )
    assert parts == {SHIPPING: money("5.00")}


def test_spread_falls_back_on_the_charges_for_a_refund_made_elsewhere() -> None:
    gone = refund({SHIPPING: "5.00", SHIPPING_TAX: "0.40"})
    parts = build(worked_sample(), [gone]).spread(
        money("5.40"), (Component.SHIPPING, Component.SHIPPING_TAX)
    )
    assert parts == {SHIPPING: money("5.00"), SHIPPING_TAX: money("0.40")}


def test_spread_books_on_the_whole_what_no_component_explains() -> None:
    assert build(worked_sample(), []).spread(money("1.00"), (Component.DUTY,)) == {
        WHOLE: money("1.00")
    }


def test_spread_of_nothing_has_no_parts() -> None:
    ledger = build(worked_sample(), [])
    assert ledger.spread(money("0"), (Component.DUTY,)) == {}
    assert ledger.spread(money("0"), (Component.SHIPPING,)) == {}


# -- another total -------------------------------------------------------------------------------


def test_rescale_to_the_same_total_keeps_the_parts() -> None:
    parts = {SHIPPING: money("5.00"), SHIPPING_TAX: money("0.40")}
    assert rescale(parts, money("5.40"), "USD") == parts


def test_rescale_sums_to_the_new_total() -> None:
    parts = rescale({SHIPPING: money("5.00"), SHIPPING_TAX: money("0.40")}, money("3.00"), "USD")
    assert parts == {SHIPPING: money("2.78"), SHIPPING_TAX: money("0.22")}


def test_rescale_to_nothing_leaves_no_parts() -> None:
    assert rescale({SHIPPING: money("5.00")}, money("0"), "USD") == {}


def test_rescale_of_no_parts_books_on_the_whole() -> None:
    assert rescale({}, money("2.00"), "USD") == {WHOLE: money("2.00")}
    assert rescale({}, money("0"), "USD") == {}


def test_rescale_gives_the_unit_left_over_to_the_earlier_part_however_they_come() -> None:
    # Parts are stored by the order and by its lines; the order they come back in decides nothing.
    equal = [
        Part(Component.PRODUCT, "L1"),
        Part(Component.TAX, "L1"),
        Part(Component.SHIPPING),
        Part(Component.DUTY),
        Part(Component.FEES, "L1"),
    ]
    for arrangement in (equal, equal[::-1], [*equal[2:], *equal[:2]]):
        parts = rescale({part: money("1.00") for part in arrangement}, money("0.02"), "USD")
        assert parts == {equal[0]: money("0.01"), equal[1]: money("0.01")}


# -- lines ---------------------------------------------------------------------------------------


def test_line_values_of_units_add_up_with_the_last_taking_the_remainder() -> None:
    figures = order(line(product="9.10", tax="0.90", quantity=3))
    values = []
    refunds: list[RefundFigures] = []
    for _ in range(3):
        ledger = build(figures, refunds)
        only = ledger.line("L1")
        assert only is not None
        value = only.value_of(1)
        values.append(value)
        parts = ledger.spread(value, (Component.PRODUCT, Component.TAX), line="L1")
        refunds.append(refund(parts, quantities={"L1": 1}))
    assert values == [money("3.33"), money("3.34"), money("3.33")]
    only = build(figures, refunds).line("L1")
    assert only is not None
    assert only.units == only.left == only.value_of(1) == 0


def test_line_of_an_order_it_is_not_on_is_none() -> None:
    assert build(worked_sample(), []).line("L9") is None


def test_line_units_are_less_the_cancelled() -> None:
    figures = order(line(product="30.00", quantity=3, cancelled=1, fulfilled=2), captured="20.00")
    only = build(figures, []).line("L1")
    assert only is not None
    assert (only.units, only.left) == (2, money("20.00"))
    assert only.value_of(1) == money("10.00")


def test_line_units_are_no_more_than_the_fulfilled() -> None:
    figures = order(line(product="30.00", quantity=3, fulfilled=2), captured="20.00")
    only = build(figures, []).line("L1")
    assert only is not None
    assert (only.units, only.left, only.most) == (2, money("20.00"), money("20.00"))


def test_line_units_where_nobody_told_the_fulfilled() -> None:
    unknown = replace(line(product="30.00", quantity=3, cancelled=1), fulfilled=None)
    only = build(order(unknown, captured="20.00"), []).line("L1")
    assert only is not None
    assert (only.units, only.left) == (2, money("20.00"))


def test_line_amount_off_keeps_the_units() -> None:
    off = refund({PRODUCT: "5.00"}, quantities={"L1": 3})
    only = build(order(line(product="30.00", quantity=3)), [off]).line("L1")
    assert only is not None
    assert (only.units, only.left) == (3, money("25.00"))
    assert only.value_of(3) == money("25.00")
    assert only.value_of(1) == money("5.00")


def test_line_refunded_in_full_for_a_unit_gives_up_that_unit() -> None:
    one = refund({PRODUCT: "10.00"}, quantities={"L1": 1})
    only = build(order(line(product="30.00", quantity=3)), [one]).line("L1")
    assert only is not None
    assert (only.units, only.left, only.value_of(1)) == (2, money("20.00"), money("10.00"))


def test_line_units_come_back_when_their_refund_fails() -> None:
    failed = refund({PRODUCT: "10.00"}, quantities={"L1": 1}, standing=Standing.RELEASED)
    only = build(order(line(product="30.00", quantity=3)), [failed]).line("L1")
    assert only is not None
    assert (only.units, only.left) == (3, money("30.00"))


def test_line_thinned_by_another_kind_lowers_what_a_unit_is_worth() -> None:
    tax_back = refund({TAX: "3.00"})
    only = build(order(line(product="30.00", tax="3.00", quantity=3)), [tax_back]).line("L1")
    assert only is not None
    assert (only.units, only.left, only.value_of(1)) == (3, money("30.00"), money("10.00"))


def test_line_thinned_after_a_unit_was_given_back_shares_the_rest_among_the_others() -> None:
    refunds = [refund({PRODUCT: "10.00", TAX: "1.00"}, quantities={"L1": 1}), refund({TAX: "2.00"})]
    only = build(order(line(product="30.00", tax="3.00", quantity=3)), refunds).line("L1")
    assert only is not None
    assert (only.units, only.left) == (2, money("20.00"))
    assert [only.value_of(units) for units in (1, 2)] == [money("10.00"), money("20.00")]


def test_line_left_is_the_smaller_of_both_accounts() -> None:
    only = build(order(line(product="30.00", quantity=3, available="12.00")), []).line("L1")
    assert only is not None
    assert only.left == money("12.00")
    assert only.value_of(3) == money("12.00")
    assert only.value_of(1) == money("10.00")


def test_line_available_is_less_our_holds_that_are_not_listed() -> None:
    figures = order(line(product="30.00", quantity=3, available="30.00"))
    hold = refund({PRODUCT: "10.00"}, quantities={"L1": 1})
    only = build(figures, [hold]).line("L1")
    assert only is not None
    assert only.left == money("20.00")
    less = order(line(product="30.00", quantity=3, available="12.00"))
    only = build(less, [hold]).line("L1")
    assert only is not None
    assert only.left == money("2.00")
    counted = order(line(product="30.00", quantity=3, available="20.00"), available="20.00")
    listed = refund({PRODUCT: "10.00"}, quantities={"L1": 1}, listed=True)
    only = build(counted, [listed]).line("L1")
    assert only is not None
    assert only.left == money("20.00")


# -- estimates -----------------------------------------------------------------------------------


def test_estimated_after_a_partial_whole_order_refund() -> None:
    some = refund({PRODUCT: "1.00"}, whole_order=True)
    assert build(worked_sample(), [some]).estimated


def test_estimated_ends_when_it_fails() -> None:
    failed = refund({PRODUCT: "1.00"}, whole_order=True, standing=Standing.RELEASED)
    assert not build(worked_sample(), [failed]).estimated


@pytest.mark.parametrize("standing", [Standing.IN_FLIGHT, Standing.REFUNDED])
def test_estimated_is_nothing_of_which_nothing_is_left(standing: Standing) -> None:
    everything = refund(
        {PRODUCT: "20.00", TAX: "1.61", SHIPPING: "5.00", SHIPPING_TAX: "0.40"},
        whole_order=True,
        standing=standing,
    )
    ledger = build(worked_sample(), [everything])
    assert ledger.left == 0
    assert not ledger.estimated


def test_estimated_is_not_what_other_kinds_leave() -> None:
    shipping_back = refund({SHIPPING: "5.00", SHIPPING_TAX: "0.40"})
    assert not build(worked_sample(), [shipping_back]).estimated
