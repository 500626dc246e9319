"""The mirror: orders and their lines, named by Salesforce, their money told by Digital River."""

from decimal import Decimal

from django.db import models
from django.db.models import ExpressionWrapper, F, Q
from django.urls import reverse

from refunds.models.fields import MoneyField, SearchKeyField
from refunds.options import REFUNDABLE_STATES

ZERO = Decimal(0)
_YES_OR_NO = models.BooleanField()
#: What Salesforce tells of an order before its money is read from Digital River.
_UNREAD_HOPE = Q(refreshed_at__isnull=True, state__in=sorted(REFUNDABLE_STATES)) & ~Q(
    digital_river_id=""
)


class Order(models.Model):
    """One Salesforce order.

    What it is comes from Salesforce; its state at Digital River and all its money come from
    Digital River once it was read there (``refreshed_at``). Amounts are in major units of
    ``currency``.
    """

    class State(models.TextChoices):
        """Digital River's order states, and the package's own for orders that never got there.

        https://docs.digitalriver.com/digital-river-api/order-management/orders/the-order-lifecycle
        """

        UNKNOWN = "", "Not known yet"
        PENDING_PAYMENT = "pending_payment", "Pending payment"
        IN_REVIEW = "in_review", "In review"
        ACCEPTED = "accepted", "Accepted"
        BLOCKED = "blocked", "Blocked"
        CANCELLED = "cancelled", "Cancelled"
        FULFILLED = "fulfilled", "Fulfilled"
        COMPLETE = "complete", "Complete"
        RETURNED = "returned", "Returned"
        DISPUTE = "dispute", "In dispute"
        SALESFORCE_FAILURE = "salesforce_failure", "Failed in Salesforce"
        CANCELLED_BY_SALESFORCE = "cancelled_by_sf", "Cancelled by Salesforce"
        CANCELLED_BY_DIGITAL_RIVER = "cancelled_by_dr", "Cancelled by Digital River"

    salesforce_id = models.CharField("Salesforce id", max_length=18, unique=True)
    order_number = models.CharField(max_length=60, unique=True)
    salesforce_status = models.CharField("Salesforce status", max_length=40, blank=True)
    account_salesforce_id = models.CharField("account's Salesforce id", max_length=18, blank=True)
    account_name = models.CharField("account", max_length=255, blank=True)
    buyer_name = models.CharField("buyer", max_length=255, blank=True)
    buyer_email = models.CharField("buyer's email", max_length=254, blank=True)
    ordered_at = models.DateTimeField()
    salesforce_modified_at = models.DateTimeField("modified in Salesforce", null=True, blank=True)
    fraud_state = models.CharField("Digital River fraud state", max_length=24, blank=True)
    payment_status = models.CharField("Digital River payment status", max_length=40, blank=True)
    payment_failure_reason = models.CharField(max_length=1000, blank=True)
    customer_type = models.CharField(max_length=24, blank=True)
    selling_entity = models.CharField(max_length=255, blank=True)
    has_landed_cost = models.BooleanField(default=False)
    #: Deleted there, and kept here because of its refunds.
    salesforce_deleted_at = models.DateTimeField("deleted in Salesforce", null=True, blank=True)

    digital_river_id = models.CharField("Digital River id", max_length=128, blank=True)
    state = models.CharField(
        "Digital River state", max_length=24, choices=State, blank=True, default=""
    )
    currency = models.CharField(max_length=3)
    total_amount = MoneyField(default=ZERO)
    product_amount = MoneyField("product", default=ZERO)
    tax_amount = MoneyField("tax", default=ZERO)
    shipping_amount = MoneyField("shipping", default=ZERO)
    shipping_tax_amount = MoneyField("shipping tax", default=ZERO)
    duty_amount = MoneyField("importer duty", default=ZERO)
    importer_tax_amount = MoneyField("importer tax", default=ZERO)
    fees_amount = MoneyField("fees", default=ZERO)
    fee_tax_amount = MoneyField("fee tax", default=ZERO)
    captured_amount = MoneyField("captured", default=ZERO)
    refunded_amount = MoneyField("refunded", default=ZERO)
    available_amount = MoneyField("available to refund", null=True, blank=True)
    capture_completed = models.BooleanField(default=False)
    payment = models.CharField("payment method", max_length=255, blank=True)
    payment_type = models.CharField(max_length=40, blank=True)
    refreshed_at = models.DateTimeField("read from Digital River", null=True, blank=True)

    # Worked out from the ledger whenever figures or refunds change, so that lists need no ledger.
    left_amount = MoneyField("left to refund", default=ZERO)
    refundable = models.BooleanField("can be refunded now", default=False)
    # An order that was never read may have money to give back: lists show it until it is opened.
    may_be_refunded = models.GeneratedField(
        expression=ExpressionWrapper(
            _UNREAD_HOPE | Q(refreshed_at__isnull=False, refundable=True), _YES_OR_NO
        ),
        output_field=_YES_OR_NO,
        db_persist=True,
    )
    may_have_left = models.GeneratedField(
        expression=ExpressionWrapper(_UNREAD_HOPE | Q(left_amount__gt=0), _YES_OR_NO),
        output_field=_YES_OR_NO,
        db_persist=True,
    )

    number_key = SearchKeyField()
    digital_river_key = SearchKeyField()
    salesforce_key = SearchKeyField()
    email_key = SearchKeyField()
    buyer_key = SearchKeyField()
    surname_key = SearchKeyField()
    account_key = SearchKeyField()

    #: The columns one search box looks into.
    SEARCH_KEYS = (
        "number_key",
        "digital_river_key",
        "salesforce_key",
        "email_key",
        "buyer_key",
        "surname_key",
        "account_key",
    )

    class Meta:
        ordering = ("-ordered_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=["digital_river_id"],
                condition=~Q(digital_river_id=""),
                name="order_digital_river_id_unique",
            ),
            models.CheckConstraint(
                condition=Q(total_amount__gte=0)
                & Q(captured_amount__gte=0)
                & Q(refunded_amount__gte=0)
                & Q(left_amount__gte=0),
                name="order_amounts_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(left_amount__lte=F("captured_amount")) | Q(left_amount=0),
                name="order_left_within_captured",
            ),
        )
        indexes = (
            models.Index(fields=["-ordered_at", "-id"], name="order_newest"),
            models.Index(fields=["state", "-ordered_at", "-id"], name="order_by_state"),
            models.Index(fields=["currency", "-ordered_at", "-id"], name="order_by_currency"),
            # What is rare in both is found without reading all that is in either.
            models.Index(fields=["state", "currency", "-ordered_at", "-id"], name="order_by_both"),
            models.Index(
                fields=["-ordered_at", "-id"],
                condition=Q(may_be_refunded=True),
                name="order_refundable",
            ),
            models.Index(
                fields=["-ordered_at", "-id"],
                condition=Q(may_have_left=True),
                name="order_something_left",
            ),
            models.Index(
                fields=["-ordered_at", "-id"],
                condition=Q(may_be_refunded=True, refreshed_at__isnull=True),
                name="order_never_read",
            ),
            models.Index(fields=["email_key", "-ordered_at", "-id"], name="order_email_key"),
            models.Index(fields=["buyer_key", "-ordered_at", "-id"], name="order_buyer_key"),
            models.Index(fields=["surname_key", "-ordered_at", "-id"], name="order_surname_key"),
            models.Index(fields=["account_key", "-ordered_at", "-id"], name="order_account_key"),
            models.Index(fields=["number_key", "-ordered_at", "-id"], name="order_number_key"),
            models.Index(
                fields=["digital_river_key", "-ordered_at", "-id"], name="order_digital_river_key"
            ),
            models.Index(
                fields=["salesforce_key", "-ordered_at", "-id"], name="order_salesforce_key"
            ),
        )

    def __str__(self) -> str:
        return f"Order {self.order_number}"

    def get_absolute_url(self) -> str:
        """Return the order's page."""
        return reverse("refunds:order", args=[self.order_number])

    @property
    def state_look(self) -> tuple[str, str]:
        """The state's colour and icon."""
        return _ORDER_LOOKS.get(self.state, ("neutral", "circle"))


_ORDER_LOOKS = {
    "pending_payment": ("waiting", "hourglass-split"),
    "in_review": ("waiting", "search"),
    "accepted": ("progress", "box-seam"),
    "blocked": ("bad", "slash-circle"),
    "cancelled": ("neutral", "x-circle"),
    "cancelled_by_sf": ("neutral", "x-circle"),
    "cancelled_by_dr": ("neutral", "x-circle"),
    "salesforce_failure": ("bad", "exclamation-octagon"),
    "fulfilled": ("good", "truck"),
    "complete": ("good", "check-circle"),
    "returned": ("neutral", "arrow-return-left"),
    "dispute": ("bad", "shield-exclamation"),
}


class OrderLine(models.Model):
    """One line of an order. Amounts are line totals, net of discounts, in the order's currency."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    salesforce_id = models.CharField("Salesforce id", max_length=18, blank=True)
    digital_river_id = models.CharField("Digital River item id", max_length=255, blank=True)
    product_name = models.CharField("product", max_length=255)
    sku = models.CharField("SKU", max_length=255, blank=True)
    part_number = models.CharField(max_length=255, blank=True)
    state = models.CharField("Digital River item state", max_length=24, blank=True)
    quantity = models.PositiveIntegerField()
    fulfilled_quantity = models.PositiveIntegerField("fulfilled", null=True, blank=True)
    cancelled_quantity = models.PositiveIntegerField("cancelled", default=0)
    open_quantity = models.PositiveIntegerField("open", null=True, blank=True)
    product_amount = MoneyField("product amount", default=ZERO)
    tax_amount = MoneyField("tax", default=ZERO)
    fees_amount = MoneyField("fees", default=ZERO)
    fee_tax_amount = MoneyField("fee tax", default=ZERO)
    duty_amount = MoneyField("importer duty", default=ZERO)
    importer_tax_amount = MoneyField("importer tax", default=ZERO)
    available_amount = MoneyField("available to refund", null=True, blank=True)
    salesforce_modified_at = models.DateTimeField("modified in Salesforce", null=True, blank=True)

    class Meta:
        ordering = ("order", "position")
        constraints = (
            models.UniqueConstraint(
                fields=["order", "digital_river_id"],
                condition=~Q(digital_river_id=""),
                name="order_line_digital_river_id_unique",
            ),
            models.UniqueConstraint(
                # The id first: deleted lines are looked up by it alone.
                fields=["salesforce_id", "order"],
                condition=~Q(salesforce_id=""),
                name="order_line_salesforce_id_unique",
            ),
        )

    def __str__(self) -> str:
        return self.product_name

    @property
    def key(self) -> str:
        """What the ledger calls the line: Digital River's item id, else Salesforce's."""
        return self.digital_river_id or self.salesforce_id
