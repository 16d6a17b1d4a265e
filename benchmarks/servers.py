"""The processes: how each server is started, on which core, what it uses, and how it is ended."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import dialects, http_dialects
from benchmarks.load import BenchmarkError, blaming, connect, converse

START: Final = 60  # seconds in which a server has to answer
STOP: Final = 15  # seconds from the request to end until it is made to
RETRY: Final = 0.002  # seconds between attempts to connect
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where; the same core twice on a machine that has only one."""

    server: int
    generator: int

    @classmethod
    def pick(cls) -> Cores:
        allowed = sorted(os.sched_getaffinity(0))
        return cls(server=allowed[-1], generator=allowed[0])

    @property
    def shared(self) -> bool:
        return self.server == self.generator


class Entrant(ABC):
    """What a section measures."""

    name: str

    @abstractmethod
    def version(self) -> str: ...

    @property
    @abstractmethod
    def installed(self) -> bool: ...

    @property
    @abstractmethod
    def remedy(self) -> str:
        """What brings it where it is not installed."""


class Server(Entrant):
    """A kind of server under one configuration."""

    keeps = True  # messages, so that its memory grows with them

    @property
    @abstractmethod
    def dialect(self) -> dialects.Dialect: ...

    @abstractmethod
    def command(self, port: int, folder: Path) -> list[str]:
        """The command that serves on `port` and keeps what it must in `folder`."""

    def core(self, cores: Cores) -> int:
        """Where it runs."""
        return cores.server

    @property
    def remedy(self) -> str:
        return f"apt-get install {self.name}"  # every peer is in the Debian package of its own name

    @property
    def installed(self) -> bool:
        return bool(shutil.which(self._program()))

    def _program(self) -> str:
        return daemon(self.name)

    def _ask_version(self, flag: str) -> str:
        said = subprocess.run([self._program(), flag], capture_output=True, text=True, check=True).stdout
        found = re.search(r"\d+(\.\d+)+", said)
        return found[0] if found else said.strip()


class Gmq(Server):
    """The broker of this repository."""

    name = "gmq"

    def __init__(self, storage: str = "memory") -> None:
        self._storage = storage

    @property
    def dialect(self) -> dialects.Dialect:
        return dialects.Gmq()

    def config(self, port: int, folder: Path) -> dict[str, object]:
        return {
            "auth": {"user": "bench", "password": "bench"},
            "network": {"port": str(port), "interface": "127.0.0.1"},
            "storage": {"type": self._storage, "path": str(folder / "data")},
            "limits": {"queue_messages": 2_000_000},
        }

    def command(self, port: int, folder: Path) -> list[str]:
        file = folder / "gmq.json"
        file.write_text(json.dumps(self.config(port, folder)))
        return [self._program(), "-f", str(file)]

    def version(self) -> str:
        return importlib.metadata.version("gmq")

    @property
    def remedy(self) -> str:
        return "make bench"

    def _program(self) -> str:
        return str(Path(sys.executable).with_name("gmqserver"))


class Echo(Server):
    """The ceiling, see echo.py."""

    name = "echo"
    keeps = False

    @property
    def dialect(self) -> dialects.Dialect:
        return dialects.Echo()

    def command(self, port: int, folder: Path) -> list[str]:  # noqa: ARG002
        return [self._program(), "-m", "benchmarks.echo", str(port)]

    def version(self) -> str:
        return f"uvloop {importlib.metadata.version('uvloop')}"

    def _program(self) -> str:
        return sys.executable


class HttpGmq(Gmq):
    """The broker of this repository, spoken to over HTTP."""

    @property
    def dialect(self) -> dialects.Dialect:
        return http_dialects.Http()

    def config(self, port: int, folder: Path) -> dict[str, object]:
        return {**super().config(free_port(), folder), "http": {"port": port, "interface": "127.0.0.1"}}


class BareHttp(Server):
    """A server that answers every request with 201, see bare.py."""

    name = "aiohttp"
    keeps = False

    @property
    def dialect(self) -> dialects.Dialect:
        return http_dialects.Bare()

    def command(self, port: int, folder: Path) -> list[str]:  # noqa: ARG002
        return [self._program(), "-m", "benchmarks.bare", str(port)]

    def version(self) -> str:
        return importlib.metadata.version("aiohttp")

    def _program(self) -> str:
        return sys.executable


class Redis(Server):
    name = "redis-server"

    def __init__(self, *settings: str) -> None:
        self._settings = settings or ("--appendonly", "no")

    @property
    def dialect(self) -> dialects.Dialect:
        return dialects.Redis()

    def command(self, port: int, folder: Path) -> list[str]:
        return [self._program(), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", "", *self._settings]

    def version(self) -> str:
        return self._ask_version("--version")


class Beanstalkd(Server):
    name = "beanstalkd"

    def __init__(self, *, sync: bool = False) -> None:
        self._sync = sync

    @property
    def dialect(self) -> dialects.Dialect:
        return dialects.Beanstalkd()

    def command(self, port: int, folder: Path) -> list[str]:
        log = ["-b", str(folder), "-f", "0"] if self._sync else []
        return [self._program(), "-l", "127.0.0.1", "-p", str(port), "-z", "70000", *log]

    def version(self) -> str:
        return self._ask_version("-v")


class Nats(Server):
    name = "nats-server"

    def __init__(self, storage: str = "memory") -> None:
        self._storage = storage

    @property
    def dialect(self) -> dialects.Dialect:
        return dialects.Nats(self._storage)

    def command(self, port: int, folder: Path) -> list[str]:
        # A ping among the replies would be miscounted: after the first one, which the dialect awaits, there is none for an hour.
        config = {
            "listen": f"127.0.0.1:{port}",
            "ping_interval": "60m",
            "jetstream": {"store_dir": str(folder), "max_memory_store": 8192 * MIB, "max_file_store": 8192 * MIB},
        }
        file = folder / "nats.json"
        file.write_text(json.dumps(config))
        return [self._program(), "-c", str(file)]

    def version(self) -> str:
        return self._ask_version("-v")


class Child:
    """A process of ours, pinned to a core."""

    def __init__(self, name: str, command: Sequence[str], core: int, folder: Path) -> None:
        self.name = name
        self._log = folder / "output"
        before = os.sched_getaffinity(0)
        # The affinity of this moment is inherited by the child and by every thread it will have.
        os.sched_setaffinity(0, {core})
        try:
            with self._log.open("wb") as log:
                self.started = time.perf_counter()
                # In a session of its own, so that Ctrl-C reaches us alone and we end it.
                self._popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        finally:
            os.sched_setaffinity(0, before)

    def check(self) -> None:
        """Complain where it ended, or had its time to start."""
        if self._popen.poll() is not None:
            raise BenchmarkError(f"It ended with {self._popen.returncode}:\n{self.output()}")
        if time.perf_counter() > self.started + START:
            raise BenchmarkError(f"It did not listen within {START} s:\n{self.output()}")

    @property
    def pid(self) -> int:
        return self._popen.pid

    def resident(self) -> int:
        """Bytes of memory the process holds."""
        status = Path(f"/proc/{self._popen.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def cpu(self) -> float:
        """Seconds of processor time used so far, by all threads; the clock ticks each 10 ms."""
        stat = Path(f"/proc/{self._popen.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process, gently if it lets us."""
        try:
            self._popen.terminate()
            self._popen.wait(STOP)
        except subprocess.TimeoutExpired:
            print(f"{self.name} did not end within {STOP} s of the request to, and was killed", file=sys.stderr)
        finally:
            self._popen.kill()
            self._popen.wait()

    def output(self) -> str:
        """The last of what the process wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])


class Process(Child):
    """A server that runs, and answers."""

    def __init__(self, server: Server, cores: Cores, folder: Path) -> None:
        self.server = server
        self.port = free_port()
        super().__init__(server.name, server.command(self.port, folder), server.core(cores), folder)
        try:
            with blaming(server.name):
                self._await_reply()
        except BaseException:
            self.stop()
            raise
        self.start_up = time.perf_counter() - self.started  # seconds from the spawn to the first reply

    def _await_reply(self) -> None:
        dialect = self.server.dialect
        with self._connect() as link:
            reply = converse(link, dialect.hello, 1)
            while not reply.endswith(dialect.hello_end):
                reply += converse(link, b"", 1)
        if dialect.refusal in reply:
            raise BenchmarkError(f"It answered {reply!r}")

    def _connect(self) -> socket.socket:
        while True:
            self.check()
            try:
                return connect(self.port)
            except ConnectionRefusedError:
                time.sleep(RETRY)


@contextlib.contextmanager
def running(server: Server, cores: Cores) -> Iterator[Process]:
    """A server for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="gmq-bench-", ignore_cleanup_errors=True) as folder:
        process = Process(server, cores, Path(folder))
        try:
            yield process
        finally:
            process.stop()


def free_port() -> int:
    """A port that nobody listens on.

    Out of the system's range for outgoing connections, where a connection to a server that does not listen yet may meet itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def daemon(name: str) -> str:
    """The path of a program, which may live where a user's PATH need not lead; its bare name where it is nowhere."""
    places = [*os.get_exec_path(), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which(name, path=os.pathsep.join(places)) or name
