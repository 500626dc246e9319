"""What is read from the environment, and the sentence for each thing that cannot be."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from refundsite.environment import Environment


def test_text_trimmed() -> None:
    assert Environment({"NAME": " value "}).text("NAME") == "value"


def test_text_missing_names_the_variable_and_what_to_set() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NAME is not set: set it to a colour\.$"):
        Environment({}).text("NAME", hint="a colour")


def test_text_blank_counts_as_missing() -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is not set"):
        Environment({"NAME": "  "}).text("NAME")


@pytest.mark.parametrize("word", ["1", "true", "Yes", "ON"])
def test_flag_yes(word: str) -> None:
    assert Environment({"NAME": word}).flag("NAME", default=False) is True


@pytest.mark.parametrize("word", ["0", "false", "No", "OFF"])
def test_flag_no(word: str) -> None:
    assert Environment({"NAME": word}).flag("NAME", default=True) is False


@pytest.mark.parametrize("default", [True, False])
def test_flag_missing_is_the_default(default: bool) -> None:
    assert Environment({}).flag("NAME", default=default) is default


def test_flag_other_word_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^NAME is malformed: set it to 1 or 0\.$"):
        Environment({"NAME": "maybe"}).flag("NAME", default=False)


def test_whole_number_read() -> None:
    assert Environment({"NAME": "12"}).whole_number("NAME", 3) == 12


@pytest.mark.parametrize("text", ["1.5", "ten", "-1", "0", "1e3"])
def test_whole_number_malformed_or_too_small_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"NAME is malformed: .* at least 1"):
        Environment({"NAME": text}).whole_number("NAME", 3, minimum=1)


def test_words_read_from_a_list() -> None:
    assert Environment({"NAME": "a, b,,c "}).words("NAME") == ["a", "b", "c"]


def test_words_missing_is_the_default() -> None:
    assert Environment({}).words("NAME", default=["x", "y"]) == ["x", "y"]


def test_choice_other_word_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is malformed: set it to json or console"):
        Environment({"NAME": "xml"}).choice("NAME", ["json", "console"], default="json")


def test_address_loses_its_trailing_slash() -> None:
    environment = Environment({"NAME": "https://api.example/v1/"})
    assert environment.address("NAME") == "https://api.example/v1"


@pytest.mark.parametrize(
    "text", ["api.example", "ftp://api.example", "https://", "http://host:port", "http://[::1"]
)
def test_address_malformed_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is malformed: set it to an address"):
        Environment({"NAME": text}).address("NAME")


def test_time_zone_known() -> None:
    assert Environment({"NAME": "Europe/Berlin"}).time_zone("NAME", "UTC") == "Europe/Berlin"


@pytest.mark.parametrize("text", ["Mars/Olympus", "../etc/passwd", "Europe"])
def test_time_zone_unknown_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is malformed: set it to a time zone"):
        Environment({"NAME": text}).time_zone("NAME", "UTC")


@pytest.mark.parametrize("text", ["en-us", "de", "de-at", "EN-GB", "zh-hans"])
def test_language_known(text: str) -> None:
    assert Environment({"NAME": text}).language("NAME", "en-us") == text.lower()


def test_language_unknown_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is malformed: set it to a language"):
        Environment({"NAME": "klingon"}).language("NAME", "en-us")


def test_day_read() -> None:
    assert Environment({"NAME": "2021-12-13"}).day("NAME", "2020-01-01") == "2021-12-13"


@pytest.mark.parametrize("text", ["latest", "2021-13-12", "13.12.2021"])
def test_day_malformed_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is malformed: set it to a day"):
        Environment({"NAME": text}).day("NAME", "2020-01-01")


def test_database_postgresql() -> None:
    settings = Environment({"NAME": "postgres://rep:pw@db.example:5433/desk"}).database("NAME", "")
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    assert (settings["HOST"], settings["PORT"], settings["NAME"]) == ("db.example", 5433, "desk")


@pytest.mark.parametrize(
    "text", ["mysql://host/name", "desk.sqlite3", "postgres://host:port/name", "postgres://host/"]
)
def test_database_malformed_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="NAME is malformed: set it to an address"):
        Environment({"NAME": text}).database("NAME", "")


def test_refusal_never_repeats_the_value() -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        Environment({"NAME": "mysql://rep:hunter2@host/name"}).database("NAME", "")
    assert "hunter2" not in str(refusal.value)
