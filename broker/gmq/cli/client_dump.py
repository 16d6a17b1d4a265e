"""`gmqclient dump`: a queue's messages as JSON lines."""

from __future__ import annotations

from argparse import Namespace

import msgspec
from msgspec import Struct

from gmq.cli.client_output import Exit, messages, say, write
from gmq.client import BlockingClient, GmqClientError, Message
from gmq.message import DEFAULT_PRIORITY

PREFETCH = 100


class Line(Struct, omit_defaults=True):
    """What `load` reads; None leaves a member out."""

    payload: bytes
    queue: str
    priority: int = DEFAULT_PRIORITY
    headers: dict[str, str] | None = None


def dump(client: BlockingClient, options: Namespace) -> int:
    """Write every ready message as a line, and acknowledge it then."""
    dumped = 0
    left = ""
    encoder = msgspec.json.Encoder()
    try:
        with client.consume(options.queue, lease=options.lease, prefetch=PREFETCH, wait=0, follow=False) as taken:
            for message in taken:
                write(encoder.encode(line_of(message)) + b"\n")
                dumped += 1
        left = _left(client, options.queue)
    finally:
        say(f"took out {messages(dumped)} of {options.queue}{left}")  # also when the broker has gone, and could not be asked any more
    return Exit.DONE if dumped else Exit.EMPTY


def line_of(message: Message) -> Line:
    return Line(message.payload, message.queue, message.priority, message.headers or None)


def _left(client: BlockingClient, queue: str) -> str:
    """What could not be dumped, for the person to know."""
    try:
        info = client.info(queue)
    except GmqClientError:
        return ""  # there is no such queue, or we may not look at it: it is a courtesy only
    return f"; {info.delayed} delayed and {info.leased} leased ones stay" if info.delayed or info.leased else ""
