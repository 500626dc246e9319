"""A page of orders: what is new, what differs, and what cannot be mirrored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from refunds.errors import RecordUnusable
from refunds.models import Order, SyncRun
from refunds.services.mirror.pages import NOT_OLDER, Loaded, differ
from refunds.services.mirror.records import order_change
from refunds.services.mirror.rows import (
    ORDER_COLUMNS,
    ORDER_IDENTITY,
    ORDER_UNTIL_READ,
    BadRecord,
    OrderRows,
    Row,
    values_of,
)
from refunds.services.mirror.setting_aside import (
    DIGITAL_RIVER_ID_TAKEN,
    NUMBER_TAKEN,
    ORDER,
    records_set_aside,
)
from refunds.services.mirror.tables import Tables, done, selected

_ID = ORDER_COLUMNS.index("salesforce_id")
_DIGITAL_RIVER_ID = ORDER_COLUMNS.index("digital_river_id")
_MODIFIED = ORDER_COLUMNS.index("salesforce_modified_at")
#: Of these, that of the record alone never takes the place of one that is known.
_KEPT_IF_KNOWN = ("digital_river_id", "digital_river_key")


@dataclass(frozen=True, slots=True)
class _Known:
    """An order as the mirror has it."""

    number: str
    digital_river_id: str


class OrderPage:
    """A page of orders on its way into the mirror."""

    def __init__(self, found: OrderRows, ways: Tables) -> None:
        self._ways = ways
        self._read = len(found.rows) + len(found.bad)
        self._bad = list(found.bad)
        self._rows = _newest_of_each(found.rows)
        self._ids = frozenset(
            [*self._rows, *(bad.salesforce_id for bad in found.bad if bad.salesforce_id)]
        )

    def write(self, at: datetime, run: SyncRun | None) -> Loaded:
        """Write the page; see ``order_rows_load``."""
        known = self._known()
        numbers = {identifier: each.number for identifier, each in known.items()}
        self._leave_out_taken("order_number", numbers, "OrderNumber", NUMBER_TAKEN)
        theirs = {identifier: each.digital_river_id for identifier, each in known.items()}
        self._leave_out_taken("digital_river_id", theirs, "DR_Order_Id__c", DIGITAL_RIVER_ID_TAKEN)
        new = [row for identifier, row in self._rows.items() if identifier not in known]
        old = [row for identifier, row in self._rows.items() if identifier in known]
        moved = [row for row in old if _names_another(row, known[str(row[_ID])])]
        changed = self._change(moved)
        if new:
            self._ways.insert(Order, ORDER_COLUMNS, new)
        if len(old) > len(moved):
            gone = {row[_ID] for row in moved}
            self._ways.stage(
                "mirror_orders", Order, ORDER_COLUMNS, [row for row in old if row[_ID] not in gone]
            )
            changed += done(_update_orders(self._ways.DISTINCT))
        records_set_aside(ORDER, good=self._rows, bad=self._bad, at=at, run=run)
        return Loaded(
            read=self._read,
            created=len(new),
            changed=changed,
            set_aside=len(self._bad),
            ids=self._ids,
        )

    def _known(self) -> dict[str, _Known]:
        among, parameters = self._ways.among(list(self._rows))
        return {
            str(identifier): _Known(str(number), str(digital_river_id))
            for identifier, number, digital_river_id in selected(
                "SELECT salesforce_id, order_number, digital_river_id FROM refunds_order "
                f"WHERE salesforce_id {among}",
                parameters,
            )
        }

    def _leave_out_taken(
        self, column: str, known: Mapping[str, str], name: str, reason: str
    ) -> None:
        """Set those aside that name what is another order's: in the mirror, or earlier on.

        ``known`` is what the mirror has in that column, by Salesforce id.
        """
        place = ORDER_COLUMNS.index(column)
        wanted = {
            row[place]: None
            for identifier, row in self._rows.items()
            if row[place] and row[place] != known.get(identifier)
        }
        if not wanted:
            return
        among, parameters = self._ways.among(list(wanted))
        # Said as the index says it that finds them.
        found = selected(
            f"SELECT {column}, salesforce_id FROM refunds_order "
            f"WHERE {column} {among} AND {column} <> ''",
            parameters,
        )
        owners = {row[0]: row[1] for row in found}
        for identifier, row in list(self._rows.items()):
            if row[place] in wanted and owners.setdefault(row[place], identifier) != identifier:
                del self._rows[identifier]
                self._bad.append(BadRecord(identifier, name, reason))

    def _change(self, moved: Iterable[Row]) -> int:
        """Take over orders that name another Digital River order than before, one by one."""
        changed = 0
        for row in moved:
            order = Order.objects.select_for_update().get(salesforce_id=row[_ID])
            try:
                changed += order_change(order=order, values=values_of(row, ORDER_COLUMNS))
            except RecordUnusable as error:
                identifier = str(row[_ID])
                del self._rows[identifier]
                self._bad.append(BadRecord(identifier, "DR_Order_Id__c", str(error)))
        return changed


def _newest_of_each(rows: Iterable[Row]) -> dict[str, Row]:
    newest: dict[str, Row] = {}
    for row in rows:
        identifier = str(row[_ID])
        earlier = newest.get(identifier)
        if earlier is None or str(row[_MODIFIED] or "") >= str(earlier[_MODIFIED] or ""):
            newest[identifier] = row
    return newest


def _names_another(row: Row, known: _Known) -> bool:
    told = row[_DIGITAL_RIVER_ID]
    return bool(told and known.digital_river_id and told != known.digital_river_id)


def _update_orders(distinct: str) -> str:
    identity = [name for name in ORDER_IDENTITY if name not in _KEPT_IF_KNOWN]
    changes = [
        *(f"{name} = told.{name}" for name in identity),
        *(
            f"{name} = CASE WHEN told.digital_river_id = '' THEN kept.{name} ELSE told.{name} END"
            for name in _KEPT_IF_KNOWN
        ),
        *(
            f"{name} = CASE WHEN kept.refreshed_at IS NULL THEN told.{name} ELSE kept.{name} END"
            for name in ORDER_UNTIL_READ
        ),
        "salesforce_deleted_at = NULL",
    ]
    return f"""
        UPDATE refunds_order AS kept SET {", ".join(changes)} FROM mirror_orders AS told
        WHERE kept.salesforce_id = told.salesforce_id AND {NOT_OLDER}
        AND (
            {differ(identity, distinct)}
            OR (told.digital_river_id <> '' AND {differ(_KEPT_IF_KNOWN, distinct)})
            OR (kept.refreshed_at IS NULL AND {differ(ORDER_UNTIL_READ, distinct)})
            OR kept.salesforce_deleted_at IS NOT NULL
        )
    """
