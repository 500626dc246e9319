"""The Django app of the stand-ins."""

from django.apps import AppConfig
from django.core.checks import register

from sandbox.checks import check_salesforce_transport, check_transport


class SandboxConfig(AppConfig):
    """Registers the checks that keep the stand-ins out of production."""

    name = "sandbox"
    verbose_name = "Digital River stand-in"

    def ready(self) -> None:
        """Register the system checks."""
        register(check_transport)
        register(check_salesforce_transport)
