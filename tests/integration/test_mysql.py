"""Brokers on one database: a real MariaDB, and real brokers as a user starts them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import mariadb
from broker_process import Broker
from cutting_proxy import CuttingProxy
from helpers_server import wait_until
from mariadb import MariaDb, SharedMariaDb, section
from ports import free_port
from wire import Wire, b64, unb64

Start = Callable[..., Broker]

TAKE_QUERY = "SELECT id, size, due FROM gmq_message WHERE queue = {} AND state = 0 ORDER BY place, id LIMIT 100 FOR UPDATE SKIP LOCKED"


@pytest.fixture
def database(shared_mariadb: SharedMariaDb) -> str:
    """An empty database."""
    return shared_mariadb.create()


@pytest.fixture
def own_mariadb(tmp_path: Path) -> Iterator[MariaDb]:
    """A server for this test alone, which may break it."""
    with mariadb.running(tmp_path / "mariadb") as server:
        yield server


def connect(broker: Broker) -> Wire:
    return Wire(broker.host, broker.port)


def in_threads(works: list[Callable[[], None]]) -> None:
    """Do all at the same time; the first error is raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # raised below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


# Several brokers


def produce(broker: Broker, number: int, count: int) -> None:
    """Publish messages that tell who made them, and in which order, ten at a time."""
    with connect(broker) as wire:
        for start in range(0, count, 10):
            for at in range(start, start + 10):
                wire.send("P", "orders", payload=b64(b"%d-%d" % (number, at)))
            assert all(wire.read()["confirmation"] == "Y" for _ in range(10))


def consume(broker: Broker, got: list[bytes], done: threading.Event) -> None:
    """Take messages until there are no more."""
    with connect(broker) as wire:
        while True:
            over = done.is_set()
            messages = wire.done("S", "orders", count=3, wait=0.2)["messages"]
            got += [unb64(message["payload"]) for message in messages]
            if over and not messages:
                return


def test_brokers_on_one_database_lose_nothing_deliver_nothing_twice_and_keep_each_producers_order(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    brokers = [start_broker(section(shared_mariadb.port, database)) for _ in range(2)]
    producers, each = 4, 300
    received: list[list[bytes]] = [[] for _ in range(4)]
    done = threading.Event()
    consumers = [threading.Thread(target=consume, args=(brokers[at % 2], got, done)) for at, got in enumerate(received)]
    for consumer in consumers:
        consumer.start()
    try:
        in_threads([partial(produce, brokers[number % 2], number, each) for number in range(producers)])
    finally:
        done.set()
        for consumer in consumers:
            consumer.join()
    everything = [payload for got in received for payload in got]
    assert len(everything) == len(set(everything)), "a message was delivered twice"
    assert len(everything) == producers * each, "a message was lost"
    for got, producer in product(received, range(producers)):
        numbers = [int(payload.split(b"-")[1]) for payload in got if payload.startswith(b"%d-" % producer)]
        assert numbers == sorted(numbers), "a consumer got a producer's messages out of order"


def test_consumers_are_woken_within_300_ms_by_a_publish_at_another_broker(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    one, two = (start_broker(section(shared_mariadb.port, database)) for _ in range(2))
    times: list[float] = []
    rounds, queues = 20, [f"queue-{number}" for number in range(5)]
    with connect(one) as producer, ExitStack() as stack:
        consumers = [stack.enter_context(connect(two)) for _ in queues]
        for number in range(rounds):
            for consumer, queue in zip(consumers, queues, strict=True):
                consumer.send("S", queue, wait=30)
            time.sleep(1.2 + 0.011 * number)  # so long that the broker expects nothing, and anywhere between two looks
            started = time.monotonic()
            for queue in queues:
                producer.send("P", queue, payload="")
            for consumer in consumers:
                assert consumer.read()["count"] == 1
                times.append(time.monotonic() - started)
            for _ in queues:
                assert producer.read()["confirmation"] == "Y"
    times.sort()
    p99 = times[len(times) * 99 // 100 - 1]
    assert p99 < 0.3, f"99 % of {len(times)} wakes took up to {p99:.3f} s, half of them up to {times[len(times) // 2]:.3f} s"


def test_who_begins_to_wait_at_an_idle_broker_is_woken_as_soon(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    one, two = (start_broker(section(shared_mariadb.port, database)) for _ in range(2))
    with connect(one) as producer, connect(two) as consumer:
        producer.publish("other", b"x")
        for _ in range(3):
            time.sleep(2.1)  # nobody waits, and the broker looks less often
            consumer.send("S", "orders", wait=30, tag="wait")
            assert consumer.done("L", "orders", tag="length")["tag"] == "length"
            started = time.monotonic()
            producer.publish("orders", b"x")
            assert consumer.read()["count"] == 1
            assert time.monotonic() - started < 0.5


def test_an_idle_broker_makes_under_5_queries_a_second_however_many_wait(own_mariadb: MariaDb, start_broker: Start) -> None:
    database = own_mariadb.create()
    broker = start_broker(section(own_mariadb.port, database))
    consumers = [connect(broker) for _ in range(50)]
    for number, consumer in enumerate(consumers):
        consumer.send("S", f"queue-{number % 10}", wait=60)
    time.sleep(2)  # until what their coming caused is over

    def questions() -> int:
        return int(own_mariadb.sql("SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])

    before, started = questions(), time.monotonic()
    time.sleep(6)
    made, seconds = questions() - before, time.monotonic() - started
    for consumer in consumers:
        consumer.close()
    assert (made - 1) / seconds < 5, f"{made - 1} queries in {seconds:.1f} s, without the one that asks"


def test_policies_keys_and_clearing_count_at_every_broker(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    one, two = (start_broker(section(shared_mariadb.port, database)) for _ in range(2))
    with connect(one) as here, connect(two) as there:
        first = here.publish("orders", b"x", key="k")
        assert there.publish("orders", b"x", key="k") == first
        there.done("Y", "orders", policy={"ttl": 60, "max_messages": 2})
        assert here.done("I", "orders")["policy"] == {"ttl": 60, "max_messages": 2}
        here.publish("orders", b"y")
        wait_until(
            lambda: there.ask("P", "orders", payload="").get("code") == "queue_full", "the queue is full, seen from the other broker"
        )
        assert here.refused("P", "orders", payload="")["code"] == "queue_full"
        (message,) = here.lease("orders")
        assert there.done("C", "orders")["count"] >= 2
        assert here.refused("A", receipt=message["receipt"])["code"] == "stale_receipt"
        assert here.take("orders") is None
        here.publish("orders", b"z")
        assert there.take("orders") == b"z"
        assert there.done("D", "orders")["count"] == 0
        assert here.publish("orders", b"other", key="k") > first, "a deleted queue forgets its keys"


def test_a_repeated_key_is_answered_where_more_are_remembered_than_may_be(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    config = section(shared_mariadb.port, database)
    with connect(start_broker(config)) as many, connect(start_broker({**config, "limits": {"keys": 1}})) as few:
        numbers = [many.publish("orders", b"%d" % number, key=f"k{number}") for number in range(3)]
        assert few.publish("orders", b"1", key="k1") == numbers[1]
        assert few.refused("P", "orders", payload="", key="more")["code"] == "limit"


def test_a_lease_taken_at_one_broker_is_settled_at_another_and_survives_a_crash(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    one, two = (start_broker(section(shared_mariadb.port, database)) for _ in range(2))
    with connect(one) as wire:
        wire.done("P", "orders", payloads=[b64(b"a"), b64(b"b"), b64(b"c")])
        a, b = wire.lease("orders", count=2)
        (c,) = wire.lease("orders", 0.5)
    one.kill()
    with connect(two) as wire:
        assert wire.done("A", receipt=a["receipt"])["count"] == 1
        assert wire.done("N", receipt=b["receipt"])["count"] == 1
        assert wire.take("orders") == b"b"
        (again,) = wire.lease("orders", wait=10)
        assert (unb64(again["payload"]), again["deliveries"]) == (b"c", 2), "a lease of a broker that died runs out"
        assert wire.refused("A", receipt=c["receipt"])["code"] == "stale_receipt"


def test_names_that_differ_in_case_or_trailing_blanks_are_different_queues(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    names = ["a", "A", "a ", "ä", "a\u0308", "'\\\"; DROP TABLE gmq_message; --", "%s %d", "ß" * 127]
    with connect(start_broker(section(shared_mariadb.port, database))) as wire:
        for name in names:
            wire.publish(name, name.encode(), key=name, headers={name: name})
        assert sorted(entry["queue"] for entry in wire.done("Q")["queues"]) == sorted(names)
        for name in names:
            (message,) = wire.lease(name, count=5)
            assert (unb64(message["payload"]), message["headers"]) == (name.encode(), {name: name})


def test_an_idle_queue_that_another_broker_uses_stays(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    policies = [{"name": "brief", "pattern": "*", "expires": 1}]
    one, two = (start_broker({**section(shared_mariadb.port, database), "policies": policies}) for _ in range(2))
    with connect(one) as here, connect(two) as there:
        here.publish("orders", b"x")
        deadline = time.monotonic() + 3
        there.take("orders")
        while time.monotonic() < deadline:
            there.publish("orders", b"x")
            there.take("orders")
            assert here.done("I", "orders")["ready"] == 0
            time.sleep(0.2)
        wait_until(lambda: here.ask("I", "orders")["confirmation"] == "N", "the queue that nobody uses is deleted", 10)


# The database


def test_the_take_reads_an_index_in_its_order_and_sorts_nothing(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    with connect(start_broker(section(shared_mariadb.port, database))) as wire:
        for _ in range(5):
            wire.done("P", "orders", payloads=["eA=="] * 1000)
        wire.done("P", "other", payloads=["eA=="] * 10)
    (generation,) = shared_mariadb.sql("SELECT generation FROM gmq_queue WHERE name = 'orders'", database)[0]
    shared_mariadb.sql("ANALYZE TABLE gmq_message", database)
    (plan,) = shared_mariadb.sql("EXPLAIN " + TAKE_QUERY.format(generation), database)
    key, extra = plan[5], plan[9]
    assert key == "take", f"the index is not used: {plan}"
    assert "filesort" not in extra, f"the index is not in order: {plan}"
    assert "Using index" in extra, f"the index does not have all that is asked for: {plan}"


def test_publishes_that_arrive_together_share_a_transaction(own_mariadb: MariaDb, start_broker: Start) -> None:
    broker = start_broker(section(own_mariadb.port, own_mariadb.create()))
    wires = [connect(broker) for _ in range(16)]
    wires[0].publish("orders", b"first")

    def commits() -> int:
        return int(own_mariadb.sql("SHOW GLOBAL STATUS LIKE 'Com_commit'")[0][1])

    before = commits()
    for _ in range(20):
        for wire in wires:
            wire.socket.sendall(b'{"operation":"P","queue":"orders","payload":"eA=="}\n' * 16)
        for wire in wires:
            for _ in range(16):
                assert wire.read()["confirmation"] == "Y"
    published = 20 * 16 * 16
    made = commits() - before
    for wire in wires:
        wire.socket.sendall(b'{"operation":"S","queue":"orders"}\n' * 320)
    for wire in wires:
        for _ in range(320):
            assert wire.read()["count"] == 1
        wire.close()
    taken = commits() - before - made
    assert made < published / 20, f"{made} commits for {published} publishes"
    assert taken < published / 20, f"{taken} commits for {published} takes"


def test_brokers_that_start_together_make_the_tables_once(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    brokers: list[Broker] = []
    in_threads([lambda: brokers.append(start_broker(section(shared_mariadb.port, database))) for _ in range(4)])
    for number, broker in enumerate(brokers):
        with connect(broker) as wire:
            wire.publish("orders", b"%d" % number)
    assert shared_mariadb.sql("SELECT version FROM gmq_schema", database) == [["1"]]


def test_tables_of_a_newer_version_are_left_alone(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    start_broker(section(shared_mariadb.port, database)).kill()
    shared_mariadb.sql("UPDATE gmq_schema SET version = 99", database)
    broker = start_broker(section(shared_mariadb.port, database))
    with connect(broker) as wire:
        reply = wire.refused("P", "orders", payload="")
    assert reply["code"] == "unavailable"
    assert "version 99" in reply["error"]


def test_a_commit_whose_answer_is_lost_is_told_as_unknown_and_its_repeat_with_the_key_is_stored_once(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    proxy = CuttingProxy(shared_mariadb.host, shared_mariadb.port)
    broker = start_broker(section(proxy.port, database))
    with connect(broker) as wire:
        wire.publish("orders", b"before")
        proxy.cut_after = lambda data: data.endswith(b"COMMIT") and proxy.cuts == 0
        reply = wire.refused("P", "orders", payload=b64(b"in doubt"), key="k")
        assert reply["code"] == "unknown", reply
        assert proxy.cuts == 1
        wire.publish("orders", b"in doubt", key="k")
        wire.publish("orders", b"after")
        proxy.cuts = 0
        reply = wire.refused("S", "orders")
        assert reply["code"] == "unknown", "a take in doubt is told, too"
        rest = wire.drain("orders")
    proxy.close()
    assert rest in ([b"before", b"in doubt", b"after"], [b"in doubt", b"after"]), (
        f"the repeat was stored twice, or something is lost: {rest}"
    )


def test_a_connection_that_is_lost_before_the_commit_is_no_news_for_the_client(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    proxy = CuttingProxy(shared_mariadb.host, shared_mariadb.port)
    broker = start_broker(section(proxy.port, database))
    with connect(broker) as wire:
        wire.publish("orders", b"before")
        for statement in (b"INSERT INTO gmq_message", b"DELETE FROM gmq_message"):
            proxy.cuts = 0
            proxy.cut_after = lambda data, statement=statement: statement in data and proxy.cuts == 0  # type: ignore[misc]  # a default is typed
            wire.publish("orders", b"x")
            assert wire.take("orders") in {b"before", b"x"}
            assert proxy.cuts == 1
        assert wire.drain("orders") == [b"x"]
    proxy.close()


def test_a_database_that_dies_gives_errors_in_bounded_time_and_is_used_again_when_it_is_back(
    own_mariadb: MariaDb, start_broker: Start
) -> None:
    database = own_mariadb.create()
    broker = start_broker(section(own_mariadb.port, database))
    acknowledged = 0
    with connect(broker) as wire, connect(broker) as waiting:
        waiting.send("S", "other", wait=60)
        for _ in range(5):
            wire.publish("orders", b"x")
            acknowledged += 1
        own_mariadb.kill()
        started = time.monotonic()
        reply = wire.refused("P", "orders", payload="")
        assert reply["code"] in {"unavailable", "unknown"}
        assert time.monotonic() - started < 10
        started = time.monotonic()
        assert wire.refused("S", "orders")["code"] == "unavailable"
        assert time.monotonic() - started < 1, "in an outage that lasts, requests are refused at once"
        own_mariadb.start()
        wait_until(lambda: wire.ask("P", "orders", payload=b64(b"x"))["confirmation"] == "Y", "the broker uses the database again", 20)
        acknowledged += 1
        assert len(wire.drain("orders")) >= acknowledged
        assert mariadb.PASSWORD not in broker.log.read_text()


def test_a_broker_starts_while_its_database_is_away_and_serves_when_it_comes(own_mariadb: MariaDb, start_broker: Start) -> None:
    database = own_mariadb.create()
    own_mariadb.kill()
    broker = start_broker(section(own_mariadb.port, database))
    with connect(broker) as wire:
        assert wire.refused("P", "orders", payload="")["code"] == "unavailable"
        own_mariadb.start()
        wait_until(lambda: wire.ask("P", "orders", payload="")["confirmation"] == "Y", "the broker serves", 20)


def test_a_database_that_hangs_gives_errors_in_bounded_time(own_mariadb: MariaDb, start_broker: Start) -> None:
    database = own_mariadb.create()
    broker = start_broker(section(own_mariadb.port, database, statement_timeout=1, connect_timeout=0.5))
    with connect(broker) as wire:
        wire.publish("orders", b"x")
        own_mariadb.pause()
        started = time.monotonic()
        try:
            assert wire.refused("P", "orders", payload="")["code"] in {"unavailable", "unknown"}
            assert time.monotonic() - started < 12
        finally:
            own_mariadb.resume()
        wait_until(lambda: wire.ask("P", "orders", payload="")["confirmation"] == "Y", "the broker uses the database again", 20)


def test_the_first_host_that_serves_is_used_and_the_next_when_it_dies(tmp_path: Path, own_mariadb: MariaDb, start_broker: Start) -> None:
    second = MariaDb(tmp_path / "second")
    second.start()
    try:
        name = own_mariadb.create()
        second.sql(
            f"CREATE DATABASE {name}; CREATE USER '{mariadb.USER}'@'%' IDENTIFIED BY 'x'; GRANT ALL ON {name}.* TO '{mariadb.USER}'@'%'"
        )
        hosts = [f"127.0.0.1:{free_port()}", f"127.0.0.1:{own_mariadb.port}", f"127.0.0.1:{second.port}"]
        password = tmp_path / "password"
        password.write_text(mariadb.PASSWORD + "\n")
        broker = start_broker(section(0, name, host=None, hosts=hosts, password=None, password_file=str(password)))
        with connect(broker) as wire:
            wire.publish("orders", b"first")
            assert own_mariadb.sql("SELECT COUNT(*) FROM gmq_message", name) == [["1"]]
            password.write_text("x")  # a new connection takes it up
            own_mariadb.kill()
            wait_until(lambda: wire.ask("P", "orders", payload="")["confirmation"] == "Y", "the second database is used", 20)
            assert int(second.sql("SELECT COUNT(*) FROM gmq_message", name)[0][0]) >= 1
            password.write_text(mariadb.PASSWORD)
            own_mariadb.start()

            def is_back() -> bool:
                wire.publish("orders", b"back")
                return own_mariadb.sql("SELECT COUNT(*) FROM gmq_message WHERE payload = 'back'", name) != [["0"]]

            wait_until(is_back, "the first database is used again when it is back", 30)
    finally:
        second.kill()


@pytest.mark.parametrize("operation", ["P", "S"])
def test_after_a_failover_a_queue_is_the_one_of_its_name(
    own_mariadb: MariaDb, shared_mariadb: SharedMariaDb, database: str, start_broker: Start, operation: str
) -> None:
    """The next database may not know all that the one before knew, and have given a queue's number to another queue."""
    own_mariadb.create()
    own_mariadb.sql(f"CREATE DATABASE {database}; GRANT ALL ON {database}.* TO '{mariadb.USER}'@'%'")
    hosts = [f"127.0.0.1:{own_mariadb.port}", f"127.0.0.1:{shared_mariadb.port}"]
    one = start_broker(section(0, database, host=None, hosts=hosts))
    two = start_broker(section(shared_mariadb.port, database))
    with connect(one) as here, connect(two) as there:
        here.publish("orders", b"known to the first one only")
        there.publish("other", b"other")
        own_mariadb.sql("SET GLOBAL read_only = 1")
        reply = here.done(operation, "orders", **({"payload": b64(b"order")} if operation == "P" else {"count": 1}))
        assert not reply.get("messages"), "a take got a message of another queue"
        assert there.drain("other") == [b"other"], "a message went to another queue than it was published to"
        assert there.drain("orders") == ([b"order"] if operation == "P" else [])


def test_a_read_only_host_counts_as_away(own_mariadb: MariaDb, shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    own_mariadb.create()
    own_mariadb.sql(f"CREATE DATABASE {database}; GRANT ALL ON {database}.* TO '{mariadb.USER}'@'%'; SET GLOBAL read_only = 1")
    hosts = [f"127.0.0.1:{own_mariadb.port}", f"127.0.0.1:{shared_mariadb.port}"]
    with connect(start_broker(section(0, database, host=None, hosts=hosts))) as wire:
        wire.publish("orders", b"x")
    assert shared_mariadb.sql("SELECT COUNT(*) FROM gmq_message", database) == [["1"]]


def test_a_transaction_that_another_one_holds_up_is_tried_again(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    broker = start_broker(section(shared_mariadb.port, database))
    with connect(broker) as wire:
        wire.publish("orders", b"x")
        holder = threading.Thread(
            target=shared_mariadb.sql, args=("BEGIN; SELECT * FROM gmq_queue FOR UPDATE; SELECT SLEEP(6); ROLLBACK", database)
        )
        holder.start()
        wait_until(lambda: "SLEEP(6)" in str(shared_mariadb.sql("SHOW PROCESSLIST")), "the lock is held")
        wire.publish("orders", b"y")  # waits for the lock, gives up after 5 s (1205), and begins anew
        holder.join()
        assert wire.drain("orders") == [b"x", b"y"]


def test_a_message_larger_than_the_servers_packets_is_refused_by_name(own_mariadb: MariaDb, start_broker: Start) -> None:
    own_mariadb.sql("SET GLOBAL max_allowed_packet = 1048576")
    broker = start_broker({**section(own_mariadb.port, own_mariadb.create()), "limits": {"message_size": 4 << 20}})
    with connect(broker) as wire:
        reply = wire.refused("P", "orders", payload=b64(b"x" * (2 << 20)))
        assert reply["code"] == "too_large"
        assert "max_allowed_packet" in reply["error"]
        wire.publish("orders", b"x" * (1 << 19))
        assert wire.take("orders") == b"x" * (1 << 19)


def test_messages_that_fit_into_the_servers_packets_one_by_one_are_stored_together(own_mariadb: MariaDb, start_broker: Start) -> None:
    own_mariadb.sql("SET GLOBAL max_allowed_packet = 1048576")
    payloads = [b"%d" % number * 400_000 for number in range(4)]
    broker = start_broker({**section(own_mariadb.port, own_mariadb.create()), "limits": {"message_size": 4 << 20}})
    with connect(broker) as wire:
        reply = wire.ask("P", "orders", payloads=[b64(payload) for payload in payloads])
        assert reply["confirmation"] == "Y", reply["error"]
        assert wire.drain("orders") == payloads


def test_messages_as_large_as_the_database_takes_come_out_as_they_went_in(
    shared_mariadb: SharedMariaDb, database: str, start_broker: Start
) -> None:
    broker = start_broker({**section(shared_mariadb.port, database), "limits": {"message_size": 16 << 20}})
    payload = bytes(range(256)) * (40 << 10)  # 10 MiB, of which backslashes and quotes take two bytes each
    with connect(broker) as wire:
        wire.done("P", "orders", payloads=[b64(payload), b64(b"small")])
        messages = wire.done("S", "orders", count=2)["messages"]
        assert [unb64(message["payload"]) for message in messages] == [payload], "a reply stops at 8 MiB"
        assert wire.take("orders") == b"small"


def test_a_message_taken_for_a_client_that_is_gone_is_given_back(shared_mariadb: SharedMariaDb, database: str, start_broker: Start) -> None:
    broker = start_broker(section(shared_mariadb.port, database))
    with connect(broker) as wire:
        numbers = [wire.publish("orders", b"%d" % number) for number in range(20)]
        for lease in (None, 30):
            for _ in range(10):
                gone = connect(broker)
                gone.send("S", "orders", count=3, **({} if lease is None else {"lease": lease}))
                gone.close()
        found: list[dict[str, Any]] = []

        def everything() -> bool:
            found.extend(wire.done("S", "orders", count=100)["messages"])
            return len(found) >= 20

        # What left for a client before it was seen to be gone is lost, as at most once says; nothing may come twice.
        time.sleep(0.5)
        everything()
    ids = [message["id"] for message in found]
    assert len(ids) == len(set(ids))
    assert set(ids) <= set(numbers)
    assert all(message["deliveries"] == 0 for message in found), "what nobody got was not delivered"
