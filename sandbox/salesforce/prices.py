"""What lines of generated orders cost: one row for each article, quantity and market."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import NamedTuple

from sandbox.goods import PRODUCTS, Product
from sandbox.salesforce.ids import named_id
from sandbox.salesforce.names import MARKETS, Market

QUANTITIES = (1, 1, 2, 3, 4, 5, 10, 25)
ROWS = len(PRODUCTS) * len(QUANTITIES)


class LineRow(NamedTuple):
    """A line: its texts by `TEXTS`, and what it adds to its order's sums by `SUMS`, minor units."""

    texts: tuple[str, ...]
    sums: tuple[int, ...]


TEXTS = (
    "Product2Id", "Product2.Name", "Product2.StockKeepingUnit", "Product2.ProductCode",
    "Quantity", "UnitPrice", "TotalPrice", "TotalTaxAmount",
    "DR_Duty__c", "DR_IOR_Tax__c", "DR_Regulatory_Fee__c",
)  # fmt: skip
QUANTITY = TEXTS.index("Quantity")
SUMS = (
    "TotalAmount", "DR_Total_Duty__c", "DR_Total_IOR_Tax__c", "DR_Total_Regulatory_Fee__c",
)  # fmt: skip
CENTS = tuple(f".{cents:02d}" for cents in range(100))


def major_text(minor: int, digits: int) -> str:
    """Write minor units of a currency with so many decimals."""
    if digits == 2:
        return f"{minor // 100}{CENTS[minor % 100]}"
    if digits == 0:
        return str(minor)
    return f"{minor // 1000}.{minor % 1000:03d}"


@cache
def line_rows(market: int) -> Sequence[LineRow]:
    """Return all lines that a market can buy."""
    return [
        _row(MARKETS[market], article, quantity) for article in PRODUCTS for quantity in QUANTITIES
    ]


def _row(market: Market, article: Product, quantity: int) -> LineRow:
    unit = _minor(article.price * market.dollar, market)
    total = unit * quantity
    duty = int((total * market.duty).to_integral_value(ROUND_HALF_UP))
    importer_tax = duty and int((total * Decimal("0.05")).to_integral_value(ROUND_HALF_UP))
    tax = int((total * market.tax).to_integral_value(ROUND_HALF_UP))
    fee = _minor(article.fee_per_unit * market.dollar, market) * quantity if market.tax else 0
    money = (unit, total, tax, duty, importer_tax, fee)
    return LineRow(
        (
            named_id("01t", article.sku),
            article.name,
            article.sku,
            article.part_number,
            f"{quantity}.0",
            *(major_text(minor, market.digits) for minor in money),
        ),
        (total + tax + duty + importer_tax + fee, duty, importer_tax, fee),
    )


def _minor(amount: Decimal, market: Market) -> int:
    return int(amount.scaleb(market.digits).to_integral_value(ROUND_HALF_UP))
