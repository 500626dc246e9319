"""The orders that things happen to: few lines, tight money, all that can make a refund odd."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache

from sandbox.orders import Line, ShopOrder, make_order


@cache
def shop_order(case: int) -> ShopOrder:
    """Return the order of a case, always the same one; its number is the case's place and one."""
    return CASES[case](case + 1)


def _tight(number: int) -> ShopOrder:
    return make_order(number, lines=[Line(Decimal("100.00"))])


def _taxed(number: int) -> ShopOrder:
    line = Line(Decimal("99.97"), quantity=4, tax=Decimal("8.03"))
    return make_order(number, lines=[line], shipping=Decimal("5.00"), shipping_tax=Decimal("0.40"))


def _yen(number: int) -> ShopOrder:
    lines = [
        Line(Decimal("1000"), quantity=3, tax=Decimal("100")),
        Line(Decimal("333"), tax=Decimal("33")),
    ]
    return make_order(
        number, lines=lines, currency="JPY", shipping=Decimal("500"), payment="konbini"
    )


def _dinar(number: int) -> ShopOrder:
    lines = [
        Line(Decimal("10.001"), quantity=3, tax=Decimal("0.505")),
        Line(Decimal("0.333"), quantity=2),
    ]
    return make_order(number, lines=lines, currency="KWD", shipping=Decimal("1.500"))


def _landed(number: int) -> ShopOrder:
    lines = [
        Line(
            Decimal("40.00"),
            quantity=2,
            tax=Decimal("3.21"),
            duty=Decimal("4.00"),
            importer_tax=Decimal("2.50"),
            fee=Decimal("1.00"),
            fee_tax=Decimal("0.08"),
        ),
        Line(Decimal("20.00"), tax=Decimal("1.61"), fee=Decimal("0.50")),
    ]
    return make_order(number, lines=lines, shipping=Decimal("7.00"), shipping_tax=Decimal("0.56"))


def _by_wire(number: int) -> ShopOrder:
    line = Line(Decimal("100.00"), quantity=2, tax=Decimal("19.00"))
    return make_order(number, lines=[line], currency="EUR", payment="wireTransfer")


def _failing(number: int) -> ShopOrder:
    line = Line(Decimal("100.00"), quantity=2)
    return make_order(number, lines=[line], card_number="4000000000004111")


def _partly_shipped(number: int) -> ShopOrder:
    lines = [
        Line(Decimal("90.00"), quantity=3, tax=Decimal("7.25"), fulfilled=2),
        Line(Decimal("15.00"), tax=Decimal("1.20"), discount=Decimal("5.00")),
    ]
    return make_order(number, lines=lines, shipping=Decimal("5.00"))


#: The orders there are; the first are the tightest.
CASES: tuple[Callable[[int], ShopOrder], ...] = (
    _tight,
    _taxed,
    _yen,
    _dinar,
    _landed,
    _by_wire,
    _failing,
    _partly_shipped,
)
