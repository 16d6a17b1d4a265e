"""The command `gmqserver`: what has to come before everything else, and then `server.py`."""

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the broker, or another command; the result is the exit code."""
    if os.getpid() == 1:
        _mortal()
    from gmq.cli.server import run  # noqa: PLC0415  # takes a part of a second, in which a container may be told to stop

    return run()


def _mortal() -> None:
    """End at a signal that has no handler yet, as any other process would: the system does not do that for the first one of a container."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _die)


def _die(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)  # the code that a shell gives for such an end


if __name__ == "__main__":
    sys.exit(main())
