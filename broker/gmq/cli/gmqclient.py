"""The command `gmqclient`: the original's flags, and subcommands for people.

It starts quickly: what a call does not need is not imported.
"""

from __future__ import annotations

import sys

from gmq.cli.client_output import Exit, Failure, abandon_output, check_output, say, watch_interruptions

OWN_FLAGS = ("-h", "--help", "--version")
"""What begins with a dash and is not for the original's flags."""


def main() -> int:
    """Run the command line's request and return the exit code."""
    arguments = sys.argv[1:]
    try:
        check_output()  # first of all: what is opened next would take the place of one that is missing
        watch_interruptions()
        return _run(arguments)
    except Failure as failure:
        say(str(failure))
        return failure.code
    except KeyboardInterrupt:
        abandon_output()  # or the exit would wait for a reader that is stuck
        return Exit.INTERRUPTED
    except BrokenPipeError:
        abandon_output()
        return Exit.DONE  # the reader has all that it wanted


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0].startswith("-") and arguments[0] not in OWN_FLAGS:
        from gmq.cli import client_original  # noqa: PLC0415  # only one of the two is needed

        return client_original.run(arguments)
    from gmq.cli import client_arguments  # noqa: PLC0415  # as above

    return client_arguments.run(arguments)
