"""Deadlines against a model of them, with many of everything."""

from __future__ import annotations

from random import Random

import pytest

from gmq.deadlines import Deadlines, Leases
from gmq.message import NEVER, Message


@pytest.mark.parametrize("seed", range(5))
def test_what_is_due_comes_once_and_in_order(seed: int) -> None:
    random = Random(seed)
    deadlines: Deadlines[int] = Deadlines("due")
    model: dict[int, Message] = {}
    now = 0
    for step in range(5000):
        key = random.randrange(200)
        match random.randrange(4):
            case 0 | 1:
                model[key] = Message(key, b"", 0, due=now + random.choice([1, 5, 50, 5000]))
                deadlines.put(key, model[key].due, model[key])
                assert deadlines._heaped <= 2 * len(model) + 64, "what is stale is kept"
            case 2:
                assert deadlines.pop(key) is model.pop(key, None)
            case _ if step % 8 == 0:
                now += random.randrange(40)
                limit = random.randrange(1, 20)
                due = deadlines.pop_due(now, limit)
                expected = sorted(message.due for message in model.values() if message.due <= now)[:limit]
                assert [message.due for message in due] == expected, "not the earliest, or not all of them"
                for message in due:
                    assert model.pop(message.id) is message
        assert len(deadlines) == len(model)
        assert deadlines.first() == min((message.due for message in model.values()), default=NEVER)
    assert deadlines.in_order() == sorted(((one.due, one) for one in model.values()), key=lambda item: (item[0], item[1].id))


def test_leases_that_are_extended_for_ever_take_no_more_room() -> None:
    leases = Leases()
    lasting = Message(1, b"", 0, due=10**6, receipt="1")
    leases.put_all(["1"], lasting.due, [lasting])
    message = Message(2, b"", 0, receipt="2")
    for due in range(1, 1000):
        message.due = due
        leases.put("2", due, message)
        assert leases.get("2", due) is None
        assert leases.get("2", due - 1) is message
    assert leases.first() == 999
    assert len(leases._heap) < 100
    assert leases.pop_live(["2", "1", "0"], 999) == [None, lasting, None], "what is due waits for its turn"
    assert leases.pop_due(999, 10) == [message]
    assert leases.first() == NEVER
