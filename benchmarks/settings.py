"""The settings the pages are measured with: production's own, on databases made for it.

``BENCHMARK_DIRECTORY`` holds all files of the run, ``BENCHMARK_SIZES`` how many orders each
database has, by comma; ``DATABASE_URL`` names the databases without that number.
"""

import os
from pathlib import Path

DIRECTORY = Path(os.environ["BENCHMARK_DIRECTORY"])
SIZES = [int(size) for size in os.environ["BENCHMARK_SIZES"].split(",")]

os.environ["SECRET_KEY"] = "only-for-benchmarks-" + "0" * 50
os.environ["DEBUG"] = "0"
os.environ["ALLOW_SANDBOX"] = "1"
os.environ["ALLOWED_HOSTS"] = "desk.example"
os.environ["DIGITALRIVER_API_URL"] = ""
os.environ["DIGITALRIVER_API_KEY"] = "sk_test_refund_desk"
os.environ["LOG_FORMAT"] = "json"
os.environ["LOG_LEVEL"] = "INFO"
os.environ["TIME_ZONE"] = "UTC"
os.environ["LANGUAGE_CODE"] = "en-us"

# A settings module takes over another one whole; naming each setting would hide new ones.
from refundsite.settings import *  # noqa: E402, F403
from refundsite.settings import BASE_DIR, DATABASES, LOGGING, TEMPLATES  # noqa: E402

ROOT_URLCONF = "benchmarks.urls"
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates", BASE_DIR / "benchmarks" / "templates"]
STATIC_ROOT = DIRECTORY / "static"

# Lines are rendered as in production, and then thrown away.
LOGGING["handlers"]["stderr"]["stream"] = open(  # noqa: PTH123, SIM115 -- for as long as the process lives
    os.devnull, "w", encoding="utf-8"
)

# Each size has a stand-in of its own; calls go to that of the size being measured.
DIGITALRIVER_TRANSPORT = "benchmarks.places.transport"

_database = DATABASES["default"]


def _of_size(size: int) -> dict[str, object]:
    name = str(_database["NAME"])
    if _database["ENGINE"] == "django.db.backends.sqlite3":
        return {**_database, "NAME": name.replace(".sqlite3", f"_{size}.sqlite3")}
    return {**_database, "NAME": f"{name}_{size}"}


# The database at hand is put in the place of "default" as the sizes take turns.
DATABASES = {"default": _of_size(SIZES[0])} | {str(size): _of_size(size) for size in SIZES}
