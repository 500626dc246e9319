"""Breaks the desk's code on purpose, each time in one place, to see that the simulation notices.

A breakage is a piece of a function's source and what stands in its place; it is written by the
names of the code it breaks, and says so loudly should that code have changed.
"""

import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tests.faults.drawing import draw
from tests.faults.simulation import broken_by
from tests.faults.world import Broken, Ground

#: The modules in which a broken function takes the place of the whole one.
_PACKAGES = ("refunds.", "tests.faults.")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the source of a function or method: this text for that, and so on."""

    module: str
    name: str
    changes: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Breakage:
    """One thing that a careless change might do, by its edits."""

    name: str
    #: The seed whose schedule caught it last: where a search best begins.
    seed: int
    edits: tuple[Edit, ...]

    def __init__(self, name: str, seed: int, *edits: Edit) -> None:
        """Take its name, the seed, and what is changed for it."""
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "edits", edits)

    def caught(self, ground: Ground, seeds: Iterable[int]) -> tuple[int, Broken] | None:
        """Return the first of the seeds whose schedule catches it, and what it broke."""
        with self.applied():
            for seed in seeds:
                broken = broken_by(draw(seed), ground)
                if broken is not None:
                    return seed, broken
        return None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Break the code while the block lasts."""
        with ExitStack() as stack:
            for edit in self.edits:
                stack.enter_context(_edited(edit))
            yield


@contextmanager
def _edited(edit: Edit) -> Iterator[None]:
    module = import_module(edit.module)
    owner_name, _, name = edit.name.rpartition(".")
    owner: Any = getattr(module, owner_name) if owner_name else module
    whole = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(getattr(whole, "fget", whole)))
    for old, new in edit.changes:
        if old not in source:
            raise LookupError(f"{edit.module}.{edit.name} has changed, there is no more: {old}")
        source = source.replace(old, new)
    made: dict[str, Any] = {}
    exec(compile(source, f"<broken {edit.name}>", "exec"), vars(module), made)  # noqa: S102
    with _set([(owner, name)] if owner_name else _places(whole), made[name]):
        yield


def _places(whole: object) -> list[tuple[Any, str]]:
    """Return every module that has the function, and under which name."""
    return [
        (module, name)
        for key, module in list(sys.modules.items())
        if key.startswith(_PACKAGES)
        for name, value in list(vars(module).items())
        if value is whole
    ]


@contextmanager
def _set(places: Sequence[tuple[Any, str]], value: object) -> Iterator[None]:
    before = [(owner, name, inspect.getattr_static(owner, name)) for owner, name in places]
    for owner, name in places:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, kept in before:
            setattr(owner, name, kept)


_REFUNDS = "refunds.services.refunds"
_ATTEMPTS = "refunds.services.attempts"
_ORDERS = "refunds.services.orders"
_SETTLEMENTS = "refunds.services.settlements"
_EVENTS = "refunds.services.events"
_MODEL = "refunds.models.refunds"
_SEND = 'answer = self._exchange("POST", "/refunds", "", SENDING, upstream_id, content=content)'

BREAKAGES: tuple[Breakage, ...] = (
    Breakage(
        "a refund that nobody answered is posted again",
        2,
        Edit(
            "refunds.digitalriver.client",
            "DigitalRiverClient.create_refund",
            [
                (
                    f"    {_SEND}",
                    f"    try:\n        {_SEND}\n    except Unanswered:\n        {_SEND}",
                )
            ],
        ),
    ),
    Breakage(
        "what is left is not looked at again behind the lock",
        4,
        Edit(
            _REFUNDS,
            "_draft_as_seen",
            [
                (
                    "account.position.quote(",
                    "Position(account.position.order).quote(",
                ),
                ("quote.figures() != seen.figures", "False"),
            ],
        ),
    ),
    Breakage(
        "no answer counts as not sent",
        4,
        Edit(
            _ATTEMPTS,
            "_take_error",
            [("state.UNKNOWN,\n            actor", "state.NOT_SENT,\n            actor")],
        ),
    ),
    Breakage(
        "one look that does not find it is enough",
        57,
        Edit(
            _SETTLEMENTS,
            "refund_missing",
            [
                ("if attempt.missing_since is None:", "if False:"),
                ("at - attempt.missing_since >= QUIET_PERIOD", "True"),
            ],
        ),
    ),
    Breakage(
        "a sender that never came back counts as one that never sent",
        0,
        Edit(_ORDERS, "_lease_lapse", [("Refund.State.UNKNOWN,", "Refund.State.NOT_SENT,")]),
    ),
    Breakage(
        "what a killed sender left is sent again",
        0,
        Edit(_ORDERS, "_lease_lapse", [("Refund.State.UNKNOWN,", "Refund.State.QUEUED,")]),
    ),
    Breakage(
        "nobody looks after a sender that never came back",
        6,
        Edit(_ORDERS, "_lease_lapse", [("attempt.lease_until <= at", "False")]),
    ),
    Breakage(
        "a sender does not make sure of its lease",
        52,
        Edit(
            _ATTEMPTS, "attempt_send", [("lease_length() - _MARGIN:", "-lease_length() * 10**4:")]
        ),
    ),
    Breakage(
        "an old attempt speaks for the one that came after",
        139,
        Edit(_MODEL, "RefundAttempt.is_overtaken", [("later.exists()", "False")]),
    ),
    Breakage(
        "states may go backwards",
        22,
        Edit(
            _SETTLEMENTS,
            "refund_take",
            [("and state in MOVES[refund.state]", "")],
        ),
        Edit(_MODEL, "Refund.move_to", [("state not in MOVES[self.state]", "False")]),
    ),
    Breakage(
        "too many requests counts as refused",
        12,
        Edit(
            _ATTEMPTS,
            "_take_error",
            [
                (
                    "elif isinstance(error, Refused):",
                    "elif isinstance(error, Refused | RateLimited):",
                )
            ],
        ),
    ),
    Breakage(
        "a hold is never counted as listed",
        2,
        Edit(_ORDERS, "_take_refunds", [("figures_hold and not known.listed", "False")]),
    ),
    Breakage(
        "the parts are not booked anew for another amount",
        13,
        Edit(
            _SETTLEMENTS,
            "_rebook",
            [("if add(parts.values()) != refund.held_amount:", "if False:")],
        ),
    ),
    Breakage(
        "another amount is not flagged",
        36,
        Edit(
            _SETTLEMENTS,
            "_remarks",
            [("accepted is not None and asked is not None and accepted != asked", "False")],
        ),
    ),
    Breakage(
        "a refund made elsewhere is adopted without its id",
        9,
        Edit(_SETTLEMENTS, "refund_adopt", [("digital_river_id=told.id,", 'digital_river_id="",')]),
    ),
    Breakage(
        "the third beat is no transaction",
        13,
        Edit(_ATTEMPTS, "attempt_record", [("@transaction.atomic(durable=True)\n", "")]),
        Edit(_MODEL, "Refund.move_to", [("with transaction.atomic():", "if True:")]),
    ),
    Breakage(
        "a refund that waits is sent by whoever comes",
        45,
        Edit(
            _REFUNDS,
            "_settle_due",
            [(".update(next_check_at=claim):", ".update(next_check_at=due_at):")],
        ),
        Edit(
            _REFUNDS,
            "_send_queued",
            [("if current.state != Refund.State.QUEUED or ", "if False and ")],
        ),
    ),
    Breakage(
        "only events bring news of what is pending",
        13,
        Edit(
            _SETTLEMENTS,
            "refund_take",
            [("next_look(refund, at)", "None")],
        ),
    ),
    Breakage(
        "an event's signature is not compared",
        4,
        Edit("refunds.digitalriver.signature", "verify", [("if not matched:", "if False:")]),
    ),
)
