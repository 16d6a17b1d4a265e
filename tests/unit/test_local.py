"""What a storage that keeps its queues on a disk builds on: told of each queue and each move, in the right order, and able to refuse."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import NoReturn

import pytest

from fake_disk import Disk
from gmq.message import NEVER, GmqError, Limits, Message, Options, QueuePolicy
from gmq.queue import Queue
from gmq.storage.local import LocalStorage

START = 1_700_000_000_000
POLICIES = {"strict": QueuePolicy(max_deliveries=1, dead_letter="dead"), "small": QueuePolicy(max_messages=1)}


class RecordingStorage(LocalStorage):
    """Queues on disks that are dictionaries, and a log of what was told of which queue. The time stands still."""

    name = "recording"

    def __init__(self) -> None:
        self.time = START
        super().__init__(Limits(queues=4), lambda name: POLICIES.get(name, QueuePolicy()), lambda: self.time)
        self.log: list[str] = []
        self.disks: dict[int, Disk] = {}

    def _build(self, name: str, now: int) -> Queue:
        self._last_number += 1
        disk = self.disks[self._last_number] = NamedDisk(name, self.log)
        return Queue(name, self._last_number, 1, self._policy_for(name), now, self._usage, capacity=100, keys=9, recorder=disk, pages=disk)

    def _set_timer(self) -> None:
        """No loop runs here."""

    def _register(self, queue: Queue) -> None:
        super()._register(queue)
        self.log.append(f"{queue.name} created")

    def _forget(self, queue: Queue) -> None:
        super()._forget(queue)
        self.log.append(f"{queue.name} deleted")

    def _moved(self, source: Queue, target: Queue, ids: Sequence[int], messages: Sequence[Message]) -> None:
        new = [message.id for message in messages]
        payloads = [message.payload for message in messages]
        self.log.append(f"{source.name} {ids} moved to {target.name} {new} {payloads}")
        self.disks[source.number]._remove(ids)
        self.disks[target.number].rows.update({message.id: copy(message) for message in messages})

    def page_out(self) -> None:
        for queue in self._queues.values():
            queue.page_lines(NEVER)
            queue.page_messages(queue.whole_messages(), NEVER)


class NamedDisk(Disk):
    """A disk that also writes into the log of the storage."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.log = NamedLog(name, log)


class NamedLog(list[str]):
    """A list that tells another one what is added, under a name."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.all = log

    def append(self, word: str) -> None:
        self.all.append(f"{self.name} {word}")


@pytest.fixture
def storage() -> RecordingStorage:
    return RecordingStorage()


def test_a_queue_is_recorded_before_what_is_published_to_it(storage: RecordingStorage) -> None:
    storage.publish("orders", [b"x"], 1, None)
    assert storage.log == ["orders created", "orders published"]


@pytest.mark.parametrize("options", [None, Options(keys=["a", "a"])])
def test_a_refused_publish_leaves_no_queue(storage: RecordingStorage, options: Options | None) -> None:
    with pytest.raises(GmqError):
        storage.publish("small", [b"x", b"y"], 2, options)
    assert storage.log == []
    assert storage.queues() == []


def test_a_deleted_queue_is_not_recorded_as_cleared(storage: RecordingStorage) -> None:
    storage.publish("orders", [b"x"], 1, None)
    assert storage.delete("orders") == 1
    assert storage.log[2:] == ["orders deleted"]


def test_a_move_is_one_record_with_payloads(storage: RecordingStorage) -> None:
    storage.publish("orders", [b"x", b"y", b"z"], 3, None)
    storage.publish("orders", [b"later"], 5, Options(delay=1000))
    storage.take(["orders"], 1, 100, None)
    storage.page_out()
    assert storage.move("orders", "other", 9) == 3
    assert storage.log[4:] == ["other created", "orders [2, 3, 4] moved to other [1, 2, 3] [b'y', b'z', b'later']"]
    assert storage._usage.paged == 0
    assert not storage.disks[1].rows


def test_a_refused_move_moves_nothing(storage: RecordingStorage) -> None:
    storage.publish("orders", [b"x", b"y"], 2, None)
    with pytest.raises(GmqError, match="room for 1"):
        storage.move("orders", "small", 2)
    assert storage.log == ["orders created", "orders published", "orders changed"]
    storage.page_out()
    assert storage.take(["orders"], 2, 100, None).payloads() == [b"x", b"y"]
    assert not storage.disks[1].rows


def test_dead_letters_are_moved_and_come_back(storage: RecordingStorage) -> None:
    storage.publish("strict", [b"x", b"y"], 2, None)
    taken = storage.take(["strict"], 2, 100, 1000)
    storage.page_out()
    storage.put_back(list(taken.receipts or ()), 0)
    assert storage.log[3:] == ["dead created", "strict [1, 2] moved to dead [1, 2] [b'x', b'y']"]
    storage.page_out()
    assert storage.move("dead", None, 9) == 2
    assert storage.log[5:] == ["dead [1, 2] moved to strict [3, 4] [b'x', b'y']"]
    assert storage._usage.paged == 0


def test_what_was_leased_from_a_queue_that_is_deleted_does_not_bring_it_back(storage: RecordingStorage) -> None:
    storage.publish("orders", [b"x"], 1, None)
    taken = storage.take(["orders"], 1, 100, 30_000)
    storage.delete("orders")
    storage.undo(taken)
    assert not storage.queues()


def test_operations_can_be_refused_while_what_happens_by_itself_waits(storage: RecordingStorage) -> None:
    storage.publish("orders", [b"x"], 1, Options(ttl=50))
    taken = storage.take(["orders"], 1, 100, None)
    storage.publish("orders", [b"y"], 1, Options(ttl=50))
    clock = storage._now

    def refuse() -> NoReturn:
        raise GmqError("unavailable", "the disk is full")

    storage._now, storage._suspended = refuse, True
    told = list(storage.log)
    for operation in (
        lambda: storage.publish("orders", [b"x"], 1, None), lambda: storage.publish("new", [b"x"], 1, None),
        lambda: storage.take(["orders"], 1, 100, None), lambda: storage.take(["none"], 1, 100, None), storage.queues,
        lambda: storage.acknowledge(["1-1-x"]), lambda: storage.put_back(["1-1-x"], 0), lambda: storage.extend(["1-1-x"], 5),
        lambda: storage.length("none"), lambda: storage.info("orders"), lambda: storage.peek("none", 1, 100),
        lambda: storage.move("orders", "other", 1), lambda: storage.clear("orders"), lambda: storage.delete("orders"),
        lambda: storage.set_policy("orders", QueuePolicy()),
    ):  # fmt: skip
        with pytest.raises(GmqError, match="the disk is full"):
            operation()
    storage.time += 100
    storage.undo(taken)
    storage._ring()
    assert storage.log == told
    storage._now, storage._suspended = clock, False
    storage._ring()
    assert storage.log[len(told) :] == ["orders removed"]


def test_a_thousand_publishes_in_none_of_which_appending_is_enough() -> None:
    storage = RecordingStorage()
    storage.publish("other", [b"first"], 5, None)
    storage.publish("ttl", [b"first"], 5, None)
    storage.set_policy("ttl", QueuePolicy(ttl=60))
    queues = ["other", *["ttl", "small"] * 1000]
    results = storage.publish_spread(queues, [b"x"] * len(queues), len(queues))
    assert [result for result in results if not isinstance(result, GmqError)] == [2, 2, 1, *range(3, 1002)]
    assert storage.length("ttl") == 1001
    assert {result.code for result in results if isinstance(result, GmqError)} == {"queue_full"}
    assert storage.length("other") == 2
