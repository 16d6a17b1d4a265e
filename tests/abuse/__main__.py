"""Long attacks: coverage-guided ones with atheris, `make abuse ARGS="--runs 1000000"`, then crowds of clients and a soak.

`make abuse ARGS="load --seconds 60"` and `make abuse ARGS="soak --seconds 600"` are these alone. What CI runs of them takes seconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from abuse import soak
from abuse.targets import TARGETS

RUNS = {"requests": 4_000_000, "framing": 2_000_000, "configuration": 3_000_000, "journal": 500_000, "queue-file": 500_000}
"""Executions of each target, ten million together."""
MEMORY = 2048
"""MiB that an attack may take."""
SLOW = 10
"""Seconds after which one execution counts as one that hangs."""


LONG = {"load": soak.crowds, "soak": soak.soak}
"""Attacks on a whole broker; each gets the seconds that were asked for, 0 where none were, and returns 0 where every promise was kept."""


def main() -> int:
    """Attack each target in a process of its own; the exit code is 1 where one of them broke a promise."""
    parser = argparse.ArgumentParser(prog="python -m abuse", description="Attacks parts of the broker with bytes, guided by coverage.")
    parser.add_argument(
        "targets", nargs="*", choices=[*TARGETS, *LONG, []], help=f"what to attack: {', '.join([*TARGETS, *LONG])} (default: all)"
    )
    parser.add_argument("--runs", type=int, help="executions of each (default: ten million together)")
    parser.add_argument(
        "--seconds", type=int, default=0, help="stop each after so long (default: never; each crowd after 60, the soak after two hours)"
    )
    parser.add_argument("--corpus", type=Path, help="folder of inputs to begin with and to add to (default: a new one)")
    options = parser.parse_args()
    failed = []
    for target in options.targets or [*TARGETS, *LONG]:
        began = time.monotonic()
        code = LONG[target](options.seconds) if target in LONG else attack(target, options)
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        print(f"{target}: {'a promise is broken' if code else 'good'}, {time.monotonic() - began:.0f} s, {used} MiB at most", flush=True)
        if code:
            failed.append(target)
    return 1 if failed else 0


def attack(target: str, options: argparse.Namespace) -> int:
    """Run atheris on a target; an input that breaks a promise is left in the working directory, and told."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        corpus = (options.corpus or Path(made)) / target
        corpus.mkdir(parents=True, exist_ok=True)
        limits = [
            f"-runs={options.runs or RUNS[target]}",
            f"-max_total_time={options.seconds}",
            f"-rss_limit_mb={MEMORY}",
            f"-timeout={SLOW}",
        ]
        command = [sys.executable, "-m", "abuse.fuzz", target, *limits, "-max_len=2048", "-print_final_stats=1", str(corpus)]
        return subprocess.run(command, check=False, env={**os.environ, "TMPDIR": made}).returncode


if __name__ == "__main__":
    sys.exit(main())
