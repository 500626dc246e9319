"""Orders: the list, one order, and the way from its Refunds action to a new refund."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from refunds import selectors
from refunds.errors import OrderUnreadable
from refunds.filters import OrderFilter
from refunds.models import Actor, Order
from refunds.services.orders import order_refresh
from refunds.views.lists import asked_page
from refunds.views.requests import DeskRequest
from refunds.views.steps import issuer_required


@login_required
@require_safe
def order_list(request: DeskRequest) -> HttpResponse:
    """List orders, newest first, or those that a search finds."""
    filters = OrderFilter(request.GET, queryset=Order.objects.all())
    search = request.GET.get("q", "")[:200]
    page = asked_page(
        request, lambda after: selectors.orders_page(filters.qs, search=search, after=after)
    )
    return render(
        request,
        "orders.html",
        {
            "page": page,
            "form": filters.form,
            "search": search,
            "narrowed": bool(search) or filters.is_narrowed,
        },
    )


@login_required
@require_safe
def order(request: DeskRequest, order_number: str) -> HttpResponse:
    """Show one order from the mirror; its money is read anew after loading when it is old."""
    found = get_object_or_404(Order, order_number=order_number)
    view = selectors.order_view(selectors.order_account(found), timezone.now())
    return render(request, "order.html", {"view": view, "order": found})


@login_required
@require_POST
def order_refresh_now(request: DeskRequest, order_number: str) -> HttpResponse:
    """Read the order's money from Digital River; htmx gets the page's body, others the page."""
    found = get_object_or_404(Order, order_number=order_number)
    unreadable, account = "", None
    try:
        account = order_refresh(order=found, actor=Actor.looking(request.user))
    except OrderUnreadable as error:
        unreadable = str(error)
    if not request.htmx:
        if unreadable:
            messages.warning(request, unreadable)
        return redirect(found)
    view = selectors.order_view(account or selectors.order_account(found), timezone.now())
    return render(
        request,
        "_order_body.html",
        {"view": view, "order": found, "unreadable": unreadable, "refreshed": True},
    )


@login_required
@issuer_required
@require_safe
def order_proceed(request: DeskRequest, order_number: str) -> HttpResponse:
    """Say what the Refunds action of an order leads to, before it does."""
    found = get_object_or_404(Order, order_number=order_number)
    view = selectors.order_view(selectors.order_account(found), timezone.now())
    return render(request, "order_proceed.html", {"view": view, "order": found})
