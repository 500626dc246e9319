"""The pages of reconciliation: for leads alone; what they show, and resolving differences."""

from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks

from refunds.models import ControlTotal, Difference, Order, ReconciliationRun, Refund
from refunds.options import Option, Selection
from refunds.permissions import GROUP_NAME, LEADS_GROUP_NAME
from refunds.salesforce.payloads import order_record
from refunds.services.mirror.records import order_mirror
from refunds.services.reconciliation import reconcile
from sandbox.allocation import RefundAsk
from sandbox.faults import Fault, FaultKind
from sandbox.shop import SHOWCASE
from tests.desk import Desk, lead, rep
from tests.services.account import check_account, spoil
from tests.views.pages import DeskClient, Page, signed_in

pytestmark = pytest.mark.django_db

Kind = Difference.Kind

READ = ("/reconciliation/", "/reconciliation/{run}/", "/reconciliation/differences/")
POSTED = (
    "/reconciliation/begin/",
    "/reconciliation/{run}/carry-on/",
    "/reconciliation/differences/{difference}/review/",
    "/reconciliation/differences/{difference}/adopt/",
    "/reconciliation/differences/{difference}/relink/",
    "/refunds/{refund}/relink/",
)


def part(amount: str) -> Selection:
    """Return a part of the whole order."""
    return Selection(Option.COMPLETE_ORDER, Decimal(amount))


def run(desk: Desk, **options: Any) -> ReconciliationRun:
    """Reconcile the refunds of the last day."""
    since = desk.clock() - timedelta(days=1)
    return reconcile(since=since, clock=desk.clock, client=desk.client, **options)


def unmirrored(desk: Desk, case: str = "plain_usd") -> Difference:
    """Return the difference about a refund whose order the mirror does not have."""
    order_id = desk.sandbox.order_id(SHOWCASE[case])
    assert order_id is not None
    desk.sandbox.create_refund(RefundAsk(order_id, "USD", amount=Decimal("6.00")))
    run(desk)
    return Difference.objects.get(kind=Kind.MISSING_HERE)


def mirror(desk: Desk, case: str) -> Order:
    """Mirror an order of the shop without reading its money."""
    record = desk.sandbox.salesforce_record(SHOWCASE[case])
    return order_mirror(record=order_record(record))


def breach(desk: Desk) -> Difference:
    """Return an open breach."""
    return Difference.objects.create(
        kind=Kind.ORDER_EXCEEDED,
        subject="order 1",
        currency="USD",
        our_amount=Decimal("30.00"),
        their_amount=Decimal("27.01"),
        explanation="Order 1: USD 30.00 was refunded, and only USD 27.01 was captured.",
        found_at=desk.clock(),
        last_seen_at=desk.clock(),
    )


def lost_and_found(desk: Desk) -> tuple[Refund, Refund]:
    """Return the desk's refund whose outcome is unknown, and the one elsewhere that it is."""
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_AFTER)
    own = desk.submit(order, rep(), part("5.00"))
    made = desk.client.list_refunds(order_id=order.digital_river_id)[0]
    desk.sandbox.update_refund(made.id, {})
    desk.clock.forward(seconds=1)
    desk.refresh(order)
    return own, order.refunds.get(origin=Refund.Origin.ELSEWHERE)


# -- who may ---------------------------------------------------------------------------------------


@pytest.fixture
def things(desk: Desk) -> dict[str, object]:
    """Return what the addresses name."""
    difference = unmirrored(desk)
    refund = desk.submit(desk.order("worked_sample"), rep(), part("5.00"))
    return {
        "run": difference.run_id,
        "difference": difference.pk,
        "refund": refund.reference,
    }


@pytest.mark.parametrize("address", READ)
def test_lead_opens_every_page_of_reconciliation(
    things: dict[str, object], as_lead: DeskClient, address: str
) -> None:
    as_lead.page(address.format(**things))
    assert as_lead.head(address.format(**things)).status_code == HTTPStatus.OK
    assert as_lead.post(address.format(**things)).status_code == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("address", [*READ, *POSTED])
def test_rep_may_not_open_or_do_what_is_for_leads(
    things: dict[str, object], as_rep: DeskClient, as_viewer: DeskClient, address: str
) -> None:
    for client, group in ((as_rep, LEADS_GROUP_NAME), (as_viewer, GROUP_NAME)):
        for response in (
            client.get(address.format(**things)),
            client.post(address.format(**things)),
        ):
            assert response.status_code == HTTPStatus.FORBIDDEN
            assert group in Page(response).text
    assert ReconciliationRun.objects.count() == 1
    assert Difference.objects.get().resolution == ""


@pytest.mark.parametrize("address", POSTED)
def test_what_changes_something_takes_nothing_but_a_post_with_its_token(
    things: dict[str, object], as_lead: DeskClient, address: str
) -> None:
    assert as_lead.get(address.format(**things)).status_code == HTTPStatus.METHOD_NOT_ALLOWED
    strict = signed_in(lead(), enforce_csrf_checks=True)
    assert strict.post(address.format(**things)).status_code == HTTPStatus.FORBIDDEN
    assert Difference.objects.get().resolution == ""


@pytest.mark.parametrize("address", [*READ, *POSTED])
def test_signed_out_person_is_asked_to_sign_in_first(
    things: dict[str, object], address: str
) -> None:
    response = DeskClient().post(address.format(**things))
    assert response.status_code == HTTPStatus.FOUND
    assert response.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize(
    "address",
    [
        "/reconciliation/999/",
        f"/reconciliation/{10**30}/",
        "/reconciliation/x/",
    ],
)
def test_page_of_no_reconciliation_is_not_found(
    desk: Desk, as_lead: DeskClient, address: str
) -> None:
    as_lead.page(address, HTTPStatus.NOT_FOUND)


@pytest.mark.parametrize(
    "address",
    [
        "/reconciliation/999/carry-on/",
        "/reconciliation/differences/999/review/",
        "/reconciliation/differences/999/adopt/",
        "/reconciliation/differences/999/relink/",
        "/refunds/R-0000-0000/relink/",
    ],
)
def test_post_to_what_is_not_there_is_not_found(
    desk: Desk, as_lead: DeskClient, address: str
) -> None:
    assert as_lead.post(address).status_code == HTTPStatus.NOT_FOUND


# -- navigation and banner -------------------------------------------------------------------------


def test_navigation_leads_leads_to_reconciliation_and_nobody_else(
    desk: Desk, as_lead: DeskClient, as_rep: DeskClient
) -> None:
    assert as_lead.page("/orders/").link("Reconciliation") == "/reconciliation/"
    assert "Reconciliation" not in as_rep.page("/orders/").text
    current = as_lead.page("/reconciliation/").root.all("a", href="/reconciliation/")[0]
    assert current["aria-current"] == "page"


def test_open_difference_shows_in_the_navigation_of_leads(
    desk: Desk, as_lead: DeskClient, as_rep: DeskClient
) -> None:
    unmirrored(desk)
    page = as_lead.page("/orders/")
    assert page.link("Reconciliation: differences are open") == "/reconciliation/"
    assert "than was captured" not in page.text
    assert "Reconciliation" not in as_rep.page("/orders/").text
    listed = as_lead.page("/reconciliation/")
    assert listed.link("Open differences") == "/reconciliation/differences/"


@pytest.mark.parametrize("address", ["/orders/", "/refunds/", "/reconciliation/", "/nowhere/"])
def test_breach_shows_on_every_page_of_a_lead(
    desk: Desk, as_lead: DeskClient, as_rep: DeskClient, address: str
) -> None:
    found = breach(desk)
    banner = "More was refunded, or is on its way, than was captured."
    page = Page(as_lead.get(address))
    assert banner in page.text
    assert page.root.one("p", class_="notice-error")["role"] == "alert"
    assert page.link("See where, and what to do") == "/reconciliation/differences/?breaches=on"
    assert banner not in Page(as_rep.get(address)).text

    found.resolution, found.resolved_at = Difference.Resolution.CLEARED, desk.clock()
    found.save()
    assert banner not in Page(as_lead.get(address)).text


def test_pages_look_for_breaches_by_one_query_and_only_for_leads(
    desk: Desk, as_lead: DeskClient, as_rep: DeskClient
) -> None:
    breach(desk)

    def asked(client: DeskClient) -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            client.get("/orders/")
        return sum("refunds_difference" in each["sql"] for each in captured.captured_queries)

    assert (asked(as_lead), asked(as_rep)) == (1, 0)


# -- the list, and beginning -----------------------------------------------------------------------


def test_list_says_that_there_is_none_yet(desk: Desk, as_lead: DeskClient) -> None:
    page = as_lead.page("/reconciliation/")
    assert "No reconciliation yet" in page.text
    assert "No difference is open." in page.text
    assert page.values("Reconcile now")["days"] == "30"


def test_list_shows_each_reconciliation_with_the_newest_first(
    desk: Desk, as_lead: DeskClient
) -> None:
    first = run(desk, started_by=lead())
    order = desk.order("worked_sample")
    desk.clock.forward(hours=1)
    second = reconcile(order=order, clock=desk.clock, client=desk.client)
    page = as_lead.page("/reconciliation/")
    assert page.rows == [f"No. {second.pk}", f"No. {first.pk}"]
    cells = [[cell.text for cell in row.all("td")] for row in page.main.all("tr")[1:]]
    assert cells[0][1:4] == ["Command", f"Order {order.order_number}", "Finished"]
    assert cells[1][1:4] == ["Lead Tester", "All orders, since 1 Nov 2026", "Finished"]


def test_list_pages_by_keyset(desk: Desk, as_lead: DeskClient) -> None:
    for _ in range(27):
        ReconciliationRun.objects.create(
            started_at=desk.clock.forward(minutes=1), state="finished", finished_at=desk.clock()
        )
    page = as_lead.page("/reconciliation/")
    assert len(page.rows) == 25
    last = as_lead.page("/reconciliation/" + page.link("Next page"))
    assert len(last.rows) == 2
    assert as_lead.page("/reconciliation/?after=broken").messages


def test_begin_reconciles_in_the_background(
    desk: Desk,
    as_lead: DeskClient,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    order = desk.order("worked_sample")
    desk.sandbox.create_refund(RefundAsk(order.digital_river_id, "USD", amount=Decimal("7.00")))
    values = as_lead.page("/reconciliation/").values("Reconcile now")

    with django_capture_on_commit_callbacks(execute=True):
        response = as_lead.post("/reconciliation/begin/", values)

    found = ReconciliationRun.objects.get()
    assert response.headers["Location"] == f"/reconciliation/{found.pk}/"
    assert found.started_by == lead()
    assert found.since == desk.clock() - timedelta(days=30)
    assert (found.state, found.adopted) == ("finished", 1)
    assert order.refunds.get().origin == Refund.Origin.ELSEWHERE


def test_begin_of_one_order(desk: Desk, as_lead: DeskClient) -> None:
    order = desk.order("worked_sample")
    as_lead.post("/reconciliation/begin/", {"days": "10", "order": f" {order.order_number} "})
    assert ReconciliationRun.objects.get().order == order


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"days": ""}, "Enter how many days to go back."),
        ({"days": "some"}, "Enter a whole number of days."),
        ({"days": "0"}, "Go back at least one day."),
        ({"days": "99999"}, "Go back at most 3650 days"),
        ({"days": "10", "order": "99999999"}, "The desk has no order of that number."),
    ],
)
def test_begin_refuses_what_makes_no_sense_and_says_why(
    desk: Desk, as_lead: DeskClient, data: dict[str, str], words: str
) -> None:
    response = as_lead.post("/reconciliation/begin/", data)
    assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    page = Page(response)
    assert any(words in error for error in page.errors)
    assert page.values("Reconcile now")["days"] == data["days"]
    assert not ReconciliationRun.objects.exists()


def test_begin_while_another_is_under_way_says_so(desk: Desk, as_lead: DeskClient) -> None:
    order = desk.order("worked_sample")
    values = {"days": "10", "order": ""}

    def meanwhile(unfinished: ReconciliationRun) -> None:
        response = as_lead.post("/reconciliation/begin/", values, follow=True)
        assert "A reconciliation is under way." in Page(response).messages[0]

    reconcile(order=order, clock=desk.clock, client=desk.client, on_progress=meanwhile)
    assert ReconciliationRun.objects.count() == 1


# -- one reconciliation ----------------------------------------------------------------------------


def test_page_shows_totals_side_by_side_and_marks_what_differs(
    desk: Desk, as_lead: DeskClient
) -> None:
    desk.submit(desk.order("eur"), rep(), part("3.00"))
    difference = unmirrored(desk)

    page = as_lead.page(f"/reconciliation/{difference.run_id}/")

    table = page.main.all("table")[0]
    rows = [[cell.text for cell in row.all("td")] for row in table.all("tr")[1:]]
    assert rows == [
        ["USD", "0", "1", "0.00", "6.00", "Differs"],
        ["EUR", "1", "1", "3.00", "3.00", "Agrees"],
    ]
    assert "The rows marked below do not agree." in page.text
    assert "1 difference is open." in page.text


def test_page_shows_all_totals_that_differ_before_those_that_agree_fill_it(
    desk: Desk, as_lead: DeskClient
) -> None:
    found = run(desk)
    day = desk.clock().date()
    ControlTotal.objects.bulk_create(
        ControlTotal(
            run=found,
            day=day - timedelta(days=at),
            currency="USD",
            our_count=1,
            their_count=at != 99,
        )
        for at in range(100)
    )
    page = as_lead.page(f"/reconciliation/{found.pk}/")
    results = [row.all("td")[-1].text for row in page.main.all("table")[0].all("tr")[1:]]
    assert results == [*["Agrees"] * 60, "Differs"]
    assert "Only some of the days are shown" in page.text


def test_page_explains_each_difference_and_offers_what_can_be_done(
    desk: Desk, as_lead: DeskClient
) -> None:
    difference = unmirrored(desk)
    page = as_lead.page(f"/reconciliation/{difference.run_id}/")
    article = page.main.one("article")
    assert article.one("h3").text == f"Not at the desk: {difference.digital_river_id}"
    assert difference.explanation in article.text
    assert "USD 6.00" in article.text
    assert [button.text for button in article.all("button")] == [
        "Adopt the refund",
        "Relink",
        "Mark as reviewed",
    ]


def test_page_offers_no_adopting_of_what_the_desk_has(desk: Desk, as_lead: DeskClient) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.OTHER_AMOUNT, amount=Decimal("3.00"))
    refund = desk.submit(order, rep(), part("5.00"))
    found = run(desk)
    article = as_lead.page(f"/reconciliation/{found.pk}/").main.one("article")
    assert [button.text for button in article.all("button")] == ["Mark as reviewed"]
    assert article.all("a", href=refund.get_absolute_url())
    assert article.all("a", href=order.get_absolute_url())


def test_page_of_a_reconciliation_without_differences_says_so(
    desk: Desk, as_lead: DeskClient
) -> None:
    found = run(desk)
    page = as_lead.page(f"/reconciliation/{found.pk}/")
    assert "Everything agrees." in page.text
    assert "No open differences" in page.text
    assert "No refund that holds or moved money was compared." in page.text
    resolved = as_lead.page(f"/reconciliation/{found.pk}/?resolved=on")
    assert "Nothing resolved yet" in resolved.text


def test_page_of_one_under_way_follows_it_by_itself(desk: Desk, as_lead: DeskClient) -> None:
    running = ReconciliationRun.objects.create(started_at=desk.clock(), phase="theirs")
    page = as_lead.page(f"/reconciliation/{running.pk}/")
    assert page.root.one("div", id="run-summary")["hx-trigger"] == "every 5s"
    assert "Running" in page.text
    running.state, running.finished_at = ReconciliationRun.State.FINISHED, desk.clock()
    running.save()
    page = as_lead.page(f"/reconciliation/{running.pk}/")
    assert not page.root.one("div", id="run-summary").get("hx-trigger")


def test_carry_on_goes_on_where_it_stopped(
    desk: Desk,
    as_lead: DeskClient,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    desk.submit(desk.order("worked_sample"), rep(), part("5.00"))
    desk.sandbox.queue_fault(
        Fault(FaultKind.CONNECTION_REFUSED, method="GET", path="/refunds", times=3)
    )
    stopped = run(desk)
    assert stopped.state == "stopped"
    address = f"/reconciliation/{stopped.pk}/"
    page = as_lead.page(address)
    assert "carry the run on later" in page.text
    desk.sandbox.clear_faults()

    with django_capture_on_commit_callbacks(execute=True):
        response = as_lead.post(page.form("Carry on")["action"])

    assert response.headers["Location"] == address
    stopped.refresh_from_db()
    assert (stopped.state, stopped.theirs_read) == ("finished", 1)
    again = as_lead.post(f"{address}carry-on/", follow=True)
    assert "has ended" in Page(again).messages[-1]


# -- differences, and resolving them ---------------------------------------------------------------


def test_differences_of_all_looks_are_listed_newest_first_by_keyset(
    desk: Desk, as_lead: DeskClient
) -> None:
    for number in range(27):
        Difference.objects.create(
            kind=Kind.AVAILABLE,
            subject=f"order {number}",
            explanation=f"Number {number}.",
            found_at=desk.clock.forward(minutes=1),
            last_seen_at=desk.clock(),
        )
    page = as_lead.page("/reconciliation/differences/")
    shown = [article.all("p")[0].text for article in page.main.all("article")]
    assert shown == [f"Number {number}." for number in range(26, 1, -1)]
    last = as_lead.page("/reconciliation/differences/" + page.link("Next page"))
    assert len(last.main.all("article")) == 2


def test_differences_can_be_narrowed_to_breaches(desk: Desk, as_lead: DeskClient) -> None:
    unmirrored(desk)
    breach(desk)
    assert len(as_lead.page("/reconciliation/differences/").main.all("article")) == 2
    page = as_lead.page("/reconciliation/differences/?breaches=on")
    assert page.main.one("h1").text == "More refunded than there was"
    assert "Captured" in page.main.one("article").text


def test_review_keeps_the_note_and_leads_back(desk: Desk, as_lead: DeskClient) -> None:
    difference = unmirrored(desk)
    address = f"/reconciliation/{difference.run_id}/"
    page = as_lead.page(address)
    values = page.values("Mark as reviewed") | {"note": "Sold by the other shop."}

    response = as_lead.post(page.form("Mark as reviewed")["action"], values)

    assert response.headers["Location"] == address
    difference.refresh_from_db()
    assert difference.resolution == Difference.Resolution.REVIEWED
    assert "marked as reviewed" in as_lead.page(address).messages[0]
    resolved = as_lead.page(f"{address}?resolved=on").main.one("article")
    assert "Sold by the other shop." in resolved.text
    assert "Lead Tester" in resolved.text
    assert not resolved.all("button")


def test_review_without_a_note_is_refused(desk: Desk, as_lead: DeskClient) -> None:
    difference = unmirrored(desk)
    response = as_lead.post(
        f"/reconciliation/differences/{difference.pk}/review/", {"note": " "}, follow=True
    )
    assert "Write a note" in Page(response).messages[0]
    assert response.redirect_chain[0][0] == "/reconciliation/differences/"
    difference.refresh_from_db()
    assert difference.resolution == ""


def test_adopt_takes_on_the_refund(desk: Desk, as_lead: DeskClient) -> None:
    difference = unmirrored(desk)
    address = f"/reconciliation/differences/{difference.pk}/adopt/"
    refused = as_lead.post(address, follow=True)
    assert "mirrored from Salesforce first" in Page(refused).messages[0]

    order = mirror(desk, "plain_usd")
    response = as_lead.post(address, follow=True)

    assert "adopted" in Page(response).messages[0]
    assert order.refunds.get().digital_river_id == difference.digital_river_id


def test_relink_from_the_page_of_the_refund_made_elsewhere(desk: Desk, as_lead: DeskClient) -> None:
    own, outside = lost_and_found(desk)
    page = as_lead.page(outside.get_absolute_url())
    values = page.values("Relink") | {"reference": own.reference}

    response = as_lead.post(page.form("Relink")["action"], values)

    assert response.headers["Location"] == own.get_absolute_url()
    own.refresh_from_db()
    assert own.state == Refund.State.PENDING
    check_account(desk, own.order)
    page = as_lead.page(outside.get_absolute_url())
    assert own.reference in page.text
    assert "Relink" not in page.buttons


def test_relink_that_is_refused_says_why(desk: Desk, as_lead: DeskClient) -> None:
    _, outside = lost_and_found(desk)
    address = f"/refunds/{outside.reference}/relink/"
    for reference in ("R-0000-0000", "", "x" * 30):
        response = as_lead.post(address, {"reference": reference}, follow=True)
        assert "no refund of that reference" in Page(response).messages[0]
    outside.refresh_from_db()
    assert outside.state == Refund.State.PENDING


def test_relink_is_offered_to_leads_alone(desk: Desk, as_rep: DeskClient) -> None:
    _, outside = lost_and_found(desk)
    assert "Relink" not in as_rep.page(outside.get_absolute_url()).buttons


def test_relink_of_a_difference(desk: Desk, as_lead: DeskClient) -> None:
    own, outside = lost_and_found(desk)
    difference = Difference.objects.create(
        kind=Kind.AMOUNT,
        subject=outside.digital_river_id,
        refund=outside,
        order=outside.order,
        explanation="Something.",
        found_at=desk.clock(),
        last_seen_at=desk.clock(),
    )
    page = as_lead.page("/reconciliation/differences/")
    values = page.values("Relink") | {"reference": own.reference}

    response = as_lead.post(page.form("Relink")["action"], values, follow=True)

    assert f"Relinked: refund {own.reference}" in Page(response).messages[0]
    difference.refresh_from_db()
    assert difference.resolution == Difference.Resolution.RELINKED


def test_pages_take_as_many_queries_for_many_differences_as_for_few(
    desk: Desk, as_lead: DeskClient
) -> None:
    found = run(desk)
    order = desk.order("worked_sample")

    def queries(count: int, address: str) -> int:
        Difference.objects.all().delete()
        for number in range(count):
            Difference.objects.create(
                kind=Kind.AVAILABLE,
                subject=f"order {number}",
                run=found,
                order=order,
                explanation="Something.",
                found_at=desk.clock(),
                last_seen_at=desk.clock(),
            )
        with CaptureQueriesContext(connection) as captured:
            as_lead.page(address)
        return len(captured)

    for address in (f"/reconciliation/{found.pk}/", "/reconciliation/differences/"):
        assert queries(2, address) == queries(20, address) <= 12
