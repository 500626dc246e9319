"""Whatever is refunded of whatever order: no part gives more than it was charged."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refunds.errors import (
    AmountInvalid,
    OptionClosed,
    OrderNotEligible,
    QuantityInvalid,
    SelectionInvalid,
)
from refunds.ledger import Component, Ledger, OrderFigures, RefundFigures, Standing, rescale
from refunds.money import is_exact
from refunds.options import LineSelection, Option, Position, Quote, Selection
from tests.properties.orders import ZERO, MadeUpOrder, made_up_orders
from tests.properties.steps import Step, all_of, part_of, sequences, some_of, unit_of

QUANTITIES = frozenset({Component.PRODUCT, Component.TAX})


class Desk:
    """An order while it is refunded; stands for Digital River, whose arithmetic is ours here."""

    def __init__(self, figures: OrderFigures) -> None:
        """Start with nothing refunded."""
        self.figures = figures
        self.refunds: list[RefundFigures] = []
        #: Digital River's figures were read after the last refund ended.
        self.fresh = True

    @property
    def position(self) -> Position:
        return Position(self.figures, tuple(self.refunds))

    def book(self, quote: Quote) -> None:
        """Send what was quoted: it is in flight, and Digital River's figures do not know yet."""
        self.refunds.append(
            RefundFigures(
                reference=f"R-{len(self.refunds)}",
                standing=Standing.IN_FLIGHT,
                parts=quote.parts,
                quantities={line.line: line.quantity for line in quote.lines if line.quantity},
                whole_order=quote.option is Option.COMPLETE_ORDER,
                listed=False,
            )
        )

    def settle(self, step: Step) -> None:
        """Let one refund that is in flight end."""
        waiting = [at for at, each in enumerate(self.refunds) if each.standing == "in flight"]
        if not waiting:
            return
        self.fresh = False
        at = waiting[step.pick % len(waiting)]
        refund = self.refunds[at]
        if step.outcome == "failed":
            self.refunds[at] = replace(refund, standing=Standing.RELEASED)
            return
        parts = refund.parts
        if step.outcome == "less":
            less = part_of(refund.amount, step.share, self.figures.currency)
            parts = rescale(parts, less, self.figures.currency)
        self.refunds[at] = replace(refund, standing=Standing.REFUNDED, parts=parts)

    def refresh(self) -> None:
        """Read the order anew: Digital River's figures now account for every refund."""
        held = [each for each in self.refunds if each.standing != Standing.RELEASED]
        given = sum((each.amount for each in held if each.standing == "refunded"), ZERO)
        taken = sum((each.amount for each in held), ZERO)
        bare = Position(self.figures, tuple(replace(each, listed=True) for each in held))
        left = {
            line.line: bare.ledger.left_of(QUANTITIES, line=line.line)
            for line in self.figures.lines
        }
        self.figures = replace(
            self.figures,
            refunded=given,
            available=self.figures.captured - taken,
            lines=tuple(replace(each, available=left[each.line]) for each in self.figures.lines),
        )
        self.refunds = [replace(each, listed=True) for each in self.refunds]
        self.fresh = True


def check_ledger(ledger: Ledger, figures: OrderFigures, *, fresh: bool) -> None:
    """Nothing is over-refunded, and nothing is left that was not captured."""
    for entry in ledger.entries:
        assert entry.charged - entry.refunded - entry.in_flight == entry.left >= 0
    assert sum(entry.charged for entry in ledger.entries) == ledger.charged == figures.captured
    assert 0 <= ledger.left <= figures.captured - ledger.refunded - ledger.in_flight
    left = sum(entry.left for entry in ledger.entries)
    assert ledger.left == left if fresh else ledger.left <= left
    for line in ledger.lines:
        own = ledger.left_of(QUANTITIES, line=line.figures.line)
        assert 0 <= line.units <= line.figures.quantity
        assert 0 <= line.most <= line.left
        assert line.left == own if fresh else line.left <= own


def check_quote(quote: Quote, figures: OrderFigures) -> None:
    """The parts sum to the total, and none takes what is not there."""
    assert quote.total > 0
    assert sum(quote.parts.values()) == quote.total
    assert is_exact(quote.total, figures.currency)
    left = {entry.part: entry.left for entry in quote.before.entries}
    for part, amount in quote.parts.items():
        assert 0 < amount <= left[part]
        assert is_exact(amount, figures.currency)
    if quote.lines:
        assert sum(line.amount for line in quote.lines) == quote.total
    assert quote.position_after.ledger.left == quote.before.left - quote.total


def same_account(one: Ledger, other: Ledger) -> None:
    assert one.entries == other.entries
    assert (one.left, one.refunded, one.in_flight) == (other.left, other.refunded, other.in_flight)
    for ours, theirs in zip(one.lines, other.lines, strict=True):
        assert (ours.left, ours.units, ours.most) == (theirs.left, theirs.units, theirs.most)


def walk(made: MadeUpOrder, sequence: list[Step]) -> Desk:
    """Do every step that is open, checking the account before and after each."""
    desk = Desk(made.figures())
    check_ledger(desk.position.ledger, desk.figures, fresh=True)
    for step in sequence:
        if step.settles:
            desk.settle(step)
        if step.refreshed:
            desk.refresh()
        position = desk.position
        check_ledger(position.ledger, desk.figures, fresh=desk.fresh)
        choice = position.choice(step.option)
        if not choice.is_open:
            with pytest.raises((OptionClosed, OrderNotEligible)):
                position.quote(all_of(position, step.option))
            continue
        selection = some_of(position, step)
        if asks_too_much(position, selection):
            assert not desk.fresh
            with pytest.raises(AmountInvalid, match="left on the whole order"):
                position.quote(selection)
            continue
        quote = position.quote(selection)
        check_quote(quote, desk.figures)
        promised = quote.position_after
        desk.book(quote)
        same_account(promised.ledger, desk.position.ledger)
        if not desk.fresh:
            continue
        desk.refresh()
        same_account(promised.ledger, desk.position.ledger)
        assert [choice.is_open for choice in promised.choices] == [
            choice.is_open for choice in desk.position.choices
        ]
    desk.refresh()
    return desk


def asks_too_much(position: Position, selection: Selection) -> bool:
    """Tell whether the lines together come to more than old figures leave of the order."""
    ledger, total = position.ledger, ZERO
    for chosen in selection.lines:
        line = ledger.line(chosen.line)
        assert line is not None
        if selection.option is Option.FEES:
            total += position.fee_lines()[chosen.line]
        else:
            total += line.value_of(chosen.quantity) if chosen.amount is None else chosen.amount
    return total > ledger.left


@given(made_up_orders(), sequences)
@settings(max_examples=300)
def test_any_refunds_then_all_that_is_left_end_at_exactly_zero(
    made: MadeUpOrder, sequence: list[Step]
) -> None:
    desk = walk(made, sequence)
    position = desk.position
    if position.closed_because:
        assert position.ledger.left == 0
    else:
        rest = position.quote(Selection(Option.COMPLETE_ORDER))
        check_quote(rest, desk.figures)
        assert rest.total == position.ledger.left
        position = rest.position_after
    assert position.ledger.left == 0
    assert [entry.left for entry in position.ledger.entries if entry.left] == []
    assert position.closed_because
    assert not any(choice.is_open for choice in position.choices)


@given(made_up_orders(), sequences)
@settings(max_examples=150)
def test_every_open_option_is_quoted_at_its_maximum_and_refused_above(
    made: MadeUpOrder, sequence: list[Step]
) -> None:
    desk = walk(made, sequence)
    position, unit = desk.position, unit_of(desk.figures.currency)
    for choice in position.choices:
        if not choice.is_open:
            continue
        quote = position.quote(all_of(position, choice.option))
        check_quote(quote, desk.figures)
        assert quote.total == choice.maximum
        assert quote.tax == choice.tax
        if choice.option in {Option.COMPLETE_ORDER, Option.SHIPPING, Option.IMPORTER_DUTY}:
            assert position.quote(Selection(choice.option, choice.maximum)).parts == quote.parts
            for amount in (choice.maximum + unit, choice.maximum + unit / 10, ZERO, -unit):
                with pytest.raises(AmountInvalid):
                    position.quote(Selection(choice.option, amount))


@given(made_up_orders(), sequences)
@settings(max_examples=150)
def test_lines_are_refused_above_their_units_and_their_value(
    made: MadeUpOrder, sequence: list[Step]
) -> None:
    desk = walk(made, sequence)
    position, unit = desk.position, unit_of(desk.figures.currency)
    if not position.choice(Option.LINE_ITEMS).is_open:
        return

    def refuse(kind: type[Exception], *lines: LineSelection) -> None:
        with pytest.raises(kind):
            position.quote(Selection(Option.LINE_ITEMS, lines=lines))

    for line in position.ledger.lines:
        key = line.figures.line
        refuse(QuantityInvalid, LineSelection(key, line.units + 1))
        refuse(QuantityInvalid, LineSelection(key, -1))
        if line.most > 0:
            whole = LineSelection(key, line.units)
            refuse(SelectionInvalid, whole, whole)
            refuse(AmountInvalid, replace(whole, amount=line.most + unit))
            refuse(AmountInvalid, replace(whole, amount=-unit))
            refuse(QuantityInvalid, replace(whole, quantity=0, amount=unit))
    refuse(SelectionInvalid, LineSelection("L0", 1))


@given(made_up_orders(), sequences)
@settings(max_examples=150)
def test_whole_order_amounts_between_its_limits_are_refused(
    made: MadeUpOrder, sequence: list[Step]
) -> None:
    desk = walk(made, sequence)
    position, unit = desk.position, unit_of(desk.figures.currency)
    if position.closed_because:
        return
    limit, everything = position.whole_order_limit, position.ledger.left
    assert limit == everything - position.ledger.left_of({Component.FEES, Component.FEE_TAX})
    if limit > 0:
        parts = position.quote(Selection(Option.COMPLETE_ORDER, limit)).parts
        if limit < everything:
            assert not {part.component for part in parts} & {Component.FEES, Component.FEE_TAX}
    for amount in {limit + unit, everything - unit}:
        if limit < amount < everything:
            with pytest.raises(AmountInvalid):
                position.quote(Selection(Option.COMPLETE_ORDER, amount))


@given(made_up_orders(most_lines=2))
@settings(max_examples=150)
def test_a_line_refunded_unit_by_unit_gives_exactly_its_charge(made: MadeUpOrder) -> None:
    desk = Desk(made.figures())
    for figures in desk.figures.lines:
        charged = desk.position.ledger.left_of(QUANTITIES, line=figures.line)
        given_back = ZERO
        while True:
            line = desk.position.ledger.line(figures.line)
            assert line is not None
            if line.most <= 0:
                break
            units = next(each for each in range(1, 13) if line.value_of(each) > 0)
            selection = Selection(Option.LINE_ITEMS, lines=(LineSelection(figures.line, units),))
            quote = desk.position.quote(selection)
            given_back += quote.total
            desk.book(quote)
            desk.refresh()
        assert given_back == charged
        assert line.left == 0


@given(made_up_orders(in_part=True), st.integers(-3, 3))
@settings(max_examples=150)
def test_a_capture_that_was_rounded_another_way_still_ends_at_zero(
    made: MadeUpOrder, difference: int
) -> None:
    figures = made.figures()
    captured = figures.captured + difference * unit_of(figures.currency)
    if not 0 < captured <= figures.total:
        return
    figures = replace(figures, captured=captured, available=captured)
    position = Position(figures)
    after = position.quote(Selection(Option.COMPLETE_ORDER)).position_after
    assert position.ledger.left == captured
    assert after.ledger.left == 0
    if position.ledger.consistent and captured < figures.total:
        assert sum(entry.charged for entry in position.ledger.entries) == captured
        assert [entry.left for entry in after.ledger.entries if entry.left] == []


@given(made_up_orders(), st.integers(1, 100_000), st.lists(st.integers(0, 60_000), max_size=3))
@settings(max_examples=150)
def test_an_order_that_does_not_add_up_never_gives_more_than_was_captured(
    made: MadeUpOrder, unexplained: int, amounts: list[int]
) -> None:
    extra = unexplained * unit_of(made.currency)
    figures = made.figures()
    figures = replace(
        figures,
        total=figures.total + extra,
        captured=figures.captured + extra,
        available=figures.captured + extra,
    )
    position = Position(figures)
    given_back = ZERO
    for amount in amounts:
        asked = min(amount * unit_of(made.currency), position.whole_order_limit)
        if asked > 0:
            quote = position.quote(Selection(Option.COMPLETE_ORDER, asked))
            given_back += quote.total
            position = quote.position_after
    if not position.closed_because:
        quote = position.quote(Selection(Option.COMPLETE_ORDER))
        given_back += quote.total
        position = quote.position_after
    assert given_back == figures.captured
    assert position.ledger.left == 0
