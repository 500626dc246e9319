"""A rep at the desk's pages, over HTTP, as a browser without JavaScript would go."""

import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import httpx

from refunds.models import RefundReason
from tests.desk import rep

PASSWORD = "a-password-for-tests"


@dataclass
class Visit:
    """One signed-in rep. Every step fails unless it leads where it should."""

    address: str
    username: str = "rep"
    http: httpx.Client = field(init=False)
    reason: str = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.address, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.http.close()

    def sign_in(self) -> None:
        """Sign in; the account is made on first use. All that follows goes over the wire."""
        rep(self.username)
        self.reason = str(RefundReason.objects.get(label="Requested by customer").pk)
        page = self._page("/accounts/login/")
        form = {**_hidden(page, "csrfmiddlewaretoken"), "username": self.username}
        answer = self.http.post("/accounts/login/", data={**form, "password": PASSWORD})
        _leads_on(answer)

    def draft(self, order_number: str, amount: str) -> str:
        """Begin a refund of the whole order for this much; returns the draft's reference."""
        page = self.order_page(order_number)
        answer = self.http.post(
            f"/orders/{order_number}/refunds/create/", data=_hidden(page, "csrfmiddlewaretoken")
        )
        step = _leads_on(answer)
        form = {
            **_hidden(self._page(step), "csrfmiddlewaretoken"),
            "option": "complete_order",
            "amount_of_complete_order": amount,
            "reason": self.reason,
        }
        review = _leads_on(self.http.post(step, data=form))
        return review.split("/")[2]

    def review(self, reference: str) -> dict[str, str]:
        """Read a draft's review; returns what its submit button sends."""
        page = self._page(f"/refunds/{reference}/review/")
        return _hidden(page, "csrfmiddlewaretoken") | _hidden(page, "seen")

    def submit(self, reference: str, form: dict[str, str]) -> httpx.Response:
        """Press the submit button of the review that was read; returns the answer as it comes."""
        return self.http.post(f"/refunds/{reference}/review/", data=form)

    def order_page(self, order_number: str) -> str:
        """Return the page of an order."""
        return self._page(f"/orders/{order_number}/")

    def _page(self, path: str) -> str:
        answer = self.http.get(path)
        if answer.is_error:
            answer.raise_for_status()
        assert answer.status_code == 200, f"{path} leads to {answer.headers.get('location')}"
        return answer.text


def _hidden(page: str, name: str) -> dict[str, str]:
    found = re.search(rf'name="{name}"\s+value="([^"]+)"', page)
    assert found, f"the page has no {name}"
    return {name: found[1]}


def _leads_on(answer: httpx.Response) -> str:
    if answer.is_error:
        answer.raise_for_status()
    assert answer.status_code == 302, "the page came back: " + " ".join(
        re.findall(r"(?s)error-summary.*?</div>", answer.text)
    )
    return str(answer.headers["location"])
