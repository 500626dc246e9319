"""How calls to Salesforce go over the network: bounded in time, in size and in where they lead.

simple-salesforce writes ``https://`` and the organisation's host into every address, sets no
time limit and reads whatever comes. What is sent through this adapter has a limit of each, and
reaches another server where the settings name one.

https://requests.readthedocs.io/en/latest/user/advanced/#transport-adapters
"""

import io
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.utils import get_environ_proxies

#: The largest answer that is read, in bytes.
LARGEST_BODY: Final = 64 * 1024 * 1024
_CHUNK: Final = 256 * 1024
#: How many time limits a whole answer may take while bytes keep coming.
_LONGEST: Final = 15


class AnswerTooLargeError(requests.RequestException):
    """An answer has more bytes than the desk reads."""


class RedirectedError(requests.RequestException):
    """An answer leads to another address, which has no business with the token."""


class BoundedAdapter(BaseAdapter):
    """Sends by another adapter, within limits.

    ``timeout`` is in seconds and bounds connecting and each wait for bytes; a whole answer may
    take fifteen times as long. ``server`` takes the place of each address's scheme, host and
    port, empty for none. ``on_answer`` is told of every answer and the seconds that it took.
    """

    def __init__(
        self,
        *,
        inner: BaseAdapter,
        timeout: float,
        server: str = "",
        on_answer: Callable[[requests.Response, float], None],
    ) -> None:
        super().__init__()
        self._inner = inner
        self._timeout = timeout
        self._server = urlsplit(server) if server else None
        self._on_answer = on_answer

    def send(  # noqa: PLR0917 -- requests passes them so
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: object = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        """Send the request and read all of the answer. Raises ``requests.RequestException``."""
        if self._server is not None:
            request, proxies = _led_to(self._server, request)
        started = time.monotonic()
        answer = self._inner.send(
            request, stream=True, timeout=self._timeout, verify=verify, cert=cert, proxies=proxies
        )
        try:
            if answer.is_redirect or answer.status_code in (301, 302, 303, 307, 308):
                raise RedirectedError("the answer leads elsewhere", request=request)
            body = self._body(answer, started)
        finally:
            answer.close()
        read = requests.Response()
        read.status_code = answer.status_code
        read.headers = answer.headers
        read.reason = answer.reason
        read.url = request.url or ""
        read.request = request
        read.encoding = answer.encoding
        read.raw = body
        self._on_answer(read, time.monotonic() - started)
        return read

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _body(self, answer: requests.Response, started: float) -> io.BytesIO:
        body = io.BytesIO()
        for chunk in answer.iter_content(_CHUNK):
            if body.tell() + len(chunk) > LARGEST_BODY:
                raise AnswerTooLargeError("the answer is too large", request=answer.request)
            body.write(chunk)
            # The time limit starts anew with every byte; a peer that drips would hold us.
            if time.monotonic() - started > self._timeout * _LONGEST:
                raise requests.ReadTimeout("the answer took too long", request=answer.request)
        body.seek(0)
        return body


def http_session(adapter: BaseAdapter, *, server: str) -> requests.Session:
    """Return a session whose every call goes through the adapter.

    A server on this machine is not reached through a proxy, whatever the environment says.
    """
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    session.trust_env = not (server and is_loopback(server))
    session.headers["User-Agent"] = "refund-desk/1.0"
    # Without it a .netrc that names Salesforce would take the place of the token.
    session.auth = _as_it_is
    return session


def is_loopback(address: str) -> bool:
    """Tell whether an address is on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _led_to(
    server: SplitResult, request: requests.PreparedRequest
) -> tuple[requests.PreparedRequest, dict[str, str]]:
    """Return the request for another server, and the proxies on the way there."""
    led = request.copy()
    parts = urlsplit(request.url or "")
    led.url = parts._replace(scheme=server.scheme, netloc=server.netloc).geturl()
    led.headers.pop("Host", None)
    proxies = {} if is_loopback(led.url) else get_environ_proxies(led.url)
    return led, proxies
