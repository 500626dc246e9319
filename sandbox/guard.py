"""Keeps the stand-in away from real money: it never starts beside a live key."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

TEST_KEY = "sk_test_"


def refuse_beside_live_key(*, api_key: str, debug: bool, allow_sandbox: bool) -> None:
    """Raise ImproperlyConfigured unless the stand-in may run with these settings.

    Every key that is not plainly a test account's counts as a live one; no key at all is fine.
    """
    if api_key and not api_key.startswith(TEST_KEY):
        raise ImproperlyConfigured(
            "The Digital River stand-in does not start beside a live key. Set "
            f"DIGITALRIVER_API_KEY to a test key ({TEST_KEY}...), or set DIGITALRIVER_API_URL to "
            "the real service and leave the stand-in out."
        )
    if not debug and not allow_sandbox:
        raise ImproperlyConfigured(
            "The Digital River stand-in does not start while DEBUG is off. Set "
            "DIGITALRIVER_API_URL to the real service, or set ALLOW_SANDBOX=1 where it is meant "
            "to run."
        )


def refuse_beside_live_settings() -> None:
    """Raise ImproperlyConfigured unless Django's settings allow the stand-in."""
    refuse_beside_live_key(
        api_key=str(getattr(settings, "DIGITALRIVER_API_KEY", "") or ""),
        debug=bool(settings.DEBUG),
        allow_sandbox=bool(getattr(settings, "ALLOW_SANDBOX", False)),
    )
