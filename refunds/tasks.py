"""What is done in the background. Tasks only call services; each can be done twice."""

from contextlib import suppress
from dataclasses import asdict

import structlog
from celery import shared_task
from django.conf import settings

from refunds.errors import PermissionSetRefused, ReconciliationRefused, SyncRefused
from refunds.services import sweeping
from refunds.services.events import event_process
from refunds.services.mirror.money import money_read
from refunds.services.mirror.syncing import sync
from refunds.services.permission_set import permission_set_keep_up
from refunds.services.reconciliation import reconciliation_carry_on
from refunds.services.salesforce_tasks import salesforce_task_send

_logger = structlog.get_logger(__name__)


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


@shared_task(name="refunds.tasks.send_salesforce_task")
def send_salesforce_task(task: int) -> None:
    """Make one Task in Salesforce."""
    salesforce_task_send(task_id=task)


@shared_task(name="refunds.tasks.sync_permission_set")
def sync_permission_set() -> None:
    """Take over who has the permission set in Salesforce, if that is due."""
    try:
        permission_set_keep_up()
    except PermissionSetRefused as error:
        _logger.warning("permission_set.refused", reason=str(error))


@shared_task(name="refunds.tasks.sync_orders")
def sync_orders() -> None:
    """Bring the mirror up to date with Salesforce, unless that is being done already.

    Then read the money of orders that were never read, if the settings say of how many.
    """
    try:
        sync(started_by="timer")
    except SyncRefused as error:
        _logger.info("sync.refused", reason=str(error))
        return
    if settings.SALESFORCE_SYNC_MONEY:
        done = money_read(most=settings.SALESFORCE_SYNC_MONEY)
        _logger.info("sync.money_read", **asdict(done))
