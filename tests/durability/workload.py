"""A run of every kind of operation on a filesystem storage whose disk remembers, and what each of them did."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

from model import Done, Model
from recorded_disk import RecordedDisk

from gmq.message import Limits, Options, QueuePolicy
from gmq.storage.disk import Disk
from gmq.storage.filesystem import FilesystemStorage

QUEUES = ("orders", "mail", "a b/ü", "dead")
SIZE = 64 << 10
"""Bytes of a segment, and of what is written between checkpoints."""
POLICIES = (
    QueuePolicy(max_deliveries=2, dead_letter="dead"),
    QueuePolicy(max_deliveries=1, dead_letter="dead", lease=3),
    QueuePolicy(max_deliveries=2),
    QueuePolicy(max_messages=60, ttl=100),
    QueuePolicy(),
)


class FakeClock:
    """Time stands still until somebody lets it go on."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def storage_in(folder: Path, clock: FakeClock, disk: Disk) -> FilesystemStorage:
    """A storage with small segments and frequent checkpoints."""
    return FilesystemStorage(folder, Limits(), lambda _: QueuePolicy(), segment_size=SIZE, checkpoint_size=SIZE, clock=clock, disk=disk)


async def committed(storage: FilesystemStorage) -> None:
    """Wait until all that was done is durable."""
    while (commit := storage.commit()) is not None:
        await commit


async def wear_out(storage: FilesystemStorage) -> None:
    """Go on until the first segments have another use."""
    for _ in range(8):
        storage.publish("other", [bytes(60_000)], 60_000, None)
        await committed(storage)
        await storage._make_checkpoint(full=True)


class Workload:
    """Random operations; the same ones for the same seed, as far as threads let them be."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._serial = 0

    def payload(self) -> bytes:
        """Bytes that no other message has."""
        self._serial += 1
        size = self._random.choices((0, 20, 200, 900, 3000, 20_000, 70_000), (30, 40, 40, 20, 5, 0.5, 0.1))[0]
        return b"%d:" % self._serial + self._random.randbytes(size)

    def step(self, model: Model) -> None:
        """One operation."""
        random = self._random
        queue = random.choice(QUEUES)
        kinds = (
            self._publish, self._take, self._take_leased, self._acknowledge, self._put_back, self._extend, self._move, self._clear,
            self._delete, self._policy,
        )  # fmt: skip
        weights = (40, 10, 16, 9, 6, 4, 3, 0.6, 0.9, 1.5)
        random.choices(kinds, weights)[0](model, queue)

    def _publish(self, model: Model, queue: str) -> None:
        random = self._random
        options = None
        count = random.choice((1, 1, 1, 2, 5, 12))
        payloads = [self.payload() for _ in range(count)]
        if random.random() < 0.5:
            headers = {"about": "x" * random.choice((1, 600))} if random.random() < 0.3 else None
            delay = random.choice((0, 0, 50, 2000))
            keys = [f"key{random.randrange(200)}" for _ in payloads] if random.random() < 0.3 else None
            ttl = random.choice((None, None, delay + 500, 60_000))
            options = Options(random.choice((4, 4, 0, 9)), delay, ttl, headers, keys)
            if keys is not None and random.random() < 0.5:
                payloads = [b"same for %s" % key.encode() + queue.encode() for key in keys]
                payloads, options = payloads[:1], Options(keys=keys[:1])
                if any(item == ("message", payloads[0]) for item in model.items):
                    options = Options(keys=keys[:1])  # a repeat: answered with the id of the first
                    if ("key", queue, keys[0]) not in model.items:
                        return  # the key was forgotten and the message is there: it would be there twice, rightly
        model.publish(queue, payloads, options)

    def _take(self, model: Model, queue: str) -> None:
        taken = model.take([queue, self._random.choice(QUEUES)], self._random.choice((1, 1, 3, 20)), None)
        if taken.entries and self._random.random() < 0.1:
            model.undo(taken)

    def _take_leased(self, model: Model, queue: str) -> None:
        taken = model.take([queue], self._random.choice((1, 2, 8, 30)), self._random.choice((40, 3000, 200_000)))
        if taken.entries and self._random.random() < 0.05:
            model.undo(taken)

    def _receipts(self, model: Model) -> list[str]:
        receipts = model.receipts()
        chosen = self._random.sample(receipts, min(len(receipts), self._random.choice((1, 3, 10))))
        return [*chosen, "1-1-feed"] if not chosen or self._random.random() < 0.1 else chosen

    def _acknowledge(self, model: Model, _: str) -> None:
        model.acknowledge(sorted(self._receipts(model)))

    def _put_back(self, model: Model, _: str) -> None:
        model.put_back(sorted(self._receipts(model)), self._random.choice((0, 0, 1000)))

    def _extend(self, model: Model, _: str) -> None:
        model.extend(sorted(self._receipts(model)), self._random.choice((100, 5000)))

    def _move(self, model: Model, queue: str) -> None:
        to = self._random.choice([name for name in QUEUES if name != queue])
        if queue == "dead":
            model.move(queue, None, self._random.choice((1, 10, 1000)))
        else:
            model.move(queue, to, self._random.choice((1, 5, 40)))

    def _clear(self, model: Model, queue: str) -> None:
        model.clear(queue)

    def _delete(self, model: Model, queue: str) -> None:
        model.delete(queue)

    def _policy(self, model: Model, queue: str) -> None:
        model.set_policy(queue, QueuePolicy() if queue == "dead" else self._random.choice(POLICIES))

    async def run(self, folder: Path, steps: int) -> tuple[RecordedDisk, list[Done]]:
        """Do so many operations, in commits of a few, some of which gather while another is written."""
        disk, clock, random = RecordedDisk(folder), FakeClock(), self._random
        storage = storage_in(folder, clock, disk)
        await storage.open()
        model = Model(storage, clock, lambda: len(disk.events))
        while len(model.done) < steps:
            for _ in range(random.choice((1, 1, 3, 8))):
                self.step(model)
            commit = storage.commit()
            if commit is not None and random.random() < 0.8:
                await commit
            elif commit is not None:
                await asyncio.sleep(0)
            if random.random() < 0.4:
                clock.now += random.choices((1, 60, 2500, 100_000, 400_000), (10, 10, 4, 0.5, 0.2))[0]
                model.tick()
            if random.random() < 0.02:
                model.compare()
            if random.random() < 0.005:
                storage._checkpointed = -SIZE * 99  # a checkpoint now
                storage._consider()
        model.compare()
        await committed(storage)
        await storage.close()
        return disk, model.done
