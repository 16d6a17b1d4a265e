"""The command line of the broker."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvloop

import gmq
from gmq import config, log
from gmq.config import ConfigError
from gmq.server.app import StartError, serve

EXIT_FAILED = 1
EXIT_CONFIG = 2

_EPILOG = """\
exit codes: 0 stopped by SIGTERM or SIGINT after draining, 1 could not start or failed, 2 the configuration or the command line is wrong

Without a file the broker listens on the loopback addresses only. docs/configuration.md describes every setting.
"""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(
        prog="gmqserver", description="The GMQ message broker.", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("-f", metavar="FILE", type=Path, help=f"the configuration file (default: {config.DEFAULT_FILE}, where it exists)")
    flags.add_argument("--check-config", metavar="FILE", type=Path, help="say whether a configuration file is good, and exit")
    flags.add_argument("--version", action="version", version=f"gmqserver {gmq.__version__}")
    return flags


def main() -> int:
    """Run the broker; the result is the exit code."""
    arguments = parser().parse_args()
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


if __name__ == "__main__":
    sys.exit(main())
