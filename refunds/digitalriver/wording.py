"""What the client's errors say to the rep: what happened, and what to do next."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wording:
    """The sentences for one kind of call; the facts are the same, what they mean is not.

    ``{words}`` are Digital River's own, ``{thing}`` is what was asked for, ``{seconds}`` a wait.
    """

    not_connected: str
    unanswered: str
    unreadable: str
    refused: str
    not_found: str
    key_refused: str
    rate_limited: str
    out_of_turn: str


_OLD_FIGURES = "What is shown are the last figures known; try again in a minute."

#: For reads, which are repeated at no cost.
READING = Wording(
    not_connected=f"Digital River cannot be reached. {_OLD_FIGURES}",
    unanswered=f"Digital River did not answer. {_OLD_FIGURES}",
    unreadable=(
        "Digital River's answer makes no sense. What is shown are the last figures known; "
        "tell an administrator if this stays so."
    ),
    refused="Digital River refused to answer: {words}",
    not_found="Digital River does not know this {thing}. Check its id, or ask an administrator.",
    key_refused="Digital River refused the desk's key. Tell an administrator.",
    rate_limited=(
        "Digital River is busy. What is shown are the last figures known; "
        "try again in {seconds} seconds."
    ),
    out_of_turn=(
        "The desk asks Digital River as often as it may. What is shown are the last figures "
        "known; try again in {seconds} seconds."
    ),
)

_UNKNOWN_OUTCOME = (
    "so it is not known whether the refund was made. Do not refund again: the desk looks it up."
)

#: For the one request that may move money.
SENDING = Wording(
    not_connected=(
        "Digital River cannot be reached, so nothing was sent. Try again in a few minutes."
    ),
    unanswered=f"Digital River did not answer, {_UNKNOWN_OUTCOME}",
    unreadable=f"Digital River's answer makes no sense, {_UNKNOWN_OUTCOME}",
    refused="Digital River refused this refund, so no money moved: {words}",
    not_found="Digital River refused this refund, so no money moved: {words}",
    key_refused="Digital River refused the desk's key, so no money moved. Tell an administrator.",
    rate_limited=(
        "Digital River is busy and did not take the refund. It can be sent again in "
        "{seconds} seconds."
    ),
    out_of_turn=(
        "The desk calls Digital River as often as it may, so nothing was sent. The refund can be "
        "sent in {seconds} seconds."
    ),
)
