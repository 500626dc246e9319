"""Generated orders with three lines each: any number of them, and none is kept.

Each record follows from its place (from 0) and the seed. Pages are made column by column, which
is quick; a single record is a page of one. The later the place, the later every moment and the
higher every id and number, so that places are found by arithmetic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import repeat

from sandbox.salesforce.ids import ids_of, number_of, numbered
from sandbox.salesforce.names import BUYERS, MARKETS, names
from sandbox.salesforce.objects import OBJECTS, SObject
from sandbox.salesforce.planted import LINE_SPOILERS, ORDER_SPOILERS, Texts
from sandbox.salesforce.prices import (
    CENTS,
    QUANTITY,
    ROWS,
    SUMS,
    TEXTS,
    LineRow,
    line_rows,
    major_text,
)
from sandbox.salesforce.shape import Shape

LINES = 3
FIRST_ORDER = 1_000_000
FIRST_LINE = 1_000_000_000
FIRST_NUMBER = 20_000_000
FIRST_DAY = date(2023, 1, 1)
STEP = 94
"""Seconds from one order to the next, give or take a minute: a million in three years."""
SETTLED_AFTER = 5 * 3_600
"""Seconds after which Digital River's last event changed the order."""
DAY = 86_400
#: Fields whose texts may hold quotes.
QUOTED = frozenset(
    ("Account.Name", "BillToContact.Name", "Product2.Name", "DR_Payment_Failure_Reason__c")
)
FAILURES = (
    "", "", "", "", "", "", "",
    'Declined by the bank: "insufficient funds", ask for another card',
)  # fmt: skip
#: State, fraud state, payment status; as many of each as it has of a hundred and twenty-eight.
_STATES: tuple[tuple[str, str, str], ...] = (
    *((("complete", "passed", "Successful"),) * 96),
    *((("fulfilled", "passed", "Successful"),) * 10),
    *((("accepted", "passed", "Successful"),) * 7),
    *((("cancelled", "passed", "Successful"),) * 4),
    *((("returned", "passed", "Successful"),) * 3),
    *((("in_review", "in_review", "Successful"),) * 3),
    *((("pending_payment", "passed", ""),) * 3),
    *((("blocked", "blocked", "Successful"),) * 2),
)
#: Which of the three quantities of a line is all of it: open, fulfilled, cancelled.
_WHERE = {"complete": 1, "fulfilled": 1, "returned": 1, "cancelled": 2}
_LINE_STATES = {"complete": "fulfilled", "fulfilled": "fulfilled", "returned": "returned",
                "cancelled": "cancelled"}  # fmt: skip
_MASK = (1 << 64) - 1


class _Days(dict[int, str]):
    """Days as text by their number from the first, each written once."""

    def __missing__(self, number: int) -> str:
        self[number] = text = (FIRST_DAY + timedelta(days=number)).isoformat()
        return text


_DAYS = _Days()


_MINUTES = tuple(f"T{hour:02d}:{minute:02d}:" for hour in range(24) for minute in range(60))
_SECONDS = tuple(f"{second:02d}.000Z" for second in range(60))


def _moments(seconds: Iterable[int]) -> list[str]:
    return [
        f"{_DAYS[second // DAY]}{_MINUTES[second % DAY // 60]}{_SECONDS[second % 60]}"
        for second in seconds
    ]


def _moved(places: range, by: int) -> range:
    return range(places.start + by, places.stop + by)


class _Orders:
    """The orders of some places, as columns that are made when they are asked for."""

    def __init__(self, places: range, seed: int) -> None:
        self.places = places
        self._seed = seed

    @cached_property
    def hashes(self) -> list[int]:
        seed = self._seed * 0xD1342543DE82EF95
        mixed = [((place + 1) * 0x9E3779B97F4A7C15 + seed) & _MASK for place in self.places]
        return [((one ^ (one >> 31)) * 0xBF58476D1CE4E5B9) & _MASK for one in mixed]

    @cached_property
    def buyers(self) -> list[int]:
        return [(one >> 20) % BUYERS for one in self.hashes]

    @cached_property
    def markets(self) -> list[int]:
        markets = names().markets
        return [markets[buyer // 3] for buyer in self.buyers]

    @cached_property
    def states(self) -> list[tuple[str, str, str]]:
        return [_STATES[one >> 57] for one in self.hashes]

    @cached_property
    def seconds(self) -> list[int]:
        return [place * STEP + place * 17 % 60 for place in self.places]

    @cached_property
    def rows(self) -> list[tuple[LineRow, LineRow, LineRow]]:
        tables = [line_rows(market) for market in range(len(MARKETS))]
        chosen = [tables[market] for market in self.markets]
        return [
            (table[(one >> 11) % ROWS], table[(one >> 23) % ROWS], table[(one >> 35) % ROWS])
            for one, table in zip(self.hashes, chosen, strict=True)
        ]

    @cached_property
    def ids(self) -> list[str]:
        return ids_of("801", _moved(self.places, FIRST_ORDER))

    @cached_property
    def modified(self) -> list[str]:
        return _moments(second + SETTLED_AFTER for second in self.seconds)

    @cached_property
    def created(self) -> list[str]:
        return _moments(self.seconds)

    def money(self, column: int) -> list[str]:
        """Return what the lines have in a column of minor units, added up, as text."""
        digits = [market.digits for market in MARKETS]
        nothing = [major_text(0, market.digits) for market in MARKETS]
        return [
            (
                f"{minor // 100}{CENTS[minor % 100]}"
                if digits[market] == 2
                else major_text(minor, digits[market])
            )
            if (minor := one[1][column] + two[1][column] + three[1][column])
            else nothing[market]
            for (one, two, three), market in zip(self.rows, self.markets, strict=True)
        ]

    def account(self, table: Sequence[str]) -> list[str]:
        """Return what a table of accounts says of each order's."""
        return [table[buyer // 3] for buyer in self.buyers]

    def buyer(self, table: Sequence[str]) -> list[str]:
        """Return what a table of buyers says of each order's."""
        return [table[buyer] for buyer in self.buyers]

    def market(self, table: Sequence[str]) -> list[str]:
        """Return what a table of markets says of each order's."""
        return [table[market] for market in self.markets]


def _money(column: int) -> Callable[[_Orders], list[str]]:
    return lambda orders: orders.money(column)


_ORDER_COLUMNS: Mapping[str, Callable[[_Orders], Iterable[str]]] = {
    "Id": lambda orders: orders.ids,
    "IsDeleted": lambda orders: repeat("false", len(orders.places)),
    "CreatedDate": lambda orders: orders.created,
    "SystemModstamp": lambda orders: orders.modified,
    "OrderNumber": lambda orders: numbered(_moved(orders.places, FIRST_NUMBER), 8),
    "Status": lambda orders: repeat("Activated", len(orders.places)),
    "EffectiveDate": lambda orders: [_DAYS[second // DAY] for second in orders.seconds],
    "AccountId": lambda orders: orders.account(names().account_ids),
    "Account.Id": lambda orders: orders.account(names().account_ids),
    "Account.Name": lambda orders: orders.account(names().account_names),
    "BillToContactId": lambda orders: orders.buyer(names().buyer_ids),
    "BillToContact.Id": lambda orders: orders.buyer(names().buyer_ids),
    "BillToContact.Name": lambda orders: orders.buyer(names().buyer_names),
    "BillToContact.Email": lambda orders: orders.buyer(names().buyer_emails),
    "CurrencyIsoCode": lambda orders: orders.market([market.currency for market in MARKETS]),
    **{name: _money(column) for column, name in enumerate(SUMS)},
    "DR_Order_Id__c": lambda orders: numbered(orders.places, 9, before="31", after="36"),
    "DR_Order_State__c": lambda orders: [state[0] for state in orders.states],
    "DR_Fraud_State__c": lambda orders: [state[1] for state in orders.states],
    "DR_Payment_Status__c": lambda orders: [state[2] for state in orders.states],
    "DR_Payment_Failure_Reason__c": lambda orders: [
        "" if state[2] else FAILURES[one & 7]
        for state, one in zip(orders.states, orders.hashes, strict=True)
    ],
    "DR_Customer_Type__c": lambda orders: repeat("business", len(orders.places)),
    "DR_Selling_Entity__c": lambda orders: repeat("Digital River, Inc.", len(orders.places)),
    "Has_Landed_Cost__c": lambda orders: orders.market(
        ["true" if market.duty else "false" for market in MARKETS]
    ),
}


def _thrice(texts: Iterable[str]) -> list[str]:
    return [text for text in texts for _ in range(LINES)]


def _of_rows(column: int) -> Callable[[_Orders], list[str]]:
    return lambda orders: [row[0][column] for rows in orders.rows for row in rows]


def _quantities(which: int) -> Callable[[_Orders], list[str]]:
    def column(orders: _Orders) -> list[str]:
        return [
            row.texts[QUANTITY] if is_there else "0.0"
            for rows, is_there in zip(
                orders.rows,
                [_WHERE.get(state[0], 0) == which for state in orders.states],
                strict=True,
            )
            for row in rows
        ]

    return column


def _lines(orders: _Orders, first: int) -> range:
    return range(first + orders.places.start * LINES, first + orders.places.stop * LINES)


_LINE_COLUMNS: Mapping[str, Callable[[_Orders], Iterable[str]]] = {
    "Id": lambda orders: ids_of("802", _lines(orders, FIRST_LINE)),
    "IsDeleted": lambda orders: ["false"] * (len(orders.places) * LINES),
    "CreatedDate": lambda orders: _thrice(orders.created),
    "SystemModstamp": lambda orders: _thrice(orders.modified),
    "OrderId": lambda orders: _thrice(orders.ids),
    "OrderItemNumber": lambda orders: numbered(_lines(orders, FIRST_LINE), 10),
    "Product2.Id": _of_rows(0),
    **{name: _of_rows(column) for column, name in enumerate(TEXTS)},
    "DR_Order_Item_Id__c": lambda orders: numbered(_lines(orders, 0), 10, before="41", after="36"),
    "DR_Order_Item_State__c": lambda orders: _thrice(
        _LINE_STATES.get(state[0], "created") for state in orders.states
    ),
    "DR_Open_Quantity__c": _quantities(0),
    "DR_Fulfilled_Quantity__c": _quantities(1),
    "DR_Cancelled_Quantity__c": _quantities(2),
}


class Generated:
    """The generated records of one object, Order or OrderItem, by place."""

    def __init__(self, sobject: str, shape: Shape) -> None:
        self.sobject: SObject = OBJECTS[sobject]
        self._is_line = sobject == "OrderItem"
        self._lines = LINES if self._is_line else 1
        self._seed = shape.seed
        self.count = shape.orders * self._lines if sobject in ("Order", "OrderItem") else 0
        kinds = LINE_SPOILERS if self._is_line else ORDER_SPOILERS
        self._spoilers = {
            place * self._lines: kinds[bad]
            for place, bad in shape.planted.items()
            if bad in kinds and 0 <= place < shape.orders
        }
        self.planted = sorted(self._spoilers)
        self._columns = _LINE_COLUMNS if self._is_line else _ORDER_COLUMNS
        self.keys: Sequence[str] = tuple(self._columns)

    def columns(self, places: range, keys: Sequence[str]) -> list[list[str]]:
        """Return the fields of places that follow each other, a list for each key."""
        if not places:
            return [[] for _ in keys]
        first, last = places.start // self._lines, (places.stop - 1) // self._lines + 1
        orders = _Orders(range(first, last), self._seed)
        start = places.start - first * self._lines
        made = []
        for key in keys:
            column = self._columns.get(key)
            texts = list(column(orders)) if column else [""] * ((last - first) * self._lines)
            made.append(texts[start : start + len(places)])
        self._spoil(places, keys, made)
        return made

    def _spoil(self, places: range, keys: Sequence[str], made: Sequence[list[str]]) -> None:
        at = bisect_left(self.planted, places.start)
        for place in self.planted[at:]:
            if place >= places.stop:
                return
            record = self.record(place)
            for key, column in zip(keys, made, strict=True):
                column[place - places.start] = record.get(key, "")

    def record(self, place: int) -> Texts:
        """Return one record with all its fields."""
        record = self._good(place)
        if spoiler := self._spoilers.get(place):
            spoiler(record, self._good(max(0, place - 1)))
        return record

    def _good(self, place: int) -> Texts:
        order, line = divmod(place, self._lines)
        orders = _Orders(range(order, order + 1), self._seed)
        return {key: list(column(orders))[line] for key, column in self._columns.items()}

    def place_of(self, identifier: str) -> int | None:
        """Return the place of the record with an id, None where it was not generated."""
        number = number_of(identifier, self.sobject.prefix)
        if number is None:
            return None
        place = number - (FIRST_LINE if self._is_line else FIRST_ORDER)
        return place if 0 <= place < self.count else None

    def places_with(self, key: str, value: str) -> list[int] | None:
        """Return where a record with such a value can be; None where that takes a search.

        Bad records are always among them, since their values are not where they belong.
        """
        found = self._found(key, value)
        if found is None:
            return None
        return sorted({*(place for place in found if 0 <= place < self.count), *self.planted})

    def _found(self, key: str, value: str) -> Iterable[int] | None:
        if key == "Id":
            place = self.place_of(value)
            return [] if place is None else [place]
        if self._is_line and key == "OrderId":
            number = number_of(value, "801")
            start = (number - FIRST_ORDER) * LINES if number is not None else -LINES
            return range(start, start + LINES)
        known = {
            "OrderNumber": ("", "", FIRST_NUMBER),
            "OrderItemNumber": ("", "", FIRST_LINE),
            "DR_Order_Id__c": ("31", "36", 0),
            "DR_Order_Item_Id__c": ("41", "36", 0),
        }.get(key)
        if known is None:
            return None
        before, after, first = known
        digits = value.removeprefix(before).removesuffix(after)
        if not (digits.isascii() and digits.isdigit()) or value != before + digits + after:
            return []
        return [int(digits[:18]) - first]

    def first_since(self, key: str, moment: str, *, after: bool = False) -> int:
        """Return the first place whose CreatedDate or SystemModstamp is not before a moment.

        With `after` the first one that is later than it.
        """
        later = SETTLED_AFTER if key == "SystemModstamp" else 0
        start = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
        wanted = (datetime.fromisoformat(moment) - start) // timedelta(seconds=1) - later + after
        orders = bisect_left(
            range(self.count // self._lines),
            wanted,
            key=lambda place: place * STEP + place * 17 % 60,
        )
        return orders * self._lines
