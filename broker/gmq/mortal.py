"""The first process of a container: the system spares it from signals that it has no handler for."""

import os
import signal
from types import FrameType


def end_at_signals() -> None:
    """Until there are other handlers, end at SIGTERM and SIGINT as any other process would. Does nothing where this is not process 1."""
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)  # the code that a shell gives for such an end
