"""Requests in one form, so that those that were decoded together compare with those that were decoded one by one."""

from __future__ import annotations

from collections.abc import Iterable

from gmq import plain, protocol
from gmq.plain import Acknowledges, Publishes, Spread, Takes
from gmq.protocol import Item


def meanings(items: Iterable[Item]) -> list[object]:
    """Requests in one form, each by itself."""
    found: list[object] = []
    for item in items:
        if isinstance(item, Publishes):
            found += [("P", item.queue, payload) for payload in item.payloads]
        elif isinstance(item, Spread):
            found += [("P", queue, payload) for queue, payload in zip(item.queues, item.payloads, strict=True)]
        elif isinstance(item, Takes):
            found += [("S", item.queue, item.lease, type(item.lease))] * len(item)
        elif isinstance(item, Acknowledges):
            found += [("A", receipt) for receipt in item.receipts]
        else:
            found.append(meaning(item))
    return found


def meaning(item: Item) -> object:
    """A single request in the form that a plain one has; its kind where it has more to it."""
    alike = plain.decode(protocol_line(item))
    return meanings(alike)[0] if alike is not None else (type(item).__name__, item.operation)


def protocol_line(item: Item) -> bytes:
    """A plain line of a request; an empty object where it has more than such a line can say."""
    if isinstance(item, protocol.Publish) and item.payload is not None and item.queue is not None and bare(item, "payload"):
        return plain._encode({"operation": "P", "queue": item.queue, "payload": item.payload}) + b"\n"
    if isinstance(item, protocol.Take) and item.queue is not None and bare(item, "lease"):
        lease = {} if item.lease is None else {"lease": item.lease}
        return plain._encode({"operation": "S", "queue": item.queue, **lease}) + b"\n"
    if isinstance(item, protocol.Acknowledge) and item.receipt is not None and item.queue is None and bare(item, "receipt"):
        return plain._encode({"operation": "A", "receipt": item.receipt}) + b"\n"
    return b"{}\n"


def bare(item: protocol.Request, *fields: str) -> bool:
    """Whether a request has nothing beside its queue and these fields."""
    defaults = type(item)()
    return all(getattr(item, name) == getattr(defaults, name) for name in item.__struct_fields__ if name not in {"queue", *fields})
