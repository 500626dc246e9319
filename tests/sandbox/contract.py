"""Digital River's OpenAPI document as a judge of answers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft4Validator

DOCUMENT = (
    Path(__file__).resolve().parents[3] / "shared" / "digitalriver" / "openapi-2021-12-13.json"
)


@cache
def document() -> dict[str, Any]:
    """Return the document in plain JSON Schema; where it is absent the test is loudly not run."""
    if not DOCUMENT.is_file():
        pytest.skip(
            "NOT CHECKED AGAINST DIGITAL RIVER'S CONTRACT: openapi-2021-12-13.json is not in "
            "shared/digitalriver beside the project"
        )
    with DOCUMENT.open(encoding="utf-8") as file:
        translated: dict[str, Any] = _translated(json.load(file))
    return translated


def _translated(node: Any) -> Any:
    """Turn OpenAPI 3.0's own words into JSON Schema: nullable, and `format: integer`."""
    if isinstance(node, list):
        return [_translated(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    result = {key: _translated(value) for key, value in node.items()}
    if result.get("format") == "integer":
        result["type"] = "integer"
    if result.pop("nullable", False) is True and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
        if "enum" in result:
            result["enum"] = [*result["enum"], None]
    return result


def check(response: httpx.Response, path: str, method: str = "get") -> Any:
    """Check an answer against the document's schema for it, and return the body."""
    body = json.loads(response.content)
    responses = document()["paths"][path][method]["responses"]
    status = str(response.status_code)
    assert status in responses, f"{method} {path} does not document {status}: {body}"
    (media,) = responses[status]["content"].values()
    schema = {**media["schema"], "components": document()["components"]}
    if "$ref" in schema:
        schema = {"allOf": [media["schema"]], "components": document()["components"]}
    errors = [error.message for error in Draft4Validator(schema).iter_errors(body)]
    assert errors == []
    return body
