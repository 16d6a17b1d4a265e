"""The README tells the truth: what its quick start shows is what happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers_server import EXIT_TIMEOUT, Network, environment, own_network, wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PORT = 4567

_BLOCK = re.compile(r"<!-- quickstart(?:: (?P<kind>\w+))? -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = list(_BLOCK.finditer(README))
HERE = [block for block in BLOCKS if block["kind"] != "cluster"]
"""What is typed on one machine; tests/cluster runs the rest."""


def commands(block: re.Match[str]) -> str:
    """What the reader types: the lines behind a prompt."""
    return "".join(line[2:] for line in block["text"].splitlines(keepends=True) if line.startswith("$ "))


def shown(block: re.Match[str]) -> str:
    """What the README says that it prints."""
    return "".join(line for line in block["text"].splitlines(keepends=True) if not line.startswith("$ "))


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of the test's own, so that the default port is free."""
    with own_network() as network:
        yield network


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder like the reader's after the first `make run`: the virtual environment is there, and is not to be made again."""
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements/dev.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def reachable() -> bool:
    """Whether something listens on the default port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


def run(block: re.Match[str], folder: Path) -> str:
    """Run a block as the reader would, and give what it prints."""
    arguments = [sys.executable, "-c", block["text"]] if block["kind"] == "python" else ["bash", "-e", "-c", commands(block)]
    done = subprocess.run(
        arguments, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"these commands of the README fail:\n{block['text']}\n{done.stdout}{done.stderr}"
    assert not done.stderr, f"these commands of the README complain:\n{block['text']}\n{done.stderr}"
    return done.stdout


def quick_start(folder: Path) -> None:
    """Go through the README, from its first command to its last."""
    assert not reachable(), (
        f"port {PORT}, which the README uses, is taken on this machine: end what listens there, or run the tests as root"
    )
    server, *others = HERE
    assert server["kind"] == "server", "the README's first command has to start the broker"
    with (folder / "server.log").open("wb") as log:
        make = subprocess.Popen(
            ["bash", "-e", "-c", commands(server)],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that its whole process group can be ended, as Ctrl-C in a terminal does
        )
    try:
        wait_until(
            lambda: reachable() or make.poll() is not None, f"the command that starts the broker makes something listen on port {PORT}"
        )
        assert make.poll() is None, f"the command that starts the broker ended:\n{(folder / 'server.log').read_text()}"
        for block in others:
            printed = run(block, folder)
            expected = "two apples\n" if block["kind"] == "python" else shown(block)
            assert printed.rstrip("\n") == expected.rstrip("\n"), f"the README shows another output for:\n{block['text']}"
    finally:
        os.killpg(make.pid, signal.SIGINT)
        try:
            make.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(make.pid, signal.SIGKILL)
            make.wait()
            raise


def test_the_quick_start_does_what_the_readme_shows(network: Network, checkout: Path) -> None:
    network.run(lambda: quick_start(checkout))
    log = (checkout / "server.log").read_text()
    assert '"stopped"' in log, f"the broker that `make run` started did not stop in order at Ctrl-C:\n{log}"
    assert "pip install" not in log, f"`make run` set up the virtual environment again:\n{log}"


def test_every_block_of_commands_in_the_readme_is_tested() -> None:
    fences = re.findall(r"^```(?:console|sh|bash|shell|python)$", README, re.MULTILINE)
    assert len(fences) == len(BLOCKS), "a block of commands in the README has no `<!-- quickstart -->` before it, so no test runs it"
    assert len(BLOCKS) > 1, "the README shows no commands"


def test_every_make_command_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", " ".join(re.findall(r"`(make [^`]+)`", README))))
    assert named, "the README names no make command"
    assert named <= targets, f"the Makefile has no target {sorted(named - targets)}"
