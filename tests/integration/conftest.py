"""What the tests of a whole broker share."""

from __future__ import annotations

import uuid

import pytest


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"test-{uuid.uuid4()}"
