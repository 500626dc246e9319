"""Confirm and the refund's own page, in every state; checking, sending again, calling off."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from refunds.models import WEBHOOK, CreditMemo, Refund
from refunds.options import Option, Selection
from refunds.selectors import order_account
from refunds.services.refunds import refunds_settle
from refunds.services.settlements import chargeback_take
from sandbox.faults import FaultKind, parse_fault
from tests.desk import Desk, rep
from tests.services.account import edit_sandbox, spoil, taken_late
from tests.views.pages import DeskClient, Page
from tests.views.test_order_page import down
from tests.views.wizard import at_digital_river

pytestmark = pytest.mark.django_db

STATE = Refund.State
CHECK, AGAIN, CALL_OFF = "Check now", "Send refund of USD 5.40 again", "Call off this refund"


@dataclass
class Made:
    """A refund of the sample's shipping, brought into a state."""

    desk: Desk
    refund: Refund

    @property
    def now(self) -> Refund:
        return Refund.objects.get(pk=self.refund.pk)

    @property
    def address(self) -> str:
        return f"/refunds/{self.refund.reference}/"

    @property
    def confirm(self) -> str:
        return f"{self.address}confirm/"


def make(desk: Desk, state: str) -> Made:
    """Make a refund and bring it into this state by what Digital River answers."""
    order = desk.order("worked_sample")
    faults: dict[str, dict[str, object]] = {
        STATE.UNKNOWN: {"kind": "lost-before"},
        STATE.NOT_SENT: {"kind": "connection-refused"},
        STATE.QUEUED: {"kind": "rate-limited", "retryAfter": 90},
        STATE.REFUSED: {"kind": "error", "status": 400},
    }
    if fault := faults.get(state):
        desk.sandbox.queue_fault(parse_fault({**fault, "method": "POST", "path": "/refunds"}))
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING))
    if state == STATE.SUCCEEDED:
        desk.sandbox.succeed_refund(refund.digital_river_id)
    elif state == STATE.FAILED:
        desk.sandbox.fail_refund(refund.digital_river_id, "expired_or_canceled_card")
    desk.clock.forward(seconds=1)
    if state in {STATE.SUCCEEDED, STATE.FAILED}:
        desk.refresh(order)
    made = Made(desk, refund)
    forced: dict[str, dict[str, Any]] = {
        STATE.EXPIRED: {"settled_at": desk.clock.now, "next_check_at": None},
        STATE.PENDING_INFORMATION: {"information_expires_at": desk.clock.now + timedelta(days=30)},
        STATE.CANCELLED: {"settled_at": desk.clock.now, "next_check_at": None},
        STATE.SUBMITTING: {},
        STATE.RELINKED: {"next_check_at": None, "digital_river_id": ""},
    }
    if state == STATE.RELINKED:
        other = desk.submit(order, rep("rep2"), Selection(Option.TAX))
        forced[state]["relinked_to"] = other
    if state in forced:
        Refund.objects.filter(pk=refund.pk).update(state=state, **forced[state])
    assert made.now.state == state
    return made


SUBMITTED = [state for state in STATE.values if state != STATE.DRAFT]
UNSETTLED = {
    STATE.QUEUED,
    STATE.SUBMITTING,
    STATE.UNKNOWN,
    STATE.PENDING,
    STATE.PENDING_INFORMATION,
}


# -- what the pages say ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", SUBMITTED)
def test_pages_tell_the_state_the_next_step_and_what_to_tell_the_customer(
    desk: Desk, as_rep: DeskClient, state: str
) -> None:
    made = make(desk, state)
    for address in (made.confirm, made.address):
        page = as_rep.page(address)
        assert made.refund.reference in page.text
        assert "USD 5.40" in page.text
        assert STATE(state).label in page.text
        assert STATE(state).meaning in page.text
        if state != STATE.CANCELLED:
            assert "Next: " in page.text
        if state == STATE.RELINKED:
            # What to tell the customer is told by the refund it turned out to be.
            continue
        text = page.root.one("div", id="customer-text").text
        assert made.refund.reference in text
        assert made.refund.order.order_number in text
        if state != STATE.SUCCEEDED:
            assert "have refunded" not in text
            assert "has been refunded" not in text
        else:
            assert text.startswith("We have refunded USD 5.40 for your order")
        assert page.root.one("button", **{"data-copy-target": "#customer-text"})


def test_pending_refund_is_requested_and_not_refunded(desk: Desk, as_rep: DeskClient) -> None:
    page = as_rep.page(make(desk, STATE.PENDING).confirm)
    text = page.root.one("div", id="customer-text").text
    assert text.startswith("We have requested a refund of USD 5.40")
    assert "5 to 10 business days" in text
    assert "Requested: Digital River has taken the refund, but the money has not moved" in page.text


@pytest.mark.parametrize("state", [STATE.FAILED, STATE.EXPIRED, STATE.NOT_SENT, STATE.REFUSED])
def test_customer_of_a_refund_that_came_to_nothing_is_told_that_no_money_moved(
    desk: Desk, as_rep: DeskClient, state: str
) -> None:
    page = as_rep.page(make(desk, state).address)
    assert "no money has moved" in page.root.one("div", id="customer-text").text


def test_refused_by_the_desk_is_not_said_to_be_refused_by_digital_river(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.QUEUED)
    order = made.refund.order
    everything = {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("27.01")}
    desk.client.create_refund(everything, upstream_id="elsewhere")
    desk.clock.forward(minutes=2)
    refunds_settle(clock=desk.clock, client=desk.client)
    assert made.now.state == STATE.REFUSED
    text = as_rep.page(made.address).text
    assert "This refund was refused, and no money has moved." in text
    assert "Next: put right what is named here" in text
    assert "Digital River refused" not in text


def test_success_that_digital_river_takes_back_is_not_told_as_certain(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.SUCCEEDED)
    change = "UPDATE refunds SET state = ?, refunded = ? WHERE id = ?"

    edit_sandbox(desk, change, "failed", 0, made.refund.digital_river_id)
    desk.refresh(made.refund.order)

    assert made.now.state == STATE.SUCCEEDED
    for address in (made.confirm, made.address):
        page = as_rep.page(address)
        assert "Digital River told both" in page.text
        assert "Next: a lead compares it with Digital River’s Dashboard" in page.text
        assert "Digital River has sent the money back" not in page.text
        told = page.root.one("div", id="customer-text").text
        assert told.strip().startswith("We are looking into the refund for your order")

    edit_sandbox(desk, change, "succeeded", 540, made.refund.digital_river_id)
    desk.refresh(made.refund.order)

    page = as_rep.page(made.address)
    assert "Digital River has sent the money back" in page.text
    assert "We have refunded USD 5.40" in page.root.one("div", id="customer-text").text


@pytest.mark.parametrize("state", [STATE.PENDING, STATE.PENDING_INFORMATION])
def test_customer_is_told_the_amount_that_digital_river_took_on(
    desk: Desk, as_rep: DeskClient, state: str
) -> None:
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("4.00"))
    refund = desk.submit(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    Refund.objects.filter(pk=refund.pk).update(state=state)
    told = as_rep.page(f"/refunds/{refund.reference}/").root.one("div", id="customer-text").text
    assert "USD 4.00" in told
    assert "USD 5.40" not in told


@pytest.mark.parametrize(
    ("state", "first"),
    [
        (STATE.FAILED, ""),
        (STATE.NOT_SENT, ""),
        (STATE.EXPIRED, "once the customer can give bank details, "),
    ],
)
def test_what_came_to_nothing_is_sent_again_only_where_it_can_be(
    desk: Desk, as_rep: DeskClient, state: str, first: str
) -> None:
    made = make(desk, state)
    another = "make another refund from the order."
    assert f"Next: {first}send it again, or {another}" in as_rep.page(made.address).text
    assert (
        f"Next: {first}send it again from the refund’s page, or {another}"
        in as_rep.page(made.confirm).text
    )

    # The desk cannot send again what somebody made elsewhere.
    Refund.objects.filter(pk=made.refund.pk).update(origin=Refund.Origin.ELSEWHERE)
    assert f"Next: {first}{another}" in as_rep.page(made.address).text


def test_failure_is_told_in_plain_words(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.FAILED)
    for address in (made.confirm, made.address):
        page = as_rep.page(address)
        assert "The customer's card has expired or was cancelled." in page.text
        assert "expired_or_canceled_card" not in page.root.one("div", class_="panel").text


def test_unknown_failure_reason_is_shown_in_words(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.FAILED)
    Refund.objects.filter(pk=made.refund.pk).update(failure_reason="bank_was_on_fire")
    assert "Bank was on fire." in as_rep.page(made.address).text


def test_bank_details_are_asked_for_with_the_deadline_and_the_place(
    desk: Desk, as_rep: DeskClient, settings: Settings
) -> None:
    settings.STOREFRONT_REFUND_URL = "https://shop.example.com/bank-details"
    made = make(desk, STATE.PENDING_INFORMATION)
    for address in (made.confirm, made.address):
        page = as_rep.page(address)
        assert page.has_link("https://shop.example.com/bank-details")
        assert "by 2 Dec 2026" in page.root.one("div", id="customer-text").text
        assert "else the refund expires" in page.text


def test_bank_details_of_a_real_offline_refund_show_its_deadline_and_no_token(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("waiting_for_bank_details")
    refund = order.refunds.get()
    response = as_rep.get(f"/refunds/{refund.reference}/")
    assert refund.information_expires_at is not None
    assert "Bank details by" in response.text
    token = desk.sandbox.refund(refund.digital_river_id)["tokenInformation"]["token"]
    assert token not in response.text


def test_flag_is_shown(desk: Desk, as_rep: DeskClient) -> None:
    desk.sandbox.queue_fault(
        parse_fault({"kind": "other-amount", "amount": "5.00", "method": "POST"})
    )
    refund = desk.submit(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    page = as_rep.page(f"/refunds/{refund.reference}/")
    remark = "Digital River took USD 5.00; USD 5.40 was asked for."
    assert f"Flagged for a lead to look into: {remark}" in page.text
    assert "Accepted by Digital River USD 5.00" in page.text
    assert "A lead will look into it." in as_rep.page(f"/refunds/{refund.reference}/confirm/").text


def test_page_shows_parts_history_attempts_and_the_dashboard(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.SUCCEEDED)
    page = as_rep.page(made.address)
    assert "Shipping Whole order – 5.00" in page.text
    assert "Shipping tax Whole order – 0.40" in page.text
    history = [each.text for each in page.root.one("ol", class_="history").all("li")]
    assert history[0].startswith("Draft begun.")
    assert "Rep Tester" in history[0]
    assert "(Being sent → Pending)" in " ".join(history)
    assert "Succeeded: USD 5.40 given back. (Pending → Succeeded)" in " ".join(history)
    attempt = made.now.attempts.get()
    assert attempt.request_id
    assert f"Digital River request {attempt.request_id}" in " ".join(history)
    assert attempt.reference in page.text
    assert page.link("Order in Digital River’s Dashboard") == (
        f"https://dashboard.digitalriver.com/orderdetails?id={made.refund.order.digital_river_id}"
    )
    assert page.has_link(made.refund.order.get_absolute_url())


def test_page_of_a_refund_made_elsewhere_says_so_and_offers_no_sending(
    desk: Desk, as_rep: DeskClient
) -> None:
    refund = desk.order("external_failed").refunds.get()
    page = as_rep.page(f"/refunds/{refund.reference}/")
    assert "By Outside the desk" in page.text
    assert "Found at Digital River; it was not made at this desk." in page.text
    assert not {CHECK, CALL_OFF} & set(page.buttons)
    assert not [each for each in page.buttons if each.startswith("Send refund")]


def test_confirm_leads_on(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.PENDING)
    page = as_rep.page(made.confirm)
    assert page.link("Open the refund") == made.address
    order = made.refund.order
    assert page.link(f"Back to order {order.order_number}") == order.get_absolute_url()
    steps = page.root.one("ol", class_="steps")
    assert [each.get("aria-current") for each in steps.all("li")] == ["", "", "", "step"]
    assert steps.all("a") == []


def test_confirm_of_a_draft_leads_to_its_option(desk: Desk, as_rep: DeskClient) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    response = as_rep.get(f"/refunds/{draft.reference}/confirm/")
    assert response.headers["Location"] == f"/refunds/{draft.reference}/option/"


def test_flag_is_shown_to_a_lead_as_theirs_to_look_into(desk: Desk, as_lead: DeskClient) -> None:
    made = make(desk, STATE.PENDING)
    Refund.objects.filter(pk=made.refund.pk).update(flag="It is odd.")
    page = as_lead.page(made.address)
    assert "Flagged for you and other leads to look into: It is odd." in page.text


def test_unknown_outcome_says_do_not_refund_again_and_when_the_desk_looks_next(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.UNKNOWN)
    sentence = "We do not know yet whether Digital River took this; do not refund again."
    for address in (made.confirm, made.address):
        page = as_rep.page(address)
        assert sentence in page.text
        assert made.now.next_check_at is not None
        assert f"Next: the desk looks at Digital River at {made.now.next_check_at:%H:%M} UTC" in (
            page.text
        )
    assert CHECK in as_rep.page(made.address).buttons


def test_relinked_refund_leads_to_the_one_it_is(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.RELINKED)
    page = as_rep.page(made.address)
    assert made.now.relinked_to is not None
    assert page.has_link(made.now.relinked_to.get_absolute_url())
    assert not page.root.all("div", id="customer-text")


def test_refund_whose_earlier_attempt_pays_leads_to_that_one(
    desk: Desk, as_rep: DeskClient
) -> None:
    refund, other = taken_late(desk, desk.order("worked_sample"), Selection(Option.SHIPPING))
    made = Made(desk, refund)
    for address in (made.address, made.confirm):
        page = as_rep.page(address)
        assert page.link(other.reference) == other.get_absolute_url()
        assert "Do not send this money again" in page.text
        assert "The customer got no money" not in page.text
        assert "make another refund" not in page.text
        assert not page.root.all("div", id="customer-text")
        assert AGAIN not in page.buttons
    told = as_rep.page(other.get_absolute_url()).root.one("div", id="customer-text").text
    assert told.startswith("We have requested a refund of USD 5.40")


def test_not_sent_that_may_be_one_made_elsewhere_is_not_offered_again(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.UNKNOWN)
    order = made.refund.order
    refund = {"orderId": order.digital_river_id, "currency": "USD", "type": "shipping"}
    desk.client.create_refund(refund | {"amount": Decimal("5.40")}, upstream_id="elsewhere")
    for seconds in (1, 61):
        desk.clock.forward(seconds=seconds)
        desk.refresh(order)
    assert made.now.state == STATE.NOT_SENT
    other = order.refunds.get(origin=Refund.Origin.ELSEWHERE)
    for address in (made.address, made.confirm):
        page = as_rep.page(address)
        assert page.link(other.reference) == other.get_absolute_url()
        assert "it may be this one" in page.text
        assert "No money will move" not in page.text
        told = page.root.one("div", id="customer-text").text
        assert told.strip().startswith("We are looking into the refund")
        assert AGAIN not in page.buttons
        assert CALL_OFF in page.buttons
    answer = as_rep.post(f"{made.address}retry/")
    [message] = as_rep.page(answer.headers["Location"]).messages
    assert f"Refund {other.reference}, made outside the desk" in message
    answer = as_rep.post(f"{made.address}cancel/")
    assert as_rep.page(answer.headers["Location"]).messages == [
        f"Refund {made.refund.reference} is called off. Nothing more is sent for it."
    ]


def test_what_certainly_was_not_sent_is_none_that_was_made_elsewhere(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.NOT_SENT)
    order = made.refund.order
    refund = {"orderId": order.digital_river_id, "currency": "USD", "amount": Decimal("5.40")}
    desk.client.create_refund(refund, upstream_id="elsewhere")
    desk.refresh(order)
    page = as_rep.page(made.address)
    assert "This refund never reached Digital River" in page.text
    assert AGAIN in page.buttons


def test_calling_off_while_an_earlier_attempt_pays_does_not_say_that_no_money_moved(
    desk: Desk, as_rep: DeskClient
) -> None:
    refund, other = taken_late(desk, desk.order("worked_sample"), Selection(Option.SHIPPING))
    Refund.objects.filter(pk=refund.pk).update(state=STATE.NOT_SENT)
    answer = as_rep.post(f"{refund.get_absolute_url()}cancel/")
    assert as_rep.page(answer.headers["Location"]).messages == [
        f"Refund {refund.reference} is called off. Refund {other.reference} pays the customer."
    ]


def test_refund_is_offered_again_once_its_earlier_attempt_failed_too(
    desk: Desk, as_rep: DeskClient
) -> None:
    refund, other = taken_late(desk, desk.order("worked_sample"), Selection(Option.SHIPPING))
    desk.sandbox.fail_refund(other.digital_river_id, "account_closed")
    desk.clock.forward(seconds=1)
    desk.refresh(refund.order)
    page = as_rep.page(refund.get_absolute_url())
    assert AGAIN in page.buttons
    assert "no money has moved" in page.root.one("div", id="customer-text").text


def test_refund_that_digital_river_told_had_failed_and_was_paid_is_not_offered_again(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.FAILED)
    Refund.objects.filter(pk=made.refund.pk).update(refunded_amount=Decimal("5.40"))
    for address in (made.address, made.confirm):
        page = as_rep.page(address)
        assert "which of them is so is not certain" in page.text
        assert "Do not send this money again until then" in page.text
        assert "The customer got no money" not in page.text
        assert "make another refund" not in page.text
        text = page.root.one("div", id="customer-text").text
        assert text.startswith("We are looking into the refund for your order")
        assert "no money has moved" not in text
        assert AGAIN not in page.buttons


def charged_back(desk: Desk) -> Refund:
    """Return what stands for a chargeback of all of an order."""
    order = desk.order("worked_sample")
    return chargeback_take(
        order=order,
        account=order_account(order),
        amount=None,
        currency="",
        created_at=None,
        at=desk.clock(),
        actor=WEBHOOK,
    )


def test_chargeback_has_words_of_its_own(desk: Desk, as_rep: DeskClient) -> None:
    refund = charged_back(desk)
    page = as_rep.page(refund.get_absolute_url())
    assert page.main.one("h1").text == f"Chargeback {refund.reference}"
    assert page.title.startswith(f"Chargeback {refund.reference}")
    assert "The customer’s bank took this money back from us" in page.text
    assert "Charged back" in page.root.one("p", class_="confirm-line").text
    assert "Do not refund this money again" in page.text
    assert "Option Chargeback" in page.text
    assert "By Customer’s bank" in page.text
    for untrue in ("Succeeded:", "Complete Order", "5 to 10 business days", "has sent the money"):
        assert untrue not in page.text
    text = page.root.one("div", id="customer-text").text
    assert "Please ask your bank" in text
    assert "USD" not in text
    assert page.buttons == []
    listed = as_rep.page("/refunds/")
    assert f"{refund.reference} " in listed.text
    assert "Charged back Flagged Customer’s bank" in listed.text


def test_credit_memos_are_listed_on_the_refund_and_the_order(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.SUCCEEDED)
    assert "Credit memos" not in as_rep.page(made.address).text
    order = made.refund.order
    columns = {"order": order, "created_at": desk.clock(), "file_id": "file_of_it"}
    CreditMemo.objects.create(memo_id="memo_one", refund=made.refund, **columns)
    CreditMemo.objects.create(memo_id="memo_two", **columns)
    page = as_rep.page(made.address)
    assert "memo_one file_of_it" in page.text
    assert "memo_two" not in page.text
    page = as_rep.page(order.get_absolute_url())
    assert f"memo_one {made.refund.reference} file_of_it" in page.text
    assert "memo_two not told" in page.text


# -- what is offered -------------------------------------------------------------------------------


@pytest.mark.parametrize("state", SUBMITTED)
def test_buttons_are_those_the_state_allows(desk: Desk, as_rep: DeskClient, state: str) -> None:
    made = make(desk, state)
    page = as_rep.page(made.address)
    expected = set()
    if state in UNSETTLED:
        expected.add(CHECK)
    if state in {STATE.NOT_SENT, STATE.FAILED, STATE.EXPIRED}:
        expected.add(AGAIN)
    if state in {STATE.QUEUED, STATE.NOT_SENT}:
        expected.add(CALL_OFF)
    assert set(page.buttons) == expected
    looks_again = bool(page.root.one("div", id="refund-body").get("hx-trigger"))
    assert looks_again == (state in UNSETTLED)


@pytest.mark.parametrize("state", SUBMITTED)
def test_viewer_is_offered_nothing_in_any_state(
    desk: Desk, as_viewer: DeskClient, state: str
) -> None:
    page = as_viewer.page(make(desk, state).address)
    assert page.buttons == []
    assert not page.root.one("div", id="refund-body").get("hx-post")


# -- checking --------------------------------------------------------------------------------------


def test_check_settles_what_has_settled(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.PENDING)
    desk.clock.forward(hours=1)
    page = as_rep.page(made.address)
    response = as_rep.post(page.form(CHECK)["action"], page.values(CHECK))
    assert response.headers["Location"] == made.address
    assert made.now.state == STATE.SUCCEEDED
    assert "We have refunded USD 5.40" in as_rep.page(made.address).text


def test_check_by_htmx_answers_with_the_body_of_the_page_it_came_from(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.PENDING)
    for data, own in (({}, "History"), ({"confirm": "1"}, "Open the refund")):
        response = as_rep.post(f"{made.address}check/", data, headers={"hx-request": "true"})
        page = Page(response)
        assert (response.status_code, page.is_whole) == (200, False)
        body = page.root.one("div", id="refund-body")
        assert own in page.text
        assert "load" not in body["hx-trigger"], "it would look again at once, for ever"
        assert "every 20s" in body["hx-trigger"]


def test_check_by_htmx_leaves_a_page_alone_that_shows_all_there_is(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.PENDING)
    as_rep.post(f"{made.address}check/")
    htmx = {"hx-request": "true"}
    seen = {"seen": made.now.updated_at.isoformat()}
    assert as_rep.post(f"{made.address}check/", seen, headers=htmx).status_code == 204
    desk.clock.forward(hours=1)
    changed = as_rep.post(f"{made.address}check/", seen, headers=htmx)
    assert STATE.SUCCEEDED.label in Page(changed).text


def test_check_by_htmx_stops_once_settled(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.PENDING)
    desk.clock.forward(hours=1)
    response = as_rep.post(f"{made.address}check/", headers={"hx-request": "true"})
    body = Page(response).root.one("div", id="refund-body")
    assert not body.get("hx-trigger")
    assert STATE.SUCCEEDED.label in body.text


@pytest.mark.parametrize("htmx", [True, False])
def test_check_while_digital_river_is_down_says_so_and_changes_nothing(
    desk: Desk, as_rep: DeskClient, htmx: bool
) -> None:
    made = make(desk, STATE.PENDING)
    down(desk)
    if htmx:
        page = Page(as_rep.post(f"{made.address}check/", headers={"hx-request": "true"}))
        (notice,) = page.notices
    else:
        as_rep.post(f"{made.address}check/")
        (notice,) = as_rep.page(made.address).messages
    assert "Digital River" in notice
    assert made.now.state == STATE.PENDING


def test_check_of_an_unknown_outcome_settles_it_after_two_looks(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.UNKNOWN)
    as_rep.post(f"{made.address}check/")
    assert made.now.state == STATE.UNKNOWN
    as_rep.post(f"{made.address}check/")
    assert made.now.state == STATE.UNKNOWN
    desk.clock.forward(seconds=60)
    as_rep.post(f"{made.address}check/")
    assert made.now.state == STATE.NOT_SENT
    assert "never reached Digital River" in as_rep.page(made.address).text


def test_check_of_an_answer_that_was_lost_finds_the_refund(desk: Desk, as_rep: DeskClient) -> None:
    desk.sandbox.queue_fault(parse_fault({"kind": "lost-after", "method": "POST"}))
    refund = desk.submit(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    assert refund.state == STATE.UNKNOWN
    desk.clock.forward(seconds=1)
    as_rep.post(f"/refunds/{refund.reference}/check/")
    refund.refresh_from_db()
    assert refund.state == STATE.PENDING
    assert at_digital_river(desk, refund.order) == 1


def test_check_sends_a_waiting_refund_when_its_time_has_come(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.QUEUED)
    as_rep.post(f"{made.address}check/")
    assert made.now.state == STATE.QUEUED
    desk.clock.forward(seconds=90)
    as_rep.post(f"{made.address}check/")
    assert made.now.state == STATE.PENDING
    assert at_digital_river(desk, made.refund.order) == 1


def test_check_of_a_settled_refund_changes_nothing(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.SUCCEEDED)
    before = made.now.updated_at
    response = as_rep.post(f"{made.address}check/")
    assert response.headers["Location"] == made.address
    assert made.now.updated_at == before


# -- sending again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [STATE.NOT_SENT, STATE.FAILED])
def test_send_again_is_a_new_attempt_of_the_same_refund(
    desk: Desk, as_rep: DeskClient, state: str
) -> None:
    made = make(desk, state)
    before = at_digital_river(desk, made.refund.order)
    page = as_rep.page(made.address)
    response = as_rep.post(page.form(AGAIN)["action"], page.values(AGAIN))
    assert response.headers["Location"] == made.address
    assert as_rep.page(made.address).messages == [
        f"Refund {made.refund.reference} was tried again. It is now pending."
    ]
    assert made.now.state == STATE.PENDING
    assert made.now.attempts.count() == 2
    assert at_digital_river(desk, made.refund.order) == before + 1


@pytest.mark.parametrize(
    "state",
    [STATE.PENDING, STATE.SUCCEEDED, STATE.UNKNOWN, STATE.QUEUED, STATE.REFUSED, STATE.CANCELLED],
)
def test_send_again_of_what_may_not_be_sent_is_refused(
    desk: Desk, as_rep: DeskClient, state: str
) -> None:
    made = make(desk, state)
    before = at_digital_river(desk, made.refund.order)
    as_rep.post(f"{made.address}retry/")
    (message,) = as_rep.page(made.address).messages
    assert "is not sent again" in message
    assert at_digital_river(desk, made.refund.order) == before
    assert made.now.attempts.count() == 1


def test_send_again_of_what_is_not_left_any_more_is_refused(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.NOT_SENT)
    desk.submit(made.refund.order, rep("rep2"), Selection(Option.SHIPPING))
    as_rep.post(f"{made.address}retry/")
    (message,) = as_rep.page(made.address).messages
    assert "All of the shipping (USD 5.40) was refunded already" in message
    assert made.now.state == STATE.NOT_SENT


def test_send_again_while_digital_river_is_down_sends_nothing(
    desk: Desk, as_rep: DeskClient
) -> None:
    made = make(desk, STATE.NOT_SENT)
    down(desk)
    as_rep.post(f"{made.address}retry/")
    (message,) = as_rep.page(made.address).messages
    assert "Digital River" in message
    assert made.now.state == STATE.NOT_SENT
    assert made.now.attempts.count() == 1


def test_send_again_that_does_not_arrive_is_not_called_sent(desk: Desk, as_rep: DeskClient) -> None:
    made = make(desk, STATE.NOT_SENT)
    desk.sandbox.queue_fault(parse_fault({"kind": "connection-refused", "method": "POST"}))
    as_rep.post(f"{made.address}retry/")
    page = as_rep.page(made.address)
    assert made.now.state == STATE.NOT_SENT
    assert page.messages == [f"Refund {made.refund.reference} was tried again. It is now not sent."]


# -- calling off -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [STATE.QUEUED, STATE.NOT_SENT])
def test_call_off_ends_what_was_not_sent(desk: Desk, as_rep: DeskClient, state: str) -> None:
    made = make(desk, state)
    page = as_rep.page(made.address)
    as_rep.post(page.form(CALL_OFF)["action"], page.values(CALL_OFF))
    after = as_rep.page(made.address)
    assert after.messages == [f"Refund {made.refund.reference} is called off. No money has moved."]
    assert made.now.state == STATE.CANCELLED
    order = made.refund.order
    order.refresh_from_db()
    assert order.left_amount == Decimal("27.01")


@pytest.mark.parametrize(
    "state",
    [
        STATE.PENDING,
        STATE.SUCCEEDED,
        STATE.UNKNOWN,
        STATE.SUBMITTING,
        STATE.FAILED,
        STATE.PENDING_INFORMATION,
    ],
)
def test_call_off_of_what_may_be_under_way_is_refused(
    desk: Desk, as_rep: DeskClient, state: str
) -> None:
    made = make(desk, state)
    as_rep.post(f"{made.address}cancel/")
    (message,) = as_rep.page(made.address).messages
    assert "cannot be called off any more" in message
    assert made.now.state == state


def test_any_rep_may_act_on_a_refund_of_another(desk: Desk, as_other_rep: DeskClient) -> None:
    made = make(desk, STATE.NOT_SENT)
    as_other_rep.post(f"{made.address}cancel/")
    assert made.now.state == STATE.CANCELLED
    assert "Rep2 Tester" in as_other_rep.page(made.address).root.one("ol", class_="history").text
