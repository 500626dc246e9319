"""Django's admin: what it shows, what it cannot do, and that its pages keep to the policy."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from refunds.admin.records import MOST_ROWS
from refunds.models import HistoryEntry, Order, OrderLine, Refund, RefundReason
from refunds.options import LineSelection, Option, Selection
from refunds.search_keys import search_key
from refunds.services.drafts import draft_create
from refunds.services.verification import verify_history
from tests.desk import Desk, rep

pytestmark = pytest.mark.django_db

CountQueries = Callable[[str], int]


@pytest.fixture
def administrator() -> User:
    return User.objects.create_superuser("admin", password="a-password-for-tests")


@pytest.fixture
def pages(client: Client, administrator: User) -> Client:
    """A browser in which the administrator has signed in."""
    client.force_login(administrator)
    return client


@pytest.fixture
def refund(desk: Desk) -> Refund:
    """A refund of one unit of the worked sample, which succeeded."""
    order = desk.order("worked_sample")
    line = order.lines.get()
    selection = Selection(Option.LINE_ITEMS, lines=(LineSelection(line.key, quantity=1),))
    return desk.submit(order, rep(), selection)


def _page(pages: Client, name: str, *arguments: object, **query: str) -> str:
    answer = pages.get(reverse(f"admin:{name}", args=arguments), query)
    assert answer.status_code == 200
    return answer.content.decode()


def _orders(count: int, **columns: object) -> None:
    """Make orders that only a list looks at."""
    first = Order.objects.count()
    Order.objects.bulk_create(
        Order(
            **{
                "salesforce_id": f"801{number:015d}",
                "order_number": f"{number:08d}",
                "number_key": f"{number:08d}",
                "currency": "USD",
                "ordered_at": timezone.now() - timedelta(minutes=number),
                **columns,
            }
        )
        for number in range(first, first + count)
    )


def _line_of(order: Order, position: int) -> OrderLine:
    return OrderLine(
        order=order,
        position=position,
        salesforce_id=f"802{position:015d}",
        product_name=f"Product {position}",
        quantity=position,
        product_amount=Decimal("1.50"),
    )


# -- orders ----------------------------------------------------------------------------------------


def test_order_list_shows_money_with_its_currency(pages: Client, desk: Desk) -> None:
    order = desk.order("jpy")

    page = _page(pages, "refunds_order_changelist")

    assert order.order_number in page
    assert "JPY" in page
    assert ".0000" not in page
    assert f'<a href="{order.get_absolute_url()}">Open</a>' in page


@pytest.mark.parametrize(
    "term", ["00100211", "  001002", "LONE STAR", "worked", "lone"], ids=lambda term: term.strip()
)
def test_order_search_finds_what_begins_with_the_term(term: str, pages: Client, desk: Desk) -> None:
    order = desk.order("worked_sample")
    Order.objects.filter(pk=order.pk).update(buyer_key=search_key("Worked Sample"))

    assert order.digital_river_id in _page(pages, "refunds_order_change", order.pk)
    assert order.order_number in _page(pages, "refunds_order_changelist", q=term)


@pytest.mark.parametrize("term", ["211", "star", "%", "_", "\U0010ffff"])
def test_order_search_finds_nothing_else(term: str, pages: Client, desk: Desk) -> None:
    order = desk.order("worked_sample")

    assert order.order_number not in _page(pages, "refunds_order_changelist", q=term)


def test_order_search_keeps_to_the_filters(pages: Client) -> None:
    _orders(1, currency="USD", state="complete", account_key="same")
    _orders(1, currency="EUR", state="complete", account_key="same")
    _orders(1, currency="EUR", state="accepted", account_key="same")

    page = _page(pages, "refunds_order_changelist", q="sa", currency="EUR", state__exact="complete")

    assert [f"{number:08d}" in page for number in range(3)] == [False, True, False]


def test_order_list_offers_each_currency_once(pages: Client) -> None:
    for currency in ("USD", "EUR", "USD", "KWD"):
        _orders(1, currency=currency)

    page = _page(pages, "refunds_order_changelist")

    for currency in ("EUR", "KWD", "USD"):
        assert page.count(f'href="?currency={currency}"') == 1


def test_order_list_never_counts_beyond_its_cap(
    pages: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refunds.admin.records.MOST_ROWS", 60)
    _orders(70)

    assert "00000049" in _page(pages, "refunds_order_changelist")
    assert "00000050" in _page(pages, "refunds_order_changelist", p="2")
    # Page three would begin beyond the cap, so Django shows that there is none.
    answer = pages.get(reverse("admin:refunds_order_changelist"), {"p": "3"})
    assert answer.status_code == 302


def test_order_list_asks_for_no_count_of_the_table(
    pages: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    _orders(3)

    with django_assert_max_num_queries(12) as queries:
        _page(pages, "refunds_order_changelist")

    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]
    assert counts
    assert all(f"LIMIT {MOST_ROWS}" in sql for sql in counts)


def test_order_list_costs_the_same_whatever_its_length(
    pages: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _orders(1)
    with django_assert_num_queries(6):
        _page(pages, "refunds_order_changelist")
    _orders(40)
    with django_assert_num_queries(6):
        _page(pages, "refunds_order_changelist")


def test_order_page_costs_the_same_whatever_its_lines(
    pages: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _orders(1)
    order = Order.objects.get()
    _line_of(order, 1).save()
    with django_assert_num_queries(4):
        _page(pages, "refunds_order_change", order.pk)
    OrderLine.objects.bulk_create(_line_of(order, position) for position in range(2, 30))
    with django_assert_num_queries(4):
        page = _page(pages, "refunds_order_change", order.pk)

    assert "Product 29" in page
    assert "USD 1.50" in page


# -- refunds -------------------------------------------------------------------------------------


def test_refund_page_shows_lines_attempts_and_history(pages: Client, refund: Refund) -> None:
    page = _page(pages, "refunds_refund_change", refund.pk)

    attempt = refund.attempts.get()
    for shown in (refund.reference, attempt.reference, attempt.request_id, "Submitted for USD"):
        assert shown in page
    assert "Rep Tester" in page
    assert f'href="{refund.get_absolute_url()}"' in page


def test_refund_page_of_a_draft_has_no_link_to_the_desk(pages: Client, desk: Desk) -> None:
    draft = draft_create(order=desk.order("worked_sample"), user=rep(), clock=desk.clock)

    page = _page(pages, "refunds_refund_change", draft.pk)

    assert draft.reference in page
    assert draft.get_absolute_url() not in page


@pytest.mark.parametrize("prefix", ["", "R-", "r"])
def test_refund_search_finds_a_reference_however_it_is_written(
    prefix: str, pages: Client, refund: Refund
) -> None:
    digits = refund.reference[2:]

    for written in (digits, digits.replace("-", ""), digits[:6]):
        page = _page(pages, "refunds_refund_changelist", q=prefix + written)
        assert refund.get_absolute_url() in page


def test_refund_search_finds_the_processor_id_and_the_order_number(
    pages: Client, refund: Refund
) -> None:
    for term in (refund.digital_river_id.upper(), refund.order.order_number):
        page = _page(pages, "refunds_refund_changelist", q=term)
        assert refund.get_absolute_url() in page
    assert refund.get_absolute_url() not in _page(pages, "refunds_refund_changelist", q="re_no")


def test_refund_list_filters_flagged_ones(pages: Client, refund: Refund) -> None:
    address = refund.get_absolute_url()

    assert address not in _page(pages, "refunds_refund_changelist", flag__isempty="0")
    Refund.objects.filter(pk=refund.pk).update(flag="Look at this.")
    assert address in _page(pages, "refunds_refund_changelist", flag__isempty="0")


def test_refund_list_costs_the_same_whatever_its_length(
    pages: Client, desk: Desk, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    desk.submit(desk.order("worked_sample"), rep(), Selection(Option.COMPLETE_ORDER))
    with django_assert_num_queries(4):
        _page(pages, "refunds_refund_changelist")
    for case in ("plain_usd", "jpy", "kwd"):
        desk.submit(desk.order(case), rep("rep2"), Selection(Option.COMPLETE_ORDER))
    with django_assert_num_queries(4):
        _page(pages, "refunds_refund_changelist")


def test_refund_page_costs_the_same_whatever_its_lines_and_history(
    pages: Client, desk: Desk, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for case in ("worked_sample", "many_lines"):
        refund = desk.submit(desk.order(case), rep(), Selection(Option.COMPLETE_ORDER))
        with django_assert_num_queries(6):
            _page(pages, "refunds_refund_change", refund.pk)


# -- what cannot be done ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["order", "refund"])
def test_record_cannot_be_added(model: str, pages: Client) -> None:
    address = reverse(f"admin:refunds_{model}_add")

    assert pages.get(address).status_code == 403
    assert pages.post(address, {}).status_code == 403
    assert address not in _page(pages, f"refunds_{model}_changelist")


@pytest.mark.parametrize("model", [Order, Refund])
def test_record_cannot_be_deleted(
    model: type[Order] | type[Refund], pages: Client, refund: Refund
) -> None:
    name = model._meta.model_name
    pk = refund.pk if model is Refund else refund.order_id

    assert (
        pages.post(reverse(f"admin:refunds_{name}_delete", args=[pk]), {"post": "yes"}).status_code
        == 403
    )
    pages.post(
        reverse(f"admin:refunds_{name}_changelist"),
        {"action": "delete_selected", "_selected_action": [pk], "post": "yes"},
    )

    assert model.objects.filter(pk=pk).exists()
    assert "delete_selected" not in _page(pages, f"refunds_{name}_changelist")


@pytest.mark.parametrize("model", [Order, Refund])
def test_record_cannot_be_changed(
    model: type[Order] | type[Refund], pages: Client, refund: Refund
) -> None:
    name = model._meta.model_name
    pk = refund.pk if model is Refund else refund.order_id
    before = model.objects.filter(pk=pk).values().get()
    address = reverse(f"admin:refunds_{name}_change", args=[pk])

    answer = pages.post(address, {"state": "cancelled", "currency": "EUR", "_save": "Save"})

    assert answer.status_code == 403
    assert model.objects.filter(pk=pk).values().get() == before
    page = _page(pages, f"refunds_{name}_change", pk)
    assert 'name="_save"' not in page
    assert 'name="state"' not in page


def test_history_has_no_page_of_its_own(pages: Client) -> None:
    assert "historyentry" not in _page(pages, "index")


def test_record_is_shown_to_staff_with_the_group_with_all_its_rows(
    client: Client, refund: Refund
) -> None:
    user = rep("staff")
    user.is_staff = True
    user.save()
    client.force_login(user)

    page = _page(client, "refunds_refund_change", refund.pk)

    assert refund.attempts.get().reference in page
    assert "Submitted for USD" in page


def test_record_is_not_shown_to_staff_without_permission(client: Client, refund: Refund) -> None:
    user = User.objects.create_user("staff", is_staff=True)
    client.force_login(user)

    address = reverse("admin:refunds_refund_change", args=[refund.pk])
    assert client.get(address).status_code == 403


def test_admin_is_closed_to_reps(client: Client) -> None:
    client.force_login(rep())

    answer = client.get(reverse("admin:refunds_refund_changelist"))

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


# -- reasons -------------------------------------------------------------------------------------


def _post_reason(pages: Client, wire_text: str, label: str = "A new reason") -> str:
    answer = pages.post(
        reverse("admin:refunds_refundreason_add"),
        {"label": label, "wire_text": wire_text, "active": "on", "position": "200"},
        follow=True,
    )
    return answer.content.decode()


def test_reason_is_added_with_its_text_trimmed(pages: Client) -> None:
    _post_reason(pages, f"  {'x' * 64}\n")

    assert RefundReason.objects.get(label="A new reason").wire_text == "x" * 64


@pytest.mark.parametrize(
    ("wire_text", "sentence"),
    [
        ("x" * 65, "at most 64 characters"),
        ("   ", "This field is required."),
        ("two\nlines", "on one line"),
        ("a\ttab", "on one line"),
        ("a\x7fdelete", "on one line"),
        ("a\u2028separator", "on one line"),
        ("a\x00null", "Null characters"),
    ],
)
def test_reason_with_a_text_digital_river_would_not_take_is_refused(
    wire_text: str, sentence: str, pages: Client
) -> None:
    assert sentence in _post_reason(pages, wire_text)

    assert not RefundReason.objects.filter(label="A new reason").exists()


def test_reason_with_a_label_of_two_lines_is_refused(pages: Client) -> None:
    assert "on one line" in _post_reason(pages, "fine", label="Two\nlines")


def test_reason_in_use_is_kept_and_the_page_says_why(pages: Client, refund: Refund) -> None:
    reason = refund.reason
    assert reason is not None
    address = reverse("admin:refunds_refundreason_delete", args=[reason.pk])

    assert f"Refund {refund.reference}" in pages.get(address).content.decode()
    answer = pages.post(address, {"post": "yes"})

    assert f"Refund {refund.reference}" in answer.content.decode()
    assert RefundReason.objects.filter(pk=reason.pk).exists()


def test_reason_in_use_names_a_few_refunds_only(pages: Client, desk: Desk) -> None:
    order = desk.order("worked_sample")
    reason = RefundReason.objects.get(label="Late delivery")
    for _ in range(7):
        draft = draft_create(order=order, user=rep(), clock=desk.clock)
        Refund.objects.filter(pk=draft.pk).update(reason=reason)

    page = _page(pages, "refunds_refundreason_delete", reason.pk)

    assert page.count("Refund R-") == 5
    assert "and more" in page


def test_reasons_selected_are_kept_when_one_is_in_use(pages: Client, refund: Refund) -> None:
    assert refund.reason is not None
    unused = RefundReason.objects.get(label="Late delivery")

    answer = pages.post(
        reverse("admin:refunds_refundreason_changelist"),
        {
            "action": "delete_selected",
            "_selected_action": [refund.reason.pk, unused.pk],
            "post": "yes",
        },
    )

    assert f"Refund {refund.reference}" in answer.content.decode()
    assert RefundReason.objects.filter(pk__in=[refund.reason.pk, unused.pk]).count() == 2


def test_reason_not_in_use_is_deleted(pages: Client) -> None:
    reason = RefundReason.objects.get(label="Late delivery")

    pages.post(reverse("admin:refunds_refundreason_delete", args=[reason.pk]), {"post": "yes"})

    assert not RefundReason.objects.filter(pk=reason.pk).exists()


def test_reason_added_changed_and_deleted_here_has_a_history(
    pages: Client, administrator: User
) -> None:
    _post_reason(pages, "new")
    reason = RefundReason.objects.get(label="A new reason")
    address = reverse("admin:refunds_refundreason_change", args=[reason.pk])
    assert "Added." in pages.get(address).content.decode()
    form = {
        "label": reason.label,
        "wire_text": "newer",
        "position": reason.position,
        "history-TOTAL_FORMS": "1",
        "history-INITIAL_FORMS": "1",
    }

    assert pages.post(address, form).status_code == 302
    page = pages.get(address).content.decode()
    assert "new → newer" in page
    assert "yes → no" in page
    pages.post(reverse("admin:refunds_refundreason_delete", args=[reason.pk]), {"post": "yes"})

    entries = list(HistoryEntry.objects.filter(reason_id=reason.pk).order_by("number"))
    assert [entry.summary for entry in entries] == ["Added.", "Changed.", "Deleted."]
    assert [entry.actor for entry in entries] == [administrator] * 3
    assert verify_history().findings == 0


def test_reasons_deleted_together_each_have_their_entry(pages: Client) -> None:
    chosen = list(RefundReason.objects.order_by("-pk")[:2])

    pages.post(
        reverse("admin:refunds_refundreason_changelist"),
        {
            "action": "delete_selected",
            "_selected_action": [reason.pk for reason in chosen],
            "post": "yes",
        },
    )

    assert not RefundReason.objects.filter(pk__in=[reason.pk for reason in chosen]).exists()
    for reason in chosen:
        assert HistoryEntry.objects.filter(reason_id=reason.pk, summary="Deleted.").count() == 1
    assert verify_history().findings == 0


# -- the policy ------------------------------------------------------------------------------------


class Inline(HTMLParser):
    """Collects what a strict content security policy would keep from working."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._in_script = (
            tag == "script" and "src" not in given and given.get("type") != "application/json"
        )
        if tag == "style":
            self.found.append("<style>")
        self.found += [name for name in given if name == "style" or name.startswith("on")]
        for name in ("src", "action"):
            if (given.get(name) or "").startswith(
                ("http:", "https:", "//", "data:", "javascript:")
            ):
                self.found.append(f"{name}={given[name]}")
        if tag == "link" and not (given.get("href") or "/").startswith("/"):
            self.found.append(f"link {given['href']}")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.found.append("<script>")
        self._in_script = False


def test_inline_finds_what_the_policy_forbids() -> None:
    page = Inline()
    page.feed('<p style="x" onclick="y"><script>z</script><script src="https://other/"></script>')

    assert page.found == ["style", "onclick", "<script>", "src=https://other/"]


def test_pages_pass_the_strict_policy(pages: Client, refund: Refund, administrator: User) -> None:
    reason = refund.reason
    assert reason is not None
    addresses = [
        reverse("admin:index"),
        *(
            reverse(f"admin:{model}_changelist")
            for model in (
                "refunds_order",
                "refunds_refund",
                "refunds_refundreason",
                "auth_user",
                "auth_group",
            )
        ),
        reverse("admin:refunds_order_change", args=[refund.order_id]),
        reverse("admin:refunds_refund_change", args=[refund.pk]),
        reverse("admin:refunds_refund_history", args=[refund.pk]),
        reverse("admin:refunds_refundreason_add"),
        reverse("admin:refunds_refundreason_change", args=[reason.pk]),
        reverse("admin:refunds_refundreason_delete", args=[reason.pk]),
        reverse("admin:auth_user_add"),
        reverse("admin:auth_user_change", args=[administrator.pk]),
        reverse("admin:auth_user_password_change", args=[administrator.pk]),
        reverse("admin:auth_group_change", args=[Group.objects.all()[0].pk]),
        reverse("admin:password_change"),
    ]
    for address in addresses:
        answer = pages.get(address)
        assert answer.status_code == 200, address
        assert "'unsafe" not in answer["Content-Security-Policy"]
        page = Inline()
        page.feed(answer.content.decode())
        assert page.found == [], address
