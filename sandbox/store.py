"""The state of the stand-in, in an SQLite file of its own.

Several processes and threads may use one file at once: every change is one transaction that
takes the write lock first, and every answer is read from one snapshot. Refunds settle when their
time has come, at the next request of anybody, dated by the time they were due.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sandbox.allocation import (
    Allocation,
    Balance,
    ItemShare,
    Kind,
    LineFacts,
    PartKey,
    Parts,
    RefundAsk,
    allocate,
    item_minors,
    spread,
    take_back,
    to_minor,
)
from sandbox.errors import NotFoundError, RefusedError, StateFileError
from sandbox.faults import Fault, parse_fault
from sandbox.moments import from_microseconds, resource_time, to_microseconds, utc_now
from sandbox.orders import ORDER_STATES, RECEIVER_METHODS, PastRefund, ShopOrder
from sandbox.refund_request import parse_refund
from sandbox.salesforce.records import salesforce_time
from sandbox.shop import build_shop
from sandbox.webhook import Misbehaviour, Webhook, parse_webhook
from sandbox.wire import (
    RefundRow,
    chargeback_json,
    credit_memo_json,
    dumps,
    event_json,
    loads,
    order_json,
    refund_json,
)

LAYOUT = "2"
IN_MEMORY = ":memory:"
BUSY_SECONDS = 20.0
DEFAULT_SETTLE_AFTER = timedelta(minutes=5)
DEFAULT_EXPIRE_AFTER = timedelta(days=30)

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE orders (
    number INTEGER PRIMARY KEY,
    id TEXT UNIQUE,
    order_number TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    currency TEXT NOT NULL,
    email TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    charged TEXT NOT NULL,
    document TEXT NOT NULL,
    record TEXT NOT NULL,
    charge_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    payment TEXT NOT NULL,
    card_number TEXT NOT NULL,
    owner_last_name TEXT NOT NULL,
    null_available INTEGER NOT NULL,
    state_before_dispute TEXT
);
CREATE INDEX orders_created ON orders (created, number);
CREATE TABLE refunds (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL REFERENCES orders (id),
    state TEXT NOT NULL,
    type TEXT,
    minor INTEGER NOT NULL CHECK (minor > 0),
    refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND minor),
    parts TEXT NOT NULL,
    items TEXT NOT NULL,
    reason TEXT,
    failure_reason TEXT,
    metadata TEXT,
    token TEXT,
    expires INTEGER,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    plan TEXT,
    due INTEGER
);
CREATE INDEX refunds_order ON refunds (order_id, number);
CREATE INDEX refunds_created ON refunds (created, number);
CREATE INDEX refunds_state ON refunds (state, created, number);
CREATE INDEX refunds_due ON refunds (due) WHERE due IS NOT NULL;
CREATE TABLE chargebacks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT NOT NULL REFERENCES orders (id),
    minor INTEGER NOT NULL CHECK (minor > 0),
    uncovered INTEGER NOT NULL CHECK (uncovered BETWEEN 0 AND minor),
    parts TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX chargebacks_order ON chargebacks (order_id);
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX events_created ON events (created, number, type);
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event INTEGER NOT NULL REFERENCES events (number),
    place REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    delivered_at INTEGER
);
CREATE INDEX deliveries_event ON deliveries (event);
CREATE INDEX deliveries_due ON deliveries (place, number) WHERE next_at IS NOT NULL;
CREATE TABLE faults (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    remaining INTEGER NOT NULL
);
"""

SALESFORCE_TABLES = """
CREATE TABLE IF NOT EXISTS salesforce_records (
    id TEXT PRIMARY KEY,
    sobject TEXT NOT NULL,
    fields TEXT NOT NULL,
    modified INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS salesforce_records_sobject ON salesforce_records (sobject);
CREATE TABLE IF NOT EXISTS salesforce_queries (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS salesforce_faults (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    skipped INTEGER NOT NULL,
    remaining INTEGER NOT NULL
);
"""
"""What the Salesforce stand-in keeps; files made before it was there get these tables too."""

SALESFORCE_EMPTIED = ("salesforce_records", "salesforce_queries", "salesforce_faults")

EMPTIED = (
    *SALESFORCE_EMPTIED,
    "faults", "deliveries", "events", "chargebacks", "refunds", "orders",
)  # fmt: skip
"""The tables that a reset empties, those first that refer to others."""

REFUND_COLUMNS = """
    refunds.number, refunds.id, refunds.order_id, orders.currency, orders.charge_id,
    orders.source_id, refunds.state, refunds.type, refunds.minor, refunds.refunded, refunds.parts,
    refunds.items, refunds.reason, refunds.failure_reason, refunds.metadata, refunds.token,
    refunds.expires, refunds.created, refunds.updated, refunds.plan
"""
REFUNDS = "refunds JOIN orders ON orders.id = refunds.order_id"
PLANNED_AT_ONCE = 5_000
"""Events whose delivery is planned under one lock: a tenth of a second's work."""
UNPLANNED_EVENTS = "FROM events WHERE number > (SELECT coalesce(max(event), 0) FROM deliveries)"

FAILING_CARDS: Mapping[str, str | None] = {
    "4000000000004111": "expired_or_canceled_card",
    "4556602564240839": None,
}
FAILING_OWNERS: Mapping[str, str | None] = {
    "RefundFail": "account_closed",
    "refundFail": "account_closed",
    "RefundFailedAfterPending": None,
}
"""What makes a refund fail, and the reason the refund then gives; None where none is known.

https://docs.digitalriver.com/digital-river-api/developer-resources/testing-scenarios
"""

Filter = tuple[str, Sequence[object]]
"""A condition of an SQL WHERE clause and its parameters."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first, and whether there is more in its direction."""

    data: list[dict[str, Any]]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery in somebody's hands; `attempts` counts this one, `created` is the event's.

    `created` is in microseconds since 1970; `body` is the event as it goes over the wire.
    """

    number: int
    type: str
    created: int
    attempts: int
    body: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page starts and how long it is. `ending_before` wins over `starting_after`."""

    limit: int = 10
    starting_after: str | None = None
    ending_before: str | None = None


class Sandbox:
    """The stand-in's state: its orders, refunds, events and queued faults.

    The file is made and filled on first use, by whoever comes first. `orders` is what to fill it
    with; by default the shop, whose quarter ends the day before `shop_anchor` (by default the
    day of the filling). `clock` tells the present moment. A refund settles `settle_after` its
    creation, and `settle_after` again once bank details were given; a request for bank details
    ends after `expire_after`. Raises StateFileError when the file cannot be used.

    The path `:memory:` keeps everything in memory, which is quick to make; such a stand-in
    serves the thread that made it and no other, and is gone once it is closed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], datetime] = utc_now,
        settle_after: timedelta = DEFAULT_SETTLE_AFTER,
        expire_after: timedelta = DEFAULT_EXPIRE_AFTER,
        orders: Iterable[ShopOrder] | None = None,
        shop_anchor: date | None = None,
    ) -> None:
        """Open the file; make and fill it where there is none."""
        self.path = Path(path)
        self._clock = clock
        self._settle_after = settle_after // timedelta(microseconds=1)
        self._expire_after = expire_after // timedelta(microseconds=1)
        self._orders = None if orders is None else list(orders)
        self._shop_anchor = shop_anchor
        self._local = threading.local()
        self._memory_is_taken = False
        self._open_file()

    # -- the file ---------------------------------------------------------------------------

    def _open_file(self) -> None:
        try:
            if not self._in_memory:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connection()
            if not self._filled(connection):
                self._fill(connection)
            self._add_salesforce(connection)
            layout = connection.execute("SELECT value FROM meta WHERE name = 'layout'").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise StateFileError(
                f"The stand-in's state file {self.path} cannot be used ({error}). "
                "Delete it to start afresh."
            ) from error
        if layout is None or layout[0] != LAYOUT:
            raise StateFileError(
                f"The stand-in's state file {self.path} was made by another version. "
                "Delete it to start afresh."
            )

    @staticmethod
    def _add_salesforce(connection: sqlite3.Connection) -> None:
        found = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
            SALESFORCE_EMPTIED[-1:],
        )
        if found.fetchone() is None:
            for statement in filter(str.strip, SALESFORCE_TABLES.split(";")):
                connection.execute(statement)

    @staticmethod
    def _filled(connection: sqlite3.Connection) -> bool:
        found = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'"
        )
        return found.fetchone() is not None

    def _fill(self, connection: sqlite3.Connection) -> None:
        now = self._now()
        anchor = self._shop_anchor or from_microseconds(now).date()
        # Made before the lock is taken, so that nobody waits for it.
        orders = self._orders if self._orders is not None else build_shop(anchor)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._filled(connection):
                for statement in filter(str.strip, TABLES.split(";")):
                    connection.execute(statement)
                connection.execute("INSERT INTO meta VALUES ('layout', ?)", (LAYOUT,))
                self._insert_shop(connection, orders, anchor, now)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def _insert_shop(
        self, connection: sqlite3.Connection, orders: Iterable[ShopOrder], anchor: date, now: int
    ) -> None:
        connection.execute("INSERT INTO meta VALUES ('shop_anchor', ?)", (anchor.isoformat(),))
        for order in orders:
            self._insert_order(connection, order, now)

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; a forked process opens its own."""
        known: tuple[int, sqlite3.Connection] | None = getattr(self._local, "connection", None)
        if known is not None and known[0] == os.getpid():
            return known[1]
        if self._memory_is_taken:
            raise StateFileError(
                "A stand-in in memory serves only the thread that made it, until it is closed. "
                "Give it a file to use it from several threads."
            )
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        if self._in_memory:
            self._memory_is_taken = True
        else:
            self._use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        self._local.connection = (os.getpid(), connection)
        return connection

    @property
    def _in_memory(self) -> bool:
        return str(self.path) == IN_MEMORY

    @staticmethod
    def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
        # Changing the journal mode does not wait for other processes, so it is tried again.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """Close this thread's connection; it opens again when needed, save one in memory."""
        known = getattr(self._local, "connection", None)
        if known is not None:
            known[1].close()
            del self._local.connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._settle_due(connection, self._now())
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # An interrupt may come when all is committed already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        due = connection.execute(
            "SELECT 1 FROM refunds WHERE due IS NOT NULL AND due <= ? LIMIT 1", (self._now(),)
        )
        if due.fetchone() is not None:
            with self._writing():
                pass
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes, for the other stand-ins that share this file."""
        with self._writing() as connection:
            yield connection

    @contextmanager
    def looking(self) -> Iterator[sqlite3.Connection]:
        """One snapshot to read from, for the other stand-ins that share this file."""
        connection = self._connection()
        if connection.in_transaction:
            yield connection
            return
        with self._reading():
            yield connection

    def _now(self) -> int:
        return to_microseconds(self._clock())

    @property
    def clock(self) -> Callable[[], datetime]:
        """What tells this stand-in the present moment."""
        return self._clock

    @property
    def shop_anchor(self) -> date:
        """The day after the last day of the shop's quarter."""
        with self._reading() as connection:
            found = connection.execute("SELECT value FROM meta WHERE name = 'shop_anchor'")
            return date.fromisoformat(found.fetchone()[0])

    def reset(self) -> None:
        """Throw everything away but the webhook's registration, and fill the file afresh."""
        now = self._now()
        anchor = self._shop_anchor or from_microseconds(now).date()
        orders = self._orders if self._orders is not None else build_shop(anchor)
        with self._writing() as connection:
            for table in EMPTIED:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- names of our own
            connection.execute("DELETE FROM meta WHERE name = 'shop_anchor'")
            self._insert_shop(connection, orders, anchor, now)

    # -- orders -----------------------------------------------------------------------------

    def put_order(self, order: ShopOrder) -> None:
        """Add an order, or put it in the place of the one with its number and all that it had."""
        with self._writing() as connection:
            for table in ("refunds", "chargebacks"):
                connection.execute(
                    f"DELETE FROM {table} WHERE order_id ="  # noqa: S608 -- names of our own
                    " (SELECT id FROM orders WHERE number = ?)",
                    (order.number,),
                )
            connection.execute("DELETE FROM orders WHERE number = ?", (order.number,))
            self._insert_order(connection, order, self._now())

    def _insert_order(self, connection: sqlite3.Connection, order: ShopOrder, now: int) -> None:
        created = to_microseconds(order.created)
        charge = order.document["payment"]["charges"][0]
        connection.execute(
            f"INSERT INTO orders VALUES ({', '.join('?' * 19)})",  # noqa: S608
            (
                order.number,
                order.id,
                order.order_number,
                order.state,
                order.currency,
                order.document["email"],
                order.document["customerId"],
                created,
                created + 5 * 3_600_000_000,
                _parts_text(order.charged),
                dumps(order.document),
                dumps(order.record),
                charge["id"],
                charge["sourceId"],
                order.payment,
                order.card_number,
                order.owner_last_name,
                order.null_available,
                None,
            ),
        )
        for at, past in enumerate(order.refunds):
            self._insert_past_refund(connection, order, at, past, now)

    def _insert_past_refund(
        self,
        connection: sqlite3.Connection,
        order: ShopOrder,
        at: int,
        past: PastRefund,
        now: int,
    ) -> None:
        assert order.id is not None, "an order without an id has no refunds"
        ask = parse_refund({"orderId": order.id, "currency": order.currency, **past.body})
        balance = self._balance(connection, self._order_row(connection, order.id))
        allocation = allocate(ask, balance)
        created = to_microseconds(order.created)
        created = max(created, min(created + past.after // timedelta(microseconds=1), now))
        row = self._insert_refund(
            connection,
            ask,
            allocation,
            identifier=f"re_{uuid.uuid5(uuid.NAMESPACE_OID, f'{order.id} refund {at}')}",
            created=created,
            due=None,
            plan="succeed",
        )
        match past.state:
            case "succeeded":
                self._change(connection, row, state="succeeded", refunded=row.minor, at=created)
            case "failed":
                self._change(
                    connection, row, state="failed", failure_reason=past.failure_reason, at=created
                )
            case "pending_information":
                self._ask_for_bank_details(connection, row, now)
            case "expired":
                expires = created + self._expire_after
                self._change(connection, row, state="expired", expires=expires, at=created)

    def order(self, order_id: str) -> dict[str, Any]:
        """Return an order; raises NotFoundError."""
        with self._reading() as connection:
            return self._order(connection, self._order_row(connection, order_id))

    def orders(self, filters: Sequence[Filter] = (), cursor: Cursor | None = None) -> Page:
        """Return a page of orders."""
        with self._reading() as connection:
            rows, has_more = self._page(
                connection,
                table="orders",
                columns="orders.*",
                source="orders",
                filters=[("orders.id IS NOT NULL", ()), *filters],
                cursor=cursor or Cursor(),
            )
            return Page([self._order(connection, row) for row in rows], has_more)

    def salesforce_records(self) -> list[dict[str, Any]]:
        """Return every order as Salesforce holds it, oldest first."""
        with self._reading() as connection:
            found = connection.execute("SELECT record FROM orders ORDER BY number")
            return [loads(record) for (record,) in found]

    def salesforce_record(self, order_number: str) -> dict[str, Any]:
        """Return an order as Salesforce holds it; raises NotFoundError."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT record FROM orders WHERE order_number = ?", (order_number,)
            ).fetchone()
        if found is None:
            raise NotFoundError("order")
        record: dict[str, Any] = loads(found[0])
        return record

    def order_id(self, order_number: str) -> str | None:
        """Return the Digital River id of an order, None where it has none; raises NotFoundError."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT id FROM orders WHERE order_number = ?", (order_number,)
            ).fetchone()
        if found is None:
            raise NotFoundError("order")
        identifier: str | None = found[0]
        return identifier

    def set_order_state(self, order_id: str, state: str) -> dict[str, Any]:
        """Move an order to a state, dispute for example, and return it; raises NotFoundError."""
        if state not in ORDER_STATES:
            message = f"The state is one of {', '.join(ORDER_STATES)}."
            raise RefusedError("invalid_parameter", "state", message)
        with self._writing() as connection:
            return self._move_order(connection, self._order_row(connection, order_id), state)

    def dispute(self, order_id: str) -> dict[str, Any]:
        """Let the bank of the customer dispute an order; return the order.

        Raises NotFoundError, and RefusedError where it is in dispute already.
        """
        with self._writing() as connection:
            row = self._order_row(connection, order_id)
            if row["state"] == "dispute":
                message = "The order is in dispute already."
                raise RefusedError("invalid_parameter", "state", message)
            return self._move_order(connection, row, "dispute")

    def resolve_dispute(self, order_id: str) -> dict[str, Any]:
        """End the dispute of an order, which is then what it was before; return the order.

        Raises NotFoundError, and RefusedError where it is not in dispute.
        """
        with self._writing() as connection:
            row = self._order_row(connection, order_id)
            if row["state"] != "dispute":
                raise RefusedError("invalid_parameter", "state", "The order is not in dispute.")
            # An order that was made in dispute had been complete.
            return self._move_order(connection, row, row["state_before_dispute"] or "complete")

    def _move_order(
        self, connection: sqlite3.Connection, row: Mapping[str, Any], state: str
    ) -> dict[str, Any]:
        now = self._now()
        before: str = row["state"]
        document = loads(row["document"])
        document["stateTransitions"][state] = resource_time(now)
        record = loads(row["record"])
        # The package's picklist knows no dispute: Salesforce keeps what it had.
        if state != "dispute":
            record["digitalriverv3__DR_Order_State__c"] = state
            record["SystemModstamp"] = salesforce_time(from_microseconds(now))
        connection.execute(
            "UPDATE orders SET state = ?, document = ?, record = ?, updated = ?,"
            " state_before_dispute = ? WHERE number = ?",
            (
                state,
                dumps(document),
                dumps(record),
                now,
                row["state_before_dispute"] if before == "dispute" else before,
                row["number"],
            ),
        )
        order = self._order(connection, self._order_row(connection, row["id"]))
        resolved = before == "dispute" and state != "dispute"
        event_type = "order.dispute.resolved" if resolved else f"order.{state}"
        self._append_event(connection, event_type, now, order)
        return order

    # -- chargebacks ------------------------------------------------------------------------

    def charge_back(self, order_id: str, amount: Decimal) -> dict[str, Any]:
        """Let the bank of the customer take an amount back; return the order.

        The amount, in the order's currency, is no longer available to refund. Where less is
        left, nothing is, and what a failing refund sets free goes to the chargeback first.
        Raises NotFoundError, and RefusedError where more than the captured amount is taken.
        """
        with self._writing() as connection:
            now = self._now()
            row = self._order_row(connection, order_id)
            minor = _minor_or_refuse(amount, row["currency"])
            (before,) = connection.execute(
                "SELECT coalesce(sum(minor), 0) FROM chargebacks WHERE order_id = ?", (order_id,)
            ).fetchone()
            if not 0 < minor <= sum(_parts(row["charged"]).values()) - before:
                message = "Chargebacks take at most what was captured."
                raise RefusedError("invalid_parameter", "amount", message)
            connection.execute(
                "INSERT INTO chargebacks (order_id, minor, uncovered, parts, created)"
                " VALUES (?, ?, ?, '[]', ?)",
                (order_id, minor, minor, now),
            )
            self._cover_chargebacks(connection, order_id)
            self._touch_order(connection, order_id, now)
            order = self._order(connection, self._order_row(connection, order_id))
            subject = chargeback_json(order, minor, row["currency"])
            self._append_event(connection, "order.chargeback", now, subject)
            return order

    def _cover_chargebacks(self, connection: sqlite3.Connection, order_id: str) -> None:
        """Let chargebacks take what they are still due from what is left of an order."""
        uncovered = connection.execute(
            "SELECT number, uncovered, parts FROM chargebacks"
            " WHERE order_id = ? AND uncovered > 0 ORDER BY number",
            (order_id,),
        ).fetchall()
        for number, due, text in uncovered:
            balance = self._balance(connection, self._order_row(connection, order_id))
            parts = _parts(text)
            taken = take_back(due, balance.left)
            for key, minor in taken.items():
                parts[key] = parts.get(key, 0) + minor
            connection.execute(
                "UPDATE chargebacks SET uncovered = ?, parts = ? WHERE number = ?",
                (due - sum(taken.values()), _parts_text(parts), number),
            )

    @staticmethod
    def _charged_back(connection: sqlite3.Connection, order_id: str | None) -> list[Parts]:
        found = connection.execute("SELECT parts FROM chargebacks WHERE order_id = ?", (order_id,))
        return [_parts(text) for (text,) in found.fetchall()]

    @staticmethod
    def _order_row(connection: sqlite3.Connection, order_id: str) -> dict[str, Any]:
        found = connection.execute("SELECT * FROM orders WHERE id = ?", (order_id,))
        row = found.fetchone()
        if row is None:
            raise NotFoundError("order")
        return _named(found, row)

    def _order(self, connection: sqlite3.Connection, row: Mapping[str, Any]) -> dict[str, Any]:
        refunds = self._refunds_of(connection, row["id"])
        return order_json(
            loads(row["document"]),
            state=row["state"],
            updated=row["updated"],
            balance=_balance(row, refunds, self._charged_back(connection, row["id"]), {}),
            refunds=refunds,
            null_available=bool(row["null_available"]),
        )

    def _balance(self, connection: sqlite3.Connection, row: Mapping[str, Any]) -> Balance:
        refunds = self._refunds_of(connection, row["id"])
        charged_back = self._charged_back(connection, row["id"])
        return _balance(row, refunds, charged_back, _lines(row, refunds))

    # -- refunds ----------------------------------------------------------------------------

    def create_refund(
        self, ask: RefundAsk, *, lowered_to: Decimal | None = None, lowered: bool = False
    ) -> dict[str, Any]:
        """Make a refund and return it as it starts, pending.

        `lowered` makes it for one minor unit less than asked, or for `lowered_to`, as a
        processor might that does not do what it was told. Raises RefusedError.
        """
        with self._writing() as connection:
            now = self._now()
            try:
                row = self._order_row(connection, ask.order_id)
            except NotFoundError as error:
                message = "The order does not exist."
                raise RefusedError("invalid_parameter", "orderId", message) from error
            balance = self._balance(connection, row)
            _refuse_unready(row, balance, ask)
            allocation = allocate(ask, balance)
            if lowered:
                allocation = _lowered(allocation, lowered_to, row["currency"])
            if row["owner_last_name"] == "RefundFailWhileCreation":
                message = "The refund could not be created."
                raise RefusedError("invalid_parameter", "source", message)
            refund = self._insert_refund(
                connection,
                ask,
                allocation,
                identifier=f"re_{uuid.uuid4()}",
                created=now,
                due=now + self._settle_after,
                plan="ask" if row["payment"] in RECEIVER_METHODS else _plan(row),
            )
            self._touch_order(connection, refund.order_id, now)
            answer = refund_json(refund)
            self._append_event(connection, "refund.pending", now, answer)
            return answer

    def refund(self, refund_id: str) -> dict[str, Any]:
        """Return a refund; raises NotFoundError."""
        with self._reading() as connection:
            return refund_json(self._refund_row(connection, refund_id))

    def refunds(self, filters: Sequence[Filter] = (), cursor: Cursor | None = None) -> Page:
        """Return a page of refunds."""
        with self._reading() as connection:
            rows, has_more = self._page(
                connection,
                table="refunds",
                columns=REFUND_COLUMNS,
                source=REFUNDS,
                filters=filters,
                cursor=cursor or Cursor(),
            )
            return Page([refund_json(_refund_row(row)) for row in rows], has_more)

    def update_refund(self, refund_id: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Replace a refund's metadata and return the refund; raises NotFoundError."""
        with self._writing() as connection:
            row = self._refund_row(connection, refund_id)
            connection.execute(
                "UPDATE refunds SET metadata = ? WHERE number = ?", (dumps(metadata), row.number)
            )
            answer = refund_json(self._refund_row(connection, refund_id))
            self._append_event(connection, "refund.updated", self._now(), answer)
            return answer

    def settle_now(self, refund_id: str | None = None) -> int:
        """Settle every pending refund, or one, without waiting; return how many."""
        with self._writing() as connection:
            condition, parameters = "refunds.state = 'pending'", list[object]()
            if refund_id is not None:
                self._refund_row(connection, refund_id)
                condition += " AND refunds.id = ?"
                parameters.append(refund_id)
            found = self._select_refunds(
                connection, f"{condition} ORDER BY refunds.number", parameters
            )
            now = self._now()
            for row in found:
                self._carry_out(connection, row, now)
            return len(found)

    def succeed_refund(self, refund_id: str, refunded: Decimal | None = None) -> dict[str, Any]:
        """Let an unsettled refund succeed, for less than asked where `refunded` says so."""
        with self._writing() as connection:
            row = self._unsettled(connection, refund_id)
            minor = row.minor if refunded is None else _minor_or_refuse(refunded, row.currency)
            if not 0 < minor <= row.minor:
                message = "A refund gives back at most what was asked."
                raise RefusedError("invalid_parameter", "refundedAmount", message)
            self._succeed(connection, row, self._now(), minor)
            return refund_json(self._refund_row(connection, refund_id))

    def fail_refund(self, refund_id: str, reason: str | None = None) -> dict[str, Any]:
        """Let an unsettled refund fail, with a reason or without."""
        with self._writing() as connection:
            self._fail(connection, self._unsettled(connection, refund_id), self._now(), reason)
            return refund_json(self._refund_row(connection, refund_id))

    def expire_refund(self, refund_id: str) -> dict[str, Any]:
        """Let a refund that waits for bank details expire now."""
        with self._writing() as connection:
            row = self._waiting(connection, refund_id)
            self._expire(connection, row, self._now())
            return refund_json(self._refund_row(connection, refund_id))

    def provide_bank_details(self, refund_id: str) -> dict[str, Any]:
        """Do what the customer does with the token: the refund is pending again, then settles."""
        with self._writing() as connection:
            row = self._waiting(connection, refund_id)
            now = self._now()
            owner = self._order_row(connection, row.order_id)["owner_last_name"]
            connection.execute(
                "UPDATE refunds SET state = 'pending', token = NULL, expires = NULL, updated = ?,"
                " plan = ?, due = ? WHERE number = ?",
                (
                    now,
                    "fail" if owner == "RefundFailAfterPaymentInfo" else "succeed",
                    now + self._settle_after,
                    row.number,
                ),
            )
            answer = refund_json(self._refund_row(connection, refund_id))
            self._append_event(connection, "refund.pending", now, answer)
            return answer

    def _unsettled(self, connection: sqlite3.Connection, refund_id: str) -> RefundRow:
        row = self._refund_row(connection, refund_id)
        if row.state not in ("pending", "pending_information"):
            raise RefusedError("invalid_parameter", "state", f"The refund is already {row.state}.")
        return row

    def _waiting(self, connection: sqlite3.Connection, refund_id: str) -> RefundRow:
        row = self._refund_row(connection, refund_id)
        if row.state != "pending_information":
            raise RefusedError("invalid_parameter", "state", f"The refund is {row.state}.")
        return row

    def _insert_refund(
        self,
        connection: sqlite3.Connection,
        ask: RefundAsk,
        allocation: Allocation,
        *,
        identifier: str,
        created: int,
        due: int | None,
        plan: str,
    ) -> RefundRow:
        connection.execute(
            "INSERT INTO refunds (id, order_id, state, type, minor, parts, items, reason,"
            " metadata, created, updated, plan, due)"
            " VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                identifier,
                ask.order_id,
                ask.type,
                allocation.minor,
                _parts_text(allocation.parts),
                _items_text(allocation.items),
                ask.reason,
                None if ask.metadata is None else dumps(ask.metadata),
                created,
                created,
                plan,
                due,
            ),
        )
        return self._refund_row(connection, identifier)

    def _select_refunds(
        self, connection: sqlite3.Connection, condition: str, parameters: Sequence[object]
    ) -> list[RefundRow]:
        statement = f"SELECT {REFUND_COLUMNS} FROM {REFUNDS} WHERE {condition}"  # noqa: S608
        found = connection.execute(statement, tuple(parameters))
        return [_refund_row(_named(found, row)) for row in found.fetchall()]

    def _refund_row(self, connection: sqlite3.Connection, refund_id: str) -> RefundRow:
        found = self._select_refunds(connection, "refunds.id = ?", (refund_id,))
        if not found:
            raise NotFoundError("refund")
        return found[0]

    def _refunds_of(self, connection: sqlite3.Connection, order_id: str) -> list[RefundRow]:
        return self._select_refunds(
            connection, "refunds.order_id = ? ORDER BY refunds.number", (order_id,)
        )

    # -- how a refund goes on ---------------------------------------------------------------

    def _settle_due(self, connection: sqlite3.Connection, now: int) -> None:
        while True:
            due = connection.execute(
                "SELECT id, due FROM refunds WHERE due IS NOT NULL AND due <= ?"
                " ORDER BY due, number LIMIT 1",
                (now,),
            ).fetchone()
            if due is None:
                return
            self._carry_out(connection, self._refund_row(connection, due[0]), due[1])

    def _carry_out(self, connection: sqlite3.Connection, row: RefundRow, at: int) -> None:
        """Do what was planned for a refund when it was made."""
        match row.plan:
            case "ask":
                self._ask_for_bank_details(connection, row, at)
            case "expire":
                self._expire(connection, row, at)
            case "fail":
                order = self._order_row(connection, row.order_id)
                self._fail(connection, row, at, _failure_reason(order))
            case _:
                self._succeed(connection, row, at, row.minor)

    def _ask_for_bank_details(
        self, connection: sqlite3.Connection, row: RefundRow, at: int
    ) -> None:
        expires = at + self._expire_after
        connection.execute(
            "UPDATE refunds SET token = ?, plan = 'expire', due = ? WHERE number = ?",
            (uuid.uuid4().hex, expires, row.number),
        )
        row = self._change(
            connection, row, state="pending_information", expires=expires, at=at, due=expires
        )
        self._append_charge_event(connection, row, "order.charge.refund.pending", at)
        self._append_event(connection, "refund.pending_information", at, refund_json(row))

    def _succeed(
        self, connection: sqlite3.Connection, row: RefundRow, at: int, refunded: int
    ) -> None:
        if row.state == "pending":
            self._append_charge_event(connection, row, "order.charge.refund.pending", at)
        if refunded != row.minor:
            parts = spread(refunded, row.parts)
            connection.execute(
                "UPDATE refunds SET parts = ? WHERE number = ?", (_parts_text(parts), row.number)
            )
        row = self._change(connection, row, state="succeeded", refunded=refunded, at=at)
        order_row = self._order_row(connection, row.order_id)
        order = self._order(connection, order_row)
        self._append_charge_event(connection, row, "order.charge.refund.complete", at)
        self._append_event(connection, "refund.complete", at, refund_json(row))
        self._append_event(connection, "order.refunded", at, order)
        memo = credit_memo_json(row, order_row["customer_id"])
        self._append_event(connection, "order.credit_memo.created", at, memo)

    def _fail(
        self, connection: sqlite3.Connection, row: RefundRow, at: int, reason: str | None
    ) -> None:
        row = self._change(connection, row, state="failed", failure_reason=reason, at=at)
        self._append_charge_event(connection, row, "order.charge.refund.failed", at)
        self._append_event(connection, "refund.failed", at, refund_json(row))

    def _expire(self, connection: sqlite3.Connection, row: RefundRow, at: int) -> None:
        # No event is documented for an expired refund itself; its charge's refund fails.
        row = self._change(connection, row, state="expired", expires=row.expires, at=at)
        self._append_charge_event(connection, row, "order.charge.refund.failed", at)

    def _change(
        self,
        connection: sqlite3.Connection,
        row: RefundRow,
        *,
        state: str,
        at: int,
        refunded: int = 0,
        failure_reason: str | None = None,
        expires: int | None = None,
        due: int | None = None,
    ) -> RefundRow:
        connection.execute(
            "UPDATE refunds SET state = ?, refunded = ?, failure_reason = ?, expires = ?,"
            " updated = ?, due = ? WHERE number = ?",
            (state, refunded, failure_reason, expires, at, due, row.number),
        )
        self._touch_order(connection, row.order_id, at)
        self._cover_chargebacks(connection, row.order_id)
        return self._refund_row(connection, row.id)

    @staticmethod
    def _touch_order(connection: sqlite3.Connection, order_id: str, at: int) -> None:
        connection.execute(
            "UPDATE orders SET updated = max(updated, ?) WHERE id = ?", (at, order_id)
        )

    # -- events -----------------------------------------------------------------------------

    def event(self, event_id: str) -> dict[str, Any]:
        """Return an event; raises NotFoundError."""
        with self._reading() as connection:
            found = connection.execute("SELECT body FROM events WHERE id = ?", (event_id,))
            row = found.fetchone()
        if row is None:
            raise NotFoundError("event")
        event: dict[str, Any] = loads(row[0])
        return event

    def events(self, filters: Sequence[Filter] = (), cursor: Cursor | None = None) -> Page:
        """Return a page of events."""
        with self._reading() as connection:
            rows, has_more = self._page(
                connection,
                table="events",
                columns="events.*",
                source="events",
                filters=filters,
                cursor=cursor or Cursor(),
            )
            return Page([loads(row["body"]) for row in rows], has_more)

    @staticmethod
    def _append_event(
        connection: sqlite3.Connection, event_type: str, at: int, subject: Mapping[str, Any]
    ) -> None:
        identifier = str(uuid.uuid4())
        connection.execute(
            "INSERT INTO events (id, type, created, body) VALUES (?, ?, ?, ?)",
            (identifier, event_type, at, dumps(event_json(identifier, event_type, at, subject))),
        )

    def _append_charge_event(
        self, connection: sqlite3.Connection, row: RefundRow, event_type: str, at: int
    ) -> None:
        order = self._order(connection, self._order_row(connection, row.order_id))
        self._append_event(connection, event_type, at, order["payment"]["charges"][0])

    # -- the webhook ------------------------------------------------------------------------

    def register_webhook(self, webhook: Webhook) -> None:
        """Let whoever delivers for this stand-in deliver to this address from now on."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('webhook', ?)", (dumps(webhook.to_json()),)
            )

    def webhook(self) -> Webhook | None:
        """Return the registered webhook, None where there is none."""
        with self._reading() as connection:
            found = connection.execute("SELECT value FROM meta WHERE name = 'webhook'").fetchone()
        return None if found is None else parse_webhook(loads(found[0]))

    def forget_webhook(self) -> None:
        """Deliver to nobody; what was not delivered yet is kept for the next webhook."""
        with self._writing() as connection:
            connection.execute("DELETE FROM meta WHERE name = 'webhook'")

    def claim_deliveries(
        self,
        misbehaviour: Misbehaviour,
        *,
        limit: int,
        wait: Callable[[int], int],
        until: datetime | None = None,
    ) -> list[Claim]:
        """Return what is to be delivered now, or by `until`, at most `limit` of them.

        Events that nobody planned yet are planned by `misbehaviour`. To claim a delivery is to
        put its next attempt off by `wait(attempts)` microseconds: whoever dies with a claim in
        hand loses nothing, and two that deliver at once do not get the same one.
        """
        now = self._now()
        due = now if until is None else min(now, to_microseconds(until))
        # Looking first without the write lock keeps an idle deliverer out of everybody's way.
        while self._may_deliver(due):
            with self._writing() as connection:
                self._plan_deliveries(connection, misbehaviour)
                claims = self._due_deliveries(connection, due, limit)
                connection.executemany(
                    "UPDATE deliveries SET attempts = ?, next_at = ? WHERE number = ?",
                    [(each.attempts, now + wait(each.attempts), each.number) for each in claims],
                )
            if claims:
                return claims
        return []

    def _may_deliver(self, due: int) -> bool:
        with self._reading() as connection:
            unplanned = connection.execute(f"SELECT 1 {UNPLANNED_EVENTS} LIMIT 1").fetchone()
            return unplanned is not None or bool(self._due_deliveries(connection, due, 1))

    @staticmethod
    def _plan_deliveries(connection: sqlite3.Connection, misbehaviour: Misbehaviour) -> None:
        unplanned = connection.execute(
            f"SELECT number, created {UNPLANNED_EVENTS} ORDER BY number LIMIT ?", (PLANNED_AT_ONCE,)
        ).fetchall()
        connection.executemany(
            "INSERT INTO deliveries (event, place, next_at) VALUES (?, ?, ?)",
            (
                (event, planned.place, None if planned.wait is None else created + planned.wait)
                for event, created in unplanned
                for planned in misbehaviour.plan(event)
            ),
        )

    @staticmethod
    def _due_deliveries(connection: sqlite3.Connection, due: int, limit: int) -> list[Claim]:
        found = connection.execute(
            "SELECT deliveries.number, events.type, events.created, deliveries.attempts + 1,"
            " events.body"
            " FROM deliveries JOIN events ON events.number = deliveries.event"
            " WHERE deliveries.next_at IS NOT NULL AND deliveries.next_at <= ?"
            " ORDER BY deliveries.place, deliveries.number LIMIT ?",
            (due, limit),
        )
        return [Claim(*row) for row in found.fetchall()]

    def delivery_done(self, number: int) -> None:
        """Note that a delivery was acknowledged."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE deliveries SET next_at = NULL, delivered_at = ? WHERE number = ?",
                (self._now(), number),
            )

    def delivery_postponed(self, number: int, wait: int | None) -> None:
        """Put a delivery that was not acknowledged off by microseconds, or give it up.

        One that somebody else delivered meanwhile stays delivered.
        """
        with self._writing() as connection:
            connection.execute(
                "UPDATE deliveries SET next_at = ? WHERE number = ? AND delivered_at IS NULL",
                (None if wait is None else self._now() + wait, number),
            )

    def undelivered(self) -> tuple[int, datetime | None]:
        """Return how many deliveries are still to come, and when the next one is due.

        An event that nobody planned yet counts as one, due at its creation.
        """
        with self._reading() as connection:
            planned, first = connection.execute(
                "SELECT count(*), min(next_at) FROM deliveries WHERE next_at IS NOT NULL"
            ).fetchone()
            unplanned, oldest = connection.execute(
                f"SELECT count(*), min(created) {UNPLANNED_EVENTS}"
            ).fetchone()
        moments = [moment for moment in (first, oldest) if moment is not None]
        return planned + unplanned, from_microseconds(min(moments)) if moments else None

    # -- faults -----------------------------------------------------------------------------

    def queue_fault(self, fault: Fault) -> None:
        """Let the next matching requests, of any process, go wrong."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO faults (body, remaining) VALUES (?, ?)",
                (dumps(fault.to_json()), fault.times),
            )

    def faults(self) -> list[dict[str, Any]]:
        """Return the faults that are still to come."""
        with self._reading() as connection:
            found = connection.execute("SELECT body, remaining FROM faults ORDER BY number")
            return [{**loads(body), "times": remaining} for body, remaining in found]

    def clear_faults(self) -> None:
        """Forget every queued fault."""
        with self._writing() as connection:
            connection.execute("DELETE FROM faults")

    def take_faults(self, method: str, path: str) -> list[Fault]:
        """Return the faults for a request, and count them off."""
        connection = self._connection()
        if connection.execute("SELECT 1 FROM faults LIMIT 1").fetchone() is None:
            return []
        taken = []
        with self._writing():
            found = connection.execute("SELECT number, body FROM faults ORDER BY number")
            for number, body in found.fetchall():
                fault = parse_fault(loads(body))
                if fault.matches(method, path):
                    taken.append(fault)
                    connection.execute(
                        "UPDATE faults SET remaining = remaining - 1 WHERE number = ?", (number,)
                    )
            connection.execute("DELETE FROM faults WHERE remaining <= 0")
        return taken

    # -- lists ------------------------------------------------------------------------------

    @staticmethod
    def _page(
        connection: sqlite3.Connection,
        *,
        table: str,
        columns: str,
        source: str,
        filters: Sequence[Filter],
        cursor: Cursor,
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the rows of a page, newest first, by the keyset of creation and number."""
        conditions = [condition for condition, _ in filters]
        parameters = [value for _, values in filters for value in values]
        backward = cursor.ending_before is not None
        at = cursor.ending_before if backward else cursor.starting_after
        if at is not None:
            place = connection.execute(
                f"SELECT created, number FROM {table} WHERE id = ?",  # noqa: S608
                (at,),
            ).fetchone()
            if place is None:
                name = "endingBefore" if backward else "startingAfter"
                raise RefusedError("invalid_parameter", name, "There is no object with this id.")
            comparison = ">" if backward else "<"
            conditions.append(f"({table}.created, {table}.number) {comparison} (?, ?)")
            parameters.extend(place)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        direction = "ASC" if backward else "DESC"
        found = connection.execute(
            f"SELECT {columns} FROM {source} {where}"  # noqa: S608 -- conditions of our own
            f" ORDER BY {table}.created {direction}, {table}.number {direction} LIMIT ?",
            (*parameters, cursor.limit + 1),
        )
        rows = [_named(found, row) for row in found.fetchall()]
        has_more = len(rows) > cursor.limit
        rows = rows[: cursor.limit]
        return (rows[::-1] if backward else rows), has_more


def _refuse_unready(row: Mapping[str, Any], balance: Balance, ask: RefundAsk) -> None:
    if row["state"] == "dispute":
        raise RefusedError("invalid_parameter", "order", "The order is in dispute.")
    if not sum(balance.charged.values()):
        message = "The order has no captured payment to refund."
        raise RefusedError("invalid_parameter", "order", message)
    if ask.currency != row["currency"]:
        message = f"Currency {ask.currency[:10]} is not supported."
        raise RefusedError("invalid_parameter", "currency", message)


def _plan(row: Mapping[str, Any]) -> str:
    fails = row["card_number"] in FAILING_CARDS and row["payment"] == "creditCard"
    return "fail" if fails or row["owner_last_name"] in FAILING_OWNERS else "succeed"


def _failure_reason(row: Mapping[str, Any]) -> str | None:
    if row["owner_last_name"] in FAILING_OWNERS:
        return FAILING_OWNERS[row["owner_last_name"]]
    if row["owner_last_name"] == "RefundFailAfterPaymentInfo":
        return "account_closed"
    return FAILING_CARDS.get(row["card_number"])


def _minor_or_refuse(amount: Decimal, currency: str) -> int:
    try:
        return to_minor(amount, currency)
    except ValueError as error:
        raise RefusedError("invalid_format", "amount", str(error)) from error


def _lowered(allocation: Allocation, to: Decimal | None, currency: str) -> Allocation:
    minor = allocation.minor - 1 if to is None else _minor_or_refuse(to, currency)
    if not 0 < minor < allocation.minor:
        return allocation
    parts = spread(minor, allocation.parts)
    taken = item_minors(allocation.items, parts)
    items = (
        replace(share, minor=each) for share, each in zip(allocation.items, taken, strict=True)
    )
    return Allocation(minor, parts, tuple(items))


def _balance(
    row: Mapping[str, Any],
    refunds: Sequence[RefundRow],
    chargebacks: Sequence[Parts],
    lines: Mapping[str, LineFacts],
) -> Balance:
    charged = _parts(row["charged"])
    left = dict(charged)
    for parts in (*(refund.held for refund in refunds), *chargebacks):
        for key, minor in parts.items():
            left[key] -= minor
    return Balance(row["currency"], charged, left, lines)


def _lines(row: Mapping[str, Any], refunds: Sequence[RefundRow]) -> dict[str, LineFacts]:
    """Return the lines of an order with what item-level refunds left of their allocations."""
    currency: str = row["currency"]
    given: dict[tuple[str, str | None], int] = {}
    for refund in refunds:
        if refund.held:
            amounts = refund.item_refunded if refund.state == "succeeded" else None
            for at, share in enumerate(refund.items):
                minor = share.minor if amounts is None else amounts[at]
                key = (share.item_id, share.type)
                given[key] = given.get(key, 0) + minor
    lines = {}
    for item in loads(row["document"])["items"]:
        shipping = item["shipping"]["amount"] + item["shipping"]["taxAmount"]
        duty = item["duties"]["amount"] if "duties" in item else Decimal(0)
        lines[item["id"]] = LineFacts(
            item_id=item["id"],
            sku_id=item["skuId"],
            quantity=item["quantity"],
            shipping=to_minor(Decimal(shipping), currency) - given.get((item["id"], "shipping"), 0),
            duty=to_minor(Decimal(duty), currency) - given.get((item["id"], "duty"), 0),
        )
    return lines


def _named(cursor: sqlite3.Cursor, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((column[0] for column in cursor.description), row, strict=True))


def _refund_row(row: Mapping[str, Any]) -> RefundRow:
    values = dict(row)
    values["parts"] = _parts(values["parts"])
    values["items"] = _items(values["items"])
    if values["metadata"] is not None:
        values["metadata"] = loads(values["metadata"])
    return RefundRow(**values)


def _parts_text(parts: Mapping[PartKey, int]) -> str:
    return dumps([[item, kind.value, minor] for (item, kind), minor in parts.items()])


def _parts(text: str) -> Parts:
    return {(item, Kind(kind)): minor for item, kind, minor in loads(text)}


def _items_text(items: Sequence[ItemShare]) -> str:
    return dumps(
        [
            [share.item_id, share.sku_id, share.quantity, share.type, share.percent, share.minor]
            for share in items
        ]
    )


def _items(text: str) -> tuple[ItemShare, ...]:
    return tuple(ItemShare(*fields) for fields in loads(text))
