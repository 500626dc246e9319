"""The list of refunds: searching, filtering, paging, flags, and one's own drafts."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from refunds.models import Order, Refund
from refunds.options import Option, Selection
from tests.desk import Desk, lead, rep
from tests.views.pages import DeskClient, Page, flat
from tests.views.rows import DAY, make_order, make_orders, make_refunds
from tests.views.test_order_list import GONE, walk

pytestmark = pytest.mark.django_db


def found(client: DeskClient, **filters: str) -> list[str]:
    return Page(client.get("/refunds/", filters)).rows


@pytest.fixture
def four(db: None) -> list[Refund]:
    """Make four refunds of four orders: 50000001 and on, R-7000-0000 and on, a day apart."""
    orders = make_orders(4)
    refunds = make_refunds(orders, rep(), apart=timedelta(days=1))
    changes: list[dict[str, object]] = [
        {"state": Refund.State.PENDING, "option": Refund.OptionChoice.SHIPPING},
        {"state": Refund.State.FAILED, "flag": "Look at this one."},
        {"created_by": lead(), "option": Refund.OptionChoice.TAX},
        {"created_by": None, "origin": Refund.Origin.ELSEWHERE},
    ]
    for refund, change in zip(refunds, changes, strict=True):
        Refund.objects.filter(pk=refund.pk).update(**change)
    return refunds


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("R-7000-0001", ["1"]),
        ("r-7000-0001", ["1"]),
        ("r70000001", ["1"]),
        ("70000001", ["1"]),
        ("7000 0001", ["1"]),
        ("7000-0001", ["1"]),
        ("R-7000", ["0", "1", "2", "3"]),
        (" r-7000-000 ", ["0", "1", "2", "3"]),
        ("7000", ["0", "1", "2", "3"]),
        ("re_0002", ["2"]),
        ("RE_0002", ["2"]),
        ("50000004", ["3"]),
        ("5000000", ["0", "1", "2", "3"]),
    ],
)
def test_search_finds_by_reference_processor_id_and_order_number(
    four: list[Refund], as_rep: DeskClient, search: str, expected: list[str]
) -> None:
    assert [row[-1] for row in found(as_rep, search=search)] == expected


@pytest.mark.parametrize("search", ["R-9", "0001", "%", "R-", "nobody", "R-7000-00011", "\\"])
def test_search_that_matches_nothing_says_so(
    four: list[Refund], as_rep: DeskClient, search: str
) -> None:
    page = Page(as_rep.get("/refunds/", {"search": search}))
    assert page.rows == []
    assert "No refund matches" in page.text
    assert page.link("Show all refunds") == "/refunds/"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["0", "1", "2", "3"]),
        ({"state": "pending"}, ["0"]),
        ({"state": "succeeded"}, ["2", "3"]),
        ({"option": "tax"}, ["2"]),
        ({"option": "complete_order"}, ["1", "3"]),
        ({"flagged": "on"}, ["1"]),
        ({"made_from": "2026-09-30"}, ["0", "1"]),
        ({"made_to": "2026-09-29"}, ["2", "3"]),
        ({"made_from": "2026-09-30", "made_to": "2026-09-30"}, ["1"]),
        ({"state": "succeeded", "option": "tax", "search": "7000"}, ["2"]),
        ({"state": "pending", "flagged": "on"}, []),
        ({"search": "50000002", "flagged": "on"}, ["1"]),
    ],
)
def test_filters_narrow_the_list(
    four: list[Refund], as_rep: DeskClient, filters: dict[str, str], expected: list[str]
) -> None:
    assert [row[-1] for row in found(as_rep, **filters)] == expected


def test_filter_by_person(four: list[Refund], as_rep: DeskClient) -> None:
    by_lead = str(User.objects.get(username="lead").pk)
    assert found(as_rep, person=by_lead) == ["R-7000-0002"]
    by_rep = str(User.objects.get(username="rep").pk)
    assert found(as_rep, person=by_rep) == ["R-7000-0000", "R-7000-0001"]


@pytest.mark.parametrize(
    "filters",
    [
        {"state": "draft"},
        {"state": "nonsense"},
        {"option": "everything"},
        {"person": "999999"},
        {"person": "robin"},
        {"person": "9" * 40},
        {"made_from": "soon"},
        {"made_to": "9999-12-31"},
    ],
)
def test_filter_with_a_value_that_is_none_says_so(
    four: list[Refund], as_rep: DeskClient, filters: dict[str, str]
) -> None:
    page = Page(as_rep.get("/refunds/", filters))
    assert len(page.errors) == 1
    assert page.main.all("a", href=f"#id_{next(iter(filters))}")


def test_row_leads_to_the_refund_and_tells_of_it(four: list[Refund], as_rep: DeskClient) -> None:
    page = as_rep.page("/refunds/?search=R-7000-0001")
    assert page.has_link("/refunds/R-7000-0001/")
    row = page.root.all("tr")[1].text
    assert "50000002" in row
    assert "Failed Flagged" in row
    assert row.endswith("Rep Tester")
    elsewhere = as_rep.page("/refunds/?search=R-7000-0003").root.all("tr")[1].text
    assert elsewhere.endswith("Outside the desk")


def test_list_is_empty_before_anything_is_refunded(as_rep: DeskClient) -> None:
    assert "No refunds yet" in as_rep.page("/refunds/").text


def test_paging_gives_every_refund_once_newest_first(as_rep: DeskClient) -> None:
    refunds = make_refunds(make_orders(60), rep(), apart=timedelta(hours=5))
    pages = walk(as_rep, "/refunds/")
    assert [len(rows) for rows in pages] == [25, 25, 10]
    assert flat(pages) == [refund.reference for refund in refunds]


def test_paging_of_refunds_of_one_moment_gives_every_refund_once(as_rep: DeskClient) -> None:
    refunds = make_refunds(make_orders(60), rep())
    rows = flat(walk(as_rep, "/refunds/"))
    assert rows == [refund.reference for refund in reversed(refunds)]


def test_paging_of_a_search_in_several_keys_gives_every_refund_once(as_rep: DeskClient) -> None:
    orders = make_orders(40)
    by_reference = make_refunds(orders, rep(), first=0)
    # Of one order whose number begins as the references do: found by either, and by both.
    twice = Order(**{**_columns(make_order(70_000_000)), "number_key": "70000000"})
    twice.save()
    again = make_refunds([twice] * 30, rep(), first=100, apart=timedelta(minutes=1))
    rows = flat(walk(as_rep, "/refunds/?search=7000"))
    assert len(rows) == 70
    assert set(rows) == {refund.reference for refund in [*by_reference, *again]}


def _columns(order: Order) -> dict[str, object]:
    return {
        each.name: getattr(order, each.name)
        for each in Order._meta.fields
        if each.name != "id" and not each.generated
    }


@pytest.mark.parametrize("after", ["rubbish", "\x00", "é"])
@pytest.mark.parametrize("search", ["", "7000", "R-7000"])
def test_paging_by_a_broken_cursor_shows_the_first_page(
    four: list[Refund], as_rep: DeskClient, after: str, search: str
) -> None:
    page = Page(as_rep.get("/refunds/", {"after": after, "search": search}))
    assert page.messages == [GONE]
    assert len(page.rows) == 4


def test_paging_by_a_cursor_of_the_orders_is_harmless(
    four: list[Refund], as_rep: DeskClient
) -> None:
    Order.objects.bulk_create(make_order(56_000_000 + at, ordered_at=DAY) for at in range(30))
    cursor = as_rep.page("/orders/").link("Next page").partition("after=")[2]
    assert as_rep.get(f"/refunds/?after={cursor}").status_code == 200


# -- drafts ----------------------------------------------------------------------------------------


def test_drafts_are_listed_to_the_one_they_belong_to(
    desk: Desk, as_rep: DeskClient, as_other_rep: DeskClient
) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), Selection(Option.SHIPPING))
    page = as_rep.page("/refunds/")
    assert "Your drafts" in page.text
    assert page.rows == [draft.reference]
    assert page.has_link(f"/refunds/{draft.reference}/option/")
    other = as_other_rep.page("/refunds/")
    assert draft.reference not in other.text
    assert "Your drafts" not in other.text


def test_drafts_stay_out_of_searches_and_of_the_submitted(
    desk: Desk, as_rep: DeskClient, as_viewer: DeskClient
) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    assert found(as_rep, search=draft.reference) == []
    assert found(as_rep, state="succeeded") == []
    assert found(as_viewer) == []


def test_drafts_that_expired_are_not_listed(desk: Desk, as_rep: DeskClient) -> None:
    desk.draft(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    desk.clock.forward(hours=25)
    # The session has ended as well by then.
    as_rep.force_login(rep(), backend="django.contrib.auth.backends.ModelBackend")
    page = as_rep.page("/refunds/")
    assert page.rows == []
    assert "Your drafts" not in page.text
