"""A small reader of SOQL: field lists, one child query, comparisons, an order and a limit.

What it reads is what a mirror of orders asks for; everything else it refuses as malformed, so
that nobody takes the stand-in for more than it is.

    SELECT path, ..., (SELECT ... FROM Children ...) FROM Object
    [WHERE path = | != | < | <= | > | >= | IN ..., joined by AND, OR and brackets]
    [ORDER BY path [ASC | DESC], ...] [LIMIT n]

https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select.htm
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from sandbox.salesforce.conditions import (
    All,
    Comparison,
    Condition,
    Either,
    Path,
    literal_for,
)
from sandbox.salesforce.errors import SalesforceRefusal
from sandbox.salesforce.objects import KNOWN, OBJECTS, SObject
from sandbox.salesforce.shape import Shape

LONGEST = 100_000
LONGEST_EXCERPT = 60
COMPARISONS = frozenset(("=", "!=", "<", "<=", ">", ">="))
MOST_LISTED = 4_000
RESERVED = frozenset(("NOT", "FROM", "WHERE", "SELECT", "TYPEOF"))

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\]|\\.)*')
      | (?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<day>\d{4}-\d\d-\d\d)
      | (?P<number>-?\d+(?:\.\d+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<sign><=|>=|!=|[=<>(),])
    )""",
    re.VERBOSE,
)

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a query: its kind, its text, where it stands."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood. `children` are its child queries by their relationship."""

    sobject: SObject
    select: tuple[Path, ...]
    children: tuple[tuple[str, Query], ...] = ()
    where: Condition | None = None
    order: tuple[tuple[Path, bool], ...] = ()
    """What it is sorted by; True for descending."""
    limit: int | None = None


def read_query(soql: str, shape: Shape) -> Query:
    """Return the query that a text is; raises SalesforceRefusal as Salesforce would."""
    if len(soql) > LONGEST:
        raise SalesforceRefusal(400, "MALFORMED_QUERY", "SOQL statements cannot be longer than "
                                f"{LONGEST} characters.")  # fmt: skip
    return _Reader(soql, shape).read()


def _tokens(soql: str) -> list[Token]:
    tokens = []
    at = 0
    while soql[at:].strip():
        found = _TOKEN.match(soql, at)
        if found is None:
            start = at + len(soql[at:]) - len(soql[at:].lstrip())
            raise _malformed(soql, start, f"unexpected token: '{soql[start]}'")
        kind = str(found.lastgroup)
        tokens.append(Token(kind, found.group(kind), found.start(kind)))
        at = found.end()
    return [*tokens, Token("end", "<EOF>", len(soql))]


def _excerpt(soql: str, at: int, message: str) -> str:
    """Write a message under the place it is about, as Salesforce does."""
    start = max(0, at - LONGEST_EXCERPT // 2)
    shown = soql[start : start + LONGEST_EXCERPT].replace("\n", " ")
    pointer = " " * (at - start) + "^"
    return f"\n{shown}\n{pointer}\nERROR at Row:1:Column:{at + 1}\n{message}"


def _malformed(soql: str, at: int, message: str) -> SalesforceRefusal:
    return SalesforceRefusal(400, "MALFORMED_QUERY", _excerpt(soql, at, message))


class _Reader:
    """Reads one query, token by token."""

    def __init__(self, soql: str, shape: Shape) -> None:
        self._soql = soql
        self._shape = shape
        self._tokens = _tokens(soql)
        self._next = 0

    def read(self) -> Query:
        query = self._query(None)
        if self._peek().kind != "end":
            raise self._unexpected()
        return query

    # -- tokens ---------------------------------------------------------------------------------

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _unexpected(self) -> SalesforceRefusal:
        token = self._peek()
        return _malformed(self._soql, token.at, f"unexpected token: '{token.text}'")

    def _is_word(self, word: str) -> bool:
        token = self._peek()
        return token.kind == "name" and token.text.upper() == word

    def _accept(self, word: str) -> bool:
        token = self._peek()
        if (token.kind == "sign" and token.text == word) or self._is_word(word):
            self._next += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._unexpected()

    def _name(self) -> Token:
        token = self._peek()
        if token.kind != "name" or token.text.upper() in RESERVED:
            raise self._unexpected()
        return self._take()

    def _list(self, read: Callable[[], Read]) -> list[Read]:
        entries = [read()]
        while self._accept(","):
            entries.append(read())
        return entries

    # -- clauses --------------------------------------------------------------------------------

    def _query(self, parent: SObject | None) -> Query:
        self._expect("SELECT")
        selected = self._list(lambda: self._selected(parent))
        self._expect("FROM")
        source = self._name()
        sobject = self._child_object(source, parent) if parent else self._object(source)
        fields = [token for token in selected if isinstance(token, Token)]
        if not fields:
            raise self._unexpected()
        # What a child query is of is known only by its parent, which stands after it.
        children = [start for start in selected if isinstance(start, int)]
        query = Query(
            sobject=sobject,
            select=tuple(self._path(token, sobject) for token in fields),
            where=self._condition(sobject) if self._accept("WHERE") else None,
            order=self._order(sobject),
            limit=self._limit(),
        )
        return replace(query, children=tuple(self._child(start, sobject) for start in children))

    def _selected(self, parent: SObject | None) -> Token | int:
        """Return the token of a field, or where the child query starts that was skipped."""
        if parent is not None or self._peek().text != "(":
            return self._name()
        start = self._next
        depth = 0
        while True:
            token = self._take()
            if token.kind == "end":
                self._next -= 1
                raise self._unexpected()
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0:
                return start

    def _child(self, start: int, parent: SObject) -> tuple[str, Query]:
        resume, self._next = self._next, start
        self._expect("(")
        query = self._query(parent)
        self._expect(")")
        name = next(
            name for name, (child, _) in parent.children.items() if child == query.sobject.name
        )
        self._next = resume
        return name, query

    def _object(self, token: Token) -> SObject:
        names = {name.upper(): one for name, one in OBJECTS.items()}
        found = names.get(token.text.upper())
        if found is None or self._shape.lacks(found.name):
            raise SalesforceRefusal(400, "INVALID_TYPE", _excerpt(
                self._soql, token.at,
                f"sObject type '{token.text}' is not supported. If you are attempting to use a "
                "custom object, be sure to append the '__c' after the entity name. Please "
                "reference your WSDL or the describe call for the appropriate names.",
            ))  # fmt: skip
        return found

    def _child_object(self, token: Token, parent: SObject) -> SObject:
        for name, (child, _) in parent.children.items():
            if name.upper() == token.text.upper() and not self._shape.lacks(child):
                return OBJECTS[child]
        raise SalesforceRefusal(400, "INVALID_TYPE", _excerpt(
            self._soql, token.at,
            f"Didn't understand relationship '{token.text}' in FROM part of query call. If you "
            "are attempting to use a custom relationship, be sure to append the '__r' after the "
            "custom relationship name. Please reference your WSDL or the describe call for the "
            "appropriate names.",
        ))  # fmt: skip

    def _order(self, sobject: SObject) -> tuple[tuple[Path, bool], ...]:
        if not self._accept("ORDER"):
            return ()
        self._expect("BY")
        return tuple(self._list(lambda: self._sorted_by(sobject)))

    def _sorted_by(self, sobject: SObject) -> tuple[Path, bool]:
        path = self._path(self._name(), sobject)
        if self._accept("DESC"):
            return path, True
        self._accept("ASC")
        return path, False

    def _limit(self) -> int | None:
        if not self._accept("LIMIT"):
            return None
        if self._peek().kind != "number" or not self._peek().text.isdigit():
            raise self._unexpected()
        return int(self._take().text)

    # -- conditions -----------------------------------------------------------------------------

    def _condition(self, sobject: SObject) -> Condition:
        first = self._term(sobject)
        if self._is_word("AND"):
            return All(self._joined("AND", first, sobject))
        if self._is_word("OR"):
            return Either(self._joined("OR", first, sobject))
        return first

    def _joined(self, word: str, first: Condition, sobject: SObject) -> tuple[Condition, ...]:
        terms = [first]
        while self._accept(word):
            terms.append(self._term(sobject))
        # Salesforce wants brackets where AND and OR meet.
        if self._is_word("AND") or self._is_word("OR"):
            raise self._unexpected()
        return tuple(terms)

    def _term(self, sobject: SObject) -> Condition:
        if self._accept("("):
            inner = self._condition(sobject)
            self._expect(")")
            return inner
        path = self._path(self._name(), sobject)
        if self._accept("IN"):
            self._expect("(")
            values = tuple(self._list(lambda: self._literal(path)))
            self._expect(")")
            if len(values) > MOST_LISTED:
                raise self._unexpected()
            return Comparison(path, "IN", values)
        if self._peek().text not in COMPARISONS:
            raise self._unexpected()
        sign = self._take().text
        return Comparison(path, sign, (self._literal(path),))

    def _literal(self, path: Path) -> str:
        token = self._peek()
        if token.kind not in ("text", "moment", "day", "number", "name"):
            raise self._unexpected()
        if token.kind == "name" and token.text.lower() not in ("true", "false", "null"):
            raise self._unexpected()
        self._next += 1
        return literal_for(path, token.kind, token.text)

    # -- fields ---------------------------------------------------------------------------------

    def _path(self, token: Token, sobject: SObject) -> Path:
        *lookups, name = token.text.split(".")
        owner, key = sobject, ""
        for lookup in lookups:
            owner, key = self._parent(token, owner, lookup, key)
        if key.count(".") > 1:
            raise _malformed(self._soql, token.at, "The stand-in follows one lookup only.")
        known = {wire.upper(): field for wire, field in owner.fields_in(self._shape).items()}
        field = known.get(name.upper())
        if field is None:
            raise SalesforceRefusal(400, "INVALID_FIELD", _excerpt(
                self._soql, token.at,
                f"No such column '{name}' on entity '{owner.name}'. If you are attempting to use "
                "a custom field, be sure to append the '__c' after the custom field name. Please "
                "reference your WSDL or the describe call for the appropriate names.",
            ))  # fmt: skip
        return Path(token.text, key + field.name, field.type)

    def _parent(self, token: Token, owner: SObject, lookup: str, key: str) -> tuple[SObject, str]:
        for name, (_, parent) in owner.parents.items():
            if name.upper() == lookup.upper() and not self._shape.lacks(parent):
                return KNOWN[parent], f"{key}{name}."
        raise SalesforceRefusal(400, "INVALID_FIELD", _excerpt(
            self._soql, token.at,
            f"Didn't understand relationship '{lookup}' in field path. If you are attempting to "
            "use a custom relationship, be sure to append the '__r' after the custom relationship "
            "name. Please reference your WSDL or the describe call for the appropriate names.",
        ))  # fmt: skip
