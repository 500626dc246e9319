"""What tests of the desk share: a clock that is set, orders of the shop, people."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import Group, User

from refunds.digitalriver.client import DigitalRiverClient
from refunds.models import Grounds, Order, Refund, RefundReason
from refunds.options import Seen, Selection
from refunds.permissions import GROUP_NAME, LEADS_GROUP_NAME
from refunds.salesforce.payloads import order_record
from refunds.selectors import order_position
from refunds.services.drafts import draft_choose, draft_create
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from refunds.services.refunds import refund_submit
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox


@dataclass
class SetClock:
    """Tells the time it was set to, to the desk and to the stand-in alike."""

    now: datetime = field(default_factory=lambda: datetime(2026, 11, 2, 9, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> datetime:
        """Move the time on by a ``timedelta``'s keywords and return it."""
        self.now += timedelta(**length)
        return self.now


@dataclass
class Desk:
    """The desk beside its stand-in, with the clock both go by."""

    sandbox: Sandbox
    client: DigitalRiverClient
    clock: SetClock

    def order(self, case: str) -> Order:
        """Mirror the shop's order of this case (see ``SHOWCASE``) and read its money."""
        record = self.sandbox.salesforce_record(SHOWCASE[case])
        order = order_mirror(record=order_record(record))
        order_refresh(order=order, clock=self.clock, client=self.client)
        order.refresh_from_db()
        return order

    def refresh(self, order: Order) -> Order:
        """Read the order's money again."""
        order_refresh(order=order, clock=self.clock, client=self.client)
        order.refresh_from_db()
        return order

    def draft(self, order: Order, user: User, selection: Selection) -> Refund:
        """Return a draft in which this was chosen."""
        draft = draft_create(order=order, user=user, clock=self.clock)
        grounds = Grounds(reason=RefundReason.objects.get(label="Requested by customer"))
        draft_choose(draft=draft, user=user, selection=selection, grounds=grounds, clock=self.clock)
        return Refund.objects.get(pk=draft.pk)

    def seen(self, draft: Refund, selection: Selection) -> Seen:
        """Return the figures the review page of this draft shows now."""
        quote = order_position(Order.objects.get(pk=draft.order_id)).quote(selection)
        return Seen(figures=quote.figures(), at=self.clock(), draft_changed_at=draft.updated_at)

    def submit(self, order: Order, user: User, selection: Selection) -> Refund:
        """Draft, review and submit; returns the refund as it then stands."""
        draft = self.draft(order, user, selection)
        return refund_submit(
            draft=draft,
            user=user,
            seen=self.seen(draft, selection),
            clock=self.clock,
            client=self.client,
        )


def person(username: str, *groups: str) -> User:
    """Return a user of this name in these groups, made on first use."""
    user, made = User.objects.get_or_create(
        username=username, defaults={"first_name": username.capitalize(), "last_name": "Tester"}
    )
    if made:
        user.set_password("a-password-for-tests")
        user.save()
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


def rep(username: str = "rep") -> User:
    """Return a person in the permission set."""
    return person(username, GROUP_NAME)


def lead(username: str = "lead") -> User:
    """Return a person in the permission set who also looks into flagged refunds."""
    return person(username, GROUP_NAME, LEADS_GROUP_NAME)
