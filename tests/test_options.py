"""The refund options: which are open, what each can give, what each sends, and what is refused."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from refunds.errors import (
    AmountInvalid,
    OptionClosed,
    OrderNotEligible,
    QuantityInvalid,
    SelectionInvalid,
)
from refunds.ledger import Component, OrderFigures, Part, RefundFigures, Standing
from refunds.options import LineSelection, Option, Position, Quote, Selection
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

#: Amounts that no form lets through and no quote may.
NO_AMOUNTS = ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "1e400", "-1e400"]


def at(figures: OrderFigures, *refunds: RefundFigures) -> Position:
    return Position(figures, refunds)


def quote(
    position: Position,
    option: Option,
    amount: str | None = None,
    lines: tuple[LineSelection, ...] = (),
) -> Quote:
    return position.quote(Selection(option, None if amount is None else money(amount), lines))


def chosen(key: str = "L1", quantity: int = 1, amount: str | None = None) -> LineSelection:
    return LineSelection(key, quantity, None if amount is None else money(amount))


def booked(made: Quote, standing: Standing = Standing.IN_FLIGHT) -> RefundFigures:
    return refund(
        made.parts,
        standing=standing,
        quantities={each.line: each.quantity for each in made.lines if each.quantity},
        whole_order=made.option is Option.COMPLETE_ORDER,
    )


def why_closed(position: Position, option: Option) -> str:
    return position.choice(option).closed_because


def leave(position: Position, *options: Option) -> set[Option]:
    """Return the open options besides the named ones."""
    return {choice.option for choice in position.choices if choice.is_open} - set(options)


# -- which are offered ---------------------------------------------------------------------------


def test_options_are_offered_in_their_order_under_their_names() -> None:
    assert [choice.option.label for choice in at(full_order()).choices] == [
        "Complete Order", "Line Items", "Shipping", "Importer Duty", "Importer Tax", "Tax", "Fees",
    ]  # fmt: skip


def test_fees_are_offered_only_where_the_order_carries_some() -> None:
    assert Option.FEES not in {choice.option for choice in at(worked_sample()).choices}
    only_tax = order(line(fee_tax="0.10"))
    assert Option.FEES in {choice.option for choice in at(only_tax).choices}


def test_every_option_is_open_on_an_order_that_has_everything() -> None:
    assert leave(at(full_order())) == set(Option)


@pytest.mark.parametrize(
    ("option", "maximum", "tax"),
    [
        (Option.COMPLETE_ORDER, "149.10", "10.60"),
        (Option.LINE_ITEMS, "99.00", "9.00"),
        (Option.SHIPPING, "11.00", "1.00"),
        (Option.IMPORTER_DUTY, "12.50", "0"),
        (Option.IMPORTER_TAX, "19.00", "0"),
        (Option.TAX, "10.60", "10.60"),
        (Option.FEES, "7.60", "0.60"),
    ],
)
def test_choice_tells_the_most_it_gives_and_its_tax(option: Option, maximum: str, tax: str) -> None:
    choice = at(full_order()).choice(option)
    assert (choice.maximum, choice.tax, choice.estimated) == (money(maximum), money(tax), False)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (Option.SHIPPING, "This order was charged no shipping."),
        (Option.IMPORTER_DUTY, "This order was charged no importer duty."),
        (Option.IMPORTER_TAX, "This order was charged no importer tax."),
        (Option.TAX, "This order was charged no tax."),
        (Option.FEES, "This order was charged no regulatory fees."),
    ],
)
def test_option_closed_where_nothing_was_charged(option: Option, sentence: str) -> None:
    position = at(order(line()))
    assert why_closed(position, option) == sentence
    with pytest.raises(OptionClosed) as caught:
        quote(position, option)
    assert (str(caught.value), caught.value.field) == (sentence, "option")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (Option.SHIPPING, "shipping (USD 11.00)"),
        (Option.IMPORTER_DUTY, "importer duty (USD 12.50)"),
        (Option.IMPORTER_TAX, "importer tax (USD 19.00)"),
        (Option.TAX, "tax (USD 10.60)"),
    ],
)
def test_option_closed_once_it_gave_everything(option: Option, named: str) -> None:
    before = at(full_order())
    after = quote(before, option).position_after
    assert why_closed(after, option).startswith(f"All of the {named} was refunded already")
    with pytest.raises(OptionClosed):
        quote(after, option)
    # The rest stays open.
    assert leave(after) == leave(before, option)


def test_line_items_close_once_every_line_is_back() -> None:
    after = quote(
        at(worked_sample()), Option.LINE_ITEMS, lines=(chosen(quantity=2),)
    ).position_after
    assert why_closed(after, Option.LINE_ITEMS).startswith("Every line item was refunded already")
    with pytest.raises(OptionClosed):
        quote(after, Option.LINE_ITEMS, lines=(chosen(),))


def test_fees_close_once_they_are_back() -> None:
    after = quote(
        at(full_order()), Option.FEES, lines=(LineSelection("L1"), LineSelection("L2"))
    ).position_after
    assert why_closed(after, Option.FEES).startswith("All of the regulatory fees (USD 7.60)")
    with pytest.raises(OptionClosed):
        quote(after, Option.FEES, lines=(LineSelection("L1"),))


@pytest.mark.parametrize("option", [Option.TAX, Option.IMPORTER_TAX])
def test_full_only_option_closes_when_less_is_left_of_the_order(option: Option) -> None:
    position = at(replace(full_order(), available=money("5.00")))
    sentence = why_closed(position, option)
    assert "only in full" in sentence
    assert "USD 5.00" in sentence
    with pytest.raises(OptionClosed):
        quote(position, option)


def test_fees_close_when_less_is_left_of_the_order_than_any_line_carries() -> None:
    position = at(replace(full_order(), available=money("3.19")))
    assert "only in full" in why_closed(position, Option.FEES)
    fits = at(replace(full_order(), available=money("3.20")))
    assert fits.choice(Option.FEES).is_open
    assert quote(fits, Option.FEES, lines=(LineSelection("L2"),)).total == money("3.20")


def test_only_complete_order_where_the_figures_do_not_add_up() -> None:
    position = at(order(line(fees="1.00"), shipping="5.00", unexplained="3.75"))
    assert leave(position) == {Option.COMPLETE_ORDER}
    for option in set(Option) - {Option.COMPLETE_ORDER}:
        assert "do not add up" in why_closed(position, option)
        with pytest.raises(OptionClosed):
            quote(position, option, lines=(chosen(),))


# -- which orders --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["fulfilled", "complete", "returned"])
def test_order_can_be_refunded_once_it_is_fulfilled(state: str) -> None:
    assert at(order(line(), state=state)).closed_because == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "dispute"}, "opened a dispute"),
        ({"state": "accepted"}, "not yet fulfilled in full"),
        ({"state": "in_review"}, "still reviewing"),
        ({"state": "pending_payment"}, "has not arrived yet"),
        ({"state": "blocked"}, "blocked this order"),
        ({"state": "cancelled"}, "was cancelled"),
        ({"state": "salesforce_failure"}, "has not marked this order as fulfilled"),
        ({"state": ""}, "has not marked this order as fulfilled"),
        ({"digital_river_id": ""}, "has no Digital River order id"),
        ({"capture_completed": False}, "has not been captured yet"),
        ({"captured": Decimal(0)}, "has not been captured yet"),
        ({"available": Decimal(0)}, "has nothing available"),
        ({"available": None}, "has nothing available"),
    ],
)
def test_order_not_eligible_says_why(changes: Mapping[str, object], words: str) -> None:
    position = at(replace(order(line(), shipping="5.00"), **changes))  # type: ignore[arg-type]
    assert words in position.closed_because
    assert position.closed_because.endswith(".")
    assert leave(position) == set()
    for option in Option:
        with pytest.raises(OrderNotEligible) as caught:
            quote(position, option, lines=(chosen(),))
        assert str(caught.value) == position.closed_because


def test_order_not_eligible_while_the_rest_is_on_its_way() -> None:
    after = quote(at(worked_sample()), Option.COMPLETE_ORDER).position_after
    assert "USD 27.01 is on its way" in after.closed_because


def test_order_not_eligible_once_everything_was_given_back() -> None:
    made = quote(at(worked_sample()), Option.COMPLETE_ORDER)
    after = at(worked_sample(), booked(made, Standing.REFUNDED))
    assert "everything the customer paid was given back" in after.closed_because


def test_order_eligible_again_when_its_refund_fails() -> None:
    made = quote(at(worked_sample()), Option.COMPLETE_ORDER)
    after = at(worked_sample(), booked(made, Standing.RELEASED))
    assert after.closed_because == ""
    assert quote(after, Option.COMPLETE_ORDER).total == money("27.01")


# -- the worked sample ---------------------------------------------------------------------------


def test_worked_sample_tax() -> None:
    made = quote(at(worked_sample()), Option.TAX)
    assert made.total == made.tax == money("2.01")
    assert made.request == {"type": "tax", "percent": 100}
    assert made.position_after.ledger.left == money("25.00")


def test_worked_sample_shipping() -> None:
    made = quote(at(worked_sample()), Option.SHIPPING)
    assert (made.total, made.tax) == (money("5.40"), money("0.40"))
    assert made.request == {"type": "shipping", "amount": money("5.40")}
    assert made.position_after.ledger.left == money("21.61")


def test_worked_sample_items() -> None:
    made = quote(at(worked_sample()), Option.LINE_ITEMS, lines=(chosen(quantity=2),))
    assert (made.total, made.tax) == (money("21.61"), money("1.61"))
    assert made.request == {"items": [{"itemId": "L1", "quantity": 2, "amount": money("21.61")}]}
    assert made.position_after.ledger.left == money("5.40")


def test_worked_sample_half_of_the_order() -> None:
    made = quote(at(worked_sample()), Option.COMPLETE_ORDER, "13.51")
    assert made.request == {"amount": money("13.51")}
    assert sum(made.parts.values()) == money("13.51")
    assert made.position_after.ledger.left == money("13.50")


# -- Complete Order ------------------------------------------------------------------------------


def test_complete_order_is_prefilled_with_all_that_is_left() -> None:
    made = quote(at(full_order()), Option.COMPLETE_ORDER)
    assert made.total == money("149.10")
    assert made.request == {"amount": money("149.10")}
    assert made.tax == money("10.60")
    after = made.position_after.ledger
    assert after.left == 0
    assert all(entry.left == 0 for entry in after.entries)


def test_complete_order_in_part_leaves_the_fees_alone() -> None:
    position = at(full_order())
    assert position.whole_order_limit == money("141.50")
    made = quote(position, Option.COMPLETE_ORDER, "141.50")
    assert not {part.component for part in made.parts} & {Component.FEES, Component.FEE_TAX}
    assert made.position_after.ledger.left == money("7.60")
    assert leave(made.position_after) == {Option.COMPLETE_ORDER, Option.TAX, Option.FEES}


def test_complete_order_takes_the_smallest_amount() -> None:
    made = quote(at(full_order()), Option.COMPLETE_ORDER, "0.01")
    assert made.parts == {PRODUCT: money("0.01")}


@pytest.mark.parametrize("amount", ["141.51", "145.00", "149.09"])
def test_complete_order_between_the_two_limits_is_refused_with_both(amount: str) -> None:
    with pytest.raises(AmountInvalid) as caught:
        quote(at(full_order()), Option.COMPLETE_ORDER, amount)
    assert "USD 141.50" in str(caught.value)
    assert "USD 149.10" in str(caught.value)
    assert caught.value.field == "amount"


def test_complete_order_of_which_only_fees_are_left() -> None:
    after = quote(at(full_order()), Option.COMPLETE_ORDER, "141.50").position_after
    assert after.whole_order_limit == 0
    with pytest.raises(AmountInvalid, match="Only regulatory fees are left") as caught:
        quote(after, Option.COMPLETE_ORDER, "1.00")
    assert "Refund exactly USD 7.60" in str(caught.value)
    assert quote(after, Option.COMPLETE_ORDER).total == money("7.60")


def test_complete_order_above_what_is_left_is_refused() -> None:
    with pytest.raises(AmountInvalid, match=r"At most USD 149\.10"):
        quote(at(full_order()), Option.COMPLETE_ORDER, "149.11")


def test_complete_order_that_does_not_add_up_is_one_part() -> None:
    made = quote(at(order(line(), unexplained="3.75")), Option.COMPLETE_ORDER, "5.00")
    assert made.parts == {WHOLE: money("5.00")}
    assert made.position_after.ledger.left == money("8.75")


def test_complete_order_that_does_not_add_up_leaves_the_fees_alone_too() -> None:
    position = at(order(line(fees="1.00", fee_tax="0.20"), unexplained="3.75"))
    assert position.whole_order_limit == money("13.75")
    assert quote(position, Option.COMPLETE_ORDER, "13.75").total == money("13.75")
    with pytest.raises(AmountInvalid, match=r"USD 13\.75, or exactly USD 14\.95"):
        quote(position, Option.COMPLETE_ORDER, "13.76")
    assert quote(position, Option.COMPLETE_ORDER, "14.95").total == money("14.95")


def test_complete_order_in_part_makes_the_other_remainders_estimates() -> None:
    after = quote(at(full_order()), Option.COMPLETE_ORDER, "50.00").position_after
    estimates = {choice.option: choice.estimated for choice in after.choices}
    assert estimates.pop(Option.COMPLETE_ORDER) is False
    assert set(estimates.values()) == {True}


# -- Shipping and Importer Duty ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "wire", "most"),
    [(Option.SHIPPING, "shipping", "11.00"), (Option.IMPORTER_DUTY, "duty", "12.50")],
)
def test_part_of_a_component(option: Option, wire: str, most: str) -> None:
    position = at(full_order())
    made = quote(position, option, "3.00")
    assert made.request == {"type": wire, "amount": money("3.00")}
    assert made.total == money("3.00")
    rest = quote(made.position_after, option)
    assert rest.total == money(most) - money("3.00")
    assert not rest.position_after.choice(option).is_open


def test_shipping_in_part_takes_its_share_of_the_tax() -> None:
    made = quote(at(full_order()), Option.SHIPPING, "5.50")
    assert made.parts == {SHIPPING: money("5.00"), SHIPPING_TAX: money("0.50")}
    assert made.tax == money("0.50")


def test_shipping_after_a_tax_refund_has_no_tax_left() -> None:
    after = quote(at(full_order()), Option.TAX).position_after
    made = quote(after, Option.SHIPPING)
    assert (made.total, made.tax) == (money("10.00"), money(0))


@pytest.mark.parametrize("option", [Option.SHIPPING, Option.IMPORTER_DUTY])
def test_all_of_an_estimate_is_asked_for_by_percentage(option: Option) -> None:
    after = quote(at(full_order()), Option.COMPLETE_ORDER, "50.00").position_after
    everything = quote(after, option)
    assert everything.estimated
    assert everything.request == {"type": everything.request["type"], "percent": 100}
    some = quote(after, option, "1.00")
    assert some.request == {"type": everything.request["type"], "amount": money("1.00")}


@pytest.mark.parametrize("option", [Option.SHIPPING, Option.IMPORTER_DUTY])
def test_all_that_the_order_has_is_no_percentage_of_an_estimate(option: Option) -> None:
    # Less is left of the whole order than of the component: a percentage would ask for more.
    partial = booked(quote(at(full_order()), Option.COMPLETE_ORDER, "50.00"))
    position = at(replace(full_order(), available=money("54.00")), partial)
    made = quote(position, option)
    assert position.ledger.left == money("4.00")
    assert made.request == {"type": made.request["type"], "amount": money("4.00")}


# -- Tax and Importer Tax ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "wire", "total"),
    [(Option.TAX, "tax", "10.60"), (Option.IMPORTER_TAX, "importer_tax", "19.00")],
)
def test_full_only_option_sends_all_that_is_left(option: Option, wire: str, total: str) -> None:
    made = quote(at(full_order()), option)
    assert made.total == money(total)
    assert made.request == {"type": wire, "percent": 100}


@pytest.mark.parametrize("option", [Option.TAX, Option.IMPORTER_TAX])
def test_full_only_option_does_not_heed_an_amount(option: Option) -> None:
    # There is no box to type one in; what is sent is the whole, and so is what is shown.
    assert quote(at(full_order()), option, "1.00").total == quote(at(full_order()), option).total


def test_tax_is_every_tax_but_the_importers() -> None:
    assert quote(at(full_order()), Option.TAX).parts == {
        Part(Component.TAX, "L1"): money("6.00"),
        Part(Component.TAX, "L2"): money("3.00"),
        Part(Component.SHIPPING_TAX): money("1.00"),
        Part(Component.FEE_TAX, "L1"): money("0.40"),
        Part(Component.FEE_TAX, "L2"): money("0.20"),
    }


# -- Fees ----------------------------------------------------------------------------------------


def test_fees_go_by_line_and_in_full() -> None:
    position = at(full_order())
    assert position.fee_lines() == {"L1": money("4.40"), "L2": money("3.20")}
    made = quote(position, Option.FEES, lines=(LineSelection("L2"),))
    assert made.request == {"items": [{"itemId": "L2", "type": "fees", "percent": 100}]}
    assert (made.total, made.tax) == (money("3.20"), money("0.20"))
    assert [(each.line, each.quantity, each.amount) for each in made.lines] == [
        ("L2", 0, money("3.20"))
    ]
    assert made.position_after.fee_lines() == {"L1": money("4.40")}


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (LineSelection("L1"), LineSelection("L1")),
        (LineSelection("L9"),),
        (LineSelection(""),),
    ],
)
def test_fees_refuse_a_selection_that_makes_no_sense(lines: tuple[LineSelection, ...]) -> None:
    with pytest.raises(SelectionInvalid) as caught:
        quote(at(full_order()), Option.FEES, lines=lines)
    assert caught.value.field == "fees"


def test_fees_refuse_a_line_whose_fees_are_back() -> None:
    after = quote(at(full_order()), Option.FEES, lines=(LineSelection("L1"),)).position_after
    with pytest.raises(SelectionInvalid, match="has no fees left"):
        quote(after, Option.FEES, lines=(LineSelection("L1"),))


def test_fees_refuse_more_than_is_left_of_the_order() -> None:
    position = at(replace(full_order(), available=money("4.00")))
    with pytest.raises(AmountInvalid, match=r"Only USD 4\.00 is left on the whole order") as caught:
        quote(position, Option.FEES, lines=(LineSelection("L1"),))
    assert caught.value.field == "fees"


# -- Line Items ----------------------------------------------------------------------------------


def test_lines_are_sent_with_units_and_the_line_total() -> None:
    made = quote(at(full_order()), Option.LINE_ITEMS, lines=(chosen("L1", 3), chosen("L2", 1)))
    assert made.request == {
        "items": [
            {"itemId": "L1", "quantity": 3, "amount": money("66.00")},
            {"itemId": "L2", "quantity": 1, "amount": money("33.00")},
        ]
    }
    assert (made.total, made.tax) == (money("99.00"), money("9.00"))
    assert made.figures()["units L1"] == 3


def test_lines_with_no_units_are_left_out() -> None:
    made = quote(
        at(full_order()),
        Option.LINE_ITEMS,
        lines=(chosen("L1", 0), chosen("L2", 1), chosen("L1", 0))[:2],
    )
    assert [each.line for each in made.lines] == ["L2"]


def test_line_amount_can_be_lowered_with_the_units_kept() -> None:
    made = quote(at(full_order()), Option.LINE_ITEMS, lines=(chosen("L1", 3, "6.60"),))
    assert made.total == money("6.60")
    only = made.position_after.ledger.line("L1")
    assert only is not None
    assert (only.units, only.left) == (3, money("59.40"))


def test_line_refunded_unit_by_unit_ends_at_its_charge() -> None:
    position = at(order(line(product="9.10", tax="0.90", quantity=3)))
    totals = []
    for _ in range(3):
        made = quote(position, Option.LINE_ITEMS, lines=(chosen(),))
        totals.append(made.total)
        position = made.position_after
    assert totals == [money("3.33"), money("3.34"), money("3.33")]
    assert position.ledger.left == 0


@pytest.mark.parametrize(
    "lines",
    [
        (chosen(quantity=1), chosen(quantity=1)),
        (chosen(quantity=1), chosen(quantity=0)),
        (chosen("L9"),),
        (chosen(""),),
        (),
        (chosen(quantity=0),),
        (chosen(quantity=0, amount="0.00"),),
    ],
    ids=["twice", "twice with no units", "unknown", "empty", "none", "no units", "nothing of it"],
)
def test_lines_refuse_a_selection_that_makes_no_sense(lines: tuple[LineSelection, ...]) -> None:
    with pytest.raises(SelectionInvalid, match=r"^Choose "):
        quote(at(worked_sample()), Option.LINE_ITEMS, lines=lines)


@pytest.mark.parametrize("quantity", [-1, 3, 10**30])
def test_line_quantity_that_is_not_there_is_refused(quantity: int) -> None:
    with pytest.raises(QuantityInvalid, match="2 units can still be refunded") as caught:
        quote(at(worked_sample()), Option.LINE_ITEMS, lines=(chosen(quantity=quantity),))
    assert caught.value.field == "quantity L1"


def test_line_quantity_of_units_given_back_before_is_refused() -> None:
    after = quote(at(worked_sample()), Option.LINE_ITEMS, lines=(chosen(),)).position_after
    with pytest.raises(QuantityInvalid, match="1 unit can still be refunded"):
        quote(after, Option.LINE_ITEMS, lines=(chosen(quantity=2),))


def test_line_amount_without_units_is_refused() -> None:
    with pytest.raises(QuantityInvalid, match="number of units") as caught:
        quote(at(worked_sample()), Option.LINE_ITEMS, lines=(chosen(quantity=0, amount="1.00"),))
    assert caught.value.field == "quantity L1"


@pytest.mark.parametrize(
    ("quantity", "amount", "words"),
    [
        (1, "0", "at least USD 0.01"),
        (1, "-1", "at least USD 0.01"),
        (1, "0.001", "more decimals than USD has"),
        (1, "10.82", r"at most USD 10.81 can be refunded for 1 unit\."),
        (2, "21.62", r"at most USD 21.61 can be refunded for 2 units\."),
        *[(1, text, "Article L1: ") for text in NO_AMOUNTS],
    ],
)
def test_line_amount_refused(quantity: int, amount: str, words: str) -> None:
    with pytest.raises(AmountInvalid, match=words) as caught:
        quote(at(worked_sample()), Option.LINE_ITEMS, lines=(chosen("L1", quantity, amount),))
    assert caught.value.field == "amount L1"


def test_line_units_covered_by_an_amount_off_name_the_way_out() -> None:
    # 25.00 of 30.00 are back with the units kept: one unit gives nothing, all three give the rest.
    off = refund({PRODUCT: "25.00"}, quantities={"L1": 3})
    position = at(order(line(product="30.00", quantity=3)), off)
    with pytest.raises(QuantityInvalid, match="choose more units") as caught:
        quote(position, Option.LINE_ITEMS, lines=(chosen(),))
    assert caught.value.field == "quantity L1"
    made = quote(position, Option.LINE_ITEMS, lines=(chosen(quantity=3),))
    assert made.total == money("5.00")


def test_line_of_which_nothing_is_left_is_refused() -> None:
    after = quote(at(full_order()), Option.LINE_ITEMS, lines=(chosen("L2"),)).position_after
    free = at(order(line("L1"), line("L2", product="0")))
    for position in (after, free):
        with pytest.raises((AmountInvalid, QuantityInvalid)) as caught:
            quote(position, Option.LINE_ITEMS, lines=(chosen("L2"),))
        assert caught.value.field == "quantity L2"


def test_lines_together_above_what_is_left_of_the_order_are_refused() -> None:
    position = at(replace(full_order(), available=money("50.00")))
    with pytest.raises(AmountInvalid, match=r"Only USD 50\.00 is left on the whole order"):
        quote(position, Option.LINE_ITEMS, lines=(chosen("L1", 3), chosen("L2", 1)))
    lowered = (chosen("L1", 3, "20.00"), chosen("L2", 1, "30.00"))
    assert quote(position, Option.LINE_ITEMS, lines=lowered).position_after.ledger.left == 0


def test_lines_maximum_counts_only_lines_that_can_be_chosen() -> None:
    # Cancelled in the mirror although it was charged: no unit of it can be chosen.
    figures = order(line("L1"), line("L2", product="7.00", cancelled=1, fulfilled=0))
    assert at(figures).choice(Option.LINE_ITEMS).maximum == money("10.00")


# -- refused amounts -----------------------------------------------------------------------------


@pytest.mark.parametrize("option", [Option.COMPLETE_ORDER, Option.SHIPPING, Option.IMPORTER_DUTY])
@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", r"at least USD 0\.01"),
        ("-0", r"at least USD 0\.01"),
        ("-5.00", r"at least USD 0\.01"),
        ("0.001", "more decimals than USD has"),
        ("1.005", "more decimals than USD has"),
        ("99999.00", "At most USD"),
        *[(text, "amount|At most") for text in NO_AMOUNTS],
    ],
)
def test_amount_refused(option: Option, amount: str, words: str) -> None:
    with pytest.raises(AmountInvalid, match=words) as caught:
        quote(at(full_order()), option, amount)
    assert caught.value.field == "amount"
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("option", "above"), [(Option.SHIPPING, "11.01"), (Option.IMPORTER_DUTY, "12.51")]
)
def test_amount_above_what_the_component_has_is_refused(option: Option, above: str) -> None:
    with pytest.raises(AmountInvalid, match="At most USD"):
        quote(at(full_order()), option, above)


@pytest.mark.parametrize(
    ("currency", "amount", "least"), [("JPY", "0.5", "JPY 1"), ("KWD", "0.0005", "KWD 0.001")]
)
def test_amount_with_more_decimals_than_its_currency_is_refused(
    currency: str, amount: str, least: str
) -> None:
    position = at(order(line(product="100"), currency=currency))
    with pytest.raises(AmountInvalid, match="more decimals"):
        quote(position, Option.COMPLETE_ORDER, amount)
    with pytest.raises(AmountInvalid, match=f"at least {least}"):
        quote(position, Option.COMPLETE_ORDER, "0")


# -- what comes after ----------------------------------------------------------------------------


def test_quote_books_nothing_by_itself() -> None:
    position = at(worked_sample())
    made = quote(position, Option.TAX)
    assert position.ledger.left == made.before.left == money("27.01")
    assert position.refunds == ()


def test_figures_name_every_amount_the_review_shows() -> None:
    assert quote(at(worked_sample()), Option.LINE_ITEMS, lines=(chosen(),)).figures() == {
        "total": money("10.81"),
        "left before": money("27.01"),
        "product L1": money("10.00"),
        "tax L1": money("0.81"),
        "units L1": Decimal(1),
        "left after": money("16.20"),
    }


def test_figures_change_when_somebody_else_refunds_the_order() -> None:
    before = quote(at(worked_sample()), Option.SHIPPING)
    other = booked(quote(at(worked_sample()), Option.TAX))
    now = quote(at(worked_sample(), other), Option.SHIPPING)
    assert before.figures() != now.figures()


def test_partial_refunds_then_all_that_is_left_end_at_zero() -> None:
    position = at(full_order())
    for option, amount, lines in (
        (Option.SHIPPING, "3.33", ()),
        (Option.LINE_ITEMS, None, (chosen("L1", 1), chosen("L2", 1, "10.01"))),
        (Option.IMPORTER_DUTY, "0.01", ()),
        (Option.FEES, None, (LineSelection("L2"),)),
        (Option.COMPLETE_ORDER, "17.77", ()),
        (Option.TAX, None, ()),
        (Option.IMPORTER_TAX, None, ()),
        (Option.COMPLETE_ORDER, None, ()),
    ):
        position = quote(position, option, amount, lines).position_after
    assert position.ledger.left == 0
    assert all(entry.left == 0 for entry in position.ledger.entries)
    assert "Nothing is left to refund" in position.closed_because


def test_line_tax_goes_with_its_line() -> None:
    made = quote(at(full_order()), Option.LINE_ITEMS, lines=(chosen("L1", 3),))
    assert made.parts == {PRODUCT: money("60.00"), TAX: money("6.00")}
