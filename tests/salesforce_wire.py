"""The wire between the desk's Salesforce client and its stand-in, as a test sees and cuts it."""

import io
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

import requests
import simplejson
from requests.adapters import BaseAdapter

from refunds.salesforce.client import Credentials, SalesforceClient
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.shape import CONSUMER_KEY, CONSUMER_SECRET
from sandbox.salesforce.transport import Timeout, in_process_for

Record = dict[str, object]


class SalesforceWire(BaseAdapter):
    """Counts the queries that reach Salesforce, and lets a test act on the way there and back.

    ``cut`` is raised in place of every answer; ``refusal`` is the status, errorCode and words that
    every query is answered with; ``rewrite`` changes the records that come back; ``before`` runs
    once, before the next query. ``further`` are the records of every page after a first one;
    ``one_currency`` makes it an organisation whose records name no currency.
    """

    def __init__(self, organisation: Organisation) -> None:
        """Lead to this organisation."""
        super().__init__()
        self._inner = in_process_for(organisation)
        self.queries: list[str] = []
        self.sign_ins = 0
        self.cut: requests.RequestException | None = None
        self.refusal: tuple[int, str, str] | None = None
        self.rewrite: Callable[[list[Record]], list[Record]] | None = None
        self.before: Callable[[], None] | None = None
        self.usage = ""
        self.further: list[Record] = []
        self.one_currency = False

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Timeout = None,
        verify: bool | str = True,
        cert: object = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send the request on, unless the test has it otherwise."""
        address = urlsplit(request.url or "")
        asks = parse_qs(address.query).get("q", [])
        self.queries += asks
        self.sign_ins += address.path.endswith("/token")
        if self.cut is not None:
            raise self.cut
        if "/query/" in address.path and self.further:
            return _answer(request, {"done": True, "records": self.further, "totalSize": 1})
        if refusal := self._refusal(asks):
            status, code, words = refusal
            return _answer(request, [{"errorCode": code, "message": words}], status=status)
        if asks and (before := self.before):
            self.before = None
            before()
        answer = self._inner.send(request, stream=stream, timeout=timeout)
        if self.usage:
            answer.headers["Sforce-Limit-Info"] = self.usage
        if asks and self.rewrite is not None:
            told = simplejson.loads(answer.content, use_decimal=True)
            told["records"] = self.rewrite(told["records"])
            told["totalSize"] = len(told["records"])
            return _answer(request, told)
        return answer

    def client(self) -> SalesforceClient:
        """Return the desk's client on this wire."""
        return SalesforceClient(
            credentials=Credentials(
                domain="sandbox.my", consumer_key=CONSUMER_KEY, consumer_secret=CONSUMER_SECRET
            ),
            adapter=self,
            timeout=5,
        )

    def _refusal(self, asks: list[str]) -> tuple[int, str, str] | None:
        if asks and self.one_currency and "CurrencyIsoCode" in asks[0]:
            return 400, "INVALID_FIELD", "No such column 'CurrencyIsoCode' on entity 'Order'."
        return self.refusal if asks else None

    def close(self) -> None:
        """Close the stand-in's side."""
        self._inner.close()


def _answer(
    request: requests.PreparedRequest,
    body: list[Mapping[str, str]] | Mapping[str, object],
    *,
    status: int = 200,
) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer.headers["Content-Type"] = "application/json;charset=UTF-8"
    answer.raw = io.BytesIO(simplejson.dumps(body, use_decimal=True).encode())
    answer.url = request.url or ""
    answer.request = request
    return answer
