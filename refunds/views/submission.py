"""The wizard from a choice on: Review and Submit, Confirm. One view per step."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from refunds import selectors
from refunds.errors import (
    DraftClosed,
    FiguresChanged,
    OrderUnreadable,
    RefundDeskError,
    SelectionInvalid,
)
from refunds.forms import ReviewForm
from refunds.models import Refund
from refunds.services.refunds import refund_queue, refund_submit
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
@require_http_methods(["GET", "HEAD", "POST"])
def draft_review(request: DeskRequest, reference: str) -> HttpResponse:
    """Third step: show what will be sent and what it really does; submit it."""
    draft = own_draft(request, reference)
    if not draft.is_draft or draft.is_expired(timezone.now()):
        return closed_page(request, draft)
    if not draft.option or draft.reason is None:
        return redirect("refunds:draft-option", draft.reference)
    error: RefundDeskError | None = None
    status = 200
    form = ReviewForm(request.POST if request.method == "POST" else None, draft=draft)
    if form.is_bound and form.is_valid():
        # Holding it is offered where Digital River could not be asked.
        send = refund_queue if "hold" in request.POST else refund_submit
        try:
            send(draft=draft, user=request.user, seen=form.cleaned_data["seen"])
        except DraftClosed:
            return closed_page(request, draft)
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
        draft = own_draft(request, draft.reference)
    account, unreadable = read_account(request, draft, refresh=error is None)
    review = selectors.review_view(account, draft, timezone.now())
    if error is None and review.closed is not None:
        error, status = review.closed, 409
    is_away = bool(unreadable) or isinstance(error, OrderUnreadable)
    changed = error if isinstance(error, FiguresChanged) else None
    context = {
        "error": error,
        "changes": selectors.figure_changes(changed, account.lines) if changed else [],
        "unreadable": unreadable,
        "may_hold": is_away,
        "review": review,
        "quote": review.quote,
        "review_form": ReviewForm.showing(review.quote, draft=draft) if review.quote else None,
        **step_context(draft, account.position, 3),
    }
    return render(request, "draft_review.html", context, status=status)


@login_required
@issuer_required
@require_safe
def confirm(request: DeskRequest, reference: str) -> HttpResponse:
    """Fourth step: what happened, what happens next, what to tell the customer."""
    draft = own_draft(request, reference)
    if draft.submitted_at is None:
        return redirect("refunds:draft-option", draft.reference)
    refund = selectors.refund_by_reference(reference)
    context = {
        "refund": refund,
        "order": refund.order,
        "paying_instead": selectors.refund_paying_instead(refund),
        "perhaps_elsewhere": selectors.refund_perhaps_elsewhere(refund),
        "storefront_address": settings.STOREFRONT_REFUND_URL,
        "steps": steps_of(refund),
        "current": 4,
    }
    return render(request, "confirm.html", context)
