"""The table of the webhook: what its requests took, as a ratio to the floor beside the targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

FLOOR = "floor"
#: The most that the webhook may take, in floors, and its slowest hundredth, in seconds.
TARGET = 2.0
SLOWEST_TARGET = 3.0


_WHAT = (
    "The webhook through gunicorn, beside a view that inserts one row; time on the wall. Work is "
    "the servers' processor time, the background's included."
)


@dataclass
class Intake:
    """One thing that is sent over and over by so many clients, and what it took."""

    name: str
    clients: int
    #: Of each request, in seconds.
    seconds: list[float] = field(default_factory=list)
    #: Requests a second, of each round.
    rates: list[float] = field(default_factory=list)
    #: What the servers worked for all of them, the background included, in seconds.
    processor_seconds: float = 0.0

    @property
    def middle(self) -> float:
        """The median, in milliseconds."""
        return median(self.seconds) * 1000

    @property
    def slowest(self) -> float:
        """What one in a hundred took longer than, in milliseconds."""
        return quantiles(self.seconds, n=100, method="inclusive")[98] * 1000

    @property
    def work(self) -> float:
        """The processor time of a request and of all that it set off, in milliseconds."""
        return self.processor_seconds / len(self.seconds) * 1000


def table(database: str, taken: Sequence[Intake]) -> tuple[list[str], int]:
    """Return the lines of one database's table, and how many targets were missed."""
    widths = "{:<30}{:>8}{:>12}{:>10}{:>10}{:>10}{:>9}  {}"
    heads = ("clients", "median ms", "99% ms", "a second", "work ms", "floors", "verdict")
    lines = [
        "",
        f"{database}. {_WHAT}",
        "",
        widths.format("", *heads),
    ]
    missed = 0
    for each in taken:
        floor = next(one for one in taken if one.name == FLOOR and one.clients == each.clients)
        ratio = each.middle / floor.middle
        faults = [] if each is floor else list(_faults(each, ratio))
        missed += len(faults)
        verdict = f"MISSED: {', '.join(faults)}" if faults else "ok"
        cells = (
            each.clients,
            f"{each.middle:.2f}",
            f"{each.slowest:.1f}",
            f"{median(each.rates):.0f}",
            f"{each.work:.2f}",
            f"{ratio:.2f}x",
            "" if each is floor else verdict,
        )
        lines.append(widths.format(each.name, *cells).rstrip())
    targets = f"Targets: a median of at most {TARGET:.0f} floors, 99% within {SLOWEST_TARGET:.0f} s"
    return [*lines, "", f"{targets}; {missed} missed."], missed


def _faults(each: Intake, ratio: float) -> Iterator[str]:
    """Give the targets that were missed, in words."""
    if ratio > TARGET:
        yield "floors"
    if each.slowest > SLOWEST_TARGET * 1000:
        yield "99%"
