"""What reps do to an order, one refund after another, and how those refunds end."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

from refunds.options import LineSelection, Option, Position, Selection
from tests.properties.orders import DECIMALS

#: Of everything that may be asked for, in hundredths; 100 asks for all that is left.
_SHARES = st.one_of(st.just(100), st.just(0), st.integers(0, 100))


@dataclass(frozen=True)
class Step:
    """One refund: an option, how much of it, which lines, and what becomes of an earlier one."""

    option: Option
    share: int
    lines: int
    units: int
    settles: bool
    pick: int
    outcome: str
    refreshed: bool


steps = st.builds(
    Step,
    option=st.sampled_from(Option),
    share=_SHARES,
    lines=st.integers(1, 63),
    units=st.integers(1, 12),
    settles=st.booleans(),
    pick=st.integers(0, 9),
    outcome=st.sampled_from(["succeeded", "less", "failed"]),
    refreshed=st.booleans(),
)

#: Sequences of up to seven refunds.
sequences = st.lists(steps, max_size=7)


def unit_of(currency: str) -> Decimal:
    """Return the smallest amount of the currency."""
    return Decimal(1).scaleb(-DECIMALS[currency])


def part_of(amount: Decimal, share: int, currency: str) -> Decimal:
    """Return some of an amount, at least its smallest unit."""
    unit = unit_of(currency)
    return max(unit, int(amount / unit) * share // 100 * unit)


def all_of(position: Position, option: Option) -> Selection:
    """Return the selection that asks for the most the option can give."""
    if option is Option.LINE_ITEMS:
        return Selection(
            option,
            lines=tuple(
                LineSelection(line.figures.line, line.units)
                for line in position.ledger.lines
                if line.most > 0
            ),
        )
    if option is Option.FEES:
        return Selection(option, lines=tuple(map(LineSelection, position.fee_lines())))
    return Selection(option)


def some_of(position: Position, step: Step) -> Selection:
    """Return a selection the screens would let through, for an option that is open."""
    currency, option = position.order.currency, step.option
    if option is Option.LINE_ITEMS:
        return Selection(option, lines=_some_lines(position, step))
    if option is Option.FEES:
        fees = list(position.fee_lines())
        wanted = [line for at, line in enumerate(fees) if step.lines >> at & 1] or fees
        return Selection(option, lines=tuple(map(LineSelection, wanted)))
    most = position.choice(option).maximum
    if option is Option.COMPLETE_ORDER and step.share < 100:
        most = position.whole_order_limit
    if option in {Option.TAX, Option.IMPORTER_TAX} or step.share == 100 or not most:
        return Selection(option)
    return Selection(option, part_of(most, step.share, currency))


def _some_lines(position: Position, step: Step) -> tuple[LineSelection, ...]:
    open_lines = [line for line in position.ledger.lines if line.most > 0]
    wanted = [line for at, line in enumerate(open_lines) if step.lines >> at & 1] or open_lines
    chosen = []
    for line in wanted:
        units = min(step.units, line.units)
        # A unit may be worth less than the smallest coin; some more are worth one.
        while line.value_of(units) <= 0:
            units += 1
        amount = None
        if step.share < 100:
            amount = part_of(line.value_of(units), step.share, position.order.currency)
        chosen.append(LineSelection(line.figures.line, units, amount))
    return tuple(chosen)
