"""The permission set **DigitalRiver Connector – Refunds** as a Django group; who may do what."""

from django.contrib.auth.models import AnonymousUser, User

from refunds.errors import PermissionMissing

#: The group that stands in for the Salesforce permission set of the same name.
GROUP_NAME = "DigitalRiver Connector – Refunds"
#: The group of those who look into flagged refunds.
LEADS_GROUP_NAME = "Refund leads"

ISSUE = "refunds.issue_refund"
APPROVE = "refunds.approve_refund"


def may_issue(user: User | AnonymousUser) -> bool:
    """Tell whether the person is in the permission set."""
    return user.has_perm(ISSUE)


def require_issue(user: User | AnonymousUser) -> None:
    """Raise ``PermissionMissing`` unless the person may issue refunds."""
    if not may_issue(user):
        raise PermissionMissing(
            f"You need the permission set “{GROUP_NAME}” to make refunds. Ask your Salesforce "
            "administrator to add you."
        )


def may_approve(user: User | AnonymousUser) -> bool:
    """Tell whether the person looks into what is flagged and what differs."""
    return user.has_perm(APPROVE)


def require_approve(user: User | AnonymousUser) -> None:
    """Raise ``PermissionMissing`` unless the person is a lead."""
    if not may_approve(user):
        raise PermissionMissing(
            f"Only people in the group “{LEADS_GROUP_NAME}” can do this. Ask a lead, or your "
            "administrator to add you."
        )
