"""What pages read: positions, pages of lists, the review, and that others' drafts stay theirs."""

from datetime import timedelta
from decimal import Decimal

import pytest
from pytest_django import DjangoAssertNumQueries

from refunds import selectors
from refunds.errors import FiguresChanged, SelectionInvalid
from refunds.models import Order, Refund
from refunds.options import LineSelection, Option, Selection
from refunds.search_keys import search_key
from refunds.selectors.refunds import BUYERS_ORDERS
from tests.desk import Desk, rep
from tests.views.pages import flat
from tests.views.rows import DAY, make_order, make_orders, make_refunds

pytestmark = pytest.mark.django_db


def walk(search: str = "") -> list[list[str]]:
    """Return the order numbers of each page."""
    pages: list[list[str]] = []
    after = ""
    while True:
        page = selectors.orders_page(Order.objects.all(), search=search, after=after)
        assert page.is_first == (not pages)
        pages.append([order.order_number for order in page.rows])
        after = page.after
        if not after:
            return pages


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 50, 51])
def test_orders_page_ends_where_the_rows_end(count: int) -> None:
    make_orders(count, apart=timedelta(seconds=1))
    for search in ("", "sam"):
        pages = walk(search)
        assert len(pages) == max(1, -(-count // 25))
        assert sum(map(len, pages)) == count


def test_orders_page_costs_the_same_wherever_it_stands(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_orders(80)
    for search in ("", "sam", "5000"):
        after = ""
        for _ in range(3):
            with django_assert_num_queries(1):
                after = selectors.orders_page(Order.objects.all(), search=search, after=after).after


def test_orders_page_of_a_search_puts_the_smallest_match_first() -> None:
    make_order(1, buyer_name="Carla", account_name="Anders Ltd").save()
    make_order(2, buyer_name="Anders", account_name="Anders Ltd").save()
    make_order(3, buyer_name="Andersen", account_name="Zeta").save()
    (numbers,) = walk("ander")
    assert numbers == ["2", "1", "3"]


def test_orders_page_of_a_search_is_newest_first_among_equals() -> None:
    make_order(1, ordered_at=DAY - timedelta(days=2)).save()
    make_order(2, ordered_at=DAY).save()
    make_order(3, ordered_at=DAY - timedelta(days=1)).save()
    assert walk("sam sample") == [["2", "3", "1"]]


def test_orders_page_of_a_search_with_more_hits_in_every_key_than_a_page_has() -> None:
    Order.objects.bulk_create(
        make_order(
            70_000_000 + at,
            account_name="Seven Seas",
            buyer_name="7 of nine",
            buyer_email=f"7{at}@example.com",
            digital_river_id=f"7{at:05d}",
        )
        for at in range(70)
    )
    numbers = flat(walk("7"))
    assert len(numbers) == 70
    assert len(set(numbers)) == 70


@pytest.mark.parametrize("after", ["x", "a:b", "\x00"])
def test_orders_page_refuses_a_cursor_it_did_not_make(after: str) -> None:
    for search in ("", "sam"):
        with pytest.raises(SelectionInvalid, match="not there any more"):
            selectors.orders_page(Order.objects.all(), search=search, after=after)


def test_refunds_page_leaves_drafts_out(desk: Desk) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), Selection(Option.SHIPPING))
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING))
    rows = selectors.refunds_page(Refund.objects.all()).rows
    assert rows == [refund]
    for text in (draft.reference, order.order_number):
        assert draft not in selectors.refunds_page(Refund.objects.all(), search=text).rows


def test_refunds_page_reads_what_its_rows_show_at_once(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_refunds(make_orders(5), rep())
    with django_assert_num_queries(1):
        for refund in selectors.refunds_page(Refund.objects.all()).rows:
            assert refund.order.order_number
            assert refund.created_by is not None


def test_search_finds_a_buyer_by_surname(desk: Desk) -> None:
    order = desk.order("worked_sample")
    surname = order.buyer_name.split()[-1]
    found = selectors.orders_page(Order.objects.all(), search=surname.upper()).rows
    assert found == [order]
    assert search_key(order.buyer_name).endswith(search_key(surname))


# -- one refund, one draft -------------------------------------------------------------------------


def test_refund_by_reference_is_of_submitted_refunds_alone(desk: Desk) -> None:
    order = desk.order("worked_sample")
    draft = desk.draft(order, rep(), Selection(Option.SHIPPING))
    refund = desk.submit(order, rep(), Selection(Option.SHIPPING))
    assert selectors.refund_by_reference(refund.reference) == refund
    assert selectors.refund_to_act_on(refund.reference) == refund
    for reader in (selectors.refund_by_reference, selectors.refund_to_act_on):
        with pytest.raises(Refund.DoesNotExist):
            reader(draft.reference)
        with pytest.raises(Refund.DoesNotExist):
            reader("R-0000-0000")


def test_draft_by_reference_is_of_its_own_rep_alone(desk: Desk) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    assert selectors.draft_by_reference(draft.reference, rep()) == draft
    with pytest.raises(Refund.DoesNotExist):
        selectors.draft_by_reference(draft.reference, rep("rep2"))


def test_drafts_of_are_the_open_ones_of_that_person_latest_first(desk: Desk) -> None:
    order = desk.order("worked_sample")
    first = desk.draft(order, rep(), Selection(Option.SHIPPING))
    desk.clock.forward(minutes=1)
    second = desk.draft(order, rep(), Selection(Option.TAX))
    desk.draft(order, rep("rep2"), Selection(Option.TAX))
    expired = desk.draft(order, rep(), Selection(Option.TAX))
    Refund.objects.filter(pk=expired.pk).update(draft_expires_at=DAY - timedelta(days=400))
    Refund.objects.filter(pk__in=[first.pk, second.pk]).update(
        draft_expires_at=DAY + timedelta(days=4000)
    )
    assert selectors.drafts_of(rep()) == [second, first]


def test_selection_of_a_draft_is_what_was_chosen(desk: Desk) -> None:
    order = desk.order("plain_usd")
    lines = selectors.lines_of(order)
    chosen = Selection(Option.LINE_ITEMS, lines=(LineSelection(lines[0].key, 1, Decimal("5.00")),))
    draft = desk.draft(order, rep(), chosen)
    assert selectors.selection_of(draft, lines) == chosen
    assert selectors.selection_of(
        desk.draft(order, rep(), Selection(Option.SHIPPING, Decimal("1.00"))), lines
    ) == Selection(Option.SHIPPING, Decimal("1.00"))


def test_selection_of_a_draft_without_an_option_is_refused(desk: Desk) -> None:
    draft = desk.draft(desk.order("worked_sample"), rep(), Selection(Option.SHIPPING))
    draft.option = ""
    with pytest.raises(SelectionInvalid, match="Choose a refund option first"):
        selectors.selection_of(draft, [])


# -- the order and the review ----------------------------------------------------------------------


def test_component_rows_leave_out_what_was_never_charged(desk: Desk) -> None:
    ledger = selectors.order_position(desk.order("worked_sample")).ledger
    rows = {row.label: row.left for row in selectors.component_rows(ledger)}
    assert rows == {
        "Product": Decimal("20.00"),
        "Tax": Decimal("1.61"),
        "Shipping": Decimal("5.00"),
        "Shipping tax": Decimal("0.40"),
    }


def test_review_rows_sum_to_the_quote(desk: Desk) -> None:
    position = selectors.order_position(desk.order("all_options"))
    for choice in position.choices:
        if choice.option in {Option.LINE_ITEMS, Option.FEES}:
            continue
        quote = position.quote(Selection(choice.option))
        rows = selectors.review_rows(quote)
        assert sum(row.amount for row in rows) == quote.total
        assert all(row.left_before - row.amount == row.left_after for row in rows)


def test_figure_changes_are_those_that_differ_in_words(desk: Desk) -> None:
    lines = selectors.lines_of(desk.order("worked_sample"))
    (line,) = lines
    changed = FiguresChanged(
        "Changed.",
        seen={
            "total": Decimal(3),
            "left before": Decimal(9),
            f"product {line.key}": Decimal(2),
            f"units {line.key}": Decimal(1),
        },
        now={
            "total": Decimal(3),
            "left before": Decimal(8),
            f"units {line.key}": Decimal(2),
            "shipping": Decimal(1),
            "product gone": Decimal(4),
        },
    )
    rows = [
        (each.label, each.seen, each.now, each.is_money)
        for each in selectors.figure_changes(changed, lines)
    ]
    assert rows == [
        ("Left to refund before", Decimal(9), Decimal(8), True),
        (f"Product: {line.product_name}", Decimal(2), None, True),
        (f"Units: {line.product_name}", Decimal(1), Decimal(2), False),
        ("Shipping", None, Decimal(1), True),
        ("Product: gone", None, Decimal(4), True),
    ]


def test_is_stale_after_a_minute(desk: Desk) -> None:
    order = desk.order("worked_sample")
    assert not selectors.is_stale(order, desk.clock.now + timedelta(seconds=60))
    assert selectors.is_stale(order, desk.clock.now + timedelta(seconds=61))
    order.refreshed_at = None
    assert selectors.is_stale(order, desk.clock.now)


def test_earlier_refunds_of_buyer_are_of_the_other_orders_latest_first(desk: Desk) -> None:
    order = make_order(1)
    order.save()
    others = [make_order(10 + at) for at in range(7)]
    Order.objects.bulk_create(others)
    made = make_refunds(others, rep(), apart=timedelta(hours=1))
    own = make_refunds([order], rep(), first=50)
    stranger = make_order(99, buyer_email="x@example.com")
    stranger.save()
    make_refunds([stranger], rep(), first=60)
    found = selectors.earlier_refunds_of_buyer(order)
    assert found == made[:5]
    assert own[0] not in found


def test_earlier_refunds_of_buyer_are_read_at_once(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    orders = make_orders(6)
    make_refunds(orders, rep())
    with django_assert_num_queries(1):
        for refund in selectors.earlier_refunds_of_buyer(orders[0]):
            assert refund.order.order_number
            assert refund.created_by is not None


def test_earlier_refunds_of_buyer_are_of_the_newest_of_very_many_orders() -> None:
    orders = make_orders(BUYERS_ORDERS + 2, apart=timedelta(minutes=1))
    newest, *_, last_looked_at, oldest = orders
    made = make_refunds([last_looked_at, oldest], rep())
    assert selectors.earlier_refunds_of_buyer(newest) == made[:1]


def test_earlier_refunds_of_a_buyer_without_an_address_are_none() -> None:
    orders = [make_order(at, buyer_email="") for at in (1, 2)]
    Order.objects.bulk_create(orders)
    make_refunds(orders, rep())
    assert selectors.earlier_refunds_of_buyer(orders[0]) == []


def test_flagged_refunds_exist() -> None:
    (refund,) = make_refunds(make_orders(1), rep())
    assert not selectors.flagged_refunds_exist()
    Refund.objects.filter(pk=refund.pk).update(flag="Look.")
    assert selectors.flagged_refunds_exist()
