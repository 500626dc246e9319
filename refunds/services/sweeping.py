"""The sweep: one round of everything that is due. A timer starts it; any number may run at once.

The rows in the database say what is due, so a lost message, a killed worker or a day without a
broker costs time and nothing else.
"""

from collections.abc import Callable, Mapping

import structlog
from django.utils import timezone

from refunds.digitalriver.client import DigitalRiverClient
from refunds.errors import RefundDeskError
from refunds.services.closeouts import closeouts_continue
from refunds.services.drafts import drafts_expire
from refunds.services.events import events_catch_up, events_process
from refunds.services.orders import Clock
from refunds.services.permission_set import permission_set_keep_up
from refunds.services.reconciliation_runs import reconciliations_take_up
from refunds.services.refunds import refunds_settle
from refunds.services.salesforce_tasks import salesforce_tasks_send
from refunds.services.standing_check import standing_check

_logger = structlog.get_logger(__name__)

#: What one step did: how many, or how many of which kind; or why it was not done.
Done = int | Mapping[str, int] | str


class WentWrong(str):
    """Why a step was broken off by a fault of the desk's own, in words."""

    __slots__ = ()


def sweep(
    *, clock: Clock = timezone.now, client: DigitalRiverClient | None = None
) -> Mapping[str, Done]:
    """Do one round; returns what each step did. A step that goes wrong does not stop the others."""
    steps: Mapping[str, Callable[[], Done]] = {
        "events read": lambda: events_catch_up(clock=clock, client=client),
        "events": lambda: events_process(clock=clock, client=client),
        "refunds": lambda: refunds_settle(clock=clock, client=client),
        "close-outs": lambda: closeouts_continue(clock=clock, client=client),
        "drafts expired": lambda: drafts_expire(clock=clock),
        "reconciliations taken up": lambda: reconciliations_take_up(clock=clock),
        "breaches": lambda: standing_check(clock=clock),
        "Salesforce tasks": lambda: salesforce_tasks_send(clock=clock),
        "permission set": lambda: permission_set_keep_up(clock=clock),
    }
    done: dict[str, Done] = {}
    for name, step in steps.items():
        try:
            done[name] = step()
        except RefundDeskError as error:
            done[name] = str(error)
            _logger.warning("sweep.step_not_done", step=name, reason=str(error))
        except Exception as error:
            done[name] = WentWrong(f"went wrong ({type(error).__name__}); see the log")
            _logger.exception("sweep.step_failed", step=name)
    return done
