"""The clock that pages are timed by: the work they make, however busy the machine is.

The time on the wall says how long somebody waited, and on a machine that others use that is mostly
waiting for the others. So what counts is processor time: that of this thread, in which SQLite
works too, and that of the PostgreSQL processes which serve it, where they run on this machine and
Linux tells. Elsewhere the time on the wall has to do for PostgreSQL.

https://docs.kernel.org/scheduler/sched-stats.html
"""

import time
from collections.abc import Sequence
from pathlib import Path

from django.db import connection


class WallClock:
    """The time on the wall, in seconds."""

    name = "time on the wall"

    def __call__(self) -> float:
        """Return the time."""
        return time.perf_counter()


class WorkClock:
    """The processor time of this thread and of the database processes that serve it, in seconds."""

    name = "processor time, the database's included"

    def __init__(self, servers: Sequence[Path]) -> None:
        """Read the database's part from these files."""
        self._servers = [server.open("rb", buffering=0) for server in servers]

    def __call__(self) -> float:
        """Return the time used so far."""
        nanoseconds = 0
        for server in self._servers:
            server.seek(0)
            nanoseconds += int(server.read(64).split()[0])
        return time.thread_time() + nanoseconds / 1e9


Clock = WallClock | WorkClock


def clock_here() -> Clock:
    """Return the clock for the place at hand, whose database connections are open by now."""
    if connection.vendor == "sqlite":
        return WorkClock([])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, inet_client_addr() IS NULL OR inet_client_addr() = inet_server_addr()"
            " FROM pg_stat_activity WHERE datname = current_database()"
        )
        found = cursor.fetchall()
    servers = [Path(f"/proc/{pid}/schedstat") for pid, _ in found]
    # Another machine, or another container, has other processes under these numbers.
    if all(is_local for _, is_local in found) and all(map(_serves_here, servers)):
        return WorkClock(servers)
    return WallClock()


def processor_seconds(process: int) -> float:
    """Return the processor time of the processes below this one so far, of all their threads.

    Those of PostgreSQL that work for the database at hand count too, save the one that serves the
    caller. 0 where Linux does not tell.
    """
    children = Path(f"/proc/{process}/task/{process}/children")
    processes = children.read_text().split() if children.exists() else []
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            found = [str(pid) for (pid,) in cursor.fetchall()]
        processes += [pid for pid in found if _serves_here(Path(f"/proc/{pid}/schedstat"))]
    threads = (each for pid in processes for each in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


def _serves_here(schedule: Path) -> bool:
    try:
        return b"postgres" in (schedule.parent / "cmdline").read_bytes() and schedule.exists()
    except OSError:
        return False
