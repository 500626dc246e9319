"""The Salesforce stand-in as a WSGI application.

    POST /services/oauth2/token
    GET  /services/data/vXX.X/query?q=            and queryAll, with their nextRecordsUrl
    POST /services/data/vXX.X/jobs/query          GET PATCH DELETE .../{id}  GET .../{id}/results
    GET  /services/data/vXX.X/sobjects/{X}/describe
    POST /services/data/vXX.X/sobjects/{X}        GET PATCH DELETE .../{id}
    GET  /services/data/vXX.X/limits

    GET POST DELETE /_sandbox/salesforce/faults   queue misbehaviour, see it, forget it
    GET PATCH       /_sandbox/salesforce/shape    what the organisation looks like
    POST /_sandbox/salesforce/end-sessions        refuse every token from before
    POST /_sandbox/salesforce/calls               {"used": 990000} of the day's requests
    POST /_sandbox/salesforce/undelete            {"sobject": "Order", "id": "801..."}

The paths of its own want a bearer key of a Digital River test account, as that stand-in's do.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest.htm
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from sandbox.application import LARGEST_BODY, TEST_KEY, WAIT
from sandbox.faults import AnswerLostError, RefusedConnectionError
from sandbox.salesforce import queries, sobjects, tokens
from sandbox.salesforce.errors import SalesforceRefusal, SignInRefusal, no_such_record
from sandbox.salesforce.faults import HEADER, Fault, FaultKind, parse_fault, parse_header
from sandbox.salesforce.organisation import Organisation
from sandbox.salesforce.shape import shape_from_json
from sandbox.wire import dumps, loads

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger(__name__)

OWN_PATHS = "/_sandbox/salesforce/"
PATHS = ("/services/", OWN_PATHS)
"""How the paths that this application answers begin."""

DATA = "/services/data/v<version>"
OLDEST_VERSION, NEWEST_VERSION = 47, 66
"""Bulk query jobs came with the first; the last is newer than any that the desk knows."""
USUAL_CSV_PAGE = 50_000
PROXY_PAGE = b"<html><body><h1>502 Bad Gateway</h1>proxy</body></html>"

ROUTES = Map(
    [
        Rule("/services/oauth2/token", endpoint="sign_in", methods=["POST"]),
        Rule(f"{DATA}/query", endpoint="query", methods=["GET"]),
        Rule(f"{DATA}/queryAll", endpoint="query_all", methods=["GET"]),
        Rule(f"{DATA}/query/<locator>", endpoint="query_more", methods=["GET"]),
        Rule(f"{DATA}/queryAll/<locator>", endpoint="query_more", methods=["GET"]),
        Rule(f"{DATA}/jobs/query", endpoint="start_job", methods=["POST"]),
        Rule(f"{DATA}/jobs/query/<identifier>", endpoint="get_job", methods=["GET"]),
        Rule(f"{DATA}/jobs/query/<identifier>", endpoint="abort_job", methods=["PATCH"]),
        Rule(f"{DATA}/jobs/query/<identifier>", endpoint="delete_job", methods=["DELETE"]),
        Rule(f"{DATA}/jobs/query/<identifier>/results", endpoint="job_results", methods=["GET"]),
        Rule(f"{DATA}/sobjects/<name>/describe", endpoint="describe", methods=["GET"]),
        Rule(f"{DATA}/sobjects/<name>", endpoint="create", methods=["POST"]),
        Rule(f"{DATA}/sobjects/<name>/<identifier>", endpoint="get", methods=["GET"]),
        Rule(f"{DATA}/sobjects/<name>/<identifier>", endpoint="update", methods=["PATCH"]),
        Rule(f"{DATA}/sobjects/<name>/<identifier>", endpoint="delete", methods=["DELETE"]),
        Rule(f"{DATA}/limits", endpoint="limits", methods=["GET"]),
        Rule(f"{OWN_PATHS}faults", endpoint="own_list_faults", methods=["GET"]),
        Rule(f"{OWN_PATHS}faults", endpoint="own_queue_fault", methods=["POST"]),
        Rule(f"{OWN_PATHS}faults", endpoint="own_clear_faults", methods=["DELETE"]),
        Rule(f"{OWN_PATHS}shape", endpoint="own_shape", methods=["GET"]),
        Rule(f"{OWN_PATHS}shape", endpoint="own_reshape", methods=["PATCH"]),
        Rule(f"{OWN_PATHS}end-sessions", endpoint="own_end_sessions", methods=["POST"]),
        Rule(f"{OWN_PATHS}calls", endpoint="own_calls", methods=["POST"]),
        Rule(f"{OWN_PATHS}undelete", endpoint="own_undelete", methods=["POST"]),
    ],
    strict_slashes=False,
    merge_slashes=False,
)


class SalesforceApplication:
    """The WSGI application around an Organisation."""

    def __init__(self, organisation: Organisation) -> None:
        """Take the organisation to serve."""
        self.organisation = organisation

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; raises AnswerLostError or RefusedConnectionError where told to."""
        request = Request(environ)
        response = self._respond(request)
        # In-process there is no server that would write it; it is Salesforce's own clock.
        response.headers["Date"] = format_datetime(self.organisation.now(), usegmt=True)
        return response(environ, start_response)

    def _respond(self, request: Request) -> Response:
        try:
            faults = self._faults(request)
        except SalesforceRefusal as error:
            return _refused(error)
        by_kind = {fault.kind: fault for fault in faults}
        if FaultKind.CONNECTION_REFUSED in by_kind:
            raise RefusedConnectionError("the stand-in was told to refuse the connection")
        if lost := by_kind.get(FaultKind.LOST_BEFORE):
            raise AnswerLostError(lost.how)
        response = _instead(by_kind) or self._answer(request, FaultKind.JOB_FAILS in by_kind)
        if slow := by_kind.get(FaultKind.LATENCY):
            wait: Callable[[float], None] = request.environ.get(WAIT, time.sleep)
            wait(slow.milliseconds / 1000)
        if lost := by_kind.get(FaultKind.LOST_AFTER):
            raise AnswerLostError(lost.how)
        if broken := by_kind.get(FaultKind.ERROR_AFTER):
            return _refused(broken.refusal())
        return _spoilt(response, by_kind)

    def _faults(self, request: Request) -> list[Fault]:
        if request.path.startswith(OWN_PATHS):
            return []
        carried = parse_header(request.headers.get(HEADER, ""))
        return carried + self.organisation.take_faults(request.method, request.path)

    def _answer(self, request: Request, job_fails: bool) -> Response:
        try:
            return self._dispatch(request, job_fails)
        except SalesforceRefusal as error:
            return _refused(error)
        except SignInRefusal as error:
            return _json(error.body(), error.status)
        except MethodNotAllowed as error:
            message = f"HTTP Method '{request.method}' not allowed."
            response = _refused(SalesforceRefusal(405, "METHOD_NOT_ALLOWED", message))
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response
        except HTTPException:
            return _refused(no_such_record())
        except Exception:
            logger.exception("the stand-in failed at %s %s", request.method, request.path)
            return _refused(SalesforceRefusal(500, "UNKNOWN_EXCEPTION", "An unexpected error."))

    def _dispatch(self, request: Request, job_fails: bool) -> Response:
        endpoint, arguments = ROUTES.bind_to_environ(request.environ).match()
        handler: Callable[..., Response] = getattr(self, endpoint)
        if endpoint == "sign_in":
            return handler(request)
        if endpoint.startswith("own_"):
            _check_test_key(request)
            return handler(request, **arguments)
        if not _is_version(arguments["version"]):
            raise no_such_record()
        tokens.check(self.organisation, request.headers.get("Authorization", ""))
        more = {"fails": job_fails} if endpoint == "start_job" else {}
        return self._counted(handler, request, {**arguments, **more})

    def _counted(
        self, handler: Callable[..., Response], request: Request, arguments: Mapping[str, Any]
    ) -> Response:
        used, total = self.organisation.count_call(), self.organisation.shape.daily_calls
        try:
            if used > total:
                message = "TotalRequests Limit exceeded."
                raise SalesforceRefusal(403, "REQUEST_LIMIT_EXCEEDED", message)
            response = handler(request, **arguments)
        except SalesforceRefusal as error:
            response = _refused(error)
        response.headers["Sforce-Limit-Info"] = f"api-usage={min(used, total)}/{total}"
        return response

    # -- OAuth ------------------------------------------------------------------------------

    def sign_in(self, request: Request) -> Response:
        """Answer `POST /services/oauth2/token`."""
        request.max_content_length = LARGEST_BODY
        form = request.form.to_dict()
        authorization = request.headers.get("Authorization", "")
        return _json(tokens.sign_in(self.organisation, form, authorization, request.host))

    # -- queries ----------------------------------------------------------------------------

    def query(self, request: Request, version: str, *, deleted: bool = False) -> Response:
        """Answer `GET query?q=`."""
        soql = request.args.get("q")
        if not soql:
            raise SalesforceRefusal(400, "MALFORMED_QUERY", "A query string has to be specified")
        batch = _batch(request.headers.get("Sforce-Query-Options", ""))
        return _json(
            queries.first_page(
                self.organisation, soql, deleted=deleted, batch=batch, version=version
            )
        )

    def query_all(self, request: Request, version: str) -> Response:
        """Answer `GET queryAll?q=`, which sees what was deleted."""
        return self.query(request, version, deleted=True)

    def query_more(self, request: Request, version: str, locator: str) -> Response:
        """Answer a nextRecordsUrl."""
        return _json(queries.next_page(self.organisation, locator, version=version))

    # -- bulk 2.0 ---------------------------------------------------------------------------

    def start_job(self, request: Request, version: str, *, fails: bool) -> Response:
        """Answer `POST jobs/query`."""
        body = _body(request)
        operation = body.get("operation")
        if operation not in ("query", "queryAll"):
            raise SalesforceRefusal(400, "INVALIDJOB", "The operation is query or queryAll.")
        job = queries.start_job(
            self.organisation,
            str(body.get("query") or ""),
            deleted=operation == "queryAll",
            version=version,
            fails=fails,
        )
        return _json(job)

    def get_job(self, request: Request, version: str, identifier: str) -> Response:
        """Answer `GET jobs/query/{id}`."""
        return _json(queries.job(self.organisation, identifier, version=version))

    def abort_job(self, request: Request, version: str, identifier: str) -> Response:
        """Answer `PATCH jobs/query/{id}`, which can abort it and nothing else."""
        if _body(request).get("state") != "Aborted":
            raise SalesforceRefusal(400, "INVALIDJOBSTATE", "A query job can only be aborted.")
        queries.abort_job(self.organisation, identifier)
        return self.get_job(request, version, identifier)

    def delete_job(self, request: Request, version: str, identifier: str) -> Response:
        """Answer `DELETE jobs/query/{id}`."""
        queries.delete_job(self.organisation, identifier)
        return Response(status=204)

    def job_results(self, request: Request, version: str, identifier: str) -> Response:
        """Answer `GET jobs/query/{id}/results`."""
        text, count, following = queries.job_page(
            self.organisation,
            identifier,
            locator=request.args.get("locator", ""),
            most=_most(request.args.get("maxRecords", "")),
        )
        response = Response(text.encode(), content_type="text/csv; charset=UTF-8")
        response.headers["Sforce-NumberOfRecords"] = str(count)
        response.headers["Sforce-Locator"] = following
        return response

    # -- sobjects ---------------------------------------------------------------------------

    def describe(self, request: Request, version: str, name: str) -> Response:
        """Answer `GET sobjects/{X}/describe`."""
        return _json(sobjects.describe(self.organisation, name))

    def create(self, request: Request, version: str, name: str) -> Response:
        """Answer `POST sobjects/{X}`."""
        identifier = sobjects.create(self.organisation, name, _body(request))
        return _json({"id": identifier, "success": True, "errors": []}, 201)

    def get(self, request: Request, version: str, name: str, identifier: str) -> Response:
        """Answer `GET sobjects/{X}/{id}`."""
        return _json(sobjects.get(self.organisation, name, identifier, version))

    def update(self, request: Request, version: str, name: str, identifier: str) -> Response:
        """Answer `PATCH sobjects/{X}/{id}`."""
        sobjects.update(self.organisation, name, identifier, _body(request))
        return Response(status=204)

    def delete(self, request: Request, version: str, name: str, identifier: str) -> Response:
        """Answer `DELETE sobjects/{X}/{id}`."""
        sobjects.delete(self.organisation, name, identifier)
        return Response(status=204)

    def limits(self, request: Request, version: str) -> Response:
        """Answer `GET limits`."""
        total = self.organisation.shape.daily_calls
        left = max(0, total - self.organisation.calls)
        return _json({"DailyApiRequests": {"Max": total, "Remaining": left}})

    # -- paths of its own -------------------------------------------------------------------

    def own_list_faults(self, request: Request) -> Response:
        """Return the queued faults."""
        return _json({"data": self.organisation.faults()})

    def own_queue_fault(self, request: Request) -> Response:
        """Queue a fault."""
        fault = parse_fault(_body(request))
        self.organisation.queue_fault(fault)
        return _json(fault.to_json(), 201)

    def own_clear_faults(self, request: Request) -> Response:
        """Forget every queued fault."""
        self.organisation.clear_faults()
        return _json({"data": []})

    def own_shape(self, request: Request) -> Response:
        """Return what the organisation looks like, without its secret."""
        return _json({**self.organisation.shape.to_json(), "consumer_secret": "***"})

    def own_reshape(self, request: Request) -> Response:
        """Change what the organisation looks like."""
        shape = {**self.organisation.shape.to_json(), **_body(request)}
        try:
            self.organisation.remember("shape", dumps(shape_from_json(shape).to_json()))
        except (TypeError, ValueError, AttributeError) as error:
            raise SalesforceRefusal(400, "INVALID_SHAPE", str(error)) from error
        return self.own_shape(request)

    def own_end_sessions(self, request: Request) -> Response:
        """Refuse every token from before."""
        self.organisation.end_sessions()
        return _json({})

    def own_calls(self, request: Request) -> Response:
        """Say how many of the day's requests are used up."""
        self.organisation.set_calls(int(_body(request).get("used", 0)))
        return _json({"used": self.organisation.calls})

    def own_undelete(self, request: Request) -> Response:
        """Take a record out of the recycle bin."""
        body = _body(request)
        sobject = sobjects.known_object(str(body.get("sobject")), self.organisation.shape)
        self.organisation.undelete(sobject.name, str(body.get("id")))
        return _json({})


def _instead(faults: Mapping[FaultKind, Fault]) -> Response | None:
    """Return the answer that a fault gives in the place of the real one."""
    if broken := faults.get(FaultKind.ERROR):
        return _refused(broken.refusal())
    if page := faults.get(FaultKind.PROXY_PAGE):
        return Response(PROXY_PAGE, page.status or 502, content_type="text/html")
    return None


def _spoilt(response: Response, faults: Mapping[FaultKind, Fault]) -> Response:
    """Return what faults make of an answer's body; the status and the headers stay."""
    body = response.get_data()
    if FaultKind.CUT_SHORT in faults:
        response.set_data(body[: len(body) // 2])
    if FaultKind.BREAKS_OFF in faults:
        response.headers["Content-Length"] = str(len(body))
        response.response = _breaking_off(body)
    return response


def _breaking_off(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise AnswerLostError("disconnect")


def _json(value: object, status: int = 200) -> Response:
    return Response(dumps(value), status, content_type="application/json;charset=UTF-8")


def _refused(error: SalesforceRefusal) -> Response:
    return _json(error.body(), error.status)


def _body(request: Request) -> Mapping[str, Any]:
    request.max_content_length = LARGEST_BODY
    data = request.get_data()
    if not data and request.path.startswith(OWN_PATHS):
        return {}
    try:
        body = loads(data.decode())
    except ValueError as error:
        raise SalesforceRefusal(400, "JSON_PARSER_ERROR", "The body cannot be read.") from error
    if not isinstance(body, Mapping):
        raise SalesforceRefusal(400, "JSON_PARSER_ERROR", "The body is no object.")
    return body


def _check_test_key(request: Request) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip().startswith(TEST_KEY):
        raise SalesforceRefusal(401, "INVALID_SESSION_ID", "A test key is required here.")


def _is_version(version: str) -> bool:
    whole, _, rest = version.partition(".")
    is_number = whole.isascii() and whole.isdigit() and rest == "0"
    return is_number and OLDEST_VERSION <= int(whole) <= NEWEST_VERSION


def _batch(options: str) -> int:
    """Return the page length that a Sforce-Query-Options header asks for, within its bounds."""
    for option in options.split(","):
        name, _, value = option.strip().partition("=")
        if name == "batchSize" and value.strip().isdigit():
            return max(queries.SMALLEST_BATCH, min(queries.USUAL_BATCH, int(value)))
    return queries.USUAL_BATCH


def _most(value: str) -> int:
    if not value:
        return USUAL_CSV_PAGE
    if not (value.isascii() and value.isdigit()) or not 0 < int(value) <= queries.MOST_AT_ONCE:
        raise SalesforceRefusal(400, "INVALID_MAX_RECORDS", "maxRecords is a whole number.")
    return int(value)
