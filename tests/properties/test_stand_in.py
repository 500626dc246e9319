"""The desk's arithmetic against the stand-in's own, over the wire.

The two were written apart, so what they agree on is not one mistake made once. The desk quotes,
the client sends it, the stand-in decides; then the order is read anew and both accounts compared.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refunds.digitalriver import payloads
from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import Refused
from refunds.errors import AmountInvalid, QuantityInvalid
from refunds.ledger import Component, LineFigures, OrderFigures, RefundFigures, Standing, rescale
from refunds.options import Choice, LineSelection, Option, Position, Quote, Selection
from sandbox.orders import Line, ShopOrder, make_order
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.properties.orders import ZERO, MadeUpLine, MadeUpOrder, made_up_orders
from tests.properties.steps import Step, all_of, part_of, sequences, some_of, unit_of

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
NUMBER = 7
STANDINGS: Mapping[str, Standing] = {
    "pending": Standing.IN_FLIGHT,
    "pending_information": Standing.IN_FLIGHT,
    "succeeded": Standing.REFUNDED,
    "failed": Standing.RELEASED,
    "expired": Standing.RELEASED,
}
references = itertools.count(1)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    path: Path = tmp_path_factory.mktemp("stand-in") / "state.sqlite3"
    made = Sandbox(path, orders=[], clock=lambda: NOW, settle_after=timedelta(days=1))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> Iterator[DigitalRiverClient]:
    with DigitalRiverClient(
        base_url="http://stand-in.test",
        api_key="sk_test_properties",
        version="2021-12-13",
        timeout=5,
        application_id="refund-desk/properties",
        transport=in_process_for(sandbox),
    ) as made:
        yield made


def shop_order(made: MadeUpOrder, unexplained: Decimal = ZERO) -> ShopOrder:
    """Return the same order as the stand-in keeps it."""
    return make_order(
        NUMBER,
        currency=made.currency,
        lines=[
            Line(
                amount=made.major(each.product),
                quantity=each.quantity,
                tax=made.major(each.tax),
                tax_rate=ZERO,
                duty=made.major(each.duty),
                importer_tax=made.major(each.importer_tax),
                fee=made.major(each.fees),
                fee_tax=made.major(each.fee_tax),
                fulfilled=each.fulfilled,
            )
            for each in made.lines
        ],
        shipping=made.major(made.shipping),
        shipping_tax=made.major(made.shipping_tax),
        unexplained=unexplained,
    )


class Counter:
    """The desk and the stand-in over one order."""

    def __init__(
        self,
        sandbox: Sandbox,
        client: DigitalRiverClient,
        made: MadeUpOrder,
        unexplained: Decimal = ZERO,
    ) -> None:
        """Put the order into the stand-in and read it from there."""
        stored = shop_order(made, unexplained)
        assert stored.id is not None
        self.sandbox, self.client, self.made = sandbox, client, made
        self.order_id: str = stored.id
        self.currency = made.currency
        self.refunds: dict[str, RefundFigures] = {}
        sandbox.put_order(stored)
        self.told = self.read()

    def read(self) -> payloads.Order:
        """Read the order over the wire."""
        self.told = self.client.get_order(self.order_id)
        return self.told

    @property
    def position(self) -> Position:
        """The desk's position, from the order as last read."""
        return Position(self.figures(), tuple(self.refunds.values()))

    def figures(self) -> OrderFigures:
        """Return the wire's order as the ledger reads it; the mirror tells what was shipped."""
        told = self.told
        return OrderFigures(
            digital_river_id=told.id,
            state=told.state,
            currency=told.currency,
            total=told.total_amount,
            captured=told.captured_amount,
            refunded=told.refunded_amount,
            available=told.available,
            capture_completed=told.capture_completed,
            shipping=told.shipping,
            shipping_tax=told.shipping_tax,
            duty=told.duty,
            importer_tax=told.importer_tax,
            lines=tuple(
                LineFigures(
                    line=item.id,
                    label=item.product_name,
                    quantity=item.quantity,
                    cancelled=each.quantity - each.fulfilled,
                    fulfilled=each.fulfilled,
                    product=item.amount,
                    tax=item.tax,
                    fees=item.fees,
                    fee_tax=item.fee_tax,
                    duty=item.duty,
                    importer_tax=item.importer_tax,
                    available=item.available,
                )
                for item, each in zip(told.items, self.made.lines, strict=True)
            ),
        )

    def send(self, request: Mapping[str, object]) -> payloads.Refund:
        """Send one refund; raises ``Refused``."""
        body = {**request, "orderId": self.order_id, "currency": self.currency}
        reference = f"R-{next(references)}"
        return self.client.create_refund(body, upstream_id=reference).refund

    def refund(self, quote: Quote) -> payloads.Refund:
        """Send what was quoted and book it; what the stand-in took must be what was named."""
        told = self.send(quote.request)
        assert told.state == "pending"
        assert told.requested_amount == quote.total
        if quote.option is Option.LINE_ITEMS:
            assert [(item.item_id, item.quantity, item.amount) for item in told.items] == [
                (line.line, line.quantity, line.amount) for line in quote.lines
            ]
        self.refunds[told.id] = RefundFigures(
            reference=told.id,
            standing=Standing.IN_FLIGHT,
            parts=quote.parts,
            quantities={line.line: line.quantity for line in quote.lines if line.quantity},
            whole_order=quote.option is Option.COMPLETE_ORDER,
            listed=False,
        )
        return told

    def reread(self) -> None:
        """Read the order and its refunds anew, as a refresh does."""
        for told in self.client.list_refunds(order_id=self.order_id):
            if told.id not in self.refunds:
                continue
            ours = self.refunds[told.id]
            parts = ours.parts
            if told.state == "succeeded":
                parts = rescale(parts, told.refunded_amount, self.currency)
            self.refunds[told.id] = replace(
                ours, standing=STANDINGS[told.state], parts=parts, listed=True
            )
        self.read()

    def settle(self, step: Step) -> None:
        """Let the stand-in end one refund that is in flight."""
        waiting = [
            each.reference for each in self.refunds.values() if each.standing is Standing.IN_FLIGHT
        ]
        if not waiting:
            return
        chosen = waiting[step.pick % len(waiting)]
        if step.outcome == "failed":
            self.sandbox.fail_refund(chosen)
        elif step.outcome == "succeeded":
            self.sandbox.succeed_refund(chosen)
        else:
            less = part_of(self.refunds[chosen].amount, step.share, self.currency)
            self.sandbox.succeed_refund(chosen, less)
        self.reread()

    def accepted(self, quote: Quote) -> None:
        """Send what was quoted, see that it is taken, and take it back."""
        before = self.told.available
        told = self.send(quote.request)
        assert told.requested_amount == quote.total
        self.sandbox.fail_refund(told.id)
        assert self.client.get_order(self.order_id).available == before

    def refused(self, request: Mapping[str, object]) -> None:
        """See that the stand-in refuses it, and that nothing came of it."""
        with pytest.raises(Refused):
            self.send(request)
        assert self.client.get_order(self.order_id).available == self.told.available

    def agree(self) -> None:
        """Compare both accounts of what is left."""
        ledger = self.position.ledger
        assert self.told.available == ledger.left
        assert self.told.refunded_amount == ledger.refunded
        for item in self.told.items:
            line = ledger.line(item.id)
            if line is not None:
                own = ledger.left_of({Component.PRODUCT, Component.TAX}, line=item.id)
                assert item.available == line.left == own


def walk(counter: Counter, sequence: list[Step]) -> None:
    """Refund step by step; the promise of each quote must be what is read afterwards."""
    counter.agree()
    for step in sequence:
        if step.settles:
            counter.settle(step)
            counter.agree()
        position = counter.position
        if not position.choice(step.option).is_open:
            continue
        quote = position.quote(some_of(position, step))
        counter.refund(quote)
        # Before and after the order is read anew, the hold counts once.
        assert counter.position.ledger.left == quote.position_after.ledger.left
        counter.reread()
        counter.agree()
        after, promised = counter.position.ledger, quote.position_after.ledger
        assert after.entries == promised.entries
        assert after.left == promised.left
        assert [choice.closed_because for choice in counter.position.choices] == [
            choice.closed_because for choice in quote.position_after.choices
        ]


@pytest.mark.parametrize(
    ("option", "total", "left"),
    [
        (Option.TAX, "2.01", "25.00"),
        (Option.SHIPPING, "5.40", "21.61"),
        (Option.LINE_ITEMS, "21.61", "5.40"),
        (Option.COMPLETE_ORDER, "27.01", "0"),
    ],
)
def test_both_come_to_the_figures_of_the_worked_sample(
    sandbox: Sandbox, client: DigitalRiverClient, option: Option, total: str, left: str
) -> None:
    only = MadeUpLine(
        quantity=2, fulfilled=2, product=2000, tax=161, fees=0, fee_tax=0, duty=0, importer_tax=0
    )
    counter = Counter(sandbox, client, MadeUpOrder("USD", (only,), 500, 40))
    quote = counter.position.quote(all_of(counter.position, option))
    assert quote.total == Decimal(total)
    assert counter.refund(quote).requested_amount == Decimal(total)
    counter.reread()
    counter.agree()
    assert counter.told.available == Decimal(left)


@given(made=made_up_orders(), sequence=sequences)
@settings(max_examples=60)
def test_both_accounts_agree_after_any_refunds_down_to_zero(
    sandbox: Sandbox, client: DigitalRiverClient, made: MadeUpOrder, sequence: list[Step]
) -> None:
    counter = Counter(sandbox, client, made)
    walk(counter, sequence)
    if not counter.position.closed_because:
        counter.refund(counter.position.quote(Selection(Option.COMPLETE_ORDER)))
        counter.reread()
    counter.agree()
    assert counter.told.available == 0
    assert [item.available for item in counter.told.items if item.available] == []
    counter.refused({"percent": 100})


PARTLY: Mapping[Option, str] = {Option.SHIPPING: "shipping", Option.IMPORTER_DUTY: "duty"}
IN_FULL: Mapping[Option, str] = {Option.TAX: "tax", Option.IMPORTER_TAX: "importer_tax"}


def beyond(choice: Choice, unit: Decimal) -> list[dict[str, object]]:
    """Return requests that ask more of an option than it has, or less than all where it must."""
    most = choice.maximum
    if choice.option is Option.COMPLETE_ORDER:
        return [{"amount": most + unit}]
    if choice.option not in {*PARTLY, *IN_FULL}:
        return []
    kind = {"type": {**PARTLY, **IN_FULL}[choice.option]}
    asked: list[dict[str, object]] = [{**kind, "amount": most + unit}]
    if not choice.is_open:
        asked.append({**kind, "percent": 100})
    if choice.option in PARTLY:
        asked.append({**kind, "amount": most + unit / 10})
    elif most > unit:
        asked.append({**kind, "amount": most - unit})
    return asked


@given(made=made_up_orders(), sequence=sequences)
@settings(max_examples=40)
def test_the_stand_in_takes_every_open_option_at_its_maximum_and_no_more(
    sandbox: Sandbox, client: DigitalRiverClient, made: MadeUpOrder, sequence: list[Step]
) -> None:
    counter = Counter(sandbox, client, made)
    walk(counter, sequence)
    position, unit = counter.position, unit_of(made.currency)
    for choice in position.choices:
        if choice.is_open:
            counter.accepted(position.quote(all_of(position, choice.option)))
        for request in beyond(choice, unit):
            counter.refused(request)


@given(made=made_up_orders(), sequence=sequences)
@settings(max_examples=40)
def test_both_draw_the_line_around_the_fees_at_the_same_amounts(
    sandbox: Sandbox, client: DigitalRiverClient, made: MadeUpOrder, sequence: list[Step]
) -> None:
    counter = Counter(sandbox, client, made)
    walk(counter, sequence)
    position, unit = counter.position, unit_of(made.currency)
    limit, everything = position.whole_order_limit, position.ledger.left
    if limit > 0:
        counter.accepted(position.quote(Selection(Option.COMPLETE_ORDER, limit)))
    for between in {limit + unit, everything - unit}:
        if limit < between < everything:
            with pytest.raises(AmountInvalid):
                position.quote(Selection(Option.COMPLETE_ORDER, between))
            counter.refused({"amount": between})


@given(made=made_up_orders(), sequence=sequences)
@settings(max_examples=40)
def test_both_refuse_the_same_of_a_line(
    sandbox: Sandbox, client: DigitalRiverClient, made: MadeUpOrder, sequence: list[Step]
) -> None:
    counter = Counter(sandbox, client, made)
    walk(counter, sequence)
    position, unit = counter.position, unit_of(made.currency)
    fees = position.fee_lines()
    for line in position.ledger.lines:
        key, ordered = line.figures.line, line.figures.quantity
        above = {"itemId": key, "quantity": ordered, "amount": line.left + unit}
        counter.refused({"items": [above]})
        counter.refused({"items": [{"itemId": key, "quantity": ordered + 1, "amount": unit}]})
        counter.refused({"items": [{"itemId": key, "quantity": 0, "amount": unit}]})
        if not position.closed_because and position.choice(Option.LINE_ITEMS).is_open:
            with pytest.raises(QuantityInvalid):
                position.quote(
                    Selection(Option.LINE_ITEMS, lines=(LineSelection(key, ordered + 1, unit),))
                )
        if line.most > 0:
            # Every unit left, and the least that is worth anything.
            for units in {line.units, next(n for n in range(1, 99) if line.value_of(n) > 0)}:
                chosen = (LineSelection(key, units),)
                counter.accepted(position.quote(Selection(Option.LINE_ITEMS, lines=chosen)))
        if key not in fees:
            counter.refused({"items": [{"itemId": key, "type": "fees", "percent": 100}]})


@given(
    made=made_up_orders(most_lines=3),
    unexplained=st.integers(1, 5_000),
    shares=st.lists(st.integers(0, 100), max_size=3),
)
@settings(max_examples=30)
def test_an_order_that_does_not_add_up_is_refunded_as_a_whole_alike(
    sandbox: Sandbox,
    client: DigitalRiverClient,
    made: MadeUpOrder,
    unexplained: int,
    shares: list[int],
) -> None:
    unit = unit_of(made.currency)
    counter = Counter(sandbox, client, made, unexplained * unit)
    for share in shares:
        position = counter.position
        assert counter.told.available == position.ledger.left
        if position.whole_order_limit <= 0:
            continue
        amount = part_of(position.whole_order_limit, share, made.currency)
        counter.refund(position.quote(Selection(Option.COMPLETE_ORDER, amount)))
        counter.reread()
    position = counter.position
    limit, everything = position.whole_order_limit, position.ledger.left
    if limit < everything - unit:
        counter.refused({"amount": everything - unit})
    if everything:
        counter.refund(position.quote(Selection(Option.COMPLETE_ORDER)))
        counter.reread()
    assert counter.told.available == counter.position.ledger.left == 0
