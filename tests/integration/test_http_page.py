"""docs/http.md tells the truth: what its examples show is what happens."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from broker_process import Broker
from helpers_server import environment

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
BLOCKS: list[str] = re.findall(r"<!-- tested -->\n```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_example_is_tested() -> None:
    assert len(BLOCKS) == len(re.findall(r"^```(?:console|sh|bash|shell)$", PAGE, re.MULTILINE)) > 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_do_what_the_page_shows(start_broker: Callable[..., Broker], tmp_path: Path) -> None:
    broker = start_broker()
    for block in BLOCKS:
        lines = block.splitlines()
        commands = "\n".join(line[2:] for line in lines if line.startswith("$ ")).replace("localhost:8080", broker.http)
        done = subprocess.run(
            ["bash", "-e", "-c", commands], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"these commands fail:\n{block}\n{done.stdout}{done.stderr}"
        shown = "".join(line for line in lines if not line.startswith("$ "))  # replies end in no newline: they run together
        assert done.stdout == shown, f"the page shows another output for:\n{block}"
