"""Measures the first load of orders from Salesforce in a process of its own.

Started by ``benchmarks`` on the database that ``DATABASE_URL`` names. The pages are those of the
stand-in's bulk 2.0 jobs, recorded by the desk's client over the wire before anything is timed: the
desk and the floor load the very same ones. The floor parses them and puts their texts into the
same tables as quickly as the database takes them, with the same upsert: COPY into a temporary
table and one INSERT ... ON CONFLICT DO UPDATE a page on PostgreSQL, ``executemany`` of such a
statement on SQLite. It checks nothing.
"""

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import django
from django.db import connection, transaction

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.desk_settings")
django.setup()

# Django has to be set up before models are imported.
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db.models import Model  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.desk_settings import DIRECTORY  # noqa: E402
from benchmarks.loading_report import Load  # noqa: E402
from benchmarks.memory import memory  # noqa: E402
from refunds.models import Order, OrderLine  # noqa: E402
from refunds.salesforce import queries  # noqa: E402
from refunds.salesforce.client import Credentials, CsvPage, SalesforceClient  # noqa: E402
from refunds.salesforce.queries import Fields  # noqa: E402
from refunds.services.mirror.loading import lines_load, orders_load  # noqa: E402
from sandbox.salesforce.organisation import Organisation  # noqa: E402
from sandbox.salesforce.shape import CONSUMER_KEY, CONSUMER_SECRET  # noqa: E402
from sandbox.salesforce.transport import in_process_for  # noqa: E402
from sandbox.store import Sandbox  # noqa: E402

_PAGE = 10_000
_FIELDS = Fields(settings.SALESFORCE_NAMESPACE)
_ORDERS, _LINES = "orders", "lines"


def main(what: str, size: int) -> None:
    """Record the pages, or load them; a load is written as one line of JSON."""
    if what == "record":
        _record(size)
        return
    call_command("migrate", verbosity=0)
    _LOADS[what](next(_pages(size, _ORDERS)), next(_pages(size, _LINES)), warm_up=True)
    before, started = memory("VmRSS"), time.perf_counter()
    for page in _pages(size, _ORDERS):
        _LOADS[what](page, None)
    orders_done = time.perf_counter()
    for page in _pages(size, _LINES):
        _LOADS[what](None, page)
    ended = time.perf_counter()
    orders, lines = Order.objects.count(), OrderLine.objects.count()
    if orders < size or lines < 3 * size:
        raise RuntimeError(f"Nothing was measured: {orders} orders and {lines} lines were loaded.")
    print(
        Load(
            what=what,
            orders=orders,
            lines=lines,
            orders_seconds=orders_done - started,
            lines_seconds=ended - orders_done,
            memory_before=before,
            memory_most=memory("VmHWM"),
        ).written
    )
    connection.close()


# -- the pages


def _record(size: int) -> None:
    """Have the stand-in generate so many orders, and write its pages as files."""
    with closing(Sandbox(DIRECTORY / f"salesforce_{size}.sqlite3", orders=[])) as sandbox:
        organisation = Organisation(sandbox)
        organisation.reshape(orders=size)
        client = SalesforceClient(
            credentials=Credentials("acme.my", CONSUMER_KEY, CONSUMER_SECRET),
            adapter=in_process_for(organisation),
        )
        _folder(size).mkdir()
        for name, query in ((_ORDERS, queries.orders(_FIELDS)), (_LINES, queries.lines(_FIELDS))):
            job = client.start_bulk(query)
            client.wait_for_bulk(job, on_wait=lambda: None)
            locator, number = "", 0
            while number == 0 or locator:
                page = client.bulk_page(job, locator, most=_PAGE)
                path = _folder(size) / f"{name}-{number:06d}-{page.records}.csv"
                path.write_text(page.text, encoding="utf-8", newline="")
                locator, number = page.locator, number + 1


def _folder(size: int) -> Path:
    return DIRECTORY / f"pages_{size}"


def _pages(size: int, name: str) -> Iterator[CsvPage]:
    for path in sorted(_folder(size).glob(f"{name}-*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        yield CsvPage(text=text, records=int(path.stem.rpartition("-")[2]), locator="")


# -- the desk


def _desk(orders: CsvPage | None, lines: CsvPage | None, *, warm_up: bool = False) -> None:
    with transaction.atomic():
        if orders is not None:
            orders_load(orders, fields=_FIELDS, at=timezone.now())
        if lines is not None:
            lines_load(lines, fields=_FIELDS, at=timezone.now())
        transaction.set_rollback(warm_up)


# -- the floor

#: Columns by the path of the field whose text they take.
_ORDER_TEXTS = {
    "salesforce_id": "Id",
    "order_number": "OrderNumber",
    "salesforce_status": "Status",
    "account_salesforce_id": "AccountId",
    "account_name": "Account.Name",
    "buyer_name": "BillToContact.Name",
    "buyer_email": "BillToContact.Email",
    "ordered_at": "CreatedDate",
    "salesforce_modified_at": "SystemModstamp",
    "fraud_state": _FIELDS.custom("DR_Fraud_State__c"),
    "payment_status": _FIELDS.custom("DR_Payment_Status__c"),
    "payment_failure_reason": _FIELDS.custom("DR_Payment_Failure_Reason__c"),
    "customer_type": _FIELDS.custom("DR_Customer_Type__c"),
    "selling_entity": _FIELDS.custom("DR_Selling_Entity__c"),
    "has_landed_cost": _FIELDS.custom("Has_Landed_Cost__c"),
    "digital_river_id": _FIELDS.custom("DR_Order_Id__c"),
    "number_key": "OrderNumber",
    "digital_river_key": _FIELDS.custom("DR_Order_Id__c"),
    "salesforce_key": "Id",
    "email_key": "BillToContact.Email",
    "buyer_key": "BillToContact.Name",
    "surname_key": "BillToContact.Name",
    "account_key": "Account.Name",
    "currency": "CurrencyIsoCode",
    "state": _FIELDS.custom("DR_Order_State__c"),
    "total_amount": "TotalAmount",
    "duty_amount": _FIELDS.custom("DR_Total_Duty__c"),
    "importer_tax_amount": _FIELDS.custom("DR_Total_IOR_Tax__c"),
    "fees_amount": _FIELDS.custom("DR_Total_Regulatory_Fee__c"),
}
_LINE_TEXTS = {
    "order_id": "OrderId",
    "position": "OrderItemNumber",
    "salesforce_id": "Id",
    "digital_river_id": _FIELDS.custom("DR_Order_Item_Id__c"),
    "product_name": "Product2.Name",
    "sku": "Product2.StockKeepingUnit",
    "part_number": "Product2.ProductCode",
    "fulfilled_quantity": _FIELDS.custom("DR_Fulfilled_Quantity__c"),
    "cancelled_quantity": _FIELDS.custom("DR_Cancelled_Quantity__c"),
    "open_quantity": _FIELDS.custom("DR_Open_Quantity__c"),
    "salesforce_modified_at": "SystemModstamp",
    "state": _FIELDS.custom("DR_Order_Item_State__c"),
    "quantity": "Quantity",
    "product_amount": "TotalPrice",
    "tax_amount": "TotalTaxAmount",
    "duty_amount": _FIELDS.custom("DR_Duty__c"),
    "importer_tax_amount": _FIELDS.custom("DR_IOR_Tax__c"),
    "fees_amount": _FIELDS.custom("DR_Regulatory_Fee__c"),
}
_ORDER_KEY, _LINE_KEY = (
    "(salesforce_id)",
    "(order_id, salesforce_id) WHERE NOT (salesforce_id = '')",
)


def _floor(orders: CsvPage | None, lines: CsvPage | None, *, warm_up: bool = False) -> None:
    with transaction.atomic():
        if orders is not None:
            _put(Order, _ORDER_TEXTS, orders, _ORDER_KEY)
        if lines is not None:
            _put(OrderLine, _LINE_TEXTS, lines, _LINE_KEY)
        transaction.set_rollback(warm_up)


def _put(model: type[Model], texts: Mapping[str, str], page: CsvPage, key: str) -> None:
    heading, *rows = csv.reader(io.StringIO(page.text, newline=""))
    if connection.vendor == "postgresql":
        _put_by_copy(model, texts, heading, rows, key)
    else:
        _put_one_by_one(model, texts, heading, rows, key)


def _put_by_copy(
    model: type[Model],
    texts: Mapping[str, str],
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    key: str,
) -> None:
    quoted = [f'"{name}"' for name in heading]
    types = {field.column: field.db_type(connection) for field in model._meta.concrete_fields}
    taken = {
        column: f"""NULLIF("{path}", '')::{_cast(types[column])}"""
        if _is_figure(types[column])
        else f"""lower("{path}")"""
        if column.endswith("_key")
        else f'"{path}"'
        for column, path in texts.items()
    }
    if "order_id" in taken:
        taken["order_id"] = "owner.id"
    source = "told"
    if model is OrderLine:
        source = 'told JOIN refunds_order AS owner ON owner.salesforce_id = told."OrderId"'
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMPORARY TABLE told ({', '.join(f'{name} text' for name in quoted)}) "
            "ON COMMIT DROP"
        )
        written = io.StringIO()
        csv.writer(written).writerows(rows)
        # As texts: an empty one stays an empty text.
        with cursor.copy(
            f"COPY told FROM STDIN (FORMAT csv, FORCE_NOT_NULL ({', '.join(quoted)}))"
        ) as copy:
            copy.write(written.getvalue())
        # The quickest plan at every size: a page is small beside the table.
        cursor.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        cursor.execute(_upsert(model, taken, f"SELECT {{taken}} FROM {source}", key))  # noqa: S608 -- names of the models
        cursor.execute("DROP TABLE told")


def _put_one_by_one(
    model: type[Model],
    texts: Mapping[str, str],
    heading: Sequence[str],
    rows: Sequence[Sequence[str]],
    key: str,
) -> None:
    taken = {column: f"?{heading.index(path) + 1}" for column, path in texts.items()}
    taken |= {column: f"lower({place})" for column, place in taken.items() if "_key" in column}
    if "order_id" in taken:
        owner = f"(SELECT id FROM refunds_order WHERE salesforce_id = {taken['order_id']})"  # noqa: S608 -- names of the models
        taken["order_id"] = owner
    statement = _upsert(model, taken, "VALUES ({taken})", key)
    with connection.cursor() as cursor:
        # The driver's own cursor: Django's would look for % in the statement.
        cursor.cursor.connection.executemany(statement, rows)


def _upsert(model: type[Model], taken: Mapping[str, str], source: str, key: str) -> str:
    """Return the statement that inserts what is new and updates what is there."""
    columns = dict(taken)
    for field in model._meta.concrete_fields:
        name = str(field.column)
        if name in columns or field.primary_key or field.null or field.generated:
            continue
        default = field.get_default()
        columns[name] = f"'{default}'" if isinstance(default, str) else str(default).lower()
    values = ", ".join(columns.values())
    changes = ", ".join(f"{name} = excluded.{name}" for name in taken if name not in key)
    return (
        f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) "
        f"{source.format(taken=values)} ON CONFLICT {key} DO UPDATE SET {changes}"
    )


def _is_figure(kind: str | None) -> bool:
    return not str(kind).startswith(("varchar", "text"))


def _cast(kind: str | None) -> str:
    # Salesforce writes quantities with a decimal.
    return "numeric" if str(kind).startswith(("integer", "smallint", "bigint")) else str(kind)


_LOADS: Mapping[str, Callable[..., None]] = {"desk": _desk, "floor": _floor}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
