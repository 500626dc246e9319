"""Verifying the history: whether each chain is whole and says what the rows say. Writes nothing.

What is wrong is named by refund (or reason, or membership) and entry. What cannot be found is a
history that somebody wrote anew from end to end, hashes, head and the refund's row included: only
copies of the heads kept elsewhere, as on printed evidence, show that.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from django.db import transaction
from django.db.models import QuerySet

from refunds.models import HistoryEntry, Membership, Refund, RefundReason
from refunds.models.refunds import TOLD_BY_HISTORY
from refunds.models.states import MOVES, RefundState
from refunds.services.memberships import is_member
from refunds.services.reasons import DELETED

#: Something that has a history.
Subject: TypeAlias = Refund | RefundReason | Membership

_KINDS: Sequence[type[Subject]] = (Refund, RefundReason, Membership)
#: How many refunds are held at once, each with all its entries.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: in whose history, at which entry, and what, in a sentence.

    ``number`` is the entry's, or None where no entry of its own is at fault.
    """

    subject: str
    number: int | None
    sentence: str

    def __str__(self) -> str:
        """Return the finding in one line."""
        return f"{self.subject}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Verification:
    """How much was looked at, and how many things are wrong."""

    refunds: int
    reasons: int
    memberships: int
    entries: int
    findings: int


def verify_history(
    *, reference: str = "", found: Callable[[Finding], object] | None = None
) -> Verification:
    """Look at every entry of every history, or of one refund's; ``found`` is told what is wrong.

    Memory does not grow with the tables. Work at the desk goes on meanwhile: what looks wrong is
    read again behind its lock before it counts. Raises ``Refund.DoesNotExist`` for a reference
    that no refund has.
    """
    if reference:
        subject = Refund.objects.get(reference=reference)
        histories: Iterable[_History] = [(Refund, subject.pk, subject, _chain(subject))]
    else:
        histories = (history for model in _KINDS for history in _all_of(model))
    counts: Counter[str] = Counter()
    for model, pk, subject_or_none, chain in histories:
        counts[model.__name__] += subject_or_none is not None
        counts["entries"] += len(chain)
        for finding in _certain(model, pk, subject_or_none, chain):
            counts["findings"] += 1
            if found is not None:
                found(finding)
    return Verification(
        refunds=counts[Refund.__name__],
        reasons=counts[RefundReason.__name__],
        memberships=counts[Membership.__name__],
        entries=counts["entries"],
        findings=counts["findings"],
    )


def refund_verify(*, refund: Refund) -> list[Finding]:
    """Return what is wrong with the history of a refund that was read together with it."""
    chain = sorted(refund.history.all(), key=attrgetter("number", "pk"))
    return _certain(Refund, refund.pk, refund, chain)


#: A kind of subject, the key of one, the subject unless it is gone, and its entries in order.
_History: TypeAlias = tuple[type[Subject], int, Subject | None, Sequence[HistoryEntry]]


def _all_of(model: type[Subject]) -> Iterator[_History]:
    """Give every history of this kind, those without a subject and those without an entry too."""
    column = f"{model.HISTORY_COLUMN}_id"
    last = 0
    while True:
        rows = model._default_manager.filter(pk__gt=last).order_by("pk")[:_BATCH]
        subjects = {row.pk: row for row in rows}
        entries = HistoryEntry.objects.filter(**{f"{column}__gt": last})
        is_last = len(subjects) < _BATCH
        if not is_last:
            last = max(subjects)
            entries = entries.filter(**{f"{column}__lte": last})
        in_order = entries.order_by(column, "number", "pk").iterator()
        chains = {pk: list(chain) for pk, chain in groupby(in_order, attrgetter(column))}
        for pk in sorted(subjects.keys() | chains.keys()):
            yield model, pk, subjects.get(pk), chains.get(pk, [])
        if is_last:
            return


def _chain(subject: Subject) -> list[HistoryEntry]:
    return list(_entries(type(subject), subject.pk))


def _entries(model: type[Subject], pk: int) -> QuerySet[HistoryEntry]:
    return HistoryEntry.objects.filter(**{model.HISTORY_COLUMN: pk}).order_by("number", "pk")


def _certain(
    model: type[Subject], pk: int, subject: Subject | None, chain: Sequence[HistoryEntry]
) -> list[Finding]:
    """Return what is wrong for certain: an entry may have come between the row and its entries."""
    if next(_faults(model, subject, chain), None) is None:
        return []
    with transaction.atomic():
        subject = model._default_manager.select_for_update().filter(pk=pk).first()
        chain = list(_entries(model, pk))
    name = _name(model, pk, subject)
    return [Finding(name, number, words) for number, words in _faults(model, subject, chain)]


def _name(model: type[Subject], pk: int, subject: Subject | None) -> str:
    if isinstance(subject, Refund):
        return f"Refund {subject.reference}"
    if isinstance(subject, RefundReason):
        return f"Reason “{subject.label}”"
    if isinstance(subject, Membership):
        return f"Membership of {subject.user.get_username()}"
    return {
        "Refund": f"Refund with the key {pk}",
        "Membership": f"Membership with the key {pk}",
    }.get(model.__name__, f"Deleted reason with the key {pk}")


class _Fault(NamedTuple):
    """The number of the entry at fault, if one is, and what is wrong with it."""

    number: int | None
    sentence: str


def _faults(
    model: type[Subject], subject: Subject | None, chain: Sequence[HistoryEntry]
) -> Iterator[_Fault]:
    """Give what is wrong with a history; ``chain`` is in the order of its numbers."""
    before: HistoryEntry | None = None
    for entry in chain:
        yield from _link_faults(entry, before)
        if model is Refund:
            yield from _move_faults(entry, before)
        before = entry
    if subject is not None:
        yield from _end_faults(subject, before)
        if before is not None and before.number == len(chain) >= subject.history_length:
            # Where entries are missing, the row says of course more than those that are left.
            yield from _row_faults(subject, chain)
    elif model is not RefundReason:
        what = "refund" if model is Refund else "membership"
        yield _Fault(None, f"the {what} is gone, while its history is still there.")
    elif before is None or before.summary != DELETED:
        yield _Fault(None, "the reason is gone, but its history does not end with its deletion.")


def _link_faults(entry: HistoryEntry, before: HistoryEntry | None) -> Iterator[_Fault]:
    """Give what is wrong with an entry by itself and with how it follows on the one before."""
    number = entry.number
    expected = 1 if before is None else before.number + 1
    if number > expected:
        yield _Fault(expected, f"{_named(expected, number - 1)} missing.")
    elif number < expected:
        yield _Fault(number, f"entry {number} is there more than once or should not be there.")
    if entry.hash != entry.computed_hash:
        yield _Fault(
            number,
            f"entry {number} was changed after it was written: its hash is not that of what it "
            "says.",
        )
    if number == expected and entry.previous_hash != ("" if before is None else before.hash):
        yield _Fault(
            number,
            f"entry {number} does not follow on "
            + (
                "nothing, as the first one must."
                if before is None
                else f"entry {before.number}: the hash it keeps of it is another, so either "
                f"{before.number} was replaced or {number} was put in by hand."
            ),
        )


def _move_faults(entry: HistoryEntry, before: HistoryEntry | None) -> Iterator[_Fault]:
    """Give what is wrong with the states that a refund's entry tells of."""
    number, start, end = entry.number, entry.from_state, entry.to_state
    if before is None:
        # The first tells the state in which the refund was made.
        if number == 1 and start not in {"", end}:
            yield _Fault(
                number, f"entry 1 begins at {_label(start)}, and nothing tells how it got there."
            )
    elif number == before.number + 1 and start != before.to_state:
        yield _Fault(
            number,
            f"entry {number} begins at {_label(start)}, but entry {before.number} ended at "
            f"{_label(before.to_state)}.",
        )
    if start and start != end and end not in MOVES.get(start, ()):
        yield _Fault(
            number,
            f"entry {number} tells of a move from {_label(start)} to {_label(end)}, which no "
            "refund can make.",
        )


def _end_faults(subject: Subject, last: HistoryEntry | None) -> Iterator[_Fault]:
    """Give what is wrong with the end of a chain, by the length and the head its subject keeps."""
    length = subject.history_length
    if last is None:
        yield _Fault(
            None,
            (
                f"{_named(1, length)} missing: nothing is left of its history."
                if length
                else "it has no history, not even a first entry."
            ),
        )
    elif last.number < length:
        yield _Fault(last.number + 1, f"{_named(last.number + 1, length)} missing at the end.")
    elif last.number > length:
        yield _Fault(
            last.number,
            f"entry {last.number} was put in by hand: only {length} were written by the desk.",
        )
    elif last.hash != subject.history_head:
        yield _Fault(
            last.number,
            f"entry {last.number} is not the one that was written last: its hash is not the head "
            "that was kept.",
        )


def _row_faults(subject: Subject, chain: Sequence[HistoryEntry]) -> Iterator[_Fault]:
    """Give where a row does not say what its history told last."""
    if isinstance(subject, Refund):
        yield from _refund_faults(subject, chain)
    elif isinstance(subject, Membership):
        yield from _membership_faults(subject, chain)
    else:
        yield from _reason_faults(subject, chain)


def _refund_faults(refund: Refund, chain: Sequence[HistoryEntry]) -> Iterator[_Fault]:
    """Give where a refund's row does not say what its history told last."""
    last = chain[-1]
    if refund.state != last.to_state:
        yield _Fault(
            last.number,
            f"it stands at {_label(refund.state)}, but its last entry, {last.number}, left it at "
            f"{_label(last.to_state)}.",
        )
    for column, told, number in _told_last(chain, TOLD_BY_HISTORY):
        value = getattr(refund, column)
        if not _is_amount(told, value) if "amount" in column else told != str(value or ""):
            yield _Fault(
                number,
                f"its {_column_name(column)} is {_shown(value)}, but entry {number} left "
                f"it at {_shown(told)}.",
            )


def _membership_faults(membership: Membership, chain: Sequence[HistoryEntry]) -> Iterator[_Fault]:
    """Give where a membership's row, or the group, does not say what its history told last."""
    for column, told, number in _told_last(chain, Membership.TOLD_BY_HISTORY):
        value = getattr(membership, column)
        if told != str(value):
            yield _Fault(
                number,
                f"its {_column_name(column)} is {_shown(value)}, but entry {number} left it at "
                f"{_shown(told)}.",
            )
    if is_member(membership.user) != membership.active:
        end = "given the group" if membership.active else "taken out of the group"
        where = "not in it" if membership.active else "in it"
        yield _Fault(
            chain[-1].number,
            f"the person was {end}, but is {where}: it was changed past the desk.",
        )


def _reason_faults(reason: RefundReason, chain: Sequence[HistoryEntry]) -> Iterator[_Fault]:
    """Give where a reason's row does not say what its history told last."""
    if chain[-1].summary == DELETED:
        yield _Fault(chain[-1].number, "it is on the list, but its history ends with its deletion.")
        return
    says = reason.told
    for column, told, number in _told_last(chain, RefundReason.TOLD_BY_HISTORY):
        # What was there before stands in front of it, unless the reason was added then.
        if told != says[column] and not told.endswith(f" → {says[column]}"):
            yield _Fault(
                number,
                f"its {_column_name(column)} is {_shown(says[column])}, but entry "
                f"{number} left it at {_shown(told.rpartition(' → ')[2])}.",
            )


def _told_last(
    chain: Sequence[HistoryEntry], columns: Iterable[str]
) -> Iterator[tuple[str, str, int]]:
    """Give the columns that a history tells of: what it told last, and in which entry."""
    told: dict[str, tuple[str, int]] = {}
    for entry in chain:
        for name, text in entry.told.items():
            told[name] = (str(text), entry.number)
    for column in columns:
        if column in told:
            yield column, *told[column]


def _is_amount(told: str, value: Decimal | None) -> bool:
    """Tell whether a text means this amount, with however many decimals; no text means none."""
    if not told or value is None:
        return not told and value is None
    try:
        return Decimal(told) == value
    except DecimalException:
        return False


def _named(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _label(state: str) -> str:
    return f"“{dict(RefundState.choices).get(state, state)}”"


def _shown(value: object) -> str:
    return "nothing" if value is None or value == "" else f"“{value}”"


def _column_name(column: str) -> str:
    return column.replace("_", " ").replace("digital river", "Digital River")
