"""Puts work off: to Celery where a broker is set, else to a thread of this process.

What is put off is also found by the sweep, since the row in the database is what counts: a lost
message, a full queue or a killed process costs time and nothing else. So an error here is
logged and goes no further, and nobody waits for a broker that is away.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import structlog
from celery import current_app
from django.conf import settings
from django.db import close_old_connections, transaction
from django.utils.module_loading import import_string

_logger = structlog.get_logger(__name__)

#: Seconds for which the thread lets others go first while more work comes in.
_LULL = 0.2

#: Seconds for which a broker that was away is left alone: each asking may take two of them.
_LEFT_ALONE = 30.0


def enqueue(task: str, *arguments: int | str) -> None:
    """Have a task done once the present transaction has been committed.

    ``task`` is its dotted name in ``refunds.tasks``; services name it so as not to import it.
    """
    transaction.on_commit(lambda: _put_off(task, arguments), robust=True)


def _put_off(task: str, arguments: tuple[int | str, ...]) -> None:
    if settings.CELERY_BROKER_URL:
        _broker.send(task, arguments)
    elif settings.QUEUE_IN_THREAD:
        _arrivals.latest = time.monotonic()
        _executor().submit(_do_in_thread, task, arguments)
    else:
        _do(task, arguments)


class _Broker:
    """The way to Celery's broker; after a failure it is not tried for a while."""

    def __init__(self) -> None:
        self._away_until = 0.0

    def send(self, task: str, arguments: tuple[int | str, ...]) -> None:
        """Send a task, or leave it to the sweep."""
        if time.monotonic() < self._away_until:
            return
        try:
            current_app.send_task(task, args=arguments, retry=False)
        except Exception as error:  # noqa: BLE001 - each broker has errors of its own
            self._away_until = time.monotonic() + _LEFT_ALONE
            _logger.warning("queue.broker_away", task=task, error=type(error).__name__)


_broker = _Broker()


def _do(task: str, arguments: tuple[int | str, ...]) -> None:
    try:
        import_string(task)(*arguments)
    except Exception:
        _logger.exception("queue.task_failed", task=task)


class _Arrivals:
    """When this process last put something off, by ``time.monotonic``."""

    latest = 0.0


_arrivals = _Arrivals()


def _do_in_thread(task: str, arguments: tuple[int | str, ...]) -> None:
    # What this thread works is taken from the requests that bring the work, and an event costs
    # more to process than to store. Once and not until there is a lull: what never stops coming in
    # is processed all the same.
    if time.monotonic() - _arrivals.latest < _LULL:
        time.sleep(_LULL)
    close_old_connections()
    try:
        _do(task, arguments)
    finally:
        close_old_connections()


@lru_cache(maxsize=1)
def _executor() -> ThreadPoolExecutor:
    """Return this process's own; one thread, so that a burst of events takes no request's place."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="refund-desk-queue")
