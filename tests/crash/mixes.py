"""What the clients of a run do."""

from __future__ import annotations

from crash.traffic import DEAD, PRIVATE, Mix

PLAIN = Mix(
    "plain",
    {"publish": 30, "rich": 5, "take": 25, "take_count": 4, "look": 1},
    sizes=(10, 10, 100, 1000, 4000),
)
"""One message at a time, taken for good: many requests under way, so that one commit has many of them."""

LEASES = Mix(
    "leases",
    {"publish": 20, "rich": 10, "delayed": 2, "take_lease": 14, "settle": 20, "take_wait": 1, "look": 1},
    sizes=(10, 60, 600, 6000),
)
"""Nothing is taken for good: whatever is missing at the end is lost."""

VOLUME = Mix(
    "volume",
    {"batch": 8, "publish": 5, "rich": 2, "take_count": 6, "take_lease": 6, "settle": 8, "take_any": 2},
    sizes=(10, 500, 2000, 8000, 20_000),
    windows=(1, 4, 12),
    backlog=4000,
)
"""Many bytes: segments are recycled, checkpoints made, queues' files rewritten."""

KEYS = Mix(
    "keys",
    {"keyed": 20, "repeat": 4, "conflict": 1, "delayed": 8, "brief": 6, "publish": 5, "take": 6, "take_lease": 6, "settle": 10},
    queues=("q-0", "q-1", "small-0"),
)
"""Keys that are repeated, delays, times to live, and a queue that is full now and then."""

ALL = Mix(
    "all",
    {
        "publish": 15, "batch": 3, "rich": 5, "delayed": 3, "brief": 2, "keyed": 4, "repeat": 1, "take": 5, "take_count": 2, "take_any": 2,
        "take_wait": 1, "take_lease": 12, "settle": 12, "move": 2, "redeem": 1, "clear": 0.3, "delete": 0.2, "policy": 1, "look": 3,
    },
    queues=("q-0", "strict-0", "strict-1", "from", "to", PRIVATE, DEAD),
    sizes=(10, 100, 1000, 5000),
)  # fmt: skip
"""All that there is: dead letters, moves, clears, queues that are deleted, policies."""

MIXES = {mix.name: mix for mix in (PLAIN, LEASES, VOLUME, KEYS, ALL)}
