"""What every page may ask for; nothing is read unless a template does."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from refunds import selectors


def desk(request: HttpRequest) -> dict[str, object]:
    """Offer leads' pages to tell whether a refund or a difference waits for them."""
    return {
        "flagged_refunds_exist": selectors.flagged_refunds_exist,
        # Looked at in two places of a page, and read once.
        "open_differences": SimpleLazyObject(selectors.open_differences),
    }
