"""What first loads came to: how fast beside their floor, and in how much memory."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

#: The desk's speed must be so much of the floor's.
SPEED_TARGET = 0.5
#: MiB that the process may take, whatever the size.
MEMORY_TARGET = 400.0


@dataclass(frozen=True, slots=True)
class Load:
    """A load of all pages, by the desk or by the floor. Times in seconds, memory in MiB."""

    what: str
    orders: int
    lines: int
    orders_seconds: float
    lines_seconds: float
    memory_before: float
    memory_most: float

    @classmethod
    def read(cls, written: str) -> "Load":
        """Return the load that another process has written."""
        return cls(**json.loads(written))

    @property
    def written(self) -> str:
        """The load as one line, for another process."""
        return json.dumps(asdict(self))

    @property
    def seconds(self) -> float:
        """What orders and lines took together."""
        return self.orders_seconds + self.lines_seconds

    @property
    def speed(self) -> float:
        """Orders a second, with their lines."""
        return self.orders / self.seconds

    @property
    def sentence(self) -> str:
        """The load in one line, for who waits."""
        return (
            f"the {self.what} loaded {self.orders:,} orders in {self.orders_seconds:.1f} s and "
            f"{self.lines:,} lines in {self.lines_seconds:.1f} s, {self.memory_most:.0f} MiB at "
            "most."
        )


def table(database: str, taken: Sequence[tuple[Load, Load]]) -> list[str]:
    """Return the lines of one database's table, from pairs of floor and desk by size."""
    widths = "{:>12}{:>12}{:>14}{:>14}{:>10}{:>12}{:>10}  {}"
    heads = (
        "orders",
        "lines",
        "floor, a sec.",
        "desk, a sec.",
        "of floor",
        "MiB most",
        "growth",
        "verdict",
    )
    return [
        "",
        f"{database}. First load from Salesforce: orders a second with their lines; wall time.",
        "",
        widths.format(*heads),
        *(widths.format(*cells).rstrip() for cells in _rows(taken)),
        "",
        f"Target: at least {SPEED_TARGET} of the floor, at most {MEMORY_TARGET:.0f} MiB.",
        "Growth: the time for one order beside that of the smallest load.",
    ]


def _rows(taken: Sequence[tuple[Load, Load]]) -> Iterator[tuple[str, ...]]:
    smallest = min((desk for _, desk in taken), key=lambda desk: desk.orders)
    for floor, desk in taken:
        share = desk.speed / floor.speed
        faults = []
        if share < SPEED_TARGET:
            faults.append("speed")
        if desk.memory_most > MEMORY_TARGET:
            faults.append("memory")
        yield (
            f"{desk.orders:,}",
            f"{desk.lines:,}",
            f"{floor.speed:,.0f}",
            f"{desk.speed:,.0f}",
            f"{share:.2f}",
            f"{desk.memory_most:.0f}",
            f"{smallest.speed / desk.speed:.2f}x",
            f"MISSED: {', '.join(faults)}" if faults else "ok",
        )
