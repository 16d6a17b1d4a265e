"""The sections of the benchmark: servers under configurations that promise the same, the work they get, and the figures to reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks import http_footprints, targets
from benchmarks.mariadb import GmqOnMariaDb, MariaDb
from benchmarks.plain_sql import PlainSql
from benchmarks.results import Results
from benchmarks.servers import BareHttp, Beanstalkd, Cores, Echo, Entrant, Gmq, HttpGmq, Nats, Redis
from benchmarks.targets import Target
from benchmarks.work import Row, durable_rows, http_rows, rows, sql_rows
from benchmarks.yardsticks import Disk


@dataclass(frozen=True, slots=True)
class Section:
    name: str  # on the command line
    title: str
    entrants: tuple[Entrant, ...]
    rows: tuple[Row, ...]
    targets: tuple[Target, ...]
    footprints: bool = False  # whether start-up and memory are measured
    requests: int = 800  # of a block of latencies, at most
    database: MariaDb | None = None  # that runs beside its servers
    alone: tuple[tuple[str, Callable[[Cores, Results], None]], ...] = ()  # what is measured by itself, by its part


_DATABASE: Final = MariaDb()

# Redis rewrites a log that has grown, beside its work, and would take the others' time with it: that is off.
_DURABLE_REDIS: Final = Redis("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")

SECTIONS: Final = (
    Section(
        "memory",
        "In memory: everything is lost at exit",
        (Echo(), Gmq(), Redis(), Beanstalkd(), Nats()),
        rows(),
        targets.MEMORY,
        footprints=True,
    ),
    Section(
        "durable",
        "Durable: a reply says that the disk has it",
        (Echo(), Disk(), Gmq("filesystem"), _DURABLE_REDIS, Beanstalkd(sync=True), Nats("file")),
        durable_rows(),
        targets.DURABLE,
        requests=150,
    ),
    Section(
        "sql",
        "On a database: a reply says that the transaction was committed",
        (GmqOnMariaDb(_DATABASE), PlainSql(_DATABASE)),
        sql_rows(),
        targets.SQL,
        requests=50,
        database=_DATABASE,
    ),
    Section(
        "http",
        "Over HTTP, in memory",
        (BareHttp(), HttpGmq()),
        http_rows(),
        targets.HTTP,
        requests=150,
        alone=(("stream", http_footprints.stream), ("polls", http_footprints.polls)),
    ),
)
