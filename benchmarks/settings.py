"""The settings the pages are measured with: production's own, on databases made for it.

``BENCHMARK_SIZES`` says how many orders each database has, by comma; ``DATABASE_URL`` names the
databases without that number.
"""

import os

# A settings module takes over another one whole; naming each setting would hide new ones.
from benchmarks.desk_settings import *  # noqa: F403
from benchmarks.desk_settings import DATABASES

SIZES = [int(size) for size in os.environ["BENCHMARK_SIZES"].split(",")]

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
