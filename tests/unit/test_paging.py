"""Queues on a disk: payloads that leave the memory and come back, in order, counted, and never damaged."""

from __future__ import annotations

from copy import copy

import pytest

from fake_disk import Disk
from gmq import lane
from gmq.message import NEVER, PAGED, GmqError, Message, Options, QueuePolicy, Span, Usage, each
from gmq.queue import Queue

NOW = 1_700_000_000_000
LARGE = 8 << 20


@pytest.fixture
def disk() -> Disk:
    return Disk()


def queue_on(disk: Disk, policy: QueuePolicy | None = None, usage: Usage | None = None) -> Queue:
    return Queue("orders", 1, 1, policy or QueuePolicy(), NOW, usage, capacity=100_000, keys=100, recorder=disk, pages=disk)


def fill(queue: Queue, count: int, now: int = NOW) -> list[bytes]:
    payloads = [b"payload %d" % number for number in range(count)]
    queue.publish(payloads, sum(map(len, payloads)), None, now)
    return payloads


def test_a_paged_queue_hands_out_everything_in_order(disk: Disk) -> None:
    usage = Usage()
    queue = queue_on(disk, usage=usage)
    payloads = fill(queue, 2000)
    queue.page_lines(1501)
    more = fill(queue, 100, NOW + 1)
    assert usage.paged == sum(map(len, payloads[lane.KEEP : 1500]))
    queue.page_lines(2001)
    assert usage.paged == sum(map(len, payloads[lane.KEEP :]))
    got: list[bytes] = []
    while taken := queue.take(300, LARGE, None, "", NOW + 2):
        got += taken.payloads()
    assert got == payloads + more
    assert (usage.paged, usage.bytes, usage.messages) == (0, 0, 0)
    assert not disk.rows


def test_few_messages_stay_in_memory(disk: Disk) -> None:
    queue = queue_on(disk)
    fill(queue, lane.KEEP)
    queue.page_lines(NEVER)
    assert len(queue.take(lane.KEEP, LARGE, None, "", NOW)) == lane.KEEP
    assert disk.reads == 0


def test_few_but_large_messages_do_not_stay_in_memory(disk: Disk) -> None:
    queue = queue_on(disk)
    queue.publish([bytes(300_000)] * 10, 3_000_000, None, NOW)
    queue.page_lines(NEVER)
    assert queue._usage.paged == 7 * 300_000
    assert len(queue.take(10, LARGE, None, "", NOW)) == 10


def test_what_comes_back_goes_before_what_is_on_disk(disk: Disk) -> None:
    queue = queue_on(disk)
    payloads = fill(queue, 1000)
    head = queue.take(600, LARGE, 30_000, "a", NOW)
    queue.page_lines(NEVER)
    queue.take(lane.KEEP, LARGE, 30_000, "b", NOW)
    queue.put_back(head.receipts or (), 0, NOW)
    assert queue.take(1000, LARGE, None, "", NOW).payloads() == payloads[:600]


def test_a_take_reads_no_more_than_it_may_hand_out(disk: Disk) -> None:
    queue = queue_on(disk)
    large = [bytes(100_000)] * 700
    queue.publish(large, 100_000 * 700, None, NOW)
    queue.page_lines(NEVER)
    queue.take(lane.KEEP, NEVER, None, "", NOW)
    before = queue.bytes
    assert len(queue.take(150, 1_000_000, None, "", NOW)) == 10
    in_memory = queue.bytes - queue._usage.paged
    assert before - queue.bytes == 1_000_000
    assert in_memory < 500_000, "payloads were read that could not be handed out"


def test_a_peek_changes_nothing(disk: Disk) -> None:
    queue = queue_on(disk)
    payloads = fill(queue, 900)
    queue.publish([b"with headers"], 12, Options(headers={"a": "b"}), NOW)
    queue.page_lines(NEVER)
    queue.page_messages(queue.whole_messages(), NEVER)
    paged = queue._usage.paged
    assert [message.payload for message in queue.peek(1000, NOW)] == [*payloads, b"with headers"]
    assert [message.payload for message in queue.peek(1000, NOW, 25)] == payloads[:2]
    assert queue._usage.paged == paged
    assert [message.payload for message in queue.whole_messages()] == [PAGED]


def test_what_was_handed_out_keeps_its_payload(disk: Disk) -> None:
    queue = queue_on(disk)
    queue.publish([b"one"], 3, Options(ttl=1000), NOW)
    queue.publish([b"two"], 3, None, NOW)
    taken = queue.take(10, LARGE, 30_000, "a", NOW)
    queue.page_messages(queue.whole_messages(), NEVER)
    assert queue._usage.paged == 6
    assert taken.payloads() == [b"one", b"two"]
    assert queue.acknowledge(taken.receipts or (), NOW) == []
    assert queue._usage.paged == queue.bytes == 0


@pytest.mark.parametrize("lease", [None, 1000])
def test_damaged_messages_are_dropped_and_recorded(disk: Disk, lease: int | None) -> None:
    usage = Usage()
    queue = queue_on(disk, usage=usage)
    payloads = fill(queue, 1000)
    queue.publish([b"whole"], 5, Options(headers={"a": "b"}), NOW)
    queue.page_lines(NEVER)
    queue.page_messages(queue.whole_messages(), NEVER)
    disk.damaged = {*range(600, 700), 1001}
    got: list[bytes] = []
    while taken := queue.take(100, LARGE, lease, "a", NOW):
        got += taken.payloads()
    assert got == payloads[:599] + payloads[699:]
    assert (queue.ready, queue.messages) == (0, 0 if lease is None else 900)
    assert len(disk.rows) == queue.messages
    assert usage.bytes == queue.bytes == sum(len(row.payload) for row in disk.rows.values())
    assert usage.paged == 0


def test_a_queue_of_nothing_but_damage_is_empty(disk: Disk) -> None:
    queue = queue_on(disk)
    fill(queue, 5000)
    queue.page_lines(NEVER)
    disk.damaged = set(range(1, 5001))
    assert len(queue.take(1000, LARGE, None, "", NOW)) == lane.KEEP
    assert len(queue.take(1, LARGE, None, "", NOW)) == 0
    assert (queue.ready, queue.messages, queue.bytes, queue._usage.paged) == (0, 0, 0, 0)


def test_a_dead_letter_has_its_payload(disk: Disk) -> None:
    queue = queue_on(disk, QueuePolicy(max_deliveries=1, dead_letter="dead"))
    queue.publish([b"one"], 3, None, NOW)
    queue.take(1, LARGE, 10, "a", NOW)
    queue.page_messages(queue.whole_messages(), NEVER)
    queue.advance(NOW + 10)
    assert [message.payload for message in queue.outbox] == [b"one"]
    assert queue._usage.paged == queue.bytes == 0
    assert disk.log == ["published", "changed"], "the move is for the owner to record"


def test_what_moved_to_another_queue_is_not_paged_out_by_the_first(disk: Disk) -> None:
    source, target = queue_on(disk), queue_on(Disk())
    source.publish([b"one"], 3, Options(ttl=1000), NOW)
    messages = source.whole_messages()
    ((_, message),) = source.withdraw(1, NOW)
    adopted = target.adopt(message, NOW, NOW)
    source.page_messages(messages, NEVER)
    assert adopted.payload == b"one"
    assert not adopted.gone
    assert messages[0].gone
    assert source._usage.paged == 0


def test_clear_counts_nothing_as_on_disk(disk: Disk) -> None:
    queue = queue_on(disk)
    fill(queue, 1000)
    queue.publish([b"later"], 5, Options(delay=1000), NOW)
    queue.page_lines(NEVER)
    messages = queue.whole_messages()
    assert queue.clear(NOW) == 1001
    queue.page_messages(messages, NEVER)
    assert queue._usage.paged == 0
    assert queue.clear(NOW) == 0
    assert disk.log[-1:] == ["cleared"]
    assert disk.log.count("cleared") == 1, "nothing to clear is nothing to record"


def test_each_operation_is_recorded_once(disk: Disk) -> None:
    queue = queue_on(disk)
    queue.publish([b"1", b"2", b"3"], 3, None, NOW)
    queue.publish([b"4", b"5"], 2, Options(ttl=50), NOW)
    queue.publish([b"6"], 1, Options(keys=["a"]), NOW)
    queue.publish([b"6"], 1, Options(keys=["a"]), NOW)  # a repeat adds nothing
    taken = queue.take(10, LARGE, 30, "a", NOW)
    receipts = list(taken.receipts or ())
    queue.extend(receipts[:5], 40, NOW)
    queue.put_back(receipts[:4], 0, NOW)
    queue.acknowledge(receipts[4:], NOW)
    plain = queue.take(2, LARGE, None, "", NOW)
    queue.undo(plain, NOW)
    queue.advance(NOW + 50)
    assert disk.log == ["published", "added", "published", "changed", "changed", "changed", "removed", "taken", "added", "removed"]
    assert sorted(disk.rows) == [1, 2, 3]


def test_a_refused_publish_is_refused_by_check_too(disk: Disk) -> None:
    queue = queue_on(disk, QueuePolicy(max_messages=1))
    with pytest.raises(GmqError, match="may hold 1"):
        queue.check([b"1", b"2"], None, NOW)
    with pytest.raises(GmqError, match="another payload"):
        queue.check([b"1", b"2"], Options(keys=["a", "a"]), NOW)
    with pytest.raises(GmqError, match="above the delay"):
        queue.check([b"1"], Options(ttl=5, delay=5), NOW)
    assert not disk.log


def test_load_puts_messages_in_their_places(disk: Disk) -> None:
    for number in range(1, 12):
        disk.rows[number] = Message(number, b"%d" % number, NOW)
    plain = [
        ([Span(1, NOW, 4, 2)], [b"1", b"2"]),
        ([Span(4, NOW, 4, 2), Span(7, NOW, 4, 1)], None),
        ([Span(9, NOW, 4, 2)], [b"9", b"10"]),
    ]
    whole = [Message(8, PAGED, NOW), Message(6, PAGED, NOW, expires=NOW + 5), Message(3, b"3", NOW, due=NOW + 1)]
    whole.append(Message(11, b"11", NOW, deliveries=1, due=NOW + 2, receipt="1-b-t"))
    queue = queue_on(disk)
    queue.load(plain, [copy(message) for message in whole], [("old", 1, b"d" * 16, NOW), ("key", 2, b"d" * 16, NOW + 9)], 20, NOW)
    counts = queue.counts(NOW)
    assert (counts.ready, counts.delayed, counts.leased, counts.bytes) == (9, 1, 1, 13)
    assert queue._usage.paged == 5
    assert queue.remembered(None) == [("key", 2, b"d" * 16, NOW + 9)]
    assert not disk.log
    assert queue.due == NOW + 1
    assert [message.id for message in queue.peek(20, NOW)] == [1, 2, 4, 5, 6, 7, 8, 9, 10]
    assert [message.id for message in queue.peek(20, NOW + 2)] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    taken = queue.take(20, LARGE, 1000, "t", NOW + 2)
    assert taken.payloads() == [b"%d" % number for number in range(1, 12)]
    assert list(queue.publish([b"x"], 1, None, NOW)) == [20]


@pytest.mark.parametrize("below", [0, 3000], ids=["in memory", "on disk"])
def test_what_was_cut_of_a_queue_stays_as_it_was_whatever_happens_to_the_queue(disk: Disk, below: int) -> None:
    queue = queue_on(disk)
    for number in range(500):
        queue.publish([b"x"] * 7, 7, None, NOW + number)
    queue.page_lines(below)
    cut = queue.plain_since(2)
    before = [(copy(span), payloads) for span, payloads in each(cut)]
    queue.publish([b"y"], 1, None, NOW + 499)  # the last span grows
    for count in (1, 1, 700, 1, 900):  # others are cut, in the line and on the shelf
        assert len(queue.take(count, LARGE, None, "", NOW)) == count
    queue.page_lines(3300)
    assert list(each(cut)) == before, "what a checkpoint is writing has changed under its hands"
    assert sum(span.count for span, _ in before) == 3499


def test_a_queue_is_the_same_after_a_snapshot(disk: Disk) -> None:
    queue = queue_on(disk)
    payloads = fill(queue, 1000)
    queue.publish([b"whole"], 5, Options(ttl=5000), NOW)
    queue.page_lines(900)
    assert [span.first for span, _ in each(queue.plain_since(990))] == [990]
    other = queue_on(disk)
    other.load(queue.plain_since(0), [copy(message) for message in queue.whole_messages()], queue.remembered(None), queue.next_id, NOW)
    assert other.counts(NOW) == queue.counts(NOW)
    assert other._usage.paged == queue._usage.paged
    assert other.take(1000, LARGE, None, "", NOW).payloads() + other.take(1000, LARGE, None, "", NOW).payloads() == [*payloads, b"whole"]


def test_keys_are_forgotten_in_time(disk: Disk) -> None:
    queue = queue_on(disk)
    for second in range(10):
        queue.publish([b"1"], 1, Options(keys=[str(second)]), NOW + second * 1000)
    assert [(key, number) for key, number, _, _ in queue.remembered(3)] == [("7", 8), ("8", 9), ("9", 10)]
    assert queue.due == NOW + 300_000
    queue.advance(NOW + 304_000)
    assert [key for key, _, _, _ in queue.remembered(None)] == ["5", "6", "7", "8", "9"]
    assert queue._usage.keys == 5
