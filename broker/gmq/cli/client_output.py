"""What gmqclient says, where it says it, and how it ends."""

from __future__ import annotations

import enum
import functools
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO


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


def check_output() -> None:
    """See that there are the standard streams to write to, which whoever starts us may have closed. Raises Failure without an output."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # print would talk on standard output without it
    if sys.stdout is None:
        raise Failure("standard output is closed", Exit.USAGE)


def standard_input() -> TextIO:
    """Standard input. Raises Failure where it is closed."""
    if sys.stdin is None:
        raise Failure("standard input is closed, and there is nothing to read", Exit.USAGE)
    return sys.stdin


def say(text: str) -> None:
    """Talk to the person: on standard error, so that standard output holds data only."""
    print(f"gmqclient: {text}", file=sys.stderr)


def messages(count: int) -> str:
    """So many messages, in words."""
    return f"{count} message" if count == 1 else f"{count} messages"


def write(data: bytes) -> None:
    """Write data to standard output, and return when it has left. Raises Failure, BrokenPipeError when nobody reads, KeyboardInterrupt.

    The reader may be stuck for ever, and a signal that comes just before a call that blocks does not end that call. So no write blocks: a
    poll waits, which a signal ends whenever it comes.
    """
    interruptions = watch_interruptions()
    sys.stdout.flush()
    descriptor = sys.stdout.fileno()
    left = memoryview(data)
    while left:
        interruptions.wait_for(descriptor)
        try:
            left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]  # so many go into a pipe that takes any
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Failure(f"cannot write to standard output: {error.strerror}") from error


class Interruptions:
    """Knows that the user pressed Ctrl-C, also where Python forgot it: a KeyboardInterrupt in a destructor or the like is lost.

    The system's signal handler writes into a pipe of ours, where the interruption is then found. SIGTERM is an interruption too: it ends a
    pod, and the first process of a container, which this may be, would not be ended by it otherwise.
    """

    def __init__(self) -> None:
        self._signals, wake = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt where there was one."""
        with suppress(BlockingIOError):
            if {signal.SIGINT, signal.SIGTERM}.intersection(os.read(self._signals, select.PIPE_BUF)):
                raise KeyboardInterrupt

    def wait_for(self, descriptor: int) -> None:
        """Wait until something can be written, or raise KeyboardInterrupt."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.register(self._signals, select.POLLIN)
        while True:
            ready = [one for one, _ in poll.poll()]
            if self._signals in ready:
                self.check()
            if descriptor in ready:
                return


@functools.cache
def watch_interruptions() -> Interruptions:
    """What knows of interruptions from the first call on, which has to be made in the main thread."""
    return Interruptions()


def abandon_output() -> None:
    """Drop what standard output still holds: nobody reads it, and Python would try to write it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
