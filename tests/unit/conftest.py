"""What the unit tests share."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def own_garbage() -> Iterator[None]:
    """Collections look at what the test makes, not at what hundreds of tests before it left in the process."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
