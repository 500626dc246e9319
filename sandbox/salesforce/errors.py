"""What the Salesforce stand-in refuses, in Salesforce's words.

    SandboxError
     +-- SalesforceRefusal       an answer of 4xx or 5xx: a JSON list of message and errorCode
     +-- SignInRefusal           an answer of the token endpoint: error and error_description

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_flow_errors.htm
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.errors import SandboxError


class SalesforceRefusal(SandboxError):
    """A refused request: the HTTP status, the error code, the message, the fields it is about."""

    def __init__(
        self, status: int, code: str, message: str, *, fields: Sequence[str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields

    def body(self) -> list[dict[str, object]]:
        """Return the JSON body of the answer."""
        error: dict[str, object] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = list(self.fields)
        return [error]


class SignInRefusal(SandboxError):
    """A refused sign-in: the HTTP status, the OAuth error and its description."""

    def __init__(self, code: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.description = description

    def body(self) -> dict[str, object]:
        """Return the JSON body of the answer."""
        return {"error": self.code, "error_description": self.description}


def no_such_record() -> SalesforceRefusal:
    """Return the refusal of a record that is not there, or was deleted."""
    return SalesforceRefusal(404, "NOT_FOUND", "The requested resource does not exist")
