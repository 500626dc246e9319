"""What the desk's views are called with."""

from django.contrib.auth.models import User
from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class DeskRequest(HttpRequest):
    """A request of a signed-in person, with what htmx says of it."""

    user: User
    htmx: HtmxDetails
