"""What can go wrong between the desk and Digital River, told apart by what it means for money.

    DigitalRiverError
    ├── NotSent                 nothing left the desk
    │   ├── NotConnected        the connection was never opened
    │   └── NotSendable         what was asked cannot be put into a request
    ├── RateLimited             429, or the desk's own pace: turned away at the door, try again
    │                           after ``retry_after``
    ├── Refused                 a definite 4xx: understood, and not done
    │   ├── KeyRefused          401, 403: the key is missing, wrong, or lacks the right
    │   └── NotFound            404: no such order or refund
    └── Unanswered              outcome unknown: no answer, 408, 5xx, a redirect, an answer cut off
        └── UnreadableAnswer    an answer came and makes no sense

For a refund that was sent the branch decides what may happen next: ``NotSent`` and ``Refused``
left no money moved, ``RateLimited`` may be sent again later, and after ``Unanswered`` nothing may
be sent before a look at Digital River's own list says whether the refund is there. For a read
every branch means only that the figures at hand are older than they could be.

``str()`` of each is a sentence for the support rep. What belongs in the log stands beside it as
attributes: ``status``, ``code``, ``parameter``, ``vendor_message``, ``request_id``,
``retry_after``. None of them holds a key, a token or a body.

https://docs.digitalriver.com/digital-river-api/developer-resources/api-structure
"""


class DigitalRiverError(Exception):
    """Anything that kept Digital River's API from doing or telling what was asked.

    ``status`` is the HTTP status, where an answer came. ``code``, ``parameter`` and
    ``vendor_message`` are Digital River's own, empty where it gave none. ``request_id`` is what
    its support asks for. ``retry_after`` is in seconds.
    """

    def __init__(
        self,
        sentence: str,
        *,
        status: int | None = None,
        code: str = "",
        parameter: str = "",
        vendor_message: str = "",
        request_id: str = "",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.parameter = parameter
        self.vendor_message = vendor_message
        self.request_id = request_id
        self.retry_after = retry_after


class NotSent(DigitalRiverError):
    """Nothing left the desk, so nothing was done."""


class NotConnected(NotSent):
    """The connection was never opened: no route, no name, refused, TLS failed, no free socket."""


class NotSendable(NotSent):
    """What was asked cannot be put into a request: a malformed id, a float where money belongs."""


class RateLimited(DigitalRiverError):
    """Too many requests. Digital River did not process it (429), or the desk did not send it.

    ``status`` is ``None`` where the desk's own pace kept the request from being sent.
    ``retry_after`` is always set: whole seconds, a careful guess where the header gave none.
    https://docs.digitalriver.com/digital-river-api/developer-resources/rate-limiting
    """

    retry_after: int

    def __init__(
        self,
        sentence: str,
        *,
        retry_after: int,
        status: int | None = 429,
        code: str = "",
        parameter: str = "",
        vendor_message: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(
            sentence,
            status=status,
            code=code,
            parameter=parameter,
            vendor_message=vendor_message,
            request_id=request_id,
            retry_after=retry_after,
        )


class Refused(DigitalRiverError):
    """A definite no (4xx other than 408 and 429); ``vendor_message`` has Digital River's words."""


class KeyRefused(Refused):
    """The secret key is missing, wrong, expired, or lacks the right (401, 403)."""


class NotFound(Refused):
    """Digital River knows no such thing (404)."""


class Unanswered(DigitalRiverError):
    """It is not known what Digital River did: no answer, 408, 5xx, or not the answer expected."""


class UnreadableAnswer(Unanswered):
    """An answer came and cannot be read; ``parameter`` is the place in it, where one is known."""


class EventUnreadable(ValueError):
    """An event that came, or lay in a list of events, and cannot be read.

    It stands apart from the tree, for nothing was asked of Digital River. ``str()`` is a sentence
    for whoever sent it and holds nothing of what was sent; ``parameter`` is the place in it,
    empty where it is the whole.
    """

    def __init__(self, sentence: str, *, parameter: str = "") -> None:
        super().__init__(sentence)
        self.parameter = parameter
