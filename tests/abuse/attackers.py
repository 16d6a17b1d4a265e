"""Clients that mean harm, many in one process: `python -m abuse.attackers KIND TCP-ADDRESS HTTP-ADDRESS`.

It tells `ready` when all of them are at work, and goes on until its standard input ends; then it says what it did.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle

IDLE = 5000
SLOW = 1000
"""Slow writers, and slow readers: a byte a second each."""
CHURN = 2000
"""Connections that come and go in a second."""
RESETS = 500
"""Connections that are reset in a second, in the middle of a request."""
HALF_OPEN = 1000
TICK = 0.05
"""Seconds between two looks at what a pace asks for."""
FILES = IDLE + 1000
"""Descriptors that an attacker needs."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""
ONE_SHOT = b'{"operation":"L","queue":"good"}'
PIPELINE = b'{"operation":"K","queue":"big","count":1}\n' * 4000
HTTP_HEAD = b"GET /v1/queues HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 4000

Address = tuple[str, int]


@dataclass
class Attack:
    """Where to, and what was done so far."""

    tcp: Address
    http: Address
    done: Counter[str] = field(default_factory=Counter)
    open: set[socket.socket] = field(default_factory=set)

    async def connect(self, address: Address) -> socket.socket | None:
        """One more connection; None where it was not had."""
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setblocking(False)  # noqa: FBT003  # that is its name
        try:
            await asyncio.get_running_loop().sock_connect(one, address)
        except OSError:
            self.done["refused"] += 1
            one.close()
            return None
        self.open.add(one)
        self.done["connected"] += 1
        return one

    def close(self, one: socket.socket) -> None:
        self.open.discard(one)
        one.close()


async def paced(rate: float, act: Callable[[], Awaitable[None]]) -> None:
    """Act `rate` times a second for ever; a pace that cannot be kept is not made up for."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()
    due, last = 0.0, loop.time()
    while True:
        await asyncio.sleep(TICK)
        now = loop.time()
        due, last = min(due + rate * (now - last), rate), now
        while due >= 1 and len(running) < rate:
            due -= 1
            task = loop.create_task(act())  # type: ignore[arg-type]  # all of them are coroutines
            running.add(task)
            task.add_done_callback(running.discard)


async def hold(attack: Attack, count: int, addresses: list[Address], first: bytes) -> list[tuple[socket.socket, Address]]:
    """Open so many connections, and send something in each."""
    held = []
    for _, address in zip(range(count), cycle(addresses), strict=False):
        one = await attack.connect(address)
        if one is not None:
            with suppress(OSError):
                one.send(first)
            held.append((one, address))
    return held


async def idle(attack: Attack, ready: Callable[[], None]) -> None:
    """Be there, and nothing else: half of them over each transport."""
    await hold(attack, IDLE // 2, [attack.tcp], b"\n")
    await hold(attack, IDLE // 2, [attack.http], b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    ready()
    await asyncio.Event().wait()


async def slow_writers(attack: Attack, ready: Callable[[], None]) -> None:
    """A request that takes for ever, a byte a second; who is let go comes back."""
    held = await hold(attack, SLOW, [attack.tcp, attack.http], b"")
    ready()
    turns = cycle(range(len(held)))
    sent: Counter[int] = Counter()

    async def write() -> None:
        at = next(turns)
        one, address = held[at]
        text = b'\n{"operation":"P","queue":"good","payload":"' + b"A" * 10_000 if address == attack.tcp else HTTP_HEAD
        try:
            one.send(text[sent[at] : sent[at] + 1])
            sent[at] += 1
        except OSError:
            attack.done["let go"] += 1
            attack.close(one)
            again = await attack.connect(address)
            sent[at] = 0
            if again is not None:
                held[at] = (again, address)

    await paced(SLOW, write)


async def slow_readers(attack: Attack, ready: Callable[[], None]) -> None:
    """As many requests as the broker takes, and a byte of the replies a second."""
    held = await hold(attack, SLOW, [attack.tcp], b"\n")
    for one, _ in held:
        with suppress(OSError):
            one.send(PIPELINE)
    ready()
    turns = cycle(held)

    async def read() -> None:
        one, _ = next(turns)
        try:
            one.recv(1)
            one.send(PIPELINE[:4200])
        except BlockingIOError:
            pass
        except OSError:
            attack.done["let go"] += 1

    await paced(SLOW, read)


async def churn(attack: Attack, ready: Callable[[], None]) -> None:
    """Come, ask one thing, and go."""
    loop = asyncio.get_running_loop()

    async def visit() -> None:
        one = await attack.connect(attack.tcp)
        if one is None:
            return
        with suppress(OSError):
            one.send(ONE_SHOT)
            if await loop.sock_recv(one, 4096):
                attack.done["served"] += 1
        attack.close(one)

    ready()
    await paced(CHURN, visit)


async def half_open(attack: Attack, ready: Callable[[], None]) -> None:
    """Say that nothing more comes, and stay; or send half a request, and reset the connection."""
    for one, _ in await hold(attack, HALF_OPEN, [attack.tcp, attack.http], b'\n{"operation":"S","queue":"none","wait":60}\n{"opera'):
        with suppress(OSError):
            one.shutdown(socket.SHUT_WR)
    ready()
    addresses = cycle([attack.tcp, attack.http])

    async def reset() -> None:
        one = await attack.connect(next(addresses))
        if one is not None:
            with suppress(OSError):
                one.send(b'\n{"operation":"S","queue":"none","wait":60}\n{"operation":"P","queue":"good","pay')
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            attack.close(one)

    await paced(RESETS, reset)


ATTACKS = {"idle": idle, "slow-writers": slow_writers, "slow-readers": slow_readers, "churn": churn, "half-open": half_open}


async def attack_until_told(kind: str, attack: Attack) -> None:
    """Attack until standard input ends."""
    loop = asyncio.get_running_loop()
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    attacking = asyncio.create_task(ATTACKS[kind](attack, lambda: print("ready", flush=True)))  # noqa: T201  # for who started it
    listening = asyncio.create_task(told.read())
    done, _ = await asyncio.wait([attacking, listening], return_when=asyncio.FIRST_COMPLETED)
    if attacking in done:
        attacking.result()
    attacking.cancel()


def address_of(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    os.nice(19)  # they come from other machines
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attack = Attack(address_of(sys.argv[2]), address_of(sys.argv[3]))
    asyncio.run(attack_until_told(sys.argv[1], attack))
    print(json.dumps(attack.done), flush=True)  # noqa: T201  # for who started it


if __name__ == "__main__":
    main()
