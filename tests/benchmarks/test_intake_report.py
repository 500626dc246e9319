"""The verdicts on the webhook: against the floor with as many clients, and by the slowest."""

from collections.abc import Sequence

from benchmarks.intake_report import FLOOR, Intake, table


def intake(
    name: str, milliseconds: float, *, clients: int = 1, slow: Sequence[float] = ()
) -> Intake:
    seconds = [milliseconds / 1000] * 95 + [each / 1000 for each in slow]
    return Intake(name, clients, seconds=seconds, rates=[100.0], processor_seconds=0.5)


def verdict(*others: Intake) -> str:
    lines, _ = table("SQLite", [intake(FLOOR, 10), *others])
    return lines[-3].split("x  ", 1)[1]


def test_verdict_within_both_targets() -> None:
    assert verdict(intake("webhook", 20)) == "ok"


def test_verdict_more_than_two_floors() -> None:
    assert verdict(intake("webhook", 20.1)) == "MISSED: floors"


def test_verdict_slow_answers_that_are_not_rare() -> None:
    assert verdict(intake("webhook", 15, slow=[3100] * 5)) == "MISSED: 99%"


def test_verdict_by_the_floor_with_as_many_clients() -> None:
    assert verdict(intake(FLOOR, 40, clients=8), intake("webhook", 60, clients=8)) == "ok"


def test_table_counts_what_was_missed() -> None:
    slow = intake("webhook", 30, slow=[3100] * 5)
    lines, missed = table("SQLite", [intake(FLOOR, 10), slow])
    assert missed == 2
    assert lines[-1].endswith("2 missed.")


def test_table_work_is_of_a_single_request() -> None:
    lines, _ = table("SQLite", [intake(FLOOR, 10), intake("webhook", 15, slow=[15] * 5)])
    assert lines[-3].split()[5] == "5.00"
