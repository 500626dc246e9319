"""The list of orders: searching, filtering, paging; the wizard's first step, which lists too."""

from datetime import timedelta
from decimal import Decimal

import pytest
from pytest_django import Settings

from refunds.models import Order
from tests.desk import Desk
from tests.views.pages import DeskClient, Page, flat
from tests.views.rows import DAY, make_order, make_orders, make_unread_order

pytestmark = pytest.mark.django_db

GONE = "That page of the list is not there any more. This is the first."


def found(client: DeskClient, search: str, **filters: str) -> list[str]:
    response = client.get("/orders/", {"q": search, **filters})
    assert response.status_code == 200
    return Page(response).rows


def walk(client: DeskClient, address: str) -> list[list[str]]:
    """Return the rows of every page, from the first to the last."""
    pages = []
    while address:
        page = client.page(address)
        pages.append(page.rows)
        following = [each["href"] for each in page.root.all("a") if each.text == "Next page"]
        address = f"{address.partition('?')[0]}{following[0]}" if following else ""
        assert len(pages) < 50, "the list does not end"
    return pages


# -- searching -------------------------------------------------------------------------------------


@pytest.fixture
def three(db: None) -> None:
    make_order(
        60000001,
        salesforce_id="801Ab00000Xy1AAA",
        digital_river_id="221234560336",
        account_name="Müller & Söhne GmbH",
        buyer_name="Ånna  Zoë O’Hara",
        buyer_email="Anna.Ohara@Example.com",
        ordered_at=DAY,
    ).save()
    make_order(
        61000002, digital_river_id="DR-abc-9", buyer_name="Bo Li", buyer_email="bo@x.example"
    ).save()
    make_order(
        70000003, account_name="株式会社", buyer_name="山田", buyer_email="", digital_river_id=""
    ).save()


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("60000001", ["60000001"]),
        ("6", ["60000001", "61000002"]),
        ("600", ["60000001"]),
        ("221234560336", ["60000001"]),
        ("2212", ["60000001"]),
        ("dr-ABC", ["61000002"]),
        ("801Ab00000Xy1AAA", ["60000001"]),
        ("801ab00000xy1aaa", ["60000001"]),
        ("801AB00000XY", ["60000001"]),
        ("müller", ["60000001"]),
        ("MULLER & SOHNE", ["60000001"]),
        ("  muller   &  sohne ", ["60000001"]),
        ("anna zoe", ["60000001"]),
        ("ÅNNA", ["60000001"]),
        ("anna.ohara@example.com", ["60000001"]),
        ("ANNA.OHARA@", ["60000001"]),
        ("bo", ["61000002"]),
        ("株式", ["70000003"]),
        ("山", ["70000003"]),
        ("60000001\x00", ["60000001"]),
    ],
)
def test_search_finds_by_the_beginning_of_each_key(
    three: None, as_rep: DeskClient, search: str, expected: list[str]
) -> None:
    assert found(as_rep, search) == expected


@pytest.mark.parametrize(
    "search",
    ["0000001", "ohara", "@example.com", "%", "_", "6%", "'", '"', "\\", "60000001x", "\U0010ffff"],
)
def test_search_that_matches_nothing_says_so_and_helps(
    three: None, as_rep: DeskClient, search: str
) -> None:
    page = Page(as_rep.get("/orders/", {"q": search}))
    assert page.rows == []
    assert "No order matches" in page.text
    assert page.link("Show all orders") == "/orders/"
    assert page.main.one("input", name="q")["value"] == search


@pytest.mark.parametrize("search", ["", "   ", "\x00"])
def test_search_for_nothing_lists_all(three: None, as_rep: DeskClient, search: str) -> None:
    assert len(found(as_rep, search)) == 3


def test_search_is_shown_and_cut_to_its_length(three: None, as_rep: DeskClient) -> None:
    page = Page(as_rep.get("/orders/", {"q": "z" * 5000}))
    assert page.main.one("input", name="q")["value"] == "z" * 200


def test_search_for_markup_shows_it_as_text(three: None, as_rep: DeskClient) -> None:
    response = as_rep.get("/orders/", {"q": '"><script>alert(1)</script>'})
    assert "<script>alert" not in response.text


def test_search_gives_an_order_once_that_matches_by_several_keys(as_rep: DeskClient) -> None:
    make_order(80000001, buyer_name="Sam", account_name="Sam & Co", buyer_email="sam@x.org").save()
    assert found(as_rep, "sam") == ["80000001"]


def test_search_of_the_site_stands_on_every_page(three: None, as_rep: DeskClient) -> None:
    form = as_rep.page("/refunds/").root.one("form", class_="site-search")
    assert (form["action"], form["method"]) == ("/orders/", "get")
    assert form.one("input")["name"] == "q"


def test_list_is_empty_before_anything_is_mirrored(as_rep: DeskClient) -> None:
    assert "No orders yet" in as_rep.page("/orders/").text


def test_list_leads_to_the_order_and_shows_its_money(three: None, as_rep: DeskClient) -> None:
    nothing_left = {"left_amount": Decimal(0), "refundable": False, "ordered_at": DAY}
    make_unread_order(60000008, ordered_at=DAY).save()
    make_order(60000009, **nothing_left).save()
    page = as_rep.page("/orders/?q=6000000")
    assert page.has_link("/orders/60000001/")
    first, unread, second = page.root.all("tr")[1:]
    assert unread.text.endswith("USD 40.00 not read yet")
    assert "Müller & Söhne GmbH" in first.text
    assert first.text.endswith("USD 40.00 USD 40.00")
    assert second.text.endswith("USD 40.00 nothing")


# -- filters ---------------------------------------------------------------------------------------


@pytest.fixture
def five(db: None) -> None:
    make_order(90000001, state="complete", currency="USD", ordered_at=DAY).save()
    make_order(
        90000002, state="complete", currency="EUR", ordered_at=DAY - timedelta(days=1)
    ).save()
    make_order(
        90000003,
        state="complete",
        currency="EUR",
        ordered_at=DAY - timedelta(days=2),
        left_amount=Decimal(0),
    ).save()
    make_order(90000004, state="fulfilled", ordered_at=DAY.replace(hour=0)).save()
    make_order(
        90000005, state="in_review", left_amount=Decimal(0), ordered_at=DAY - timedelta(days=9)
    ).save()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["1", "4", "2", "3", "5"]),
        ({"state": "complete"}, ["1", "2", "3"]),
        ({"state": "in_review"}, ["5"]),
        ({"currency": "EUR"}, ["2", "3"]),
        ({"left": "on"}, ["1", "4", "2"]),
        ({"ordered_from": "2026-10-01"}, ["1", "4"]),
        ({"ordered_to": "2026-09-30"}, ["2", "3", "5"]),
        ({"ordered_from": "2026-09-30", "ordered_to": "2026-09-30"}, ["2"]),
        ({"ordered_from": "2026-10-02"}, []),
        ({"ordered_from": "2026-10-01", "ordered_to": "2026-09-01"}, []),
        ({"state": "complete", "currency": "EUR", "left": "on"}, ["2"]),
        ({"state": "complete", "q": "90000003"}, ["3"]),
        ({"currency": "EUR", "q": "9", "left": "on"}, ["2"]),
        ({"state": "fulfilled", "q": "90000003"}, []),
    ],
)
def test_filters_narrow_the_list(
    five: None, as_rep: DeskClient, filters: dict[str, str], expected: list[str]
) -> None:
    page = Page(as_rep.get("/orders/", filters))
    assert [row[-1] for row in page.rows] == expected
    assert ("Clear" in page.main.text) == bool(filters)
    if not expected:
        assert "No order matches" in page.text


def test_filters_stay_chosen(five: None, as_rep: DeskClient) -> None:
    page = as_rep.page("/orders/?state=complete&currency=EUR&ordered_from=2026-09-01&left=on&q=9")
    assert page.values("Show orders") == {
        "q": "9",
        "state": "complete",
        "currency": "EUR",
        "ordered_from": "2026-09-01",
        "ordered_to": "",
        "left": "on",
    }


@pytest.mark.parametrize(
    "filters",
    [
        {"state": "no-such-state"},
        {"currency": "XXX"},
        {"ordered_from": "yesterday"},
        {"ordered_to": "2026-02-30"},
        {"ordered_from": "0000-00-00"},
        {"state": "\x00"},
    ],
)
def test_filter_with_a_value_that_is_none_says_so_beside_the_field(
    five: None, as_rep: DeskClient, filters: dict[str, str]
) -> None:
    response = as_rep.get("/orders/", filters)
    assert response.status_code == 200
    page = Page(response)
    assert len(page.errors) == 1
    (name,) = filters
    assert page.main.all("a", href=f"#id_{name}")
    assert page.title.startswith("Error: ")


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
@pytest.mark.parametrize("name", ["ordered_from", "ordered_to"])
def test_filter_by_the_first_and_the_last_day_of_the_calendar_is_refused(
    five: None, as_rep: DeskClient, settings: Settings, name: str, zone: str
) -> None:
    settings.TIME_ZONE = zone
    for day, error in (
        ("0001-01-01", "Enter a day of 1990 or later."),
        ("9999-12-31", "Enter a day before 2200."),
    ):
        page = Page(as_rep.get("/orders/", {name: day}))
        assert page.errors == [error]


def test_filter_by_day_goes_by_the_time_zone_of_the_desk(
    five: None, as_rep: DeskClient, settings: Settings
) -> None:
    settings.TIME_ZONE = "America/New_York"
    # Midnight UTC is the evening before in New York.
    assert "90000004" not in found(as_rep, "", ordered_from="2026-10-01")
    assert "90000004" in found(as_rep, "", ordered_to="2026-09-30")


# -- paging ----------------------------------------------------------------------------------------


def test_paging_gives_every_order_once_newest_first(as_rep: DeskClient) -> None:
    orders = make_orders(60, apart=timedelta(minutes=7))
    pages = walk(as_rep, "/orders/")
    assert [len(rows) for rows in pages] == [25, 25, 10]
    assert flat(pages) == [order.order_number for order in orders]


def test_paging_of_orders_of_one_moment_gives_every_order_once(as_rep: DeskClient) -> None:
    orders = make_orders(60)
    rows = flat(walk(as_rep, "/orders/"))
    assert rows == [order.order_number for order in reversed(orders)]


def test_paging_ends_where_a_page_is_just_full(as_rep: DeskClient) -> None:
    make_orders(25)
    page = as_rep.page("/orders/")
    assert len(page.rows) == 25
    assert "Next page" not in page.text


def test_paging_of_a_search_gives_every_order_once_by_what_matched(as_rep: DeskClient) -> None:
    # Found by name, by account, by email and by several of them at once, many with equal keys.
    orders = [
        make_order(
            50_000_001 + at,
            ordered_at=DAY - timedelta(days=at % 3),
            buyer_name=["Sam Sample", "Samantha Roe", "Kim"][at % 3],
            account_name=["Sample Works", "Other", "Sam"][at % 5 % 3],
            buyer_email=["sam@example.com", "kim@example.com"][at % 2],
        )
        for at in range(90)
    ]
    Order.objects.bulk_create(orders)
    expected = sorted(
        (
            min(
                key
                for key in (order.buyer_key, order.account_key, order.email_key)
                if key.startswith("sam")
            ),
            -order.ordered_at.timestamp(),
            -Order.objects.get(order_number=order.order_number).pk,
            order.order_number,
        )
        for order in orders
        if "sam" in (order.buyer_key[:3], order.account_key[:3], order.email_key[:3])
    )
    pages = walk(as_rep, "/orders/?q=sam")
    assert flat(pages) == [number for *_, number in expected]
    assert len(expected) > 75


def test_paging_keeps_the_search_and_the_filters(as_rep: DeskClient) -> None:
    make_orders(30, currency="EUR")
    Order.objects.bulk_create(make_order(51_000_000 + at) for at in range(30))
    rows = flat(walk(as_rep, "/orders/?q=sam&currency=EUR&left=on"))
    assert len(rows) == len(set(rows)) == 30


def test_paging_goes_on_behind_a_row_that_has_gone(as_rep: DeskClient) -> None:
    make_orders(30, apart=timedelta(minutes=1))
    page = as_rep.page("/orders/")
    Order.objects.filter(order_number=page.rows[-1]).delete()
    following = as_rep.page("/orders/" + page.link("Next page"))
    assert len(following.rows) == 5
    assert not set(following.rows) & set(page.rows)
    assert following.link("First page") == "?"


@pytest.mark.parametrize("after", ["rubbish", "a:b:c", "\x00", "x" * 3000, "é"])
def test_paging_by_a_broken_cursor_shows_the_first_page_and_says_so(
    as_rep: DeskClient, after: str
) -> None:
    make_orders(30)
    for search in ("", "sam"):
        page = Page(as_rep.get("/orders/", {"after": after, "q": search}))
        assert page.messages == [GONE]
        assert len(page.rows) == 25
        assert "Next page" in page.text


def test_paging_by_the_cursor_of_a_search_in_the_whole_list_starts_again(
    as_rep: DeskClient,
) -> None:
    make_orders(30)
    cursor = as_rep.page("/orders/?q=sam").link("Next page").partition("after=")[2]
    page = as_rep.page(f"/orders/?after={cursor}")
    assert page.messages == [GONE]
    plain = as_rep.page("/orders/").link("Next page").partition("after=")[2]
    assert as_rep.page(f"/orders/?q=sam&after={plain}").messages == [GONE]


# -- orders whose money was never read -------------------------------------------------------------


def test_list_says_that_nothing_is_left_where_digital_river_never_took_the_order(
    as_rep: DeskClient,
) -> None:
    make_unread_order(54_000_002, digital_river_id="", state="salesforce_failure").save()
    (row,) = as_rep.page("/orders/").root.all("tr")[1:]
    assert row.text.endswith("USD 40.00 nothing")


@pytest.mark.parametrize(
    ("columns", "is_listed"),
    [
        ({}, True),
        ({"state": "fulfilled"}, True),
        ({"state": "returned"}, True),
        ({"state": "accepted"}, False),
        ({"state": "cancelled"}, False),
        ({"state": ""}, False),
        ({"digital_river_id": ""}, False),
        ({"refreshed_at": DAY}, False),
    ],
)
def test_unread_orders_are_offered_where_salesforce_tells_that_they_were_fulfilled(
    as_rep: DeskClient, columns: dict[str, object], is_listed: bool
) -> None:
    make_unread_order(54_000_001, **columns).save()
    expected = ["54000001"] if is_listed else []
    assert as_rep.page("/orders/?left=on").rows == expected
    assert as_rep.page("/refunds/new/").rows == expected
    assert as_rep.page("/refunds/new/?q=540").rows == expected


def test_select_order_reads_an_unread_order_before_it_begins(
    as_rep: DeskClient, desk: Desk
) -> None:
    order = desk.order("worked_sample")
    Order.objects.filter(pk=order.pk).update(
        refreshed_at=None, available_amount=None, captured_amount=0, left_amount=0, refundable=False
    )
    response = as_rep.post(f"/orders/{order.order_number}/refunds/create/")
    assert response.status_code == 302
    assert response["Location"].endswith("/option/")


# -- the wizard's first step -----------------------------------------------------------------------


def test_select_order_lists_only_what_can_be_refunded_now(as_rep: DeskClient) -> None:
    make_orders(3)
    make_order(52_000_000, refundable=False).save()
    page = as_rep.page("/refunds/new/")
    assert page.rows == ["50000003", "50000002", "50000001"]
    assert page.buttons.count("Search") == 1
    assert "Select order 50000001" in [each.text for each in page.main.all("button")]


def test_select_order_shows_the_four_steps_and_where_one_is(as_rep: DeskClient) -> None:
    page = as_rep.page("/refunds/new/")
    steps = page.root.one("ol", class_="steps").all("li")
    names = [each.text for each in steps]
    assert names == ["Select order", "Choose option", "Review and Submit", "Confirm"]
    assert [each.get("aria-current") for each in steps] == ["step", "", "", ""]


def test_select_order_searches_and_pages(as_rep: DeskClient) -> None:
    make_orders(60)
    Order.objects.bulk_create(
        make_order(53_000_000 + at, refundable=False, buyer_name="Samir") for at in range(30)
    )
    rows = flat(walk(as_rep, "/refunds/new/?q=sam"))
    assert len(rows) == len(set(rows)) == 60
    assert not [row for row in rows if row.startswith("53")]


def test_select_order_by_a_broken_cursor_shows_the_first_page(as_rep: DeskClient) -> None:
    make_orders(2)
    page = as_rep.page("/refunds/new/?after=rubbish")
    assert page.messages == [GONE]
    assert len(page.rows) == 2


def test_select_order_without_a_match_leads_to_the_orders(as_rep: DeskClient) -> None:
    make_orders(1)
    page = as_rep.page("/refunds/new/?q=nobody")
    assert "No order that can be refunded matches" in page.text
    assert page.link("Go to Orders") == "/orders/"


def test_select_order_with_nothing_to_refund_says_so(as_rep: DeskClient) -> None:
    assert "No order can be refunded now" in as_rep.page("/refunds/new/").text


def test_select_order_begins_a_draft_of_that_order(desk: Desk, as_rep: DeskClient) -> None:
    order = desk.order("worked_sample")
    page = as_rep.page("/refunds/new/?q=" + order.order_number)
    button = f"Select order {order.order_number}"
    response = as_rep.post(page.form(button)["action"], page.values(button))
    draft = order.refunds.get()
    assert response.headers["Location"] == f"/refunds/{draft.reference}/option/"
    assert "USD 27.01" in as_rep.page(response.headers["Location"]).text
