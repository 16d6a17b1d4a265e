"""The subcommands of gmqclient and their options."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import gmq
from gmq.cli.client_output import Exit, Failure

DESCRIPTION = "Publish to and take from the queues of a GMQ broker."

EPILOG = """\
examples:
  gmqclient publish orders 'two apples'            prints the message's id
  tar c photos | gmqclient publish backups         the payload from standard input
  gmqclient subscribe orders                       takes one message and prints it
  gmqclient subscribe orders --follow --lease 30   goes on; what was not written out comes back
  gmqclient queues -s broker.example:4567          what there is on another broker
  gmqclient dump orders -s a | gmqclient load - -s b    move a queue from broker a to broker b

exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing there, 130 interrupted.
Data goes to standard output, talk to standard error.

environment: GMQ_SERVER, GMQ_USER, GMQ_PASSWORD stand for --server, --user, --password, and GMQ_CA,
GMQ_TLS_CERTIFICATE, GMQ_TLS_KEY for --ca, --tls-certificate, --tls-key.

The original gmqclient's flags work as ever, when they come first:
  gmqclient -s localhost:4567 -user me -password secret -q orders -a P -m aGVsbG8=
  -s address  -q queue  -a P|S|L  -m payload in base64  -p tcp|tcp4|tcp6
  -l log file  -o output file  -user name  -password password
"""


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{message} (see {self.prog} --help)", Exit.USAGE)


def run(arguments: list[str]) -> int:
    """Run a subcommand and return its exit code. Raises Failure."""
    parser = make_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        return Exit.USAGE
    options = parser.parse_args(arguments)
    from gmq.cli import client_commands  # noqa: PLC0415  # --help needs no client

    return client_commands.run(options)


def make_parser() -> Parser:
    """All subcommands with their options."""
    parser = Parser(prog="gmqclient", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"gmqclient {gmq.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="SUBCOMMAND", required=True)
    for add in (_publish, _subscribe, _length, _queues, _info, _peek, _clear, _delete, _move, _policy, _load, _dump):
        add(commands)
    return parser


def _command(commands: Any, name: str, summary: str, more: str = "") -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    broker = command.add_argument_group("the broker")
    broker.add_argument(
        "-s",
        "--server",
        metavar="ADDRESS",
        type=utf8,
        default=os.environ.get("GMQ_SERVER") or "localhost:4567",
        help="host, host:port, [::1]:port or gmq://USER:PASSWORD@HOST:PORT (default: GMQ_SERVER, else localhost:4567)",
    )
    broker.add_argument("--user", type=utf8, default=os.environ.get("GMQ_USER"), help="user name (default: GMQ_USER)")
    password = broker.add_mutually_exclusive_group()
    password.add_argument("--password-file", metavar="FILE", type=Path, help="file that holds the password (else: GMQ_PASSWORD)")
    password.add_argument(
        "--password",
        type=utf8,
        default=os.environ.get("GMQ_PASSWORD"),
        help="password; others on this machine can see it in the list of processes",
    )
    _tls(command)
    return command


def _tls(command: argparse.ArgumentParser) -> None:
    tls = command.add_argument_group("TLS (any of these turns it on)")
    tls.add_argument("--tls", action="store_true", help="use TLS; the system's authorities are trusted")
    tls.add_argument(
        "--ca", metavar="FILE", type=Path, default=_path("GMQ_CA"), help="trust the authorities in this file instead (default: GMQ_CA)"
    )
    tls.add_argument(
        "--tls-certificate",
        metavar="FILE",
        type=Path,
        default=_path("GMQ_TLS_CERTIFICATE"),
        help="the client's own certificate (default: GMQ_TLS_CERTIFICATE)",
    )
    tls.add_argument(
        "--tls-key",
        metavar="FILE",
        type=Path,
        default=_path("GMQ_TLS_KEY"),
        help="the key to it (default: GMQ_TLS_KEY, else the same file)",
    )
    tls.add_argument(
        "--tls-server-name", metavar="NAME", type=utf8, help="the name that the broker's certificate must have (default: the host)"
    )
    tls.add_argument("--tls-insecure", action="store_true", help="trust any certificate: no protection from who can change the traffic")


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _queue(command: argparse.ArgumentParser, **options: Any) -> None:
    command.add_argument("queue", metavar="QUEUE", type=utf8, **options)


def _publish(commands: Any) -> None:
    command = _command(commands, "publish", "publish a message and print its id")
    _queue(command)
    command.add_argument("payload", metavar="PAYLOAD", nargs="?", help="the message; absent or - means standard input, every byte of it")
    command.add_argument("--file", metavar="FILE", type=Path, help="take the message from a file")
    command.add_argument("--delay", metavar="SECONDS", type=seconds, help="hide it for so long (up to 604800)")
    command.add_argument("--ttl", metavar="SECONDS", type=seconds, help="drop it when nobody took it by then (up to 604800)")
    command.add_argument("--priority", metavar="N", type=int, help="0 to 9, higher first (default 4)")
    command.add_argument("--header", metavar="NAME=VALUE", action="append", type=header, help="a header; may be given several times")
    command.add_argument("--key", type=utf8, help="publish no second message under this key within 5 minutes")


def _subscribe(commands: Any) -> None:
    command = _command(
        commands,
        "subscribe",
        "take messages and print them, a newline after each",
        "With several queues the first that has a message serves.\n"
        "Takes one message; with --count up to so many; with --follow it goes on. Exit code 3 when nothing came.\n\n"
        "Without --lease a message is gone once it is taken. With it, a message is acknowledged only after it was\n"
        "written out, and comes back when that fails, also at Ctrl-C.",
    )
    _queue(command, nargs="+")
    waiting = command.add_mutually_exclusive_group()
    waiting.add_argument(
        "--follow", action="store_true", help="wait for messages until --count came, or for ever; also for a broker that is away"
    )
    waiting.add_argument("--wait", metavar="SECONDS", type=seconds, default=0.0, help="wait so long for a message (default 0)")
    command.add_argument("--lease", metavar="SECONDS", type=lease, help="take under a lease, which is extended while the output is slow")
    command.add_argument("--count", metavar="N", type=positive, help="how many messages to take at most")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print each message as a line of JSON, with all that is known of it")
    form.add_argument("--raw", action="store_true", help="print no newline after a message")


def _length(commands: Any) -> None:
    _queue(_command(commands, "length", "print how many messages of a queue are ready"))


def _queues(commands: Any) -> None:
    command = _command(commands, "queues", "list the queues with their counts")
    command.add_argument("--json", action="store_true", help="print a line of JSON for each")


def _info(commands: Any) -> None:
    command = _command(commands, "info", "show a queue: counts, policy, and totals since the broker started")
    _queue(command)
    command.add_argument("--json", action="store_true", help="print a line of JSON")


def _peek(commands: Any) -> None:
    command = _command(commands, "peek", "print the first messages of a queue without taking them", "Exit code 3 when there are none.")
    _queue(command)
    command.add_argument("--count", metavar="N", type=positive, default=1, help="how many, up to 1000 (default 1)")
    command.add_argument("--json", action="store_true", help="print each message as a line of JSON, with all that is known of it")


def _clear(commands: Any) -> None:
    command = _command(
        commands, "clear", "remove every message of a queue and print how many", "Delayed and leased messages are removed too."
    )
    _queue(command)
    command.add_argument("--yes", action="store_true", help="do not ask")


def _delete(commands: Any) -> None:
    command = _command(
        commands, "delete", "remove a queue and print how many messages went with it", "Its policy and its keys are removed too."
    )
    _queue(command)
    command.add_argument("--yes", action="store_true", help="do not ask")


def _move(commands: Any) -> None:
    command = _command(
        commands, "move", "move messages to another queue and print how many", "Leased messages stay. All are moved, or none."
    )
    _queue(command)
    command.add_argument(
        "--to", metavar="QUEUE", type=utf8, help="where to; without it, dead letters go back to the queues that they came from"
    )
    command.add_argument("--count", metavar="N", type=positive, help="how many at most (default all)")


def _policy(commands: Any) -> None:
    command = _command(
        commands,
        "policy",
        "show or replace the policy of a queue",
        "A policy is a JSON object with any of\n"
        "max_messages, max_deliveries, dead_letter, ttl, lease, expires (the last three in seconds); {} removes all of it.",
    )
    _queue(command)
    command.add_argument("policy", metavar="JSON", type=utf8, nargs="?", help="the new policy; absent means show")


def _load(commands: Any) -> None:
    command = _command(
        commands,
        "load",
        "publish the messages of a file of JSON lines",
        "Each line is an object with payload (base64) or text, and\n"
        "optionally queue, priority, delay, ttl, headers and key, as `dump` writes them. Order is kept.\n"
        "A line that is no good stops it: what stands before it was published.",
    )
    command.add_argument("file", metavar="FILE", help="the file; - means standard input")
    command.add_argument("--queue", type=utf8, help="the queue of lines that name none")
    command.add_argument(
        "--batch", metavar="N", type=positive, default=500, help="messages published at once, all or none, up to 1000 (default 500)"
    )


def _dump(commands: Any) -> None:
    command = _command(
        commands,
        "dump",
        "take every ready message out and write it as a line of JSON that `load` reads",
        "A message is acknowledged only\nafter its line was written: it is in the queue or in the output, or in both, never in neither.\n"
        "A delay, a ttl and the time of publish do not travel. Exit code 3 when the queue was empty.",
    )
    _queue(command)
    command.add_argument(
        "--lease", metavar="SECONDS", type=lease, default=30.0, help="how long a message takes to come back when this dies (default 30)"
    )


def utf8(text: str) -> str:
    """What goes into a request, where text is UTF-8; a command line may have any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it is not UTF-8") from None  # and may be a password
    return text


def seconds(text: str) -> float:
    """A length of time: 0 or more seconds."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise ValueError
    return value


def lease(text: str) -> float:
    """The length of a lease: above 0 seconds."""
    if not (value := seconds(text)):
        raise ValueError
    return value


def positive(text: str) -> int:
    """A number of things: 1 or more."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def header(text: str) -> tuple[str, str]:
    """A header, NAME=VALUE."""
    name, equals, value = utf8(text).partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is no header; write NAME=VALUE")
    return name, value
