"""Close out: the plan first, one button that names the sum, and where it stands afterwards."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from refunds.digitalriver.client import DigitalRiverClient
from refunds.models import CloseOut, Grounds, Order, Refund, RefundReason
from refunds.options import Option, Selection
from refunds.services.closeouts import closeout_begin
from sandbox.faults import parse_fault
from sandbox.transport import in_process_for
from tests.desk import Desk, rep
from tests.services.wire import Wire
from tests.views.pages import DeskClient, Page
from tests.views.test_order_page import down
from tests.views.wizard import at_digital_river

pytestmark = pytest.mark.django_db

CHECK, CALL_OFF = "Check now", "Call off what is not sent"


def button_of(page: Page) -> str:
    """Return what the button says that begins it."""
    (button,) = [each for each in page.buttons if each.startswith("Close out for")]
    return button


@dataclass
class Closing:
    """The close-out pages of one order in one browser."""

    client: DeskClient
    desk: Desk
    order: Order

    @property
    def address(self) -> str:
        return f"{self.order.get_absolute_url()}close-out/"

    def values(self, page: Page | None = None) -> dict[str, str]:
        """Return what the plan's form holds, with a reason."""
        page = page or self.client.page(self.address)
        reason = RefundReason.objects.get(label="Requested by customer")
        return {**page.values(button_of(page)), "reason": str(reason.pk)}

    def begin(self, **changes: str) -> Any:
        """Open the plan and press its button, with what it holds changed by these."""
        return self.client.post(self.address, {**self.values(), **changes})

    @property
    def close_out(self) -> CloseOut:
        return CloseOut.objects.get(order=self.order)

    @property
    def progress(self) -> str:
        return f"{self.address}{self.close_out.pk}/"


@pytest.fixture
def closing(desk: Desk, as_rep: DeskClient) -> Closing:
    return Closing(as_rep, desk, desk.order("worked_sample"))


def lose(desk: Desk, kind: str, **more: object) -> None:
    desk.sandbox.queue_fault(parse_fault({"kind": kind, "method": "POST", **more}))


def left_behind(closing: Closing) -> CloseOut:
    """Begin a close-out for which Digital River goes away before its refund is sent."""
    desk, order = closing.desk, closing.order
    wire = Wire(in_process_for(desk.sandbox))
    # The order is read once; the reads of the submission find nobody.
    wire.after_read = lambda: down(desk)
    client = DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key="sk_test_refund_desk",
        version="2021-12-13",
        timeout=5,
        application_id="refund-desk/test",
        transport=wire,
    )
    return closeout_begin(
        order=order,
        user=rep(),
        grounds=Grounds(RefundReason.objects.get(label="Requested by customer")),
        seen_total=Decimal("27.01"),
        seen_at=desk.clock(),
        clock=desk.clock,
        client=client,
    )


# -- the way there ---------------------------------------------------------------------------------


def test_order_page_leads_to_the_plan_and_only_where_it_can_be_done(
    closing: Closing, as_viewer: DeskClient
) -> None:
    assert closing.client.page(closing.order.get_absolute_url()).has_link(closing.address)
    assert not as_viewer.page(closing.order.get_absolute_url()).has_link(closing.address)
    disputed = closing.desk.order("dispute")
    page = closing.client.page(disputed.get_absolute_url())
    assert not page.has_link(f"{disputed.get_absolute_url()}close-out/")
    lose(closing.desk, "lost-after")
    closing.desk.submit(closing.order, rep(), Selection(Option.SHIPPING))
    assert not closing.client.page(closing.order.get_absolute_url()).has_link(closing.address)


def test_plan_shows_what_will_be_sent_and_that_nothing_is_left(closing: Closing) -> None:
    page = closing.client.page(closing.address)
    sent = page.root.one("table", **{"aria-labelledby": "sent"})
    assert sent.text.endswith(
        "Complete Order All that is left of the whole order 27.01 Total to the customer 27.01"
    )
    parts = page.root.one("table", **{"aria-labelledby": "parts"})
    assert parts.text.endswith("Total to the customer 27.01 27.01 0.00")
    assert button_of(page) == "Close out for USD 27.01"
    assert "Nothing is sent until" in page.text
    assert not CloseOut.objects.exists()


def test_plan_names_the_fees_that_are_sent_only_if_they_remain(
    desk: Desk, as_rep: DeskClient
) -> None:
    order = desk.order("fees")
    page = as_rep.page(f"{order.get_absolute_url()}close-out/")
    sent = page.root.one("table", **{"aria-labelledby": "sent"})
    assert "regulatory fees included" in sent.text
    assert "Fees of Rack UPS 1500 VA Only if Digital River leaves them out of the first: 10.52" in (
        sent.text
    )
    assert button_of(page) == f"Close out for EUR {order.left_amount:,.2f}"


def test_plan_shows_earlier_refunds_and_what_is_on_its_way(closing: Closing) -> None:
    refund = closing.desk.submit(
        closing.order, rep("rep2"), Selection(Option.COMPLETE_ORDER, Decimal("7.01"))
    )
    page = closing.client.page(closing.address)
    assert "Earlier refunds of this order" in page.text
    assert page.has_link(refund.get_absolute_url())
    assert "USD 7.01 is on its way in earlier refunds" in page.text
    assert "This may be a duplicate" in " ".join(page.notices)
    assert button_of(page) == "Close out for USD 20.00"


@pytest.mark.parametrize(
    ("case", "words"),
    [("dispute", "dispute on this order"), ("fully_refunded", "Nothing is left to refund")],
)
def test_plan_that_cannot_be_done_says_why(
    desk: Desk, as_rep: DeskClient, case: str, words: str
) -> None:
    order = desk.order(case)
    page = as_rep.page(f"{order.get_absolute_url()}close-out/")
    assert "This order cannot be closed out now." in page.text
    assert words in page.text
    assert page.buttons == []


def test_plan_without_digital_river_offers_no_button(closing: Closing) -> None:
    down(closing.desk)
    page = closing.client.page(closing.address)
    assert "Nothing can be closed out until Digital River answers" in " ".join(page.notices)
    assert page.buttons == []
    assert page.link("Try again") == closing.address


# -- beginning -------------------------------------------------------------------------------------


def test_begin_leads_to_where_it_stands_with_nothing_left(closing: Closing) -> None:
    response = closing.begin(note="They moved away.")
    assert response.status_code == 302
    assert response.headers["Location"] == closing.progress
    page = closing.client.page(closing.progress)
    assert "Nothing left" in page.root.one("p", class_="confirm-line").text
    assert "Nothing is left to refund on this order: USD 27.01 is on its way." in page.text
    assert "They moved away." in page.text
    refund = closing.close_out.refunds.get()
    assert page.has_link(refund.get_absolute_url())
    assert CHECK not in page.buttons
    part = closing.client.page(refund.get_absolute_url())
    assert part.link("Closing out the order") == closing.progress
    order = closing.client.page(closing.order.get_absolute_url())
    assert "Nothing is left to refund" in " ".join(order.notices)
    assert not order.has_link(closing.address)
    assert at_digital_river(closing.desk, closing.order) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"reason": ""}, "Choose a reason."),
        ({"ticket_url": "no address"}, "Enter the ticket's full address"),
        ({"seen": "forged"}, "not one the desk made for this order"),
        ({"seen": ""}, "This field is required"),
    ],
)
def test_begin_without_what_it_needs_is_refused_and_keeps_what_was_typed(
    closing: Closing, changes: dict[str, str], error: str
) -> None:
    response = closing.begin(**{"note": "Keep me", **changes})
    assert response.status_code == 422
    page = Page(response)
    assert any(error in each for each in page.errors), page.errors
    assert page.values(button_of(page))["note"] == "Keep me"
    assert not CloseOut.objects.exists()
    assert not Refund.objects.exists()


def test_begin_by_a_reason_that_needs_words_asks_for_them(closing: Closing) -> None:
    other = RefundReason.objects.get(needs_text=True)
    page = Page(closing.begin(reason=str(other.pk)))
    assert any("Write the reason" in each for each in page.errors)
    response = closing.begin(reason=str(other.pk), reason_text="Moved away")
    assert response.status_code == 302
    assert closing.close_out.reason_text == "Moved away"


def test_total_of_another_order_is_not_accepted(closing: Closing) -> None:
    other = Closing(closing.client, closing.desk, closing.desk.order("plain_usd"))
    response = closing.begin(seen=other.values()["seen"])
    assert response.status_code == 422
    assert not CloseOut.objects.exists()


def test_begin_after_the_figures_changed_shows_both_and_goes_on_from_there(
    closing: Closing,
) -> None:
    values = closing.values()
    closing.desk.clock.forward(seconds=5)
    closing.desk.submit(closing.order, rep("rep2"), Selection(Option.SHIPPING))
    response = closing.client.post(closing.address, {**values, "note": "Keep me"})
    assert response.status_code == 409
    page = Page(response)
    assert "what is left of this order has changed since" in page.errors[0]
    changes = page.root.one("table", class_="changes")
    assert changes.text.endswith("Total to the customer USD 27.01 USD 21.61")
    assert button_of(page) == "Close out for USD 21.61"
    assert page.values(button_of(page))["note"] == "Keep me"
    assert not CloseOut.objects.exists()
    again = closing.client.post(closing.address, closing.values(page))
    assert again.headers["Location"] == closing.progress


def test_begin_without_digital_river_says_nothing_was_sent(closing: Closing) -> None:
    values = closing.values()
    down(closing.desk)
    response = closing.client.post(closing.address, values)
    assert response.status_code == 503
    page = Page(response)
    assert "Nothing was sent" in page.errors[0]
    assert not CloseOut.objects.exists()
    closing.desk.sandbox.clear_faults()
    again = closing.client.post(closing.address, closing.values(page))
    assert again.headers["Location"] == closing.progress


def test_button_pressed_twice_leads_to_the_same_close_out(closing: Closing) -> None:
    values = closing.values()
    closing.desk.clock.forward(seconds=5)
    first = closing.client.post(closing.address, values)
    second = closing.client.post(closing.address, values)
    assert first.headers["Location"] == second.headers["Location"] == closing.progress
    assert at_digital_river(closing.desk, closing.order) == 1


def test_another_rep_is_led_to_the_close_out_that_runs(
    closing: Closing, as_other_rep: DeskClient
) -> None:
    other = Closing(as_other_rep, closing.desk, closing.order)
    values = other.values()
    lose(closing.desk, "lost-before")
    closing.begin()
    response = as_other_rep.post(closing.address, values)
    assert response.status_code == 409
    assert Page(response).link("Open the close-out") == closing.progress
    page = as_other_rep.page(closing.address)
    assert "being closed out already" in page.text
    assert page.buttons == []
    order = as_other_rep.page(closing.order.get_absolute_url())
    assert order.link("See where the close-out stands") == closing.progress


# -- where it stands -------------------------------------------------------------------------------


def test_unknown_outcome_says_so_and_check_now_completes_it(closing: Closing) -> None:
    lose(closing.desk, "lost-after")
    closing.begin()
    page = closing.client.page(closing.progress)
    assert "Being closed out" in page.root.one("p", class_="confirm-line").text
    assert "do not refund again" in page.text
    assert "Next: the desk carries on by itself" in page.text
    closing.desk.clock.forward(seconds=5)
    form = page.form(CHECK)
    response = closing.client.post(form["action"], page.values(CHECK))
    assert response.headers["Location"] == closing.progress
    assert "Nothing left" in closing.client.page(closing.progress).text


def test_check_by_htmx_answers_with_the_body(closing: Closing) -> None:
    lose(closing.desk, "lost-after")
    closing.begin()
    closing.desk.clock.forward(seconds=5)
    page = closing.client.page(closing.progress)
    response = closing.client.post(page.form(CHECK)["action"], headers={"hx-request": "true"})
    body = Page(response)
    assert not body.is_whole
    assert body.root.one("div", id="close-out-body")
    assert "Nothing left" in body.text


@pytest.mark.parametrize("htmx", [True, False])
def test_check_without_digital_river_says_so(closing: Closing, htmx: bool) -> None:
    lose(closing.desk, "lost-after")
    closing.begin()
    down(closing.desk)
    address = f"{closing.progress}check/"
    if htmx:
        page = Page(closing.client.post(address, headers={"hx-request": "true"}))
        assert "Digital River" in page.notices[0]
    else:
        closing.client.post(address)
        page = closing.client.page(closing.progress)
        assert "Digital River" in page.messages[0]
    assert closing.close_out.state == CloseOut.State.RUNNING


def test_refusal_says_why_and_leads_to_the_refund(desk: Desk, as_rep: DeskClient) -> None:
    closing = Closing(as_rep, desk, desk.order("refused_on_creation"))
    closing.begin()
    page = as_rep.page(closing.progress)
    refund = closing.close_out.refunds.get()
    assert "Stopped" in page.root.one("p", class_="confirm-line").text
    assert "The refund could not be created." in page.text
    assert page.link(f"Open refund {refund.reference}") == refund.get_absolute_url()
    order = as_rep.page(closing.order.get_absolute_url())
    assert order.link("See why, and what to do") == closing.progress
    # It can be begun once more.
    assert button_of(as_rep.page(closing.address))


def test_refund_that_fails_later_is_told_on_the_page(desk: Desk, as_rep: DeskClient) -> None:
    closing = Closing(as_rep, desk, desk.order("failing_card"))
    closing.begin()
    desk.sandbox.settle_now()
    desk.refresh(closing.order)
    page = as_rep.page(closing.progress)
    assert "Something is left again" in page.text
    refund = closing.close_out.refunds.get()
    assert f"Refund {refund.reference} of it is failed now, so its money is left again." in (
        page.text
    )


def test_what_is_not_sent_yet_is_called_off(closing: Closing) -> None:
    close_out = left_behind(closing)
    assert close_out.state == CloseOut.State.RUNNING
    page = closing.client.page(closing.progress)
    assert "No refund of this close-out was sent" in page.text
    form = page.form(CALL_OFF)
    response = closing.client.post(form["action"], page.values(CALL_OFF))
    assert response.headers["Location"] == closing.progress
    page = closing.client.page(closing.progress)
    assert "Called off by Rep Tester" in page.text
    assert CALL_OFF not in page.buttons
    closing.client.post(form["action"])
    (message,) = closing.client.page(closing.progress).messages
    assert "cannot be called off" in message


def test_draft_of_a_close_out_is_no_draft_of_the_wizard(closing: Closing) -> None:
    close_out = left_behind(closing)
    draft = close_out.refunds.get()
    assert draft.is_draft
    assert "Your drafts" not in closing.client.page("/refunds/").text
    for step in ("option", "review"):
        closing.client.page(f"/refunds/{draft.reference}/{step}/", 404)
    assert closing.client.post(f"/refunds/{draft.reference}/discard/").status_code == 404


def test_viewer_reads_where_it_stands_and_is_offered_nothing(
    closing: Closing, as_viewer: DeskClient
) -> None:
    lose(closing.desk, "lost-after")
    closing.begin()
    page = as_viewer.page(closing.progress)
    assert "Being closed out" in page.text
    assert page.buttons == []
    assert as_viewer.post(f"{closing.progress}check/").status_code == 403


def test_close_out_of_another_order_is_not_found_under_this_one(closing: Closing) -> None:
    closing.begin()
    other = closing.desk.order("plain_usd")
    closing.client.page(f"{other.get_absolute_url()}close-out/{closing.close_out.pk}/", 404)
