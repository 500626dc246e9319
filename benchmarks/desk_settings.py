"""Production's own settings, on one database that was made for the run.

``BENCHMARK_DIRECTORY`` holds all files of the run, ``DATABASE_URL`` names the database.
"""

import os
from pathlib import Path

DIRECTORY = Path(os.environ["BENCHMARK_DIRECTORY"])

os.environ["SECRET_KEY"] = "only-for-benchmarks-" + "0" * 50
os.environ["DEBUG"] = "0"
os.environ["ALLOW_SANDBOX"] = "1"
os.environ["ALLOWED_HOSTS"] = "desk.example"
os.environ["BEHIND_PROXY"] = "1"
os.environ["CELERY_BROKER_URL"] = ""
os.environ["DIGITALRIVER_API_URL"] = ""
os.environ["DIGITALRIVER_API_KEY"] = "sk_test_refund_desk"
# Two, as while one takes the place of the other.
os.environ["DIGITALRIVER_WEBHOOK_SECRETS"] = "whsec_benchmark_old,whsec_benchmark"
os.environ["LOG_FORMAT"] = "json"
os.environ["LOG_LEVEL"] = "INFO"
os.environ["TIME_ZONE"] = "UTC"
os.environ["LANGUAGE_CODE"] = "en-us"

# A settings module takes over another one whole; naming each setting would hide new ones.
from refundsite.settings import *  # noqa: E402, F403
from refundsite.settings import BASE_DIR, INSTALLED_APPS, LOGGING, TEMPLATES  # noqa: E402

ROOT_URLCONF = "benchmarks.urls"
INSTALLED_APPS.append("benchmarks")
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates", BASE_DIR / "benchmarks" / "templates"]
STATIC_ROOT = DIRECTORY / "static"

# Lines are rendered as in production, and then thrown away.
LOGGING["handlers"]["stderr"]["stream"] = open(  # noqa: PTH123, SIM115 -- for as long as the process lives
    os.devnull, "w", encoding="utf-8"
)
