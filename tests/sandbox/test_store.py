"""One state file, several threads and processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sandbox.errors import NotFoundError, RefusedError, StateFileError
from sandbox.orders import Line, PastRefund, make_order, order_id_of
from sandbox.refund_request import parse_refund
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.sandbox.conftest import MakeSandbox

ROOT = Path(__file__).resolve().parents[2]

ASK = """
import sys
from datetime import date
from sandbox.errors import RefusedError
from sandbox.refund_request import parse_refund
from sandbox.store import Sandbox
sandbox = Sandbox(sys.argv[1], shop_anchor=date(2024, 4, 1))
order_id = sys.argv[2] or sandbox.order_id(sys.argv[3])
made = 0
for _ in range(40):
    try:
        body = {"orderId": order_id, "currency": "USD", "amount": sys.argv[4]}
        sandbox.create_refund(parse_refund(body))
        made += 1
    except RefusedError:
        pass
print(made)
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ASK, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> int:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return int(output)


def test_two_processes_fill_one_file_once_and_never_refund_too_much(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite3"
    processes = [start(str(path), "", SHOWCASE["worked_sample"], "1.00") for _ in range(2)]

    made = sum(map(finish, processes))

    sandbox = Sandbox(path)
    assert made == 27
    order_id = sandbox.order_id(SHOWCASE["worked_sample"])
    assert order_id is not None
    assert sandbox.order(order_id)["availableToRefundAmount"] == Decimal("0.01")
    assert len(sandbox.salesforce_records()) == 330
    sandbox.close()


def test_threads_never_refund_more_than_was_captured(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox([make_order(1, lines=[Line(Decimal("10.00"))])])
    ask = parse_refund({"orderId": order_id_of(1), "currency": "USD", "amount": "0.70"})
    made: list[Decimal] = []
    refusals: list[str] = []

    def work() -> None:
        for _ in range(5):
            try:
                made.append(sandbox.create_refund(ask)["amount"])
            except RefusedError as refusal:
                refusals.append(refusal.parameter or "")
        sandbox.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(made) == Decimal("9.80")
    assert set(refusals) == {"amountRequested"}
    assert len(made) + len(refusals) == 30


def test_due_refund_settles_once_whoever_asks(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    moment = datetime(2024, 4, 1, 9, tzinfo=UTC)
    sandbox = Sandbox(
        path, orders=[make_order(1, lines=[Line(Decimal("10.00"))])], clock=lambda: moment
    )
    body = {"orderId": order_id_of(1), "currency": "USD", "percent": 100}
    sandbox.create_refund(parse_refund(body))
    later = datetime(2024, 4, 2, tzinfo=UTC)

    def look() -> None:
        seen = Sandbox(path, clock=lambda: later)
        seen.refunds()
        seen.close()

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    complete = [event for event in sandbox.events().data if event["type"] == "refund.complete"]
    assert len(complete) == 1
    sandbox.close()


def test_put_order_replaces_an_order_and_its_refunds(make_sandbox: MakeSandbox) -> None:
    past = PastRefund({"amount": "4.00"})
    sandbox = make_sandbox([make_order(1, lines=[Line(Decimal("10.00"))], refunds=[past])])
    assert sandbox.order(order_id_of(1))["availableToRefundAmount"] == Decimal("6.00")

    sandbox.put_order(make_order(1, lines=[Line(Decimal("12.00"))]))

    assert sandbox.order(order_id_of(1))["availableToRefundAmount"] == Decimal("12.00")
    assert sandbox.refunds().data == []


def test_salesforce_record_is_that_of_its_number(make_sandbox: MakeSandbox) -> None:
    lines = [Line(Decimal("10.00"))]
    sandbox = make_sandbox([make_order(1, lines=lines), make_order(2, lines=lines)])
    first, second = sandbox.salesforce_records()
    assert sandbox.salesforce_record(second["OrderNumber"]) == second != first
    with pytest.raises(NotFoundError):
        sandbox.salesforce_record("of no order")


def test_file_that_is_no_state_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and not a database at all\n" * 40)

    with pytest.raises(StateFileError, match="Delete it"):
        Sandbox(path)


def test_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    Sandbox(path, orders=[]).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '1' WHERE name = 'layout'")
    connection.commit()
    connection.close()

    with pytest.raises(StateFileError, match="another version"):
        Sandbox(path)


def test_stand_in_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    orders = [make_order(1, lines=[Line(Decimal("10.00"))])]
    first, second = Sandbox(":memory:", orders=orders), Sandbox(":memory:", orders=orders)
    first.create_refund(parse_refund({"orderId": order_id_of(1), "currency": "USD", "amount": 4}))

    assert first.order(order_id_of(1))["availableToRefundAmount"] == Decimal("6.00")
    assert second.order(order_id_of(1))["availableToRefundAmount"] == Decimal("10.00")
    assert list(tmp_path.iterdir()) == []
    first.close()
    second.close()


def test_stand_in_in_memory_serves_one_thread_until_it_is_closed() -> None:
    sandbox = Sandbox(":memory:", orders=[])
    refusals: list[str] = []

    def look() -> None:
        try:
            sandbox.refunds()
        except StateFileError as refusal:
            refusals.append(str(refusal))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert sandbox.refunds().data == []
    sandbox.close()
    look()

    assert len(refusals) == 2
    assert "only the thread that made it" in refusals[0]


def test_anchor_is_kept_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    Sandbox(path, orders=[], shop_anchor=date(2024, 4, 1)).close()

    sandbox = Sandbox(path, shop_anchor=date(2025, 1, 1))

    assert sandbox.shop_anchor == date(2024, 4, 1)
    sandbox.close()
