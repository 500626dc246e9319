"""The desk's screens as a rep goes through them, by what is written on them."""

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from refunds.models import Order
from sandbox.store import Sandbox

#: What one row of the ledger shows: charged, refunded, in flight, left.
Figures = tuple[str, str, str, str]


@dataclass
class Screens:
    """A signed-in person's browser at the desk, beside the stand-in that settles refunds."""

    page: Page
    address: str
    sandbox: Sandbox

    # -- going places -------------------------------------------------------------------------

    def go(self, path: str) -> None:
        """Open an address of the desk."""
        self.page.goto(f"{self.address}{path}")

    def begin(self, order: Order) -> None:
        """Go from an order's page, by its Refunds action, to the options of a new refund."""
        self.go(order.get_absolute_url())
        self.page.get_by_text("Actions", exact=True).click()
        self.page.get_by_role("link", name="Refunds", exact=True).last.click()
        self.page.get_by_role("link", name="Proceed").click()
        self.create_refund()

    def start(self, order: Order) -> None:
        """Go the short way: from an order's page straight to the options of a new refund."""
        self.go(order.get_absolute_url())
        self.create_refund()

    def create_refund(self) -> None:
        """Go from the Refunds section of the open order to the options of a new refund."""
        self.page.get_by_role("button", name="Create refund").click()
        self.expect_heading("Choose option")

    # -- choosing -----------------------------------------------------------------------------

    def option(self, label: str) -> Locator:
        """Return the radio button of an option."""
        return self.page.get_by_role("radio", name=label, exact=True)

    def option_row(self, label: str) -> Locator:
        """Return the whole row of an option, with its fields and notes."""
        return self.page.locator(".option").filter(has=self.option(label))

    def choose(
        self, label: str, *, amount: str = "", reason: str = "Requested by customer"
    ) -> None:
        """Choose a reason and an option, and type an amount where one is given."""
        self.page.get_by_role("combobox", name="Reason", exact=True).select_option(label=reason)
        self.option(label).check()
        if amount:
            self.page.get_by_label(f"{label}: Refund amount").fill(amount)

    def choose_units(self, product: str, quantity: int) -> None:
        """Type a quantity for one product and wait until its amount has followed."""
        amount = self.amount_of(product)
        before = amount.input_value()
        self.page.get_by_label(f"Quantity of {product}").fill(str(quantity))
        expect(amount).not_to_have_value(before)

    def amount_of(self, product: str) -> Locator:
        """Return the amount field of one product."""
        return self.page.get_by_label(f"Refund amount of {product}")

    def expect_total(self, total: str) -> None:
        """Wait until the summary beside the form shows this total."""
        row = self.page.locator("#draft-total tr", has_text="Total")
        expect(row.locator(".money")).to_have_text(total)

    # -- reviewing and submitting -------------------------------------------------------------

    def review(self) -> None:
        """Go on from the options to the review."""
        self.page.get_by_role("button", name="Review and Submit").click()
        self.expect_heading("Review and Submit")

    def submit(self, total: str) -> None:
        """Submit from the review by the button that names this total."""
        self.page.get_by_role("button", name=f"Submit refund of {total}", exact=True).click()
        self.page.wait_for_url("**/confirm/")

    def refund(self, total: str) -> None:
        """Review, submit and open the refund of what was chosen."""
        self.review()
        self.submit(total)
        self.page.get_by_role("link", name="Open the refund").click()
        self.page.wait_for_url(re.compile(r"/refunds/R-\d{4}-\d{4}/$"))

    # -- the refund -----------------------------------------------------------------------------

    @property
    def reference(self) -> str:
        """The reference of the refund that the page is about."""
        found = re.search(r"R-\d{4}-\d{4}", self.page.url)
        assert found is not None
        return found[0]

    def check_now(self) -> None:
        """Look at Digital River where the refund stands."""
        with self.page.expect_response("**/check/"):
            self.page.get_by_role("button", name="Check now").click()

    def settle(self) -> None:
        """Let Digital River settle what is pending, and look."""
        assert self.sandbox.settle_now() > 0
        self.check_now()

    def expect_state(self, label: str) -> None:
        """Wait until the refund's page shows this state."""
        expect(self.page.locator(".confirm-line .state")).to_have_text(label)

    # -- reading --------------------------------------------------------------------------------

    def expect_heading(self, text: str) -> None:
        """Wait for the page with this heading, and insist that it is its only one."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(text)

    def expect_focus_on_errors(self, text: str) -> None:
        """Wait for the error summary with these words, and for the focus on it."""
        summary = self.page.locator("[data-error-summary]")
        expect(summary).to_contain_text(text)
        expect(summary).to_be_focused()

    def ledger(self, order: Order) -> dict[str, Figures]:
        """Open the order and return its ledger: each row's charged, refunded, in flight, left."""
        self.go(order.get_absolute_url())
        rows: dict[str, Figures] = {}
        for row in self.page.locator("table[aria-labelledby=left] :is(tbody, tfoot) tr").all():
            label, *figures = (text.strip() for text in row.locator("th, td").all_inner_texts())
            charged, refunded, in_flight, left = figures
            rows[label] = (charged, refunded, in_flight, left)
        return rows

    def fits(self) -> bool:
        """Tell whether the page needs no sideways scrolling."""
        fits: bool = self.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        return fits
