"""The payloads of a queue that are on disk only: read back, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy

from gmq.message import PAGED, Message, Usage, headers_size
from gmq.recorder import Pages


class Paging:
    """What one queue has on disk only.

    `bytes` are those of its payloads that are not in memory. `lost` gathers the ids of plain messages whose payloads turned out to be
    damaged, `lost_bytes` their payloads; the queue takes them off its books.
    """

    __slots__ = ("_pages", "_usage", "bytes", "length", "lost", "lost_bytes", "run_size")

    def __init__(self, pages: Pages, usage: Usage) -> None:
        self._pages = pages
        self._usage = usage
        self.length = pages.length
        self.run_size = pages.size
        self.bytes = 0
        self.lost: list[int] = []
        self.lost_bytes = 0

    def put_away(self, size: int) -> None:
        """Count `size` bytes as on disk only; fewer than 0 as no longer."""
        self.bytes += size
        self._usage.paged += size

    def size(self, message: Message) -> int:
        """What `Message.size` is for a message in memory."""
        if message.payload is not PAGED:
            return message.size
        return self.length(message.id) + (headers_size(message.headers) if message.headers else 0)

    def sizes(self, entries: Iterable[bytes | Message]) -> int:
        """The bytes of the payloads."""
        return sum(len(entry) if isinstance(entry, bytes) else self.payload_size(entry) for entry in entries)

    def payload_size(self, message: Message) -> int:
        """The bytes of the payload."""
        return self.length(message.id) if message.payload is PAGED else len(message.payload)

    def read(self, messages: Iterable[Message]) -> dict[int, bytes | None]:
        """The payloads of those messages that have theirs on disk only, by id; they stay there."""
        ids = [message.id for message in messages if message.payload is PAGED]
        return dict(zip(ids, self._pages.load(ids), strict=True)) if ids else {}

    def copies(self, messages: Sequence[Message], max_bytes: int, loaded: dict[int, bytes | None] | None = None) -> list[Message]:
        """Copies of messages with their payloads, up to `max_bytes` of these but one in any case, without those that are damaged.

        What is `loaded` need not be read again.
        """
        chosen: list[Message] = []
        size = 0
        for message in messages:
            size += self.payload_size(message)
            if chosen and size > max_bytes:
                break
            chosen.append(copy(message))
        read = self.read(chosen) if loaded is None else loaded
        for message in chosen:
            payload = read.get(message.id)
            if payload is not None:
                message.payload = payload
        return [message for message in chosen if message.payload is not PAGED]

    def fetch(self, ids: Sequence[int]) -> list[bytes | None]:
        """The payloads of plain messages, which are in memory from now on."""
        payloads = self._pages.load(ids)
        size = sum([len(payload) for payload in payloads if payload is not None])
        if None in payloads:
            lost = [number for number, payload in zip(ids, payloads, strict=True) if payload is None]
            lost_bytes = sum(map(self.length, lost))
            self.lost += lost
            self.lost_bytes += lost_bytes
            size += lost_bytes
        self.put_away(-size)
        return payloads
