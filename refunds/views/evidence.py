"""Evidence: all that is known of one refund, as a page made for printing and as JSON to keep."""

from typing import Any

import structlog
from django.contrib.auth.decorators import login_required, user_passes_test
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from refunds import selectors
from refunds.models import Refund
from refunds.permissions import may_approve, may_issue
from refunds.services.verification import refund_verify
from refunds.views.requests import DeskRequest

_logger = structlog.get_logger(__name__)


def _may_draw_up(user: User | AnonymousUser) -> bool:
    """Let those through who make refunds or look into them; raises ``PermissionDenied``."""
    if may_issue(user) or may_approve(user):
        return True
    raise PermissionDenied


drawer_required = user_passes_test(_may_draw_up)


@login_required
@drawer_required
@require_safe
def evidence(request: DeskRequest, reference: str) -> HttpResponse:
    """Show a refund's evidence for printing."""
    return render(request, "evidence.html", {"evidence": _pack(request, reference)})


@login_required
@drawer_required
@require_safe
def evidence_json(request: DeskRequest, reference: str) -> HttpResponse:
    """Give a refund's evidence as a JSON file."""
    name = f"refund-{reference}-evidence.json"
    return HttpResponse(
        selectors.evidence_json(_pack(request, reference)),
        content_type="application/json; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _pack(request: DeskRequest, reference: str) -> dict[str, Any]:
    """Draw up the evidence, with its history verified at this moment."""
    try:
        refund = selectors.evidence_subject(reference)
    except Refund.DoesNotExist:
        raise Http404 from None
    at = timezone.now()
    findings = refund_verify(refund=refund)
    _logger.info("evidence.drawn_up", reference=reference, findings=len(findings))
    return selectors.evidence_pack(refund, findings=findings, user=request.user, at=at)
