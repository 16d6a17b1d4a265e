"""The broker is killed between a write and its sync; the next one reads what was written, and then the power goes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import NamedTuple

from recorded_disk import Event, Platter, RecordedDisk, UnsyncedDisk, write_out
from workload import FakeClock, committed, storage_in, wear_out

from gmq.message import NEVER, Options, QueuePolicy

LARGE = bytes(6000)
"""What makes a queue too large to be carried along in the journal."""


class Known(NamedTuple):
    """What is known of a queue: a message in it, the least id of the next one, and how many may be in it."""

    queue: str
    payload: bytes
    next_id: int
    most: int


async def first_broker(folder: Path) -> tuple[RecordedDisk, list[tuple[int, Known]]]:
    """Writes files, appends to them and writes them anew; and after how many events what was acknowledged."""
    disk = RecordedDisk(folder)
    storage = storage_in(folder, FakeClock(), disk)
    await storage.open()
    storage._retry_at = NEVER  # no checkpoints but those made here
    acknowledged: list[tuple[int, Known]] = []
    for number, name in enumerate(("other", "orders", "orders", "mail", "orders", "news")):
        payload = b"%d:" % number + LARGE
        storage.create(name, QueuePolicy(max_messages=100 + number))
        storage.publish(name, [payload], len(payload), None)
        storage.publish(name, [b"gone"], 4, Options(priority=9))
        storage.take([name], 1, 100, None)
        await committed(storage)
        queue = storage._queues[name]
        acknowledged.append((len(disk.events), Known(name, payload, queue.next_id, 100 + number)))
        filed = storage._ledger.filed[queue.number]
        filed.anew = filed.anew or number == 4
        if name != "news":
            await storage._make_checkpoint(full=True)
    await storage.close()
    return disk, acknowledged


async def second_broker(folder: Path) -> tuple[RecordedDisk, int]:
    """Goes on with what it finds; and after how many events it has its first answer."""
    disk = RecordedDisk(folder)
    storage = storage_in(folder, FakeClock(), disk)
    await storage.open()
    storage._retry_at = NEVER
    storage.publish("news", [b"behind"], 6, None)
    await committed(storage)
    answered = len(disk.events)
    await wear_out(storage)
    await storage.close()
    return disk, answered


async def check(folder: Path, known: list[Known], where: str) -> None:
    """All that is known is there, with the newest policies."""
    storage = storage_in(folder, FakeClock(), UnsyncedDisk())
    await storage.open()
    assert not storage.damaged, f"{where}: {storage.damaged} places are called damaged"
    for name, payload, next_id, _ in known:
        assert payload in [message.payload for message in storage.peek(name, 1000, 1 << 30)], f"{where}: {payload[:6]!r} of {name} is lost"
        assert storage._queues[name].next_id >= next_id, f"{where}: ids of {name} would be given twice"
    for name, most in {name: most for name, _, _, most in known}.items():
        found = storage._queues[name].policy.max_messages or 0
        assert found >= most, f"{where}: the policy of {name} is lost"
    await storage.close()


def test_what_is_acknowledged_after_a_kill_survives_a_power_cut(tmp_path: Path) -> None:
    disk, acknowledged = asyncio.run(first_broker(tmp_path / "run"))
    platter, kills = Platter(disk.beginning), 0
    for number, event in enumerate(disk.events):
        platter.happen(number, event)
        every = platter.everything()
        if number < acknowledged[0][0] or not (every.names or every.sectors):
            continue
        kills += 1
        folder = tmp_path / f"killed-{number}"
        write_out(platter.after(every), folder)
        second, answered = asyncio.run(second_broker(folder))
        known = [known for at, known in acknowledged if at <= number]
        after = platter.going_on(second.beginning)
        where = f"killed after event {number} ({type(event).__name__})"
        check_cuts(folder, after, (second.events, answered), [*known, Known("news", b"behind", 0, 0)], where)
    assert kills > 15, f"the broker was killed {kills} times only"


def check_cuts(folder: Path, platter: Platter, run: tuple[list[Event], int], known: list[Known], where: str) -> None:
    """The power goes when the second broker has answered, and at the end."""
    events, answered = run
    for number, event in enumerate(events, 1):
        platter.happen(number - 1, event)
        if number not in {answered, len(events)}:
            continue
        for choice in platter.choices(Random(1), 1):
            state = folder / f"state-{number}-{choice.kind}"
            write_out(platter.after(choice), state)
            asyncio.run(check(state, known, f"{where}, power cut after event {number} of the next one that kept {choice.kind}"))
