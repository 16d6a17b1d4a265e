"""What becomes of messages that were taken from a database for a client that was gone before its reply could leave."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mariadb
from broker_process import Broker
from cutting_proxy import CuttingProxy
from helpers_server import wait_until
from mariadb import MariaDb, Session, SharedMariaDb, section
from wire import Wire

Start = Callable[..., Broker]
Server = MariaDb | SharedMariaDb


@pytest.fixture
def small_mariadb(tmp_path: Path) -> Iterator[MariaDb]:
    """A server that takes packets of 1 MiB."""
    with mariadb.running(tmp_path / "mariadb", "--max-allowed-packet=1M") as server:
        yield server


def take_and_leave(server: Server, database: str, broker: Broker, count: int) -> None:
    """Take messages for a client that the broker sees leave before the database has handed them out."""
    with Session(server.host, server.port, database) as holder, Wire(broker.host, broker.port) as other:
        holder.run("LOCK TABLES gmq_message READ")
        gone = Wire(broker.host, broker.port)
        gone.send("S", "orders", count=count)
        sql = f"""SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{database}'
            AND state LIKE 'Waiting for table%lock' AND info LIKE 'SELECT id, size, due FROM gmq_message%'"""
        wait_until(lambda: server.sql(sql) != [["0"]], "the broker waits for its messages")
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end of file
        gone.close()
        for _ in range(2):
            other.done("H")  # the broker has seen what happened before
        holder.run("UNLOCK TABLES")


def test_messages_that_do_not_fit_into_one_packet_together_are_given_back(small_mariadb: MariaDb, start_broker: Start) -> None:
    database = small_mariadb.create()
    broker = start_broker(section(small_mariadb.port, database))
    payloads = [b"%d" % number * 400_000 for number in range(4)]
    with Wire(broker.host, broker.port) as wire:
        for payload in payloads:
            wire.publish("orders", payload)
        take_and_leave(small_mariadb, database, broker, len(payloads))
        assert [wire.take("orders", wait=10) for _ in payloads] == payloads


def test_messages_are_given_back_once_where_the_commit_of_that_is_not_answered(shared_mariadb: SharedMariaDb, start_broker: Start) -> None:
    database = shared_mariadb.create()
    proxy = CuttingProxy(shared_mariadb.host, shared_mariadb.port)
    broker = start_broker(section(proxy.port, database))
    given_back = False

    def is_commit_of_undo(data: bytes) -> bool:
        nonlocal given_back
        given_back = given_back or b"INSERT IGNORE INTO gmq_message" in data
        return given_back and data.endswith(b"COMMIT") and proxy.cuts == 0

    with Wire(broker.host, broker.port) as wire:
        wire.publish("orders", b"x")
        proxy.cut_after = is_commit_of_undo
        take_and_leave(shared_mariadb, database, broker, 1)
        assert wire.take("orders", wait=5) == b"x"
        wait_until(lambda: "could not be given back yet" in broker.log.read_text(), "the broker does not know whether it gave it back")
        assert proxy.cuts == 1
        assert wire.take("orders", wait=3) is None, "a message that was delivered came again"
    proxy.close()
