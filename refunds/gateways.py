"""Builds the clients of the outside world from the settings, one per process."""

from functools import lru_cache

import httpx
from django.conf import settings
from django.utils.module_loading import import_string

from refunds.digitalriver.client import DigitalRiverClient

#: Names the desk to Digital River's support, as ``upstream-application-id``.
APPLICATION_ID = "refund-desk/1.0"
#: The stand-in inside this process has no address; requests need one all the same.
_IN_PROCESS_ADDRESS = "http://sandbox.invalid"


@lru_cache(maxsize=1)
def digital_river() -> DigitalRiverClient:
    """Return the client for Digital River, or for the stand-in where the settings name it."""
    transport: httpx.BaseTransport | None = None
    if settings.DIGITALRIVER_TRANSPORT:
        transport = import_string(settings.DIGITALRIVER_TRANSPORT)()
    return DigitalRiverClient(
        base_url=settings.DIGITALRIVER_API_URL or _IN_PROCESS_ADDRESS,
        api_key=settings.DIGITALRIVER_API_KEY,
        version=settings.DIGITALRIVER_VERSION,
        timeout=settings.DIGITALRIVER_TIMEOUT,
        application_id=APPLICATION_ID,
        transport=transport,
    )


def dashboard_order_address(digital_river_id: str) -> str:
    """Return the address of an order in Digital River's Dashboard.

    https://docs.digitalriver.com/digital-river-api/administration/dashboard/order-management/orders
    """
    return f"{settings.DIGITALRIVER_DASHBOARD_URL}/orderdetails?id={digital_river_id}"
