"""What the client sends and reads agrees with Digital River's own OpenAPI document."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.payloads import REFUND_STATES, order_from

DOCUMENT = Path(__file__).parents[3] / "shared" / "digitalriver" / "openapi-2021-12-13.json"
HEAD: dict[str, object] = {
    "orderId": "300100200336",
    "currency": "USD",
    "reason": "duplicate",
    "metadata": {"refundReference": "RD-7K2M-1"},
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    if not DOCUMENT.is_file():
        pytest.skip(
            "NOT CHECKED AGAINST DIGITAL RIVER'S CONTRACT: openapi-2021-12-13.json is not in "
            "shared/digitalriver beside the project"
        )
    document: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
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


def sent(body: dict[str, object]) -> Any:
    """Send the refund through the client and return what went over the wire."""
    contents: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        contents.append(request.content)
        return httpx.Response(201, json={"id": "re_1", "currency": "USD", "state": "pending"})

    with DigitalRiverClient(
        base_url="https://api.example.com",
        api_key="sk_test_contract",
        version="2021-12-13",
        timeout=5.0,
        application_id="refund-desk/0.1.0",
        transport=httpx.MockTransport(answer),
    ) as client:
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
