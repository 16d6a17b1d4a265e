"""The description of the HTTP API (OpenAPI 3.1), made of the table of operations and the structs that read and write what it describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import msgspec
from aiohttp import web
from msgspec import Struct

import gmq
from gmq.message import Limits
from gmq.server.http.operations import JSON, OPERATIONS, RAW, Operation
from gmq.server.http.problem import CONTENT_TYPE, Problem
from gmq.server.http.requests import KEY_SCHEMA, NAME_SCHEMA, POLICY_RANGES
from gmq.server.hub import Hub

Schema = dict[str, Any]

DESCRIPTION = """A message queue. The wire protocol over TCP has the same operations, and the same words for what goes wrong.

Messages are handed out in the order of their numbers, higher priorities first. A take without a lease delivers at most once; with a lease a
message comes again unless it is acknowledged. A refusal is a problem (RFC 9457): `code` is for programs, `detail` for people."""
TAGS = {
    "messages": "Publishing, taking, and what becomes of messages that were taken.",
    "queues": "What there is, and how it behaves.",
    "broker": "The broker itself.",
}
STATUSES = {
    200: "Done.",
    201: "Stored, or made.",
    204: "There is nothing.",
    400: "Malformed, or out of range.",
    401: "Wrong or missing credentials.",
    403: "Not for pages of other sites, or under a name that is not the broker's.",
    404: "There is no such queue.",
    406: "The reply is in no media type that is accepted.",
    408: "The body was not here in time.",
    409: "Another message was published with this key, or the receipt is not good any more.",
    413: "A message, or the body, is too large.",
    415: "The body is in a media type that is not read here, or has a content coding.",
    429: "At a limit: the queue is full, or there are too many queues or messages, or too many takes that wait.",
    500: "The outcome is not known.",
    503: "The broker, or its storage, cannot serve now.",
}
ALWAYS = (400, 401, 403, 429, 500, 503)
"""What any operation may answer; 429 where too many wait to be told whether their password is right, or for a message."""

SCHEMES = ("basic", "bearer")
"""How a request may say whose it is."""


def add_routes(app: web.Application, hub: Hub) -> None:
    """`/openapi.json`."""
    body = msgspec.json.encode(description(hub.broker.limits, authenticated=hub.authenticator.required))

    async def described(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=JSON)

    app.router.add_get("/openapi.json", described)


def description(limits: Limits, *, authenticated: bool) -> Schema:
    """The whole document, for a broker with these limits."""
    schemas = components(limits)
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, {})
        if "{queue}" in operation.path and not path:
            name = {"name": "queue", "in": "path", "required": True, "description": "the queue's name, percent-encoded"}
            path["parameters"] = [{**name, "schema": {"type": "string", **NAME_SCHEMA}}]
        path[operation.method.lower()] = described_operation(operation, schemas)
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "GMQ", "version": gmq.__version__, "summary": "A message queue", "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": {name: schema for name, schema in schemas.items() if name not in QUERIES}},
    }  # fmt: skip
    if authenticated:
        document["components"]["securitySchemes"] = {scheme: {"type": "http", "scheme": scheme} for scheme in SCHEMES}
        document["security"] = [{scheme: []} for scheme in SCHEMES]
    return document


QUERIES = frozenset(operation.query.__name__ for operation in OPERATIONS)


def components(limits: Limits) -> dict[str, Schema]:
    """The schema of each struct, by its name."""
    kinds: dict[type[Any], None] = {Problem: None}
    for operation in OPERATIONS:
        for kind in (operation.query, *operation.bodies.values(), *answered_kinds(operation)):
            if isinstance(kind, type) and issubclass(kind, Struct):
                kinds[kind] = None
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        for name, member in schema.get("properties", {}).items():
            schema["properties"][name] = flattened(member)
    for name, ranges in POLICY_RANGES.items():
        choices = schemas["QueuePolicy"]["properties"][name]["anyOf"]
        choices[0].update(ranges)
    schemas["QueuePolicy"]["properties"]["max_messages"]["anyOf"][0]["maximum"] = limits.queue_messages
    for name in ("BatchMessage", "Line"):
        message = schemas[name]
        message["oneOf"] = either("payload", "string", "text", "string")
        for member in ("payload", "text"):
            message["properties"][member]["anyOf"][0]["maxLength"] = (
                -(-limits.message_size // 3) * 4 if member == "payload" else limits.message_size
            )
    for name in ("AcknowledgeBody", "PutBackBody", "ExtendBody"):
        schemas[name]["oneOf"] = either("receipt", "string", "receipts", "array")
    with_keys = {"items": {"required": ["key"], "properties": {"key": {"type": "string"}}}}
    without = {"items": {"properties": {"key": {"type": "null"}}}}
    schemas["Batch"]["properties"]["messages"]["anyOf"] = [with_keys, without]
    return schemas


def flattened(member: Schema) -> Schema:
    """A member that may be null with its description where readers look for it; null as the default says nothing."""
    choices = member.get("anyOf", ())
    if "default" in member and member["default"] is None:
        member = {name: value for name, value in member.items() if name != "default"}
        if choices and "description" in choices[0]:
            member["description"] = choices[0].pop("description")
    return member


def either(one: str, one_type: str, other: str, other_type: str) -> list[Schema]:
    """That a body has one of two members; null is as good as left out."""
    return [
        {"required": [one], "properties": {one: {"type": one_type}, other: {"type": "null"}}},
        {"required": [other], "properties": {other: {"type": other_type}, one: {"type": "null"}}},
    ]


def described_operation(operation: Operation, schemas: Mapping[str, Schema]) -> Schema:
    """One operation."""
    found: Schema = {"operationId": operation.id, "tags": [operation.tag], "summary": operation.summary}
    if operation.text:
        found["description"] = operation.text
    parameters = list(query_parameters(schemas[operation.query.__name__]))
    if operation.id == "publish":
        text = "deduplication key of a message that is the whole body; in a batch or a stream each message has this, a slash and its place"
        parameters.append({"name": "Idempotency-Key", "in": "header", "description": text, "schema": {"type": "string", **KEY_SCHEMA}})
    if parameters:
        found["parameters"] = parameters
    if operation.bodies:
        content = {media: {"schema": schema_of(kind)} for media, kind in operation.bodies.items()}
        found["requestBody"] = {"required": operation.needed, "content": content}
    found["responses"] = {str(status): answer(operation, status) for status in sorted((*operation.answers, *operation.errors, *ALWAYS))}
    return found


def query_parameters(schema: Schema) -> Iterable[Schema]:
    """The parameters that a query struct means."""
    for name, member in schema["properties"].items():
        kinds = [choice for choice in member["anyOf"] if choice.get("type") != "null"]
        yield {
            "name": name, "in": "query", "description": member.get("description", ""),
            "schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds},
        }  # fmt: skip


def answer(operation: Operation, status: int) -> Schema:
    """One reply of an operation."""
    found: Schema = {"description": STATUSES[status]}
    if status not in operation.answers:
        found["content"] = {CONTENT_TYPE: {"schema": schema_of(Problem)}}
        if status in {429, 503}:
            found["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}}
        return found
    kinds = operation.answers[status]
    if kinds is None:
        return found
    if not isinstance(kinds, dict):
        kinds = {JSON: kinds}
    if RAW in kinds:
        found["description"] = "Messages as JSON, or one as it is."
        found["headers"] = {name: {"description": text, "schema": {"type": "string"}} for name, text in TAKE_HEADERS.items()}
    if operation.id == "create_queue" and status == web.HTTPCreated.status_code:
        found["headers"] = {"Location": {"description": "the queue", "required": True, "schema": {"type": "string"}}}
    found["content"] = {media: {"schema": schema_of(kind)} for media, kind in kinds.items()}
    return found


TAKE_HEADERS = {
    "Gmq-Queue": "the queue's name; like all texts here, with what is not printable ASCII, and the sign %, percent-encoded",
    "Gmq-Id": "the message's number in its queue",
    "Gmq-Receipt": "where there is a lease, what acknowledges the message",
    "Gmq-Deliveries": "how often it was handed out under a lease",
    "Gmq-Priority": "its priority",
    "Gmq-Published": "when it was published, in Unix seconds",
    "Gmq-Dead-Queue": "of a dead letter, the queue it comes from; Gmq-Dead-Id, -Reason, -Deliveries and -At tell the rest",
}
"""What a message that comes as it is has in header fields, besides Gmq-Header-NAME for its own headers."""


def answered_kinds(operation: Operation) -> Iterable[Any]:
    """The structs that an operation answers with."""
    for kinds in operation.answers.values():
        for kind in kinds.values() if isinstance(kinds, dict) else (kinds,):
            yield from get_args(kind) or (kind,)


def schema_of(kind: Any) -> Schema:
    """The schema of a body: bytes are a body as it is, several structs one of them."""
    if kind is bytes:
        return {"type": "string", "format": "binary"}
    several = get_args(kind)
    if several:
        return {"oneOf": [schema_of(one) for one in several]}
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
