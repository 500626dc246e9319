"""What the database itself refuses, whatever the code above it does."""

from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from refunds.ledger import Component, Part
from refunds.models import Actor, HistoryEntry, Order, OrderLine, Refund, RefundAttempt, RefundLine
from refunds.services.settlements import history_add, refund_create, refund_parts_save
from tests.desk import person

pytestmark = pytest.mark.django_db


def an_order(number: str = "1", **more: Any) -> Order:
    """Return an order of which USD 10.00 was captured."""
    columns = {
        "salesforce_id": f"80100000000000{number}AAA",
        "order_number": number,
        "ordered_at": timezone.now(),
        "currency": "USD",
        "captured_amount": Decimal("10.00"),
    }
    return Order.objects.create(**{**columns, **more})


def a_refund(order: Order | None = None, **more: Any) -> Refund:
    """Return a submitted refund."""
    now = timezone.now()
    columns: dict[str, Any] = {
        "order": order or an_order(),
        "option": "shipping",
        "state": "pending",
        "currency": "USD",
        "requested_amount": Decimal("1.00"),
        "created_at": now,
        "updated_at": now,
        "submitted_at": now,
    }
    return refund_create(**{**columns, **more})


def refused(change: Any) -> None:
    """Assert that the database refuses the change."""
    with pytest.raises(IntegrityError), transaction.atomic():
        change()


@pytest.mark.parametrize(
    "column",
    [
        "requested_amount",
        "refunded_amount",
        "shipping_part",
        "shipping_tax_part",
        "duty_part",
        "importer_tax_part",
        "whole_part",
    ],
)
def test_refund_amounts_are_never_negative(column: str) -> None:
    refund = a_refund()
    refused(lambda: Refund.objects.filter(pk=refund.pk).update(**{column: Decimal("-0.01")}))


def test_refund_state_is_a_known_one() -> None:
    refund = a_refund()
    refused(lambda: Refund.objects.filter(pk=refund.pk).update(state="paid"))


@pytest.mark.parametrize(
    "column", [{"submitted_at": None}, {"requested_amount": None}, {"option": ""}]
)
def test_refund_that_was_submitted_is_complete(column: dict[str, Any]) -> None:
    refund = a_refund()
    refused(lambda: Refund.objects.filter(pk=refund.pk).update(**column))


def test_refund_that_succeeded_has_its_time() -> None:
    refund = a_refund()
    refused(lambda: Refund.objects.filter(pk=refund.pk).update(state="succeeded"))


def test_refund_reference_is_unique() -> None:
    order = an_order()
    one, other = a_refund(order), a_refund(order)
    refused(lambda: Refund.objects.filter(pk=one.pk).update(reference=other.reference))


def test_refund_digital_river_id_is_unique_but_for_none() -> None:
    order = an_order()
    one, other = a_refund(order, digital_river_id="re_1"), a_refund(order)
    a_refund(order)
    refused(lambda: Refund.objects.filter(pk=other.pk).update(digital_river_id="re_1"))
    assert Refund.objects.get(pk=one.pk).digital_river_id == "re_1"


def test_attempt_number_reference_and_digital_river_id_are_unique() -> None:
    refund = a_refund()
    now = timezone.now()

    def attempt(number: int, reference: str, identifier: str = "") -> RefundAttempt:
        return RefundAttempt.objects.create(
            refund=refund,
            number=number,
            reference=reference,
            started_at=now,
            lease_until=now,
            request="{}",
            digital_river_id=identifier,
        )

    attempt(1, "R-1-1", "re_1")
    attempt(2, "R-1-2")
    attempt(3, "R-1-3")
    refused(lambda: attempt(1, "R-1-4"))
    refused(lambda: attempt(4, "R-1-1"))
    refused(lambda: attempt(4, "R-1-4", "re_1"))


def test_order_ids_are_unique() -> None:
    one = an_order("1", digital_river_id="22")
    an_order("2")
    an_order("3")
    refused(lambda: an_order("4", digital_river_id="22"))
    refused(lambda: an_order("5", order_number=one.order_number))
    refused(lambda: an_order("6", salesforce_id=one.salesforce_id))


@pytest.mark.parametrize(
    "column", ["total_amount", "captured_amount", "refunded_amount", "left_amount"]
)
def test_order_amounts_are_never_negative(column: str) -> None:
    order = an_order()
    refused(lambda: Order.objects.filter(pk=order.pk).update(**{column: Decimal("-0.01")}))


def test_order_never_has_more_left_than_was_captured() -> None:
    order = an_order()
    Order.objects.filter(pk=order.pk).update(left_amount=Decimal("10.00"))
    refused(lambda: Order.objects.filter(pk=order.pk).update(left_amount=Decimal("10.01")))


def test_order_line_ids_are_unique_within_the_order() -> None:
    order, other = an_order("1"), an_order("2")

    def line(of: Order, **ids: str) -> OrderLine:
        return OrderLine.objects.create(order=of, position=1, quantity=1, product_name="P", **ids)

    line(order, digital_river_id="15", salesforce_id="802")
    line(other, digital_river_id="15", salesforce_id="802")
    refused(lambda: line(order, digital_river_id="15"))
    refused(lambda: line(order, salesforce_id="802"))


def test_refund_line_is_there_once_and_never_negative() -> None:
    order = an_order()
    line = OrderLine.objects.create(order=order, position=1, quantity=1, product_name="P")
    refund = a_refund(order)
    RefundLine.objects.create(refund=refund, order_line=line)
    refused(lambda: RefundLine.objects.create(refund=refund, order_line=line))
    for column in ("amount", "product_part", "tax_part", "fees_part", "fee_tax_part"):
        refused(partial(refund.lines.update, **{column: Decimal("-0.01")}))


def test_rows_of_money_keep_each_other_from_being_deleted() -> None:
    order = an_order()
    user = person("somebody")
    refund = a_refund(order, created_by=user)
    line = OrderLine.objects.create(order=order, position=1, quantity=1, product_name="P")
    RefundLine.objects.create(refund=refund, order_line=line)
    for row in (order, line, refund, user):
        with pytest.raises(ProtectedError), transaction.atomic():
            row.delete()
    assert User.objects.filter(pk=user.pk).exists()
    assert not HistoryEntry.objects.filter(refund=refund).exists()


@pytest.mark.parametrize("amount", ["99999999999.9999", "0.0001", "12345678901.2345"])
def test_amounts_come_back_as_they_went_in(amount: str) -> None:
    order = an_order(captured_amount=Decimal(amount))

    order.refresh_from_db()

    assert order.captured_amount == Decimal(amount)


def test_history_that_was_written_is_shown_oldest_first() -> None:
    refund = a_refund()
    user = person("somebody")
    now = timezone.now()
    for word in ("one", "two", "three"):
        history_add(refund=refund, actor=Actor.person(user), at=now, summary=word)

    assert [entry.summary for entry in refund.history.all()] == ["one", "two", "three"]
    assert {entry.by for entry in refund.history.all()} == {"Somebody Tester"}


def test_refund_parts_save_replaces_the_parts_there_were() -> None:
    order = an_order()
    line = OrderLine.objects.create(
        order=order, position=1, quantity=1, product_name="P", digital_river_id="15"
    )
    refund = a_refund(order)
    for product, shipping in (("3.00", "1.00"), ("0.00", "4.00"), ("2.00", "0.00")):
        parts = {
            Part(Component.PRODUCT, "15"): Decimal(product),
            Part(Component.SHIPPING): Decimal(shipping),
        }
        refund_parts_save(refund=refund, parts=parts, lines=[line])
        kept = Refund.objects.get(pk=refund.pk).parts({line.pk: "15"})
        assert kept == {part: amount for part, amount in parts.items() if amount}
