"""The table that the floor of the webhook writes to."""

from django.db import models


class Taken(models.Model):
    """One body as it came, and nothing else."""

    body = models.TextField()
    at = models.DateTimeField()

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return f"{self.at}"
