"""Looking something up by Digital River's id: by its index, never by reading a whole table."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from refunds.digitalriver.payloads import Refund, read_event, read_refund_page
from refunds.models import Event, Order
from refunds.services.comparisons import matched
from refunds.services.events import event_process, event_store
from tests.desk import Desk

pytestmark = pytest.mark.django_db

#: Unknown, so that every way to find them is gone.
ORDER_ID, REFUND_ID = "220000019999", "re_00000000-0000-4000-8000-000000000000"


def whole_tables_read(captured: CaptureQueriesContext, *tables: str) -> list[str]:
    """Return the queries of these tables whose plan reads one of them whole; there must be some."""
    of_tables = [
        query["sql"]
        for query in captured.captured_queries
        if query["sql"].startswith("SELECT")
        and any(f'FROM "{table}"' in query["sql"] for table in tables)
    ]
    assert of_tables
    return [sql for sql in of_tables if "SCAN" in (plan := _plan(sql)) or "Seq Scan" in plan]


def _plan(sql: str) -> str:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # A table of a few rows is read whole for good reason, unless that is ruled out.
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sql}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def processed(desk: Desk, subject: dict[str, str]) -> CaptureQueriesContext:
    """Process an event about this; returns the queries that were made."""
    body = json.dumps({"id": "evt", "type": "refund.complete", "data": {"object": subject}})
    told = read_event(body.encode())
    event, _ = event_store(told=told, body=body, source=Event.Source.WEBHOOK, clock=desk.clock)
    assert event is not None
    with CaptureQueriesContext(connection) as captured:
        event_process(event_id=event.pk, clock=desk.clock, client=desk.client)
    return captured


def listed(*refund_ids: str) -> tuple[Refund, ...]:
    data = [
        {
            "id": each,
            "createdTime": "2026-10-01T00:00:00Z",
            "currency": "USD",
            "amount": 1.0,
            "items": [],
            "orderId": ORDER_ID,
            "refundedAmount": 1.0,
            "state": "succeeded",
            "liveMode": False,
        }
        for each in refund_ids
    ]
    return read_refund_page(json.dumps({"hasMore": False, "data": data}).encode()).refunds


def test_lookup_order_that_an_event_names(desk: Desk) -> None:
    desk.order("all_options")
    captured = processed(desk, {"id": REFUND_ID, "orderId": ORDER_ID})
    assert whole_tables_read(captured, Order._meta.db_table) == []


def test_lookup_refund_that_an_event_names_without_its_order(desk: Desk) -> None:
    desk.order("all_options")
    captured = processed(desk, {"id": REFUND_ID})
    assert whole_tables_read(captured, "refunds_refund", "refunds_order") == []


def test_lookup_refunds_of_a_page_of_digital_rivers(desk: Desk) -> None:
    desk.order("all_options")
    with CaptureQueriesContext(connection) as captured:
        matched(listed(REFUND_ID, f"{REFUND_ID[:-1]}1"))
    assert whole_tables_read(captured, "refunds_refund", "refunds_refundattempt") == []
