"""The command line: what is measured, in which order."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks import footprints, report
from benchmarks.contender import playing
from benchmarks.load import BenchmarkError
from benchmarks.results import Results
from benchmarks.rounds import QUICK, Effort, play
from benchmarks.sections import SECTIONS, Section
from benchmarks.servers import Cores, Entrant, Server
from benchmarks.yardsticks import IN_MEMORY, file_system

START_UP: Final = "startup"
MEMORY: Final = "memory"
PARTS: Final = ("latency", "publish", "queues", "take", "lease", "batch", START_UP, MEMORY, "stream", "polls")


def main() -> int:
    chosen = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    gc.disable()  # a pause of ours would be read as the server's; what is made here is freed without it
    effort = replace(QUICK if chosen.quick else Effort(), **({"rounds": chosen.rounds} if chosen.rounds else {}))
    tempfile.tempdir = str(chosen.folder)
    cores = Cores.pick()
    os.sched_setaffinity(0, {cores.generator})
    if file_system(chosen.folder).startswith(IN_MEMORY):
        _say(f"{chosen.folder} is kept in memory: the durable figures prove nothing. --folder takes one that is on a disk.")
    if cores.shared:
        _say("Only one core may be used: the load generator runs on the servers', and takes its time from them.")
    try:
        return _run(chosen, effort, cores)
    except (BenchmarkError, OSError) as error:
        print(f"The benchmark failed, and has no results: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(chosen: argparse.Namespace, effort: Effort, cores: Cores) -> int:
    done: list[tuple[Section, Results]] = []
    versions: dict[str, str] = {}
    for section in SECTIONS:
        if section.name not in chosen.sections:
            continue
        if section.database and not section.database.installed:
            _say(f"The section {section.name} is left out: {section.database.remedy}")
            continue
        entrants = _installed(section, chosen.servers)
        versions |= {entrant.name: entrant.version() for entrant in entrants}
        results = _measure(section, entrants, chosen.only, replace(effort, requests=min(effort.requests, section.requests)), cores)
        done.append((section, results))
        print(report.show(section, results, effort), flush=True)
    about = report.machine(cores, chosen.folder, versions)
    print(", ".join(f"{name}: {value}" for name, value in about.items()))
    if chosen.json:
        chosen.json.write_text(report.document(about, effort, done))
    missed = [title for section, results in done for title in report.misses(section, results)]
    return 1 if missed and chosen.strict else 0


def _measure(section: Section, entrants: Sequence[Entrant], parts: Sequence[str], effort: Effort, cores: Cores) -> Results:
    results = Results()
    servers = [entrant for entrant in entrants if isinstance(entrant, Server)]
    if START_UP in parts and section.footprints:
        _say("start-up")
        footprints.start_ups(servers, cores, effort, results)
    if MEMORY in parts and section.footprints:
        _say("memory")
        footprints.memory(servers, cores, effort, results)
    for part, measure in section.alone:
        if part in parts:
            _say(part)
            measure(cores, results)
    rows = [row for row in section.rows if row.part in parts]
    if rows and entrants:
        with ExitStack() as stack:
            if section.database:
                stack.enter_context(section.database.running(cores))
            play([stack.enter_context(playing(entrant, cores)) for entrant in entrants], rows, effort, results, _say)
    return results


def _installed(section: Section, names: Sequence[str]) -> list[Entrant]:
    """The entrants of a section that are wanted and here; the others are told about."""
    wanted = [entrant for entrant in section.entrants if entrant.name in names]
    for entrant in wanted:
        if not entrant.installed:
            _say(f"{entrant.name} is not installed and is left out: {entrant.remedy}")
    return [entrant for entrant in wanted if entrant.installed]


def _arguments() -> argparse.Namespace:
    servers = list(dict.fromkeys(entrant.name for section in SECTIONS for entrant in section.entrants))
    sections = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the broker beside its peers.")
    parser.add_argument("--rounds", type=int, help=f"how often everything is measured (default {Effort().rounds})")
    parser.add_argument("--quick", action="store_true", help="a smoke test of under a minute; its figures prove little")
    parser.add_argument("--only", type=_some(PARTS), default=PARTS, metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--servers", type=_some(servers), default=servers, metavar="SERVER,...", help=f"of {', '.join(servers)}")
    parser.add_argument("--sections", type=_some(sections), default=sections, metavar="SECTION,...", help=f"of {', '.join(sections)}")
    parser.add_argument(
        "--folder",
        type=_folder,
        default=Path("/var/tmp"),
        metavar="DIR",
        help="what is written goes there: a folder on the disk to measure",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured there, too")
    parser.add_argument("--strict", action="store_true", help="end with 1 when a figure is missed")
    return parser.parse_args()


def _some(names: Sequence[str]) -> Callable[[str], list[str]]:
    """A reader of comma-separated words out of `names`."""

    def read(text: str) -> list[str]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        for word in words:
            if word not in names:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(names)}")
        return words

    return read


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no folder")
    return folder


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """End as on Ctrl-C, so that no server is left behind."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
