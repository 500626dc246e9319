"""Keeps pages out of the browser's store: they show money, and Back must not show it as it was."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers


class NeverCacheMiddleware:
    """Tells browsers to ask for every page anew. Static files are served before it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, and add the headers."""
        response = self._get_response(request)
        add_never_cache_headers(response)
        return response
