"""The tables, in Markdown, and the JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.results import OURS, Footprint, Results, Sample, Spread
from benchmarks.rounds import Effort
from benchmarks.sections import Section
from benchmarks.servers import MIB, Cores
from benchmarks.work import Row
from benchmarks.yardsticks import file_system

NONE: Final = "-"
RATE: Final = ("operation", "bytes", "shape", "server", "thousand/s", "min", "max", "gmq is", "generator busy", "server busy")
LATENCY: Final = (
    "operation",
    "bytes",
    "server",
    "p50 us",
    "min",
    "max",
    "p99 us",
    "gmq takes",
    "thousand/s",
    "generator busy",
    "server busy",
)
FOOTPRINT: Final = ("server", "start-up ms", "min", "max", "idle MiB", "messages", "loaded MiB", "B per message")
TARGETS: Final = ("figure", "target", "measured", "")

Table = list[tuple[str, ...]]


def show(section: Section, results: Results, effort: Effort) -> str:
    """Every table of a section that has something to say."""
    rates = [row for row in results.samples if not row.shape.single]
    singles = [row for row in results.samples if row.shape.single]
    parts: list[tuple[str, tuple[str, ...], Table, int]] = [
        ("Thousand messages per second, median of the rounds", RATE, _per_server(results, rates, _rate_line), 4),
        ("One request in flight", LATENCY, _per_server(results, singles, _latency_line), 3),
        ("Start-up and memory", FOOTPRINT, [_footprint_line(*one) for one in results.footprints.items()], 1),
        ("Figures to reach", TARGETS, [(t.title, str(t), *_verdict(t.measure(results), t.unit, t.reached)) for t in section.targets], 2),
    ]
    head = f"# {section.title} ({effort.rounds} rounds)\n"
    return "\n".join([head, *(f"## {title}\n\n{_markdown(names, table, left)}" for title, names, table, left in parts if table)])


def misses(section: Section, results: Results) -> list[str]:
    """The figures that were measured and not reached."""
    measured = [(target, target.measure(results)) for target in section.targets]
    return [target.title for target, figure in measured if figure is not None and not target.reached(figure)]


def machine(cores: Cores, folder: Path, versions: Mapping[str, str]) -> dict[str, Any]:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    system = f"{platform.system()} {platform.release()}"
    return {
        "processor": model,
        "cores": os.cpu_count(),
        **asdict(cores),
        "folder": f"{folder} ({file_system(folder)})",
        "system": system,
        "python": platform.python_version(),
        "versions": dict(versions),
    }


def document(about: Mapping[str, Any], effort: Effort, sections: Sequence[tuple[Section, Results]]) -> str:
    """All of it as JSON, with each round's figures: messages per second, latencies in microseconds, memory in bytes, times in seconds."""
    made = {section.name: _section(section, results) for section, results in sections}
    return json.dumps({"machine": dict(about), "effort": asdict(effort), "sections": made}, indent=2) + "\n"


def _section(section: Section, results: Results) -> dict[str, Any]:
    rows = [
        {
            "operation": row.operation.value,
            "connections": row.shape.connections,
            "window": row.shape.window,
            "batch": row.shape.batch,
            "queues": row.shape.queues,
            "size": row.shape.size,
            "servers": {server: _figures(results, row, server) for server in results.samples[row]},
        }
        for row in results.samples
    ]
    targets = []
    for target in section.targets:
        measured = target.measure(results)
        reached = None if measured is None else target.reached(measured)
        targets.append(
            {"title": target.title, "bound": target.bound, "at_least": target.at_least, "measured": measured, "reached": reached}
        )
    footprints = {
        name: {**asdict(footprint), "per_message": footprint.per_message if footprint.messages else None}
        for name, footprint in results.footprints.items()
    }
    return {"rows": rows, "footprints": footprints, "figures": results.figures, "targets": targets}


def _figures(results: Results, row: Row, server: str) -> dict[str, Any]:
    figures: dict[str, Callable[[Sample], float]] = {
        "rate": Sample.rate,
        "generator_busy": Sample.generator_share,
        "server_busy": Sample.server_share,
    }
    if row.shape.single:
        figures |= {"p50": Sample.p50, "p99": Sample.p99}
    samples = results.samples[row][server]
    told: dict[str, Any] = {
        name: {**asdict(results.spread(row, server, figure)), "rounds": [figure(sample) for sample in samples]}
        for name, figure in figures.items()
    }
    compared = {f"gmq_{name}_ratio": results.ratio(row, server, figures[name]) for name in ("rate", "p50") if name in figures}
    told |= {name: asdict(ratio) for name, ratio in compared.items() if ratio}
    return told


def _per_server(results: Results, rows: Sequence[Row], line: Callable[[Results, Row, str], tuple[str, ...]]) -> Table:
    return [line(results, row, server) for row in rows for server in results.samples[row]]


def _rate_line(results: Results, row: Row, server: str) -> tuple[str, ...]:
    rate = [_thousands(figure) for figure in _spread(results, row, server, Sample.rate)]
    ratio = _ratio(results, row, server, Sample.rate)
    return (row.operation.value, str(row.shape.size), str(row.shape), server, *rate, ratio, *_busy(results, row, server))


def _latency_line(results: Results, row: Row, server: str) -> tuple[str, ...]:
    p50 = [f"{figure:.1f}" for figure in _spread(results, row, server, Sample.p50)]
    p99 = f"{results.spread(row, server, Sample.p99).median:.1f}"
    rate = _thousands(results.spread(row, server, Sample.rate).median)
    ratio = _ratio(results, row, server, Sample.p50)
    return (row.operation.value, str(row.shape.size), server, *p50, p99, ratio, rate, *_busy(results, row, server))


def _footprint_line(server: str, footprint: Footprint) -> tuple[str, ...]:
    start = footprint.start_up
    times = [f"{1000 * figure:.0f}" for figure in (start.median, start.least, start.most)] if start else [NONE] * 3
    idle = f"{footprint.idle / MIB:.1f}" if footprint.idle else NONE
    if not footprint.messages:
        return (server, *times, idle, NONE, NONE, NONE)
    return (server, *times, idle, f"{footprint.messages:,}", f"{footprint.loaded / MIB:.1f}", f"{footprint.per_message:.0f}")


def _verdict(measured: float | None, unit: str, reached: Callable[[float], bool]) -> tuple[str, str]:
    if measured is None:
        return NONE, "not measured"
    return f"{measured:.3g}{unit}", "pass" if reached(measured) else "MISS"


def _spread(results: Results, row: Row, server: str, figure: Callable[[Sample], float]) -> tuple[float, float, float]:
    spread = results.spread(row, server, figure)
    return spread.median, spread.least, spread.most


def _ratio(results: Results, row: Row, server: str, figure: Callable[[Sample], float]) -> str:
    ratio: Spread | None = None if server == OURS else results.ratio(row, server, figure)
    return f"{ratio.median:.2f} x" if ratio else NONE


def _busy(results: Results, row: Row, server: str) -> list[str]:
    return [f"{results.spread(row, server, figure).median:.0%}" for figure in (Sample.generator_share, Sample.server_share)]


def _thousands(figure: float) -> str:
    return f"{figure / 1000:,.1f}"


def _markdown(names: tuple[str, ...], table: Table, left: int) -> str:
    """A table whose first `left` columns are words and whose others are numbers."""
    widths = [max(map(len, column)) for column in zip(names, *table, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if place < left else cell.rjust(width) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if place < left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join([line(names), line(rule), *map(line, table)]) + "\n"
