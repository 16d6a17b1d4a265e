"""What a scraper sees of a broker that is used."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import mariadb
from broker_process import Broker
from helpers_server import Server, wait_until
from http_client import request
from mariadb import MariaDb, section
from wire import Wire

START = Callable[..., Broker]


def connect(broker: Broker) -> Wire:
    return Wire(broker.host, broker.port)


def scrape(address: str) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, in the order of the labels' names."""
    reply = request(address, "GET", "/metrics")
    assert reply.status == 200, reply.body
    families = text_string_to_metric_families(reply.body.decode())
    found: dict[tuple[str, ...], float] = {}
    for family in families:
        for sample in family.samples:
            found[sample.name, *(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_requests_are_counted_by_operation_and_result(start_broker: START) -> None:
    broker = start_broker({"auth": {"user": "u", "password": "p"}, "ops": {"enabled": True, "port": 0}})
    client = connect(broker)
    assert client.ask("P", "a", payload="aGk=")["code"] == "unauthorized"
    client.ask("H", auth={"user": "u", "password": "p"})
    for _ in range(3):
        client.ask("P", "a", payload="aGk=")
    client.ask("P", "a", payload="not base64")
    client.ask("A", receipt="nonsense")
    client.ask("nonsense")
    found = scrape(broker.ops)
    counts = {key[1:3]: value for key, value in found.items() if key[0] == "gmq_requests_total" and value}
    assert counts == {
        ("publish", "ok"): 3,
        ("publish", "unauthorized"): 1,
        ("publish", "bad_request"): 1,
        ("hello", "ok"): 1,
        ("acknowledge", "stale_receipt"): 1,
        ("invalid", "bad_request"): 1,
    }
    assert found["gmq_request_duration_seconds_count", "publish", "tcp"] == 5, "a reply's time was not taken, or was twice"


def test_requests_served_together_are_each_counted(start_broker: START) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    clients = [connect(broker) for _ in range(5)]
    for _ in range(4):
        for client in clients:
            for _ in range(10):
                client.send("P", "a", payload="aGk=")
            client.send("S", "a")
            client.send("S", "b", lease=5)
        for client in clients:
            for _ in range(12):
                assert client.read()["confirmation"] == "Y"
    found = scrape(broker.http)
    for operation, count in (("publish", 200), ("take", 40)):
        assert found["gmq_requests_total", operation, "ok", "tcp"] == count
        assert found["gmq_request_duration_seconds_count", operation, "tcp"] == count
    assert found["gmq_messages_published_total", "a"] == 200
    assert found["gmq_messages_delivered_total", "a"] == 20
    assert found["gmq_connections", "tcp"] == 5


def test_the_wait_of_a_take_is_no_delay(start_broker: START) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    waiting, publishing = connect(broker), connect(broker)
    waiting.send("S", "a", wait=30)
    wait_until(lambda: scrape(broker.http)["gmq_waiting_consumers",], "the take waits")
    publishing.ask("P", "b", payload="aGk=")
    waited = scrape(broker.http)["gmq_event_loop_lag_seconds_count",]
    wait_until(lambda: scrape(broker.http)["gmq_event_loop_lag_seconds_count",] > waited, "a second passes")
    publishing.ask("P", "a", payload="aGk=")
    assert waiting.read()["payload"] == "aGk="
    found = scrape(broker.http)
    assert found["gmq_request_duration_seconds_count", "take", "tcp"] == 1
    assert found["gmq_request_duration_seconds_sum", "take", "tcp"] < 0.5
    assert found["gmq_waiting_consumers",] == 0


def test_commits_of_the_journal_are_measured(start_broker: START) -> None:
    broker = start_broker({"storage": {"type": "filesystem"}})
    before = scrape(broker.http)
    client = connect(broker)
    for _ in range(20):
        client.ask("P", "a", payload="aGk=")
    found = scrape(broker.http)
    name = "gmq_storage_commit_duration_seconds"
    assert found[f"{name}_count", "filesystem"] - before[f"{name}_count", "filesystem"] == 20
    assert found[f"{name}_sum", "filesystem"] > before[f"{name}_sum", "filesystem"]
    assert found["gmq_storage_commit_batch_size_sum", "filesystem"] >= 20
    assert found["gmq_storage_written_bytes_total", "filesystem"] > 20 * 50
    assert found["gmq_storage_up", "filesystem"] == 1
    assert found["gmq_storage_errors_total", "filesystem"] == 0
    total = found["gmq_request_duration_seconds_sum", "publish", "tcp"]
    committed = found[f"{name}_sum", "filesystem"] - before[f"{name}_sum", "filesystem"]
    assert total >= committed, f"replies left after {total} s in all, but their commits took {committed} s"


def test_requests_over_http_are_counted(start_broker: START) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    assert request(broker.http, "GET", "/v1/nonsense").status == 404
    found = scrape(broker.http)
    assert found["gmq_requests_total", "invalid", "not_found", "http"] == 1
    assert found["gmq_request_duration_seconds_count", "invalid", "http"] == 1


def test_gzip_and_formats_are_as_asked_for(broker: Broker) -> None:
    plain = request(broker.http, "GET", "/metrics")
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    packed = request(broker.http, "GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert b"gmq_build_info" in gzip.decompress(packed.body)
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    openmetrics = request(broker.http, "GET", "/metrics", headers={"Accept": accept})
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.body.endswith(b"# EOF\n")
    assert request(broker.http, "HEAD", "/metrics").status == 200
    assert request(broker.http, "POST", "/metrics", b"").status == 405


def test_queues_beyond_the_setting_are_summed(start_broker: START) -> None:
    broker = start_broker({"storage": {"type": "memory"}, "metrics": {"queues": 1}})
    client = connect(broker)
    for queue in "abc":
        client.ask("P", queue, payload="aGk=")
    found = scrape(broker.http)
    assert {key[1]: value for key, value in found.items() if key[0] == "gmq_messages_published_total"} == {"a": 1, "..": 2}


def test_with_authentication_the_main_site_asks_and_the_ops_listener_does_not(start_broker: START) -> None:
    broker = start_broker({"auth": {"user": "u", "password": "p"}, "ops": {"enabled": True, "port": 0}})
    assert request(broker.http, "GET", "/metrics").status == 401
    assert request(broker.ops, "GET", "/metrics").status == 200


def test_a_database_that_is_away_does_not_keep_the_scrape_from_telling(tmp_path: Path, start_broker: START) -> None:
    if mariadb.MISSING:
        pytest.skip(mariadb.MISSING)
    server = MariaDb(tmp_path / "mariadb")
    with ExitStack() as until:
        server.start()
        until.callback(server.kill)
        broker = start_broker(section(server.port, server.create()))
        with connect(broker) as wire:
            wire.publish("orders", b"abc")
            wire.publish("orders", b"later", delay=60)
            wire.lease("orders")
            wire.publish("orders", b"ready")

        def counted() -> bool:
            found = scrape(broker.http)
            return [found.get(("gmq_queue_messages", "orders", state)) for state in ("ready", "delayed", "leased")] == [1, 1, 1]

        wait_until(counted, "the messages in the database are counted")
        found = scrape(broker.http)
        assert found["gmq_queue_bytes", "orders"] == 13
        assert found["gmq_queue_oldest_message_age_seconds", "orders"] > 0
        assert found["gmq_messages_published_total", "orders"] == 3
        assert found["gmq_storage_commit_duration_seconds_count", "mysql"] >= 4
        assert found["gmq_storage_up", "mysql"] == 1
        until.pop_all()
        server.kill()
        wait_until(lambda: scrape(broker.http)["gmq_storage_up", "mysql"] == 0, "the storage is seen to be away")
        assert wait_until(lambda: scrape(broker.http)["gmq_storage_errors_total", "mysql"], "what fails is counted") > 0
        assert scrape(broker.http)["gmq_queue_messages", "orders", "ready"] == 1, "what was counted last stands"
        assert scrape(broker.http)["gmq_ready",] == 0


def test_nobody_waits_for_a_scrape_of_thousands_of_queues(start_broker: START) -> None:
    """The bounds allow for a busy machine. Measured: 35 ms of CPU time for a scrape, and no reply later than 11 ms."""
    broker = start_broker({"storage": {"type": "memory"}})
    with connect(broker) as wire:
        for start in range(0, 4096, 64):
            for number in range(start, start + 64):
                wire.send("P", f"queue-{number}", payload="eA==")
            for _ in range(64):
                assert wire.read()["confirmation"] == "Y"
    scrapes: list[float] = []

    def scrape_often() -> None:
        for _ in range(5):
            started = time.monotonic()
            reply = request(broker.http, "GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            scrapes.append(time.monotonic() - started)
            assert gzip.decompress(reply.body).count(b"\ngmq_queue_bytes{") == 4096

    waits: list[float] = []
    with ThreadPoolExecutor() as threads, connect(broker) as wire:
        scraping = threads.submit(scrape_often)
        while not scraping.done():
            started = time.monotonic()
            wire.done("L", "queue-7")
            waits.append(time.monotonic() - started)
        scraping.result()
    assert min(scrapes) < 1.0, f"the fastest of {len(scrapes)} scrapes took {min(scrapes) * 1000:.0f} ms"
    late = sorted(waits)[-10:]
    assert late[0] < 0.25, f"replies came after {late} s"


def test_a_message_over_http_is_counted_as_one_over_tcp_is(start_broker: START) -> None:
    broker = start_broker({"storage": {"type": "memory"}})
    assert request(broker.http, "POST", "/v1/queues/a%2Fb/messages", b"hello").status == 201
    assert request(broker.http, "POST", "/v1/queues/a%2Fb/take").body == b"hello"
    assert request(broker.http, "GET", "/v1/queues/nothing").status == 404
    assert request(broker.http, "POST", "/v1/queues/a%2Fb/take?wait=1").status == 204
    found = scrape(broker.http)
    assert found["gmq_requests_total", "publish", "ok", "http"] == 1
    assert found["gmq_requests_total", "take", "ok", "http"] == 2
    assert found["gmq_requests_total", "inspect", "not_found", "http"] == 1
    assert found["gmq_messages_published_total", "a/b"] == 1
    assert found["gmq_request_duration_seconds_count", "take", "http"] == 2
    assert found["gmq_request_duration_seconds_sum", "take", "http"] < 0.5, "the second that the take waited is counted"
    assert found["gmq_connections", "http"] >= 1


def test_a_broker_that_is_still_starting_says_on_the_ops_listener_that_it_is_not_ready(start_broker: START, tmp_path: Path) -> None:
    folder = {"storage": {"type": "filesystem", "path": str(tmp_path / "data")}, "ops": {"enabled": True, "port": 0}}
    first = start_broker(folder)
    second = Server(tmp_path)
    try:
        second.launch("-f", second.write(folder))
        listening = wait_until(
            lambda: [record for record in second.records() if record["event"] == "listening for HTTP"], "the second broker serves HTTP"
        )
        ops = listening[0]["ops"][0]
        found = scrape(ops)
        assert found["gmq_ready",] == 0
        assert found["gmq_storage_up", "filesystem"] == 0
        first.stop()
        wait_until(lambda: scrape(ops)["gmq_ready",] == 1, "the second broker is ready when the first is gone")
    finally:
        second.kill()
