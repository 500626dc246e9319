"""Splitting, sharing and rounding, for any amounts."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from refunds.ledger import Component, Part, rescale
from refunds.money import quantize, share, split
from tests.properties.orders import DECIMALS, half_up

currencies = st.sampled_from(sorted(DECIMALS))
minor_amounts = st.one_of(st.integers(0, 12), st.integers(0, 10**11))
weights = st.lists(minor_amounts, min_size=1, max_size=12).filter(any)


def major(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-DECIMALS[currency])


def minor(amount: Decimal, currency: str) -> int:
    scaled = amount.scaleb(DECIMALS[currency])
    assert scaled == int(scaled)
    return int(scaled)


@given(currencies, minor_amounts, weights)
def test_split_parts_sum_to_the_total(currency: str, total: int, by: list[int]) -> None:
    parts = split(major(total, currency), [major(each, currency) for each in by], currency)
    assert len(parts) == len(by)
    assert sum(minor(part, currency) for part in parts) == total


@given(currencies, weights, st.data())
def test_split_no_part_is_above_its_weight(
    currency: str, by: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(by)))
    parts = split(major(total, currency), [major(each, currency) for each in by], currency)
    for part, weight in zip(parts, by, strict=True):
        assert 0 <= minor(part, currency) <= weight


@given(currencies, weights)
def test_split_of_everything_gives_each_its_weight(currency: str, by: list[int]) -> None:
    each = [major(weight, currency) for weight in by]
    assert split(major(sum(by), currency), each, currency) == each


@given(currencies, minor_amounts, weights)
def test_split_each_part_is_its_exact_share_rounded_to_a_neighbour(
    currency: str, total: int, by: list[int]
) -> None:
    parts = split(major(total, currency), [major(each, currency) for each in by], currency)
    for part, weight in zip(parts, by, strict=True):
        assert abs(minor(part, currency) - Fraction(total * weight, sum(by))) < 1


@given(currencies, minor_amounts, weights)
def test_split_leftover_goes_to_the_largest_remainder_then_to_the_earlier(
    currency: str, total: int, by: list[int]
) -> None:
    parts = split(major(total, currency), [major(each, currency) for each in by], currency)
    whole = sum(by)
    ranked = sorted((-(total * weight % whole), index) for index, weight in enumerate(by))
    favoured = [minor(parts[at], currency) > total * by[at] // whole for _, at in ranked]
    # Those who got one more come first in the ranking, all of them.
    assert favoured == sorted(favoured, reverse=True)


@given(currencies, minor_amounts, weights, st.integers(1, 999))
def test_split_minds_only_the_proportion_of_the_weights(
    currency: str, total: int, by: list[int], factor: int
) -> None:
    amount = major(total, currency)
    one = split(amount, [Decimal(weight) for weight in by], currency)
    assert one == split(amount, [Decimal(weight * factor) for weight in by], currency)
    assert one == split(amount, [Decimal(weight).scaleb(-4) for weight in by], currency)


@given(currencies, minor_amounts, weights)
def test_split_minds_the_order_of_the_weights_only_where_remainders_tie(
    currency: str, total: int, by: list[int]
) -> None:
    remainders = [total * weight % sum(by) for weight in by]
    assume(len(set(remainders)) == len(remainders))
    amount = major(total, currency)
    forward = split(amount, [major(each, currency) for each in by], currency)
    backward = split(amount, [major(each, currency) for each in by[::-1]], currency)
    assert forward == backward[::-1]


@given(currencies, minor_amounts, st.integers(1, 10**6), st.data())
def test_share_is_the_exact_share_rounded_half_up(
    currency: str, amount: int, whole: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(0, whole))
    given_back = share(major(amount, currency), part, whole, currency)
    assert minor(given_back, currency) == half_up(Fraction(amount * part, whole))


@given(currencies, minor_amounts, st.integers(1, 60))
def test_share_never_shrinks_with_more_units(currency: str, amount: int, whole: int) -> None:
    shares = [share(major(amount, currency), part, whole, currency) for part in range(whole + 1)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == major(amount, currency)


@given(currencies, st.decimals(-(10**9), 10**9, places=7))
def test_quantize_is_within_half_a_unit_and_stays(currency: str, amount: Decimal) -> None:
    rounded = quantize(amount, currency)
    assert abs(rounded - amount) * 2 <= major(1, currency)
    assert quantize(rounded, currency) == rounded


@given(currencies, weights, st.data())
def test_rescale_sums_to_the_new_total_and_takes_no_part_above_itself(
    currency: str, by: list[int], data: st.DataObject
) -> None:
    parts = {
        Part(Component.PRODUCT, f"L{at}"): major(weight, currency) for at, weight in enumerate(by)
    }
    total = data.draw(st.integers(0, sum(by)))
    scaled = rescale(parts, major(total, currency), currency)
    assert sum(scaled.values()) == major(total, currency)
    assert all(0 < amount <= parts[part] for part, amount in scaled.items()) or total == sum(by)
