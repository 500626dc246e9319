"""The column types that the desk's tables share."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    # Only the type checker's stubs know these as generic.
    DecimalField = models.DecimalField[Any, Any]
    CharField = models.CharField[Any, Any]
else:
    DecimalField, CharField = models.DecimalField, models.CharField


class MoneyField(DecimalField):
    """An amount in major units of the row's currency.

    Four decimals hold every ISO 4217 currency, and fifteen digits in all are what SQLite, which
    keeps decimals as floating point, gives back exactly.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 15)
        kwargs.setdefault("decimal_places", 4)
        super().__init__(*args, **kwargs)


class SearchKeyField(CharField):
    """A text written by ``search_key``, indexed so that a prefix is a range of the index.

    PostgreSQL sorts text by a language's rules unless told otherwise; ranges of prefixes need the
    order of code points, which its "C" collation has and SQLite's default is.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 255)
        kwargs.setdefault("blank", True)
        kwargs.setdefault("default", "")
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Add the collation that sorts by code point, where the database needs telling."""
        parameters = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters
