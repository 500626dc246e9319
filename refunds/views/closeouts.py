"""Closing out an order: the plan first, then where it stands."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from refunds import selectors
from refunds.errors import FiguresChanged, OrderUnreadable, RefundDeskError
from refunds.forms import CloseOutForm
from refunds.models import Actor, CloseOut, Order
from refunds.services.closeouts import closeout_begin, closeout_call_off, closeout_check
from refunds.services.orders import order_refresh
from refunds.views.requests import DeskRequest
from refunds.views.steps import issuer_required


@login_required
@issuer_required
@require_http_methods(["GET", "HEAD", "POST"])
def close_out(request: DeskRequest, order_number: str) -> HttpResponse:
    """Show what closing out the order would send; begin it."""
    order = get_object_or_404(Order, order_number=order_number)
    form = CloseOutForm(request.POST if request.method == "POST" else None, order=order)
    error: RefundDeskError | None = None
    status = 200
    if form.is_bound and form.is_valid():
        seen_total, seen_at = form.cleaned_data["seen"]
        try:
            begun = closeout_begin(
                order=order,
                user=request.user,
                grounds=form.grounds,
                seen_total=seen_total,
                seen_at=seen_at,
            )
        except OrderUnreadable as unreadable:
            error, status = unreadable, 503
        except RefundDeskError as refused:
            error, status = refused, 409
        else:
            return redirect("refunds:close-out-progress", order.order_number, begun.pk)
    elif form.is_bound:
        status = 422
    return _plan_page(request, order, form, error, status)


def _plan_page(
    request: DeskRequest,
    order: Order,
    form: CloseOutForm,
    error: RefundDeskError | None,
    status: int,
) -> HttpResponse:
    """Show the plan as things stand now, with what kept it from being begun."""
    unreadable, account = "", None
    if error is None:
        try:
            account = order_refresh(order=order, actor=Actor.looking(request.user))
        except OrderUnreadable as away:
            unreadable = str(away)
    account = account or selectors.order_account(Order.objects.get(pk=order.pk))
    plan = selectors.closeout_plan(account)
    changed = error if isinstance(error, FiguresChanged) else None
    quote = plan.quote
    context = {
        "order": account.order,
        "form": form,
        "error": error,
        "changes": selectors.figure_changes(changed, account.lines) if changed else [],
        "unreadable": unreadable,
        "plan": plan,
        "quote": quote,
        "seen": form.signed(quote.total) if quote else "",
        "rows": selectors.review_rows(quote) if quote else [],
        "warnings": selectors.review_warnings(quote, account.refunds, timezone.now())
        if quote
        else [],
        "earlier": account.refunds[: selectors.REFUNDS_SHOWN],
        "earlier_of_buyer": selectors.earlier_refunds_of_buyer(account.order),
    }
    return render(request, "close_out.html", context, status=status)


@login_required
@require_safe
def close_out_progress(request: DeskRequest, order_number: str, pk: int) -> HttpResponse:
    """Show where a close-out stands, its refunds, and what comes next."""
    return _progress_page(request, _close_out(order_number, pk), "close_out_progress.html")


@login_required
@issuer_required
@require_POST
def close_out_check_now(request: DeskRequest, order_number: str, pk: int) -> HttpResponse:
    """Look where its refunds stand and carry it on; htmx gets the page's body."""
    found = _close_out(order_number, pk)
    unreadable = ""
    try:
        closeout_check(close_out=found, user=request.user)
    except OrderUnreadable as error:
        unreadable = str(error)
    if not request.htmx:
        if unreadable:
            messages.warning(request, unreadable)
        return redirect("refunds:close-out-progress", order_number, pk)
    return _progress_page(
        request, _close_out(order_number, pk), "_close_out_body.html", unreadable=unreadable
    )


@login_required
@issuer_required
@require_POST
def close_out_call_off(request: DeskRequest, order_number: str, pk: int) -> HttpResponse:
    """Drop what a close-out has not sent yet."""
    found = _close_out(order_number, pk)
    try:
        closeout_call_off(close_out=found, user=request.user)
    except RefundDeskError as error:
        messages.error(request, str(error))
    return redirect("refunds:close-out-progress", order_number, pk)


def _close_out(order_number: str, pk: int) -> CloseOut:
    try:
        return selectors.closeout_of(order_number, pk)
    except CloseOut.DoesNotExist:
        raise Http404 from None


def _progress_page(
    request: DeskRequest, found: CloseOut, template: str, *, unreadable: str = ""
) -> HttpResponse:
    context = {
        "view": selectors.closeout_view(found),
        "close_out": found,
        "order": found.order,
        "unreadable": unreadable,
    }
    return render(request, template, context)
