"""What the stand-in's organisation looks like, and how it is told otherwise.

A shape is kept in the state file, so that every process that serves the file has the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sandbox.salesforce.planted import Bad

CONSUMER_KEY = "stand-in-consumer-key"
CONSUMER_SECRET = "stand-in-consumer-secret"  # noqa: S105 -- a word that everybody may know
NAMESPACE = "digitalriverv3"
INTEGRATION_USER = "integration@refund-desk.example"


@dataclass(frozen=True, slots=True)
class Shape:
    """An organisation.

    `namespace` is the prefix of Digital River's package, empty in the organisation that develops
    it; without `has_package` its fields and objects do not exist at all; `has_currency` says
    whether multiple currencies are on. `orders` is how many orders are generated besides those of
    the shop, `seed` what they are made from, `planted` which of them are bad and how, by their
    place from 0.

    `taken` names rights that the integration user lacks: "Order" for an object,
    "Order.TotalAmount" for a field, "Task:create" and "Task.WhatId:create" for making records.

    `job_seconds` is how long a bulk job takes, `token_seconds` how long a session lasts,
    `daily_calls` how many requests a day has. `consumer_key`, `consumer_secret` and `public_key`
    (PEM) are the connected app's; `approved` are the users it is approved for.
    """

    namespace: str = NAMESPACE
    has_currency: bool = True
    has_package: bool = True
    orders: int = 0
    seed: int = 19_940_214
    planted: Mapping[int, Bad] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    job_seconds: float = 0.0
    token_seconds: int = 7_200
    daily_calls: int = 1_000_000
    consumer_key: str = CONSUMER_KEY
    consumer_secret: str = CONSUMER_SECRET
    public_key: str = ""
    approved: frozenset[str] = frozenset((INTEGRATION_USER,))

    @property
    def prefix(self) -> str:
        """What comes before the package's names."""
        return f"{self.namespace}__" if self.namespace else ""

    def lacks(self, right: str) -> bool:
        """Tell whether a right was taken away."""
        return right in self.taken

    def to_json(self) -> dict[str, Any]:
        """Return the shape as the state file keeps it."""
        written = asdict(self)
        return {
            **written,
            "planted": {str(number): kind.value for number, kind in self.planted.items()},
            "taken": sorted(self.taken),
            "approved": sorted(self.approved),
            "job_seconds": str(self.job_seconds),
        }


def shape_from_json(body: Mapping[str, Any]) -> Shape:
    """Return the shape that the state file keeps."""
    return Shape(
        **{
            **body,
            "planted": {int(number): Bad(kind) for number, kind in body["planted"].items()},
            "taken": frozenset(body["taken"]),
            "approved": frozenset(body["approved"]),
            "job_seconds": float(body["job_seconds"]),
        }
    )
