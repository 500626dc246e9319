"""Which account of the desk is whose in Salesforce. Pure; nobody is guessed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from refunds.salesforce.members import Member


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the desk, as far as it is matched."""

    pk: int
    username: str
    email: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class Matching:
    """Whose account is whose, by the account's key; which are in doubt; and why, in sentences.

    An account in doubt may or may not be a member's: it is to keep what it has.
    """

    entitled: Mapping[int, Member]
    in_doubt: frozenset[int]
    remarks: tuple[str, ...]


def match(members: Iterable[Member], accounts: Iterable[Account]) -> Matching:
    """Match people by their email, or by the federation id or username being the account's name."""
    by_email, by_name = defaultdict(list), defaultdict(list)
    for account in accounts:
        by_email[_key(account.email)].append(account)
        by_name[_key(account.username)].append(account)
    claims: dict[Account, list[Member]] = defaultdict(list)
    in_doubt: set[int] = set()
    remarks: list[str] = []
    for member in sorted(members, key=lambda each: each.username):
        keys = filter(None, (_key(member.federation_id), _key(member.username)))
        named = [account for key in keys for account in by_name[key]]
        matched = dict.fromkeys([*(by_email[_key(member.email)] if member.email else ()), *named])
        if len(matched) == 1:
            claims[next(iter(matched))].append(member)
        elif matched:
            in_doubt.update(account.pk for account in matched)
            remarks.append(_several(member, list(matched)))
        else:
            remarks.append(_nobody(member))
    entitled: dict[int, Member] = {}
    for account, claimed_by in claims.items():
        if len(claimed_by) > 1:
            in_doubt.add(account.pk)
            remarks.append(_shared(account, claimed_by))
        elif not account.is_active:
            in_doubt.add(account.pk)
            remarks.append(_switched_off(account, claimed_by[0]))
        else:
            entitled[account.pk] = claimed_by[0]
    certain = {pk: member for pk, member in entitled.items() if pk not in in_doubt}
    return Matching(certain, frozenset(in_doubt), tuple(remarks))


def _key(text: str) -> str:
    return text.strip().casefold()


def _several(member: Member, accounts: Sequence[Account]) -> str:
    names = ", ".join(account.username for account in accounts)
    return (
        f"{member.username} matches {len(accounts)} accounts here: {names}. None of them was "
        "changed; leave the person's email or name to one of them only."
    )


def _nobody(member: Member) -> str:
    return (
        f"{member.username} has no account here. Make one with the email of the Salesforce user, "
        "or with its federation id as the username; the next round gives it the group."
    )


def _shared(account: Account, members: Sequence[Member]) -> str:
    names = ", ".join(member.username for member in members)
    return (
        f"The account {account.username} matches {len(members)} people in Salesforce: {names}. "
        "It was not changed; give each of them an account and an email of their own."
    )


def _switched_off(account: Account, member: Member) -> str:
    return (
        f"The account {account.username} of {member.username} is switched off here. It was not "
        "changed; switch it on in the administration if the person is to work at the desk."
    )
