"""The chain of a history: how entries follow on each other, and who may not touch them."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction

from refunds.models import COMMAND, Actor, HistoryEntry, Refund, RefundReason
from refunds.models.history import entry_append
from refunds.services.settlements import history_add
from tests.desk import person
from tests.models.test_moves import refund_in

AT = datetime(2026, 11, 2, 9, 0, 0, 123456, tzinfo=UTC)
CHANGES: list[Callable[[HistoryEntry], object]] = [
    lambda entry: HistoryEntry.objects.filter(pk=entry.pk).update(summary="Another."),
    lambda entry: HistoryEntry.objects.filter(pk=entry.pk).delete(),
    lambda entry: HistoryEntry.objects.bulk_update([_edited(entry)], ["summary"]),
    lambda entry: _edited(entry).save(),
    lambda entry: entry.delete(),
    lambda entry: _execute("UPDATE refunds_historyentry SET hash = '' WHERE id = %s", entry.pk),
    lambda entry: _execute("DELETE FROM refunds_historyentry WHERE id = %s", entry.pk),
    lambda _entry: _execute("UPDATE refunds_historyentry SET at = now()"),
]


def _edited(entry: HistoryEntry) -> HistoryEntry:
    entry.summary = "Another."
    return entry


def _execute(statement: str, *parameters: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


def note(refund: Refund, summary: str = "Noted.", **more: object) -> HistoryEntry:
    """Append an entry to a refund's history."""
    details = more.pop("details", None)
    assert details is None or isinstance(details, dict)
    return entry_append(refund, actor=COMMAND, at=AT, summary=summary, details=details)


@pytest.mark.django_db
def test_entry_append_chains_the_entries_of_each_refund_by_itself() -> None:
    one = refund_in("pending")
    other = Refund.objects.get(pk=one.pk)
    other.pk, other.reference = None, "R-0000-0001"
    other.save(force_insert=True)
    for refund in (one, other, one, one, other):
        note(refund)

    for refund, length in ((one, 3), (other, 2)):
        chain = list(refund.history.order_by("number"))
        assert [entry.number for entry in chain] == list(range(1, length + 1))
        assert chain[0].previous_hash == ""
        assert all(after.previous_hash == before.hash for before, after in pairwise(chain))
        kept = Refund.objects.get(pk=refund.pk)
        assert (kept.history_length, kept.history_head) == (length, chain[-1].hash)
        assert (refund.history_length, refund.history_head) == (length, chain[-1].hash)


@pytest.mark.django_db
def test_entry_append_goes_by_the_row_and_not_by_a_stale_object() -> None:
    refund = refund_in("pending")
    stale = Refund.objects.get(pk=refund.pk)
    note(refund)

    note(stale)

    assert [entry.number for entry in refund.history.all()] == [1, 2]
    assert stale.history_length == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "Grüße, 東京 and 🙂",
        "two\nlines\r\nand\ta tab",
        'a "quote", a \\ and a \x7f',
        "é e\u0301",
    ],
)
@pytest.mark.parametrize(
    "at",
    [
        AT,
        AT.replace(microsecond=0),
        AT.replace(microsecond=100),
        AT.astimezone(timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_hash_is_the_same_once_the_entry_is_read_back(text: str, at: datetime) -> None:
    refund = refund_in("pending")
    written = entry_append(
        refund,
        actor=Actor.person(person("somebody")),
        at=at,
        summary=text,
        from_state=Refund.State.PENDING,
        to_state=Refund.State.PENDING,
        request_id=text[:20],
        details={"amount": Decimal("27.0100"), "words": text, "when": at, "none": None},
    )

    read = HistoryEntry.objects.get(pk=written.pk)

    assert read.hash == read.computed_hash == written.hash
    assert read.hashed_text == written.hashed_text
    assert read.hash == hashlib.sha256(read.hashed_text.encode()).hexdigest()
    assert read.told["amount"] == "27.0100"
    assert read.told["none"] == ""


def test_hash_is_made_as_it_always_was() -> None:
    entry = HistoryEntry(
        refund_id=17,
        number=2,
        at=AT,
        actor_kind=HistoryEntry.ActorKind.PERSON,
        actor_id=3,
        from_state=Refund.State.QUEUED,
        to_state=Refund.State.SUBMITTING,
        summary="Grüße",
        details='{"a": "1"}',
        request_id="req-1",
        previous_hash="00ff",
    )

    assert entry.hashed_text == (
        '["1","refund 17",2,"2026-11-02T09:00:00.123456+00:00","person",3,"queued","submitting",'
        '"Grüße","{\\"a\\": \\"1\\"}","req-1","00ff"]'
    )
    assert entry.computed_hash == hashlib.sha256(entry.hashed_text.encode()).hexdigest()


@pytest.mark.parametrize("column", ["summary", "details", "request_id", "previous_hash", "number"])
def test_hash_is_another_once_anything_is(column: str) -> None:
    entry = HistoryEntry(refund_id=17, number=2, at=AT, actor_kind="sweep", summary="Swept.")
    before = entry.computed_hash

    setattr(entry, column, 3 if column == "number" else "other")

    assert entry.computed_hash != before


@pytest.mark.django_db
def test_entry_append_cuts_what_no_column_takes() -> None:
    refund = refund_in("pending")

    entry = entry_append(
        refund,
        actor=COMMAND,
        at=AT,
        summary="s" * 501,
        request_id="r" * 101,
        details={"a": "d" * 900},
    )

    read = HistoryEntry.objects.get(pk=entry.pk)
    assert (len(read.summary), len(read.request_id)) == (500, 100)
    assert read.told == {"a": "d" * 900}
    assert read.hash == read.computed_hash


@pytest.mark.parametrize("details", ["", "no json", "[1]", "17"])
def test_told_is_empty_where_nothing_readable_is(details: str) -> None:
    assert HistoryEntry(details=details).told == {}


@pytest.mark.django_db
def test_move_and_its_entry_are_written_together_or_not_at_all() -> None:
    refund = refund_in("queued")
    note(refund)
    before = Refund.objects.filter(pk=refund.pk).values().get()

    with transaction.atomic():
        refund.move_to("cancelled", actor=COMMAND, at=AT, summary="Called off.")
        transaction.set_rollback(True)

    assert Refund.objects.filter(pk=refund.pk).values().get() == before
    assert refund.history.count() == 1


@pytest.mark.django_db
def test_entry_that_cannot_be_written_takes_the_move_back(monkeypatch: pytest.MonkeyPatch) -> None:
    refund = refund_in("queued")

    def broken(_entry: HistoryEntry) -> str:
        raise DatabaseError

    monkeypatch.setattr(HistoryEntry, "computed_hash", property(broken))
    with pytest.raises(DatabaseError):
        refund.move_to("cancelled", actor=COMMAND, at=AT, summary="Called off.")

    assert Refund.objects.get(pk=refund.pk).state == "queued"
    assert not refund.history.exists()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize(
    "many", [pytest.param(10, marks=pytest.mark.postgresql, id="ten"), pytest.param(4, id="four")]
)
def test_parallel_entries_of_one_refund_make_one_chain(many: int) -> None:
    refund = refund_in("pending")

    outcomes = at_once([lambda: _note_five(refund.pk)] * many)

    assert outcomes == [None] * many
    chain = list(refund.history.order_by("number"))
    assert [entry.number for entry in chain] == list(range(1, 5 * many + 1))
    assert all(after.previous_hash == before.hash for before, after in pairwise(chain))
    refund.refresh_from_db()
    assert (refund.history_length, refund.history_head) == (5 * many, chain[-1].hash)


def _note_five(pk: int) -> None:
    for _ in range(5):
        refund = Refund.objects.get(pk=pk)
        history_add(refund=refund, actor=COMMAND, at=AT, summary="Noted.")


def at_once(jobs: Sequence[Callable[[], None]]) -> list[object]:
    """Run the jobs in threads that start together; returns what each returned or raised."""
    start = threading.Barrier(len(jobs))
    outcomes: list[object] = ["did not run"] * len(jobs)

    def run(place: int) -> None:
        try:
            start.wait(timeout=30)
            outcomes[place] = jobs[place]()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the test judges it
            outcomes[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


# -- what PostgreSQL refuses -----------------------------------------------------------------------


@pytest.mark.postgresql
@pytest.mark.django_db
@pytest.mark.parametrize("change", CHANGES)
def test_database_refuses_to_change_or_delete_an_entry(
    change: Callable[[HistoryEntry], object],
) -> None:
    refund = refund_in("pending")
    note(refund)
    entry = note(refund)
    before = list(HistoryEntry.objects.values())

    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        change(HistoryEntry.objects.get(pk=entry.pk))

    assert list(HistoryEntry.objects.values()) == before
    note(refund)
    assert refund.history.count() == 3


@pytest.mark.postgresql
@pytest.mark.django_db
def test_database_lets_a_copy_be_restored_over_itself() -> None:
    refund = refund_in("pending")
    entry = note(refund)

    HistoryEntry.objects.get(pk=entry.pk).save()

    assert HistoryEntry.objects.get(pk=entry.pk).hash == entry.hash


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_database_can_still_be_emptied_as_a_whole() -> None:
    note(refund_in("pending"))

    # As after every test of this kind.
    call_command(
        "flush", interactive=False, verbosity=0, reset_sequences=False, inhibit_post_migrate=True
    )

    assert not HistoryEntry.objects.exists()


@pytest.mark.django_db
def test_reasons_of_the_first_list_have_a_first_entry() -> None:
    reasons = list(RefundReason.objects.all())

    assert reasons
    for reason in reasons:
        entry = reason.history.get()
        assert (entry.number, entry.hash) == (1, entry.computed_hash)
        assert (reason.history_length, reason.history_head) == (1, entry.hash)
        assert entry.told == reason.told
