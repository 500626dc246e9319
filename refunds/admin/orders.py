"""Orders and their lines."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from refunds.admin.columns import money_column
from refunds.admin.records import AnyAdmin, LookOnlyInline, RecordAdmin
from refunds.models import Order, OrderLine

if TYPE_CHECKING:
    OrderLines = admin.TabularInline[OrderLine, Order]
else:
    # Django's classes take no type arguments when they run.
    OrderLines = admin.TabularInline


class CurrencyFilter(admin.SimpleListFilter):
    """The currencies that orders have, each found by one step along their index."""

    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: AnyAdmin) -> list[tuple[str, str]]:
        """Return the currencies on offer."""
        return [(currency, currency) for currency in self._currencies()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the orders in the chosen currency."""
        return queryset.filter(currency=self.value()) if self.value() else queryset

    @staticmethod
    def _currencies() -> Iterator[str]:
        currencies = Order.objects.order_by("currency").values_list("currency", flat=True)
        currency = currencies.first()
        while currency is not None:
            yield currency
            currency = currencies.filter(currency__gt=currency).first()


_LINE_AMOUNTS = (
    money_column("product_amount", "product", of="order"),
    money_column("tax_amount", "tax", of="order"),
    money_column("fees_amount", "fees", of="order"),
    money_column("fee_tax_amount", "fee tax", of="order"),
    money_column("duty_amount", "importer duty", of="order"),
    money_column("importer_tax_amount", "importer tax", of="order"),
    money_column("available_amount", "available to refund", of="order"),
)


class OrderLineInline(LookOnlyInline, OrderLines):
    """An order's lines."""

    model = OrderLine
    ordering = ("position", "id")
    fields = readonly_fields = (
        "product_name",
        "sku",
        "state",
        "quantity",
        "fulfilled_quantity",
        "cancelled_quantity",
        *_LINE_AMOUNTS,
        "digital_river_id",
        "salesforce_id",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrderLine]:
        """Read the lines with their order, which knows their currency."""
        return super().get_queryset(request).select_related("order")


_TOTAL = money_column("total_amount", "total")
_LEFT = money_column("left_amount", "left to refund")
_ORDER_AMOUNTS = (
    _TOTAL,
    money_column("product_amount", "product"),
    money_column("tax_amount", "tax"),
    money_column("shipping_amount", "shipping"),
    money_column("shipping_tax_amount", "shipping tax"),
    money_column("duty_amount", "importer duty"),
    money_column("importer_tax_amount", "importer tax"),
    money_column("fees_amount", "fees"),
    money_column("fee_tax_amount", "fee tax"),
    money_column("captured_amount", "captured"),
    money_column("refunded_amount", "refunded"),
    money_column("available_amount", "available to refund"),
    _LEFT,
)


@admin.register(Order)
class OrderAdmin(RecordAdmin):
    """Orders as the mirror has them."""

    inlines = (OrderLineInline,)
    list_display = (
        "order_number",
        "account_name",
        "buyer_name",
        "state",
        _TOTAL,
        _LEFT,
        "ordered_at",
        "desk_page",
    )
    list_filter = ("state", CurrencyFilter, "refundable")
    search_fields = Order.SEARCH_KEYS
    readonly_fields = ("desk_page", *_ORDER_AMOUNTS)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "order_number",
                    "desk_page",
                    "account_name",
                    "buyer_name",
                    "buyer_email",
                    "ordered_at",
                )
            },
        ),
        ("Money", {"fields": ("currency", *_ORDER_AMOUNTS)}),
        (
            "Digital River",
            {
                "fields": (
                    "digital_river_id",
                    "state",
                    "payment",
                    "payment_type",
                    "fraud_state",
                    "payment_status",
                    "payment_failure_reason",
                    "capture_completed",
                    "refundable",
                    "refreshed_at",
                )
            },
        ),
        (
            "Salesforce",
            {
                "fields": (
                    "salesforce_id",
                    "salesforce_status",
                    "account_salesforce_id",
                    "salesforce_modified_at",
                    "salesforce_deleted_at",
                    "customer_type",
                    "selling_entity",
                    "has_landed_cost",
                )
            },
        ),
    )
