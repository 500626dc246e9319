"""The stand-in's arithmetic, on orders nobody thought of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.allocation import (
    Balance,
    ItemAsk,
    ItemShare,
    Kind,
    LineFacts,
    RefundAsk,
    allocate,
    exponent,
    item_minors,
    percent_of,
    spread,
    take_back,
    to_major,
    to_minor,
)
from sandbox.errors import RefusedError
from sandbox.orders import Line, make_order

CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])
MINOR = st.integers(0, 10**7)


def key(name: str) -> tuple[str, Kind]:
    return (name, Kind.PRODUCT)


def test_spread_leftover_goes_to_the_largest_remainder_then_the_earlier() -> None:
    assert spread(10, {key("a"): 1, key("b"): 1, key("c"): 1, key("d"): 9}) == {
        key("a"): 1,
        key("b"): 1,
        key("c"): 1,
        key("d"): 7,
    }
    assert spread(2, {key("a"): 1, key("b"): 1, key("c"): 1}) == {key("a"): 1, key("b"): 1}


def test_spread_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be spread"):
        spread(3, {key("a"): 2})


@given(
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from(Kind)), MINOR),
    st.integers(0, 10**8),
)
def test_take_back_takes_the_amount_or_all_that_is_left(
    left: dict[tuple[str, Kind], int], minor: int
) -> None:
    taken = take_back(minor, left)

    assert sum(taken.values()) == min(minor, sum(left.values()))
    assert all(0 < each <= left[part] for part, each in taken.items())
    if any(kind in (Kind.FEE, Kind.FEE_TAX) for _, kind in taken):
        rest = {part: each - taken.get(part, 0) for part, each in left.items()}
        assert not any(
            each for (_, kind), each in rest.items() if kind not in (Kind.FEE, Kind.FEE_TAX)
        )


def test_item_minors_of_entries_that_share_their_parts() -> None:
    def share(item_id: str, kind: str | None, minor: int) -> ItemShare:
        return ItemShare(item_id, "sku", 1, kind, None, minor)

    items = [
        share("a", None, 30), share("b", "shipping", 1), share("a", "shipping", 3),
        share("a", "fees", 2), share("b", "duty", 5), share("a", None, 10),
    ]  # fmt: skip
    parts = {
        ("a", Kind.PRODUCT): 3,
        ("a", Kind.TAX): 1,
        ("", Kind.SHIPPING): 1,
        ("", Kind.SHIPPING_TAX): 1,
        ("", Kind.DUTY): 4,
        ("a", Kind.FEE): 1,
    }

    # The two entries of the line share 4 as 30 to 10; those of the shipping share 2 as 1 to 3,
    # the earlier one first where the remainders are equal.
    assert item_minors(items, parts) == [3, 1, 1, 1, 4, 1]


@given(st.lists(MINOR, min_size=1, max_size=30), st.data())
def test_spread_sums_to_the_amount_and_takes_no_more_than_is_left(
    weights: list[int], data: st.DataObject
) -> None:
    parts = {key(str(at)): weight for at, weight in enumerate(weights)}
    amount = data.draw(st.integers(0, sum(weights)))

    taken = spread(amount, parts)

    assert sum(taken.values()) == amount
    assert all(0 < minor <= parts[part] for part, minor in taken.items())
    total = sum(weights)
    assert all(
        abs(taken.get(part, 0) * total - amount * weight) < total
        for part, weight in parts.items()
        if total
    )


def test_percent_is_rounded_half_up() -> None:
    assert percent_of(2701, Decimal(50)) == 1351
    assert percent_of(1, Decimal("49.99")) == 0


@st.composite
def balances(draw: st.DrawFn) -> Balance:
    currency = draw(CURRENCIES)

    def money() -> Decimal:
        return to_major(draw(MINOR), currency)

    lines = []
    for _ in range(draw(st.integers(1, 4))):
        quantity = draw(st.integers(1, 5))
        lines.append(
            Line(
                amount=money(),
                quantity=quantity,
                tax=money(),
                duty=money(),
                importer_tax=money(),
                fee=money(),
                fee_tax=money(),
                fulfilled=draw(st.integers(0, quantity)),
            )
        )
    order = make_order(1, lines=lines, currency=currency, shipping=money(), shipping_tax=money())
    facts = {
        item["id"]: LineFacts(item["id"], item["skuId"], item["quantity"])
        for item in order.document["items"]
    }
    return Balance(currency, order.charged, dict(order.charged), facts)


def ask(balance: Balance, **fields: Any) -> RefundAsk:
    return RefundAsk(order_id="1", currency=balance.currency, **fields)


@settings(deadline=None, max_examples=60)
@given(balances(), st.data())
def test_partial_refunds_then_all_that_is_left_come_to_exactly_nothing(
    balance: Balance, data: st.DataObject
) -> None:
    charged = balance.available
    given_back = 0
    for _ in range(data.draw(st.integers(0, 5))):
        kind = data.draw(st.sampled_from(["order", "shipping", "duty", "tax", "item", "fees"]))
        percent = data.draw(st.decimals(Decimal("0.01"), Decimal(100), places=2))
        item_id = data.draw(st.sampled_from(sorted(balance.lines)))
        match kind:
            case "order":
                wanted = ask(balance, percent=percent)
            case "item":
                wanted = ask(balance, items=(ItemAsk(item_id, percent=percent),))
            case "fees":
                fees = ItemAsk(item_id, percent=percent, type="fees")
                wanted = ask(balance, items=(fees,))
            case "tax":
                wanted = ask(balance, type="tax", percent=Decimal(100))
            case _:
                wanted = ask(balance, type=kind, percent=percent)
        try:
            allocation = allocate(wanted, balance)
        except RefusedError:
            continue
        assert sum(allocation.parts.values()) == allocation.minor > 0
        if allocation.items:
            assert sum(share.minor for share in allocation.items) == allocation.minor
        balance = balance.after(allocation.parts)
        assert min(balance.left.values()) >= 0
        given_back += allocation.minor
    if balance.available:
        rest = allocate(ask(balance, percent=Decimal(100)), balance)
        given_back += rest.minor
        balance = balance.after(rest.parts)

    assert set(balance.left.values()) <= {0}
    assert given_back == charged


@settings(deadline=None, max_examples=60)
@given(balances(), st.data())
def test_partial_whole_order_refund_leaves_the_fees_alone(
    balance: Balance, data: st.DataObject
) -> None:
    everything = balance.available
    fees = sum(balance.of_kinds((Kind.FEE, Kind.FEE_TAX)).values())
    if everything < 2:
        return
    minor = data.draw(st.integers(1, everything))
    wanted = ask(balance, amount=to_major(minor, balance.currency))

    if everything - fees < minor < everything:
        with pytest.raises(RefusedError) as refusal:
            allocate(wanted, balance)
        assert str(to_major(everything, balance.currency)) in refusal.value.message
        assert str(to_major(everything - fees, balance.currency)) in refusal.value.message
        return
    parts = allocate(wanted, balance).parts
    taken = sum(minor for (_, kind), minor in parts.items() if kind in (Kind.FEE, Kind.FEE_TAX))
    assert taken == (fees if minor == everything else 0)


@pytest.mark.parametrize(("currency", "places"), [("USD", 2), ("JPY", 0), ("KWD", 3)])
def test_exponent_is_iso_4217(currency: str, places: int) -> None:
    assert exponent(currency) == places


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("27.01", "USD", 2701), ("5E+2", "JPY", 500), ("1.500", "USD", 150), ("0.00", "KWD", 0)],
)
def test_minor_units_and_back(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency) == minor
    assert to_major(minor, currency) == Decimal(amount)
