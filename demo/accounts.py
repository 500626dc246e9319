"""The people of the demo: who signs in, and what each may do."""

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import Group, User
from django.db import transaction

from demo.guard import DemoRefusedError, refuse_beside_live_key
from refunds.permissions import GROUP_NAME, LEADS_GROUP_NAME

#: Tells the demo's accounts from people's own: nobody else has an address there.
EMAIL_DOMAIN = "@refund-desk.example"


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the demo."""

    username: str
    first_name: str
    last_name: str
    #: What the account may do, as a clause for the table that the command prints.
    may: str
    groups: tuple[str, ...] = ()
    is_superuser: bool = False

    @property
    def full_name(self) -> str:
        """The person's name as the screens show it."""
        return f"{self.first_name} {self.last_name}"

    @property
    def email(self) -> str:
        """The address that marks the account as the demo's."""
        return f"{self.username}{EMAIL_DOMAIN}"


ACCOUNTS = (
    Account("rep", "Maya", "Lindqvist", "make refunds", (GROUP_NAME,)),
    Account("rep2", "Daniel", "Okafor", "make refunds", (GROUP_NAME,)),
    Account(
        "lead",
        "Priya",
        "Raman",
        "make refunds and look into flagged ones",
        (GROUP_NAME, LEADS_GROUP_NAME),
    ),
    Account("viewer", "Tom", "Becker", "look at orders and refunds, make none"),
    Account(
        "admin", "Elena", "Costa", "do everything, and administer at /admin/", is_superuser=True
    ),
)


@transaction.atomic
def accounts_make() -> list[User]:
    """Make the accounts that are missing, each with ``DEMO_PASSWORD``; returns those made.

    Accounts that are there keep their groups and names, so that what was tried out on them
    stays; only a password that is not ``DEMO_PASSWORD`` is set anew, because that is the one the
    command prints. Raises ``DemoRefusedError`` where the demo may not run, and where somebody
    else's account has one of the names: it would get a password that everybody knows.
    """
    refuse_beside_live_key()
    names = [account.username for account in ACCOUNTS]
    found = {user.username: user for user in User.objects.filter(username__in=names)}
    strangers = sorted(
        name for name, user in found.items() if not user.email.endswith(EMAIL_DOMAIN)
    )
    if strangers:
        raise DemoRefusedError(
            f"This database has accounts of its own called {', '.join(strangers)}: the demo "
            "would give them a password that everybody knows; set DATABASE_URL to a database "
            "for the demo."
        )
    encoded = _encoded_password(list(found.values()))
    return [_make(account, encoded) for account in ACCOUNTS if account.username not in found]


def _encoded_password(users: list[User]) -> str:
    """Return the password as it is stored, one for all; accounts with another get it.

    Hashing is slow on purpose and the password is no secret, so it is hashed or checked once and
    not once for each account.
    """
    password = settings.DEMO_PASSWORD
    checked = {each: check_password(password, each) for each in {user.password for user in users}}
    encoded = next((each for each, is_right in checked.items() if is_right), None)
    if encoded is None:
        encoded = make_password(password)
    for user in users:
        if not checked[user.password]:
            user.password = encoded
            user.save(update_fields=["password"])
    return encoded


def _make(account: Account, encoded: str) -> User:
    user = User.objects.create(
        username=account.username,
        first_name=account.first_name,
        last_name=account.last_name,
        email=account.email,
        password=encoded,
        is_staff=account.is_superuser,
        is_superuser=account.is_superuser,
    )
    user.groups.set([Group.objects.get(name=name) for name in account.groups])
    return user
