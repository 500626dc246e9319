"""What every page may ask for; nothing is read unless a template does."""

from collections.abc import Callable

from django.http import HttpRequest

from refunds import selectors


def desk(request: HttpRequest) -> dict[str, Callable[[], bool]]:
    """Offer leads' pages to tell whether a refund waits for them."""
    return {"flagged_refunds_exist": selectors.flagged_refunds_exist}
