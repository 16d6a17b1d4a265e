"""A broker that stays up while its MariaDB is killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from broker_process import Broker
from crash.checker import Report, Rules
from crash.harness import POLICIES, Plan, run
from mariadb import MariaDb, section

RULES = Rules(ordered=False, early=0.02, late=3.0)


class KilledMariaDb:
    """A database that gets SIGKILL, and comes back on the same files."""

    survives = True

    def __init__(self, folder: Path) -> None:
        self.database = MariaDb(folder / "mariadb", "--innodb-flush-log-at-trx-commit=1")
        self.database.start()
        self._running = True
        self.broker = Broker(folder, {**section(self.database.port, self.database.create()), "policies": POLICIES})

    def start(self) -> None:
        """Both: the first time the broker, later the database."""
        if not self._running:
            self.database.start()
            self._running = True
        if self.broker.process is None:
            self.broker.start()

    def end(self) -> None:
        self.database.kill()
        self._running = False

    def faults(self) -> list[str]:
        return []

    def close(self) -> None:
        if self._running:
            self.end()


def on_killed_mariadb(plan: Plan, folder: Path) -> Report:
    """Load and kill it as planned."""
    served = KilledMariaDb(folder)
    try:
        return run(replace(plan, rules=RULES), served)
    finally:
        served.close()
