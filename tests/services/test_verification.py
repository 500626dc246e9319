"""Each way a history can be tampered with is found and named; an honest one never is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import connection, connections, transaction
from pytest_django import DjangoAssertNumQueries

from refunds.models import COMMAND, HistoryEntry, Membership, Order, Refund, RefundReason
from refunds.models.history import entry_append
from refunds.options import Option, Selection
from refunds.permissions import GROUP_NAME
from refunds.services import verification
from refunds.services.memberships import membership_set_by_hand
from refunds.services.reasons import reason_delete, reason_save
from refunds.services.settlements import history_add, refund_create
from refunds.services.verification import Finding, refund_verify, verify_history
from sandbox.faults import FaultKind
from tests.desk import Desk, person, rep
from tests.services.account import spoil

pytestmark = pytest.mark.django_db

TEN = Selection(Option.COMPLETE_ORDER, Decimal("10.00"))


@contextmanager
def unguarded() -> Iterator[None]:
    """Let the history be written over, as the owner of the tables could."""
    triggers = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        if triggers:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE refunds_historyentry DISABLE TRIGGER USER")
    yield
    with connection.cursor() as cursor:
        if triggers:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("ALTER TABLE refunds_historyentry ENABLE TRIGGER USER")


@pytest.fixture
def refund(desk: Desk) -> Refund:
    """A refund of USD 10.00 that succeeded, with a history of five entries."""
    made = desk.submit(desk.order("worked_sample"), rep(), TEN)
    desk.sandbox.succeed_refund(made.digital_river_id)
    desk.clock.forward(minutes=2)
    desk.refresh(made.order)
    kept = Refund.objects.get(pk=made.pk)
    assert [entry.to_state for entry in kept.history.order_by("number")] == [
        "draft",
        "draft",
        "submitting",
        "pending",
        "succeeded",
    ]
    return kept


def sentences(reference: str = "") -> list[str]:
    """Return what is found wrong."""
    found: list[Finding] = []
    checked = verify_history(reference=reference, found=found.append)
    assert checked.findings == len(found)
    return [str(finding) for finding in found]


def entry(refund: Refund, number: int) -> HistoryEntry:
    """Return an entry by its number."""
    return HistoryEntry.objects.get(refund=refund, number=number)


def rewrite(changed: HistoryEntry, **columns: object) -> HistoryEntry:
    """Write an entry over, with a hash to fit."""
    for name, value in columns.items():
        setattr(changed, name, value)
    changed.hash = changed.computed_hash
    with unguarded():
        changed.save()
    return changed


def take_out(refund: Refund, *numbers: int) -> None:
    """Delete entries."""
    with unguarded():
        HistoryEntry.objects.filter(refund=refund, number__in=numbers).delete()


def put_in(refund: Refund, number: int, previous_hash: str, **columns: object) -> HistoryEntry:
    """Insert an entry by hand, with a hash to fit."""
    put = HistoryEntry(
        refund=refund,
        number=number,
        previous_hash=previous_hash,
        **{
            "at": refund.updated_at,
            "actor_kind": "person",
            "from_state": "succeeded",
            "to_state": "succeeded",
            "summary": "Put in.",
            **columns,
        },
    )
    put.hash = put.computed_hash
    put.save(force_insert=True)
    return put


def test_verify_history_finds_nothing_in_an_honest_one(desk: Desk, refund: Refund) -> None:
    desk.draft(refund.order, rep(), TEN)
    found: list[Finding] = []

    checked = verify_history(found=found.append)

    assert found == []
    assert (checked.refunds, checked.findings) == (2, 0)
    assert checked.reasons == RefundReason.objects.count()
    assert checked.entries == HistoryEntry.objects.count() == 7 + checked.reasons
    one = verify_history(reference=refund.reference)
    assert (one.refunds, one.reasons, one.entries, one.findings) == (1, 0, 5, 0)


def test_verify_history_of_a_reference_there_is_not(refund: Refund) -> None:
    with pytest.raises(Refund.DoesNotExist):
        verify_history(reference="R-0000-0000")


@pytest.mark.parametrize(
    "column",
    [
        {"summary": "Submitted for USD 9.00."},
        {"details": '{"requested_amount": "9.00"}'},
        {"request_id": "another"},
        {"actor_id": None},
        {"actor_kind": "sweep"},
        {"hash": "0" * 64},
        {"hash": ""},
    ],
)
def test_verify_history_finds_an_entry_that_was_edited(
    refund: Refund, column: dict[str, object]
) -> None:
    with unguarded():
        HistoryEntry.objects.filter(refund=refund, number=3).update(**column)

    found = sentences()

    assert (
        f"Refund {refund.reference}: entry 3 was changed after it was written: its hash is "
        in (found[0])
    )
    assert sentences(refund.reference) == found


def test_verify_history_finds_a_moment_that_was_edited(refund: Refund) -> None:
    at = entry(refund, 2).at
    with unguarded():
        HistoryEntry.objects.filter(refund=refund, number=2).update(at=at.replace(microsecond=1))

    [found] = sentences()

    assert "entry 2 was changed after it was written" in found


def test_verify_history_finds_an_edit_with_a_hash_to_fit(refund: Refund) -> None:
    rewrite(entry(refund, 3), summary="Submitted for USD 9.00.")

    [found] = sentences()

    assert found == (
        f"Refund {refund.reference}: entry 4 does not follow on entry 3: the hash it keeps of it "
        "is another, so either 3 was replaced or 4 was put in by hand."
    )


def test_verify_history_finds_an_edit_of_the_last_with_a_hash_to_fit(refund: Refund) -> None:
    rewrite(entry(refund, 5), summary="Succeeded: USD 9.00 given back.")

    [found] = sentences()

    assert found == (
        f"Refund {refund.reference}: entry 5 is not the one that was written last: its hash is "
        "not the head that was kept."
    )


def test_verify_history_finds_a_chain_that_was_written_anew_up_to_its_end(refund: Refund) -> None:
    previous = entry(refund, 1).hash
    for number in range(2, 6):
        previous = rewrite(entry(refund, number), request_id="new", previous_hash=previous).hash

    [found] = sentences()

    assert "entry 5 is not the one that was written last" in found


def test_verify_history_cannot_find_what_was_written_anew_with_its_head(refund: Refund) -> None:
    changed = rewrite(entry(refund, 5), summary="Succeeded: USD 9.00 given back.")
    Refund.objects.filter(pk=refund.pk).update(history_head=changed.hash)

    # What it cannot prove is said in docs/operations.md, and why heads are to be kept elsewhere.
    assert sentences() == []


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1,), "entry 1 is missing."),
        ((1, 2), "entries 1 to 2 are missing."),
        ((3,), "entry 3 is missing."),
        ((2, 3, 4), "entries 2 to 4 are missing."),
        ((5,), "entry 5 is missing at the end."),
        ((4, 5), "entries 4 to 5 are missing at the end."),
        ((1, 2, 3, 4, 5), "entries 1 to 5 are missing: nothing is left of its history."),
    ],
)
def test_verify_history_finds_what_was_deleted(
    refund: Refund, numbers: tuple[int, ...], words: str
) -> None:
    take_out(refund, *numbers)

    found = sentences()

    assert found[-1] == f"Refund {refund.reference}: {words}"
    # The first that is left may not stand without the one before; nothing else is amiss.
    assert all("begins at" in line for line in found[:-1])


def test_verify_history_finds_a_gap_that_was_closed_by_numbering_anew(refund: Refund) -> None:
    take_out(refund, 4)
    last = entry(refund, 5)
    rewrite(last, number=4, previous_hash=entry(refund, 3).hash)
    Refund.objects.filter(pk=refund.pk).update(history_length=4)

    found = sentences()

    assert any("entry 4 is not the one that was written last" in line for line in found)
    assert any(
        "entry 4 begins at “Pending”, but entry 3 ended at “Being sent”" in line for line in found
    )


def test_verify_history_finds_an_entry_put_in_at_the_end(refund: Refund) -> None:
    put_in(refund, 6, entry(refund, 5).hash)

    [found] = sentences()

    assert found == (
        f"Refund {refund.reference}: entry 6 was put in by hand: only 5 were written by the desk."
    )


def test_verify_history_finds_an_entry_put_in_the_middle(refund: Refund) -> None:
    with unguarded():
        for number in (5, 4):
            HistoryEntry.objects.filter(refund=refund, number=number).update(number=number + 1)
    put_in(refund, 4, entry(refund, 3).hash, from_state="submitting", to_state="submitting")
    Refund.objects.filter(pk=refund.pk).update(history_length=6)

    found = sentences()

    assert any("entry 5 was changed after it was written" in line for line in found)
    assert any("entry 5 does not follow on entry 4" in line for line in found)


def test_verify_history_finds_a_number_that_is_there_twice(refund: Refund) -> None:
    chain = [entry(refund, number) for number in (1, 2, 2, 3, 4, 5)]

    found = list(verification._faults(Refund, refund, chain))

    assert found[0] == (2, "entry 2 is there more than once or should not be there.")


def test_verify_history_finds_a_refund_without_any_entry(refund: Refund) -> None:
    made = refund_create(
        order=refund.order,
        currency="USD",
        created_at=refund.created_at,
        updated_at=refund.created_at,
    )

    assert sentences() == [f"Refund {made.reference}: it has no history, not even a first entry."]


def test_verify_history_finds_a_state_that_no_entry_tells_of(refund: Refund) -> None:
    Refund.objects.filter(pk=refund.pk).update(state="failed")

    [found] = sentences()

    assert found == (
        f"Refund {refund.reference}: it stands at “Failed”, but its last entry, 5, left it at "
        "“Succeeded”."
    )


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("requested_amount", "60.00", "its requested amount is “60.0000”, but entry 3 left it at"),
        ("accepted_amount", None, "its accepted amount is nothing, but entry 4 left it at “10.00”"),
        ("refunded_amount", "9.99", "its refunded amount is “9.9900”, but entry 5 left it at"),
        ("digital_river_id", "re_1", "its Digital River id is “re_1”, but entry 4 left it at"),
    ],
)
def test_verify_history_finds_a_figure_that_no_entry_tells_of(
    refund: Refund, column: str, value: object, words: str
) -> None:
    Refund.objects.filter(pk=refund.pk).update(**{column: value})

    [found] = sentences()

    assert words in found


def test_verify_history_finds_a_move_that_no_refund_can_make(refund: Refund) -> None:
    Refund.objects.filter(pk=refund.pk).update(state="queued")
    entry_append(
        refund,
        actor=COMMAND,
        at=refund.updated_at,
        summary="Made up.",
        from_state="succeeded",
        to_state="queued",
    )

    [found] = sentences()

    assert found == (
        f"Refund {refund.reference}: entry 6 tells of a move from “Succeeded” to “Waiting to be "
        "sent”, which no refund can make."
    )


def test_verify_history_finds_a_history_that_does_not_begin_at_its_beginning(
    refund: Refund,
) -> None:
    made = refund_create(
        order=refund.order,
        currency="USD",
        created_at=refund.created_at,
        updated_at=refund.created_at,
        state="cancelled",
    )
    entry_append(
        made,
        actor=COMMAND,
        at=refund.updated_at,
        summary="Dropped.",
        from_state="draft",
        to_state="cancelled",
    )

    [found] = sentences()

    assert found == (
        f"Refund {made.reference}: entry 1 begins at “Draft”, and nothing tells how it got there."
    )


@pytest.mark.parametrize("length", [0, 4, 6])
def test_verify_history_finds_a_length_that_was_changed(refund: Refund, length: int) -> None:
    Refund.objects.filter(pk=refund.pk).update(history_length=length)

    [found] = sentences()

    assert ("missing at the end" if length > 5 else "was put in by hand") in found


def test_verify_history_finds_a_head_that_was_changed(refund: Refund) -> None:
    Refund.objects.filter(pk=refund.pk).update(history_head="")

    [found] = sentences()

    assert "not the head that was kept" in found


def test_verify_history_finds_entries_whose_refund_is_gone(refund: Refund) -> None:
    entries = list(refund.history.order_by("number"))

    found = list(verification._faults(Refund, None, entries))

    assert found == [(None, "the refund is gone, while its history is still there.")]
    assert verification._name(Refund, 17, None) == "Refund with the key 17"


# -- reasons ---------------------------------------------------------------------------------------


def test_verify_history_finds_a_reason_that_was_changed_past_its_history() -> None:
    RefundReason.objects.filter(label="Late delivery").update(wire_text="fraud")

    [found] = sentences()

    assert found.startswith("Reason “Late delivery”: its wire text is “fraud”, but entry 1 left it")


def test_verify_history_finds_a_reason_changed_past_a_history_that_tells_of_changes(
    desk: Desk,
) -> None:
    reason = RefundReason.objects.get(label="Late delivery")
    reason.active = False
    reason_save(reason=reason, user=person("keeper"), clock=desk.clock)
    assert sentences() == []
    RefundReason.objects.filter(pk=reason.pk).update(active=True)

    [found] = sentences()

    assert found == ("Reason “Late delivery”: its active is “yes”, but entry 2 left it at “no”.")


def test_verify_history_finds_a_reason_put_in_by_hand() -> None:
    RefundReason.objects.create(label="Mine", wire_text="mine")

    assert sentences() == ["Reason “Mine”: it has no history, not even a first entry."]


def test_verify_history_finds_a_reason_that_was_deleted_past_its_history() -> None:
    reason = RefundReason.objects.get(label="Late delivery")
    RefundReason.objects.filter(pk=reason.pk).delete()

    [found] = sentences()

    assert found == (
        f"Deleted reason with the key {reason.pk}: the reason is gone, but its history does not "
        "end with its deletion."
    )


def test_verify_history_finds_an_edit_in_the_history_of_a_deleted_reason(desk: Desk) -> None:
    reason = RefundReason.objects.get(label="Late delivery")
    pk = reason.pk
    reason_delete(reason=reason, user=person("keeper"), clock=desk.clock)
    with unguarded():
        HistoryEntry.objects.filter(reason_id=pk, number=2).update(actor=None)

    [found] = sentences()

    assert found.startswith(f"Deleted reason with the key {pk}: entry 2 was changed")


def test_verify_history_finds_a_reason_that_came_back(desk: Desk) -> None:
    reason = RefundReason.objects.get(label="Late delivery")
    kept = RefundReason.objects.get(label="Late delivery")
    reason_delete(reason=reason, user=person("keeper"), clock=desk.clock)
    last = HistoryEntry.objects.get(reason_id=kept.pk, number=2)
    kept.history_length, kept.history_head = 2, last.hash
    kept.save(force_insert=True)

    [found] = sentences()

    assert found == (
        "Reason “Late delivery”: it is on the list, but its history ends with its deletion."
    )


# -- many, and meanwhile ---------------------------------------------------------------------------


def drafts(order: Order, count: int) -> list[Refund]:
    """Make drafts with one entry each."""
    made = []
    for _ in range(count):
        draft = refund_create(
            order=order, currency="USD", created_at=order.ordered_at, updated_at=order.ordered_at
        )
        history_add(refund=draft, actor=COMMAND, at=order.ordered_at, summary="Draft begun.")
        made.append(draft)
    return made


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8, 100])
def test_verify_history_sees_every_refund_once_whatever_the_batch(
    refund: Refund, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_BATCH", batch)
    made = drafts(refund.order, 6)
    Refund.objects.filter(pk__in=[made[0].pk, made[3].pk, made[5].pk]).update(history_head="")

    found: list[Finding] = []
    checked = verify_history(found=found.append)

    assert checked.refunds == 7
    assert checked.entries == HistoryEntry.objects.count()
    assert [finding.subject for finding in found] == [
        f"Refund {made[place].reference}" for place in (0, 3, 5)
    ]


def test_verify_history_takes_two_queries_a_batch(
    refund: Refund, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    drafts(refund.order, 20)

    with django_assert_num_queries(6):
        verify_history()


def test_verify_history_reads_again_what_came_between_the_row_and_its_entries(
    refund: Refund,
) -> None:
    stale = Refund.objects.get(pk=refund.pk)
    history_add(refund=refund, actor=COMMAND, at=refund.updated_at, summary="Noted meanwhile.")

    # The row as it was before, the entries as they are now.
    assert list(verification._faults(Refund, stale, verification._chain(stale)))
    assert refund_verify(refund=stale) == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_verify_history_finds_nothing_wrong_while_the_desk_works(desk: Desk) -> None:
    order = desk.order("worked_sample")
    refund = desk.draft(order, rep(), TEN)
    over = threading.Event()
    troubles: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(60):
                history_add(
                    refund=Refund.objects.get(pk=refund.pk),
                    actor=COMMAND,
                    at=desk.clock(),
                    summary="Noted.",
                )
        except BaseException as error:  # noqa: BLE001 -- the test judges it
            troubles.append(error)
        finally:
            over.set()
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    rounds = 0
    while not over.is_set() or not rounds:
        assert sentences() == []
        rounds += 1
    worker.join(timeout=60)
    assert troubles == []
    assert sentences() == []
    assert verify_history(reference=refund.reference).entries == 62


def test_verify_history_writes_nothing(refund: Refund) -> None:
    Refund.objects.filter(pk=refund.pk).update(history_head="")
    before = list(Refund.objects.values()), list(HistoryEntry.objects.values())

    with transaction.atomic():
        assert sentences()

    assert (list(Refund.objects.values()), list(HistoryEntry.objects.values())) == before


# -- memberships -----------------------------------------------------------------------------------


@pytest.fixture
def membership() -> Membership:
    """A place in the permission set that was given, taken away and given again."""
    user = person("anna")
    for is_member in (True, False, True):
        membership_set_by_hand(user=user, is_member=is_member, by=user)
    return Membership.objects.get()


def test_verify_history_looks_at_memberships_too(membership: Membership) -> None:
    checked = verify_history()

    assert (checked.memberships, checked.findings) == (1, 0)
    assert membership.history.count() == 3


def test_verify_history_finds_a_membership_whose_entry_was_edited(membership: Membership) -> None:
    with unguarded():
        HistoryEntry.objects.filter(membership=membership, number=2).update(summary="Never.")

    assert "Membership of anna: entry 2 was changed after it was written" in sentences()[0]


def test_verify_history_finds_a_membership_whose_entry_is_gone(membership: Membership) -> None:
    with unguarded():
        HistoryEntry.objects.filter(membership=membership, number=3).delete()

    assert sentences() == ["Membership of anna: entry 3 is missing at the end."]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"source": "salesforce"}, "its source is “salesforce”, but entry 3 left it at “hand”."),
        ({"active": False}, "its active is “False”, but entry 3 left it at “True”."),
    ],
    ids=["source", "active"],
)
def test_verify_history_finds_a_membership_that_is_not_as_its_history_says(
    columns: dict[str, object], says: str, membership: Membership
) -> None:
    Membership.objects.update(**columns)

    assert f"Membership of anna: {says}" in sentences()


def test_verify_history_finds_who_was_put_into_the_group_past_the_desk(
    membership: Membership,
) -> None:
    user = membership.user
    user.groups.clear()
    past = "it was changed past the desk."
    assert sentences() == [
        f"Membership of anna: the person was given the group, but is not in it: {past}"
    ]

    membership_set_by_hand(user=user, is_member=False, by=user)
    user.groups.add(Group.objects.get(name=GROUP_NAME))
    assert sentences() == [
        f"Membership of anna: the person was taken out of the group, but is in it: {past}"
    ]


def test_verify_history_finds_a_membership_that_is_gone(membership: Membership) -> None:
    entries = list(membership.history.order_by("number"))

    # The database keeps it as long as it has entries.
    (fault,) = verification._faults(Membership, None, entries)

    assert fault.sentence == "the membership is gone, while its history is still there."
    assert verification._name(Membership, 7, None) == "Membership with the key 7"


# -- columns that only the history tells -----------------------------------------------------------


FIVE = Selection(Option.COMPLETE_ORDER, Decimal("5.00"))


def told_flag(desk: Desk) -> Refund:
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("4.00"))
    return desk.submit(desk.order("worked_sample"), rep(), FIVE)


def told_failure(desk: Desk) -> Refund:
    refund = desk.submit(desk.order("worked_sample"), rep(), FIVE)
    desk.sandbox.fail_refund(refund.digital_river_id, "account_closed")
    desk.refresh(refund.order)
    return refund


def told_refusal(desk: Desk) -> Refund:
    spoil(desk, FaultKind.ERROR, status=400)
    return desk.submit(desk.order("worked_sample"), rep(), FIVE)


@pytest.mark.parametrize(
    ("made", "column"),
    [(told_flag, "flag"), (told_failure, "failure_reason"), (told_refusal, "refusal")],
    ids=["flag", "failure_reason", "refusal"],
)
def test_column_that_was_wiped_past_the_desk_is_named(
    desk: Desk, made: Callable[[Desk], Refund], column: str
) -> None:
    refund = made(desk)
    refund.refresh_from_db()
    assert getattr(refund, column)
    assert not refund_verify(refund=refund)
    Refund.objects.filter(pk=refund.pk).update(**{column: ""})
    [finding] = refund_verify(refund=Refund.objects.get(pk=refund.pk))
    assert f"its {column.replace('_', ' ')} is nothing" in finding.sentence
    assert verify_history().findings == 1


@pytest.mark.parametrize("details", ["[" * 100_000, '{"flag":' * 50_000])
def test_details_that_nobody_can_read_keep_nothing_from_being_checked(
    desk: Desk, details: str
) -> None:
    refund = told_flag(desk)
    entry = refund.history.order_by("number").first()
    assert entry is not None
    with unguarded():
        HistoryEntry.objects.filter(pk=entry.pk).update(details=details)
    [finding] = refund_verify(refund=Refund.objects.get(pk=refund.pk))
    assert finding.number == entry.number


def test_actor_that_is_none_is_shown_as_it_stands(desk: Desk) -> None:
    refund = told_flag(desk)
    with unguarded():
        HistoryEntry.objects.filter(refund=refund).update(actor_kind="nobody", actor=None)
    assert {entry.by for entry in refund.history.all()} == {"nobody"}
    assert refund_verify(refund=Refund.objects.get(pk=refund.pk))
