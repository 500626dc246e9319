"""Reconciliation, for leads: its runs, what one found, and how each difference is resolved."""

from collections.abc import Callable
from datetime import timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from refunds import permissions, selectors
from refunds.errors import RefundDeskError
from refunds.forms import ReconcileForm, RelinkForm
from refunds.models import Difference, Order, ReconciliationRun, Refund
from refunds.services.differences import (
    difference_adopt,
    difference_relink,
    difference_review,
    refund_relink,
)
from refunds.services.reconciliation_runs import reconciliation_resume, reconciliation_start
from refunds.views.lists import asked_page
from refunds.views.requests import DeskRequest

lead_required = permission_required(permissions.APPROVE, raise_exception=True)


@login_required
@lead_required
@require_safe
def reconciliation_list(request: DeskRequest) -> HttpResponse:
    """List the reconciliations, newest first, and offer a new one."""
    return _list_page(request, ReconcileForm())


def _list_page(request: DeskRequest, form: ReconcileForm, status: int = 200) -> HttpResponse:
    context = {
        "page": asked_page(request, selectors.reconciliation_runs_page),
        "form": form,
        "open_exist": selectors.open_differences().any,
    }
    return render(request, "reconciliation_list.html", context, status=status)


@login_required
@lead_required
@require_POST
def reconciliation_begin(request: DeskRequest) -> HttpResponse:
    """Begin a reconciliation; the background does it."""
    form = ReconcileForm(request.POST)
    if not form.is_valid():
        return _list_page(request, form, 422)
    try:
        run = reconciliation_start(
            user=request.user,
            since=timezone.now() - timedelta(days=form.cleaned_data["days"]),
            order=_order_named(form.cleaned_data["order"]),
        )
    except Order.DoesNotExist:
        form.add_error("order", "The desk has no order of that number. Copy it from its page.")
        return _list_page(request, form, 422)
    except RefundDeskError as error:
        messages.error(request, str(error))
        return redirect("refunds:reconciliations")
    return redirect("refunds:reconciliation", run.pk)


def _order_named(number: str) -> Order | None:
    return selectors.order_by_number(number) if number else None


@login_required
@lead_required
@require_safe
def reconciliation(request: DeskRequest, run_id: int) -> HttpResponse:
    """Show one reconciliation: its control totals, and the differences it saw last."""
    run = _run(run_id)
    resolved = "resolved" in request.GET
    context = {
        "run": run,
        "totals": selectors.totals_view(run),
        "resolved": resolved,
        "page": asked_page(
            request,
            lambda after: selectors.differences_page(run=run, resolved=resolved, after=after),
        ),
    }
    return render(request, "reconciliation.html", context)


@login_required
@lead_required
@require_POST
def reconciliation_carry_on(request: DeskRequest, run_id: int) -> HttpResponse:
    """Have the background carry on a reconciliation that stopped."""
    run = _run(run_id)
    try:
        reconciliation_resume(run=run, user=request.user)
    except RefundDeskError as error:
        messages.error(request, str(error))
    else:
        messages.info(request, "The reconciliation is carried on.")
    return redirect("refunds:reconciliation", run.pk)


@login_required
@lead_required
@require_safe
def differences(request: DeskRequest) -> HttpResponse:
    """List the differences that are open, whichever look found them; or those resolved."""
    resolved, breaches = "resolved" in request.GET, "breaches" in request.GET
    page = asked_page(
        request,
        lambda after: selectors.differences_page(resolved=resolved, breaches=breaches, after=after),
    )
    context = {"page": page, "resolved": resolved, "breaches": breaches}
    return render(request, "reconciliation_differences.html", context)


@login_required
@lead_required
@require_POST
def difference_review_now(request: DeskRequest, pk: int) -> HttpResponse:
    """Mark a difference as reviewed, with a note."""
    note = request.POST.get("note", "")
    return _resolve(
        request,
        pk,
        lambda found: difference_review(difference=found, note=note, user=request.user),
        "The difference is marked as reviewed.",
    )


@login_required
@lead_required
@require_POST
def difference_adopt_now(request: DeskRequest, pk: int) -> HttpResponse:
    """Take on a refund that the desk lacks."""
    return _resolve(
        request,
        pk,
        lambda found: difference_adopt(difference=found, user=request.user),
        "The refund is adopted: it counts from now on.",
    )


@login_required
@lead_required
@require_POST
def difference_relink_now(request: DeskRequest, pk: int) -> HttpResponse:
    """Say that the refund a difference is about is one of the desk's own."""
    reference = _reference(request)
    return _resolve(
        request,
        pk,
        lambda found: difference_relink(difference=found, reference=reference, user=request.user),
        f"Relinked: refund {reference} goes on with what Digital River has.",
    )


@login_required
@lead_required
@require_POST
def refund_relink_now(request: DeskRequest, reference: str) -> HttpResponse:
    """Say that a refund taken for one made elsewhere is one of the desk's own."""
    try:
        outside = selectors.refund_to_act_on(reference)
    except Refund.DoesNotExist:
        raise Http404 from None
    try:
        own = refund_relink(outside=outside, reference=_reference(request), user=request.user)
    except RefundDeskError as error:
        messages.error(request, str(error))
        return redirect(outside)
    messages.success(request, f"Relinked: refund {own.reference} is what Digital River has.")
    return redirect(own)


def _reference(request: DeskRequest) -> str:
    form = RelinkForm(request.POST)
    return form.cleaned_data["reference"] if form.is_valid() else ""


def _resolve(
    request: DeskRequest, pk: int, act: Callable[[Difference], object], done: str
) -> HttpResponse:
    """Resolve a difference, say how it went, and lead back to where it was shown."""
    found = get_object_or_404(Difference, pk=pk)
    try:
        act(found)
    except RefundDeskError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
    if "run" in request.POST and found.run_id is not None:
        return redirect("refunds:reconciliation", found.run_id)
    return redirect("refunds:differences")


def _run(run_id: int) -> ReconciliationRun:
    try:
        return selectors.reconciliation_run(run_id)
    except ReconciliationRun.DoesNotExist:
        raise Http404 from None
