"""Fixtures and rules for every test."""

import gc
import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import pytest
import stamina
from django.conf import LazySettings, settings
from django.core.cache import cache
from django.db import connections
from hypothesis import settings as hypothesis_settings

from refunds import gateways
from refunds.digitalriver.client import DigitalRiverClient
from refunds.salesforce.client import SalesforceClient
from refunds.salesforce.signing_in import Credentials
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.shape import CONSUMER_KEY, CONSUMER_SECRET
from sandbox.salesforce.transport import in_process_for as salesforce_in_process_for
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.brokers import BROKERS, is_there
from tests.desk import Desk, SetClock
from tests.network import close_network

NEEDS_POSTGRESQL = "needs PostgreSQL"
NEEDS_BROKER = "needs a message broker"
NEEDS_CLUSTER = "needs a PostgreSQL cluster of its own"

# Where failures must come back the same, hypothesis walks one fixed path; elsewhere it looks
# for new ones. How long an example takes depends on the machine, so none has a deadline.
hypothesis_settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis_settings.register_profile("desk", deadline=None)
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_configure() -> None:
    """Close the network before anything is collected."""
    close_network()


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Leave out what needs a broker that is away, or PostgreSQL on another database."""
    away = [name for name in BROKERS if not is_there(name)]
    for item in items:
        if any(item.get_closest_marker(name) for name in away):
            item.add_marker(pytest.mark.skip(reason=NEEDS_BROKER))
    if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        return
    for item in items:
        if item.get_closest_marker("postgresql"):
            item.add_marker(pytest.mark.skip(reason=NEEDS_POSTGRESQL))


def pytest_collection_finish() -> None:
    """Leave what is there by now out of every later collection of garbage: it stays to the end."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List by name the tests that were not run for want of a server that they need."""
    for reason, title in (
        (NEEDS_POSTGRESQL, "not run: these need PostgreSQL (set DATABASE_URL)"),
        (NEEDS_BROKER, "not run: these need Redis or RabbitMQ (set TEST_REDIS, TEST_RABBITMQ)"),
        (NEEDS_CLUSTER, "not run: these need initdb and pg_ctl (apt-get install postgresql)"),
    ):
        names = sorted(
            report.nodeid
            for report in terminalreporter.stats.get("skipped", [])
            if isinstance(report.longrepr, tuple) and reason in report.longrepr[2]
        )
        if names:
            terminalreporter.section(title)
            for name in names:
                terminalreporter.write_line(name)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Let every connection know what migrations made, to put it back after a test's flush.

    Chromium's driver runs an event loop, and within one Django has a connection object of its
    own, which does not know what the one that made the database was told to keep.
    """
    made_by = connections["default"]
    contents = getattr(made_by, "_test_serialized_contents", None)
    if contents is not None:
        setattr(type(made_by), "_test_serialized_contents", contents)  # noqa: B010


@pytest.fixture(scope="session")
def shop_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stand-in's state file with the whole shop in it, to be copied."""
    path = tmp_path_factory.mktemp("shop") / "sandbox.sqlite3"
    sandbox = Sandbox(path, clock=SetClock(), shop_anchor=date(2026, 11, 1))
    sandbox.close()
    return path


@pytest.fixture
def without_the_wait() -> Iterator[None]:
    """Ask again at once where a call failed, and keep nothing from the test before."""
    cache.clear()
    with stamina.set_testing(True, attempts=2):
        yield


@pytest.fixture
def clock() -> SetClock:
    """Return the clock that the test sets."""
    return SetClock()


@pytest.fixture
def sandbox(
    shop_file: Path, tmp_path: Path, settings: LazySettings, clock: SetClock
) -> Iterator[Sandbox]:
    """Return a stand-in of this test's own; the pages of the desk speak to it as well."""
    path = tmp_path / "sandbox.sqlite3"
    for suffix in ("", "-wal", "-shm"):
        if (kept := Path(f"{shop_file}{suffix}")).exists():
            shutil.copy(kept, f"{path}{suffix}")
    settings.SANDBOX_STATE = path
    gateways.digital_river.cache_clear()
    gateways.salesforce.cache_clear()
    gateways.salesforce_in_a_hurry.cache_clear()
    box = Sandbox(path, clock=clock)
    yield box
    box.close()
    gateways.digital_river.cache_clear()
    gateways.salesforce.cache_clear()
    gateways.salesforce_in_a_hurry.cache_clear()


@pytest.fixture
def desk(sandbox: Sandbox, clock: SetClock, db: None) -> Desk:
    """Return the desk beside its stand-in; both go by the test's clock."""
    client = DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key="sk_test_refund_desk",
        version="2021-12-13",
        timeout=5,
        application_id="refund-desk/test",
        transport=in_process_for(sandbox),
    )
    return Desk(sandbox, client, clock)


@pytest.fixture
def organisation(sandbox: Sandbox) -> Organisation:
    """Return the Salesforce organisation whose orders the shop's are."""
    return Organisation(sandbox)


@pytest.fixture
def salesforce(organisation: Organisation, clock: SetClock) -> SalesforceClient:
    """Return the desk's client on the wire to that organisation."""
    return SalesforceClient(
        credentials=Credentials(
            domain="sandbox.my", consumer_key=CONSUMER_KEY, consumer_secret=CONSUMER_SECRET
        ),
        adapter=salesforce_in_process_for(organisation),
        timeout=5,
        clock=clock,
    )
