"""What all processes of the desk share about their calls and their rounds."""

from django.db import models


class CallPace(models.Model):
    """How fast Digital River may be called with one key, by every process together.

    ``next_at`` is when the next call is due if calls are spread evenly; ``held_until`` is what a
    429's ``Retry-After`` asked for.
    https://docs.digitalriver.com/digital-river-api/developer-resources/rate-limiting
    """

    #: A digest of the key; never the key itself.
    key = models.CharField(max_length=64, unique=True)
    next_at = models.DateTimeField()
    held_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"Calls with {self.key[:8]}"


class Watermark(models.Model):
    """Up to when something was done, so that the next round goes on from there."""

    name = models.CharField(max_length=40, unique=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} up to {self.at:%Y-%m-%d %H:%M:%S}"
