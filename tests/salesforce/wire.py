"""Answers of Salesforce's as tests write them, and a wire that gives them one after the other."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from requests.adapters import BaseAdapter

from refunds.salesforce.client import Credentials, SalesforceClient

KEY = "3MVG9-consumer-key"
SECRET = "a-very-secret-secret"
TOKEN = "00Dxx0000000001!AQ-the-token"
HOST = "acme.my.salesforce.com"
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
DATE = "Mon, 02 Nov 2026 12:00:00 GMT"

BY_SECRET = Credentials(domain="acme.my", consumer_key=KEY, consumer_secret=SECRET)


class Answer:
    """An answer to be given: a JSON value, or text, or bytes, or pieces that may break off."""

    def __init__(
        self, status: int = 200, body: object = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.headers = {"Date": DATE, **(headers or {})}

    def given_to(self, request: requests.PreparedRequest) -> requests.Response:
        """Return it as an adapter does."""
        response = requests.Response()
        response.status_code = self.status
        response.headers.update(self.headers)
        response.request = request
        response.url = request.url or ""
        response.raw = _Raw(self.body)
        return response


class _Raw(io.RawIOBase):
    """The bytes of a body, which may break off."""

    def __init__(self, body: object) -> None:
        super().__init__()
        pieces = body if isinstance(body, list) and _broken(body) else [_encoded(body)]
        self._pieces = iter(pieces)

    def stream(self, size: int, decode_content: bool = True) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def _broken(body: list[Any]) -> bool:
    return any(isinstance(piece, Exception) for piece in body)


def _encoded(body: object) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


class Wire(BaseAdapter):
    """Signs everyone in, answers by the book, and remembers what was asked of it.

    The last answer is given again and again.
    """

    def __init__(self, *answers: Answer | Exception, sign_in: Answer | None = None) -> None:
        super().__init__()
        self.answers = list(answers)
        self.sign_in = sign_in or signed_in()
        self.sign_ins: list[requests.PreparedRequest] = []
        self.requests: list[requests.PreparedRequest] = []
        self.options: list[dict[str, object]] = []

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        self.options.append(options)
        if (request.url or "").endswith("/services/oauth2/token"):
            self.sign_ins.append(request)
            return self.sign_in.given_to(request)
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer.given_to(request)

    def close(self) -> None:
        pass


def signed_in(token: str = TOKEN, instance_url: str = f"https://{HOST}") -> Answer:
    return Answer(
        200, {"access_token": token, "instance_url": instance_url, "token_type": "Bearer"}
    )


def refused(status: int, code: str, message: str = "No.", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, [{"message": message, "errorCode": code}], sent)


def page(*records: dict[str, object], more: str = "", total: int = 1) -> Answer:
    body: dict[str, object] = {"totalSize": total, "done": not more, "records": list(records)}
    if more:
        body["nextRecordsUrl"] = more
    return Answer(200, body)


def client_over(wire: BaseAdapter, **options: Any) -> SalesforceClient:
    given: dict[str, Any] = {
        "credentials": BY_SECRET,
        "timeout": 5.0,
        "adapter": wire,
        "clock": lambda: NOW,
        "sleep": lambda _: None,
    }
    return SalesforceClient(**(given | options))


def private_key() -> str:
    """Return a new RSA key in PEM form."""
    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )
