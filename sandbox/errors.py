"""The errors of the stand-in.

    SandboxError                 anything that goes wrong in the stand-in
     +-- StateFileError          the state file cannot be used
     +-- ApiError                an answer of 4xx or 5xx in Digital River's error shape
          +-- RefusedError       400, the request breaks a rule
          +-- NotFoundError      404, there is no such object

https://docs.digitalriver.com/digital-river-api/developer-resources/api-structure
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ERROR_TYPES: Mapping[int, str] = MappingProxyType(
    {
        400: "bad_request",
        401: "unauthorized",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        406: "not_acceptable",
        408: "request_timeout",
        409: "conflict",
        429: "too_many_requests",
        500: "internal_server_error",
        502: "bad_gateway",
        503: "service_unavailable",
        504: "gateway_timeout",
    }
)
"""The error type Digital River names for each HTTP status."""


class SandboxError(Exception):
    """Anything that goes wrong in the stand-in."""


class StateFileError(SandboxError):
    """The state file cannot be used; the message says why and what to do."""


class ApiError(SandboxError):
    """An answer in Digital River's error shape: a status and one code, parameter and message."""

    def __init__(self, status: int, code: str, message: str, parameter: str | None = None) -> None:
        """Take the HTTP status, the code, the message and the parameter it is about."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.parameter = parameter

    def body(self) -> dict[str, object]:
        """Return the JSON body of the answer."""
        error = {"code": self.code, "message": self.message}
        if self.parameter is not None:
            error["parameter"] = self.parameter
        return {"type": ERROR_TYPES[self.status], "errors": [error]}


class RefusedError(ApiError):
    """The request breaks a rule: 400 with the code, the parameter and the message."""

    def __init__(self, code: str, parameter: str, message: str) -> None:
        """Take the code, the parameter it is about and the message."""
        super().__init__(400, code, message, parameter)


class NotFoundError(ApiError):
    """There is no such object: 404."""

    def __init__(self, noun: str) -> None:
        """Take the word for what was looked for."""
        super().__init__(404, "not_found", f"The {noun} was not found.", "id")
