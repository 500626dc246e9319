"""The Celery application: ``celery -A refundsite worker`` and ``celery -A refundsite beat``.

Its settings are those of refundsite/settings.py that begin with ``CELERY_``.

See https://docs.celeryq.dev/en/stable/django/first-steps-with-django.html
"""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "refundsite.settings")

app = Celery("refundsite")
app.config_from_object("django.conf:settings", namespace="CELERY")
# For every thread of the web process; else those after the first would speak to another broker.
app.set_default()

#: Seconds for which a process waits for a broker that does not answer.
BROKER_TIMEOUT = 2
#: Seconds after which Redis gives work that nobody acknowledged to another worker.
_REDELIVERED_AFTER = 600


def transport_options(broker: str) -> dict[str, object]:
    """Return what keeps a process from waiting for the broker at this address while it is away.

    A worker goes on connecting all the same: it has tries of its own.
    https://docs.celeryq.dev/en/stable/userguide/configuration.html#broker-transport-options
    """
    if broker.startswith("redis"):
        return {
            "max_retries": 0,
            "socket_connect_timeout": BROKER_TIMEOUT,
            "socket_timeout": BROKER_TIMEOUT,
            "visibility_timeout": _REDELIVERED_AFTER,
        }
    return {"max_retries": 0, "read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}


@setup_logging.connect
def keep_logging(**_: object) -> None:
    """Leave the logs as the settings have them: structured, without customer data."""
