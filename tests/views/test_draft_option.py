"""Choose option: what is offered, what is refused and why, and that what was typed stays."""

from collections.abc import Mapping
from decimal import Decimal

import pytest
from pytest_django import Settings

from refunds.models import HistoryEntry, Refund, RefundLine, RefundReason
from refunds.options import LineSelection, Option, Selection
from refunds.selectors import order_position
from tests.desk import Desk, rep
from tests.views.pages import DeskClient, Page
from tests.views.test_order_page import down
from tests.views.wizard import Walk, at_digital_river

pytestmark = pytest.mark.django_db


def choices(page: Page) -> dict[str, str]:
    """Return the options that can be chosen, with the most each can give."""
    return {
        each.one("input", type="radio")["value"]: each.one("span", class_="money").text
        for each in page.root.all("div", class_="option")
        if "disabled" not in each.one("input", type="radio").attributes
    }


def closed(page: Page) -> dict[str, str]:
    """Return the options that cannot be chosen, with the reason beside each."""
    return {
        each.one("input", type="radio")["value"]: each.one("span", class_="option-note").text
        for each in page.root.all("div", class_="option")
        if "disabled" in each.one("input", type="radio").attributes
    }


@pytest.fixture
def sample(desk: Desk, as_rep: DeskClient) -> Walk:
    return Walk.begin(as_rep, desk.order("worked_sample"))


@pytest.fixture
def line(sample: Walk) -> str:
    """Return what the fields of the sample's one line end with."""
    return sample.order.lines.get().key


# -- what is offered -------------------------------------------------------------------------------


def test_every_option_of_an_order_with_all_components_can_be_chosen(
    desk: Desk, as_rep: DeskClient
) -> None:
    page = as_rep.page(Walk.begin(as_rep, desk.order("all_options")).at("option"))
    assert list(choices(page)) == [option.value for option in Option]
    assert all(most.startswith("up to GBP ") for most in choices(page).values())


def test_closed_option_is_disabled_with_the_reason_beside_it(
    sample: Walk, as_rep: DeskClient
) -> None:
    page = as_rep.page(sample.at("option"))
    assert choices(page) == {
        "complete_order": "up to USD 27.01",
        "line_items": "up to USD 21.61",
        "shipping": "up to USD 5.40",
        "tax": "up to USD 2.01",
    }
    assert closed(page) == {
        "importer_duty": "This order was charged no importer duty.",
        "importer_tax": "This order was charged no importer tax.",
    }


def test_order_that_does_not_add_up_offers_the_whole_alone(desk: Desk, as_rep: DeskClient) -> None:
    page = as_rep.page(Walk.begin(as_rep, desk.order("inconsistent")).at("option"))
    assert list(choices(page)) == ["complete_order"]
    assert all("do not add up" in why for why in closed(page).values())


def test_option_in_flight_is_closed_with_the_reason(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.40")))
    page = as_rep.page(Walk.begin(as_rep, order).at("option"))
    assert closed(page)["shipping"] == (
        "All of the shipping (USD 5.40) was refunded already, or is on its way."
    )


def test_page_shows_the_steps_and_the_summary(sample: Walk, as_rep: DeskClient) -> None:
    page = as_rep.page(sample.at("option"))
    steps = page.root.one("ol", class_="steps").all("li")
    assert [each.get("aria-current") for each in steps] == ["", "step", "", ""]
    summary = page.root.one("aside")
    assert f"Order {sample.order.order_number}" in summary.text
    assert "Whole order USD 27.01" in summary.text
    assert "Choose an option to see what it comes to." in summary.text


def test_amounts_are_filled_in_with_all_that_is_left(sample: Walk) -> None:
    values = sample.values()
    assert values["amount_of_complete_order"] == "27.01"
    assert values["amount_of_shipping"] == "5.40"
    assert "option" not in values


def test_tax_has_no_amount_to_type(sample: Walk, as_rep: DeskClient) -> None:
    page = as_rep.page(sample.at("option"))
    assert "Digital River refunds this only in full: USD 2.01." in page.text
    assert "amount_of_tax" not in sample.values()


@pytest.mark.parametrize(("case", "shown"), [("jpy", "JPY"), ("kwd", "KWD")])
def test_amounts_have_the_decimals_of_their_currency(
    desk: Desk, as_rep: DeskClient, case: str, shown: str
) -> None:
    order = desk.order(case)
    walk = Walk.begin(as_rep, order)
    typed = walk.values()["amount_of_complete_order"]
    assert len(typed.partition(".")[2]) == {"JPY": 0, "KWD": 3}[shown]
    assert walk.choose(option="complete_order").status_code == 302


# -- choosing --------------------------------------------------------------------------------------


def test_choice_is_kept_and_leads_to_the_review(sample: Walk, line: str) -> None:
    response = sample.choose(
        option="line_items",
        **{f"quantity_{line}": "1", f"amount_{line}": "3.00"},
        note="Called twice.",
        ticket_url="tickets.example.com/4711",
    )
    assert response.headers["Location"] == sample.at("review")
    draft = sample.draft
    assert (draft.option, draft.state) == ("line_items", Refund.State.DRAFT)
    assert draft.reason_text == "requested_by_customer"
    assert (draft.note, draft.ticket_url) == ("Called twice.", "https://tickets.example.com/4711")
    assert [(each.quantity, each.amount) for each in draft.lines.all()] == [(1, Decimal("3.00"))]


def test_choice_comes_back_as_it_was_left(sample: Walk, line: str) -> None:
    other = RefundReason.objects.get(label="Other")
    sample.choose(
        option="line_items",
        reason=str(other.pk),
        reason_text="Found it cheaper",
        note="  two\n lines ",
        ticket_url="https://tickets.example.com/1",
        **{f"quantity_{line}": "2", f"amount_{line}": "10.50"},
    )
    values = sample.client.page(sample.at("option")).values("Review and Submit")
    assert values["option"] == "line_items"
    assert values["reason"] == str(other.pk)
    assert values["reason_text"] == "Found it cheaper"
    assert values["note"].split() == ["two", "lines"]
    assert values["ticket_url"] == "https://tickets.example.com/1"
    assert (values[f"quantity_{line}"], values[f"amount_{line}"]) == ("2", "10.50")
    assert values[f"for_{line}"] == "2"


def test_other_option_chosen_later_leaves_nothing_of_the_first(sample: Walk, line: str) -> None:
    sample.choose(option="line_items", **{f"quantity_{line}": "1"})
    sample.choose(option="shipping", amount_of_shipping="1.00")
    assert sample.draft.option == "shipping"
    assert sample.draft.requested_amount == Decimal("1.00")
    assert not RefundLine.objects.filter(refund=sample.draft, amount__isnull=False).exists()


def test_fields_of_other_options_do_not_stand_in_the_way(sample: Walk, line: str) -> None:
    response = sample.choose(
        option="shipping", amount_of_complete_order="nonsense", **{f"amount_{line}": "1,2,3"}
    )
    assert response.status_code == 302


def test_words_of_a_reason_that_needs_none_are_not_sent(sample: Walk) -> None:
    sample.choose(option="tax", reason_text="Ignore me")
    assert sample.draft.reason_text == "requested_by_customer"


def test_reason_of_sixty_four_characters_is_taken(sample: Walk) -> None:
    other = RefundReason.objects.get(label="Other")
    response = sample.choose(option="tax", reason=str(other.pk), reason_text="ä" * 64)
    assert response.status_code == 302
    assert sample.draft.reason_text == "ä" * 64


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("1", "1.00"),
        ("1.5", "1.50"),
        ("1,50", "1.50"),
        (" 2.00 ", "2.00"),
        ("USD 3.00", "3.00"),
        ("\N{ARABIC-INDIC DIGIT FOUR}.50", "4.50"),
        (".50", "0.50"),
        ("0.01", "0.01"),
    ],
)
def test_amount_is_read_in_the_writing_of_any_locale(sample: Walk, typed: str, meant: str) -> None:
    assert sample.choose(option="shipping", amount_of_shipping=typed).status_code == 302
    assert sample.draft.requested_amount == Decimal(meant)


def test_amount_is_filled_in_with_the_decimal_mark_of_the_desk(
    sample: Walk, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = "de"
    assert sample.values()["amount_of_complete_order"] == "27,01"
    assert sample.choose(option="complete_order").status_code == 302
    assert sample.draft.requested_amount == Decimal("27.01")


def test_fees_are_chosen_by_line(desk: Desk, as_rep: DeskClient) -> None:
    walk = Walk.begin(as_rep, desk.order("fees"))
    boxes = as_rep.page(walk.at("option")).main.all("input", type="checkbox")
    assert walk.choose(option="fees", **{boxes[0]["name"]: "on"}).status_code == 302
    assert walk.draft.lines.count() == 1
    page = as_rep.page(walk.at("option"))
    assert ["checked" in each.attributes for each in page.main.all("input", type="checkbox")] == [
        True
    ] + [False] * (len(boxes) - 1)


# -- bad input -------------------------------------------------------------------------------------

NOT_AN_AMOUNT = "That is not an amount. Write it like 1,234.50."
TOO_LARGE = "The amount is larger than the desk can handle."


def refused(walk: Walk, changes: Mapping[str, str], *, sentence: str) -> Page:
    """Post it and check that it is refused in this sentence, and that nothing came of it."""
    before = walk.draft
    entries = HistoryEntry.objects.count()
    response = walk.choose(**changes)
    assert response.status_code == 422
    page = Page(response)
    assert sentence in page.errors, page.errors
    assert page.title.startswith("Error: ")
    after = walk.draft
    assert (after.updated_at, after.option, after.note) == (
        before.updated_at,
        before.option,
        before.note,
    )
    assert HistoryEntry.objects.count() == entries
    return page


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("", "Enter an amount."),
        ("   ", "Enter an amount."),
        ("0", "Enter an amount of at least USD 0.01."),
        ("0.00", "Enter an amount of at least USD 0.01."),
        ("-1", "The amount cannot be negative."),
        ("\N{MINUS SIGN}1.00", "The amount cannot be negative."),
        ("(1.00)", "The amount cannot be negative."),
        ("NaN", NOT_AN_AMOUNT),
        ("sNaN", NOT_AN_AMOUNT),
        ("inf", NOT_AN_AMOUNT),
        ("-Infinity", "The amount cannot be negative."),
        ("1e400", NOT_AN_AMOUNT),
        ("1E2", NOT_AN_AMOUNT),
        ("0x10", NOT_AN_AMOUNT),
        ("1.005", "“1.005” can be read in two ways."),
        ("1,234", "“1,234” can be read in two ways."),
        ("1.2345", "USD has at most 2 decimals. Write the amount like 1,234.50."),
        ("5.41", "At most USD 5.40 can be refunded here."),
        ("9" * 16, TOO_LARGE),
        ("9" * 41, "The amount is too long. Write it like 1,234.50."),
        ("EUR 1.00", NOT_AN_AMOUNT),
        ("1.00 2.00", NOT_AN_AMOUNT),
        ("five", NOT_AN_AMOUNT),
        ("1/2", NOT_AN_AMOUNT),
        ("½", NOT_AN_AMOUNT),
        ("<b>1</b>", NOT_AN_AMOUNT),
    ],
)
def test_amount_that_is_none_is_refused_and_stays_in_its_field(
    sample: Walk, typed: str, sentence: str
) -> None:
    before = sample.draft.updated_at
    response = sample.choose(option="shipping", amount_of_shipping=typed, note="Keep me")
    assert response.status_code == 422
    page = Page(response)
    (error,) = page.errors
    assert error.startswith(sentence)
    assert page.main.all("a", href="#id_amount_of_shipping")
    values = page.values("Review and Submit")
    assert values["amount_of_shipping"].strip() == typed.strip()
    assert (values["option"], values["note"]) == ("shipping", "Keep me")
    draft = sample.draft
    assert (draft.updated_at, draft.option, draft.note) == (before, "", "")


@pytest.mark.parametrize("typed", ["1\x00", "1\ud800"])
def test_amount_with_marks_that_no_text_has_is_refused(sample: Walk, typed: str) -> None:
    data = sample.values(option="shipping")
    body = "&".join(f"{name}={value}" for name, value in data.items() if "shipping" not in name)
    raw = typed.encode("utf-8", "surrogatepass")
    quoted = "".join(f"%{byte:02X}" for byte in raw)
    response = sample.client.generic(
        "POST",
        sample.at("option"),
        f"{body}&option=shipping&amount_of_shipping={quoted}",
        content_type="application/x-www-form-urlencoded",
    )
    assert response.status_code == 422
    assert sample.draft.option == ""


@pytest.mark.parametrize(
    ("quantity", "sentence"),
    [
        ("3", "{label}: at most 2 can still be refunded."),
        ("-1", "{label}: the quantity cannot be negative."),
        ("1.5", "{label}: enter the quantity as a whole number."),
        ("two", "{label}: enter the quantity as a whole number."),
        ("9" * 30, "{label}: at most 2 can still be refunded."),
        ("9" * 5000, "{label}: enter the quantity as a whole number."),
        ("1e1", "{label}: enter the quantity as a whole number."),
        ("NaN", "{label}: enter the quantity as a whole number."),
        ("0", "Choose how many units to refund of at least one line."),
        ("", "Choose how many units to refund of at least one line."),
    ],
)
def test_quantity_that_is_none_is_refused(
    sample: Walk, line: str, quantity: str, sentence: str
) -> None:
    label = sample.order.lines.get().product_name
    page = refused(
        sample,
        {"option": "line_items", f"quantity_{line}": quantity},
        sentence=sentence.format(label=label),
    )
    assert page.values("Review and Submit")[f"quantity_{line}"] == quantity


@pytest.mark.parametrize(
    ("quantity", "amount", "sentence"),
    [
        ("1", "10.82", "{label}: at most USD 10.81 can be refunded for 1 unit."),
        ("2", "0", "{label}: enter an amount of at least USD 0.01, or leave the line out."),
        ("0", "5.00", "{label}: choose the number of units the amount is for."),
        ("1", "-5", "{label}: The amount cannot be negative."),
        ("1", "NaN", f"{{label}}: {NOT_AN_AMOUNT}"),
    ],
)
def test_line_total_that_does_not_fit_is_refused(
    sample: Walk, line: str, quantity: str, amount: str, sentence: str
) -> None:
    label = sample.order.lines.get().product_name
    page = refused(
        sample,
        {"option": "line_items", f"quantity_{line}": quantity, f"amount_{line}": amount},
        sentence=sentence.format(label=label),
    )
    assert page.values("Review and Submit")[f"amount_{line}"] == amount


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Choose a refund option."),
        ({"option": ""}, "Choose a refund option."),
        ({"option": "everything"}, "Choose a refund option from the list."),
        ({"option": "importer_duty"}, "This order was charged no importer duty."),
        (
            {"option": "importer_duty", "amount_of_importer_duty": "1.00"},
            "This order was charged no importer duty.",
        ),
        ({"option": "importer_tax"}, "This order was charged no importer tax."),
        ({"option": "fees"}, "This order was charged no regulatory fees."),
        ({"option": "tax", "reason": ""}, "Choose a reason."),
        ({"option": "tax", "reason": "999999"}, "Choose a reason from the list."),
        ({"option": "tax", "reason": "x"}, "Choose a reason from the list."),
        ({"option": "tax", "reason": "9" * 40}, "Choose a reason from the list."),
        (
            {"option": "tax", "reason_text": "x" * 65},
            "The reason is too long: Digital River takes at most 64 characters.",
        ),
        (
            {"option": "tax", "ticket_url": "javascript:alert(1)"},
            "Enter the ticket's full address, such as https://…",
        ),
        (
            {"option": "tax", "ticket_url": "data:text/html,x"},
            "Enter the ticket's full address, such as https://…",
        ),
        (
            {"option": "tax", "ticket_url": "not an address"},
            "Enter the ticket's full address, such as https://…",
        ),
        (
            {"option": "tax", "ticket_url": "https://tickets.example.com/" + "x" * 500},
            "Ensure this value has at most 500 characters (it has 528).",
        ),
        (
            {"option": "tax", "note": "x" * 2001},
            "Ensure this value has at most 2000 characters (it has 2001).",
        ),
        ({"option": "tax", "note": "a\x00b"}, "Null characters are not allowed."),
        ({"option": "tax", "reason_text": "a\x00b"}, "Null characters are not allowed."),
    ],
)
def test_bad_input_is_refused_with_a_sentence_and_nothing_is_kept(
    sample: Walk, desk: Desk, changes: dict[str, str], sentence: str
) -> None:
    page = refused(sample, changes, sentence=sentence)
    if "\x00" not in str(changes):
        values = page.values("Review and Submit")
        typed = {
            name: text for name, text in changes.items() if name in values and name != "reason"
        }
        assert {name: values[name] for name in typed} == typed
    assert at_digital_river(desk, sample.order) == 0


def test_reason_that_needs_words_is_refused_without_them(sample: Walk) -> None:
    other = RefundReason.objects.get(label="Other")
    for words in ("", "   "):
        page = refused(
            sample,
            {"option": "tax", "reason": str(other.pk), "reason_text": words},
            sentence="Write the reason for “Other”.",
        )
        assert page.main.all("a", href="#id_reason_text")


def test_reason_that_is_not_offered_any_more_is_refused(sample: Walk) -> None:
    reason = RefundReason.objects.get(label="Duplicate order")
    changes = {"option": "tax", "reason": str(reason.pk)}
    assert sample.choose(**changes).status_code == 302
    RefundReason.objects.filter(pk=reason.pk).update(active=False)
    refused(sample, changes, sentence="Choose a reason from the list.")


def test_line_of_another_order_is_not_taken(desk: Desk, sample: Walk, line: str) -> None:
    other = desk.order("plain_usd").lines.order_by("position")[0]
    refused(
        sample,
        {"option": "line_items", f"quantity_{other.key}": "1", f"amount_{other.key}": "1.00"},
        sentence="Choose how many units to refund of at least one line.",
    )
    sample.choose(option="line_items", **{f"quantity_{line}": "1", f"quantity_{other.key}": "1"})
    assert [each.order_line_id for each in sample.draft.lines.all()] == [
        sample.order.lines.get().pk
    ]


def test_fees_without_a_line_are_refused(desk: Desk, as_rep: DeskClient) -> None:
    walk = Walk.begin(as_rep, desk.order("fees"))
    refused(walk, {"option": "fees"}, sentence="Choose the lines whose fees to refund.")


def test_amount_between_the_parts_and_the_whole_is_refused_with_both_figures(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("fees")
    walk = Walk.begin(as_rep, order)
    just_less = order.left_amount - Decimal("0.01")
    response = walk.choose(option="complete_order", amount_of_complete_order=f"{just_less:.2f}")
    assert response.status_code == 422
    (error,) = Page(response).errors
    assert f"or exactly EUR {order.left_amount:,.2f} to refund all that is left" in error
    assert f"Enter at most EUR {order_position(order).whole_order_limit:,.2f}" in error
    assert walk.draft.option == ""


def test_option_closed_since_the_page_was_shown_is_refused(sample: Walk, desk: Desk) -> None:
    values = sample.values(option="shipping", amount_of_shipping="5.40")
    desk.submit(sample.order, rep("rep2"), Selection(Option.SHIPPING, Decimal("5.40")))
    response = sample.client.post(sample.at("option"), values)
    assert response.status_code == 422
    page = Page(response)
    assert page.errors == ["All of the shipping (USD 5.40) was refunded already, or is on its way."]
    assert page.main.all("a", href="#id_option")
    assert "shipping" not in choices(page)
    assert page.values("Review and Submit")["note"] == ""
    assert sample.draft.option == ""


def test_line_refunded_since_the_page_was_shown_is_refused(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("plain_usd")
    first, second = order.lines.order_by("position")[:2]
    walk = Walk.begin(as_rep, order)
    values = walk.values(
        option="line_items",
        **{f"quantity_{first.key}": "1", f"quantity_{second.key}": "1"},
    )
    all_of_it = LineSelection(first.key, first.quantity)
    desk.submit(order, rep("rep2"), Selection(Option.LINE_ITEMS, lines=(all_of_it,)))
    response = as_rep.post(walk.at("option"), values)
    assert response.status_code == 422
    assert Page(response).errors == [f"{first.product_name}: nothing is left to refund."]
    assert walk.draft.option == ""


def test_order_disputed_since_the_page_was_shown_is_stopped_at_the_review(
    sample: Walk, desk: Desk
) -> None:
    values = sample.values(option="shipping")
    desk.sandbox.set_order_state(sample.order.digital_river_id, "dispute")
    response = sample.client.post(sample.at("option"), values)
    page = sample.client.page(response.headers["Location"], 409)
    assert "opened a dispute" in page.errors[0]
    assert "Submit refund" not in page.text


def test_order_closed_in_the_mirror_since_the_page_was_shown_is_refused(
    sample: Walk, desk: Desk
) -> None:
    values = sample.values(option="shipping")
    desk.sandbox.set_order_state(sample.order.digital_river_id, "dispute")
    desk.refresh(sample.order)
    response = sample.client.post(sample.at("option"), values)
    assert response.status_code == 422
    (error,) = Page(response).errors
    assert "opened a dispute" in error
    assert sample.draft.option == ""


def test_form_with_nothing_in_it_is_refused(sample: Walk) -> None:
    response = sample.client.post(sample.at("option"))
    assert response.status_code == 422
    assert Page(response).errors == ["Choose a reason.", "Choose a refund option."]


def test_post_of_another_kind_of_body_is_refused(sample: Walk) -> None:
    response = sample.client.post(
        sample.at("option"), '{"option": "tax"}', content_type="application/json"
    )
    assert response.status_code == 422
    assert sample.draft.option == ""


# -- while Digital River cannot be read ------------------------------------------------------------


def test_page_works_by_the_figures_at_hand_and_says_how_old_they_are(
    sample: Walk, desk: Desk, as_rep: DeskClient
) -> None:
    desk.clock.forward(minutes=10)
    down(desk)
    page = as_rep.page(sample.at("option"))
    (notice,) = page.notices
    assert "Digital River" in notice
    assert "10 minutes ago" in notice
    assert choices(page)["complete_order"] == "up to USD 27.01"
    assert sample.choose(option="shipping").status_code == 302
    assert sample.draft.option == "shipping"


# -- drafts that are none any more -----------------------------------------------------------------


def test_draft_that_was_submitted_leads_to_its_confirmation(sample: Walk) -> None:
    sample.submit(option="shipping")
    for response in (
        sample.client.get(sample.at("option")),
        sample.client.post(sample.at("option"), {"option": "tax"}),
        sample.client.get(sample.at("review")),
    ):
        assert response.headers["Location"] == sample.at("confirm")


def test_draft_that_was_discarded_says_so(sample: Walk, as_rep: DeskClient) -> None:
    page = as_rep.page(sample.at("option"))
    response = as_rep.post(page.form("Discard draft")["action"], page.values("Discard draft"))
    assert response.headers["Location"] == sample.order.get_absolute_url()
    (message,) = as_rep.page(response.headers["Location"]).messages
    assert message == f"Draft {sample.reference} is discarded. Nothing was sent."
    for step in ("option", "review"):
        closed_page = as_rep.page(sample.at(step), 410)
        assert "was discarded or has expired. Nothing was sent" in closed_page.text
        assert closed_page.link("Go to the order") == f"{sample.order.get_absolute_url()}#refunds"
        assert as_rep.post(sample.at(step), {"option": "tax"}).status_code == 410
    again = as_rep.post(sample.at("discard"))
    assert again.headers["Location"] == sample.order.get_absolute_url()
    assert "not a draft any more" in as_rep.page(again.headers["Location"]).messages[0]


def test_draft_that_was_discarded_has_no_page_of_its_own(
    sample: Walk, as_rep: DeskClient, as_other_rep: DeskClient
) -> None:
    sample.choose(option="shipping", note="Between us")
    as_rep.post(sample.at("discard"))
    address = f"/refunds/{sample.reference}/"
    assert as_rep.get(address).headers["Location"] == sample.at("option")
    as_other_rep.page(address, 404)
    for step in ("check", "retry", "cancel"):
        assert as_rep.post(sample.at(step)).status_code == 404


def test_draft_that_expired_is_gone_and_leads_on(sample: Walk, desk: Desk) -> None:
    sample.choose(option="shipping")
    values = sample.values(option="tax")
    desk.clock.forward(hours=25)
    client = sample.client
    client.force_login(rep(), backend="django.contrib.auth.backends.ModelBackend")
    for step in ("option", "review"):
        page = client.page(sample.at(step), 410)
        assert "has expired. Nothing was sent" in page.text
        assert page.has_link(f"{sample.order.get_absolute_url()}#refunds")
    assert client.post(sample.at("option"), values).status_code == 410
    assert sample.draft.option == "shipping"


def test_draft_is_kept_alive_by_choosing(sample: Walk, desk: Desk) -> None:
    desk.clock.forward(hours=7)
    sample.choose(option="shipping")
    desk.clock.forward(hours=20)
    client = sample.client
    client.force_login(rep(), backend="django.contrib.auth.backends.ModelBackend")
    client.page(sample.at("option"))


def test_two_drafts_of_one_order_do_not_mix(sample: Walk, as_rep: DeskClient) -> None:
    other = Walk.begin(as_rep, sample.order)
    sample.choose(option="shipping", amount_of_shipping="1.00")
    other.choose(option="shipping", amount_of_shipping="2.00")
    assert sample.reference != other.reference
    assert sample.draft.requested_amount == Decimal("1.00")
    assert "USD 1.00" in as_rep.page(sample.at("review")).text
    assert "USD 2.00" in as_rep.page(other.at("review")).text
