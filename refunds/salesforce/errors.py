"""What can go wrong between the desk and Salesforce.

    SalesforceError
    ├── SignInRefused       wrong key or secret, a user not approved or inactive, a clock off
    ├── Unreachable         no connection, no answer in time, 5xx, a proxy's page, after retries
    ├── Unanswered          a create whose answer never came: it may have been done
    ├── LimitReached        the organisation's calls of the day are used up
    ├── LimitNearlyUsed     the desk's own stop before that
    ├── FieldMissing        a field that is not there, or that the user may not read
    ├── RightMissing        an object, the API or an action that the user has no right to
    ├── RecordLocked        another holds the record, after retries
    ├── LocatorExpired      pages or a bulk job that are gone: start the query anew
    ├── JobFailed           a bulk job that failed or was aborted
    ├── QueryRefused        a query that Salesforce does not take, and any other 4xx
    └── UnreadableAnswer    an answer came and makes no sense
    SalesforceRecordError   a record that cannot be mirrored, with the field at fault

``str()`` of each is a sentence for whoever runs the desk: what is so and what to do. What belongs
in the log stands beside it: ``code`` is Salesforce's own word, ``status`` the HTTP status. None
holds a key, a token, a query or a body.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
"""


class SalesforceError(Exception):
    """Anything that kept Salesforce from doing or telling what was asked.

    ``code`` is Salesforce's errorCode, empty where it gave none; ``status`` is the HTTP status
    where an answer came.
    """

    def __init__(self, sentence: str, *, code: str = "", status: int | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status


class SignInRefused(SalesforceError):
    """Salesforce gave no session, or takes none that it gave; the sentence says why, if it told."""


class Unreachable(SalesforceError):
    """No connection, no answer in time, a 5xx or a page of something in between, after retries.

    For a create it means that the request never arrived.
    """


class Unanswered(SalesforceError):
    """A create was sent and its answer never came or makes no sense: it may have been done."""


class LimitReached(SalesforceError):
    """The organisation's API calls of the last 24 hours are used up (REQUEST_LIMIT_EXCEEDED)."""


class LimitNearlyUsed(SalesforceError):
    """The desk stops of itself, so that the organisation's last calls are left to others."""


class FieldMissing(SalesforceError):
    """A field of the query is not there, or the integration user may not read it.

    Salesforce does not tell the two apart. ``field`` and ``sobject`` are as Salesforce names
    them, empty where it does not.
    """

    def __init__(
        self,
        sentence: str,
        *,
        field: str,
        sobject: str,
        code: str = "INVALID_FIELD",
        status: int | None = 400,
    ) -> None:
        super().__init__(sentence, code=code, status=status)
        self.field = field
        self.sobject = sobject


class RightMissing(SalesforceError):
    """The integration user may not see the object, use the API or do what was asked."""


class RecordLocked(SalesforceError):
    """Somebody else was changing the record all the while (UNABLE_TO_LOCK_ROW)."""


class LocatorExpired(SalesforceError):
    """The rest of a query is no longer kept, or a bulk job is gone: the query starts anew."""


class JobFailed(SalesforceError):
    """A bulk query job failed, was aborted, or was not done in time."""


class QueryRefused(SalesforceError):
    """Salesforce does not take the query or request as it stands (MALFORMED_QUERY, other 4xx)."""


class UnreadableAnswer(SalesforceError):
    """An answer came that makes no sense; ``code`` is ``TOO_LARGE`` where it is only that.

    A page of a bulk job that is too large can be asked for again with fewer records.
    """


class SalesforceRecordError(Exception):
    """A record that cannot be mirrored. ``str()`` is a sentence for whoever runs the mirror.

    ``field`` is the path of the field at fault as Salesforce names it
    (``OrderItems.0.Quantity``), ``record_id`` the order's (or of an order product that came by
    itself, its own) id where it could be read. Neither holds the field's value, which may be a
    customer's.
    """

    def __init__(
        self, field: str, complaint: str, *, record_id: str = "", sobject: str = "Order"
    ) -> None:
        kind = "order" if sobject == "Order" else "order product"
        record = f"Salesforce {kind} {record_id}" if record_id else f"A Salesforce {kind}"
        super().__init__(f"{record} cannot be mirrored: {field} {complaint}.")
        self.field = field
        self.record_id = record_id
