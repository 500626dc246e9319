"""What is said of an object, and records made and changed one by one.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm
https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/dome_sobject_create.htm
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sandbox.salesforce.answers import attributes, json_value
from sandbox.salesforce.errors import SalesforceRefusal, no_such_record
from sandbox.salesforce.ids import is_id, long_id
from sandbox.salesforce.objects import KNOWN, NUMBERS, OBJECTS, Field, SObject
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.shape import Shape

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "Task": {"Status": "Not Started", "Priority": "Normal", "TaskSubtype": "Task"}
}


def known_object(name: str, shape: Shape) -> SObject:
    """Return an object by its name; raises SalesforceRefusal where there is none to be seen."""
    for known, sobject in KNOWN.items():
        if known.upper() == name.upper() and not shape.lacks(known):
            return sobject
    raise no_such_record()


def describe(organisation: Organisation, name: str) -> dict[str, Any]:
    """Return what an object is and which of its fields may be read and written."""
    shape = organisation.shape
    sobject = known_object(name, shape)
    may_create = _may_create(sobject, shape)
    return {
        "name": sobject.name,
        "label": sobject.name,
        "keyPrefix": sobject.prefix,
        "queryable": sobject.name in OBJECTS,
        "createable": may_create,
        "updateable": sobject.name in ("Order", "OrderItem", "Task"),
        "deletable": False,
        "custom": False,
        "fields": [
            _described(wire, field, sobject, shape)
            for wire, field in sobject.fields_in(shape).items()
        ],
        "childRelationships": [
            {"relationshipName": relation, "childSObject": child, "field": key}
            for relation, (child, key) in sobject.children.items()
        ],
        "urls": {},
    }


def _described(wire: str, field: Field, sobject: SObject, shape: Shape) -> dict[str, Any]:
    parents = {key: (relation, parent) for relation, (key, parent) in sobject.parents.items()}
    relation, parent = parents.get(field.name, (None, None))
    return {
        "name": wire,
        "label": wire.removesuffix("__c").replace("_", " "),
        "type": field.type,
        "length": field.length,
        "custom": field.packaged,
        "createable": _is_createable(field, wire, sobject, shape),
        "updateable": field.updateable,
        "filterable": True,
        "sortable": True,
        "nillable": field.name != "Id",
        "relationshipName": relation,
        "referenceTo": [parent] if parent else [],
    }


def _may_create(sobject: SObject, shape: Shape) -> bool:
    return sobject.createable and not shape.lacks(f"{sobject.name}:create")


def _is_createable(field: Field, wire: str, sobject: SObject, shape: Shape) -> bool:
    return field.createable and not shape.lacks(f"{sobject.name}.{wire}:create")


def create(organisation: Organisation, name: str, body: Mapping[str, Any]) -> str:
    """Make a record from a request's body and return its id; raises SalesforceRefusal."""
    shape = organisation.shape
    sobject = known_object(name, shape)
    if not _may_create(sobject, shape):
        raise SalesforceRefusal(
            400, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
            f"entity type cannot be inserted: {sobject.name}", fields=[],
        )  # fmt: skip
    texts = _texts(organisation, sobject, body, creating=True)
    return organisation.create(sobject.name, {**DEFAULTS.get(sobject.name, {}), **texts})


def update(organisation: Organisation, name: str, identifier: str, body: Mapping[str, Any]) -> None:
    """Change a record by a request's body; raises SalesforceRefusal."""
    sobject = known_object(name, organisation.shape)
    texts = _texts(organisation, sobject, body, creating=False)
    organisation.change(sobject.name, _id_of(sobject, identifier), texts)


def delete(organisation: Organisation, name: str, identifier: str) -> None:
    """Delete a record; raises SalesforceRefusal."""
    sobject = known_object(name, organisation.shape)
    organisation.delete(sobject.name, _id_of(sobject, identifier))


def get(organisation: Organisation, name: str, identifier: str, version: str) -> dict[str, Any]:
    """Return a record with all fields that may be read; raises SalesforceRefusal."""
    shape = organisation.shape
    sobject = known_object(name, shape)
    record = organisation.record(sobject.name, _id_of(sobject, identifier))
    if record["IsDeleted"] == "true":
        raise no_such_record()
    return {"attributes": attributes(sobject.name, record["Id"], version)} | {
        wire: json_value(field.type, record.get(field.name, ""))
        for wire, field in sobject.fields_in(shape).items()
    }


def _id_of(sobject: SObject, identifier: str) -> str:
    if sobject.name not in OBJECTS or not is_id(identifier):
        raise no_such_record()
    return long_id(identifier)


def _texts(
    organisation: Organisation, sobject: SObject, body: Mapping[str, Any], *, creating: bool
) -> Texts:
    shape = organisation.shape
    fields = sobject.fields_in(shape)
    texts: Texts = {}
    for wire, value in body.items():
        field = fields.get(wire)
        if field is None:
            raise SalesforceRefusal(
                400, "INVALID_FIELD", f"No such column '{wire}' on sobject of type {sobject.name}"
            )
        allowed = _is_createable(field, wire, sobject, shape) if creating else field.updateable
        if not allowed:
            raise SalesforceRefusal(
                400, "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {wire}. Please check the security settings of "
                "this field and verify that it is read/write for your profile or permission set.",
                fields=[wire],
            )  # fmt: skip
        texts[field.name] = _text(field, wire, value)
    _check_reference(organisation, texts.get("WhatId", ""))
    return texts


def _text(field: Field, wire: str, value: object) -> str:
    if value is None:
        return ""
    if field.type == "boolean" and isinstance(value, bool):
        return "true" if value else "false"
    if field.type in NUMBERS and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or field.type in NUMBERS | {"boolean"}:
        raise SalesforceRefusal(
            400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {field.type} at {wire}"
        )
    if field.type == "reference":
        if value and not is_id(value):
            raise SalesforceRefusal(
                400, "MALFORMED_ID", f"{wire}: id value of incorrect type: {value[:40]}",
                fields=[wire],
            )  # fmt: skip
        return long_id(value) if value else ""
    if field.length and len(value) > field.length:
        raise SalesforceRefusal(
            400, "STRING_TOO_LONG",
            f"{wire}: data value too large: (max length={field.length})", fields=[wire],
        )  # fmt: skip
    return value


def _check_reference(organisation: Organisation, what: str) -> None:
    """Refuse a task on an order that is not there, or was deleted."""
    if not what.startswith(OBJECTS["Order"].prefix):
        return
    try:
        record = organisation.record("Order", what)
    except SalesforceRefusal as error:
        raise SalesforceRefusal(
            400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", fields=[]
        ) from error
    if record["IsDeleted"] == "true":
        raise SalesforceRefusal(400, "ENTITY_IS_DELETED", "entity is deleted", fields=[])
