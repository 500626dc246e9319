"""The signature that every delivered event carries, in the header `DigitalRiver-Signature`.

Digital River does not publish the format. This is the one its own cartridge for Salesforce B2C
Commerce verifies: `<timestamp>, <signature>`, the signature being the Base64 of the HMAC-SHA256
of timestamp, dot and raw body. Where a secret is being rotated there is one signature for each
active secret; that a second one follows after another comma is a guess.

https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/webhooks/digital-river-signature
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

from sandbox.moments import to_microseconds

HEADER = "DigitalRiver-Signature"


def sign(secret: str | Iterable[str], timestamp: int, body: bytes) -> str:
    """Return the header's value for a body that is sent at a timestamp.

    `secret` is the webhook's signing secret, or all of them while one replaces another. The
    timestamp is signed as the number it is, in seconds or milliseconds (see `timestamp_of`).
    Raises ValueError when there is no secret or an empty one.
    """
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not secrets or not all(secrets):
        raise ValueError("an event is signed with at least one secret, and none is empty")
    message = f"{timestamp}.".encode() + body
    return ", ".join([str(timestamp), *(_signature(each, message) for each in secrets)])


def timestamp_of(moment: datetime, *, milliseconds: bool = False) -> int:
    """Return the timestamp of a moment: seconds since 1970, or milliseconds.

    Which of the two Digital River sends is not known, so a receiver has to take either.
    """
    return to_microseconds(moment) // (1_000 if milliseconds else 1_000_000)


def _signature(secret: str, message: bytes) -> str:
    digest = hmac.new(secret.encode(), message, hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")
