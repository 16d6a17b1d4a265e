"""The Python clients of the broker: `Client` for asyncio, `BlockingClient` for threads and scripts. docs/clients.md shows them at work.

async with Client("localhost:4567") as client:
    await client.publish("orders", "hello")
    async with client.consume("orders") as messages:
        async for message in messages:
            print(message.text)
"""

from gmq.client.aio import Client
from gmq.client.blocking import BlockingClient, BlockingConsumer
from gmq.client.consumer import Consumer
from gmq.client.errors import (
    BadRequest,
    ConnectionFailed,
    Forbidden,
    GmqClientError,
    KeyConflict,
    LimitReached,
    NotFound,
    OutcomeUnknown,
    QueueFull,
    RequestRefused,
    RequestTimeout,
    StaleReceipt,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from gmq.client.tls import Tls
from gmq.client.wire import Hello, Message, QueueInfo, QueuePolicy, Settled
from gmq.message import Dead, QueueCounts, Totals

__all__ = [
    "BadRequest",
    "BlockingClient",
    "BlockingConsumer",
    "Client",
    "ConnectionFailed",
    "Consumer",
    "Dead",
    "Forbidden",
    "GmqClientError",
    "Hello",
    "KeyConflict",
    "LimitReached",
    "Message",
    "NotFound",
    "OutcomeUnknown",
    "QueueCounts",
    "QueueFull",
    "QueueInfo",
    "QueuePolicy",
    "RequestRefused",
    "RequestTimeout",
    "Settled",
    "StaleReceipt",
    "Tls",
    "TooLarge",
    "Totals",
    "Unauthorized",
    "Unavailable",
]
