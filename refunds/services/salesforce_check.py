"""Looks at Salesforce field by field: what is reachable, and what the integration user lacks.

It reads only, counts no orders, and asks as the desk itself does, so that what it finds in order
works. What is lacking is a finding; only what keeps it from looking at all is raised.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.conf import settings
from django.utils import timezone

from refunds import gateways
from refunds.salesforce import queries
from refunds.salesforce.client import Description, SalesforceClient
from refunds.salesforce.errors import (
    FieldMissing,
    LimitNearlyUsed,
    QueryRefused,
    RightMissing,
)
from refunds.salesforce.signing_in import clocks_apart
from refunds.services import salesforce_needs as needs

#: Clocks further apart than this make the mirror's times doubtful, and a JWT may be refused.
CLOCKS_APART: Final = timedelta(seconds=60)
#: Salesforce tells the time in whole seconds, and an answer takes some.
_NO_DIFFERENCE: Final = timedelta(seconds=3)
#: What can be mended in Salesforce or in the settings; anything else ends the look.
_LACKING: Final = (FieldMissing, RightMissing, QueryRefused)


class Verdict(StrEnum):
    """What was found of one thing."""

    FINE = "ok"
    LACKING = "lacking"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``sentence`` tells what it is for, or what to do."""

    verdict: Verdict
    name: str
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What was found of one object, or of one other thing."""

    title: str
    findings: tuple[Finding, ...]


def salesforce_check(
    *, client: SalesforceClient | None = None, clock: Callable[[], datetime] = timezone.now
) -> Iterator[Section]:
    """Look at everything the desk needs of Salesforce, section by section.

    Raises any ``SalesforceError`` that keeps it from looking: no sign-in, no answer, no calls
    left.
    """
    return _Look(client or gateways.salesforce(), clock).sections()


class _Look:
    """One look; each object is described once."""

    def __init__(self, client: SalesforceClient, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._described: dict[str, Description | None] = {}

    def sections(self) -> Iterator[Section]:
        order = self._describe("Order")
        fields = queries.Fields(
            namespace=settings.SALESFORCE_NAMESPACE,
            has_currency=order is not None and "CurrencyIsoCode" in order.fields,
        )
        yield self._connection()
        yield self._object("Order", self._named(fields, fields.of_orders(), needs.OF_ORDERS))
        yield self._object(
            "OrderItem",
            self._named(fields, fields.of_lines(), needs.OF_LINES),
            shown="Order Product",
        )
        yield Section("Package and currency", tuple(self._organisation(order, fields)))
        yield Section("Queries for orders", tuple(self._order_queries(fields)))
        yield self._object("PermissionSetAssignment", _as_named(needs.OF_ASSIGNMENTS))
        yield self._object("PermissionSetGroupComponent", _as_named(needs.OF_COMPONENTS))
        yield Section("Query for the permission set", (self._members(),))
        yield self._tasks()

    def _describe(self, sobject: str) -> Description | None:
        """Return the description, None for an object that the user may not see."""
        if sobject not in self._described:
            try:
                self._described[sobject] = self._client.describe(sobject)
            except RightMissing:
                self._described[sobject] = None
        return self._described[sobject]

    def _connection(self) -> Section:
        findings = [
            Finding(Verdict.FINE, "Sign-in", f"Salesforce took the desk's {_flow()}"),
            self._usage(),
            self._clocks(),
        ]
        return Section("Connection", tuple(findings))

    def _usage(self) -> Finding:
        usage = self._client.usage
        if usage is None:
            return Finding(Verdict.NOTE, "API calls", "Salesforce does not tell how many are used")
        used = f"{usage.used:,} of {usage.total:,} are used in the last 24 hours"
        try:
            self._client.require_calls_left()
        except LimitNearlyUsed:
            return Finding(
                Verdict.LACKING,
                "API calls",
                f"{used}: the desk leaves the rest to others. Find out who uses them in Setup, "
                "System Overview, or wait.",
            )
        return Finding(Verdict.FINE, "API calls", used)

    def _clocks(self) -> Finding:
        theirs, ours = self._client.server_time, self._clock()
        if theirs is None:
            return Finding(Verdict.NOTE, "Clock", "Salesforce does not tell the time")
        if abs(ours - theirs) <= _NO_DIFFERENCE:
            return Finding(Verdict.FINE, "Clock", "this server's clock agrees with Salesforce's")
        words = f"this server's clock is {clocks_apart(ours, theirs)}"
        if abs(ours - theirs) > CLOCKS_APART:
            return Finding(Verdict.LACKING, "Clock", f"{words}. Set the clock (NTP).")
        return Finding(Verdict.FINE, "Clock", words)

    def _object(
        self, sobject: str, wanted: Mapping[str, tuple[str, str]], *, shown: str = ""
    ) -> Section:
        """Look at an object and at each path of it: its label and what it is for."""
        title = f"{sobject} ({shown})" if shown else sobject
        seen = self._describe(sobject)
        if seen is None or not seen.may_query:
            return Section(title, (_unseen(sobject),))
        return Section(
            title,
            tuple(self._path(seen, path, label, use) for path, (label, use) in wanted.items()),
        )

    def _path(self, seen: Description, path: str, label: str, use: str) -> Finding:
        """Look at a field, or at one that a lookup leads to."""
        name = f"{path} ({label})" if label else path
        owner, _, leaf = path.rpartition(".")
        if not owner:
            return _field(path in seen.fields, name, use)
        sobject, lookup = needs.LOOKUPS[owner]
        if lookup not in seen.fields:
            return _lacking_field(f"{name} by {lookup}", use)
        beyond = self._describe(sobject)
        return _field(beyond is not None and leaf in beyond.fields, f"{name} on {sobject}", use)

    def _named(
        self, fields: queries.Fields, paths: tuple[str, ...], uses: Mapping[str, str]
    ) -> dict[str, tuple[str, str]]:
        """Return of each path its label in the package and what it is for."""
        labels = {**queries.ORDER_LABELS, **queries.LINE_LABELS}
        plain = {fields.custom(name): name for name in labels}
        named = {}
        for path in paths:
            name = plain.get(path, path)
            named[path] = (labels.get(name, ""), uses[name])
        return named

    def _organisation(self, order: Description | None, fields: queries.Fields) -> Iterator[Finding]:
        if order is None:
            return
        if fields.custom("DR_Order_Id__c") not in order.fields:
            yield Finding(Verdict.LACKING, "Package", _package_is_missing(order, fields))
        else:
            prefix = f"{fields.namespace}__" if fields.namespace else "no namespace"
            yield Finding(Verdict.FINE, "Package", f"its fields begin with {prefix}")
        currency = settings.SALESFORCE_CURRENCY
        if fields.has_currency:
            yield Finding(Verdict.FINE, "Currency", "each order names its own")
        elif currency:
            yield Finding(
                Verdict.FINE, "Currency", f"orders name none; SALESFORCE_CURRENCY is {currency}"
            )
        else:
            yield Finding(
                Verdict.LACKING,
                "Currency",
                "orders name none (CurrencyIsoCode), as without multiple currencies. Set "
                "SALESFORCE_CURRENCY to the organisation's, such as USD.",
            )

    def _order_queries(self, fields: queries.Fields) -> Iterator[Finding]:
        """Send what the mirror sends; only what changed in a day, for a count of all is costly."""
        since = (self._client.server_time or self._clock()) - timedelta(days=1)
        for name, soql in (
            ("Orders", queries.changed_orders(fields, since)),
            ("Order products", queries.changed_lines(fields, since)),
        ):
            yield self._query(name, soql, "changed in the last 24 hours")
        for name, sobject in (("Deleted orders", "Order"), ("Deleted order products", "OrderItem")):
            soql = queries.deleted(sobject, since)
            yield self._query(name, soql, "deleted in the last 24 hours", deleted=True)

    def _members(self) -> Finding:
        """Send what the sync of the permission set sends."""
        name = queries.PERMISSION_SET
        try:
            groups = [
                str(record.get("PermissionSetGroupId"))
                for record in self._client.query(queries.refund_groups())
            ]
        except _LACKING as error:
            return Finding(Verdict.LACKING, name, str(error))
        return self._query(name, queries.refund_members(groups), "assignments")

    def _query(self, name: str, soql: str, told: str, *, deleted: bool = False) -> Finding:
        try:
            page = self._client.query_page(soql, deleted=deleted)
        except _LACKING as error:
            return Finding(Verdict.LACKING, name, str(error))
        count = page.total if page.total is not None else len(page.records)
        return Finding(Verdict.FINE, name, f"{count:,} {told}")

    def _tasks(self) -> Section:
        if not settings.SALESFORCE_TASKS:
            return Section(
                "Task", (Finding(Verdict.NOTE, "Task", "is not needed: SALESFORCE_TASKS is off"),)
            )
        seen = self._describe("Task")
        if seen is None or not seen.may_query:
            return Section("Task", (_unseen("Task"),))
        if not seen.may_create:
            return Section(
                "Task",
                (
                    Finding(
                        Verdict.LACKING,
                        "Task",
                        "may not be made. Give the integration user Edit Tasks, or set "
                        "SALESFORCE_TASKS=0.",
                    ),
                ),
            )
        return Section(
            "Task",
            tuple(
                _field(name in seen.createable, name, use) for name, use in needs.OF_TASKS.items()
            ),
        )


def _flow() -> str:
    return "key and username (JWT)" if settings.SALESFORCE_PRIVATE_KEY else "client credentials"


def _as_named(uses: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {path: ("", use) for path, use in uses.items()}


def _field(is_there: bool, name: str, use: str) -> Finding:
    return Finding(Verdict.FINE, name, use) if is_there else _lacking_field(name, use)


def _lacking_field(name: str, use: str) -> Finding:
    return Finding(
        Verdict.LACKING,
        name,
        f"is not there, or not to be seen; it {use}. Give the integration user read access to it.",
    )


def _unseen(sobject: str) -> Finding:
    return Finding(
        Verdict.LACKING,
        sobject,
        "is not to be seen. Give the integration user Read on the object; for permission sets, "
        "View Setup and Configuration.",
    )


def _package_is_missing(order: Description, fields: queries.Fields) -> str:
    """Return why the package's fields are not there, as far as can be told."""
    ending = "__DR_Order_Id__c"
    others = sorted(name for name in order.fields if name.endswith(ending))
    if others:
        found = others[0].removesuffix(ending)
        return f"its fields begin with {found}__ here. Set SALESFORCE_NAMESPACE={found}."
    if "DR_Order_Id__c" in order.fields:
        return "its fields begin with no namespace here. Set SALESFORCE_NAMESPACE=none."
    return (
        f"{fields.custom('DR_Order_Id__c')} is not to be seen: install Digital River's package, "
        "give the integration user its “DigitalRiver Connector - Integration” permission set, or "
        "set SALESFORCE_NAMESPACE to the package's."
    )
