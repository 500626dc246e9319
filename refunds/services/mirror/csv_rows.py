"""Pages of a bulk job as rows of the mirror, quickly.

A page has thousands of records that are mostly as they should be. A row is taken the quick way
only where nothing about it is unusual; all others go the precise way, which names the field at
fault. Both give the very same values.

https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from datetime import date
from functools import lru_cache
from operator import itemgetter

from refunds.errors import CurrencyUnknown
from refunds.money import minor_units
from refunds.salesforce.client import CsvPage
from refunds.salesforce.errors import UnreadableAnswer
from refunds.salesforce.payloads import id_letters, nested
from refunds.salesforce.queries import Fields
from refunds.search_keys import search_key, surname_key
from refunds.services.mirror.rows import (
    OrderRows,
    RecordLines,
    Row,
    any_id,
    line_position,
    orders_of_records,
)

#: The page's largest field, in characters: descriptions may be that long.
_LONGEST_FIELD = 2**31 - 1
_TIME_OF_DAY = re.compile(r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.000(?:Z|\+0000)")
_CURRENCY = re.compile("[A-Z]{3}")
#: Salesforce writes quantities with a decimal.
_UNITS = re.compile(r"([0-9]{1,9})(?:\.0+)?")
_FLAGS = {"true": 1, "false": 0, "": 0}


def page_rows(page: CsvPage) -> tuple[list[str], list[list[str]]]:
    """Return the page's heading and its rows.

    Raises ``UnreadableAnswer`` for a page that is cut short or is no CSV: a part of one must not
    be taken for the whole.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        rows = list(csv.reader(io.StringIO(page.text, newline=""), strict=True))
    except csv.Error:
        raise UnreadableAnswer("Salesforce sent a page of records that is no CSV.") from None
    heading = rows.pop(0) if rows else []
    if any(len(row) != len(heading) for row in rows) or len(rows) != page.records:
        raise UnreadableAnswer(
            "Salesforce sent a page of records that is cut short. It is asked for again when the "
            "sync is carried on."
        )
    return heading, rows


def orders_of_page(page: CsvPage, *, fields: Fields, default_currency: str) -> OrderRows:
    """Read the orders of a bulk job's page. Raises ``UnreadableAnswer``."""
    heading, rows = page_rows(page)
    if not rows:
        return OrderRows()
    pick = _picker(heading, _wanted(fields.of_orders(), fields.has_currency))
    is_clean = _is_clean(page.text)
    found = OrderRows()
    for row in rows:
        quick = _quick_order(pick(row), default_currency) if is_clean else None
        if quick is not None:
            found.rows.append(quick)
            continue
        one = orders_of_records(
            [nested(heading, row)], fields=fields, default_currency=default_currency
        )
        found.rows += one.rows
        found.bad += one.bad
    return found


class PageLines:
    """The order products of a bulk job's page."""

    def __init__(self, page: CsvPage, *, fields: Fields) -> None:
        """Read the page. Raises ``UnreadableAnswer``."""
        self._heading, self._rows = page_rows(page)
        pick = _picker(self._heading, fields.of_lines()) if self._rows else tuple
        self._fields = fields
        self._is_clean = _is_clean(page.text)
        self._cells = [pick(row) for row in self._rows]
        self.order_ids = [
            cells[1] if _is_known_id(cells[1]) else any_id(cells[1]) for cells in self._cells
        ]

    def record_id(self, place: int) -> str:
        """Return the id of one of them, empty where it is none."""
        return any_id(self._cells[place][0])

    def row(self, place: int, order_id: int, currency: str) -> Row:
        """Return the row of one of them. Raises ``SalesforceRecordError``."""
        if self._is_clean:
            quick = _quick_line(self._cells[place], order_id, currency)
            if quick is not None:
                return quick
        raw = nested(self._heading, self._rows[place])
        return RecordLines([raw], fields=self._fields).row(0, order_id, currency)


def _wanted(paths: Sequence[str], has_currency: bool) -> tuple[str, ...]:
    """Return the paths with the currency's place kept where the organisation has none."""
    if has_currency:
        return tuple(paths)
    place = paths.index("TotalAmount")
    return (*paths[:place], "", *paths[place:])


def _picker(heading: Sequence[str], paths: Sequence[str]) -> Callable[[list[str]], tuple[str, ...]]:
    """Return what takes a row's cells in the order of the paths; of no path, an empty cell."""
    places = {name: place for place, name in enumerate(heading)}
    missing = [path for path in paths if path and path not in places]
    if missing:
        raise UnreadableAnswer(f"Salesforce sent a page of records without {missing[0]}.")
    if all(paths):
        return itemgetter(*(places[path] for path in paths))
    take = itemgetter(*(places.get(path, len(heading)) for path in paths))
    return lambda row: take([*row, ""])


def _is_clean(text: str) -> bool:
    """Tell whether all of the text can be stored."""
    if "\x00" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quick_order(cells: Sequence[str], default_currency: str) -> Row | None:
    """Return the order's row, or None where the precise way has to look."""
    (
        record_id,
        number,
        status,
        effective,
        created,
        modified,
        account_id,
        account,
        buyer,
        email,
        currency,
        total,
        digital_river_id,
        state,
        fraud,
        payment,
        failure,
        customer_type,
        entity,
        duty,
        importer_tax,
        fee,
        landed,
    ) = cells
    number, account, buyer, email = number.strip(), account.strip(), buyer.strip(), email.strip()
    currency = currency or default_currency
    digital_river_id, entity = digital_river_id.strip(), entity.strip()
    if (
        not _is_long_id(record_id)
        or not _is_known_id(account_id)
        or not 0 < len(number) <= 30
        or len(account) > 255
        or len(buyer) > 255
        or len(email) > 254
        or len(digital_river_id) > 128
        or len(entity) > 255
        or len(failure) > 255
        # None of these is longer than the shortest of their columns.
        or max(len(status), len(state), len(fraud), len(payment), len(customer_type)) > 24
    ):
        return None
    try:
        if effective:
            _day(effective)
        ordered_at, modified_at = _moment(created), _moment(modified)
        has_landed_cost = _FLAGS[landed]
        amount = _amounts_in(currency)
        amounts = amount(total), amount(duty), amount(importer_tax), amount(fee)
    except (ValueError, KeyError):
        return None
    buyer_key, surname = _name_keys(buyer)
    return (
        record_id,
        number,
        status.strip(),
        account_id,
        account,
        buyer,
        email,
        ordered_at,
        modified_at,
        fraud.strip(),
        payment.strip(),
        failure.strip(),
        customer_type.strip(),
        entity,
        has_landed_cost,
        digital_river_id,
        search_key(number),
        search_key(digital_river_id),
        record_id.lower(),
        search_key(email),
        buyer_key,
        surname,
        _cached_key(account),
        currency,
        state.strip(),
        *amounts,
    )


def _quick_line(cells: Sequence[str], order_id: int, currency: str) -> Row | None:
    """Return the line's row, or None where the precise way has to look."""
    (
        record_id,
        _,
        modified,
        product,
        sku,
        code,
        quantity,
        unit_price,
        total,
        tax,
        number,
        item_id,
        state,
        duty,
        importer_tax,
        fee,
        open_,
        fulfilled,
        cancelled,
    ) = cells
    product, sku, code, item_id = product.strip(), sku.strip(), code.strip(), item_id.strip()
    if (
        not _is_long_id(record_id)
        or len(product) > 255
        or len(sku) > 180
        or len(code) > 255
        or len(item_id) > 255
        or len(number) > 255
        or len(state) > 24
    ):
        return None
    try:
        modified_at = _moment(modified)
        units, still_open = _units(quantity), _units(open_)
        done, not_done = _units(fulfilled), _units(cancelled)
        amount = _amounts_in(currency)
        amount(unit_price)
        amounts = amount(total), amount(tax), amount(duty), amount(importer_tax), amount(fee)
    except ValueError:
        return None
    if units is None:
        return None
    return (
        order_id,
        line_position(number),
        record_id,
        item_id,
        product,
        sku,
        code,
        done,
        not_done or "0",
        still_open,
        modified_at,
        state.strip(),
        units,
        *amounts,
    )


@lru_cache(maxsize=256)
def _amounts_in(currency: str) -> Callable[[str], str]:
    """Return what reads an amount that needs no rounding in the currency, zero for null.

    It raises ``ValueError`` for any other; so does this for what is no currency.
    """
    if not _CURRENCY.fullmatch(currency):
        raise ValueError
    try:
        digits = minor_units(currency)
    except CurrencyUnknown:
        raise ValueError from None
    fraction = f"[0-9]{{1,{digits}}}0*" if digits else "0+"
    # Eleven digits are the most the desk handles (see ``refunds.money.LARGEST``).
    fits = re.compile(rf"[0-9]{{1,11}}(?:\.{fraction})?").fullmatch

    # Most are zero, or the price of something that is sold every day.
    @lru_cache(maxsize=20_000)
    def amount(text: str) -> str:
        if not text:
            return "0"
        if not fits(text):
            raise ValueError
        return text

    return amount


@lru_cache(maxsize=10_000)
def _units(text: str) -> str | None:
    """Return a whole number of units, None for null. Raises ``ValueError`` for an unusual one."""
    if not text:
        return None
    found = _UNITS.fullmatch(text)
    if not found:
        raise ValueError
    return found[1]


def _moment(text: str) -> str:
    """Return a moment as the databases read it. Raises ``ValueError`` for an unusual one."""
    if not _TIME_OF_DAY.fullmatch(text, 10):
        raise ValueError
    return f"{_day(text[:10])} {text[11:19]}"


@lru_cache(maxsize=10_000)
def _day(text: str) -> str:
    """Return a calendar day. Raises ``ValueError`` for an unusual one."""
    if str(date.fromisoformat(text)) != text:
        raise ValueError
    return text


@lru_cache(maxsize=20_000)
def _letters(text: str) -> str:
    """Return the letters of an id that say which of five or ten of its characters are capitals.

    Nothing where one is neither a letter nor a digit, so that no id fits.
    """
    try:
        return id_letters(text)
    except KeyError:
        return ""


def _is_long_id(text: str) -> bool:
    """Tell whether it is an id of 18 characters that fit each other."""
    return len(text) == 18 and text[15:] == _letters(text[:10]) + _letters(text[10:15])


@lru_cache(maxsize=10_000)
def _is_known_id(text: str) -> bool:
    return not text or _is_long_id(text)


@lru_cache(maxsize=10_000)
def _name_keys(name: str) -> tuple[str, str]:
    return search_key(name), surname_key(name)


@lru_cache(maxsize=10_000)
def _cached_key(text: str) -> str:
    return search_key(text)
