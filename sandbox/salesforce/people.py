"""The organisation's users and who has the permission set of refunds.

They are the accounts of the demo by their addresses: `rep` and `rep2` have the permission set by
themselves, `lead` by a permission set group, `former` although inactive; `viewer` and `admin`
have none.
"""

from __future__ import annotations

from functools import cache

from sandbox.salesforce.ids import named_id
from sandbox.salesforce.moments import FOUNDED, moment_text
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.shape import INTEGRATION_USER

DOMAIN = "refund-desk.example"
PERMISSION_SET = "DigitalRiver_Connector_Refunds"
GROUP_SET = "Refund_Leads"
GROUP_ID = named_id("0PG", "Refund_Leads")
PERMISSION_SET_ID = named_id("0PS", PERMISSION_SET)
#: A permission set group has a permission set of its own, which adds its members' up.
GROUP_SET_ID = named_id("0PS", GROUP_SET)

_USERS = (
    ("rep", "Maya Lindqvist", True),
    ("rep2", "Daniel Okafor", True),
    ("lead", "Priya Raman", True),
    ("viewer", "Tom Becker", True),
    ("admin", "Elena Costa", True),
    ("former", "Ines Duarte", False),
)


def user_id(name: str) -> str:
    """Return the id of a user by the name before the @."""
    return named_id("005", name)


def assignment_id(name: str, *, in_group: bool = False) -> str:
    """Return the id of a user's assignment to the permission set, or to the group that has it."""
    return named_id("0Pa", f"{name} {GROUP_SET if in_group else PERMISSION_SET}")


def user(name: str, full_name: str, *, is_active: bool = True, email: str = "") -> Texts:
    """Return a user of the organisation."""
    address = email or f"{name}@{DOMAIN}"
    return {
        **_system(user_id(name)),
        "Username": f"{name}@{DOMAIN}.salesforce",
        "Name": full_name,
        "Email": address,
        "FederationIdentifier": f"fed-{name}",
        "IsActive": "true" if is_active else "false",
    }


def assignment(name: str, *, in_group: bool = False) -> Texts:
    """Return what gives a user the permission set, by itself or through the group."""
    return {
        **_system(assignment_id(name, in_group=in_group)),
        "AssigneeId": user_id(name),
        "PermissionSetId": GROUP_SET_ID if in_group else PERMISSION_SET_ID,
        "PermissionSetGroupId": GROUP_ID if in_group else "",
        "ExpirationDate": "",
    }


def _system(identifier: str) -> Texts:
    stamp = moment_text(FOUNDED)
    return {"Id": identifier, "IsDeleted": "false", "CreatedDate": stamp, "SystemModstamp": stamp}


@cache
def people() -> dict[str, list[Texts]]:
    """Return what the organisation starts with, by object."""
    integration = user("integration", "Refund desk integration")
    integration["Username"] = integration["Email"] = INTEGRATION_USER
    component = {
        **_system(named_id("0PH", GROUP_SET)),
        "PermissionSetId": PERMISSION_SET_ID,
        "PermissionSetGroupId": GROUP_ID,
    }
    return {
        "User": [
            *(user(name, full, is_active=is_active) for name, full, is_active in _USERS),
            integration,
        ],
        "PermissionSet": [
            {
                **_system(PERMISSION_SET_ID),
                "Name": PERMISSION_SET,
                "Label": "DigitalRiver Connector – Refunds",
            },
            {**_system(GROUP_SET_ID), "Name": GROUP_SET, "Label": "Refund leads"},
        ],
        "PermissionSetAssignment": [
            assignment("rep"),
            assignment("rep2"),
            assignment("lead", in_group=True),
            assignment("former"),
        ],
        "PermissionSetGroupComponent": [component],
    }
