"""Who sent an event: the signature that Digital River puts on each of its webhook requests.

    SignatureRefused
    ├── SignatureUnreadable     the header is missing, or is not a timestamp and signatures
    ├── SignatureUnmatched      no signature was made with an active secret
    └── SignatureStale          rightly signed, but too long ago or too far ahead

The header ``DigitalRiver-Signature`` reads ``<timestamp>, <signature>[, <signature>...]``, with
one signature for each secret while secrets change. A signature is the Base64 of HMAC-SHA256 over
``<timestamp>.`` and the raw body. Digital River does not publish that form: it is what its own
Salesforce Commerce Cloud cartridge checks, which leaves open whether the timestamp counts seconds
or milliseconds, so both are taken.

``str()`` of each error is a sentence for the log; none holds a secret, a signature or a body.

https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/webhooks/digital-river-signature
"""

import base64
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

#: The header's name.
HEADER: Final = "DigitalRiver-Signature"

_LONGEST_HEADER: Final = 2048
_MOST_SIGNATURES: Final = 10
#: Ten digits are seconds until the year 2286, thirteen are milliseconds.
_TIMESTAMP: Final = re.compile(r"[0-9]{1,13}")
#: A count this large is milliseconds: as seconds it would lie in the year 5138.
_SMALLEST_MILLISECONDS: Final = 10**11
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class SignatureRefused(Exception):
    """The request does not show that Digital River sent it now."""


class SignatureUnreadable(SignatureRefused):
    """The header is missing, or is not a timestamp and signatures."""


class SignatureUnmatched(SignatureRefused):
    """No signature was made with an active secret over this timestamp and this body."""


class SignatureStale(SignatureRefused):
    """Rightly signed, but at a time too far from now: replayed, held up, or a clock is wrong."""


def verify(
    header: str,
    body: bytes,
    *,
    secrets: Sequence[str],
    now: datetime,
    tolerance: timedelta,
) -> None:
    """Return if one of the signatures was made with one of the secrets, near enough to ``now``.

    ``body`` is what came over the wire, byte for byte. ``secrets`` are all that are active: the
    old one stays beside the new one until Digital River has retired it; an empty one counts for
    nothing. ``tolerance`` is how old the timestamp may be, and how far ahead of this clock.
    Raises a ``SignatureRefused`` for whatever the header holds.
    """
    timestamp, signatures = _read(header)
    active = [secret for secret in secrets if secret.strip()]
    if not active:
        raise SignatureUnmatched("No webhook secret is set, so no event can be told from a fake.")
    message = timestamp.encode() + b"." + body
    matched = False
    # Every pair is compared, so that the time taken tells nothing about which one matched.
    for secret in active:
        # As text: another writing of the same bytes in Base64 is not what was signed.
        expected = base64.b64encode(hmac.digest(secret.encode(), message, "sha256"))
        for signature in signatures:
            matched |= hmac.compare_digest(expected, signature.encode())
    if not matched:
        raise SignatureUnmatched("The event's signature was made with none of the active secrets.")
    _refuse_stale(int(timestamp), now, tolerance)


def _read(header: str) -> tuple[str, list[str]]:
    """Return the timestamp as it is written, and the signatures; neither is believed yet."""
    if not header:
        raise SignatureUnreadable(f"The request has no {HEADER} header.")
    if len(header) > _LONGEST_HEADER or not header.isascii():
        raise SignatureUnreadable(f"The {HEADER} header is too long, or not plain text.")
    timestamp, *signatures = (part.strip(" ") for part in header.split(","))
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureUnreadable(f"The {HEADER} header does not start with a timestamp.")
    if not 1 <= len(signatures) <= _MOST_SIGNATURES or not all(signatures):
        raise SignatureUnreadable(
            f"The {HEADER} header does not hold 1 to {_MOST_SIGNATURES} signatures."
        )
    return timestamp, signatures


def _refuse_stale(timestamp: int, now: datetime, tolerance: timedelta) -> None:
    # Whole numbers throughout: thirteen digits of seconds are no date that Python knows.
    unit = 1_000 if timestamp >= _SMALLEST_MILLISECONDS else 1_000_000
    age = (now - _EPOCH) // _MICROSECOND - timestamp * unit
    if abs(age) <= tolerance // _MICROSECOND:
        return
    direction = "old" if age > 0 else "ahead of this clock"
    raise SignatureStale(
        f"The event's timestamp is {abs(age) // 1_000_000} seconds {direction}, more than the "
        f"{tolerance.total_seconds():.0f} allowed. Check that the clock is right."
    )
