"""Fills a place: the shop's orders through the desk's services, and many more like them by bulk.

The first 300 orders are the shop's own, with their lines, refunds and figures: the pages that
open an order open one of those. The rest are copies of them under other numbers, names and days,
with a refund for each fifth order, up to as many as the lists of refunds are measured with. A copy
has no lines: no list reads them.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice, pairwise
from random import Random
from typing import TypeVar

from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from benchmarks.places import Place
from refunds.models import HistoryEntry, Order, Refund, RefundAttempt, RefundReason
from refunds.permissions import GROUP_NAME
from refunds.salesforce.payloads import order_record
from refunds.search_keys import search_key, surname_key
from refunds.services.mirror.records import order_mirror
from refunds.services.mirror.tables import tables
from refunds.services.orders import order_refresh
from sandbox.orders import order_id_of, order_number_of
from sandbox.shop import SHOWCASE

SHOP_ORDERS = 300
ORDERS_PER_REFUND = 5
MOST_REFUNDS = 20_000
ORDERS_PER_BUYER = 5
BUYERS_PER_ACCOUNT = 4
#: One copy in so many keeps the buyer of the order it was made from, who thus orders often.
KEEPS_ITS_BUYER = 100
COPIES_SPREAD_OVER = timedelta(days=3 * 365)
BATCH = 2000

_FIRST_NAMES = (
    "Aaron Ada Alma Anna Arthur Bianca Boris Carla Carlos Chloé Dalia David Edith Emil Fatima "
    "Felix Gita Hana Henrik Ines Isaac Jana Jörg Karim Kira Lena Luca Maja Mikkel Nadia Noah "
    "Olga Oscar Paula Pavel Quentin Rania Robin Salma Simon Tara Tomás Ulla Vera Viktor Wanda "
    "Xavier Yara Yusuf Zoe"
)
_LAST_NAMES = (
    "Abbott Acosta Adeyemi Ahmed Almeida Bauer Becker Brandt Castillo Chen Costa Dahl Delgado "
    "Duarte Eriksen Evans Fischer Fontaine Garcia Grant Haas Hughes Ibrahim Ivanova Jansen Jones "
    "Kapoor Keller Kowalski Larsen Lopez Maier Mbeki Moreau Nakamura Novak Okafor Olsen Park "
    "Petrov Quinn Ramos Rossi Sato Schmidt Silva Tanaka Thomas Ueda Urban Vargas Vogel Walker "
    "Weber Xu Yamada Young Zanetti Zhang Ziegler"
)
_COMPANY_WORDS = (
    "Alder Amber Anchor Birch Bright Cedar Clear Copper Delta East Elm Falcon Fjord Glen Gold "
    "Harbor Hill Iron Island Juniper Kestrel Lake Lime Maple Mill North Oak Orchid Pine Quarry "
    "River Rock Silver Stone Summit Terra Umber Valley West Yarrow Zenith"
)
_COMPANY_KINDS = (
    "Analytics Bakery Clinics Dental Engineering Foods Freight Glass Homes Instruments Labs "
    "Logistics Marine Metals Optics Outfitters Paper Power Schools Supply Systems Textiles Tools "
    "Travel Works"
)
FIRST_NAMES, LAST_NAMES, COMPANY_WORDS, COMPANY_KINDS = (
    names.split() for names in (_FIRST_NAMES, _LAST_NAMES, _COMPANY_WORDS, _COMPANY_KINDS)
)

_Row = TypeVar("_Row", bound=Model)


def fill(place: Place) -> None:
    """Make the tables and the rows of the place at hand."""
    call_command("migrate", verbosity=0)
    reps = list(people())
    records = place.sandbox.salesforce_records()[: min(SHOP_ORDERS, place.orders)]
    with transaction.atomic():
        for record in records:
            order_refresh(order=order_mirror(record=order_record(record)))
    patterns = list(Order.objects.order_by("pk"))
    with transaction.atomic():
        _insert(_copies(patterns, len(records) + 1, place.orders))
        _refunds(reps, min(place.orders // ORDERS_PER_REFUND, MOST_REFUNDS))
    if connection.vendor == "postgresql":
        # What PostgreSQL does by itself within a minute or so of such a change.
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
    else:
        # What docs/operations.md asks of who runs the desk on SQLite.
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA analysis_limit=1000")
            cursor.execute("ANALYZE")


def people() -> Iterator[User]:
    """Make twenty reps."""
    group = Group.objects.get(name=GROUP_NAME)
    for number in range(1, 21):
        last_name = LAST_NAMES[number * 2]
        user = User.objects.create_user(
            f"rep{number}", first_name=FIRST_NAMES[number], last_name=last_name
        )
        user.groups.add(group)
        yield user


def _insert(orders: Iterator[Order]) -> None:
    """Insert orders, however many; on PostgreSQL by COPY, for there may be a million of them."""
    if connection.vendor != "postgresql":
        bulk_create(orders)
        return
    columns = _columns()
    while batch := list(islice(orders, BATCH)):
        rows = [tuple(getattr(order, name) for name in columns) for order in batch]
        tables().insert(Order, columns, rows)


def _columns() -> list[str]:
    """Return the columns of an order that are filled."""
    fields = Order._meta.concrete_fields
    return [each.attname for each in fields if not (each.primary_key or each.generated)]


def bulk_create(rows: Iterable[_Row]) -> None:
    """Insert rows of one model, however many, a batch at a time."""
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        type(batch[0])._default_manager.bulk_create(batch)


def _copies(patterns: Sequence[Order], first: int, last: int) -> Iterator[Order]:
    """Give an order for each number, like one of the patterns but for what it is called."""
    dice = Random(first)
    end = min(order.ordered_at for order in patterns)
    columns = _columns()
    for number in range(first, last + 1):
        pattern = patterns[dice.randrange(len(patterns))]
        order = Order(**{column: getattr(pattern, column) for column in columns})
        order.order_number = order_number_of(number)
        order.salesforce_id = f"801Hs{number:010d}AAA"
        order.digital_river_id = order_id_of(number) if pattern.digital_river_id else ""
        order.ordered_at = end - COPIES_SPREAD_OVER * ((last - number) / last)
        if dice.randrange(KEEPS_ITS_BUYER):
            _name(order, number // ORDERS_PER_BUYER)
        order.number_key = search_key(order.order_number)
        order.salesforce_key = search_key(order.salesforce_id)
        order.digital_river_key = search_key(order.digital_river_id)
        yield order


def _name(order: Order, buyer: int) -> None:
    account = buyer // BUYERS_PER_ACCOUNT
    dice = Random(buyer)
    first, last = dice.choice(FIRST_NAMES), dice.choice(LAST_NAMES)
    word, kind = Random(-account).choice(COMPANY_WORDS), Random(account).choice(COMPANY_KINDS)
    order.buyer_name = f"{first} {last}"
    order.buyer_email = f"{first}.{last}{buyer}@{word}-{kind}.example".lower()
    order.account_name = f"{word} {kind} {account}"
    order.account_salesforce_id = f"001Hs{account:010d}AAA"
    order.email_key = search_key(order.buyer_email)
    order.buyer_key = search_key(order.buyer_name)
    order.surname_key = surname_key(order.buyer_name)
    order.account_key = search_key(order.account_name)


def _refunds(people: Sequence[User], wanted: int) -> None:
    """Make refunds until there are so many, each with its attempt and its history."""
    count = max(0, wanted - Refund.objects.count())
    untouched = Order.objects.filter(refundable=True, refunds=None)
    # Where there are no copies, the shop's orders without a story take them.
    chosen = list(untouched.filter(lines=None).order_by("pk")[:count]) or list(
        untouched.exclude(order_number__in=SHOWCASE.values()).order_by("-pk")[:count]
    )
    dice = Random(wanted)
    taken = set(Refund.objects.values_list("reference_key", flat=True))
    reasons = list(RefundReason.objects.exclude(needs_text=True))
    refunds = []
    for order in chosen:
        while (digits := f"{dice.randrange(10**8):08d}") in taken:
            pass
        taken.add(digits)
        refunds.append(_refund(order, digits, dice, people, reasons))
    bulk_create(refunds)
    bulk_create(_attempt(refund) for refund in refunds)
    bulk_create(entry for refund in refunds for entry in _history(refund))
    Refund.objects.bulk_update(refunds, ["history_length", "history_head"], batch_size=BATCH)


def _refund(
    order: Order,
    digits: str,
    dice: Random,
    people: Sequence[User],
    reasons: Sequence[RefundReason],
) -> Refund:
    identifier = f"re_{uuid.UUID(int=dice.getrandbits(128), version=4)}"
    at = min(order.ordered_at + timedelta(days=dice.randint(1, 30)), timezone.now())
    amount = order.left_amount / 4
    state, option = (
        dice.choices(("succeeded", "failed", "expired", "pending"), (90, 6, 3, 1))[0],
        dice.choices(("complete_order", "line_items", "shipping", "tax"), (50, 40, 7, 3))[0],
    )
    return Refund(
        reference=f"R-{digits[:4]}-{digits[4:]}",
        reference_key=digits,
        order=order,
        option=option,
        state=state,
        currency=order.currency,
        requested_amount=amount,
        accepted_amount=amount,
        refunded_amount=amount if state == "succeeded" else 0,
        whole_part=amount,
        reason=dice.choice(reasons),
        reason_text="requested_by_customer",
        digital_river_id=identifier,
        digital_river_key=search_key(identifier),
        listed=True,
        failure_reason="expired_or_canceled_card" if state == "failed" else "",
        created_by=dice.choice(people),
        created_at=at,
        updated_at=at,
        submitted_at=at,
        settled_at=None if state == "pending" else at + timedelta(hours=20),
        next_check_at=at + timedelta(hours=1) if state == "pending" else None,
    )


def _attempt(refund: Refund) -> RefundAttempt:
    assert refund.submitted_at is not None
    return RefundAttempt(
        refund=refund,
        number=1,
        reference=f"{refund.reference}-1",
        started_at=refund.submitted_at,
        lease_until=refund.submitted_at + timedelta(minutes=1),
        answered_at=refund.submitted_at + timedelta(seconds=1),
        request='{"orderId": "220000010336", "currency": "USD", "amount": 40.00}' * 4,
        answer='{"id": "re_", "state": "pending", "refundedAmount": 0.0}' * 6,
        status=201,
        digital_river_id=refund.digital_river_id,
        outcome="Taken by Digital River.",
    )


def _history(refund: Refund) -> Iterator[HistoryEntry]:
    """Return the refund's history, chained, and note its end on the refund."""
    assert refund.submitted_at is not None
    states = ["", "draft", "submitting", "pending", refund.state]
    number, head = 0, ""
    for before, after in pairwise(states):
        if before != after:
            number += 1
            entry = HistoryEntry(
                refund=refund,
                number=number,
                at=refund.submitted_at,
                actor_kind=HistoryEntry.ActorKind.PERSON,
                actor=refund.created_by,
                from_state=before,
                to_state=after,
                summary=f"Now {after}.",
                previous_hash=head,
            )
            entry.hash = head = entry.computed_hash
            yield entry
    refund.history_length, refund.history_head = number, head
