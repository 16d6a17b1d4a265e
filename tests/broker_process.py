"""A real broker process for the tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ports import free_port

SERVER = Path(sys.executable).parent / "gmqserver"
START_TIMEOUT = 20.0


class Broker:
    """A `gmqserver` process on a port of its own; `http` and `ops` are the addresses of its HTTP listeners, empty where there are none."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.port = free_port(self.host)
        self.http = f"{self.host}:{free_port(self.host)}"
        self.ops = ""
        self.log = folder / "broker.log"
        self._file = folder / "gmq.json"
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Start, on the same ports each time, and wait until it listens."""
        network = {"interface": self.host, "port": self.port, **self.config.get("network", {})}
        http = {"port": self.http.rpartition(":")[2], **self.config.get("http", {})}
        self._file.write_text(json.dumps({**self.config, "network": network, "http": http}))
        with self.log.open("ab") as output:
            before = output.tell()
            self.process = subprocess.Popen([SERVER, "-f", self._file], stdout=output, stderr=output, cwd=self._file.parent)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            for line in self.log.read_bytes()[before:].splitlines():
                if b'"listening"' in line:
                    addresses = json.loads(line)
                    self.port = int(addresses["addresses"][0].rpartition(":")[2])
                    self.http = addresses.get("http", [""])[0]
                    self.ops = addresses.get("ops", [""])[0]
                    return
            assert self.process.poll() is None, f"the broker ended at its start:\n{self.log.read_text()}"
            time.sleep(0.005)
        raise AssertionError(f"the broker did not listen within {START_TIMEOUT} s:\n{self.log.read_text()}")

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def memory(self) -> int:
        """Resident bytes of the process."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def connect(self, timeout: float = 20.0) -> socket.socket:
        """A plain connection."""
        return socket.create_connection((self.host, self.port), timeout)
