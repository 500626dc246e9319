"""Who may open what: every address, signed out, without the permission set, and in it."""

import re
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from refunds.models import CloseOut, Order, Refund, RefundReason
from refunds.options import Option, Selection
from refunds.permissions import GROUP_NAME
from refunds.urls import urlpatterns
from tests.desk import Desk, rep
from tests.views.pages import DeskClient, Page, signed_in

pytestmark = pytest.mark.django_db

#: Every address by name, and the methods it takes.
READ = {
    "orders": "/orders/",
    "order": "/orders/{order}/",
    "refunds": "/refunds/",
    "refund": "/refunds/{refund}/",
    "close-out-progress": "/orders/{order}/close-out/{close_out}/",
}
READ_IN_THE_SET = {
    "order-proceed": "/orders/{order}/refunds/",
    "select-order": "/refunds/new/",
    "confirm": "/refunds/{refund}/confirm/",
    "evidence": "/refunds/{refund}/evidence/",
    "evidence-json": "/refunds/{refund}/evidence.json",
    "salesforce-order": "/salesforce/orders/8015g0000099999AAA/refunds/",
}
STEPS = {
    "draft-option": "/refunds/{draft}/option/",
    "draft-review": "/refunds/{draft}/review/",
    "close-out": "/orders/{order}/close-out/",
}
POSTED = {
    "draft-begin": "/orders/{order}/refunds/create/",
    "draft-total": "/refunds/{draft}/total/",
    "draft-discard": "/refunds/{draft}/discard/",
    "refund-check": "/refunds/{refund}/check/",
    "refund-retry": "/refunds/{refund}/retry/",
    "refund-cancel": "/refunds/{refund}/cancel/",
    "close-out-check": "/orders/{order}/close-out/{close_out}/check/",
    "close-out-cancel": "/orders/{order}/close-out/{close_out}/cancel/",
    "salesforce-order-fetch": "/salesforce/orders/8015g0000099999AAA/refunds/fetch/",
    "salesforce-look-up": "/salesforce/orders/look-up/",
}
#: For leads alone; test_reconciliation.py goes through them.
FOR_LEADS = {
    "reconciliations",
    "reconciliation-begin",
    "reconciliation",
    "reconciliation-carry-on",
    "differences",
    "difference-review",
    "difference-adopt",
    "difference-relink",
    "refund-relink",
}
#: For Digital River, which signs what it posts; test_webhooks.py goes through it.
SIGNED = {"webhook"}
POSTED_BY_ALL = {"order-refresh": "/orders/{order}/refresh/"}
ALL = READ | READ_IN_THE_SET | STEPS | POSTED | POSTED_BY_ALL


@dataclass
class Things:
    """An order with a refund of it, a draft and a close-out, all of the first rep."""

    order: Order
    refund: Refund
    draft: Refund
    close_out: CloseOut

    def address(self, pattern: str) -> str:
        return pattern.format(
            order=self.order.order_number,
            refund=self.refund.reference,
            draft=self.draft.reference,
            close_out=self.close_out.pk,
        )

    def unchanged(self) -> bool:
        """Tell whether nothing was made and the draft is as it was."""
        now = Refund.objects.get(pk=self.draft.pk)
        return (
            now.updated_at == self.draft.updated_at
            and now.state == Refund.State.DRAFT
            and Refund.objects.count() == 2
            and CloseOut.objects.count() == 1
        )


@pytest.fixture
def things(desk: Desk) -> Things:
    order = desk.order("plain_usd")
    part = Selection(Option.COMPLETE_ORDER, Decimal("5.00"))
    refund = desk.submit(order, rep(), part)
    close_out = CloseOut.objects.create(
        order=order,
        state=CloseOut.State.STOPPED,
        currency=order.currency,
        planned_amount=Decimal("5.00"),
        reason=RefundReason.objects.get(label="Requested by customer"),
        created_by=rep(),
        created_at=desk.clock(),
        finished_at=desk.clock(),
        outcome="It was stopped for a test.",
    )
    return Things(desk.refresh(order), refund, desk.draft(order, rep(), part), close_out)


def test_every_address_of_the_desk_is_tested() -> None:
    assert {each.name for each in urlpatterns} == ALL.keys() | FOR_LEADS | SIGNED | {"home"}


def test_home_leads_to_the_orders(as_rep: DeskClient) -> None:
    response = as_rep.get("/")
    assert (response.status_code, response.headers["Location"]) == (302, "/orders/")


@pytest.mark.parametrize("name", ALL)
def test_signed_out_person_is_asked_to_sign_in_and_comes_back(things: Things, name: str) -> None:
    address = things.address(ALL[name])
    client = DeskClient()
    for response in (client.get(address), client.post(address)):
        assert response.status_code == HTTPStatus.FOUND
        parts = urlsplit(response.headers["Location"])
        assert parts.path == "/accounts/login/"
        assert parse_qs(parts.query) == {"next": [address]}
    assert things.unchanged()


@pytest.mark.parametrize("name", READ)
def test_viewer_reads_the_lists_and_pages_and_is_offered_no_action(
    things: Things, as_viewer: DeskClient, name: str
) -> None:
    page = as_viewer.page(things.address(READ[name]))
    offered = set(page.buttons) - {"Refresh", "Show orders", "Show refunds", "Copy"}
    assert offered == set()
    for address in ("/refunds/new/", f"/orders/{things.order.order_number}/refunds/"):
        assert not page.root.all("a", href=address)
    assert "/check/" not in str([each.attributes for each in page.root.walk()])


@pytest.mark.parametrize("name", [*READ_IN_THE_SET, *STEPS])
def test_viewer_is_told_which_permission_set_and_whom_to_ask(
    things: Things, as_viewer: DeskClient, name: str
) -> None:
    page = as_viewer.page(things.address(ALL[name]), HTTPStatus.FORBIDDEN)
    assert GROUP_NAME in page.text
    assert "viewer" in page.main.text
    assert "Ask your Salesforce administrator to add you" in page.text


@pytest.mark.parametrize("name", [*POSTED, *STEPS])
def test_viewer_may_not_post(things: Things, as_viewer: DeskClient, name: str) -> None:
    response = as_viewer.post(things.address(ALL[name]))
    assert response.status_code == HTTPStatus.FORBIDDEN
    assert GROUP_NAME in Page(response).text
    assert things.unchanged()


def test_viewer_may_refresh_an_order(things: Things, as_viewer: DeskClient) -> None:
    response = as_viewer.post(things.address(POSTED_BY_ALL["order-refresh"]))
    assert (response.status_code, response.headers["Location"]) == (
        302,
        things.order.get_absolute_url(),
    )


def test_person_with_the_permission_alone_may_begin_a_refund(things: Things) -> None:
    user = User.objects.create_user("somebody")
    user.user_permissions.add(Permission.objects.get(codename="issue_refund"))
    response = signed_in(user).post(things.address(POSTED["draft-begin"]))
    assert response.status_code == HTTPStatus.FOUND
    assert response.headers["Location"].endswith("/option/")


@pytest.mark.parametrize("name", [*READ, *READ_IN_THE_SET, *STEPS])
def test_rep_opens_every_page(things: Things, as_rep: DeskClient, name: str) -> None:
    as_rep.page(things.address(ALL[name]))
    assert as_rep.head(things.address(ALL[name])).status_code == HTTPStatus.OK


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete"])
def test_what_changes_something_takes_nothing_but_post(
    things: Things, as_rep: DeskClient, method: str
) -> None:
    for name in [*POSTED, *POSTED_BY_ALL]:
        response = getattr(as_rep, method)(things.address(ALL[name]))
        assert response.status_code == HTTPStatus.METHOD_NOT_ALLOWED, name
    assert things.unchanged()


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_what_is_only_read_takes_no_other_method(
    things: Things, as_rep: DeskClient, method: str
) -> None:
    for name in [*READ, *READ_IN_THE_SET]:
        response = getattr(as_rep, method)(things.address(ALL[name]))
        assert response.status_code == HTTPStatus.METHOD_NOT_ALLOWED, name


def test_step_takes_neither_put_nor_delete(things: Things, as_rep: DeskClient) -> None:
    for name in STEPS:
        for method in (as_rep.put, as_rep.patch, as_rep.delete):
            assert method(things.address(ALL[name])).status_code == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("name", [*POSTED, *STEPS, *POSTED_BY_ALL])
def test_post_without_token_is_refused_and_changes_nothing(things: Things, name: str) -> None:
    client = signed_in(rep(), enforce_csrf_checks=True)
    response = client.post(things.address(ALL[name]))
    assert response.status_code == HTTPStatus.FORBIDDEN
    assert "Nothing was sent or changed" in Page(response).text
    assert things.unchanged()


def test_post_with_the_token_of_the_page_passes(things: Things) -> None:
    client = signed_in(rep(), enforce_csrf_checks=True)
    page = client.page(things.order.get_absolute_url())
    form = page.form("Create refund")
    response = client.post(form["action"], page.values("Create refund"))
    assert response.status_code == HTTPStatus.FOUND
    assert Refund.objects.count() == 3


def test_post_by_htmx_passes_by_the_token_in_its_header(things: Things) -> None:
    client = signed_in(rep(), enforce_csrf_checks=True)
    page = client.page(things.order.get_absolute_url())
    found = re.search(r'"X-CSRFToken": "(\w+)"', page.root.one("body")["hx-headers"])
    assert found is not None
    response = client.post(
        things.address(POSTED_BY_ALL["order-refresh"]),
        headers={"hx-request": "true", "x-csrftoken": found[1]},
    )
    assert response.status_code == HTTPStatus.OK


# -- drafts belong to one rep ----------------------------------------------------------------------


@pytest.mark.parametrize("step", ["option", "review", "confirm"])
def test_draft_of_another_rep_is_not_found(
    things: Things, as_other_rep: DeskClient, step: str
) -> None:
    address = f"/refunds/{things.draft.reference}/{step}/"
    page = as_other_rep.page(address, HTTPStatus.NOT_FOUND)
    assert "someone else began" in page.text
    assert "27.01" not in page.text


@pytest.mark.parametrize(
    "step", ["option", "total", "review", "discard", "check", "retry", "cancel"]
)
def test_post_to_a_draft_of_another_rep_is_not_found(
    things: Things, as_other_rep: DeskClient, step: str
) -> None:
    response = as_other_rep.post(f"/refunds/{things.draft.reference}/{step}/")
    assert response.status_code == HTTPStatus.NOT_FOUND
    assert things.unchanged()


def test_page_of_a_draft_of_another_person_is_not_found(
    things: Things, as_other_rep: DeskClient, as_viewer: DeskClient, as_lead: DeskClient
) -> None:
    for client in (as_other_rep, as_viewer, as_lead):
        client.page(f"/refunds/{things.draft.reference}/", HTTPStatus.NOT_FOUND)


def test_page_of_the_own_draft_leads_to_its_step(things: Things, as_rep: DeskClient) -> None:
    response = as_rep.get(f"/refunds/{things.draft.reference}/")
    assert response.headers["Location"] == f"/refunds/{things.draft.reference}/option/"


def test_confirm_page_of_another_reps_refund_is_not_found(
    things: Things, as_other_rep: DeskClient
) -> None:
    as_other_rep.page(f"/refunds/{things.refund.reference}/confirm/", HTTPStatus.NOT_FOUND)
    as_other_rep.page(f"/refunds/{things.refund.reference}/")


# -- what is not there -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "/orders/99999999/",
        "/orders/%00/",
        "/orders/%F0%9F%92%B8/",
        "/orders/99999999/refunds/",
        "/orders/99999999/close-out/",
        "/orders/99999999/close-out/1/",
        "/orders/99999999/close-out/99999999999999999999999/",
        "/refunds/R-0000-0000/",
        "/refunds/R-0000-0000/option/",
        "/refunds/R-0000-0000/review/",
        "/refunds/R-0000-0000/confirm/",
        "/refunds/R-0000/",
        "/refunds/1/",
    ],
)
def test_what_is_not_there_is_not_found(desk: Desk, as_rep: DeskClient, address: str) -> None:
    page = as_rep.page(address, HTTPStatus.NOT_FOUND)
    assert "There is no such page" in page.text


@pytest.mark.parametrize(
    "address",
    [
        "/orders/99999999/refresh/",
        "/orders/99999999/refunds/create/",
        "/orders/99999999/close-out/",
        "/orders/99999999/close-out/1/check/",
        "/orders/99999999/close-out/1/cancel/",
        *(
            f"/refunds/R-0000-0000/{step}/"
            for step in ("option", "total", "review", "discard", "check", "retry", "cancel")
        ),
    ],
)
def test_post_to_what_is_not_there_is_not_found(
    desk: Desk, as_rep: DeskClient, address: str
) -> None:
    assert as_rep.post(address).status_code == HTTPStatus.NOT_FOUND


# -- a session that ended --------------------------------------------------------------------------


def test_submit_after_the_session_ended_leads_to_sign_in_and_sends_nothing(
    things: Things, as_rep: DeskClient, desk: Desk
) -> None:
    address = things.address(STEPS["draft-review"])
    seen = as_rep.page(address).values("Submit refund of USD 5.00")
    before = len(desk.client.list_refunds(order_id=things.order.digital_river_id))
    as_rep.logout()
    response = as_rep.post(address, seen)
    assert response.headers["Location"] == f"/accounts/login/?next={address}"
    assert things.unchanged()
    assert len(desk.client.list_refunds(order_id=things.order.digital_river_id)) == before == 1


def test_sign_in_again_leads_back_to_the_draft(things: Things) -> None:
    address = things.address(STEPS["draft-review"])
    response = Client().post(
        f"/accounts/login/?next={address}",
        {"username": "rep", "password": "a-password-for-tests", "next": address},
    )
    assert response.headers["Location"] == address
