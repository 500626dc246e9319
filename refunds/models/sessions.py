"""Sessions, of which those of somebody who was signed out everywhere end at once.

How often that was stands with the person's place in the permission set, and in each of their
sessions as it was when the session began; where the two differ the session is none any more. Both
are read by the one query that reads any session. It holds however many sessions there are, for one
that begins in that very moment, and for one that a request under way writes back.

https://docs.djangoproject.com/en/5.2/topics/http/sessions/#extending-database-backed-session-engines
"""

from typing import Any, ClassVar, cast

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery

from refunds.models.salesforce import Membership

_SIGN_OUTS = "sign-outs"


class DeskSessionManager(BaseSessionManager["DeskSession"]):
    """Reads with each session how often its person was signed out everywhere."""

    def get_queryset(self) -> QuerySet["DeskSession"]:
        """Return the sessions with ``sign_outs``, None for a person without a membership."""
        theirs = Membership.objects.filter(user_id=OuterRef("account")).order_by()
        return super().get_queryset().annotate(sign_outs=Subquery(theirs.values("sign_outs")[:1]))


class DeskSession(AbstractBaseSession):
    """A session, and whose it is."""

    #: The key of the account that is signed in.
    account = models.BigIntegerField(null=True, blank=True)

    objects: ClassVar = DeskSessionManager()

    class Meta(AbstractBaseSession.Meta):
        abstract = False

    @classmethod
    def get_session_store_class(cls) -> type["SessionStore"]:
        """Return what keeps these."""
        return SessionStore


class SessionStore(DatabaseSessionStore):
    """Keeps sessions; one whose person was signed out everywhere since it began is empty."""

    @classmethod
    def get_model_class(cls) -> type[DeskSession]:
        """Return what it keeps them in."""
        return DeskSession

    def load(self) -> dict[str, Any]:
        """Return what the session holds: nothing where it has ended."""
        # Django's own way to read the row; its stubs leave it out.
        session = self._get_session_from_db()  # type: ignore[attr-defined]
        if session is None:
            return {}
        data = self.decode(session.session_data)
        if data.get(_SIGN_OUTS, 0) != (session.sign_outs or 0):
            self._session_key = None
            return {}
        return data

    def create_model_instance(self, data: dict[str, Any]) -> DeskSession:
        """Return the row for what the session holds; one that begins notes the sign-outs before."""
        account = data.get(SESSION_KEY)
        if account is not None and _SIGN_OUTS not in data:
            counts = Membership.objects.filter(user_id=account).values_list("sign_outs", flat=True)
            data[_SIGN_OUTS] = counts.first() or 0
        session = cast("DeskSession", super().create_model_instance(data))
        session.account = None if account is None else int(account)
        return session
