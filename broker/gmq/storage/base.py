"""What a storage of messages does.

The interface is at the level of operations, so that each storage does them its own way: memory with queues in memory, a file system
with the same queues and a journal, a database with SQL.

Two ways lead to durability, and a storage may take either or both:

- An operation that takes effect at once gives its result at once. Where the result still has to become durable, `commit` gives the
  future that stands for everything done so far. The broker asks for it once, after all the requests it has at hand, so many requests
  share one commit, and keeps their replies, in order, until it is done. When it fails, each of these requests fails.
- An operation that only takes effect elsewhere (in a database) gives a future of its result.

A storage in memory does neither: results are plain values and `commit` is None.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from asyncio import Future
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeAlias, TypeVar

from gmq.histogram import Commits
from gmq.message import GmqError, Measure, Message, Options, QueueCounts, QueueInfo, QueuePolicy, Settled, Taken, Totals

T = TypeVar("T")
Outcome: TypeAlias = T | Future[T]
"""What an operation gives: at once where that is possible, else a future."""


class StorageError(Exception):
    """The storage cannot be opened; the text says why, and what would help."""


class Storage(ABC):
    """Named queues and their messages.

    Lengths of time are in milliseconds. Names, numbers and payloads were checked before they come here. Every operation raises
    GmqError (or sets it on its future) and then has changed nothing. Operations on a queue that does not exist raise `not_found`,
    except create, publish, take, length and peek.
    """

    name: str
    """The word for it in the configuration, the logs and the metrics."""

    immediate = True
    """Whether every operation takes effect at once and gives a plain value."""

    def __init__(self) -> None:
        self.on_ready: Callable[[str], None] = lambda _: None
        """Called with a queue's name whenever messages in it may have become ready, for whatever reason."""
        self.waited: Callable[[], Collection[str]] = lambda: ()
        """Gives the names of the queues that somebody waits for."""
        self.commits = Commits()
        """How its commits went."""
        self.departed = Totals()
        """What happened in queues that are gone."""
        self.damaged = 0
        """Places on the disk that were found damaged."""
        self.torn = 0
        """Ends of commits that were found incomplete."""

    @abstractmethod
    async def open(self) -> None:
        """Make ready to serve.

        Raises:
            StorageError: it is impossible.
        """

    @abstractmethod
    async def close(self) -> None:
        """Commit what is under way and let go of everything."""

    def commit(self) -> Future[None] | None:
        """The commit that makes everything done so far durable; None where it already is all that it can be."""
        return None

    @property
    def problem(self) -> str | None:
        """Why it cannot serve now; None when it can."""
        return None

    @property
    @abstractmethod
    def memory(self) -> int:
        """Bytes of memory that the messages take, with all that belongs to them (an estimate)."""

    async def measure(self) -> None:  # noqa: B027  # for most there is nothing to do
        """Bring up to date what `measured` tells, where that takes time. It raises nothing: what it cannot learn stays as it was."""

    @abstractmethod
    def measured(self) -> Iterator[Measure]:
        """Every queue as the metrics show it, one after the other. Whatever happens between two of them does no harm."""

    @abstractmethod
    def publish(self, queue: str, payloads: Sequence[bytes], size: int, options: Options | None) -> Outcome[Sequence[int]]:
        """Add one message per payload, of `size` bytes together, all or none, and return their ids.

        The queue is created when it does not exist.
        """

    def publish_run(self, queue: str, payloads: Sequence[bytes], size: int) -> Outcome[Sequence[int | GmqError]]:
        """Publish for requests of one payload each, in their order; where not all can be stored, the first that can are.

        The result has an id for each, or the error that refuses it. Storages that answer later do so; where the answer is given at once,
        the caller tries again one by one.
        """
        return self.publish(queue, payloads, size, None)  # type: ignore[return-value]  # ids alone are such a result

    def publish_spread(self, queues: Sequence[str], payloads: Sequence[bytes], size: int) -> Sequence[int | GmqError]:  # noqa: ARG002
        """Publish one message to each of several queues, some of which may be the same; for storages that answer at once.

        The payloads have `size` bytes together. The result has an id for each, or the error that refuses it.
        """
        results: list[int | GmqError] = []
        for queue, payload in zip(queues, payloads, strict=True):
            try:
                results += self.publish(queue, (payload,), len(payload), None)  # type: ignore[arg-type]  # it answers at once
            except GmqError as error:  # one that is refused must not keep the others
                results.append(error)
        return results

    @abstractmethod
    def take(self, queues: Sequence[str], count: int, max_bytes: int, lease: int | None) -> Outcome[Taken]:
        """Hand out up to `count` messages, with up to `max_bytes` of payload but one in any case, of the first queue that has any.

        `lease` is None to remove them, a length to hide them for, or POLICY_LEASE. With nothing there the result is empty and its queue "".
        """

    def waited_until_now(self, queues: Sequence[str]) -> None:  # noqa: B027  # for most there is nothing to do
        """A consumer that waited for these queues does so no more: they were in use."""

    @abstractmethod
    def undo(self, taken: Taken) -> None:
        """Give back, to their old places, messages whose reply did not leave; they count as never delivered."""

    @abstractmethod
    def acknowledge(self, receipts: Sequence[str]) -> Outcome[Settled]:
        """Remove the messages leased under `receipts`."""

    @abstractmethod
    def put_back(self, receipts: Sequence[str], delay: int) -> Outcome[Settled]:
        """Return the messages leased under `receipts` to their old places, after `delay`."""

    @abstractmethod
    def extend(self, receipts: Sequence[str], lease: int) -> Outcome[Settled]:
        """Let the leases under `receipts` end `lease` from now."""

    @abstractmethod
    def length(self, queue: str) -> Outcome[int]:
        """The number of ready messages."""

    @abstractmethod
    def queues(self) -> Outcome[list[QueueCounts]]:
        """Every queue, sorted by name."""

    @abstractmethod
    def info(self, queue: str) -> Outcome[QueueInfo]:
        """One queue looked at closely."""

    @abstractmethod
    def peek(self, queue: str, count: int, max_bytes: int) -> Outcome[list[Message]]:
        """The first `count` ready messages, with up to `max_bytes` of payload but one in any case; they stay."""

    @abstractmethod
    def move(self, queue: str, to: str | None, count: int) -> Outcome[int]:
        """Move up to `count` ready and delayed messages, all or none; return how many.

        They go to the queue `to`, created when missing, or, without it, dead letters to the queues that they came from.
        """

    @abstractmethod
    def clear(self, queue: str) -> Outcome[int]:
        """Remove every message of a queue; return how many."""

    @abstractmethod
    def delete(self, queue: str) -> Outcome[int]:
        """Remove a queue; return how many messages went with it."""

    @abstractmethod
    def create(self, queue: str, policy: QueuePolicy | None) -> Outcome[bool]:
        """Make a queue where it is missing, and set its policy where one is given; whether it was made.

        Without a policy a new queue has the configured one of its name, and an old one keeps its own.
        """

    @abstractmethod
    def set_policy(self, queue: str, policy: QueuePolicy) -> Outcome[QueuePolicy]:
        """Replace a queue's policy; return the new one."""
