"""What the subcommands of gmqclient do."""

from __future__ import annotations

import logging
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from gmq.address import Endpoint, parse_endpoint
from gmq.cli.client_dump import dump
from gmq.cli.client_load import load
from gmq.cli.client_output import Exit, Failure, say, standard_input, watch_interruptions, write
from gmq.client import (
    BlockingClient,
    BlockingConsumer,
    ConnectionFailed,
    GmqClientError,
    LimitReached,
    Message,
    OutcomeUnknown,
    QueueCounts,
    Tls,
    Unavailable,
)
from gmq.client.link import Backoff
from gmq.message import MAX_WAIT, QueuePolicy


def run(options: Namespace) -> int:
    """Run the subcommand that was asked for. Raises Failure."""
    if options.command == "publish":
        options.payload = _payload(options)  # before the broker is asked for anything
    elif options.command in ("clear", "delete"):
        _ask(options)
    logging.basicConfig(format="gmqclient: %(message)s")  # what the client tells
    try:
        if options.command == "load":
            return load(options, _access(options))
        with BlockingClient(**_access(options)) as client:
            return COMMANDS[options.command](client, options)
    except GmqClientError as error:
        raise Failure(str(error)) from error


def publish(client: BlockingClient, options: Namespace) -> int:
    headers = dict(options.header) if options.header else None
    number = client.publish(
        options.queue,
        options.payload,
        delay=options.delay,
        ttl=options.ttl,
        priority=options.priority,
        headers=headers,
        key=options.key,
    )
    _print(number)
    return Exit.DONE


def subscribe(client: BlockingClient, options: Namespace) -> int:
    show = _shower(options)
    wanted = options.count or (None if options.follow else 1)
    came = 0
    with _leased(client, options) if options.lease else _taken(client, options) as messages:
        for message in messages:
            show(message)
            came += 1
            if came == wanted:
                break
    return Exit.DONE if came else Exit.EMPTY


def length(client: BlockingClient, options: Namespace) -> int:
    _print(client.length(options.queue))
    return Exit.DONE


def queues(client: BlockingClient, options: Namespace) -> int:
    found = client.queues()
    if options.json:
        for counts in found:
            write(msgspec.json.encode(counts) + b"\n")
    else:
        _print(_table(found))
    return Exit.DONE


def info(client: BlockingClient, options: Namespace) -> int:
    found = client.info(options.queue)
    if options.json:
        write(msgspec.json.encode(found) + b"\n")
        return Exit.DONE
    members: dict[str, Any] = msgspec.to_builtins(found)
    totals = members.pop("totals")
    age = found.oldest_age
    members |= {"oldest_age": "-" if age is None else f"{age:.3f} s", "policy": msgspec.json.encode(found.policy).decode()}
    lines = [f"{name:16}{value}" for name, value in members.items()]
    lines += ["since the broker started:", *(f"  {name:14}{value}" for name, value in totals.items())]
    _print("\n".join(lines))
    return Exit.DONE


def peek(client: BlockingClient, options: Namespace) -> int:
    show = _shower(options)
    found = client.peek(options.queue, count=options.count)
    for message in found:
        show(message)
    return Exit.DONE if found else Exit.EMPTY


def clear(client: BlockingClient, options: Namespace) -> int:
    _print(client.clear(options.queue))
    return Exit.DONE


def delete(client: BlockingClient, options: Namespace) -> int:
    _print(client.delete(options.queue))
    return Exit.DONE


def move(client: BlockingClient, options: Namespace) -> int:
    _print(client.move(options.queue, options.to, count=options.count))
    return Exit.DONE


def policy(client: BlockingClient, options: Namespace) -> int:
    if options.policy is None:
        effective = client.info(options.queue).policy
    else:
        try:
            wanted = msgspec.json.decode(options.policy, type=QueuePolicy)  # that of the domain, which refuses unknown members
        except msgspec.DecodeError as error:
            raise Failure(f"{options.policy!r} is no policy: {error}", Exit.USAGE) from error
        effective = client.set_policy(options.queue, wanted)
    _print(msgspec.json.encode(effective).decode())
    return Exit.DONE


COMMANDS: dict[str, Callable[[BlockingClient, Namespace], int]] = {
    "publish": publish,
    "subscribe": subscribe,
    "length": length,
    "queues": queues,
    "info": info,
    "peek": peek,
    "clear": clear,
    "delete": delete,
    "move": move,
    "policy": policy,
    "dump": dump,
}


def _print(data: object) -> None:
    write(f"{data}\n".encode(errors="surrogateescape"))


def _access(options: Namespace) -> dict[str, Any]:
    """Where the broker is and who we are, as arguments of a client."""
    password = options.password
    if options.password_file:
        try:
            password = options.password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"cannot read the password from {options.password_file}: {error}") from error
    user, endpoint = options.user, _endpoint(options)
    if bool(user) != bool(password):
        missing = "a password (--password-file or GMQ_PASSWORD)" if user else "a user name (--user or GMQ_USER)"
        raise Failure(f"{missing} is missing; give both, or neither", Exit.USAGE)
    if not user:
        user, password = endpoint.user, endpoint.password
    return {"address": str(endpoint.address), "user": user, "password": password, "tls": _tls(options) or endpoint.tls}


def _endpoint(options: Namespace) -> Endpoint:
    try:
        return parse_endpoint(options.server)
    except ValueError as error:
        raise Failure(f"--server: {error}", Exit.USAGE) from None


def _tls(options: Namespace) -> Tls | bool:
    """How to speak TLS; False where no option asks for it."""
    if options.tls_key is not None and options.tls_certificate is None:
        raise Failure("--tls-key needs --tls-certificate", Exit.USAGE)
    tls = Tls(options.ca, options.tls_certificate, options.tls_key, options.tls_server_name, not options.tls_insecure)
    return False if tls == Tls() and not options.tls else tls


def _payload(options: Namespace) -> bytes:
    """The message to publish: from a file, the command line, or standard input."""
    if options.file:
        if options.payload is not None:
            raise Failure("give the message as PAYLOAD or with --file, not both", Exit.USAGE)
        try:
            payload: bytes = options.file.read_bytes()
        except OSError as error:
            raise Failure(f"cannot read {options.file}: {error.strerror}") from error
        return payload
    if options.payload not in (None, "-"):
        return os.fsencode(options.payload)
    source = standard_input()
    if source.isatty():
        say("reading the message from the terminal; Ctrl-D ends it")
    return source.buffer.read()


def _ask(options: Namespace) -> None:
    """Have a person confirm what cannot be undone."""
    if options.yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise Failure(f"{options.command} cannot be undone, and nobody is there to ask; --yes says that it is meant", Exit.USAGE)
    what = "every message of" if options.command == "clear" else "the queue"
    print(f"Remove {what} {options.queue}, on {_endpoint(options).address}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("nothing was removed")


def _shower(options: Namespace) -> Callable[[Message], None]:
    """How to print a message."""
    if options.json:
        return lambda message: write(msgspec.json.encode(message) + b"\n")
    end = b"" if getattr(options, "raw", False) else b"\n"
    return lambda message: write(message.payload + end)


def _leased(client: BlockingClient, options: Namespace) -> BlockingConsumer:
    wait = float(MAX_WAIT) if options.follow else options.wait
    return client.consume(options.queue, lease=options.lease, wait=wait, follow=options.follow)


@contextmanager
def _taken(client: BlockingClient, options: Namespace) -> Iterator[Iterator[Message]]:
    """Messages taken for good."""
    yield _follow(client, options.queue) if options.follow else _take_until_empty(client, options.queue, options.wait)


def _take_until_empty(client: BlockingClient, queues: Sequence[str], wait: float) -> Iterator[Message]:
    while message := _take_patiently(client, queues, wait):
        yield message


def _take_patiently(client: BlockingClient, queues: Sequence[str], wait: float) -> Message | None:
    """Take a message; wait for it longer than a single request may."""
    deadline = time.monotonic() + wait
    while True:
        left = min(max(deadline - time.monotonic(), 0.0), MAX_WAIT)
        message = client.take(queues, wait=left)
        if message or time.monotonic() >= deadline:
            return message


def _follow(client: BlockingClient, queues: Sequence[str]) -> Iterator[Message]:
    """Take messages for ever, also when the broker goes and comes back."""
    backoff = Backoff()
    failures = 0
    while True:
        watch_interruptions().check()
        try:
            message = client.take(queues, wait=MAX_WAIT)
        except (ConnectionFailed, OutcomeUnknown, Unavailable, LimitReached) as error:
            failures += 1
            say(f"{error}; tries again")
            time.sleep(backoff.delay(failures))
            continue
        failures = 0
        if message:
            yield message


def _table(found: Sequence[QueueCounts]) -> str:
    """The queues as lines with aligned columns."""
    rows = [("QUEUE", "READY", "DELAYED", "LEASED", "BYTES")]
    rows += [(one.queue, str(one.ready), str(one.delayed), str(one.leased), str(one.bytes)) for one in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]) for row in rows
    )
