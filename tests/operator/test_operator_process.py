"""The operator as a process: its command line, and its life where no cluster answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OPERATOR = (sys.executable, "-m", "gmq_operator.cli")
NO_CLUSTER = {key: value for key, value in os.environ.items() if key not in {"KUBECONFIG", "GMQ_BROKER_IMAGE", "GMQ_LOG_LEVEL"}}
PATIENCE = 60.0


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**NO_CLUSTER, "HOME": "/nowhere", **variables}
    return subprocess.run([*OPERATOR, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_help_tells_every_flag_and_loads_neither_kopf_nor_the_client() -> None:
    helped = run("--help", PYTHONPROFILEIMPORTTIME="1")
    assert helped.returncode == 0
    for flag in ("--namespace", "--image", "--listen", "--log-level", "--log-format", "GMQ_BROKER_IMAGE", "exit codes"):
        assert flag in helped.stdout
    assert not {"kopf", "kubernetes"} & {line.rpartition("|")[2].strip() for line in helped.stderr.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--image is missing"),
        (("--image", "gmq:1", "--namespace", "No_Name"), "is no namespace"),
        (("--image", "gmq:1", "--namespace", "a,b"), "is no namespace"),
        (("--image", "gmq:1", "--listen", "8080"), "is no address"),
        (("--image", "gmq:1", "--listen", ":65536"), "is no address"),
        (("--image", "gmq:1", "--log-level", "loud"), "invalid choice: 'loud'"),
        (("--image", "gmq:1", "--what"), "unrecognized arguments: --what"),
        (("--image", " "), "is no image"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_told_in_a_sentence(arguments: tuple[str, ...], says: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_wrong_level_in_the_environment_is_told_too() -> None:
    ended = run("--image", "gmq:1", GMQ_LOG_LEVEL="loud")
    assert ended.returncode == 2
    assert 'GMQ_LOG_LEVEL is "loud"' in ended.stderr


def test_without_a_cluster_to_go_to_it_says_so() -> None:
    ended = run("--image", "gmq:1", "--listen", "127.0.0.1:0")
    assert ended.returncode == 1
    assert "no kubeconfig can be used" in ended.stderr
    assert "Traceback" not in ended.stderr


def kubeconfig(folder: Path, server: str) -> str:
    file = folder / "kubeconfig"
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "c", **parts}))
    return str(file)


@contextmanager
def operator(folder: Path, server: str) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """An operator with its port and its log."""
    log = folder / "log"
    environment = {**NO_CLUSTER, "KUBECONFIG": kubeconfig(folder, server)}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*OPERATOR, "--image", "gmq:1", "--listen", "127.0.0.1:0", "--log-format", "json"], env=environment, stderr=file
        )
    try:
        until = time.monotonic() + PATIENCE
        while not (started := [line for line in lines(log) if line["event"] == "started"]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, f"the operator does not start: {log.read_text()}"
            time.sleep(0.05)
        yield process, int(started[0]["address"].rpartition(":")[2]), log
    finally:
        process.kill()
        process.wait()


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(params=["refuses", "hangs"])
def nobody(request: pytest.FixtureRequest) -> Iterator[str]:
    """An API server that does not serve."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        if request.param == "hangs":
            bound.listen()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_an_operator_whose_cluster_is_away_lives_and_is_not_ready_and_stops_at_once(tmp_path: Path, nobody: str) -> None:
    with operator(tmp_path, nobody) as (process, port, log):
        assert status(port, "/healthz") == 200, "a cluster that is away is no reason to restart the operator"
        assert status(port, "/readyz") == 503
        assert status(port, "/metrics") == 200
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - begun < 8, "it waits for an API server that does not answer"
        events = [line["event"] for line in lines(log)]
        assert events[-1] == "stopped"
        assert "Traceback" not in log.read_text()
        assert "secret-token" not in log.read_text()


def test_a_port_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("--image", "gmq:1", "--listen", address, KUBECONFIG=kubeconfig(tmp_path, "http://127.0.0.1:1"))
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr
