"""Brokers on a MySQL server and on a Galera cluster, where scripts are there that start them.

`GMQ_TEST_MYSQL` and `GMQ_TEST_GALERA` name the scripts: see `mariadb.script_section` for what they have to do, and below.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from broker_process import Broker
from helpers_server import wait_until
from mariadb import run_script, script_section
from wire import Wire, b64, unb64

Start = Callable[..., Broker]

pytestmark = pytest.mark.timeout(900)  # the first start of a server may unpack it


def script(variable: str, server: str) -> str:
    return os.environ.get(variable) or pytest.skip(f"{variable} names no script that starts {server}")


@pytest.fixture
def mysql() -> str:
    return script("GMQ_TEST_MYSQL", "a MySQL server")


@pytest.fixture
def galera() -> Iterator[str]:
    """A cluster of three nodes; all are started anew afterwards."""
    name = script("GMQ_TEST_GALERA", "a Galera cluster")
    yield name
    run_script(name, "down")


class Load:
    """Producers and consumers that go on whatever happens, and keep book."""

    def __init__(self, brokers: list[Broker]) -> None:
        self.acknowledged: set[bytes] = set()
        self.in_doubt: set[bytes] = set()
        self.received: list[bytes] = []
        self.over = threading.Event()
        self._brokers = brokers
        self._works = [lambda at=at: self._produce(at) for at in range(4)] + [lambda at=at: self._consume(at) for at in range(2)]  # type: ignore[misc]  # a default is typed
        self._threads = [threading.Thread(target=work) for work in self._works]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _produce(self, number: int) -> None:
        at = 0
        with self._connect(number) as wire:
            while not self.over.is_set():
                payload = b"%d-%d" % (number, at)
                at += 1
                for _ in range(100):
                    reply = wire.ask("P", "orders", payload=b64(payload), key=payload.decode())
                    if reply["confirmation"] == "Y":
                        self.acknowledged.add(payload)
                        break
                    assert reply["code"] in {"unavailable", "unknown"}, reply
                    time.sleep(0.1)
                else:
                    self.in_doubt.add(payload)

    def _consume(self, number: int) -> None:
        with self._connect(number) as wire:
            while not self.over.is_set():
                reply = wire.ask("S", "orders", lease=30, count=10, wait=1)
                messages: list[dict[str, Any]] = reply.get("messages") or []
                for message in messages:
                    settled = wire.ask("A", receipt=message["receipt"])
                    while settled.get("code") == "unavailable":
                        time.sleep(0.1)
                        settled = wire.ask("A", receipt=message["receipt"])
                    self.received.append(unb64(message["payload"]))
                if reply["confirmation"] == "N":
                    time.sleep(0.1)

    def _connect(self, number: int) -> Wire:
        broker = self._brokers[number % len(self._brokers)]
        return Wire(broker.host, broker.port, timeout=60)

    def check(self) -> None:
        """Nothing that was acknowledged is lost, once what is left, and what was leased to nobody who knows, was drained."""
        with self._connect(0) as wire:

            def drained() -> bool:
                self.received.extend(wire.drain("orders"))
                return wire.counts("orders") == (0, 0, 0)

            wait_until(drained, "all leases run out", 60)
        lost = self.acknowledged - set(self.received)
        assert not lost, f"{len(lost)} acknowledged messages of {len(self.acknowledged)} are lost"
        assert len(self.acknowledged) > 100, f"only {len(self.acknowledged)} were acknowledged: the load was no load"


def serves(broker: Broker) -> bool:
    with Wire(broker.host, broker.port, timeout=60) as wire, suppress(AssertionError):
        wire.publish("other", b"x")
        return True
    return False


def test_a_mysql_server_that_crashes_under_load_loses_nothing_acknowledged(mysql: str, start_broker: Start) -> None:
    config = script_section(mysql)
    with Load([start_broker(config) for _ in range(2)]) as load:
        time.sleep(2)
        run_script(mysql, "kill")
        run_script(mysql, "up")
        before = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > before + 100, "the brokers use the database again", 60)
    load.check()


def test_mysql_with_tls(mysql: str, start_broker: Start) -> None:
    config = script_section(mysql)
    config["database"]["dsn"] += "?tls=skip-verify"
    broker = start_broker(config)
    assert serves(broker)
    database = config["database"]["dsn"].rpartition("/")[2].partition("?")[0]
    encrypted = f"""SELECT COUNT(*), SUM(t.connection_type = 'SSL/TLS') FROM performance_schema.threads t
        WHERE t.processlist_db = '{database}' AND t.type = 'FOREGROUND'"""
    connections, with_tls = run_script(mysql, "sql", encrypted).split()
    assert int(connections) == int(with_tls) > 0


def test_the_take_reads_an_index_in_its_order_on_mysql(mysql: str, start_broker: Start) -> None:
    config = script_section(mysql)
    broker = start_broker(config)
    with Wire(broker.host, broker.port) as wire:
        for _ in range(3):
            wire.done("P", "orders", payloads=["eA=="] * 1000)
    database = config["database"]["dsn"].rpartition("/")[2]
    take = """SELECT id, size, due FROM gmq_message WHERE queue = (SELECT generation FROM gmq_queue WHERE name = 'orders')
        AND state = 0 ORDER BY place, id LIMIT 100 FOR UPDATE SKIP LOCKED"""
    plan = run_script(mysql, "sql", f"USE {database}; ANALYZE TABLE gmq_message; EXPLAIN FORMAT=TRADITIONAL {take}")
    line = next(line for line in plan.splitlines() if "PRIMARY" in line.split("\t")[1])
    assert "\ttake\t" in line, plan
    assert "filesort" not in line, plan


def test_brokers_fail_over_when_the_node_they_write_to_is_killed_and_lose_nothing_acknowledged(galera: str, start_broker: Start) -> None:
    dsn = run_script(galera, "up").splitlines()[-1]
    name = f"gmq_{uuid4().hex[:12]}"
    # A new MariaDB has an anonymous user at localhost, which would come before gmq@'%'.
    statements = (
        f"CREATE DATABASE {name}; CREATE USER IF NOT EXISTS gmq@localhost IDENTIFIED BY 'pw'; GRANT ALL ON {name}.* TO gmq@localhost"
    )
    run_script(galera, "sql", "1", statements)
    config = {"storage": {"type": "mysql"}, "database": {"dsn": dsn.rpartition("/")[0] + f"/{name}"}}
    brokers = [start_broker(config) for _ in range(2)]
    with Wire(brokers[0].host, brokers[0].port) as wire:  # ids of a cluster have gaps
        ids = [*wire.done("P", "ids", payloads=[b64(b"a"), b64(b"b"), b64(b"c")])["ids"], wire.publish("ids", b"d")]
        assert [message["id"] for message in wire.done("K", "ids", count=10)["messages"]] == ids
    with Load(brokers) as load:
        time.sleep(3)
        before = len(load.acknowledged)
        assert before, "nothing was acknowledged"
        run_script(galera, "kill", "1")
        wait_until(lambda: len(load.acknowledged) > before + 200, "the brokers have failed over", 90)
        run_script(galera, "start", "1")
        before = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > before + 200, "the brokers go on", 90)
    load.check()
    assert Path(brokers[0].log).read_text().count("using the database") >= 2, "the broker did not change its node"
