"""The pages for requests that could not be served, each with the next step.

See https://docs.djangoproject.com/en/5.2/topics/http/views/#customizing-error-views
"""

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.csrf import requires_csrf_token


@requires_csrf_token
def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say which permission set is needed and whom to ask for it; 403."""
    context = {"permission_contact": settings.PERMISSION_CONTACT}
    return render(request, "403.html", context, status=403)


@requires_csrf_token
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say that the page was open too long or came from elsewhere; 403.

    ``reason`` is Django's, for developers, and stays off the page.
    """
    return render(request, "403_csrf.html", status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Say that something broke here, with the request id that finds it in the logs; 500.

    Rendered without context processors: what broke may be the session or the database.
    """
    request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    return HttpResponse(render_to_string("500.html", {"request_id": request_id}), status=500)
