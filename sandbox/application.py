"""The stand-in as a WSGI application: Digital River's routes, and admin routes of its own.

    GET  /orders  /orders/{id}          POST /refunds  /refunds/{id}
    GET  /refunds /refunds/{id}         GET  /events   /events/{id}

    GET  /_sandbox/                               what is there, and how many
    GET POST DELETE /_sandbox/faults              queue misbehaviour, see it, forget it
    GET POST DELETE /_sandbox/webhook             where events are delivered, and how badly
    POST /_sandbox/settle                         settle what is pending ({"refundId"} for one)
    POST /_sandbox/orders/{id}/state              {"state": "blocked"}
    POST /_sandbox/orders/{id}/dispute            the customer's bank disputes the order
    POST /_sandbox/orders/{id}/resolve-dispute    the order is what it was before
    POST /_sandbox/orders/{id}/chargeback         {"amount": "10.00"}
    POST /_sandbox/refunds/{id}/succeed           {"refundedAmount": "9.90"} for less than asked
    POST /_sandbox/refunds/{id}/fail              {"failureReason": "account_closed"}
    POST /_sandbox/refunds/{id}/bank-details      what the customer does with the token
    POST /_sandbox/refunds/{id}/expire            what happens when the customer does not
    POST /_sandbox/reset                          fill the shop afresh

All of them want a bearer key of a test account. Where Digital River's documents leave an answer
open, the one given here is a guess that the desk must not depend on beyond its being a 400.

https://docs.digitalriver.com/digital-river-api/developer-resources/api-structure
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.exceptions import NotFound as NoSuchPath
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from sandbox.allocation import LARGEST_DIGITS
from sandbox.errors import ApiError, RefusedError
from sandbox.faults import (
    HEADER,
    AnswerLostError,
    Fault,
    FaultKind,
    RefusedConnectionError,
    parse_fault,
    parse_header,
)
from sandbox.moments import to_microseconds
from sandbox.refund_request import parse_body, parse_metadata_update, parse_refund
from sandbox.store import Cursor, Filter, Page, Sandbox
from sandbox.webhook import parse_webhook
from sandbox.wire import KNOWN_VERSIONS, dumps

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

TEST_KEY = "sk_test_"
WAIT = "sandbox.wait"
"""The key of the WSGI environment under which a transport may bring its own way of waiting."""

LARGEST_BODY = 1_000_000
LARGEST_PAGE = 100
SECOND = 1_000_000
"""In microseconds, as the state file keeps time."""
COMPARISONS: Mapping[str, str] = {
    "": "=",
    "eq": "=",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}

ROUTES = Map(
    [
        Rule("/orders", endpoint="list_orders", methods=["GET"]),
        Rule("/orders/<identifier>", endpoint="get_order", methods=["GET"]),
        Rule("/refunds", endpoint="list_refunds", methods=["GET"]),
        Rule("/refunds", endpoint="create_refund", methods=["POST"]),
        Rule("/refunds/<identifier>", endpoint="get_refund", methods=["GET"]),
        Rule("/refunds/<identifier>", endpoint="update_refund", methods=["POST"]),
        Rule("/events", endpoint="list_events", methods=["GET"]),
        Rule("/events/<identifier>", endpoint="get_event", methods=["GET"]),
        Rule("/_sandbox/", endpoint="admin_overview", methods=["GET"]),
        Rule("/_sandbox/faults", endpoint="admin_list_faults", methods=["GET"]),
        Rule("/_sandbox/faults", endpoint="admin_queue_fault", methods=["POST"]),
        Rule("/_sandbox/faults", endpoint="admin_clear_faults", methods=["DELETE"]),
        Rule("/_sandbox/webhook", endpoint="admin_show_webhook", methods=["GET"]),
        Rule("/_sandbox/webhook", endpoint="admin_register_webhook", methods=["POST"]),
        Rule("/_sandbox/webhook", endpoint="admin_forget_webhook", methods=["DELETE"]),
        Rule("/_sandbox/settle", endpoint="admin_settle", methods=["POST"]),
        Rule("/_sandbox/reset", endpoint="admin_reset", methods=["POST"]),
        Rule("/_sandbox/orders/<identifier>/state", endpoint="admin_state", methods=["POST"]),
        Rule("/_sandbox/orders/<identifier>/dispute", endpoint="admin_dispute", methods=["POST"]),
        Rule(
            "/_sandbox/orders/<identifier>/resolve-dispute",
            endpoint="admin_resolve_dispute",
            methods=["POST"],
        ),
        Rule(
            "/_sandbox/orders/<identifier>/chargeback",
            endpoint="admin_charge_back",
            methods=["POST"],
        ),
        Rule("/_sandbox/refunds/<identifier>/succeed", endpoint="admin_succeed", methods=["POST"]),
        Rule("/_sandbox/refunds/<identifier>/fail", endpoint="admin_fail", methods=["POST"]),
        Rule("/_sandbox/refunds/<identifier>/expire", endpoint="admin_expire", methods=["POST"]),
        Rule(
            "/_sandbox/refunds/<identifier>/bank-details",
            endpoint="admin_bank_details",
            methods=["POST"],
        ),
    ],
    strict_slashes=False,
    merge_slashes=False,
)


class Application:
    """The WSGI application around a Sandbox.

    `rate_limit` is the number of requests a key may make in a second; None means any number.
    https://docs.digitalriver.com/digital-river-api/developer-resources/rate-limiting
    """

    def __init__(self, sandbox: Sandbox, *, rate_limit: int | None = None) -> None:
        """Take the state to serve and the limit."""
        self.sandbox = sandbox
        self._rate_limit = rate_limit
        self._rate_lock = threading.Lock()
        self._rates: dict[str, tuple[int, int]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; raises AnswerLostError or RefusedConnectionError where told to."""
        request = Request(environ)
        response = self._respond(request)
        response.headers["x-dr-requestid"] = str(uuid.uuid4())
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        try:
            faults = self._faults(request)
        except ApiError as error:
            return _error(error)
        by_kind = {fault.kind: fault for fault in faults}
        if FaultKind.CONNECTION_REFUSED in by_kind:
            raise RefusedConnectionError("the stand-in was told to refuse the connection")
        if lost := by_kind.get(FaultKind.LOST_BEFORE):
            raise AnswerLostError(lost.how)
        response = _instead(by_kind)
        if response is None:
            response = self._answer(request, by_kind.get(FaultKind.OTHER_AMOUNT))
        if slow := by_kind.get(FaultKind.LATENCY):
            wait: Callable[[float], None] = request.environ.get(WAIT, time.sleep)
            wait(slow.milliseconds / 1000)
        if lost := by_kind.get(FaultKind.LOST_AFTER):
            raise AnswerLostError(lost.how)
        if broken := by_kind.get(FaultKind.ERROR_AFTER):
            response = _broken(broken)
        _spoil(response, by_kind)
        return response

    def _faults(self, request: Request) -> list[Fault]:
        if request.path.startswith("/_sandbox/"):
            return []
        carried = parse_header(request.headers.get(HEADER, ""))
        return carried + self.sandbox.take_faults(request.method, request.path)

    def _answer(self, request: Request, other_amount: Fault | None) -> Response:
        try:
            return self._dispatch(request, other_amount)
        except ApiError as error:
            return _error(error)
        except HTTPException as error:
            return _routing_error(error)
        except Exception:
            logger.exception("the stand-in failed at %s %s", request.method, request.path)
            return _error(ApiError(500, "unknown_error", "Something went wrong."))

    def _dispatch(self, request: Request, other_amount: Fault | None) -> Response:
        self._check_key(request)
        self._check_rate(request)
        _check_headers(request)
        endpoint, arguments = ROUTES.bind_to_environ(request.environ).match()
        if endpoint == "create_refund":
            return self.create_refund(request, other_amount)
        handler: Callable[..., Response] = getattr(self, endpoint)
        return handler(request, **arguments)

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip().startswith(TEST_KEY):
            raise ApiError(401, "unauthorized", "A test account's secret key is required.")
        if len(key.strip()) == len(TEST_KEY):
            raise ApiError(401, "unauthorized", "The key is not known.")

    def _check_rate(self, request: Request) -> None:
        if self._rate_limit is None or request.path.startswith("/_sandbox/"):
            return
        key = hashlib.sha256(request.headers["Authorization"].encode()).hexdigest()
        second = int(time.monotonic())
        with self._rate_lock:
            known_second, count = self._rates.get(key, (second, 0))
            count = count + 1 if known_second == second else 1
            self._rates[key] = (second, count)
        if count > self._rate_limit:
            raise ApiError(429, "too_many_requests", "Too many requests.")

    # -- orders -----------------------------------------------------------------------------

    def get_order(self, request: Request, identifier: str) -> Response:
        """Answer `GET /orders/{id}`."""
        return _json(self.sandbox.order(identifier))

    def list_orders(self, request: Request) -> Response:
        """Answer `GET /orders`, by some of the documented filters."""
        filters, cursor = _filters(
            request,
            "orders",
            texts={
                "state": "state",
                "currency": "currency",
                "email": "email",
                "customerId": "customer_id",
            },
            lists={"ids": "id", "upstreamIds": "order_number"},
            times={"createdTime": "created", "updatedTime": "updated"},
        )
        return _list(self.sandbox.orders(filters, cursor))

    # -- refunds ----------------------------------------------------------------------------

    def create_refund(self, request: Request, other_amount: Fault | None = None) -> Response:
        """Answer `POST /refunds`."""
        ask = parse_refund(_body(request))
        refund = self.sandbox.create_refund(
            ask,
            lowered=other_amount is not None,
            lowered_to=None if other_amount is None else other_amount.amount,
        )
        return _json(refund, 201)

    def get_refund(self, request: Request, identifier: str) -> Response:
        """Answer `GET /refunds/{id}`."""
        return _json(self.sandbox.refund(identifier))

    def update_refund(self, request: Request, identifier: str) -> Response:
        """Answer `POST /refunds/{id}`, which changes metadata only."""
        metadata = parse_metadata_update(_body(request))
        return _json(self.sandbox.update_refund(identifier, metadata))

    def list_refunds(self, request: Request) -> Response:
        """Answer `GET /refunds`."""
        filters, cursor = _filters(
            request,
            "refunds",
            texts={"orderId": "order_id", "state": "state"},
            lists={"ids": "id"},
            times={"createdTime": "created"},
        )
        return _list(self.sandbox.refunds(filters, cursor))

    # -- events -----------------------------------------------------------------------------

    def get_event(self, request: Request, identifier: str) -> Response:
        """Answer `GET /events/{id}`."""
        return _json(self.sandbox.event(identifier))

    def list_events(self, request: Request) -> Response:
        """Answer `GET /events`."""
        filters, cursor = _filters(
            request,
            "events",
            texts={"type": "type"},
            lists={"types": "type"},
            times={"createdTime": "created"},
        )
        return _list(self.sandbox.events(filters, cursor))

    # -- admin ------------------------------------------------------------------------------

    def admin_overview(self, request: Request) -> Response:
        """Say what this is and which requests it understands."""
        routes = sorted(
            f"{method} {rule.rule}"
            for rule in ROUTES.iter_rules()
            for method in (rule.methods or set()) - {"HEAD"}
        )
        anchor = self.sandbox.shop_anchor.isoformat()
        return _json({"service": "sandbox", "shopAnchor": anchor, "routes": routes})

    def admin_list_faults(self, request: Request) -> Response:
        """Return the queued faults."""
        return _json({"data": self.sandbox.faults()})

    def admin_queue_fault(self, request: Request) -> Response:
        """Queue a fault."""
        fault = parse_fault(_body(request))
        self.sandbox.queue_fault(fault)
        return _json(fault.to_json(), 201)

    def admin_clear_faults(self, request: Request) -> Response:
        """Forget every queued fault."""
        self.sandbox.clear_faults()
        return _json({"data": []})

    def admin_show_webhook(self, request: Request) -> Response:
        """Return the registered webhook, without its secrets, and what is still to be delivered."""
        webhook = self.sandbox.webhook()
        undelivered, _ = self.sandbox.undelivered()
        shown = [] if webhook is None else [webhook.shown()]
        return _json({"data": shown, "undelivered": undelivered})

    def admin_register_webhook(self, request: Request) -> Response:
        """Register the one webhook, in the place of any before it."""
        webhook = parse_webhook(_body(request))
        self.sandbox.register_webhook(webhook)
        return _json(webhook.shown(), 201)

    def admin_forget_webhook(self, request: Request) -> Response:
        """Deliver to nobody."""
        self.sandbox.forget_webhook()
        return _json({"data": []})

    def admin_settle(self, request: Request) -> Response:
        """Settle every pending refund now, or the one named by refundId."""
        refund_id = _body(request).get("refundId")
        settled = self.sandbox.settle_now(None if refund_id is None else str(refund_id))
        return _json({"settled": settled})

    def admin_reset(self, request: Request) -> Response:
        """Fill the shop afresh."""
        self.sandbox.reset()
        return _json({"shopAnchor": self.sandbox.shop_anchor.isoformat()})

    def admin_state(self, request: Request, identifier: str) -> Response:
        """Move an order to another state."""
        state = _body(request).get("state")
        return _json(self.sandbox.set_order_state(identifier, str(state)))

    def admin_dispute(self, request: Request, identifier: str) -> Response:
        """Let an order be disputed."""
        return _json(self.sandbox.dispute(identifier))

    def admin_resolve_dispute(self, request: Request, identifier: str) -> Response:
        """End an order's dispute."""
        return _json(self.sandbox.resolve_dispute(identifier))

    def admin_charge_back(self, request: Request, identifier: str) -> Response:
        """Charge an amount of an order back."""
        amount = _amount(_body(request), "amount")
        if amount is None:
            raise RefusedError("missing_parameter", "amount", "An amount is required.")
        return _json(self.sandbox.charge_back(identifier, amount))

    def admin_succeed(self, request: Request, identifier: str) -> Response:
        """Let a refund succeed."""
        amount = _amount(_body(request), "refundedAmount")
        return _json(self.sandbox.succeed_refund(identifier, amount))

    def admin_fail(self, request: Request, identifier: str) -> Response:
        """Let a refund fail."""
        reason = _body(request).get("failureReason")
        return _json(self.sandbox.fail_refund(identifier, None if reason is None else str(reason)))

    def admin_expire(self, request: Request, identifier: str) -> Response:
        """Let a refund that waits for bank details expire."""
        return _json(self.sandbox.expire_refund(identifier))

    def admin_bank_details(self, request: Request, identifier: str) -> Response:
        """Give the bank details that a refund waits for."""
        return _json(self.sandbox.provide_bank_details(identifier))


def _routing_error(error: HTTPException) -> Response:
    if isinstance(error, NoSuchPath):
        return _error(ApiError(404, "not_found", "There is no such resource."))
    if isinstance(error, MethodNotAllowed):
        refusal = ApiError(405, "method_not_allowed", "The method is not allowed here.")
        return _error(refusal, Allow=", ".join(sorted(error.valid_methods or ())))
    return _error(ApiError(400, "invalid_format", "The request cannot be read."))


def _instead(faults: Mapping[FaultKind, Fault]) -> Response | None:
    """Return the answer that a fault gives in the place of the real one."""
    if limited := faults.get(FaultKind.RATE_LIMITED):
        error = ApiError(429, "too_many_requests", "Too many requests.")
        return _error(error, **{"Retry-After": str(limited.retry_after)})
    if broken := faults.get(FaultKind.ERROR):
        return _broken(broken)
    return None


def _broken(fault: Fault) -> Response:
    return _error(ApiError(fault.status, "unknown_error", "Something went wrong."))


def _spoil(response: Response, faults: Mapping[FaultKind, Fault]) -> None:
    """Put what faults make of a body in its place; the status stays."""
    if FaultKind.MALFORMED in faults:
        body = response.get_data()
        response.set_data(body[: len(body) // 2] or b"{")
    if FaultKind.WRONG_SHAPE in faults:
        response.set_data(b'[{"unexpected": true}]')
    if FaultKind.RUBBISH in faults:
        response.set_data(b"\xff\xfe<html><body>Bad gateway\x00</body></html>")
        response.headers["Content-Type"] = "text/html"


def _json(value: object, status: int = 200) -> Response:
    return Response(dumps(value), status, content_type="application/json")


def _list(page: Page) -> Response:
    return _json({"hasMore": page.has_more, "data": page.data})


def _error(error: ApiError, **headers: str) -> Response:
    response = _json(error.body(), error.status)
    if error.status == 429:
        response.headers["Retry-After"] = "1"
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _body(request: Request) -> Mapping[str, Any]:
    request.max_content_length = LARGEST_BODY
    body = request.get_data()
    if not body and request.path.startswith("/_sandbox/"):
        return {}
    return parse_body(body)


def _amount(body: Mapping[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None:
        return None
    refusal = RefusedError("invalid_format", name, "The value must be a number.")
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise refusal
    try:
        amount = Decimal(value)
    except ArithmeticError as error:
        raise refusal from error
    if not amount.is_finite() or amount.adjusted() >= LARGEST_DIGITS:
        raise refusal
    return amount


def _check_headers(request: Request) -> None:
    accepted = request.accept_mimetypes
    if accepted and not accepted.quality("application/json"):
        raise ApiError(406, "not_acceptable", "Only application/json is served.")
    version = request.headers.get("DigitalRiver-Version")
    if version is not None and version not in KNOWN_VERSIONS:
        message = "The version is not known."
        raise RefusedError("invalid_parameter", "DigitalRiver-Version", message)


def _filters(
    request: Request,
    table: str,
    *,
    texts: Mapping[str, str],
    lists: Mapping[str, str],
    times: Mapping[str, str],
) -> tuple[list[Filter], Cursor]:
    """Return the conditions and the cursor of a list request; refuse what is not known."""
    filters: list[Filter] = []
    limit, starting_after, ending_before = 10, None, None
    for name, values in request.args.lists():
        base, _, comparison = name.removesuffix("]").partition("[")
        if name == "limit":
            limit = _limit(values[-1])
        elif name == "startingAfter":
            starting_after = values[-1]
        elif name == "endingBefore":
            ending_before = values[-1]
        elif name in texts:
            filters.append((f"{table}.{texts[name]} = ?", (values[-1],)))
        elif base in lists and comparison == "":
            wanted = [entry for value in values for entry in value.split(",") if entry]
            marks = ", ".join("?" * len(wanted))
            filters.append((f"{table}.{lists[base]} IN ({marks})", wanted))
        elif base in times and comparison in COMPARISONS:
            column = f"{table}.{times[base]}"
            filters.extend(
                _time_filter(column, COMPARISONS[comparison], value, name) for value in values
            )
        else:
            raise RefusedError("unknown_parameter", name[:80], "The filter is not supported.")
    return filters, Cursor(limit, starting_after, ending_before)


def _limit(value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 9:
        raise RefusedError("invalid_integer", "limit", "The limit must be a whole number.")
    if not 1 <= int(value) <= LARGEST_PAGE:
        raise RefusedError("invalid_parameter", "limit", f"The limit is from 1 to {LARGEST_PAGE}.")
    return int(value)


def _time_filter(column: str, comparison: str, value: str, name: str) -> Filter:
    try:
        # A + of a time zone that was not escaped arrives as a space.
        moment = datetime.fromisoformat(value.strip().replace(" ", "+"))
        microseconds = to_microseconds(moment)
    except (ValueError, OverflowError) as error:
        raise RefusedError(
            "invalid_format", name[:80], "The value is not an ISO 8601 time."
        ) from error
    if column.startswith("events."):
        return f"{column} {comparison} ?", (microseconds,)
    # Orders and refunds show whole seconds, so they are compared by whole seconds; the column
    # stands alone, so that its index serves.
    second = microseconds // SECOND * SECOND
    after = second if second == microseconds else second + SECOND
    match comparison:
        case ">=":
            return f"{column} >= ?", (after,)
        case ">":
            return f"{column} >= ?", (second + SECOND,)
        case "<":
            return f"{column} < ?", (after,)
        case "<=":
            return f"{column} < ?", (second + SECOND,)
        case _:
            # A fraction of a second is nobody's: nothing lies between `after` and `after`.
            return f"{column} >= ? AND {column} < ?", (after, second + SECOND)
