"""Signatures, against figures made by OpenSSL."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.signing import sign, timestamp_of

BODY = b'{"id":"1"}'
OLD = "rHrrTPJ6RqN8uC/Loz7oJQTxRWt3RlBaWSzYa6A9Gjc="
NEW = "uHQEWkPOKPD/2/47mCTRzOgeuEhNyvkjkcnKCUaJAYQ="
NEW_IN_MILLISECONDS = "GuZ+TMkm+bL7Jv7iKFsm3rLcnBF/YtKPZT9MOfU5BS4="


def test_sign_with_one_secret() -> None:
    assert sign("old", 1650000000, BODY) == f"1650000000, {OLD}"


def test_sign_with_several_secrets_has_one_signature_for_each() -> None:
    assert sign(["old", "new"], 1650000000, BODY) == f"1650000000, {OLD}, {NEW}"


def test_sign_in_milliseconds_signs_the_number_that_is_sent() -> None:
    assert sign("new", 1650000000123, BODY) == f"1650000000123, {NEW_IN_MILLISECONDS}"


@pytest.mark.parametrize("secret", ["", [], ["old", ""]])
def test_sign_without_a_secret_is_refused(secret: str | list[str]) -> None:
    with pytest.raises(ValueError, match="at least one secret"):
        sign(secret, 1650000000, BODY)


def test_timestamp_of_a_moment_in_both_units() -> None:
    moment = datetime(2022, 4, 15, 5, 20, 0, 123_999, tzinfo=UTC)

    assert timestamp_of(moment) == 1650000000
    assert timestamp_of(moment, milliseconds=True) == 1650000000123
