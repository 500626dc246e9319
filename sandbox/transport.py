"""The stand-in without a network: an httpx transport around its WSGI application.

Set `DIGITALRIVER_TRANSPORT` to `sandbox.transport.in_process` to have the desk speak to it.
https://www.python-httpx.org/advanced/transports/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx
from django.conf import settings

from sandbox.application import WAIT, Application
from sandbox.faults import AnswerLostError, RefusedConnectionError
from sandbox.guard import refuse_beside_live_settings
from sandbox.store import Sandbox

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CLIENT = "127.0.0.1"


class InProcessTransport(httpx.BaseTransport):
    """Hands each request to an application in this process, and fails as a network would.

    A lost answer is a RemoteProtocolError or a ReadTimeout, a refused connection a ConnectError,
    an answer that takes longer than the request's read timeout a ReadTimeout. `sleep` waits for
    a slow answer, never longer than that timeout; its argument is in seconds.
    """

    def __init__(
        self, application: Application, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Take the application and the way to wait."""
        self._application = application
        self._sleep = sleep

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; raises httpx.TransportError where told to."""
        timeout: float | None = request.extensions.get("timeout", {}).get("read")

        def wait(seconds: float) -> None:
            if timeout is not None and seconds > timeout:
                self._sleep(timeout)
                raise httpx.ReadTimeout("the answer took too long", request=request)
            self._sleep(seconds)

        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            environ[WAIT] = wait
            return self._application(environ, start_response)

        try:
            response = httpx.WSGITransport(application, remote_addr=CLIENT).handle_request(request)
        except RefusedConnectionError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except AnswerLostError as error:
            if error.how == "timeout":
                raise httpx.ReadTimeout(str(error), request=request) from error
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        return response


def in_process_for(
    sandbox: Sandbox,
    *,
    rate_limit: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> InProcessTransport:
    """Return a transport to a sandbox that the caller made, for tests."""
    return InProcessTransport(Application(sandbox, rate_limit=rate_limit), sleep=sleep)


@lru_cache(maxsize=8)
def _application(path: str, settle_seconds: int, expire_days: int) -> Application:
    sandbox = Sandbox(
        path,
        settle_after=timedelta(seconds=settle_seconds),
        expire_after=timedelta(days=expire_days),
    )
    return Application(sandbox)


def in_process() -> httpx.BaseTransport:
    """Return a transport to the stand-in that Django's settings describe.

    Reads SANDBOX_STATE (the state file), SANDBOX_SETTLE_SECONDS (300) and SANDBOX_EXPIRE_DAYS
    (30). Raises ImproperlyConfigured beside a live key or outside of development.
    """
    refuse_beside_live_settings()
    application = _application(
        str(settings.SANDBOX_STATE),
        int(getattr(settings, "SANDBOX_SETTLE_SECONDS", 300)),
        int(getattr(settings, "SANDBOX_EXPIRE_DAYS", 30)),
    )
    return InProcessTransport(application)
