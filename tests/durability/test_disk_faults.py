"""The disk fails: requests fail as `unavailable`, nothing acknowledged is lost, and the storage recovers by itself."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from faulty_disk import CALLS, Fault, FaultyDisk
from model import Model
from recorded_disk import UnsyncedDisk
from workload import FakeClock, Workload, storage_in

from gmq.message import GmqError
from gmq.storage import filesystem, journal, ledger
from gmq.storage.base import StorageError
from gmq.storage.filesystem import FilesystemStorage

LONG = os.environ.get("GMQ_DURABILITY") == "long"
SEED = int(os.environ.get("GMQ_DURABILITY_SEED", "0"))
NTHS = range(1, 60) if LONG else (1, 2, 5, 11, 30)
STEPS = 250
READS = {"read", "open"}
"""What a request may need of a queue's file."""
PATIENCE = 20.0
"""Seconds."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage tries again after milliseconds; files are written anew, and payloads read back."""
    monkeypatch.setattr(filesystem, "HEAL_FIRST", 0.002)
    monkeypatch.setattr(filesystem, "HEAL_MOST", 0.01)
    monkeypatch.setattr(journal, "RETRY", 0.002)
    monkeypatch.setattr(ledger, "SLACK", 4096)
    monkeypatch.setattr(filesystem, "CACHE", 0)


def faults(call: str, random: Random) -> Iterator[Fault]:
    """Once and for a while, early and late."""
    for nth in NTHS:
        for times in (1, 7):
            yield Fault(call, nth, times, random.choice((errno.EIO, errno.ENOSPC)), random.choice((0, 0.5, 1)))


class Trial:
    """A run of operations on a disk that fails."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.disk = FaultyDisk()
        self.storage = storage_in(folder, self.clock, self.disk)
        self.model = Model(self.storage, self.clock, lambda: 0)
        self.workload = Workload(seed)
        self.random = Random(seed)
        self.failures = 0

    async def work(self, steps: int) -> None:
        """Operations; what fails is failed, and the storage is waited for."""
        until = len(self.model.done) + steps
        while len(self.model.done) < until:
            try:
                for _ in range(self.random.choice((1, 3, 8))):
                    self.workload.step(self.model)
                if (commit := self.storage.commit()) is not None:
                    await commit
                if self.random.random() < 0.3:
                    self.clock.now += self.random.choice((1, 60, 2500))
                    self.model.tick()
            except GmqError as error:
                if error.code != "unavailable":
                    raise
                await self.recover()

    async def recover(self) -> None:
        """Nothing of what failed is there, and all that did not."""
        self.failures += 1
        assert self.storage.problem is not None, f"{self.model.done[-1].text} failed, and the storage has no problem"
        assert self.storage.commits.errors >= self.failures, "a failure is missing in the metrics"
        if self.failures == 1:
            check_refused(self.storage)
        while True:
            self.model.go_back()
            await until(lambda: self.storage.problem is None, "the storage did not recover")
            try:
                self.model.follow()
                self.model.tick()  # what was due has perhaps happened already
                self.model.compare()
            except GmqError as error:
                if error.code != "unavailable":
                    raise
            else:
                break

    async def finish(self) -> None:
        """The disk is well; all is there now, and after a start."""
        self.disk.plan(None)
        await self.work(20)
        self.storage._checkpointed = -(1 << 30)  # there is reason for one
        self.storage._consider()
        await until(lambda: not self.storage._failures, "no checkpoint was made when the disk was well")
        self.model.compare()
        await self.storage.close()
        self.storage = self.model.storage = storage_in(self.folder, self.clock, UnsyncedDisk())
        await self.storage.open()
        self.model.compare()
        assert not self.storage.damaged, f"{self.storage.damaged} places are called damaged"
        await self.storage.close()


def check_refused(storage: FilesystemStorage) -> None:
    """Every request is."""
    for text, request in {
        "publish": lambda: storage.publish("orders", [b"refused"], 7, None),
        "take": lambda: storage.take(["orders"], 1, 100, None),
        "acknowledge": lambda: storage.acknowledge(["1-1-aa"]),
        "clear": lambda: storage.clear("orders"),
        "peek": lambda: storage.peek("orders", 1, 100),
        "queues": storage.queues,
    }.items():
        try:
            request()
        except GmqError as error:
            refused = error.code == "unavailable"
        else:
            refused = False
        assert refused, f"{text} was not refused while the storage could not serve"


async def until(condition, text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{text} in {PATIENCE} s"
        await asyncio.sleep(0.001)


async def run(folder: Path, fault: Fault, seed: int) -> tuple[int, int]:
    """How many calls failed, and how many times requests did."""
    trial = Trial(folder, seed)
    await trial.storage.open()
    await trial.work(30)
    trial.disk.plan(fault)
    await trial.work(STEPS)
    failed = list(trial.disk.failed)
    if failed and all(path.parent.name == "queues" or path.name == "queues" for _, path in failed) and fault.call not in READS:
        assert not trial.failures, f"requests failed, and it was a checkpoint that could not be made: {failed}"
    await trial.finish()
    return len(failed), trial.failures


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.timeout(3600 if LONG else 120)
def test_nothing_acknowledged_is_lost_and_nothing_failed_comes_back(tmp_path: Path, call: str) -> None:
    random = Random(f"{call} {SEED}")
    hits = failures = 0
    for number, fault in enumerate(faults(call, random)):
        seed = random.randrange(1 << 30)
        try:
            failed, some = asyncio.run(run(tmp_path / str(number), fault, seed))
        except Exception as error:
            raise AssertionError(f"{fault}, seed {seed}: {type(error).__name__}: {error}") from error
        hits += failed
        failures += some
    print(f"{call}: {number + 1} runs, {hits} calls failed, {failures} times the storage had to recover")  # noqa: T201  # says how much was tried
    assert hits or call == "remove", f"no {call} failed"  # there is seldom something to remove


@pytest.mark.parametrize("call", CALLS)
def test_a_storage_that_cannot_be_opened_says_why_and_can_be_opened_later(tmp_path: Path, call: str) -> None:
    async def trial() -> None:
        for nth in (1, 2, 3):
            disk = FaultyDisk()
            first = Trial(tmp_path / str(nth), nth)
            await first.storage.open()
            await first.work(300)
            await first.storage.close()
            disk.plan(Fault(call, nth, 1, errno.EIO))
            storage = storage_in(first.folder, first.clock, disk)
            try:
                await storage.open()
            except StorageError as error:
                said = str(error)
            else:
                said = "the disk fails, as the test wants it"  # it was not needed
                await storage.close()
            assert "as the test wants it" in said, f"{call} {nth}: it does not say why it cannot be opened: {said}"
            storage = first.model.storage = storage_in(first.folder, first.clock, UnsyncedDisk())
            await storage.open()
            first.model.compare()
            await storage.close()

    asyncio.run(trial())
