"""The Salesforce stand-in without a network: a requests adapter around its WSGI application.

Set `SALESFORCE_TRANSPORT` to `sandbox.salesforce.transport.in_process` to have the desk speak to
it.

https://requests.readthedocs.io/en/latest/user/advanced/#transport-adapters
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

import requests
from django.conf import settings
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse
from werkzeug.test import EnvironBuilder

from sandbox.application import WAIT
from sandbox.faults import AnswerLostError, RefusedConnectionError
from sandbox.guard import refuse_beside_live_settings
from sandbox.salesforce.application import SalesforceApplication
from sandbox.salesforce.organisation import Organisation
from sandbox.store import Sandbox

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Timeout = None | float | tuple[float | None, float | None]


class InProcessAdapter(BaseAdapter):
    """Hands each request to an application in this process, and fails as a network would.

    A lost answer is a ConnectionError or a ReadTimeout, an answer that takes longer than the
    read timeout a ReadTimeout, a body that breaks off a ChunkedEncodingError. `sleep` waits for
    a slow answer, never longer than that timeout; its argument is in seconds.
    """

    def __init__(
        self, application: SalesforceApplication, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Take the application and the way to wait."""
        super().__init__()
        self._application = application
        self._sleep = sleep

    def send(  # noqa: PLR0917 -- as requests has it
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Timeout = None,
        verify: bool | str = True,
        cert: object = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a request; raises requests.RequestException where told to."""
        longest = timeout[1] if isinstance(timeout, tuple) else timeout

        def wait(seconds: float) -> None:
            if longest is not None and seconds > longest:
                self._sleep(longest)
                raise requests.ReadTimeout("the answer took too long", request=request)
            self._sleep(seconds)

        environ = _environ(request)
        environ[WAIT] = wait
        try:
            answer = self._ask(environ)
        except RefusedConnectionError as error:
            raise requests.ConnectionError(str(error), request=request) from error
        except AnswerLostError as error:
            if error.how == "timeout":
                raise requests.ReadTimeout(str(error), request=request) from error
            raise requests.ConnectionError(str(error), request=request) from error
        return HTTPAdapter().build_response(request, answer)

    def _ask(self, environ: WSGIEnvironment) -> HTTPResponse:
        head: list[tuple[int, str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: object = None
        ) -> Callable[[bytes], object]:
            code, _, reason = status.partition(" ")
            head.append((int(code), reason, headers))
            return lambda data: None

        body = _read(self._application(environ, start_response))
        status, reason, headers = head[-1]
        return HTTPResponse(
            io.BytesIO(body),
            HTTPHeaderDict(headers),
            status=status,
            reason=reason,
            preload_content=False,
            decode_content=False,
            request_method=str(environ["REQUEST_METHOD"]),
        )

    def close(self) -> None:
        """Nothing is held open."""


def _read(parts: Iterable[bytes]) -> bytes:
    """Return a body as far as it comes; what is missing shows by its Content-Length."""
    body = io.BytesIO()
    try:
        with suppress(AnswerLostError):
            for part in parts:
                body.write(part)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    return body.getvalue()


def _environ(request: requests.PreparedRequest) -> WSGIEnvironment:
    body = request.body or b""
    if not isinstance(body, str | bytes):
        raise TypeError("The in-process stand-in takes a body that is there as a whole.")
    path, _, query = request.path_url.partition("?")
    builder = EnvironBuilder(
        path=path,
        query_string=query,
        method=str(request.method),
        base_url=str(request.url).split("/services/")[0].split("/_sandbox/")[0],
        headers=[(name, str(value)) for name, value in request.headers.items()],
        data=body,
    )
    try:
        return builder.get_environ()
    finally:
        builder.close()


def in_process_for(
    organisation: Organisation, *, sleep: Callable[[float], None] = time.sleep
) -> InProcessAdapter:
    """Return an adapter to an organisation that the caller made, for tests."""
    return InProcessAdapter(SalesforceApplication(organisation), sleep=sleep)


@lru_cache(maxsize=8)
def _application(path: str) -> SalesforceApplication:
    return SalesforceApplication(Organisation(Sandbox(path)))


def in_process() -> BaseAdapter:
    """Return an adapter to the stand-in that Django's settings describe.

    Reads SANDBOX_STATE, the state file that the Digital River stand-in uses too. Raises
    ImproperlyConfigured beside a live key or outside of development.
    """
    refuse_beside_live_settings()
    return InProcessAdapter(_application(str(settings.SANDBOX_STATE)))
