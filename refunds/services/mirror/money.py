"""The money of orders that nobody has opened yet, so that the lists tell what is left of them.

Opening an order reads its money anyway, so this stays out of the way: one order after the other,
by the client that keeps all processes together within Digital River's limits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db import DatabaseError
from django.utils import timezone

from refunds.digitalriver.client import DigitalRiverClient
from refunds.digitalriver.errors import KeyRefused, NotSendable, Refused
from refunds.errors import OrderUnreadable
from refunds.models import Order
from refunds.services.orders import Clock, order_refresh

_logger = structlog.get_logger(__name__)

#: Orders in a row that found Digital River away, after which the rest is left for later.
_AWAY_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class MoneyRead:
    """What came of reading the money of many orders."""

    read: int
    #: Orders of which Digital River said no: it does not know them, for example.
    refused: int
    #: Orders with which the desk itself went wrong; the log says how.
    failed: int
    #: Why the rest was left for later, as a sentence; empty where it was not.
    stopped: str


def money_read(
    *,
    most: int,
    clock: Clock = timezone.now,
    client: DigitalRiverClient | None = None,
    on_order: Callable[[int], None] = lambda _: None,
) -> MoneyRead:
    """Read the money of so many orders that may be refunded and were never read, newest first.

    An order of which Digital River says no is asked for again the next time. Once Digital River
    turns out to be away the rest is left for the next time. ``on_order`` is told how many were
    asked for so far. Raises ``DatabaseError``: what was read by then is kept.
    """
    never_read = Order.objects.filter(may_be_refunded=True, refreshed_at=None)
    newest = never_read.order_by("-ordered_at", "-id").values_list("pk", flat=True)[:most]
    read = refused = failed = away = 0
    why = ""
    for number, pk in enumerate(list(newest), start=1):
        order = never_read.filter(pk=pk).first()
        if order is None:
            # Somebody opened it meanwhile, or it is gone.
            continue
        try:
            order_refresh(order=order, clock=clock, client=client)
        except OrderUnreadable as error:
            if _says_no(error):
                refused, away = refused + 1, 0
            else:
                away, why = away + 1, str(error)
            if away == _AWAY_IN_A_ROW:
                break
        except DatabaseError:
            raise
        except Exception:
            # The others must not wait for what is wrong with this one.
            failed += 1
            _logger.exception("money.went_wrong", order=order.order_number)
        else:
            read, away = read + 1, 0
        on_order(number)
    return MoneyRead(read, refused, failed, why if away else "")


def _says_no(error: OrderUnreadable) -> bool:
    """Tell whether Digital River answered, and the answer is about this order alone."""
    cause = error.__cause__
    return isinstance(cause, Refused | NotSendable) and not isinstance(cause, KeyRefused)
