"""An organisation for each test, spoken to by simple-salesforce without a network and over one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from simple_salesforce.api import Salesforce, SFType
from simple_salesforce.bulk2 import SFBulk2Handler

from sandbox.application import Application
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.shape import CONSUMER_KEY, CONSUMER_SECRET
from sandbox.salesforce.transport import in_process_for
from sandbox.serving import StandIns, served
from sandbox.store import Sandbox
from tests.sandbox.conftest import MakeSandbox


class ToAddress(HTTPAdapter):
    """Takes what is meant for Salesforce to another address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        request.url = self._address + request.path_url
        return super().send(request, **options)


@pytest.fixture
def sandbox(make_sandbox: MakeSandbox) -> Sandbox:
    return make_sandbox(())


@pytest.fixture
def organisation(sandbox: Sandbox) -> Organisation:
    """Return an organisation without orders: each test says how many it generates."""
    return Organisation(sandbox)


@pytest.fixture
def shop_organisation(shop: Sandbox) -> Organisation:
    """Return the organisation of the shop."""
    return Organisation(shop)


@pytest.fixture
def session(organisation: Organisation) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", in_process_for(organisation, sleep=lambda seconds: None))
        yield session


@pytest.fixture(params=["in-process", "http"])
def both_ways(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[requests.Session]:
    """Return a session that reaches the stand-in, once in this process and once over HTTP."""
    with requests.Session() as session:
        session.trust_env = False
        if request.param == "in-process":
            adapter: BaseAdapter = in_process_for(Organisation(sandbox))
            session.mount("https://", adapter)
            yield session
            return
        with served(StandIns(Application(sandbox))) as address:
            session.mount("https://", ToAddress(address))
            yield session


def signed_in(session: requests.Session, **more: Any) -> Salesforce:
    """Return simple-salesforce, signed in by client credentials."""
    known = {"consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET, "domain": "acme.my"}
    return Salesforce(session=session, version="60.0", **{**known, **more})


@pytest.fixture
def salesforce(session: requests.Session) -> Salesforce:
    return signed_in(session)


def refusal(response: requests.Response) -> tuple[int, str]:
    """Return the status and the error code of a refused request."""
    (error,) = response.json()
    return response.status_code, error["errorCode"]


def get(salesforce: Salesforce, path: str, **options: Any) -> requests.Response:
    """Return the plain answer to a GET."""
    return salesforce.session.get(
        f"{salesforce.base_url}{path}", headers=salesforce.headers, **options
    )


def read(salesforce: Salesforce, soql: str, batch: int = 200) -> list[Mapping[str, Any]]:
    """Return all records of a query, page by page."""
    headers = {"Sforce-Query-Options": f"batchSize={batch}"}
    return list(salesforce.query_all_iter(soql, headers=headers))


def sobject(salesforce: Salesforce, name: str) -> SFType:
    """Return simple-salesforce's way to an object."""
    found = getattr(salesforce, name)
    assert isinstance(found, SFType)
    return found


def pages_of(
    salesforce: Salesforce, soql: str, *, most: int = 10_000, deleted: bool = False
) -> Iterator[str]:
    """Yield the CSV pages of a bulk job for a query."""
    handler = salesforce.bulk2
    assert isinstance(handler, SFBulk2Handler)
    # What stands here makes no difference to a query.
    bulk = handler.Anything
    query = bulk.query_all if deleted else bulk.query
    for page in query(soql, max_records=most, wait=0):
        yield str(page)
