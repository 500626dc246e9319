"""The shop: a business-to-business store's last quarter, the same on every machine.

Only the dates move: the quarter ends the day before the anchor. The orders that show a special
case are named in SHOWCASE, so that tests and the demo can ask for them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from random import Random
from types import MappingProxyType
from typing import Any

from sandbox.allocation import exponent
from sandbox.goods import PRODUCTS, Product, product
from sandbox.orders import (
    Line,
    PastRefund,
    ShopOrder,
    item_id_of,
    make_order,
    order_number_of,
)
from sandbox.people import COMPANIES, Company, company

SEED = 19_940_214
ORDERS = 330
QUARTER_DAYS = 92
EXACT = Context(prec=40, rounding=ROUND_HALF_UP)

PRICE_OF_A_DOLLAR: Mapping[str, Decimal] = MappingProxyType(
    {
        "USD": Decimal(1),
        "EUR": Decimal("0.92"),
        "GBP": Decimal("0.79"),
        "JPY": Decimal(151),
        "KWD": Decimal("0.3075"),
    }
)
FEE_TAX_COUNTRIES = frozenset(("DE", "FR", "IE", "NL", "GB"))
FREE_SHIPPING_FROM = Decimal(1500)

WHOLE: Mapping[str, Any] = MappingProxyType({"percent": 100})

Options = dict[str, Any]
Case = Callable[[int], Options]


def build_shop(anchor: date) -> list[ShopOrder]:
    """Return all orders of the quarter that ends the day before the anchor, oldest first."""
    names = {number: name for name, number in _NUMBERS.items()}
    return [
        make_order(number, created=_created(number, anchor), **_options(number, names.get(number)))
        for number in range(1, ORDERS + 1)
    ]


def _options(number: int, name: str | None) -> Options:
    return _usual(number) if name is None else _CASES[name](number)


def _created(number: int, anchor: date) -> datetime:
    """Spread the orders over the quarter, at business hours, in the order of their numbers."""
    day, place = divmod((number - 1) * QUARTER_DAYS, ORDERS)
    minutes = place * 9 * 60 // ORDERS
    opening = datetime.combine(anchor, time(8, 0), UTC) - timedelta(days=QUARTER_DAYS)
    return opening + timedelta(days=day, minutes=minutes, seconds=(number * 17) % 60)


def _rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-exponent(currency)), context=EXACT)


def price_in(dollars: Decimal, currency: str) -> Decimal:
    """Return a price of the catalogue in a currency, as a shop would show it."""
    amount = dollars * PRICE_OF_A_DOLLAR[currency]
    if currency == "JPY":
        return amount.quantize(Decimal("1E1"), context=EXACT).quantize(Decimal(1))
    return _rounded(amount, currency)


def sold(
    article: Product,
    quantity: int,
    to: Company,
    *,
    discount_percent: int = 0,
    fees: bool = True,
    landed_cost: bool = False,
    fulfilled: int | None = None,
) -> Line:
    """Return a line as the shop sells it to a company: its price, tax, duty and fees."""
    currency = to.currency
    full = price_in(article.price, currency) * quantity
    discount = _rounded(full * discount_percent / 100, currency)
    amount = full - discount
    imported = landed_cost and article.physical
    duty = _rounded(amount * to.duty_rate, currency) if imported else Decimal(0)
    importer_tax = (
        _rounded((amount + duty) * to.import_tax_rate, currency) if imported else Decimal(0)
    )
    rate = Decimal(0) if imported else to.tax_rate
    fee = (
        _rounded(article.fee_per_unit * PRICE_OF_A_DOLLAR[currency], currency) * quantity
        if fees
        else Decimal(0)
    )
    return Line(
        amount=amount,
        quantity=quantity,
        tax=_rounded(amount * rate, currency),
        tax_rate=rate,
        duty=duty,
        importer_tax=importer_tax,
        fee=fee,
        fee_tax=_rounded(fee * to.tax_rate, currency) if to.country in FEE_TAX_COUNTRIES
        else Decimal(0),
        discount=discount,
        fulfilled=fulfilled,
        product=article,
    )  # fmt: skip


def _shipping(dollars: str, to: Company) -> Options:
    amount = price_in(Decimal(dollars), to.currency)
    rate = to.tax_rate if to.shipping_taxed else Decimal(0)
    return {"shipping": amount, "shipping_tax": _rounded(amount * rate, to.currency)}


def _order(to: Company, lines: Sequence[Line], shipping: str = "14.90", **more: Any) -> Options:
    return {
        "company": to,
        "currency": to.currency,
        "lines": lines,
        **_shipping(shipping, to),
        **more,
    }


def _usual(number: int) -> Options:
    """Return an order without a story: what the shop sells on most days."""
    # The same shop every time is the point.
    dice = Random(SEED * 10_000 + number)  # noqa: S311
    to = dice.choices(COMPANIES, weights=[9 if c.currency == "USD" else 5 for c in COMPANIES])[0]
    chosen = dice.sample(
        PRODUCTS, dice.choices((1, 2, 3, 4, 6, 9, 12), (22, 24, 20, 14, 10, 6, 4))[0]
    )
    landed_cost = to.duty_rate > 0 and dice.random() < 0.8
    fees = to.country in FEE_TAX_COUNTRIES or (to.state == "WA" and dice.random() < 0.5)
    discount = dice.choices((0, 5, 10, 15), (60, 20, 15, 5))[0]
    state = dice.choices(
        ("complete", "fulfilled", "accepted", "in_review", "pending_payment", "cancelled",
         "blocked", "returned"),
        (82, 5, 4, 2, 2, 3, 1, 1),
    )[0]  # fmt: skip
    partly = state == "complete" and dice.random() < 0.08
    lines = []
    for article in chosen:
        expensive = article.price > 400
        quantity = dice.choices((1, 2, 3, 4, 5, 8, 10, 25), (6, 4, 1, 1, 0, 0, 0, 0) if expensive
                                else (20, 18, 12, 10, 12, 10, 12, 6))[0]  # fmt: skip
        shipped = max(1, quantity * 2 // 3) if partly else None
        lines.append(
            sold(article, quantity, to, discount_percent=discount, fees=fees,
                 landed_cost=landed_cost, fulfilled=shipped)
        )  # fmt: skip
    worth = sum((line.amount for line in lines), Decimal(0)) / PRICE_OF_A_DOLLAR[to.currency]
    shipping = "0.00" if worth >= FREE_SHIPPING_FROM else dice.choice(("9.90", "14.90", "24.50"))
    payment = dice.choices(("creditCard", "payPal", "wireTransfer"), (80, 12, 8))[0]
    if to.country == "JP" and dice.random() < 0.3:
        payment = "konbini"
    return _order(
        to,
        lines,
        shipping,
        state=state,
        payment=payment,
        buyer=dice.choice(to.buyers),
        card_number=dice.choice(("4111111111111111", "4242424242424242", "4000056655665556")),
        refunds=_usual_refunds(dice, number, state, lines),
    )


def _usual_refunds(
    dice: Random, number: int, state: str, lines: Sequence[Line]
) -> tuple[PastRefund, ...]:
    """Return what was refunded of an order without a story: of most, nothing."""
    if state == "returned":
        return (PastRefund(WHOLE, after=timedelta(days=2, hours=4)),)
    if state != "complete" or dice.random() >= 0.09:
        return ()
    at = dice.randrange(len(lines))
    line = lines[at]
    units = line.quantity if line.fulfilled is None else line.fulfilled
    item = {
        "itemId": item_id_of(number, at),
        "quantity": dice.randint(1, units),
        "percent": 100,
    }
    reason = dice.choice(("Damaged in transit", "requested_by_customer", "Wrong article"))
    return (PastRefund({"items": [item], "reason": reason}, after=timedelta(days=2, hours=3)),)


def _plain_usd(number: int) -> Options:
    to = company("Cascade")
    lines = [
        sold(product("TB-FLD-10"), 3, to, fees=False),
        sold(product("TB-FLD-CS"), 3, to, fees=False),
        sold(product("CB-USBC-2"), 10, to, fees=False),
        sold(product("SV-CARE-3"), 3, to),
    ]
    return _order(to, lines, "24.50")


def _worked_sample(number: int) -> Options:
    line = Line(
        amount=Decimal("20.00"),
        quantity=2,
        tax=Decimal("1.61"),
        tax_rate=Decimal("0.08025"),
        product=product("PR-RB-110"),
    )
    return {
        "company": company("Lone Star"),
        "lines": [line],
        "shipping": Decimal("5.00"),
        "shipping_tax": Decimal("0.40"),
    }


def _landed_cost(number: int) -> Options:
    to = company("Maple Ridge")
    lines = [
        sold(product("SC-HH-2D"), 4, to, landed_cost=True, fees=False),
        sold(product("SC-CR-04"), 1, to, landed_cost=True, fees=False),
    ]
    return _order(to, lines, "38.00")


def _fees(number: int) -> Options:
    to = company("Nordlicht")
    lines = [
        sold(product("UP-1500"), 2, to),
        sold(product("UP-BAT-15"), 4, to),
        sold(product("CB-CAT6-03"), 20, to),
    ]
    return _order(to, lines)


def _all_options(number: int) -> Options:
    to = company("Clyde")
    lines = [
        sold(product("DS-27-QHD"), 6, to, landed_cost=True),
        sold(product("DS-ARM-2"), 3, to, landed_cost=True, discount_percent=10),
        sold(product("SF-WMS-1Y"), 3, to),
    ]
    return _order(to, lines, "42.00")


def _of(name_start: str, *skus: tuple[str, int], **more: Any) -> Case:
    """Return a case that is a usual order of one company but for what `more` says."""

    def case(number: int) -> Options:
        to = company(name_start)
        imported = to.duty_rate > 0 and to.country != "GB"
        lines = [sold(product(sku), units, to, landed_cost=imported) for sku, units in skus]
        return _order(to, lines, **more)

    return case


def _discounts(number: int) -> Options:
    to = company("Prairie")
    lines = [
        sold(product("PR-LB-4"), 2, to, discount_percent=15, fees=False),
        sold(product("PR-LB-RL"), 24, to, discount_percent=5, fees=False),
        sold(product("PR-RB-110"), 7, to, discount_percent=15),
    ]
    return _order(to, lines)


def _partly(state: str) -> Case:
    def case(number: int) -> Options:
        to = company("Boulangeries")
        lines = [
            sold(product("PR-LB-4"), 3, to, fulfilled=2),
            sold(product("PR-LB-RL"), 10, to, fulfilled=7),
            sold(product("SC-HH-2D"), 2, to, fulfilled=0),
            sold(product("SF-MDM-1Y"), 5, to, fulfilled=5),
        ]
        return _order(to, lines, state=state)

    return case


def _inconsistent(number: int) -> Options:
    to = company("Cascade")
    return _order(to, [sold(product("CM-DESK-HD"), 4, to)], unexplained=Decimal("3.75"))


def _many_lines(number: int) -> Options:
    to = company("Liffey")
    lines = [
        sold(PRODUCTS[at % len(PRODUCTS)], 1 + at % 5, to, discount_percent=5 * (at % 3))
        for at in range(64)
    ]
    return _order(to, lines, "65.00")


def _refunded(*refunds: PastRefund, card_number: str = "4242424242424242") -> Case:
    return _of(
        "Cascade",
        ("HS-DUO-BT", 5),
        ("HS-MON-US", 10),
        refunds=refunds,
        card_number=card_number,
    )


def _external_item(number: int) -> Options:
    item = {"itemId": item_id_of(number, 0), "quantity": 2, "percent": 100}
    refund = PastRefund({"items": [item], "reason": "Two arrived broken"})
    return _refunded(refund)(number)


_USUAL_GOODS = (("NW-AP-AX", 4), ("CB-CAT6-10", 12))
_SMALL_GOODS = (("ST-USB-128", 3), ("CM-DESK-HD", 1))

_CASES: dict[str, Case] = {
    "plain_usd": _plain_usd,
    "worked_sample": _worked_sample,
    "landed_cost": _landed_cost,
    "fees": _fees,
    "all_options": _all_options,
    "jpy": _of("株式会社", ("PR-LB-4", 1), ("PR-LB-RL", 7), ("PR-PT-HD", 2)),
    "kwd": _of("Gulf", ("NW-SW-24P", 3), ("CB-FO-OM4", 11)),
    "eur": _of("Nordlicht", ("TL-TEST-6", 1), ("TL-CRIMP", 3)),
    "gbp": _of("Pennine", ("TB-FLD-10", 2), ("TB-STY-01", 2)),
    "discounts": _discounts,
    "partly_cancelled": _partly("complete"),
    "accepted_with_capture": _partly("accepted"),
    "accepted_uncaptured": _of("Cascade", *_USUAL_GOODS, state="accepted"),
    "pending_payment": _of(
        "Nordlicht",
        *_USUAL_GOODS,
        state="pending_payment",
        payment="wireTransfer",
        null_available=True,
    ),
    "in_review": _of("Pennine", *_USUAL_GOODS, state="in_review"),
    "blocked": _of("Lone Star", *_USUAL_GOODS, state="blocked"),
    "cancelled": _of("Prairie", *_USUAL_GOODS, state="cancelled"),
    "fulfilled": _of("Granite", *_USUAL_GOODS, state="fulfilled"),
    "fulfilled_uncaptured": _of("Granite", *_SMALL_GOODS, state="fulfilled", captured=False),
    "returned": lambda number: _of(
        "Lone Star",
        *_USUAL_GOODS,
        state="returned",
        refunds=(
            PastRefund({"items": [{"itemId": item_id_of(number, 0), "percent": 100}]}),
            PastRefund(
                {"items": [{"itemId": item_id_of(number, 1), "percent": 100}]},
                after=timedelta(days=3, hours=1),
            ),
        ),
    )(number),
    "dispute": _of("Prairie", ("CM-ROOM-4K", 1), state="dispute"),
    "no_digital_river_id": _of(
        "Lone Star", *_SMALL_GOODS, state="accepted", digital_river_id=False
    ),
    "inconsistent": _inconsistent,
    "wire_transfer": _of("Nordlicht", ("ST-NAS-4", 3), payment="wireTransfer"),
    "konbini": _of("Hakata", ("PR-LB-RL", 9), ("PR-RB-110", 4), payment="konbini"),
    "paypal": _of("Pennine", ("HS-DUO-BT", 8), payment="payPal"),
    "online_banking": _of("Koninklijke", ("NW-RT-5G", 1), payment="onlineBanking"),
    "failing_card": _of("Cascade", *_SMALL_GOODS, card_number="4000000000004111"),
    "fails_after_pending_card": _of("Prairie", *_SMALL_GOODS, card_number="4556602564240839"),
    "failing_owner": _of("Pennine", *_SMALL_GOODS, owner_last_name="RefundFail"),
    "refused_on_creation": _of(
        "Lone Star", *_SMALL_GOODS, owner_last_name="RefundFailWhileCreation"
    ),
    "fails_after_bank_details": _of(
        "Koninklijke",
        *_SMALL_GOODS,
        payment="wireTransfer",
        owner_last_name="RefundFailAfterPaymentInfo",
    ),
    "external_succeeded": _external_item,
    "external_pending": _refunded(PastRefund({"amount": Decimal("60.00")}, "pending")),
    "external_failed": _refunded(
        PastRefund(WHOLE, "failed", failure_reason="expired_or_canceled_card")
    ),
    "external_expired": _of(
        "Liffey",
        *_SMALL_GOODS,
        payment="wireTransfer",
        refunds=(PastRefund(WHOLE, "expired", after=timedelta(days=1)),),
    ),
    "waiting_for_bank_details": _of(
        "Boulangeries",
        *_SMALL_GOODS,
        payment="wireTransfer",
        refunds=(PastRefund(WHOLE, "pending_information", after=timedelta(days=1)),),
    ),
    "partial_whole_order": _refunded(
        PastRefund({"amount": Decimal("250.00"), "reason": "Goodwill"})
    ),
    "shipping_refunded": _refunded(PastRefund({"type": "shipping", "percent": 100})),
    "fully_refunded": _refunded(PastRefund({**WHOLE, "reason": "duplicate"})),
    "many_lines": _many_lines,
    "same_buyer_first": _of("Clyde", *_SMALL_GOODS),
    "same_buyer_second": _of("Clyde", *_SMALL_GOODS),
    "long_names": _of("Koninklijke", *_USUAL_GOODS),
}  # fmt: skip

_NUMBERS: Mapping[str, int] = MappingProxyType(
    {name: 4 + 7 * position for position, name in enumerate(_CASES)}
)

SHOWCASE: Mapping[str, str] = MappingProxyType(
    {name: order_number_of(number) for name, number in _NUMBERS.items()}
)
"""The order number of each special case."""
