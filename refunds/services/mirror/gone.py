"""What is gone from Salesforce without a trace: deleted, and purged from its recycle bin.

A run of everything notes what it reads. What the mirror has besides, and did not get meanwhile,
is not there any more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from refunds.models import Order, OrderLine, SeenRecord, SyncRun
from refunds.services.mirror.deleting import lines_gone, orders_gone
from refunds.services.mirror.setting_aside import ORDER, ORDER_ITEM
from refunds.services.mirror.tables import done, selected, tables

#: So many are taken out in one transaction.
_AT_ONCE = 2_000
_TABLES = {ORDER: Order._meta.db_table, ORDER_ITEM: OrderLine._meta.db_table}


@dataclass(frozen=True, slots=True)
class Step:
    """What one step found, and where the next begins; ``locator`` is empty after the last one."""

    locator: str
    orders: int = 0
    lines: int = 0


def seen_add(object_name: str, ids: Iterable[str]) -> None:
    """Note records as read, in the transaction of their page."""
    rows = [(object_name, identifier) for identifier in ids]
    if rows:
        tables().stage("mirror_seen", SeenRecord, ["object_name", "salesforce_id"], rows)
        done(
            "INSERT INTO refunds_seenrecord (object_name, salesforce_id) "
            "SELECT object_name, salesforce_id FROM mirror_seen WHERE true ON CONFLICT DO NOTHING"
        )


def gone_too_many(run: SyncRun) -> bool:
    """Tell whether more than half of the orders would be gone.

    That is rather a right that the integration user has lost.
    """
    ((gone,),) = selected(f"SELECT count(*) FROM ({_unseen(ORDER)}) AS gone", _since(run, 0))
    return int(str(gone)) * 2 > Order.objects.count()


def gone_next(run: SyncRun, at: datetime) -> Step:
    """Take the next of what is gone out of the mirror, the orders first.

    In the caller's transaction; ``at`` is when they were found to be gone.
    """
    object_name, _, last = (run.locator or f"{ORDER}/0").partition("/")
    rows = selected(f"{_unseen(object_name)} ORDER BY kept.id LIMIT {_AT_ONCE}", _since(run, last))
    if not rows:
        return Step(f"{ORDER_ITEM}/0" if object_name == ORDER else "")
    locator = f"{object_name}/{rows[-1][0]}"
    ids = [str(row[1]) for row in rows]
    if object_name == ORDER:
        gone = orders_gone(moments=dict.fromkeys(ids, at), is_told=False)
        return Step(locator, orders=gone)
    return Step(locator, lines=lines_gone(ids=ids))


def _unseen(object_name: str) -> str:
    is_living = "AND kept.salesforce_deleted_at IS NULL" if object_name == ORDER else ""
    return f"""
        SELECT kept.id, kept.salesforce_id FROM {_TABLES[object_name]} AS kept
        WHERE kept.id > %s AND kept.salesforce_id <> '' {is_living}
        AND kept.salesforce_modified_at < %s AND NOT EXISTS (
            SELECT 1 FROM refunds_seenrecord AS seen
            WHERE seen.salesforce_id = kept.salesforce_id AND seen.object_name = '{object_name}'
        )
    """


def _since(run: SyncRun, last: object) -> list[object]:
    # What was made since the run began may be here before the run could read it.
    return [int(str(last)), run.watermark or run.started_at]
