"""The verdicts of the benchmark: what counts as missed, and what does not compare."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.measuring import Sample
from benchmarks.pages import Screen
from benchmarks.places import Place
from benchmarks.report import table
from sandbox.store import Sandbox


@pytest.fixture
def places(tmp_path: Path) -> list[Place]:
    sandbox = Sandbox(tmp_path / "sandbox.sqlite3", orders=[])
    transport = httpx.MockTransport(lambda _: httpx.Response(500))
    return [Place(300, sandbox, transport), Place(100_000, sandbox, transport)]


def sample(place: Place, name: str, milliseconds: float, **more: Any) -> Sample:
    target = None if name == "floor" else 3.0
    screen = Screen(name, "/", target, steady=name != "floor")
    seconds = [milliseconds / 1000]
    return Sample(name, place, lambda: (0.0, 0.0), screen, seconds=seconds, **more)


def verdict(places: list[Place], *orders: Sample) -> str:
    floors = [sample(place, "floor", 10) for place in places]
    lines, _ = table("SQLite", "time", [*floors, *orders])
    return lines[-1].split("1.3x", 1)[1].strip()


def test_verdict_within_all_targets(places: list[Place]) -> None:
    small, large = places
    assert verdict(places, sample(small, "orders", 20), sample(large, "orders", 25)) == "ok"


def test_verdict_too_many_floors_at_one_size(places: list[Place]) -> None:
    small, large = places
    taken = sample(small, "orders", 29), sample(large, "orders", 31)
    assert verdict(places, *taken) == "MISSED: floors"


def test_verdict_slower_where_there_is_more(places: list[Place]) -> None:
    small, large = places
    taken = sample(small, "orders", 15), sample(large, "orders", 20)
    assert verdict(places, *taken) == "MISSED: growth"


def test_verdict_pages_of_different_lengths_do_not_compare(places: list[Place]) -> None:
    small, large = places
    taken = sample(small, "orders", 15, rows=3), sample(large, "orders", 29, rows=25)
    assert verdict(places, *taken) == "ok"


def test_verdict_too_many_queries(places: list[Place]) -> None:
    small, large = places
    taken = sample(small, "orders", 15, queries=12), sample(large, "orders", 15, queries=13)
    assert verdict(places, *taken) == "MISSED: queries"


def test_table_counts_what_was_missed(places: list[Place]) -> None:
    floors = [sample(place, "floor", 10) for place in places]
    slow = [sample(place, "orders", 40, queries=20) for place in places]
    _, missed = table("SQLite", "time", [*floors, *slow])
    assert missed == 2
