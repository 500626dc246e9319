"""Reads settings from the environment, each with the sentence that stops the start.

The errors of this module:

    ImproperlyConfigured (Django's) -- a variable is missing or malformed. Its text is one
    sentence that names the variable and says what to set; it never repeats the value, which
    may be a secret.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
import iso4217
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import global_settings
from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})

DATABASE_SCHEMES = frozenset({"sqlite", "postgres", "postgresql"})


class Environment:
    """Typed access to environment variables; every refusal names the variable.

    An empty variable counts as one that is not set, as in a shell's ``NAME= command``.

    See https://django-environ.readthedocs.io/
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Read from ``variables``, a copy of ``os.environ`` in all but tests."""
        self._environ = environ.Env()
        self._environ.ENVIRON = {name: value for name, value in variables.items() if value.strip()}
        self._emptied = {name for name, value in variables.items() if not value.strip()}

    def text(self, name: str, default: str | None = None, *, hint: str = "a value") -> str:
        """Return the text of ``name``, trimmed; without a default it must be set."""
        if name not in self._environ.ENVIRON:
            if default is None:
                raise ImproperlyConfigured(f"{name} is not set: set it to {hint}.")
            return default
        return str(self._environ.str(name)).strip()

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of ``choices``."""
        value = self.text(name, default)
        if value not in choices:
            raise ImproperlyConfigured(f"{name} is malformed: set it to {' or '.join(choices)}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a yes or no; a word that is neither is refused, not taken for no."""
        word = self.text(name, "1" if default else "0").lower()
        if word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        raise ImproperlyConfigured(f"{name} is malformed: set it to 1 or 0.")

    def whole_number(self, name: str, default: int, *, minimum: int = 0) -> int:
        """Return a whole number of at least ``minimum``."""
        refusal = f"{name} is malformed: set it to a whole number of at least {minimum}."
        try:
            value = int(self.text(name, str(default)))
        except ValueError:
            raise ImproperlyConfigured(refusal) from None
        if value < minimum:
            raise ImproperlyConfigured(refusal)
        return value

    def words(self, name: str, default: Sequence[str] = ()) -> list[str]:
        """Return the entries of a comma-separated list."""
        value = self.text(name, ",".join(default))
        return [word.strip() for word in value.split(",") if word.strip()]

    def address(self, name: str, default: str = "") -> str:
        """Return an http or https address without its trailing slash, or the default."""
        value = self.text(name, default)
        if not value:
            return ""
        refusal = f"{name} is malformed: set it to an address such as https://host.example."
        try:
            parts = urlsplit(value)
            # Reading the port is what makes urllib look at it.
            _ = parts.port
        except ValueError:
            raise ImproperlyConfigured(refusal) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ImproperlyConfigured(refusal)
        return value.rstrip("/")

    def server(self, name: str) -> str:
        """Return the address of a server alone, without a path, or nothing."""
        value = self.address(name)
        parts = urlsplit(value)
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to a server alone, such as https://host.example."
            )
        return value

    def matching(self, name: str, pattern: str, hint: str, default: str) -> str:
        """Return the text of ``name`` where all of it matches the pattern."""
        value = self.text(name, default)
        if value != default and not re.fullmatch(pattern, value):
            raise ImproperlyConfigured(f"{name} is malformed: set it to {hint}.")
        return value

    def host_part(self, name: str, ending: str, example: str) -> str:
        """Return the part of a host's name before ``ending``, with which it may be written."""
        value = self.text(name, "").lower().removesuffix(ending)
        label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        if value and not re.fullmatch(rf"{label}(\.{label})*", value):
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to the part of the address before {ending}, such "
                f"as {example}, without https://."
            )
        return value

    def namespace(self, name: str, default: str) -> str:
        """Return a package's namespace. Set to ``none``, or set and empty, it is no namespace."""
        if name in self._emptied or self.text(name, default).lower() == "none":
            return ""
        return self.matching(
            name,
            r"[A-Za-z](?!\w*__)[A-Za-z0-9_]{0,13}[A-Za-z0-9]",
            "the namespace of Digital River's package, or to none",
            default,
        )

    def currency(self, name: str) -> str:
        """Return the ISO 4217 code of a currency, or nothing."""
        value = self.text(name, "").upper()
        if not value:
            return ""
        try:
            exponent = iso4217.Currency(value).exponent
        except ValueError:
            exponent = None
        # Gold and the code for no currency have no minor units.
        if exponent is None:
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to the ISO code of a currency, such as EUR."
            )
        return value

    def private_key(self, name: str) -> str:
        """Return the RSA key that the file ``name`` holds, or nothing where it is not set.

        It must be in PEM form without a password.
        """
        path = self.text(name, "")
        if not path:
            return ""
        try:
            key = Path(path).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise ImproperlyConfigured(
                f"{name} cannot be read: set it to a file with the private key that the desk may "
                "read."
            ) from None
        try:
            loaded = load_pem_private_key(key.encode(), password=None)
        except (TypeError, ValueError):
            loaded = None
        if not isinstance(loaded, RSAPrivateKey):
            raise ImproperlyConfigured(
                f"{name} holds no key that can sign: set it to a file with an RSA private key in "
                "PEM form and without a password."
            )
        return key

    def broker(self, name: str) -> str:
        """Return the address of a message broker that Celery can use, or nothing."""
        value = self.text(name, "")
        if value and not value.startswith(("redis://", "rediss://", "amqp://", "amqps://")):
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to an address such as redis://host:6379/0 or "
                "amqp://user:password@host:5672//."
            )
        return value

    def time_zone(self, name: str, default: str) -> str:
        """Return the name of a time zone of the IANA database."""
        value = self.text(name, default)
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to a time zone such as Europe/Berlin."
            ) from None
        return value

    def language(self, name: str, default: str) -> str:
        """Return the code of a language that Django speaks, or of a region's variety of it."""
        value = self.text(name, default).lower()
        known = {code for code, _ in global_settings.LANGUAGES}
        if value not in known and value.split("-")[0] not in known:
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to a language such as en-us or de."
            )
        return value

    def day(self, name: str, default: str) -> str:
        """Return a calendar day as ``YYYY-MM-DD``."""
        value = self.text(name, default)
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} is malformed: set it to a day such as 2021-12-13."
            ) from None

    def database(self, name: str, default: str) -> dict[str, Any]:
        """Return Django's settings for the SQLite or PostgreSQL database at an address."""
        value = self.text(name, default)
        refusal = (
            f"{name} is malformed: set it to an address such as "
            "postgres://user:password@host:5432/name or sqlite:////srv/desk.sqlite3."
        )
        if value.split(":", 1)[0] not in DATABASE_SCHEMES:
            raise ImproperlyConfigured(refusal)
        try:
            settings: dict[str, Any] = self._environ.db_url_config(value)
        except (ValueError, ImproperlyConfigured):
            raise ImproperlyConfigured(refusal) from None
        if not settings.get("NAME"):
            raise ImproperlyConfigured(refusal)
        return settings


def is_loopback(address: str) -> bool:
    """Tell whether an http or https address is on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
