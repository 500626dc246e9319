"""Minor units, rounding, splitting, and reading what people type."""

# ruff: noqa: RUF001 -- letters and digits of other scripts are what is tested here

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refunds.errors import AmountInvalid, CurrencyUnknown
from refunds.money import (
    LARGEST,
    add,
    format_amount,
    format_money,
    is_exact,
    minor_units,
    parse_amount,
    quantize,
    share,
    smallest,
    split,
)


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


# -- currencies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "digits", "least"),
    [
        ("USD", 2, "0.01"),
        ("EUR", 2, "0.01"),
        ("JPY", 0, "1"),
        ("KWD", 3, "0.001"),
        # The display rules of locales say 0 for these two; ISO 4217 says otherwise.
        ("HUF", 2, "0.01"),
        ("IQD", 3, "0.001"),
        ("CLF", 4, "0.0001"),
    ],
)
def test_minor_units_come_from_iso_4217(currency: str, digits: int, least: str) -> None:
    assert minor_units(currency) == digits
    assert smallest(currency) == Decimal(least)


@pytest.mark.parametrize("code", ["", "usd", "ZZZ", "840", "XAU", "XXX", "US\x00", "\ud800" * 99])
def test_minor_units_refuse_an_unknown_currency(code: str) -> None:
    with pytest.raises(CurrencyUnknown) as caught:
        minor_units(code)
    assert len(str(caught.value)) < 80


# -- rounding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("13.505", "USD", "13.51"),
        ("13.504999", "USD", "13.50"),
        ("53.769999999999996", "USD", "53.77"),
        ("0.5", "JPY", "1"),
        ("2.5", "JPY", "3"),
        ("1.0005", "KWD", "1.001"),
    ],
)
def test_quantize_rounds_half_up(amount: str, currency: str, rounded: str) -> None:
    assert quantize(Decimal(amount), currency) == Decimal(rounded)


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_quantize_refuses_what_is_no_amount(amount: str) -> None:
    with pytest.raises(AmountInvalid):
        quantize(Decimal(amount), "USD")


def test_quantize_refuses_what_rounds_beyond_the_largest() -> None:
    with pytest.raises(AmountInvalid):
        quantize(LARGEST, "USD")


@pytest.mark.parametrize(
    ("amount", "currency", "exact"),
    [
        ("1.00", "USD", True),
        ("1.000", "USD", True),
        ("1.001", "USD", False),
        ("1.001", "KWD", True),
        ("1.5", "JPY", False),
        ("1E+2", "JPY", True),
    ],
)
def test_is_exact_tells_whole_minor_units(amount: str, currency: str, exact: bool) -> None:
    assert is_exact(Decimal(amount), currency) is exact


def test_share_of_the_worked_sample_rounds_half_up() -> None:
    half = share(Decimal("27.01"), 1, 2, "USD")
    assert half == Decimal("13.51")
    assert Decimal("27.01") - half == Decimal("13.50")


def test_share_of_all_units_is_the_amount() -> None:
    assert share(Decimal("10.00"), 3, 3, "USD") == Decimal("10.00")
    assert share(Decimal("10.00"), 4, 3, "USD") == Decimal("10.00")


def test_share_of_no_units_is_nothing() -> None:
    assert share(Decimal("10.00"), 0, 3, "USD") == 0


# -- splitting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "weights", "currency", "parts"),
    [
        # Equal remainders: the earlier parts get the units left over.
        ("0.01", ["1", "1", "1"], "USD", ["0.01", "0", "0"]),
        ("0.02", ["1", "1", "1"], "USD", ["0.01", "0.01", "0"]),
        # The largest remainder wins, wherever it stands.
        ("1.00", ["1.00", "2.00", "3.00"], "USD", ["0.17", "0.33", "0.50"]),
        ("100", ["1", "1", "1"], "JPY", ["34", "33", "33"]),
        ("0.100", ["1", "1", "1"], "KWD", ["0.034", "0.033", "0.033"]),
        # Nothing goes to what has nothing.
        ("5.00", ["0", "5.00", "0"], "USD", ["0", "5.00", "0"]),
        ("0", ["1.00", "2.00"], "USD", ["0", "0"]),
        ("0", [], "USD", []),
    ],
)
def test_split_by_largest_remainder(
    total: str, weights: list[str], currency: str, parts: list[str]
) -> None:
    assert split(Decimal(total), decimals(*weights), currency) == decimals(*parts)


def test_split_of_a_third_does_not_drift() -> None:
    # A division of Decimals would round the remainders, and with them who gets the last unit.
    parts = split(Decimal("0.02"), decimals("3", "3", "3"), "USD")
    assert parts == decimals("0.01", "0.01", "0")


@pytest.mark.parametrize(
    ("total", "weights"),
    [("-1", ["1"]), ("1", ["-1", "3"]), ("1", []), ("1", ["0", "0"]), ("0.001", ["1"])],
)
def test_split_refuses_what_cannot_be_split(total: str, weights: list[str]) -> None:
    with pytest.raises(ValueError, match=r"split|minor units"):
        split(Decimal(total), decimals(*weights), "USD")


def test_add_of_nothing_is_zero() -> None:
    assert add([]) == 0


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234.5", "USD", "USD 1,234.50"),
        ("27.0100", "USD", "USD 27.01"),
        ("1234567", "JPY", "JPY 1,234,567"),
        ("1.2", "KWD", "KWD 1.200"),
        ("0", "USD", "USD 0.00"),
        ("-5", "USD", "USD -5.00"),
        # A fraction that should not be there is never hidden.
        ("1.005", "USD", "USD 1.005"),
        ("99999999999.99", "USD", "USD 99,999,999,999.99"),
    ],
)
def test_format_money(amount: str, currency: str, text: str) -> None:
    assert format_money(Decimal(amount), currency) == text
    assert format_amount(Decimal(amount), currency) == text.removeprefix(f"{currency} ")


# -- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "currency", "mark", "amount"),
    [
        ("27.01", "USD", ".", "27.01"),
        ("27,01", "USD", ".", "27.01"),
        ("27,01", "EUR", ",", "27.01"),
        ("27", "USD", ".", "27"),
        ("27.1", "USD", ".", "27.1"),
        (".5", "USD", ".", "0.5"),
        (",5", "EUR", ",", "0.5"),
        ("0", "USD", ".", "0"),
        ("0.00", "USD", ".", "0"),
        ("007", "USD", ".", "7"),
        ("1,234.50", "USD", ".", "1234.50"),
        ("1.234,50", "EUR", ",", "1234.50"),
        ("1.234,50", "USD", ".", "1234.50"),
        ("1,234,567", "USD", ".", "1234567"),
        ("1.234.567,8", "EUR", ",", "1234567.8"),
        # The Indian grouping.
        ("12,34,567.50", "USD", ".", "1234567.50"),
        ("1,23,456", "USD", ".", "123456"),
        # Spaces of every width, and apostrophes, only between groups.
        ("1 234,50", "EUR", ",", "1234.50"),
        ("1\u00a0234,50", "EUR", ",", "1234.50"),
        ("1\u202f234\u202f567,50", "EUR", ",", "1234567.50"),
        ("1\u2009234.5", "USD", ".", "1234.5"),
        ("1'234.50", "USD", ".", "1234.50"),
        ("1\u2019234\u2019567.50", "USD", ".", "1234567.50"),
        ("  27.01  ", "USD", ".", "27.01"),
        ("27.01\n", "USD", ".", "27.01"),
        # The currency before or behind.
        ("USD 27.01", "USD", ".", "27.01"),
        ("usd27.01", "USD", ".", "27.01"),
        ("27,01 EUR", "EUR", ",", "27.01"),
        # Yen have no decimals, so a mark can only group.
        ("1,234", "JPY", ".", "1234"),
        ("1.234", "JPY", ",", "1234"),
        ("12,34,567", "JPY", ".", "1234567"),
        # Dinars have three: the locale's own decimal mark decides.
        ("1.234", "KWD", ".", "1.234"),
        ("1,234", "KWD", ",", "1.234"),
        ("0,234", "KWD", ".", "0.234"),
        ("1 234,567", "KWD", ",", "1234.567"),
        ("1,234.567", "KWD", ".", "1234.567"),
        # Digits of other scripts.
        ("٢٧.٠١", "USD", ".", "27.01"),
        ("２７.０１", "USD", ".", "27.01"),
        ("१२३४.५", "USD", ".", "1234.5"),
        ("99999999999.99", "USD", ".", "99999999999.99"),
    ],
)
def test_parse_amount_reads(text: str, currency: str, mark: str, amount: str) -> None:
    read = parse_amount(text, currency, decimal_mark=mark)
    assert read == Decimal(amount)
    assert int(read.as_tuple().exponent) == -minor_units(currency)


@pytest.mark.parametrize("mark", [".", ","])
@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("1,234", "USD"),
        ("1.234", "USD"),
        ("12,345", "EUR"),
        ("123.456", "GBP"),
        ("27.015", "USD"),
        ("USD 1,234", "USD"),
    ],
)
def test_parse_amount_refuses_two_readings(text: str, currency: str, mark: str) -> None:
    with pytest.raises(AmountInvalid, match="can be read in two ways"):
        parse_amount(text, currency, decimal_mark=mark)


@pytest.mark.parametrize(("text", "mark"), [("1,234", "."), ("1.234", ",")])
def test_parse_amount_refuses_two_readings_in_dinars(text: str, mark: str) -> None:
    with pytest.raises(AmountInvalid, match="can be read in two ways") as caught:
        parse_amount(text, "KWD", decimal_mark=mark)
    # Both ways out are named, and each is then read as it was meant.
    with_decimals = f"1{mark}234"
    assert f"Write 1234 for 1,234 whole units, or {with_decimals} for" in str(caught.value)
    assert parse_amount("1234", "KWD", decimal_mark=mark) == Decimal(1234)
    assert parse_amount(with_decimals, "KWD", decimal_mark=mark) == Decimal("1.234")


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u00a0"])
def test_parse_amount_refuses_nothing(text: str) -> None:
    with pytest.raises(AmountInvalid, match="Enter an amount"):
        parse_amount(text, "USD")


@pytest.mark.parametrize(
    "text", ["-1", "−1", "(27.01)", "USD -1", "-USD 1", "-0.01", "\u22125", "- 5", "--5"]
)
def test_parse_amount_refuses_a_negative(text: str) -> None:
    with pytest.raises(AmountInvalid, match="cannot be negative"):
        parse_amount(text, "USD")


@pytest.mark.parametrize(
    ("text", "currency", "words"),
    [
        ("12,345.678", "USD", "at most 2 decimals"),
        ("0.001", "USD", "at most 2 decimals"),
        ("1234,567", "USD", "at most 2 decimals"),
        ("1.5", "JPY", "no decimals"),
        ("1,23", "JPY", "no decimals"),
        ("0.0001", "KWD", "at most 3 decimals"),
    ],
)
def test_parse_amount_refuses_too_many_decimals(text: str, currency: str, words: str) -> None:
    with pytest.raises(AmountInvalid, match=words):
        parse_amount(text, currency)


@pytest.mark.parametrize(
    "text", ["9" * 15, "9" * 16, "100000000000", "99999999999999.99", "0" * 20 + "1"]
)
def test_parse_amount_refuses_more_than_the_desk_handles(text: str) -> None:
    with pytest.raises(AmountInvalid, match="larger than the desk can handle"):
        parse_amount(text, "USD")


@pytest.mark.parametrize("text", ["1" * 41, "1" * 1_000_000, "💸" * 100_000, " " * 9 + "x" * 60])
def test_parse_amount_refuses_what_is_too_long(text: str) -> None:
    with pytest.raises(AmountInvalid, match="too long") as caught:
        parse_amount(text, "USD")
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    "text",
    [
        "abc", "1e5", "1E400", "NaN", "nan", "Infinity", "inf", "0x10", "1_000", "+5", "5-", "$5",
        "5%", "1+1", "½", "²", "Ⅷ", ".", ",", "..", "5.", "5,", "1..5", "1,,5", "1.2.3", "1,23,45",
        "1,234,56", "12,3456.7", "1,2345.6", "1.234.56,7", "1,234.5.6", "0,123,456", "0,123.4",
        "1 2", "12 34", "1 234 5", "1234 567", "1  234", "1' 234", "0 123", "0'123.50",
        "٫5", "1٬234", "EUR 5", "USD", "USDUSD5", "5 5 5",
    ],
)  # fmt: skip
def test_parse_amount_refuses_rubbish(text: str) -> None:
    with pytest.raises(AmountInvalid, match="not an amount"):
        parse_amount(text, "USD")


@pytest.mark.parametrize(
    "text",
    ["1\n234", "12\t345", "1\r\n234", "1\x00", "1\x1f234", "1\x0b234", "\x002", "1\u2028234",
     "27\u200b.01", "\u202e27.01", "\ud800"],
)  # fmt: skip
def test_parse_amount_refuses_control_characters(text: str) -> None:
    # Two cells of a sheet, or two lines, pasted together are two amounts, not one.
    with pytest.raises(AmountInvalid, match="not an amount"):
        parse_amount(text, "USD")


def test_parse_amount_refuses_an_unknown_currency() -> None:
    with pytest.raises(CurrencyUnknown):
        parse_amount("1", "ZZZ")


@given(st.text(max_size=60), st.sampled_from(["USD", "JPY", "KWD"]), st.sampled_from([".", ","]))
def test_parse_amount_reads_or_refuses_any_text(text: str, currency: str, mark: str) -> None:
    try:
        amount = parse_amount(text, currency, decimal_mark=mark)
    except AmountInvalid:
        return
    assert 0 <= amount <= LARGEST
    assert is_exact(amount, currency)
