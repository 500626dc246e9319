"""What the searches for an order share: what to do about one that found nothing."""

from dataclasses import dataclass

from refunds import gateways, permissions
from refunds.models import Order
from refunds.selectors import Page
from refunds.services.mirror.fetching import is_whole_key, order_known
from refunds.views.requests import DeskRequest


@dataclass(slots=True)
class LookUp:
    """A search that found no order here, which may be in Salesforce.

    ``selecting`` tells the wizard's first step, which lists only what can be refunded now, from
    the list of orders. ``order`` is the one that was found after all, ``known`` tells that it was
    here all along. ``error`` is why none could be looked for, ``asked`` tells that there is
    nothing more to ask Salesforce.
    """

    search: str
    selecting: bool = False
    asked: bool = False
    known: bool = False
    order: Order | None = None
    error: str = ""

    @property
    def orders(self) -> list[Order]:
        """The order as a list of orders shows it."""
        return [self.order] if self.order else []

    @property
    def not_there(self) -> str:
        """That Salesforce has none either, as a sentence."""
        return f"Salesforce has no order with the number or id {self.search} either."


def look_up_of(
    request: DeskRequest, page: Page[Order], search: str, *, selecting: bool = False
) -> LookUp | None:
    """Return what to look up where a search for a whole number or id found nothing.

    An order that is here all the same, and that the list only leaves out, needs no call. Those
    who may not issue refunds cause none.
    """
    if page.rows or not page.is_first or not permissions.may_issue(request.user):
        return None
    if not is_whole_key(search):
        return None
    search = search.strip()
    known = order_known(text=search)
    if known is None and not gateways.salesforce_is_configured():
        return None
    is_known = known is not None
    # Where no script runs, the answer to the button leads back here.
    asked = is_known or request.GET.get("looked") == "on"
    return LookUp(search, selecting=selecting, asked=asked, known=is_known, order=known)
