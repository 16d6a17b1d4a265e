"""What a queue needs from a storage that keeps it on a disk: somebody to tell each change, and payloads read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from gmq.message import Message, Taken

Q_contra = TypeVar("Q_contra", contravariant=True)


class Recorder(Protocol[Q_contra]):
    """Is told of each change of a queue, once it is done.

    What comes again by itself is not told: a delay that is over. Nor is what the owner of the queues does with several of them at once
    (dead letters, moves).
    """

    def published(self, queue: Q_contra, first: int, payloads: Sequence[bytes], now: int, keys: Sequence[str] | None) -> None:
        """Plain messages came, with the ids `first`, `first` + 1 and so on; each under its key where there are keys."""

    def added(self, queue: Q_contra, messages: Sequence[Message], keys: Sequence[str] | None) -> None:
        """Messages came, published with options or given back after a plain take; their state is in them."""

    def taken(self, queue: Q_contra, taken: Taken) -> None:
        """A plain take removed messages."""

    def changed(self, queue: Q_contra, messages: Sequence[Message]) -> None:
        """Messages were leased or put back, their leases were extended or ran out, or a take was undone; their state is in them.

        Or plain ones are no longer kept as such.
        """

    def removed(self, queue: Q_contra, ids: Sequence[int]) -> None:
        """Messages were acknowledged, expired, were dropped, or are damaged on disk."""

    def cleared(self, queue: Q_contra) -> None:
        """Every message was removed."""

    def policy_set(self, queue: Q_contra) -> None:
        """The queue has a new policy."""


class Pages(Protocol):
    """The payloads of one queue that are on disk."""

    def load(self, ids: Sequence[int]) -> list[bytes | None]:
        """The payload of each, None where it is damaged."""

    def size(self, first: int, count: int) -> int:
        """How many bytes the payloads of messages with consecutive ids have together."""

    def length(self, id: int) -> int:  # noqa: A002  # the word everywhere else
        """How many bytes a payload has."""
