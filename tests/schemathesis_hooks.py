"""What schemathesis has to be told of the HTTP API: texts that JSON Schema cannot describe, and rules between fields."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import schemathesis
from hypothesis import strategies

LONGEST = 604800
"""Seconds of a delay and a time to live."""
LONGEST_WAIT = 0.02
"""Seconds: the run should test the broker, not wait for messages that nobody publishes."""

_characters = strategies.characters(exclude_categories=("Cc", "Cs"))
_names = strategies.text(_characters, min_size=1, max_size=60).filter(lambda name: name not in (".", ".."))
_few_names = strategies.sampled_from(("a", "b", "jobs/mail", "ü"))  # so that one operation finds what another left

schemathesis.openapi.format("queue-name", _few_names | _names)
# As a header field a key is a value that HTTP can carry, and there quotes around it do not belong to it, and % begins an escape.
schemathesis.openapi.format("key", strategies.text("abcdefgh0123456789-_", min_size=1, max_size=100))
schemathesis.openapi.media_type("application/octet-stream", strategies.binary(max_size=200))


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A stream of the one line that was made up."""
    return json.dumps(value).encode()


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: dict[str, Any]) -> None:
    """Mend what breaks no schema but a rule of docs/http.md between two fields, and shorten waits."""
    query = case.query if isinstance(case.query, dict) else {}
    body = case.body if isinstance(case.body, dict) else {}
    policy = body.get("policy")
    for fields in (query, body, policy if isinstance(policy, dict) else {}):
        if is_number(fields.get("wait")) and 0 < float(fields["wait"]) <= 60:
            fields["wait"] = LONGEST_WAIT
        if is_number(fields.get("ttl")) and 0 < float(fields["ttl"]) <= 604800:
            fields["ttl"] = LONGEST  # above any delay but the longest; that of a policy too, which publishes to its queue get
        if is_number(fields.get("delay")) and LONGEST - 0.001 < float(fields["delay"]) <= LONGEST:  # the broker knows milliseconds
            fields["delay"] = 0
    queue = str(case.path_parameters.get("queue")) if isinstance(case.path_parameters, dict) else ""
    for fields, name in ((body, "to"), (body, "dead_letter"), (body.get("policy"), "dead_letter")):
        if isinstance(fields, dict) and fields.get(name) in (queue, unquote(queue)):  # it may be encoded already
            fields[name] = "another" if queue != "another" else "one more"
    raw = case.media_type == "application/octet-stream"
    if case.operation.label.endswith("/messages") and not raw and keyed(body):
        case.headers.pop("Idempotency-Key", None)  # messages have keys of their own


def keyed(body: dict[str, Any]) -> bool:
    """Whether a batch or a line has a key."""
    messages = body.get("messages", [body])
    return isinstance(messages, list) and any(isinstance(message, dict) and "key" in message for message in messages)


def is_number(value: object) -> bool:
    """Whether this is a number, or a text that is one."""
    if isinstance(value, bool):
        return False
    try:
        float(value)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError):
        return False
    return True
