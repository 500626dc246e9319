"""What the client sends and reads agrees with Digital River's own OpenAPI document."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from refunds.digitalriver.client import MOST_TYPES, DigitalRiverClient
from refunds.digitalriver.payloads import REFUND_STATES, event_from, order_from
from refunds.digitalriver.wire import load
from sandbox.store import Sandbox
from sandbox.transport import in_process_for

DOCUMENT = Path(__file__).parents[3] / "shared" / "digitalriver" / "openapi-2021-12-13.json"
HEAD: dict[str, object] = {
    "orderId": "300100200336",
    "currency": "USD",
    "reason": "duplicate",
    "metadata": {"refundReference": "RD-7K2M-1"},
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    if not DOCUMENT.is_file():
        pytest.skip(
            "NOT CHECKED AGAINST DIGITAL RIVER'S CONTRACT: openapi-2021-12-13.json is not in "
            "shared/digitalriver beside the project"
        )
    read: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return read


@pytest.fixture(scope="module")
def schemas(document: dict[str, Any]) -> dict[str, Any]:
    return dict(document["components"]["schemas"])


def closed(schemas: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema as JSON Schema that also refuses fields the document does not have."""
    definitions = {}
    for key, schema in schemas.items():
        definitions[key] = json.loads(
            json.dumps(schema).replace("#/components/schemas/", "#/definitions/")
        )
        if "properties" in schema:
            definitions[key]["additionalProperties"] = False
        for field in definitions[key].get("properties", {}).values():
            if field.pop("nullable", False) and "type" in field:
                field["type"] = [field["type"], "null"]
    return {"$ref": f"#/definitions/{name}", "definitions": definitions}


def client_of(transport: httpx.BaseTransport) -> DigitalRiverClient:
    return DigitalRiverClient(
        base_url="https://api.example.com",
        api_key="sk_test_contract",
        version="2021-12-13",
        timeout=5.0,
        application_id="refund-desk/0.1.0",
        transport=transport,
    )


def sent(body: dict[str, object]) -> Any:
    """Send the refund through the client and return what went over the wire."""
    contents: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        contents.append(request.content)
        return httpx.Response(201, json={"id": "re_1", "currency": "USD", "state": "pending"})

    with client_of(httpx.MockTransport(answer)) as client:
        client.create_refund(body, upstream_id="RD-7K2M-1")
    (content,) = contents
    return json.loads(content)


@pytest.mark.parametrize(
    "what",
    [
        {"amount": Decimal("21.60")},
        {"items": ({"itemId": "1", "quantity": 2, "amount": Decimal("21.61")},)},
        {"type": "shipping", "amount": Decimal("5.40")},
        {"type": "shipping", "percent": 100},
        {"type": "duty", "amount": Decimal("0.01")},
        {"type": "tax", "percent": 100},
        {"type": "importer_tax", "percent": 100},
        {"items": [{"itemId": "1", "type": "fees", "percent": 100}]},
    ],
    ids=lambda what: "-".join(str(value) for value in what.values())[:40],
)
def test_contract_holds_for_the_request_of_each_option(
    schemas: dict[str, Any], what: dict[str, object]
) -> None:
    jsonschema.validate(sent(HEAD | what), closed(schemas, "RefundRequest"))


@pytest.mark.parametrize(
    "what", [{"amount": "21.60"}, {"type": "fees"}, {"percent": 101}, {"note": "x"}]
)
def test_contract_check_refuses_what_the_document_does_not_allow(
    schemas: dict[str, Any], what: dict[str, object]
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(sent(HEAD | what), closed(schemas, "RefundRequest"))


def test_contract_names_the_refund_states_that_are_read(schemas: dict[str, Any]) -> None:
    assert set(REFUND_STATES) == set(schemas["OrderRefund"]["properties"]["state"]["enum"])


def test_contract_names_the_payment_types_that_have_plain_words(schemas: dict[str, Any]) -> None:
    for kind in schemas["Source"]["properties"]["type"]["enum"]:
        order = order_from(
            {"id": "1", "state": "complete", "currency": "USD", "totalAmount": 1}
            | {"payment": {"sources": [{"type": kind}]}}
        )
        assert order.payment_type == kind
        assert order.payment_description != kind


SINCE = datetime(2026, 1, 10, 12, tzinfo=UTC)
Call = Callable[[DigitalRiverClient], object]
#: Every list the client asks for, with all that it may ask by.
LISTS: dict[str, Call] = {
    "refunds of an order": lambda client: client.list_refunds(order_id="300100200336"),
    "refunds since": lambda client: next(client.refunds_since(since=SINCE)),
    "refunds after": lambda client: next(client.refunds_since(since=None, starting_after="re_1")),
    "events": lambda client: list(client.list_events(since=SINCE)),
    "events of types": lambda client: list(client.list_events(since=SINCE, types=["a"] * 19)),
    "orders": lambda client: client.get_orders([str(number) for number in range(100)]),
}


def asked_by(call: Call) -> httpx.Request:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"hasMore": False, "data": []})

    with client_of(httpx.MockTransport(answer)) as client:
        call(client)
    (request,) = requests
    return request


def written(values: list[str], schema: dict[str, Any]) -> list[object]:
    """Return a parameter's values as its schema sees them."""
    if schema["type"] == "array":
        return [values]
    return [int(value) if schema["type"] == "integer" else value for value in values]


@pytest.mark.parametrize("call", LISTS.values(), ids=LISTS.keys())
def test_contract_holds_for_what_lists_are_asked_by(document: dict[str, Any], call: Call) -> None:
    request = asked_by(call)
    documented = document["paths"][request.url.path]["get"]["parameters"]
    by_name = {entry["name"]: entry for entry in documented if entry["in"] == "query"}
    parameters = request.url.params
    for name in parameters:
        base, _, comparison = name.removesuffix("]").partition("[")
        entry = by_name[base]
        if comparison:
            assert comparison in {"eq", "gt", "gte", "lt", "lte"}
            assert f"**{comparison}**" in entry["description"]
            continue
        for value in written(parameters.get_list(name), entry["schema"]):
            jsonschema.validate(value, entry["schema"])


def test_contract_writes_a_moment_as_the_document_does(document: dict[str, Any]) -> None:
    example = document["components"]["schemas"]["Event"]["properties"]["createdTime"]["example"]
    asked = asked_by(LISTS["events"]).url.params["createdTime[gte]"]
    assert len(asked) == len(example)
    assert datetime.fromisoformat(asked) == SINCE
    assert asked.endswith("Z") is example.endswith("Z") is True


def test_contract_limits_the_types_as_the_client_does(document: dict[str, Any]) -> None:
    described = {
        entry["name"]: entry["description"]
        for entry in document["paths"]["/events"]["get"]["parameters"]
    }
    assert f"less than {MOST_TYPES + 1} specific event names" in described["types"]


def test_contract_event_of_its_own_examples_is_read(schemas: dict[str, Any]) -> None:
    properties = schemas["Event"]["properties"]
    example = {name: field["example"] for name, field in properties.items() if "example" in field}
    read = event_from(load(json.dumps(example | {"id": "e-1", "data": {}}).encode()))
    assert (read.type, read.live_mode) == (example["type"], example["liveMode"])
    assert read.created_time == datetime.fromisoformat(example["createdTime"])


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DigitalRiverClient]:
    state = tmp_path_factory.mktemp("contract") / "state.sqlite3"
    sandbox = Sandbox(state, shop_anchor=date(2026, 9, 1))
    with client_of(in_process_for(sandbox)) as client:
        yield client


def test_contract_holds_for_the_events_that_the_stand_in_lists(
    schemas: dict[str, Any], client: DigitalRiverClient
) -> None:
    # Whatever is read here has the document's form, so the reader is tried on nothing else.
    schema = closed(schemas, "Event")
    schema["definitions"]["Event"].pop("additionalProperties")
    told = list(client.list_events(since=datetime(2000, 1, 1, tzinfo=UTC)))
    assert told
    for event in told:
        jsonschema.validate(json.loads(event.raw), schema)
