"""Structured logs: a request id and a user id on every line, and no customer's data.

A search for a buyer's email travels in the query string, so no line carries one: requests are
logged by their path, and the loggers that would repeat the whole address are kept quiet.

See https://www.structlog.org/en/stable/standard-library.html
"""

import logging
import sys
import traceback
from typing import Any, TextIO

import structlog
from django.db import DataError, Error
from django.http import HttpRequest
from django_structlog.middlewares import RequestMiddleware

SHARED_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class RequestLogMiddleware(RequestMiddleware):
    """Logs the start and the end of each request by method and path, without its query."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        """Return the method and the path, such as ``GET /orders/``."""
        return f"{request.method} {request.path}"


def configure_structlog() -> None:
    """Send structlog's events through the standard library's handlers."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Tests swap the processors to read what was logged; a cached logger would not notice.
        cache_logger_on_first_use=False,
    )


def traceback_without_rows(exc_info: structlog.typing.ExcInfo) -> str:
    """Return the traceback, of a database's error only what went wrong.

    PostgreSQL's own words go on with the row at fault, and with it whatever is in it.
    """
    return "".join(_told(exc_info[1], ())).rstrip("\n")


def _told(error: BaseException | None, later: tuple[BaseException, ...]) -> list[str]:
    """Return the lines of an error and of those before it; ``later`` are told already."""
    if error is None or error in later:
        return []
    earlier, words = error.__cause__, _CAUSED
    if earlier is None and not error.__suppress_context__:
        earlier, words = error.__context__, _MEANWHILE
    lines = _told(earlier, (*later, error))
    if lines:
        lines.append(f"\n{words}\n\n")
    if error.__traceback__ is not None:
        lines.append("Traceback (most recent call last):\n")
        lines += traceback.format_tb(error.__traceback__)
    return lines + _what(error)


def _what(error: BaseException) -> list[str]:
    if not (isinstance(error, Error) or type(error).__module__.startswith(_DRIVERS)):
        return traceback.format_exception_only(error)
    # What a column refuses is repeated in the first line already.
    refuses_value = isinstance(error, DataError) or any(
        kind.__name__ == "DataError" for kind in type(error).__mro__
    )
    words = "" if refuses_value else f": {str(error).partition(chr(10))[0]}"
    return [f"{type(error).__module__}.{type(error).__qualname__}{words}\n"]


_CAUSED = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"
_DRIVERS = ("psycopg", "sqlite3")


def _print_without_rows(out: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    out.write("\n" + traceback_without_rows(exc_info))


class TaskFailureFilter(logging.Filter):
    """Has Celery name the kind of the error that a task ended with, without its words."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        if isinstance(record.args, dict) and "exc" in record.args:
            kind = record.exc_info[0] if record.exc_info else None
            record.args = {**record.args, "exc": kind.__name__ if kind else "an error"}
        return True


def logging_settings(*, log_format: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING for ``log_format`` ("json" or "console") at ``level``.

    Tracebacks are plain: the pretty ones print local variables, and with them whatever a
    customer typed. Of a database's errors they leave out the row.
    """
    renderers: dict[str, list[structlog.typing.Processor]] = {
        "json": [
            structlog.processors.ExceptionRenderer(traceback_without_rows),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        "console": [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=_print_without_rows,
            ),
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": SHARED_PROCESSORS,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *renderers[log_format],
                ],
            },
        },
        "filters": {"task_failure": {"()": TaskFailureFilter}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "structured",
                "filters": ["task_failure"],
            },
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own set-up mails tracebacks with request data to ADMINS.
            "django": {"handlers": [], "level": level, "propagate": True},
            # These four repeat whole addresses, queries and all.
            "django.server": {"handlers": [], "level": "CRITICAL", "propagate": False},
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            "urllib3": {"level": "WARNING"},
            # Repeats names that were typed at sign-in, a mistyped password among them.
            "axes": {"level": "ERROR"},
        },
    }
