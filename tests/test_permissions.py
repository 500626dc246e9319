"""The permission set: who may issue refunds, and what those who may not are told."""

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User

from refunds.errors import PermissionMissing
from refunds.permissions import (
    APPROVE,
    GROUP_NAME,
    ISSUE,
    LEADS_GROUP_NAME,
    may_issue,
    require_issue,
)
from tests.desk import lead, person, rep

pytestmark = pytest.mark.django_db


def test_group_of_the_permission_set_may_issue_and_not_approve() -> None:
    group = Group.objects.get(name=GROUP_NAME)
    held = set(group.permissions.values_list("codename", flat=True))
    assert held == {"issue_refund", "view_order", "view_refund"}
    assert rep().has_perm(ISSUE)
    assert not rep().has_perm(APPROVE)


def test_leads_may_approve_and_issue_only_by_the_permission_set() -> None:
    assert lead().has_perm(APPROVE)
    assert may_issue(lead())
    only_lead = person("other", LEADS_GROUP_NAME)
    assert only_lead.has_perm(APPROVE)
    assert not may_issue(only_lead)


def test_may_issue_of_a_superuser_and_of_nobody() -> None:
    assert may_issue(User.objects.create_superuser("root"))
    assert not may_issue(AnonymousUser())
    assert not may_issue(person("viewer"))


def test_may_issue_of_somebody_who_left() -> None:
    user = rep()
    user.is_active = False
    assert not may_issue(user)


def test_require_issue_passes_a_rep() -> None:
    user = rep()
    require_issue(user)
    assert may_issue(user)


def test_require_issue_names_the_permission_set_and_whom_to_ask() -> None:
    with pytest.raises(PermissionMissing) as caught:
        require_issue(person("viewer"))
    assert GROUP_NAME in str(caught.value)
    assert "Ask your Salesforce administrator" in str(caught.value)
