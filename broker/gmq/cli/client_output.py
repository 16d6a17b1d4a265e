"""What gmqclient says, where it says it, and how it ends."""

from __future__ import annotations

import enum
import os
import sys


class Exit(enum.IntEnum):
    """The exit codes."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    EMPTY = 3
    INTERRUPTED = 130


class Failure(Exception):  # noqa: N818  # it carries an exit code, and reads well at its raise
    """Ends the command with a line on standard error."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Talk to the person: on standard error, so that standard output holds data only."""
    print(f"gmqclient: {text}", file=sys.stderr)


def messages(count: int) -> str:
    """So many messages, in words."""
    return f"{count} message" if count == 1 else f"{count} messages"


def write(data: bytes) -> None:
    """Write data to standard output, and return when it has left. Raises OSError, BrokenPipeError when nobody reads."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def abandon_output() -> None:
    """Drop what standard output still holds: nobody reads it, and Python would try to write it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
