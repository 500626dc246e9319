"""Pages into the mirror: the same as one record at a time, and what only the desk knows stays."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import assume, given
from hypothesis import strategies as st

from refunds.errors import OrderUnreadable
from refunds.models import Order, OrderLine, SetAside
from refunds.options import Option, Selection
from refunds.salesforce.client import CsvPage
from refunds.salesforce.errors import SalesforceRecordError, UnreadableAnswer
from refunds.salesforce.payloads import nested, order_record
from refunds.salesforce.queries import Fields
from refunds.services.mirror.csv_rows import PageLines, orders_of_page
from refunds.services.mirror.loading import lines_load, orders_load
from refunds.services.mirror.pages import Loaded
from refunds.services.mirror.records import order_mirror
from refunds.services.mirror.rows import RecordLines, orders_of_records
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.desk import Desk, rep
from tests.services.salesforce_pages import (
    FIELDS,
    Record,
    changed,
    line_records,
    lines_page,
    order_records,
    orders_page,
)
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db

AT = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
LATER = "2026-11-02T08:00:00.000+0000"


def load_orders(records: Iterable[Record], **changes: object) -> Loaded:
    return orders_load(orders_page(records, **changes), fields=FIELDS, at=AT)


def load_lines(records: Iterable[Record], **changes: object) -> Loaded:
    return lines_load(lines_page(records, **changes), fields=FIELDS, at=AT)


def load(records: list[Record]) -> None:
    load_orders(records)
    load_lines(line_records(records))


def rows() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return all that the mirror has, but for the numbers of its own rows."""
    orders = Order.objects.order_by("salesforce_id").values()
    lines = OrderLine.objects.order_by("salesforce_id").values("order__salesforce_id", *_COLUMNS)
    return [{**row, "id": 0} for row in orders], list(lines)


_COLUMNS = [
    field.attname
    for field in OrderLine._meta.concrete_fields
    if field.attname not in ("id", "order_id")
]


def case(sandbox: Sandbox, name: str) -> Record:
    return next(
        record for record in order_records(sandbox) if record["OrderNumber"] == SHOWCASE[name]
    )


def aside() -> dict[str, str]:
    """Return the fields at fault of what is set aside, by Salesforce id."""
    return dict(SetAside.objects.values_list("salesforce_id", "field"))


# -- both ways agree -------------------------------------------------------------------------------


def test_pages_come_to_the_same_rows_as_records_one_by_one(sandbox: Sandbox) -> None:
    records = order_records(sandbox)
    load(records)
    by_pages = rows()
    OrderLine.objects.all().delete()
    Order.objects.all().delete()

    for record in records:
        order_mirror(record=order_record(record))

    assert rows() == by_pages
    assert len(by_pages[0]) == len(records)
    assert not SetAside.objects.exists()


def test_records_one_by_one_change_nothing_after_pages_and_the_other_way_round(
    sandbox: Sandbox,
) -> None:
    records = order_records(sandbox)[:40]
    load(records)
    before = rows()
    for record in records:
        order_mirror(record=order_record(record))
    assert rows() == before

    again = load_orders(records), load_lines(line_records(records))

    assert [(each.created, each.changed, each.set_aside) for each in again] == [(0, 0, 0)] * 2
    assert rows() == before


def test_a_page_twice_writes_nothing_the_second_time(sandbox: Sandbox) -> None:
    records = order_records(sandbox)[:20]
    load(records)
    with CaptureQueriesContext(connection) as queries:
        load(records)
    writing = ("INSERT INTO refunds", "DELETE FROM refunds")
    assert not [each["sql"] for each in queries if each["sql"].strip().startswith(writing)]


CHANGES: list[dict[str, object]] = [
    {"Status": "Closed"},
    {"Account": {"Name": "Müller & Söhne  🧀 " + "x" * 200}},
    {"Account": None, "BillToContact": None, "AccountId": None},
    {"BillToContact": {"Name": "Zoë Ångström", "Email": " Zoe@Example.COM "}},
    {"BillToContact": {"Name": "N" * 255, "Email": "e" * 254}},
    {"TotalAmount": Decimal("1E+3")},
    {"TotalAmount": None},
    {"TotalAmount": Decimal("12.005")},
    {"CurrencyIsoCode": "JPY", "TotalAmount": Decimal("1200.00")},
    {"CurrencyIsoCode": "KWD", "TotalAmount": Decimal("1.234")},
    {"CreatedDate": None},
    {"CreatedDate": "2026-01-05T10:11:12.345+0000"},
    {"CreatedDate": "2026-01-05T10:11:12.000-0500"},
    {"CreatedDate": None, "EffectiveDate": None},
    {"DR_Order_State__c": "s" * 255, "DR_Fraud_State__c": "f" * 255},
    {"DR_Payment_Failure_Reason__c": 'He said "no",\r\nand\nleft. ' * 500},
    {"DR_Order_Id__c": None, "DR_Customer_Type__c": "individual"},
    {"Has_Landed_Cost__c": True, "DR_Selling_Entity__c": "\\. , \" ' ;"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_an_unusual_order_is_the_same_row_both_ways(
    sandbox: Sandbox, changes: dict[str, object]
) -> None:
    record = changed(case(sandbox, "all_options"), **changes)
    load([record])
    by_page = rows()
    OrderLine.objects.all().delete()
    Order.objects.all().delete()

    order_mirror(record=order_record(record))

    assert rows() == by_page
    assert not SetAside.objects.exists()


#: What is right in some places, nearly right in others, or nothing.
TEXTS = (
    *("", "0.0", "1.50", "-1", "2.005", "1E3", "true", "USD", "JPY", "XAU", "x" * 300, " 7 ", "٣"),
    *("2026-01-05", "2026-01-05T10:11:12.000Z", "2026-02-30T10:11:12.000Z", "00100211", "\ud800"),
    *("8015g0000000001AAA", "8015g0000000001", "8015g0000000001AAB", " 8015g0000000001AAA"),
)
cells = st.one_of(st.sampled_from(TEXTS), st.text(max_size=12))


def numbers(row: Iterable[object]) -> list[object]:
    """Return a row with its amounts and quantities as numbers, whichever way they were written."""
    return [Decimal(str(value)) if _is_number(value) else value for value in row]


def _is_number(value: object) -> bool:
    if isinstance(value, int | Decimal):
        return True
    text = str(value)
    return text.isascii() and text.replace(".", "", 1).isdigit()


def _one(paths: tuple[str, ...], row: list[str]) -> CsvPage:
    text = "\n".join(",".join(f'"{cell}"' for cell in cells) for cells in (paths, row))
    return CsvPage(text=text, records=1, locator="")


GOOD_ORDER = [
    *["8015g0000000001AAA", "00100211", "Activated", "2026-01-05", "2026-01-05T10:11:12.000Z"],
    *["2026-01-05T10:11:12.000Z", "", "Acme", "Ada Lovelace", "ada@example.com", "USD", "12.5"],
    *["300100200336", "complete", "passed", "Successful", "", "business", "DR", "0", "", "0.0"],
    "false",
]
GOOD_LINE = [
    *["8025g0000000001AAA", "8015g0000000001AAA", "2026-01-05T10:11:12.000Z", "Ribbon", "R-1"],
    *["P-1", "2.0", "10.0", "20.00", "1.6", "0000000101", "150000010336", "fulfilled", "0.0"],
    *["", "0", "0.0", "2.0", ""],
]


@given(data=st.data())
def test_the_quick_way_gives_the_precise_way_s_row_of_an_order(data: st.DataObject) -> None:
    row, paths = list(GOOD_ORDER), FIELDS.of_orders()
    for _ in range(data.draw(st.integers(0, 2))):
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(cells).replace('"', "'")

    quick = orders_of_page(_one(paths, row), fields=FIELDS, default_currency="")

    precise = orders_of_records([nested(paths, row)], fields=FIELDS, default_currency="")
    assert [numbers(each) for each in quick.rows] == [numbers(each) for each in precise.rows]
    assert quick.bad == precise.bad


@given(data=st.data())
def test_the_quick_way_gives_the_precise_way_s_row_of_a_line(data: st.DataObject) -> None:
    row, paths = list(GOOD_LINE), FIELDS.of_lines()
    for _ in range(data.draw(st.integers(0, 2))):
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(cells).replace('"', "'")
    currency = data.draw(st.sampled_from(["USD", "JPY", "KWD"]))
    page = PageLines(_one(paths, row), fields=FIELDS)
    records = RecordLines([nested(paths, row)], fields=FIELDS)

    assert page.order_ids == records.order_ids
    assume(page.order_ids[0])
    assert page.record_id(0) == records.record_id(0)
    told = []
    for lines in (page, records):
        try:
            told.append(numbers(lines.row(0, 7, currency)))
        except SalesforceRecordError as error:
            told.append([str(error), error.field])
    assert told[0] == told[1]


# -- what only the desk knows ----------------------------------------------------------------------


def test_money_and_state_stay_digital_river_s_once_they_were_read(desk: Desk) -> None:
    order = desk.order("worked_sample")
    load([case(desk.sandbox, "worked_sample")])
    before = rows()
    record = changed(
        case(desk.sandbox, "worked_sample"),
        TotalAmount=Decimal(1),
        CurrencyIsoCode="EUR",
        DR_Order_State__c="cancelled",
        DR_Total_Duty__c=Decimal(5),
        Account={"Name": "Renamed"},
    )

    loaded = load_orders([record])
    lines = load_lines(line_records([record]), TotalPrice=Decimal(1), Quantity=Decimal(9))

    assert (loaded.changed, lines.changed) == (1, 0)
    order.refresh_from_db()
    assert (order.account_name, order.account_key) == ("Renamed", "renamed")
    changed_order = {**before[0][0], "account_name": "Renamed", "account_key": "renamed"}
    assert rows() == ([changed_order], before[1])


def test_a_read_order_s_new_line_was_charged_nothing(desk: Desk) -> None:
    order = desk.order("worked_sample")
    (line,) = line_records([case(desk.sandbox, "worked_sample")])
    gift = changed(line, Id="802000000000001AAA", DR_Order_Item_Id__c=None)

    assert load_lines([gift]).created == 1

    added = order.lines.get(salesforce_id="802000000000001AAA")
    assert (added.product_amount, added.tax_amount) == (0, 0)
    assert desk.refresh(order).left_amount == Decimal("27.01")


def test_a_read_order_is_counted_anew_when_fewer_units_were_fulfilled(desk: Desk) -> None:
    order = desk.order("worked_sample")
    lines = line_records([case(desk.sandbox, "worked_sample")])

    load_lines(lines, DR_Cancelled_Quantity__c=lines[0]["Quantity"])

    account = Order.objects.get(pk=order.pk)
    assert account.lines.get().cancelled_quantity == account.lines.get().quantity


def test_what_was_modified_earlier_never_takes_the_place_of_what_was_later(
    sandbox: Sandbox,
) -> None:
    record = case(sandbox, "worked_sample")
    new = changed(record, SystemModstamp=LATER, Status="Closed")
    load([new])
    load_lines(line_records([new]), DR_Fulfilled_Quantity__c=Decimal(0))
    before = rows()

    loaded = load_orders([record]), load_lines(line_records([record]))

    assert [each.changed for each in loaded] == [0, 0]
    assert rows() == before


def test_ids_that_salesforce_lost_are_kept(desk: Desk) -> None:
    order = desk.order("worked_sample")
    record = changed(case(desk.sandbox, "worked_sample"), DR_Order_Id__c=None)

    load_orders([record])
    load_lines(line_records([record]), DR_Order_Item_Id__c=None)

    kept = Order.objects.get(pk=order.pk)
    assert (kept.digital_river_id, kept.digital_river_key) == (
        order.digital_river_id,
        order.digital_river_key,
    )
    assert kept.lines.get().digital_river_id == order.lines.get().digital_river_id


def test_another_digital_river_order_is_set_aside_once_there_are_refunds(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    record = changed(case(desk.sandbox, "worked_sample"), DR_Order_Id__c="229999990336")
    other = changed(case(desk.sandbox, "plain_usd"), Status="Closed")

    loaded = load_orders([record, other])

    assert (loaded.set_aside, loaded.created, loaded.changed) == (1, 1, 0)
    assert aside() == {order.salesforce_id: "DR_Order_Id__c"}
    assert "refunds were made on" in SetAside.objects.get().reason
    order.refresh_from_db()
    assert order.digital_river_id != "229999990336"


def test_another_digital_river_order_without_refunds_is_read_afresh(desk: Desk) -> None:
    order = desk.order("worked_sample")
    record = changed(case(desk.sandbox, "worked_sample"), DR_Order_Id__c="229999990336")

    assert load_orders([record]).changed == 1

    order.refresh_from_db()
    assert (order.digital_river_id, order.refreshed_at) == ("229999990336", None)
    assert (order.left_amount, order.refundable) == (0, False)


def test_a_line_that_digital_river_told_of_first_gets_its_salesforce_id(desk: Desk) -> None:
    record = case(desk.sandbox, "all_options")
    load_orders([record])
    order = desk.refresh(Order.objects.get())
    before = {line.digital_river_id: line.pk for line in order.lines.all()}
    assert len(before) == 3

    loaded = load_lines(line_records([record]))

    assert (loaded.created, loaded.changed) == (0, 3)
    lines = order.lines.all()
    assert {line.digital_river_id: line.pk for line in lines} == before
    assert {line.salesforce_id for line in lines} == {line["Id"] for line in line_records([record])}


def test_a_line_that_both_told_of_becomes_one(desk: Desk) -> None:
    """Salesforce named the line before its item id was known; Digital River was read meanwhile."""
    record = case(desk.sandbox, "worked_sample")
    load_orders([record])
    load_lines(line_records([record]), DR_Order_Item_Id__c=None)
    order = desk.refresh(Order.objects.get())
    assert order.lines.count() == 2

    load_lines(line_records([record]))

    line = order.lines.get()
    assert line.product_amount == Decimal("20.00")
    assert line.salesforce_id == line_records([record])[0]["Id"]
    assert desk.refresh(order).left_amount == Decimal("27.01")


def test_a_deleted_order_that_is_there_again_is_no_longer_marked(desk: Desk) -> None:
    order = desk.order("worked_sample")
    Order.objects.filter(pk=order.pk).update(salesforce_deleted_at=AT)

    assert load_orders([case(desk.sandbox, "worked_sample")]).changed == 1

    order.refresh_from_db()
    assert order.salesforce_deleted_at is None


# -- what cannot be mirrored -----------------------------------------------------------------------

BAD_ORDERS: list[tuple[str, dict[str, object]]] = [
    ("Id", {"Id": None}),
    ("Id", {"Id": "801"}),
    ("OrderNumber", {"OrderNumber": None}),
    ("OrderNumber", {"OrderNumber": "7" * 31}),
    ("CurrencyIsoCode", {"CurrencyIsoCode": "ZZZ"}),
    ("CurrencyIsoCode", {"CurrencyIsoCode": None}),
    ("TotalAmount", {"TotalAmount": Decimal("-12.50")}),
    ("TotalAmount", {"TotalAmount": "a lot"}),
    ("TotalAmount", {"TotalAmount": Decimal("1E+15")}),
    ("CreatedDate", {"CreatedDate": "2026-02-30T10:11:12.000Z"}),
    ("EffectiveDate", {"EffectiveDate": "soon"}),
    ("SystemModstamp", {"SystemModstamp": "2026-01-05"}),
    ("Account.Name", {"Account": {"Name": "N" * 256}}),
    ("BillToContact.Email", {"BillToContact": {"Email": "e" * 255}}),
    ("digitalriverv3__DR_Order_Id__c", {"DR_Order_Id__c": "1" * 129}),
    ("digitalriverv3__Has_Landed_Cost__c", {"Has_Landed_Cost__c": "yes"}),
    ("Status", {"Status": "a\x00b"}),
]


@pytest.mark.parametrize(("field", "changes"), BAD_ORDERS)
def test_a_bad_order_is_set_aside_with_its_field_and_the_rest_goes_on(
    sandbox: Sandbox, field: str, changes: dict[str, object]
) -> None:
    bad, good = case(sandbox, "worked_sample"), case(sandbox, "plain_usd")

    loaded = load_orders([changed(bad, **changes), good])

    assert (loaded.read, loaded.created, loaded.set_aside) == (2, 1, 1)
    assert aside() == {"" if field == "Id" else bad["Id"]: field}
    assert Order.objects.get().order_number == good["OrderNumber"]


BAD_LINES: list[tuple[str, dict[str, object]]] = [
    ("Id", {"Id": None}),
    ("Quantity", {"Quantity": Decimal(-3)}),
    ("Quantity", {"Quantity": Decimal("2.5")}),
    ("Quantity", {"Quantity": None}),
    ("TotalPrice", {"TotalPrice": Decimal(-1)}),
    ("UnitPrice", {"UnitPrice": "free"}),
    ("OrderId", {"OrderId": None}),
    ("OrderId", {"OrderId": "801000000000001AAA"}),
    ("Product2.Name", {"Product2": {"Name": "N" * 256}}),
    ("digitalriverv3__DR_Fulfilled_Quantity__c", {"DR_Fulfilled_Quantity__c": Decimal("0.5")}),
]


@pytest.mark.parametrize(("field", "changes"), BAD_LINES)
def test_a_bad_line_is_set_aside_with_its_field_and_the_rest_goes_on(
    sandbox: Sandbox, field: str, changes: dict[str, object]
) -> None:
    record = case(sandbox, "all_options")
    load_orders([record])
    first, *others = line_records([record])

    loaded = load_lines([changed(first, **changes), *others])

    assert (loaded.read, loaded.created, loaded.set_aside) == (3, 2, 1)
    assert aside() == {"" if field == "Id" else first["Id"]: field}


def test_a_record_set_aside_is_struck_off_once_it_comes_in_good(sandbox: Sandbox) -> None:
    record = case(sandbox, "worked_sample")
    load_orders([changed(record, CurrencyIsoCode="ZZZ")])
    first_seen = SetAside.objects.get().first_seen_at
    orders_load(
        orders_page([changed(record, TotalAmount=Decimal(-1))]),
        fields=FIELDS,
        at=AT + timedelta(hours=1),
    )
    again = SetAside.objects.get()
    assert (again.field, again.first_seen_at) == ("TotalAmount", first_seen)
    assert again.last_seen_at == AT + timedelta(hours=1)

    load_orders([record])

    assert not SetAside.objects.exists()
    assert Order.objects.count() == 1


def test_the_second_order_of_a_number_is_set_aside(sandbox: Sandbox) -> None:
    one, other = case(sandbox, "worked_sample"), case(sandbox, "plain_usd")
    load_orders([one])
    double = changed(other, OrderNumber=one["OrderNumber"])
    third = changed(case(sandbox, "all_options"), OrderNumber="77")
    fourth = changed(case(sandbox, "in_review"), OrderNumber="77")

    loaded = load_orders([double, third, fourth])

    assert (loaded.created, loaded.set_aside) == (1, 2)
    assert aside() == {double["Id"]: "OrderNumber", fourth["Id"]: "OrderNumber"}


def test_the_second_order_of_a_digital_river_id_is_set_aside(sandbox: Sandbox) -> None:
    one, other = case(sandbox, "worked_sample"), case(sandbox, "plain_usd")
    named = one["digitalriverv3__DR_Order_Id__c"]

    loaded = load_orders([one, changed(other, DR_Order_Id__c=named)])

    assert (loaded.created, loaded.set_aside) == (1, 1)
    assert aside() == {other["Id"]: "DR_Order_Id__c"}


def test_the_second_line_of_an_item_is_set_aside(sandbox: Sandbox) -> None:
    record = case(sandbox, "all_options")
    load_orders([record])
    first, second, third = line_records([record])
    item = first["digitalriverv3__DR_Order_Item_Id__c"]
    load_lines([first])

    loaded = load_lines([changed(second, DR_Order_Item_Id__c=item), third])

    assert (loaded.created, loaded.set_aside) == (1, 1)
    assert aside() == {second["Id"]: "DR_Order_Item_Id__c"}


def test_a_record_twice_on_a_page_is_taken_as_it_was_last(sandbox: Sandbox) -> None:
    record = case(sandbox, "worked_sample")
    newer = changed(record, SystemModstamp=LATER, Status="Closed")

    assert load_orders([newer, record]).created == 1

    assert Order.objects.get().salesforce_status == "Closed"


def test_ten_megabytes_in_a_field_break_nothing(sandbox: Sandbox) -> None:
    record = changed(
        case(sandbox, "worked_sample"), DR_Payment_Failure_Reason__c="Tëxt 🧀, " * 1_200_000
    )

    assert load_orders([record, case(sandbox, "plain_usd")]).created == 2

    order = Order.objects.get(order_number=record["OrderNumber"])
    assert order.payment_failure_reason.startswith("Tëxt 🧀, Tëxt")
    assert len(order.payment_failure_reason) <= 1000


def test_an_organisation_without_currencies_uses_the_desk_s(sandbox: Sandbox) -> None:
    fields = Fields("digitalriverv3", has_currency=False)
    page = orders_page([case(sandbox, "worked_sample")])
    place = FIELDS.of_orders().index("CurrencyIsoCode")
    told = [row[:place] + row[place + 1 :] for row in csv.reader(io.StringIO(page.text))]
    text = io.StringIO()
    csv.writer(text).writerows(told)

    orders_load(
        CsvPage(text=text.getvalue(), records=1, locator=""),
        fields=fields,
        default_currency="CHF",
        at=AT,
    )

    assert Order.objects.get().currency == "CHF"


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(",", ";", 3),
        lambda text: text + '"never closed',
        lambda text: text.replace("OrderNumber", "Number", 1),
        lambda text: text + text.splitlines()[1] + "\n",
    ],
    ids=["cut", "other separator", "open quote", "other field", "one too many"],
)
def test_a_page_that_is_not_whole_changes_nothing(sandbox: Sandbox, spoiled: Any) -> None:
    page = orders_page(order_records(sandbox)[:5])

    with pytest.raises(UnreadableAnswer):
        orders_load(CsvPage(text=spoiled(page.text), records=5, locator=""), fields=FIELDS, at=AT)

    assert not Order.objects.exists()


def test_a_page_without_records_is_none(sandbox: Sandbox) -> None:
    for text in ("", ",".join(FIELDS.of_orders()) + "\n"):
        page = CsvPage(text=text, records=0, locator="")
        assert orders_load(page, fields=FIELDS, at=AT).read == 0
        assert lines_load(page, fields=FIELDS, at=AT).read == 0


def test_figures_of_the_order_that_was_meant_before_are_not_taken_for_the_new_one(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")
    record = changed(case(desk.sandbox, "worked_sample"), DR_Order_Id__c="229999990336")
    desk.clock.forward(minutes=1)
    # Something about it differs, so that the figures are to be written.
    Order.objects.filter(pk=order.pk).update(captured_amount=0, left_amount=0)
    order.refresh_from_db()

    def meanwhile() -> None:
        load_orders([record])

    wire.after_read = meanwhile

    with pytest.raises(OrderUnreadable, match="another Digital River order"):
        desk.refresh(order)

    order.refresh_from_db()
    assert (order.digital_river_id, order.refreshed_at) == ("229999990336", None)
    assert order.captured_amount == 0
