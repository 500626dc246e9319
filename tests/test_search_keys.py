"""Search keys: what is typed finds what was written, whatever the case and the accents."""

# ruff: noqa: RUF001 -- letters and digits of other scripts are what is tested here

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refunds.search_keys import prefix_range, search_key, surname_key

text_without_surrogates = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  Müller,  ANNA ", "muller, anna"),
        ("Mu\u0308ller", "muller"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("İstanbul", "istanbul"),
        ("ΟΔΟΣ", "οδοσ"),
        ("ﬁne", "fine"),
        ("株式会社", "株式会社"),
        ("Ａｂｃ１", "abc1"),
        ("a\tb\nc\u00a0d", "a b c d"),
        ("a\x00b", "ab"),
        ("00100201", "00100201"),
        ("Anna@Example.COM", "anna@example.com"),
        ("100%_[x]", "100%_[x]"),
        ("", ""),
        (" \x00 ", ""),
        ("\u0301", ""),
    ],
)
def test_search_key(text: str, key: str) -> None:
    assert search_key(text) == key


def test_search_key_of_every_character_is_a_key_already() -> None:
    for code in range(sys.maxunicode + 1):
        key = search_key(chr(code))
        assert search_key(key) == key, f"U+{code:04X}"


@given(text_without_surrogates, st.data())
def test_search_key_of_a_prefix_is_a_prefix_of_the_key(text: str, data: st.DataObject) -> None:
    prefix = text[: data.draw(st.integers(0, len(text)))]
    assert search_key(text).startswith(search_key(prefix))


@given(text_without_surrogates)
def test_search_key_does_not_mind_case(text: str) -> None:
    assert search_key(text.lower()) == search_key(text)


@given(text_without_surrogates, text_without_surrogates)
def test_prefix_range_holds_exactly_the_texts_that_start_so(prefix: str, other: str) -> None:
    first, last = prefix_range(prefix)
    assert first <= prefix + other.rstrip("\U0010ffff") < last
    assert (first <= other < last) == other.startswith(prefix)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Jörg Müller", "muller jorg"),
        ("Ana María García López", "lopez ana maria garcia"),
        ("Cher", ""),
        ("", ""),
    ],
)
def test_surname_key(name: str, key: str) -> None:
    assert surname_key(name) == key


def test_search_key_that_grows_is_cut_to_what_the_column_holds() -> None:
    assert len(search_key("\ufdfa" * 255)) == 255
