"""The sections of the benchmark: servers under configurations that promise the same, the work they get, and the figures to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks import targets
from benchmarks.servers import Beanstalkd, Echo, Gmq, Nats, Redis, Server
from benchmarks.targets import Target
from benchmarks.work import Row, rows


@dataclass(frozen=True, slots=True)
class Section:
    name: str  # on the command line
    title: str
    servers: tuple[Server, ...]
    rows: tuple[Row, ...]
    targets: tuple[Target, ...]


SECTIONS: Final = (
    Section("memory", "In memory: everything is lost at exit", (Echo(), Gmq(), Redis(), Beanstalkd(), Nats()), rows(), targets.MEMORY),
)
