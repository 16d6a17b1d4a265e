"""The operations of the HTTP API in one table: it makes the routes, and the description in `/openapi.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from gmq.message import QueuePolicy
from gmq.server.http import replies, requests
from gmq.server.http.requests import NoQuery


class Operation(Struct, frozen=True, kw_only=True):
    """One of them. `id` is also the name of the method that serves it.

    `bodies` has the struct of each media type that the request may have, bytes for a body as it is; `answers` that of each status. `needed`
    tells whether the body must be there. `errors` are statuses beside those that every operation may have.
    """

    id: str
    method: str
    path: str
    tag: str
    summary: str
    text: str = ""
    query: type[Any] = NoQuery
    bodies: dict[str, type[Any]] = {}
    needed: bool = True
    answers: dict[int, Any]
    errors: Sequence[int] = ()


JSON = "application/json"
NDJSON = "application/x-ndjson"
RAW = "application/octet-stream"
QUEUES = "/v1/queues"
QUEUE = "/v1/queues/{queue}"
MESSAGES = "/v1/queues/{queue}/messages"

OPERATIONS: Sequence[Operation] = (
    Operation(
        id="publish", method="POST", path=MESSAGES, tag="messages", summary="Publish",
        text="A body of JSON is a batch, all of it stored or nothing. Lines of JSON are any number of messages, stored in slices of up to "
        "1000 messages or 8 MiB, each all or nothing; an error tells its line, and how many messages before it were stored. Any other body "
        "is one message as it is; header fields carry what a message may have beside it. A queue that does not exist is created. The "
        "reply comes when the messages are as durable as the storage is.",
        query=requests.PublishQuery,
        bodies={RAW: bytes, JSON: requests.Batch, NDJSON: requests.Line},
        needed=False,
        answers={200: replies.PublishedStream, 201: replies.Published | replies.PublishedBatch | replies.PublishedStream},
        errors=(408, 409, 413, 415),
    ),
    Operation(
        id="take", method="POST", path=QUEUE + "/take", tag="messages", summary="Take messages",
        text="Without a lease the messages are gone when the reply is sent: one that is lost on its way is lost. With a lease they are "
        "hidden from others until they are acknowledged, put back, or the lease runs out. The reply is one message as it is, with what is "
        "known of it in header fields, and 204 where there is none; a client that accepts application/json gets JSON.",
        query=requests.TakeQuery,
        answers={200: {JSON: replies.Messages, RAW: bytes}, 204: None},
        errors=(406,),
    ),
    Operation(
        id="take_first", method="POST", path="/v1/take", tag="messages", summary="Take from the first of several queues that has a message",
        bodies={JSON: requests.TakeBody},
        answers={200: {JSON: replies.Messages, RAW: bytes}, 204: None},
        errors=(406, 408, 413, 415),
    ),
    Operation(
        id="acknowledge", method="POST", path="/v1/acknowledge", tag="messages", summary="Remove messages that were leased",
        bodies={JSON: requests.AcknowledgeBody}, answers={200: replies.SettledReceipts}, errors=(408, 409, 413, 415),
    ),
    Operation(
        id="put_back", method="POST", path="/v1/put-back", tag="messages", summary="Put leased messages back to their old places",
        bodies={JSON: requests.PutBackBody}, answers={200: replies.SettledReceipts}, errors=(408, 409, 413, 415),
    ),
    Operation(
        id="extend", method="POST", path="/v1/extend", tag="messages", summary="Let leases end later, or sooner",
        text="The length counts from now.",
        bodies={JSON: requests.ExtendBody}, answers={200: replies.SettledReceipts}, errors=(408, 409, 413, 415),
    ),
    Operation(
        id="peek", method="GET", path=MESSAGES, tag="messages", summary="Look at the first ready messages; they stay",
        query=requests.PeekQuery, answers={200: replies.Messages},
    ),
    Operation(
        id="clear", method="DELETE", path=MESSAGES, tag="queues", summary="Remove every message of a queue",
        text="Delayed and leased messages are removed too.", answers={200: replies.Counted}, errors=(404,),
    ),
    Operation(
        id="list_queues", method="GET", path=QUEUES, tag="queues", summary="List queues, page by page",
        query=requests.ListQuery, answers={200: replies.QueueList}, errors=(404,),
    ),
    Operation(
        id="create_queue", method="PUT", path=QUEUE, tag="queues", summary="Create a queue, or set the policy of one that is there",
        bodies={JSON: requests.CreateBody}, needed=False, answers={200: replies.QueueState, 201: replies.QueueState},
        errors=(408, 413, 415),
    ),
    Operation(
        id="inspect_queue", method="GET", path=QUEUE, tag="queues", summary="Look closely at a queue",
        answers={200: replies.QueueState}, errors=(404,),
    ),
    Operation(
        id="delete_queue", method="DELETE", path=QUEUE, tag="queues", summary="Delete a queue with all its messages",
        answers={200: replies.Counted}, errors=(404,),
    ),
    Operation(
        id="set_policy", method="PUT", path=QUEUE + "/policy", tag="queues", summary="Replace a queue's policy",
        bodies={JSON: QueuePolicy}, needed=False, answers={200: QueuePolicy}, errors=(404, 408, 413, 415),
    ),
    Operation(
        id="move", method="POST", path=QUEUE + "/move", tag="queues", summary="Move messages to another queue, or dead letters back",
        text="Ready and delayed messages, all that were asked for or none; leased ones stay.",
        bodies={JSON: requests.MoveBody}, needed=False, answers={200: replies.Counted}, errors=(404, 408, 413, 415),
    ),
    Operation(
        id="about", method="GET", path="/v1", tag="broker", summary="The broker's version, limits and capabilities",
        answers={200: replies.About},
    ),
)  # fmt: skip
