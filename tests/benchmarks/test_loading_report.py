"""The table of first loads: what it says of speed and memory, and what it counts as missed."""

from dataclasses import replace

from benchmarks.loading_report import Load, table

FLOOR = Load("floor", 10_000, 30_000, 1.0, 1.0, 50.0, 90.0)
DESK = replace(FLOOR, what="desk", orders_seconds=1.5, lines_seconds=1.5)


def _verdicts(*pairs: tuple[Load, Load]) -> list[str]:
    lines = table("SQLite", pairs)
    return [line.split("x  ")[-1] for line in lines if line.strip().startswith(("10,", "1,000,"))]


def test_load_survives_being_written_and_read() -> None:
    assert Load.read(DESK.written) == DESK


def test_load_within_its_targets_is_ok() -> None:
    assert _verdicts((FLOOR, DESK)) == ["ok"]


def test_load_at_less_than_half_the_floors_speed_is_missed() -> None:
    assert _verdicts((FLOOR, replace(DESK, lines_seconds=2.6))) == ["MISSED: speed"]


def test_load_of_too_much_memory_is_missed() -> None:
    assert _verdicts((FLOOR, replace(DESK, memory_most=401.0))) == ["MISSED: memory"]


def test_growth_is_the_time_for_one_order_beside_the_smallest_load() -> None:
    large = replace(DESK, orders=1_000_000, orders_seconds=300.0, lines_seconds=300.0)
    floor = replace(FLOOR, orders=1_000_000, orders_seconds=200.0, lines_seconds=200.0)
    lines = table("SQLite", [(FLOOR, DESK), (floor, large)])
    assert [line for line in lines if "2.00x" in line and "1,000,000" in line]
