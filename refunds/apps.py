"""The refund desk's domain as a Django app."""

from django.apps import AppConfig


class RefundsConfig(AppConfig):
    """Orders mirrored from Salesforce, refunds sent to Digital River."""

    name = "refunds"
    verbose_name = "Refund desk"
    default_auto_field = "django.db.models.BigAutoField"
