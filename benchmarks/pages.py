"""The pages that are measured, with what each is asked for and what it should reach."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.urls import reverse

from benchmarks.places import Place
from refunds import selectors
from refunds.forms import OptionForm
from refunds.gateways import digital_river
from refunds.models import CHECK, Grounds, Order, Refund, RefundReason
from refunds.options import LineSelection, Option, Seen, Selection
from refunds.services.drafts import draft_choose, draft_create
from refunds.services.refunds import refund_check, refund_submit
from sandbox.shop import SHOWCASE

LIST_TARGET = 3.0
STEP_TARGET = 4.0
#: The larger place may take so many times what the smaller one takes.
GROWTH_TARGET = 1.3
#: Statements that a page may take beside those of the pace, of which each call has one.
QUERIES_TARGET = 12
#: What is sent is locked, written and noted in the history beside that.
WRITING_QUERIES_TARGET = 21


@dataclass(frozen=True, slots=True)
class Screen:
    """One page to measure."""

    name: str
    address: str
    #: The most it may take, in floors; None where nothing was promised.
    target: float | None
    #: What the answer must contain, lest an error page be measured.
    shows: str = ""
    #: Whether it must take about the same at every size.
    steady: bool = False
    #: What is posted; None where the page is only read.
    posts: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    #: Whether the page reads the order from Digital River first.
    calls: bool = False
    #: The most statements it may take.
    queries: int = QUERIES_TARGET


@dataclass(frozen=True, slots=True)
class Opened:
    """One order that pages open, with drafts and refunds as a rep makes them."""

    order: Order
    #: A draft in which nothing was chosen, and one in which a line was.
    begun: Refund
    chosen: Refund
    settled: Refund
    pending: Refund
    #: What Choose option posts, with one unit of one line chosen.
    fields: Mapping[str, str]


def open_order(place: Place, case: str, user: User) -> Opened:
    """Refund something of the shop's order of this case, twice, and begin two more refunds."""
    order = Order.objects.get(order_number=SHOWCASE[case])
    lines = selectors.order_position(order).ledger.lines
    line = max(lines, key=lambda line: line.units or 0)
    unit = Selection(Option.LINE_ITEMS, lines=(LineSelection(line.figures.line, 1),))
    settled = submit(order, user, unit)
    place.sandbox.settle_now(settled.digital_river_id)
    settled = refund_check(refund=settled, actor=CHECK)
    pending = submit(order, user, unit)
    begun, chosen = draft_create(order=order, user=user), _draft(order, user, unit)
    position = selectors.order_position(order)
    form = OptionForm(position=position, draft=begun)
    fields = {
        bound.name: str(bound.value() or "") for bound in form if not bound.name.startswith("fees_")
    }
    fields |= {
        "option": Option.LINE_ITEMS.value,
        "reason": str(_reason().pk),
        f"quantity_{line.figures.line}": "1",
    }
    return Opened(order, begun, chosen, settled, pending, fields)


def _reason() -> RefundReason:
    return RefundReason.objects.get(label="Requested by customer")


def _draft(order: Order, user: User, selection: Selection) -> Refund:
    draft = draft_create(order=order, user=user)
    draft_choose(draft=draft, user=user, selection=selection, grounds=Grounds(reason=_reason()))
    return Refund.objects.get(pk=draft.pk)


def submit(order: Order, user: User, selection: Selection) -> Refund:
    """Refund this of the order, as a rep does."""
    draft = _draft(order, user, selection)
    quote = selectors.order_position(order).quote(selection)
    seen = Seen(quote.figures(), draft.updated_at, draft_changed_at=draft.updated_at)
    return refund_submit(draft=draft, user=user, seen=seen, client=digital_river())


def screens(place: Place, opened: Opened, many_lines: Opened) -> list[Screen]:
    """Return the pages of the place at hand, the floor first."""
    return [
        Screen("floor", reverse("benchmark-floor"), None, shows="Whom to call back"),
        *_order_lists(opened.order),
        *_order_pages(opened, ""),
        *_refund_lists(opened.settled),
        *(
            Screen(**{**_columns(screen), "target": None})
            for screen in _order_pages(many_lines, f", {many_lines.order.lines.count()} lines")
        ),
    ]


def _columns(screen: Screen) -> dict[str, Any]:
    return {name: getattr(screen, name) for name in Screen.__slots__}


def _list(name: str, path: str, shows: str = "desk-table", **query: str) -> Screen:
    address = f"{reverse(path)}?{urlencode(query)}" if query else reverse(path)
    return Screen(name, address, LIST_TARGET, shows=shows, steady=True)


def _order_lists(order: Order) -> Iterator[Screen]:
    orders = "refunds:orders"
    yield _list("orders", orders)
    yield _list("orders, far page", orders, after=_far(Order.objects.all(), "ordered_at"))
    yield _list("orders, state", orders, state="complete")
    yield _list("orders, currency", orders, currency="KWD")
    yield _list("orders, something left", orders, left="on")
    yield _list("orders, dates", orders, ordered_to=f"{order.ordered_at:%Y-%m-%d}")
    yield _list("orders, all filters", orders, state="complete", currency="EUR", left="on")
    yield _list("orders, rare filters", orders, "", state="blocked", currency="KWD", left="on")
    number, surname = order.order_number, order.surname_key.split(" ")[0]
    yield _list("order search, number", orders, number, q=number)
    yield _list("order search, Digital River id", orders, number, q=order.digital_river_id)
    yield _list("order search, Salesforce id", orders, number, q=order.salesforce_id)
    yield _list("order search, email", orders, number, q=order.buyer_email.upper())
    yield _list("order search, buyer", orders, number, q=order.buyer_name[:10])
    yield _list("order search, surname", orders, order.buyer_name, q=surname)
    yield _list("order search, account", orders, order.account_name[:5], q=order.account_name[:6])
    yield _list("order search, one letter", orders, q="a")
    # All of a million numbers begin with it.
    yield _list("order search, every number", orders, q="0")
    yield _list("order search, far page", orders, q="0", after=_far_number(Order.objects.all()))
    yield _list("order search, filtered", orders, q="a", state="complete", currency="EUR")
    yield _list("order search, rare filters", orders, "", q="00", state="blocked", currency="KWD")
    yield _list("order search, nothing found", orders, "No order matches", q="zzzz")
    select = "refunds:select-order"
    yield _list("select order", select)
    yield _list("select order, search", select, q="m")
    refundable = Order.objects.filter(refundable=True)
    yield _list("select order, far page", select, after=_far(refundable, "ordered_at"))


def _order_pages(opened: Opened, which: str) -> Iterator[Screen]:
    """Give the page of the order and the wizard's steps; `which` tells them from others."""
    number = opened.order.order_number
    yield Screen(
        f"order{which}", reverse("refunds:order", args=[number]), STEP_TARGET, shows=number
    )
    option = reverse("refunds:draft-option", args=[opened.begun.reference])
    yield Screen(f"choose option{which}", option, STEP_TARGET, shows="What to refund", calls=True)
    yield Screen(
        f"live total{which}",
        reverse("refunds:draft-total", args=[opened.begun.reference]),
        STEP_TARGET,
        shows="Left afterwards",
        posts=opened.fields,
        headers={"HX-Request": "true"},
    )
    yield Screen(
        f"choose option, sent{which}",
        reverse("refunds:draft-option", args=[opened.chosen.reference]),
        STEP_TARGET,
        posts=opened.fields,
        status=302,
        calls=True,
        queries=WRITING_QUERIES_TARGET,
    )
    yield Screen(
        f"review{which}",
        reverse("refunds:draft-review", args=[opened.chosen.reference]),
        STEP_TARGET,
        shows="Submit refund of",
        calls=True,
    )
    yield Screen(
        f"confirm{which}",
        reverse("refunds:confirm", args=[opened.pending.reference]),
        STEP_TARGET,
        shows=opened.pending.reference,
    )
    yield Screen(
        f"refund{which}",
        reverse("refunds:refund", args=[opened.settled.reference]),
        STEP_TARGET,
        shows=opened.settled.reference,
    )


def _refund_lists(refund: Refund) -> Iterator[Screen]:
    refunds, reference = "refunds:refunds", refund.reference
    submitted = Refund.objects.filter(submitted_at__isnull=False)
    yield _list("refunds", refunds)
    yield _list("refunds, far page", refunds, after=_far(submitted, "submitted_at"))
    yield _list("refunds, state", refunds, state="succeeded")
    yield _list("refunds, person", refunds, person=str(refund.created_by_id))
    yield _list("refunds, all filters", refunds, state="succeeded", option="line_items")
    yield _list("refund search, reference", refunds, reference, search=reference)
    yield _list(
        "refund search, Digital River id", refunds, reference, search=refund.digital_river_id
    )
    yield _list("refund search, order number", refunds, reference, search=refund.order.order_number)
    yield _list("refund search, every id", refunds, search="re_")
    yield _list("refund search, every order", refunds, search="00")
    yield _list("refund search, one digit", refunds, search="2")
    yield _list("refund search, filtered", refunds, "", search="00", state="failed")
    yield _list("refund search, nothing found", refunds, "No refund matches", search="zzzz")


def _far(rows: Any, column: str) -> str:
    """Return the cursor of a full page far down a list, newest first."""
    place = _far_down(rows)
    row = rows.order_by(f"-{column}", "-id")[place : place + 1].get()
    return selectors.write_cursor(getattr(row, column), row.pk)


def _far_number(orders: Any) -> str:
    """Return the cursor of a full page far down a search that every order number matches."""
    place = _far_down(orders)
    row = orders.order_by("number_key", "-ordered_at", "-id")[place : place + 1].get()
    return selectors.write_cursor(row.number_key, row.ordered_at, row.pk)


def _far_down(rows: Any) -> int:
    count: int = rows.count()
    return max(0, min(count * 9 // 10, count - 2 * selectors.PAGE_SIZE))
