"""A system check: production must not be wired to the stand-in by mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from sandbox.guard import refuse_beside_live_settings


def check_transport(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """Report settings that would speak to the stand-in where it must not run.

    Only where the desk is set to the in-process stand-in; to have the app installed is no error.
    """
    return _refused_beside("DIGITALRIVER_TRANSPORT", "sandbox.E001")


def check_salesforce_transport(
    app_configs: Sequence[AppConfig] | None = None, **options: Any
) -> list[CheckMessage]:
    """Report the same of the Salesforce stand-in."""
    return _refused_beside("SALESFORCE_TRANSPORT", "sandbox.E002")


def _refused_beside(setting: str, identifier: str) -> list[CheckMessage]:
    transport = str(getattr(settings, setting, "") or "")
    if not transport.startswith("sandbox."):
        return []
    try:
        refuse_beside_live_settings()
    except ImproperlyConfigured as error:
        return [Error(str(error), id=identifier)]
    return []
