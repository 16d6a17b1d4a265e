"""Containers of the image, run by runc as a cluster would: the root read-only, no capabilities, a place of their own for each volume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from image_archive import Image

from helpers_server import EXIT_TIMEOUT, Network, wait_until

RUNC = shutil.which("runc", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
PROC = {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]}


class Container:
    """One container in a network that the test shares with it. `data` is its volume, which outlives it."""

    def __init__(self, image: Image, root: Path, folder: Path, network: Network) -> None:
        self._image, self._root, self._folder, self._network = image, root, folder, network
        self._id = f"gmq-{uuid.uuid4().hex}"
        self._state = folder / "state"
        self._pid_file = folder / "pid"
        self.output = folder / "output"
        self.user: str = image.config["User"]
        self.shares = 1024
        """Of the processors, where others want them as well."""
        self.data = folder / "data"
        volume = root / image.config["WorkingDir"].lstrip("/")
        self.data.mkdir()
        self.data.chmod(volume.stat().st_mode & 0o7777)
        os.chown(self.data, volume.stat().st_uid, volume.stat().st_gid)
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, *command: str, config: dict[str, Any] | None = None, variables: Mapping[str, str] | None = None) -> None:
        """Start the command, the image's own without one; `config` is mounted where the broker looks for its file."""
        mounts = [PROC, DEV, _bind(self.data, self._image.config["WorkingDir"], "rw")]
        if config is not None:
            file = self._folder / "gmq.json"
            file.write_text(json.dumps(config))
            file.chmod(0o644)
            mounts.append(_bind(file, "/etc/gmq/gmq.json", "ro"))
        self._write_bundle(command or self._image.config["Cmd"], variables or {}, mounts)
        with self.output.open("wb") as output:
            arguments = [*self._runc("run"), "--bundle", self._folder, "--pid-file", self._pid_file, self._id]
            self.process = self._network.run(lambda: subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output))

    def start(self, *, config: dict[str, Any] | None = None, variables: Mapping[str, str] | None = None) -> None:
        """Start a broker, and wait until it listens."""
        self.launch(config=config, variables=variables)
        wait_until(self.listening, "the broker in the container listens")

    def listening(self) -> dict[str, Any] | None:
        """What the broker said when it began to listen; None before."""
        said = [json.loads(line) for line in self.text().splitlines() if '"event": "listening",' in line]
        if not said:
            assert self.process is not None
            assert self.process.poll() is None, f"the container ended with code {self.process.returncode}:\n{self.text()}"
        return said[0] if said else None

    def text(self) -> str:
        """What the container wrote so far."""
        return self.output.read_text(errors="replace")

    @property
    def pid(self) -> int | None:
        """The number that this machine gives to the container's first process; None where there is none yet."""
        text = self._pid_file.read_text() if self._pid_file.exists() else ""
        return int(text) if text else None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the first process, and give its output."""
        arguments = [*self._runc("exec"), self._id, *command]
        return self._network.run(lambda: subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False))

    def stop(self) -> int:
        """Tell the first process to end, as `docker stop` and a cluster do, and give its exit code."""
        assert self.pid is not None, "the container has no process"
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()

    def wait(self, timeout: float = EXIT_TIMEOUT) -> int:
        """The exit code, once the container ended."""
        assert self.process is not None
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the container did not end within {timeout} s:\n{self.text()}") from None

    def remove(self) -> None:
        """Kill what still runs."""
        if self.process is not None:
            subprocess.run([*self._runc("delete"), "--force", self._id], capture_output=True, check=False)
            self.process.wait(EXIT_TIMEOUT)

    def _runc(self, command: str) -> list[str | Path]:
        assert RUNC is not None, "runc is not here"
        return [RUNC, "--root", self._state, command]

    def _write_bundle(self, command: Sequence[str], variables: Mapping[str, str], mounts: list[dict[str, Any]]) -> None:
        user, group = (int(number) for number in self.user.split(":"))
        process = {
            "user": {"uid": user, "gid": group},
            "args": command,
            "env": [*self._image.config["Env"], *(f"{name}={value}" for name, value in variables.items())],
            "cwd": self._image.config["WorkingDir"],
            "noNewPrivileges": True,
        }
        namespaces = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]  # and the test's network
        spec = {
            "ociVersion": "1.0.2",
            "process": process,
            "root": {"path": str(self._root), "readonly": True},
            "mounts": mounts,
            "linux": {"namespaces": namespaces, "cgroupsPath": f"/{self._id}", "resources": {"cpu": {"shares": self.shares}}},
        }
        (self._folder / "config.json").write_text(json.dumps(spec))


NewContainer = Callable[[], Container]


def _bind(source: Path, destination: str, access: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", access]}
