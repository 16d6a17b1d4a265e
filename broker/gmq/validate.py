"""The checks of names, ranges and policies that every way into the broker shares."""

import json
import re

from gmq.message import MAX_DELIVERIES, MAX_EXPIRES, MAX_LEASE, MAX_NAME_BYTES, MAX_TTL, MIN_LEASE, QueuePolicy, refuse

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
        refuse(f'{what} is {quote(name)}; a queue may not be named "." or ".."')
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        refuse(f"{what} is {quote(name)}; a queue's name is UTF-8, without lone surrogates")
    if not 0 < size <= MAX_NAME_BYTES:
        refuse(f"{what} is {quote(name)}, {size} bytes of UTF-8; a queue's name has 1 to {MAX_NAME_BYTES}")
    if control := _CONTROL.search(name):
        refuse(f"{what} is {quote(name)}; a queue's name has no control characters, such as U+{ord(control[0]):04X}")


def check_range(what: str, value: float, low: float, high: float, unit: str = "", *, above: bool = False) -> None:
    """Refuse a number that is not finite or not within `low` to `high`; `above` excludes `low` itself.

    Raises:
        GmqError: `bad_request`; the text quotes the value and the range.
    """
    if (low < value if above else low <= value) and value <= high:  # false for NaN
        return
    unit = f" {unit}" if unit else ""
    allowed = f"must be above {_number(low)}, up to {_number(high)}" if above else f"may be {_number(low)} to {_number(high)}"
    refuse(f"{what} is {_number(value)}{unit}; it {allowed}{unit}")


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
