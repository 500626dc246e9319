"""The floors: what things cost on this stack, whatever they do."""

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from benchmarks.models import Taken
from refunds.models import RefundReason
from refunds.views.requests import DeskRequest


class FloorForm(forms.Form):
    """Three fields, as forms have them."""

    name = forms.CharField(max_length=60, help_text="Whom to call back.")
    kind = forms.ChoiceField(choices=[("call", "Call"), ("mail", "Mail"), ("none", "Neither")])
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))


@login_required
def floor(request: DeskRequest) -> HttpResponse:
    """Show a form of three fields and the outcome of one query: any signed-in page with a form."""
    reason = RefundReason.objects.first()
    return render(request, "benchmarks/floor.html", {"form": FloorForm(), "reason": reason})


@csrf_exempt
@require_POST
def take(request: HttpRequest) -> HttpResponse:
    """Insert the body as one row, in one statement: any view that keeps what it is sent."""
    Taken(body=request.body.decode(), at=timezone.now()).save(force_insert=True)
    return HttpResponse("Stored.\n", status=202, content_type="text/plain; charset=utf-8")
