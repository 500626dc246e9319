"""What is done in the background. Tasks only call services; each can be done twice."""

from contextlib import suppress

from celery import shared_task

from refunds.errors import ReconciliationRefused
from refunds.services import sweeping
from refunds.services.events import event_process
from refunds.services.reconciliation import reconciliation_carry_on


@shared_task(name="refunds.tasks.process_event")
def process_event(event: int) -> None:
    """Process one stored event of Digital River."""
    event_process(event_id=event)


@shared_task(name="refunds.tasks.reconcile")
def reconcile(run: int) -> None:
    """Carry on a reconciliation; one that has ended, or that another process has, is left alone."""
    with suppress(ReconciliationRefused):
        reconciliation_carry_on(run_id=run)


@shared_task(name="refunds.tasks.sweep")
def sweep() -> None:
    """Do one round of everything that is due."""
    sweeping.sweep()
