"""A real MariaDB for the tests: Debian's server with a data folder of its own, on a port of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ports import free_port

USER = "gmq"
PASSWORD = 'it\'s "s3cret" \\ /@ü'
START_TIMEOUT = 60.0
LOG_SIZE = "--innodb-log-file-size=32M"

FOLDER = "GMQ_TEST_MARIADB_FOLDER"
"""The variable that tells the workers of a test run where the servers are that they share."""

MISSING = (
    None if shutil.which("mariadbd") and shutil.which("mariadb-install-db")
    else "MariaDB is not installed: apt-get install mariadb-server"
)  # fmt: skip
"""Why there can be no server; None where there can be."""


class MariaDb:
    """A server process. `sql` runs statements as its administrator."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = 0
        self.pid = 0
        self._options = options

    def start(self) -> None:
        """Start, on the port of the last start if there was one, and wait until it serves."""
        data = self.folder / "data"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not data.exists():
            shutil.copytree(installed(), data)
        self.port = self.port or free_port()
        command = [
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--port={self.port}", f"--bind-address={self.host}",
            f"--socket={self.socket}", f"--pid-file={self.folder / 'pid'}", "--innodb-buffer-pool-size=64M", LOG_SIZE,
            "--max-connections=500", "--performance-schema=OFF", *as_user(), *self._options,
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        self.pid = process.pid
        deadline = time.monotonic() + START_TIMEOUT
        while not self._serves():
            assert process.poll() is None, f"MariaDB ended at its start:\n{(self.folder / 'log').read_text()[-3000:]}"
            assert time.monotonic() < deadline, f"MariaDB did not serve within {START_TIMEOUT} s"
            time.sleep(0.05)
        self._process = process

    @property
    def socket(self) -> str:
        return f"/tmp/gmq-test-{zlib.crc32(bytes(self.folder)):08x}.sock"  # a path in the folder may be too long

    def _serves(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), 1) as connection:
                return bool(connection.recv(1))
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        """Let it hang."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def sql(self, statements: str, database: str = "") -> list[list[str]]:
        """Run statements as the administrator; the rows that they give."""
        return administer(self.host, self.port, statements, database)

    def create(self) -> str:
        """An empty database for our user; its name."""
        return create_database(self.host, self.port)


def as_user() -> Sequence[str]:
    """Options that let the programs run as whoever runs the tests."""
    return ["--user=root"] if os.getuid() == 0 else []


def installed() -> Path:
    """A folder with the data of a new server, made once for a test run."""
    folder = Path(os.environ[FOLDER])
    data = folder / "new"
    with (folder / "new.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            made = folder / "making"
            shutil.rmtree(made, ignore_errors=True)
            command = [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={made}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]
            options = ["--innodb-buffer-pool-size=32M", LOG_SIZE]
            done = subprocess.run([*command, *options, *as_user()], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"no data folder for MariaDB: {done.stdout[-3000:]}{done.stderr[-3000:]}"
            made.rename(data)
    return data


def administrator(host: str, port: int) -> list[str]:
    """The administrator's command line."""
    return ["mariadb", "--no-defaults", "-uroot", f"-h{host}", f"-P{port}", "-N", "-B", "--default-character-set=utf8mb4"]


def administer(host: str, port: int, statements: str, database: str = "") -> list[list[str]]:
    """Run statements as the administrator; the rows that they give."""
    command = [*administrator(host, port), "-e", statements]
    done = subprocess.run([*command, *([database] if database else [])], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{statements}: {done.stderr}"
    return [line.split("\t") for line in done.stdout.splitlines()]


class Session:
    """A connection of the administrator that stays open, for statements that hold locks."""

    def __init__(self, host: str, port: int, database: str) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._process = subprocess.Popen([*administrator(host, port), "-n", database], text=True, **pipes)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, statements: str) -> list[list[str]]:
        """Run statements; the rows that they give."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{statements}; SELECT 'these were all';\n")
        self._process.stdin.flush()
        rows: list[list[str]] = []
        while (line := self._process.stdout.readline()) != "these were all\n":
            assert line, f"{statements}: {rows}"
            rows.append(line.rstrip("\n").split("\t"))
        return rows


def create_database(host: str, port: int) -> str:
    """An empty database for our user; its name."""
    name = f"gmq_{uuid4().hex[:12]}"
    password = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    administer(
        host, port, f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{password}'; CREATE DATABASE {name}; "
        f"GRANT ALL ON {name}.* TO '{USER}'@'%'",
    )  # fmt: skip
    return name


def section(port: int, database: str, **more: Any) -> dict[str, Any]:
    """The section `mysql` of a broker's configuration, and the choice of the storage."""
    mysql = {"host": MariaDb.host, "port": port or None, "database": database, "user": USER, "password": PASSWORD, **more}
    return {"storage": {"type": "mysql"}, "mysql": {name: value for name, value in mysql.items() if value is not None}}


class SharedMariaDb:
    """A server that several test processes use."""

    def __init__(self, port: int) -> None:
        self.host = MariaDb.host
        self.port = port

    def sql(self, statements: str, database: str = "") -> list[list[str]]:
        """Run statements as the administrator; the rows that they give."""
        return administer(self.host, self.port, statements, database)

    def create(self) -> str:
        """An empty database for our user; its name."""
        return create_database(self.host, self.port)


def shared_server() -> int:
    """The port of the server that all workers of a test run share; whoever comes first starts it."""
    folder = Path(os.environ[FOLDER])
    note = folder / "mariadb.json"
    with (folder / "mariadb.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if note.exists():
            started: dict[str, int] = json.loads(note.read_text())
            return started["port"]
        server = MariaDb(folder / "mariadb")
        server.start()
        note.write_text(json.dumps({"port": server.port, "pid": server.pid}))
        return server.port


@contextmanager
def running(folder: Path, *options: str) -> Iterator[MariaDb]:
    """A server with a folder and options of its own, killed at the end; the test is skipped where there can be none."""
    if MISSING:
        pytest.skip(MISSING)
    server = MariaDb(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def stop_shared_server(folder: Path) -> None:
    """Stop it, when all are done."""
    note = folder / "mariadb.json"
    if note.exists():
        os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
        note.unlink()


def script_section(script: str) -> dict[str, Any]:
    """A broker's configuration for an empty database at the server that a script starts.

    The script prints a data source name when it is called with `up`, and runs SQL as the administrator when called with `sql`.
    """
    dsn = run_script(script, "up").splitlines()[-1]
    name = f"gmq_{uuid4().hex[:12]}"
    run_script(script, "sql", f"CREATE DATABASE {name}; GRANT ALL ON {name}.* TO gmq@'%'")
    return {"storage": {"type": "mysql"}, "database": {"vendor": "mysql", "dsn": dsn.rpartition("/")[0] + f"/{name}"}}


def run_script(script: str, *arguments: str) -> str:
    """What a script says; one call at a time on this machine."""
    with Path("/tmp/gmq-test-servers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([script, *arguments], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{script} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout.strip()
