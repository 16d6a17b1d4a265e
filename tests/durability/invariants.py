"""What has to be true of a storage that comes back after the power went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from model import Done, Item, Items, Model, at_rest, label, snapshot

GONE = None


def broken(found: Items, proven: Items, open_operations: Sequence[Done], now: int) -> Iterator[str]:
    """What is wrong with what was found.

    `proven` is what all acknowledged operations made, `open_operations` are those that were asked for and not acknowledged: each may be
    there or not, and one that is atomic not in parts.
    """
    possible: dict[Item, list[Any]] = {}
    for done in open_operations:
        for item, (_, after) in done.changes.items():
            possible.setdefault(item, [at_rest(proven.get(item), now)]).append(at_rest(after, now))
    for item in {**found, **proven}:
        value, wanted = at_rest(found.get(item), now), possible.get(item) or [at_rest(proven.get(item), now)]
        if value not in wanted:
            what = "invented" if wanted == [GONE] else "lost" if value is GONE else "not what it was"
            yield f"{what}: {label(item)}: found {value}, which may be {wanted}"
    for place, done in enumerate(open_operations):
        if done.atomic:
            yield from halves(found, proven, open_operations, place, now)


def halves(found: Items, proven: Items, operations: Sequence[Done], place: int, now: int) -> Iterator[str]:
    """An operation that is there in part."""
    present: list[Item] = []
    missing: list[Item] = []
    for item in operations[place].changes:
        if item[0] == "queue" and not operations[place].text.startswith("policy"):
            continue  # a publish may have made a queue and then not filled it
        if any(item in done.changes for done in operations[:place]):
            continue  # what it changed may be missing itself
        value, before = at_rest(found.get(item), now), at_rest(proven.get(item), now)
        afters = [at_rest(done.changes[item][1], now) for done in operations[place:] if item in done.changes]
        if value in afters and value != before:
            present.append(item)
        elif value == before and value not in afters:
            missing.append(item)
    if present and missing:
        yield f"half of it: {operations[place].text}: there are {list(map(label, present))}, and missing are {list(map(label, missing))}"


def goes_on(model: Model, names: Sequence[str], floors: dict[str, int]) -> None:
    """The storage of the model, which has just come back, takes and gives messages; no id is given a second time."""
    model.items = snapshot(model.storage)
    model.floors = dict(floors)
    model.tick()
    for name in names:
        if model.policy(name).max_messages is None:
            model.publish(name, [b"after %s" % name.encode(), b"behind %s" % name.encode()])
        model.take([name], 3, None)
        model.take([name], 2, 60_000)
    receipts = model.receipts()[:5]
    if receipts:
        model.acknowledge(receipts)
    model.compare()
