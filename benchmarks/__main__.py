"""``python -m benchmarks``: measures on SQLite, and on PostgreSQL where there is one.

Every run makes databases and files of its own and throws them away at the end. PostgreSQL is the
server of ``DATABASE_URL``, else the local one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

LOCAL_POSTGRESQL = "postgres://postgres@127.0.0.1:5432/postgres"


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="refund-desk-benchmark-") as name:
        directory = Path(name)
        if options.database in {"", "sqlite"}:
            _measure(f"sqlite:///{directory / 'desk.sqlite3'}", directory, options)
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
            with _databases(server, options.orders) as address:
                _measure(address, directory, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="")
    parser.add_argument("--orders", type=int, nargs="+", default=[300, 100_000])
    parser.add_argument("--rounds", type=int, default=60, help="how often each page is timed")
    parser.add_argument("--seconds", type=float, default=110, help="after which no round begins")
    parser.add_argument(
        "--inspect", default="", metavar="TEXT", help="show plans and profiles of pages so named"
    )
    return parser.parse_args()


def _measure(address: str, directory: Path, options: argparse.Namespace) -> None:
    """Measure in a process of its own, which knows one database."""
    for kept in directory.glob("sandbox_*"):
        kept.unlink()
    command = [sys.executable, "-m", "benchmarks.one_database"]
    done = subprocess.run(  # noqa: S603 -- this program, on another database
        [*command, str(options.rounds), str(options.seconds), options.inspect],
        check=False,
        env={
            **os.environ,
            "DATABASE_URL": address,
            "BENCHMARK_DIRECTORY": str(directory),
            "BENCHMARK_SIZES": ",".join(map(str, options.orders)),
        },
    )
    if done.returncode:
        # What went wrong stands above; a second traceback would only hide it.
        sys.exit(done.returncode)


@contextmanager
def _databases(server: str, sizes: Sequence[int]) -> Iterator[str]:
    """Make a database for each size, and give their address without the size."""
    name = f"refund_desk_benchmark_{os.getpid()}"
    try:
        with psycopg.connect(server, autocommit=True) as connection:
            for size in sizes:
                connection.execute(
                    sql.SQL("CREATE DATABASE {}").format(sql.Identifier(f"{name}_{size}"))
                )
                # Work that is handed to further processes would not be counted.
                connection.execute(
                    sql.SQL("ALTER DATABASE {} SET max_parallel_workers_per_gather = 0").format(
                        sql.Identifier(f"{name}_{size}")
                    )
                )
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            for size in sizes:
                connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                        sql.Identifier(f"{name}_{size}")
                    )
                )


if __name__ == "__main__":
    sys.exit(main())
