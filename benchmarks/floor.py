"""The floor: what any signed-in page with a form costs on this stack, whatever it does."""

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render

from refunds.models import RefundReason
from refunds.views.requests import DeskRequest


class FloorForm(forms.Form):
    """Three fields, as forms have them."""

    name = forms.CharField(max_length=60, help_text="Whom to call back.")
    kind = forms.ChoiceField(choices=[("call", "Call"), ("mail", "Mail"), ("none", "Neither")])
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))


@login_required
def floor(request: DeskRequest) -> HttpResponse:
    """Show a form of three fields and the outcome of one query."""
    reason = RefundReason.objects.first()
    return render(request, "benchmarks/floor.html", {"form": FloorForm(), "reason": reason})
