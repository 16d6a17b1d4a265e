"""What brokers do while a queue in a database is changed by another request: each step waits for the one before, by means of locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from broker_process import Broker
from helpers_server import wait_until
from mariadb import Session, SharedMariaDb, section
from wire import Wire, b64

Start = Callable[..., Broker]

CLEAR = """INSERT INTO gmq_generation () VALUES ();
    UPDATE gmq_queue SET generation = LAST_INSERT_ID(), version = version + 1 WHERE name = 'orders'"""
"""What a broker does that clears a queue."""


class Stage:
    """A broker, and what holds it up: `queues` keeps it from gmq_queue while locked, `messages` from changing gmq_message."""

    def __init__(self, server: SharedMariaDb, database: str, broker: Broker, queues: Session, messages: Session) -> None:
        self.broker = broker
        self._server = server
        self._database = database
        self._queues = queues
        self._messages = messages

    def connect(self) -> Wire:
        return Wire(self.broker.host, self.broker.port)

    def hold_queues(self) -> None:
        self._queues.run("LOCK TABLES gmq_queue WRITE, gmq_generation WRITE")

    def hold_messages(self) -> None:
        self._messages.run("LOCK TABLES gmq_message READ")

    def wait_for(self, statement: str) -> None:
        """Wait until the broker waits for a lock with this statement."""
        sql = f"""SELECT COUNT(*) FROM information_schema.processlist WHERE db = '{self._database}'
            AND state LIKE 'Waiting for table%lock' AND info LIKE '{statement}%'"""
        wait_until(lambda: self._server.sql(sql) != [["0"]], f"the broker waits with {statement}")

    def clear(self) -> None:
        """Clear the queue as another broker does, and let this one see it."""
        self._queues.run(f"{CLEAR}; UNLOCK TABLES")

    def release_messages(self) -> None:
        self._messages.run("UNLOCK TABLES")


@pytest.fixture
def stage(shared_mariadb: SharedMariaDb, start_broker: Start) -> Iterator[Stage]:
    database = shared_mariadb.create()
    broker = start_broker(section(shared_mariadb.port, database))
    with Wire(broker.host, broker.port) as wire:
        wire.publish("orders", b"before")
        wire.done("Y", "orders", policy={"max_messages": 2})
    host, port = shared_mariadb.host, shared_mariadb.port
    with Session(host, port, database) as queues, Session(host, port, database) as messages:
        yield Stage(shared_mariadb, database, broker, queues, messages)


def test_a_publish_after_a_clear_that_its_broker_learns_of_meanwhile_is_kept(stage: Stage) -> None:
    """It was made for the queue as it was before, and may not be stored as such because the broker knows better by now."""
    with stage.connect() as wire, stage.connect() as other:
        stage.hold_queues()
        stage.hold_messages()
        wire.send("P", "orders", payload=b64(b"after"))
        stage.wait_for("SELECT id, name, generation, version, policy FROM gmq_queue WHERE id")
        stage.clear()
        stage.wait_for("INSERT INTO gmq_message")
        assert other.done("I", "orders")["ready"] == 0, "the broker has seen that the queue was cleared"
        stage.release_messages()
        assert wire.read()["confirmation"] == "Y"
        assert wire.take("orders") == b"after", "a message that was stored after the clear is lost"


def test_a_take_after_a_clear_that_its_broker_learns_of_meanwhile_gets_nothing(stage: Stage) -> None:
    with stage.connect() as wire, stage.connect() as other:
        stage.hold_queues()
        stage.hold_messages()
        wire.send("S", "orders", lease=30)
        stage.wait_for("SELECT id, name, generation, version, policy, @now FROM gmq_queue WHERE id")
        stage.clear()
        stage.wait_for("SELECT id, size, due FROM gmq_message")
        assert other.done("I", "orders")["ready"] == 0, "the broker has seen that the queue was cleared"
        stage.release_messages()
        assert wire.read()["messages"] == [], "a message was delivered that was cleared before"


def test_a_publish_to_a_full_queue_that_is_cleared_meanwhile_is_not_refused(stage: Stage) -> None:
    with stage.connect() as wire:
        wire.publish("orders", b"it is full now")
        stage.hold_queues()
        wire.send("P", "orders", payload=b64(b"after"))
        stage.wait_for("SELECT id, name, generation, version, policy FROM gmq_queue WHERE id")
        stage.clear()
        reply = wire.read()
        assert reply["confirmation"] == "Y", f"it was counted before it was cleared: {reply['error']}"


def test_a_take_finds_what_is_in_a_queue_that_another_broker_deleted_and_made_anew(
    shared_mariadb: SharedMariaDb, start_broker: Start
) -> None:
    config = section(shared_mariadb.port, shared_mariadb.create())
    one, other = start_broker(config), start_broker(config)
    with Wire(one.host, one.port) as here, Wire(other.host, other.port) as there:
        here.publish("orders", b"old")
        there.done("D", "orders")
        there.publish("orders", b"new")
        assert here.take("orders") == b"new"


def test_a_dead_letter_goes_where_the_policy_said_that_made_it_one(shared_mariadb: SharedMariaDb, start_broker: Start) -> None:
    database = shared_mariadb.create()
    broker = start_broker(section(shared_mariadb.port, database))
    waits = f"""SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
        WHERE p.db = '{database}' AND t.trx_state = 'LOCK WAIT'"""
    with Wire(broker.host, broker.port) as wire, Wire(broker.host, broker.port) as other:
        receipts: list[str] = []
        wire.publish("dead", b"there")
        for queue in ("one", "two"):
            wire.publish(queue, queue.encode())
            wire.done("Y", queue, policy={"max_deliveries": 1, "dead_letter": "dead"})
            receipts += [message["receipt"] for message in wire.lease(queue)]
        with Session(shared_mariadb.host, shared_mariadb.port, database) as holder:
            holder.run("BEGIN; SELECT id FROM gmq_queue WHERE name = 'dead' FOR UPDATE")
            wire.send("N", receipts=receipts)
            wait_until(lambda: shared_mariadb.sql(waits) != [["0"]], "the broker waits for the queue of dead letters")
            other.done("Y", "two", policy={})
            holder.run("ROLLBACK")
        assert wire.read()["count"] == 2
        assert wire.drain("two") == [], "a message was made a dead letter of its own queue"
        assert wire.drain("dead") == [b"there", b"one", b"two"]
