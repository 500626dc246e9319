"""The wizard up to a choice: Select order, Choose option. One view per step."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from refunds import selectors
from refunds.errors import DraftClosed, RefundDeskError
from refunds.forms import OptionForm
from refunds.models import Actor, Order
from refunds.options import Position, Quote, Selection
from refunds.services.drafts import draft_choose, draft_create, draft_discard
from refunds.services.orders import order_refresh
from refunds.views.lists import asked_page
from refunds.views.lookups import look_up_of
from refunds.views.requests import DeskRequest
from refunds.views.steps import (
    closed_page,
    issuer_required,
    own_draft,
    read_account,
    step_context,
    steps_of,
)


@login_required
@issuer_required
@require_safe
def select_order(request: DeskRequest) -> HttpResponse:
    """First step from the navigation: list and search the orders that can be refunded now."""
    orders = Order.objects.filter(may_be_refunded=True)
    search = request.GET.get("q", "")[:200]
    page = asked_page(
        request, lambda after: selectors.orders_page(orders, search=search, after=after)
    )
    context = {
        "page": page,
        "search": search,
        "look_up": look_up_of(request, page, search, selecting=True),
        "steps": steps_of(None),
        "current": 1,
    }
    return render(request, "select_order.html", context)


@login_required
@issuer_required
@require_POST
def draft_begin(request: DeskRequest, order_number: str) -> HttpResponse:
    """Begin a refund of this order."""
    order = get_object_or_404(Order, order_number=order_number)
    try:
        if order.refreshed_at is None:
            # Its money comes from Digital River; until then nobody knows what can be refunded.
            order_refresh(order=order, actor=Actor.looking(request.user))
        draft = draft_create(order=order, user=request.user)
    except RefundDeskError as error:
        messages.error(request, str(error))
        return redirect(order)
    return redirect("refunds:draft-option", draft.reference)


@login_required
@issuer_required
@require_http_methods(["GET", "HEAD", "POST"])
def draft_option(request: DeskRequest, reference: str) -> HttpResponse:
    """Second step: choose why and what to refund."""
    draft = own_draft(request, reference)
    if not draft.is_draft or draft.is_expired(timezone.now()):
        return closed_page(request, draft)
    data = request.POST if request.method == "POST" else None
    # What is posted goes on to the review, which reads the order anew.
    account, unreadable = read_account(request, draft, refresh=data is None)
    position = account.position
    chosen = selectors.selection_of(draft, account.lines) if draft.option else None
    form = OptionForm(data, position=position, draft=draft, chosen=chosen)
    if form.is_bound and form.is_valid():
        try:
            draft_choose(
                draft=draft, user=request.user, selection=form.selection, grounds=form.grounds
            )
        except DraftClosed:
            return closed_page(request, draft)
        except RefundDeskError as error:
            form.add_error(None, str(error))
        else:
            return redirect("refunds:draft-review", draft.reference)
    return render(
        request,
        "draft_option.html",
        {
            "unreadable": unreadable,
            **step_context(draft, position, 2),
            **_total(form, form.quote if form.is_bound else _quote(position, chosen)),
        },
        status=422 if form.is_bound else 200,
    )


@login_required
@issuer_required
@require_POST
def draft_total(request: DeskRequest, reference: str) -> HttpResponse:
    """Work out the live total of what is chosen right now; nothing is kept."""
    draft = own_draft(request, reference)
    if not draft.is_draft:
        raise Http404
    position = selectors.order_position(draft.order)
    form = OptionForm(request.POST, position=position, draft=draft)
    form.is_valid()
    context = {**step_context(draft, position, 2), **_total(form, form.quote)}
    return render(request, "_draft_total.html", context)


@login_required
@issuer_required
@require_POST
def draft_drop(request: DeskRequest, reference: str) -> HttpResponse:
    """Discard a draft."""
    draft = own_draft(request, reference)
    try:
        draft_discard(draft=draft, user=request.user)
    except DraftClosed as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Draft {draft.reference} is discarded. Nothing was sent.")
    return redirect(draft.order)


def _quote(position: Position, chosen: Selection | None) -> Quote | None:
    """Return what a draft's choice comes to, if it still can be refunded."""
    if chosen is None:
        return None
    try:
        return position.quote(chosen)
    except RefundDeskError:
        return None


def _total(form: OptionForm, quote: Quote | None) -> dict[str, object]:
    """Return what the summary shows of the refund being chosen, or what keeps it from one."""
    return {
        "form": form,
        "quote": quote,
        "quote_rows": [row for row in selectors.review_rows(quote) if row.amount] if quote else [],
        "selection_errors": form.selection_errors() if form.is_bound else [],
    }
