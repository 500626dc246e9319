"""People and groups: who is in the permission set, and where that comes from."""

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When
from django.http import HttpRequest

from refunds.admin.records import AnyAdmin
from refunds.models import Membership
from refunds.permissions import GROUP_NAME, LEADS_GROUP_NAME
from refunds.services.memberships import is_member, membership_set_by_hand

if TYPE_CHECKING:
    UserForm = forms.ModelForm[User]
    Users = UserAdmin[User]
else:
    # Django's classes take no type arguments when they run.
    UserForm = forms.ModelForm
    Users = UserAdmin

#: What marks where a place in the permission set comes from.
_FROM_SALESFORCE, _BY_HAND = "From Salesforce", "By hand"


class PermissionSetFilter(admin.SimpleListFilter):
    """Where people have their place in the permission set from."""

    title = "permission set"
    parameter_name = "permission_set"

    def lookups(self, request: HttpRequest, model_admin: AnyAdmin) -> list[tuple[str, str]]:
        """Return the ways there are."""
        return [("salesforce", _FROM_SALESFORCE), ("hand", _BY_HAND), ("none", "Not in it")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the people of the chosen way; each is marked with it."""
        chosen = self.value()
        return queryset.filter(in_permission_set=chosen) if chosen else queryset


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class DeskUserAdmin(Users):
    """People, marked with where their place in the permission set comes from.

    Putting somebody into its group here, or taking them out, goes into the place's history.
    """

    list_display = (
        "username",
        "permission_set_mark",
        "first_name",
        "last_name",
        "is_staff",
        "email",
    )
    list_filter = ("is_staff", "is_superuser", "is_active", "groups", PermissionSetFilter)
    readonly_fields = ("permission_set_mark",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Read with each person whether they are in the group, and where that comes from."""
        groups = User.groups.through.objects.filter(user=OuterRef("pk"), group__name=GROUP_NAME)
        theirs = Q(permission_set__active=True, permission_set__source=Membership.Source.SALESFORCE)
        way = Case(
            When(~Exists(groups), then=Value("none")),
            When(theirs, then=Value("salesforce")),
            default=Value("hand"),
        )
        people: QuerySet[User] = super().get_queryset(request)
        return people.annotate(in_permission_set=way)

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Show it on the page of a person who is there."""
        own = [("Permission set", {"fields": ("permission_set_mark",)})] if obj else []
        return [*super().get_fieldsets(request, obj), *own]

    @admin.display(description="permission set")
    def permission_set_mark(self, user: User) -> str:
        """Say where the person's place in the permission set comes from."""
        marks = {"salesforce": _FROM_SALESFORCE, "hand": _BY_HAND}
        return marks.get(getattr(user, "in_permission_set", ""), "–")

    def save_related(
        self, request: HttpRequest, form: UserForm, formsets: Any, change: bool
    ) -> None:
        """Write the groups, and record what that means for the permission set."""
        user = form.instance
        before = is_member(user)
        super().save_related(request, form, formsets, change)
        after = is_member(user)
        if after == before:
            return
        was_theirs = Membership.objects.filter(
            user=user, active=True, source=Membership.Source.SALESFORCE
        ).exists()
        membership_set_by_hand(user=user, is_member=after, by=cast("User", request.user))
        if was_theirs and not after:
            self.message_user(
                request,
                f"Salesforce gave {user} the permission set, and gives it again with the next "
                "round unless the person loses it there.",
                messages.WARNING,
            )


@admin.register(Group)
class DeskGroupAdmin(GroupAdmin):
    """Groups. The desk's own two keep their names and are not deleted: it goes by them."""

    def get_readonly_fields(
        self, request: HttpRequest, obj: Group | None = None
    ) -> tuple[str, ...]:
        """Let the names of the desk's own groups only be looked at."""
        return ("name",) if _is_own(obj) else ()

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        """Refuse to delete the desk's own groups, and with them everybody's place."""
        return not _is_own(obj) and super().has_delete_permission(request, obj)


def _is_own(group: Group | None) -> bool:
    return group is not None and group.name in {GROUP_NAME, LEADS_GROUP_NAME}
