"""Whose turn it is to restart brokers that nobody asked to be restarted: after an upgrade of the operator one server at a time."""

from collections.abc import Callable
from typing import Final

from gmq_operator.cache import Key

LONGEST: Final = 300.0
"""Seconds that the others wait for one whose brokers do not become ready."""


class Turns:
    """One key has the turn at a time. `wake` is called with those that wait for it, when it is free; the clock is in seconds."""

    def __init__(self, clock: Callable[[], float], wake: Callable[[Key], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._holder: Key | None = None
        self._since = 0.0
        self._waiting: dict[Key, None] = {}

    def take(self, key: Key) -> bool:
        """Whether it is the key's turn, from now until it is given back."""
        now = self._clock()
        if self._holder not in {None, key} and now - self._since < LONGEST:
            self._waiting[key] = None
            return False
        if self._holder != key:
            self._holder, self._since = key, now
        self._waiting.pop(key, None)
        return True

    def holds(self, key: Key) -> bool:
        return self._holder == key

    def give_back(self, key: Key) -> None:
        """The key needs no turn, or not any more."""
        self._waiting.pop(key, None)
        if self._holder != key:
            return
        self._holder = None
        for waiting in self._waiting:
            self._wake(waiting)
