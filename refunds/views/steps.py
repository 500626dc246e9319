"""What the wizard's views share: a person's own draft, the order it is of, where one is."""

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from refunds import permissions, selectors
from refunds.errors import OrderUnreadable
from refunds.models import Actor, Refund
from refunds.options import Position
from refunds.services.orders import order_refresh
from refunds.views.requests import DeskRequest

issuer_required = permission_required(permissions.ISSUE, raise_exception=True)


def own_draft(request: DeskRequest, reference: str) -> Refund:
    """Return the person's own draft, or the refund it became; another's is not found."""
    try:
        return selectors.draft_by_reference(reference, request.user)
    except Refund.DoesNotExist:
        raise Http404 from None


def closed_page(request: DeskRequest, draft: Refund) -> HttpResponse:
    """Lead from a step of a draft that is none any more to where things stand."""
    draft.refresh_from_db()
    if draft.submitted_at is not None:
        return redirect("refunds:confirm", draft.reference)
    return render(request, "draft_closed.html", {"draft": draft, "order": draft.order}, status=410)


def read_account(
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


def step_context(draft: Refund, position: Position, current: int) -> dict[str, object]:
    """Return what the pages of every step show."""
    return {
        "draft": draft,
        "order": draft.order,
        "position": position,
        "ledger": position.ledger,
        "components": selectors.component_rows(position.ledger),
        "steps": steps_of(draft),
        "current": current,
    }


def steps_of(refund: Refund | None) -> list[dict[str, str]]:
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
