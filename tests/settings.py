"""The settings the tests run with: the site's own, on made-up orders and without the wait."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SECRET_KEY", "only-for-tests-" + "0" * 50)
os.environ["DEBUG"] = "0"
os.environ["ALLOW_SANDBOX"] = "1"
os.environ["ALLOWED_HOSTS"] = "testserver,127.0.0.1,localhost"
os.environ["DIGITALRIVER_API_URL"] = ""
os.environ["DIGITALRIVER_API_KEY"] = "sk_test_refund_desk"
os.environ["SECURE_SSL_REDIRECT"] = "0"
os.environ["LOG_LEVEL"] = "INFO"
os.environ["TIME_ZONE"] = "UTC"
os.environ["LANGUAGE_CODE"] = "en-us"
os.environ["DEMO_PASSWORD"] = "refunds-demo"
os.environ["DIGITALRIVER_WEBHOOK_SECRETS"] = "whsec_of_the_tests"
os.environ["CELERY_BROKER_URL"] = ""
# A round of the sweep leaves the permission set alone; its tests begin one themselves.
os.environ["SALESFORCE_PERMISSION_SET_SECONDS"] = "0"
# Without any of these Salesforce's stand-in inside the process answers.
os.environ["SALESFORCE_DOMAIN"] = ""
os.environ["SALESFORCE_URL"] = ""
os.environ["SALESFORCE_CONSUMER_KEY"] = ""
os.environ["SALESFORCE_CONSUMER_SECRET"] = ""
os.environ["SALESFORCE_PRIVATE_KEY_FILE"] = ""
os.environ["SALESFORCE_USERNAME"] = ""
os.environ["SALESFORCE_CURRENCY"] = ""
os.environ["SALESFORCE_ADDRESS"] = ""
os.environ["SALESFORCE_TASKS"] = ""
# What is held back in earnest has tests of its own.
os.environ["DIGITALRIVER_CALLS_PER_SECOND"] = "100000"

# A settings module takes over another one whole; naming each setting would hide new ones.
from refundsite.settings import *  # noqa: F403
from refundsite.settings import DATABASES, MIDDLEWARE

# The browser and the live server speak plain HTTP to each other.
SESSION_COOKIE_SECURE = False
CSRF_COOKIE_SECURE = False

# What is put off is done at once when its transaction commits.
QUEUE_IN_THREAD = False

# Hashing is slow on purpose; here it would only make the tests slow.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# The live server finds static files where they lie; nothing is collected.
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("whitenoise.")]

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as in production, so that each thread has a connection of its own; named by the
    # process, so that two runs at once do not meet.
    DATABASES["default"]["TEST"] = {
        "NAME": str(Path(tempfile.gettempdir()) / f"refund-desk-{os.getpid()}.sqlite3")
    }
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    )
else:
    # A connection that a thread keeps would outlive the test database that it is connected to.
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    # No test's rows outlive a crash of the server: as with synchronous=OFF, commits need not wait.
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"
