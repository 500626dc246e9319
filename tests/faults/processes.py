"""Starts the desk's processes as on a server, finds the one that is at work, and kills it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import psycopg
from django.db import connection
from psycopg import sql

from sandbox.application import Application
from sandbox.serving import serve

HOST = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
#: Seconds that anything here may take on a busy machine before the test gives up.
PATIENCE = 40.0
#: For libpq in a process: what the tests' own server would lose in a crash, nobody misses.
QUICK_COMMITS = {"PGOPTIONS": "-c synchronous_commit=off"}

_T = TypeVar("_T")


def until(condition: Callable[[], _T], *, what: str, seconds: float = PATIENCE) -> _T:
    """Wait until the condition holds and return what it returned; fails with what was awaited."""
    end = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} seconds in vain for {what}")
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


# -- databases ---------------------------------------------------------------------------------


def database_address() -> str:
    """Return the address of the database that the tests use now, as ``DATABASE_URL`` takes it."""
    now = connection.settings_dict
    login = quote(now["USER"] or "postgres", safe="")
    if now["PASSWORD"]:
        login += f":{quote(now['PASSWORD'], safe='')}"
    where = f"{now['HOST'] or HOST}:{now['PORT'] or 5432}"
    return f"postgres://{login}@{where}/{quote(now['NAME'], safe='')}"


def database_connection() -> psycopg.Connection[Any]:
    """Return a connection of the test's own to that database, beside Django's."""
    return psycopg.connect(database_address(), connect_timeout=5)


@contextmanager
def held(table: str, *, rows: str = "", of: Sequence[object] = ()) -> Iterator[None]:
    """Hold the rows of a table that this condition finds; without one, keep rows from being added.

    Whoever wants to lock such a row, or to add one, waits until the block is left.
    """
    with database_connection() as holder:
        name = sql.Identifier(table)
        if rows:
            condition = sql.SQL(rows)
            query = sql.SQL("SELECT 1 FROM {} WHERE {} FOR UPDATE").format(name, condition)
            assert holder.execute(query, of).fetchone(), f"nothing to hold in {table}"
        else:
            holder.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(name))
        yield
        holder.rollback()


def blocked_ports() -> list[int]:
    """Return the local port of each client whose statement waits for a lock."""
    with database_connection() as looker:
        return [
            int(port)
            for (port,) in looker.execute(
                "SELECT client_port FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                " AND client_port > 0"
            )
        ]


# -- processes ---------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in tasks.read_text().split()]
    return found


def owner(port: int, among: Iterable[int]) -> int:
    """Return which of these processes has the TCP connection with this local port."""
    suffix = f":{port:04X}"
    sockets = {
        f"socket:[{fields[9]}]"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(suffix)
    }
    for pid in among:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = descriptor.readlink()
            except FileNotFoundError:
                continue
            if str(target) in sockets:
                return pid
    raise AssertionError(f"none of the processes has port {port}")


def kill_now(pid: int) -> None:
    """Kill one process as ``kill -9`` does."""
    os.kill(pid, signal.SIGKILL)


@dataclass
class Running:
    """A process that a test started, with what it wrote."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @classmethod
    def start(cls, command: Sequence[str], log_file: Path, variables: Mapping[str, str]) -> Self:
        """Start a command of the project's environment with these variables."""
        with log_file.open("ab") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / command[0]), *command[1:]],
                cwd=ROOT,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return cls(process, log_file)

    @property
    def log(self) -> str:
        """What the process and its children have written so far."""
        return self.log_file.read_text(errors="replace")

    @property
    def workers(self) -> list[int]:
        """The processes that do the work."""
        return children(self.process.pid)

    def kill_owner(self, port: int) -> int:
        """Kill the worker whose connection has this local port; returns which it was."""
        pid = owner(port, self.workers)
        kill_now(pid)
        return pid

    @contextmanager
    def or_stopped(self) -> Iterator[None]:
        """Stop the process should the block fail, and tell what it wrote."""
        try:
            yield
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log[-4000:]}") from error

    def ended(self) -> bool:
        """Tell whether the process is gone."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """End the process and what it started, in good order if it will."""
        workers = self.workers
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            for pid in [*workers, *self.workers]:
                _kill_if_there(pid)
            self.process.kill()
            self.process.wait(timeout=10)


def _kill_if_there(pid: int) -> None:
    try:
        kill_now(pid)
    except ProcessLookupError:
        return


def variables(*, stand_in: str, database: str, **more: str) -> dict[str, str]:
    """Return the variables a process of the desk needs to work on this database and stand-in."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
        "SECRET_KEY": "only-for-tests-" + "0" * 50,
        "DEBUG": "0",
        "DATABASE_URL": database,
        "ALLOWED_HOSTS": HOST,
        "DIGITALRIVER_API_URL": stand_in,
        "DIGITALRIVER_API_KEY": "sk_test_refund_desk",
        "DIGITALRIVER_CALLS_PER_SECOND": "100000",
        "SECURE_SSL_REDIRECT": "0",
        "CELERY_BROKER_URL": "",
        "LOG_LEVEL": "INFO",
        **more,
    }


@dataclass
class Gunicorn(Running):
    """The desk's server, two workers behind one port."""

    address: str = ""

    @classmethod
    def serve(cls, log_file: Path, variables: Mapping[str, str]) -> Self:
        """Start the server and wait until it answers."""
        port = free_port()
        bind = {"PORT": str(port), "WEB_CONCURRENCY": "2"}
        server = cls.start(["gunicorn"], log_file, {**variables, **bind})
        server.address = f"http://{HOST}:{port}"
        with server.or_stopped():
            until(server.answers, what="gunicorn to answer")
        return server

    def answers(self) -> bool:
        """Tell whether the server answers at all."""
        assert not self.ended(), "gunicorn ended"
        try:
            answer = httpx.get(f"{self.address}/healthz", timeout=5, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == 200


# -- the stand-in on a port --------------------------------------------------------------------


@contextmanager
def on_a_port(application: Callable[..., Iterable[bytes]]) -> Iterator[str]:
    """Serve a WSGI application from this process; yields its address."""
    server = serve(application, HOST, 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(timeout=10)
        server.server_close()


class Gate:
    """The stand-in behind a gate at which a test can hold the refunds that are posted.

    ``hold_before`` holds one before the stand-in sees it, ``hold_after`` once it was made and
    before it is answered; ``lose`` then lets it go without having been seen at all.
    """

    def __init__(self) -> None:
        """Begin with nothing behind the gate; set ``application`` to what is."""
        self.application: Application | None = None
        self.reset()

    def reset(self) -> None:
        """Let everything pass."""
        self.hold_before = self.hold_after = self.lose = False
        self.posts: list[int] = []
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.passed = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Hand a request on, or hold it."""
        assert self.application is not None
        if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] != "/refunds":
            return self.application(environ, start_response)
        self.posts.append(int(environ["REMOTE_PORT"]))
        before, after, lose, opened = self.hold_before, self.hold_after, self.lose, self.opened
        passed = self.passed
        if before:
            self._wait(opened)
        if lose:
            passed.set()
            raise ConnectionResetError("the test lost it")
        answer = list(self.application(environ, start_response))
        if after:
            self._wait(opened)
        passed.set()
        return answer

    def _wait(self, opened: threading.Event) -> None:
        self.reached.set()
        opened.wait(timeout=PATIENCE)

    def open(self) -> None:
        """Let those that are held, and all that come, pass."""
        self.hold_before = self.hold_after = False
        self.opened.set()
