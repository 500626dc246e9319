"""Digital River's answers, recorded from the stand-in: calls that cost the desk its own part only.

The stand-in would work in the desk's own processes, and slow them as Digital River does not.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import httpx
from django.conf import settings

from benchmarks.desk_settings import DIRECTORY
from refunds.digitalriver.client import DigitalRiverClient
from sandbox.store import Sandbox
from sandbox.transport import in_process_for

_FILE = "recorded.json"


class Recorder(httpx.BaseTransport):
    """Passes calls on to a stand-in, and keeps what it answers."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Take the stand-in that answers."""
        self._transport = in_process_for(sandbox)
        self.answers: dict[str, str] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a call."""
        response = self._transport.handle_request(request)
        response.read()
        self.answers[str(request.url)] = response.text
        return response


def client_of(sandbox: Sandbox) -> DigitalRiverClient:
    """Return a client that calls a stand-in of this process, as often as it likes."""
    return _client(in_process_for(sandbox))


def _client(transport: httpx.BaseTransport) -> DigitalRiverClient:
    return DigitalRiverClient(
        base_url="http://sandbox.invalid",
        api_key=settings.DIGITALRIVER_API_KEY,
        version=settings.DIGITALRIVER_VERSION,
        timeout=settings.DIGITALRIVER_TIMEOUT,
        application_id="refund-desk/1.0",
        transport=transport,
    )


def record(sandbox: Sandbox, order_ids: Iterable[str], directory: Path) -> None:
    """Keep what a look at each order reads, for ``transport``."""
    recorder = Recorder(sandbox)
    with _client(recorder) as client:
        for order_id in order_ids:
            client.list_refunds(order_id=order_id)
            client.get_order(order_id)
    (directory / _FILE).write_text(json.dumps(recorder.answers))


@lru_cache(maxsize=1)
def _answers(path: Path) -> dict[str, str]:
    answers: dict[str, str] = json.loads(path.read_text())
    return answers


class Recorded(httpx.BaseTransport):
    """Answers each call as it was answered before, at once."""

    def __init__(self, path: Path) -> None:
        """Take the file of the answers."""
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a call."""
        answer = _answers(self._path)[str(request.url)]
        return httpx.Response(
            200, content=answer, headers={"Content-Type": "application/json"}, request=request
        )


def transport() -> httpx.BaseTransport:
    """Return the transport that the settings name."""
    return Recorded(DIRECTORY / _FILE)
