"""The people who have a permission set, read from PermissionSetAssignment records. Pure.

https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_permissionsetassignment.htm
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from refunds.salesforce.errors import UnreadableAnswer


@dataclass(frozen=True, slots=True)
class Member:
    """A Salesforce user who has the permission set; texts are empty where Salesforce has none."""

    id: str
    username: str
    email: str
    federation_id: str


def members(records: Iterable[Mapping[str, object]], *, at: datetime) -> list[Member]:
    """Return the people with an assignment that counts at this moment, each once.

    An assignment that has expired and one of an inactive user do not count. Raises
    ``UnreadableAnswer`` for a record that names nobody, or with a moment that is none.
    """
    found: dict[str, Member] = {}
    for record in records:
        assignee = record.get("Assignee")
        person = assignee if isinstance(assignee, Mapping) else {}
        member = Member(
            id=_text(record.get("AssigneeId")),
            username=_text(person.get("Username")),
            email=_text(person.get("Email")),
            federation_id=_text(person.get("FederationIdentifier")),
        )
        is_active = person.get("IsActive")
        if not (member.id and member.username and isinstance(is_active, bool)):
            raise UnreadableAnswer(
                "Salesforce named an assignment of the permission set without telling whose it "
                "is. Give the integration user the right “View Setup and Configuration”, so that "
                "it sees users."
            )
        if is_active and not _has_expired(record, at):
            found[member.id] = member
    return list(found.values())


def _has_expired(assignment: Mapping[str, object], at: datetime) -> bool:
    expiration = _text(assignment.get("ExpirationDate"))
    if not expiration:
        return False
    try:
        return datetime.fromisoformat(expiration) <= at
    except (TypeError, ValueError):
        raise UnreadableAnswer(
            "Salesforce told an end of an assignment of the permission set that is no moment."
        ) from None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
