"""Refunds: the list, one refund, looking where it stands, sending it again, calling it off."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from refunds import gateways, selectors
from refunds.errors import OrderUnreadable, RefundDeskError
from refunds.filters import RefundFilter
from refunds.models import Actor, Refund
from refunds.services.refunds import refund_cancel, refund_check, refund_retry
from refunds.views.lists import asked_page
from refunds.views.requests import DeskRequest
from refunds.views.steps import issuer_required


@login_required
@require_safe
def refund_list(request: DeskRequest) -> HttpResponse:
    """List every refund, newest first, or those that a search finds; and one's own drafts."""
    filters = RefundFilter(request.GET, queryset=Refund.objects.all())
    search = request.GET.get("search", "")[:200]
    page = asked_page(
        request, lambda after: selectors.refunds_page(filters.qs, search=search, after=after)
    )
    narrowed = bool(search) or filters.is_narrowed
    is_behind = bool(request.GET.get("after"))
    return render(
        request,
        "refunds.html",
        {
            "page": page,
            "form": filters.form,
            "search": search,
            "narrowed": narrowed,
            "drafts": [] if narrowed or is_behind else selectors.drafts_of(request.user),
        },
    )


@login_required
@require_safe
def refund(request: DeskRequest, reference: str) -> HttpResponse:
    """Show one refund with its history; a draft leads its owner to its step."""
    try:
        found = selectors.refund_by_reference(reference)
    except Refund.DoesNotExist:
        return _to_draft(request, reference)
    return render(request, "refund.html", _context(found, request))


@login_required
@issuer_required
@require_POST
def refund_check_now(request: DeskRequest, reference: str) -> HttpResponse:
    """Look at Digital River where the refund stands; htmx gets the page's body."""
    found = _refund(reference)
    unreadable = ""
    try:
        found = refund_check(refund=found, actor=Actor.looking(request.user))
    except OrderUnreadable as error:
        unreadable = str(error)
    if not request.htmx:
        if unreadable:
            messages.warning(request, unreadable)
        return redirect(found)
    if not unreadable and request.POST.get("seen") == found.updated_at.isoformat():
        # The page looks by itself and has nothing new to show: leave it as the rep has it.
        return HttpResponse(status=204)
    found = selectors.refund_by_reference(reference)
    template = "_confirm_body.html" if "confirm" in request.POST else "_refund_body.html"
    context = {**_context(found, request), "unreadable": unreadable, "checked": True}
    return render(request, template, context)


@login_required
@issuer_required
@require_POST
def refund_send_again(request: DeskRequest, reference: str) -> HttpResponse:
    """Send a refund again that failed, expired or never arrived."""
    found = _refund(reference)
    try:
        sent = refund_retry(refund=found, user=request.user)
    except RefundDeskError as error:
        messages.error(request, str(error))
    else:
        # The attempt itself may have come to nothing.
        state = sent.get_state_display().lower()
        messages.info(request, f"Refund {reference} was tried again. It is now {state}.")
    return redirect(found)


@login_required
@issuer_required
@require_POST
def refund_call_off(request: DeskRequest, reference: str) -> HttpResponse:
    """Call off a refund that waits to be sent or never arrived."""
    found = _refund(reference)
    in_doubt = selectors.refund_perhaps_elsewhere(found)
    try:
        called_off = refund_cancel(refund=found, user=request.user)
    except RefundDeskError as error:
        messages.error(request, str(error))
    else:
        other = selectors.refund_paying_instead(called_off)
        so = "Nothing more is sent for it." if in_doubt else "No money has moved."
        if other:
            so = f"Refund {other.reference} pays the customer."
        messages.success(request, f"Refund {reference} is called off. {so}")
    return redirect(found)


def _refund(reference: str) -> Refund:
    try:
        return selectors.refund_to_act_on(reference)
    except Refund.DoesNotExist:
        raise Http404 from None


def _to_draft(request: DeskRequest, reference: str) -> HttpResponse:
    try:
        draft = selectors.draft_by_reference(reference, request.user)
    except Refund.DoesNotExist:
        raise Http404 from None
    return redirect("refunds:draft-option", draft.reference)


def _context(refund: Refund, request: DeskRequest) -> dict[str, object]:
    return {
        "refund": refund,
        "order": refund.order,
        "paying_instead": selectors.refund_paying_instead(refund),
        "perhaps_elsewhere": selectors.refund_perhaps_elsewhere(refund),
        "dashboard_address": gateways.dashboard_order_address(refund.order.digital_river_id),
        "storefront_address": settings.STOREFRONT_REFUND_URL,
        "parts": selectors.part_rows(refund),
        "salesforce_tasks": selectors.salesforce_tasks_of(refund, request.user),
    }
