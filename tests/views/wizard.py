"""Walks the wizard as a person does: what a form holds is posted, changed here and there."""

from dataclasses import dataclass
from typing import Any

from refunds.models import Order, Refund, RefundReason
from tests.desk import Desk
from tests.views.pages import DeskClient, Page

REVIEW = "Review and Submit"


@dataclass
class Walk:
    """One draft of one order in one browser."""

    client: DeskClient
    order: Order
    reference: str

    @classmethod
    def begin(cls, client: DeskClient, order: Order) -> "Walk":
        """Begin a refund from the order's page."""
        page = client.page(order.get_absolute_url())
        values = page.values("Create refund")
        response = client.post(page.form("Create refund")["action"], values)
        return cls(client, order, response.headers["Location"].split("/")[2])

    def at(self, step: str) -> str:
        """Return the address of a step."""
        return f"/refunds/{self.reference}/{step}/"

    @property
    def draft(self) -> Refund:
        """The draft, or what it became, as it stands now."""
        return Refund.objects.get(reference=self.reference)

    def values(self, **changes: str) -> dict[str, str]:
        """Return what the option form holds, with a reason, changed by these."""
        values = self.client.page(self.at("option")).values(REVIEW)
        reason = RefundReason.objects.get(label="Requested by customer")
        return {**values, "reason": str(reason.pk), **changes}

    def choose(self, **changes: str) -> Any:
        """Post the option form, changed by these."""
        return self.client.post(self.at("option"), self.values(**changes))

    def total(self, **changes: str) -> Page:
        """Ask for the live total of the option form, changed by these, as htmx does."""
        response = self.client.post(
            self.at("total"), self.values(**changes), headers={"hx-request": "true"}
        )
        assert response.status_code == 200
        return Page(response)

    def review(self, **changes: str) -> Page:
        """Choose and go on to the review."""
        response = self.choose(**changes)
        assert response.status_code == 302, Page(response).errors
        assert response.headers["Location"] == self.at("review")
        return self.client.page(self.at("review"))

    def submit(self, **changes: str) -> Any:
        """Choose, review and submit."""
        page = self.review(**changes)
        (button,) = [each for each in page.buttons if each.startswith("Submit refund of")]
        return self.client.post(self.at("review"), page.values(button))


def submit_button(page: Page) -> str:
    """Return what the button says that submits the refund."""
    (button,) = [each for each in page.buttons if each.startswith("Submit refund of")]
    return button


def at_digital_river(desk: Desk, order: Order) -> int:
    """Return how many refunds Digital River has of an order."""
    return len(desk.client.list_refunds(order_id=order.digital_river_id))
