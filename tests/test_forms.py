"""The wizard's forms: text becomes a selection, or is refused at the field at fault."""

from decimal import Decimal

import pytest
from django.core import signing
from pytest_django import Settings

from refunds.forms import OptionForm, ReviewForm
from refunds.models import Order, Refund, RefundReason
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import order_position
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(desk: Desk) -> Order:
    return desk.order("worked_sample")


@pytest.fixture
def draft(desk: Desk, order: Order) -> Refund:
    return desk.draft(order, rep(), Selection(Option.SHIPPING, Decimal("1.00")))


@pytest.fixture
def line(order: Order) -> str:
    return order.lines.get().key


def option_form(draft: Refund, **data: str) -> OptionForm:
    """Return the form as it comes back with a reason and this."""
    reason = RefundReason.objects.get(label="Requested by customer")
    return OptionForm(
        {"reason": str(reason.pk), **data}, position=order_position(draft.order), draft=draft
    )


# -- what was chosen -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "selection"),
    [
        (
            {"option": "complete_order", "amount_of_complete_order": "27.01"},
            Selection(Option.COMPLETE_ORDER, Decimal("27.01")),
        ),
        (
            {"option": "shipping", "amount_of_shipping": "2"},
            Selection(Option.SHIPPING, Decimal("2.00")),
        ),
        ({"option": "tax"}, Selection(Option.TAX)),
    ],
)
def test_option_form_becomes_a_selection(
    draft: Refund, data: dict[str, str], selection: Selection
) -> None:
    form = option_form(draft, **data)
    assert form.is_valid(), form.errors
    assert form.selection == selection
    assert form.quote is not None
    assert form.quote.total == order_position(draft.order).quote(selection).total


@pytest.mark.parametrize(
    ("quantity", "shown_for", "typed", "amount"),
    [
        ("1", "0", "", None),
        ("1", "1", "10.81", Decimal("10.81")),
        ("2", "1", "10.81", None),
        ("2", "1", "9.00", Decimal("9.00")),
        ("2", "2", "", None),
        ("2", "", "20", Decimal("20.00")),
    ],
)
def test_option_form_knows_an_amount_that_was_typed_from_one_that_was_filled_in(
    draft: Refund, line: str, quantity: str, shown_for: str, typed: str, amount: Decimal | None
) -> None:
    form = option_form(
        draft,
        option="line_items",
        **{f"quantity_{line}": quantity, f"for_{line}": shown_for, f"amount_{line}": typed},
    )
    assert form.is_valid(), form.errors
    assert form.selection.lines == (LineSelection(line, int(quantity), amount),)


@pytest.mark.parametrize("shown_for", ["-1", "x", "99", "9" * 40])
def test_option_form_does_not_trust_what_an_amount_was_filled_in_for(
    draft: Refund, line: str, shown_for: str
) -> None:
    form = option_form(
        draft,
        option="line_items",
        **{f"quantity_{line}": "1", f"for_{line}": shown_for, f"amount_{line}": "5.00"},
    )
    if form.is_valid():
        assert form.selection.lines == (LineSelection(line, 1, Decimal("5.00")),)
    else:
        assert list(form.errors) == [f"for_{line}"]


def test_option_form_gives_the_grounds(draft: Refund) -> None:
    other = RefundReason.objects.get(label="Other")
    form = option_form(
        draft,
        option="tax",
        reason=str(other.pk),
        reason_text=" Found it cheaper ",
        note="A note",
        ticket_url="tickets.example.com/1",
    )
    assert form.is_valid(), form.errors
    assert form.grounds.wire_text == "Found it cheaper"
    assert form.grounds.note == "A note"
    assert form.grounds.ticket_url == "https://tickets.example.com/1"


# -- errors stand at their fields ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "option"),
        ({"option": "fees"}, "option"),
        ({"option": "importer_duty", "amount_of_importer_duty": "1"}, "option"),
        ({"option": "shipping", "amount_of_shipping": "NaN"}, "amount_of_shipping"),
        ({"option": "shipping", "amount_of_shipping": "99"}, "amount_of_shipping"),
        ({"option": "line_items"}, "option"),
        ({"option": "line_items", "quantity_LINE": "7"}, "quantity_LINE"),
        ({"option": "line_items", "quantity_LINE": "1", "amount_LINE": "99"}, "amount_LINE"),
        ({"option": "line_items", "quantity_LINE": "1", "amount_LINE": "1e400"}, "amount_LINE"),
        ({"option": "line_items", "amount_LINE": "3"}, "quantity_LINE"),
        ({"option": "tax", "reason": ""}, "reason"),
        ({"option": "tax", "reason_text": "x" * 65}, "reason_text"),
        ({"option": "tax", "ticket_url": "javascript:alert(1)"}, "ticket_url"),
        ({"option": "tax", "note": "x" * 2001}, "note"),
    ],
)
def test_option_form_refuses_at_the_field_at_fault(
    draft: Refund, line: str, data: dict[str, str], field: str
) -> None:
    named = {name.replace("LINE", line): text for name, text in data.items()}
    form = option_form(draft, **named)
    assert not form.is_valid()
    assert list(form.errors) == [field.replace("LINE", line)]
    assert len(form.errors[field.replace("LINE", line)]) == 1


def test_option_form_of_a_closed_order_refuses_at_no_field(
    desk: Desk, draft: Refund, order: Order
) -> None:
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    desk.refresh(order)
    draft.refresh_from_db()
    form = option_form(draft, option="tax")
    assert not form.is_valid()
    assert len(form.non_field_errors()) == 1


def test_option_form_has_no_fields_for_a_line_with_nothing_left(desk: Desk) -> None:
    order = desk.order("plain_usd")
    first = order.lines.order_by("position")[0]
    chosen = LineSelection(first.key, first.quantity)
    desk.submit(order, rep(), Selection(Option.LINE_ITEMS, lines=(chosen,)))
    draft = desk.draft(order, rep(), Selection(Option.SHIPPING))
    form = OptionForm(position=order_position(order), draft=draft)
    assert f"quantity_{first.key}" not in form.fields
    assert first.key not in [each.line.figures.line for each in form.line_fields()]
    refused = option_form(draft, option="line_items", **{f"quantity_{first.key}": "1"})
    assert refused.errors["option"] == [f"{first.product_name}: nothing is left to refund."]


def test_option_form_live_total_leaves_the_grounds_aside(draft: Refund) -> None:
    form = option_form(
        draft, option="shipping", amount_of_shipping="99", reason="", note="x" * 3000
    )
    assert not form.is_valid()
    assert form.selection_errors() == ["At most USD 5.40 can be refunded here."]
    nothing = option_form(draft, reason="")
    assert not nothing.is_valid()
    assert nothing.selection_errors() == []


# -- how amounts are filled in ---------------------------------------------------------------------


@pytest.mark.parametrize(("language", "typed"), [("en-us", "1234.50"), ("de", "1234,50")])
def test_option_form_types_amounts_as_the_desk_reads_them(
    draft: Refund, settings: Settings, language: str, typed: str
) -> None:
    settings.LANGUAGE_CODE = language
    form = OptionForm(position=order_position(draft.order), draft=draft)
    assert form.typed(Decimal("1234.5")) == typed
    back = option_form(draft, option="shipping", amount_of_shipping=form.typed(Decimal("2.5")))
    assert back.is_valid(), back.errors
    assert back.selection.amount == Decimal("2.50")


def test_option_form_shows_what_was_chosen(draft: Refund) -> None:
    position = order_position(draft.order)
    chosen = Selection(Option.SHIPPING, Decimal("1.00"))
    form = OptionForm(position=position, draft=draft, chosen=chosen)
    assert form["amount_of_shipping"].value() == "1.00"
    assert form["amount_of_complete_order"].value() == "27.01"
    assert [each.choice.option for each in form.option_fields() if each.checked] == [
        Option.SHIPPING
    ]


# -- the figures the rep saw -----------------------------------------------------------------------


def test_review_form_brings_the_figures_back_as_they_were_shown(desk: Desk, draft: Refund) -> None:
    quote = order_position(draft.order).quote(Selection(Option.TAX))
    carried = ReviewForm.showing(quote, draft=draft).initial["seen"]
    form = ReviewForm({"seen": carried}, draft=draft)
    assert form.is_valid(), form.errors
    seen = form.cleaned_data["seen"]
    assert seen.figures == quote.figures()
    assert all(isinstance(amount, Decimal) for amount in seen.figures.values())
    assert seen.draft_changed_at == draft.updated_at


@pytest.mark.parametrize("text", ["", "rubbish", "a:b:c", "\x00", "é", "x" * 100_000])
def test_review_form_refuses_what_the_desk_did_not_sign(draft: Refund, text: str) -> None:
    form = ReviewForm({"seen": text}, draft=draft)
    assert not form.is_valid()
    assert list(form.errors) == ["seen"]


def test_review_form_refuses_the_figures_of_another_draft(
    desk: Desk, draft: Refund, order: Order
) -> None:
    other = desk.draft(order, rep(), Selection(Option.TAX))
    quote = order_position(order).quote(Selection(Option.TAX))
    carried = ReviewForm.showing(quote, draft=other).initial["seen"]
    form = ReviewForm({"seen": carried}, draft=draft)
    assert not form.is_valid()
    assert "Nothing" in form.errors["seen"][0] or "nothing" in form.errors["seen"][0]


def test_review_form_refuses_what_the_desk_signed_for_something_else(draft: Refund) -> None:
    carried = signing.dumps({"figures": {}, "at": "", "draft": ""}, salt="refunds.page")
    assert not ReviewForm({"seen": carried}, draft=draft).is_valid()
