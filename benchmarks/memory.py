"""What rounds over many refunds came to: how fast, and whether their memory grows with the data."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: The rounds, in the order in which each leaves what the next one needs.
ROUNDS = ("settling", "events", "reconciling", "verifying")
#: MiB that a round may take more where there is ten times as much to do: what the allocator and
#: the databases' caches make of it.
GROWTH_TARGET = 8.0


def memory(name: str) -> float:
    """Return one of Linux's figures of this process's memory, in MiB.

    https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
    """
    with Path("/proc/self/status").open() as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines[name].split()[0]) / 1024


@dataclass(frozen=True, slots=True)
class Round:
    """What a round came to. Times in seconds, memory in MiB."""

    name: str
    #: How many things there were to do, and what they are called.
    count: int
    unit: str
    seconds: float
    #: What the floor takes for as many things.
    floor_seconds: float
    #: The process's memory before the round, and the most it had.
    memory_before: float
    memory_most: float

    @classmethod
    def read(cls, written: str) -> "Round":
        """Return the round that another process has written."""
        return cls(**json.loads(written))

    @property
    def written(self) -> str:
        """The round as one line, for another process."""
        return json.dumps(asdict(self))

    @property
    def ratio(self) -> float:
        """How many floors it took."""
        return self.seconds / self.floor_seconds

    @property
    def sentence(self) -> str:
        """The round in one line, for who waits."""
        return (
            f"{self.name} {self.count:,} {self.unit} took {self.seconds:.0f} s"
            f" and {self.memory_most:.0f} MiB at most."
        )


def table(database: str, taken: Sequence[Round]) -> list[str]:
    """Return the lines of one database's table: each round at each size, its growth in memory."""
    widths = "{:<14}{:>18}{:>12}{:>10}{:>14}{:>12}{:>10}  {}"
    heads = ("things", "a second", "floors", "MiB before", "MiB most", "growth", "verdict")
    return [
        "",
        f"{database}. Rounds over many refunds, each in a new process; time on the wall.",
        "",
        widths.format("round", *heads),
        *(
            widths.format(
                each.name,
                f"{each.count:,} {each.unit}",
                f"{each.count / each.seconds:,.0f}",
                f"{each.ratio:.2f}x",
                f"{each.memory_before:.1f}",
                f"{each.memory_most:.1f}",
                "-" if growth is None else f"{growth:+.1f}",
                verdict,
            ).rstrip()
            for each, growth, verdict in _judged(taken)
        ),
        "",
        f"Target: at most {GROWTH_TARGET:.0f} MiB more than the same round over the fewest things.",
    ]


def _judged(taken: Sequence[Round]) -> Iterator[tuple[Round, float | None, str]]:
    for each in taken:
        smallest = min(
            (other for other in taken if other.name == each.name), key=lambda other: other.count
        )
        if smallest is each:
            yield each, None, ""
            continue
        growth = each.memory_most - smallest.memory_most
        yield each, growth, "MISSED: memory" if growth > GROWTH_TARGET else "ok"
