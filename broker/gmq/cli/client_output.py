"""What gmqclient says, where it says it, and how it ends."""

from __future__ import annotations

import enum
import functools
import os
import select
import signal
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
    """Write data to standard output, and return when it has left. Raises OSError, BrokenPipeError when nobody reads.

    To be called from the main thread, in which KeyboardInterrupt ends it.
    """
    _output().write(data)


class Output:
    """Standard output, whose reader may be stuck for ever.

    A signal that comes just before a call that blocks is noticed after the call, which may be never. So no write blocks: a poll waits, and
    the system's signal handler ends it by writing into a pipe of ours, whenever the signal comes.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stdout.fileno()
        self._signals, wake = os.pipe()
        os.set_blocking(self._signals, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)
        self._poll.register(self._signals, select.POLLIN)

    def write(self, data: bytes) -> None:
        sys.stdout.flush()
        left = memoryview(data)
        while left:
            self._wait()
            left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]  # so many go into a pipe that takes any

    def _wait(self) -> None:
        """Wait until the reader takes something; an interruption raises what it raises."""
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll()]
            if self._signals in ready:
                os.read(self._signals, select.PIPE_BUF)
            if self._descriptor in ready:
                return


@functools.cache
def _output() -> Output:
    return Output()


def abandon_output() -> None:
    """Drop what standard output still holds: nobody reads it, and Python would try to write it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
