"""Runs a broker under load, ends it again and again, and has the checker look at all that clients were told."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from broker_process import SERVER, Broker
from crash.checker import Fault, Report, Rules, check
from crash.history import History, Op
from crash.traffic import DEAD, MOST_DELIVERIES, STREAM_LIMIT, Client, Load, Mix, note

POLICIES = [
    {"name": "strict", "pattern": "strict-*", "max_deliveries": MOST_DELIVERIES, "dead_letter": DEAD},
    {"name": "small", "pattern": "small-*", "max_messages": 60},
]
FILESYSTEM = {"type": "filesystem", "segment_size": 1 << 20, "checkpoint_size": 1 << 20}
"""The least sizes: checkpoints all the time."""
VERIFY_EVERY = 6
"""Ends after which the files are verified."""
STARTS_ENDED = 0.15
"""The part of the starts that are ended before they are over, or just then."""
LONGEST_START = 0.35
DRAIN_COUNT = 300
PATIENCE = 20.0


@dataclass(frozen=True)
class Plan:
    """A run. `load` is the range of seconds under load before each end."""

    mix: Mix
    seed: int
    ends: int
    load: tuple[float, float] = (0.05, 0.4)
    rules: Rules = field(default_factory=Rules)

    def __str__(self) -> str:
        return f"mix {self.mix.name}, seed {self.seed}, {self.ends} ends"

    def replay(self, what: str = "kill") -> str:
        """How to do it again, as far as chance allows; `what` is what was ended."""
        return f"make crash ARGS='--mix {self.mix.name} --seed {self.seed} --kills {self.ends} --round {self.ends} --what {what}'"


class Served(Protocol):
    """What is ended and started again."""

    broker: Broker
    survives: bool
    """Whether connections to the broker outlive an end."""

    def start(self) -> None: ...

    def end(self) -> None: ...

    def faults(self) -> list[str]:
        """What is wrong with it while it is not running."""
        ...


class KilledBroker:
    """A broker that gets SIGKILL."""

    survives = False

    def __init__(self, folder: Path, storage: dict[str, Any]) -> None:
        self.broker = Broker(folder, {"storage": storage, "policies": POLICIES})
        self._data = folder / "gmq-data" if storage["type"] == "filesystem" else None

    def start(self) -> None:
        self.broker.start()

    def end(self) -> None:
        self.broker.kill()

    def faults(self) -> list[str]:
        """What `gmqserver journal verify` finds, where there is a journal."""
        if self._data is None:
            return []
        done = subprocess.run([SERVER, "journal", "verify", self._data], capture_output=True, text=True, check=False)
        return [] if done.returncode == 0 else [f"gmqserver journal verify ended with {done.returncode}:\n{done.stdout}{done.stderr}"]


class StoppedBroker(KilledBroker):
    """A broker that gets SIGTERM."""

    def __init__(self, folder: Path, storage: dict[str, Any]) -> None:
        super().__init__(folder, storage)
        self.codes: list[int] = []

    def end(self) -> None:
        try:
            self.codes.append(self.broker.stop())
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"{error.timeout:g} s after SIGTERM the broker still runs:\n{self.broker.log.read_text()[-2000:]}"
            ) from None

    def faults(self) -> list[str]:
        codes, self.codes = self.codes, []
        return [*super().faults(), *(f"the broker ended with {code} at SIGTERM" for code in codes if code)]


def run(plan: Plan, served: Served, *, told: Callable[[str], None] = lambda _: None) -> Report:
    """Load, end and start it as planned, then drain every queue and check."""
    try:
        return asyncio.run(_Run(plan, served, told).run())
    finally:
        served.broker.kill()


class _Run:
    def __init__(self, plan: Plan, served: Served, told: Callable[[str], None]) -> None:
        self.plan = plan
        self.served = served
        self.told = told
        self.random = random.Random(plan.seed)
        self.history = History(linger=2.0 if served.survives else 0.0)
        self.history.dead_letters = {queue: (DEAD, MOST_DELIVERIES) for queue in plan.mix.queues if queue.startswith("strict-")}
        load = Load(plan.mix, self.history)
        self.clients = [Client(number, plan.seed, load) for number in range(plan.mix.clients)]
        self.faults: list[Fault] = []

    async def run(self) -> Report:
        await asyncio.to_thread(self.served.start)
        if self.served.survives:
            await self.through_ends()
        else:
            while self.history.life < self.plan.ends:
                await self.live()
        if not self.history.ends:
            await self.calm()
        await self.drain()
        report = await asyncio.to_thread(check, self.history, self.plan.rules)
        report.faults[:0] = self.faults
        return report

    # Lives

    def connected(self) -> list[asyncio.Task[None]]:
        broker = self.served.broker
        return [asyncio.create_task(client.run(broker.host, broker.port)) for client in self.clients]

    async def live(self) -> None:
        """A life of the broker, from clients that connect to the next start."""
        tasks = self.connected()
        await self.load(tasks)
        await asyncio.to_thread(self.served.end)
        self.history.end_life(self.history.now())
        await finished(tasks)
        self.history.settle()
        for client in self.clients:
            client.disconnected()
        await self.look_at_files()
        while self.random.random() < STARTS_ENDED and self.history.life < self.plan.ends:
            await self.start_in_vain()
        await asyncio.to_thread(self.served.start)

    async def load(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let clients work for a random time."""
        done, _ = await asyncio.wait(tasks, timeout=self.random.uniform(*self.plan.load), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()  # a client that failed

    async def start_in_vain(self) -> None:
        """Start, and end that somewhere on the way, or just when it is done."""
        starting = asyncio.create_task(asyncio.to_thread(self.served.start))
        await asyncio.wait([starting], timeout=self.random.uniform(0.0, LONGEST_START))
        await asyncio.to_thread(self.served.broker.kill)
        with suppress(AssertionError):  # it ended at its start, as it should
            await starting
        await asyncio.to_thread(self.served.broker.kill)  # it may have begun only now
        self.history.end_life(self.history.now())
        await self.look_at_files()

    async def look_at_files(self) -> None:
        if self.history.life % VERIFY_EVERY == 0 or self.history.life >= self.plan.ends:
            for text in await asyncio.to_thread(self.served.faults):
                self.faults.append(Fault("files", "-", f"after end {self.history.life}: {text}"))
            self.told(f"{self.history.life} ends, {len(self.history.ops)} requests")

    async def through_ends(self) -> None:
        """Connections stay, and what is behind the broker is ended."""
        tasks = self.connected()
        for _ in range(self.plan.ends):
            await self.load(tasks)
            await asyncio.to_thread(self.served.end)
            self.history.end_life(self.history.now())
            await self.load(tasks)
            await asyncio.to_thread(self.served.start)
            await self.available()
            self.told(f"{self.history.life} ends, {len(self.history.ops)} requests")
        await self.load(tasks)
        await self.stop(tasks)

    async def available(self) -> None:
        """Wait until the broker serves again."""
        async with self.connection("waiting") as ask:
            deadline = self.history.now() + PATIENCE
            while (op := await ask("Q")).code in {"unavailable", "unknown"}:
                assert self.history.now() < deadline, f"the broker does not serve {PATIENCE:g} s after its database does: {op.code}"
                await asyncio.sleep(0.01)

    async def calm(self) -> None:
        """Load without an end."""
        tasks = self.connected()
        await self.load(tasks)
        await self.stop(tasks)

    async def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let clients wait for their replies, and no more."""
        for client in self.clients:
            client.stopping = True
        await finished(tasks)

    # The end

    async def drain(self) -> None:
        """Use the receipts that are still good, wait until nothing is hidden any more, and take everything."""
        async with self.connection("end") as ask:
            for client in self.clients:
                for held in client.held:
                    if held.until > self.history.now() + 0.3 and self.random.random() < 0.5:
                        await ask("A", receipts=(held.receipt,), receipt=held.receipt)
            await self.nothing_hidden(ask)
            await self.take_all(ask)
        if self.history.ends and not self.served.survives:  # what is gone stays gone
            await asyncio.to_thread(self.served.end)
            self.history.end_life(self.history.now())
            await asyncio.to_thread(self.served.start)
            async with self.connection("afterwards") as ask:
                await self.take_all(ask)

    async def nothing_hidden(self, ask: Asks) -> None:
        """Wait for the end of every delay, lease and time to live."""
        ops = [op for op in self.history.ops if op.possible and op.ended < self.history.now() + 1]
        horizon = max((op.ended + max(op.delay, op.lease or 0.0, op.ttl or 0.0) for op in ops), default=0.0)
        await asyncio.sleep(max(0.0, horizon - self.history.now()))
        deadline = self.history.now() + self.plan.rules.late
        while hidden := {queue: counts for queue, counts in (await ask("Q")).counts.items() if any(counts[1:])}:
            if self.history.now() > deadline:
                text = (
                    f"still hidden {self.plan.rules.late:g} s after the end of the last delay and lease (ready, delayed, leased): {hidden}"
                )
                self.faults.append(Fault("late", "-", text))
                return
            await asyncio.sleep(0.005)

    async def take_all(self, ask: Asks) -> None:
        held = await ask("Q", quiet=True)
        for queue in held.counts:
            while (await ask("S", queue, count=DRAIN_COUNT, quiet=True)).got:
                pass
        for queue in self.history.dead_letters:
            await ask("I", queue)
        await ask("Q", quiet=True)

    @asynccontextmanager
    async def connection(self, name: str) -> AsyncIterator[Asks]:
        """A client that asks one thing at a time."""
        broker = self.served.broker
        reader, writer = await asyncio.open_connection(broker.host, broker.port, limit=STREAM_LIMIT)
        writer.write(b"\n")

        async def ask(kind: str, queue: str = "", *, quiet: bool = False, receipts: tuple[str, ...] = (), **fields: Any) -> Op:
            noted = {"count": fields["count"]} if "count" in fields else {}
            op = self.history.begin(f"{name}/{self.history.life}", kind, (queue,) if queue else (), quiet=quiet, receipts=receipts, **noted)
            request = {"operation": kind, **({"queue": queue} if queue else {}), **fields}
            writer.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(PATIENCE):
                note(op, json.loads(await reader.readline()), self.history)
            return op

        try:
            yield ask
        finally:
            writer.close()


class Asks(Protocol):
    """Asks one thing and waits for the reply."""

    async def __call__(self, kind: str, queue: str = "", *, quiet: bool = False, receipts: tuple[str, ...] = (), **fields: Any) -> Op: ...


async def finished(tasks: list[asyncio.Task[None]]) -> None:
    """Wait until connections have ended."""
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
