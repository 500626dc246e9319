"""What the admins of records share: looked at only, capped, found by their keys."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html

from refunds.models import Refund
from refunds.search_keys import prefix_range, search_key

if TYPE_CHECKING:
    AnyAdmin = admin.ModelAdmin[Any]
    AnyPaginator = Paginator[Any]
else:
    # Django's classes take no type arguments when they run.
    AnyAdmin = admin.ModelAdmin
    AnyPaginator = Paginator

#: A list shows no more rows than this: older ones are found by searching and filtering.
MOST_ROWS = 1_000


class CappedPaginator(AnyPaginator):
    """Pages through the first rows only, so that a million of them are never counted."""

    @cached_property
    def count(self) -> int:
        """How many rows there are to page through, ``MOST_ROWS`` at most."""
        rows = cast("QuerySet[Model]", self.object_list)
        return rows.order_by().values("pk")[:MOST_ROWS].count()


class LookOnly:
    """No way to add, change or delete."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nothing is deleted here."""
        return False


class LookOnlyInline(LookOnly):
    """Rows of something, shown to whoever may see that thing."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Who opened the page may see its rows."""
        return True


class RecordAdmin(LookOnly, AnyAdmin):
    """A large table to look at: searched by its keys, never counted, linked to the desk's pages."""

    actions: Sequence[str] | None = None
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # Other columns have no index to sort by.
    sortable_by = ()
    search_help_text = (
        f"Finds what begins with these words. The list shows the newest {MOST_ROWS:,}: search for "
        "older ones."
    )

    def prefixes(self, prefix: str) -> Mapping[str, str]:
        """Return what each key column has to begin with."""
        return dict.fromkeys(self.search_fields, prefix)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows of which any key begins with the term, each key by its own index."""
        prefix = search_key(search_term)
        if not prefix or not self.search_fields:
            return queryset, False
        arms = []
        for key, text in self.prefixes(prefix).items():
            first, last = prefix_range(text)
            arm = queryset.filter(**{f"{key}__gte": first, f"{key}__lt": last}).order_by(key)
            nearest = self.model._default_manager.filter(pk__in=arm.values("pk")[:MOST_ROWS])
            arms.append(nearest.order_by().values("pk"))
        return queryset.filter(pk__in=arms[0].union(*arms[1:])), False

    def get_view_on_site_url(self, obj: Any = None) -> str | None:
        """Return the desk's page, if there is one; a draft's is only for the rep whose it is."""
        if not hasattr(obj, "get_absolute_url") or (isinstance(obj, Refund) and obj.is_draft):
            return None
        return str(obj.get_absolute_url())

    @admin.display(description="at the desk")
    def desk_page(self, row: Any) -> str:
        """Link to the row's page at the desk."""
        address = self.get_view_on_site_url(row)
        return format_html('<a href="{}">Open</a>', address) if address else "–"


class ByIdAdmin(RecordAdmin):
    """Records that are found by whole ids, as Digital River and the logs write them."""

    search_help_text = f"Finds a whole id. The list shows the newest {MOST_ROWS:,}."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find rows of which any id is the term, each id by its own index."""
        term = search_term.strip().replace("\x00", "")
        if not term:
            return queryset, False
        # The ids are few, so one condition for each needs no union.
        found = Q()
        for column in self.search_fields:
            found |= Q(**{str(column): term})
        return queryset.filter(found), False
