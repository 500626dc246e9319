"""Making an order: its wire document, its Salesforce record and what may be refunded of it.

https://docs.digitalriver.com/digital-river-api/order-management/orders
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.allocation import Kind, Parts, portion, spread, to_major, to_minor
from sandbox.goods import PRODUCTS, Product
from sandbox.moments import wire_time
from sandbox.people import COMPANIES, Buyer, Company
from sandbox.salesforce.records import OrderFacts, OrderItemFacts, salesforce_order

NAMESPACE = uuid.UUID("5a2d1f86-6c0f-4c86-9a1e-0f3b6a7c2d10")
ORDER_STATES = (
    "pending_payment", "in_review", "accepted", "fulfilled", "complete",
    "blocked", "cancelled", "returned", "dispute",
)  # fmt: skip
CAPTURED_STATES = frozenset(("fulfilled", "complete", "returned", "dispute"))
RECEIVER_METHODS = frozenset(("wireTransfer", "konbini", "bPay", "onlineBanking"))
USUAL_CARD = "4111111111111111"
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order; the money in the order's currency, for the whole line.

    `amount` is after `discount`. `fulfilled` is the quantity shipped; None means all of it where
    the order's state says that it shipped. What is not fulfilled of a finished order is
    cancelled.
    """

    amount: Decimal
    quantity: int = 1
    tax: Decimal = ZERO
    duty: Decimal = ZERO
    importer_tax: Decimal = ZERO
    fee: Decimal = ZERO
    fee_tax: Decimal = ZERO
    discount: Decimal = ZERO
    tax_rate: Decimal | None = None
    fulfilled: int | None = None
    product: Product | None = None


@dataclass(frozen=True, slots=True)
class PastRefund:
    """A refund made before the shop opened, as somebody made it in the Dashboard.

    `body` is the request without orderId and currency. `after` counts from the order's creation.
    A pending one stays pending until it is settled through the admin endpoints.
    """

    body: Mapping[str, Any]
    state: str = "succeeded"
    after: timedelta = timedelta(days=3)
    failure_reason: str | None = None


@dataclass(frozen=True, slots=True)
class ShopOrder:
    """An order with all that the stand-in needs to know of it.

    `id` is None where Digital River never heard of the order. `charged` is the captured part of
    each component in minor units. `document` is the wire order without the figures that refunds
    change; `record` is the Salesforce order.
    """

    number: int
    id: str | None
    order_number: str
    currency: str
    state: str
    created: datetime
    charged: Parts
    document: Mapping[str, Any]
    record: Mapping[str, Any]
    card_number: str
    owner_last_name: str
    payment: str
    refunds: tuple[PastRefund, ...] = field(default=())
    null_available: bool = False


@dataclass(frozen=True, slots=True)
class _Money:
    """The money of one line in minor units, and how much of it was captured."""

    product: int
    tax: int
    duty: int
    importer_tax: int
    fee: int
    fee_tax: int
    discount: int
    shipping: int = 0
    shipping_tax: int = 0


def order_id_of(number: int) -> str:
    """Return the Digital River order id of the order with a number."""
    return f"22{number:06d}0336"


def item_id_of(number: int, line: int) -> str:
    """Return the Digital River item id of a line, counted from 0."""
    return f"15{number:06d}{line + 1:03d}36"


def order_number_of(number: int) -> str:
    """Return the Salesforce order number: eight digits."""
    return f"{100200 + number:08d}"


def stable_uuid(*names: object) -> str:
    """Return an identifier that is the same in every run."""
    return str(uuid.uuid5(NAMESPACE, "/".join(map(str, names))))


def make_order(
    number: int,
    *,
    lines: Sequence[Line],
    currency: str = "USD",
    shipping: Decimal = ZERO,
    shipping_tax: Decimal = ZERO,
    unexplained: Decimal = ZERO,
    state: str = "complete",
    captured: bool | None = None,
    payment: str = "creditCard",
    card_number: str = USUAL_CARD,
    owner_last_name: str | None = None,
    company: Company = COMPANIES[0],
    buyer: Buyer | None = None,
    created: datetime = datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
    refunds: Sequence[PastRefund] = (),
    digital_river_id: bool = True,
    null_available: bool = False,
) -> ShopOrder:
    """Make an order.

    All amounts are in the order's currency and within its decimals (ValueError otherwise).
    Duty, importer tax and fees are given line by line. `unexplained` is money in the total that
    no component explains, which makes the order inconsistent. `captured` says whether money was
    taken; by default the state decides, and for an accepted order any fulfilled quantity.
    Refund triggers are `card_number` and `owner_last_name`, as in Digital River's testing
    scenarios: https://docs.digitalriver.com/digital-river-api/developer-resources/testing-scenarios
    """
    if state not in ORDER_STATES:
        raise ValueError(f"there is no order state {state}")
    if not lines:
        raise ValueError("an order has at least one line")
    buyer = buyer if buyer is not None else company.buyers[0]
    if captured is None:
        captured = state in CAPTURED_STATES or any(line.fulfilled for line in lines)
    shipped_by_default = state in CAPTURED_STATES
    fulfilled = [
        line.fulfilled if line.fulfilled is not None else line.quantity * shipped_by_default
        for line in lines
    ]
    for line, units in zip(lines, fulfilled, strict=True):
        if not 0 <= units <= line.quantity:
            raise ValueError("the fulfilled quantity is not within the quantity ordered")
    money = _line_money(lines, currency, shipping, shipping_tax)
    draft = _Draft(
        number=number,
        currency=currency,
        lines=lines,
        money=money,
        fulfilled=fulfilled,
        shipping=to_minor(shipping, currency),
        shipping_tax=to_minor(shipping_tax, currency),
        unexplained=to_minor(unexplained, currency),
        state=state,
        captured=captured,
        payment=payment,
        card_number=card_number,
        owner_last_name=owner_last_name if owner_last_name is not None else buyer.last_name,
        company=company,
        buyer=buyer,
        created=created.astimezone(UTC),
    )
    charged = draft.charged()
    return ShopOrder(
        number=number,
        id=order_id_of(number) if digital_river_id else None,
        order_number=order_number_of(number),
        currency=currency,
        state=state,
        created=draft.created,
        charged=charged,
        document=draft.document(sum(charged.values())),
        record=draft.record(digital_river_id),
        card_number=card_number,
        owner_last_name=draft.owner_last_name,
        payment=payment,
        refunds=tuple(refunds),
        null_available=null_available,
    )


def _line_money(
    lines: Sequence[Line], currency: str, shipping: Decimal, shipping_tax: Decimal
) -> list[_Money]:
    def minor(amount: Decimal) -> int:
        if amount < 0:
            raise ValueError("an amount of an order is not negative")
        return to_minor(amount, currency)

    money = [
        _Money(
            product=minor(line.amount),
            tax=minor(line.tax),
            duty=minor(line.duty),
            importer_tax=minor(line.importer_tax),
            fee=minor(line.fee),
            fee_tax=minor(line.fee_tax),
            discount=minor(line.discount),
        )
        for line in lines
    ]
    # Each line's share of the shipping, by its price; a free line still weighs something.
    weights = {(str(at), Kind.SHIPPING): one.product + 1 for at, one in enumerate(money)}

    def allocation(amount: int) -> Parts:
        # Only the proportion of the weights matters, and together they must reach the amount.
        return spread(amount, {key: weight * max(1, amount) for key, weight in weights.items()})

    of_shipping = allocation(minor(shipping))
    of_tax = allocation(minor(shipping_tax))
    return [
        replace(
            one,
            shipping=of_shipping.get((str(at), Kind.SHIPPING), 0),
            shipping_tax=of_tax.get((str(at), Kind.SHIPPING), 0),
        )
        for at, one in enumerate(money)
    ]


@dataclass(frozen=True, slots=True)
class _Draft:
    """An order while it is being written down."""

    number: int
    currency: str
    lines: Sequence[Line]
    money: Sequence[_Money]
    fulfilled: Sequence[int]
    shipping: int
    shipping_tax: int
    unexplained: int
    state: str
    captured: bool
    payment: str
    card_number: str
    owner_last_name: str
    company: Company
    buyer: Buyer
    created: datetime

    def major(self, minor: int) -> Decimal:
        return to_major(minor, self.currency)

    def total_of(self, name: str) -> int:
        return sum(getattr(one, name) for one in self.money)

    @property
    def total_tax(self) -> int:
        return self.total_of("tax") + self.shipping_tax + self.total_of("fee_tax")

    @property
    def subtotal(self) -> int:
        components = ("product", "duty", "importer_tax", "fee")
        return sum(map(self.total_of, components)) + self.shipping + self.unexplained

    @property
    def total(self) -> int:
        return self.subtotal + self.total_tax

    def charged(self) -> Parts:
        """Return what was captured: lines by their fulfilled quantity, the shipping whole."""
        if not self.captured:
            return {}
        parts: Parts = {}
        fees: Parts = {}
        duty = importer_tax = 0
        for at, (line, one, units) in enumerate(
            zip(self.lines, self.money, self.fulfilled, strict=True)
        ):
            item_id = item_id_of(self.number, at)
            parts[(item_id, Kind.PRODUCT)] = portion(one.product, units, line.quantity)
            parts[(item_id, Kind.TAX)] = portion(one.tax, units, line.quantity)
            fees[(item_id, Kind.FEE)] = portion(one.fee, units, line.quantity)
            fees[(item_id, Kind.FEE_TAX)] = portion(one.fee_tax, units, line.quantity)
            duty += portion(one.duty, units, line.quantity)
            importer_tax += portion(one.importer_tax, units, line.quantity)
        parts[("", Kind.SHIPPING)] = self.shipping
        parts[("", Kind.SHIPPING_TAX)] = self.shipping_tax
        parts[("", Kind.DUTY)] = duty
        parts[("", Kind.IMPORTER_TAX)] = importer_tax
        parts[("", Kind.UNEXPLAINED)] = self.unexplained
        return parts | fees

    def document(self, captured: int) -> dict[str, Any]:
        """Return the wire order without the figures that refunds change."""
        company, buyer = self.company, self.buyer
        created = wire_time(self.created)
        address = {
            "line1": company.street,
            "city": company.city,
            "postalCode": company.postal_code,
            "state": company.state,
            "country": company.country,
        }
        person = {
            "address": address,
            "name": buyer.name,
            "email": buyer.email,
            "organization": company.name,
            "phone": f"+1 555 {1000 + self.number % 9000}",
        }
        landed = self.total_of("duty") + self.total_of("importer_tax") > 0
        finished = self.state in CAPTURED_STATES
        closed = (finished and self.captured) or self.state == "cancelled"
        cancelled = self.total - captured if closed else 0
        document: dict[str, Any] = {
            "id": order_id_of(self.number),
            "createdTime": created,
            "customerId": stable_uuid("customer", buyer.email),
            "currency": self.currency,
            "email": buyer.email,
            "shipTo": person,
            "billTo": person,
            "totalAmount": self.major(self.total),
            "subtotal": self.major(self.subtotal),
            "totalFees": self.major(self.total_of("fee")),
            "totalTax": self.major(self.total_tax),
            "totalImporterTax": self.major(self.total_of("importer_tax")),
            "totalDuty": self.major(self.total_of("duty")),
            "totalDiscount": self.major(self.total_of("discount")),
            "totalShipping": self.major(self.shipping),
            "importerOfRecordTax": landed,
            "items": [self.item(at) for at in range(len(self.lines))],
            "shippingChoice": {
                "amount": self.major(self.shipping),
                "taxAmount": self.major(self.shipping_tax),
                "description": "Standard delivery",
                "serviceLevel": "SG",
                "shippingTerms": "DDP" if landed else "DAP",
            },
            "chargeType": "customer_initiated",
            "stateTransitions": self.transitions(),
            "fraudState": {"blocked": "blocked", "in_review": "review_opened"}.get(
                self.state, "passed"
            ),
            "fraudStateTransitions": {"passed": created} if finished else {},
            "requestToBeForgotten": False,
            "capturedAmount": self.major(captured),
            "cancelledAmount": self.major(cancelled),
            "locale": company.locale,
            "customerType": "business",
            "sellingEntity": {"id": "DR_INC-ENTITY", "name": "Digital River, Inc."},
            "payment": {
                "sources": [self.source()],
                "charges": [self.charge(captured)],
                "session": {
                    "id": stable_uuid("session", self.number),
                    "amountContributed": self.major(self.total),
                    "amountRemainingToBeContributed": self.major(0),
                    "state": "complete",
                },
            },
            "liveMode": False,
            "upstreamId": order_number_of(self.number),
            "metadata": {"sfOrderId": self.facts(digital_river_id=True).salesforce_id},
        }
        if self.state == "cancelled":
            document["cancelReason"] = "requested_by_customer"
        if captured:
            invoice = stable_uuid("invoice", self.number)
            document["invoicePDFs"] = [_file(invoice)]
        return document

    def transitions(self) -> dict[str, str]:
        """Return when the order reached each of its states."""
        through = {
            "pending_payment": ("pending_payment",),
            "in_review": ("in_review",),
            "blocked": ("in_review", "blocked"),
            "accepted": ("accepted",),
            "cancelled": ("accepted", "cancelled"),
            "fulfilled": ("accepted", "fulfilled"),
            "complete": ("accepted", "fulfilled", "complete"),
            "returned": ("accepted", "fulfilled", "complete", "returned"),
            "dispute": ("accepted", "fulfilled", "complete", "dispute"),
        }[self.state]
        hours = (0, 2, 3, 5)
        return {
            state: wire_time(self.created + timedelta(hours=hours[at]))
            for at, state in enumerate(through)
        }

    def product(self, at: int) -> Product:
        """Return the article of a line."""
        chosen = self.lines[at].product
        return chosen if chosen is not None else PRODUCTS[at % len(PRODUCTS)]

    def item(self, at: int) -> dict[str, Any]:
        """Return one entry of the wire order's items."""
        line, one, units = self.lines[at], self.money[at], self.fulfilled[at]
        article = self.product(at)
        rate = line.tax_rate
        if rate is None:
            rate = (line.tax / line.amount).quantize(Decimal("0.00001")) if line.amount else ZERO
        state = "fulfilled" if units else "created"
        if self.state in ("cancelled", "blocked", "returned"):
            state = self.state
        elif not units and self.state in CAPTURED_STATES:
            state = "cancelled"
        item: dict[str, Any] = {
            "id": item_id_of(self.number, at),
            "productDetails": {
                "id": article.sku,
                "skuGroupId": "physical" if article.physical else "digital",
                "name": article.name,
                "countryOfOrigin": article.origin,
                "weight": article.weight,
                "weightUnit": "g",
                "partNumber": article.part_number,
            },
            "skuId": article.sku,
            "amount": self.major(one.product),
            "quantity": line.quantity,
            "state": state,
            "stateTransitions": {"created": wire_time(self.created)},
            "tax": {"rate": rate, "amount": self.major(one.tax)},
            "shipping": {
                "amount": self.major(one.shipping),
                "taxAmount": self.major(one.shipping_tax),
            },
            "metadata": {},
        }
        if one.duty or one.importer_tax:
            item["duties"] = {"amount": self.major(one.duty)}
            item["importerTax"] = {"amount": self.major(one.importer_tax)}
        if one.discount:
            item["discount"] = {"amountOff": self.major(one.discount), "quantity": line.quantity}
        if one.fee or one.fee_tax:
            item["fees"] = {
                "amount": self.major(one.fee),
                "taxAmount": self.major(one.fee_tax),
                "details": [
                    {
                        "id": stable_uuid("fee", self.number, at),
                        "type": article.fee_type or "weee",
                        "amount": self.major(one.fee),
                        "perUnitAmount": self.major(portion(one.fee, 1, line.quantity)),
                    }
                ],
            }
        return item

    def source(self) -> dict[str, Any]:
        """Return how the customer paid; of a card the last four digits only."""
        source: dict[str, Any] = {
            "id": stable_uuid("source", self.number),
            "type": self.payment,
            "amount": self.major(self.total),
            "currency": self.currency,
            "createdTime": wire_time(self.created),
            "flow": "receiver" if self.payment in RECEIVER_METHODS else "standard",
            "reusable": False,
            "state": "consumed",
            "liveMode": False,
            "owner": {
                "firstName": self.buyer.first_name,
                "lastName": self.owner_last_name,
                "email": self.buyer.email,
                "organization": self.company.name,
                "address": {"country": self.company.country},
            },
        }
        details: dict[str, dict[str, Any]] = {
            "creditCard": {
                "brand": "Visa",
                "expirationMonth": 7,
                "expirationYear": 2031,
                "lastFourDigits": self.card_number[-4:],
            },
            "wireTransfer": {
                "accountHolder": "Digital River, Inc.",
                "bankName": "Example Bank",
                "referenceId": f"DR{self.number:08d}",
                "country": self.company.country,
            },
            "konbini": {"storeId": "seicomart", "storeName": "Seicomart"},
            "bPay": {"referenceId": f"{self.number:010d}"},
            "onlineBanking": {},
            "payPal": {},
        }
        if self.payment in details:
            source[self.payment] = details[self.payment]
        return source

    def charge(self, captured: int) -> dict[str, Any]:
        """Return the charge, before any refund."""
        created = wire_time(self.created)
        charge_state = {
            "pending_payment": "pending",
            "cancelled": "cancelled",
            "blocked": "cancelled",
        }.get(self.state, "capturable")
        charge: dict[str, Any] = {
            "id": stable_uuid("charge", self.number),
            "createdTime": created,
            "currency": self.currency,
            "amount": self.major(self.total),
            "state": "complete" if captured else charge_state,
            "orderId": order_id_of(self.number),
            "sourceId": stable_uuid("source", self.number),
            "paymentSessionId": stable_uuid("session", self.number),
            "captured": captured > 0,
            "refunded": False,
            "type": "customer_initiated",
            "liveMode": False,
        }
        if captured:
            at = wire_time(self.created + timedelta(hours=3))
            charge["captures"] = [
                {
                    "id": stable_uuid("capture", self.number),
                    "createdTime": at,
                    "updatedTime": at,
                    "amount": self.major(captured),
                    "state": "complete",
                }
            ]
        return charge

    def record(self, digital_river_id: bool) -> dict[str, Any]:
        """Return the Salesforce order."""
        return salesforce_order(self.facts(digital_river_id=digital_river_id))

    def facts(self, *, digital_river_id: bool) -> OrderFacts:
        """Return what the Salesforce record is written from."""
        items = []
        for at, (line, one, units) in enumerate(
            zip(self.lines, self.money, self.fulfilled, strict=True)
        ):
            finished = self.state in CAPTURED_STATES
            rest = line.quantity - units
            cancelled = rest if finished or self.state == "cancelled" else 0
            items.append(
                OrderItemFacts(
                    item_id=item_id_of(self.number, at) if digital_river_id else None,
                    product=self.product(at),
                    quantity=line.quantity,
                    fulfilled=units,
                    cancelled=cancelled,
                    unit_price=self.major(portion(one.product + one.discount, 1, line.quantity)),
                    amount=self.major(one.product),
                    tax=self.major(one.tax),
                    duty=self.major(one.duty),
                    importer_tax=self.major(one.importer_tax),
                    fee=self.major(one.fee),
                )
            )
        return OrderFacts(
            number=self.number,
            order_number=order_number_of(self.number),
            order_id=order_id_of(self.number) if digital_river_id else None,
            state=self.state,
            created=self.created,
            currency=self.currency,
            total=self.major(self.total),
            company=self.company,
            buyer=self.buyer,
            items=tuple(items),
        )


def _file(identifier: str) -> dict[str, Any]:
    return {
        "id": identifier,
        "url": f"https://api.digitalriver.com/files/{identifier}/content",
        "liveMode": False,
    }


def credit_memo_file(refund_id: str) -> dict[str, Any]:
    """Return the credit memo that a succeeded refund leads to."""
    return _file(stable_uuid("credit memo", refund_id))
