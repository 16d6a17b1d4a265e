"""Queues in memory: as fast as the machine allows, and lost at exit."""

from gmq.storage.local import LocalStorage


class MemoryStorage(LocalStorage):
    """Queues of which nothing is kept."""

    name = "memory"
