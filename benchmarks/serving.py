"""Starts gunicorn as ``make serve`` does, on a port of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import httpx

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers at a port; its workers are the children of the process."""

    port: int
    process: int


@contextmanager
def served(settings_module: str, *, workers: int) -> Iterator[Server]:
    """Serve the desk with these settings; gives the server once it answers."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn"],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": settings_module,
            "BIND": f"127.0.0.1:{port}",
            "WEB_CONCURRENCY": str(workers),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(port, server)
        yield Server(port, server.pid)
    finally:
        server.terminate()
        try:
            server.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < end:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": "desk.example"})
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("gunicorn does not serve; run `make serve` to see why.")
