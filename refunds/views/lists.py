"""What the list views share: a page of a list, by the cursor in its address."""

from collections.abc import Callable
from typing import TypeVar

from django.contrib import messages
from django.db.models import Model

from refunds.errors import SelectionInvalid
from refunds.selectors import Page
from refunds.views.requests import DeskRequest

Row = TypeVar("Row", bound=Model)


def asked_page(request: DeskRequest, read: Callable[[str], Page[Row]]) -> Page[Row]:
    """Return the page behind the cursor in the address; the first, and say so, if that is broken.

    ``read`` takes the cursor, empty for the first page.
    """
    try:
        return read(request.GET.get("after", ""))
    except SelectionInvalid as error:
        messages.warning(request, str(error))
        return read("")
