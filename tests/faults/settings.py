"""The settings of the processes that tests kill: the site's own, on plain HTTP."""

import os

# A settings module takes over another one whole; naming each setting would hide new ones.
from refundsite.settings import *  # noqa: F403
from refundsite.settings import CELERY_BROKER_TRANSPORT_OPTIONS, MIDDLEWARE

# The tests speak plain HTTP to the server.
SESSION_COOKIE_SECURE = False
CSRF_COOKIE_SECURE = False

# As the tests hash them.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Static files are not looked at, so nothing is collected.
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("whitenoise.")]

# A queue of the test's own, so that nobody else's worker takes its work.
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("FAULTS_QUEUE", "refund-desk-faults")
if CELERY_BROKER_TRANSPORT_OPTIONS:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        **CELERY_BROKER_TRANSPORT_OPTIONS,
        "global_keyprefix": f"{CELERY_TASK_DEFAULT_QUEUE}.",
    }
