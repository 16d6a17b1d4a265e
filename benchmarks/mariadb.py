"""A MariaDB of the benchmark's own, and the broker on it."""

from __future__ import annotations

import contextlib
import getpass
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.load import BenchmarkError, blaming, connect
from benchmarks.servers import RETRY, Child, Cores, Gmq, daemon, free_port

NAME: Final = "gmq"  # of the database, its user and the user's password
_START: Final = (  # one statement on each line
    f"CREATE DATABASE {NAME};",
    f"CREATE USER '{NAME}'@'%' IDENTIFIED BY '{NAME}';",
    f"GRANT ALL ON {NAME}.* TO '{NAME}'@'%';",
)


class MariaDb:
    """Debian's MariaDB with its default settings and a data folder of its own, alone on the servers' core."""

    remedy = "apt-get install mariadb-server"
    _install = "mariadb-install-db"

    def __init__(self) -> None:
        self.port = 0
        self._child: Child | None = None

    @property
    def installed(self) -> bool:
        return all(Path(daemon(name)).is_absolute() for name in ("mariadbd", self._install))

    def version(self) -> str:
        said = subprocess.run([daemon("mariadbd"), "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"\d+(\.\d+)+", said)
        return f"MariaDB {found[0] if found else said.strip()}"

    def cpu(self) -> float:
        """Seconds of processor time used so far."""
        return self._child.cpu() if self._child else 0.0

    @contextmanager
    def running(self, cores: Cores) -> Iterator[None]:
        """Run it for as long as the block lasts."""
        with tempfile.TemporaryDirectory(prefix="gmq-bench-", ignore_cleanup_errors=True) as name, blaming("mariadbd"):
            folder = Path(name)
            data, user = f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}"
            install = [daemon(self._install), "--no-defaults", data, user, "--auth-root-authentication-method=normal", "--skip-test-db"]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchmarkError(f"It has no data folder:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            (folder / "start.sql").write_text("\n".join(_START) + "\n")
            self.port = free_port()
            command = [
                daemon("mariadbd"),
                "--no-defaults",
                data,
                user,
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--socket={folder / 'socket'}",
                f"--pid-file={folder / 'pid'}",
                f"--init-file={folder / 'start.sql'}",
                "--innodb-flush-log-at-trx-commit=1",
            ]
            self._child = Child("mariadbd", command, cores.server, folder)
            try:
                self._await(self._child)
                yield
            finally:
                self._child.stop()

    def _await(self, child: Child) -> None:
        """Wait until it listens, which is after the statements of its start."""
        while True:
            child.check()
            with contextlib.suppress(ConnectionRefusedError):
                connect(self.port).close()
                return
            time.sleep(RETRY)


class GmqOnMariaDb(Gmq):
    """The broker, beside the load generator: whoever is measured, the database has a core to itself."""

    def __init__(self, database: MariaDb) -> None:
        super().__init__("mysql")
        self._database = database

    def config(self, port: int, folder: Path) -> dict[str, object]:
        database = {"host": "127.0.0.1", "port": self._database.port, "user": NAME, "password": NAME, "database": NAME}
        return super().config(port, folder) | {"storage": {"type": "mysql"}, "mysql": database}

    def core(self, cores: Cores) -> int:
        return cores.generator
