"""`gmqclient load`: JSON lines as messages."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, field

from gmq.cli.client_output import Exit, Failure, messages, say, standard_input
from gmq.client import Client, GmqClientError, OutcomeUnknown
from gmq.client.blocking import LoopThread
from gmq.message import MAX_COUNT, GmqError
from gmq.validate import check_name, check_range, publish_options

BATCHES_UNDER_WAY = 8
LINE_RESERVE = 32 << 10
"""Bytes of a request that are left for what is not payloads and keys: names, headers, punctuation."""


class Line(Struct, forbid_unknown_fields=True):
    """One line of the file."""

    payload: bytes | None = None
    text: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    ttl: float | None = None
    headers: dict[str, str] | None = None
    key: str | None = None


class Shared(Struct, frozen=True):
    """What all messages of a batch have in common."""

    queue: str
    priority: int | None
    delay: float | None
    ttl: float | None
    headers: dict[str, str] | None
    keyed: bool


class Batch(Struct):
    """Messages that are published together; `first` and `last` are line numbers, `size` the bytes in the request, `read` those in the
    file.
    """

    shared: Shared
    first: int
    last: int = 0
    payloads: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    size: int = 0
    read: int = 0

    def __str__(self) -> str:
        return f"line {self.first}" if self.first == self.last else f"lines {self.first} to {self.last}"


class BadLine(Exception):  # noqa: N818  # it reads well at its raise
    """A line that is no message."""


class Limits(Struct, frozen=True):
    """How large a batch may be: messages, bytes of one message, bytes of all of them in the request."""

    count: int
    message: int
    request: int


class Loader:
    """Publishes batches in order, several under way at a time, and keeps count."""

    def __init__(self, thread: LoopThread, client: Client, progress: Callable[[Batch], None]) -> None:
        self._thread = thread
        self._client = client
        self._progress = progress
        self._under_way: deque[tuple[Batch, Future[list[int]]]] = deque()
        self.published = 0
        self.doubtful = 0
        self.failure = ""

    def send(self, batch: Batch) -> None:
        """Publish a batch, as soon as there is room for it."""
        while len(self._under_way) >= BATCHES_UNDER_WAY:
            self._settle()
        shared = batch.shared
        publishing = self._client.publish_many(
            shared.queue,
            batch.payloads,
            priority=shared.priority,
            delay=shared.delay,
            ttl=shared.ttl,
            headers=shared.headers,
            keys=batch.keys if shared.keyed else None,
        )
        self._under_way.append((batch, self._thread.submit(publishing)))
        while self._under_way and self._under_way[0][1].done():
            self._settle()

    def finish(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            self._settle()

    def _settle(self) -> None:
        batch, future = self._under_way[0]
        error = future.exception()
        self._under_way.popleft()
        if error is None:
            self.published += len(batch.payloads)
            self._progress(batch)
        elif isinstance(error, GmqClientError):
            self.doubtful += len(batch.payloads) if isinstance(error, OutcomeUnknown) else 0
            self.failure = self.failure or f"{batch}: {error}"
        else:
            raise error


def load(options: Namespace, access: dict[str, Any]) -> int:
    """Publish the messages of a file. Raises Failure where it has to stop."""
    if options.batch > MAX_COUNT:
        raise Failure(f"--batch is {options.batch}; it may be 1 to {MAX_COUNT}", Exit.USAGE)
    with ExitStack() as stack:
        file = stack.enter_context(_source(options.file))
        thread = LoopThread()
        stack.callback(thread.stop)
        client = Client(**access)
        stack.callback(lambda: thread.run(client.close()))
        thread.run(client.connect())
        limits = _limits(thread.run(client.hello()).limits, options.batch)
        with _progress(file) as progress:
            loader = Loader(thread, client, progress)
            trouble = _publish_all(loader, batches(file, options.queue, limits))
    if trouble:
        raise Failure(trouble)
    say(_count(loader))
    return Exit.DONE


def _publish_all(loader: Loader, found: Iterable[Batch]) -> str:
    """Publish batch after batch; what stopped it, or nothing."""
    try:
        for batch in found:
            loader.send(batch)
            if loader.failure:
                break
    except (BadLine, OSError) as bad:
        loader.finish()
        if not loader.failure:
            what = bad if isinstance(bad, BadLine) else f"cannot read on: {bad.strerror}"
            return f"{what}; {_count(loader)} before it"
    except KeyboardInterrupt:
        loader.finish()
        say(f"interrupted; {_count(loader)}")
        raise
    loader.finish()
    return f"{loader.failure}; {_count(loader)}" if loader.failure else ""


def _count(loader: Loader) -> str:
    doubt = f", and perhaps {loader.doubtful} more" if loader.doubtful else ""
    return f"published {messages(loader.published)}{doubt}"


def batches(file: Iterable[bytes], queue: str | None, limits: Limits) -> Iterator[Batch]:
    """The lines as batches of neighbours that have the same options; `queue` is that of lines that name none. Raises BadLine after the
    last good batch.
    """
    batch: Batch | None = None
    for number, text in enumerate(file, 1):
        if text.isspace():
            continue
        try:
            line = _parse(text, queue, limits.message)
        except (GmqError, ValueError) as error:
            if batch:
                yield batch
            raise BadLine(f"line {number}: {error}") from error
        shared = Shared(line.queue or "", line.priority, line.delay, line.ttl, line.headers or None, line.key is not None)
        payload = line.payload or b""
        size = (len(payload) + 2) // 3 * 4 + 3 + (len(msgspec.json.encode(line.key)) + 1 if line.key else 0)
        if batch and (batch.shared != shared or len(batch.payloads) >= limits.count or batch.size + size > limits.request):
            yield batch
            batch = None
        batch = batch or Batch(shared, number)
        batch.last = number
        batch.size += size
        batch.read += len(text)
        batch.payloads.append(payload)
        if line.key is not None:
            batch.keys.append(line.key)
    if batch:
        yield batch


def _parse(text: bytes, queue: str | None, largest: int) -> Line:
    """Read a line and check it as the broker would. Raises GmqError or ValueError."""
    line = msgspec.json.decode(text, type=Line)
    if (line.payload is None) == (line.text is None):
        raise ValueError("it must have either payload or text")
    if line.text is not None:
        line.payload = line.text.encode()
    line.queue = line.queue or queue
    if line.queue is None:
        raise ValueError("it names no queue, and there is no --queue")
    check_name(line.queue)
    check_range("payload", len(line.payload or b""), 0, largest, "bytes")
    keys = None if line.key is None else [line.key]
    publish_options(1, priority=line.priority, delay=line.delay, ttl=line.ttl, headers=line.headers, keys=keys)
    return line


def _limits(broker: dict[str, Any], count: int) -> Limits:
    return Limits(count, message=broker["message_size"], request=broker["line"] - LINE_RESERVE)


@contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield standard_input().buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # it is closed below; the errors of its user are not ours
    except OSError as error:
        raise Failure(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _progress(file: BinaryIO) -> Iterator[Callable[[Batch], None]]:
    """Show how far we are, to a person only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm  # noqa: PLC0415  # it takes longer to import than all else, and scripts do not need it

    size = os.fstat(file.fileno()).st_size
    with tqdm(total=size or None, unit="B", unit_scale=True, desc="load") as bar:

        def advance(batch: Batch) -> None:
            bar.update(batch.read)

        yield advance
