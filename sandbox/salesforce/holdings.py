"""The organisation's records, read from one snapshot of the state file.

Records come from the shop, from the people, from what was made or changed since (kept in the
file, and laid over the others), and from the generator, which keeps none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache

from sandbox.salesforce.generated import Generated
from sandbox.salesforce.moments import stamp_text
from sandbox.salesforce.objects import OBJECTS, SObject
from sandbox.salesforce.people import people
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.records import flat_order
from sandbox.salesforce.shape import Shape
from sandbox.wire import loads


@lru_cache(maxsize=20_000)
def _shop_order(record: str) -> tuple[Texts, tuple[Texts, ...]]:
    return flat_order(loads(record))


class Holdings:
    """One object's records. `listed` are those that are kept; the generated ones are computed."""

    def __init__(self, connection: sqlite3.Connection, sobject: SObject, shape: Shape) -> None:
        self._connection = connection
        self._shape = shape
        self.sobject = sobject
        self.generated = Generated(sobject.name, shape)

    @cached_property
    def _changes(self) -> dict[str, Texts]:
        """What was made or changed, by id, with the stamps that belong to it."""
        found = self._connection.execute(
            "SELECT id, fields, modified, deleted FROM salesforce_records WHERE sobject = ?",
            (self.sobject.name,),
        )
        return {
            identifier: {
                **loads(fields),
                "SystemModstamp": stamp_text(modified),
                "IsDeleted": "true" if deleted else "false",
            }
            for identifier, fields, modified, deleted in found
        }

    @cached_property
    def changed_places(self) -> dict[int, str]:
        """The generated records that were changed, by place, with their ids."""
        places = ((self.generated.place_of(identifier), identifier) for identifier in self._changes)
        return {place: identifier for place, identifier in places if place is not None}

    @cached_property
    def listed(self) -> Mapping[str, Texts]:
        """Every record that is not simply computed, by id."""
        records = {record["Id"]: record for record in self._given()}
        for place, identifier in self.changed_places.items():
            records[identifier] = self.generated.record(place)
        for identifier, change in self._changes.items():
            given = records.get(identifier, {})
            # What Digital River did since to an order of the shop is in the shop's record.
            stamp = max(change["SystemModstamp"], given.get("SystemModstamp", ""))
            records[identifier] = {**given, **change, "Id": identifier, "SystemModstamp": stamp}
        for name, (key, parent) in self.sobject.parents.items():
            if parent in OBJECTS:
                self._look_up(records, name, key, OBJECTS[parent])
        return records

    def _given(self) -> Iterable[Texts]:
        if self.sobject.name not in ("Order", "OrderItem"):
            return people().get(self.sobject.name, ())
        found = self._connection.execute("SELECT record FROM orders ORDER BY number")
        shop = (_shop_order(record) for (record,) in found)
        if self.sobject.name == "Order":
            return [order for order, _ in shop]
        return [line for _, lines in shop for line in lines]

    def _look_up(self, records: dict[str, Texts], name: str, key: str, parent: SObject) -> None:
        parents = Holdings(self._connection, parent, self._shape).listed
        for identifier, record in records.items():
            found = parents.get(record.get(key, ""), {})
            records[identifier] = record | {f"{name}.{at}": text for at, text in found.items()}

    def record(self, identifier: str) -> Texts | None:
        """Return one record, deleted or not; None where there is none."""
        place = self.generated.place_of(identifier)
        if place is not None and place not in self.changed_places:
            return self.generated.record(place)
        return self.listed.get(identifier)
