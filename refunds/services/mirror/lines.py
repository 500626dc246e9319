"""A page of order products: each finds its order, then its line, or is set aside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from refunds.errors import RecordUnusable
from refunds.models import OrderLine, SyncRun
from refunds.salesforce.errors import SalesforceRecordError
from refunds.services.mirror.pages import NOT_OLDER, Loaded, differ
from refunds.services.mirror.records import LEFT_DEPENDS_ON, KnownLine, line_match, orders_recount
from refunds.services.mirror.rows import (
    LINE_AMOUNTS,
    LINE_COLUMNS,
    LINE_IDENTITY,
    LINE_UNTIL_READ,
    BadRecord,
    LineRows,
    Row,
    Value,
)
from refunds.services.mirror.setting_aside import (
    ITEM_FIELD,
    ITEM_ID_TAKEN,
    ORDER_ITEM,
    WITHOUT_ORDER,
    records_set_aside,
)
from refunds.services.mirror.tables import Tables, done, selected

_LINE_ORDER = LINE_COLUMNS.index("order_id")
_LINE_ID = LINE_COLUMNS.index("salesforce_id")
_ITEM_ID = LINE_COLUMNS.index("digital_river_id")
_LINE_MONEY = [LINE_COLUMNS.index(name) for name in LINE_AMOUNTS]


@dataclass(frozen=True, slots=True)
class _Owner:
    """An order whose lines come in, behind its lock."""

    pk: int
    currency: str
    is_read: bool


#: What names a line within an order: the order, Salesforce's id or Digital River's, and which.
_Key = tuple[Value, str, Value]


class LinePage:
    """A page of order products on its way into the mirror."""

    def __init__(self, found: LineRows, ways: Tables) -> None:
        self._ways = ways
        self._found = found
        self._bad: list[BadRecord] = []
        self._ids: set[str] = set()
        self._order_ids: dict[int, str] = {}

    def write(self, at: datetime, run: SyncRun | None) -> Loaded:
        """Write the page; see ``line_rows_load``."""
        owners = self._owners()
        self._order_ids = {owner.pk: identifier for identifier, owner in owners.items()}
        rows = self._rows(owners)
        is_read = {owner.pk: owner.is_read for owner in owners.values()}
        known = self._known(list(is_read))
        new, old = self._sorted_out(rows, known)
        if new:
            new = [_charged_nothing(row) if is_read[_order_of(row)] else row for row in new]
            self._ways.insert(OrderLine, LINE_COLUMNS, new)
        changed = 0
        if old:
            staged = [(pk, *row) for pk, row in old.items()]
            changed = self._change(staged, any_read=any(is_read.values()))
        good = [str(row[_LINE_ID]) for row in (*new, *old.values())]
        records_set_aside(ORDER_ITEM, good=good, bad=self._bad, at=at, run=run)
        return Loaded(
            read=len(self._found.order_ids),
            created=len(new),
            changed=changed,
            set_aside=len(self._bad),
            ids=frozenset(self._ids),
        )

    def _owners(self) -> dict[str, _Owner]:
        """Return the orders behind their locks, so that nobody reads their money meanwhile."""
        wanted = {each for each in self._found.order_ids if each}
        among, parameters = self._ways.among(list(wanted))
        return {
            str(identifier): _Owner(int(str(pk)), str(currency), bool(is_read))
            for pk, identifier, currency, is_read in selected(
                "SELECT id, salesforce_id, currency, refreshed_at IS NOT NULL FROM refunds_order "
                f"WHERE salesforce_id {among} {self._ways.LOCKED}",
                parameters,
            )
        }

    def _rows(self, owners: Mapping[str, _Owner]) -> dict[_Key, Row]:
        """Return the rows of all that can be mirrored, each once."""
        rows: dict[_Key, Row] = {}
        row_of, note = self._found.row, self._ids.add
        for place, order_id in enumerate(self._found.order_ids):
            owner = owners.get(order_id)
            if owner is None:
                self._leave_out(place, "OrderId", WITHOUT_ORDER)
                continue
            try:
                row = row_of(place, owner.pk, owner.currency)
            except SalesforceRecordError as error:
                self._leave_out(place, error.field, str(error))
            else:
                note(str(row[_LINE_ID]))
                rows[owner.pk, "Id", row[_LINE_ID]] = row
        return rows

    def _known(self, owners: Sequence[int]) -> dict[_Key, KnownLine]:
        """Return the lines that the mirror has of these orders, by both of their names."""
        among, parameters = self._ways.among(owners)
        known: dict[_Key, KnownLine] = {}
        for pk, order_id, salesforce_id, item_id in selected(
            "SELECT id, order_id, salesforce_id, digital_river_id FROM refunds_orderline "
            f"WHERE order_id {among}",
            parameters,
        ):
            line = KnownLine(int(str(pk)), str(salesforce_id), str(item_id))
            known[order_id, "Id", salesforce_id] = line
            known[order_id, "item", item_id] = line
        return known

    def _sorted_out(
        self, rows: Mapping[_Key, Row], known: Mapping[_Key, KnownLine]
    ) -> tuple[list[Row], dict[int, Row]]:
        """Return the new lines, and those the mirror has by their place in it."""
        new: list[Row] = []
        old: dict[int, Row] = {}
        items: set[_Key] = set()
        for key, row in rows.items():
            item = (key[0], "item", row[_ITEM_ID])
            line = known.get(key)
            if row[_ITEM_ID]:
                if item in items:
                    self._set_aside_item(row)
                    continue
                items.add(item)
                try:
                    line = line_match(line, known.get(item))
                except RecordUnusable:
                    self._set_aside_item(row)
                    continue
            if line is None:
                new.append(row)
            else:
                old[line.pk] = row
        return new, old

    def _set_aside_item(self, row: Row) -> None:
        order_id = self._order_ids[_order_of(row)]
        self._bad.append(BadRecord(str(row[_LINE_ID]), ITEM_FIELD, ITEM_ID_TAKEN, order_id))

    def _leave_out(self, place: int, name: str, reason: str) -> None:
        identifier = self._found.record_id(place)
        order_id = self._found.order_ids[place]
        if identifier:
            self._ids.add(identifier)
        self._bad.append(BadRecord(identifier, name, reason, order_id))

    def _change(self, staged: Sequence[Row], *, any_read: bool) -> int:
        self._ways.stage("mirror_lines", OrderLine, ["id", *LINE_COLUMNS], staged)
        unlike = _left_depends(self._ways.DISTINCT)
        recount = [int(str(pk)) for (pk,) in selected(unlike)] if any_read else []
        changed = done(_update_lines(self._ways.DISTINCT))
        if recount:
            orders_recount(order_ids=recount)
        return changed


def _order_of(row: Row) -> int:
    return int(str(row[_LINE_ORDER]))


def _charged_nothing(row: Row) -> Row:
    """Return the row of a line that Digital River, which was read, did not name."""
    values = list(row)
    for place in _LINE_MONEY:
        values[place] = 0
    return tuple(values)


def _left_depends(distinct: str) -> str:
    return (
        "SELECT DISTINCT kept.order_id "
        "FROM mirror_lines AS told, refunds_orderline AS kept, refunds_order AS owner "
        "WHERE kept.id = told.id AND owner.id = told.order_id "
        f"AND owner.refreshed_at IS NOT NULL AND {NOT_OLDER} "
        f"AND {differ(LEFT_DEPENDS_ON, distinct)}"
    )


def _update_lines(distinct: str) -> str:
    identity = [name for name in LINE_IDENTITY if name not in ("order_id", "digital_river_id")]
    changes = [
        *(f"{name} = told.{name}" for name in identity),
        (
            "digital_river_id = CASE WHEN told.digital_river_id = '' "
            "THEN kept.digital_river_id ELSE told.digital_river_id END"
        ),
        *(
            f"{name} = CASE WHEN owner.refreshed_at IS NULL THEN told.{name} ELSE kept.{name} END"
            for name in LINE_UNTIL_READ
        ),
    ]
    return f"""
        UPDATE refunds_orderline AS kept SET {", ".join(changes)}
        FROM mirror_lines AS told, refunds_order AS owner
        WHERE kept.id = told.id AND owner.id = told.order_id AND {NOT_OLDER}
        AND (
            {differ(identity, distinct)}
            OR (told.digital_river_id <> '' AND {differ(["digital_river_id"], distinct)})
            OR (owner.refreshed_at IS NULL AND {differ(LINE_UNTIL_READ, distinct)})
        )
    """
