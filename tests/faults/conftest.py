"""What the worlds of the simulation begin with."""

import logging
from collections.abc import Iterator

import pytest

from tests.faults.world import Ground, ground_prepare


@pytest.fixture
def ground(db: None) -> Iterator[Ground]:
    """Return what every world begins with; what the desk logs of so much trouble is left out."""
    logging.disable(logging.CRITICAL)
    yield ground_prepare()
    logging.disable(logging.NOTSET)
