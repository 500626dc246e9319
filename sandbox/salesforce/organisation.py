"""The organisation: its state, and what tests and the demo do to it besides the wire.

Everything is kept in the state file of the Digital River stand-in, so that all processes that
serve the file see the same.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sandbox.moments import to_microseconds
from sandbox.orders import ShopOrder
from sandbox.salesforce.errors import SalesforceRefusal, no_such_record
from sandbox.salesforce.faults import Fault, parse_fault
from sandbox.salesforce.holdings import Holdings
from sandbox.salesforce.ids import record_id
from sandbox.salesforce.moments import SECOND, stamp_text
from sandbox.salesforce.objects import OBJECTS, SObject
from sandbox.salesforce.people import assignment, assignment_id, user, user_id
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.records import flat_order
from sandbox.salesforce.shape import Shape, shape_from_json
from sandbox.store import Sandbox
from sandbox.wire import dumps, loads

FIRST_MADE = 30_000_000_000
"""The number that the first record made here has; others' numbers lie below."""


class Organisation:
    """A Salesforce organisation over a stand-in's state file."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def now(self) -> datetime:
        """Return the present moment by the organisation's clock."""
        return self.sandbox.clock()

    # -- what it looks like -----------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """What the organisation looks like now."""
        kept = self.remembered("shape")
        return Shape() if kept is None else shape_from_json(loads(kept))

    def reshape(self, **changes: Any) -> Shape:
        """Change what it looks like; the fields are those of `Shape`."""
        shape = replace(self.shape, **changes)
        self.remember("shape", dumps(shape.to_json()))
        return shape

    def remembered(self, name: str) -> str | None:
        """Return a value that the state file keeps by name."""
        with self.sandbox.looking() as connection:
            return _remembered(connection, name)

    def remember(self, name: str, value: str) -> None:
        """Keep a value by name."""
        with self.sandbox.changing() as connection:
            _remember(connection, name, value)

    # -- sessions and calls -----------------------------------------------------------------

    def end_sessions(self) -> None:
        """End every session there is: their tokens are refused from now on."""
        with self.sandbox.changing() as connection:
            ended = int(_remembered(connection, "sessions") or 0) + 1
            _remember(connection, "sessions", str(ended))

    @property
    def sessions(self) -> int:
        """How often all sessions were ended; part of each token."""
        return int(self.remembered("sessions") or 0)

    @property
    def key(self) -> str:
        """What tokens are signed with; made up on first use."""
        kept = self.remembered("key")
        if kept is not None:
            return kept
        with self.sandbox.changing() as connection:
            kept = _remembered(connection, "key") or secrets.token_hex(16)
            _remember(connection, "key", kept)
        return kept

    def count_call(self) -> int:
        """Count a request and return how many this day has had."""
        today = self.now().date().isoformat()
        with self.sandbox.changing() as connection:
            day, _, used = (_remembered(connection, "calls") or "").partition(" ")
            calls = int(used) + 1 if day == today else 1
            _remember(connection, "calls", f"{today} {calls}")
        return calls

    @property
    def calls(self) -> int:
        """How many requests this day has had."""
        day, _, used = (self.remembered("calls") or "").partition(" ")
        return int(used) if day == self.now().date().isoformat() else 0

    def set_calls(self, used: int) -> None:
        """Say how many requests this day has had."""
        self.remember("calls", f"{self.now().date().isoformat()} {used}")

    # -- records ----------------------------------------------------------------------------

    def record(self, sobject: str, identifier: str) -> Texts:
        """Return a record with all its fields, deleted or not; raises SalesforceRefusal."""
        with self.sandbox.looking() as connection:
            return self._record(connection, OBJECTS[sobject], identifier)

    def find(self, sobject: str, key: str, value: str) -> list[Texts]:
        """Return the kept records, no generated ones, whose field has a value."""
        with self.sandbox.looking() as connection:
            listed = Holdings(connection, OBJECTS[sobject], self.shape).listed
            return [record for record in listed.values() if record.get(key) == value]

    def order_id(self, order_number: str) -> str:
        """Return the Salesforce id of a kept order; raises LookupError."""
        for order in self.find("Order", "OrderNumber", order_number):
            return order["Id"]
        raise LookupError(order_number)

    def tasks(self) -> list[Texts]:
        """Return the tasks that are not deleted, oldest first."""
        tasks = self.find("Task", "IsDeleted", "false")
        return sorted(tasks, key=lambda task: task["Id"])

    def create(self, sobject: str, fields: Mapping[str, str]) -> str:
        """Make a record from texts by field, and return its id."""
        known = OBJECTS[sobject]
        with self.sandbox.changing() as connection:
            (count,) = connection.execute("SELECT count(*) FROM salesforce_records").fetchone()
            identifier = fields.get("Id") or record_id(known.prefix, FIRST_MADE + count)
            now = self._second()
            made = {**dict.fromkeys(known.fields, ""), "CreatedDate": stamp_text(now)}
            self._keep(connection, known, identifier, {**made, **fields}, now)
        return identifier

    def change(self, sobject: str, identifier: str, fields: Mapping[str, str]) -> None:
        """Change a record's fields, given as texts; raises SalesforceRefusal where it is gone."""
        known = OBJECTS[sobject]
        prefix = self.shape.prefix
        plain = {name.removeprefix(prefix): text for name, text in fields.items()}
        with self.sandbox.changing() as connection:
            if self._record(connection, known, identifier)["IsDeleted"] == "true":
                raise _deleted()
            self._keep(connection, known, identifier, plain, self._second())

    def touch(self, sobject: str, identifier: str) -> None:
        """Give a record a new SystemModstamp and leave it as it is."""
        self.change(sobject, identifier, {})

    def delete(self, sobject: str, identifier: str) -> None:
        """Put a record in the recycle bin, an order with its order products."""
        self._bin(sobject, identifier, deleted=True)

    def undelete(self, sobject: str, identifier: str) -> None:
        """Take a record out of the recycle bin, an order with its order products."""
        self._bin(sobject, identifier, deleted=False)

    def put_order(self, order: ShopOrder) -> str:
        """Add an order to the shop, or put it in its number's place; it is changed just now."""
        self.sandbox.put_order(order)
        record, lines = flat_order(order.record)
        with self.sandbox.changing() as connection:
            now = self._second()
            for sobject, one in (("Order", record), *(("OrderItem", line) for line in lines)):
                connection.execute("DELETE FROM salesforce_records WHERE id = ?", (one["Id"],))
                self._keep(connection, OBJECTS[sobject], one["Id"], {}, now)
        return record["Id"]

    def _bin(self, sobject: str, identifier: str, *, deleted: bool) -> None:
        known = OBJECTS[sobject]
        with self.sandbox.changing() as connection:
            record = self._record(connection, known, identifier)
            if deleted and record["IsDeleted"] == "true":
                raise _deleted()
            now = self._second()
            self._keep(connection, known, identifier, {}, now, deleted=deleted)
            for child, key in known.children.values():
                for name in self._children(connection, OBJECTS[child], key, identifier):
                    self._keep(connection, OBJECTS[child], name, {}, now, deleted=deleted)

    def _children(
        self, connection: sqlite3.Connection, child: SObject, key: str, identifier: str
    ) -> Iterable[str]:
        holdings = Holdings(connection, child, self.shape)
        places = holdings.generated.places_with(key, identifier) or []
        generated = (holdings.generated.record(place) for place in places)
        kept = holdings.listed.values()
        return sorted({one["Id"] for one in (*kept, *generated) if one.get(key) == identifier})

    def _record(self, connection: sqlite3.Connection, sobject: SObject, identifier: str) -> Texts:
        found = Holdings(connection, sobject, self.shape).record(identifier)
        if found is None:
            raise no_such_record()
        return found

    def _second(self) -> int:
        return to_microseconds(self.now()) // SECOND * SECOND

    @staticmethod
    def _keep(
        connection: sqlite3.Connection,
        sobject: SObject,
        identifier: str,
        fields: Mapping[str, str],
        modified: int,
        *,
        deleted: bool = False,
    ) -> None:
        kept = connection.execute(
            "SELECT fields FROM salesforce_records WHERE id = ?", (identifier,)
        ).fetchone()
        together = {**(loads(kept[0]) if kept else {}), **fields}
        connection.execute(
            "INSERT OR REPLACE INTO salesforce_records VALUES (?, ?, ?, ?, ?)",
            (identifier, sobject.name, dumps(together), modified, deleted),
        )

    # -- people -----------------------------------------------------------------------------

    def add_user(self, name: str, full_name: str, *, email: str = "") -> str:
        """Add an active user, `name` being what stands before the @; return the id."""
        return self.create("User", user(name, full_name, email=email))

    def set_active(self, name: str, *, is_active: bool) -> None:
        """Let a user sign in to Salesforce, or no longer."""
        self.change("User", user_id(name), {"IsActive": "true" if is_active else "false"})

    def assign(self, name: str, *, in_group: bool = False, expires: str = "") -> None:
        """Give a user the permission set of refunds, or the group that has it."""
        given = {**assignment(name, in_group=in_group), "ExpirationDate": expires}
        self.create("PermissionSetAssignment", given)

    def unassign(self, name: str, *, in_group: bool = False) -> None:
        """Take the permission set, or the group, from a user."""
        self.delete("PermissionSetAssignment", assignment_id(name, in_group=in_group))

    # -- faults -----------------------------------------------------------------------------

    def queue_fault(self, fault: Fault) -> None:
        """Let the next matching requests, of any process, go wrong."""
        with self.sandbox.changing() as connection:
            connection.execute(
                "INSERT INTO salesforce_faults (body, skipped, remaining) VALUES (?, ?, ?)",
                (dumps(fault.to_json()), fault.skip, fault.times),
            )

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are still to come."""
        with self.sandbox.looking() as connection:
            found = connection.execute(
                "SELECT body, skipped, remaining FROM salesforce_faults ORDER BY number"
            )
            return [
                {**loads(body), "skip": skipped, "times": remaining}
                for body, skipped, remaining in found
            ]

    def clear_faults(self) -> None:
        """Forget every queued fault."""
        with self.sandbox.changing() as connection:
            connection.execute("DELETE FROM salesforce_faults")

    def take_faults(self, method: str, path: str) -> list[Fault]:
        """Return the faults for a request, and count them off."""
        if not self.faults():
            return []
        taken = []
        with self.sandbox.changing() as connection:
            found = connection.execute(
                "SELECT number, body, skipped FROM salesforce_faults ORDER BY number"
            )
            for number, body, skipped in found.fetchall():
                fault = parse_fault(loads(body))
                if not fault.matches(method, path):
                    continue
                column = "skipped" if skipped else "remaining"
                connection.execute(
                    f"UPDATE salesforce_faults SET {column} = {column} - 1"  # noqa: S608
                    " WHERE number = ?",
                    (number,),
                )
                if not skipped:
                    taken.append(fault)
            connection.execute("DELETE FROM salesforce_faults WHERE remaining <= 0")
        return taken


def _deleted() -> SalesforceRefusal:
    return SalesforceRefusal(404, "ENTITY_IS_DELETED", "entity is deleted", fields=[])


def _remembered(connection: sqlite3.Connection, name: str) -> str | None:
    found = connection.execute(
        "SELECT value FROM meta WHERE name = ?", (f"salesforce_{name}",)
    ).fetchone()
    return None if found is None else str(found[0])


def _remember(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"salesforce_{name}", value))
