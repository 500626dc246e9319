"""A PostgreSQL cluster of the test's own, to be stopped as by a power cut."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from django.db import connection, connections

from tests.faults.processes import HOST, free_port


def programs() -> Path | None:
    """Return the directory of the newest ``initdb`` and ``pg_ctl``, if they are installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    return newest.parent if newest else None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server with a directory and a port of its own."""

    programs: Path
    directory: Path
    port: int

    @property
    def settings(self) -> dict[str, Any]:
        """What leads Django there."""
        return {"HOST": HOST, "PORT": str(self.port), "USER": "postgres", "PASSWORD": ""}

    def control(self, action: str, *options: str) -> None:
        """Run ``pg_ctl`` and wait until it is done."""
        log = str(self.directory / "log")
        self.run("pg_ctl", action, "-w", "-s", "-t", "30", "-l", log, "-D", self.data, *options)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        # No crash of the machine is at stake; a commit still waits until it is written.
        options = f"-p {self.port} -c listen_addresses={HOST} -c fsync=off -k {self.directory}"
        self.control("start", "-o", options)

    def crash(self) -> None:
        """Stop the server as by a power cut."""
        self.control("stop", "-m", "immediate")

    @property
    def data(self) -> str:
        """Where the cluster's files are."""
        return str(self.directory / "data")

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs; as somebody else where we are root, as it demands."""
        owner: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwuid(self.directory.stat().st_uid)
            owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        done = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.directory,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=60,
            **owner,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")


@contextmanager
def cluster_at(programs: Path) -> Iterator[Cluster]:
    """Make a cluster and start it; it is gone when the block is left."""
    # Not in pytest's directory, which is closed to the user that the server runs as.
    directory = Path(mkdtemp(prefix="refund-desk-cluster-"))
    cluster = Cluster(programs, directory, free_port())
    try:
        if os.geteuid() == 0:
            names = {user.pw_name for user in pwd.getpwall()}
            shutil.chown(directory, "postgres" if "postgres" in names else "nobody")
        cluster.run(
            "initdb", "-D", cluster.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"
        )
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.crash()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def working_on(cluster: Cluster, name: str) -> Iterator[None]:
    """Have Django, in every thread of this process, work with this database of the cluster."""
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(cluster.settings | {"NAME": name})
    try:
        yield
    finally:
        connections.close_all()
        connection.settings_dict.update(before)
