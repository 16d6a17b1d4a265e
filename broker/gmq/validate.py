"""The checks of names, ranges and policies that every way into the broker shares."""

import json
import re
from collections.abc import Sequence

from gmq.message import (
    DEFAULT_PRIORITY,
    MAX_COUNT,
    MAX_DELAY,
    MAX_DELIVERIES,
    MAX_EXPIRES,
    MAX_HEADERS_BYTES,
    MAX_KEY_BYTES,
    MAX_LEASE,
    MAX_NAME_BYTES,
    MAX_TTL,
    MIN_LEASE,
    POLICY_LEASE,
    PRIORITIES,
    Options,
    QueuePolicy,
    headers_size,
    milliseconds,
    refuse,
)

LONGEST_PATH = 4096
"""How much `quote` should show of a file's path: it must be found by what an error says."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc, all of it
_WRITTEN_BITS = 128
_EXACT = 1 << 53  # floats up to here are exact integers


def quote(text: str, longest: int = 60) -> str:
    """The text as a JSON string for an error message: nothing in it that a terminal acts on, cut after `longest` characters."""
    shown = text if len(text) <= longest else text[:longest] + "..."
    quoted = json.dumps(shown, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in quoted)


def check_name(name: str, what: str = "queue") -> None:
    """Refuse what cannot name a queue; `what` is the field or setting that the error text talks about.

    A name has 1 to 255 bytes of UTF-8, no control characters (Unicode's category Cc), and is not "." or "..".

    Raises:
        GmqError: `bad_request`.
    """
    if name.isascii() and name.isprintable() and 0 < len(name) <= MAX_NAME_BYTES and name not in {".", ".."}:
        return  # nearly all names; the rest is for the others, and for saying what is wrong
    if name in {".", ".."}:
        refuse(f'{what} is {quote(name)}; a queue may not be named "." or ".."', what)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        refuse(f"{what} is {quote(name)}; a queue's name is UTF-8, without lone surrogates", what)
    if not 0 < size <= MAX_NAME_BYTES:
        refuse(f"{what} is {quote(name)}, {size} bytes of UTF-8; a queue's name has 1 to {MAX_NAME_BYTES}", what)
    if control := _CONTROL.search(name):
        refuse(f"{what} is {quote(name)}; a queue's name has no control characters, such as U+{ord(control[0]):04X}", what)


def check_range(what: str, value: float, low: float, high: float, unit: str = "", *, above: bool = False) -> None:
    """Refuse a number that is not finite or not within `low` to `high`; `above` excludes `low` itself.

    Raises:
        GmqError: `bad_request`; the text quotes the value and the range.
    """
    if (low < value if above else low <= value) and value <= high:  # false for NaN
        return
    unit = f" {unit}" if unit else ""
    allowed = f"must be above {_number(low)}, up to {_number(high)}" if above else f"may be {_number(low)} to {_number(high)}"
    refuse(f"{what} is {_number(value)}{unit}; it {allowed}{unit}", what)


def check_policy(policy: QueuePolicy, max_messages: int, where: str = "policy") -> None:
    """Refuse a policy with a member out of its range; `max_messages` is the broker's limit, `where` the policy's name in the error text.

    Raises:
        GmqError: `bad_request`, for the first such member.
    """
    if policy.max_messages is not None:
        check_range(f"{where}.max_messages", policy.max_messages, 1, max_messages)
    if policy.max_deliveries is not None:
        check_range(f"{where}.max_deliveries", policy.max_deliveries, 1, MAX_DELIVERIES)
    if policy.dead_letter is not None:
        check_name(policy.dead_letter, f"{where}.dead_letter")
    if policy.ttl is not None:
        check_range(f"{where}.ttl", policy.ttl, 0, MAX_TTL, "s", above=True)
    if policy.lease is not None:
        check_range(f"{where}.lease", policy.lease, MIN_LEASE, MAX_LEASE, "s")
    if policy.expires is not None:
        check_range(f"{where}.expires", policy.expires, 1, MAX_EXPIRES, "s")


def _number(value: float) -> str:
    """The number as people write it: whole ones without a fraction, huge ones not in full."""
    if isinstance(value, int):
        return str(value) if value.bit_length() <= _WRITTEN_BITS else f"an integer of {value.bit_length()} bits"
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else str(value)


def publish_options(
    count: int,
    *,
    priority: int | None = None,
    delay: float | None = None,
    ttl: float | None = None,
    headers: dict[str, str] | None = None,
    keys: Sequence[str] | None = None,
) -> Options | None:
    """The checked options of a publish of `count` messages; None when nothing was asked for. `delay` and `ttl` are in seconds."""
    if priority is not None:
        check_range("priority", priority, 0, PRIORITIES - 1)
    if delay is not None:
        check_range("delay", delay, 0, MAX_DELAY, "s")
    if ttl is not None:
        check_range("ttl", ttl, 0, MAX_TTL, "s", above=True)
        check_ttl(milliseconds(ttl), milliseconds(delay or 0))
    if headers and headers_size(headers) > MAX_HEADERS_BYTES:
        refuse(f"headers have {headers_size(headers)} bytes of names and values; they may have up to {MAX_HEADERS_BYTES}", "headers")
    if keys is not None:
        if len(keys) != count:
            refuse(f"keys has {len(keys)} keys for {count} payloads; it must have one for each", "keys")
        for key in keys:
            check_key(key)
    if not headers and all(option is None for option in (priority, delay, ttl, keys)):
        return None
    return Options(
        DEFAULT_PRIORITY if priority is None else priority,
        milliseconds(delay or 0),
        None if ttl is None else milliseconds(ttl),
        headers or None,
        keys,
    )


def lease_length(lease: float | bool) -> int:  # noqa: FBT001  # `true` is the wire's word for "as the policy says"
    """The milliseconds of a lease given in seconds, POLICY_LEASE for `True`."""
    if lease is True:
        return POLICY_LEASE
    if lease is False:
        refuse("lease is false; it may be a number of seconds, or true for the queue's own", "lease")
    check_range("lease", lease, MIN_LEASE, MAX_LEASE, "s")
    return milliseconds(lease)


def check_ttl(ttl: int, delay: int) -> None:
    """Refuse a time to live that is over before the delay, both in milliseconds.

    Raises:
        GmqError: `bad_request`.
    """
    if ttl <= delay:
        refuse(f"ttl is {ttl / 1000:g} s and delay is {delay / 1000:g} s; the ttl must be above the delay", "ttl")


def check_key(key: str) -> None:
    """Raise where `key` is no deduplication key."""
    size = len(key.encode())
    if not 1 <= size <= MAX_KEY_BYTES:
        refuse(f"a key has {size} bytes; it may have 1 to {MAX_KEY_BYTES}", "key")


def check_count(what: str, items: Sequence[object]) -> None:
    """Raise where a list has no or too many items."""
    if not 1 <= len(items) <= MAX_COUNT:
        refuse(f"{what} has {len(items)} items; it may have 1 to {MAX_COUNT}", what)
