"""Drafts: whose they are, what can be kept in one, and how they end."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from refunds.errors import (
    AmountInvalid,
    DraftClosed,
    OptionClosed,
    OrderNotEligible,
    PermissionMissing,
    QuantityInvalid,
    RefundDeskError,
    SelectionInvalid,
)
from refunds.models import Grounds, Order, Refund, RefundReason
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import lines_of, selection_of
from refunds.services.drafts import draft_choose, draft_create, draft_discard, drafts_expire
from tests.desk import Desk, person, rep
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db

State = Refund.State
SHIPPING = Selection(Option.SHIPPING, Decimal("2.00"))


def grounds(**more: str) -> Grounds:
    """Return a reason from the list."""
    return Grounds(reason=RefundReason.objects.get(label="Requested by customer"), **more)


def choose(desk: Desk, draft: Refund, selection: Selection, user: User | None = None) -> Refund:
    """Choose in the draft and return it as it then is."""
    draft_choose(
        draft=draft,
        user=user or rep(),
        selection=selection,
        grounds=grounds(),
        clock=desk.clock,
    )
    return Refund.objects.get(pk=draft.pk)


def test_draft_create_begins_one_that_expires(desk: Desk) -> None:
    order = desk.order("worked_sample")

    draft = draft_create(order=order, user=rep(), clock=desk.clock)

    assert draft.is_draft
    assert draft.created_by == rep()
    assert draft.currency == "USD"
    assert draft.draft_expires_at == desk.clock() + timedelta(hours=24)
    assert draft.submitted_at is None
    assert draft.held_amount == 0
    assert len(draft.reference) == len("R-4827-1936")
    entry = draft.history.get()
    assert (entry.summary, entry.actor) == ("Draft begun.", rep())
    assert Order.objects.get(pk=order.pk).left_amount == Decimal("27.01")


def test_draft_create_gives_each_its_own(desk: Desk) -> None:
    order = desk.order("worked_sample")
    drafts = {draft_create(order=order, user=rep(), clock=desk.clock).reference for _ in range(5)}

    assert len(drafts) == 5


def test_draft_create_refuses_who_is_not_in_the_group(desk: Desk) -> None:
    order = desk.order("worked_sample")

    with pytest.raises(PermissionMissing):
        draft_create(order=order, user=person("viewer"), clock=desk.clock)

    assert not Refund.objects.exists()


@pytest.mark.parametrize(
    "case",
    [
        "dispute",
        "in_review",
        "accepted_with_capture",
        "accepted_uncaptured",
        "fulfilled_uncaptured",
        "cancelled",
        "blocked",
        "pending_payment",
        "no_digital_river_id",
        "fully_refunded",
    ],
)
def test_draft_create_refuses_an_order_that_cannot_be_refunded(desk: Desk, case: str) -> None:
    order = desk.order(case)

    with pytest.raises(OrderNotEligible):
        draft_create(order=order, user=rep(), clock=desk.clock)

    assert not Refund.objects.filter(state=State.DRAFT).exists()


def test_draft_choose_keeps_the_choice_and_its_grounds(desk: Desk) -> None:
    order = desk.order("worked_sample")
    draft = draft_create(order=order, user=rep(), clock=desk.clock)
    desk.clock.forward(hours=1)

    quote = draft_choose(
        draft=draft,
        user=rep(),
        selection=SHIPPING,
        grounds=grounds(note="Called twice", ticket_url="https://tickets.example/7"),
        clock=desk.clock,
    )

    assert quote.total == Decimal("2.00")
    draft = Refund.objects.get(pk=draft.pk)
    assert draft.option == Option.SHIPPING
    assert draft.requested_amount == Decimal("2.00")
    assert draft.note == "Called twice"
    assert draft.ticket_url == "https://tickets.example/7"
    assert draft.reason_text == grounds().wire_text
    assert draft.draft_expires_at == desk.clock() + timedelta(hours=24)
    assert draft.updated_at == desk.clock()
    assert selection_of(draft, lines_of(order)) == SHIPPING
    last = draft.history.last()
    assert last is not None
    assert last.summary == "Chose Shipping."


def test_draft_choose_twice_keeps_only_the_last_choice(desk: Desk) -> None:
    order = desk.order("all_options")
    items = [line.digital_river_id for line in lines_of(order)]
    draft = draft_create(order=order, user=rep(), clock=desk.clock)
    lines = Selection(
        Option.LINE_ITEMS,
        lines=(LineSelection(items[0], 2), LineSelection(items[1], 1, Decimal("5.00"))),
    )
    draft = choose(desk, draft, lines)
    kept = selection_of(draft, lines_of(order))
    assert [(line.line, line.quantity) for line in kept.lines] == [(items[0], 2), (items[1], 1)]
    assert kept.lines[1].amount == Decimal("5.00")

    draft = choose(desk, draft, Selection(Option.TAX))

    assert draft.lines.count() == 0
    assert draft.requested_amount is None
    assert selection_of(draft, lines_of(order)) == Selection(Option.TAX)

    draft = choose(desk, draft, Selection(Option.FEES, lines=(LineSelection(items[0]),)))
    kept = selection_of(draft, lines_of(order))
    assert [line.line for line in kept.lines] == [items[0]]


NOT_POSSIBLE = [
    pytest.param(Selection(Option.COMPLETE_ORDER, Decimal("27.02")), AmountInvalid, id="too much"),
    pytest.param(Selection(Option.COMPLETE_ORDER, Decimal(0)), AmountInvalid, id="zero"),
    pytest.param(Selection(Option.SHIPPING, Decimal("-1")), AmountInvalid, id="negative"),
    pytest.param(Selection(Option.SHIPPING, Decimal("NaN")), AmountInvalid, id="no number"),
    pytest.param(Selection(Option.SHIPPING, Decimal("1E+400")), AmountInvalid, id="enormous"),
    pytest.param(Selection(Option.SHIPPING, Decimal("1.001")), AmountInvalid, id="too fine"),
    pytest.param(Selection(Option.IMPORTER_DUTY), OptionClosed, id="closed option"),
    pytest.param(Selection(Option.LINE_ITEMS), SelectionInvalid, id="no line"),
]


@pytest.mark.parametrize(("selection", "error"), NOT_POSSIBLE)
def test_draft_choose_of_what_cannot_be_refunded_keeps_what_there_was(
    desk: Desk, selection: Selection, error: type[RefundDeskError]
) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), SHIPPING)
    before = Refund.objects.filter(pk=draft.pk).values().get()
    desk.clock.forward(minutes=1)

    with pytest.raises(error):
        choose(desk, draft, selection)

    assert Refund.objects.filter(pk=draft.pk).values().get() == before


def test_draft_choose_refuses_more_units_than_the_line_has(desk: Desk) -> None:
    order = desk.order("worked_sample")
    draft = draft_create(order=order, user=rep(), clock=desk.clock)
    line = lines_of(order)[0].digital_river_id

    with pytest.raises(QuantityInvalid):
        choose(desk, draft, Selection(Option.LINE_ITEMS, lines=(LineSelection(line, 3),)))


def test_draft_choose_refuses_another_person_s_draft(desk: Desk) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), SHIPPING)

    with pytest.raises(DraftClosed):
        choose(desk, draft, Selection(Option.TAX), rep("rep2"))

    assert Refund.objects.get(pk=draft.pk).option == Option.SHIPPING


def test_draft_choose_refuses_who_left_the_group(desk: Desk) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), SHIPPING)

    with pytest.raises(PermissionMissing):
        choose(desk, draft, Selection(Option.TAX), person("rep"))


def test_draft_choose_refuses_one_that_was_submitted(desk: Desk, wire: Wire) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), SHIPPING)
    stale = Refund.objects.get(pk=refund.pk)
    stale.state = State.DRAFT

    for draft in (refund, stale):
        with pytest.raises(DraftClosed):
            choose(desk, draft, Selection(Option.COMPLETE_ORDER, Decimal("20.00")))

    kept = Refund.objects.get(pk=refund.pk)
    assert (kept.option, kept.requested_amount) == (Option.SHIPPING, Decimal("2.00"))


def test_draft_choose_refuses_one_that_expired(desk: Desk) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), SHIPPING)
    desk.clock.forward(hours=24)

    with pytest.raises(DraftClosed, match="expired"):
        choose(desk, draft, SHIPPING)


def test_draft_discard_closes_it_for_good(desk: Desk, wire: Wire) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), SHIPPING)

    draft_discard(draft=draft, user=rep(), clock=desk.clock)

    draft.refresh_from_db()
    assert draft.state == State.CANCELLED
    assert draft.submitted_at is None
    assert draft.draft_expires_at is None
    with pytest.raises(DraftClosed):
        draft_discard(draft=draft, user=rep(), clock=desk.clock)
    with pytest.raises(DraftClosed):
        choose(desk, draft, SHIPPING)
    assert wire.posts == []


def test_draft_discard_refuses_another_person_s_draft(desk: Desk) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), SHIPPING)

    with pytest.raises(DraftClosed):
        draft_discard(draft=draft, user=rep("rep2"), clock=desk.clock)

    assert Refund.objects.get(pk=draft.pk).is_draft


def test_draft_discard_refuses_one_that_was_submitted(desk: Desk) -> None:
    refund = desk.submit(desk.order("worked_sample"), rep(), SHIPPING)

    with pytest.raises(DraftClosed):
        draft_discard(draft=refund, user=rep(), clock=desk.clock)

    assert Refund.objects.get(pk=refund.pk).state == State.PENDING


def test_drafts_expire_drops_only_those_whose_time_is_up(desk: Desk) -> None:
    order = desk.order("worked_sample")
    old = desk.draft(order, rep(), SHIPPING)
    submitted = desk.submit(order, rep(), SHIPPING)
    desk.clock.forward(hours=23, minutes=59)
    young = desk.draft(order, rep("rep2"), SHIPPING)
    assert drafts_expire(clock=desk.clock) == 0

    desk.clock.forward(minutes=1)
    assert drafts_expire(clock=desk.clock) == 1
    assert drafts_expire(clock=desk.clock) == 0

    states = {refund.pk: refund.state for refund in Refund.objects.filter(order=order)}
    assert states == {
        old.pk: State.CANCELLED,
        submitted.pk: State.PENDING,
        young.pk: State.DRAFT,
    }
    last = Refund.objects.get(pk=old.pk).history.last()
    assert last is not None
    assert (last.summary, last.actor_kind) == ("Draft expired.", "sweep")


def test_draft_reason_in_the_rep_s_words_is_what_is_sent(desk: Desk, wire: Wire) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), SHIPPING)
    other = RefundReason.objects.filter(needs_text=True).first()
    assert other is not None
    draft_choose(
        draft=draft,
        user=rep(),
        selection=SHIPPING,
        grounds=replace(grounds(note="for us only"), reason=other, words="Läckage i lådan"),
        clock=desk.clock,
    )
    draft = Refund.objects.get(pk=draft.pk)

    assert draft.reason_text == "Läckage i lådan"
    assert draft.reason == other
