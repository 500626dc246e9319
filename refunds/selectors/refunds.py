"""What the pages of refunds show."""

from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from refunds.models import HistoryEntry, Order, Refund, RefundLine, RefundReason, SalesforceTask
from refunds.permissions import may_approve
from refunds.search_keys import search_key
from refunds.selectors.paging import Page, found_page, newest_page

#: How many refunds a page that is not about them shows before it leads to the list.
REFUNDS_SHOWN = 25
#: Orders of one buyer that are looked at for earlier refunds.
BUYERS_ORDERS = 50


def refunds_page(refunds: QuerySet[Refund], *, search: str = "", after: str = "") -> Page[Refund]:
    """Return a page of submitted refunds, newest first; of those a search finds, by the match.

    ``search`` is a prefix of the reference (with or without its letter and dashes), of Digital
    River's refund id, or of the order number.
    """
    refunds = refunds.filter(submitted_at__isnull=False).select_related(
        "order", "created_by", "reason"
    )
    prefix = search_key(search)
    if not prefix:
        return newest_page(refunds, "submitted_at", after)
    digits = "".join(mark for mark in prefix.removeprefix("r") if mark not in "- ")
    if prefix.startswith("r-") and digits.isdigit():
        return found_page(refunds, ("reference_key",), "submitted_at", digits, after)
    return found_page(
        refunds,
        ("reference_key", "digital_river_key", "order__number_key"),
        "submitted_at",
        digits if digits.isdigit() else prefix,
        after,
    )


def drafts_of(user: User) -> list[Refund]:
    """Return the person's open drafts, latest first; a handful, since drafts expire."""
    return list(
        Refund.objects.filter(
            created_by=user,
            state=Refund.State.DRAFT,
            draft_expires_at__gt=timezone.now(),
            close_out=None,
        )
        .select_related("order")
        .order_by("-updated_at")[:REFUNDS_SHOWN]
    )


def refund_by_reference(reference: str) -> Refund:
    """Return a submitted refund with all its page shows. Raises ``Refund.DoesNotExist``."""
    return (
        Refund.objects.select_related("order", "created_by", "reason", "relinked_to")
        .prefetch_related(
            "credit_memos",
            Prefetch("lines", RefundLine.objects.select_related("order_line")),
            "attempts",
            Prefetch("history", HistoryEntry.objects.select_related("actor")),
        )
        .get(reference=reference, submitted_at__isnull=False)
    )


def refund_paying_instead(refund: Refund) -> Refund | None:
    """Return the refund that pays the customer although this one came to nothing, if there is one.

    It stands for an earlier attempt that Digital River took after all.
    """
    if refund.state in Refund.HOLDING or refund.state == Refund.State.SUCCEEDED:
        return None
    return refund.paying_instead().order_by("pk").first()


def refund_perhaps_elsewhere(refund: Refund) -> Refund | None:
    """Return the refund made elsewhere that one that counts as not sent may be, if there is one."""
    if refund.state != Refund.State.NOT_SENT:
        return None
    return refund.perhaps_elsewhere().order_by("pk").first()


def refund_to_act_on(reference: str) -> Refund:
    """Return a submitted refund with its order alone. Raises ``Refund.DoesNotExist``."""
    return Refund.objects.select_related("order").get(
        reference=reference, submitted_at__isnull=False
    )


def salesforce_tasks_of(refund: Refund, user: User) -> list[SalesforceTask]:
    """Return what was told to Salesforce of a refund, oldest first; it is for leads alone."""
    if not may_approve(user):
        return []
    return list(SalesforceTask.objects.filter(refund=refund).order_by("pk"))


def draft_by_reference(reference: str, user: User) -> Refund:
    """Return the person's own draft, or the refund it became.

    Another person's is not told from one that does not exist, nor is one that a close-out has
    written and will send. Raises ``Refund.DoesNotExist``.
    """
    return (
        Refund.objects.select_related("order", "reason")
        .prefetch_related("lines")
        .exclude(state=Refund.State.DRAFT, close_out__isnull=False)
        .get(reference=reference, created_by=user, origin=Refund.Origin.DESK)
    )


def earlier_refunds_of_buyer(order: Order) -> list[Refund]:
    """Return the latest refunds of the buyer's other orders (by email), newest first.

    Of a buyer with a great many orders only the newest ``BUYERS_ORDERS`` are looked at, so that
    the review of a refund takes no longer for them.
    """
    if not order.email_key:
        return []
    orders = Order.objects.filter(email_key=order.email_key).exclude(pk=order.pk)
    newest = orders.order_by("-ordered_at", "-id").values("pk")[:BUYERS_ORDERS]
    refunds = Refund.objects.order_by("-submitted_at", "-id")
    latest = refunds.filter(order__in=newest, submitted_at__isnull=False).values("pk")[:5]
    # Which ones first, and their orders after that: together PostgreSQL joins all of both.
    return list(refunds.filter(pk__in=latest).select_related("order", "created_by"))


def reasons() -> list[RefundReason]:
    """Return the reasons offered for new refunds."""
    return list(RefundReason.objects.filter(active=True))


def flagged_refunds_exist() -> bool:
    """Tell whether any refund waits for a lead to look into it."""
    return Refund.objects.exclude(flag="").exists()
