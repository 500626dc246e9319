"""Review and Submit: what it shows, what it warns of, and when nothing is sent after all."""

from decimal import Decimal

import pytest

from refunds.models import Refund
from refunds.options import Option, Selection
from refunds.services.refunds import refunds_settle
from sandbox.faults import parse_fault
from tests.desk import Desk, rep
from tests.views.pages import DeskClient, Page
from tests.views.test_order_page import down
from tests.views.wizard import Walk, at_digital_river, submit_button

pytestmark = pytest.mark.django_db


@pytest.fixture
def sample(desk: Desk, as_rep: DeskClient) -> Walk:
    return Walk.begin(as_rep, desk.order("worked_sample"))


def rows(page: Page) -> dict[str, list[str]]:
    """Return the figures of each component: left now, this refund, left afterwards."""
    table = page.root.one("table", **{"aria-labelledby": "parts"})
    return {
        row.one("th").text: [cell.text for cell in row.all("td")]
        for row in table.all("tr")
        if row.all("td")
    }


def changes(page: Page) -> dict[str, list[str]]:
    """Return the figures that changed: what the rep saw and what it is now."""
    return {
        row.one("th").text: [cell.text for cell in row.all("td")]
        for row in page.root.one("table", class_="changes").all("tr")
        if row.all("td")
    }


# -- what it shows ---------------------------------------------------------------------------------


def test_review_shows_the_parts_with_what_is_left_before_and_after(sample: Walk) -> None:
    page = sample.review(option="shipping", amount_of_shipping="2.70")
    assert rows(page) == {
        "Product": ["20.00", "–", "20.00"],
        "Tax": ["1.61", "–", "1.61"],
        "Shipping": ["5.00", "2.50", "2.50"],
        "Shipping tax": ["0.40", "0.20", "0.20"],
        "Total to the customer": ["27.01", "2.70", "24.31"],
    }
    assert "USD 0.20 of it is tax." in page.text


def test_review_names_the_payment_the_reason_and_the_request(sample: Walk) -> None:
    page = sample.review(
        option="tax", note="Asked twice.", ticket_url="https://tickets.example.com/9"
    )
    assert f"Goes back to {sample.order.payment}" in page.text
    assert "Requested by customer (Digital River gets “requested_by_customer”)" in page.text
    assert "Digital River is asked for all that is left of the tax (100 percent)" in page.text
    assert "Asked twice." in page.text
    assert page.has_link("https://tickets.example.com/9")


@pytest.mark.parametrize(
    ("changes", "button"),
    [
        ({"option": "complete_order"}, "Submit refund of USD 27.01"),
        ({"option": "shipping", "amount_of_shipping": "1"}, "Submit refund of USD 1.00"),
        ({"option": "tax"}, "Submit refund of USD 2.01"),
    ],
)
def test_button_names_the_sum(sample: Walk, changes: dict[str, str], button: str) -> None:
    assert submit_button(sample.review(**changes)) == button


@pytest.mark.parametrize(
    ("changes", "open_afterwards"),
    [
        ({"option": "shipping"}, "Complete Order, Line Items, Tax."),
        ({"option": "tax"}, "Complete Order, Line Items, Shipping."),
        ({"option": "complete_order"}, "none."),
    ],
)
def test_review_names_the_options_that_stay_open(
    sample: Walk, changes: dict[str, str], open_afterwards: str
) -> None:
    page = sample.review(**changes)
    assert f"Options open afterwards: {open_afterwards}" in page.text


def test_review_lists_the_lines(sample: Walk) -> None:
    line = sample.order.lines.get()
    page = sample.review(option="line_items", **{f"quantity_{line.key}": "1"})
    assert f"{line.product_name} 1 10.81" in page.text
    assert "1 line item, USD 10.81 in all" in page.text


def test_review_shows_what_the_customer_typed_as_text(sample: Walk) -> None:
    sample.choose(option="tax", note="<script>alert(1)</script>")
    assert "<script>alert" not in sample.client.get(sample.at("review")).text


def test_review_before_an_option_was_chosen_leads_back(sample: Walk) -> None:
    for response in (
        sample.client.get(sample.at("review")),
        sample.client.post(sample.at("review")),
    ):
        assert response.headers["Location"] == sample.at("option")


def test_review_leads_back_to_change_and_keeps_the_choice(sample: Walk) -> None:
    page = sample.review(option="shipping", amount_of_shipping="1.23")
    assert page.link("Change") == sample.at("option")
    values = sample.client.page(sample.at("option")).values("Review and Submit")
    assert values["amount_of_shipping"] == "1.23"


def test_review_shows_earlier_refunds_of_the_order_and_of_the_buyer(
    desk: Desk, as_rep: DeskClient
) -> None:
    first, second = desk.order("same_buyer_first"), desk.order("same_buyer_second")
    assert first.buyer_email == second.buyer_email
    other = desk.submit(second, rep("rep2"), Selection(Option.SHIPPING))
    own = desk.submit(first, rep("rep2"), Selection(Option.SHIPPING))
    page = Walk.begin(as_rep, first).review(option="tax")
    of_order, _, of_buyer = page.text.partition("Earlier refunds of this buyer")
    assert own.reference in of_order
    assert other.reference not in of_order
    assert other.reference in of_buyer
    assert page.has_link(f"/refunds/{other.reference}/")


def test_review_without_earlier_refunds_shows_no_such_tables(sample: Walk) -> None:
    assert "Earlier refunds" not in sample.review(option="tax").text


# -- warnings --------------------------------------------------------------------------------------


def test_look_alike_of_the_last_day_is_warned_of(sample: Walk, desk: Desk) -> None:
    alike = desk.submit(
        sample.order, rep("rep2"), Selection(Option.SHIPPING, amount=Decimal("1.00"))
    )
    page = sample.review(option="shipping", amount_of_shipping="2.00")
    (warning,) = page.notices
    assert warning.startswith(f"This may be a duplicate: {alike.reference}, Shipping of USD 1.00")
    assert "by Rep2 Tester" in warning
    same_sum = sample.review(option="complete_order", amount_of_complete_order="1.00")
    assert "This may be a duplicate" in " ".join(same_sum.notices)
    assert sample.review(option="tax").notices == []


def test_look_alike_of_the_day_before_is_not_warned_of(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep("rep2"), Selection(Option.SHIPPING, amount=Decimal("1.00")))
    desk.clock.forward(hours=25)
    as_rep.force_login(rep(), backend="django.contrib.auth.backends.ModelBackend")
    assert Walk.begin(as_rep, order).review(option="shipping").notices == []


def test_look_alike_that_failed_is_not_warned_of(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("failing_card")
    desk.submit(order, rep("rep2"), Selection(Option.COMPLETE_ORDER))
    desk.clock.forward(hours=1)
    desk.refresh(order)
    assert order.refunds.get().state == Refund.State.FAILED
    assert Walk.begin(as_rep, order).review(option="complete_order").notices == []


def test_estimate_after_a_part_of_the_whole_is_warned_of_and_marked(
    desk: Desk, as_rep: DeskClient
) -> None:
    page = Walk.begin(as_rep, desk.order("partial_whole_order")).review(option="shipping")
    assert "is an estimate here" in " ".join(page.notices)
    assert rows(page)["Shipping"][1].startswith("≈ ")


def test_unknown_outcome_of_another_refund_is_warned_of(sample: Walk, desk: Desk) -> None:
    desk.sandbox.queue_fault(parse_fault({"kind": "lost-before", "method": "POST"}))
    unknown = desk.submit(
        sample.order, rep("rep2"), Selection(Option.COMPLETE_ORDER, amount=Decimal("3.00"))
    )
    assert unknown.state == Refund.State.UNKNOWN
    page = sample.review(option="shipping")
    assert "has an unknown outcome" in " ".join(page.notices)


def test_dispute_stops_the_review(sample: Walk, desk: Desk) -> None:
    sample.choose(option="shipping")
    desk.sandbox.set_order_state(sample.order.digital_river_id, "dispute")
    page = sample.client.page(sample.at("review"), 409)
    assert "opened a dispute" in page.errors[0]
    assert page.link("Choose again") == sample.at("option")


# -- submitting ------------------------------------------------------------------------------------


def test_submit_sends_what_was_shown_and_lands_on_confirm(sample: Walk, desk: Desk) -> None:
    response = sample.submit(option="shipping", amount_of_shipping="2.70")
    assert response.headers["Location"] == sample.at("confirm")
    refund = sample.draft
    assert (refund.state, refund.requested_amount) == (Refund.State.PENDING, Decimal("2.70"))
    (told,) = desk.client.list_refunds(order_id=sample.order.digital_river_id)
    assert told.id == refund.digital_river_id
    assert told.requested_amount == Decimal("2.70")
    assert told.reference == f"{sample.reference}-1"


def test_submit_twice_makes_one_refund_and_both_land_on_confirm(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    values = page.values(submit_button(page))
    answers = [sample.client.post(sample.at("review"), values) for _ in range(2)]
    assert [each.headers["Location"] for each in answers] == [sample.at("confirm")] * 2
    assert at_digital_river(desk, sample.order) == 1
    assert sample.draft.attempts.count() == 1


@pytest.mark.parametrize("kind", ["missing", "empty", "rubbish", "cut", "altered", "null"])
def test_submit_with_figures_that_are_not_the_desks_is_refused(
    sample: Walk, desk: Desk, kind: str
) -> None:
    page = sample.review(option="shipping")
    seen = page.values(submit_button(page))["seen"]
    posted = {
        "missing": {},
        "empty": {"seen": ""},
        "rubbish": {"seen": "rubbish"},
        "cut": {"seen": seen[:-1]},
        "altered": {"seen": f"x{seen}"},
        "null": {"seen": "\x00"},
    }[kind]
    response = sample.client.post(sample.at("review"), posted)
    assert response.status_code == 422
    refused = Page(response)
    assert "Nothing was sent" in refused.errors[0]
    assert submit_button(refused) == "Submit refund of USD 5.40"
    assert sample.draft.is_draft
    assert at_digital_river(desk, sample.order) == 0


def test_submit_with_the_figures_of_another_draft_is_refused(
    sample: Walk, desk: Desk, as_rep: DeskClient
) -> None:
    other = Walk.begin(as_rep, sample.order).review(option="shipping")
    sample.choose(option="shipping")
    response = sample.client.post(sample.at("review"), other.values(submit_button(other)))
    assert response.status_code == 422
    assert "not one the desk made for this refund" in Page(response).errors[0]
    assert at_digital_river(desk, sample.order) == 0


def test_submit_of_stale_figures_shows_old_beside_new_and_why(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="complete_order", amount_of_complete_order="20.00")
    desk.clock.forward(seconds=5)
    other = desk.submit(sample.order, rep("rep2"), Selection(Option.TAX))
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    stale = Page(response)
    assert f"Nothing was sent: refund {other.reference} of this order was made" in stale.errors[0]
    shown = changes(stale)
    assert shown["Left to refund before"] == ["USD 27.01", "USD 25.00"]
    assert shown["Left to refund afterwards"] == ["USD 7.01", "USD 5.00"]
    assert "Total to the customer" not in shown
    assert stale.title.startswith("Error: ")
    assert sample.draft.is_draft
    assert at_digital_river(desk, sample.order) == 1
    again = sample.client.post(sample.at("review"), stale.values(submit_button(stale)))
    assert again.headers["Location"] == sample.at("confirm")
    assert at_digital_river(desk, sample.order) == 2


def test_submit_of_stale_tax_names_the_new_sum_on_the_button(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="tax")
    desk.clock.forward(seconds=5)
    desk.submit(sample.order, rep("rep2"), Selection(Option.SHIPPING))
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    stale = Page(response)
    assert changes(stale)["Total to the customer"] == ["USD 2.01", "USD 1.61"]
    assert changes(stale)["Shipping tax"] == ["USD 0.40", "–"]
    assert submit_button(stale) == "Submit refund of USD 1.61"


def test_submit_of_units_that_changed_shows_them(desk: Desk, as_rep: DeskClient) -> None:
    walk = Walk.begin(as_rep, desk.order("worked_sample"))
    line = walk.order.lines.get()
    page = walk.review(option="line_items", **{f"quantity_{line.key}": "1"})
    desk.clock.forward(seconds=5)
    walk.choose(option="line_items", **{f"quantity_{line.key}": "2"})
    response = walk.client.post(walk.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    assert changes(Page(response))[f"Units: {line.product_name}"] == ["1", "2"]


def test_submit_of_a_draft_changed_in_another_tab_is_refused(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    desk.clock.forward(seconds=5)
    sample.choose(option="tax")
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    stale = Page(response)
    assert "changed in another tab or window" in stale.errors[0]
    assert submit_button(stale) == "Submit refund of USD 2.01"
    assert at_digital_river(desk, sample.order) == 0


def test_submit_of_a_draft_whose_reason_changed_in_another_tab_is_refused(
    sample: Walk, desk: Desk
) -> None:
    page = sample.review(option="shipping")
    desk.clock.forward(seconds=5)
    sample.choose(option="shipping", note="Another note")
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    assert "changed in another tab or window" in Page(response).errors[0]


def test_submit_of_an_option_closed_since_is_refused(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    desk.submit(sample.order, rep("rep2"), Selection(Option.SHIPPING))
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    closed = Page(response)
    assert "All of the shipping (USD 5.40) was refunded already" in closed.errors[0]
    assert closed.link("Choose again") == sample.at("option")
    assert "Submit refund" not in closed.text
    assert at_digital_river(desk, sample.order) == 1


def test_submit_of_more_than_is_left_by_now_is_refused(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="complete_order")
    desk.submit(sample.order, rep("rep2"), Selection(Option.SHIPPING))
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    assert "At most USD 21.61 can be refunded here." in Page(response).errors[0]
    assert at_digital_river(desk, sample.order) == 1


def test_submit_of_an_order_disputed_since_is_refused(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    desk.sandbox.set_order_state(sample.order.digital_river_id, "dispute")
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 409
    assert "opened a dispute" in Page(response).errors[0]
    assert at_digital_river(desk, sample.order) == 0


def test_submit_of_a_draft_that_expired_is_gone(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    desk.clock.forward(hours=25)
    sample.client.force_login(rep(), backend="django.contrib.auth.backends.ModelBackend")
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 410
    assert "Nothing was sent" in Page(response).text
    assert at_digital_river(desk, sample.order) == 0


def test_submit_after_leaving_the_permission_set_is_refused(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    rep().groups.clear()
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 403
    assert at_digital_river(desk, sample.order) == 0


# -- while Digital River cannot be read ------------------------------------------------------------


def test_review_while_digital_river_is_down_shows_the_figures_and_their_age(
    sample: Walk, desk: Desk
) -> None:
    sample.choose(option="shipping")
    desk.clock.forward(minutes=3)
    down(desk)
    page = sample.client.page(sample.at("review"))
    (notice,) = page.notices
    assert "Digital River" in notice
    assert "3 minutes ago" in notice
    assert rows(page)["Total to the customer"][1] == "5.40"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "connection-refused"},
        {"kind": "lost-before"},
        {"kind": "error", "status": 503},
        {"kind": "malformed"},
        {"kind": "wrong-shape"},
        {"kind": "rate-limited", "retryAfter": 60},
    ],
    ids=lambda fault: str(fault["kind"]),
)
def test_submit_while_digital_river_cannot_be_read_sends_nothing_and_keeps_the_draft(
    sample: Walk, desk: Desk, fault: dict[str, object]
) -> None:
    page = sample.review(option="shipping", note="Keep me")
    down(desk, **fault)  # type: ignore[arg-type]
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert response.status_code == 503
    refused = Page(response)
    assert "Nothing was sent" in refused.errors[0]
    assert "Digital River" in refused.errors[0]
    assert "Keep me" in refused.text
    assert sample.draft.is_draft
    desk.sandbox.clear_faults()
    # Nobody calls again before the time that Digital River named.
    desk.clock.forward(seconds=61)
    assert at_digital_river(desk, sample.order) == 0
    again = sample.client.post(sample.at("review"), refused.values(submit_button(refused)))
    assert again.headers["Location"] == sample.at("confirm")


HOLD = "Hold it and send when Digital River answers"


def test_review_offers_no_holding_while_digital_river_answers(sample: Walk) -> None:
    page = sample.review(option="shipping")
    assert HOLD not in page.buttons
    assert "Submitting is not possible now" not in page.text


def test_review_without_digital_river_says_nothing_is_reserved_and_offers_to_hold(
    sample: Walk, desk: Desk
) -> None:
    sample.choose(option="shipping")
    down(desk)
    page = sample.client.page(sample.at("review"))
    assert "Submitting is not possible now: Digital River cannot be asked." in page.text
    assert "Nothing was sent and no money is reserved" in page.text
    assert HOLD in page.buttons
    assert sample.draft.held_amount == 0


def test_submit_that_could_not_ask_offers_to_hold(sample: Walk, desk: Desk) -> None:
    page = sample.review(option="shipping")
    down(desk)
    response = sample.client.post(sample.at("review"), page.values(submit_button(page)))
    assert HOLD in Page(response).buttons


def hold(walk: Walk, desk: Desk) -> None:
    """Choose the shipping, find Digital River away, and hold the refund."""
    walk.choose(option="shipping")
    down(desk)
    page = walk.client.page(walk.at("review"))
    response = walk.client.post(walk.at("review"), {**page.values(HOLD), "hold": "1"})
    assert response.headers["Location"] == walk.at("confirm")


def test_held_refund_keeps_its_money_says_what_happens_and_is_sent_by_itself(
    sample: Walk, desk: Desk
) -> None:
    hold(sample, desk)
    held = sample.draft
    assert (held.state, held.held_amount) == (Refund.State.QUEUED, Decimal("5.40"))
    page = sample.client.page(sample.at("confirm"))
    assert "The refund is held and will be sent by itself; do not make another one." in page.text
    assert "it is sent by itself once Digital River answers" in page.text
    assert "it can still be called off" in page.text
    text = page.root.one("div", id="customer-text").text
    assert text.startswith("We are making a refund of USD 5.40")
    desk.sandbox.clear_faults()
    desk.clock.forward(minutes=2)
    assert at_digital_river(desk, sample.order) == 0
    refunds_settle(clock=desk.clock, client=desk.client)
    assert at_digital_river(desk, sample.order) == 1
    assert sample.draft.state == Refund.State.PENDING


def test_held_refund_is_called_off_from_the_confirm_page(sample: Walk, desk: Desk) -> None:
    hold(sample, desk)
    page = sample.client.page(sample.at("confirm"))
    form = page.form("Call off this refund")
    sample.client.post(form["action"], page.values("Call off this refund"))
    assert sample.draft.state == Refund.State.CANCELLED
    assert sample.draft.held_amount == 0


def test_holding_figures_that_changed_is_refused(sample: Walk, desk: Desk) -> None:
    sample.choose(option="shipping")
    down(desk)
    page = sample.client.page(sample.at("review"))
    desk.sandbox.clear_faults()
    desk.submit(sample.order, rep("rep2"), Selection(Option.SHIPPING, amount=Decimal("1.00")))
    down(desk)
    response = sample.client.post(sample.at("review"), {**page.values(HOLD), "hold": "1"})
    assert response.status_code == 409
    assert sample.draft.is_draft


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ({"kind": "connection-refused"}, Refund.State.NOT_SENT),
        ({"kind": "lost-before"}, Refund.State.UNKNOWN),
        ({"kind": "lost-after"}, Refund.State.UNKNOWN),
        ({"kind": "error", "status": 500}, Refund.State.UNKNOWN),
        ({"kind": "malformed"}, Refund.State.UNKNOWN),
        ({"kind": "rate-limited", "retryAfter": 60}, Refund.State.QUEUED),
        ({"kind": "error", "status": 400}, Refund.State.REFUSED),
    ],
    ids=lambda value: str(value["kind"]) if isinstance(value, dict) else None,
)
def test_submit_that_goes_wrong_on_the_way_lands_on_confirm_in_its_state(
    sample: Walk, desk: Desk, fault: dict[str, object], state: str
) -> None:
    desk.sandbox.queue_fault(parse_fault({**fault, "method": "POST", "path": "/refunds"}))
    response = sample.submit(option="shipping")
    assert response.headers["Location"] == sample.at("confirm")
    assert sample.draft.state == state
    page = sample.client.page(sample.at("confirm"))
    assert Refund.State(state).label in page.text
    assert Refund.State(state).meaning in page.text
