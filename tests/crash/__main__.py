"""A longer run: `make crash`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import mariadb
from crash.harness import FILESYSTEM, KilledBroker, Plan, Served, StoppedBroker, run
from crash.mixes import MIXES
from crash.on_mariadb import on_killed_mariadb

ROUND = 30
"""Ends between two drains."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(
        prog="make crash", description="Kill what serves under load, again and again, and check what clients were told."
    )
    flags.add_argument("--kills", type=int, default=1000, help="how many in all (default: 1000)")
    flags.add_argument("--round", type=int, default=ROUND, help=f"how many before all queues are drained and checked (default: {ROUND})")
    flags.add_argument("--seed", type=int, help="of the first round; the next has the next one (default: by chance)")
    flags.add_argument("--mix", choices=MIXES, help="what the clients do (default: one after the other)")
    flags.add_argument(
        "--what", choices=("kill", "stop", "mariadb"), default="kill", help="kill or stop a broker with files, or kill a database"
    )
    return flags


def main() -> int:
    arguments = parser().parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    done = rounds = 0
    while done < arguments.kills:
        mix = MIXES[arguments.mix] if arguments.mix else list(MIXES.values())[rounds % len(MIXES)]
        plan = Plan(mix, seed + rounds, min(arguments.round, arguments.kills - done))
        folder = Path(tempfile.mkdtemp(prefix="gmq-crash-"))
        began = time.monotonic()
        say(f"{done} done; now: {plan.replay(arguments.what)}")
        if arguments.what == "mariadb":
            os.environ[mariadb.FOLDER] = str(folder)
            report = on_killed_mariadb(plan, folder)
        else:
            served: Served = (StoppedBroker if arguments.what == "stop" else KilledBroker)(folder, FILESYSTEM)
            report = run(plan, served)
        if report.faults:
            say(f"{report.told()}\n{plan.replay(arguments.what)}; the files are in {folder}")
            return 1
        say(f"  {time.monotonic() - began:.1f} s: {report}")
        shutil.rmtree(folder)
        done += plan.ends
        rounds += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
