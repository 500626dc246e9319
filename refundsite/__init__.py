"""The site: settings, addresses, health, logs and Celery's application; no business in here.

Importing it makes Celery's application the current one, as Celery's own guide has it.
"""

from refundsite.celery import app as celery_app

__all__ = ["celery_app"]
