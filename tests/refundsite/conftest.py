"""Starts the site's command line as an operator would, in a process and surroundings of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LONG_SECRET = "a-secret-for-tests-only-0123456789-abcdefghijklmnopqrstuvwxyz"

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Return a function that runs manage.py with only the given variables set."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "manage.py", *arguments],
            cwd=PROJECT,
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": f"sqlite:///{tmp_path / 'desk.sqlite3'}",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run
