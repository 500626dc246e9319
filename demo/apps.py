"""The demo app."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Registers the demo app with Django."""

    name = "demo"
    default_auto_field = "django.db.models.BigAutoField"
