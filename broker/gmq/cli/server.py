"""The command line of the broker, and what its commands do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from getpass import getpass
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop

import gmq
from gmq import config, log
from gmq.cli.client_output import abandon_output
from gmq.config import ConfigError
from gmq.server.app import StartError, serve
from gmq.storage.base import StorageError

EXIT_FAILED = 1
EXIT_CONFIG = 2
EXIT_DAMAGED = 1
EXIT_NOT_READ = 2

_USAGE = """gmqserver [-h] [-f FILE] [--check-config FILE] [--version]
       gmqserver journal inspect [--limit N] PATH
       gmqserver journal verify DIR
       gmqserver hash-password"""

_EPILOG = """\
exit codes: 0 stopped by SIGTERM or SIGINT after draining, 1 could not start or failed, 2 the configuration or the command line is wrong

Without a file the broker listens on the loopback addresses only, and keeps its queues in ./gmq-data. docs/configuration.md describes
every setting.
"""

_JOURNAL_EPILOG = """\
exit codes: 0 good, 1 damage was found (verify), 2 the command line is wrong, or there is nothing of GMQ's that this version can read

The files are read and not changed. docs/storage.md describes the files.
"""


_HASH_EPILOG = """\
The password is read from the terminal, twice and unseen, or from standard input: its first line. Each run gives another hash; all are good.
"""


def parser() -> argparse.ArgumentParser:
    """The flags, and the commands beside them."""
    flags = argparse.ArgumentParser(
        prog="gmqserver",
        usage=_USAGE,
        description="The GMQ message broker.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument("-f", metavar="FILE", type=Path, help=f"the configuration file (default: {config.DEFAULT_FILE}, where it exists)")
    flags.add_argument("--check-config", metavar="FILE", type=Path, help="say whether a configuration file is good, and exit")
    flags.add_argument("--version", action="version", version=f"gmqserver {gmq.__version__}")
    commands = flags.add_subparsers(dest="command", title="instead of serving", metavar="COMMAND", prog="gmqserver")
    journal = _command(commands, "journal", "look at the files that the filesystem storage keeps")
    ways = journal.add_subparsers(dest="way", required=True, metavar="COMMAND", title="commands")
    inspect = _command(ways, "inspect", "show what a file says, record by record")
    inspect.add_argument("path", metavar="PATH", type=Path, help="a file of the journal or of a queue, or the storage's folder")
    inspect.add_argument("--limit", metavar="N", type=_lines, help="stop after so many lines")
    _command(commands, "hash-password", "read a password and print its hash, for a configuration or a user's file", _HASH_EPILOG)
    verify = _command(ways, "verify", "read everything and say whether it is as it was written")
    verify.add_argument("folder", metavar="DIR", type=Path, help="the storage's folder, as storage.path names it")
    return flags


def _command(commands: Any, name: str, summary: str, epilog: str = _JOURNAL_EPILOG) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command


def _lines(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines: it must be 1 or more")
    return int(text)


def run() -> int:
    """Run the broker, or another command; the result is the exit code."""
    flags = parser()
    arguments = flags.parse_args()
    if arguments.command is None:
        return _serve(arguments)
    if arguments.f is not None or arguments.check_config is not None:
        flags.error("-f and --check-config do not go with a command")
    return _hash_password() if arguments.command == "hash-password" else _journal(arguments)


def _hash_password() -> int:
    from gmq.passwords import hash_password  # noqa: PLC0415  # serving may have no use for it

    if sys.stdin.isatty():
        try:
            password, again = getpass("password: "), getpass("once more: ")
        except (EOFError, KeyboardInterrupt):
            print("\ngmqserver: no password was given", file=sys.stderr)
            return EXIT_FAILED
        if password != again:
            print("gmqserver: the two are not the same", file=sys.stderr)
            return EXIT_FAILED
    else:
        try:
            password = sys.stdin.buffer.readline().decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:  # whose text would tell a part of it
            print("gmqserver: the password is not UTF-8", file=sys.stderr)
            return EXIT_FAILED
    if not password:
        print("gmqserver: the password is empty", file=sys.stderr)
        return EXIT_FAILED
    print(hash_password(password))
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    try:
        settings = config.load(arguments.check_config or arguments.f, os.environ)
        if arguments.check_config is not None:
            print(f"{arguments.check_config}: good")
            return 0
        log.configure(settings.log.path, settings.log.level, settings.log.format)
    except ConfigError as error:
        print(f"gmqserver: {error}", file=sys.stderr)
        return EXIT_CONFIG
    try:
        uvloop.run(serve(settings))
    except (StartError, OSError) as error:
        print(f"gmqserver: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _journal(arguments: argparse.Namespace) -> int:
    from gmq.storage.inspection import inspect, verify  # noqa: PLC0415  # serving has no use for them

    good = True
    try:
        if arguments.way == "inspect":
            _print(islice(inspect(arguments.path), arguments.limit))
        else:
            lines, good = verify(arguments.folder)
            _print(lines)
    except BrokenPipeError:
        abandon_output()  # the reader has all that it wanted
    except (StorageError, OSError) as error:
        print(f"gmqserver: {error}", file=sys.stderr)
        return EXIT_NOT_READ
    return 0 if good else EXIT_DAMAGED


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
    sys.stdout.flush()  # here, where a reader that is gone is no error
