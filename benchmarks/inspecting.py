"""Looks closer at pages: their SQL with the database's plan for it, and where their time goes."""

import cProfile
import io
import pstats
from collections.abc import Iterable
from typing import Any

from django.db import connection

from benchmarks.measuring import Guest
from benchmarks.pages import Screen
from benchmarks.places import at

PROFILED_VISITS = 30
LINES_OF_PROFILE = 35


def inspect(guest: Guest, screens: Iterable[Screen]) -> None:
    """Print the plans and the profile of pages at a place."""
    with at(guest.place):
        for screen in screens:
            print(f"\n=== {screen.name}: {connection.vendor}, {guest.place.orders:,} orders")
            guest.visitor.checked(screen)
            for sql, parameters in guest.visitor.statements(screen):
                print(f"\n{sql}\n  {parameters}")
                if sql.startswith(("SELECT", "(")):
                    _plan(sql, parameters)
            _profile(guest, screen)


def _plan(sql: str, parameters: Any) -> None:
    how = (
        "EXPLAIN (ANALYZE, BUFFERS)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    )
    with connection.cursor() as cursor:
        cursor.execute(f"{how} {sql}", parameters)
        for row in cursor.fetchall():
            print(f"    {row[-1]}")


def _profile(guest: Guest, screen: Screen) -> None:
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(PROFILED_VISITS):
        guest.visitor.visit(screen)
    profile.disable()
    out = io.StringIO()
    pstats.Stats(profile, stream=out).sort_stats("cumulative").print_stats(LINES_OF_PROFILE)
    print(out.getvalue())
