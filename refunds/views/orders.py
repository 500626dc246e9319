"""Orders: the list, one order, and the way from its Refunds action to a new refund."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from refunds import gateways, selectors
from refunds.errors import OrderUnreadable
from refunds.filters import OrderFilter
from refunds.models import Actor, Order
from refunds.services.orders import order_refresh
from refunds.views.lists import asked_page
from refunds.views.lookups import look_up_of
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
            "look_up": look_up_of(request, page, search),
            "narrowed": bool(search) or filters.is_narrowed,
            "mirror": _mirror_state(),
        },
    )


def _mirror_state() -> selectors.MirrorState | None:
    """Return how fresh the mirror is; nothing where there is no Salesforce to be behind."""
    if not gateways.salesforce_is_configured():
        return None
    return selectors.mirror_state(now=timezone.now(), every=settings.SALESFORCE_SYNC_SECONDS)


@login_required
@require_safe
def order(request: DeskRequest, order_number: str) -> HttpResponse:
    """Show one order from the mirror; its money is read anew after loading when it is old."""
    found = get_object_or_404(Order, order_number=order_number)
    return render(request, "order.html", _order_context(found, selectors.order_account(found)))


@login_required
@require_POST
def order_refresh_now(request: DeskRequest, order_number: str) -> HttpResponse:
    """Read the order's money from Digital River; htmx gets the page's body, others the page.

    The page is the order's, or the Proceed page where ``proceed`` is posted.
    """
    found = get_object_or_404(Order, order_number=order_number)
    proceed = bool(request.POST.get("proceed"))
    unreadable, account = "", None
    try:
        account = order_refresh(order=found, actor=Actor.looking(request.user))
    except OrderUnreadable as error:
        unreadable = str(error)
    if not request.htmx:
        if unreadable:
            messages.warning(request, unreadable)
        return redirect("refunds:order-proceed", order_number) if proceed else redirect(found)
    return render(
        request,
        "_proceed_body.html" if proceed else "_order_body.html",
        {
            **_order_context(found, account or selectors.order_account(found)),
            "unreadable": unreadable,
            "refreshed": True,
        },
    )


@login_required
@issuer_required
@require_safe
def order_proceed(request: DeskRequest, order_number: str) -> HttpResponse:
    """Say what the Refunds action of an order leads to; its money is read anew when it is old."""
    found = get_object_or_404(Order, order_number=order_number)
    context = _order_context(found, selectors.order_account(found))
    return render(request, "order_proceed.html", context)


def _order_context(order: Order, account: selectors.OrderAccount) -> dict[str, object]:
    return {
        "view": selectors.order_view(account, timezone.now()),
        "order": order,
        "salesforce_address": gateways.salesforce_order_address(order.salesforce_id),
    }
