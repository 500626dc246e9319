"""``python -m benchmarks``: measures on SQLite, and on PostgreSQL where there is one.

``pages`` beside a floor page, the ``webhook`` beside a view that inserts one row, and ``settling``:
the rounds over many refunds, and in how much memory; ``loading`` beside a bare COPY with the same
upsert. Without any of these names, all.

Every run makes databases and files of its own and throws them away at the end. PostgreSQL is the
server of ``DATABASE_URL``, else the local one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from benchmarks import loading_report
from benchmarks.loading_report import Load
from benchmarks.memory import ROUNDS, Round, table

LOCAL_POSTGRESQL = "postgres://postgres@127.0.0.1:5432/postgres"
#: How many events are processed for each refund of a round.
EVENTS_PER_REFUND = 0.1
FEWEST_REFUNDS = 1_000
#: How many orders there are by default: what each database is meant for, and a tenth or less.
SIZES = {"SQLite": [10_000, 100_000], "PostgreSQL": [10_000, 1_000_000]}


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="refund-desk-benchmark-") as name:
        directory = Path(name)
        if options.database in {"", "sqlite"}:
            _measure_all(f"sqlite:///{directory / 'desk.sqlite3'}", "SQLite", directory, options)
        if options.database in {"", "postgresql"}:
            server = os.environ.get("DATABASE_URL", "")
            if not server.startswith("postgres"):
                server = LOCAL_POSTGRESQL
            try:
                psycopg.connect(server, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                print("\n!!! NOT MEASURED ON POSTGRESQL: there is none to be reached.")
                print(f"!!! {error}".rstrip())
                print("!!! Set DATABASE_URL to a server where databases may be made.")
                return 1 if options.database else 0
            with _databases(server, _suffixes(options)) as address:
                _measure_all(address, "PostgreSQL", directory, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"any of {', '.join(_MEASURES)}")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="")
    parser.add_argument("--orders", type=int, nargs="+", help="sizes for pages")
    parser.add_argument("--refunds", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--loads", type=int, nargs="+", help="sizes for loading")
    parser.add_argument("--rounds", type=int, default=60, help="how often everything is timed")
    parser.add_argument("--seconds", type=float, default=110, help="after which no round begins")
    parser.add_argument(
        "--inspect", default="", metavar="TEXT", help="show plans and profiles of pages so named"
    )
    options = parser.parse_args()
    if unknown := set(options.what) - _MEASURES.keys():
        parser.error(f"{', '.join(sorted(unknown))} cannot be measured: {', '.join(_MEASURES)}.")
    if min(options.refunds) < FEWEST_REFUNDS:
        parser.error(f"--refunds must be at least {FEWEST_REFUNDS:,}: fewer say nothing.")
    options.what = options.what or list(_MEASURES)
    return options


def _measure_all(address: str, database: str, directory: Path, options: argparse.Namespace) -> None:
    for what in options.what:
        for kept in directory.glob("sandbox_*"):
            kept.unlink()
        _MEASURES[what](address, database, directory, options)


def _pages(address: str, database: str, directory: Path, options: argparse.Namespace) -> None:
    _run(
        "benchmarks.one_database",
        [str(options.rounds), str(options.seconds), options.inspect],
        address,
        directory,
        {"BENCHMARK_SIZES": ",".join(map(str, options.orders or SIZES[database]))},
    )


def _webhook(address: str, _: str, directory: Path, options: argparse.Namespace) -> None:
    arguments = [str(options.rounds), str(options.seconds)]
    _run("benchmarks.intake", arguments, _of(address, "webhook"), directory)


def _settling(address: str, database: str, directory: Path, options: argparse.Namespace) -> None:
    """Measure each round at each size; every one in a new process, whose memory is its own."""
    taken: list[Round] = []
    for size in options.refunds:
        where, files = _of(address, f"refunds_{size}"), directory / f"refunds_{size}"
        files.mkdir(exist_ok=True)
        for kept in files.iterdir():
            kept.unlink()
        _run("benchmarks.rounds", ["fill", str(size)], where, files)
        for name in ROUNDS:
            count = int(size * EVENTS_PER_REFUND) if name == "events" else size
            said = _run("benchmarks.rounds", [name, str(count)], where, files, is_read=True)
            taken.append(Round.read(said))
            print(f"{database}: {taken[-1].sentence}", flush=True)
    print(*table(database, taken), sep="\n")


def _loading(address: str, database: str, directory: Path, options: argparse.Namespace) -> None:
    """Measure the floor and the desk at each size, over the same pages, on databases of their own.

    Each in a new process, whose memory is its own.
    """
    taken: list[tuple[Load, Load]] = []
    for size in options.loads or SIZES[database]:
        if not (directory / f"pages_{size}").exists():
            _run("benchmarks.loading", ["record", str(size)], _of(address, "recording"), directory)
        pair = []
        for what in ("floor", "desk"):
            where = _of(address, f"{what}_{size}")
            said = _run("benchmarks.loading", [what, str(size)], where, directory, is_read=True)
            pair.append(Load.read(said))
            print(f"{database}: {pair[-1].sentence}", flush=True)
        taken.append((pair[0], pair[1]))
    print(*loading_report.table(database, taken), sep="\n")


_MEASURES: Mapping[str, Callable[[str, str, Path, argparse.Namespace], None]] = {
    "pages": _pages,
    "webhook": _webhook,
    "settling": _settling,
    "loading": _loading,
}


def _suffixes(options: argparse.Namespace) -> Sequence[str]:
    """Return what tells the databases on the server apart that the run needs."""
    orders = options.orders or SIZES["PostgreSQL"]
    loads = options.loads or SIZES["PostgreSQL"]
    return [
        *(str(size) for size in orders if "pages" in options.what),
        *(["webhook"] if "webhook" in options.what else []),
        *(f"refunds_{size}" for size in options.refunds if "settling" in options.what),
        *(
            f"{what}_{size}"
            for size in loads
            for what in ("floor", "desk")
            if "loading" in options.what
        ),
    ]


def _of(address: str, suffix: str) -> str:
    """Return the address of the database with this suffix."""
    file = address.removesuffix(".sqlite3")
    return f"{address}_{suffix}" if file == address else f"{file}_{suffix}.sqlite3"


def _run(
    module: str,
    arguments: Sequence[str],
    address: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    *,
    is_read: bool = False,
) -> str:
    """Measure in a process of its own, which knows one database; returns what it says, if read."""
    done = subprocess.run(  # noqa: S603 -- this program, on another database
        [sys.executable, "-m", module, *arguments],
        check=False,
        stdout=subprocess.PIPE if is_read else None,
        text=True,
        env={
            **os.environ,
            "DATABASE_URL": address,
            "BENCHMARK_DIRECTORY": str(directory),
            **(environment or {}),
        },
    )
    if done.returncode:
        # What went wrong stands above; a second traceback would only hide it.
        sys.exit(done.returncode)
    return done.stdout or ""


@contextmanager
def _databases(server: str, suffixes: Sequence[str]) -> Iterator[str]:
    """Make a database for each suffix, and give their address without it."""
    name = f"refund_desk_benchmark_{os.getpid()}"
    try:
        with psycopg.connect(server, autocommit=True) as connection:
            for suffix in suffixes:
                connection.execute(
                    sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"{name}_{suffix}"))
                )
                # Work that is handed to further processes would not be counted.
                connection.execute(
                    sql.SQL("ALTER DATABASE {} SET max_parallel_workers_per_gather = 0").format(
                        sql.Identifier(f"{name}_{suffix}")
                    )
                )
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            for suffix in suffixes:
                connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                        sql.Identifier(f"{name}_{suffix}")
                    )
                )


if __name__ == "__main__":
    sys.exit(main())
