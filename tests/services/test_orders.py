"""The mirror: what Salesforce tells, what only Digital River tells, and reading it again."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from refunds.errors import OrderUnreadable, RecordUnusable
from refunds.models import Order, OrderLine, Refund
from refunds.options import Option, Selection
from refunds.salesforce.errors import SalesforceRecordError
from refunds.salesforce.payloads import OrderRecord, order_record
from refunds.selectors import lines_of, order_position
from refunds.services.mirror.records import order_mirror
from refunds.services.orders import order_refresh
from sandbox.faults import Fault, FaultKind
from sandbox.shop import SHOWCASE
from sandbox.store import Sandbox
from tests.desk import Desk, rep
from tests.services.account import check_account, check_settled, spoil
from tests.services.wire import Wire

pytestmark = pytest.mark.django_db


def record_of(sandbox: Sandbox, case: str) -> OrderRecord:
    """Return the Salesforce record of the shop's order of this case."""
    return order_record(sandbox.salesforce_record(SHOWCASE[case]))


# -- mirroring -------------------------------------------------------------------------------------


def test_order_mirror_creates_an_order_with_salesforce_s_money(sandbox: Sandbox, db: None) -> None:
    record = record_of(sandbox, "all_options")

    order = order_mirror(record=record)

    assert order.order_number == SHOWCASE["all_options"]
    assert order.salesforce_id == record.id
    assert order.digital_river_id == record.digitalriver_order_id
    assert order.refreshed_at is None
    assert order.currency == "GBP"
    assert order.total_amount == record.total_amount
    assert order.importer_tax_amount == record.total_importer_tax
    assert order.left_amount == 0
    assert not order.refundable
    lines = lines_of(order)
    assert [line.salesforce_id for line in lines] == [line.id for line in record.lines]
    assert [line.digital_river_id for line in lines] == [
        line.digitalriver_item_id for line in record.lines
    ]
    assert [line.product_amount for line in lines] == [line.total_price for line in record.lines]
    assert order.email_key == record.buyer_email.casefold()


def test_order_mirror_updates_identity_and_until_read_the_money_too(
    sandbox: Sandbox, db: None
) -> None:
    record = record_of(sandbox, "worked_sample")
    order_mirror(record=record)
    line = replace(record.lines[0], total_price=Decimal("19.00"), product_name="Another ribbon")
    changed = replace(
        record, buyer_name="Zoë Ångström", total_amount=Decimal("26.01"), lines=(line,)
    )

    order = order_mirror(record=changed)

    assert Order.objects.count() == OrderLine.objects.count() == 1
    order.refresh_from_db()
    assert order.buyer_name == "Zoë Ångström"
    assert order.buyer_key == "zoe angstrom"
    assert order.total_amount == Decimal("26.01")
    kept = order.lines.get()
    assert kept.product_name == "Another ribbon"
    assert kept.product_amount == Decimal("19.00")


def test_order_mirror_leaves_the_money_alone_once_it_was_read(desk: Desk) -> None:
    order = desk.order("worked_sample")
    record = record_of(desk.sandbox, "worked_sample")
    line = replace(record.lines[0], total_price=Decimal("1.00"), total_tax=Decimal("0.00"))
    order_mirror(
        record=replace(
            record,
            currency="EUR",
            digitalriver_state="cancelled",
            total_amount=Decimal("1.00"),
            account_name="Renamed",
            lines=(line,),
        )
    )

    order.refresh_from_db()
    assert order.account_name == "Renamed"
    assert (order.currency, order.state) == ("USD", "complete")
    assert order.total_amount == Decimal("27.01")
    assert order.lines.get().product_amount == Decimal("20.00")
    assert order.left_amount == Decimal("27.01")


def test_order_mirror_twice_writes_nothing_the_second_time(sandbox: Sandbox, db: None) -> None:
    record = record_of(sandbox, "all_options")
    order_mirror(record=record)

    with CaptureQueriesContext(connection) as queries:
        order_mirror(record=record)

    assert not [
        query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "INSERT", "DELETE"))
    ]


def test_order_mirror_adds_a_line_and_matches_lines_by_id(sandbox: Sandbox, db: None) -> None:
    record = record_of(sandbox, "all_options")
    first, second, third = record.lines
    order = order_mirror(record=replace(record, lines=(first, second)))
    before = [line.pk for line in lines_of(order)]

    order = order_mirror(record=replace(record, lines=(third, first, second)))

    lines = lines_of(order)
    assert [line.salesforce_id for line in lines] == [third.id, first.id, second.id]
    assert [line.pk for line in lines][1:] == before


def test_order_mirror_of_an_order_that_never_reached_digital_river(
    sandbox: Sandbox, db: None
) -> None:
    order = order_mirror(record=record_of(sandbox, "no_digital_river_id"))

    assert order.digital_river_id == ""
    account = order_refresh(order=order)
    assert "no Digital River order id" in account.position.closed_because
    assert not order.refundable


def test_order_mirror_learns_the_digital_river_id_later(desk: Desk) -> None:
    record = record_of(desk.sandbox, "worked_sample")
    early = replace(
        record,
        digitalriver_order_id="",
        lines=tuple(replace(line, digitalriver_item_id="") for line in record.lines),
    )
    order_mirror(record=early)

    order = desk.order("worked_sample")

    assert order.digital_river_id == record.digitalriver_order_id
    assert order.digital_river_key
    assert order.lines.count() == 1
    assert order.left_amount == Decimal("27.01")


def test_order_mirror_never_forgets_ids_that_salesforce_lost(desk: Desk) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    record = record_of(desk.sandbox, "worked_sample")
    lost = replace(
        record,
        digitalriver_order_id="",
        lines=tuple(replace(line, digitalriver_item_id="") for line in record.lines),
    )

    order_mirror(record=lost)

    order = Order.objects.get(pk=order.pk)
    assert order.digital_river_id == record.digitalriver_order_id
    assert order.lines.get().digital_river_id == record.lines[0].digitalriver_item_id
    desk.clock.forward(seconds=1)
    desk.refresh(order)
    assert refund.attempts.get().missing_since == desk.clock()


def test_order_mirror_refuses_another_digital_river_id_once_there_are_refunds(desk: Desk) -> None:
    """Looks at another order would not find the refund, and it would be sent a second time."""
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_AFTER)
    desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    record = record_of(desk.sandbox, "worked_sample")
    other = desk.order("plain_usd").digital_river_id
    Order.objects.filter(order_number=SHOWCASE["plain_usd"]).update(digital_river_id="")

    with pytest.raises(RecordUnusable, match="Digital River"):
        order_mirror(record=replace(record, digitalriver_order_id=other, buyer_name="Changed"))

    order.refresh_from_db()
    assert order.digital_river_id == record.digitalriver_order_id
    assert order.buyer_name == record.buyer_name


def test_order_mirror_with_another_digital_river_id_starts_reading_afresh(desk: Desk) -> None:
    order = desk.order("worked_sample")
    record = record_of(desk.sandbox, "worked_sample")

    order_mirror(record=replace(record, digitalriver_order_id="229999990336"))

    order.refresh_from_db()
    assert order.digital_river_id == "229999990336"
    assert order.refreshed_at is None
    assert not order.refundable
    assert order.left_amount == 0


def test_order_mirror_takes_texts_of_any_length_salesforce_allows(
    sandbox: Sandbox, db: None
) -> None:
    record = record_of(sandbox, "worked_sample")
    line = replace(record.lines[0], digitalriver_state="s" * 255)
    long = replace(record, status="A" * 255, digitalriver_state="x" * 255, lines=(line,))

    order = order_mirror(record=long)

    order.refresh_from_db()
    assert order.salesforce_status == "A" * 40
    assert not order.refundable


def test_order_mirror_of_a_bad_record_changes_nothing(sandbox: Sandbox, db: None) -> None:
    raw = sandbox.salesforce_record(SHOWCASE["worked_sample"])
    raw["TotalAmount"] = "twenty-seven"

    with pytest.raises(SalesforceRecordError, match="TotalAmount"):
        order_mirror(record=order_record(raw))

    assert not Order.objects.exists()


# -- refreshing ------------------------------------------------------------------------------------


def test_order_refresh_reads_every_figure(desk: Desk) -> None:
    order = desk.order("all_options")
    told = desk.sandbox.order(order.digital_river_id)

    assert order.refreshed_at == desk.clock()
    assert order.state == "complete"
    assert order.total_amount == order.captured_amount == Decimal(told["totalAmount"])
    assert order.available_amount == Decimal(told["availableToRefundAmount"])
    assert order.shipping_amount == Decimal(told["shippingChoice"]["amount"])
    assert order.shipping_tax_amount == Decimal(told["shippingChoice"]["taxAmount"])
    assert order.duty_amount == Decimal("45.82")
    assert order.importer_tax_amount == Decimal("375.66")
    assert order.capture_completed
    assert order.payment.startswith("V") or "ending" in order.payment
    assert order.left_amount == order.available_amount
    assert order.refundable
    for line, item in zip(lines_of(order), told["items"], strict=True):
        assert line.digital_river_id == item["id"]
        assert line.product_amount == Decimal(item["amount"])
        assert line.available_amount == Decimal(item["availableToRefundAmount"])
    check_account(desk, order)


def test_order_refresh_adds_lines_salesforce_did_not_tell(desk: Desk) -> None:
    record = record_of(desk.sandbox, "all_options")
    order = order_mirror(record=replace(record, lines=record.lines[:1]))

    order = desk.refresh(order)

    assert order.lines.count() == 3
    assert order_position(order).ledger.consistent
    assert order.left_amount == Decimal("2990.02")


def test_order_refresh_takes_a_line_digital_river_does_not_have_for_free(desk: Desk) -> None:
    record = record_of(desk.sandbox, "worked_sample")
    made_up = replace(
        record.lines[0], id="802000000000001AAA", digitalriver_item_id="", product_name="Gift"
    )
    order = order_mirror(record=replace(record, lines=(*record.lines, made_up)))

    order = desk.refresh(order)

    assert order.lines.get(product_name="Gift").product_amount == 0
    assert order.left_amount == Decimal("27.01")


def test_order_refresh_of_unchanged_figures_is_one_update(desk: Desk) -> None:
    order = desk.order("all_options")
    desk.submit(order, rep(), Selection(Option.SHIPPING, Decimal("5.00")))
    order = desk.refresh(order)
    desk.clock.forward(seconds=5)

    with CaptureQueriesContext(connection) as queries:
        order_refresh(order=order, clock=desk.clock, client=desk.client)

    writes = [query["sql"] for query in queries if not query["sql"].startswith("SELECT")]
    assert len(writes) == 1
    assert writes[0].startswith("UPDATE")
    assert Order.objects.get(pk=order.pk).refreshed_at == desk.clock()


UNREADABLE: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.CONNECTION_REFUSED, {}),
    (FaultKind.LOST_BEFORE, {}),
    (FaultKind.RATE_LIMITED, {"retry_after": 60}),
    (FaultKind.ERROR, {"status": 500}),
    (FaultKind.ERROR, {"status": 401}),
    (FaultKind.ERROR, {"status": 404}),
    (FaultKind.MALFORMED, {}),
    (FaultKind.WRONG_SHAPE, {}),
]


@pytest.mark.parametrize("path", ["/refunds", "/orders/*"])
@pytest.mark.parametrize(("kind", "options"), UNREADABLE)
def test_order_refresh_without_an_answer_leaves_all_as_it_was(
    desk: Desk, path: str, kind: FaultKind, options: dict[str, Any]
) -> None:
    order = desk.order("worked_sample")
    spoil(desk, FaultKind.LOST_BEFORE)
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("5.00")))
    before = Order.objects.filter(pk=order.pk).values().get()
    desk.clock.forward(minutes=2)
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    desk.sandbox.queue_fault(Fault(kind, method="GET", path=path, **options))

    with pytest.raises(OrderUnreadable):
        desk.refresh(order)

    assert Order.objects.filter(pk=order.pk).values().get() == before
    assert refund.attempts.get().missing_since is None
    assert desk.refresh(order).state == "dispute"


def test_order_refresh_with_an_older_read_never_overwrites_a_newer_one(
    desk: Desk, wire: Wire
) -> None:
    order = desk.order("worked_sample")

    def newer() -> None:
        desk.clock.forward(seconds=1)
        desk.sandbox.set_order_state(order.digital_river_id, "dispute")
        desk.refresh(Order.objects.get(pk=order.pk))

    desk.sandbox.set_order_state(order.digital_river_id, "fulfilled")
    wire.after_read = newer
    order = desk.refresh(order)

    assert order.state == "dispute"
    assert order.refreshed_at == desk.clock()
    assert not order.refundable


def test_order_refresh_of_an_order_object_kept_for_long_writes_what_is_so(desk: Desk) -> None:
    """What the caller holds may be older than the row, and happen to equal what is told now."""
    order = desk.order("worked_sample")
    kept = Order.objects.get(pk=order.pk)
    desk.clock.forward(seconds=1)
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    assert desk.refresh(order).state == "dispute"
    desk.clock.forward(seconds=1)
    desk.sandbox.set_order_state(order.digital_river_id, "complete")

    order_refresh(order=kept, clock=desk.clock, client=desk.client)

    order.refresh_from_db()
    assert order.state == "complete"
    assert order.refundable


def test_order_refresh_notices_a_dispute_and_its_end(desk: Desk) -> None:
    order = desk.order("worked_sample")
    desk.sandbox.set_order_state(order.digital_river_id, "dispute")
    desk.clock.forward(seconds=1)
    assert not desk.refresh(order).refundable

    desk.sandbox.set_order_state(order.digital_river_id, "complete")
    desk.clock.forward(seconds=1)
    assert desk.refresh(order).refundable


@pytest.mark.parametrize(
    ("case", "left"),
    [
        ("worked_sample", "27.01"),
        ("fully_refunded", "0"),
        ("pending_payment", "0"),
        ("in_review", "0"),
        ("fulfilled_uncaptured", "0"),
    ],
)
def test_order_refresh_works_out_what_is_left_for_the_lists(
    desk: Desk, case: str, left: str
) -> None:
    order = desk.order(case)

    assert order.left_amount == Decimal(left)
    assert order.refundable == (order.left_amount > 0)


@pytest.mark.parametrize("case", sorted(set(SHOWCASE) - {"no_digital_river_id"}))
def test_order_refresh_of_every_kind_of_order_agrees_with_digital_river(
    desk: Desk, case: str
) -> None:
    order = desk.order(case)
    desk.clock.forward(seconds=1)
    order = desk.refresh(order)

    available = desk.sandbox.order(order.digital_river_id)["availableToRefundAmount"]
    assert order.left_amount == Decimal(available or 0)
    check_account(desk, order)


def test_order_refresh_holds_what_digital_river_does_not_list_yet(desk: Desk, wire: Wire) -> None:
    """A refund is made between the reading of the list and its writing."""
    order = desk.order("worked_sample")
    submitted: list[Refund] = []

    def meanwhile() -> None:
        desk.clock.forward(seconds=1)
        submitted.append(
            desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("20.00")))
        )

    wire.after_read = meanwhile
    order = desk.refresh(order)

    assert submitted[0].state == Refund.State.PENDING
    assert order.left_amount == Decimal("7.01")
    check_account(desk, order)
    desk.clock.forward(minutes=10)
    check_settled(desk, desk.refresh(order))


@pytest.mark.parametrize("captured", [Decimal("12.00"), None])
def test_order_of_which_less_is_captured_than_was_left_is_read_all_the_same(
    desk: Desk, wire: Wire, captured: Decimal | None
) -> None:
    order = desk.order("worked_sample")
    refund = desk.submit(order, rep(), Selection(Option.COMPLETE_ORDER, Decimal("10.00")))
    desk.sandbox.settle_now()
    desk.clock.forward(minutes=10)

    wire.retell_order = lambda told: told.update(capturedAmount=captured)
    order = desk.refresh(order)

    assert order.captured_amount == (captured or 0)
    assert order.left_amount <= order.captured_amount
    refund.refresh_from_db()
    assert refund.state == Refund.State.SUCCEEDED
