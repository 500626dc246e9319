"""The wizard: Select order, Choose option, Review and Submit, Confirm. One view per step."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from refunds import permissions, selectors
from refunds.errors import (
    DraftClosed,
    FiguresChanged,
    OrderUnreadable,
    RefundDeskError,
    SelectionInvalid,
)
from refunds.forms import OptionForm, ReviewForm
from refunds.models import Actor, Order, Refund
from refunds.options import Position, Quote, Selection
from refunds.services.drafts import draft_choose, draft_create, draft_discard
from refunds.services.orders import order_refresh
from refunds.services.refunds import refund_submit
from refunds.views.requests import DeskRequest

issuer_required = permission_required(permissions.ISSUE, raise_exception=True)


@login_required
@issuer_required
@require_safe
def select_order(request: DeskRequest) -> HttpResponse:
    """First step from the navigation: list and search the orders that can be refunded now."""
    orders = Order.objects.filter(refundable=True)
    search, after = request.GET.get("q", "")[:200], request.GET.get("after", "")
    try:
        page = selectors.orders_page(orders, search=search, after=after)
    except SelectionInvalid as error:
        messages.warning(request, str(error))
        page = selectors.orders_page(orders, search=search)
    context = {"page": page, "search": search, "steps": _steps(None), "current": 1}
    return render(request, "select_order.html", context)


@login_required
@issuer_required
@require_POST
def draft_begin(request: DeskRequest, order_number: str) -> HttpResponse:
    """Begin a refund of this order."""
    order = get_object_or_404(Order, order_number=order_number)
    try:
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
    draft = _draft(request, reference)
    if not draft.is_draft or draft.is_expired(timezone.now()):
        return _closed(request, draft)
    data = request.POST if request.method == "POST" else None
    # What is posted goes on to the review, which reads the order anew.
    account, unreadable = _account(request, draft, refresh=data is None)
    position = account.position
    chosen = selectors.selection_of(draft, account.lines) if draft.option else None
    form = OptionForm(data, position=position, draft=draft, chosen=chosen)
    if form.is_bound and form.is_valid():
        try:
            draft_choose(
                draft=draft, user=request.user, selection=form.selection, grounds=form.grounds
            )
        except DraftClosed:
            return _closed(request, draft)
        except RefundDeskError as error:
            form.add_error(None, str(error))
        else:
            return redirect("refunds:draft-review", draft.reference)
    return render(
        request,
        "draft_option.html",
        {
            "unreadable": unreadable,
            **_context(draft, position, 2),
            **_total(form, form.quote if form.is_bound else _quote(position, chosen)),
        },
        status=422 if form.is_bound else 200,
    )


@login_required
@issuer_required
@require_POST
def draft_total(request: DeskRequest, reference: str) -> HttpResponse:
    """Work out the live total of what is chosen right now; nothing is kept."""
    draft = _draft(request, reference)
    if not draft.is_draft:
        raise Http404
    position = selectors.order_position(draft.order)
    form = OptionForm(request.POST, position=position, draft=draft)
    form.is_valid()
    context = {**_context(draft, position, 2), **_total(form, form.quote)}
    return render(request, "_draft_total.html", context)


@login_required
@issuer_required
@require_http_methods(["GET", "HEAD", "POST"])
def draft_review(request: DeskRequest, reference: str) -> HttpResponse:
    """Third step: show what will be sent and what it really does; submit it."""
    draft = _draft(request, reference)
    if not draft.is_draft or draft.is_expired(timezone.now()):
        return _closed(request, draft)
    if not draft.option or draft.reason is None:
        return redirect("refunds:draft-option", draft.reference)
    error: RefundDeskError | None = None
    status = 200
    form = ReviewForm(request.POST if request.method == "POST" else None, draft=draft)
    if form.is_bound and form.is_valid():
        try:
            refund_submit(draft=draft, user=request.user, seen=form.cleaned_data["seen"])
        except DraftClosed:
            return _closed(request, draft)
        except OrderUnreadable as unreadable:
            error, status = unreadable, 503
        except RefundDeskError as refused:
            error, status = refused, 409
        else:
            return redirect("refunds:confirm", draft.reference)
    elif form.is_bound:
        error, status = (
            SelectionInvalid(" ".join(str(each) for each in form.errors.get("seen", []))),
            422,
        )
    return _review_page(request, draft, error, status)


def _review_page(
    request: DeskRequest, draft: Refund, error: RefundDeskError | None, status: int
) -> HttpResponse:
    """Show the review as things stand now, with what kept the last submit from going through."""
    if error is not None:
        # The draft may have been changed in another tab.
        draft = _draft(request, draft.reference)
    account, unreadable = _account(request, draft, refresh=error is None)
    review = selectors.review_view(account, draft, timezone.now())
    if error is None and review.closed is not None:
        error, status = review.closed, 409
    changed = error if isinstance(error, FiguresChanged) else None
    context = {
        "error": error,
        "changes": selectors.figure_changes(changed, account.lines) if changed else [],
        "unreadable": unreadable,
        "review": review,
        "quote": review.quote,
        "review_form": ReviewForm.showing(review.quote, draft=draft) if review.quote else None,
        **_context(draft, account.position, 3),
    }
    return render(request, "draft_review.html", context, status=status)


@login_required
@issuer_required
@require_safe
def confirm(request: DeskRequest, reference: str) -> HttpResponse:
    """Fourth step: what happened, what happens next, what to tell the customer."""
    draft = _draft(request, reference)
    if draft.submitted_at is None:
        return redirect("refunds:draft-option", draft.reference)
    refund = selectors.refund_by_reference(reference)
    context = {
        "refund": refund,
        "order": refund.order,
        "storefront_address": settings.STOREFRONT_REFUND_URL,
        "steps": _steps(refund),
        "current": 4,
    }
    return render(request, "confirm.html", context)


@login_required
@issuer_required
@require_POST
def draft_drop(request: DeskRequest, reference: str) -> HttpResponse:
    """Discard a draft."""
    draft = _draft(request, reference)
    try:
        draft_discard(draft=draft, user=request.user)
    except DraftClosed as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Draft {draft.reference} is discarded. Nothing was sent.")
    return redirect(draft.order)


# -- shared by the steps ---------------------------------------------------------------------------


def _draft(request: DeskRequest, reference: str) -> Refund:
    try:
        return selectors.draft_by_reference(reference, request.user)
    except Refund.DoesNotExist:
        raise Http404 from None


def _closed(request: DeskRequest, draft: Refund) -> HttpResponse:
    """Lead from a step of a draft that is none any more to where things stand."""
    draft.refresh_from_db()
    if draft.submitted_at is not None:
        return redirect("refunds:confirm", draft.reference)
    return render(request, "draft_closed.html", {"draft": draft, "order": draft.order}, status=410)


def _account(
    request: DeskRequest, draft: Refund, *, refresh: bool
) -> tuple[selectors.OrderAccount, str]:
    """Read the order, anew from Digital River; where that fails, say why and take the mirror's."""
    unreadable = ""
    if refresh:
        try:
            return order_refresh(order=draft.order, actor=Actor.looking(request.user)), ""
        except OrderUnreadable as error:
            unreadable = str(error)
    return selectors.order_account(draft.order), unreadable


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


def _context(draft: Refund, position: Position, current: int) -> dict[str, object]:
    return {
        "draft": draft,
        "order": draft.order,
        "position": position,
        "ledger": position.ledger,
        "components": selectors.component_rows(position.ledger),
        "steps": _steps(draft),
        "current": current,
    }


def _steps(refund: Refund | None) -> list[dict[str, str]]:
    """Return the four steps; those behind can be gone back to while nothing is submitted."""
    option = ""
    if refund is not None and refund.is_draft:
        option = reverse("refunds:draft-option", args=[refund.reference])
    return [
        {"label": "Select order", "url": reverse("refunds:select-order") if option else ""},
        {"label": "Choose option", "url": option},
        {"label": "Review and Submit", "url": ""},
        {"label": "Confirm", "url": ""},
    ]
