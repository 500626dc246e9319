"""The wire between the desk and its stand-in, as the tests of the services see it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import simplejson

Hook = Callable[[], None]
Retelling = Callable[[dict[str, Any]], object]


JSON = {"content-type": "application/json"}


class KilledError(BaseException):
    """The process that sent a refund went away: nothing of what followed was written.

    No ``Exception``, for no handler in the code runs once a process is killed.
    """


class Wire(httpx.BaseTransport):
    """Keeps every ``POST /refunds`` and lets a test act before or after one reaches the stand-in.

    A hook runs once, in the next call of its kind, and is forgotten before it runs.
    """

    def __init__(self, inner: httpx.BaseTransport) -> None:
        """Take the transport to the stand-in."""
        self._inner = inner
        self.requests: list[httpx.Request] = []
        self.before_post: Hook | None = None
        self.after_post: Hook | None = None
        self.after_read: Hook | None = None
        #: What Digital River takes a refund that is asked for to be, where it is not what was sent.
        self.rewrite: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        #: Changes what is told of an order, of each refund on a list, or of the one that was made.
        self.retell_order: Retelling | None = None
        self.retell_listed: Retelling | None = None
        self.retell_created: Retelling | None = None

    @property
    def posts(self) -> list[httpx.Request]:
        """The refunds that were asked for, oldest first."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was posted, with amounts as ``Decimal``."""
        return [simplejson.loads(request.content, parse_float=Decimal) for request in self.posts]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Hand the request on, and run the hooks that wait for it."""
        self.requests.append(request)
        if request.method != "POST":
            response = self._inner.handle_request(request)
            if request.url.path.startswith("/orders/") and self.retell_order:
                response = _retold(response, self.retell_order)
            if request.url.path == "/refunds" and self.retell_listed:
                response = _retold(response, self.retell_listed, each="data")
            # The second of the two reads, so that the hook falls between reading and writing.
            if request.url.path.startswith("/orders/") and (hook := self.after_read):
                self.after_read = None
                hook()
            return response
        if hook := self.before_post:
            self.before_post = None
            hook()
        if self.rewrite is not None:
            body = self.rewrite(simplejson.loads(request.content, parse_float=Decimal))
            content = simplejson.dumps(body, use_decimal=True)
            headers = {k: v for k, v in request.headers.items() if k != "content-length"}
            request = httpx.Request(request.method, request.url, headers=headers, content=content)
        response = self._inner.handle_request(request)
        if self.retell_created:
            response = _retold(response, self.retell_created)
        if hook := self.after_post:
            self.after_post = None
            hook()
        return response


def _retold(response: httpx.Response, retell: Retelling, *, each: str = "") -> httpx.Response:
    """Return the answer as it is told otherwise; one that tells of nothing stays as it is."""
    response.read()
    if not response.is_success:
        return response
    body = simplejson.loads(response.content, use_decimal=True)
    for told in body[each] if each else [body]:
        retell(told)
    content = simplejson.dumps(body, use_decimal=True).encode()
    return httpx.Response(response.status_code, headers=JSON, content=content)


def kill() -> None:
    """Stop the process that is sending."""
    raise KilledError
