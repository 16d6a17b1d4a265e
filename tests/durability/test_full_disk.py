"""A disk that is really full, under a real broker."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker_process import Broker
from wire import Wire, b64, unb64

SIZE = 16 << 20
BALLAST = 5 << 20
PATIENCE = 30.0
"""Seconds."""


@pytest.fixture(params=["tmpfs", "ext4"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, that is nearly full already: the file `ballast` can be removed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    point = tmp_path / "disk"
    point.mkdir()
    if request.param == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(point)]
    else:
        image = tmp_path / "image"
        image.write_bytes(b"")
        os.truncate(image, SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        command = ["mount", "-o", "loop", str(image), str(point)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no {request.param} can be mounted here: {mounted.stderr.strip()}")
    (point / "ballast").write_bytes(os.urandom(BALLAST))
    yield point
    subprocess.run(["umount", "--lazy", point], check=True)


def test_a_full_disk_refuses_publishes_and_recovers_by_itself_when_there_is_room(
    start_broker: Callable[..., Broker], small_disk: Path
) -> None:
    storage = {"type": "filesystem", "path": str(small_disk / "data"), "segment_size": 1 << 20, "checkpoint_size": 1 << 20}
    broker = start_broker({"storage": storage})
    acknowledged: list[bytes] = []
    refused: list[bytes] = []

    def publish(wire: Wire) -> bool:
        payload = b"%d " % (len(acknowledged) + len(refused)) + os.urandom(20_000)
        reply = wire.ask("P", "orders", payload=b64(payload))
        good: bool = reply["confirmation"] == "Y"
        assert good or reply["code"] == "unavailable", f"a publish to a full disk was answered with {reply}"
        (acknowledged if good else refused).append(payload)
        return good

    with Wire(broker.host, broker.port) as wire:
        while publish(wire):
            assert len(acknowledged) * 20_000 < SIZE, "the disk is full, and publishes are still acknowledged"
        for _ in range(20):
            publish(wire)
        (small_disk / "ballast").unlink()
        deadline = time.monotonic() + PATIENCE
        while not publish(wire):
            assert time.monotonic() < deadline, f"{PATIENCE} s after there was room again publishes are still refused"
            time.sleep(0.02)
        for _ in range(5):
            assert publish(wire), f"a publish was refused though the disk has room:\n{broker.log.read_text()[-2000:]}"
        assert wire.done("L", "orders")["payload"] == str(len(acknowledged))
    assert broker.stop() == 0
    broker.start()
    got: list[bytes] = []
    with Wire(broker.host, broker.port) as wire:
        while messages := wire.done("S", "orders", count=100)["messages"]:
            got += [unb64(message["payload"]) for message in messages]
    missing = [payload.partition(b" ")[0] for payload in acknowledged if payload not in set(got)]
    assert not missing, f"acknowledged and lost: {missing[:10]}"
    assert got == acknowledged, "refused messages came back" if set(got) & set(refused) else "the order is not that of the publishes"
    print(f"{len(acknowledged)} were acknowledged and {len(refused)} refused")  # noqa: T201  # says how much was tried
