"""What the desk imports is what a server installs: nothing comes along with the tools by chance."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
OWN = {"refundsite", "refunds", "sandbox", "demo"}
#: What exists for type checkers alone.
TYPES_ONLY = {"_typeshed"}
FILES = sorted(path for package in OWN for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the outermost packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {plain(line.partition("==")[0]) for line in lines if "==" in line}


@pytest.fixture(scope="module")
def packages() -> dict[str, set[str]]:
    """Return the files that import each package of somebody else."""
    found: dict[str, set[str]] = {}
    for path in FILES:
        for name in imported(path) - OWN - TYPES_ONLY - sys.stdlib_module_names:
            found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def test_what_is_imported_is_required(packages: dict[str, set[str]]) -> None:
    assert {"django", "httpx", "structlog"} <= packages.keys()
    distributions = packages_distributions()
    missing = {
        name: sorted(files)
        for name, files in packages.items()
        if not {plain(each) for each in distributions.get(name, [])} & pinned()
    }
    assert missing == {}
