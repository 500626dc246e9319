"""Keeps the demo away from real money and real people: each of its functions asks here first.

DemoRefusedError    the demo may not run here; ``str()`` is one sentence that says why
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from sandbox.guard import refuse_beside_live_settings


class DemoRefusedError(Exception):
    """The demo may not run here."""


def refuse_beside_live_key() -> None:
    """Raise ``DemoRefusedError`` beside a live key, and where made-up orders were not allowed."""
    if settings.SANDBOX_REFUSAL:
        raise DemoRefusedError(settings.SANDBOX_REFUSAL)
    try:
        # Stricter: any key that is not plainly a test key counts as a live one.
        refuse_beside_live_settings()
    except ImproperlyConfigured as error:
        raise DemoRefusedError(str(error)) from error
