"""The command `gmqserver`: what has to come before everything else, and then `server.py`."""

import sys

from gmq.mortal import end_at_signals


def main() -> int:
    """Run the broker, or another command; the result is the exit code."""
    end_at_signals()
    from gmq.cli.server import run  # noqa: PLC0415  # takes a part of a second, in which a container may be told to stop

    return run()


if __name__ == "__main__":
    sys.exit(main())
