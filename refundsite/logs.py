"""Structured logs: a request id and a user id on every line, and no customer's data.

A search for a buyer's email travels in the query string, so no line carries one: requests are
logged by their path, and the loggers that would repeat the whole address are kept quiet.

See https://www.structlog.org/en/stable/standard-library.html
"""

import sys
from typing import Any

import structlog
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


def logging_settings(*, log_format: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING for ``log_format`` ("json" or "console") at ``level``.

    Tracebacks are plain: the pretty ones print local variables, and with them whatever a
    customer typed.
    """
    renderers: dict[str, list[structlog.typing.Processor]] = {
        "json": [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        "console": [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
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
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "structured"},
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
