"""The table: what each page took, as a ratio to the floor, beside what it should reach."""

from collections.abc import Iterator, Sequence

from benchmarks.measuring import Sample
from benchmarks.pages import GROWTH_TARGET


def table(database: str, clock: str, taken: Sequence[Sample]) -> tuple[list[str], int]:
    """Return the lines of one database's table, and how many targets were missed."""
    sizes = sorted({sample.place.orders for sample in taken})
    floors = {sample.place.orders: sample for sample in taken if sample.name == "floor"}
    widths = [44, 10, *[17 for _ in sizes], 7, 9]
    head = ["page", "queries", *[f"{size:,} orders" for size in sizes], "growth", "target"]
    lines = [
        "",
        f"{database}. Per size: median milliseconds ({clock}), and how many floors that is.",
        "",
        _line([*head, "verdict"], widths),
    ]
    missed = 0
    for name, without_calls in dict.fromkeys((s.name, s.without_calls) for s in taken):
        row = {
            sample.place.orders: sample
            for sample in taken
            if sample.name == name and sample.without_calls == without_calls
        }
        cells = [
            f"{name}, calls left out" if without_calls else name,
            "/".join(dict.fromkeys(str(row[size].queries) for size in sizes)),
            *(f"{row[size].milliseconds:8.2f} {_ratio(row[size], floors):6.2f}x" for size in sizes),
            f"{_growth(row, sizes):.2f}x" if _compare(row, sizes) else "-",
        ]
        screen = row[sizes[0]].screen
        if screen is None or name == "floor":
            lines.append(_line([*cells, "", ""], widths))
            continue
        faults = list(_faults(row, sizes, floors))
        missed += len(faults)
        target = f"{screen.target:.0f}x" if screen.target else "-"
        if screen.steady:
            target += f" {GROWTH_TARGET}x"
        verdict = f"MISSED: {', '.join(faults)}" if faults else "ok"
        lines.append(_line([*cells, target, verdict], widths))
    return lines, missed


def _ratio(sample: Sample, floors: dict[int, Sample]) -> float:
    return sample.milliseconds / floors[sample.place.orders].milliseconds


def _growth(row: dict[int, Sample], sizes: Sequence[int]) -> float:
    return row[sizes[-1]].milliseconds / row[sizes[0]].milliseconds


def _compare(row: dict[int, Sample], sizes: Sequence[int]) -> bool:
    """Tell whether there are pages of the same length at two sizes."""
    return len(sizes) > 1 and len({row[size].rows for size in sizes}) == 1


def _faults(
    row: dict[int, Sample], sizes: Sequence[int], floors: dict[int, Sample]
) -> Iterator[str]:
    """Give the targets that a page missed, in words."""
    screen = row[sizes[0]].screen
    assert screen is not None
    if max(sample.queries for sample in row.values()) > screen.queries:
        yield "queries"
    if screen.target and any(_ratio(row[size], floors) > screen.target for size in sizes):
        yield "floors"
    if screen.steady and _compare(row, sizes) and _growth(row, sizes) > GROWTH_TARGET:
        yield "growth"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *figures, last = cells
    padded = [f"{cell:>{width}}" for cell, width in zip(figures, widths[1:], strict=True)]
    return " ".join([f"{first:<{widths[0]}}", *padded, f" {last}"]).rstrip()
