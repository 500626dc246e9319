"""Reading Digital River's events: what the webhook lets in, and what it makes of it."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refunds.digitalriver.errors import EventUnreadable, UnreadableAnswer
from refunds.digitalriver.payloads import (
    CreditMemo,
    Event,
    event_from,
    order_from,
    read_event,
    read_event_page,
    refund_from,
)
from refunds.digitalriver.wire import load

REFUND = {
    "id": "re_1",
    "orderId": "219974470336",
    "currency": "USD",
    "state": "pending",
    "amount": 40.1,
}
CHARGE = {
    "id": "c5b1",
    "orderId": "219974470336",
    "currency": "USD",
    "amount": 34.54,
    "state": "complete",
}
ORDER = {
    "id": "219974470336",
    "state": "complete",
    "currency": "USD",
    "totalAmount": 34.54,
    "amount": 34.54,
}
MEMO = {"id": "cm-1", "fileId": "file-9", "orderId": "219974470336"}


def body(kind: str = "refund.pending", subject: object = None, **changes: object) -> bytes:
    event: dict[str, Any] = {
        "id": "4f1c9a52-0b9e-4a8e-8a6f-0f3d8f2f9b11",
        "type": kind,
        "data": {"object": REFUND if subject is None else subject},
        "liveMode": False,
        "createdTime": "2022-03-17T16:17:54.93644Z",
        "webhookIds": ["w-1"],
        "digitalriverVersion": "2021-12-13",
    }
    return json.dumps(event | changes).encode()


def event(kind: str = "refund.pending", subject: object = None, **changes: object) -> Event:
    return read_event(body(kind, subject, **changes))


def test_event_is_read_whole() -> None:
    read = event(liveMode=True)
    assert (read.id, read.type) == ("4f1c9a52-0b9e-4a8e-8a6f-0f3d8f2f9b11", "refund.pending")
    assert read.created_time == datetime(2022, 3, 17, 16, 17, 54, 936440, tzinfo=UTC)
    assert read.live_mode
    assert (read.order_id, read.refund_id) == ("219974470336", "re_1")
    assert (read.credit_memo, read.chargeback_amount) == (None, None)
    assert read.object["amount"] == Decimal("40.1")
    assert refund_from(read.object).amount == Decimal("40.10")


def test_event_of_only_an_id_and_a_type_is_read() -> None:
    read = read_event(b'{"id": "e-1", "type": "made.up"}')
    assert (read.id, read.type, dict(read.object)) == ("e-1", "made.up", {})
    assert (read.created_time, read.live_mode) == (None, False)
    assert (read.order_id, read.refund_id, read.credit_memo) == ("", "", None)


@pytest.mark.parametrize("data", [None, {}, {"object": None}, {"object": {}}])
def test_event_about_nothing_has_an_empty_object(data: object) -> None:
    assert dict(event(data=data).object) == {}


@pytest.mark.parametrize("time", [None, 5, "yesterday", "9999-12-31T23:59:59-23:00", ["x"]])
def test_event_with_a_time_that_cannot_be_read_has_none(time: object) -> None:
    assert event(createdTime=time).created_time is None


@pytest.mark.parametrize("mode", [None, "true", 1, "yes", [True]])
def test_event_is_live_only_where_it_says_so(mode: object) -> None:
    assert not event(liveMode=mode).live_mode


@pytest.mark.parametrize(
    ("kind", "subject", "order_id", "refund_id"),
    [
        ("refund.complete", REFUND, "219974470336", "re_1"),
        ("refund.made_up", REFUND, "219974470336", "re_1"),
        ("refund.pending", {"id": "re_1"}, "", "re_1"),
        ("order.refunded", ORDER, "219974470336", ""),
        ("order.dispute", {"id": "21", "items": []}, "21", ""),
        ("order.charge.refund.complete", CHARGE, "219974470336", ""),
        ("order.charge.refund.failed", CHARGE, "219974470336", ""),
        ("order.charge.refund.failed", ORDER, "219974470336", ""),
        ("order.charge.refund.failed", {"id": "c5b1", "amount": 3}, "", ""),
        ("order.credit_memo.created", MEMO, "219974470336", ""),
        ("order.credit_memo.created", {"id": "cm-1"}, "", ""),
        ("order.refunded", ORDER | {"id": 219974470336}, "219974470336", ""),
        ("fulfillment.created", {"id": "ful_1", "orderId": "21", "items": []}, "21", ""),
        ("checkout.created", {"id": "ch_1", "totalAmount": 3}, "", ""),
    ],
)
def test_event_says_what_it_is_about(
    kind: str, subject: dict[str, object], order_id: str, refund_id: str
) -> None:
    read = event(kind, subject)
    assert (read.order_id, read.refund_id) == (order_id, refund_id)


@pytest.mark.parametrize(
    "rubbish",
    [None, "", " ", {}, [], ["1"], True, 1.5, -3, "1/2", "../orders", "a\x00b", "ü", "1" * 129],
)
def test_event_with_an_id_inside_that_cannot_be_asked_for_names_none(rubbish: object) -> None:
    assert event(subject=REFUND | {"orderId": rubbish}).order_id == ""
    assert event(subject=REFUND | {"id": rubbish}).refund_id == ""
    assert event("order.refunded", ORDER | {"id": rubbish}).order_id == ""
    assert event("order.credit_memo.created", MEMO | {"id": rubbish}).credit_memo is None


def test_event_of_a_charge_refund_carries_the_order_where_it_is_a_whole_one() -> None:
    whole = event("order.charge.refund.failed", ORDER)
    assert order_from(whole.object).total_amount == Decimal("34.54")


def test_event_of_a_credit_memo_names_the_memo_and_its_file() -> None:
    kind = "order.credit_memo.created"
    assert event(kind, MEMO).credit_memo == CreditMemo("cm-1", "file-9")
    assert event(kind, MEMO | {"fileId": None}).credit_memo == CreditMemo("cm-1", "")
    assert event("order.invoice.created", MEMO).credit_memo is None


@pytest.mark.parametrize(
    ("subject", "amount"),
    [
        (ORDER | {"chargebackAmount": 10.0}, "10.00"),
        (ORDER | {"chargebackAmount": "10.005"}, "10.01"),
        (ORDER | {"chargebackAmount": 10, "chargedBackAmount": 11}, "10.00"),
        (ORDER | {"chargebackAmount": None, "chargedBackAmount": 11}, "11.00"),
        (ORDER | {"chargebackAmount": 53.769999999999996}, "53.77"),
        (ORDER | {"chargebackAmount": 10.6, "currency": "jpy"}, "11"),
        (ORDER | {"chargebackAmount": 10.6, "currency": "KWD"}, "10.600"),
        (CHARGE, "34.54"),
        ({"orderId": "21", "amount": 3.5}, "3.5"),
    ],
)
def test_event_of_a_chargeback_tells_its_amount(subject: dict[str, object], amount: str) -> None:
    assert str(event("order.chargeback", subject).chargeback_amount) == amount


@pytest.mark.parametrize(
    "subject",
    [
        ORDER,
        {},
        {"orderId": "21"},
        ORDER | {"chargebackAmount": "ten"},
        ORDER | {"chargebackAmount": 0},
        ORDER | {"chargebackAmount": -10},
        ORDER | {"chargebackAmount": True},
        ORDER | {"chargebackAmount": {"value": 10}},
        ORDER | {"chargebackAmount": 10**16},
        ORDER | {"chargebackAmount": 10, "currency": "XAU"},
        ORDER | {"chargebackAmount": 10, "currency": {"code": "JPY"}},
        CHARGE | {"chargebackAmount": "rubbish"},
    ],
)
def test_event_of_a_chargeback_without_a_figure_that_makes_sense_tells_none(
    subject: dict[str, object],
) -> None:
    assert event("order.chargeback", subject).chargeback_amount is None


def test_event_that_is_no_chargeback_tells_no_amount() -> None:
    assert event("order.refunded", ORDER | {"chargebackAmount": 10}).chargeback_amount is None


@pytest.mark.parametrize("place", ["id", "type"])
@pytest.mark.parametrize(
    "value",
    [None, "", " ", 7, True, 1.5, {}, [], ["e-1"], "e 1", "e\n", "\x00", "é", "\ud800", "e" * 129],
    ids=ascii,
)
def test_event_without_a_proper_id_or_type_is_unreadable(place: str, value: object) -> None:
    with pytest.raises(EventUnreadable, match=f"event's {place} is missing") as raised:
        read_event(json.dumps(json.loads(body()) | {place: value}).encode())
    assert raised.value.parameter == place


@pytest.mark.parametrize("place", ["id", "type"])
def test_event_that_lacks_its_id_or_type_is_unreadable(place: str) -> None:
    lacking = json.loads(body())
    del lacking[place]
    with pytest.raises(EventUnreadable) as raised:
        read_event(json.dumps(lacking).encode())
    assert raised.value.parameter == place


def test_event_id_of_the_greatest_length_is_read() -> None:
    assert event(id="e" * 128).id == "e" * 128
    assert event("t" * 100).type == "t" * 100


@pytest.mark.parametrize(
    ("data", "parameter"),
    [
        ("x", "data"),
        ([], "data"),
        (5, "data"),
        ({"object": "x"}, "data.object"),
        ({"object": [REFUND]}, "data.object"),
        ({"object": 0}, "data.object"),
    ],
)
def test_event_with_rubbish_for_its_object_is_unreadable(data: object, parameter: str) -> None:
    with pytest.raises(EventUnreadable) as raised:
        event(data=data)
    assert raised.value.parameter == parameter


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"\x00",
        b"\xff\xfe{}",
        b"id=1",
        b"<event/>",
        b'{"id": "e-1", "type": "t"} {}',
        b'{"id": "e-1", "type": "t", "x": NaN}',
        b'{"id": "e-1", "type": "t", "x": -Infinity}',
        b'{"id": "e-1", "type": "t", "x": 1e400}',
        b'{"id": "e-1", "type": "t", "x": [{"y": -1e-400}]}',
        b'{"id": "e-1", "type": "t", "x": 1e99999999999999999999}',
        b'{"id": "e-1", "type": "t", "x": ' + b"9" * 400 + b"}",
        b'{"id": "e-1", "type": "t", "x": ' + b"9" * 5000 + b"}",
        b'{"id": "e-1", "id": "e-2", "type": "t"}',
        b'{"id": "e-1", "type": "t", "data": {"object": {"a": 1, "a": 1}}}',
        b'{"id": "e-1", "type": "t", "x": "a\x00b"}',
        b'{"id": "e-1", "type": "t", "x": ' + b"[" * 60 + b"]" * 60 + b"}",
        b'{"id": "e-1", "type": "t", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"id": "e-1", "type": "t", "x": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    ],
    ids=lambda content: ascii(content)[:40],
)
def test_event_of_rubbish_is_unreadable_and_says_so_in_a_sentence(content: bytes) -> None:
    with pytest.raises(EventUnreadable) as raised:
        read_event(content)
    assert str(raised.value).endswith(".")
    # An error that is chained would carry the body into the log.
    assert raised.value.__cause__ is None


def test_event_parsed_elsewhere_with_floats_is_unreadable() -> None:
    with pytest.raises(EventUnreadable, match="number"):
        event_from({"id": "e-1", "type": "t", "data": {"object": {"amount": 1.5}}})


def test_event_sentence_holds_nothing_of_the_body() -> None:
    with pytest.raises(EventUnreadable) as raised:
        event(id="buyer@example.com " * 20)
    assert "buyer" not in str(raised.value)


def test_event_is_kept_without_its_token_and_with_its_deadline() -> None:
    waiting = REFUND | {
        "state": "pending_information",
        "tokenInformation": {"token": "secret-token", "expiresTime": "2026-04-10T12:00:00Z"},
        "payment": {"session": {"clientSecret": "secret-client"}},
    }
    read = event("refund.pending_information", waiting)
    assert "secret" not in read.raw
    assert "secret" not in repr(read)
    assert refund_from(read.object).expires_time == datetime(2026, 4, 10, 12, tzinfo=UTC)
    text = event(subject=REFUND | {"tokenInformation": "secret-token"})
    assert "secret" not in text.raw


def test_event_is_kept_without_text_that_no_database_takes() -> None:
    read = event(subject=REFUND | {"reason": "a\x00b\ud800c", "k\x00ey": "ü\n"})
    assert json.loads(read.raw)["data"]["object"]["reason"] == "a\ufffdb?c"
    assert read.object["k\ufffdey"] == "ü\n"


def test_event_with_a_broken_id_inside_names_none_when_read_again() -> None:
    broken = json.loads(body(subject=REFUND | {"orderId": "21\x00", "id": "re\x00"}))
    read = read_event(json.dumps(broken | {"da\x00ta": {}}).encode())
    assert (read.order_id, read.refund_id) == ("", "")
    assert read_event(read.raw.encode()) == read


def test_event_kept_as_text_reads_the_same_again_to_the_last_digit() -> None:
    exact = b'{"id":"e-1","type":"t","data":{"object":{"amount":10.10,"b":1E+2,"c":[-0.0,1e-7]}}}'
    read = read_event(exact)
    assert read_event(read.raw.encode()) == read
    assert '"amount":10.10' in read.raw


def test_event_after_a_byte_order_mark_is_read() -> None:
    assert read_event(b"\xef\xbb\xbf" + body()).refund_id == "re_1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    changes=st.dictionaries(
        st.sampled_from(["id", "type", "data", "liveMode", "createdTime", "x"]), json_values
    ),
    inner=st.dictionaries(
        st.sampled_from(
            ["id", "orderId", "amount", "chargebackAmount", "currency", "totalAmount", "fileId"]
        ),
        json_values,
    ),
    kind=st.sampled_from(["refund.failed", "order.chargeback", "order.credit_memo.created", "x"]),
)
def test_event_of_any_content_is_read_or_unreadable(
    changes: dict[str, object], inner: dict[str, object], kind: str
) -> None:
    try:
        read = event(kind, inner, **changes)
    except EventUnreadable:
        return
    assert read_event(read.raw.encode()) == read
    read.raw.encode()
    assert "\x00" not in read.raw


@given(content=st.binary(max_size=100))
def test_event_of_any_bytes_is_unreadable(content: bytes) -> None:
    with pytest.raises(EventUnreadable):
        read_event(content)


def page(*entries: object, more: object = False) -> bytes:
    return json.dumps({"hasMore": more, "data": list(entries)}).encode()


def test_event_page_is_read_with_its_cursor() -> None:
    read = read_event_page(page(*[json.loads(body(id=name)) for name in ("e-2", "e-1")], more=True))
    assert [entry.id for entry in read.events] == ["e-2", "e-1"]
    assert (read.unreadable, read.has_more, read.cursor) == ((), True, "e-1")


def test_event_page_of_none_has_no_cursor() -> None:
    read = read_event_page(page())
    assert (read.events, read.has_more, read.cursor) == ((), False, "")


def test_event_page_leaves_out_what_makes_no_sense_and_names_it() -> None:
    good = json.loads(body(id="e-2"))
    read = read_event_page(page({"id": "e-3"}, good, {"id": "e-1", "type": "t", "data": 5}))
    assert [entry.id for entry in read.events] == ["e-2"]
    assert (read.unreadable, read.cursor) == (("e-3", "e-1"), "e-1")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"data": {}}',
        page(7),
        page("e-1"),
        page(json.loads(body()), {"type": "t"}, more=True),
        page({"id": 5, "type": "t"}, more=True),
        page(json.loads(body()), more="perhaps"),
    ],
)
def test_event_page_without_a_way_on_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        read_event_page(content)


@pytest.mark.parametrize("more", [True, False])
def test_event_page_leaves_out_one_whose_id_is_no_text(more: bool) -> None:
    good = json.loads(body(id="e-1"))
    read = read_event_page(page({"id": 5, "type": "t"}, {"type": "t"}, good, more=more))
    assert [each.id for each in read.events] == ["e-1"]
    assert (read.unreadable, read.cursor) == (("", ""), "e-1")


def test_event_is_the_same_from_a_page_and_from_the_webhook() -> None:
    assert event_from(load(body())) == event()
