"""Two addresses for the machines that watch the desk.

Both answer over plain HTTP too (see SECURE_REDIRECT_EXEMPT), need no sign-in and say nothing
about customers.
"""

import structlog
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

logger = structlog.get_logger(__name__)


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that the process is up; a watcher restarts it when this does not answer."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say whether requests can be served: the database answers and is migrated.

    503 with a reason otherwise; a load balancer then sends requests elsewhere.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as error:
        logger.warning("database_not_ready", error=type(error).__name__)
        return _not_ready("The database does not answer.")
    if waiting:
        return _not_ready("Migrations wait to be applied: run manage.py migrate.")
    return JsonResponse({"status": "ok"})


def _not_ready(reason: str) -> JsonResponse:
    return JsonResponse({"status": "not ready", "reason": reason}, status=503)
