"""The power goes, at any moment of a run of every kind of operation: what was acknowledged is there when it is back.

The environment variable GMQ_DURABILITY=long makes a run of many more states, and GMQ_DURABILITY_SEED chooses other random ones.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from invariants import broken, goes_on
from model import Done, Items, Model, snapshot
from recorded_disk import Choice, Event, Platter, RecordedDisk, UnsyncedDisk, fingerprint, write_out
from workload import QUEUES, FakeClock, Workload, storage_in

from gmq.storage import filesystem, inspection, ledger

LONG = os.environ.get("GMQ_DURABILITY") == "long"
SEED = int(os.environ.get("GMQ_DURABILITY_SEED", "0"))
STEPS = 3000
STATES = 20_000 if LONG else 700
"""Of each run."""
SECOND_CUTS = 400 if LONG else 12
"""Of each run: states in whose recovery the power goes once more."""


@dataclass
class Progress:
    """How far the operations were when a number of events had happened."""

    operations: list[Done]
    proven: Items = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    asked: int = 0

    def advance(self, number: int) -> None:
        """The event with this number is the next."""
        while self.acknowledged < len(self.operations):
            done = self.operations[self.acknowledged]
            if done.acknowledged is None or done.acknowledged > number:
                break
            self.acknowledged += 1
            for item, (_, after) in done.changes.items():
                if after is None:
                    self.proven.pop(item, None)
                    continue
                self.proven[item] = after
                if item[0] == "message":
                    self.floors[after.queue] = max(self.floors.get(after.queue, 0), after.id)
        while self.asked < len(self.operations) and self.operations[self.asked].asked <= number:
            self.asked += 1

    @property
    def open(self) -> list[Done]:
        return self.operations[self.acknowledged : self.asked]

    @property
    def now(self) -> int:
        return self.operations[self.asked - 1].now if self.asked else FakeClock().now


class Recoveries:
    """States of a disk, each recovered by a real storage and compared with what it has to be."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._random = Random(seed)
        self._seen: set[tuple[bytes, int, int]] = set()
        self.states = 0

    async def check(self, files: dict[str, bytes], progress: Progress, where: str, *, thorough: bool) -> None:
        """Recover the state, unless the same one was."""
        key = fingerprint(files), progress.acknowledged, progress.asked
        if key in self._seen:
            return
        self._seen.add(key)
        self.states += 1
        folder = self._folder / "state"
        write_out(files, folder)
        try:
            await self._recover(folder, progress, thorough=thorough)
        except Exception as error:
            kept = self._folder / "failed"
            shutil.rmtree(kept, ignore_errors=True)
            write_out(files, kept)
            raise AssertionError(f"{where}; this state is in {kept}: {type(error).__name__}: {error}") from error
        finally:
            shutil.rmtree(folder)

    async def _recover(self, folder: Path, progress: Progress, *, thorough: bool) -> None:
        clock = FakeClock(progress.now)
        storage = storage_in(folder, clock, UnsyncedDisk())
        await storage.open()
        problems = list(broken(snapshot(storage), progress.proven, progress.open, clock.now))
        assert not problems, "\n".join(problems[:5])
        assert not storage.damaged, f"{storage.damaged} places were called damaged, and the power went, no more"
        if not thorough:
            await storage.close()
            return
        model = Model(storage, clock, lambda: 0)
        goes_on(model, QUEUES, progress.floors)
        await storage.close()
        said, good = inspection.verify(folder)
        assert good, f"verify finds damage after the recovery: {said}"
        again = storage_in(folder, clock, UnsyncedDisk())
        await again.open()
        model.storage = again
        model.compare()
        assert not again.damaged, f"{again.damaged} places were called damaged at the second start"
        await again.close()


def cut_points(events: list[Event], states: int, seed: int) -> set[int]:
    """Numbers of events after which the power goes: all, or as many as there is time for, evenly and at random between."""
    every = max(1, round(len(events) * 3.5 / states))
    random = Random(seed)
    return {min(len(events) - 1, start + random.randrange(every)) for start in range(0, len(events), every)}


@pytest.mark.parametrize("memory", ["payloads stay in memory", "payloads on disk only"])
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.timeout(3600 if LONG else 120)
def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int, memory: str) -> None:
    seed = SEED * 100 + turn
    monkeypatch.setattr(ledger, "SLACK", 4096)  # so that files are written anew
    if memory == "payloads on disk only":
        seed += 50
        monkeypatch.setattr(filesystem, "CACHE", 0)
    disk, operations = asyncio.run(Workload(seed).run(tmp_path / "run", STEPS))
    recoveries = Recoveries(tmp_path, seed)
    asyncio.run(check_states(disk, operations, recoveries, seed, tmp_path))
    print(f"seed {seed}: {len(operations)} operations, {len(disk.events)} disk events, {recoveries.states} states recovered")  # noqa: T201  # says how much was tried
    assert recoveries.states >= 300, "the cut points were too few to say anything"


async def check_states(disk: RecordedDisk, operations: list[Done], recoveries: Recoveries, seed: int, folder: Path) -> None:
    random = Random(seed)
    platter, progress = Platter(disk.beginning), Progress(operations)
    points = cut_points(disk.events, STATES, seed)
    second = set(random.sample(sorted(points), min(SECOND_CUTS, len(points))))
    for number, event in enumerate(disk.events):
        platter.happen(number, event)
        progress.advance(number + 1)
        if number not in points:
            continue
        choices = list(platter.choices(random, 4))
        if not LONG and len(choices) > 4:
            choices = random.sample(choices, 4)
        for choice in choices:
            files = platter.after(choice)
            where = f"seed {seed}, power cut after event {number} ({type(event).__name__}), kept {describe(choice)}"
            await recoveries.check(files, progress, where, thorough=random.random() < 0.25)
            if number in second:
                second.discard(number)
                await cut_again(files, progress, recoveries, where, random, folder / "again")


async def cut_again(files: dict[str, bytes], progress: Progress, recoveries: Recoveries, where: str, random: Random, folder: Path) -> None:
    """The power goes a second time, while the storage recovers from the first."""
    write_out(files, folder)
    disk = RecordedDisk(folder)
    storage = storage_in(folder, FakeClock(progress.now), disk)
    await storage.open()
    await storage.close()
    platter = Platter(disk.beginning)
    for number, event in enumerate(disk.events):
        platter.happen(number, event)
        for choice in random.sample(list(platter.choices(random, 1)), 1):
            again = f"{where}; and again after event {number} ({type(event).__name__}) of the recovery, kept {describe(choice)}"
            await recoveries.check(platter.after(choice), progress, again, thorough=False)
    shutil.rmtree(folder)


def describe(choice: Choice) -> str:
    return f"{choice.kind} ({len(choice.names)} names, {len(choice.sectors)} sectors)"
