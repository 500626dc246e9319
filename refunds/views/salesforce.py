"""The way from Salesforce to the desk: an Order's Refunds action, and looking an order up there."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from refunds.errors import OrderNotFetched, RecordUnusable
from refunds.models import Order
from refunds.services.mirror.fetching import order_fetch, order_look_up, salesforce_order_id
from refunds.views.lookups import LookUp
from refunds.views.requests import DeskRequest
from refunds.views.steps import issuer_required


@login_required
@issuer_required
@require_safe
def salesforce_order(request: DeskRequest, identifier: str) -> HttpResponse:
    """Lead from an Order's Refunds action in Salesforce to its Proceed page here.

    An order that is not here yet is not fetched by this, which is as safe as any link, but by
    the page that it shows.
    """
    try:
        salesforce_id = salesforce_order_id(identifier)
    except ValueError:
        return render(request, "salesforce_id_unknown.html", status=404)
    if order := Order.objects.filter(salesforce_id=salesforce_id).first():
        return redirect("refunds:order-proceed", order.order_number)
    return render(request, "salesforce_order.html", {"salesforce_id": salesforce_id})


@login_required
@issuer_required
@require_POST
def salesforce_order_fetch(request: DeskRequest, identifier: str) -> HttpResponse:
    """Fetch the order from Salesforce and lead to its Proceed page."""
    try:
        salesforce_id = salesforce_order_id(identifier)
    except ValueError:
        return render(request, "salesforce_id_unknown.html", status=404)
    context: dict[str, object] = {
        "salesforce_id": salesforce_id,
        "asked": True,
        "permission_contact": settings.PERMISSION_CONTACT,
    }
    try:
        order = Order.objects.filter(salesforce_id=salesforce_id).first() or order_fetch(
            salesforce_id=salesforce_id
        )
    except (OrderNotFetched, RecordUnusable) as error:
        order, context["error"] = None, str(error)
    if order is None:
        template = "_salesforce_order.html" if request.htmx else "salesforce_order.html"
        return render(request, template, context)
    return _to_proceed(request, order)


@login_required
@issuer_required
@require_POST
def salesforce_look_up(request: DeskRequest) -> HttpResponse:
    """Look in Salesforce for what a search did not find; htmx gets the answer, others a page."""
    search = request.POST.get("search", "")[:200].strip()
    selecting = request.POST.get("list") == "select-order"
    look_up = LookUp(search=search, selecting=selecting, asked=True)
    try:
        look_up.order = order_look_up(text=search)
    except (OrderNotFetched, RecordUnusable) as error:
        look_up.error = str(error)
    if request.htmx:
        return render(request, "_look_up.html", {"look_up": look_up})
    if look_up.order:
        return _to_proceed(request, look_up.order) if selecting else redirect(look_up.order)
    if look_up.error:
        messages.warning(request, look_up.error)
    asked = {} if look_up.error else {"looked": "on"}
    address = reverse("refunds:select-order" if selecting else "refunds:orders")
    return redirect(f"{address}?{urlencode({'q': search} | asked)}")


def _to_proceed(request: DeskRequest, order: Order) -> HttpResponse:
    address = reverse("refunds:order-proceed", args=[order.order_number])
    return HttpResponseClientRedirect(address) if request.htmx else redirect(address)
