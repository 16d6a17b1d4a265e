"""What the tests of whole processes need: a network of their own, and a `gmqserver` started with any command line."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from broker_process import SERVER, START_TIMEOUT
from ports import free_port

T = TypeVar("T")

DATA = Path(__file__).parent / "data"
EXIT_TIMEOUT = 20.0

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

MAKES_OWN = ("GMQ_", "MAKE", "MFLAGS")
"""Beginnings of variables that would change what the tested commands do."""


def environment(**more: str) -> dict[str, str]:
    """The environment without what belongs to the person, or the `make`, that runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(MAKES_OWN)} | more


class Network:
    """Where commands and connections of a test happen: `private` tells whether nothing else is there."""

    def __init__(self, executor: ThreadPoolExecutor | None) -> None:
        self._executor = executor
        self.private = executor is not None

    def run(self, function: Callable[[], T]) -> T:
        """Call the function in this network: sockets it makes and processes it starts belong there."""
        return function() if self._executor is None else self._executor.submit(function).result()


def _enter_new_network() -> bool:
    """Move this thread alone to a network namespace with nothing but a loopback interface; whether that was allowed."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    return True


@contextmanager
def own_network() -> Iterator[Network]:
    """A network in which every port is free; the machine's own where this process may not have one."""
    executor = ThreadPoolExecutor(max_workers=1)
    try:
        yield Network(executor if executor.submit(_enter_new_network).result() else None)
    finally:
        executor.shutdown(wait=False)


def wait_until(condition: Callable[[], T | None], what: str, timeout: float = START_TIMEOUT) -> T:
    """Ask until the answer is true, and give it."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"within {timeout} s this did not happen: {what}"
        time.sleep(0.005)


class Server:
    """A `gmqserver` process, its log, and the addresses it listens on. Its folder is one below the folder of the test."""

    def __init__(self, folder: Path, log: Path | None = None) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.errors = folder / "standard-error"
        self.log = self.errors if log is None else log
        self.addresses: list[str] = []
        self.http = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.before: Sequence[str | Path] = ()

    def start(self, *arguments: str | Path, variables: Mapping[str, str] | None = None) -> None:
        """Start, and wait until it listens."""
        self.launch(*arguments, variables=variables)
        wait_until(self._listens, "the broker listens")

    def launch(self, *arguments: str | Path, variables: Mapping[str, str] | None = None) -> None:
        """Start, and do not wait. `before` has words that stand before the command, such as those of another one that runs it."""
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*self.before, SERVER, *arguments],
                cwd=self.folder,
                env=environment(**(variables or {})),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def start_with(self, config: Mapping[str, Any]) -> None:
        """Start with a configuration, on ports that are free unless it names them."""
        self.start("-f", self.write(config))

    def write(self, config: Mapping[str, Any], name: str = "gmq.json") -> Path:
        """Write a configuration file."""
        network = {"interface": "127.0.0.1", "port": free_port(), **config.get("network", {})}
        file = self.folder / name
        file.write_text(json.dumps({"http": {"port": free_port()}, **config, "network": network}))
        return file

    def _listens(self) -> bool:
        assert self.process is not None
        ended = self.process.poll() is not None
        for record in self.records():
            if record["event"] == "listening":
                self.addresses = record["addresses"]
                self.http = record.get("http", [""])[0]
                return True
        assert not ended, f"the broker ended at its start, with exit code {self.process.returncode}:\n{self.errors.read_text()}"
        return False

    def records(self) -> list[dict[str, Any]]:
        """The whole lines of the log."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n") and line.startswith("{")]

    @property
    def port(self) -> int:
        return int(self.addresses[0].rpartition(":")[2])

    def signal(self, number: int = signal.SIGTERM) -> float:
        """Send a signal; the result is when that was, for `ended`."""
        assert self.process is not None
        self.process.send_signal(number)
        return time.monotonic()

    def ended(self, since: float = 0.0) -> tuple[int, float]:
        """Wait for the end: the exit code, and how long it took."""
        assert self.process is not None
        try:
            code = self.process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the broker still runs after {EXIT_TIMEOUT} s:\n{self.errors.read_text()}") from None
        return code, time.monotonic() - since

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
