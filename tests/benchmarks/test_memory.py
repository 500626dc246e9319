"""The verdicts on rounds over many refunds: memory is compared with the smallest of its kind."""

from benchmarks.memory import GROWTH_TARGET, Round, table


def round_of(count: int, memory: float, name: str = "settling") -> Round:
    return Round(name, count, "refunds", 10.0, 4.0, 80.0, memory)


def verdict(*taken: Round) -> str:
    return table("SQLite", taken)[-3]


def test_verdict_memory_that_stays() -> None:
    line = verdict(round_of(10_000, 90.0), round_of(100_000, 90.0 + GROWTH_TARGET))
    assert line.endswith("+8.0  ok")


def test_verdict_memory_that_grows_with_the_data() -> None:
    line = verdict(round_of(10_000, 90.0), round_of(100_000, 98.1))
    assert line.endswith("+8.1  MISSED: memory")


def test_verdict_another_round_does_not_compare() -> None:
    line = verdict(round_of(10_000, 80.0), round_of(100_000, 120.0, "reconciling"))
    assert line.endswith(" -")


def test_table_tells_rate_and_floors() -> None:
    line = verdict(round_of(10_000, 90.0))
    assert "1,000" in line.split()
    assert "2.50x" in line.split()


def test_round_read_back_as_another_process_wrote_it() -> None:
    taken = round_of(10_000, 90.5)
    assert Round.read(taken.written) == taken
