"""The command line: what is measured, in which order."""

from __future__ import annotations

import argparse
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks import footprints, report
from benchmarks.contender import Contender
from benchmarks.load import BenchmarkError
from benchmarks.results import Results
from benchmarks.rounds import QUICK, Effort, play
from benchmarks.sections import SECTIONS, Section
from benchmarks.servers import Cores, Server, running

START_UP: Final = "startup"
MEMORY: Final = "memory"
PARTS: Final = ("latency", "publish", "take", "lease", "batch", START_UP, MEMORY)


def main() -> int:
    chosen = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    gc.disable()  # a pause of ours would be read as the server's; what is made here is freed without it
    effort = replace(QUICK if chosen.quick else Effort(), **({"rounds": chosen.rounds} if chosen.rounds else {}))
    cores = Cores.pick()
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
        servers = _installed(section, chosen.servers)
        versions |= {server.name: server.version() for server in servers}
        results = _measure(section, servers, chosen.only, effort, cores)
        done.append((section, results))
        print(report.show(section, results, effort), flush=True)
    about = report.machine(cores, versions)
    print(", ".join(f"{name}: {value}" for name, value in about.items()))
    if chosen.json:
        chosen.json.write_text(report.document(about, effort, done))
    missed = [title for section, results in done for title in report.misses(section, results)]
    return 1 if missed and chosen.strict else 0


def _measure(section: Section, servers: Sequence[Server], parts: Sequence[str], effort: Effort, cores: Cores) -> Results:
    results = Results()
    if START_UP in parts:
        _say("start-up")
        footprints.start_ups(servers, cores, effort, results)
    if MEMORY in parts:
        _say("memory")
        footprints.memory(servers, cores, effort, results)
    rows = [row for row in section.rows if row.part in parts]
    if rows:
        with ExitStack() as stack:
            processes = [stack.enter_context(running(server, cores)) for server in servers]
            contenders = [stack.enter_context(closing(Contender(process))) for process in processes]
            play(contenders, rows, effort, results, _say)
    return results


def _installed(section: Section, names: Sequence[str]) -> list[Server]:
    """The servers of a section that are wanted and here; the others are told about."""
    wanted = [server for server in section.servers if server.name in names]
    for server in wanted:
        if not server.installed:
            _say(f"{server.name} is not installed and is left out: {server.remedy}")
    return [server for server in wanted if server.installed]


def _arguments() -> argparse.Namespace:
    servers = list(dict.fromkeys(server.name for section in SECTIONS for server in section.servers))
    sections = [section.name for section in SECTIONS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the broker beside its peers.")
    parser.add_argument("--rounds", type=int, help=f"how often everything is measured (default {Effort().rounds})")
    parser.add_argument("--quick", action="store_true", help="a smoke test of under a minute; its figures prove little")
    parser.add_argument("--only", type=_some(PARTS), default=PARTS, metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--servers", type=_some(servers), default=servers, metavar="SERVER,...", help=f"of {', '.join(servers)}")
    parser.add_argument("--sections", type=_some(sections), default=sections, metavar="SECTION,...", help=f"of {', '.join(sections)}")
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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """End as on Ctrl-C, so that no server is left behind."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
