"""Tests that need PostgreSQL: named when they are not run, run when they can be."""

import pytest
from django.db import connection


@pytest.mark.postgresql
@pytest.mark.django_db
def test_marked_test_runs_on_postgresql_only() -> None:
    assert connection.vendor == "postgresql"
