"""The desk on a wire that keeps what was posted and lets a test act while a call is under way."""

import pytest

from refunds.digitalriver.client import DigitalRiverClient
from sandbox.store import Sandbox
from sandbox.transport import in_process_for
from tests.desk import Desk, SetClock
from tests.services.wire import Wire


@pytest.fixture
def wire(sandbox: Sandbox) -> Wire:
    """Return the wire between the desk and its stand-in."""
    return Wire(in_process_for(sandbox))


@pytest.fixture
def desk(sandbox: Sandbox, clock: SetClock, wire: Wire, db: None) -> Desk:
    """Return the desk beside its stand-in, on the wire that the test can see."""
    client = DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key="sk_test_refund_desk",
        version="2021-12-13",
        # Threads wait for each other, and on a busy machine for long.
        timeout=60,
        application_id="refund-desk/test",
        transport=wire,
        read_attempts=1,
    )
    return Desk(sandbox, client, clock)
