"""The HTTP listeners: where they are, who may come in, and what they say of the broker's health."""

from __future__ import annotations

import base64
import gzip
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers_server import Server, wait_until
from http_client import request
from ports import free_port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    one = Server(tmp_path)
    yield one
    one.kill()


@pytest.fixture(scope="module")
def broker_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where one broker serves HTTP, by listener."""
    one = Server(tmp_path_factory.mktemp("broker"))
    one.start_with({"ops": {"enabled": True, "port": 0}})
    yield {"http": one.http, "ops": http_address(one, "ops")}
    one.kill()


def http_address(server: Server, listener: str = "http") -> str:
    """Where a broker that may still be opening its storage serves HTTP."""

    def found() -> str | None:
        return next((record[listener][0] for record in server.records() if record["event"] == "listening for HTTP"), None)

    return wait_until(found, "the broker serves HTTP")


def test_a_broker_that_serves_is_alive_and_ready(server):
    server.start_with({})
    for path, status in (("/healthz", "alive"), ("/readyz", "ready")):
        reply = request(server.http, "GET", path)
        assert (reply.status, reply.json) == (200, {"status": status}), f"{path} answered {reply}"


def test_a_broker_that_waits_for_its_folder_is_alive_and_says_why_it_is_not_ready(server, tmp_path):
    folder = {"storage": {"path": str(tmp_path / "data")}}
    server.start_with(folder)
    (tmp_path / "second").mkdir()
    second = Server(tmp_path / "second")
    try:
        second.launch("-f", second.write(folder))
        address = http_address(second)
        assert request(address, "GET", "/healthz").status == 200, "a broker that recovers must not be restarted"
        reply = request(address, "GET", "/readyz")
        assert reply.status == 503, f"it cannot serve yet, and says it is ready: {reply}"
        assert reply.json["reasons"] == ["the storage is being opened"]
        assert request(address, "GET", "/v1/queues").status == 503, "nothing is served before the storage is open"
        server.signal()
        assert server.ended()[0] == 0
        wait_until(lambda: request(address, "GET", "/readyz").status == 200, "the second broker is ready when the first is gone")
    finally:
        second.kill()


def test_a_broker_that_drains_says_so_on_the_ops_listener(server):
    server.start_with({"ops": {"enabled": True, "port": 0, "interface": "127.0.0.1"}, "network": {"drain_timeout": 30}})
    ops = http_address(server, "ops")
    assert request(ops, "GET", "/readyz").status == 200
    with socket.create_connection(("127.0.0.1", server.port)) as busy:
        # A reply that its client does not take keeps the broker draining.
        busy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        payload = base64.b64encode(bytes(900_000)).decode()
        busy.sendall(b"\n" + b'{"operation":"P","queue":"q","payload":"%b"}\n' % payload.encode() * 16)
        with busy.makefile("rb", buffering=0) as stored:
            assert [stored.readline()[-2:] for _ in range(16)] == [b"}\n"] * 16
        busy.sendall(b'{"operation":"S","queue":"q"}\n' * 16)
        wait_until(lambda: busy.recv(1, socket.MSG_PEEK), "the first message is on its way")
        server.signal()
        wait_until(lambda: any(record["event"] == "draining" for record in server.records()), "the broker drains")
        reply = request(ops, "GET", "/readyz")
        assert (reply.status, reply.json["reasons"]) == (503, ["the broker is draining: it stops"])
        assert request(ops, "GET", "/healthz").status == 200
    assert server.ended()[0] == 0


def test_the_ops_listener_serves_health_and_no_queues_and_asks_for_no_password(server):
    server.start_with({"ops": {"enabled": True, "port": 0}, "auth": {"user": "a", "password": "b"}})
    ops = http_address(server, "ops")
    assert request(ops, "GET", "/readyz").status == 200
    assert request(ops, "GET", "/v1/queues").status == 404


def test_the_environment_variable_port_outranks_the_file(server):
    port = free_port()
    server.start("-f", server.write({"http": {"port": 1}}), variables={"PORT": str(port)})
    assert server.http == f"127.0.0.1:{port}"


def test_a_port_that_is_asked_for_and_taken_stops_the_start(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server.launch("-f", server.write({"http": {"port": port}}))
        assert server.ended()[0] == 1
    assert f"port {port} of 127.0.0.1 is in use by another process; stop that one, or choose another with http.port" in (
        server.errors.read_text()
    )


def test_unknown_paths_and_methods_are_answered_as_problems(server):
    server.start_with({})
    reply = request(server.http, "GET", "/nothing")
    assert (reply.status, reply.headers["Content-Type"], reply.json["code"]) == (404, "application/problem+json", "not_found")
    reply = request(server.http, "DELETE", "/healthz")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD"), f"{reply}"
    assert reply.headers["Server"] == "gmq", "what the server is made of is nobody's business"


HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"s3cret nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01s3cret\r\n\r\n", 400),
        (b"GET /s3cret HTTP/9.9s3cret\r\n\r\n", 400),
        (b"GET http://[::s3cret/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /" + b"s3cret" * 4000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (HEAD + b"s3cret without a colon\r\n\r\n", 400),
        (HEAD + b"Authorization: Basic s3cret\0\r\n\r\n", 400),
        (HEAD + b"Content-Length: s3cret\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"".join(b"s3cret-%d: x\r\n" % number for number in range(100)) + b"\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\ns3cret\r\n", 400),
        (HEAD + b"Expect: s3cret\r\n\r\n", 417),
        (HEAD.replace(b"healthz", b"nothing") + b"Expect: s3cret\r\n\r\n", 417),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("listener", ["http", "ops"])
def test_what_is_no_request_is_answered_as_a_problem_without_what_was_sent_or_what_serves(broker_of_all, listener, sent, status):
    host, _, port = broker_of_all[listener].rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode(), received
    assert b"\r\nServer: gmq\r\n" in head + b"\r\n", "what the server is made of is nobody's business"
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, "bad_request")
    for told in (b"s3cret", b"aiohttp", b"Python"):
        assert told not in received, f"{told!r} is in {received!r}"


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json", "application/x-ndjson"])
def test_a_body_with_a_content_coding_is_refused_and_not_unpacked(server, kind):
    server.start_with({})
    path = "/v1/queues/orders/messages"
    cut = gzip.compress(b'{"payload":"QUJD"}\n' * 9)[:-8]  # to unpack it would not tell that something is missing
    for body in (cut, b"no gzip"):
        reply = request(server.http, "POST", path, body, {"Content-Encoding": "gzip", "Content-Type": kind})
        assert (reply.status, reply.json["code"], reply.headers["Accept-Encoding"]) == (415, "bad_request", "identity"), reply
    assert request(server.http, "GET", "/v1/queues").json["queues"] == [], "what was refused is stored"
    assert not [record for record in server.records() if record["level"] == "error"], "a client can fill the log with failures"
    assert request(server.http, "POST", path, b"plain", {"Content-Encoding": "identity"}).status == 201


def test_with_authentication_each_request_names_the_user(server):
    server.start_with({"auth": {"user": "gmq", "password": "päss:word"}})
    reply = request(server.http, "GET", "/nothing")
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Basic realm="gmq", charset="UTF-8"')
    good = {"Authorization": "Basic " + base64.b64encode("gmq:päss:word".encode()).decode()}
    assert request(server.http, "GET", "/nothing", headers=good).status == 404, "with the right password the request is served"
    for bad in (
        "Basic",
        "Basic !",
        "Bearer x",
        "Basic " + base64.b64encode(b"gmq:wrong").decode(),
        "Basic " + base64.b64encode(b"gmq").decode(),
    ):
        assert request(server.http, "GET", "/nothing", headers={"Authorization": bad}).status == 401, f"{bad!r} was let in"
    assert request(server.http, "GET", "/readyz").status == 200, "a probe has no password"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example"])
def test_a_name_that_somebody_else_may_own_is_not_taken_for_the_brokers(server, host):
    server.start_with({"http": {"port": 0, "hosts": ["queues.example.com"]}})
    assert request(server.http, "GET", "/nothing", headers={"Host": host}).status == 403
    for own in ("localhost", "LOCALHOST:1", "[::1]:80", "10.0.0.1", "gmq", "orders.default.svc:8080", "queues.example.com"):
        assert request(server.http, "GET", "/nothing", headers={"Host": own}).status == 404, f"{own} is a name of this broker"


def test_a_page_of_another_site_changes_nothing(server):
    server.start_with({})
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ):
        assert request(server.http, "POST", "/nothing", b"", headers).status == 403, f"a request with {headers} was served"
    own = {"Origin": f"http://{server.http}", "Sec-Fetch-Site": "same-origin"}
    assert request(server.http, "POST", "/nothing", b"", own).status == 404, "the broker's own page may"


def test_without_anything_about_http_a_taken_port_leaves_the_broker_serving_tcp(tmp_path, server):
    file = server.folder / "gmq.json"
    file.write_text(json.dumps({"network": {"port": 0}}))
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8080))
            taken.listen()
        except OSError:
            pass  # somebody else has it: as good
        server.start("-f", file)
    told = [record for record in server.records() if record["event"].startswith("HTTP is not served")]
    assert told, f"the broker must say that it serves no HTTP: {server.records()}"
    assert "port 8080" in told[0]["reason"]
    assert server.http == ""
    server.signal(signal.SIGTERM)
    assert server.ended()[0] == 0
