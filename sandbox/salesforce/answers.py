"""Records as they go over the wire: JSON for queries, CSV for bulk query jobs.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query.htm
https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from sandbox.salesforce.conditions import Path
from sandbox.salesforce.generated import QUOTED, Generated
from sandbox.salesforce.objects import KNOWN, NUMBERS, SObject
from sandbox.salesforce.planted import Texts
from sandbox.salesforce.soql import Query

Children = Callable[[Query, str], list[dict[str, Any]]]


def attributes(sobject: str, identifier: str, version: str) -> dict[str, str]:
    """Return what every record in JSON begins with."""
    url = f"/services/data/v{version}/sobjects/{sobject}/{identifier}"
    return {"type": sobject, "url": url}


def needed(query: Query) -> list[str]:
    """Return the fields that an answer is written from, those that lookups hold included."""
    holders = {
        query.sobject.parents[path.key.rpartition(".")[0]][0]
        for path in query.select
        if "." in path.key
    }
    return sorted({"Id", "IsDeleted", *holders, *(path.key for path in query.select)})


def json_record(query: Query, record: Texts, version: str, children: Children) -> dict[str, Any]:
    """Return a record as a query answers it, with its child records."""
    answer = _selected(query.sobject, query.select, record, version)
    for name, child in query.children:
        found = children(child, record["Id"])
        # As Salesforce does: no children are null, not an empty list.
        answer[name] = {"totalSize": len(found), "done": True, "records": found} if found else None
    return answer


def _selected(
    sobject: SObject, select: Sequence[Path], record: Texts, version: str
) -> dict[str, Any]:
    answer: dict[str, Any] = {"attributes": attributes(sobject.name, record.get("Id", ""), version)}
    for path in select:
        text = record.get(path.key, "")
        lookup, dot, _ = path.key.rpartition(".")
        if not dot:
            answer[_name(path)] = json_value(path.type, text)
            continue
        holder, parent = sobject.parents[lookup]
        identifier = record.get(holder, "")
        if not identifier:
            answer[lookup] = None
            continue
        of_parent = answer.setdefault(
            lookup, {"attributes": attributes(KNOWN[parent].name, identifier, version)}
        )
        of_parent[_name(path)] = json_value(path.type, text)
    return answer


def _name(path: Path) -> str:
    return path.wire.rpartition(".")[2]


def json_value(kind: str, text: str) -> object:
    """Return a field's text as JSON has it; "" is null, but for a checkbox."""
    if kind == "boolean":
        return text == "true"
    if not text:
        return None
    if kind in NUMBERS:
        return Decimal(text)
    if kind == "datetime":
        return f"{text[:-1]}+0000"
    return text


def csv_head(select: Sequence[Path]) -> str:
    """Return the line that names the columns, as the query spelled them."""
    return csv_rows([[path.wire] for path in select])


def csv_rows(columns: Sequence[Sequence[str]]) -> str:
    """Return lines of CSV from columns whose quotes are doubled already."""
    if not columns or not columns[0]:
        return ""
    body = '"\n"'.join(map('","'.join, zip(*columns, strict=True)))
    return f'"{body}"\n'


def csv_of_records(select: Sequence[Path], records: Iterable[Texts]) -> str:
    """Return lines of CSV of records that were looked up one by one."""
    rows = [[record.get(path.key, "").replace('"', '""') for path in select] for record in records]
    return csv_rows(list(zip(*rows, strict=True))) if rows else ""


def csv_of_places(select: Sequence[Path], generated: Generated, places: range) -> str:
    """Return lines of CSV of generated records that follow each other, quickly."""
    if not places:
        return ""
    columns = generated.columns(places, [path.key for path in select])
    for at, path in enumerate(select):
        if path.key in QUOTED:
            columns[at] = [text.replace('"', '""') for text in columns[at]]
    return csv_rows(columns)
