"""Schedules: what happens to the desk, step by step.

A step is small and complete in itself, so that a schedule goes on making sense when steps are
left out of it: what it is about (a draft, a refund, an event, a call under way) it names by its
place among those there are when it is taken, and where there is none it does nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TypeAlias

from sandbox.faults import FaultKind


class Point(StrEnum):
    """Where a call of a service can be made to wait, or its process killed."""

    #: A read, before Digital River sees it, and once it was answered.
    READ = "read"
    READ_ANSWERED = "read answered"
    #: A refund that is sent, before Digital River sees it, and once it was answered.
    POST = "post"
    POST_ANSWERED = "post answered"
    #: A look at the clock, outside of any transaction.
    CLOCK = "clock"
    #: A transaction of the desk that is about to begin.
    TRANSACTION = "transaction"
    #: A statement outside of any transaction.
    BETWEEN = "between"
    #: Any statement; within a transaction a process can be killed there and cannot wait.
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class At:
    """The ``nth`` time, from 1, that a call comes by a point."""

    point: Point
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.point} {self.nth}"


class Trouble(StrEnum):
    """What can go wrong with one request, beyond what the stand-in does when told to."""

    #: Its sender gets no answer; it reaches Digital River later, or never.
    UNDERWAY = "underway"


@dataclass(frozen=True, slots=True)
class WireFault:
    """What goes wrong with the next requests of this method."""

    kind: FaultKind | Trouble
    method: str = "POST"
    requests: int = 1
    #: Of an error that the stand-in answers with.
    status: int = 503
    #: Of ``LATENCY``, and of the wait that a 429 asks for.
    seconds: int = 1

    def __str__(self) -> str:
        more = ""
        if self.kind in (FaultKind.ERROR, FaultKind.ERROR_AFTER):
            more = f" {self.status}"
        elif self.kind in (FaultKind.LATENCY, FaultKind.RATE_LIMITED):
            more = f" {self.seconds} s"
        return f"{self.kind}{more} on {self.requests} {self.method}"


# -- steps -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens."""

    def __str__(self) -> str:
        told = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                told.append(f"{field.name}={value}")
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Step):
    """A service is called, on one of the desk's machines.

    It waits at ``pause`` until it is resumed, its process dies at ``kill``, and its requests meet
    with ``fault``.
    """

    machine: int = 0
    pause: At | None = None
    kill: At | None = None
    fault: WireFault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft(Step):
    """A rep drafts a refund: an option, and how much of what it can give, in thousandths."""

    rep: int = 0
    order: int = 0
    option: int = 0
    share: int = 1000
    units: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose(Step):
    """A rep changes a draft in another tab, from which it can then be submitted as well."""

    draft: int = 0
    option: int = 0
    share: int = 1000
    units: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit(Call):
    """A rep submits a draft; ``draft`` counts back from the newest."""

    draft: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Call):
    """A rep has a draft sent once Digital River answers again."""

    draft: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Call):
    """A rep sends a refund again; counted among those where the page offers it."""

    refund: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Call):
    """A rep calls a refund off; counted among those where the page offers it."""

    refund: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Call):
    """A rep presses Check now; counted among the refunds that are not settled."""

    refund: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Call):
    """A rep opens an order, which reads it anew."""

    order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseOut(Call):
    """A lead closes an order out."""

    order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Call):
    """A round of everything that is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Call):
    """A worker takes an event that was put off; counted from the oldest."""

    event: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Step):
    """A call that waits goes on; -1 is the newest. It may wait, or be killed, once more."""

    call: int = 0
    pause: At | None = None
    kill: At | None = None


class Damage(StrEnum):
    """What was done to an event on its way."""

    NONE = "none"
    ALTERED = "altered"
    FORGED = "forged"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver(Call):
    """An event arrives; counted back from the newest, so that they come in any order, and again."""

    event: int = 0
    damage: Damage = Damage.NONE


class Outcome(StrEnum):
    """What becomes of a refund at Digital River."""

    SUCCEEDS = "succeeds"
    SUCCEEDS_FOR_LESS = "succeeds for less"
    FAILS = "fails"
    GETS_BANK_DETAILS = "gets bank details"
    EXPIRES = "expires"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle(Step):
    """Digital River settles a refund; counted from its oldest that is not settled."""

    refund: int = 0
    outcome: Outcome = Outcome.SUCCEEDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere(Step):
    """Somebody refunds in the Dashboard: thousandths of what is available, or of one kind of it."""

    order: int = 0
    kind: str = ""
    share: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward(Step):
    """Time goes by."""

    seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew(Step):
    """The clock of a machine of the desk is set: so many seconds ahead of the time, or behind."""

    machine: int = 0
    seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(Step):
    """The next requests, whoever makes them, go wrong."""

    fault: WireFault = WireFault(FaultKind.CONNECTION_REFUSED, "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrive(Step):
    """A refund that was underway reaches Digital River after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute(Step):
    """The customer's bank disputes an order, or, where it did, no longer does."""

    order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeBack(Step):
    """The customer's bank takes back thousandths of what was captured."""

    order: int = 0
    share: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror(Call):
    """Salesforce tells of an order once more."""

    order: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile(Call):
    """A lead has an order reconciled."""

    order: int = 0


Steps: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A world to begin with, and what happens in it.

    ``orders`` names the shop's orders by their place in ``cases.CASES``. ``settle_minutes`` is how
    long Digital River takes over a refund when nobody hurries it. Unless it ``lists_events``,
    those that were not delivered are lost for good. One that is ``audited`` ends with a
    reconciliation and a verification of the history, neither of which may find anything.
    """

    seed: int
    orders: tuple[int, ...]
    settle_minutes: int
    lists_events: bool
    audited: bool
    steps: Steps

    def with_steps(self, steps: Sequence[Step]) -> "Schedule":
        """Return the same world with other steps."""
        return replace(self, steps=tuple(steps))

    def __str__(self) -> str:
        events = "events are listed" if self.lists_events else "events are not listed"
        events += ", audited" if self.audited else ""
        head = f"orders {self.orders}, settled after {self.settle_minutes} minutes, {events}"
        return "\n".join([head, *(f"{at:3}  {step}" for at, step in enumerate(self.steps, 1))])
