"""Many rows at once into the mirror's tables, the quickest way each database has.

PostgreSQL takes them by COPY, SQLite by one prepared statement. Both keep rows that are compared
with those of the mirror in a temporary table, which is gone or emptied with the next page.

https://www.postgresql.org/docs/current/sql-copy.html
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import CharField, Model

from refunds.services.mirror.rows import Row, Value

#: What a statement's places are filled with, as the database's driver takes it.
Parameters = list[Any]


class Tables(Protocol):
    """What the two databases do in their own ways, within the caller's transaction."""

    #: Told apart even where one of them is null.
    DISTINCT: str
    #: Holds the rows that are read until the transaction ends, but not those that refer to them.
    LOCKED: str

    def prepare(self) -> None:
        """Make the statements of a page look rows up by their keys."""
        ...

    def among(self, values: Sequence[Value]) -> tuple[str, Parameters]:
        """Return a condition's end that holds for any of the values, and its parameters."""
        ...

    def insert(self, model: type[Model], columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert the rows; columns that are not named get the model's defaults."""
        ...

    def stage(
        self, name: str, model: type[Model], columns: Sequence[str], rows: Sequence[Row]
    ) -> None:
        """Put the rows into a temporary table of that name, with columns as the model's."""
        ...


def tables() -> Tables:
    """Return the ways of the database at hand."""
    return _PostgreSQL() if connection.vendor == "postgresql" else _SQLite()


def selected(statement: str, parameters: Parameters | None = None) -> list[Row]:
    """Return what a statement reads."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def done(statement: str, parameters: Parameters | None = None) -> int:
    """Execute a statement that writes; returns how many rows it wrote."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


class _PostgreSQL:
    DISTINCT = "IS DISTINCT FROM"
    LOCKED = "ORDER BY id FOR NO KEY UPDATE"

    def prepare(self) -> None:
        # Nobody has counted the temporary table's rows, and a page is a sliver of the mirror:
        # a plan that reads a table of a million rows for it is never the better one. Compiling
        # the statement costs more than executing it.
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; "
                "SET LOCAL enable_mergejoin = off; SET LOCAL jit = off"
            )

    def among(self, values: Sequence[Value]) -> tuple[str, Parameters]:
        return "= ANY(%s)", [list(values)]

    def insert(self, model: type[Model], columns: Sequence[str], rows: Sequence[Row]) -> None:
        names, values = _defaults(model, tuple(columns))
        with connection.cursor() as cursor:
            _copy(
                cursor,
                model._meta.db_table,
                model,
                [*columns, *names],
                (row + values for row in rows) if values else rows,
            )

    def stage(
        self, name: str, model: type[Model], columns: Sequence[str], rows: Sequence[Row]
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ON COMMIT DROP AS "
                f"SELECT {', '.join(columns)} FROM {model._meta.db_table} WITH NO DATA"
            )
            cursor.execute(f"TRUNCATE {name}")
            _copy(cursor, name, model, columns, rows)


def _copy(
    cursor: CursorWrapper,
    table: str,
    model: type[Model],
    columns: Sequence[str],
    rows: Iterable[Row],
) -> None:
    # Every empty value is null, but in a text it is the empty text.
    texts = [name for name in columns if isinstance(_field(model, name), CharField)]
    written = io.StringIO()
    # With this ending both of its characters are quoted within a text, as PostgreSQL needs it.
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    with cursor.copy(
        f"COPY {table} ({', '.join(columns)}) FROM STDIN "
        f"(FORMAT csv, FORCE_NOT_NULL ({', '.join(texts)}))"
    ) as copy:
        copy.write(written.getvalue())


class _SQLite:
    DISTINCT = "IS NOT"
    # Whoever writes has the whole database.
    LOCKED = "ORDER BY id"

    def prepare(self) -> None:
        """Nothing: its plans go by the keys."""

    def among(self, values: Sequence[Value]) -> tuple[str, Parameters]:
        # One parameter however many values; a statement may have only so many.
        return "IN (SELECT value FROM json_each(%s))", [json.dumps(list(values))]

    def insert(self, model: type[Model], columns: Sequence[str], rows: Sequence[Row]) -> None:
        names, values = _defaults(model, tuple(columns))
        self._insert(model._meta.db_table, [*columns, *names], [row + values for row in rows])

    def stage(
        self, name: str, model: type[Model], columns: Sequence[str], rows: Sequence[Row]
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} AS "
                f"SELECT {', '.join(columns)} FROM {model._meta.db_table} WHERE 0"
            )
            cursor.execute(f"DELETE FROM {name}")
        self._insert(name, columns, rows)

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        places = ", ".join(["%s"] * len(columns))
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows
            )


@lru_cache(maxsize=16)
def _defaults(model: type[Model], columns: Sequence[str]) -> tuple[list[str], Row]:
    """Return the columns that need a value and are not named, with the model's defaults."""
    names, values = list[str](), list[Value]()
    for each in model._meta.concrete_fields:
        if each.null or each.primary_key or each.generated or each.column in columns:
            continue
        default = each.get_default()
        names.append(str(each.column))
        values.append(int(default) if isinstance(default, bool) else default)
    return names, tuple(values)


def _field(model: type[Model], column: str) -> object:
    return next((each for each in model._meta.concrete_fields if each.column == column), None)
