"""What each error means for money shows in its place in the tree."""

import pytest

from refunds.digitalriver.errors import (
    DigitalRiverError,
    KeyRefused,
    NotConnected,
    NotFound,
    NotSendable,
    NotSent,
    RateLimited,
    Refused,
    Unanswered,
    UnreadableAnswer,
)

OUTCOMES = (NotSent, RateLimited, Refused, Unanswered)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NotConnected, NotSent),
        (NotSendable, NotSent),
        (RateLimited, RateLimited),
        (Refused, Refused),
        (KeyRefused, Refused),
        (NotFound, Refused),
        (Unanswered, Unanswered),
        (UnreadableAnswer, Unanswered),
    ],
)
def test_error_means_exactly_one_outcome(
    error: type[DigitalRiverError], outcome: type[DigitalRiverError]
) -> None:
    assert [kind for kind in OUTCOMES if issubclass(error, kind)] == [outcome]
    assert issubclass(error, DigitalRiverError)


def test_error_text_is_the_sentence_alone() -> None:
    error = Refused(
        "Digital River refused.",
        status=400,
        code="invalid_parameter",
        parameter="currency",
        vendor_message="Currency EUR is not supported.",
        request_id="abc-1",
    )
    assert str(error) == "Digital River refused."
    assert repr(error) == "Refused('Digital River refused.')"
    assert (error.status, error.code, error.parameter) == (400, "invalid_parameter", "currency")
    assert (error.vendor_message, error.request_id) == ("Currency EUR is not supported.", "abc-1")
    assert error.retry_after is None


def test_rate_limited_always_says_how_long() -> None:
    error = RateLimited("Busy.", retry_after=7)
    assert (error.status, error.retry_after) == (429, 7)
