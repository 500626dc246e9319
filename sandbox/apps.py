"""The Django app of the stand-ins."""

from django.apps import AppConfig
from django.core.checks import register

from sandbox.checks import check_transport


class SandboxConfig(AppConfig):
    """Registers the check that keeps the stand-in out of production."""

    name = "sandbox"
    verbose_name = "Digital River stand-in"

    def ready(self) -> None:
        """Register the system check."""
        register(check_transport)
